//! Ranges that nodes were told to drop, until they are free, and when each node is to be told again.

use std::collections::{BTreeMap, BTreeSet};

use super::shard::{ObjectRef, Place};

/// A node is told again after one, two, four, and at most so many times `resend_ms`.
const MOST_WAITS: u64 = 16;

/// A range that a node was told to drop.
#[derive(Debug)]
pub struct Drop {
    pub place: Place,
    /// Of memory.
    pub bytes: u64,
    pub readers_until: u64,
    pub writer_done: bool,
    /// Whose change waits until the node applied it.
    pub owner: Option<ObjectRef>,
}

#[derive(Debug)]
struct Told {
    drop: Drop,
    /// When the node is told again, and how many times `resend_ms` it waits after that.
    due: u64,
    waits: u64,
}

/// Those of one segment, by offset.
#[derive(Debug, Default)]
struct Here {
    list: BTreeMap<u64, Told>,
    due: BTreeSet<(u64, u64)>,
    bytes: u64,
}

impl Here {
    fn put_off(&mut self, offset: u64, due: u64) {
        if let Some(told) = self.list.get_mut(&offset) {
            self.due.remove(&(told.due, offset));
            told.due = due;
            self.due.insert((due, offset));
        }
    }
}

#[derive(Debug, Default)]
pub struct Drops {
    segments: BTreeMap<u32, Here>,
    len: usize,
}

impl Drops {
    /// Adds one that its node is told of now, and again when it is due.
    pub fn add(&mut self, (slot, offset): (u32, u64), drop: Drop, due: u64) {
        let here = self.segments.entry(slot).or_default();
        debug_assert!(!here.list.contains_key(&offset), "a range is dropped once");
        here.bytes += drop.bytes;
        here.list.insert(offset, Told { drop, due, waits: 2 });
        here.due.insert((due, offset));
        self.len += 1;
    }

    pub fn get(&self, (slot, offset): (u32, u64)) -> Option<&Drop> {
        self.segments.get(&slot)?.list.get(&offset).map(|told| &told.drop)
    }

    /// The node applied it, and says by itself when the range is free. If that is lost, it is asked when readers are gone.
    /// Returns whose change waited for this.
    pub fn applied(&mut self, (slot, offset): (u32, u64), due: u64) -> Option<ObjectRef> {
        let here = self.segments.get_mut(&slot)?;
        let told = here.list.get_mut(&offset)?;
        let owner = told.drop.owner.take();
        let due = due.max(told.drop.readers_until).max(told.due);
        here.put_off(offset, due);
        owner
    }

    /// The range is free.
    pub fn remove(&mut self, (slot, offset): (u32, u64)) -> Option<Drop> {
        let here = self.segments.get_mut(&slot)?;
        let Told { drop, due, .. } = here.list.remove(&offset)?;
        here.due.remove(&(due, offset));
        here.bytes -= drop.bytes;
        self.len -= 1;
        if here.list.is_empty() {
            self.segments.remove(&slot);
        }
        Some(drop)
    }

    /// The segment is gone. Returns whose changes waited.
    pub fn remove_segment(&mut self, slot: u32) -> Vec<ObjectRef> {
        let here = self.segments.remove(&slot).unwrap_or_default();
        self.len -= here.list.len();
        here.list.into_values().filter_map(|told| told.drop.owner).collect()
    }

    /// Takes note that what is due in a segment is sent again now: those that waited longest, at most `limit`.
    pub fn resend(&mut self, now: u64, slot: u32, limit: usize, resend_ms: u64) -> Vec<u64> {
        let Some(here) = self.segments.get_mut(&slot) else { return Vec::new() };
        let due = here.due.iter().take_while(|(due, _)| *due <= now).take(limit);
        let offsets: Vec<u64> = due.map(|(_, offset)| *offset).collect();
        for offset in &offsets {
            let Some(told) = here.list.get_mut(offset) else { continue };
            let waits = told.waits;
            told.waits = (waits * 2).min(MOST_WAITS);
            here.put_off(*offset, now + waits * resend_ms);
        }
        offsets
    }

    pub fn segments(&self) -> Vec<u32> {
        self.segments.keys().copied().collect()
    }

    pub fn bytes(&self, slot: u32) -> u64 {
        self.segments.get(&slot).map_or(0, |here| here.bytes)
    }

    /// When readers of something may be gone: of the oldest in each segment.
    pub fn soonest(&self) -> Option<u64> {
        let first = |here: &Here| here.list.get(&here.due.first()?.1).map(|told| told.drop.readers_until);
        self.segments.values().filter_map(first).min()
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = &Drop> {
        self.segments.values().flat_map(|here| here.list.values().map(|told| &told.drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::object::Generation;

    fn drops(count: u64) -> Drops {
        let mut drops = Drops::default();
        for offset in 0..count {
            let place = Place::new(Generation(1), 7, offset as u32);
            let drop = Drop { place, bytes: 10, readers_until: 50, writer_done: true, owner: None };
            drops.add((7, offset), drop, 100 + offset);
        }
        drops
    }

    #[test]
    fn what_was_not_answered_is_sent_again_the_oldest_first_a_few_at_a_time_and_then_less_often() {
        let mut drops = drops(10);
        assert_eq!(drops.resend(99, 7, 4, 100), [0u64; 0]);
        assert_eq!(drops.resend(109, 7, 4, 100), [0, 1, 2, 3]);
        assert_eq!(drops.resend(109, 7, 4, 100), [4, 5, 6, 7]);
        assert_eq!(drops.resend(109, 7, 4, 100), [8, 9]);
        assert_eq!(drops.resend(308, 7, 20, 100), [0u64; 0]);
        assert_eq!(drops.resend(309, 7, 20, 100).len(), 10);
        assert_eq!(drops.resend(708, 7, 20, 100), [0u64; 0]);
        assert_eq!(drops.resend(709, 7, 20, 100).len(), 10);
    }

    #[test]
    fn bytes_are_counted_while_they_are_not_free() {
        let mut drops = drops(10);
        assert_eq!((drops.bytes(7), drops.len(), drops.bytes(8)), (100, 10, 0));
        drops.remove((7, 3)).expect("it is there");
        assert!(drops.remove((7, 3)).is_none());
        assert_eq!((drops.bytes(7), drops.len()), (90, 9));
        drops.remove_segment(7);
        assert_eq!((drops.bytes(7), drops.len(), drops.iter().count()), (0, 0, 0));
    }

    #[test]
    fn what_was_applied_is_asked_about_when_its_readers_are_gone() {
        let mut drops = drops(1);
        drops.applied((7, 0), 40);
        assert_eq!(drops.resend(99, 7, 4, 100), [0u64; 0]);
        assert_eq!(drops.resend(100, 7, 4, 100), [0]);
    }
}
