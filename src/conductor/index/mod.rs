//! Which instance holds which block: the longest prefix of a prompt at all instances at once.
//!
//! ```text
//!     prefix.rs     events in, blocks out; expiry                matching.rs   the longest prefix
//!       table.rs      key -> block, grows a piece at a time; many keys, one after the other
//!       chunks.rs     the blocks by number: those that came together stand side by side
//!       lines.rs      numbers by tag, twelve in a line of the cache     runs.rs   memory for lines, in huge pages
//!       places.rs     who holds a block, in which tier: four holders in the block itself, more beside the table
//!       clearings.rs  unregistering and clearing in O(1): what a block says of those is void until it is cleaned
//!       holders.rs    instances and ranks by slot             promises.rs   blocks on their way, with deadlines
//! ```
//!
//! A block is named by a key that stands for its whole prefix, so the index is a flat table, and a match is a walk
//! along the keys of the prompt that ends where nobody holds the next block.
//!
//! **Concurrency.** Matching takes `&self`, all that changes takes `&mut self` and does a bounded amount of work at
//! a time: a reader-writer lock around each context's index is enough.
//!
//! **Memory.** A block takes a third of a line of 64 bytes, and its number 6.6 to 8 bytes in a table that is 65 to
//! 81 % full: 30 bytes among 10 million. Where more than four holders have it, it takes 24 and 40 for every 64 of the
//! context's slots more. Where blocks left here and there, the others are moved together once more than half is room.
//! `tests/conductor.rs` measures it.

mod chunks;
mod clearings;
mod copies;
mod holders;
mod lines;
mod matching;
mod places;
mod prefix;
mod promises;
mod runs;
mod table;
#[cfg(test)]
mod tests;

pub use copies::Tiers;
pub use holders::{Holder, HolderId, MOST_HOLDERS};
pub use matching::{HolderMatch, Matches};
pub use prefix::{Applied, Limits, PrefixIndex};

/// Where a holder keeps a block, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// The memory of the accelerator.
    Device,
    /// The memory of the instance's host.
    Host,
    /// The instance's own disk.
    Disk,
    /// The pooled store: what any holder has there is in reach of all holders of the context.
    Store,
}

impl Tier {
    pub const ALL: [Tier; 4] = [Tier::Device, Tier::Host, Tier::Disk, Tier::Store];
}

/// What an engine or the store tells about its blocks.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    Stored {
        holder: HolderId,
        tier: Tier,
        keys: &'a [u64],
    },
    Removed {
        holder: HolderId,
        tier: Tier,
        keys: &'a [u64],
    },
    /// All blocks of one tier are gone, or of all tiers, promised ones then included.
    Cleared {
        holder: HolderId,
        tier: Option<Tier>,
    },
}
