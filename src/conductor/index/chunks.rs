//! The blocks themselves, by number: those that come together stand side by side.
//!
//! Who looks for the blocks of a prompt one after the other mostly finds the next one right behind the last one, where
//! the processor has brought it near already. A block keeps its number until it is taken out, or moved on purpose.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use super::places::Places;
use crate::sys::cache::prefetch;
use crate::sys::huge::Huge;

/// Blocks in a row, which is a line of the processor's cache.
const WAYS: usize = 3;
/// Rows of a chunk, and blocks that it has room for.
const ROWS: usize = 64;
const CHUNK: usize = ROWS * WAYS;
/// Rows of a page, which is a huge one but for the first few: those grow. And its chunks.
const PAGE: usize = (2 << 20) / size_of::<Row>();
const CHUNKS: usize = PAGE / ROWS;
const FEW: usize = 4;
/// Numbers of a row, one of which no block has.
const STEPS: u32 = 4;
/// A chunk is filled up again once it has this much room.
const ROOM: usize = CHUNK / 8;

/// A block's number: chunk, row and way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At(pub u32);

/// What somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub key: u64,
    /// Never empty.
    pub places: Places,
    /// When it was last stored or matched, in ticks.
    pub seen: u32,
    /// When its places were last cleaned, see `clearings`.
    pub generation: u8,
}

/// Blocks and room for more: where the places are empty.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Row {
    keys: [u64; WAYS],
    places: [Places; WAYS],
    seen: [AtomicU32; WAYS],
    generations: [u8; WAYS],
}

const _: () = assert!(size_of::<Row>() == 64);

#[derive(Debug)]
enum Page {
    Few(Vec<Row>),
    Huge(Box<Huge<Row, PAGE>>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Chunk {
    count: u8,
    /// To be filled up again.
    waits: bool,
}

/// A block that is not changed meanwhile.
#[derive(Clone, Copy)]
pub struct BlockRef<'a> {
    row: &'a Row,
    way: usize,
}

#[derive(Debug, Default)]
pub struct Chunks {
    pages: Vec<Page>,
    chunks: Vec<Chunk>,
    /// Chunks to fill up, among others. The lowest comes first: so others become empty.
    waiting: BinaryHeap<Reverse<u32>>,
    /// From where on there may be room in the chunk that is filled up, if one is.
    open: Option<At>,
    len: usize,
    /// Rows that there are.
    rows: usize,
}

impl Row {
    fn set(&mut self, way: usize, block: Block) {
        let Block { key, places, seen, generation } = block;
        (self.keys[way], self.places[way], self.generations[way]) = (key, places, generation);
        self.seen[way] = seen.into();
    }
}

impl Page {
    #[inline(always)]
    fn rows(&self) -> &[Row] {
        match self {
            Page::Few(rows) => rows,
            Page::Huge(rows) => rows,
        }
    }

    fn rows_mut(&mut self) -> &mut [Row] {
        match self {
            Page::Few(rows) => rows,
            Page::Huge(rows) => rows,
        }
    }

    /// Sees to it that there are so many rows, and says how many there are.
    fn grow(&mut self, count: usize, is_huge: bool) -> usize {
        match self {
            Page::Few(rows) if is_huge && rows.is_empty() => *self = Page::Huge(Huge::boxed()),
            Page::Few(rows) if rows.len() < count => {
                let more = count.max(rows.len() * 5 / 4).next_multiple_of(ROWS).min(PAGE);
                rows.reserve_exact(more - rows.len());
                rows.resize_with(more, Row::default);
            }
            _ => {}
        }
        self.rows().len()
    }

    /// The other way round: only the first `count` rows are needed.
    fn shrink(&mut self, count: usize) -> usize {
        match self {
            _ if count == 0 => *self = Page::Few(Vec::new()),
            Page::Few(rows) if rows.len() >= 2 * count => {
                rows.truncate(count);
                rows.shrink_to_fit();
            }
            _ => {}
        }
        self.rows().len()
    }
}

impl BlockRef<'_> {
    /// Whether it is there and has this key.
    #[inline(always)]
    pub fn is(self, key: u64) -> bool {
        self.row.keys[self.way] == key && !self.is_free()
    }

    #[inline(always)]
    fn is_free(self) -> bool {
        self.row.places[self.way].is_empty()
    }

    #[inline(always)]
    pub fn get(self) -> Block {
        Block {
            key: self.row.keys[self.way],
            places: self.row.places[self.way],
            seen: self.row.seen[self.way].load(Relaxed),
            generation: self.row.generations[self.way],
        }
    }

