//! Frames: a fixed little-endian header, then a body. Decoders take bytes from strangers.

use std::net::TcpStream;

use super::auth::{Seal, TAG_LENGTH};
use crate::error::Result;
use crate::sys::memory::IoVec;
use crate::sys::net;
use crate::{bail, fail};

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

/// Frames that wait to be sent.
#[derive(Default)]
pub struct Outbound {
    bytes: Vec<u8>,
    sent: usize,
    /// From when on frames are tagged.
    pub seal: Option<Seal>,
}

/// Room that is kept when nothing waits.
const KEPT: usize = 1 << 20;

impl Outbound {
    pub fn put(&mut self, mut header: Header, body: &[u8]) {
        header.is_tagged = self.seal.is_some();
        header.length = (body.len() + if header.is_tagged { TAG_LENGTH } else { 0 }) as u32;
        let head = header.encode();
        self.bytes.extend_from_slice(&head);
        match &mut self.seal {
            None => self.bytes.extend_from_slice(body),
            Some(seal) => {
                let mut sealed = body.to_vec();
                seal.seal(&head, &mut sealed);
                self.bytes.extend_from_slice(&sealed);
            }
        }
    }

    /// How much was not sent.
    pub fn unsent(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Sends what the socket takes. The rest goes when the worker is told that there is room.
    pub fn flush(&mut self, socket: &TcpStream) -> Result<()> {
        while self.sent < self.bytes.len() {
            let vector = [IoVec::bytes(self.bytes())];
            match net::send(socket, &vector, false).map_err(|error| fail!(ConnectionLost, "{error}"))? {
                Some(count) => self.sent += count,
                None => {
                    // A reader that is always a little behind must not make us keep what it has.
                    if self.sent >= self.bytes.len() / 2 {
                        self.bytes.drain(..self.sent);
                        self.sent = 0;
                    }
                    return Ok(());
                }
            }
        }
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.sent = 0;
        Ok(())
    }

    /// What was not sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.sent..]
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
    is_trusted: bool,
}

/// Room for what usually arrives at once.
const ROOM: usize = 64 << 10;

impl Inbound {
    /// The other side was let in: before, frames are as short as greetings, whatever they are.
    pub fn trust(&mut self) {
        self.is_trusted = true;
    }

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
        let Some(head) = self.bytes[self.start..self.end].first_chunk::<HEADER_LENGTH>() else {
            return Ok(None);
        };
        let header = Header::decode(head)?;
        if !self.is_trusted && header.length as usize > MAX_GREETING {
            bail!(Rejected, "a frame of {} bytes before the greeting is over", header.length);
        }
        Ok(Some(header))
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

    fn trusting() -> Inbound {
        let mut inbound = Inbound::default();
        inbound.trust();
        inbound
    }

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
            let mut out = Outbound::default();
            for (index, body) in bodies.iter().enumerate() {
                let header = Header { method: 7, status: -3, ..Header::new(Kind::Answer, index as u64) };
                out.put(header, body);
            }
            let step = step.max(out.unsent() / 1000);
            let frames = arrive(&mut trusting(), out.bytes(), step).expect("frames");
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
        let early = Header { length: MAX_GREETING as u32 + 1, ..Header::new(Kind::Call, 1) };
        for (header, mut inbound) in [(call, trusting()), (hello, trusting()), (early, Inbound::default())] {
            assert!(arrive(&mut inbound, &header.encode(), HEADER_LENGTH).is_err());
            assert!(inbound.bytes.len() <= ROOM);
        }
    }

    #[test]
    fn what_a_slow_reader_has_taken_is_not_kept() {
        let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let ours = TcpStream::connect(listener.local_addr().expect("its address")).expect("connect");
        let (mut theirs, _) = listener.accept().expect("connected");
        let mut out = Outbound::default();
        let mut taken = vec![0; 1 << 20];
        for _ in 0..300 {
            // Always more than the sockets hold, so that it never runs empty.
            while out.unsent() < 16 << 20 {
                out.put(Header::new(Kind::Answer, 1), &[3; 1 << 20]);
            }
            out.flush(&ours).expect("sent");
            // Something is there, and not all.
            assert!(std::io::Read::read(&mut theirs, &mut taken).expect("what was sent") > 0);
            assert!(
                out.bytes.len() <= 40 << 20,
                "{} bytes are kept, {} unsent",
                out.bytes.len(),
                out.unsent()
            );
        }
    }

    #[test]
    fn room_for_a_large_frame_is_given_back() {
        let mut inbound = trusting();
        let mut out = Outbound::default();
        out.put(Header::new(Kind::Call, 1), &vec![1; 1 << 20]);
        assert_eq!(arrive(&mut inbound, out.bytes(), usize::MAX).expect("a frame").len(), 1);
        assert_eq!(inbound.room().len(), ROOM);
        assert!(inbound.bytes.capacity() < 2 * ROOM);
    }

    #[test]
    fn with_a_key_a_frame_without_a_tag_is_refused_and_the_other_way_round() {
        let transcript = Transcript { hello: b"h", server_nonce: b"n", server_id: b"" };
        let seal = Some(Seal::new(b"key", Side::Client, &transcript));
        let mut opened = Seal::new(b"key", Side::Server, &transcript);
        let mut out = Outbound { seal, ..Default::default() };
        out.put(Header::new(Kind::Call, 1), b"body");
        let frames = arrive(&mut Inbound::default(), out.bytes(), usize::MAX).expect("a frame");
        let (header, body) = &frames[0];
        assert!(open(header, body, None).is_err());
        assert_eq!(open(header, body, Some(&mut opened)).expect("sealed"), b"body");
        assert!(open(&Header::new(Kind::Call, 2), b"body", Some(&mut opened)).is_err());
    }
}
