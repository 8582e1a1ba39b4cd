//! Native frames: a fixed little-endian header, then entries, then payload. Decoders take bytes from strangers.

use crate::error::{Code, Result};
use crate::{bail, fail};

/// First bytes of every frame. Read as a length by a peer that speaks Mooncake's handshake it is above 2^56, which no
/// such frame can have: the two share a port.
pub const MAGIC: [u8; 8] = *b"MCNATIV\xf5";
/// Version of the frame layout.
pub const VERSION: u8 = 1;
pub const HEADER_LENGTH: usize = 40;

/// Most entries in a frame.
pub const MAX_ENTRIES: usize = 1024;
/// Most payload in a frame of data.
pub const MAX_PAYLOAD: u64 = 8 << 20;
/// Most bytes in the body of a control message.
pub const MAX_CONTROL: u64 = 64 << 20;
/// Most bytes in the body of a message of the greeting, when nobody is known yet.
pub const MAX_GREETING: u64 = 64 << 10;

/// The body of a control message ends with a tag over header and body.
pub const FLAG_TAGGED: u16 = 1;
/// Entries carry checksums.
pub const FLAG_CHECKSUM: u16 = 2;
/// A WRITE after which another one or a FLUSH follows at once: its acknowledgement may wait. A DATA that answers the first
/// slices of its READ; another one follows.
pub const FLAG_MORE: u16 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    Hello = 1,
    HelloAck = 2,
    Auth = 3,
    Reply = 4,
    Describe = 5,
    Notify = 6,
    Ping = 7,
    Flush = 8,
    Write = 16,
    Read = 17,
    Ack = 18,
    Data = 19,
}

impl Method {
    fn from_raw(raw: u8) -> Option<Method> {
        use Method::*;
        [Hello, HelloAck, Auth, Reply, Describe, Notify, Ping, Flush, Write, Read, Ack, Data]
            .into_iter()
            .find(|method| *method as u8 == raw)
    }

    pub fn is_data(self) -> bool {
        self as u8 >= Method::Write as u8
    }

    /// Bytes of one entry.
    pub fn entry_length(self) -> usize {
        match self {
            Method::Write | Method::Read => Entry::LENGTH,
            Method::Ack => AckEntry::LENGTH,
            Method::Data => DataEntry::LENGTH,
            _ => 0,
        }
    }
}

/// 8 magic | 1 version | 1 method | 2 flags | 4 count or status | 8 id | 8 body length | 8 expiry
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub method: Method,
    pub flags: u16,
    /// Entries of a data frame; the status of a reply, as i32.
    pub count: u32,
    pub id: u64,
    /// Bytes after the header.
    pub length: u64,
    /// Microseconds of the receiver's CLOCK_MONOTONIC after which a write is not applied; 0: never.
    pub expiry_us: u64,
}