    /// Notes that it was seen.
    #[inline(always)]
    pub fn see(self, tick: u32) {
        let seen = &self.row.seen[self.way];
        // Readers share the line while nobody writes it.
        if seen.load(Relaxed) != tick {
            seen.store(tick, Relaxed);
        }
    }
}

impl At {
    /// The first of a chunk.
    fn first(chunk: usize) -> At {
        At((chunk * ROWS) as u32 * STEPS)
    }

    fn chunk(self) -> usize {
        (self.0 / STEPS) as usize / ROWS
    }

    #[inline(always)]
    fn page(self) -> usize {
        (self.0 / STEPS) as usize / PAGE
    }

    /// In the page.
    #[inline(always)]
    fn row(self) -> usize {
        (self.0 / STEPS) as usize % PAGE
    }

    #[inline(always)]
    fn way(self) -> usize {
        (self.0 % STEPS) as usize
    }

    #[inline(always)]
    pub fn next(self) -> At {
        At(self.0 + 1 + u32::from(self.way() == WAYS - 1))
    }

    /// The one so many before, if there is one.
    pub fn back(self, count: usize) -> Option<At> {
        let number = (self.0 / STEPS) as usize * WAYS + self.way();
        let number = number.checked_sub(count)?;
        Some(At((number / WAYS) as u32 * STEPS + (number % WAYS) as u32))
    }
}

impl Chunks {
    pub fn len(&self) -> usize {
        self.len
    }

    /// All numbers are below.
    pub fn end(&self) -> At {
        At::first(self.parts())
    }

    /// How many blocks there could be before it.
    pub fn room(&self) -> usize {
        self.parts() * CHUNK
    }

    pub fn parts(&self) -> usize {
        self.chunks.len()
    }

    pub fn blocks(&self, part: usize) -> impl Iterator<Item = Block> {
        numbers(At::first(part)).filter_map(|at| self.get(at))
    }

