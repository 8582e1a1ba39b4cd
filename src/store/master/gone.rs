//! Segments that are gone, while objects still name them: a walk takes them out, a piece at each tick, and whoever asks for
//! an object before that has it put in order first.

use std::collections::BTreeSet;

use crate::store::object::Name;

use super::lead::Phase;
use super::shard::{Object, ObjectRef, Place, Places};
use super::state::State;

/// Their slots are not given to others before the walk is done.
#[derive(Debug, Default)]
pub struct Gone {
    /// What the walk that is under way takes out.
    taken_out: BTreeSet<u32>,
    /// What has gone since it began.
    later: BTreeSet<u32>,
    /// Where the walk goes on.
    shard: u32,
    slot: u32,
}

impl Gone {
    pub fn add(&mut self, slot: u32) {
        self.later.insert(slot);
    }

    pub fn is_empty(&self) -> bool {
        self.taken_out.is_empty() && self.later.is_empty()
    }

    pub fn contains(&self, slot: u32) -> bool {
        self.taken_out.contains(&slot) || self.later.contains(&slot)
    }
}

impl State {
    /// An object as it is without what is gone. None if nothing is left of it.
    pub(super) fn find_now(&mut self, now: u64, name: Name<'_>) -> Option<ObjectRef> {
        let at = self.find(name)?;
        if !self.names_gone(self.object(at)) {
            return Some(at);
        }
        if self.lead.phase != Phase::Serving {
            // Pieces that were found may still make it whole.
            return (self.whole_copies(self.object(at)) > 0).then_some(at);
        }
        self.shrink(now, at);
        self.find(name)
    }

    fn names_gone(&self, object: &Object) -> bool {
        let is_gone = |place: &Place| self.gone.contains(place.segment);
        !self.gone.is_empty() && object.is_visible() && object.places.as_slice().iter().any(is_gone)
    }

    /// Replicas that there are, or can be made of what is left of them: as many as each stripe still has ranges.
    pub(super) fn whole_copies(&self, object: &Object) -> u8 {
        if !self.names_gone(object) {
            return object.replicas;
        }
        let is_there = |place: &Place| !self.gone.contains(place.segment);
        let left = |stripe: usize| object.copies().filter(|copy| is_there(&copy[stripe])).count();
        (0..object.stripes()).map(left).min().unwrap_or(0) as u8
    }

    /// Goes on with the walk, past so many objects as one tick may.
    pub(super) fn go_on_sweeping(&mut self, now: u64) {
        if self.gone.is_empty() || self.lead.phase != Phase::Serving {
            return;
        }
        let gone = &mut self.gone;
        if gone.taken_out.is_empty() {
            (gone.shard, gone.slot) = (0, 0);
            std::mem::swap(&mut gone.taken_out, &mut gone.later);
        }
        let mut looks = u32::try_from(self.config.sweep.max(1)).unwrap_or(u32::MAX);
        while looks > 0 {
            let (shard, from) = (self.gone.shard, self.gone.slot);
            let Some(objects) = self.shards.get(shard as usize).map(|shard| &shard.objects) else {
                let done = std::mem::take(&mut self.gone.taken_out);
                done.into_iter().for_each(|slot| self.pool.release(slot));
                return;
            };
            let slots = u32::try_from(objects.slots()).unwrap_or(u32::MAX);
            let to = from.saturating_add(looks).min(slots);
            let hit: Vec<u32> = (from..to).filter(|slot| self.names_gone(objects.get(*slot))).collect();
            looks -= (to - from).max(1);
            (self.gone.shard, self.gone.slot) = if to == slots { (shard + 1, 0) } else { (shard, to) };
            hit.into_iter().for_each(|slot| self.shrink(now, ObjectRef { shard, slot }));
        }
    }

    /// Takes replicas on nodes that are gone out of an object.
    fn shrink(&mut self, now: u64, at: ObjectRef) {
        let (kept, replicas, stray) = self.survivors(self.object(at));
        if replicas == 0 {
            self.stats.lost += 1;
            self.cancel_copy(now, at);
            self.object_mut(at).places = Places::from(stray);
            // What is left is no replica, but until it is dropped a new master would find it.
            self.begin_removal(now, at);
            return self.end_if_quiet(at);
        }
        self.set_places(at, kept, replicas);
        let readers_until = self.object(at).lease_until;
        if !stray.is_empty() {
            self.drop_places(now, at, &stray, readers_until, true);
        }
    }

    /// The replicas that are whole, and others made of what is left of the rest: two replicas that lost a stripe each are
    /// one together. How many that makes, and what is left over.
    fn survivors(&self, object: &Object) -> (Vec<Place>, u8, Vec<Place>) {
        let is_there = |place: &Place| self.pool.get(place.segment).is_some();
        let (whole, broken): (Vec<&[Place]>, Vec<&[Place]>) =
            object.copies().partition(|copy| copy.iter().all(is_there));
        let left = |stripe: usize| broken.iter().map(|copy| copy[stripe]).filter(is_there).collect();
        let mut left: Vec<Vec<Place>> = (0..object.stripes()).map(left).collect();
        let (mut kept, mut replicas) = (whole.concat(), whole.len() as u8);
        while left.iter().all(|places| !places.is_empty()) {
            kept.extend(left.iter_mut().filter_map(Vec::pop));
            replicas += 1;
        }
        (kept, replicas, left.concat())
    }
}
