//! The bytes of Mooncake's TCP data protocol: a header of 24 bytes, and in its second version a status word.

use crate::bail;
use crate::error::Result;
use crate::transport::Opcode;

pub const HEADER_LENGTH: usize = 24;
pub const STATUS_LENGTH: usize = 8;

/// Bit of the opcode: the peer wants a status word.
const WITH_STATUS: u8 = 0x80;
/// Upper half of a status word, "MCTV" when read from its most significant byte.
const STATUS_MAGIC: u64 = 0x4d43_5456 << 32;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub size: u64,
    pub address: u64,
    pub opcode: Opcode,
    /// The second version: the answer begins with a status word, and a write has one at all.
    pub has_status: bool,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..8].copy_from_slice(&self.size.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.address.to_le_bytes());
        let opcode = if self.opcode == Opcode::Read { 0 } else { 1 };
        bytes[16] = opcode | if self.has_status { WITH_STATUS } else { 0 };
        bytes
    }

    /// The seven bytes at the end are whatever lay on the sender's stack.
    pub fn decode(bytes: &[u8; HEADER_LENGTH]) -> Result<Header> {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let opcode = match bytes[16] & !WITH_STATUS {
            0 => Opcode::Read,
            1 => Opcode::Write,
            other => bail!(Rejected, "opcode {other} is unknown"),
        };
        Ok(Header { size: word(0), address: word(8), opcode, has_status: bytes[16] & WITH_STATUS != 0 })
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Done,
    /// The range does not lie in one buffer of the peer.
    Refused,
}

impl Status {
    pub const fn encode(self) -> u64 {
        match self {
            Status::Done => STATUS_MAGIC,
            Status::Refused => STATUS_MAGIC | 1,
        }
    }

    pub fn decode(word: u64) -> Result<Status> {
        match word ^ STATUS_MAGIC {
            0 => Ok(Status::Done),
            1 => Ok(Status::Refused),
            _ => bail!(Rejected, "{word:#018x} is no status word"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_of_mooncake() {
        let header =
            Header { size: 0x1122, address: 0x7f00_0000_1000, opcode: Opcode::Write, has_status: true };
        let bytes = header.encode();
        assert_eq!(bytes[..8], [0x22, 0x11, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[8..16], [0, 0x10, 0, 0, 0, 0x7f, 0, 0]);
        assert_eq!(bytes[16], 0x81);
        assert_eq!(Status::Done.encode().to_le_bytes(), *b"\0\0\0\0VTCM");
        assert_eq!(Status::Refused.encode().to_le_bytes(), *b"\x01\0\0\0VTCM");
    }

    #[test]
    fn padding_is_ignored_and_unknown_opcodes_are_refused() {
        let mut bytes = Header { size: 1, address: 2, opcode: Opcode::Read, has_status: false }.encode();
        bytes[17..].fill(0xee);
        assert_eq!(Header::decode(&bytes).expect("a header").opcode, Opcode::Read);
        bytes[16] = 2;
        assert!(Header::decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn what_is_sent_is_what_is_read(size: u64, address: u64, is_read: bool, has_status: bool) {
            let opcode = if is_read { Opcode::Read } else { Opcode::Write };
            let header = Header { size, address, opcode, has_status };
            prop_assert_eq!(Header::decode(&header.encode()).expect("its own"), header);
        }

        #[test]
        fn a_status_is_one_of_two_words(word: u64) {
            if let Ok(status) = Status::decode(word) {
                prop_assert_eq!(status.encode(), word);
            }
        }
    }
}
