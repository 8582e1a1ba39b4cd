//! Who holds a block, and where: a set of slots, each with the planes in which it holds it.
//!
//! Planes are the tiers, and one for blocks that are promised. Most blocks have few holders: up to four stand in the
//! block itself, each with all its planes. A block with more has a bitmap beside the table.

use super::Tier;

/// The four tiers, then the promised.
pub const PLANES: usize = 5;
pub const STORE: usize = Tier::Store as usize;
pub const PROMISED: usize = 4;
/// Sets of planes, one bit each.
pub const ALL_PLANES: u8 = (1 << PLANES) - 1;
pub const PROMISED_ONLY: u8 = 1 << PROMISED;

/// The planes of 64 slots: a bit per slot.
pub type Word = [u64; PLANES];

const FEW: usize = 4;
/// In the last cell: the first two are a number in [`Wide`]. No slot has this cell, see `MOST_HOLDERS`.
const BESIDE: u16 = u16::MAX;
/// A bitmap that fell to this many slots moves back into the block; one less than fit, so that it does not swing.
const NARROW: u32 = FEW as u32 - 1;

/// What a block says of its holders: cells `slot << PLANES | planes`, the empty ones last; or where its bitmap is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places([u16; FEW]);

impl Places {
    pub fn one(slot: u16, planes: u8) -> Places {
        Places([cell(slot, planes), 0, 0, 0])
    }

    pub fn is_empty(self) -> bool {
        self == Places::default()
    }

    fn beside(self) -> Option<usize> {
        let [low, high, _, mark] = self.0;
        (mark == BESIDE).then_some(usize::from(low) | usize::from(high) << 16)
    }
}

fn cell(slot: u16, planes: u8) -> u16 {
    slot << PLANES | u16::from(planes)
}

fn slot_of(cell: u16) -> u16 {
    cell >> PLANES
}

fn planes_of(cell: u16) -> u8 {
    cell as u8 & ALL_PLANES
}

/// A bitmap of slots and planes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap(Vec<Word>);

impl Bitmap {
    pub fn insert(&mut self, slot: u16, planes: u8) {
        let (word, bit) = position(slot);
        if word >= self.0.len() {
            self.0.reserve_exact(word + 1 - self.0.len());
            self.0.resize(word + 1, [0; PLANES]);
        }
        for plane in 0..PLANES {
            self.0[word][plane] |= u64::from(planes >> plane & 1) << bit;
        }
    }

    pub fn remove(&mut self, slot: u16, planes: u8) {
        let (word, bit) = position(slot);
        if let Some(word) = self.0.get_mut(word) {
            for (plane, bits) in word.iter_mut().enumerate() {
                *bits &= !(u64::from(planes >> plane & 1) << bit);
            }
        }
    }

    pub fn planes(&self, slot: u16) -> u8 {
        let (word, bit) = position(slot);
        let word = self.0.get(word).copied().unwrap_or_default();
        (0..PLANES).fold(0, |planes, plane| planes | ((word[plane] >> bit & 1) as u8) << plane)
    }

    pub fn words(&self) -> &[Word] {
        &self.0
    }

    fn subtract(&mut self, other: &Bitmap) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            own.iter_mut().zip(other).for_each(|(own, other)| *own &= !other);
        }
    }

    /// How many slots have any plane, and the first of them in ascending order.
    fn first(&self) -> (u32, [u16; FEW]) {
        let (mut count, mut first) = (0, [0; FEW]);
        for (index, word) in self.0.iter().enumerate() {
            let mut any = word.iter().fold(0, |any, bits| any | bits);
            while any != 0 {
                if let Some(place) = first.get_mut(count as usize) {
                    *place = (index * 64) as u16 + any.trailing_zeros() as u16;
                }
                count += 1;
                any &= any - 1;
            }
        }
        (count, first)
    }
}

fn position(slot: u16) -> (usize, u32) {
    (usize::from(slot / 64), u32::from(slot % 64))
}

/// The bitmaps of blocks that have more holders than fit in themselves, and the operations on all sets.
#[derive(Debug, Default)]
pub struct Wide {
    bitmaps: Vec<Bitmap>,
    free: Vec<u32>,
}

impl Wide {
    pub fn insert(&mut self, places: &mut Places, slot: u16, planes: u8) {
        if let Some(beside) = places.beside() {
            return self.bitmaps[beside].insert(slot, planes);
        }
        match places.0.iter_mut().find(|cell| **cell == 0 || slot_of(**cell) == slot) {
            Some(found) => *found = cell(slot, planes | planes_of(*found)),
            None => {
                let mut bitmap = Bitmap::default();
                // The highest slot first: the bitmap is allocated once.
                let mut cells = places.0.map(|cell| (slot_of(cell), planes_of(cell))).to_vec();
                cells.push((slot, planes));
                cells.sort_unstable();
                cells.iter().rev().for_each(|(slot, planes)| bitmap.insert(*slot, *planes));
                *places = self.put_beside(bitmap);
            }
        }
    }

