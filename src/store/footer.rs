//! What stands behind the bytes of a stripe: whose they are, and their checksums. Who reads both knows that neither
//! was torn, worn, or given to another object meanwhile.
//!
//! ```text
//!   data | up to 7 bytes of padding | generation u64 | CRC32C of each block u32... | CRC32C of this footer u32
//! ```
//! All numbers are little-endian; a block is CHECKSUM_BLOCK bytes of the data, the last one what is left.

use crate::error::Code;
use crate::sys::checksum::crc32c;

use super::object::{CHECKSUM_BLOCK, Generation};
use super::refusal::{Refusal, Result};

const GENERATION_LENGTH: usize = 8;
const CRC_LENGTH: usize = 4;

/// How many checksums stand behind so many bytes.
pub fn blocks(length: u64) -> usize {
    length.div_ceil(CHECKSUM_BLOCK) as usize
}

/// Where the footer begins, from the first byte of the data.
pub fn offset(length: u64) -> u64 {
    length.next_multiple_of(8)
}

/// Bytes of the footer alone.
pub fn footer_length(length: u64) -> usize {
    GENERATION_LENGTH + CRC_LENGTH * blocks(length) + CRC_LENGTH
}

/// Bytes that data of this length takes with its footer.
pub fn stored_length(length: u64) -> u64 {
    offset(length) + footer_length(length) as u64
}

/// The footer of data with these checksums.
pub fn encode(generation: Generation, checksums: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(GENERATION_LENGTH + CRC_LENGTH * (checksums.len() + 1));
    bytes.extend_from_slice(&generation.0.to_le_bytes());
    checksums.iter().for_each(|checksum| bytes.extend_from_slice(&checksum.to_le_bytes()));
    let own = crc32c(&bytes);
    bytes.extend_from_slice(&own.to_le_bytes());
    bytes
}

/// A footer that was read, and is what this generation's writer wrote.
#[derive(Clone, Copy, Debug)]
pub struct Footer<'a> {
    checksums: &'a [u8],
}

impl<'a> Footer<'a> {
    /// Errors: LEASE_EXPIRED (the memory is another object's by now), CORRUPTED.
    pub fn decode(bytes: &'a [u8], generation: Generation) -> Result<Footer<'a>> {
        let broken = Refusal::new(Code::Corrupted, "the checksums of a replica are damaged");
        let (body, own) = bytes.split_last_chunk::<CRC_LENGTH>().ok_or(broken)?;
        let (written, checksums) = body.split_first_chunk::<GENERATION_LENGTH>().ok_or(broken)?;
        if crc32c(body) != u32::from_le_bytes(*own) {
            return Err(broken);
        }
        if u64::from_le_bytes(*written) != generation.0 {
            return Err(Refusal::new(
                Code::LeaseExpired,
                "the memory of a replica is another object's by now",
            ));
        }
        Ok(Footer { checksums })
    }

    /// CRC32C of a block.
    pub fn checksum(&self, block: usize) -> Option<u32> {
        let bytes = self.checksums.get(block * CRC_LENGTH..)?.first_chunk::<CRC_LENGTH>()?;
        Some(u32::from_le_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn footers_say_whose_bytes_they_follow() {
        let bytes = encode(Generation(7), &[1, 2, 3]);
        assert_eq!(bytes.len(), footer_length(2 * CHECKSUM_BLOCK + 1));
        let footer = Footer::decode(&bytes, Generation(7)).expect("as written");
        assert_eq!(
            (0..4).map(|block| footer.checksum(block)).collect::<Vec<_>>(),
            [Some(1), Some(2), Some(3), None]
        );
        assert_eq!(Footer::decode(&bytes, Generation(8)).expect_err("another's").code, Code::LeaseExpired);
        for at in 0..bytes.len() {
            let mut worn = bytes.clone();
            worn[at] ^= 0x10;
            assert_eq!(Footer::decode(&worn, Generation(7)).expect_err("worn").code, Code::Corrupted);
            assert!(Footer::decode(&bytes[..at], Generation(7)).is_err());
        }
    }

    #[test]
    fn footers_are_aligned_and_lie_within_what_is_stored() {
        for length in [1, 7, 8, 4096, CHECKSUM_BLOCK - 1, CHECKSUM_BLOCK, CHECKSUM_BLOCK + 1, 100 << 20] {
            assert!(offset(length).is_multiple_of(8) && offset(length) >= length);
            assert_eq!(stored_length(length), offset(length) + footer_length(length) as u64);
        }
    }
}
