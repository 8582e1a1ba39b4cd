//! Notifications that arrived: kept in order until somebody takes them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::cq::{Completion, Cq, Kind};
use crate::bail;
use crate::error::Result;
use crate::sys::clock;
use crate::transport::{Deliver, Greeting};

/// Most notifications that wait, and most bytes in them: beyond that senders are told EXHAUSTED.
const MAX_WAITING: usize = 65_536;
const MAX_WAITING_BYTES: usize = 256 << 20;
/// Most tags bound to queues.
const MAX_BINDINGS: usize = 65_536;

/// A notification on this side.
#[derive(Clone, Debug)]
pub struct Message {
    pub tag: String,
    pub sender: String,
    pub sender_id: String,
    pub data: Vec<u8>,
}

/// A notification taken; `data` is None when it did not fit and stays.
#[derive(Debug)]
pub struct Taken {
    pub tag: String,
    pub sender: String,
    pub sender_id: String,
    pub length: usize,
    pub data: Option<Vec<u8>>,
}

struct Binding {
    cq: Arc<Cq>,
    user_data: u64,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Message>,
    bytes: usize,
    bindings: HashMap<Option<String>, Binding>,
    is_closed: bool,
}

#[derive(Default)]
pub struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Inbox {
    pub fn count(&self) -> usize {
        self.state.lock().waiting.len()
    }

    pub fn put(&self, message: Message) -> Result<()> {
        let mut state = self.state.lock();
        if state.is_closed {
            bail!(Rejected, "the engine is being destroyed");
        }
        if state.waiting.len() >= MAX_WAITING || state.bytes + message.data.len() > MAX_WAITING_BYTES {
            bail!(Exhausted, "{} notifications wait at the peer: it must receive some", state.waiting.len());
        }
        let tag = Some(message.tag.clone());
        let binding = state.bindings.get(&tag).or_else(|| state.bindings.get(&None));
        let announced = binding.map(|binding| (binding.cq.clone(), binding.user_data));
        state.bytes += message.data.len();
        let length = message.data.len() as u64;
        state.waiting.push_back(message);
        drop(state);
        self.arrived.notify_all();
        if let Some((cq, user_data)) = announced {
            cq.deliver_extra(Completion {
                user_data,
                batch: 0,
                index: 0,
                length,
                status: None,
                kind: Kind::Notify,
            });
        }
        Ok(())
    }

    /// The oldest notification, or the oldest with that tag; None when none came in time.
    pub fn take(&self, tag: Option<&str>, until_ns: u64, room: usize) -> Result<Option<Taken>> {
        let mut state = self.state.lock();
        loop {
            let found = state.waiting.iter().position(|message| tag.is_none_or(|tag| tag == message.tag));
            if let Some(index) = found {
                return Ok(Some(state.take(index, room)));
            }
            if state.is_closed {
                bail!(InvalidHandle, "the engine was destroyed");
            }
            let left = clock::until(until_ns);
            if left.is_zero() {
                return Ok(None);
            }
            self.arrived.wait_for(&mut state, left);
        }
    }

    pub fn bind(&self, tag: Option<&str>, cq: Option<Arc<Cq>>, user_data: u64) -> Result<()> {
        let mut state = self.state.lock();
        let tag = tag.map(str::to_owned);
        match cq {
            None => {
                state.bindings.remove(&tag);
            }
            Some(cq) => {
                if state.bindings.len() >= MAX_BINDINGS && !state.bindings.contains_key(&tag) {
                    bail!(Exhausted, "{MAX_BINDINGS} tags are bound to queues");
                }
                state.bindings.insert(tag, Binding { cq, user_data });
            }
        }
        Ok(())
    }

    pub fn forget_queue(&self, cq: &Arc<Cq>) {
        self.state.lock().bindings.retain(|_, binding| !Arc::ptr_eq(&binding.cq, cq));
    }

    pub fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.bindings.clear();
        drop(state);
        self.arrived.notify_all();
    }
}

impl State {
    fn take(&mut self, index: usize, room: usize) -> Taken {
        let message = &self.waiting[index];
        let length = message.data.len();
        let mut taken = Taken {
            tag: message.tag.clone(),
            sender: message.sender.clone(),
            sender_id: message.sender_id.clone(),
            length,
            data: None,
        };
        if length <= room {
            self.bytes -= length;
            taken.data = self.waiting.remove(index).map(|message| message.data);
        }
        taken
    }
}

impl Deliver for Inbox {
    fn deliver(&self, tag: String, data: Vec<u8>, sender: &Greeting) -> Result<()> {
        self.put(Message { tag, sender: sender.name.clone(), sender_id: sender.id.to_string(), data })
    }
}
