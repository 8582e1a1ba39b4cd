//! Key to block, for tens of millions: numbers of blocks in parts of some thousand.
//!
//! Every part grows by a quarter when it is full and shrinks when it is empty, and when parts are many blocks each,
//! one of them is split in two (linear hashing). So the table never moves more than a part at a time, and is about as
//! full at every size.

use std::ops::Range;

use super::chunks::{At, Block, BlockRef, Chunks};
use super::lines::{self, Line, Place, WAYS};
use super::runs::{Run, Runs};
use crate::sys::cache::prefetch;

/// Blocks of a part on average before another part is made.
const PART: usize = 2048;
/// A part grows above 13 of 16 and shrinks below 5 of 16.
const FULL: usize = 13;
const SPARSE: usize = 5;
/// How many keys ahead of the one at hand memory is read.
pub const AHEAD: usize = 16;
/// Of keys that are looked for one after the other, how many there are to a landmark.
const STRIDE: usize = 16;
/// With more of them among so many as are looked ahead for, blocks stand alone.
const FEW_BREAKS: usize = 1;

#[derive(Debug)]
pub struct Table {
    chunks: Chunks,
    parts: Vec<Part>,
    runs: Runs,
    seed: u64,
}

#[derive(Debug)]
struct Part {
    run: Run,
    len: u32,
}

/// A key spread over 64 bits: the low half chooses the part and is the tag, the high half the line.
#[derive(Clone, Copy)]
struct Spread(u64);

impl Table {
    /// Whoever knows `seed` can choose keys that collide.
    pub fn new(seed: u64) -> Table {
        let mut runs = Runs::default();
        let first = Part { run: runs.take(1), len: 0 };
        Table { chunks: Chunks::default(), parts: vec![first], runs, seed }
    }

    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    /// How many blocks there could be before `end`.
    pub fn room(&self) -> usize {
        self.chunks.room()
    }

    /// All blocks stand before it.
    pub fn end(&self) -> At {
        self.chunks.end()
    }

    pub fn parts(&self) -> usize {
        self.chunks.parts()
    }

    /// The blocks of a part; none of one that there is not.
    pub fn blocks(&self, part: usize) -> impl Iterator<Item = Block> {
        self.chunks.blocks(part)
    }

    pub fn get(&self, at: At) -> Option<Block> {
        self.chunks.get(at)
    }

    pub fn find(&self, key: u64) -> Option<At> {
        let (_, lines, home, tag) = self.home(key);
        lines::find(lines, home, tag, |at| self.chunks.key(at) == key).map(|(at, _)| at)
    }

    /// The same, where the block mostly stands behind `last`.
    #[inline(always)]
    pub fn find_behind(&self, last: Option<At>, key: u64) -> Option<At> {
        last.and_then(|last| self.at_once(last.next(), key)).or_else(|| self.find(key))
    }

    /// The block with this key, if it stands there.
    #[inline(always)]
    fn at_once(&self, at: At, key: u64) -> Option<At> {
        self.chunks.at(at).filter(|block| block.is(key)).map(|_| at)
    }

    /// Looks for keys one after the other.
    pub fn search<'a>(&'a self, keys: &'a [u64]) -> Search<'a> {
        let (at, next, breaks, stride, landmarks) = (0, At(0), 0, STRIDE, [At(0); AHEAD]);
        Search { table: self, keys, at, next, breaks, group: 0..0, stride, landmarks }
    }

    /// Has the memory brought near in which a key will be looked for, so that several such reads overlap.
    #[inline(always)]
    pub fn expect(&self, key: u64) {
        let (_, lines, home, _) = self.home(key);
        prefetch(&lines[home]);
    }

    /// Adds a block that has places, and whose key is not in the table: behind `last`, if there is room.
    pub fn insert(&mut self, block: Block, last: Option<At>) -> At {
        debug_assert!(self.find(block.key).is_none());
        if self.len() >= self.parts.len() * PART {
            self.split();
        }
        let spread = self.spread(block.key);
        let number = spread.part(self.parts.len());
        let part = &self.parts[number];
        if (part.len() + 1) * 16 > part.room() * FULL {
            self.resize(number, part.run.len() * 5 / 4 + 1);
        }
        let at = self.chunks.put(block, last);
        self.put(number, spread, at);
        at
    }

    /// Has a block say something else; without places it is taken out.
    pub fn set(&mut self, at: At, block: Block) {
        if block.places.is_empty() {
            self.remove(at);
        } else {
            self.chunks.set(at, block);
        }
    }