impl Header {
    pub fn new(method: Method, id: u64, length: u64) -> Header {
        Header { method, flags: 0, count: 0, id, length, expiry_us: 0 }
    }

    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8] = VERSION;
        bytes[9] = self.method as u8;
        bytes[10..12].copy_from_slice(&self.flags.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.length.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.expiry_us.to_le_bytes());
        bytes
    }

    /// Takes the first bytes of a frame apart and checks everything that can be checked without a connection.
    pub fn decode(bytes: &[u8]) -> Result<Header> {
        let Some(bytes) = bytes.first_chunk::<HEADER_LENGTH>() else {
            bail!(Rejected, "a frame header has {HEADER_LENGTH} bytes, here are {}", bytes.len());
        };
        if bytes[..8] != MAGIC {
            bail!(Rejected, "this is no frame of ours: it starts with {:02x?}", &bytes[..8]);
        }
        if bytes[8] != VERSION {
            bail!(VersionMismatch, "the frame has version {}, this library speaks {VERSION}", bytes[8]);
        }
        let method = Method::from_raw(bytes[9])
            .ok_or_else(|| fail!(Rejected, "method {} does not exist", bytes[9]))?;
        let header = Header {
            method,
            flags: u16_at(bytes, 10),
            count: u32_at(bytes, 12),
            id: u64_at(bytes, 16),
            length: u64_at(bytes, 24),
            expiry_us: u64_at(bytes, 32),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<()> {
        let entries = u64::from(self.count) * self.method.entry_length() as u64;
        if self.method.is_data() {
            if self.count == 0 || self.count as usize > MAX_ENTRIES {
                bail!(Rejected, "a frame of {} entries: 1 to {MAX_ENTRIES} are allowed", self.count);
            }
            let payload = self.length.checked_sub(entries).ok_or_else(|| {
                fail!(Rejected, "{} entries do not fit into {} bytes", self.count, self.length)
            })?;
            let carries = matches!(self.method, Method::Write | Method::Data);
            if payload > MAX_PAYLOAD || (!carries && payload != 0) {
                bail!(Rejected, "a payload of {payload} bytes in a {:?} frame", self.method);
            }
            return Ok(());
        }
        let limit = match self.method {
            Method::Hello | Method::HelloAck | Method::Auth => MAX_GREETING,
            Method::Flush => 0,
            _ => MAX_CONTROL,
        };
        if self.length > limit {
            bail!(
                Rejected,
                "a {:?} message of {} bytes: at most {limit} are allowed",
                self.method,
                self.length
            );
        }
        Ok(())
    }

    /// Bytes before the payload: the entries, or the whole body of a control message.
    pub fn meta_length(&self) -> usize {
        if self.method.is_data() {
            self.count as usize * self.method.entry_length()
        } else {
            self.length as usize
        }
    }

    pub fn payload_length(&self) -> u64 {
        self.length - self.meta_length() as u64
    }

    pub fn status(&self) -> Option<Code> {
        match self.count as i32 {
            0 => None,
            raw => Some(Code::from_raw(raw).unwrap_or(Code::Rejected)),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// One slice of a WRITE or READ: 8 address | 8 region key | 4 length | 4 CRC32C
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub address: u64,
    pub key: u64,
    pub length: u32,
    pub crc: u32,
}

impl Entry {
    pub const LENGTH: usize = 24;

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.address.to_le_bytes());
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
    }

    fn decode(bytes: &[u8]) -> Entry {
        Entry {
            address: u64_at(bytes, 0),
            key: u64_at(bytes, 8),
            length: u32_at(bytes, 16),
            crc: u32_at(bytes, 20),
        }
    }
}

/// The entries of a frame, checked against its header: none is empty, and their lengths are those of the payload (for a
/// READ: what the answer will carry).
pub fn entries<'a>(header: &Header, meta: &'a [u8]) -> Result<impl Iterator<Item = Entry> + Clone + 'a> {
    let all = meta.chunks_exact(Entry::LENGTH).map(Entry::decode);
    let total: u64 = all.clone().map(|entry| u64::from(entry.length)).sum();
    if all.len() != header.count as usize || all.clone().any(|entry| entry.length == 0) {
        bail!(Rejected, "a {:?} frame with an empty entry", header.method);
    }
    let expected = if header.method == Method::Write { header.payload_length() } else { total };
    if total != expected || total > MAX_PAYLOAD {
        bail!(
            Rejected,
            "the entries of a {:?} frame hold {total} bytes, the frame {expected}",
            header.method
        );
    }
    Ok(all)
}

/// What became of one slice, or with `AckEntry::ALL` of a whole WRITE frame: 8 frame id | 4 status | 4 index
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckEntry {
    pub id: u64,
    pub status: i32,
    pub index: u32,
}

impl AckEntry {
    pub const LENGTH: usize = 16;
    /// The frame is done; slices that were not named before are fine.
    pub const ALL: u32 = u32::MAX;

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&self.index.to_le_bytes());
    }

    pub fn decode(bytes: &[u8]) -> AckEntry {
        AckEntry { id: u64_at(bytes, 0), status: u32_at(bytes, 8) as i32, index: u32_at(bytes, 12) }
    }
}

/// What became of one slice of a READ: 4 status | 4 CRC32C. The bytes of the fine ones follow in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataEntry {
    pub status: i32,
    pub crc: u32,
}

impl DataEntry {
    pub const LENGTH: usize = 8;

    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
    }

    pub fn decode(bytes: &[u8]) -> DataEntry {
        DataEntry { status: u32_at(bytes, 0) as i32, crc: u32_at(bytes, 4) }
    }
}

/// The code of a status that a peer sent; what we do not know is a refusal.
pub fn code_of(status: i32) -> Option<Code> {
    (status != 0).then(|| Code::from_raw(status).unwrap_or(Code::Rejected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_magic_is_no_length_of_mooncakes_handshake() {
        assert!(u64::from_le_bytes(MAGIC) > 1 << 56);
    }

    #[test]
    fn headers_survive_the_way() {
        let mut header = Header::new(Method::Write, 7, 24 + 100);
        header.count = 1;
        header.flags = FLAG_CHECKSUM;
        header.expiry_us = 99;
        assert_eq!(Header::decode(&header.encode()).expect("valid"), header);
    }

    #[test]
    fn a_payload_that_does_not_match_its_entries_is_refused() {
        let mut header = Header::new(Method::Write, 7, 24 + 100);
        header.count = 1;
        let mut meta = Vec::new();
        Entry { address: 1, key: 1, length: 99, crc: 0 }.encode(&mut meta);
        assert!(entries(&header, &meta).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64), valid in any::<bool>()) {
            let mut bytes = bytes;
            if valid && bytes.len() > 9 {
                bytes[..8].copy_from_slice(&MAGIC);
                bytes[8] = VERSION;
            }
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert!(header.length <= MAX_CONTROL);
                prop_assert!(header.meta_length() as u64 <= header.length);
            }
        }
    }
}
