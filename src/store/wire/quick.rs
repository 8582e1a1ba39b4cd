//! `Get` and `Exists` as a master reads and answers them: without a copy of the keys, and without a tree of messages. They
//! are most of what it is asked for. What is written here is what `master.rs` reads, and the other way round.

use prost::Message;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_varint, encoded_len_varint, skip_field,
};

use super::master::GetResult;
use super::parts::{Extent, Failed};
use super::{MAX_ITEMS, MAX_MESSAGE};
use crate::error::{Code, Error, Result};
use crate::store::master::Located;
use crate::store::object::Replica;
use crate::store::refusal::{self, Refusal};
use crate::{bail, fail};

/// Tenant and keys of a `Get` or an `Exists`, where they lie in the call's body.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    pub tenant: &'a str,
    /// Only of an `Exists`.
    pub prolong: bool,
    count: usize,
    body: &'a [u8],
}

enum Field<'a> {
    Tenant(&'a [u8]),
    Key(&'a [u8]),
    Prolong(bool),
    Other,
}

impl<'a> Keys<'a> {
    pub fn read(body: &'a [u8]) -> Result<Keys<'a>> {
        if body.len() > MAX_MESSAGE {
            bail!(Rejected, "a message of {} bytes, {MAX_MESSAGE} are allowed", body.len());
        }
        let mut keys = Keys { tenant: "", prolong: false, count: 0, body };
        let mut rest = body;
        while !rest.is_empty() {
            match next_field(&mut rest)? {
                Field::Tenant(text) => {
                    keys.tenant = std::str::from_utf8(text).map_err(unreadable)?;
                }
                Field::Key(_) => keys.count += 1,
                Field::Prolong(prolong) => keys.prolong = prolong,
                Field::Other => {}
            }
        }
        if keys.count > MAX_ITEMS {
            bail!(Rejected, "{} keys in one call, {MAX_ITEMS} are allowed", keys.count);
        }
        Ok(keys)
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.body;
        std::iter::from_fn(move || {
            while !rest.is_empty() {
                // It was read to the end already.
                if let Field::Key(key) = next_field(&mut rest).ok()? {
                    return Some(key);
                }
            }
            None
        })
    }
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Result<Field<'a>> {
    let (tag, kind) = decode_key(rest).map_err(unreadable)?;
    match (tag, kind) {
        (1, WireType::LengthDelimited) => take(rest).map(Field::Tenant),
        (2, WireType::LengthDelimited) => take(rest).map(Field::Key),
        (3, WireType::Varint) => Ok(Field::Prolong(decode_varint(rest).map_err(unreadable)? != 0)),
        (1..=3, _) => Err(unreadable("a field of another kind")),
        _ => {
            skip_field(kind, tag, rest, DecodeContext::default()).map_err(unreadable)?;
            Ok(Field::Other)
        }
    }
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    fail!(Rejected, "a message that cannot be read: {error}")
}

fn take<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = decode_varint(rest).map_err(unreadable)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
    let (bytes, after) = rest.split_at(length.ok_or_else(|| unreadable("it ends too early"))?);
    *rest = after;
    Ok(bytes)
}

// ---- answers

/// Appends one result to a `GetReply`.
pub fn put_found(out: &mut Vec<u8>, found: &refusal::Result<Located>) {
    match found {
        Ok(located) => {
            let length = located_length(located);
            head(out, 1, 1 + encoded_len_varint(length as u64) + length);
            head(out, 2, length);
            put_located(out, located);
        }
        // A miss is an everyday answer.
        Err(Refusal { code: Code::NotFound, .. }) => out.extend_from_slice(&MISS),
        Err(refusal) => {
            let result = GetResult { failed: Some(Failed::from(*refusal)), located: None };
            head(out, 1, result.encoded_len());
            result.encode_raw(out);
        }
    }
}

/// A result that failed as NOT_FOUND, -40 in zigzag, without a text.
const MISS: [u8; 6] = [1 << 3 | 2, 4, 1 << 3 | 2, 2, 1 << 3, 79];

fn head(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag << 3 | 2);
    encode_varint(length as u64, out);
}

fn field(tag: u8, value: u64) -> usize {
    debug_assert!(tag < 16);
    if value == 0 { 0 } else { 1 + encoded_len_varint(value) }
}

fn fixed(value: u64) -> usize {
    if value == 0 { 0 } else { 9 }
}

