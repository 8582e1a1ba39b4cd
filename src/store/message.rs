//! What a master and the nodes tell one another. Each may be lost, late, doubled or overtaken.

use std::sync::Arc;

use super::object::{ClientId, Entry, Epoch, Extent, Generation, MasterId, NodeId, SegmentId};
use super::view::{View, ViewId};

/// Where a page of a report ended: all entries up to this one have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub segment: SegmentId,
    pub offset: u64,
}

/// A piece of memory that a node offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub segment: SegmentId,
    /// What callers prefer it by.
    pub name: Arc<str>,
    pub length: u64,
}

/// All that a node offers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Rises with each change, from 1: what was overtaken on the way is known by it.
    pub number: u64,
    pub list: Vec<Offer>,
    /// Those of them that are to be taken back: nothing new is to come there, and what is there is to move.
    pub withdrawn: Vec<SegmentId>,
    /// The node goes for good once it has no segment left.
    pub is_leaving: bool,
}

/// Names one entry of a node for good: a range and who got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub segment: SegmentId,
    pub offset: u64,
    pub generation: Generation,
}

impl Spot {
    pub fn of(extent: &Extent) -> Spot {
        Spot { segment: extent.segment, offset: extent.offset, generation: extent.generation }
    }
}

/// From a master, to the node of this id and no other.
#[derive(Clone, Debug)]
pub struct Order {
    pub epoch: Epoch,
    pub master: MasterId,
    pub to: NodeId,
    /// Every grant below this one has been prepared already or never will be.
    pub floor: Generation,
    pub command: Command,
}

#[derive(Clone, Debug)]
pub enum Command {
    /// Promise this epoch, and report the entries after the cursor. `ask` comes back.
    Claim { ask: u64, after: Option<Cursor> },
    /// Go on following. `sent` comes back; a view that is given is to be adopted, even by those it leaves out.
    Lead { sent: u64, view: Option<Arc<View>> },
    /// These bytes are no longer part of an object. Readers may go on for `readers_ms`.
    Drop { spot: Spot, length: u64, readers_ms: u64, writer_done: bool },
    /// Prepare the entry, read its bytes from there, and commit it.
    Fetch { entry: Box<Entry>, from: Vec<Extent> },
    /// The view goes on without this node: what it holds is nobody's any more.
    Expelled { view: ViewId },
}

/// From a node to whoever it takes for the master.
#[derive(Clone, Debug)]
pub enum Report {
    /// Here I am: sent again and again until a master leads.
    Hello {
        node: NodeId,
        /// The place that only one process at a time can have, such as the address it listens on.
        name: Arc<str>,
        /// Failure domain, such as the host.
        domain: Arc<str>,
        offers: Offers,
        promised: Epoch,
        /// It was never in a view, or gave up what it held when it was expelled.
        is_fresh: bool,
    },
    /// Promised; and the entries after the cursor, up to `next`, or all that there were.
    Page {
        node: NodeId,
        epoch: Epoch,
        ask: u64,
        /// What it offered when this was written. A segment that comes later has no entries that matter.
        offers: Offers,
        is_fresh: bool,
        after: Option<Cursor>,
        entries: Vec<Entry>,
        next: Option<Cursor>,
        /// The latest that it adopted, under this id or an earlier one.
        view: Option<Arc<View>>,
    },
    Following {
        node: NodeId,
        epoch: Epoch,
        sent: u64,
        view: Option<ViewId>,
        offers: Offers,
    },
    /// Another master was promised this epoch.
    Refused {
        node: NodeId,
        promised: Epoch,
    },
    /// The entry is no longer committed; once `released`, nothing can touch its bytes.
    Dropped {
        node: NodeId,
        spot: Spot,
        released: bool,
    },
    /// A fetch ended.
    Fetched {
        node: NodeId,
        spot: Spot,
        done: bool,
    },
    /// What is committed there does not match its checksums any more.
    Worn {
        node: NodeId,
        spot: Spot,
        tenant: Arc<str>,
        key: Box<[u8]>,
    },
}

/// What shows that a writer cannot touch memory any more. Time shows nothing: a process may have been stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The writer itself says that all it sent under this grant has been acknowledged.
    Done { writer: ClientId, generation: Generation },
    /// The node has closed what the writer could reach it by, and let nothing through since: its connections were
    /// closed, its queue pairs destroyed, or its process is known to be dead.
    Fenced { writer: ClientId },
}