    /// What stands there, or stood there last.
    #[inline(always)]
    pub fn at(&self, at: At) -> Option<BlockRef<'_>> {
        let row = self.pages.get(at.page())?.rows().get(at.row())?;
        Some(BlockRef { row, way: at.way().min(WAYS - 1) })
    }

    pub fn get(&self, at: At) -> Option<Block> {
        self.at(at).filter(|block| !block.is_free()).map(BlockRef::get)
    }

    fn row_mut(&mut self, at: At) -> Option<&mut Row> {
        self.pages.get_mut(at.page())?.rows_mut().get_mut(at.row())
    }

    /// The key of what stands there, or stood there last.
    #[inline(always)]
    pub fn key(&self, at: At) -> u64 {
        self.at(at).map_or(0, |block| block.row.keys[block.way])
    }

    /// Has a block brought near.
    #[inline(always)]
    pub fn expect(&self, at: At) {
        self.expect_run(at, 1);
    }

    /// Has blocks brought near that stand side by side.
    #[inline(always)]
    pub fn expect_run(&self, at: At, count: usize) {
        if let Some(page) = self.pages.get(at.page()) {
            page.rows().iter().skip(at.row()).take(count.div_ceil(WAYS)).for_each(prefetch);
        }
    }

    /// Whether the block should stand elsewhere: more than half of the memory is room, and it is one of few in its chunk,
    /// or stands where nothing need be.
    #[inline(always)]
    pub fn is_sparse(&self, at: At) -> bool {
        let is_one_of_few = |chunk: &Chunk| 2 * usize::from(chunk.count) < CHUNK;
        self.rows * WAYS > 2 * self.len + CHUNK
            && (at.chunk() * CHUNK > 2 * self.len || self.chunks.get(at.chunk()).is_some_and(is_one_of_few))
    }

    /// Puts a block in: behind `after` if there is room, else where the last one came that had none there.
    pub fn put(&mut self, block: Block, after: Option<At>) -> At {
        debug_assert!(!block.places.is_empty());
        let behind = after.map(At::next).filter(|at| at.chunk() < self.chunks.len());
        let behind = behind.filter(|at| self.at(*at).is_some_and(BlockRef::is_free));
        let at = behind.unwrap_or_else(|| self.next_room());
        self.add(at, block);
        at
    }

    /// Has a block say something else.
    pub fn set(&mut self, at: At, block: Block) {
        if let Some(row) = self.row_mut(at) {
            row.set(at.way(), block);
        }
    }

    fn add(&mut self, at: At, block: Block) {
        self.set(at, block);
        self.chunks[at.chunk()].count += 1;
        self.len += 1;
    }

    pub fn take(&mut self, at: At) -> Option<Block> {
        let block = self.get(at)?;
        self.row_mut(at)?.places[at.way()] = Places::default();
        self.chunks[at.chunk()].count -= 1;
        self.len -= 1;
        if self.open.is_none_or(|open| open.chunk() != at.chunk()) {
            self.offer(at.chunk());
        }
        if self.chunks[at.chunk()].count == 0 {
            self.give_back(at.page());
        }
        Some(block)
    }

    /// Moves a block to a lower chunk, if one has room.
    pub fn gather(&mut self, at: At) -> Option<At> {
        let mut to = self.next_room();
        if to.chunk() >= at.chunk() {
            self.open = None;
            self.offer(to.chunk());
            to = self.next_room();
        }
        if to.chunk() >= at.chunk() {
            return None;
        }
        // There first: else its chunk, empty before, could be given back with the one that this leaves empty.
        self.add(to, self.get(at)?);
        self.take(at);
        Some(to)
    }

    /// The next number without a block.
    fn next_room(&mut self) -> At {
        loop {
            if let Some(open) = self.open {
                self.open = numbers(open).find(|at| self.at(*at).is_some_and(BlockRef::is_free));
                if let Some(at) = self.open {
                    return at;
                }
                self.offer(open.chunk());
            }
            self.open = Some(At::first(self.next_chunk()));
        }
    }

    /// The lowest chunk that waits to be filled up, or a new one.
    fn next_chunk(&mut self) -> usize {
        while let Some(Reverse(number)) = self.waiting.pop() {
            let number = number as usize;
            // There are none after the last one, either.
            let Some(chunk) = self.chunks.get_mut(number) else {
                self.waiting.clear();
                break;
            };
            if std::mem::take(&mut chunk.waits) {
                self.make(number);
                return number;
            }
        }
        self.chunks.push(Chunk::default());
        self.make(self.chunks.len() - 1);
        self.chunks.len() - 1
    }

    /// Sees to the rows of a chunk, which its page may lack.
    fn make(&mut self, chunk: usize) {
        let last = At(At::first(chunk + 1).0 - 1);
        if last.page() == self.pages.len() {
            self.pages.push(Page::Few(Vec::new()));
        }
        let page = &mut self.pages[last.page()];
        self.rows -= page.rows().len();
        self.rows += page.grow(last.row() + 1, last.page() >= FEW);
    }

    /// Has a chunk that is not filled up now wait for it if that is worth it.
    fn offer(&mut self, number: usize) {
        let chunk = &mut self.chunks[number];
        if !chunk.waits && CHUNK - usize::from(chunk.count) >= ROOM {
            chunk.waits = true;
            self.waiting.push(Reverse(number as u32));
        }
    }

    /// Gives back what is not needed without the blocks of a chunk: pages in which there is nothing, and what comes last.
    fn give_back(&mut self, page: usize) {
        let is_empty = |chunk: &mut Chunk| chunk.count == 0;
        while self.chunks.pop_if(is_empty).is_some() {}
        self.open = self.open.filter(|open| open.chunk() < self.chunks.len());
        let chunks = page * CHUNKS..self.chunks.len().min((page + 1) * CHUNKS);
        let rows = match self.chunks.get(chunks.clone()) {
            Some(chunks) if chunks.iter().any(|chunk| chunk.count > 0) => chunks.len() * ROWS,
            _ => 0,
        };
        if rows == 0
            && let Some(open) = self.open.take_if(|open| open.page() == page)
        {
            self.offer(open.chunk());
        }
        self.rows -= self.pages[page].rows().len();
        self.rows += self.pages[page].shrink(rows);
        while self.pages.pop_if(|last| last.rows().is_empty()).is_some() {}
    }
}

