//! What the conductor knows, and behind which lock: who is there, what they have, what runs.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::explain::Explained;
use super::hooks;
use super::words::*;
use crate::conductor::cost::Cost;
use crate::conductor::hash::{Extra, Hasher};
use crate::conductor::index::{self, Holder, HolderId, PrefixIndex};
use crate::conductor::schedule::{self, Scheduler};
use crate::error::Result;
use crate::fail;
use crate::id::Slab;

/// Most models, each counted once per block size.
const MOST_MODELS: usize = 1024;

/// Who is there. Behind the outermost lock.
pub struct Directory {
    pub instances: Slab<Arc<Instance>>,
    pub by_name: HashMap<Arc<str>, InstanceId>,
    pub spaces: Slab<Arc<Space>>,
    pub by_context: HashMap<Context, ContextId>,
    models: HashMap<(String, u32), Arc<Model>>,
}

pub struct Instance {
    pub id: InstanceId,
    pub registration: Registration,
    pub name: Arc<str>,
    /// When it was registered for the first time, in seconds.
    pub since: f64,
    /// If it serves.
    pub model: Option<Arc<Model>>,
    /// By rank, what the scheduler of its model calls it.
    pub cores: Vec<schedule::InstanceId>,
}

/// A model with blocks of one size: the instances that requests for it can be sent to.
pub struct Model {
    pub name: String,
    pub block_size: u32,
    pub desk: Mutex<Desk>,
}

/// What is behind the lock of a model.
pub struct Desk {
    pub scheduler: Scheduler,
    pub places: HashMap<schedule::InstanceId, Place>,
    pub explained: Explained,
    /// Of the requests that the scheduler gave up, how many are forgotten here too.
    pub forgotten: u64,
    pub scratch: Scratch,
}

/// Kept for their capacity.
#[derive(Default)]
pub struct Scratch {
    pub candidates: Vec<hooks::Candidate>,
    pub changed: Vec<hooks::Candidate>,
    pub prices: Vec<f64>,
}

/// An open context.
pub struct Space {
    pub context: Context,
    pub hasher: Hasher,
    pub model: Arc<Model>,
    pub indexed: RwLock<Indexed>,
}

/// What is behind the lock of a context.
pub struct Indexed {
    pub index: PrefixIndex,
    pub owners: HashMap<HolderId, Owner>,
    pub ids: HashMap<(InstanceId, u32), HolderId>,
}

/// Whose a holder is.
#[derive(Clone, Copy)]
pub struct Owner {
    pub instance: InstanceId,
    pub rank: u32,
    /// If it serves.
    pub core: Option<schedule::InstanceId>,
}

/// The requests that were decided and have not ended. Behind the innermost lock.
pub struct Live {
    pub requests: Slab<LiveRequest>,
    pub by_name: HashMap<Box<str>, RequestId>,
}

pub struct LiveRequest {
    pub name: Box<str>,
    pub model: Arc<Model>,
    pub core: schedule::RequestId,
    pub space: Arc<Space>,
    /// Who was promised which blocks; until the first token.
    pub promised: Option<(HolderId, Box<[u64]>)>,
}

impl Directory {
    pub fn new(tag: u16, most_contexts: usize) -> Directory {
        Directory {
            instances: Slab::new_of_kind("instance", tag, schedule::MOST_INSTANCES, 0),
            by_name: HashMap::new(),
            spaces: Slab::new_of_kind("context", tag, most_contexts, 1),
            by_context: HashMap::new(),
            models: HashMap::new(),
        }
    }

    pub fn named(&self, name: &str) -> Result<&Arc<Instance>> {
        let id = self.by_name.get(name).ok_or_else(|| fail!(NotFound, "no instance is called {name:?}"))?;
        self.instances.get(id.0)
    }

    pub fn space(&self, id: ContextId) -> Result<&Arc<Space>> {
        self.spaces.get(id.0)
    }

