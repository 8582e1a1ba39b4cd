//! The index of one context: events change it, time wears it off.

use super::clearings::Clearings;
use super::holders::{Holder, HolderId, Holders};
use super::lines::{Block, BlockMut};
use super::places::{ALL_PLANES, PROMISED_ONLY, Places, Wide};
use super::promises::Promises;
use super::table::Table;
use super::{Event, Tier};
use crate::error::Result;

/// Milliseconds in a tick, the unit in which blocks remember when they were seen.
const TICK: u64 = 1000;
/// Blocks swept per key of an event: a round takes as many keys as a quarter of the table has room for.
const SWEPT_PER_KEY: usize = 4;
/// How many keys ahead of the one at hand memory is read.
const AHEAD: usize = 12;
/// Of how many blocks the one not seen for longest makes room in a full index.
const SAMPLE: usize = 16;

/// What bounds the memory of one context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most blocks, at least 1. In a full index a new block takes the place of one that was not seen for long.
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

/// How far a round over all parts is.
#[derive(Debug, Default)]
struct Sweep {
    part: usize,
    /// The generation at the beginning of the round: all parts before `part` are at least this clean.
    began: u8,
    /// Room that may be swept: a part is swept whole, once it suffices for it.
    credit: usize,
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
            sweep: Sweep::default(),
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
        let made = keys.iter().filter(|key| self.promise_one(slot, **key, deadline)).count();
        self.sweep_some(keys.len().saturating_mul(SWEPT_PER_KEY));
        made
    }

    /// Takes promises back, those that others made for the same blocks and holder included.
    pub fn withdraw(&mut self, holder: HolderId, keys: &[u64]) {
        if let Some(slot) = self.holders.slot(holder) {
            keys.iter().for_each(|key| self.end_promise(slot, *key));
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
            self.take(slot, PROMISED_ONLY, key);
        }
    }

    /// The number of keys, None if the holder is not registered.
    fn apply_one(&mut self, event: &Event<'_>) -> Option<usize> {
        match *event {
            Event::Stored { holder, tier, keys } => {
                let slot = self.holders.slot(holder)?;
                self.each(keys, |index, key| index.store(slot, tier, key));
                Some(keys.len())
            }
            Event::Removed { holder, tier, keys } => {
                let slot = self.holders.slot(holder)?;
                self.each(keys, |index, key| index.take(slot, plane(tier), key));
                Some(keys.len())
            }
            Event::Cleared { holder, tier } => {
                let slot = self.holders.slot(holder)?;
                self.clear(slot, tier.map_or(ALL_PLANES, plane));
                Some(1)
            }
        }
    }

    /// Does something with every key, while the memory for the next ones is on its way.
    fn each(&mut self, keys: &[u64], mut act: impl FnMut(&mut PrefixIndex, u64)) {
        keys.iter().take(AHEAD).for_each(|key| self.table.expect(*key));
        for (at, key) in keys.iter().enumerate() {
            if let Some(next) = keys.get(at + AHEAD) {
                self.table.expect(*next);
            }
            act(self, *key);
        }
    }

    fn store(&mut self, slot: u16, tier: Tier, key: u64) {
        let had = self.add(slot, plane(tier), key);
        if had & PROMISED_ONLY != 0 && tier != Tier::Store {
            self.end_promise(slot, key);
        }
    }

    fn promise_one(&mut self, slot: u16, key: u64, deadline: u64) -> bool {
        let had = self.planes(slot, key);
        if had & !PROMISED_ONLY & !plane(Tier::Store) != 0 {
            return false;
        }
        let open = had & PROMISED_ONLY != 0;
        while !open && self.promises.len() >= self.limits.promises.max(1) {
            let Some((key, slot)) = self.promises.take_due(u64::MAX) else { break };
            self.take(slot, PROMISED_ONLY, key);
        }
        self.add(slot, PROMISED_ONLY, key);
        self.promises.make((key, slot), deadline, open);
        true
    }

    fn end_promise(&mut self, slot: u16, key: u64) {
        self.promises.forget((key, slot));
        self.take(slot, PROMISED_ONLY, key);
    }

    /// In which planes the slot holds the block.
    fn planes(&self, slot: u16, key: u64) -> u8 {
        let Some(block) = self.table.find(key).map(|at| self.table.get(at)) else { return 0 };
        let void = self.clearings.since(block.generation).map_or(0, |void| void.planes(slot));
        self.wide.planes(block.places, slot) & !void
    }

    /// Adds planes of a slot to a block, which is made if it is new. In which planes the slot had it.
    pub(super) fn add(&mut self, slot: u16, planes: u8, key: u64) -> u8 {
        if let Some(at) = self.table.find(key) {
            let mut block = self.table.get_mut(at);
            clean(&mut block, &self.clearings, &mut self.wide);
            let had = self.wide.planes(*block.places, slot);
            self.wide.insert(block.places, slot, planes);
            *block.seen = self.tick;
            return had;
        }
        if self.table.len() >= self.limits.blocks.max(1) {
            self.make_room(key);
        }
        let (seen, generation) = (self.tick, self.clearings.current());
        self.table.insert(Block { key, places: Places::one(slot, planes), seen, generation });
        0
    }

    /// Takes planes of a slot off a block, and the block away if nobody else has it.
    fn take(&mut self, slot: u16, planes: u8, key: u64) {
        let Some(at) = self.table.find(key) else { return };
        let mut block = self.table.get_mut(at);
        clean(&mut block, &self.clearings, &mut self.wide);
        self.wide.remove(block.places, slot, planes);
        if block.places.is_empty() {
            self.table.remove(at);
        }
    }

    /// Of the blocks that stand nearest to where a new key comes, drops the one that was not seen for longest.
    fn make_room(&mut self, key: u64) {
        let oldest = self.table.near(key, SAMPLE).min_by_key(|(_, block)| block.seen);
        if let Some(at) = oldest.map(|(at, _)| at) {
            self.wide.release(self.table.remove(at).places);
        }
    }

    fn clear(&mut self, slot: u16, planes: u8) {
        while self.clearings.is_full() {
            self.sweep_part();
        }
        self.clearings.clear(slot, planes);
    }

    /// Sweeps part after part, as far as the room suffices that was granted for it so far.
    fn sweep_some(&mut self, room: usize) {
        self.sweep.credit = self.sweep.credit.saturating_add(room);
        let mut swept = 0;
        while self.sweep.credit >= self.table.room(self.sweep.part) {
            if swept == self.table.parts() {
                self.sweep.credit = 0;
                return;
            }
            self.sweep.credit -= self.sweep_part();
            swept += 1;
        }
    }

    /// Cleans one part and drops what is idle in it. How much room it had.
    fn sweep_part(&mut self) -> usize {
        let PrefixIndex { table, wide, clearings, sweep, .. } = self;
        if sweep.part == 0 {
            sweep.began = clearings.current();
        }
        let oldest = self.tick.saturating_sub(tick_of(self.limits.idle));
        let room = table.room(sweep.part);
        table.retain(sweep.part, |mut block| {
            clean(&mut block, clearings, wide);
            let idle = *block.seen < oldest;
            if idle {
                wide.release(*block.places);
            }
            !idle && !block.places.is_empty()
        });
        sweep.part += 1;
        if sweep.part == table.parts() {
            sweep.part = 0;
            clearings.forget_before(sweep.began);
        }
        room
    }
}

/// Takes off a block what is void. What is left may be nothing.
fn clean(block: &mut BlockMut<'_>, clearings: &Clearings, wide: &mut Wide) {
    if let Some(void) = clearings.since(*block.generation) {
        wide.subtract(block.places, void);
        *block.generation = clearings.current();
    }
}

fn plane(tier: Tier) -> u8 {
    1 << tier as u8
}

pub(super) fn tick_of(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds / TICK).unwrap_or(u32::MAX)
}
