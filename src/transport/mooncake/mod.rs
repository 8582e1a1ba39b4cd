//! Mooncake's own TCP data protocol, for clusters in which some engines are Mooncake's: requests with absolute addresses
//! on connections without a greeting, served by `target` and asked by `remote`. docs/mooncake-wire.md has the bytes.

mod daemon;
mod exchange;
pub mod frame;
mod lane;
mod remote;
mod served;
mod target;
#[cfg(test)]
mod tests;
mod train;
pub mod wire;

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::{Opcode, PathKind};
use crate::error::Error;
use crate::segment::memory::MemoryTable;
use crate::sys::reactor::Reactor;
use crate::telemetry::metrics::Metrics;

pub use daemon::{Answers, Daemon};
pub use exchange::{Patience, exchange};
pub use remote::{Remote, RemoteEvents};
pub use target::Target;

/// What every connection of one engine to and from engines of Mooncake shares.
pub struct Hub {
    pub memory: Arc<MemoryTable>,
    pub metrics: Arc<Metrics>,
    pub reactor: Arc<Reactor>,
    pub lanes: usize,
    pub keepalive: Duration,
    remotes: Mutex<Vec<Weak<Remote>>>,
    target: RwLock<Weak<Target>>,
}

impl Hub {
    pub fn new(
        memory: Arc<MemoryTable>,
        metrics: Arc<Metrics>,
        reactor: Arc<Reactor>,
        lanes: usize,
        keepalive: Duration,
    ) -> Arc<Hub> {
        let (remotes, target) = (Mutex::default(), RwLock::new(Weak::new()));
        Arc::new(Hub { memory, metrics, reactor, lanes, keepalive, remotes, target })
    }

    /// Looks after time-outs; true while something is under way that needs the clock.
    pub fn tick(&self, now: u64) -> bool {
        let remotes: Vec<Arc<Remote>> = {
            let mut remotes = self.remotes.lock();
            remotes.retain(|remote| remote.strong_count() > 0);
            remotes.iter().filter_map(Weak::upgrade).collect()
        };
        // Every one is asked, also when the first is busy.
        let busy = remotes.iter().filter(|remote| remote.tick(now)).count();
        let target_busy = self.target.read().upgrade().is_some_and(|target| target.tick(now));
        busy > 0 || target_busy
    }

    /// Ends every way to a peer: one that a batch waited on outlives its segment, for the batch holds it.
    pub fn close(&self, error: &Error) {
        let remotes: Vec<Arc<Remote>> = self.remotes.lock().iter().filter_map(Weak::upgrade).collect();
        remotes.iter().for_each(|remote| remote.close(error));
    }

    fn start_clock(&self) {
        self.reactor.wake(0);
    }

    fn count(&self, opcode: Opcode, bytes: u64) {
        let path = self.metrics.path(PathKind::Tcp);
        match opcode {
            Opcode::Read => path.read_bytes.add(bytes),
            Opcode::Write => path.written_bytes.add(bytes),
        }
    }
}
