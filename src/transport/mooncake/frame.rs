//! Frames of Mooncake's handshakes: a length, a type (which the oldest engines leave out), JSON. Pure.

use crate::bail;
use crate::error::Result;

/// What a handshake is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of queue pairs; nothing that TCP needs.
    Connection = 0,
    Metadata = 1,
    Notify = 2,
    Probe = 3,
}

pub const LENGTH: usize = 8;
/// Longest JSON that is read of a peer's question.
pub const QUESTION_MAX: usize = 1 << 20;
/// Of a request for metadata nothing is kept: it carries the segment of whoever asks.
pub const SKIPPED_MAX: usize = 128 << 20;
/// Longest answer that is read.
pub const ANSWER_MAX: usize = 64 << 20;

/// A frame on its way out; `kind` None for a peer that sent none itself.
pub fn encode(kind: Option<Kind>, json: &str) -> Vec<u8> {
    let length = json.len() + usize::from(kind.is_some());
    let mut bytes = Vec::with_capacity(LENGTH + length);
    bytes.extend_from_slice(&(length as u64).to_le_bytes());
    bytes.extend(kind.map(|kind| kind as u8));
    bytes.extend_from_slice(json.as_bytes());
    bytes
}

/// What the first bytes of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: Option<Kind>,
    /// Bytes before the JSON, and of it.
    pub before: usize,
    pub length: usize,
}

/// Reads the head of a frame; None while bytes are missing. `most` bounds frames of a kind.
pub fn head(bytes: &[u8], most: impl Fn(Option<Kind>) -> usize) -> Result<Option<Head>> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else { return Ok(None) };
    let length = u64::from_le_bytes(*length);
    if length == 0 || length > SKIPPED_MAX as u64 {
        bail!(Rejected, "a handshake of {length} bytes");
    }
    let Some(first) = rest.first() else { return Ok(None) };
    let kind = match first {
        0 => Some(Kind::Connection),
        1 => Some(Kind::Metadata),
        2 => Some(Kind::Notify),
        3 => Some(Kind::Probe),
        // The first byte of JSON.
        _ => None,
    };
    let typed = usize::from(kind.is_some());
    let head = Head { kind, before: LENGTH + typed, length: length as usize - typed };
    if head.length > most(kind) {
        bail!(Rejected, "a handshake of {length} bytes: at most {} are allowed", most(kind));
    }
    Ok(Some(head))
}

/// Whether a connection that begins with these bytes may be a handshake: their length is none that is allowed elsewhere.
pub fn is_plausible(first: &[u8; LENGTH]) -> bool {
    (1..=SKIPPED_MAX as u64).contains(&u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any(_: Option<Kind>) -> usize {
        QUESTION_MAX
    }

    #[test]
    fn frames_are_those_of_mooncake() {
        assert_eq!(encode(Some(Kind::Probe), "{}\n"), b"\x04\0\0\0\0\0\0\0\x03{}\n");
        assert_eq!(encode(None, "{}\n"), b"\x03\0\0\0\0\0\0\0{}\n");
        let typed = head(b"\x04\0\0\0\0\0\0\0\x03{}\n", any).expect("a frame").expect("its head");
        assert_eq!(typed, Head { kind: Some(Kind::Probe), before: 9, length: 3 });
        let bare = head(b"\x03\0\0\0\0\0\0\0{}\n", any).expect("a frame").expect("its head");
        assert_eq!(bare, Head { kind: None, before: 8, length: 3 });
    }

    #[test]
    fn strangers_are_told_apart_by_their_first_bytes() {
        assert!(!is_plausible(b"GET / HT") && !is_plausible(&[0x16, 3, 1, 2, 0, 1, 0, 1]));
        assert!(!is_plausible(&[0; 8]) && !is_plausible(&[0xff; 8]));
        assert!(is_plausible(&[9, 0, 0, 0, 0, 0, 0, 0]));
        assert!(head(&[0; 9], any).is_err() && head(&[0xff; 9], any).is_err());
        assert!(head(&encode(None, &"x".repeat(QUESTION_MAX + 1))[..9], any).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_head_or_an_error(bytes: Vec<u8>) {
            if let Ok(Some(head)) = head(&bytes, any) {
                prop_assert!(head.length <= QUESTION_MAX && head.before <= 9);
            }
        }
    }
}
