//! What several messages are made of, and what it stands for.

use prost::Message;

use crate::error::{Code, Error, Result};
use crate::fail;
use crate::store::object::{self, ClientId, EntryState, Generation, NodeId, SegmentId, Version};
use crate::store::refusal::Refusal;

/// Why one part of a call was not done. Its text is left out where the code says it all.
#[derive(Clone, PartialEq, Message)]
pub struct Failed {
    #[prost(sint32, tag = "1")]
    pub status: i32,
    #[prost(uint32, optional, tag = "2")]
    pub retry_after_ms: Option<u32>,
    #[prost(string, tag = "3")]
    pub text: String,
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Failed {
        let text = if refusal.code == Code::NotFound { String::new() } else { refusal.reason.to_owned() };
        Failed { status: refusal.code as i32, retry_after_ms: refusal.retry_after_ms, text }
    }
}

impl From<&Error> for Failed {
    fn from(error: &Error) -> Failed {
        Failed { status: error.code as i32, retry_after_ms: None, text: error.message().to_owned() }
    }
}

impl Failed {
    pub fn code(&self) -> Code {
        Code::from_raw(self.status).unwrap_or(Code::Rejected)
    }

    pub fn into_error(self) -> Error {
        let code = self.code();
        Error::new(code, if self.text.is_empty() { code.text().to_owned() } else { self.text })
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Extent {
    #[prost(fixed64, tag = "1")]
    pub node: u64,
    #[prost(uint64, tag = "2")]
    pub segment: u64,
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    #[prost(uint64, tag = "4")]
    pub length: u64,
    #[prost(fixed64, tag = "5")]
    pub generation: u64,
}

impl From<&object::Extent> for Extent {
    fn from(extent: &object::Extent) -> Extent {
        Extent {
            node: extent.node.0,
            segment: extent.segment.0,
            offset: extent.offset,
            length: extent.length,
            generation: extent.generation.0,
        }
    }
}

impl From<&Extent> for object::Extent {
    fn from(extent: &Extent) -> object::Extent {
        object::Extent {
            node: NodeId(extent.node),
            segment: SegmentId(extent.segment),
            offset: extent.offset,
            length: extent.length,
            generation: Generation(extent.generation),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Replica {
    #[prost(message, repeated, tag = "1")]
    pub stripes: Vec<Extent>,
}

impl From<&object::Replica> for Replica {
    fn from(replica: &object::Replica) -> Replica {
        Replica { stripes: replica.stripes.iter().map(Extent::from).collect() }
    }
}

impl From<&Replica> for object::Replica {
    fn from(replica: &Replica) -> object::Replica {
        object::Replica { stripes: replica.stripes.iter().map(object::Extent::from).collect() }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    #[prost(uint64, tag = "1")]
    pub segment: u64,
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    #[prost(uint64, tag = "3")]
    pub length: u64,
    #[prost(fixed64, tag = "4")]
    pub generation: u64,
    #[prost(string, tag = "5")]
    pub tenant: String,
    #[prost(bytes = "vec", tag = "6")]
    pub key: Vec<u8>,
    #[prost(fixed64, tag = "7")]
    pub version: u64,
    #[prost(uint64, tag = "8")]
    pub size: u64,
    #[prost(uint32, tag = "9")]
    pub stripe: u32,
    #[prost(uint32, tag = "10")]
    pub stripes: u32,
    #[prost(uint32, tag = "11")]
    pub replicas: u32,
    #[prost(bool, tag = "12")]
    pub hard_pin: bool,
    #[prost(uint32, tag = "13")]
    pub soft_pin_ms: u32,
    #[prost(string, tag = "14")]
    pub group: String,
    /// 1 writing, 2 committed, 3 quarantined.
    #[prost(uint32, tag = "15")]
    pub state: u32,
    /// Of one that is being written.
    #[prost(fixed64, tag = "16")]
    pub writer: u64,
}

const WRITING: u32 = 1;
const COMMITTED: u32 = 2;
const QUARANTINED: u32 = 3;

impl From<&object::Entry> for Entry {
    fn from(entry: &object::Entry) -> Entry {
        let (state, writer) = match entry.state {
            EntryState::Writing { writer } => (WRITING, writer.0),
            EntryState::Committed => (COMMITTED, 0),
            EntryState::Quarantined => (QUARANTINED, 0),
        };
        Entry {
            segment: entry.segment.0,
            offset: entry.offset,
            length: entry.length,
            generation: entry.generation.0,
            tenant: entry.tenant.as_ref().to_owned(),
            key: entry.key.to_vec(),
            version: entry.version.0,
            size: entry.size,
            stripe: entry.stripe.into(),
            stripes: entry.stripes.into(),
            replicas: entry.replicas.into(),
            hard_pin: entry.hard_pin,
            soft_pin_ms: entry.soft_pin_ms,
            group: entry.group.as_ref().to_owned(),
            state,
            writer,
        }
    }
}

impl TryFrom<Entry> for object::Entry {
    type Error = Error;

    fn try_from(entry: Entry) -> Result<object::Entry> {
        let state = match entry.state {
            WRITING => EntryState::Writing { writer: ClientId(entry.writer) },
            COMMITTED => EntryState::Committed,
            QUARANTINED => EntryState::Quarantined,
            other => return Err(fail!(Rejected, "an entry in the unknown state {other}")),
        };
        let name = object::Name { tenant: &entry.tenant, key: &entry.key };
        // What never belonged to an object has no key.
        if entry.state != QUARANTINED {
            name.check().map_err(Refusal::into_error)?;
        }
        if entry.group.len() > object::MAX_NAME || entry.key.len() > object::MAX_KEY {
            return Err(fail!(Rejected, "an entry with a name that is too long"));
        }
        let too_many = |_| fail!(Rejected, "an entry with more stripes or replicas than there can be");
        Ok(object::Entry {
            segment: SegmentId(entry.segment),
            offset: entry.offset,
            length: entry.length,
            generation: Generation(entry.generation),
            tenant: entry.tenant.into(),
            key: entry.key.into(),
            version: Version(entry.version),
            size: entry.size,
            stripe: u16::try_from(entry.stripe).map_err(too_many)?,
            stripes: u16::try_from(entry.stripes).map_err(too_many)?,
            replicas: u8::try_from(entry.replicas).map_err(too_many)?,
            hard_pin: entry.hard_pin,
            soft_pin_ms: entry.soft_pin_ms,
            group: entry.group.into(),
            state,
        })
    }
}
