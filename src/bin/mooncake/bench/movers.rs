//! The library as a competitor: submit and wait or poll, or post what was prepared.

use std::sync::Arc;
use std::time::Duration;

use mooncake::engine::Engine;
use mooncake::engine::batch::{BatchInfo, BatchOptions, Local, Request};
use mooncake::error::Result as LibraryResult;
use mooncake::transport::Opcode;

use super::case::Op;
use super::drive::Mover;
use super::end::text;
use super::floors::Place;
use super::transfer::options::Completion;
use super::walk::Walk;

/// Where the bytes of one thread go.
#[derive(Clone)]
pub struct Route {
    pub engine: Arc<Engine>,
    pub segment: u64,
    pub walk: Walk,
    pub place: Place,
    /// Address of the target's buffer.
    pub there: u64,
    pub deadline: Option<Duration>,
    pub completion: Completion,
}

impl Route {
    #[inline]
    fn requests(&self, position: usize) -> impl ExactSizeIterator<Item = LibraryResult<Request>> + '_ {
        let opcode = match self.place.op {
            Op::Read => Opcode::Read,
            Op::Write => Opcode::Write,
        };
        self.walk.blocks(position).map(move |(source, destination)| {
            let (here, there) = match self.place.op {
                Op::Write => (source, destination),
                Op::Read => (destination, source),
            };
            Ok(Request {
                opcode,
                segment: self.segment,
                remote: self.there + there as u64,
                length: self.walk.size() as u64,
                local: Local::Contiguous(self.place.here.address() + here),
                user_data: 0,
            })
        })
    }

    fn options(&self) -> BatchOptions {
        BatchOptions { deadline: self.deadline, ..BatchOptions::default() }
    }

    #[inline]
    fn complete(&self, batch: u64) -> Result<(), String> {
        let info = match self.completion {
            Completion::Wait => self.engine.wait(batch, None).map_err(text)?,
            Completion::Poll => loop {
                let info = self.engine.poll(batch).map_err(text)?;
                if info.is_done {
                    break info;
                }
                std::hint::spin_loop();
            },
        };
        if info.status.is_some() { Err(self.failure(batch, info)) } else { Ok(()) }
    }

    #[cold]
    fn failure(&self, batch: u64, info: BatchInfo) -> String {
        text(self.engine.batch_error(batch, info))
    }
}

/// Submits a new batch for every step.
pub struct Submitting {
    route: Route,
    batch: u64,
}

impl Submitting {
    pub fn new(route: Route) -> Submitting {
        Submitting { route, batch: 0 }
    }
}

impl Mover for Submitting {
    #[inline]
    fn step(&mut self, step: u64) -> Result<(), String> {
        let route = &self.route;
        let requests = route.requests(route.walk.position(step));
        self.batch = route.engine.submit(requests, route.options()).map_err(text)?;
        route.complete(self.batch)
    }

    #[inline]
    fn settle(&mut self) -> Result<(), String> {
        self.route.engine.release(self.batch).map_err(text)
    }
}

/// Posts batches that were prepared once, one for each position of the walk.
pub struct Posting {
    route: Route,
    batches: Vec<u64>,
}

impl Posting {
    pub fn new(route: Route) -> Result<Posting, String> {
        let prepare =
            |position| route.engine.prepare(route.requests(position), route.options()).map_err(text);
        let batches = (0..route.walk.positions()).map(prepare).collect::<Result<_, _>>()?;
        Ok(Posting { route, batches })
    }
}

impl Mover for Posting {
    #[inline]
    fn step(&mut self, step: u64) -> Result<(), String> {
        let batch = self.batches[self.route.walk.position(step)];
        self.route.engine.post(batch).map_err(text)?;
        self.route.complete(batch)
    }
}

impl Drop for Posting {
    fn drop(&mut self) {
        for batch in &self.batches {
            // The engine may be gone already, and the batch with it.
            let _ = self.route.engine.release(*batch);
        }
    }
}
