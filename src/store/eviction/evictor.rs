//! What the owner of a cache talks to: which object is the next to leave, of those that may.

use super::entries::{Entries, FREE, List};
use super::{Eviction, Policy, SPARED};

/// How many of those that were spared are asked about again, before others are.
const AGAIN: usize = 2;
/// How many others are asked about, at most.
const FIRST_TIME: usize = 32;

/// The order in which cached objects leave.
///
/// Objects are named by slots, small numbers that the owner gives and may give again when an object is gone. Each has a
/// key, 32 bits of a hash of its name, by which it is known when it comes back, and a weight in a unit of the owner's
/// (KiB, or 1 for each; up to 2^27 - 1). The owner decides when something must leave: it takes one after the other until its own
/// count of bytes is low enough.
///
/// An object that may not leave when its turn comes (it is leased, pinned, or being written) is set aside. It keeps
/// its place at the front: whenever something is to leave, those set aside longest are asked about first, and they go
/// as soon as they may. A use brings one back into the policy's order. So none is asked about for ever in vain, and none
/// stands in the way of others: a call asks about 34 objects at most, and over time about no more than two for each
/// that leaves and one for each use. Objects that may never leave had better not be inserted.
pub struct Evictor {
    entries: Entries,
    policy: Box<dyn Eviction>,
    spared: List,
    /// Of all, those set aside included.
    len: usize,
    weight: u64,
}

impl Evictor {
    /// `capacity` is what the objects of a full cache weigh.
    pub fn new(policy: Policy, capacity: u64) -> Evictor {
        let mut policy = policy.start();
        policy.set_capacity(capacity);
        Evictor { entries: Entries::default(), policy, spared: List::new(SPARED), len: 0, weight: 0 }
    }

    /// The capacity by which policies divide the cache. Nothing leaves by this.
    pub fn set_capacity(&mut self, capacity: u64) {
        self.policy.set_capacity(capacity);
    }

    /// An object was cached. Whatever had the slot is removed.
    pub fn insert(&mut self, slot: u32, key: u32, weight: u32) {
        self.remove(slot);
        self.entries.put(slot, key, weight);
        self.len += 1;
        self.weight += u64::from(weight);
        self.policy.insert(&mut self.entries, slot);
    }

    /// An object was used. Unknown slots are ignored.
    pub fn touch(&mut self, slot: u32) {
        match self.entries.list_of(slot) {
            FREE => {}
            SPARED => {
                self.spared.remove(&mut self.entries, slot);
                self.policy.insert(&mut self.entries, slot);
            }
            _ => self.policy.touch(&mut self.entries, slot),
        }
    }

    /// An object is gone, by the owner's will. Unknown slots are ignored.
    pub fn remove(&mut self, slot: u32) {
        if self.leave(slot, false) {
            self.forget(slot);
        }
    }

    /// An object leaves with another one, as members of a group do. Should it come back, it is known, as is one that
    /// was picked. Unknown slots are ignored.
    pub fn evict(&mut self, slot: u32) {
        if self.leave(slot, true) {
            self.forget(slot);
        }
    }

    /// Takes out the object that leaves next, of those that `may_go`. None if none of those asked about may: asking
    /// again goes on with others, until all are set aside.
    pub fn pick(&mut self, mut may_go: impl FnMut(u32) -> bool) -> Option<u32> {
        self.pick_again(AGAIN, &mut may_go).or_else(|| self.pick_first_time(&mut may_go))
    }

    /// Objects, those set aside included.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Objects that are set aside. All of them: whatever there is may not go, or might not when it was asked about.
    pub fn spared(&self) -> usize {
        self.spared.len()
    }

    /// Of all objects together.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    pub fn holds(&self, slot: u32) -> bool {
        self.entries.list_of(slot) != FREE
    }

    fn pick_again(&mut self, most: usize, may_go: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        for _ in 0..most.min(self.spared.len()) {
            let slot = self.spared.oldest()?;
            if may_go(slot) {
                self.spared.remove(&mut self.entries, slot);
                self.forget(slot);
                return Some(slot);
            }
            self.spared.renew(&mut self.entries, slot);
        }
        None
    }

    fn pick_first_time(&mut self, may_go: &mut impl FnMut(u32) -> bool) -> Option<u32> {
        for asked in 0..FIRST_TIME {
            let Some(slot) = self.policy.victim(&mut self.entries) else {
                return self.pick_again(FIRST_TIME - asked, may_go);
            };
            self.policy.evict(&mut self.entries, slot);
            if may_go(slot) {
                self.forget(slot);
                return Some(slot);
            }
            self.spared.push(&mut self.entries, slot);
        }
        None
    }

    fn leave(&mut self, slot: u32, is_remembered: bool) -> bool {
        match self.entries.list_of(slot) {
            FREE => return false,
            SPARED => self.spared.remove(&mut self.entries, slot),
            _ if is_remembered => self.policy.evict(&mut self.entries, slot),
            _ => self.policy.remove(&mut self.entries, slot),
        }
        true
    }

    /// Counts out an entry that is in no list any more.
    fn forget(&mut self, slot: u32) {
        self.len -= 1;
        self.weight -= u64::from(self.entries[slot].weight());
    }
}
