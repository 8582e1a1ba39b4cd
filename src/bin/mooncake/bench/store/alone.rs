//! The engine alone: a client's engine reads from the memory of another process, as a get does, and asks nobody.

use std::sync::Arc;
use std::time::Duration;

use mooncake::engine::Engine;
use mooncake::sys::memory::Mem;

use super::super::case::{Case, Op, Path};
use super::super::control::{Opened, Target};
use super::super::end::{Setup, text};
use super::super::floors::Place;
use super::super::movers::{Route, Submitting};
use super::super::target::Own;
use super::super::transfer::options::Completion;
use super::super::walk::Walk;

const PATIENCE: Duration = Duration::from_secs(10);

pub struct Alone {
    opened: Opened,
    buffer: usize,
    // The process ends when its initiator hangs up, which is first.
    _target: Target,
    _process: Own,
}

impl Alone {
    /// A process with so many bytes to read from over TCP, as every engine has them that nobody configured.
    pub fn start(buffer: usize) -> Result<Alone, String> {
        let process = Own::process("127.0.0.1")?;
        let mut target = process.connect()?;
        let setup = Setup { path: Path::Tcp, buffer, has_checksum: true, lanes: 0, worker_threads: 0 };
        Ok(Alone { opened: target.open(&setup)?, buffer, _target: target, _process: process })
    }

    /// Reads `batch` blocks at once, the same ones again and again.
    pub fn reading(
        &self,
        engine: &Arc<Engine>,
        into: Mem,
        size: usize,
        batch: usize,
    ) -> Result<Submitting, String> {
        let case = Case {
            path: Path::Tcp,
            op: Op::Read,
            size,
            batch,
            threads: 1,
            is_cold: false,
            buffer: self.buffer,
            positions: 1,
        };
        Ok(Submitting::new(Route {
            engine: engine.clone(),
            segment: engine.open_segment(&self.opened.address, Some(PATIENCE)).map_err(text)?,
            walk: Walk::new(&case, 0),
            place: Place { here: into, op: Op::Read },
            there: self.opened.source as u64,
            deadline: None,
            completion: Completion::Wait,
        }))
    }
}
