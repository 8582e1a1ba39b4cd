//! Which object leaves a cache that is full: `trait Eviction`, and one policy per file.
//!
//! The owner of a cache talks to an `Evictor`, which keeps what policies need of each object in a table by slot and
//! sets aside what may not go. Nothing here does I/O, reads a clock, or is random, and no call scans: each costs
//! a bounded number of steps, or what uses before it have paid for.

mod entries;
mod evictor;
mod ghosts;
mod replay;
mod segments;
mod shadow;

mod default;
mod fifo;
mod lfu;
mod lru;
mod s3fifo;
mod sieve;

#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;

pub use evictor::Evictor;
pub use replay::{Found, Replay};

use entries::Entries;

use crate::sys::splitmix::Random;

/// The list of what an evictor has set aside; those of policies follow.
const SPARED: u32 = entries::FREE + 1;
const QUEUE: u32 = SPARED + 1;

/// An order of cached objects.
///
/// One thread at a time calls. Every slot that is handed in has its key and weight in `entries` and is in a list of
/// this policy, except for `insert`, after which it is.
trait Eviction: Send {
    fn insert(&mut self, entries: &mut Entries, slot: u32);

    fn touch(&mut self, entries: &mut Entries, slot: u32);

    /// Names the one that should leave next, and leaves it where it is.
    fn victim(&mut self, entries: &mut Entries) -> Option<u32>;

    /// Takes one out that makes room. A policy may remember it.
    fn evict(&mut self, entries: &mut Entries, slot: u32) {
        self.remove(entries, slot);
    }

    /// Takes one out that is gone for other reasons.
    fn remove(&mut self, entries: &mut Entries, slot: u32);

    /// The weight of a full cache. Called before all else, and again when that changes.
    fn set_capacity(&mut self, _capacity: u64) {}
}

/// The policies there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Lru,
    Lfu,
    Fifo,
    S3Fifo,
    Sieve,
    /// What the store uses.
    Default,
}

impl Policy {
    pub const ALL: [Policy; 6] =
        [Policy::Lru, Policy::Lfu, Policy::Fifo, Policy::S3Fifo, Policy::Sieve, Policy::Default];

    pub fn name(self) -> &'static str {
        match self {
            Policy::Lru => "lru",
            Policy::Lfu => "lfu",
            Policy::Fifo => "fifo",
            Policy::S3Fifo => "s3fifo",
            Policy::Sieve => "sieve",
            Policy::Default => "default",
        }
    }

    fn start(self) -> Box<dyn Eviction> {
        match self {
            Policy::Lru => Box::new(lru::Lru::new()),
            Policy::Lfu => Box::new(lfu::Lfu::new()),
            Policy::Fifo => Box::new(fifo::Fifo::new()),
            Policy::S3Fifo => Box::new(s3fifo::S3Fifo::new()),
            Policy::Sieve => Box::new(sieve::Sieve::new()),
            Policy::Default => Box::new(default::Adaptive::new()),
        }
    }
}

/// The bits of a key, each of them depending on all of the key's.
fn spread(key: u32) -> u64 {
    Random::new(u64::from(key)).bits()
}