/// Those of a chunk, from one of them on.
fn numbers(from: At) -> impl Iterator<Item = At> {
    std::iter::successors(Some(from), |at| Some(at.next())).take_while(move |at| at.chunk() == from.chunk())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn block(key: u64) -> Block {
        Block { key, places: Places::one(1, 1), seen: 3, generation: 4 }
    }

    fn filled(count: u64) -> (Chunks, Vec<At>) {
        let mut chunks = Chunks::default();
        let put = |key| chunks.put(block(key), None);
        let at = (0..count).map(put).collect();
        (chunks, at)
    }

    #[test]
    fn what_comes_together_stands_together_and_what_comes_after_stands_behind_if_there_is_room() {
        let (mut chunks, at) = filled(1000);
        assert!(at.iter().zip(&at[1..]).all(|(one, other)| one.next() == *other));
        assert!((0..1000).all(|count| at[999].back(count) == Some(at[999 - count])));
        assert_eq!(at[0].back(1), None);
        chunks.take(at[500]);
        assert_eq!(chunks.put(block(7), Some(at[499])), at[500]);
        assert_eq!(chunks.put(block(8), Some(at[499])), at[999].next());
    }

    #[test]
    fn room_is_filled_from_below_once_a_chunk_has_some() {
        let (mut chunks, at) = filled(10 * CHUNK as u64);
        // One too few in one chunk, enough in two more.
        let free = [(1, ROOM - 1), (5, ROOM), (3, ROOM)];
        free.iter().for_each(|(chunk, count)| {
            at[chunk * CHUNK..][..*count].iter().for_each(|at| _ = chunks.take(*at));
        });
        let next: Vec<At> = (0..2 * ROOM).map(|key| chunks.put(block(key as u64), None)).collect();
        assert_eq!(next[..ROOM], at[3 * CHUNK..][..ROOM]);
        assert_eq!(next[ROOM..], at[5 * CHUNK..][..ROOM]);
        assert_eq!(chunks.put(block(1), None), at[10 * CHUNK - 1].next());
    }

    #[test]
    fn pages_without_blocks_are_given_back_and_come_again() {
        let blocks = (PAGE * WAYS) as u64;
        let (mut chunks, at) = filled((FEW as u64 + 1) * blocks);
        assert!(chunks.pages.iter().enumerate().all(|(number, page)| {
            matches!(page, Page::Huge(_)) == (number >= FEW) && page.rows().len() == PAGE
        }));
        for page in [1, FEW] {
            at[page * blocks as usize..][..blocks as usize].iter().for_each(|at| _ = chunks.take(*at));
        }
        assert_eq!((chunks.rows, chunks.parts()), ((FEW - 1) * PAGE, FEW * CHUNKS));
        assert_eq!(chunks.put(block(1), None), at[blocks as usize]);
        assert_eq!(chunks.rows, (FEW - 1) * PAGE + ROWS);
        at.iter().for_each(|at| _ = chunks.take(*at));
        assert_eq!((chunks.len(), chunks.rows, chunks.parts(), chunks.pages.len()), (0, 0, 0, 0));
        assert_eq!(chunks.put(block(1), None), At(0));
    }

    #[test]
    fn the_last_block_of_a_page_moves_to_an_empty_chunk_of_it() {
        let (mut chunks, at) = filled(CHUNK as u64 + 1);
        at[..CHUNK].iter().for_each(|at| _ = chunks.take(*at));
        assert_eq!(chunks.gather(at[CHUNK]), Some(at[0]));
        assert_eq!((chunks.get(at[0]), chunks.len(), chunks.parts()), (Some(block(CHUNK as u64)), 1, 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn chunks_hold_what_was_put_in_and_not_taken_out(
            steps in proptest::collection::vec((0u8..4, any::<prop::sample::Index>(), 1usize..300), 1..40),
        ) {
            let (mut chunks, mut model) = (Chunks::default(), BTreeMap::new());
            for (act, which, count) in steps {
                let some: Vec<At> = model.keys().copied().collect();
                let some = &some[if some.is_empty() { 0 } else { which.index(some.len()) }..];
                let mut last = some.first().copied();
                for number in 0..count {
                    match (act, some.get(number)) {
                        (0, Some(at)) => {
                            prop_assert_eq!(chunks.take(*at), model.remove(at));
                            prop_assert_eq!(chunks.take(*at), None);
                        }
                        (1, Some(at)) => if let Some(to) = chunks.gather(*at) {
                            prop_assert!(to < *at && !model.contains_key(&to));
                            let moved = model.remove(at).expect("it was there");
                            model.insert(to, moved);
                        },
                        _ => {
                            let block = block(model.len() as u64);
                            let at = chunks.put(block, last);
                            prop_assert!(at < chunks.end() && model.insert(at, block).is_none());
                            last = Some(at).filter(|_| act == 2);
                        }
                    }
                }
                prop_assert_eq!(chunks.len(), model.len());
                let all: Vec<Block> = (0..chunks.parts()).flat_map(|part| chunks.blocks(part)).collect();
                prop_assert_eq!(&all, &model.values().copied().collect::<Vec<_>>());
                prop_assert!(model.iter().all(|(at, block)| chunks.get(*at) == Some(*block)));
                prop_assert!(model.len() <= chunks.room());
            }
        }
    }
}
