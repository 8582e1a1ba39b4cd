//! Key to block, for tens of millions: open addressing in parts of some thousand blocks.
//!
//! Every part grows by a quarter when it is full and shrinks when it is empty, and when parts are many blocks each,
//! one of them is split in two (linear hashing). So the table never moves more than a part at a time, is about as
//! full at every size, and can be swept part by part.

use std::sync::atomic::AtomicU32;

use super::places::Places;
use crate::sys::cache::prefetch;

/// Blocks in a part on average before another part is made.
const PART: usize = 4096;
const SMALLEST: usize = 8;
/// A part grows above 13 of 16 buckets and shrinks below 5 of 16.
const FULL: usize = 13;
const SPARSE: usize = 5;
/// A block that somebody holds; in the table, one with no places is an empty bucket.
#[derive(Debug, Default)]
pub struct Block {
    pub key: u64,
    pub places: Places,
    /// When it was last stored or matched, in ticks.
    pub seen: AtomicU32,
    /// When its places were last cleaned, see `clearings`.
    pub generation: u16,
}

const _: () = assert!(size_of::<Block>() == 24);

/// Where a block stands, until the table next changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    part: u32,
    bucket: u32,
}

#[derive(Debug)]
pub struct Table {
    parts: Vec<Part>,
    seed: u64,
    len: usize,
}

#[derive(Debug)]
struct Part {
    buckets: Vec<Block>,
    len: usize,
}

/// A key spread over 64 bits: the low half chooses the part, the high half the bucket.
#[derive(Clone, Copy)]
struct Spread(u64);

