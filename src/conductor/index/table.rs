//! Key to block, for tens of millions: lines of blocks in parts of some thousand.
//!
//! Every part grows by a quarter when it is full and shrinks when it is empty, and when parts are many blocks each,
//! one of them is split in two (linear hashing). So the table never moves more than a part at a time, is about as
//! full at every size, and can be swept part by part.

use super::lines::{self, Block, BlockMut, Line, WAYS};
use super::runs::{Run, Runs};
use crate::sys::cache::{prefetch, prefetch_after};

/// Blocks in a part on average before another part is made.
const PART: usize = 2048;
/// Lines of a part.
const SMALLEST: usize = 3;
/// A part grows above 12 of 16 and shrinks below 5 of 16.
const FULL: usize = 12;
const SPARSE: usize = 5;

/// Where a block stands, until the table next changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    part: u32,
    line: u32,
    way: u32,
}

#[derive(Debug)]
pub struct Table {
    parts: Vec<Part>,
    runs: Runs,
    seed: u64,
    len: usize,
}

#[derive(Debug)]
struct Part {
    run: Run,
    len: u32,
}

/// A key spread over 64 bits: the low half chooses the part, the high half the line.
#[derive(Clone, Copy)]
struct Spread(u64);

impl Table {
    /// Whoever knows `seed` can choose keys that collide.
    pub fn new(seed: u64) -> Table {
        let mut runs = Runs::default();
        let first = Part { run: runs.take(SMALLEST), len: 0 };
        Table { parts: vec![first], runs, seed, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// How many blocks fit in a part.
    pub fn room(&self, part: usize) -> usize {
        self.parts[part].room()
    }

    pub fn get(&self, at: At) -> Block {
        self.line(at).get(at.way as usize)
    }

    pub fn get_mut(&mut self, at: At) -> BlockMut<'_> {
        let run = &self.parts[at.part as usize].run;
        self.runs.lines_mut(run)[at.line as usize].get_mut(at.way as usize)
    }

    pub fn find(&self, key: u64) -> Option<At> {
        let spread = Spread::of(key, self.seed);
        let part = spread.part(self.parts.len());
        let lines = self.lines(part);
        let (line, way) = lines::find(lines, spread.line(lines.len()), key)?;
        Some(At { part: part as u32, line: line as u32, way: way as u32 })
    }

    /// Looks for keys one after the other, while the memory for the next ones is on its way.
    #[inline(always)]
    pub fn search<'a>(&'a self, keys: &'a [u64]) -> Search<'a> {
        let mut search = Search { table: self, keys, at: 0, homes: [None; FAR], found: [Found::Not; FAR] };
        (0..FAR).for_each(|at| search.expect(at));
        (0..NEAR).for_each(|at| search.look(at));
        search
    }

    /// Has the memory brought near in which a key will be looked for, so that several such reads overlap.
    pub fn expect(&self, key: u64) {
        prefetch(self.home(key));
    }

    /// Adds a block that has places, and whose key is not in the table.
    pub fn insert(&mut self, block: Block) {
        debug_assert!(!block.places.is_empty() && self.find(block.key).is_none());
        if self.len >= self.parts.len() * PART {
            self.split();
        }
        let number = Spread::of(block.key, self.seed).part(self.parts.len());
        let part = &self.parts[number];
        if (part.len() + 1) * 16 > part.room() * FULL {
            self.resize(number, part.run.len() * 5 / 4 + 1);
        }
        self.put(number, block);
        self.len += 1;
    }

    pub fn remove(&mut self, at: At) -> Block {
        let block = self.take(at.part as usize, at.line as usize, at.way as usize);
        self.shrink(at.part as usize);
        block
    }

    /// Drops the blocks of one part for which `keep` is false; it may be asked about a block more than once, and one
    /// whose places it empties must not be kept.
    pub fn retain(&mut self, part: usize, mut keep: impl FnMut(BlockMut<'_>) -> bool) {
        let (seed, held) = (self.seed, &mut self.parts[part]);
        let lines = self.runs.lines_mut(&held.run);
        let count = lines.len();
        for line in 0..count {
            // Removing moves other blocks here: from further on or, around the end, from among those already seen.
            let mut way = 0;
            while way < lines[line].count() {
                if keep(lines[line].get_mut(way)) {
                    way += 1;
                } else {
                    lines::remove(lines, line, way, |key| Spread::of(key, seed).line(count));
                    held.len -= 1;
                    self.len -= 1;
                }
            }
        }
        self.shrink(part);
    }

    /// The blocks of a part; none of one that there is not.
    pub fn blocks(&self, part: usize) -> impl Iterator<Item = Block> {
        let lines = if part < self.parts.len() { self.lines(part) } else { &[] };
        lines.iter().flat_map(Line::blocks).map(|(_, block)| block)
    }

    /// Up to `count` blocks that stand near where `key` would; at least one, unless the table is empty.
    pub fn near(&self, key: u64, count: usize) -> impl Iterator<Item = (At, Block)> {
        let spread = Spread::of(key, self.seed);
        let first = spread.part(self.parts.len());
        let part = (first..self.parts.len()).chain(0..first).find(|part| self.parts[*part].len > 0);
        let part = part.unwrap_or(first);
        let lines = self.lines(part);
        let home = spread.line(lines.len());
        let at = move |line, way| At { part: part as u32, line: line as u32, way: way as u32 };
        (home..lines.len())
            .chain(0..home)
            .flat_map(move |line| lines[line].blocks().map(move |(way, block)| (at(line, way), block)))
            .take(count)
    }

    #[inline(always)]
    fn lines(&self, part: usize) -> &[Line] {
        self.runs.lines(&self.parts[part].run)
    }

    fn line(&self, at: At) -> &Line {
        &self.lines(at.part as usize)[at.line as usize]
    }

    /// The line in which a key stands if that has room for it.
    #[inline(always)]
    fn home(&self, key: u64) -> &Line {
        let spread = Spread::of(key, self.seed);
        let lines = self.lines(spread.part(self.parts.len()));
        &lines[spread.line(lines.len())]
    }

    fn put(&mut self, part: usize, block: Block) {
        let part = &mut self.parts[part];
        let lines = self.runs.lines_mut(&part.run);
        lines::put(lines, Spread::of(block.key, self.seed).line(lines.len()), block);
        part.len += 1;
    }

    fn take(&mut self, part: usize, line: usize, way: usize) -> Block {
        let part = &mut self.parts[part];
        let lines = self.runs.lines_mut(&part.run);
        let (count, seed) = (lines.len(), self.seed);
        part.len -= 1;
        self.len -= 1;
        lines::remove(lines, line, way, |key| Spread::of(key, seed).line(count))
    }

    /// Makes one more part and moves into it what now belongs there: all from the one part it splits off.
    fn split(&mut self) {
        let count = self.parts.len() + 1;
        let source = (count - 1) & (count.next_power_of_two() / 2 - 1);
        let (stay, go): (Vec<Block>, Vec<Block>) =
            self.blocks(source).partition(|block| Spread::of(block.key, self.seed).part(count) == source);
        let added = Part { run: self.runs.take(lines_for(go.len())), len: 0 };
        self.parts.push(added);
        go.into_iter().for_each(|block| self.put(count - 1, block));
        self.fill(source, lines_for(stay.len()), stay.into_iter());
    }

    fn shrink(&mut self, number: usize) {
        let part = &self.parts[number];
        if part.run.len() > SMALLEST && part.len() * 16 < part.room() * SPARSE {
            self.resize(number, lines_for(part.len()));
        }
    }

    fn resize(&mut self, part: usize, lines: usize) {
        let blocks: Vec<Block> = self.blocks(part).collect();
        self.fill(part, lines, blocks.into_iter());
    }

    /// Gives a part so many lines, and these blocks alone.
    fn fill(&mut self, part: usize, lines: usize, blocks: impl Iterator<Item = Block>) {
        let run = self.runs.take(lines);
        let old = std::mem::replace(&mut self.parts[part], Part { run, len: 0 });
        self.runs.give_back(old.run);
        blocks.for_each(|block| self.put(part, block));
    }
}

/// How many keys ahead a key's home is asked for, and looked at: the line after it is asked for only where it has to be.
const FAR: usize = 16;
const NEAR: usize = 6;

/// Where a key was found in its home.
#[derive(Clone, Copy)]
enum Found {
    At(u8),
    /// If anywhere, in a line after it.
    Later,
    Not,
}

/// A search for many keys.
pub struct Search<'a> {
    table: &'a Table,
    keys: &'a [u64],
    at: usize,
    /// Of the next keys, by their number.
    homes: [Option<&'a Line>; FAR],
    found: [Found; FAR],
}

impl<'a> Search<'a> {
    /// The line of the next key and the way in it; None if it is not there or was the last.
    #[inline(always)]
    pub fn next(&mut self) -> Option<(&'a Line, usize)> {
        let key = *self.keys.get(self.at)?;
        let (home, found) = (self.homes[self.at % FAR]?, self.found[self.at % FAR]);
        self.expect(self.at + FAR);
        self.look(self.at + NEAR);
        self.at += 1;
        match found {
            Found::At(way) => Some((home, usize::from(way))),
            Found::Later => {
                let at = self.table.find(key)?;
                Some((self.table.line(at), at.way as usize))
            }
            Found::Not => None,
        }
    }

    #[inline(always)]
    fn expect(&mut self, at: usize) {
        if let Some(key) = self.keys.get(at) {
            let home = self.table.home(*key);
            prefetch(home);
            self.homes[at % FAR] = Some(home);
        }
    }

    #[inline(always)]
    fn look(&mut self, at: usize) {
        let (Some(key), Some(home)) = (self.keys.get(at), self.homes[at % FAR]) else { return };
        self.found[at % FAR] = match home.way(*key) {
            Some(way) => Found::At(way as u8),
            None if home.is_full() => {
                prefetch_after(home);
                Found::Later
            }
            None => Found::Not,
        };
    }
}

impl Part {
    fn len(&self) -> usize {
        self.len as usize
    }

    fn room(&self) -> usize {
        self.run.len() * WAYS
    }
}

/// For so many blocks and an eighth more.
fn lines_for(blocks: usize) -> usize {
    (blocks * 16 / (FULL * WAYS) * 9 / 8).max(SMALLEST)
}

impl Spread {
    /// Keys may be anything, small numbers included: the finaliser of MurmurHash3 spreads them.
    fn of(key: u64, seed: u64) -> Spread {
        let mut bits = key ^ seed;
        bits = (bits ^ bits >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        bits = (bits ^ bits >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        Spread(bits ^ bits >> 33)
    }

    fn part(self, parts: usize) -> usize {
        let mask = parts.next_power_of_two() - 1;
        let part = self.0 as u32 as usize & mask;
        // Without a branch, which would be guessed wrong half of the time.
        part & (mask >> u32::from(part >= parts))
    }

    fn line(self, lines: usize) -> usize {
        (((self.0 >> 32) * lines as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::super::places::Places;
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn block(key: u64) -> Block {
        Block { key, places: Places::one(0, 1), seen: key as u32, generation: 0 }
    }

    fn keys(table: &Table) -> HashSet<u64> {
        (0..table.parts()).flat_map(|part| table.blocks(part)).map(|block| block.key).collect()
    }

    #[test]
    fn a_large_table_has_many_parts_of_like_size_and_is_never_emptier_than_promised() {
        let mut table = Table::new(5);
        for key in 0..100_000 {
            table.insert(block(key));
            if key % 1000 == 999 {
                let room: usize = (0..table.parts()).map(|part| table.room(part)).sum();
                assert!(table.len() * 100 > room * 57, "{} of {room}", table.len());
            }
        }
        assert_eq!((table.len(), table.parts()), (100_000, 100_000_usize.div_ceil(PART)));
        assert!(table.parts.iter().all(|part| part.len() < PART * 3));
        assert!((0..100_000).all(|key| table.find(key).is_some_and(|at| table.get(at).key == key)));
        assert_eq!(table.find(100_000), None);
        for part in 0..table.parts() {
            table.retain(part, |_| false);
            assert_eq!(table.room(part), SMALLEST * WAYS);
        }
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_search_finds_what_is_there_in_its_order_and_then_ends() {
        let mut table = Table::new(5);
        (0..50_000).for_each(|key| table.insert(block(key * 3)));
        for keys in [vec![], vec![6], Vec::from_iter(0..5_000)] {
            let mut search = table.search(&keys);
            for key in &keys {
                table.expect(*key);
                let found = search.next().map(|(line, way)| line.get(way).key);
                assert_eq!(found, (key % 3 == 0).then_some(*key));
            }
            assert!(search.next().is_none());
        }
    }

    #[test]
    fn neighbours_are_found_even_where_a_part_is_empty() {
        let mut table = Table::new(5);
        assert_eq!(table.near(1, 8).count(), 0);
        (0..20_000).for_each(|key| table.insert(block(key)));
        assert_eq!(table.near(77, 8).count(), 8);
        for part in 1..table.parts() {
            table.retain(part, |_| false);
        }
        assert!((0..100).all(|key| table.near(key, 8).count() == 8));
    }

    proptest! {
        #[test]
        fn a_table_holds_what_was_put_in_and_not_taken_out(
            steps in proptest::collection::vec((0u8..10, 0u64..300), 1..600), seed in any::<u64>(),
        ) {
            let (mut table, mut model) = (Table::new(seed), HashSet::new());
            for (act, key) in steps {
                match table.find(key) {
                    None if act < 6 => {
                        prop_assert!(model.insert(key));
                        table.insert(block(key));
                    }
                    Some(at) if (6..9).contains(&act) => {
                        prop_assert_eq!(table.remove(at).key, key);
                        prop_assert!(model.remove(&key));
                    }
                    Some(at) => prop_assert_eq!(u64::from(table.get(at).seen), key),
                    None if act == 9 => {
                        model.retain(|kept| kept % 7 != key % 7);
                        table.retain(0, |block| u64::from(*block.seen) % 7 != key % 7);
                    }
                    None => {}
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(&keys(&table), &model);
                prop_assert!(model.iter().all(|key| table.find(*key).is_some()));
            }
        }
    }
}
