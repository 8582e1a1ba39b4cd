//! Frames: a fixed little-endian header, then a body. Decoders take bytes from strangers.

use crate::bail;
use crate::error::Result;

use super::auth::{Seal, TAG_LENGTH};

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"MCrp";
pub const HEADER_LENGTH: usize = 28;
/// Most bytes in the body of a call or an answer.
pub const MAX_BODY: usize = 64 << 20;
/// Most bytes in a message of the greeting, when nobody is known yet.
pub const MAX_GREETING: usize = 4 << 10;

/// The body ends with a tag over header and body.
const FLAG_TAGGED: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Hello = 1,
    HelloAck = 2,
    Auth = 3,
    Call = 4,
    Answer = 5,
}

/// 4 magic | 1 kind | 1 flags | 2 method | 4 status | 4 reserved | 8 id | 4 body length
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub is_tagged: bool,
    pub method: u16,
    /// Of an answer: 0, or a code; then the body is a text.
    pub status: i32,
    pub id: u64,
    /// Bytes after the header.
    pub length: u32,
}

impl Header {
    pub fn new(kind: Kind, id: u64) -> Header {
        Header { kind, is_tagged: false, method: 0, status: 0, id, length: 0 }
    }

    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.kind as u8;
        bytes[5] = if self.is_tagged { FLAG_TAGGED } else { 0 };
        bytes[6..8].copy_from_slice(&self.method.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.status.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.to_le_bytes());
        bytes[24..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; HEADER_LENGTH]) -> Result<Header> {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        if word(0) != MAGIC {
            bail!(Rejected, "not a call: it begins with {:02x?}", word(0));
        }
        let kinds = [Kind::Hello, Kind::HelloAck, Kind::Auth, Kind::Call, Kind::Answer];
        let Some(kind) = kinds.into_iter().find(|kind| *kind as u8 == bytes[4]) else {
            bail!(Rejected, "a frame of an unknown kind {}", bytes[4]);
        };
        if bytes[5] & !FLAG_TAGGED != 0 || word(12) != [0; 4] {
            bail!(Rejected, "a frame with unknown flags");
        }
        let length = u32::from_le_bytes(word(24));
        let limit = match kind {
            Kind::Call | Kind::Answer => MAX_BODY + TAG_LENGTH,
            _ => MAX_GREETING,
        };
        if length as usize > limit {
            bail!(Rejected, "a frame of {length} bytes, {limit} are allowed");
        }
        let mut id = [0; 8];
        id.copy_from_slice(&bytes[16..24]);
        Ok(Header {
            kind,
            is_tagged: bytes[5] & FLAG_TAGGED != 0,
            method: u16::from_le_bytes([bytes[6], bytes[7]]),
            status: i32::from_le_bytes(word(8)),
            id: u64::from_le_bytes(id),
            length,
        })
    }
}

/// Appends a frame to what waits to be sent; with a seal it is tagged.
pub fn put(out: &mut Vec<u8>, mut header: Header, body: &[u8], seal: Option<&mut Seal>) {
    header.is_tagged = seal.is_some();
    header.length = (body.len() + if header.is_tagged { TAG_LENGTH } else { 0 }) as u32;
    let head = header.encode();
    out.extend_from_slice(&head);
    match seal {
        None => out.extend_from_slice(body),
        Some(seal) => {
            let mut sealed = body.to_vec();
            seal.seal(&head, &mut sealed);
            out.extend_from_slice(&sealed);
        }
    }
}

/// The body of a frame, its tag checked if the connection has a seal.
pub fn open<'a>(header: &Header, body: &'a [u8], seal: Option<&mut Seal>) -> Result<&'a [u8]> {
    match seal {
        None if header.is_tagged => bail!(Unauthenticated, "the frame is tagged, and here is no key"),
        None => Ok(body),
        Some(_) if !header.is_tagged => bail!(Unauthenticated, "a frame without a tag"),
        Some(seal) => seal.open(&header.encode(), body),
    }
}

/// Bytes that arrive, cut into frames.
#[derive(Default)]
pub struct Inbound {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// Room for what usually arrives at once.
const ROOM: usize = 64 << 10;

impl Inbound {
    /// Where the next bytes go: at least so many as the frame that has begun lacks.
    pub fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let announced =
            self.header().ok().flatten().map_or(0, |header| HEADER_LENGTH + header.length as usize);
        // A large frame is rare: its room is given back.
        let wanted = announced.max(self.end + 1).max(ROOM);
        if self.bytes.len() != wanted {
            self.bytes.resize(wanted, 0);
            self.bytes.shrink_to(ROOM);
        }
        &mut self.bytes[self.end..]
    }

