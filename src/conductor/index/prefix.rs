//! The index of one context: events change it, time wears it off.

use super::chunks::{At, Block};
use super::clearings::{CROWDED, Clearings};
use super::holders::{Holder, HolderId, Holders};
use super::places::{ALL_PLANES, PROMISED_ONLY, Places, Wide};
use super::promises::Promises;
use super::table::{AHEAD, Table};
use super::{Event, Tier};
use crate::error::Result;

/// Milliseconds in a tick, the unit in which blocks remember when they were seen.
const TICK: u64 = 1000;
/// Blocks swept per key of an event: a round takes as many keys as a quarter of the table has room for.
const SWEPT_PER_KEY: usize = 4;
/// Numbers of blocks suffice for so many, and as much room between them.
const MOST_BLOCKS: usize = 1 << 30;
/// Of how many blocks the one not seen for longest makes room in a full index.
const SAMPLE: usize = 16;
/// How many blocks at most make room at once: those behind it, without it, mostly are the end of no prefix any more.
const LEAVE: usize = 16;

/// What bounds the memory of one context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most blocks, 1 to 2^30; what is beyond counts as that. In a full index new blocks take the place of some that
    /// were not seen for long.
    pub blocks: usize,
    /// Most promises of blocks at once, at least 1. One more ends the one that would end first.
    pub promises: usize,
    /// Milliseconds, in effect whole seconds: a block that was neither stored nor matched for longer leaves.
    pub idle: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { blocks: 16 << 20, promises: 1 << 20, idle: 24 * 3600 * 1000 }
    }
}

/// How many events were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub applied: usize,
    /// Of holders that are not registered, or no longer.
    pub unknown: usize,
}

/// Who holds which block of one context.
#[derive(Debug)]
pub struct PrefixIndex {
    limits: Limits,
    pub(super) holders: Holders,
    pub(super) table: Table,
    pub(super) wide: Wide,
    pub(super) clearings: Clearings,
    promises: Promises,
    sweep: Sweep,
    /// The time of the last change.
    pub(super) tick: u32,
}

/// How far a round over all blocks is.
#[derive(Debug)]
struct Sweep {
    at: At,
    /// The generation at the beginning of the round: all blocks before `at` are at least this clean.
    began: u8,
}

impl PrefixIndex {
    /// `seed` should be a number that nobody outside knows: with it one can make keys that slow the index down.
    pub fn new(limits: Limits, seed: u64) -> PrefixIndex {
        PrefixIndex {
            limits,
            holders: Holders::default(),
            table: Table::new(seed),
            wide: Wide::default(),
            clearings: Clearings::new(),
            promises: Promises::default(),
            sweep: Sweep { at: At(0), began: 0 },
            tick: 0,
        }
    }

    /// The id for events of this holder, which is registered if it is not yet.
    pub fn register(&mut self, holder: Holder) -> Result<HolderId> {
        self.holders.register(holder)
    }

    /// Forgets a holder and at once all its blocks.
    pub fn unregister(&mut self, holder: HolderId) -> Result<()> {
        let slot = self.holders.unregister(holder)?;
        self.clear(slot, ALL_PLANES);
        Ok(())
    }

    pub fn holder(&self, id: HolderId) -> Option<&Holder> {
        self.holders.get(id)
    }

    pub fn holder_id(&self, holder: &Holder) -> Option<HolderId> {
        self.holders.id(holder)
    }

    /// The holders that are registered.
    pub fn holder_count(&self) -> usize {
        self.holders.len()
    }

