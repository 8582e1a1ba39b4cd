//! A small cache of a sample of the keys, without the objects: it tells what a share would have done.

use std::collections::HashMap;

use super::entries::{Entries, FREE};
use super::segments::Segments;

/// Most entries of one shadow, whatever the objects of its sample weigh.
const MOST: usize = 4096;

pub struct Shadow {
    entries: Entries,
    segments: Segments,
    slots: HashMap<u32, u32>,
    free: Vec<u32>,
    capacity: u64,
    /// Hits, of which older ones count less.
    pub score: u64,
}

impl Shadow {
    pub fn new() -> Shadow {
        Shadow {
            entries: Entries::default(),
            segments: Segments::new(),
            slots: HashMap::new(),
            free: Vec::new(),
            capacity: 0,
            score: 0,
        }
    }

    pub fn set_capacity(&mut self, capacity: u64, share: u64) {
        self.capacity = capacity;
        self.segments.set_room(capacity, share);
    }

    /// An object of the sample was used: found here it scores, else it takes its place.
    pub fn refer(&mut self, key: u32, weight: u32) {
        if let Some(&slot) = self.slots.get(&key) {
            self.segments.touch(&mut self.entries, slot);
            self.score += 1;
        } else if u64::from(weight) <= self.capacity {
            while self.segments.weight() + u64::from(weight) > self.capacity || self.segments.len() == MOST {
                self.evict();
            }
            let fresh = || u32::try_from(self.slots.len()).expect("at most MOST");
            let slot = self.free.pop().unwrap_or_else(fresh);
            self.entries.put(slot, key, weight);
            self.slots.insert(key, slot);
            self.segments.insert(&mut self.entries, slot);
        }
    }

    /// Keeps only keys that are still of the sample.
    pub fn retain(&mut self, is_sampled: impl Fn(u32) -> bool) {
        for slot in 0..u32::try_from(self.entries.slots()).expect("at most MOST") {
            let key = self.entries[slot].key;
            if self.entries.list_of(slot) != FREE && !is_sampled(key) {
                self.segments.remove(&mut self.entries, slot);
                self.forget(key, slot);
            }
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    fn evict(&mut self) {
        let slot = self.segments.victim().expect("what fits into an empty shadow needs no eviction");
        let key = self.entries[slot].key;
        self.segments.evict(&mut self.entries, slot);
        self.forget(key, slot);
    }

    fn forget(&mut self, key: u32, slot: u32) {
        self.slots.remove(&key);
        self.free.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shadow(capacity: u64) -> Shadow {
        let mut shadow = Shadow::new();
        shadow.set_capacity(capacity, 0);
        shadow
    }

    #[test]
    fn a_shadow_counts_what_a_cache_of_its_size_would_have_found() {
        let mut shadow = shadow(30);
        [1, 2, 3, 1, 4, 2, 1].iter().for_each(|&key| shadow.refer(key, 10));
        assert_eq!((shadow.score, shadow.len()), (2, 3));
    }

    #[test]
    fn what_is_too_large_is_passed_over_and_light_ones_are_not_kept_without_end() {
        let mut shadow = shadow(1 << 20);
        shadow.refer(1, u32::MAX);
        assert_eq!(shadow.len(), 0);
        (0..10_000).for_each(|key| shadow.refer(key, 1));
        assert_eq!(shadow.len(), MOST);
    }

    #[test]
    fn a_smaller_sample_drops_the_others_and_their_slots_are_used_again() {
        let mut shadow = shadow(1000);
        (0..1000).for_each(|key| shadow.refer(key, 1));
        shadow.retain(|key| key % 4 == 0);
        assert_eq!((shadow.len(), shadow.free.len()), (250, 750));
        (0..1000).filter(|key| key % 4 == 0).for_each(|key| shadow.refer(key, 1));
        assert_eq!(shadow.score, 250);
        (1000..1750).for_each(|key| shadow.refer(key, 1));
        assert_eq!((shadow.len(), shadow.free.len()), (1000, 0));
    }
}
