//! What clients ask a master, and what nodes tell it.

use prost::Message;

use super::Call;
pub use super::control::Report;
pub use super::parts::Entry as EntryOnWire;
use super::parts::{Entry, Extent, Failed, Replica};
use crate::error::{Error, Result};
use crate::store::master::{Grant as Granted, Located as Found};
use crate::store::object::{self, NodeId, ReplicateConfig, Version};

macro_rules! calls {
    ($($number:literal $request:ident -> $reply:ident $(, $stamp:ident)?;)*) => {$(
        impl Call for $request {
            const METHOD: u16 = $number;
            const WAITS_FOR_NODES: bool = matches!($number, 5 | 8 | 9);
            type Reply = $reply;
            $(fn stamped(&self, stamp: Stamp) -> Option<Self> {
                Some($request { $stamp: Some(stamp), ..self.clone() })
            })?
        }
    )*
    /// Every method of a master, for those who count them.
    pub const METHODS: &[(u16, &str)] = &[$(($number, stringify!($request))),*];
    };
}

calls! {
    1 Greet -> Welcome;
    2 Get -> GetReply;
    3 Exists -> ExistsReply;
    4 PutStart -> PutStartReply;
    5 PutCommit -> Results;
    6 PutRevoke -> Results;
    7 PutExtend -> Results;
    8 Remove -> Results, stamp;
    9 RemoveWhere -> RemoveWhereReply, stamp;
    10 List -> ListReply;
    11 Renew -> Results;
    12 Contacts -> ContactsReply;
    13 Copy -> TaskStarted;
    14 Move -> TaskStarted;
    15 Trim -> Results, stamp;
    16 Drain -> TaskStarted;
    17 Task -> TaskReply;
    18 CancelTask -> Results;
    19 SetQuota -> Results;
    20 Tenant -> TenantReply;
    21 Segments -> SegmentsReply;
    22 Reports -> ReportsReply;
}

/// First call of a client or a node.
#[derive(Clone, PartialEq, Message)]
pub struct Greet {}

#[derive(Clone, PartialEq, Message)]
pub struct Welcome {
    /// This start of the master.
    #[prost(fixed64, tag = "1")]
    pub master: u64,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    #[prost(bool, tag = "3")]
    pub is_serving: bool,
    /// A local name, under which processes of its host find it, too: no other process can have it.
    #[prost(string, tag = "5")]
    pub local: String,
    #[prost(uint64, tag = "6")]
    pub lease_ms: u64,
    #[prost(uint64, tag = "7")]
    pub term_ms: u64,
    /// The master's clock, by which calls expire.
    #[prost(uint64, tag = "8")]
    pub now_ms: u64,
}

/// Which attempt of which call this is, of calls that would undo what was done since if they came late.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Stamp {
    /// One start of a client.
    #[prost(fixed64, tag = "1")]
    pub caller: u64,
    #[prost(uint64, tag = "2")]
    pub call: u64,
    /// Rises each time that it is asked again.
    #[prost(uint32, tag = "3")]
    pub attempt: u32,
    /// Until when its sender waits, by the master's clock.
    #[prost(uint64, tag = "4")]
    pub expires_ms: u64,
}

/// One status for each thing that was asked for, in order.
#[derive(Clone, PartialEq, Message)]
pub struct Results {
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<Outcome>,
}

