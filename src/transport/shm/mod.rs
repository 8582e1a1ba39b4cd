//! Between processes of one host: memory files of mc_memory_allocate() are mapped and copied without a system call,
//! ordinary memory is copied by the kernel (cross-memory attach).
//!
//! An engine offers an abstract unix socket and a token to peers that it met over the network. Whoever connects there
//! proves that it knows the token, and gets a control page that both map. In it each region that the peer may touch
//! has a slot: the region's key while access is granted, and how many of the peer's threads are in the middle of a
//! copy. A copy counts itself in, looks at the key, copies, and counts itself out; an unregistration takes the key out,
//! then waits for the count. The owner believes nothing that a peer writes there: a peer that lies delays an
//! unregistration until its process ends, and harms nobody else.

mod attachment;
mod guest;
mod host;
mod page;
mod path;
mod regions;
pub mod wire;

pub use attachment::{Attachment, Events};
pub use host::Host;

/// Where peers of the same host find an engine, told to those that were met over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Name of an abstract unix socket: it is seen in the same network namespace only.
    pub socket: Vec<u8>,
    pub token: [u8; TOKEN_LENGTH],
}

pub const TOKEN_LENGTH: usize = 16;
