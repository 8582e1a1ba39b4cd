//! The store's own policy: a segmented LRU that measures how much of the cache it should protect.
//!
//! How much should be protected depends on the traffic: none where people come back to what they used last, most where
//! some objects are popular for long. So the policy tries: for each of SHARES a shadow, a segmented LRU of keys alone
//! (`shadow.rs`), sees one key of 2^n, over a capacity that is as much smaller, and counts its hits. The cache itself
//! (`segments.rs`) has the share of the shadow that has most. Hits count half after PERIOD uses, so that old traffic is
//! forgotten. n grows with the number of objects, so a shadow holds about 1,000 to 2,000 keys however large the
//! cache is. Nothing is random and there is no clock. A use costs a few steps in lists, and for sampled keys as much
//! again per shadow. Memory is 32 bytes for each object (20 of its entry, 12 of three quarters of a ghost) and
//! at most 1 MiB of shadows.

use super::entries::Entries;
use super::segments::Segments;
use super::shadow::Shadow;
use super::{Eviction, spread};

/// Thousandths of the capacity that may be protected. The first is LRU, with which everything starts.
const SHARES: [u64; 4] = [0, 150, 500, 980];
/// Entries that shadows are made for. They have up to twice as many before the sample is halved.
const SHADOWED: usize = 1024;
/// Uses of sampled keys after which hits count half.
const PERIOD: u32 = 8192;

pub struct Adaptive {
    segments: Segments,
    shadows: [Shadow; SHARES.len()],
    /// Which of SHARES is in force.
    leader: usize,
    /// One key of 2 to this power is sampled.
    halvings: u32,
    capacity: u64,
    uses: u32,
}

impl Adaptive {
    pub fn new() -> Adaptive {
        Adaptive {
            segments: Segments::new(),
            shadows: SHARES.map(|_| Shadow::new()),
            leader: 0,
            halvings: 0,
            capacity: 0,
            uses: 0,
        }
    }

    /// The share of the capacity that may be protected now, in thousandths.
    #[cfg(test)]
    pub fn share(&self) -> u64 {
        SHARES[self.leader]
    }

    fn refer(&mut self, key: u32, weight: u32) {
        if !is_sampled(key, self.halvings) {
            return;
        }
        for shadow in &mut self.shadows {
            shadow.refer(key, weight);
        }
        self.follow_the_best();
        self.uses += 1;
        if self.uses == PERIOD {
            self.uses = 0;
            for shadow in &mut self.shadows {
                shadow.score /= 2;
            }
        }
    }

    /// Only more hits change the share: equal ones would let it wander.
    fn follow_the_best(&mut self) {
        let score = |index: usize| self.shadows[index].score;
        let best = (0..SHARES.len())
            .fold(self.leader, |best, index| if score(index) > score(best) { index } else { best });
        if best != self.leader {
            self.leader = best;
            self.segments.set_room(self.capacity, SHARES[best]);
        }
    }

    /// Fits the sample to the number of objects.
    fn resample(&mut self) {
        let shadowed = self.segments.len() >> self.halvings;
        if shadowed > 2 * SHADOWED {
            self.halvings += 1;
            for shadow in &mut self.shadows {
                shadow.retain(|key| is_sampled(key, self.halvings));
            }
        } else if self.halvings > 0 && shadowed < SHADOWED / 2 {
            self.halvings -= 1;
        } else {
            return;
        }
        self.size_shadows();
    }

    fn size_shadows(&mut self) {
        for (shadow, share) in self.shadows.iter_mut().zip(SHARES) {
            shadow.set_capacity(self.capacity >> self.halvings, share);
        }
    }
}

fn is_sampled(key: u32, halvings: u32) -> bool {
    // The lower bits place a key in tables.
    (spread(key) >> 32).trailing_zeros() >= halvings
}

impl Eviction for Adaptive {
    fn insert(&mut self, entries: &mut Entries, slot: u32) {
        self.refer(entries[slot].key, entries[slot].weight());
        self.segments.insert(entries, slot);
        self.resample();
    }

