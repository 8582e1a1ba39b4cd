//! What is kept of each cached object, 20 bytes, and lists through them that need no memory of their own.

use std::ops::{Index, IndexMut};

/// No slot.
pub const NONE: u32 = u32::MAX;
/// Entries come in pieces, so that growing copies none of them.
const PIECE: usize = 1024;

/// In no list: the slot is free.
pub const FREE: u32 = 0;

/// The most that an object can weigh; more counts as this.
pub const MOST_WEIGHT: u32 = (1 << WEIGHT_BITS) - 1;
const WEIGHT_BITS: u32 = 27;
/// The most uses that an entry counts.
pub const MOST_USES: u32 = 3;
const USES_SHIFT: u32 = WEIGHT_BITS;
const LIST_SHIFT: u32 = WEIGHT_BITS + 2;

/// A cached object, as policies see it.
#[derive(Clone, Copy)]
pub struct Entry {
    /// 32 bits of a hash of the object's name.
    pub key: u32,
    /// The policy's own: a time, a place.
    pub mark: u32,
    newer: u32,
    older: u32,
    /// Its weight in 27 bits, uses in 2, and the list it is in, in 3.
    packed: u32,
}

const _: () = assert!(size_of::<Entry>() == 20);

impl Entry {
    const VACANT: Entry = Entry { key: 0, mark: 0, newer: NONE, older: NONE, packed: 0 };

    /// What it takes of the capacity, in the caller's unit.
    pub fn weight(&self) -> u32 {
        self.packed & MOST_WEIGHT
    }

    /// The policy's own: how often it was used lately, up to MOST_USES.
    pub fn uses(&self) -> u32 {
        self.packed >> USES_SHIFT & MOST_USES
    }

    pub fn set_uses(&mut self, uses: u32) {
        self.packed = self.packed & !(MOST_USES << USES_SHIFT) | uses.min(MOST_USES) << USES_SHIFT;
    }

    fn list(&self) -> u32 {
        self.packed >> LIST_SHIFT
    }

    fn set_list(&mut self, list: u32) {
        self.packed = self.packed & ((1 << LIST_SHIFT) - 1) | list << LIST_SHIFT;
    }

    /// The next one of its list towards the newest.
    pub fn newer(&self) -> Option<u32> {
        some(self.newer)
    }
}

/// Entries by slot. Slots are the caller's to give, and small: memory grows to the highest.
#[derive(Default)]
pub struct Entries {
    pieces: Vec<Box<[Entry]>>,
}

impl Entries {
    /// Writes a new entry, which is in no list yet.
    pub fn put(&mut self, slot: u32, key: u32, weight: u32) {
        while self.slots() <= slot as usize {
            self.pieces.push(vec![Entry::VACANT; PIECE].into());
        }
        self[slot] = Entry { key, packed: weight.min(MOST_WEIGHT), ..Entry::VACANT };
    }

    /// The list that a slot is in: FREE too when there is no such slot.
    pub fn list_of(&self, slot: u32) -> u32 {
        if (slot as usize) < self.slots() { self[slot].list() } else { FREE }
    }

    pub fn slots(&self) -> usize {
        self.pieces.len() * PIECE
    }
}

impl Index<u32> for Entries {
    type Output = Entry;

    fn index(&self, slot: u32) -> &Entry {
        &self.pieces[slot as usize / PIECE][slot as usize % PIECE]
    }
}

impl IndexMut<u32> for Entries {
    fn index_mut(&mut self, slot: u32) -> &mut Entry {
        &mut self.pieces[slot as usize / PIECE][slot as usize % PIECE]
    }
}

/// A list through entries, from the oldest to the newest. An entry is in one list at most.
pub struct List {
    id: u32,
    newest: u32,
    oldest: u32,
    len: usize,
    weight: u64,
}

impl List {
    /// `id` is what the entries in it carry: 1 to 7.
    pub const fn new(id: u32) -> List {
        List { id, newest: NONE, oldest: NONE, len: 0, weight: 0 }
    }