    pub fn spaces(&self) -> impl Iterator<Item = &Arc<Space>> {
        self.spaces.iter().map(|(_, space)| space)
    }

    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }

    /// The model, which is made if it is new.
    pub fn model(&mut self, name: &str, block_size: u32, options: &super::Options) -> Result<Arc<Model>> {
        let key = (name.to_owned(), block_size);
        if let Some(model) = self.models.get(&key) {
            return Ok(model.clone());
        }
        if self.models.len() >= MOST_MODELS {
            crate::bail!(Exhausted, "{MOST_MODELS} models is the limit: unregister the instances of some");
        }
        let desk = Desk {
            scheduler: Scheduler::new(options.schedule)?,
            places: HashMap::new(),
            explained: Explained::new(options.explained),
            forgotten: 0,
            scratch: Scratch::default(),
        };
        let model = Arc::new(Model { name: name.to_owned(), block_size, desk: Mutex::new(desk) });
        self.models.insert(key, model.clone());
        Ok(model)
    }

    /// Forgets models that have neither instances nor contexts.
    pub fn forget_models(&mut self) {
        let Directory { instances, spaces, models, .. } = self;
        models.retain(|_, model| {
            let of_instance =
                |one: &Arc<Instance>| one.model.as_ref().is_some_and(|own| Arc::ptr_eq(own, model));
            instances.iter().any(|(_, one)| of_instance(one))
                || spaces.iter().any(|(_, space)| Arc::ptr_eq(&space.model, model))
        });
    }
}

impl Instance {
    pub fn place(&self, rank: u32) -> Place {
        Place { instance: self.id, name: self.name.clone(), rank }
    }

    pub fn core(&self, rank: u32) -> Result<schedule::InstanceId> {
        let name = &self.name;
        if self.model.is_none() {
            crate::bail!(
                InvalidArgument,
                "instance {name:?} serves nothing: it was registered to hold blocks"
            );
        }
        let core = usize::try_from(rank).ok().and_then(|rank| self.cores.get(rank));
        core.copied().ok_or_else(|| {
            fail!(NotFound, "instance {name:?} has {} ranks: there is no rank {rank}", self.cores.len())
        })
    }

    pub fn cost(&self) -> Option<Cost> {
        match self.registration.duty {
            Duty::Serve { cost, .. } => Some(Cost { block_tokens: self.registration.block_size, ..cost }),
            Duty::Hold => None,
        }
    }
}

impl Space {
    /// Replaces `keys` by those of the prompt.
    pub fn keys(&self, prompt: Prompt<'_>, keys: &mut Vec<u64>) -> Result<()> {
        keys.clear();
        match prompt {
            Prompt::Tokens(tokens) => {
                let Context { lora, salt, block_size, .. } = &self.context;
                let extra = Extra { lora: lora.as_deref(), salt: salt.as_deref() };
                keys.extend(self.hasher.keys(tokens, *block_size as usize, extra)?);
            }
            Prompt::Keys(given) => keys.extend_from_slice(given),
        }
        Ok(())
    }
}

impl Indexed {
    pub fn new(limits: index::Limits, seed: u64) -> Indexed {
        Indexed { index: PrefixIndex::new(limits, seed), owners: HashMap::new(), ids: HashMap::new() }
    }

    /// Makes all ranks of the instance holders, those that are not yet.
    pub fn join(&mut self, instance: &Instance) -> Result<()> {
        for rank in 0..instance.registration.ranks {
            let holder = Holder { instance: instance.name.to_string(), rank };
            let id = self.index.register(holder)?;
            let core = instance.cores.get(rank as usize).copied();
            self.owners.insert(id, Owner { instance: instance.id, rank, core });
            self.ids.insert((instance.id, rank), id);
        }
        Ok(())
    }

    /// Forgets the instance's ranks from `first` on, and what they have.
    pub fn leave(&mut self, instance: &Instance, first: u32) {
        for rank in first..instance.registration.ranks {
            let Some(id) = self.ids.remove(&(instance.id, rank)) else { continue };
            self.owners.remove(&id);
            // It was registered: it is in `ids`.
            let _ = self.index.unregister(id);
        }
    }
}
