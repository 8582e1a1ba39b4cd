//! Blocks by key in lines of the processor's cache, three in each: whoever looks for one reads memory once, mostly.
//!
//! Open addressing over a slice of lines, not all of them full. A block stands in its home or, where that is full, in
//! the next line that is not, so a search ends in a line with room.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use super::places::Places;

/// Blocks in a line.
pub const WAYS: usize = 3;

/// What somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub key: u64,
    pub places: Places,
    /// When it was last stored or matched, in ticks.
    pub seen: u32,
    /// When its places were last cleaned, see `clearings`.
    pub generation: u8,
}

/// A block where it stands. Whoever empties its places takes it out.
pub struct BlockMut<'a> {
    pub places: &'a mut Places,
    pub seen: &'a mut u32,
    pub generation: &'a mut u8,
}

#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Line {
    keys: [u64; WAYS],
    places: [Places; WAYS],
    seen: [AtomicU32; WAYS],
    generations: [u8; WAYS],
    count: u8,
}

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    pub fn is_full(&self) -> bool {
        self.count() == WAYS
    }

    /// Which of its blocks has the key.
    #[inline(always)]
    pub fn way(&self, key: u64) -> Option<usize> {
        // All at once and without a branch, which would be guessed wrong as often as not.
        let same = self.keys.iter().rev().fold(0, |same, own| same << 1 | u32::from(*own == key));
        // What was taken out has a key, too, but comes last.
        (same != 0).then(|| same.trailing_zeros() as usize).filter(|way| *way < self.count())
    }

    #[inline(always)]
    pub fn get(&self, way: usize) -> Block {
        Block {
            key: self.keys[way],
            places: self.places[way],
            seen: self.seen[way].load(Relaxed),
            generation: self.generations[way],
        }
    }

    /// Notes that the block was seen.
    #[inline(always)]
    pub fn see(&self, way: usize, tick: u32) {
        // Readers share the line while nobody writes it.
        if self.seen[way].load(Relaxed) != tick {
            self.seen[way].store(tick, Relaxed);
        }
    }

    pub fn get_mut(&mut self, way: usize) -> BlockMut<'_> {
        let Line { places, seen, generations, .. } = self;
        BlockMut { places: &mut places[way], seen: seen[way].get_mut(), generation: &mut generations[way] }
    }

    fn put(&mut self, block: Block) {
        self.set(self.count(), block);
        self.count += 1;
    }

    fn set(&mut self, way: usize, block: Block) {
        let Block { key, places, seen, generation } = block;
        (self.keys[way], self.places[way], self.generations[way]) = (key, places, generation);
        self.seen[way] = seen.into();
    }

    fn take(&mut self, way: usize) -> Block {
        let taken = self.get(way);
        self.count -= 1;
        self.set(way, self.get(self.count()));
        taken
    }

    pub fn clear(&mut self) {
        self.count = 0;
    }

    pub fn blocks(&self) -> impl Iterator<Item = (usize, Block)> {
        (0..self.count()).map(|way| (way, self.get(way)))
    }
}

fn after(lines: &[Line], line: usize) -> usize {
    if line + 1 == lines.len() { 0 } else { line + 1 }
}

/// The line and the way in it where the key stands.
#[inline(always)]
pub fn find(lines: &[Line], home: usize, key: u64) -> Option<(usize, usize)> {
    let mut at = home;
    loop {
        let line = &lines[at];
        if let Some(way) = line.way(key) {
            return Some((at, way));
        }
        if !line.is_full() {
            return None;
        }
        at = after(lines, at);
    }
}

/// Adds a block that is not there. There must be room.
pub fn put(lines: &mut [Line], home: usize, block: Block) {
    let mut at = home;
    while lines[at].is_full() {
        at = after(lines, at);
    }
    lines[at].put(block);
}

/// Takes a block out and brings those nearer to their homes that had no room because of it.
pub fn remove(lines: &mut [Line], line: usize, way: usize, home_of: impl Fn(u64) -> usize) -> Block {
    let (mut gap, mut next) = (line, line);
    let mut was_full = lines[line].is_full();
    let removed = lines[line].take(way);
    while was_full {
        next = after(lines, next);
        was_full = lines[next].is_full();
        let passed_by = |key| {
            let home = home_of(key);
            let from_home = |line: usize| if line < home { line + lines.len() - home } else { line - home };
            from_home(gap) < from_home(next)
        };
        let found = lines[next].blocks().find(|(_, block)| passed_by(block.key));
        if let Some((way, _)) = found {
            let block = lines[next].take(way);
            lines[gap].put(block);
            gap = next;
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn block(key: u64, seen: u32) -> Block {
        Block { key, places: Places::one(1, 1), seen, generation: 3 }
    }

    #[test]
    fn a_key_that_was_taken_out_is_not_found_where_it_stood() {
        let mut line = [Line::default()];
        assert_eq!(find(&line, 0, 0), None);
        put(&mut line, 0, block(7, 1));
        put(&mut line, 0, block(0, 2));
        assert_eq!((find(&line, 0, 7), find(&line, 0, 0)), (Some((0, 0)), Some((0, 1))));
        assert_eq!(remove(&mut line, 0, 0, |_| 0), block(7, 1));
        assert_eq!((find(&line, 0, 7), find(&line, 0, 0)), (None, Some((0, 0))));
        assert_eq!(remove(&mut line, 0, 0, |_| 0), block(0, 2));
        assert_eq!((find(&line, 0, 0), line[0].count()), (None, 0));
    }

    proptest! {
        #[test]
        fn crowded_lines_hold_what_was_put_in_and_not_taken_out(
            count in 2usize..8, steps in proptest::collection::vec((any::<bool>(), 0u64..40), 1..200),
        ) {
            let mut lines: Vec<Line> = (0..count).map(|_| Line::default()).collect();
            let mut model = BTreeMap::new();
            let home_of = |key: u64| (key * 7 % 5) as usize % count;
            for (step, (put_in, key)) in steps.into_iter().enumerate() {
                match find(&lines, home_of(key), key) {
                    // One place stays empty, so that every search ends.
                    None if put_in && model.len() + 1 < count * WAYS => {
                        put(&mut lines, home_of(key), block(key, step as u32));
                        model.insert(key, block(key, step as u32));
                    }
                    Some((line, way)) if !put_in => {
                        let removed = remove(&mut lines, line, way, home_of);
                        prop_assert_eq!(Some(removed), model.remove(&key));
                    }
                    found => prop_assert_eq!(found.is_some(), model.contains_key(&key)),
                }
                for (key, block) in &model {
                    let (line, way) = find(&lines, home_of(*key), *key).expect("it is there");
                    prop_assert_eq!(lines[line].get(way), *block);
                }
                prop_assert_eq!(lines.iter().map(Line::count).sum::<usize>(), model.len());
            }
        }
    }
}
