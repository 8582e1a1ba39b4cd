//! Within one process: a copy. The reference for what every path does.

use std::sync::Arc;
use std::sync::atomic::Ordering;

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

/// Bytes copied between two looks at whether the batch was stopped.
const STRIDE: usize = 64 << 10;

/// Bytes moved, by direction.
#[derive(Default)]
struct Moved {
    read: u64,
    written: u64,
}

impl LocalPath {
    pub fn new(target: Arc<MemoryTable>, metrics: Arc<Metrics>, target_metrics: Arc<Metrics>) -> LocalPath {
        LocalPath { target, metrics, target_metrics }
    }

    pub fn target(&self) -> &Arc<MemoryTable> {
        &self.target
    }

    /// Copies slices until STRIDE bytes are done; returns how many, and why it stopped before the next, if it failed.
    fn copy_some(
        &self,
        slices: &[Slice],
        found: &mut Option<Arc<Region>>,
        moved: &mut Moved,
        is_summed: bool,
    ) -> (u32, Result<()>) {
        let (mut count, mut bytes) = (0, 0);
        while let Some(first) = slices.get(count).filter(|_| bytes < STRIDE) {
            if let Err(error) = self.find(first, found) {
                return (count as u32, Err(error));
            }
            let region = found.as_ref().expect("found above");
            let Some(_entered) = region.enter() else {
                let error =
                    crate::fail!(AddressNotRegistered, "the region at {:#x} was unregistered", first.remote);
                return (count as u32, Err(error));
            };
            // Neighbours in the same region share one entry.
            for slice in slices[count..].iter().take_while(|slice| is_in(region, slice)) {
                let remote = region.mem.part(slice.remote as usize - region.mem.address(), slice.len());
                match slice.opcode {
                    Opcode::Read => {
                        slice.read_from(remote, is_summed);
                        moved.read += slice.len() as u64;
                    }
                    Opcode::Write => {
                        copy(remote, slice.local);
                        moved.written += slice.len() as u64;
                    }
                }
                count += 1;
                bytes += slice.len();
                if bytes >= STRIDE {
                    break;
                }
            }
        }
        (count as u32, Ok(()))
    }

    fn count(&self, moved: &mut Moved) {
        let Moved { read, written } = std::mem::take(moved);
        let (ours, theirs) = (self.metrics.path(PathKind::Local), self.target_metrics.path(PathKind::Local));
        if read > 0 {
            ours.read_bytes.add(read);
            theirs.served_read_bytes.add(read);
        }
        if written > 0 {
            ours.written_bytes.add(written);
            theirs.served_written_bytes.add(written);
        }
    }

    fn find(&self, slice: &Slice, found: &mut Option<Arc<Region>>) -> Result<()> {
        if !found.as_ref().is_some_and(|region| is_in(region, slice)) {
            let key = slice.key.load(Ordering::Relaxed);
            let permission = needed(slice.opcode);
            *found = Some(self.target.find_keyed(slice.remote as usize, slice.len(), permission, key)?);
        }
        Ok(())
    }
}

fn needed(opcode: Opcode) -> u32 {
    if opcode == Opcode::Read { REMOTE_READ } else { REMOTE_WRITE }
}

fn is_in(region: &Region, slice: &Slice) -> bool {
    region.key == slice.key.load(Ordering::Relaxed)
        && region.permissions & needed(slice.opcode) != 0
        && region.mem.contains(slice.remote as usize, slice.len())
}

impl Path for LocalPath {
    fn kind(&self) -> PathKind {
        PathKind::Local
    }

    fn submit(&self, run: Run) {
        let (slices, is_summed) = (run.slices(), run.owner.verifies_reads());
        let mut found = None;
        let mut moved = Moved::default();
        let mut done = 0u32;
        while (done as usize) < slices.len() {
            let first = run.first + done;
            if !run.owner.begin_touch(run.epoch) {
                let reason = run.owner.stopped().unwrap_or(Code::Canceled);
                run.owner.complete(run.epoch, first, Outcome::Failed(reason), &|| {
                    "stopped before its copy".into()
                });
                done += 1;
                continue;
            }
            let (count, result) = self.copy_some(&slices[done as usize..], &mut found, &mut moved, is_summed);
            run.owner.end_touch();
            // Before the last word: whoever waits for the batch finds its bytes counted.
            self.count(&mut moved);
            run.owner.complete_exclusive(run.epoch, first, count);
            done += count;
            if let Err(error) = result {
                let outcome = Outcome::Failed(error.code);
                run.owner.complete(run.epoch, run.first + done, outcome, &|| error.message().to_owned());
                done += 1;
            }
        }
    }

    fn drive(&self, _: &dyn Fn() -> bool, _: u64) -> bool {
        false
    }

    // Nothing outlives `submit`.
    fn prune(&self, _: &Arc<dyn Owner>, _: u32) {}

    fn abandon(&self, _: &Arc<dyn Owner>, _: u32) {}
}