    /// So many bytes were put there.
    pub fn received(&mut self, count: usize) {
        self.end += count;
    }

    fn header(&self) -> Result<Option<Header>> {
        match self.bytes[self.start..self.end].first_chunk::<HEADER_LENGTH>() {
            Some(head) => Header::decode(head).map(Some),
            None => Ok(None),
        }
    }

    /// The next whole frame.
    pub fn next_frame(&mut self) -> Result<Option<(Header, &[u8])>> {
        let Some(header) = self.header()? else { return Ok(None) };
        let body = self.start + HEADER_LENGTH;
        let end = body + header.length as usize;
        if end > self.end {
            return Ok(None);
        }
        self.start = end;
        Ok(Some((header, &self.bytes[body..end])))
    }
}

#[cfg(test)]
mod tests {
    use super::super::auth::{Side, Transcript};
    use super::*;
    use proptest::prelude::*;

    fn arrive(inbound: &mut Inbound, mut bytes: &[u8], step: usize) -> Result<Vec<(Header, Vec<u8>)>> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let room = inbound.room();
            let count = bytes.len().min(step).min(room.len());
            room[..count].copy_from_slice(&bytes[..count]);
            inbound.received(count);
            bytes = &bytes[count..];
            while let Some((header, body)) = inbound.next_frame()? {
                frames.push((header, body.to_vec()));
            }
        }
        Ok(frames)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150_000), 0..4),
            step in 1usize..200_000,
        ) {
            let mut bytes = Vec::new();
            for (index, body) in bodies.iter().enumerate() {
                let header = Header { method: 7, status: -3, ..Header::new(Kind::Answer, index as u64) };
                put(&mut bytes, header, body, None);
            }
            let frames = arrive(&mut Inbound::default(), &bytes, step.max(bytes.len() / 1000)).expect("frames");
            prop_assert_eq!(frames.len(), bodies.len());
            for (index, (header, body)) in frames.iter().enumerate() {
                prop_assert_eq!((header.id, header.method, header.status), (index as u64, 7, -3));
                prop_assert_eq!(body, &bodies[index]);
            }
        }
    }

    proptest! {
        #[test]
        fn any_header_is_taken_whole_or_refused(bytes: [u8; HEADER_LENGTH], magic: bool) {
            let mut bytes = bytes;
            if magic {
                bytes[..4].copy_from_slice(&MAGIC);
            }
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }
    }

    #[test]
    fn a_frame_that_announces_too_much_is_refused_before_memory_is_spent() {
        let call = Header { length: (MAX_BODY + TAG_LENGTH + 1) as u32, ..Header::new(Kind::Call, 1) };
        let hello = Header { length: MAX_GREETING as u32 + 1, ..Header::new(Kind::Hello, 0) };
        for header in [call, hello] {
            let mut inbound = Inbound::default();
            assert!(arrive(&mut inbound, &header.encode(), HEADER_LENGTH).is_err());
            assert!(inbound.bytes.len() <= ROOM);
        }
    }

    #[test]
    fn room_for_a_large_frame_is_given_back() {
        let mut inbound = Inbound::default();
        let mut bytes = Vec::new();
        put(&mut bytes, Header::new(Kind::Call, 1), &vec![1; 1 << 20], None);
        assert_eq!(arrive(&mut inbound, &bytes, bytes.len()).expect("a frame").len(), 1);
        assert_eq!(inbound.room().len(), ROOM);
        assert!(inbound.bytes.capacity() < 2 * ROOM);
    }

    #[test]
    fn with_a_key_a_frame_without_a_tag_is_refused_and_the_other_way_round() {
        let transcript = Transcript { hello: b"h", server_nonce: b"n", server_id: b"" };
        let mut seal = Seal::new(b"key", Side::Client, &transcript);
        let mut opened = Seal::new(b"key", Side::Server, &transcript);
        let mut bytes = Vec::new();
        put(&mut bytes, Header::new(Kind::Call, 1), b"body", Some(&mut seal));
        let frames = arrive(&mut Inbound::default(), &bytes, bytes.len()).expect("a frame");
        let (header, body) = &frames[0];
        assert!(open(header, body, None).is_err());
        assert_eq!(open(header, body, Some(&mut opened)).expect("sealed"), b"body");
        assert!(open(&Header::new(Kind::Call, 2), b"body", Some(&mut opened)).is_err());
    }
}