impl Table {
    /// Whoever knows `seed` can choose keys that collide.
    pub fn new(seed: u64) -> Table {
        Table { parts: vec![Part::with(SMALLEST)], seed, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// How many buckets a part has, empty ones included.
    pub fn buckets(&self, part: usize) -> usize {
        self.parts[part].buckets.len()
    }

    pub fn get(&self, at: At) -> &Block {
        &self.parts[at.part as usize].buckets[at.bucket as usize]
    }

    pub fn get_mut(&mut self, at: At) -> &mut Block {
        &mut self.parts[at.part as usize].buckets[at.bucket as usize]
    }

    pub fn find(&self, key: u64) -> Option<At> {
        let spread = Spread::of(key, self.seed);
        let part = spread.part(self.parts.len());
        let bucket = self.parts[part].probe(spread, key).ok()?;
        Some(At { part: part as u32, bucket: bucket as u32 })
    }

    /// Has the memory brought near in which a key will be looked for, so that several such reads overlap.
    pub fn expect(&self, key: u64) {
        let spread = Spread::of(key, self.seed);
        let buckets = &self.parts[spread.part(self.parts.len())].buckets;
        let home = spread.bucket(buckets.len());
        // Most keys stand within two lines of the cache from there.
        for near in [home, home + 3] {
            if let Some(block) = buckets.get(near) {
                prefetch(block);
            }
        }
    }

    /// Adds a block that has places, and whose key is not in the table.
    pub fn insert(&mut self, block: Block) {
        debug_assert!(!block.places.is_empty() && self.find(block.key).is_none());
        if self.len >= self.parts.len() * PART {
            self.split();
        }
        let spread = Spread::of(block.key, self.seed);
        let part = spread.part(self.parts.len());
        self.parts[part].insert(block, spread, self.seed);
        self.len += 1;
    }

    pub fn remove(&mut self, at: At) -> Block {
        let part = &mut self.parts[at.part as usize];
        let block = part.remove(at.bucket as usize, self.seed);
        part.shrink(self.seed);
        self.len -= 1;
        block
    }

    /// Drops the blocks of one part for which `keep` is false; it may be asked about a block more than once, and one
    /// whose places it empties must not be kept.
    pub fn retain(&mut self, part: usize, mut keep: impl FnMut(&mut Block) -> bool) {
        let part = &mut self.parts[part];
        for bucket in 0..part.buckets.len() {
            // Removing moves another block here, from further on or, around the end, from among those already seen.
            while !part.buckets[bucket].places.is_empty() && !keep(&mut part.buckets[bucket]) {
                part.remove(bucket, self.seed);
                self.len -= 1;
            }
        }
        part.shrink(self.seed);
    }

    /// The blocks of a part; none of one that there is not.
    pub fn blocks(&self, part: usize) -> impl Iterator<Item = &Block> {
        let buckets = self.parts.get(part).map_or(&[][..], |part| &part.buckets);
        buckets.iter().filter(|block| !block.places.is_empty())
    }

    /// Up to `count` blocks that stand near where `key` would; at least one, unless the table is empty.
    pub fn near(&self, key: u64, count: usize) -> impl Iterator<Item = (At, &Block)> {
        let spread = Spread::of(key, self.seed);
        let first = spread.part(self.parts.len());
        let part = (first..self.parts.len()).chain(0..first).find(|part| self.parts[*part].len > 0);
        let part = part.unwrap_or(first);
        let buckets = &self.parts[part].buckets;
        let home = spread.bucket(buckets.len());
        (home..buckets.len())
            .chain(0..home)
            .map(move |bucket| (At { part: part as u32, bucket: bucket as u32 }, &buckets[bucket]))
            .filter(|(_, block)| !block.places.is_empty())
            .take(count)
    }

    /// Makes one more part and moves into it what now belongs there: all from the one part it splits off.
    fn split(&mut self) {
        let count = self.parts.len() + 1;
        let source = (count - 1) & (count.next_power_of_two() / 2 - 1);
        let old = std::mem::replace(&mut self.parts[source], Part::with(SMALLEST));
        let (stay, go): (Vec<Block>, Vec<Block>) = old
            .buckets
            .into_iter()
            .filter(|block| !block.places.is_empty())
            .partition(|block| Spread::of(block.key, self.seed).part(count) == source);
        self.parts[source] = Part::of(stay, self.seed);
        self.parts.push(Part::of(go, self.seed));
    }
}

impl Part {
    fn with(buckets: usize) -> Part {
        Part { buckets: std::iter::repeat_with(Block::default).take(buckets).collect(), len: 0 }
    }

    /// With room for an eighth more.
    fn of(blocks: Vec<Block>, seed: u64) -> Part {
        let mut part = Part::with((blocks.len() * 16 / FULL * 9 / 8).max(SMALLEST));
        for block in blocks {
            part.put(Spread::of(block.key, seed), block);
        }
        part
    }

    /// The bucket of the key, or the empty one where it would stand.
    fn probe(&self, spread: Spread, key: u64) -> Result<usize, usize> {
        let mut bucket = spread.bucket(self.buckets.len());
        loop {
            let block = &self.buckets[bucket];
            if block.places.is_empty() {
                return Err(bucket);
            }
            if block.key == key {
                return Ok(bucket);
            }
            bucket = self.after(bucket);
        }
    }

    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }

    fn insert(&mut self, block: Block, spread: Spread, seed: u64) {
        if (self.len + 1) * 16 > self.buckets.len() * FULL {
            self.resize(self.buckets.len() * 5 / 4 + 1, seed);
        }
        self.put(spread, block);
    }

    fn put(&mut self, spread: Spread, block: Block) {
        if let Err(empty) = self.probe(spread, block.key) {
            self.buckets[empty] = block;
            self.len += 1;
        }
    }

    /// Empties a bucket and moves the blocks after it forward, so that no probe meets a gap before its block.
    fn remove(&mut self, bucket: usize, seed: u64) -> Block {
        let removed = std::mem::take(&mut self.buckets[bucket]);
        let (mut gap, mut next, count) = (bucket, self.after(bucket), self.buckets.len());
        while !self.buckets[next].places.is_empty() {
            let home = Spread::of(self.buckets[next].key, seed).bucket(count);
            let from_home = |bucket: usize| (bucket + count - home) % count;
            if from_home(gap) < from_home(next) {
                self.buckets.swap(gap, next);
                gap = next;
            }
            next = self.after(next);
        }
        self.len -= 1;
        removed
    }

    fn shrink(&mut self, seed: u64) {
        if self.buckets.len() > SMALLEST && self.len * 16 < self.buckets.len() * SPARSE {
            self.resize((self.len * 16 / FULL * 9 / 8).max(SMALLEST), seed);
        }
    }

    fn resize(&mut self, count: usize, seed: u64) {
        let old = std::mem::replace(self, Part::with(count));
        for block in old.buckets.into_iter().filter(|block| !block.places.is_empty()) {
            self.put(Spread::of(block.key, seed), block);
        }
    }
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

    fn bucket(self, buckets: usize) -> usize {
        (((self.0 >> 32) * buckets as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::sync::atomic::Ordering::Relaxed;

    fn block(key: u64) -> Block {
        Block { key, places: Places::one(0, 1), ..Block::default() }
    }

    fn keys(table: &Table) -> HashSet<u64> {
        let buckets = table.parts.iter().flat_map(|part| &part.buckets);
        buckets.filter(|block| !block.places.is_empty()).map(|block| block.key).collect()
    }

    #[test]
    fn a_large_table_has_many_parts_of_like_size_and_is_never_emptier_than_promised() {
        let mut table = Table::new(5);
        for key in 0..100_000 {
            table.insert(block(key));
            if key % 1000 == 999 {
                let buckets: usize = (0..table.parts()).map(|part| table.buckets(part)).sum();
                assert!(table.len() * 100 > buckets * 60, "{} of {buckets}", table.len());
            }
        }
        assert_eq!((table.len(), table.parts()), (100_000, 100_000_usize.div_ceil(PART)));
        assert!(table.parts.iter().all(|part| part.len < PART * 3));
        assert!((0..100_000).all(|key| table.find(key).is_some_and(|at| table.get(at).key == key)));
        assert_eq!(table.find(100_000), None);
        for part in 0..table.parts() {
            table.retain(part, |_| false);
            assert_eq!(table.buckets(part), SMALLEST);
        }
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn any_key_can_be_expected() {
        let mut table = Table::new(5);
        table.expect(1);
        (0..500).for_each(|key| table.insert(block(key * 3)));
        (0..1500).for_each(|key| table.expect(key));
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
                    Some(at) => table.get_mut(at).seen = 1.into(),
                    None if act == 9 => {
                        model.retain(|kept| kept % 7 != key % 7);
                        table.retain(0, |block| block.key % 7 != key % 7 && block.seen.load(Relaxed) < 2);
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