    pub fn remove(&mut self, at: At) -> Option<Block> {
        let (number, place) = self.place(at)?;
        let Table { chunks, parts, runs, seed } = self;
        let part = &mut parts[number];
        let lines = runs.lines_mut(&part.run);
        let count = lines.len();
        lines::remove(lines, place, |at| Spread::of(chunks.key(at), *seed).line(count));
        part.len -= 1;
        if count > 1 && part.len() * 16 < part.room() * SPARSE {
            let count = lines_for(part.len());
            self.resize(number, count);
        }
        self.chunks.take(at)
    }

    /// Moves a block to where it takes up less memory, if it stands among few.
    pub fn gather(&mut self, at: At) {
        if !self.chunks.is_sparse(at) {
            return;
        }
        if let Some((number, place)) = self.place(at)
            && let Some(to) = self.chunks.gather(at)
        {
            lines::replace(self.runs.lines_mut(&self.parts[number].run), place, to);
        }
    }

    /// Up to `count` blocks that are found near where `key` would be; at least one, unless the table is empty.
    pub fn near(&self, key: u64, count: usize) -> impl Iterator<Item = (At, Block)> {
        let spread = self.spread(key);
        let first = spread.part(self.parts.len());
        let part = (first..self.parts.len()).chain(0..first).find(|part| self.parts[*part].len > 0);
        let lines = self.lines(part.unwrap_or(first));
        let home = spread.line(lines.len());
        let numbers = (home..lines.len()).chain(0..home).flat_map(|line| lines[line].numbers());
        numbers.filter_map(|at| Some((at, self.chunks.get(at)?))).take(count)
    }

    #[inline(always)]
    fn spread(&self, key: u64) -> Spread {
        Spread::of(key, self.seed)
    }

    /// Where the block with this key seems to be, without a look at it.
    #[inline(always)]
    fn guess(&self, key: u64) -> At {
        let (_, lines, home, tag) = self.home(key);
        lines[home].guess(tag)
    }

    /// In which part and line a key's number stands if that has room for it, and its tag.
    #[inline(always)]
    fn home(&self, key: u64) -> (usize, &[Line], usize, u8) {
        let spread = self.spread(key);
        let part = spread.part(self.parts.len());
        let lines = self.lines(part);
        (part, lines, spread.line(lines.len()), spread.tag())
    }

    /// In which part the number of a block stands, and where there.
    fn place(&self, at: At) -> Option<(usize, Place)> {
        let (part, lines, home, tag) = self.home(self.chunks.get(at)?.key);
        let (_, place) = lines::find(lines, home, tag, |own| own == at)?;
        Some((part, place))
    }

    #[inline(always)]
    fn lines(&self, part: usize) -> &[Line] {
        self.runs.lines(&self.parts[part].run)
    }

    fn put(&mut self, part: usize, spread: Spread, at: At) {
        let part = &mut self.parts[part];
        let lines = self.runs.lines_mut(&part.run);
        lines::put(lines, spread.line(lines.len()), spread.tag(), at);
        part.len += 1;
    }

    /// Makes one more part and moves into it what now belongs there: all from the one part it splits off.
    fn split(&mut self) {
        let count = self.parts.len() + 1;
        let source = (count - 1) & (count.next_power_of_two() / 2 - 1);
        let (stay, go): (Vec<_>, Vec<_>) =
            self.numbers(source).into_iter().partition(|(spread, _)| spread.part(count) == source);
        let added = Part { run: self.runs.take(lines_for(go.len())), len: 0 };
        self.parts.push(added);
        go.into_iter().for_each(|(spread, at)| self.put(count - 1, spread, at));
        self.fill(source, lines_for(stay.len()), stay);
    }

    fn resize(&mut self, part: usize, lines: usize) {
        self.fill(part, lines, self.numbers(part));
    }

    /// Gives a part so many lines, and these numbers alone.
    fn fill(&mut self, part: usize, lines: usize, numbers: Vec<(Spread, At)>) {
        let run = self.runs.take(lines);
        let old = std::mem::replace(&mut self.parts[part], Part { run, len: 0 });
        self.runs.give_back(old.run);
        numbers.into_iter().for_each(|(spread, at)| self.put(part, spread, at));
    }

    fn numbers(&self, part: usize) -> Vec<(Spread, At)> {
        let numbers: Vec<At> = self.lines(part).iter().flat_map(Line::numbers).collect();
        let mut ahead = numbers.iter();
        ahead.by_ref().take(AHEAD).for_each(|at| self.chunks.expect(*at));
        let spread = |at: &At| {
            ahead.next().into_iter().for_each(|at| self.chunks.expect(*at));
            (self.spread(self.chunks.key(*at)), *at)
        };
        numbers.iter().map(spread).collect()
    }
}

