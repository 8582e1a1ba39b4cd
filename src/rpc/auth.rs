//! The pre-shared key: both sides prove that they have it, with both nonces, and derive a key per connection.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::error::Result;
use crate::{bail, fail};

type HmacSha256 = Hmac<Sha256>;

/// Bytes of the tag on a control message.
pub const TAG_LENGTH: usize = 16;
pub const NONCE_LENGTH: usize = 16;

/// Which side speaks: a message cannot be thrown back at its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client = b'c' as isize,
    Server = b's' as isize,
}

fn mac(key: &[u8], parts: &[&[u8]]) -> HmacSha256 {
    let mut mac = <HmacSha256 as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        // Each part with its length: no two lists of parts give the same bytes.
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac
}

/// What was said in the greeting, as both sides saw it.
pub struct Transcript<'a> {
    pub hello: &'a [u8],
    pub server_nonce: &'a [u8],
    pub server_id: &'a [u8],
}

/// Proof that a side has the key.
pub fn proof(psk: &[u8], side: Side, transcript: &Transcript<'_>) -> Vec<u8> {
    mac(
        psk,
        &[b"mooncake proof", &[side as u8], transcript.hello, transcript.server_nonce, transcript.server_id],
    )
    .finalize()
    .into_bytes()
    .to_vec()
}

/// Whether a proof is right, in constant time.
pub fn is_proven(psk: &[u8], side: Side, transcript: &Transcript<'_>, proof: &[u8]) -> bool {
    mac(
        psk,
        &[b"mooncake proof", &[side as u8], transcript.hello, transcript.server_nonce, transcript.server_id],
    )
    .verify_slice(proof)
    .is_ok()
}

/// Tags control messages of one connection, one counter for each direction.
#[derive(Clone)]
pub struct Seal {
    key: Vec<u8>,
    ours: Side,
    sent: u64,
    received: u64,
}

impl Seal {
    pub fn new(psk: &[u8], ours: Side, transcript: &Transcript<'_>) -> Seal {
        let key =
            mac(psk, &[b"mooncake session", transcript.hello, transcript.server_nonce, transcript.server_id]);
        Seal { key: key.finalize().into_bytes().to_vec(), ours, sent: 0, received: 0 }
    }

    /// One for what goes out and one for what comes in: they share the key and nothing else.
    pub fn split(self) -> (Seal, Seal) {
        (self.clone(), self)
    }

    fn tag(&self, side: Side, count: u64, header: &[u8], body: &[u8]) -> HmacSha256 {
        mac(&self.key, &[&[side as u8], &count.to_le_bytes(), header, body])
    }

    /// Appends the tag of a message; `header` says already that it has one, and how long it is with it.
    pub fn seal(&mut self, header: &[u8], body: &mut Vec<u8>) {
        let tag = self.tag(self.ours, self.sent, header, body).finalize().into_bytes();
        self.sent += 1;
        body.extend_from_slice(&tag[..TAG_LENGTH]);
    }

    /// Checks the tag and takes it off.
    pub fn open<'a>(&mut self, header: &[u8], body: &'a [u8]) -> Result<&'a [u8]> {
        let Some(length) = body.len().checked_sub(TAG_LENGTH) else {
            bail!(Unauthenticated, "a control message without a tag");
        };
        let (body, tag) = body.split_at(length);
        let theirs = if self.ours == Side::Client { Side::Server } else { Side::Client };
        self.tag(theirs, self.received, header, body).verify_truncated_left(tag).map_err(|_| {
            fail!(Unauthenticated, "a control message with a wrong tag: changed, replayed or forged")
        })?;
        self.received += 1;
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSCRIPT: Transcript<'_> =
        Transcript { hello: b"hello", server_nonce: b"nonce", server_id: b"id" };

    #[test]
    fn proofs_differ_by_side_and_key() {
        let proof = proof(b"0123456789abcdef", Side::Client, &TRANSCRIPT);
        assert!(is_proven(b"0123456789abcdef", Side::Client, &TRANSCRIPT, &proof));
        assert!(!is_proven(b"0123456789abcdef", Side::Server, &TRANSCRIPT, &proof));
        assert!(!is_proven(b"0123456789abcdeF", Side::Client, &TRANSCRIPT, &proof));
    }

    #[test]
    fn a_replayed_or_changed_message_is_refused() {
        let key = b"0123456789abcdef";
        let mut client = Seal::new(key, Side::Client, &TRANSCRIPT);
        let mut server = Seal::new(key, Side::Server, &TRANSCRIPT);
        let mut body = b"data".to_vec();
        client.seal(b"head", &mut body);
        assert_eq!(server.open(b"head", &body).expect("fresh"), b"data");
        assert!(server.open(b"head", &body).is_err(), "replayed");
        let mut body = b"data".to_vec();
        client.seal(b"head", &mut body);
        assert!(server.open(b"heaD", &body).is_err(), "another header");
        body[0] ^= 1;
        assert!(server.open(b"head", &body).is_err(), "changed");
        assert!(server.open(b"head", b"short").is_err(), "no room for a tag");
    }
}
