//! What an object holds: told by its key and the number of its version, so that bytes of another object, of another
//! version or of two of them are seen.

use mooncake::sys::splitmix::Random;

/// Largest object.
pub const LARGEST: usize = 3 << 20;
/// Objects of this size and more begin with the number of their version.
const TELLS: usize = 16;

fn chance(key: &str, version: u64) -> Random {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Random::new(hash ^ version.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// How large a version is: from one byte to the largest.
pub fn size(key: &str, version: u64) -> usize {
    let mut chance = chance(key, version);
    match chance.below(10) {
        0..=2 => 1 + chance.index(2 * TELLS),
        3..=5 => 1 + chance.index(64 << 10),
        6..=8 => (64 << 10) + chance.index(900 << 10),
        _ => (1 << 20) + chance.index(LARGEST - (1 << 20)) + 1,
    }
}

pub fn bytes(key: &str, version: u64) -> Vec<u8> {
    let length = size(key, version);
    let mut chance = chance(key, version);
    let mut bytes = Vec::with_capacity(length + 8);
    if length >= TELLS {
        bytes.extend_from_slice(&version.to_le_bytes());
    }
    while bytes.len() < length {
        bytes.extend_from_slice(&chance.bits().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// What was read: the number of a version, all of whose bytes are right, or so few bytes that they do not tell.
pub enum Seen {
    Version(u64),
    Short(Vec<u8>),
}

/// Looks at what was read. Errors: which byte is wrong.
pub fn look(key: &str, read: &[u8]) -> Result<Seen, String> {
    if read.len() < TELLS {
        return Ok(Seen::Short(read.to_vec()));
    }
    let version = read[..8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let right = bytes(key, version);
    if right == read {
        return Ok(Seen::Version(version));
    }
    let at = right.iter().zip(read).position(|(right, read)| right != read).unwrap_or(right.len());
    Err(format!(
        "{} bytes that claim to be version {version} ({} bytes) are wrong at {at}",
        read.len(),
        right.len()
    ))
}