    /// The blocks in the index; those that only cleared or unregistered holders had count until they are swept.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Takes events in their order, at `now`: milliseconds on any clock that does not go back.
    pub fn apply(&mut self, events: &[Event<'_>], now: u64) -> Applied {
        self.pass(now);
        let mut taken = Applied::default();
        for event in events {
            match self.apply_one(event) {
                Some(keys) => {
                    taken.applied += 1;
                    self.sweep_some(keys.saturating_mul(SWEPT_PER_KEY));
                }
                None => taken.unknown += 1,
            }
        }
        taken
    }

    /// Counts blocks as on their way to the holder until `deadline` (milliseconds): to be stored by then, or
    /// forgotten. Blocks that it has are left out. The number of promises made; none if it is not registered.
    pub fn promise(&mut self, holder: HolderId, keys: &[u64], deadline: u64, now: u64) -> usize {
        self.pass(now);
        let Some(slot) = self.holders.slot(holder).filter(|_| deadline > now) else { return 0 };
        let mut made = 0;
        self.each(keys, |index, key, found| {
            let promised = index.promise_one(slot, key, found, deadline);
            made += usize::from(promised.is_some());
            promised.or(found.here)
        });
        self.sweep_some(keys.len().saturating_mul(SWEPT_PER_KEY));
        made
    }

    /// Takes promises back, those that others made for the same blocks and holder included.
    pub fn withdraw(&mut self, holder: HolderId, keys: &[u64]) {
        if let Some(slot) = self.holders.slot(holder) {
            self.each(keys, |index, key, found| index.end_promise(slot, key, found.here));
        }
    }

    /// Lets time pass where few events come: ends promises, and looks at so much of the table as has room for `room`
    /// blocks, once round at most, for some that are idle or void. Events do the same for four per key.
    pub fn sweep(&mut self, room: usize, now: u64) {
        self.pass(now);
        self.sweep_some(room);
    }

    fn pass(&mut self, now: u64) {
        self.tick = tick_of(now).max(self.tick);
        while let Some((key, slot)) = self.promises.take_due(now) {
            self.take(slot, PROMISED_ONLY, self.table.find(key));
        }
    }

    /// The number of keys, None if the holder is not registered.
    fn apply_one(&mut self, event: &Event<'_>) -> Option<usize> {
        match *event {
            Event::Stored { holder, tier, keys } => {
                let slot = self.holders.slot(holder)?;
                self.each(keys, |index, key, found| Some(index.store(slot, tier, key, found)));
                Some(keys.len())
            }
            Event::Removed { holder, tier, keys } => {
                let slot = self.holders.slot(holder)?;
                self.each(keys, |index, _, found| index.take(slot, plane(tier), found.here));
                Some(keys.len())
            }
            Event::Cleared { holder, tier } => {
                let slot = self.holders.slot(holder)?;
                self.clear(slot, tier.map_or(ALL_PLANES, plane));
                Some(1)
            }
        }
    }

    /// Does something with every key, while the memory for the next ones is on its way. It says where the block is
    /// or was, if anywhere: there those after it are expected.
    fn each(&mut self, keys: &[u64], mut act: impl FnMut(&mut PrefixIndex, u64, Found) -> Option<At>) {
        keys.iter().take(AHEAD).for_each(|key| self.table.expect(*key));
        let mut last = None;
        for (at, key) in keys.iter().enumerate() {
            if let Some(next) = keys.get(at + AHEAD) {
                self.table.expect(*next);
            }
            let here = self.table.find_behind(last, *key);
            last = act(self, *key, Found { here, last });
        }
    }

    fn store(&mut self, slot: u16, tier: Tier, key: u64, found: Found) -> At {
        let (had, at) = self.add(slot, plane(tier), key, found);
        if had & PROMISED_ONLY != 0 && tier != Tier::Store {
            self.end_promise(slot, key, Some(at));
        }
        at
    }

    fn end_promise(&mut self, slot: u16, key: u64, at: Option<At>) -> Option<At> {
        self.promises.forget((key, slot));
        self.take(slot, PROMISED_ONLY, at)
    }

    /// None if the block is there.
    fn promise_one(&mut self, slot: u16, key: u64, mut found: Found, deadline: u64) -> Option<At> {
        let had = found.here.map_or(0, |at| self.planes(slot, at));
        if had & !PROMISED_ONLY & !plane(Tier::Store) != 0 {
            return None;
        }
        let open = had & PROMISED_ONLY != 0;
        while !open && self.promises.len() >= self.limits.promises.max(1) {
            let Some((other, slot)) = self.promises.take_due(u64::MAX) else { break };
            self.take(slot, PROMISED_ONLY, self.table.find(other));
            // It may have been the last that was said of this one.
            found.here = self.table.find(key);
        }
        let (_, at) = self.add(slot, PROMISED_ONLY, key, found);
        self.promises.make((key, slot), deadline, open);
        Some(at)
    }

    /// In which planes the slot holds the block.
    fn planes(&self, slot: u16, at: At) -> u8 {
        let Some(block) = self.table.get(at) else { return 0 };
        let void = self.clearings.since(block.generation).map_or(0, |void| void.planes(slot));
        self.wide.planes(block.places, slot) & !void
    }

    /// Adds planes of a slot to a block, which is made if it is new. In which planes the slot had it, and where it is.
    pub(super) fn add(&mut self, slot: u16, planes: u8, key: u64, found: Found) -> (u8, At) {
        if let Some(at) = found.here
            && let Some(mut block) = self.table.get(at)
        {
            clean(&mut block, &self.clearings, &mut self.wide);
            let had = self.wide.planes(block.places, slot);
            self.wide.insert(&mut block.places, slot, planes);
            block.seen = self.tick;
            self.table.set(at, block);
            return (had, at);
        }
        if self.table.len() >= self.limits.blocks.clamp(1, MOST_BLOCKS) {
            self.make_room(key);
        }
        let (seen, generation) = (self.tick, self.clearings.current());
        (0, self.table.insert(Block { key, places: Places::one(slot, planes), seen, generation }, found.last))
    }

    /// Takes planes of a slot off a block, and the block away if nobody else has it.
    fn take(&mut self, slot: u16, planes: u8, at: Option<At>) -> Option<At> {
        let mut block = self.table.get(at?)?;
        clean(&mut block, &self.clearings, &mut self.wide);
        self.wide.remove(&mut block.places, slot, planes);
        self.table.set(at?, block);
        at
    }

    /// Of some blocks, drops the one that was not seen for longest, and those behind it that are as old.
    fn make_room(&mut self, key: u64) {
        let oldest = self.table.near(key, SAMPLE).min_by_key(|(_, block)| block.seen);
        let Some((mut at, Block { seen: oldest, .. })) = oldest else { return };
        for _ in 0..LEAVE {
            if self.table.get(at).is_none_or(|block| block.seen > oldest) {
                return;
            }
            if let Some(block) = self.table.remove(at) {
                self.wide.release(block.places);
            }
            at = at.next();
        }
    }

    fn clear(&mut self, slot: u16, planes: u8) {
        // Two rounds, of which the second begins with all that was cleared so far, make room before it is needed.
        if self.clearings.is_crowded() {
            self.sweep_some(self.table.room().div_ceil(CROWDED / 2));
        }
        while self.clearings.is_full() {
            self.sweep_one();
        }
        self.clearings.clear(slot, planes);
    }

    /// Sweeps room for so many blocks, once round at most.
    fn sweep_some(&mut self, room: usize) {
        (0..room.min(self.table.room())).for_each(|_| self.sweep_one());
    }

    /// Cleans one block, drops it if it is idle, and has what is left stand together.
    fn sweep_one(&mut self) {
        let PrefixIndex { table, wide, clearings, sweep, .. } = self;
        if sweep.at >= table.end() {
            sweep.at = At(0);
            clearings.forget_before(sweep.began);
            sweep.began = clearings.current();
        }
        let at = sweep.at;
        sweep.at = at.next();
        let Some(found) = table.get(at) else { return };
        let mut block = found;
        clean(&mut block, clearings, wide);
        if block.seen < self.tick.saturating_sub(tick_of(self.limits.idle)) {
            wide.release(std::mem::take(&mut block.places));
        }
        if block != found {
            table.set(at, block);
        }
        table.gather(at);
    }
}

/// Where a block is, if it is in the index, and where the one before it is.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub here: Option<At>,
    pub last: Option<At>,
}

/// Takes off a block what is void. What is left may be nothing.
fn clean(block: &mut Block, clearings: &Clearings, wide: &mut Wide) {
    if let Some(void) = clearings.since(block.generation) {
        wide.subtract(&mut block.places, void);
        block.generation = clearings.current();
    }
}

fn plane(tier: Tier) -> u8 {
    1 << tier as u8
}

pub(super) fn tick_of(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds / TICK).unwrap_or(u32::MAX)
}
