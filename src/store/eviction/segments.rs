//! Segmented LRU with ghosts: those used again are protected, up to a share of the capacity.
//!
//! An object starts on probation, and is protected when it is used again. The longest unused of the protected goes back
//! on probation when they take more than their share; the longest unused on probation leaves, and is remembered for
//! about as long as it was there. One that comes back soon enough is protected at once: if it was away for a shorter
//! time than the longest unused of the protected has been idle. (A loop larger than the cache so keeps what it has.)
//! With a share of nothing this is LRU; with nearly all, newcomers hardly disturb what was used twice.

use super::QUEUE;
use super::entries::{Entries, List};
use super::ghosts::Ghosts;

const PROBATION: u32 = QUEUE;
const PROTECTED: u32 = QUEUE + 1;
/// How many may go back on probation per use, so that a share that shrinks is no burst of work.
const DEMOTIONS: usize = 4;
/// Of those that left as many are remembered as so many quarters of those that are here.
const REMEMBERED: usize = 3;

pub struct Segments {
    probation: List,
    protected: List,
    ghosts: Ghosts,
    /// Weight that the protected may have.
    room: u64,
    /// Uses so far; an entry's mark is the time of its last one.
    now: u32,
}

impl Segments {
    pub fn new() -> Segments {
        Segments {
            probation: List::new(PROBATION),
            protected: List::new(PROTECTED),
            ghosts: Ghosts::new(),
            room: 0,
            now: 0,
        }
    }

    /// `share` is in thousandths.
    pub fn set_room(&mut self, capacity: u64, share: u64) {
        self.room = capacity / 1000 * share + capacity % 1000 * share / 1000;
    }

    pub fn len(&self) -> usize {
        self.probation.len() + self.protected.len()
    }

    pub fn weight(&self) -> u64 {
        self.probation.weight() + self.protected.weight()
    }

    pub fn insert(&mut self, entries: &mut Entries, slot: u32) {
        self.now = self.now.wrapping_add(1);
        match self.ghosts.take(entries[slot].key) {
            Some(last) if self.earns_protection(entries, slot, last) => self.protected.push(entries, slot),
            _ => self.probation.push(entries, slot),
        }
        self.settle(entries, slot);
    }

    pub fn touch(&mut self, entries: &mut Entries, slot: u32) {
        self.now = self.now.wrapping_add(1);
        self.remove(entries, slot);
        self.protected.push(entries, slot);
        self.settle(entries, slot);
    }

    pub fn victim(&self) -> Option<u32> {
        self.probation.oldest().or(self.protected.oldest())
    }

    pub fn evict(&mut self, entries: &mut Entries, slot: u32) {
        self.ghosts.add(entries[slot].key, entries[slot].mark, self.len() * REMEMBERED / 4);
        self.remove(entries, slot);
    }

    pub fn remove(&mut self, entries: &mut Entries, slot: u32) {
        if self.protected.holds(entries, slot) {
            self.protected.remove(entries, slot);
        } else {
            self.probation.remove(entries, slot);
        }
    }

    fn earns_protection(&self, entries: &Entries, slot: u32, last: u32) -> bool {
        if self.protected.weight() + u64::from(entries[slot].weight()) <= self.room {
            return true;
        }
        let away = self.now.wrapping_sub(last);
        self.protected.oldest().is_some_and(|oldest| away < self.now.wrapping_sub(entries[oldest].mark))
    }

    fn settle(&mut self, entries: &mut Entries, used: u32) {
        entries[used].mark = self.now;
        for _ in 0..DEMOTIONS {
            if self.protected.weight() <= self.room {
                return;
            }
            let Some(oldest) = self.protected.oldest() else { return };
            self.protected.remove(entries, oldest);
            self.probation.push(entries, oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::entries::FREE;
    use super::*;

    struct Cache {
        entries: Entries,
        segments: Segments,
        capacity: usize,
    }

    impl Cache {
        fn new(capacity: usize, share: u64) -> Cache {
            let mut segments = Segments::new();
            segments.set_room(capacity as u64, share);
            Cache { entries: Entries::default(), segments, capacity }
        }

        /// Uses a key, in the slot of its number, and tells whether it was there.
        fn refer(&mut self, key: u32) -> bool {
            if self.entries.list_of(key) != FREE {
                self.segments.touch(&mut self.entries, key);
                return true;
            }
            if self.segments.len() == self.capacity {
                self.evict();
            }
            self.entries.put(key, key, 1);
            self.segments.insert(&mut self.entries, key);
            false
        }

        fn evict(&mut self) -> u32 {
            let victim = self.segments.victim().expect("it is not empty");
            self.segments.evict(&mut self.entries, victim);
            victim
        }
    }

    proptest! {
        #[test]
        fn a_share_of_nothing_is_lru(keys in prop::collection::vec(0u32..30, 1..300)) {
            let (mut cache, mut model) = (Cache::new(8, 0), Vec::new());
            for key in keys {
                let was_there = model.contains(&key);
                model.retain(|&other| other != key);
                if model.len() == 8 {
                    model.remove(0);
                }
                model.push(key);
                prop_assert_eq!(cache.refer(key), was_there);
            }
        }
    }

    #[test]
    fn what_was_used_twice_outlives_what_came_once() {
        let mut cache = Cache::new(10, 500);
        [1, 2, 1, 2].iter().for_each(|&key| _ = cache.refer(key));
        (100..200).for_each(|key| _ = cache.refer(key));
        assert!(cache.refer(1) && cache.refer(2));
    }

    #[test]
    fn those_beyond_the_share_go_back_on_probation_the_longest_unused_first() {
        let mut cache = Cache::new(10, 300);
        [1, 2, 3, 4, 1, 2, 3, 4].iter().for_each(|&key| _ = cache.refer(key));
        assert_eq!(cache.segments.protected.len(), 3);
        assert_eq!([cache.evict(), cache.evict()], [1, 2]);
    }

    #[test]
    fn what_comes_back_soon_is_protected_and_what_comes_back_late_is_not() {
        let mut cache = Cache::new(4, 500);
        [1, 2, 1, 2, 3, 4, 5].iter().for_each(|&key| _ = cache.refer(key));
        // 3 has just left, and 1 has been idle for longer than 3 was away.
        assert!(!cache.refer(3) && cache.segments.protected.holds(&cache.entries, 3));
        assert!(cache.segments.probation.holds(&cache.entries, 1));
        // 4 left before that; 2 and 3 were used since.
        [2, 3, 2, 3].iter().for_each(|&key| _ = cache.refer(key));
        assert!(!cache.refer(4) && cache.segments.probation.holds(&cache.entries, 4));
    }

    #[test]
    fn a_loop_that_is_a_little_too_large_keeps_most_of_what_it_has() {
        let mut cache = Cache::new(1000, 980);
        let hits = (0..20_000u32).filter(|step| cache.refer(step % 1200)).count();
        assert!(hits > 12_000, "{hits} of 20000");
    }

    #[test]
    fn a_share_that_shrinks_is_no_burst_of_work() {
        let mut cache = Cache::new(1000, 980);
        (0..2000).for_each(|step| _ = cache.refer(step % 900));
        assert_eq!(cache.segments.protected.len(), 900);
        cache.segments.set_room(1000, 0);
        cache.refer(5000);
        assert_eq!(cache.segments.protected.len(), 900 - DEMOTIONS);
    }
}
