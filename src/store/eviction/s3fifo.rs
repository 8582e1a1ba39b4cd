//! S3-FIFO: newcomers pass a small queue; those used twice there, or that come back soon, go on to the main one.

use std::collections::HashMap;

use super::entries::{Entries, List};
use super::{Eviction, QUEUE};

const SMALL: u32 = QUEUE;
const MAIN: u32 = QUEUE + 1;
/// Of so many parts of the capacity the small queue has one.
const SMALL_PART: u64 = 10;

pub struct S3Fifo {
    small: List,
    main: List,
    ghosts: Ghosts,
    capacity: u64,
}

impl S3Fifo {
    pub fn new() -> S3Fifo {
        S3Fifo { small: List::new(SMALL), main: List::new(MAIN), ghosts: Ghosts::new(), capacity: 0 }
    }

    fn small_share(&self) -> u64 {
        (self.capacity / SMALL_PART).max(1)
    }
}

impl Eviction for S3Fifo {
    fn insert(&mut self, entries: &mut Entries, slot: u32) {
        entries[slot].set_uses(0);
        if self.ghosts.take(entries[slot].key) {
            self.main.push(entries, slot);
        } else {
            self.small.push(entries, slot);
        }
    }

    fn touch(&mut self, entries: &mut Entries, slot: u32) {
        // The entry counts up to three.
        let uses = entries[slot].uses();
        entries[slot].set_uses(uses + 1);
    }

    /// Each entry that is moved on pays with its uses, so with touches.
    fn victim(&mut self, entries: &mut Entries) -> Option<u32> {
        loop {
            if self.small.weight() >= self.small_share() || self.main.is_empty() {
                let slot = self.small.oldest()?;
                if entries[slot].uses() < 2 {
                    return Some(slot);
                }
                entries[slot].set_uses(0);
                self.small.remove(entries, slot);
                self.main.push(entries, slot);
            } else {
                let slot = self.main.oldest()?;
                if entries[slot].uses() == 0 {
                    return Some(slot);
                }
                let uses = entries[slot].uses();
                entries[slot].set_uses(uses - 1);
                self.main.renew(entries, slot);
            }
        }
    }

    fn evict(&mut self, entries: &mut Entries, slot: u32) {
        if self.small.holds(entries, slot) {
            let main_share = self.capacity.saturating_sub(self.small_share());
            let most = self.small.len() + self.main.len();
            self.ghosts.add(entries[slot].key, entries[slot].weight(), main_share, most);
        }
        self.remove(entries, slot);
    }

    fn remove(&mut self, entries: &mut Entries, slot: u32) {
        if self.small.holds(entries, slot) {
            self.small.remove(entries, slot);
        } else {
            self.main.remove(entries, slot);
        }
    }

    fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
    }
}

/// Keys of those that left the small queue, in the order in which they did.
struct Ghosts {
    entries: Entries,
    left: List,
    slots: HashMap<u32, u32>,
    free: Vec<u32>,
}

impl Ghosts {
    fn new() -> Ghosts {
        Ghosts {
            entries: Entries::default(),
            left: List::new(QUEUE),
            slots: HashMap::new(),
            free: Vec::new(),
        }
    }

    /// Remembers a key, and forgets the oldest ones beyond a weight and a number.
    fn add(&mut self, key: u32, weight: u32, most_weight: u64, most: usize) {
        self.take(key);
        let slot =
            self.free.pop().unwrap_or_else(|| u32::try_from(self.slots.len()).expect("fewer than slots"));
        self.entries.put(slot, key, weight);
        self.left.push(&mut self.entries, slot);
        self.slots.insert(key, slot);
        while self.left.weight() > most_weight || self.left.len() > most {
            let Some(oldest) = self.left.oldest() else { break };
            self.take(self.entries[oldest].key);
        }
    }

    /// True if the key was remembered; it is not any more.
    fn take(&mut self, key: u32) -> bool {
        let Some(slot) = self.slots.remove(&key) else { return false };
        self.left.remove(&mut self.entries, slot);
        self.free.push(slot);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::super::tests::departures;

    #[test]
    fn what_is_used_once_leaves_soon_and_what_comes_back_stays() {
        // A small queue of 1, a main one of 9. 1 was used twice and moves on; 2, used once more only, leaves.
        let mut sequence: Vec<u32> = (1..=10).collect();
        sequence.extend([1, 1, 2, 11, 12]);
        assert_eq!(departures(Policy::S3Fifo, 10, &sequence), [2, 3]);
        // 2 is remembered, so it comes back to the main queue, and others leave the small one before it.
        sequence.extend([2, 13, 14]);
        assert_eq!(departures(Policy::S3Fifo, 10, &sequence), [2, 3, 4, 5, 6]);
        sequence.extend(20..40);
        assert!(!departures(Policy::S3Fifo, 10, &sequence)[1..].contains(&2));
    }

    #[test]
    fn the_main_queue_gives_another_round_for_each_use() {
        // 1, 2 and 3 go on to the main queue, and 1 leaves it for 4. Then 2 is used, and 4 goes on too; so for 5 the
        // main queue is searched again: 2 has another round, 3 has none.
        let sequence = [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 2, 4, 4, 5, 6];
        assert_eq!(departures(Policy::S3Fifo, 3, &sequence), [1, 3, 5]);
    }
}
