//! Which way slices go, and on whose thread: regions are looked up, neighbours that go the same way travel together,
//! and large copies are shared between the workers and whoever waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::Engine;
use super::plan::group_runs;
use crate::segment::descriptor::{Descriptor, RemoteRegion};
use crate::segment::memory::{MemoryTable, REMOTE_READ, REMOTE_WRITE};
use crate::transport::{Opcode, Path, PathKind, Run};

/// Finds each slice's remote region, notes its key, and hands on runs of slices that can travel alike (`send` is told
/// whether the region can be mapped). Returns the runs whose region is unknown.
pub fn resolve(run: &Run, regions: &Descriptor, mut send: impl FnMut(Run, bool)) -> Vec<Run> {
    let mut last: Option<&RemoteRegion> = None;
    let mut missing = Vec::new();
    let kinds = run.slices().iter().map(|slice| {
        let length = slice.len() as u64;
        if !last.is_some_and(|region| region.contains(slice.remote, length)) {
            last = regions.find(slice.remote, length);
        }
        let region = last?;
        slice.key.store(region.key, Ordering::Relaxed);
        Some(region.is_mappable)
    });
    group_runs(kinds, |first, count, kind| {
        let part = Run { owner: run.owner.clone(), epoch: run.epoch, first: run.first + first, count };
        match kind {
            Some(is_mappable) => send(part, is_mappable),
            None => missing.push(part),
        }
    });
    missing
}

/// As `resolve` for an engine of this process, whose table needs no copy. False when some range is unknown.
pub fn resolve_local(run: &Run, memory: &MemoryTable) -> bool {
    let mut last = None::<Arc<crate::segment::memory::Region>>;
    run.slices().iter().all(|slice| {
        let (address, length) = (slice.remote as usize, slice.len());
        let permission = if slice.opcode == Opcode::Read { REMOTE_READ } else { REMOTE_WRITE };
        let is_hit = last.as_ref().is_some_and(|region| {
            region.mem.contains(address, length) && region.permissions & permission != 0
        });
        if !is_hit {
            last = memory.find(address, length, permission).ok();
        }
        last.as_ref().is_some_and(|region| {
            slice.key.store(region.key, Ordering::Relaxed);
            true
        })
    })
}

/// Copies of this many bytes are done at once by the thread that submits; larger ones are shared.
const INLINE_BYTES: usize = 1 << 20;
/// Slices that one thread takes from a shared copy at a time: 1 MiB.
const CHUNK_SLICES: u32 = 4;

/// Copies within this host that are too long to keep the submitting thread.
#[derive(Default)]
pub struct Copies {
    waiting: Mutex<VecDeque<(Arc<dyn Path>, Run)>>,
}

impl Copies {
    /// Hands a run to its path: on the spot, or for a long copy to whoever has time.
    pub fn submit(&self, engine: &Arc<Engine>, path: Arc<dyn Path>, mut run: Run) {
        if path.kind() == PathKind::Tcp || run.count <= CHUNK_SLICES || bytes_of(&run) <= INLINE_BYTES {
            return path.submit(run);
        }
        let mut waiting = self.waiting.lock();
        while run.count > 0 {
            let chunk = run.split_front(run.count.min(CHUNK_SLICES));
            waiting.push_back((path.clone(), chunk));
        }
        drop(waiting);
        self.wake(engine);
    }

    /// Hands a run to whoever has time.
    pub fn resume(&self, engine: &Arc<Engine>, path: Arc<dyn Path>, run: Run) {
        self.waiting.lock().push_back((path, run));
        self.wake(engine);
    }

    fn wake(&self, engine: &Arc<Engine>) {
        for worker in 0..engine.reactor.worker_count() {
            let engine = engine.clone();
            engine.clone().reactor.run(worker, Box::new(move || while engine.copies.help() {}));
        }
    }

    /// Does one piece of what waits; false when nothing does.
    pub fn help(&self) -> bool {
        let Some((path, run)) = self.waiting.lock().pop_front() else { return false };
        path.submit(run);
        true
    }
}

fn bytes_of(run: &Run) -> usize {
    run.slices().iter().map(|slice| slice.len()).sum()
}