    fn touch(&mut self, entries: &mut Entries, slot: u32) {
        self.refer(entries[slot].key, entries[slot].weight());
        self.segments.touch(entries, slot);
    }

    fn victim(&mut self, _entries: &mut Entries) -> Option<u32> {
        self.segments.victim()
    }

    fn evict(&mut self, entries: &mut Entries, slot: u32) {
        self.segments.evict(entries, slot);
    }

    fn remove(&mut self, entries: &mut Entries, slot: u32) {
        self.segments.remove(entries, slot);
    }

    fn set_capacity(&mut self, capacity: u64) {
        self.capacity = capacity;
        self.segments.set_room(capacity, SHARES[self.leader]);
        self.size_shadows();
    }
}

#[cfg(test)]
mod tests {
    use super::super::entries::FREE;
    use super::*;

    /// Uses keys in a cache of so many, each in the slot of its number.
    fn refer(policy: &mut Adaptive, entries: &mut Entries, capacity: usize, key: u32) {
        if entries.list_of(key) != FREE {
            policy.touch(entries, key);
            return;
        }
        if policy.segments.len() == capacity {
            let victim = policy.victim(entries).expect("it is full");
            policy.evict(entries, victim);
        }
        entries.put(key, key, 1);
        policy.insert(entries, key);
    }

    fn new(capacity: usize) -> (Adaptive, Entries) {
        let mut policy = Adaptive::new();
        policy.set_capacity(capacity as u64);
        (policy, Entries::default())
    }

    /// Each key is used again after 900 others, and never more.
    fn twice(policy: &mut Adaptive, entries: &mut Entries, keys: std::ops::Range<u32>) {
        for key in keys {
            refer(policy, entries, 1000, key);
            refer(policy, entries, 1000, key.saturating_sub(450));
        }
    }

    /// Some keys are used all the time, among many that come once.
    fn hot_among_many(policy: &mut Adaptive, entries: &mut Entries, keys: std::ops::Range<u32>) {
        for key in keys {
            refer(policy, entries, 1000, key);
            refer(policy, entries, 1000, 1_000_000 + spread(key) as u32 % 900);
        }
    }

    #[test]
    fn the_share_follows_the_traffic_there_and_back() {
        let (mut policy, mut entries) = new(1000);
        twice(&mut policy, &mut entries, 0..20_000);
        assert_eq!(policy.share(), 0);
        hot_among_many(&mut policy, &mut entries, 20_000..60_000);
        assert!(policy.share() >= 500, "{}", policy.share());
        twice(&mut policy, &mut entries, 60_000..160_000);
        assert_eq!(policy.share(), 0);
    }

    #[test]
    fn shadows_stay_small_and_are_refilled_when_objects_become_few() {
        let (mut policy, mut entries) = new(50_000);
        let shadowed = |policy: &Adaptive| policy.shadows.iter().map(Shadow::len).max().unwrap_or(0);
        for key in 0..120_000 {
            refer(&mut policy, &mut entries, 50_000, key);
            assert!(shadowed(&policy) <= 2 * SHADOWED + SHADOWED / 2, "{} at {key}", shadowed(&policy));
        }
        assert!(policy.halvings == 5 && shadowed(&policy) > SHADOWED);
        while let Some(victim) = policy.victim(&mut entries).filter(|_| policy.segments.len() > 100) {
            policy.remove(&mut entries, victim);
        }
        for key in 200_000..200_100 {
            refer(&mut policy, &mut entries, 50_000, key);
        }
        assert_eq!(policy.halvings, 0);
    }

    #[test]
    fn the_same_traffic_gives_the_same_order() {
        let play = || {
            let (mut policy, mut entries) = new(1000);
            hot_among_many(&mut policy, &mut entries, 0..5000);
            twice(&mut policy, &mut entries, 5000..9000);
            std::iter::from_fn(move || {
                let victim = policy.victim(&mut entries)?;
                policy.remove(&mut entries, victim);
                Some(victim)
            })
            .collect::<Vec<u32>>()
        };
        assert_eq!(play(), play());
    }
}
