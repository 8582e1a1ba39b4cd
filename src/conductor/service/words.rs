//! What callers say and are told: instances and contexts by id and name, requests, decisions.

use std::sync::Arc;

use crate::bail;
use crate::conductor::cost::Cost;
use crate::conductor::hash::Scheme;
use crate::conductor::index::Tier;
use crate::conductor::schedule::{Rejection, Role};
use crate::error::Result;

/// Most bytes of a name: of an instance, a model, a tenant, a request.
pub const LONGEST_NAME: usize = 256;
/// Most data-parallel ranks of an instance.
pub const MOST_RANKS: u32 = 1024;

/// An instance until it is unregistered: one that is registered again later has another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub u64);

/// A context until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContextId(pub u64);

/// A request that was decided, until its end was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What an instance is to the conductor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Duty {
    /// It serves requests, each rank on its own.
    Serve { role: Role, cost: Cost },
    /// It holds blocks and serves nothing: the store. What it has in [`Tier::Store`] is in reach of all.
    Hold,
}

/// An instance as it is registered.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    pub name: String,
    /// The model that it serves. Of one that only holds blocks: empty, if they may be of any model.
    pub model: String,
    /// Tokens per block of its engine. Of one that only holds blocks: 0, if they may have any size.
    pub block_size: u32,
    /// Data-parallel ranks, 1 to [`MOST_RANKS`], each with a cache and a queue of its own.
    pub ranks: u32,
    /// The block size of its cost is taken from `block_size`.
    pub duty: Duty,
}

/// An instance as it is known.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceInfo {
    pub id: InstanceId,
    pub registration: Registration,
    /// Seconds since it was registered for the first time.
    pub age: f64,
}

/// What must be equal for two prompts to share blocks, and how their blocks are named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Context {
    pub tenant: String,
    pub model: String,
    pub lora: Option<String>,
    pub salt: Option<String>,
    /// Tokens per block, at least 1.
    pub block_size: u32,
    pub scheme: Scheme,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ContextInfo {
    pub id: ContextId,
    pub context: Context,
    /// Blocks that somebody holds.
    pub blocks: usize,
}

/// What engines and the store tell about their blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event<'a> {
    pub instance: InstanceId,
    pub rank: u32,
    pub change: Change<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change<'a> {
    Stored {
        tier: Tier,
        keys: &'a [u64],
    },
    Removed {
        tier: Tier,
        keys: &'a [u64],
    },
    /// All blocks of one tier are gone, or of all tiers.
    Cleared {
        tier: Option<Tier>,
    },
}

/// A prompt, from its beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Prompt<'a> {
    Tokens(&'a [u32]),
    /// The keys of its full blocks.
    Keys(&'a [u64]),
}

/// What one rank of an instance has of a prompt, in blocks from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub instance: InstanceId,
    pub rank: u32,
    /// By tier, within this or a nearer one; the last counts what anybody has in the store.
    pub blocks: [u32; 4],
    /// Its own, with those that are on their way to it.
    pub promised: u32,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request<'a> {
    pub context: ContextId,
    pub prompt: Prompt<'a>,
    /// Tokens of input. 0: those of the prompt, of which keys tell the full blocks only.
    pub tokens: u64,
    /// 0 to 3; among those that wait, higher ones go first.
    pub priority: u8,
    /// The class of service, 0 to 3.
    pub class: u8,
    /// Tokens of output, where they are known beforehand.
    pub output: Option<u32>,
    /// By which it can be named instead of its id, unless empty; no two live requests can have the same.
    pub name: &'a str,
}

/// One rank of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub instance: InstanceId,
    pub name: Arc<str>,
    pub rank: u32,
}

/// Where blocks come from that the chosen instance does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Nowhere,
    Instance(Place),
    Store,
}

/// Where a request runs. Times are seconds, as predicted.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub request: RequestId,
    pub prefill: Place,
    /// Who prefills it with that one, each a part of the layers.
    pub group: Vec<Place>,
    /// Who decodes; none if no instance does.
    pub decode: Option<Place>,
    /// Full blocks of the prompt.
    pub blocks: u32,
    /// Blocks of its prefix that need not be computed, and those of them that have to be moved there.
    pub reused: u32,
    pub moved: u32,
    pub source: Source,
    pub computed_tokens: u64,
    pub queue: f64,
    pub transfer: f64,
    pub compute: f64,
    /// The three together.
    pub ttft: f64,
    pub tbt: f64,
    /// A copy that is worth making beside.
    pub advice: Option<Advice>,
}

