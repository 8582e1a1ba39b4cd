//! Within one process: a copy. The reference for what every path does.

use std::sync::Arc;

use super::{Opcode, Outcome, Owner, Path, PathKind, Run, Slice};
use crate::error::{Code, Result};
use crate::segment::memory::{MemoryTable, REMOTE_READ, REMOTE_WRITE, Region};
use crate::sys::memory::copy;
use crate::telemetry::metrics::Metrics;

/// The way from one engine to another, or to itself, in the same process.
pub struct LocalPath {
    target: Arc<MemoryTable>,
    metrics: Arc<Metrics>,
    target_metrics: Arc<Metrics>,
}

impl LocalPath {
    pub fn new(target: Arc<MemoryTable>, metrics: Arc<Metrics>, target_metrics: Arc<Metrics>) -> LocalPath {
        LocalPath { target, metrics, target_metrics }
    }

    fn copy_slice(&self, slice: &Slice, found: &mut Option<Arc<Region>>) -> Result<()> {
        let permission = if slice.opcode == Opcode::Read { REMOTE_READ } else { REMOTE_WRITE };
        let (address, length) = (slice.remote as usize, slice.len());
        let key = slice.key.load(std::sync::atomic::Ordering::Relaxed);
        let is_hit = found.as_ref().is_some_and(|region| {
            region.key == key && region.mem.contains(address, length) && region.permissions & permission != 0
        });
        if !is_hit {
            *found = Some(self.target.find_keyed(address, length, permission, key)?);
        }
        let region = found.as_ref().expect("found above");
        let Some(entered) = region.enter() else {
            crate::bail!(AddressNotRegistered, "the region at {address:#x} was unregistered");
        };
        let remote = region.mem.part(address - region.mem.address(), length);
        match slice.opcode {
            Opcode::Read => copy(slice.local, remote),
            Opcode::Write => copy(remote, slice.local),
        }
        drop(entered);
        Ok(())
    }
}

impl Path for LocalPath {
    fn kind(&self) -> PathKind {
        PathKind::Local
    }

    fn submit(&self, run: Run) {
        let mut found = None;
        let (mut read, mut written) = (0, 0);
        for (offset, slice) in run.slices().iter().enumerate() {
            let index = run.first + offset as u32;
            // Per slice, so that a cancel from another thread is heard between two copies.
            if !run.owner.begin_touch(run.epoch) {
                let reason = run.owner.stopped().unwrap_or(Code::Canceled);
                run.owner.complete(run.epoch, index, Outcome::Failed(reason), &|| "stopped".into());
                continue;
            }
            let result = self.copy_slice(slice, &mut found);
            run.owner.end_touch();
            match result {
                Ok(()) => {
                    match slice.opcode {
                        Opcode::Read => read += slice.len() as u64,
                        Opcode::Write => written += slice.len() as u64,
                    }
                    run.owner.complete(run.epoch, index, Outcome::Done, &String::new);
                }
                Err(error) => {
                    run.owner.complete(run.epoch, index, Outcome::Failed(error.code), &|| error.message().to_owned())
                }
            }
        }
        let (ours, theirs) = (self.metrics.path(PathKind::Local), self.target_metrics.path(PathKind::Local));
        ours.read_bytes.add(read);
        ours.written_bytes.add(written);
        theirs.served_read_bytes.add(read);
        theirs.served_written_bytes.add(written);
    }

    fn drive(&self, _: &dyn Fn() -> bool, _: u64) -> bool {
        false
    }

    // Nothing outlives `submit`.
    fn prune(&self, _: &Arc<dyn Owner>, _: u32) {}

    fn abandon(&self, _: &Arc<dyn Owner>, _: u32) {}
}