/// A search for many keys. Blocks that came together stand side by side. To where the next such run begins leads a
/// landmark ahead: one of every few keys is looked for in advance. Where blocks stand alone, each is.
pub struct Search<'a> {
    table: &'a Table,
    keys: &'a [u64],
    at: usize,
    /// Behind the last block, and how many of the group did not stand behind the one before.
    next: At,
    breaks: usize,
    /// Keys for which there are landmarks, one for so many, and where these seem to be.
    group: Range<usize>,
    stride: usize,
    landmarks: [At; AHEAD],
}

impl<'a> Search<'a> {
    /// The next block; None if it is not there or was the last.
    #[inline(always)]
    pub fn next(&mut self) -> Option<BlockRef<'a>> {
        let key = *self.keys.get(self.at)?;
        if self.at == self.group.end {
            self.look_ahead(if self.stride == 1 && self.breaks > FEW_BREAKS { 1 } else { STRIDE });
        }
        let guess = if self.stride == 1 { self.landmarks[self.at - self.group.start] } else { self.next };
        let at = self.table.at_once(guess, key).or_else(|| self.look_up(key))?;
        self.breaks += usize::from(at != self.next);
        self.next = at.next();
        self.at += 1;
        self.table.chunks.at(at)
    }

    fn look_up(&mut self, key: u64) -> Option<At> {
        let passed = self.at - self.group.start;
        let Some(landmark) = self.landmarks.get(passed.div_ceil(STRIDE)).filter(|_| self.stride > 1) else {
            return self.table.find(key);
        };
        let before = passed.next_multiple_of(STRIDE) - passed;
        let guess = landmark.back(before).and_then(|guess| self.table.at_once(guess, key));
        guess.or_else(|| {
            self.look_ahead(1);
            self.table.find(key)
        })
    }

    /// Looks for the next landmarks, whose lines are near, and has the lines for those after them brought near.
    fn look_ahead(&mut self, stride: usize) {
        if stride != self.stride || self.at == 0 {
            self.ask(self.at, stride);
        }
        let keys = self.keys.iter().skip(self.at).step_by(stride);
        for (key, landmark) in keys.zip(&mut self.landmarks) {
            *landmark = self.table.guess(*key);
            self.table.chunks.expect_run(*landmark, stride);
        }
        (self.group, self.stride, self.breaks) = (self.at..self.at + AHEAD * stride, stride, 0);
        self.ask(self.group.end, stride);
    }

    /// Has the lines brought near in which the numbers of landmarks stand.
    fn ask(&self, from: usize, stride: usize) {
        let keys = self.keys.iter().skip(from).step_by(stride).take(AHEAD);
        keys.for_each(|key| self.table.expect(*key));
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
    blocks * 16 / (FULL * WAYS) * 9 / 8 + 1
}