/// Copy blocks of a prompt that is asked for often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    pub context: ContextId,
    pub sender: Place,
    pub receiver: Place,
    /// The first of `keys` as a block of the prompt.
    pub from: u32,
    pub keys: Vec<u64>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Run(Box<Decision>),
    Rejected(Rejection),
}

/// What happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// Its prefill began.
    Started,
    /// Its prefill ended and the first token is there.
    FirstToken,
    /// It ended well.
    Finished,
    /// The instance gave it up.
    Failed,
    /// Whoever asked does not want it any more.
    Cancelled,
}

impl Feedback {
    pub const ALL: [Feedback; 5] =
        [Feedback::Started, Feedback::FirstToken, Feedback::Finished, Feedback::Failed, Feedback::Cancelled];

    pub fn name(self) -> &'static str {
        match self {
            Feedback::Started => "started",
            Feedback::FirstToken => "first_token",
            Feedback::Finished => "finished",
            Feedback::Failed => "failed",
            Feedback::Cancelled => "cancelled",
        }
    }
}

/// What a batch of events did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub applied: usize,
    /// Of instances, or ranks of them, that are not registered for this context.
    pub unknown: usize,
}

impl Registration {
    pub(super) fn check(&self) -> Result<()> {
        is_name("instance", &self.name, false)?;
        let holds = self.duty == Duty::Hold;
        is_name("model", &self.model, holds)?;
        if !(1..=MOST_RANKS).contains(&self.ranks) {
            bail!(InvalidArgument, "{} ranks: an instance has 1 to {MOST_RANKS}", self.ranks);
        }
        if self.block_size == 0 && !holds {
            bail!(InvalidArgument, "a block size of 0: give the number of tokens of the engine's blocks");
        }
        match &self.duty {
            Duty::Serve { cost, .. } => Cost { block_tokens: self.block_size, ..*cost }.check(),
            Duty::Hold => Ok(()),
        }
    }

    /// What of it cannot change, in words.
    pub(super) fn what(&self) -> String {
        let role = match self.duty {
            Duty::Serve { role: Role::Prefill, .. } => "prefill",
            Duty::Serve { role: Role::Decode, .. } => "decode",
            Duty::Serve { role: Role::Both, .. } => "prefill and decode",
            Duty::Hold => "a holder",
        };
        format!("{role} of model {:?} with blocks of {} tokens", self.model, self.block_size)
    }

    /// Whether it can have blocks of the context.
    pub(super) fn suits(&self, context: &Context) -> bool {
        (self.model.is_empty() || self.model == context.model)
            && (self.block_size == 0 || self.block_size == context.block_size)
    }
}

impl Context {
    pub(super) fn check(&self) -> Result<()> {
        is_name("tenant", &self.tenant, true)?;
        is_name("model", &self.model, false)?;
        for (noun, name) in [("LoRA", &self.lora), ("salt", &self.salt)] {
            is_name(noun, name.as_deref().unwrap_or_default(), true)?;
        }
        if let Scheme::VllmCbor { python_hash_seed } | Scheme::VllmPickle { python_hash_seed } = &self.scheme
        {
            is_name("Python hash seed", python_hash_seed, true)?;
        }
        if self.block_size == 0 {
            bail!(InvalidArgument, "a block size of 0: give the number of tokens of the engine's blocks");
        }
        Ok(())
    }
}

pub(super) fn is_name(noun: &str, name: &str, can_be_empty: bool) -> Result<()> {
    if name.is_empty() && !can_be_empty {
        bail!(InvalidArgument, "the {noun} has no name: give it one of 1 to {LONGEST_NAME} bytes");
    }
    if name.len() > LONGEST_NAME {
        bail!(InvalidArgument, "the {noun}'s name has {} bytes, above {LONGEST_NAME}", name.len());
    }
    if name.chars().any(char::is_control) {
        bail!(InvalidArgument, "the {noun}'s name {name:?} has control characters");
    }
    Ok(())
}
