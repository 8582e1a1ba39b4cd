//! What a memory-giving node knows of its memory. It is the truth: a master may be lost with all it knows, this not.
//!
//! A node program passes on what masters order (`obey`) and what clients ask for (`prepare`, `may_write`, `commit`),
//! shows what it saw of writers (`evidence`), and does what comes back as reactions.

pub mod inventory;
mod obey;
mod quarantine;
pub mod server;

#[cfg(test)]
mod tests;

pub use inventory::Inventory;

use super::message::Report;
use super::object::{ClientId, Entry, Extent};

/// What the node's program has to do.
#[derive(Clone, Debug)]
pub enum Reaction {
    /// Send this to the master.
    Send(Report),
    /// Make sure that this writer cannot touch memory of this node any more, then say so by `evidence`. It comes again
    /// until that happened.
    Fence { writer: ClientId },
    /// Read these extents into the entry's range, then call `fetched`.
    Fetch { entry: Box<Entry>, from: Vec<Extent> },
    /// All was given up, and this node is nobody: call `rename` with a new id.
    Discarded,
}