fn within(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

fn replica_length(replica: &Replica) -> usize {
    replica.stripes.iter().map(|extent| within(Extent::from(extent).encoded_len())).sum()
}

fn located_length(located: &Located) -> usize {
    let replicas: usize = located.replicas.iter().map(|replica| within(replica_length(replica))).sum();
    fixed(located.version.0) + field(2, located.size) + replicas + field(4, located.lease_ms)
}

fn put_located(out: &mut Vec<u8>, located: &Located) {
    if located.version.0 != 0 {
        out.push(1 << 3 | 1);
        out.extend_from_slice(&located.version.0.to_le_bytes());
    }
    put_number(out, 2, located.size);
    for replica in &located.replicas {
        head(out, 3, replica_length(replica));
        for extent in &replica.stripes {
            let extent = Extent::from(extent);
            head(out, 1, extent.encoded_len());
            extent.encode_raw(out);
        }
    }
    put_number(out, 4, located.lease_ms);
}

fn put_number(out: &mut Vec<u8>, tag: u8, value: u64) {
    if value != 0 {
        out.push(tag << 3);
        encode_varint(value, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::decode;
    use super::super::master::{Exists, GetReply, Located as WireLocated};
    use super::*;
    use crate::store::object::{Extent as Place, Generation, NodeId, SegmentId, Version};

    fn located() -> impl Strategy<Value = Located> {
        let number = || prop_oneof![Just(0), any::<u64>(), 0..300u64];
        let extent = (number(), number(), number(), number(), number()).prop_map(|numbers| Place {
            node: NodeId(numbers.0),
            segment: SegmentId(numbers.1),
            offset: numbers.2,
            length: numbers.3,
            generation: Generation(numbers.4),
        });
        let replica = prop::collection::vec(extent, 0..9).prop_map(|stripes| Replica { stripes });
        let replicas = prop::collection::vec(replica, 0..4);
        (number(), number(), replicas, number()).prop_map(|(version, size, replicas, lease_ms)| Located {
            version: Version(version),
            size,
            replicas,
            lease_ms,
        })
    }

    proptest! {
        #[test]
        fn answers_are_what_the_messages_say(all in prop::collection::vec(prop::option::of(located()), 0..4)) {
            let busy = Refusal::retry(Code::NotReady, "wait", 50);
            let missing = Refusal::new(Code::NotFound, "not here");
            let all: Vec<_> = all.into_iter().map(|one| one.ok_or(missing)).chain([Err(busy)]).collect();
            let mut bytes = Vec::new();
            all.iter().for_each(|found| put_found(&mut bytes, found));
            let result = |found: &refusal::Result<Located>| match found {
                Ok(located) => GetResult { failed: None, located: Some(WireLocated::from(located)) },
                Err(refusal) => GetResult { failed: Some(Failed::from(*refusal)), located: None },
            };
            prop_assert_eq!(bytes, GetReply { results: all.iter().map(result).collect() }.encode_to_vec());
        }

        #[test]
        fn keys_are_what_the_messages_say(
            tenant in ".{0,8}", keys in prop::collection::vec(any::<Vec<u8>>(), 0..9), prolong: bool,
        ) {
            let message = Exists { tenant, keys, prolong };
            let bytes = message.encode_to_vec();
            let read = Keys::read(&bytes).expect("its own bytes");
            prop_assert_eq!((read.tenant, read.prolong), (message.tenant.as_str(), message.prolong));
            prop_assert_eq!(read.len(), message.keys.len());
            prop_assert!(read.iter().eq(message.keys.iter().map(Vec::as_slice)));
        }

        #[test]
        fn what_is_refused_is_refused_by_both(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            match (decode::<Exists>(&bytes), Keys::read(&bytes)) {
                (Ok(message), Ok(read)) => {
                    prop_assert_eq!((read.tenant, read.prolong), (message.tenant.as_str(), message.prolong));
                    prop_assert!(read.iter().eq(message.keys.iter().map(Vec::as_slice)));
                }
                (message, read) => prop_assert_eq!(message.is_err(), read.is_err()),
            }
        }
    }

    #[test]
    fn more_keys_than_there_may_be_are_refused() {
        let many = |count| Exists { keys: vec![vec![1]; count], ..Exists::default() }.encode_to_vec();
        assert_eq!(Keys::read(&many(MAX_ITEMS)).expect("as many as there may be").len(), MAX_ITEMS);
        assert!(Keys::read(&many(MAX_ITEMS + 1)).is_err());
    }
}
