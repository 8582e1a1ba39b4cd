//! What travels between the simulated processes.

use crate::store::master::{Grant, Located};
use crate::store::message::{Evidence, Order, Report, Spot};
use crate::store::object::{ClientId, Entry, Extent, NodeId, SegmentId, Version};
use crate::store::refusal::Refusal;

/// A process by its place; who is there changes with each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Master(usize),
    Node(usize),
    Client(usize),
}

/// A process: a place, and which start of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub place: Place,
    pub start: u64,
}

#[derive(Clone, Debug)]
pub enum Body {
    Report(Report),
    Order(Order),
    Ask { id: u64, ask: Ask },
    Answer { id: u64, answer: Answer },
    Touch { id: u64, touch: Touch },
    Touched { id: u64, touched: Touched },
}

/// From a client to a master.
#[derive(Clone, Debug)]
pub enum Ask {
    PutStart {
        key: u16,
        cells: u64,
        upsert: bool,
    },
    PutCommit {
        key: u16,
        version: Version,
    },
    PutRevoke {
        key: u16,
        version: Version,
        is_done: bool,
    },
    Get {
        key: u16,
    },
    Exists {
        key: u16,
    },
    Remove {
        key: u16,
    },
    Copy {
        key: u16,
    },
    Move {
        key: u16,
        from: Extent,
    },
    Trim {
        key: u16,
    },
    Renew {
        key: u16,
        stripes: Vec<Extent>,
    },
    PutExtend {
        key: u16,
        version: Version,
    },
    /// All keys of the tenant that this one is of.
    List {
        key: u16,
    },
    /// Removes the last keys of all, and no others.
    Sweep,
}

#[derive(Clone, Debug)]
pub enum Answer {
    Granted(Box<Grant>),
    Located(Box<Located>),
    Exists(bool),
    Done,
    /// All versions up to this one are gone.
    Removed(u64),
    /// The lease holds for so long.
    Renewed(u64),
    Listed(Vec<(u16, Version)>),
    /// Of these keys all versions up to those are gone.
    Swept(Vec<(u16, u64)>),
    Refused(Refusal),
}

/// From a client, or a node that fetches, to a node.
#[derive(Clone, Debug)]
pub enum Touch {
    Prepare {
        node: NodeId,
        entry: Box<Entry>,
        writer: ClientId,
    },
    Write {
        node: NodeId,
        spot: Spot,
        writer: ClientId,
        from: u64,
        length: u64,
        version: Version,
        /// The connection it came over, for writes that nobody looks at.
        lane: Option<u64>,
    },
    Commit {
        node: NodeId,
        spot: Spot,
        writer: ClientId,
    },
    Evidence(Evidence),
    Read {
        node: NodeId,
        segment: SegmentId,
        from: u64,
        length: u64,
    },
    MayRead {
        node: NodeId,
        spot: Spot,
    },
}

#[derive(Clone, Debug)]
pub enum Touched {
    Done,
    /// Prepared; and the connection that is open now.
    Lane(u64),
    /// The version that each cell was written under.
    Cells(Vec<Version>),
    Refused,
}
