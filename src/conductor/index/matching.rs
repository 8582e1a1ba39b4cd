//! The longest prefix of a prompt that each holder has.
//!
//! One walk along the keys serves all holders: a set of those that had every block so far, per tier, is narrowed
//! block by block, and whoever drops out has its count. The walk ends where the sets are empty. Its cost is the
//! length of the walk times the words of the sets, whatever the index holds.

use super::Tier;
use super::chunks::Block;
use super::holders::{HolderId, Holders};
use super::places::{PLANES, PROMISED, STORE, Word};
use super::prefix::{PrefixIndex, tick_of};

/// What one holder has of a prompt, in blocks from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HolderMatch {
    pub holder: HolderId,
    /// By tier: the blocks that it has in this or a nearer one, each anywhere among them. `Store` counts what any
    /// holder has there. So the numbers never fall, and the last is the longest match.
    pub blocks: [u32; 4],
    /// The blocks that it has in tiers of its own or was promised: what will be there when transfers have ended.
    pub promised: u32,
}

impl HolderMatch {
    pub fn within(&self, tier: Tier) -> u32 {
        self.blocks[tier as usize]
    }
}

/// The answer of [`PrefixIndex::find`]. Used again, it allocates no more.
#[derive(Debug, Default)]
pub struct Matches {
    found: Vec<HolderMatch>,
    walk: Walk,
}

impl Matches {
    /// One entry for each holder that is registered, in an order that stays while none comes or goes.
    pub fn holders(&self) -> &[HolderMatch] {
        &self.found
    }

    /// The longest match of any holder within `tier`, in blocks.
    pub fn longest(&self, tier: Tier) -> u32 {
        self.found.iter().map(|found| found.within(tier)).max().unwrap_or(0)
    }
}

/// Who is still in, and for how many blocks the others were.
#[derive(Debug, Default)]
struct Walk {
    /// By tier who has all blocks so far within it; then who has or was promised them. By 64 slots.
    alive: Vec<Word>,
    /// The places of the block at hand.
    here: Vec<Word>,
    /// By slot.
    counts: Vec<[u32; PLANES]>,
}

impl PrefixIndex {
    /// Finds for every holder how many of `keys`, the blocks of a prompt from its beginning, it has without a gap.
    /// Blocks that are found count as seen at `now` (milliseconds on the clock of the events).
    pub fn find(&self, keys: &[u64], now: u64, matches: &mut Matches) {
        let Matches { found, walk } = matches;
        walk.begin(&self.holders);
        let tick = tick_of(now);
        let length = self.walk(keys, tick, walk);
        walk.end(length);
        found.clear();
        found.extend(self.holders.iter().map(|(slot, holder, _)| {
            let [device, host, disk, store, promised] = walk.counts[usize::from(slot)];
            HolderMatch { holder, blocks: [device, host, disk, store], promised }
        }));
    }

    /// Narrows the sets block by block, and returns after how many the walk ended.
    fn walk(&self, keys: &[u64], tick: u32, walk: &mut Walk) -> u32 {
        let mut search = self.table.search(keys);
        let mut last = None;
        for length in 0..keys.len() as u32 {
            let Some(block) = search.next() else { return length };
            block.see(tick);
            let block = block.get();
            // Mostly who has a block has the next one, too, and then nobody drops out.
            if last == Some((block.places, block.generation)) {
                continue;
            }
            last = Some((block.places, block.generation));
            self.read_places(&block, &mut walk.here);
            if !walk.narrow(length) {
                return length;
            }
        }
        keys.len() as u32
    }

    /// What the block says less what was cleared since.
    pub(super) fn read_places(&self, block: &Block, here: &mut [Word]) {
        self.wide.spread(block.places, here);
        if let Some(void) = self.clearings.since(block.generation) {
            for (here, void) in here.iter_mut().zip(void.words()) {
                here.iter_mut().zip(void).for_each(|(here, void)| *here &= !void);
            }
        }
    }
}

impl Walk {
    fn begin(&mut self, holders: &Holders) {
        let words = holders.slots().div_ceil(64);
        self.alive.clear();
        self.alive.resize(words, [0; PLANES]);
        self.here.clear();
        self.here.resize(words, [0; PLANES]);
        self.counts.clear();
        self.counts.resize(holders.slots(), [0; PLANES]);
        for (slot, ..) in holders.iter() {
            self.alive[usize::from(slot / 64)].iter_mut().for_each(|word| *word |= 1 << (slot % 64));
        }
    }

    /// Takes out who lacks the block at hand, after `length` blocks. False if nobody is left.
    fn narrow(&mut self, length: u32) -> bool {
        let pooled = self.here.iter().fold(0, |any, word| any | word[STORE]) != 0;
        let mut left = 0;
        for (index, (alive, here)) in self.alive.iter_mut().zip(&self.here).enumerate() {
            // The other planes are within these two.
            if alive[STORE] | alive[PROMISED] == 0 {
                continue;
            }
            let [device, host, disk, _, promised] = *here;
            let own = device | host | disk;
            let store = if pooled { u64::MAX } else { own };
            for (plane, has) in [device, device | host, own, store, own | promised].into_iter().enumerate() {
                let mut lost = alive[plane] & !has;
                alive[plane] &= has;
                while lost != 0 {
                    self.counts[index * 64 + lost.trailing_zeros() as usize][plane] = length;
                    lost &= lost - 1;
                }
            }
            left |= alive[STORE] | alive[PROMISED];
        }
        left != 0
    }

    /// Those that are left have the whole walk.
    fn end(&mut self, length: u32) {
        for (index, alive) in self.alive.iter().enumerate() {
            for (plane, alive) in alive.iter().enumerate() {
                let mut rest = *alive;
                while rest != 0 {
                    self.counts[index * 64 + rest.trailing_zeros() as usize][plane] = length;
                    rest &= rest - 1;
                }
            }
        }
    }
}