impl Spread {
    /// Keys may be anything, small numbers included: the finaliser of MurmurHash3 spreads them.
    #[inline(always)]
    fn of(key: u64, seed: u64) -> Spread {
        let mut bits = key ^ seed;
        bits = (bits ^ bits >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        bits = (bits ^ bits >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        Spread(bits ^ bits >> 33)
    }

    #[inline(always)]
    fn part(self, parts: usize) -> usize {
        let mask = parts.next_power_of_two() - 1;
        let part = self.0 as u32 as usize & mask;
        // Without a branch, which would be guessed wrong half of the time.
        part & (mask >> u32::from(part >= parts))
    }

    #[inline(always)]
    fn line(self, lines: usize) -> usize {
        (((self.0 >> 32) * lines as u64) >> 32) as usize
    }

    #[inline(always)]
    fn tag(self) -> u8 {
        (self.0 >> 24) as u8
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
            table.insert(block(key), None);
            if key % 1000 == 999 {
                let room: usize = table.parts.iter().map(Part::room).sum();
                assert!(table.len() * 100 > room * 59, "{} of {room}", table.len());
            }
        }
        assert_eq!((table.len(), table.parts.len()), (100_000, 100_000_usize.div_ceil(PART)));
        assert!(table.parts.iter().all(|part| part.len() < PART * 3));
        assert!((0..100_000).all(|key| table.find(key).is_some_and(|at| table.chunks.key(at) == key)));
        assert_eq!(table.find(100_000), None);
        for key in 0..100_000 {
            let at = table.find(key).expect("it is there");
            assert_eq!(table.remove(at), Some(block(key)));
        }
        assert!(table.parts.iter().all(|part| part.room() == WAYS));
        assert_eq!((table.len(), table.room()), (0, 0));
    }

    /// Tables in which the blocks of a search stand in different orders.
    fn tables(keys: &[u64]) -> [Table; 4] {
        let mut tables = [(); 4].map(|()| Table::new(5));
        let mut last = None;
        for key in keys {
            last = Some(tables[0].insert(block(*key), last));
        }
        // Alone, backwards, and in runs of 21 between which others stand.
        keys.iter()
            .step_by(2)
            .chain(keys.iter().skip(1).step_by(2))
            .for_each(|key| _ = tables[1].insert(block(*key), None));
        keys.iter().rev().for_each(|key| _ = tables[2].insert(block(*key), None));
        for (number, run) in keys.chunks(21).enumerate() {
            tables[3].insert(block(u64::MAX - number as u64), None);
            run.iter().for_each(|key| _ = tables[3].insert(block(*key), None));
        }
        tables
    }

    #[test]
    fn a_search_finds_all_keys_in_whatever_order_they_came() {
        for count in [0, 1, 2, 15, 16, 17, 255, 256, 257, 3000] {
            let keys: Vec<u64> = (0..count).map(|key| key * 3).collect();
            for table in tables(&keys) {
                let mut search = table.search(&keys);
                for key in &keys {
                    assert_eq!(search.next().map(|block| block.get().key), Some(*key));
                }
                assert!(search.next().is_none());
            }
        }
    }

    #[test]
    fn a_search_ends_at_the_first_key_that_is_not_there() {
        let keys: Vec<u64> = (0..700).collect();
        for missing in [0, 1, 16, 255, 256, 300, 699] {
            for mut table in tables(&keys) {
                table.remove(table.find(missing).expect("it is there"));
                let mut search = table.search(&keys);
                let found = std::iter::from_fn(|| search.next()).count();
                assert_eq!(found as u64, missing);
            }
        }
    }

    #[test]
    fn neighbours_are_found_even_where_a_part_is_empty() {
        let mut table = Table::new(5);
        assert_eq!(table.near(1, 8).count(), 0);
        (0..20_000).for_each(|key| _ = table.insert(block(key), None));
        assert_eq!(table.near(77, 8).count(), 8);
        let part = |table: &Table, key| table.spread(key).part(table.parts.len());
        for key in 0..20_000 {
            if part(&table, key) != 3 {
                table.remove(table.find(key).expect("it is there"));
            }
        }
        assert!((0..100).all(|key| table.near(key, 8).count() == 8));
    }

    fn gather_all(table: &mut Table) {
        let mut at = At(0);
        while at < table.end() {
            table.gather(at);
            at = at.next();
        }
    }

    #[test]
    fn blocks_that_are_left_over_come_together_in_less_memory_alone_or_side_by_side() {
        for is_kept in [|key: &u64| key.is_multiple_of(10), |key: &u64| key % 2000 < 200] {
            let mut table = Table::new(5);
            (0..50_000).for_each(|key| _ = table.insert(block(key), None));
            let room = table.room();
            (0..50_000).filter(|key| !is_kept(key)).for_each(|key| {
                table.remove(table.find(key).expect("it is there"));
            });
            (0..2).for_each(|_| gather_all(&mut table));
            assert!(table.room() * 4 < room, "{} of {room}", table.room());
            assert_eq!(keys(&table), (0..50_000).filter(is_kept).collect());
            assert!(
                keys(&table)
                    .into_iter()
                    .all(|key| table.get(table.find(key).expect("it is there")) == Some(block(key)))
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_table_holds_what_was_put_in_and_not_taken_out(
            steps in proptest::collection::vec((0u8..10, 0u64..300), 1..600), seed in any::<u64>(),
        ) {
            let (mut table, mut model, mut last) = (Table::new(seed), HashSet::new(), None);
            for (act, key) in steps {
                match table.find_behind(last, key) {
                    None if act < 6 => {
                        prop_assert!(model.insert(key));
                        last = Some(table.insert(block(key), last));
                    }
                    Some(at) if (6..9).contains(&act) => {
                        prop_assert_eq!(table.remove(at), Some(block(key)));
                        prop_assert!(model.remove(&key));
                        last = Some(at);
                    }
                    Some(at) => {
                        prop_assert_eq!(table.get(at), Some(block(key)));
                        table.gather(at);
                    }
                    None => last = None,
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(&keys(&table), &model);
                prop_assert!(model.iter().all(|key| table.find(*key).is_some()));
            }
        }
    }
}
