//! One event of any form: what its fields are called in each, and what they stand for.

use std::borrow::Cow;

use super::object_key::{self, ObjectKey};
use super::{Batch, Change, Item, KvEvent, MOST_KEYS, Reader, Tokens};
use crate::bail;
use crate::conductor::hash::key_of_digest;
use crate::conductor::index::Tier;
use crate::error::Result;

/// What vLLM's events hold after their tag, in this order, where they are arrays.
const STORED: &[&str] = &[
    "block_hashes",
    "parent_block_hash",
    "token_ids",
    "block_size",
    "lora_id",
    "medium",
    "lora_name",
    "extra_keys",
    "group_idx",
];
const REMOVED: &[&str] = &["block_hashes", "medium", "group_idx"];

/// What an event says, or why it is passed over.
type Understood<T> = std::result::Result<T, &'static str>;

/// The fields of an event, not yet read.
#[derive(Default)]
struct Fields<'a> {
    change: Option<Change>,
    seq_hashes: Option<Reader<'a>>,
    block_hashes: Option<Reader<'a>>,
    parent: Option<Reader<'a>>,
    tokens: Option<Reader<'a>>,
    medium: Option<Reader<'a>>,
    block_size: Option<Reader<'a>>,
    model: Option<Reader<'a>>,
    lora_name: Option<Reader<'a>>,
    lora_id: Option<Reader<'a>>,
    tenant: Option<Reader<'a>>,
    salt: Option<Reader<'a>>,
    instance: Option<Reader<'a>>,
    rank: Option<Reader<'a>>,
    group: Option<Reader<'a>>,
    object_key: Option<Reader<'a>>,
    is_later_part: bool,
}

impl<'a> Batch<'a> {
    /// Takes one event, or counts it as passed over. Fails where the bytes are no MessagePack.
    pub(super) fn event(&mut self, mut reader: Reader<'a>) -> Result<()> {
        let mut fields = Fields::default();
        match reader.item()? {
            Item::Array(count) if count > 0 => {
                fields.change = change(reader.item()?);
                let names = match fields.change {
                    Some(Change::Stored) => STORED,
                    Some(Change::Removed) => REMOVED,
                    _ => &[],
                };
                for name in names.iter().take(count as usize - 1) {
                    let value = reader.value()?;
                    fields.set(name.as_bytes(), value);
                }
            }
            Item::Map(count) => {
                for _ in 0..count {
                    let (name, value) = (reader.item()?, reader.value()?);
                    if let Item::Text(name) = name {
                        fields.set(name, value);
                    }
                }
            }
            _ => {}
        }
        let before = self.keys.len();
        match self.understand(&fields)? {
            Ok(event) => self.events.push(event),
            Err(because) => {
                self.keys.truncate(before);
                self.skipped += 1;
                self.skipped_because = Some(because);
            }
        }
        Ok(())
    }

