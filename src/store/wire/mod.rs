//! What clients, nodes and masters send one another through `rpc`: protobuf bodies, whose field numbers outlive
//! releases. Decoders take bytes from strangers: what is longer or has more parts than any honest message is refused
//! before memory is spent on it.
//!
//! ```text
//!   client --- master.rs ---> master        keys, grants, leases, tasks
//!   client --- node.rs -----> node          attach, prepare, commit, store
//!   node   --- node.rs -----> master        reports (control.rs)
//!   master --- node.rs -----> node          orders (control.rs)
//! ```

mod control;
pub mod master;
pub mod node;
mod parts;
pub mod quick;

#[cfg(test)]
mod tests;

pub use parts::Failed;

use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use crate::error::Result;
use crate::{bail, fail};

/// What masters are asked for.
pub const MASTER_SERVICE: &str = "store-master";
/// What nodes are asked for.
pub const NODE_SERVICE: &str = "store-node";

/// Most keys, objects or entries in one message.
pub const MAX_ITEMS: usize = 16_384;
/// Most bytes of a message that carries no object.
pub const MAX_MESSAGE: usize = 16 << 20;
/// Largest object that a client sends within a call.
pub const MAX_INLINE: usize = 1 << 20;

/// A message that is called with, and what answers it.
pub trait Call: Message + Default {
    const METHOD: u16;
    /// It may be answered only when nodes have done their part.
    const WAITS_FOR_NODES: bool = false;
    type Reply: Message + Default;

    /// The same call as one attempt of several; None for calls that may come late.
    fn stamped(&self, _stamp: master::Stamp) -> Option<Self> {
        None
    }
}

/// Reads the body of a call or an answer.
pub fn decode<M: Message + Default>(body: &[u8]) -> Result<M> {
    if body.len() > MAX_MESSAGE {
        bail!(Rejected, "a message of {} bytes, {MAX_MESSAGE} are allowed", body.len());
    }
    count_fields(body)?;
    M::decode(body).map_err(|error| fail!(Rejected, "a message that cannot be read: {error}"))
}

/// Each field of the outermost level may become something far larger than its bytes.
fn count_fields(mut body: &[u8]) -> Result<()> {
    let unreadable = |error: prost::DecodeError| fail!(Rejected, "a message that cannot be read: {error}");
    let mut count = 0;
    while body.has_remaining() {
        let (tag, kind) = decode_key(&mut body).map_err(unreadable)?;
        skip_field(kind, tag, &mut body, DecodeContext::default()).map_err(unreadable)?;
        count += 1;
        if count > MAX_ITEMS + 16 {
            bail!(Rejected, "a message with more than {MAX_ITEMS} parts");
        }
    }
    Ok(())
}