    pub fn remove(&mut self, places: &mut Places, slot: u16, planes: u8) {
        if let Some(beside) = places.beside() {
            self.bitmaps[beside].remove(slot, planes);
            return self.narrow(places, beside);
        }
        *places = kept(*places, |own, had| if own == slot { had & !planes } else { had });
    }

    /// Takes all that `other` has out of the set.
    pub fn subtract(&mut self, places: &mut Places, other: &Bitmap) {
        if let Some(beside) = places.beside() {
            self.bitmaps[beside].subtract(other);
            return self.narrow(places, beside);
        }
        *places = kept(*places, |slot, had| had & !other.planes(slot));
    }

    pub fn planes(&self, places: Places, slot: u16) -> u8 {
        if let Some(beside) = places.beside() {
            return self.bitmaps[beside].planes(slot);
        }
        places.0.iter().find(|cell| slot_of(**cell) == slot).map_or(0, |cell| planes_of(*cell))
    }

    /// Gives back what the set has beside its block.
    pub fn release(&mut self, places: Places) {
        if let Some(beside) = places.beside() {
            self.bitmaps[beside] = Bitmap::default();
            self.free.push(beside as u32);
        }
    }

    /// Writes the set over `words`; slots beyond them are left out.
    pub fn spread(&self, places: Places, words: &mut [Word]) {
        words.fill([0; PLANES]);
        if let Some(beside) = places.beside() {
            words.iter_mut().zip(self.bitmaps[beside].words()).for_each(|(word, own)| *word = *own);
            return;
        }
        for cell in places.0 {
            let (word, bit) = position(slot_of(cell));
            if let Some(word) = words.get_mut(word) {
                for (plane, bits) in word.iter_mut().enumerate() {
                    *bits |= u64::from(cell >> plane & 1) << bit;
                }
            }
        }
    }

    fn put_beside(&mut self, bitmap: Bitmap) -> Places {
        let number = match self.free.pop() {
            Some(free) => {
                self.bitmaps[free as usize] = bitmap;
                free
            }
            None => {
                self.bitmaps.push(bitmap);
                (self.bitmaps.len() - 1) as u32
            }
        };
        Places([number as u16, (number >> 16) as u16, 0, BESIDE])
    }

    fn narrow(&mut self, places: &mut Places, beside: usize) {
        let (count, first) = self.bitmaps[beside].first();
        if count > NARROW {
            return;
        }
        let mut cells = [0; FEW];
        for (cell_of, slot) in cells.iter_mut().zip(&first[..count as usize]) {
            *cell_of = cell(*slot, self.bitmaps[beside].planes(*slot));
        }
        self.release(*places);
        *places = Places(cells);
    }
}

/// The cells that have planes left after `keep`, moved together.
fn kept(places: Places, keep: impl Fn(u16, u8) -> u8) -> Places {
    let (mut cells, mut count) = ([0; FEW], 0);
    for old in places.0 {
        let planes = keep(slot_of(old), planes_of(old));
        if planes != 0 {
            cells[count] = cell(slot_of(old), planes);
            count += 1;
        }
    }
    Places(cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_fifth_holder_moves_the_set_beside_and_the_third_last_brings_it_back() {
        let (mut wide, mut places) = (Wide::default(), Places::default());
        for slot in 0..5 {
            assert_eq!(places.beside(), None);
            wide.insert(&mut places, slot, 1);
        }
        assert_eq!(places.beside(), Some(0));
        wide.remove(&mut places, 1, 1);
        assert_eq!(places.beside(), Some(0));
        wide.remove(&mut places, 3, ALL_PLANES);
        assert_eq!(places, Places([cell(0, 1), cell(2, 1), cell(4, 1), 0]));
        assert_eq!(wide.free, [0]);
    }

    proptest! {
        #[test]
        fn a_set_holds_what_was_put_in_and_not_taken_out(
            steps in proptest::collection::vec((any::<bool>(), 0u16..200, 1u8..=ALL_PLANES, any::<bool>()), 1..60),
        ) {
            let (mut wide, mut places, mut model) = (Wide::default(), Places::default(), BTreeMap::new());
            for (insert, slot, planes, many) in steps {
                let slot = if many { slot } else { slot % 5 };
                let own: &mut u8 = model.entry(slot).or_default();
                if insert {
                    wide.insert(&mut places, slot, planes);
                    *own |= planes;
                } else {
                    let mut other = Bitmap::default();
                    other.insert(slot, planes);
                    if many { wide.subtract(&mut places, &other) } else { wide.remove(&mut places, slot, planes) }
                    *own &= !planes;
                }
                let mut words = vec![[7; PLANES]; 4];
                wide.spread(places, &mut words);
                for slot in 0..200 {
                    let expected = model.get(&slot).copied().unwrap_or_default();
                    prop_assert_eq!(wide.planes(places, slot), expected);
                    prop_assert_eq!(Bitmap(words.clone()).planes(slot), expected);
                }
                prop_assert_eq!(places.is_empty(), model.values().all(|planes| *planes == 0));
            }
        }
    }
}
