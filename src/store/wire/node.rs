//! What clients ask a node, and what a master orders it.

use prost::Message;

use super::Call;
pub use super::control::{Order, Report, WireSpot};
pub use super::master::{Outcome, Results};
use super::parts::Entry;

macro_rules! calls {
    ($($number:literal $request:ident -> $reply:ident;)*) => {$(
        impl Call for $request {
            const METHOD: u16 = $number;
            type Reply = $reply;
        }
    )*};
}

calls! {
    1 Orders -> OrdersReply;
    2 Attach -> Attached;
    3 Prepare -> Results;
    4 Commit -> Results;
    5 Put -> Results;
    6 Done -> DoneReply;
    7 MayRead -> Results;
    8 Verify -> DoneReply;
}

/// From a master.
#[derive(Clone, PartialEq, Message)]
pub struct Orders {
    #[prost(message, repeated, tag = "1")]
    pub orders: Vec<Order>,
}

/// What could be answered at once; the rest comes as reports.
#[derive(Clone, PartialEq, Message)]
pub struct OrdersReply {
    #[prost(message, repeated, tag = "1")]
    pub reports: Vec<Report>,
}

/// Opens the memory of a node for one client, until the node takes that back: then all that comes by it is refused, and
/// the client attaches again.
#[derive(Clone, PartialEq, Message)]
pub struct Attach {
    #[prost(fixed64, tag = "1")]
    pub client: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Attached {
    /// The node as it is now.
    #[prost(fixed64, tag = "1")]
    pub node: u64,
    /// Names this way into its memory.
    #[prost(fixed64, tag = "2")]
    pub attachment: u64,
    #[prost(message, repeated, tag = "3")]
    pub segments: Vec<AttachedSegment>,
}

#[derive(Clone, PartialEq, Message)]
pub struct AttachedSegment {
    #[prost(uint64, tag = "1")]
    pub segment: u64,
    /// Where its first byte is, as the engine's remote offset.
    #[prost(uint64, tag = "2")]
    pub base: u64,
    #[prost(uint64, tag = "3")]
    pub length: u64,
    /// What `Engine::import_segment` takes.
    #[prost(bytes = "vec", tag = "4")]
    pub blob: Vec<u8>,
}

/// Opens ranges for writing by an attachment.
#[derive(Clone, PartialEq, Message)]
pub struct Prepare {
    #[prost(fixed64, tag = "1")]
    pub client: u64,
    #[prost(fixed64, tag = "2")]
    pub node: u64,
    #[prost(fixed64, tag = "3")]
    pub attachment: u64,
    #[prost(message, repeated, tag = "4")]
    pub entries: Vec<Entry>,
}

/// All bytes of these ranges were written, footers included, and no more will be.
#[derive(Clone, PartialEq, Message)]
pub struct Commit {
    #[prost(fixed64, tag = "1")]
    pub client: u64,
    #[prost(fixed64, tag = "2")]
    pub node: u64,
    #[prost(message, repeated, tag = "3")]
    pub spots: Vec<WireSpot>,
}

/// Prepares, writes and commits small objects. In the body of the call the message comes first, with its length as a u32
/// before it; then the bytes of all entries, one after the other, each with its footer.
#[derive(Clone, PartialEq, Message)]
pub struct Put {
    #[prost(fixed64, tag = "1")]
    pub client: u64,
    #[prost(fixed64, tag = "2")]
    pub node: u64,
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<Entry>,
}

/// The writer's word that nothing it sent under these grants can arrive any more.
#[derive(Clone, PartialEq, Message)]
pub struct Done {
    #[prost(fixed64, tag = "1")]
    pub client: u64,
    #[prost(fixed64, repeated, tag = "2")]
    pub generations: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DoneReply {}

/// Somebody read these ranges and found them wrong: the node looks whether they are.
#[derive(Clone, PartialEq, Message)]
pub struct Verify {
    #[prost(fixed64, tag = "1")]
    pub node: u64,
    #[prost(message, repeated, tag = "2")]
    pub spots: Vec<WireSpot>,
}

/// Whether these ranges still hold what was granted, for those who have just read them.
#[derive(Clone, PartialEq, Message)]
pub struct MayRead {
    #[prost(fixed64, tag = "1")]
    pub node: u64,
    #[prost(message, repeated, tag = "2")]
    pub spots: Vec<WireSpot>,
}
