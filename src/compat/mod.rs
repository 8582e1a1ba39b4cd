//! An engine as Mooncake's API drives it: transports that are installed, segments by small integers, memory by its
//! address, batches that grow. `ffi::compat` spells it in C; the engine below knows nothing of it.

mod address;
mod batch;
mod create;
mod links;
mod memory;
mod segments;
mod topology;
mod transports;

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::batch::Notification;
use crate::error::Result;

pub use address::ServerName;
pub use batch::{Progress, Transfer, opcode_of};
pub use create::Arguments;
pub use memory::Registrations;
pub use transports::{Protocol, Transports};

use batch::Batches;
use segments::Segments;
use topology::Topology;

/// One engine with what Mooncake's API remembers of it.
pub struct Session {
    pub engine: Arc<Engine>,
    pub memory: Registrations,
    pub segments: Segments,
    pub batches: Batches,
    pub transports: Transports,
    pub topology: Topology,
}

impl Session {
    /// For an engine that the native API made: it has its transports already.
    pub fn attach(engine: Arc<Engine>, tag: u16) -> Session {
        let session = Session::bare(engine, tag);
        session.transports.install_default();
        session
    }

    fn bare(engine: Arc<Engine>, tag: u16) -> Session {
        Session {
            engine,
            memory: Registrations::default(),
            segments: Segments::default(),
            batches: Batches::new(tag),
            transports: Transports::default(),
            topology: Topology::default(),
        }
    }

    /// "host:port" with which peers open this engine; IPv6 in brackets.
    pub fn address(&self) -> String {
        self.engine.info().address
    }

    pub fn open(&self, name: &str) -> Result<i32> {
        self.segments.open(&self.engine, name)
    }

    pub fn open_anew(&self, name: &str) -> Result<i32> {
        self.segments.open_anew(&self.engine, name)
    }

    pub fn close(&self, segment: i32) -> Result<()> {
        self.segments.close(&self.engine, segment)
    }

    pub fn forget(&self, name: &str) -> Result<()> {
        self.segments.forget(&self.engine, name)
    }

    /// Adds transfers to a batch; the notification goes out when all of the batch is done.
    pub fn submit(&self, batch: u64, transfers: &[Transfer], letter: Option<(&str, &[u8])>) -> Result<()> {
        self.transports.require_one()?;
        let batch = self.batches.get(batch)?;
        let letter = match (letter, transfers.first()) {
            (None, _) => None,
            (Some((name, message)), Some(first)) => {
                let target = self.segments.resolve(&self.engine, first.segment)?;
                Some(Notification::new(name, message, target)?)
            }
            (Some(_), None) => {
                crate::bail!(InvalidArgument, "a notification without transfers has nobody to go to")
            }
        };
        batch.submit(&self.engine, &self.segments, transfers, letter)
    }

    pub fn progress(&self, batch: u64, task: usize) -> Result<(Progress, u64)> {
        self.batches.get(batch)?.progress(&self.engine, task)
    }

    pub fn free_batch(&self, batch: u64) -> Result<()> {
        self.batches.free(&self.engine, batch)
    }

    /// Tells a peer, and waits for its word.
    pub fn notify(&self, segment: i32, name: &str, message: &[u8]) -> Result<()> {
        let target = self.segments.resolve(&self.engine, segment)?;
        self.engine.notify(Notification::new(name, message, target)?, None)
    }

    /// Every notification that arrived, oldest first: name and message.
    pub fn take_notifications(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut taken = Vec::new();
        while let Some(one) =
            self.engine.receive_notification(None, Some(std::time::Duration::ZERO), usize::MAX)?
        {
            taken.push((one.tag, one.data.unwrap_or_default()));
        }
        Ok(taken)
    }

    /// What is still alive when the engine is destroyed is worth one line: its owner leaks it.
    pub fn say_what_is_left(&self) {
        let (batches, regions) = (self.batches.count(), self.memory.count());
        if batches > 0 || regions > 0 {
            tracing::info!(
                "engine destroyed with {batches} batches not freed and {regions} ranges registered"
            );
        }
    }
}