/// Done, with a number that depends on the call, or not.
#[derive(Clone, PartialEq, Message)]
pub struct Outcome {
    #[prost(message, optional, tag = "1")]
    pub failed: Option<Failed>,
    /// PutExtend and Renew: milliseconds from when it was asked. Trim: replicas that were given up.
    #[prost(uint64, tag = "2")]
    pub value: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Get {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub keys: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetReply {
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<GetResult>,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetResult {
    #[prost(message, optional, tag = "1")]
    pub failed: Option<Failed>,
    #[prost(message, optional, tag = "2")]
    pub located: Option<Located>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Located {
    #[prost(fixed64, tag = "1")]
    pub version: u64,
    #[prost(uint64, tag = "2")]
    pub size: u64,
    #[prost(message, repeated, tag = "3")]
    pub replicas: Vec<Replica>,
    #[prost(uint64, tag = "4")]
    pub lease_ms: u64,
}

impl From<&Found> for Located {
    fn from(found: &Found) -> Located {
        Located {
            version: found.version.0,
            size: found.size,
            replicas: found.replicas.iter().map(Replica::from).collect(),
            lease_ms: found.lease_ms,
        }
    }
}

impl From<&Located> for Found {
    fn from(located: &Located) -> Found {
        Found {
            version: Version(located.version),
            size: located.size,
            replicas: located.replicas.iter().map(object::Replica::from).collect(),
            lease_ms: located.lease_ms,
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Exists {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub keys: Vec<Vec<u8>>,
    /// Grants leases, as a get would.
    #[prost(bool, tag = "3")]
    pub prolong: bool,
}

/// In the order of the keys, packed: it is asked for thousands of keys.
#[derive(Clone, PartialEq, Message)]
pub struct ExistsReply {
    /// 0, or the code of a failure.
    #[prost(sint32, repeated, tag = "1")]
    pub statuses: Vec<i32>,
    /// Bytes of those that are there, 0 of others.
    #[prost(uint64, repeated, tag = "2")]
    pub sizes: Vec<u64>,
    /// Replicas of those that are there, 0 of others.
    #[prost(uint32, repeated, tag = "3")]
    pub replicas: Vec<u32>,
}

/// How an object is to be kept.
#[derive(Clone, PartialEq, Message)]
pub struct Replication {
    #[prost(uint32, tag = "1")]
    pub count: u32,
    #[prost(string, repeated, tag = "2")]
    pub preferred: Vec<String>,
    #[prost(uint32, tag = "3")]
    pub soft_pin_ms: u32,
    #[prost(bool, tag = "4")]
    pub hard_pin: bool,
    #[prost(string, tag = "5")]
    pub group: String,
    #[prost(bool, tag = "6")]
    pub strict_domains: bool,
    #[prost(uint64, tag = "7")]
    pub stripe_size: u64,
    #[prost(string, tag = "8")]
    pub near: String,
}

impl From<&ReplicateConfig> for Replication {
    fn from(config: &ReplicateConfig) -> Replication {
        Replication {
            count: config.count.into(),
            preferred: config.preferred.clone(),
            near: config.near.clone(),
            soft_pin_ms: config.soft_pin_ms,
            hard_pin: config.hard_pin,
            group: config.group.clone(),
            strict_domains: config.strict_domains,
            stripe_size: config.stripe_size,
        }
    }
}

impl From<Replication> for ReplicateConfig {
    fn from(wanted: Replication) -> ReplicateConfig {
        ReplicateConfig {
            // What is too much is refused where it is checked.
            count: u8::try_from(wanted.count).unwrap_or(u8::MAX),
            preferred: wanted.preferred,
            near: wanted.near,
            soft_pin_ms: wanted.soft_pin_ms,
            hard_pin: wanted.hard_pin,
            group: wanted.group,
            strict_domains: wanted.strict_domains,
            stripe_size: wanted.stripe_size,
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct PutStart {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(fixed64, tag = "2")]
    pub client: u64,
    #[prost(message, optional, tag = "3")]
    pub config: Option<Replication>,
    /// Replaces what is there.
    #[prost(bool, tag = "4")]
    pub upsert: bool,
    #[prost(message, repeated, tag = "5")]
    pub items: Vec<PutItem>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PutItem {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub size: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct PutStartReply {
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<PutStartResult>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PutStartResult {
    #[prost(message, optional, tag = "1")]
    pub failed: Option<Failed>,
    #[prost(message, optional, tag = "2")]
    pub grant: Option<Grant>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Grant {
    #[prost(fixed64, tag = "1")]
    pub version: u64,
    #[prost(uint64, tag = "2")]
    pub deadline_ms: u64,
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<NodeEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NodeEntry {
    #[prost(fixed64, tag = "1")]
    pub node: u64,
    #[prost(message, optional, tag = "2")]
    pub entry: Option<Entry>,
}

impl From<&Granted> for Grant {
    fn from(granted: &Granted) -> Grant {
        let entry =
            |(node, entry): &(NodeId, object::Entry)| NodeEntry { node: node.0, entry: Some(entry.into()) };
        Grant {
            version: granted.version.0,
            deadline_ms: granted.deadline_ms,
            entries: granted.entries.iter().map(entry).collect(),
        }
    }
}

impl TryFrom<Grant> for Granted {
    type Error = Error;

    fn try_from(grant: Grant) -> Result<Granted> {
        let entry = |one: NodeEntry| Ok((NodeId(one.node), one.entry.unwrap_or_default().try_into()?));
        Ok(Granted {
            version: Version(grant.version),
            deadline_ms: grant.deadline_ms,
            entries: grant.entries.into_iter().map(entry).collect::<Result<_>>()?,
        })
    }
}

/// Puts that a client has under way.
#[derive(Clone, PartialEq, Message)]
pub struct PutCommit {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(fixed64, tag = "2")]
    pub client: u64,
    #[prost(message, repeated, tag = "3")]
    pub puts: Vec<PutRef>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PutRef {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(fixed64, tag = "2")]
    pub version: u64,
    /// Revoke: nothing that was sent for it can arrive any more.
    #[prost(bool, tag = "3")]
    pub is_done: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct PutRevoke {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(fixed64, tag = "2")]
    pub client: u64,
    #[prost(message, repeated, tag = "3")]
    pub puts: Vec<PutRef>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PutExtend {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(fixed64, tag = "2")]
    pub client: u64,
    #[prost(message, repeated, tag = "3")]
    pub puts: Vec<PutRef>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Remove {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub keys: Vec<Vec<u8>>,
    /// BUSY instead of taking an object away from its readers.
    #[prost(bool, tag = "3")]
    pub unless_leased: bool,
    #[prost(message, optional, tag = "15")]
    pub stamp: Option<Stamp>,
}

/// Which keys are meant: those that begin so, and match.
#[derive(Clone, PartialEq, Message)]
pub struct Matching {
    #[prost(bytes = "vec", tag = "1")]
    pub prefix: Vec<u8>,
    /// A regular expression over the whole key's bytes, anywhere in it; empty matches all.
    #[prost(string, tag = "2")]
    pub regex: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct ListCursor {
    #[prost(uint32, tag = "1")]
    pub shard: u32,
    #[prost(uint32, tag = "2")]
    pub slot: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct RemoveWhere {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(message, optional, tag = "2")]
    pub matching: Option<Matching>,
    #[prost(bool, tag = "3")]
    pub unless_leased: bool,
    /// Where the last step ended; none at the beginning.
    #[prost(message, optional, tag = "4")]
    pub from: Option<ListCursor>,
    #[prost(uint32, tag = "5")]
    pub limit: u32,
    #[prost(message, optional, tag = "15")]
    pub stamp: Option<Stamp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RemoveWhereReply {
    #[prost(uint64, tag = "1")]
    pub removed: u64,
    #[prost(uint64, tag = "2")]
    pub busy: u64,
    #[prost(message, optional, tag = "3")]
    pub next: Option<ListCursor>,
}

#[derive(Clone, PartialEq, Message)]
pub struct List {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(message, optional, tag = "2")]
    pub matching: Option<Matching>,
    #[prost(message, optional, tag = "3")]
    pub from: Option<ListCursor>,
    #[prost(uint32, tag = "4")]
    pub limit: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ListReply {
    #[prost(message, repeated, tag = "1")]
    pub objects: Vec<Listed>,
    #[prost(message, optional, tag = "2")]
    pub next: Option<ListCursor>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Listed {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    #[prost(fixed64, tag = "2")]
    pub version: u64,
    #[prost(uint64, tag = "3")]
    pub size: u64,
    #[prost(uint32, tag = "4")]
    pub replicas: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Renew {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(message, repeated, tag = "2")]
    pub leases: Vec<LeaseRef>,
}

#[derive(Clone, PartialEq, Message)]
pub struct LeaseRef {
    #[prost(bytes = "vec", tag = "1")]
    pub key: Vec<u8>,
    /// Where the replica lies that is read.
    #[prost(message, repeated, tag = "2")]
    pub stripes: Vec<Extent>,
}

/// Where nodes are found.
#[derive(Clone, PartialEq, Message)]
pub struct Contacts {
    #[prost(fixed64, repeated, tag = "1")]
    pub nodes: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContactsReply {
    /// Those that are known.
    #[prost(message, repeated, tag = "1")]
    pub contacts: Vec<Contact>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Contact {
    #[prost(fixed64, tag = "1")]
    pub node: u64,
    /// Where its calls go, as `ip:port`.
    #[prost(string, tag = "2")]
    pub address: String,
    /// A local name, under which processes of its host find it, too.
    #[prost(string, tag = "4")]
    pub local: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Copy {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    pub key: Vec<u8>,
    /// Names of segments, the best one first.
    #[prost(string, repeated, tag = "3")]
    pub preferred: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Move {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    pub key: Vec<u8>,
    /// Name of the segment that it leaves.
    #[prost(string, tag = "3")]
    pub from: String,
    #[prost(string, repeated, tag = "4")]
    pub preferred: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Trim {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    pub key: Vec<u8>,
    /// Replicas that stay.
    #[prost(uint32, tag = "3")]
    pub keep: u32,
    #[prost(message, optional, tag = "15")]
    pub stamp: Option<Stamp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Drain {
    /// Name of the segment.
    #[prost(string, tag = "1")]
    pub segment: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct TaskStarted {
    #[prost(uint64, tag = "1")]
    pub task: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Task {
    #[prost(uint64, tag = "1")]
    pub task: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct TaskReply {
    /// 1 running, 2 done, 3 failed, 4 canceled.
    #[prost(uint32, tag = "1")]
    pub state: u32,
    #[prost(message, optional, tag = "2")]
    pub failed: Option<Failed>,
    #[prost(uint64, tag = "3")]
    pub moved_objects: u64,
    #[prost(uint64, tag = "4")]
    pub moved_bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct CancelTask {
    #[prost(uint64, tag = "1")]
    pub task: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct SetQuota {
    #[prost(string, tag = "1")]
    pub tenant: String,
    /// None: no limit.
    #[prost(uint64, optional, tag = "2")]
    pub bytes: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Tenant {
    #[prost(string, tag = "1")]
    pub tenant: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct TenantReply {
    #[prost(uint64, tag = "1")]
    pub used_bytes: u64,
    #[prost(uint64, optional, tag = "2")]
    pub quota_bytes: Option<u64>,
    #[prost(uint64, tag = "3")]
    pub objects: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Segments {}

#[derive(Clone, PartialEq, Message)]
pub struct SegmentsReply {
    #[prost(message, repeated, tag = "1")]
    pub segments: Vec<Segment>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Segment {
    #[prost(fixed64, tag = "1")]
    pub node: u64,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(uint64, tag = "3")]
    pub capacity: u64,
    #[prost(uint64, tag = "4")]
    pub used: u64,
    #[prost(bool, tag = "5")]
    pub is_open: bool,
    #[prost(bool, tag = "6")]
    pub is_draining: bool,
}

/// From a node.
#[derive(Clone, PartialEq, Message)]
pub struct Reports {
    /// Where the node is found, with each greeting.
    #[prost(message, optional, tag = "1")]
    pub contact: Option<Contact>,
    #[prost(message, repeated, tag = "2")]
    pub reports: Vec<Report>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ReportsReply {}
