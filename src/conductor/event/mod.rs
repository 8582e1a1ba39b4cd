//! What engines and the store tell of their blocks, as bytes: batches of events in MessagePack.
//!
//! ```text
//!   payload --- msgpack.rs: values, where they lie
//!                  |
//!               fields.rs: an event of any form, field by field      object_key.rs: what names of objects say
//!                  |
//!               Batch: what changed, the blocks' keys, and whose they are as far as it was told
//! ```
//!
//! Read are vLLM's and SGLang's events, as arrays that begin with their tag and as maps with a `type`, and those of
//! Mooncake's RFC 1527 (`event_type`), which its master sends. Fields that are not known are passed over, and so are
//! events: a publisher that is newer than this is no reason to lose the events that are understood.

mod fields;
mod msgpack;
pub mod object_key;
#[cfg(test)]
mod tests;

pub use msgpack::{Item, Reader};

use std::borrow::Cow;
use std::ops::Range;

use super::index::Tier;
use crate::bail;
use crate::error::Result;

/// Most bytes of a payload: 128k tokens take less than one MiB.
pub const MOST_BYTES: usize = 64 << 20;
/// Most events of a payload.
pub const MOST_EVENTS: usize = 65_536;
/// Most keys of all events of a payload.
pub const MOST_KEYS: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Stored,
    Removed,
    /// All blocks: of one tier, if it names one.
    Cleared,
}

/// One event. What is None was not told: then whoever registered the publisher knows it, or nobody does.
#[derive(Clone, Debug)]
pub struct KvEvent<'a> {
    pub change: Change,
    keys: Range<usize>,
    /// The key before the first one.
    pub parent: Option<u64>,
    /// The tokens of all the blocks.
    pub tokens: Option<Tokens<'a>>,
    pub tier: Option<Tier>,
    pub block_size: Option<u32>,
    pub model: Option<&'a str>,
    pub lora: Option<Cow<'a, str>>,
    pub tenant: Option<&'a str>,
    pub salt: Option<&'a str>,
    pub instance: Option<&'a str>,
    pub rank: Option<u32>,
    /// Of the engine's groups of layers, which have caches of their own.
    pub group: Option<u32>,
    /// A block in the store is one object for each rank, and some have one for each layer: this is the first.
    pub is_first_part: bool,
}

/// All events of one payload that were understood.
#[derive(Clone, Debug, Default)]
pub struct Batch<'a> {
    pub events: Vec<KvEvent<'a>>,
    keys: Vec<u64>,
    /// The data-parallel rank of all events that name none themselves.
    pub rank: Option<u32>,
    /// Events that were passed over, with the reason of the last one.
    pub skipped: usize,
    pub skipped_because: Option<&'static str>,
}

impl Batch<'_> {
    /// The keys of the blocks that an event of this batch is about.
    pub fn keys(&self, event: &KvEvent<'_>) -> &[u64] {
        &self.keys[event.keys.clone()]
    }
}

/// Token numbers that are read when they are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a>(Reader<'a>);

impl Tokens<'_> {
    /// None if they are not what they should be, or more than a payload has bytes.
    pub fn read(self, tokens: &mut Vec<u32>) -> Option<()> {
        let mut reader = self.0;
        let Ok(Item::Array(count)) = reader.item() else { return None };
        tokens.clear();
        tokens.reserve(reader.left().min(count as usize));
        for _ in 0..count {
            let Ok(Item::Unsigned(token)) = reader.item() else { return None };
            tokens.push(token.try_into().ok()?);
        }
        Some(())
    }
}

/// Reads a payload: `[time, [event, ...], rank]`, the same as a map, events alone in an array, or one event.
pub fn decode(payload: &[u8]) -> Result<Batch<'_>> {
    if payload.len() > MOST_BYTES {
        bail!(Rejected, "a batch of events has {} bytes: {MOST_BYTES} is the limit", payload.len());
    }
    let mut batch = Batch::default();
    read(payload, &mut batch).map_err(|error| error.context("a batch of events cannot be read"))?;
    Ok(batch)
}

fn read<'a>(payload: &'a [u8], batch: &mut Batch<'a>) -> Result<()> {
    let mut reader = Reader::new(payload);
    match reader.item()? {
        Item::Array(0) => Ok(()),
        Item::Array(count) => {
            let mut first = reader;
            match first.item()? {
                // Events from the first on, or one event by itself.
                Item::Array(_) | Item::Map(_) => events(reader, count, batch),
                Item::Text(_) => batch.event(Reader::new(payload)),
                _ if count == 1 => bail!(Rejected, "it has a time and nothing else"),
                _ => {
                    reader.skip()?;
                    let told = reader.value()?;
                    batch.rank = if count > 2 { fields::number(reader) } else { None };
                    list(told, batch)
                }
            }
        }
        Item::Map(count) => {
            let mut told = None;
            for _ in 0..count {
                let (name, value) = (reader.item()?, reader.value()?);
                match name {
                    Item::Text(b"events") => told = Some(value),
                    Item::Text(b"dp_rank" | b"data_parallel_rank") => batch.rank = fields::number(value),
                    _ => {}
                }
            }
            match told {
                Some(told) => list(told, batch),
                None => batch.event(Reader::new(payload)),
            }
        }
        other => bail!(Rejected, "it is {other:?} and no array"),
    }
}

fn list<'a>(mut told: Reader<'a>, batch: &mut Batch<'a>) -> Result<()> {
    match told.item()? {
        Item::Array(count) => events(told, count, batch),
        Item::Nil => Ok(()),
        other => bail!(Rejected, "its events are {other:?} and no array"),
    }
}

fn events<'a>(mut reader: Reader<'a>, count: u32, batch: &mut Batch<'a>) -> Result<()> {
    if count as usize > MOST_EVENTS {
        bail!(Rejected, "it has {count} events: {MOST_EVENTS} is the limit");
    }
    batch.events.reserve(reader.left().min(count as usize));
    for _ in 0..count {
        let event = reader.value()?;
        batch.event(event)?;
    }
    Ok(())
}