    fn understand(&mut self, fields: &Fields<'a>) -> Result<Understood<KvEvent<'a>>> {
        let Some(change) = fields.change else { return Ok(Err("its type is not known")) };
        let tier = match medium(fields.medium) {
            Ok(tier) => tier,
            Err(because) => return Ok(Err(because)),
        };
        let named = text(fields.object_key).and_then(object_key::parse);
        let from = self.keys.len();
        if change != Change::Cleared {
            let hashes = some(fields.seq_hashes).or(some(fields.block_hashes));
            match (hashes, named) {
                (Some(hashes), _) => {
                    if !self.read_keys(hashes)? {
                        return Ok(Err("the hash of a block is neither a number nor 8 bytes or more"));
                    }
                }
                (None, Some(ObjectKey { key, .. })) => self.keys.push(key),
                (None, None) => return Ok(Err("it names no block")),
            }
        }
        Ok(Ok(KvEvent {
            change,
            keys: from..self.keys.len(),
            parent: fields.parent.and_then(|mut parent| key(parent.item().ok()?)),
            tokens: present(fields.tokens).map(Tokens),
            tier,
            block_size: fields.block_size.and_then(number),
            model: text(fields.model).or(named.map(|named| named.model)).filter(|model| !model.is_empty()),
            lora: lora(fields),
            tenant: text(fields.tenant),
            salt: text(fields.salt),
            instance: text(fields.instance).filter(|instance| !instance.is_empty()),
            rank: fields.rank.and_then(number),
            group: fields.group.and_then(number).or(named.and_then(|named| named.group)),
            is_first_part: !fields.is_later_part && named.is_none_or(|named| named.is_first_part),
        }))
    }

    /// Whether all hashes were some.
    fn read_keys(&mut self, mut hashes: Reader<'a>) -> Result<bool> {
        let alone = hashes;
        let count = match hashes.item()? {
            Item::Array(count) => count,
            _ => {
                hashes = alone;
                1
            }
        };
        if self.keys.len() + count as usize > MOST_KEYS {
            bail!(Rejected, "its events have more than {MOST_KEYS} blocks");
        }
        self.keys.reserve(hashes.left().min(count as usize));
        for _ in 0..count {
            let Some(key) = key(hashes.item()?) else { return Ok(false) };
            self.keys.push(key);
        }
        Ok(true)
    }
}

impl<'a> Fields<'a> {
    fn set(&mut self, name: &[u8], mut value: Reader<'a>) {
        let field = match name {
            b"type" | b"event_type" => {
                self.change = value.item().ok().and_then(change).or(self.change);
                return;
            }
            // Where one of these is told and is not 0, it is not the first part of its block.
            b"tp_rank" | b"head_or_tp_rank" | b"pcp_rank" | b"dcp_rank" | b"pp_rank" | b"layer_id" => {
                self.is_later_part |= number(value).is_some_and(|number| number > 0);
                return;
            }
            b"seq_hashes" => &mut self.seq_hashes,
            b"block_hashes" => &mut self.block_hashes,
            b"parent_hash" | b"parent_block_hash" => &mut self.parent,
            b"token_ids" => &mut self.tokens,
            b"medium" => &mut self.medium,
            b"block_size" => &mut self.block_size,
            b"model_name" => &mut self.model,
            b"lora_name" => &mut self.lora_name,
            b"lora_id" => &mut self.lora_id,
            b"tenant_id" => &mut self.tenant,
            b"additional_salt" | b"cache_salt" => &mut self.salt,
            b"backend_id" => &mut self.instance,
            b"dp_rank" | b"data_parallel_rank" => &mut self.rank,
            b"group_idx" | b"group_id" => &mut self.group,
            b"object_key" => &mut self.object_key,
            _ => return,
        };
        *field = Some(value);
    }
}

fn change(tag: Item<'_>) -> Option<Change> {
    match tag {
        Item::Text(b"BlockStored" | b"stored") => Some(Change::Stored),
        Item::Text(b"BlockRemoved" | b"removed") => Some(Change::Removed),
        Item::Text(b"AllBlocksCleared" | b"cleared") => Some(Change::Cleared),
        _ => None,
    }
}

/// The tier, None where none is told.
fn medium(value: Option<Reader<'_>>) -> Understood<Option<Tier>> {
    const UNKNOWN: Understood<Option<Tier>> = Err("its medium is not known");
    let Some(mut value) = value else { return Ok(None) };
    let name = match value.item() {
        Ok(Item::Nil) => return Ok(None),
        Ok(Item::Text(name)) => name.to_ascii_lowercase(),
        _ => return UNKNOWN,
    };
    Ok(Some(match &*name {
        b"" => return Ok(None),
        b"gpu" | b"npu" | b"hbm" | b"device" => Tier::Device,
        b"cpu" | b"cpu_pinned" | b"cpu_tier1" | b"cpu_tier2" | b"dram" | b"host" => Tier::Host,
        b"disk" | b"ssd" | b"nvme" => Tier::Disk,
        b"store" | b"external" | b"remote" => Tier::Store,
        _ => return UNKNOWN,
    }))
}

/// The key that one hash stands for.
fn key(hash: Item<'_>) -> Option<u64> {
    match hash {
        Item::Unsigned(key) => Some(key),
        // The same 64 bits.
        Item::Negative(key) => Some(key as u64),
        Item::Bytes(digest) => key_of_digest(digest),
        Item::Text(digits) => {
            let digits = std::str::from_utf8(digits).ok()?;
            object_key::low_half(digits.strip_prefix("0x").unwrap_or(digits))
        }
        _ => None,
    }
}

fn lora<'a>(fields: &Fields<'a>) -> Option<Cow<'a, str>> {
    if let Some(name) = text(fields.lora_name).filter(|name| !name.is_empty()) {
        return Some(name.into());
    }
    // Releases that tell no name tell a number.
    let number = fields.lora_id.and_then(number)?;
    Some(number.to_string().into())
}

fn text(value: Option<Reader<'_>>) -> Option<&str> {
    match value?.item().ok()? {
        Item::Text(text) | Item::Bytes(text) => std::str::from_utf8(text).ok(),
        _ => None,
    }
}

pub(super) fn number(mut value: Reader<'_>) -> Option<u32> {
    match value.item().ok()? {
        Item::Unsigned(number) => number.try_into().ok(),
        Item::Text(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

/// Hashes, if there are any: Mooncake's master tells none of an object whose name it does not understand.
fn some(value: Option<Reader<'_>>) -> Option<Reader<'_>> {
    present(value).filter(|value| !matches!(value.clone().item(), Ok(Item::Array(0))))
}

/// What is there and is not nil.
fn present(value: Option<Reader<'_>>) -> Option<Reader<'_>> {
    value.filter(|value| !matches!(value.clone().item(), Ok(Item::Nil)))
}
