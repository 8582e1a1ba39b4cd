//! The prefill queue of an instance as the scheduler sees it: requests that were sent there and have no first token.
//!
//! An instance is taken to prefill one request after the other. The queue is a list through the running requests, so
//! that who is first is known: nobody behind it can have begun.

use super::running::{Links, Running, Stage, at};
use crate::id::Slab;

/// Levels of priority.
pub const LEVELS: usize = 4;

/// Seconds; instants are on the clock of the calls.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    line: Links,
    length: u32,
    /// Predicted work by level, that of the first included.
    pending: [f64; LEVELS],
    /// When the first one began, and what it was predicted to take.
    begun: f64,
    first_work: f64,
    /// When it will be empty; if it is, when that began.
    free_at: f64,
    /// Until when it works for a request that stands in the queue of another.
    held_until: f64,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            line: Links::default(),
            length: 0,
            pending: [0.0; LEVELS],
            begun: 0.0,
            first_work: 0.0,
            free_at: 0.0,
            held_until: f64::NEG_INFINITY,
        }
    }
}

impl Queue {
    pub fn len(&self) -> u32 {
        self.length
    }

    pub fn first(&self) -> Option<u64> {
        (self.line.first != 0).then_some(self.line.first)
    }

    pub fn free_at(&self) -> f64 {
        self.free_at
    }

    /// By when the first should have its token.
    pub fn due(&self) -> Option<f64> {
        self.first().map(|_| self.begun + self.first_work)
    }

    fn pending(&self) -> f64 {
        self.pending.iter().sum()
    }

    /// How long a request of this level waits. Those behind a first one that is late wait for all their own work.
    pub fn wait(&self, level: usize, now: f64) -> f64 {
        let behind = if self.length > 0 { self.pending() - self.first_work } else { 0.0 };
        let all = larger(larger(self.free_at - now, behind), 0.0);
        if level == 0 || self.length == 0 {
            return all;
        }
        let ahead: f64 = self.pending[level.min(LEVELS - 1)..].iter().sum();
        all.min(ahead + (self.begun + self.first_work - now).max(0.0))
    }

    /// From now on until then it works for a request in the queue of another.
    pub fn hold(&mut self, until: f64) {
        self.held_until = self.held_until.max(until);
        self.extend(until);
    }

    /// Another party says how long a request waits: what is not known here is added.
    pub fn extend(&mut self, until: f64) {
        self.free_at = self.free_at.max(until);
    }

    pub fn push(&mut self, requests: &mut Slab<Running>, id: u64, now: f64) {
        let Some(request) = at(requests, id) else { return };
        let (level, work) = (request.level, request.work);
        let start = self.free_at.max(now);
        if self.length == 0 {
            (self.begun, self.first_work) = (start, work);
        }
        self.line.push(requests, id);
        self.length += 1;
        self.pending[level] += work;
        self.free_at = start + work;
    }

    /// A request begins. If others were in front of it, the instance keeps another order: they come after it.
    pub fn begin(&mut self, requests: &mut Slab<Running>, id: u64, now: f64) {
        if self.line.first != id {
            self.line.unlink(requests, id);
            self.line.push_front(requests, id);
            self.first_work = at(requests, id).map_or(0.0, |request| request.work);
        }
        self.begun = now;
        self.free_at = now + self.pending();
    }

    /// A request leaves: it has its token, or never will. Returns when it began, if that is known.
    pub fn remove(&mut self, requests: &mut Slab<Running>, id: u64, now: f64) -> Option<f64> {
        let request = at(requests, id)?;
        let (level, work, stage) = (request.level, request.work, request.stage);
        let was_first = self.line.first == id;
        let begun = (was_first || stage == Stage::Prefilling).then_some(self.begun);
        self.line.unlink(requests, id);
        self.length -= 1;
        if self.length == 0 {
            let held_until = self.held_until;
            *self = Queue { free_at: now.max(held_until), held_until, ..Queue::default() };
            return begun;
        }
        // Rounding must not leave less than nothing.
        self.pending[level] = (self.pending[level] - work).max(0.0);
        if was_first {
            self.begun = now;
            self.first_work = at(requests, self.line.first).map_or(0.0, |first| first.work);
        }
        let done = (now - self.begun).clamp(0.0, self.first_work);
        self.free_at = (now + (self.pending() - done).max(0.0)).max(self.held_until);
        begun
    }
}

/// Of two that are numbers: `max` would ask that first.
pub fn larger(one: f64, other: f64) -> f64 {
    if one > other { one } else { other }
}
