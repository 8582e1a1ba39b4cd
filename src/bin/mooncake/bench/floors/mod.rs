//! What the machine can do without the library, over the same buffers and the same walk.

pub mod cma;
pub mod mapping;
pub mod memcpy;
pub mod raw;
pub mod shm;
pub mod tcp;

use std::thread::JoinHandle;

use clap::ValueEnum;
use mooncake::sys::memory::Mem;

use super::case::{Case, Op, Path};
use super::walk::Walk;

/// A floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Floor {
    /// One copy by a processor.
    Memcpy,
    /// One connection, a closed loop of block and acknowledgement.
    Tcp1,
    /// The same over two connections at once, with two threads at each end.
    Tcp2,
    /// Through a ring in shared memory: copied in here, copied out there.
    Shm,
    /// One system call that copies between processes.
    Cma,
}

impl Floor {
    pub fn name(self) -> &'static str {
        match self {
            Floor::Memcpy => "memcpy",
            Floor::Tcp1 => "tcp1",
            Floor::Tcp2 => "tcp2",
            Floor::Shm => "shm",
            Floor::Cma => "cma",
        }
    }

    /// Those that a path is measured against when nothing else is said.
    pub fn of_path(path: Path) -> &'static [Floor] {
        match path {
            Path::Local => &[Floor::Memcpy],
            Path::Memfd => &[Floor::Memcpy, Floor::Shm],
            Path::Cma => &[Floor::Memcpy, Floor::Cma, Floor::Shm],
            Path::Tcp => &[Floor::Tcp1, Floor::Tcp2],
        }
    }

    /// Whether both ends have to be on one host.
    pub fn needs_one_host(self) -> bool {
        matches!(self, Floor::Shm | Floor::Cma)
    }
}

/// Where the two ends' memory is, as one end sees it: blocks come from or go to `here`.
#[derive(Clone, Copy)]
pub struct Place {
    pub here: Mem,
    pub op: Op,
}

impl Place {
    /// The initiator's memory.
    pub fn initiator(case: &Case, source: Mem, destination: Mem) -> Place {
        Place { here: if case.op == Op::Write { source } else { destination }, op: case.op }
    }

    /// The target's memory.
    pub fn target(case: &Case, source: Mem, destination: Mem) -> Place {
        let op = if case.op == Op::Write { Op::Read } else { Op::Write };
        Place { here: if case.op == Op::Write { destination } else { source }, op }
    }

    /// This end's memory of a batch's blocks: parts of its source if it gives, of its destination if it takes.
    #[inline]
    pub fn blocks<'a>(&self, walk: &'a Walk, position: usize) -> impl Iterator<Item = Mem> + use<'a> {
        let Place { here, op } = *self;
        walk.blocks(position).map(move |(source, destination)| {
            here.part(if op == Op::Write { source } else { destination }, walk.size())
        })
    }
}

/// Threads at the target that serve a floor until the initiator hangs up. Dropping it waits for them: they use memory
/// that may go next.
pub struct Servers {
    pub port: u16,
    pub threads: Vec<JoinHandle<Result<(), String>>>,
}

impl Servers {
    /// Waits for all of them; the first failure.
    pub fn join(mut self) -> Result<(), String> {
        self.wait()
    }

    fn wait(&mut self) -> Result<(), String> {
        let ends: Vec<_> = self.threads.drain(..).map(|thread| thread.join()).collect();
        ends.into_iter()
            .try_for_each(|end| end.map_err(|_| "a thread that serves a floor panicked".to_owned())?)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // Whoever cares for their end called join().
        let _ = self.wait();
    }
}
