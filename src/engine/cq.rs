//! Completion queues: bounded, with a descriptor for event loops.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};

use parking_lot::{Condvar, Mutex};

use crate::error::{Code, Context, Result};
use crate::sys::{clock, reactor};
use crate::{bail, fail};

pub const DEFAULT_CAPACITY: usize = 65_536;
pub const MAX_CAPACITY: usize = 1 << 24;

/// What a completion is about; the numbers are those of the C header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Request = 1,
    Batch = 2,
    Notify = 3,
    Store = 4,
}

/// One completion. `status` None is success.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    pub user_data: u64,
    pub batch: u64,
    pub index: u64,
    pub length: u64,
    pub status: Option<Code>,
    pub kind: Kind,
}

struct State {
    queue: VecDeque<Completion>,
    /// Completions that batches under way will deliver.
    promised: usize,
    is_closed: bool,
}

pub struct Cq {
    state: Mutex<State>,
    arrived: Condvar,
    event: OwnedFd,
    capacity: usize,
}

impl Cq {
    pub fn new(capacity: usize) -> Result<Cq> {
        let capacity = if capacity == 0 { DEFAULT_CAPACITY } else { capacity };
        if capacity > MAX_CAPACITY {
            bail!(InvalidArgument, "capacity is {capacity}: at most {MAX_CAPACITY}");
        }
        let event = reactor::eventfd().context("making a completion queue's event descriptor")?;
        // Room for everything from the start (untouched pages cost nothing): delivering allocates nothing.
        let queue = VecDeque::with_capacity(capacity);
        let state = Mutex::new(State { queue, promised: 0, is_closed: false });
        Ok(Cq { state, arrived: Condvar::new(), event, capacity })
    }

    pub fn event_fd(&self) -> i32 {
        self.event.as_raw_fd()
    }

    /// Makes sure that `count` completions will find room.
    pub fn promise(&self, count: usize) -> Result<()> {
        let mut state = self.state.lock();
        let used = state.queue.len() + state.promised;
        if count > self.capacity.saturating_sub(used) {
            return Err(fail!(
                Exhausted,
                "the completion queue holds or awaits {used} of {} completions: {count} more do not fit, poll it first",
                self.capacity
            ));
        }
        state.promised += count;
        Ok(())
    }

    /// Takes back the promise of one completion that will not come.
    pub fn unpromise(&self) {
        let mut state = self.state.lock();
        state.promised = state.promised.saturating_sub(1);
    }

    pub fn deliver_promised(&self, completion: Completion) {
        let mut state = self.state.lock();
        state.promised = state.promised.saturating_sub(1);
        self.deliver(state, completion);
    }

    /// Delivers what was not promised: notifications, which their own inbox bounds.
    pub fn deliver_extra(&self, completion: Completion) {
        self.deliver(self.state.lock(), completion);
    }

    fn deliver(&self, mut state: parking_lot::MutexGuard<'_, State>, completion: Completion) {
        if state.is_closed {
            return;
        }
        state.queue.push_back(completion);
        if state.queue.len() == 1 {
            reactor::signal_eventfd(&self.event);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Takes up to `limit` completions, waiting for the first until `until_ns`.
    pub fn take(&self, until_ns: u64, limit: usize, each: &mut dyn FnMut(&Completion)) -> Result<()> {
        let mut state = self.state.lock();
        while state.queue.is_empty() && !state.is_closed {
            let left = clock::until(until_ns);
            if left.is_zero() {
                return Ok(());
            }
            self.arrived.wait_for(&mut state, left);
        }
        if state.is_closed {
            bail!(InvalidHandle, "the completion queue was destroyed");
        }
        for _ in 0..limit {
            let Some(completion) = state.queue.pop_front() else { break };
            each(&completion);
        }
        if state.queue.is_empty() {
            reactor::drain_eventfd(&self.event);
        } else {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Wakes whoever waits; nothing is delivered from here on.
    pub fn close(&self) {
        self.state.lock().is_closed = true;
        reactor::signal_eventfd(&self.event);
        self.arrived.notify_all();
    }
}
