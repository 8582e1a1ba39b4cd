//! Policies beside plain models of them, and what an evictor promises of all policies.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::{Evictor, Policy};

/// Uses keys in this order in a cache of so many, and tells which leave.
pub fn departures(policy: Policy, capacity: u64, keys: &[u32]) -> Vec<u32> {
    let mut cache = Evictor::new(policy, capacity);
    keys.iter().filter_map(|&key| refer(&mut cache, capacity, key)).collect()
}

/// Uses a key, which takes its place if it is not there, and tells which left for it.
fn refer(cache: &mut Evictor, capacity: u64, key: u32) -> Option<u32> {
    if cache.holds(key) {
        cache.touch(key);
        return None;
    }
    let departed = if cache.weight() < capacity { None } else { cache.pick(|_| true) };
    cache.insert(key, key, 1);
    departed
}

/// A policy as one would tell it: the one of the lowest rank leaves.
#[derive(Default)]
struct Model {
    time: u64,
    /// (key, when it came, when it was used last, how often)
    cached: Vec<(u32, u64, u64, u64)>,
}

impl Model {
    fn refer(&mut self, policy: Policy, capacity: usize, key: u32) -> Option<u32> {
        self.time += 1;
        if let Some(found) = self.cached.iter_mut().find(|entry| entry.0 == key) {
            (found.2, found.3) = (self.time, found.3 + 1);
            return None;
        }
        let departed = (self.cached.len() >= capacity).then(|| self.evict(policy)).flatten();
        self.cached.push((key, self.time, self.time, 1));
        departed
    }

    fn evict(&mut self, policy: Policy) -> Option<u32> {
        let rank = |entry: &(u32, u64, u64, u64)| match policy {
            Policy::Fifo => (0, entry.1),
            Policy::Lru => (0, entry.2),
            _ => (entry.3, entry.2),
        };
        let place = (0..self.cached.len()).min_by_key(|&place| rank(&self.cached[place]))?;
        Some(self.cached.remove(place).0)
    }
}

proptest! {
    #[test]
    fn lru_fifo_and_lfu_are_what_their_names_say(
        steps in prop::collection::vec((0u32..14, 0u32..10), 1..400),
        capacity in 1usize..9,
    ) {
        for policy in [Policy::Lru, Policy::Fifo, Policy::Lfu] {
            let (mut cache, mut model) = (Evictor::new(policy, capacity as u64), Model::default());
            for &(key, kind) in &steps {
                if kind == 0 {
                    cache.remove(key);
                    model.cached.retain(|entry| entry.0 != key);
                } else {
                    let departed = refer(&mut cache, capacity as u64, key);
                    prop_assert_eq!(departed, model.refer(policy, capacity, key), "{:?}", policy);
                }
                prop_assert_eq!(cache.len(), model.cached.len());
            }
        }
    }

    /// Slots are used again for other keys, objects have weights, some may not go, some are removed: everything is
    /// counted right, nothing leaves that may not, and all leaves once in the end.
    #[test]
    fn every_policy_keeps_count_and_respects_who_may_not_go(
        steps in prop::collection::vec((0u32..40, 0u32..8, 1u32..50), 1..300),
    ) {
        for policy in Policy::ALL {
            let mut cache = Evictor::new(policy, 400);
            let mut weights: HashMap<u32, u32> = HashMap::new();
            let mut leased: HashSet<u32> = HashSet::new();
            for (step, &(slot, kind, weight)) in steps.iter().enumerate() {
                match kind {
                    0 => {
                        cache.remove(slot);
                        weights.remove(&slot);
                    }
                    1 => {
                        cache.evict(slot);
                        weights.remove(&slot);
                    }
                    2 => {
                        leased.insert(slot);
                    }
                    3 => {
                        leased.remove(&slot);
                    }
                    4 => cache.touch(slot),
                    _ => {
                        while cache.weight() + u64::from(weight) > 400 {
                            let mut asked = 0;
                            let picked = cache.pick(|slot| {
                                asked += 1;
                                !leased.contains(&slot)
                            });
                            prop_assert!(asked <= 34, "{:?} asked {} times", policy, asked);
                            let Some(picked) = picked else { break };
                            prop_assert!(!leased.contains(&picked) && weights.remove(&picked).is_some());
                        }
                        cache.insert(slot, (step as u32) * 64 + slot, weight);
                        weights.insert(slot, weight);
                    }
                }
                prop_assert_eq!(cache.len(), weights.len(), "{:?}", policy);
                prop_assert_eq!(cache.weight(), weights.values().map(|&weight| u64::from(weight)).sum::<u64>());
            }
            while let Some(picked) = cache.pick(|_| true) {
                prop_assert!(weights.remove(&picked).is_some(), "{:?} gave {} twice", policy, picked);
            }
            prop_assert!(weights.is_empty() && cache.is_empty() && cache.spared() == 0);
        }
    }
}

#[test]
fn a_leased_head_blocks_nobody_and_goes_first_once_it_may() {
    for policy in Policy::ALL {
        let mut cache = Evictor::new(policy, 10);
        (1..=6).for_each(|slot| cache.insert(slot, slot, 1));
        assert_eq!(cache.pick(|slot| slot != 1), Some(2), "{policy:?}");
        assert_eq!((cache.pick(|slot| slot != 1), cache.spared()), (Some(3), 1), "{policy:?}");
        assert_eq!(cache.pick(|_| true), Some(1), "{policy:?} forgot the place of what was leased");
        assert_eq!((cache.pick(|_| true), cache.spared()), (Some(4), 0), "{policy:?}");
    }
}

