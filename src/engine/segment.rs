//! An open segment: a peer, and which of its regions this segment shows.

use std::sync::Arc;

use super::Engine;
use super::batch::Notification;
use super::notify::Message;
use super::peer::{Peer, View};
use crate::error::Result;
use crate::fail;
use crate::segment::descriptor::Descriptor;
use crate::transport::{Outcome, Reply, Run};

pub struct Segment {
    pub peer: Arc<Peer>,
    pub view: View,
}

/// What an open segment is, for callers.
#[derive(Clone, Debug)]
pub struct SegmentInfo {
    pub region_count: u32,
    pub name: String,
    pub address: String,
    pub engine_id: String,
    pub path: &'static str,
    pub total_bytes: u64,
    pub is_imported: bool,
}

/// A region of a peer, for callers.
#[derive(Clone, Debug)]
pub struct RegionInfo {
    pub address: u64,
    pub length: u64,
    pub permissions: u32,
    pub path: &'static str,
    pub location: String,
}

impl Segment {
    pub fn route(&self, run: Run) {
        self.peer.route(run, &self.view, false);
    }

    pub fn reroute(&self, run: Run, outcome: Outcome) -> bool {
        self.peer.reroute(run, &self.view, outcome)
    }

    fn regions(&self) -> Option<Arc<Descriptor>> {
        match &self.view {
            View::Whole => self.peer.descriptor(),
            View::Blob(_, regions) => Some(regions.clone()),
        }
    }

    pub fn info(&self) -> SegmentInfo {
        let regions = self.regions().unwrap_or_default();
        let peer = self.peer.info();
        let id = match &self.view {
            View::Whole => peer.id,
            View::Blob(id, _) => Some(*id),
        };
        SegmentInfo {
            region_count: regions.regions.len() as u32,
            name: peer.name,
            address: self.peer.label.clone(),
            engine_id: id.map_or_else(String::new, |id| id.to_string()),
            path: self.peer.path_name(false),
            total_bytes: regions.total_bytes(),
            is_imported: matches!(self.view, View::Blob(..)),
        }
    }

    pub fn list(&self) -> Vec<RegionInfo> {
        let regions = self.regions().unwrap_or_default();
        let describe = |region: &crate::segment::descriptor::RemoteRegion| RegionInfo {
            address: region.address,
            length: region.length,
            permissions: region.permissions,
            path: self.peer.path_name(region.is_mappable),
            location: region.location.clone(),
        };
        regions.regions.iter().map(describe).collect()
    }

    /// Sends a notification; `reply` is called exactly once, from any thread.
    pub fn notify(&self, notification: &Notification, deadline_ns: u64, reply: Reply) {
        let Some(engine) = self.engine() else {
            return reply(Err(fail!(InvalidHandle, "the engine was destroyed")));
        };
        engine.metrics.notify_count.increment();
        if let Some(target) = self.peer.local_engine() {
            let message = message_of(&engine, notification);
            target.metrics.notify_count.increment();
            return reply(match target.inbox.put(message) {
                // To oneself: nobody refused it.
                Err(_) if engine.is_closed() => Err(fail!(InvalidHandle, "the engine is being destroyed")),
                delivered => delivered.map(|()| Vec::new()),
            });
        }
        match self.peer.contact() {
            Some(contact) => contact.notify(&notification.tag, &notification.data, deadline_ns, reply),
            None if engine.is_closed() => reply(Err(fail!(InvalidHandle, "the engine is being destroyed"))),
            None => reply(Err(fail!(Unreachable, "{} was destroyed", self.peer.label))),
        }
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        self.peer.engine()
    }
}

fn message_of(engine: &Engine, notification: &Notification) -> Message {
    Message {
        tag: notification.tag.clone(),
        sender: engine.config.name.clone(),
        sender_id: engine.id.to_string(),
        data: notification.data.clone(),
    }
}

/// What a probe found.
#[derive(Clone, Debug)]
pub struct Probe {
    pub lanes: u32,
    pub is_alive: bool,
    pub has_restarted: bool,
    pub since: std::time::Duration,
    pub round_trip: std::time::Duration,
    pub path: &'static str,
    pub engine_id: String,
}

/// A result that another thread delivers.
pub fn wait_for<T: Send + 'static>(
    until_ns: u64,
    start: impl FnOnce(Box<dyn FnOnce(Result<T>) + Send>),
) -> Option<Result<T>> {
    let slot = Arc::new((parking_lot::Mutex::new(None), parking_lot::Condvar::new()));
    let there = slot.clone();
    start(Box::new(move |result| {
        *there.0.lock() = Some(result);
        there.1.notify_all();
    }));
    let mut result = slot.0.lock();
    while result.is_none() {
        let left = crate::sys::clock::until(until_ns);
        if left.is_zero() {
            return None;
        }
        slot.1.wait_for(&mut result, left);
    }
    result.take()
}
