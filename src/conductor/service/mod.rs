//! The conductor as an object that many threads share: index, cost and schedule behind locks, with a clock.
//!
//! ```text
//!   register, report ---->  instances.rs   who serves and who holds, by name and id
//!   open, close --------->  contexts.rs    one index per context; one scheduler per model and block size
//!   events, prompts ----->  intake.rs      what engines and the store have, and who has how much of a prompt
//!   requests ------------>  place.rs       where it runs, and what is remembered of that
//!   what happened ------->  ending.rs
//!                           hooks.rs       rules of the caller's own, watched     explain.rs   why
//!   bytes <-------------->  snapshot.rs                                           metrics.rs   how much
//! ```
//!
//! **Locks**, in the order in which they may be held together: the directory (who is there; shared by all calls but those
//! that register, unregister, open and close), an index (shared by matches, alone for events), a scheduler, the live
//! requests. Hooks run with the lock of one scheduler held, and no other: they must be quick, and may not call the
//! conductor, which refuses such calls.

mod contexts;
mod ending;
mod explain;
mod hooks;
mod instances;
mod intake;
mod metrics;
mod place;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{HashMap, VecDeque};

use parking_lot::{Mutex, RwLock};

pub use hooks::{
    AdmissionHook, Asked, Candidate, Copying, CostHook, Hooks, Patience, Prospect, ReplicateHook, ScoreHook,
};
pub use intake::MOST_BLOCKS;
pub use metrics::Status;
pub use snapshot::Restored;
pub use words::*;

use crate::bail;
use crate::conductor::index::Limits;
use crate::conductor::schedule;
use crate::error::Result;
use crate::id::{MAX_INDEX, Slab};
use crate::sys::{clock, random};
use hooks::Guarded;
use metrics::Counts;
use state::{Directory, Live};

/// Most pieces of advice that wait to be taken.
const MOST_ADVICE: usize = 256;

#[derive(Clone, Debug)]
pub struct Options {
    /// In metrics.
    pub name: String,
    /// Of the scheduler of each model.
    pub schedule: schedule::Options,
    /// Of the index of each context.
    pub limits: Limits,
    pub most_contexts: usize,
    pub patience: Patience,
    /// Blocks of a decided request count as on their way for twice the time to its first token, and so many seconds more.
    pub promise_seconds: f64,
    /// Decisions of each model that are kept to be explained.
    pub explained: usize,
    /// Ids of conductors with different tags, up to 2047, differ.
    pub tag: u16,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            name: String::new(),
            schedule: schedule::Options::default(),
            limits: Limits::default(),
            most_contexts: 4096,
            patience: Patience::default(),
            promise_seconds: 10.0,
            explained: 512,
            tag: 0,
        }
    }
}

/// Where requests should run, for any number of threads.
pub struct Conductor {
    options: Options,
    hooks: Guarded,
    /// Of the tables of all indexes: nobody outside may know it.
    seed: u64,
    clock: Clock,
    directory: RwLock<Directory>,
    live: Mutex<Live>,
    advice: Mutex<VecDeque<Advice>>,
    counts: Counts,
}

/// What time it is, in nanoseconds.
enum Clock {
    System,
    #[cfg(test)]
    ByHand(std::sync::atomic::AtomicU64),
}

impl Conductor {
    pub fn new(options: Options, hooks: Hooks) -> Result<Conductor> {
        Conductor::with_clock(options, hooks, Clock::System)
    }

    /// Whether one can be made so.
    pub fn check(options: &Options) -> Result<()> {
        is_name("conductor", &options.name, true)?;
        options.patience.check()?;
        // Each model's is made with the same options.
        schedule::Scheduler::new(options.schedule)?;
        if !(options.promise_seconds.is_finite() && options.promise_seconds >= 0.0) {
            bail!(InvalidArgument, "promises for {} seconds: it can be 0 and above", options.promise_seconds);
        }
        Ok(())
    }

    fn with_clock(options: Options, hooks: Hooks, clock: Clock) -> Result<Conductor> {
        Conductor::check(&options)?;
        let requests = Slab::new_of_kind("request", options.tag, MAX_INDEX, 2);
        Ok(Conductor {
            hooks: Guarded::new(hooks, options.patience),
            seed: u64::from_ne_bytes(random::bytes()),
            clock,
            directory: RwLock::new(Directory::new(options.tag, options.most_contexts)),
            live: Mutex::new(Live { requests, by_name: HashMap::new() }),
            advice: Mutex::default(),
            counts: Counts::default(),
            options,
        })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    fn now_ns(&self) -> u64 {
        match &self.clock {
            Clock::System => clock::now_ns(),
            #[cfg(test)]
            Clock::ByHand(now) => now.load(std::sync::atomic::Ordering::Relaxed),
        }
    }

    /// On the clock of the schedulers: seconds.
    fn now(&self) -> f64 {
        self.now_ns() as f64 / 1e9
    }

    /// On the clock of the indexes: milliseconds.
    fn now_ms(&self) -> u64 {
        self.now_ns() / 1_000_000
    }
}