#[test]
fn what_is_used_while_it_is_set_aside_is_new_again() {
    let mut cache = Evictor::new(Policy::Lru, 10);
    (1..=3).for_each(|slot| cache.insert(slot, slot, 1));
    assert_eq!(cache.pick(|slot| slot != 1), Some(2));
    cache.touch(1);
    assert_eq!((cache.spared(), cache.pick(|_| true), cache.pick(|_| true)), (0, Some(3), Some(1)));
}

#[test]
fn objects_that_may_not_go_are_not_asked_about_again_and_again() {
    const LEASED: u32 = 10_000;
    for policy in Policy::ALL {
        let mut cache = Evictor::new(policy, u64::from(2 * LEASED));
        (0..2 * LEASED).for_each(|slot| cache.insert(slot, slot, 1));
        let (mut calls, mut asked, mut picked) = (0, 0, 0);
        while picked < LEASED {
            calls += 1;
            let found = cache.pick(|slot| {
                asked += 1;
                slot >= LEASED
            });
            picked += u32::from(found.is_some());
        }
        // Each is set aside once, and each call asks about two of them again.
        assert!(asked <= 2 * LEASED + 2 * calls, "{policy:?} asked {asked} times in {calls} calls");
        assert!(calls <= LEASED + LEASED / 32 + 1, "{policy:?} needed {calls} calls");
        assert_eq!((cache.spared(), cache.pick(|_| false)), (LEASED as usize, None));
    }
}

/// The owner spares soft pins at first, and asks again when nothing else is left.
#[test]
fn soft_pins_go_when_nothing_else_may_and_the_coldest_first() {
    let mut cache = Evictor::new(Policy::Lru, 10);
    (1..=4).for_each(|slot| cache.insert(slot, slot, 1));
    let is_pinned = |slot| slot != 3;
    assert_eq!(cache.pick(|slot| !is_pinned(slot)), Some(3));
    assert_eq!(cache.pick(|slot| !is_pinned(slot)), None);
    assert_eq!(cache.spared(), cache.len(), "so all that is left is pinned");
    let mut left: Vec<Option<u32>> = (0..3).map(|_| cache.pick(|_| true)).collect();
    left.sort();
    assert_eq!(left, [Some(1), Some(2), Some(4)]);
}

#[test]
fn a_group_leaves_as_one_and_down_to_a_mark_by_weight() {
    let mut cache = Evictor::new(Policy::Default, 100);
    let group_of = |slot: u32| slot % 3;
    (0..9).for_each(|slot| cache.insert(slot, slot, 10 + slot));
    let mut left = Vec::new();
    while cache.weight() > 50 {
        // Slot 4 is leased, and so none of its group may go.
        let picked = cache.pick(|slot| group_of(slot) != group_of(4)).expect("others may go");
        let members = (0..9).filter(|&slot| group_of(slot) == group_of(picked));
        left.extend(members.clone());
        members.for_each(|slot| cache.evict(slot));
    }
    assert_eq!(left, [0, 3, 6, 2, 5, 8]);
    assert_eq!((cache.len(), cache.weight()), (3, 11 + 14 + 17));
}

#[test]
fn what_left_is_known_when_it_comes_back_under_another_slot_and_what_was_removed_is_not() {
    // In a cache of ten 100 objects come once, 7 leaves and comes back: S3-FIFO then keeps it in its main queue.
    let stays = |leave: fn(&mut Evictor, u32)| {
        let mut cache = Evictor::new(Policy::S3Fifo, 10);
        (0..9).for_each(|slot| cache.insert(slot, slot, 1));
        leave(&mut cache, 7);
        cache.insert(50, 7, 1);
        for slot in 100..120 {
            cache.pick(|_| true);
            cache.insert(slot, slot, 1);
        }
        cache.holds(50)
    };
    assert!(stays(Evictor::evict));
    assert!(!stays(Evictor::remove));
}

#[test]
fn slots_and_calls_that_mean_nothing_change_nothing() {
    for policy in Policy::ALL {
        let mut cache = Evictor::new(policy, 10);
        cache.insert(3, 3, 2);
        for slot in [0, 4, u32::MAX] {
            cache.touch(slot);
            cache.remove(slot);
            cache.evict(slot);
        }
        cache.insert(3, 33, 5);
        assert_eq!((cache.len(), cache.weight(), cache.pick(|_| true)), (1, 5, Some(3)), "{policy:?}");
        assert_eq!((cache.len(), cache.weight(), cache.pick(|_| true)), (0, 0, None), "{policy:?}");
    }
}

#[test]
fn a_cache_that_gets_another_capacity_goes_on() {
    for policy in Policy::ALL {
        let mut cache = Evictor::new(policy, 0);
        for (capacity, slots) in [(1000, 0..1000), (10, 1000..1100), (5000, 2000..9000)] {
            cache.set_capacity(capacity);
            for slot in slots {
                while cache.weight() >= capacity {
                    cache.pick(|_| true).expect("all may go");
                }
                cache.insert(slot, slot, 1);
            }
            assert_eq!(cache.len() as u64, capacity.min(5000), "{policy:?}");
        }
    }
}
