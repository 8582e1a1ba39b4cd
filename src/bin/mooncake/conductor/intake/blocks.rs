//! What the events of one publisher change in the conductor.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use mooncake::conductor::event::{self, Batch, Change as Changed, KvEvent};
use mooncake::conductor::index::Tier;
use mooncake::conductor::service::{Change, Conductor, Event, InstanceId};

use super::super::contexts::{Contexts, Space};
use super::super::terms::{Kind, Naming, Terms};
use super::names::Names;
use super::subscriber::Sink;
use super::watched::Watched;

/// Most adapters of one publisher: each has a context of its own, of which there are so many for all together.
const MOST_ADAPTERS: usize = 256;

/// Why an event changes nothing.
type Skipped = &'static str;

pub struct Blocks {
    conductor: Arc<Conductor>,
    contexts: Arc<Contexts>,
    terms: Arc<Terms>,
    instance: InstanceId,
    watched: Arc<Watched>,
    /// Of a publisher whose names are not keys.
    names: Option<Names>,
    tokens: Vec<u32>,
    keys: Vec<u64>,
    /// The context of the event before.
    space: Option<Arc<Space>>,
    adapters: HashSet<String>,
}

impl Blocks {
    pub fn new(
        conductor: Arc<Conductor>,
        contexts: Arc<Contexts>,
        terms: Arc<Terms>,
        instance: InstanceId,
        watched: Arc<Watched>,
    ) -> Blocks {
        let names = (terms.naming == Naming::ByTokens).then(|| Names::new(&terms.scheme()));
        let (tokens, keys) = (Vec::new(), Vec::new());
        let (space, adapters) = (None, HashSet::new());
        Blocks { conductor, contexts, terms, instance, watched, names, tokens, keys, space, adapters }
    }

    fn take(&mut self, batch: &Batch<'_>, event: &KvEvent<'_>) -> Result<(), Skipped> {
        let terms = self.terms.clone();
        if event.group.is_some_and(|group| group != terms.group) {
            return Err("it is of another group of layers");
        }
        if event.model.is_some_and(|model| !is_same_model(model, &terms.model)) {
            return Err("it is of another model");
        }
        if event.block_size.is_some_and(|size| size != terms.block_size) {
            return Err("its blocks have another size than was registered");
        }
        if terms.kind == Kind::Store
            && event.tenant.is_some_and(|tenant| !is_same_tenant(tenant, &terms.tenant))
        {
            return Err("it is of another tenant");
        }
        let (tier, rank) = place(&terms, event.tier);
        if event.change == Changed::Cleared {
            return self.forget(event.tier.map(|_| (tier, rank)));
        }
        let lora = terms.lora.as_deref().or(event.lora.as_deref());
        let space = self.space(lora)?;
        let names = batch.keys(event);
        let keys = match (&mut self.names, event.change) {
            (None, _) => names,
            (Some(known), Changed::Stored) => {
                let told = event.tokens.ok_or("it has no tokens, and its hashes are none that are known")?;
                told.read(&mut self.tokens).ok_or("its tokens are no numbers")?;
                known.stored(names, event.parent, &self.tokens, terms.block_size, tier, &mut self.keys)?;
                &self.keys
            }
            (Some(known), _) => {
                known.removed(names, tier, &mut self.keys);
                &self.keys
            }
        };
        let change = match event.change {
            // A block is there with its first part, and gone with any.
            Changed::Stored if !event.is_first_part => return Ok(()),
            Changed::Stored => Change::Stored { tier, keys },
            _ => Change::Removed { tier, keys },
        };
        let (instance, blocks) = (self.instance, keys.len() as u64);
        match self.conductor.apply(space.id, &[Event { instance, rank, change }]) {
            Ok(applied) if applied.unknown == 0 => {
                self.watched.figures.blocks.fetch_add(blocks, Relaxed);
                Ok(())
            }
            _ => Err("its instance is not registered any more"),
        }
    }

    /// All blocks, or those of one tier.
    fn forget(&mut self, only: Option<(Tier, u32)>) -> Result<(), Skipped> {
        let ranks = match (only, self.terms.kind) {
            (Some((_, rank)), _) => rank..rank + 1,
            (None, Kind::Engine) => self.terms.rank..self.terms.rank + 1,
            (None, Kind::Store) => 2 * self.terms.rank..2 * self.terms.rank + 2,
        };
        let change = Change::Cleared { tier: only.map(|(tier, _)| tier) };
        for space in self.contexts.all().iter().filter(|space| self.terms.suits(&space.context)) {
            for rank in ranks.clone() {
                let event = Event { instance: self.instance, rank, change };
                let _ = self.conductor.apply(space.id, &[event]);
            }
        }
        if let (Some(names), None) = (&mut self.names, only) {
            names.clear();
        }
        Ok(())
    }

    fn space(&mut self, lora: Option<&str>) -> Result<Arc<Space>, Skipped> {
        if let Some(space) = self.space.as_ref().filter(|space| space.context.lora.as_deref() == lora) {
            return Ok(space.clone());
        }
        if let Some(lora) = lora.filter(|lora| !self.adapters.contains(*lora)) {
            if self.adapters.len() >= MOST_ADAPTERS {
                return Err("its publisher has more adapters than can be told apart");
            }
            self.adapters.insert(lora.to_owned());
        }
        let space = self.contexts.open(&self.terms.context(lora)).map_err(|error| {
            tracing::warn!(%error, "no context for a publisher's events");
            "there is no room for another context"
        })?;
        self.space = Some(space.clone());
        Ok(space)
    }
}

impl Sink for Blocks {
    fn apply(&mut self, payload: &[u8]) {
        let watched = self.watched.clone();
        let Some(_open) = watched.enter() else { return };
        let figures = &watched.figures;
        let batch = match event::decode(payload) {
            Ok(batch) => batch,
            Err(error) => {
                figures.malformed.fetch_add(1, Relaxed);
                figures.failed(error.message());
                return;
            }
        };
        if let Some(because) = batch.skipped_because {
            figures.skipped(batch.skipped as u64, because);
        }
        for event in &batch.events {
            match self.take(&batch, event) {
                Ok(()) => drop(figures.events.fetch_add(1, Relaxed)),
                Err(because) => figures.skipped(1, because),
            }
        }
    }

    fn clear(&mut self) {
        let watched = self.watched.clone();
        if let Some(_open) = watched.enter() {
            let _ = self.forget(None);
        }
    }
}

/// Where the blocks are: what the store has is in reach of all, its memory and its disks apart.
fn place(terms: &Terms, tier: Option<Tier>) -> (Tier, u32) {
    match terms.kind {
        Kind::Engine => (tier.unwrap_or(Tier::Device), terms.rank),
        Kind::Store => (Tier::Store, 2 * terms.rank + u32::from(tier == Some(Tier::Disk))),
    }
}

/// Engines may be told a model by the path at which it lies.
fn is_same_model(told: &str, registered: &str) -> bool {
    let name = |model: &str| model.trim_end_matches('/').rsplit('/').next().map(str::to_owned);
    told == registered || name(told) == name(registered)
}

fn is_same_tenant(told: &str, registered: &str) -> bool {
    told == registered || (told.is_empty() && registered == super::super::terms::DEFAULT_TENANT)
}
