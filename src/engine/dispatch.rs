//! Which way slices go, and on whose thread: regions are looked up, neighbours that go the same way travel together,
//! and large copies are shared between the workers and whoever waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::Engine;
use super::plan::first_alike;
use crate::segment::descriptor::{Descriptor, RemoteRegion};
use crate::segment::memory::{MemoryTable, REMOTE_READ, REMOTE_WRITE};
use crate::transport::{Opcode, Path, PathKind, Run};

/// Finds each slice's remote region, notes its key, and hands on runs of slices that can travel alike (`send` is told
/// whether the region can be mapped). Returns the runs whose region is unknown.
pub fn resolve(mut run: Run, regions: &Descriptor, mut send: impl FnMut(Run, bool)) -> Vec<Run> {
    let mut missing = Vec::new();
    let mut hand_on = |run, kind| match kind {
        Some(is_mappable) => send(run, is_mappable),
        None => missing.push(run),
    };
    let mut last: Option<&RemoteRegion> = None;
    loop {
        let kinds = run.slices().iter().map(|slice| {
            let length = slice.len() as u64;
            if !last.is_some_and(|region| region.contains(slice.remote, length)) {
                last = regions.find(slice.remote, length);
            }
            let region = last?;
            slice.key.store(region.key, Ordering::Relaxed);
            Some(region.is_mappable)
        });
        let Some((count, kind)) = first_alike(kinds) else { return missing };
        if count == run.count {
            hand_on(run, kind);
            return missing;
        }
        hand_on(run.split_front(count), kind);
    }
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

/// Copies of this many bytes are done at once by the thread that submits; larger ones are shared. It is 1 MiB and what may
/// stand behind it, such as checksums: to wake somebody for those takes longer than they do.
const INLINE_BYTES: usize = (1 << 20) + (64 << 10);
/// Slices that one thread takes from a shared copy at a time: 1 MiB.
const CHUNK_SLICES: u32 = 8;

/// Copies within this host that are too long to keep the submitting thread.
#[derive(Default)]
pub struct Copies {
    waiting: Mutex<VecDeque<(Arc<dyn Path>, Run)>>,
}

/// Whether the thread that submits a run copies it at once.
#[inline]
pub fn is_short(kind: PathKind, run: &Run) -> bool {
    kind != PathKind::Tcp && (run.count <= CHUNK_SLICES || bytes_of(run) <= INLINE_BYTES)
}

impl Copies {
    /// Hands a run that is not short to its path, or to whoever has time.
    pub fn submit(&self, engine: &Arc<Engine>, path: Arc<dyn Path>, mut run: Run) {
        // Its time runs from here, and not from when somebody comes to it.
        run.owner.deadline_ns();
        if path.kind() == PathKind::Tcp {
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
            take_turn(engine.clone(), worker);
        }
    }

    /// Does one piece of what waits; false when nothing does.
    pub fn help(&self) -> bool {
        let Some((path, run)) = self.waiting.lock().pop_front() else { return false };
        path.submit(run);
        true
    }
}

/// Has a worker do one piece, and another one as long as something waits: in between it does its other work.
fn take_turn(engine: Arc<Engine>, worker: usize) {
    let reactor = engine.reactor.clone();
    let job = move || {
        if engine.copies.help() && !engine.copies.waiting.lock().is_empty() {
            take_turn(engine, worker);
        }
    };
    reactor.run(worker, Box::new(job));
}

fn bytes_of(run: &Run) -> usize {
    run.slices().iter().map(|slice| slice.len()).sum()
}
