//! Which prefixes deserve another copy, and where: advice beside the copies that decisions make anyway.
//!
//! How often a prefix is asked for is counted for lengths of 1, 2, 4, 8 ... blocks, in a table of fixed size where what
//! is asked for least gives way. One that is asked for more often than its holders are to bear gets a copy where
//! the queue is shortest, as long as the budget of blocks lasts.

use super::decide::own_blocks;
use super::{InstanceId, Prefix, Scheduler, is_time};
use crate::bail;
use crate::error::Result;

/// When to advise copies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replication {
    /// Blocks that may be copied per second, and at once after a pause.
    pub blocks_per_second: f64,
    pub most_blocks: f64,
    /// Requests for a prefix that one holder bears, within about a minute and a half.
    pub uses: f64,
}

impl Default for Replication {
    fn default() -> Replication {
        Replication { blocks_per_second: 100.0, most_blocks: 1000.0, uses: 16.0 }
    }
}

impl Replication {
    pub(super) fn check(&self) -> Result<()> {
        for (name, number) in [
            ("blocks_per_second", self.blocks_per_second),
            ("most_blocks", self.most_blocks),
            ("uses", self.uses),
        ] {
            if !(number.is_finite() && number > 0.0) {
                bail!(InvalidArgument, "{name} of the replication is {number}: it must be above 0");
            }
        }
        Ok(())
    }
}

/// Copy the first `to - from` blocks that the receiver lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    pub sender: InstanceId,
    pub receiver: InstanceId,
    /// Blocks of the prefix, from this one on, before that one.
    pub from: u32,
    pub to: u32,
}

const SETS: usize = 1024;
const WAYS: usize = 4;
/// Seconds after which uses count half.
const HALF_LIFE: f64 = 60.0;
/// Seconds that an advised copy may take before it is advised again.
const PATIENCE: f64 = 10.0;

#[derive(Clone, Copy, Debug, Default)]
struct Heat {
    key: u64,
    uses: f64,
    at: f64,
    /// Copies that were advised lately, and when.
    advised: u32,
    advised_at: f64,
}

impl Heat {
    fn uses(&self, now: f64) -> f64 {
        self.uses * (-(now - self.at).max(0.0) / HALF_LIFE).exp2()
    }
}

#[derive(Debug)]
pub struct Replicator {
    settings: Replication,
    heats: Box<[[Heat; WAYS]]>,
    budget: f64,
    at: f64,
}

impl Replicator {
    pub fn new(settings: Replication) -> Replicator {
        Replicator {
            settings,
            heats: vec![[Heat::default(); WAYS]; SETS].into_boxed_slice(),
            budget: settings.most_blocks,
            at: f64::NEG_INFINITY,
        }
    }

    fn heat(&mut self, key: u64) -> &mut [Heat; WAYS] {
        &mut self.heats[(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as usize % SETS]
    }

    /// Counts a use, and returns what is known of the prefix.
    fn touch(&mut self, key: u64, now: f64) -> Heat {
        let set = self.heat(key);
        let way = set.iter().position(|heat| heat.key == key && heat.uses > 0.0).unwrap_or_else(|| {
            let coldest =
                (0..WAYS).min_by(|one, other| set[*one].uses(now).total_cmp(&set[*other].uses(now)));
            let coldest = coldest.expect("a set has ways");
            set[coldest] = Heat { key, at: now, advised_at: now, ..Heat::default() };
            coldest
        });
        let heat = &mut set[way];
        (heat.uses, heat.at) = (heat.uses(now) + 1.0, now);
        if now - heat.advised_at > PATIENCE {
            heat.advised = 0;
        }
        *heat
    }

    fn pay(&mut self, blocks: u32, now: f64) -> bool {
        let earned = (now - self.at).max(0.0) * self.settings.blocks_per_second;
        self.budget = (self.budget + earned).min(self.settings.most_blocks);
        self.at = self.at.max(now);
        let is_enough = f64::from(blocks) <= self.budget;
        if is_enough {
            self.budget -= f64::from(blocks);
        }
        is_enough
    }

    fn advised(&mut self, key: u64, now: f64) {
        if let Some(heat) = self.heat(key).iter_mut().find(|heat| heat.key == key) {
            (heat.advised, heat.advised_at) = (heat.advised + 1, now);
        }
    }
}

/// Of the parts of a prefix that are counted, in blocks.
fn lengths() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1usize), |length| length.checked_mul(2))
}

impl Scheduler {
    /// Counts a request for the blocks `keys`, and says whether the longest part of its prefix that is asked for so
    /// often should be copied. `found` is what instances have of it. To be asked once for each request that is taken on.
    pub fn advise(&mut self, keys: &[u64], found: &[Prefix], now: f64) -> Result<Option<Advice>> {
        is_time(now)?;
        let Some(replicator) = &mut self.replicator else { return Ok(None) };
        let mut hottest = None;
        for length in lengths().take_while(|length| *length <= keys.len()) {
            let key = keys[length - 1];
            let heat = replicator.touch(key, now);
            let blocks = u32::try_from(length).unwrap_or(u32::MAX);
            let holders = found.iter().filter(|prefix| own_blocks(prefix) >= blocks).count();
            let bears = replicator.settings.uses * (holders + heat.advised as usize) as f64;
            if holders > 0 && heat.uses > bears {
                hottest = Some(blocks);
            }
        }
        let Some(to) = hottest else { return Ok(None) };
        let Some((sender, receiver, from)) = self.pair(found, to, now) else { return Ok(None) };
        let link_time = self.instances.get(receiver.0)?.rates.transfer(to - from);
        let is_paid = self.replicator.as_mut().is_some_and(|replicator| replicator.pay(to - from, now));
        if !is_paid {
            return Ok(None);
        }
        if let Some(replicator) = &mut self.replicator {
            // The parts of a prefix come with it.
            lengths().take_while(|length| *length <= to as usize).for_each(|length| {
                replicator.advised(keys[length - 1], now);
            });
        }
        let instance = self.instances.get_mut(sender.0)?;
        instance.sends_until = instance.sends_until.max(now) + link_time;
        Ok(Some(Advice { sender, receiver, from, to }))
    }

    /// Who sends: of the holders, who is first done with sending. Who receives: of the others that prefill, who has
    /// the shortest queue, and how many blocks it has.
    fn pair(&self, found: &[Prefix], blocks: u32, now: f64) -> Option<(InstanceId, InstanceId, u32)> {
        let mut sender: Option<(f64, InstanceId)> = None;
        let mut receiver: Option<(f64, InstanceId, u32)> = None;
        for prefix in found {
            let Ok(instance) = self.instances.get(prefix.instance.0) else { continue };
            let has = own_blocks(prefix);
            if has >= blocks {
                if sender.is_none_or(|best| instance.sends_until < best.0) {
                    sender = Some((instance.sends_until, prefix.instance));
                }
            } else if instance.role.prefills() {
                let doubt = instance.doubt(instance.silence(now), &self.options.doubts, now);
                let queue = instance.queue.wait(0, now) + doubt;
                if receiver.is_none_or(|best| queue < best.0) {
                    receiver = Some((queue, prefix.instance, has));
                }
            }
        }
        let ((_, sender), (_, receiver, has)) = (sender?, receiver?);
        Some((sender, receiver, has))
    }
}
