//! What engines and the store tell about their blocks, and the walk over them that finds who has how much of a prompt.

use std::cell::RefCell;

use super::Conductor;
use super::hooks::refuse_inside;
use super::state::{Indexed, Space};
use super::words::*;
use crate::bail;
use crate::conductor::index::{self, Matches, Tier};
use crate::conductor::schedule::Prefix;
use crate::error::Result;

/// Most full blocks of a prompt.
pub const MOST_BLOCKS: usize = 1 << 20;
/// Buckets of each index that a sweep looks at.
const SWEPT: usize = 1 << 16;

/// What one call needs and the next one uses again.
#[derive(Default)]
pub(super) struct Walked {
    pub keys: Vec<u64>,
    pub matches: Matches,
    pub found: Vec<Match>,
    /// The same for the scheduler: those that serve.
    pub prefixes: Vec<Prefix>,
}

thread_local! {
    static WALKED: RefCell<Walked> = RefCell::default();
}

/// Lends this thread's buffers. They are not lent yet: a call that comes from a hook is refused before.
pub(super) fn with_walked<T>(body: impl FnOnce(&mut Walked) -> T) -> T {
    WALKED.with_borrow_mut(body)
}

impl Conductor {
    /// Takes events in their order. Those of instances that are not registered for the context are counted and left out.
    pub fn apply(&self, context: ContextId, events: &[Event<'_>]) -> Result<Applied> {
        refuse_inside()?;
        let space = self.space(context)?;
        let now = self.now_ms();
        let mut taken = Applied::default();
        for event in events {
            let (count, keys) = match event.change {
                Change::Stored { keys, .. } => (&self.counts.stored, keys.len()),
                Change::Removed { keys, .. } => (&self.counts.removed, keys.len()),
                Change::Cleared { .. } => (&self.counts.cleared, 1),
            };
            // The lock anew for each: a match waits for one event at most.
            if space.indexed.write().apply(event, now) {
                taken.applied += 1;
                count.add(keys as u64);
            } else {
                taken.unknown += 1;
                self.counts.unknown.increment();
            }
        }
        Ok(taken)
    }

    /// Forgets all blocks of one rank, in all contexts: what it has will be told anew.
    pub fn clear(&self, instance: InstanceId, rank: u32) -> Result<()> {
        refuse_inside()?;
        let directory = self.directory.read();
        let known = directory.instances.get(instance.0)?;
        if rank >= known.registration.ranks {
            let (name, ranks) = (&known.name, known.registration.ranks);
            bail!(NotFound, "instance {name:?} has {ranks} ranks: there is no rank {rank}");
        }
        let now = self.now_ms();
        let event = Event { instance, rank, change: Change::Cleared { tier: None } };
        for space in directory.spaces() {
            space.indexed.write().apply(&event, now);
        }
        self.counts.cleared.increment();
        Ok(())
    }

    /// The keys of the full blocks of a prompt.
    pub fn keys(&self, context: ContextId, tokens: &[u32]) -> Result<Vec<u64>> {
        refuse_inside()?;
        let mut keys = Vec::new();
        self.space(context)?.keys(Prompt::Tokens(tokens), &mut keys)?;
        Ok(keys)
    }

    /// Finds what each rank has of a prompt; those that have nothing too. Returns how many full blocks it has.
    pub fn find(&self, context: ContextId, prompt: Prompt<'_>, out: &mut Vec<Match>) -> Result<u32> {
        refuse_inside()?;
        let space = self.space(context)?;
        with_walked(|walked| {
            let blocks = self.walk(&space, prompt, walked)?;
            out.clear();
            out.extend_from_slice(&walked.found);
            Ok(blocks)
        })
    }

    /// Fills `walked` for the prompt.
    pub(super) fn walk(&self, space: &Space, prompt: Prompt<'_>, walked: &mut Walked) -> Result<u32> {
        let blocks = match prompt {
            Prompt::Tokens(tokens) => tokens.len() / space.context.block_size as usize,
            Prompt::Keys(keys) => keys.len(),
        };
        if blocks > MOST_BLOCKS {
            bail!(InvalidArgument, "a prompt of {blocks} blocks: {MOST_BLOCKS} is the limit");
        }
        let Walked { keys, matches, found, prefixes } = walked;
        space.keys(prompt, keys)?;
        found.clear();
        prefixes.clear();
        let indexed = space.indexed.read();
        indexed.index.find(keys, self.now_ms(), matches);
        for held in matches.holders() {
            let Some(owner) = indexed.owners.get(&held.holder) else { continue };
            let (instance, rank) = (owner.instance, owner.rank);
            found.push(Match { instance, rank, blocks: held.blocks, promised: held.promised });
            let prefix = |instance| Prefix { instance, blocks: held.blocks, promised: held.promised };
            prefixes.extend(owner.core.map(prefix));
        }
        drop(indexed);
        self.counts.matches.increment();
        self.counts.asked_blocks.add(blocks as u64);
        self.counts.found_blocks.add(u64::from(matches.longest(Tier::Store)));
        Ok(blocks as u32)
    }

    /// Lets time pass: ends what was promised and did not come, forgets what nobody asked for in a long time, and requests
    /// that were given up. To be called about once a second.
    pub fn sweep(&self) -> Result<()> {
        refuse_inside()?;
        let spaces: Vec<_> = self.directory.read().spaces().cloned().collect();
        let now = self.now_ms();
        spaces.iter().for_each(|space| space.indexed.write().index.sweep(SWEPT, now));
        self.forget_lost();
        Ok(())
    }
}

impl Indexed {
    /// False if it is of nobody who is here.
    fn apply(&mut self, event: &Event<'_>, now: u64) -> bool {
        let Some(holder) = self.ids.get(&(event.instance, event.rank)).copied() else { return false };
        let event = match event.change {
            Change::Stored { tier, keys } => index::Event::Stored { holder, tier, keys },
            Change::Removed { tier, keys } => index::Event::Removed { holder, tier, keys },
            Change::Cleared { tier } => index::Event::Cleared { holder, tier },
        };
        self.index.apply(&[event], now).applied == 1
    }
}
