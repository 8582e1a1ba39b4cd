//! How bytes move. A path takes runs of slices and completes each slice exactly once; the batch that owns them says
//! whether its memory may still be touched.

mod contact;
pub mod local;
pub mod mooncake;
mod payload;
mod queue;
pub mod shm;
pub mod tcp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::error::Code;
pub use crate::rpc::connection::Connection;
use crate::sys::checksum::{copy_summed, crc32c_of};
use crate::sys::memory::{Mem, copy};
pub use crate::telemetry::metrics::Path as PathKind;
pub use contact::{Contact, ContactEvents, Deliver, Greeting, Reply, ShmOffer, Strangers};
pub use payload::{Gate, Payload, ZEROS};
pub use queue::{RunQueue, submitter};

/// Which way the bytes go, seen from the engine that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Read,
    Write,
}

/// Who goes first on a link, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    High = 0,
    Normal = 1,
    Low = 2,
}

pub const PRIORITIES: usize = 3;

/// Bytes that have a checksum of their own where whoever reads them verifies by itself.
pub const SUMMED: usize = 64 << 10;
/// Of those, how many a slice has at most.
pub const SUMS: usize = 2;

/// A piece of one request: at most `engine::plan::SLICE_SIZE` bytes, within one local and one remote region.
#[derive(Debug)]
pub struct Slice {
    pub opcode: Opcode,
    pub local: Mem,
    pub remote: u64,
    /// Key of the remote region, once it is known.
    pub key: AtomicU64,
    /// Index of its request in the batch.
    pub task: u32,
    /// Times that it was sent again.
    pub retries: AtomicU32,
    /// Epoch of the post it belongs to, doubled, plus one once it is completed.
    pub state: AtomicU32,
    /// CRC32C of its first SUMMED bytes and of the next, where a path found them out while the bytes were near; else 0.
    sums: [AtomicU32; SUMS],
}

impl Slice {
    pub fn new(opcode: Opcode, local: Mem, remote: u64, task: u32) -> Slice {
        Slice {
            opcode,
            local,
            remote,
            key: AtomicU64::new(0),
            task,
            retries: AtomicU32::new(0),
            state: AtomicU32::new(1),
            sums: Default::default(),
        }
    }

    /// Forgets what an earlier post has left.
    pub fn begin(&self, epoch: u32) {
        self.retries.store(0, Ordering::Relaxed);
        self.state.store(epoch << 1, Ordering::Relaxed);
        self.sums.iter().for_each(|sum| sum.store(0, Ordering::Relaxed));
    }

    /// Reads it from memory that is mapped here.
    pub fn read_from(&self, remote: Mem, is_summed: bool) {
        if !is_summed || self.len() < SUMMED {
            return copy(self.local, remote);
        }
        for at in (0..self.len()).step_by(SUMMED) {
            let length = SUMMED.min(self.len() - at);
            let sum = copy_summed(self.local.part(at, length), remote.part(at, length));
            self.sums[at / SUMMED].store(sum, Ordering::Relaxed);
        }
    }

    /// Sums what was read into it.
    pub fn sum(&self) {
        for (sum, at) in self.sums.iter().zip((0..self.len()).step_by(SUMMED)) {
            let length = SUMMED.min(self.len() - at);
            if length == SUMMED {
                sum.store(crc32c_of(self.local.part(at, length)), Ordering::Relaxed);
            }
        }
    }

    /// Where SUMMED bytes lie whose sum was found out, and that.
    pub fn sums(&self) -> impl Iterator<Item = (usize, u32)> {
        let whole = self.sums.iter().take(self.len() / SUMMED).enumerate();
        let found = whole.map(|(index, sum)| (index, sum.load(Ordering::Relaxed)));
        let address = self.local.address();
        found.filter(|(_, sum)| *sum != 0).map(move |(index, sum)| (address + index * SUMMED, sum))
    }

    pub fn len(&self) -> usize {
        self.local.len()
    }

    pub fn is_empty(&self) -> bool {
        self.local.is_empty()
    }

    pub fn is_done(&self, epoch: u32) -> bool {
        self.state.load(Ordering::Acquire) != epoch << 1
    }
}

/// How a slice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Failed(Code),
    /// The path does not work for this slice: try the next one.
    Reroute,
}

/// The batch that slices belong to. `epoch` counts its posts: what is said about an earlier one is ignored.
pub trait Owner: Send + Sync {
    fn slices(&self) -> &[Slice];

    /// Starts touching local memory of the batch. False once it was stopped: then no byte of it may be touched, and
    /// `end_touch` must not be called.
    fn begin_touch(&self, epoch: u32) -> bool;

    fn end_touch(&self);

    /// Completes a slice; the first word counts, later ones are ignored. `detail` goes to the log and to the batch's
    /// error text.
    fn complete(&self, epoch: u32, index: u32, outcome: Outcome, detail: &dyn Fn() -> String);

    /// Completes slices that are done and that no other thread can complete: a path that copies before `Path::submit`
    /// returns owns its slices until then.
    fn complete_exclusive(&self, epoch: u32, first: u32, count: u32);

    /// Why the batch was stopped, if it was.
    fn stopped(&self) -> Option<Code>;

    fn priority(&self) -> Priority;

    /// Whoever asked checks what it reads by itself: paths need not.
    fn verifies_reads(&self) -> bool {
        false
    }

    /// CLOCK_MONOTONIC nanoseconds.
    fn deadline_ns(&self) -> u64;
}

/// Slices `first .. first + count` of one batch, for one post of it.
#[derive(Clone)]
pub struct Run {
    pub owner: Arc<dyn Owner>,
    pub epoch: u32,
    pub first: u32,
    pub count: u32,
}

impl Run {
    pub fn slices(&self) -> &[Slice] {
        &self.owner.slices()[self.first as usize..(self.first + self.count) as usize]
    }

    /// Completes every slice alike.
    pub fn complete(&self, outcome: Outcome, detail: &dyn Fn() -> String) {
        for index in self.first..self.first + self.count {
            self.owner.complete(self.epoch, index, outcome, detail);
        }
    }

    /// Whether every slice has been completed.
    pub fn is_done(&self) -> bool {
        self.slices().iter().all(|slice| slice.is_done(self.epoch))
    }

    /// Takes the first `count` slices off.
    pub fn split_front(&mut self, count: u32) -> Run {
        let front = Run { owner: self.owner.clone(), epoch: self.epoch, first: self.first, count };
        self.first += count;
        self.count -= count;
        front
    }
}

/// One way to one peer. No method waits for the peer except `drive`; all may be called from several threads at once.
pub trait Path: Send + Sync {
    fn kind(&self) -> PathKind;

    /// Takes a run whose slices have their keys; each of its slices is completed exactly once, sooner or later, also
    /// when the peer dies or the path shuts down. A path of this host copies before it returns.
    fn submit(&self, run: Run);

    /// Lets a thread that waits anyway move bytes, until `is_done` or the time; false when others do that already.
    fn drive(&self, is_done: &dyn Fn() -> bool, until_ns: u64) -> bool;

    /// The batch was stopped: completes what was not sent, and reads whose answers will go nowhere. Writes that were
    /// sent stay until the peer confirms them.
    fn prune(&self, owner: &Arc<dyn Owner>, epoch: u32);

    /// The batch cannot wait any longer: completes the rest as UNREACHABLE and makes sure that nothing of it is sent
    /// from here on.
    fn abandon(&self, owner: &Arc<dyn Owner>, epoch: u32);
}

/// Whether two values name the same batch.
pub fn same_owner(a: &Arc<dyn Owner>, b: &Arc<dyn Owner>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}
