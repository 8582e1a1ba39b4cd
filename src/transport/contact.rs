//! How a peer is met, asked and told things, whatever it speaks; and who hears of it.

use std::time::Duration;

use super::Path;
use crate::error::{Error, Result};
pub use crate::rpc::Reply;
use crate::segment::descriptor::{EngineId, SegmentRecord};

/// Who answered at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    pub id: EngineId,
    pub name: String,
}

/// Where a process of the same host can do better than TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShmOffer {
    pub socket: Vec<u8>,
    pub token: Vec<u8>,
}

/// The way to one peer over the network. No method waits for the peer unless its name says so; all may be called from
/// several threads at once.
pub trait Contact: Path {
    /// Starts to meet the peer, unless that is done or under way; its owner hears of the outcome.
    fn meet(&self);

    /// Asks for the peer's regions anew.
    fn describe(&self);

    /// Waits until the peer was met.
    fn wait_met(&self, until_ns: u64) -> Result<()>;

    /// Waits for a description that was asked for after this call.
    fn wait_described(&self, until_ns: u64) -> Result<()>;

    /// Sends a notification; the reply comes exactly once, when the peer has it.
    fn notify(&self, tag: &str, data: &[u8], deadline_ns: u64, reply: Reply);

    /// Asks whether the peer lives; the reply comes exactly once.
    fn ping(&self, deadline_ns: u64, reply: Reply);

    /// Time since the peer was last heard.
    fn silence(&self) -> Duration;

    /// Connections for data that stand.
    fn lane_count(&self) -> u32;

    /// Ends every connection; whatever is under way fails.
    fn close(&self);
}

/// Who owns a contact.
pub trait ContactEvents: Send + Sync {
    /// The peer was met, or told its regions anew.
    fn met(&self, greeting: Greeting, record: SegmentRecord, shm: Option<ShmOffer>) -> Result<()>;

    /// The peer cannot be met; whatever waits for it must fail.
    fn failed(&self, error: &Error);
}

/// Who takes connections of others that share the port.
pub trait Strangers: Send + Sync {
    /// Whether a connection that begins with these bytes is one of theirs.
    fn is_one(&self, first: &[u8; 8]) -> bool;

    /// Takes a connection, of which no byte was read.
    fn take(&self, socket: std::net::TcpStream);

    /// Looks after time-outs; true while there is a connection.
    fn tick(&self, now_ns: u64) -> bool;

    /// Ends every connection.
    fn close(&self);
}

/// Who takes notifications that arrive.
pub trait Deliver: Send + Sync {
    fn deliver(&self, tag: String, data: Vec<u8>, sender: &Greeting) -> Result<()>;
}
