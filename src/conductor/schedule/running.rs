//! What is remembered of a request from the decision until it ends.

use super::InstanceId;
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
    pub stage: Stage,
    pub level: usize,
    pub arrived: f64,
    /// As predicted, from the arrival.
    pub ttft: f64,
    /// As predicted: what the instance is busy with it, and the part of it in which blocks are moved.
    pub work: f64,
    pub transfer: f64,
    pub tokens: u64,
    pub cached: u64,
    /// Neighbours in the queue of the instance, 0 at its ends.
    pub before: u64,
    pub after: u64,
}

/// The request of an id or link; 0 is none, and is told so without an error to be built.
pub fn at(requests: &mut Slab<Running>, id: u64) -> Option<&mut Running> {
    if id == 0 { None } else { requests.get_mut(id).ok() }
}
