//! Making room: when much is in use, objects go in the order of the policy, down to the low mark.

use crate::error::Code;
use crate::store::allocator::placement::Taken;
use crate::store::object::ReplicateConfig;
use crate::store::refusal::Refusal;

use super::shard::{HARD_PIN, Object, ObjectRef};
use super::state::State;

/// What is told to come back when all that could go is being read.
const PATIENCE_MS: u32 = 1000;

impl State {
    /// Memory for an object, on nodes that answer. Where there is none, room begins to be made.
    pub(super) fn allocate(
        &mut self,
        now: u64,
        size: u64,
        config: &ReplicateConfig,
    ) -> Option<Vec<Vec<Taken>>> {
        let (lead, patience) = (&self.lead, self.config.lead_every_ms * 3);
        self.pool.allocate(size, config, |_, segment| lead.is_heard(now, segment.node, patience))
    }

    /// The answer to a put that finds no memory: when that is likely to be better.
    pub(super) fn no_space(&mut self, now: u64, size: u64, config: &ReplicateConfig) -> Refusal {
        if !self.pool.iter().any(|(_, segment)| segment.takes_objects()) {
            return Refusal::retry(Code::NoSpace, "no node gives memory", PATIENCE_MS);
        }
        // Nobody has to go for what finds no room then either. More memory may come some day: it is no mistake.
        if let Some(reason) = self.pool.never_fits(size, config) {
            return Refusal::new(Code::NoSpace, reason);
        }
        self.make_room(now, size * u64::from(config.count));
        let next = self.drops.soonest().map(|until| until.saturating_sub(now));
        let after =
            next.map_or(PATIENCE_MS, |left| u32::try_from(left).unwrap_or(u32::MAX).clamp(10, PATIENCE_MS));
        Refusal::retry(Code::NoSpace, "all memory is in use; room is being made", after)
    }

    /// Evicts a batch, if more is in use than the high mark says, or `need` bytes were asked for in vain.
    pub(super) fn make_room(&mut self, now: u64, need: u64) {
        let (used, capacity) = self.pool.usage();
        if need == 0 && used * 1000 < capacity.saturating_mul(self.config.high_mark) || capacity == 0 {
            return;
        }
        let dropping = self.dropping_bytes();
        let mut live = used.saturating_sub(dropping);
        let low = (u128::from(capacity) * u128::from(self.config.low_mark) / 1000) as u64;
        let fits = capacity.saturating_sub(need);
        let target = match need {
            0 => low,
            _ if live > fits => fits,
            // There is room, but not in one place: as much again, unless that is on its way.
            _ if dropping < need => live.saturating_sub(need),
            _ => return,
        };
        for _ in 0..self.config.batch {
            if live <= target {
                return;
            }
            let Some(at) = self.victim(now, false).or_else(|| self.victim(now, true)) else { return };
            for member in self.groups.members(self.object(at).group, at) {
                let bytes = self.object(member).charge();
                live = live.saturating_sub(bytes);
                self.stats.evicted += 1;
                self.stats.evicted_bytes += bytes;
                self.begin_removal(now, member);
                self.end_if_quiet(member);
            }
        }
    }

    /// Tells the policies how much there is.
    pub(super) fn share_capacity(&mut self) {
        let (_, capacity) = self.pool.usage();
        let each = (capacity >> 10) / self.shards.len() as u64;
        self.shards
            .iter_mut()
            .filter_map(|shard| shard.eviction.as_mut())
            .for_each(|one| one.set_capacity(each));
    }

    /// Of the memory in use, what is going to be free.
    fn dropping_bytes(&self) -> u64 {
        let open = self.pool.iter().filter(|(_, segment)| segment.takes_objects());
        open.map(|(slot, _)| self.drops.bytes(slot)).sum()
    }

    /// The next object to go, from each shard in turn.
    fn victim(&mut self, now: u64, with_soft_pins: bool) -> Option<ObjectRef> {
        for _ in 0..self.shards.len() {
            let turn = self.eviction_turn % self.shards.len();
            self.eviction_turn = turn + 1;
            let Some(mut eviction) = self.shards[turn].eviction.take() else { continue };
            let victim = eviction.pick(|slot| {
                let at = ObjectRef { shard: turn as u32, slot };
                let group = self.object(at).group;
                let may_go = |at: &ObjectRef| may_go(now, self.object(*at), with_soft_pins);
                may_go(&at) && (group == 0 || self.groups.list.get(group).members.iter().all(may_go))
            });
            self.shards[turn].eviction = Some(eviction);
            if let Some(slot) = victim {
                return Some(ObjectRef { shard: turn as u32, slot });
            }
        }
        None
    }
}

fn may_go(now: u64, object: &Object, with_soft_pins: bool) -> bool {
    !object.is_changing()
        && object.flags & HARD_PIN == 0
        && object.lease_until <= now
        && (with_soft_pins || object.soft_until <= now)
}
