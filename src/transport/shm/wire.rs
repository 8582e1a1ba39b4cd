//! What is said over the unix socket: one protobuf message per packet, and the proofs in it.

use hmac::{Hmac, Mac};
use prost::Message as _;
use sha2::Sha256;

use super::TOKEN_LENGTH;
use crate::bail;
use crate::error::{Code, Result};
use crate::fail;
use crate::segment::descriptor::EngineId;

/// What both must speak: a peer with another version is reached over the network.
pub const VERSION: u32 = 1;
/// Longest packet.
pub const MAX_PACKET: usize = 1024;
pub const NONCE_LENGTH: usize = 16;

#[derive(Clone, PartialEq, prost::Message)]
struct Packet {
    #[prost(oneof = "Message", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    message: Option<Message>,
}

/// In the order in which they are said.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Message {
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(message, tag = "2")]
    Challenge(Challenge),
    #[prost(message, tag = "3")]
    Answer(Answer),
    #[prost(message, tag = "4")]
    Welcome(Welcome),
    #[prost(message, tag = "5")]
    Refused(Refused),
    #[prost(message, tag = "6")]
    Ask(Ask),
    #[prost(message, tag = "7")]
    Grant(Grant),
    #[prost(message, tag = "8")]
    Gone(Gone),
}

/// Peer to owner.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub engine_id: Vec<u8>,
    /// The engine that the peer means.
    #[prost(bytes = "vec", tag = "3")]
    pub owner_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub nonce: Vec<u8>,
}

/// Owner to peer: proves that the owner has the token.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Challenge {
    #[prost(bytes = "vec", tag = "1")]
    pub nonce: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub proof: Vec<u8>,
}

/// Peer to owner: proves that the peer has it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    #[prost(bytes = "vec", tag = "1")]
    pub proof: Vec<u8>,
}

/// Owner to peer, with the control page. Reading `secret` at `secret_address` of the owner's process shows that
/// cross-memory attach works and reaches the right process.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Welcome {
    #[prost(uint64, tag = "1")]
    pub secret_address: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub secret: Vec<u8>,
}

/// Owner to peer, in place of any answer; the connection ends.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Refused {
    #[prost(string, tag = "1")]
    pub text: String,
}

/// Peer to owner: asks for the region with a key, which held this range.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ask {
    #[prost(uint64, tag = "1")]
    pub key: u64,
    #[prost(uint64, tag = "2")]
    pub address: u64,
    #[prost(uint64, tag = "3")]
    pub length: u64,
}

/// Owner to peer: where the region is, or why not; with its memory file, when it has one that the peer may map.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Grant {
    #[prost(uint64, tag = "1")]
    pub key: u64,
    /// 0, or a Code.
    #[prost(sint32, tag = "2")]
    pub status: i32,
    #[prost(string, tag = "3")]
    pub text: String,
    #[prost(uint32, tag = "4")]
    pub slot: u32,
    #[prost(uint64, tag = "5")]
    pub address: u64,
    #[prost(uint64, tag = "6")]
    pub length: u64,
    #[prost(uint32, tag = "7")]
    pub permissions: u32,
}

/// Owner to peer: the region was unregistered; what is mapped of it can go.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Gone {
    #[prost(uint64, tag = "1")]
    pub key: u64,
}

impl Refused {
    /// A reason, short enough for a packet.
    pub fn new(text: &str) -> Refused {
        Refused { text: shorten(text) }
    }
}

/// The first characters of a text.
pub fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

pub fn encode(message: Message) -> Vec<u8> {
    Packet { message: Some(message) }.encode_to_vec()
}

/// Takes a packet apart; a peer may have sent anything.
pub fn decode(packet: &[u8]) -> Result<Message> {
    let decoded =
        Packet::decode(packet).map_err(|error| fail!(Rejected, "a packet that cannot be read: {error}"))?;
    decoded.message.ok_or_else(|| fail!(Rejected, "a packet with an unknown message"))
}

/// The code in a grant; one that this version does not know is a refusal.
pub fn code_of(status: i32) -> Option<Code> {
    if status == 0 { None } else { Some(Code::from_raw(status).unwrap_or(Code::Rejected)) }
}

/// Who proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Owner,
    Peer,
}

/// What both sides said before a proof.
#[derive(Clone, Debug)]
pub struct Transcript {
    pub owner: EngineId,
    pub peer: EngineId,
    pub owner_nonce: [u8; NONCE_LENGTH],
    pub peer_nonce: [u8; NONCE_LENGTH],
}

impl Transcript {
    /// Every part has a fixed length: no two transcripts give the same bytes.
    fn mac(&self, token: &[u8; TOKEN_LENGTH], side: Side) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(token).expect("HMAC takes keys of any length");
        mac.update(if side == Side::Owner { b"mooncake shm owner" } else { b"mooncake shm peer " });
        for part in [&self.owner.0, &self.peer.0, &self.owner_nonce, &self.peer_nonce] {
            mac.update(part);
        }
        mac
    }

    pub fn proof(&self, token: &[u8; TOKEN_LENGTH], side: Side) -> Vec<u8> {
        self.mac(token, side).finalize().into_bytes().to_vec()
    }

    /// Compares in constant time.
    pub fn check(&self, token: &[u8; TOKEN_LENGTH], side: Side, proof: &[u8]) -> Result<()> {
        match self.mac(token, side).verify_slice(proof) {
            Ok(()) => Ok(()),
            Err(_) => {
                bail!(Unauthenticated, "the other side does not have the token of engine {}", self.owner)
            }
        }
    }
}

/// A nonce of the right length.
pub fn nonce(bytes: &[u8]) -> Result<[u8; NONCE_LENGTH]> {
    bytes.try_into().map_err(|_| fail!(Rejected, "a nonce has {NONCE_LENGTH} bytes, not {}", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn transcript() -> Transcript {
        Transcript {
            owner: EngineId([1; 16]),
            peer: EngineId([2; 16]),
            owner_nonce: [3; 16],
            peer_nonce: [4; 16],
        }
    }

    #[test]
    fn a_proof_holds_for_one_side_one_token_and_one_conversation() {
        let proof = transcript().proof(&[9; 16], Side::Owner);
        assert!(transcript().check(&[9; 16], Side::Owner, &proof).is_ok());
        assert!(transcript().check(&[9; 16], Side::Peer, &proof).is_err());
        assert!(transcript().check(&[8; 16], Side::Owner, &proof).is_err());
        let other = Transcript { peer_nonce: [5; 16], ..transcript() };
        assert!(other.check(&[9; 16], Side::Owner, &proof).is_err());
        assert!(transcript().check(&[9; 16], Side::Owner, &proof[..31]).is_err());
    }

    #[test]
    fn the_longest_messages_fit_into_a_packet() {
        let text = shorten(&"\u{1F600}".repeat(1000));
        let grant = Grant { key: u64::MAX, status: i32::MIN, text: text.clone(), ..Default::default() };
        for message in [Message::Grant(grant), Message::Refused(Refused { text })] {
            let packet = encode(message.clone());
            assert!(packet.len() <= MAX_PACKET);
            assert_eq!(decode(&packet).expect("readable"), message);
        }
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_or_a_message(packet in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&packet);
        }
    }
}
