//! What is remembered of a request from the decision until it ends.

use super::InstanceId;
use super::decoding::Stay;
use crate::id::Slab;

/// A request that was decided, until it finished, failed or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(super) u64);

impl RequestId {
    pub fn raw(self) -> u64 {
        self.0
    }

    /// Whether it names a request is found out by the call that it is given to.
    pub fn from_raw(raw: u64) -> RequestId {
        RequestId(raw)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Queued,
    Prefilling,
    Decoding,
}

#[derive(Debug)]
pub struct Running {
    pub prefill: InstanceId,
    pub decode: Option<InstanceId>,
    pub stage: Stage,
    pub class: usize,
    pub level: usize,
    pub arrived: f64,
    /// As predicted, from the arrival.
    pub ttft: f64,
    /// As predicted: what the instance is busy with it, and the part of it in which blocks are moved.
    pub work: f64,
    pub transfer: f64,
    /// The pace of the instance that is in `work`.
    pub pace: f64,
    pub tokens: u64,
    pub cached: u64,
    /// Prefilled by several instances: what it took says nothing of one.
    pub is_shared: bool,
    /// When it decodes, as foreseen; how long that takes; and when it began.
    pub stay: Stay,
    pub decode_seconds: f64,
    pub decodes_since: f64,
    /// Neighbours in the queue of the instance, then among those that decode; 0 at the ends.
    pub before: u64,
    pub after: u64,
}

/// The request of an id or link; 0 is none, and is told so without an error to be built.
pub fn at(requests: &mut Slab<Running>, id: u64) -> Option<&mut Running> {
    if id == 0 { None } else { requests.get_mut(id).ok() }
}

/// A list through requests: what it has is in nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Links {
    pub first: u64,
    pub last: u64,
}

impl Links {
    pub fn push(&mut self, requests: &mut Slab<Running>, id: u64) {
        if let Some(request) = at(requests, id) {
            (request.before, request.after) = (self.last, 0);
        }
        match at(requests, self.last) {
            Some(last) => last.after = id,
            None => self.first = id,
        }
        self.last = id;
    }

    pub fn push_front(&mut self, requests: &mut Slab<Running>, id: u64) {
        if let Some(request) = at(requests, id) {
            (request.before, request.after) = (0, self.first);
        }
        match at(requests, self.first) {
            Some(first) => first.before = id,
            None => self.last = id,
        }
        self.first = id;
    }

    pub fn unlink(&mut self, requests: &mut Slab<Running>, id: u64) {
        let Some(request) = at(requests, id) else { return };
        let (before, after) = (request.before, request.after);
        match at(requests, before) {
            Some(before) => before.after = after,
            None => self.first = after,
        }
        match at(requests, after) {
            Some(after) => after.before = before,
            None => self.last = before,
        }
    }
}
