//! Segments by small integers: the same name has the same one while it is open, and none is ever used again.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::engine::Engine;
use crate::error::Result;
use crate::{bail, fail};

/// The engine's own memory.
const LOCAL: i32 = 0;
/// How long an open waits for a peer that does not answer. One that refuses is an error at once.
const PATIENCE: Duration = Duration::from_secs(10);

struct Open {
    segment: u64,
    name: String,
    /// Opens that wait for their close.
    count: u32,
}

#[derive(Default)]
struct State {
    names: HashMap<String, i32>,
    open: HashMap<i32, Open>,
    last: i32,
}

#[derive(Default)]
pub struct Segments {
    state: Mutex<State>,
}

impl Segments {
    /// The id of a name; the peer is met when it is new.
    pub fn open(&self, engine: &Engine, name: &str) -> Result<i32> {
        let name = strip(name)?;
        if is_own(engine, name) {
            return Ok(LOCAL);
        }
        if let Some(id) = self.state.lock().open_again(name) {
            return Ok(id);
        }
        // Not under the lock: it waits for the peer.
        let segment = engine.open_segment(name, Some(PATIENCE.min(engine.config.default_deadline)))?;
        let mut state = self.state.lock();
        if let Some(id) = state.open_again(name) {
            drop(state);
            engine.close_segment(segment)?;
            return Ok(id);
        }
        let Some(id) = state.last.checked_add(1) else {
            drop(state);
            engine.close_segment(segment)?;
            bail!(Exhausted, "every number of a segment was given out");
        };
        state.last = id;
        state.names.insert(name.to_owned(), id);
        state.open.insert(id, Open { segment, name: name.to_owned(), count: 1 });
        Ok(id)
    }

    /// As `open`, with what the peer offers asked for anew.
    pub fn open_anew(&self, engine: &Engine, name: &str) -> Result<i32> {
        let id = self.open(engine, name)?;
        if id == LOCAL {
            return Ok(id);
        }
        let segment = self.resolve(engine, id)?;
        let patience = PATIENCE.min(engine.config.default_deadline);
        engine.refresh_segment(segment, Some(patience)).inspect_err(|_| {
            // The caller got no id and will not close it.
            let _ = self.close(engine, id);
        })?;
        Ok(id)
    }

    /// The last close of as many as there were opens closes the segment.
    pub fn close(&self, engine: &Engine, id: i32) -> Result<()> {
        if id == LOCAL {
            return Ok(());
        }
        let mut state = self.state.lock();
        let open = state.open.get_mut(&id).ok_or_else(|| unknown(id))?;
        open.count -= 1;
        if open.count > 0 {
            return Ok(());
        }
        let segment = state.take(id);
        drop(state);
        segment.map_or(Ok(()), |segment| engine.close_segment(segment))
    }

    /// Closes whatever is open under a name: the next open gives another id.
    pub fn forget(&self, engine: &Engine, name: &str) -> Result<()> {
        let mut state = self.state.lock();
        let Some(id) = state.names.get(strip(name)?).copied() else { return Ok(()) };
        let segment = state.take(id);
        drop(state);
        segment.map_or(Ok(()), |segment| engine.close_segment(segment))
    }

    /// The engine's id of an open segment.
    pub fn resolve(&self, engine: &Engine, id: i32) -> Result<u64> {
        if id == LOCAL {
            return Ok(engine.local_segment_id());
        }
        self.state.lock().open.get(&id).map(|open| open.segment).ok_or_else(|| unknown(id))
    }

    /// Id, name and the engine's id of every open segment, in the order in which they were opened.
    pub fn list(&self) -> Vec<(i32, String, u64)> {
        let state = self.state.lock();
        let mut list: Vec<_> =
            state.open.iter().map(|(id, open)| (*id, open.name.clone(), open.segment)).collect();
        list.sort_unstable();
        list
    }
}

impl State {
    fn open_again(&mut self, name: &str) -> Option<i32> {
        let id = *self.names.get(name)?;
        let open = self.open.get_mut(&id)?;
        open.count = open.count.checked_add(1)?;
        Some(id)
    }

    fn take(&mut self, id: i32) -> Option<u64> {
        let open = self.open.remove(&id)?;
        self.names.remove(&open.name);
        Some(open.segment)
    }
}

fn strip(name: &str) -> Result<&str> {
    let name = name.trim_start_matches('/');
    if name.is_empty() {
        bail!(InvalidArgument, "the segment's name is empty");
    }
    Ok(name)
}

fn is_own(engine: &Engine, name: &str) -> bool {
    let info = engine.info();
    name == info.name || name == info.address
}

fn unknown(id: i32) -> crate::error::Error {
    fail!(InvalidHandle, "segment {id} is not open")
}