    /// Adds an entry that is in no list, as the newest.
    pub fn push(&mut self, entries: &mut Entries, slot: u32) {
        let entry = &mut entries[slot];
        debug_assert_eq!(entry.list(), FREE, "slot {slot} is in another list");
        (entry.newer, entry.older) = (NONE, self.newest);
        entry.set_list(self.id);
        self.weight += u64::from(entry.weight());
        self.len += 1;
        match some(self.newest) {
            Some(second) => entries[second].newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
    }

    /// Takes out an entry of this list.
    pub fn remove(&mut self, entries: &mut Entries, slot: u32) {
        let entry = &mut entries[slot];
        debug_assert_eq!(entry.list(), self.id, "slot {slot} is not in this list");
        let (newer, older) = (entry.newer, entry.older);
        (entry.newer, entry.older) = (NONE, NONE);
        entry.set_list(FREE);
        self.weight -= u64::from(entry.weight());
        self.len -= 1;
        match some(newer) {
            Some(newer) => entries[newer].older = older,
            None => self.newest = older,
        }
        match some(older) {
            Some(older) => entries[older].newer = newer,
            None => self.oldest = newer,
        }
    }

    /// Makes an entry of this list its newest.
    pub fn renew(&mut self, entries: &mut Entries, slot: u32) {
        self.remove(entries, slot);
        self.push(entries, slot);
    }

    pub fn holds(&self, entries: &Entries, slot: u32) -> bool {
        entries[slot].list() == self.id
    }

    pub fn oldest(&self) -> Option<u32> {
        some(self.oldest)
    }

    pub fn weight(&self) -> u64 {
        self.weight
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

fn some(slot: u32) -> Option<u32> {
    (slot != NONE).then_some(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the oldest on, and back again by the other links.
    fn order(list: &List, entries: &Entries) -> Vec<u32> {
        let forth: Vec<u32> =
            std::iter::successors(list.oldest(), |&slot| some(entries[slot].newer)).collect();
        let mut back: Vec<u32> =
            std::iter::successors(some(list.newest), |&slot| some(entries[slot].older)).collect();
        back.reverse();
        assert_eq!(forth, back);
        assert_eq!(forth.len(), list.len());
        assert_eq!(forth.iter().map(|&slot| u64::from(entries[slot].weight())).sum::<u64>(), list.weight());
        forth
    }

    #[test]
    fn a_list_keeps_its_order_whatever_is_taken_out_of_it() {
        let (mut entries, mut list) = (Entries::default(), List::new(1));
        for slot in [5, 3000, 7, 1] {
            entries.put(slot, slot, slot + 1);
            list.push(&mut entries, slot);
        }
        assert_eq!(order(&list, &entries), [5, 3000, 7, 1]);
        list.renew(&mut entries, 3000);
        assert_eq!(order(&list, &entries), [5, 7, 1, 3000]);
        for (slot, rest) in [(7, &[5, 1, 3000][..]), (3000, &[5, 1]), (5, &[1]), (1, &[])] {
            list.remove(&mut entries, slot);
            assert_eq!(order(&list, &entries), rest);
            assert_eq!(entries.list_of(slot), FREE);
        }
        assert_eq!((list.oldest(), entries.list_of(1 << 30)), (None, FREE));
    }

    #[test]
    fn weight_uses_and_list_do_not_touch_one_another() {
        let (mut entries, mut list) = (Entries::default(), List::new(7));
        entries.put(0, 1, u32::MAX);
        assert_eq!((entries[0].weight(), entries[0].uses(), entries.list_of(0)), (MOST_WEIGHT, 0, FREE));
        entries[0].set_uses(9);
        list.push(&mut entries, 0);
        assert_eq!((entries[0].weight(), entries[0].uses(), entries.list_of(0)), (MOST_WEIGHT, MOST_USES, 7));
        entries[0].set_uses(1);
        list.remove(&mut entries, 0);
        assert_eq!((entries[0].weight(), entries[0].uses(), entries.list_of(0)), (MOST_WEIGHT, 1, FREE));
    }
}
