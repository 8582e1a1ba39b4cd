//! The greeting: who are you, do we share a key, what do we both understand.

use prost::Message;

use super::Node;
use super::messages::{Auth, FEATURE_CHECKSUM, Hello, HelloAck};
use super::wire::{FLAG_TAGGED, HEADER_LENGTH, Header, Method};
use super::{Greeting, wire};
use crate::config::Checksum;
use crate::error::{Code, Error, Result};
use crate::rpc::auth::{NONCE_LENGTH, Seal, Side, TAG_LENGTH, Transcript, is_proven, proof};
use crate::segment::descriptor::EngineId;
use crate::sys::{clock, random};
use crate::{bail, fail};

/// Protocols that this library speaks.
pub const VERSION_MIN: u32 = 1;
pub const VERSION_MAX: u32 = 1;
/// Longest name of an engine.
const NAME_MAX: usize = 127;

/// A control message as it goes out.
pub fn message(mut header: Header, mut body: Vec<u8>, seal: Option<&mut Seal>) -> Vec<u8> {
    header.length = body.len() as u64;
    if let Some(seal) = seal {
        header.flags |= FLAG_TAGGED;
        header.length += TAG_LENGTH as u64;
        seal.seal(&header.encode(), &mut body);
    }
    let mut bytes = Vec::with_capacity(HEADER_LENGTH + body.len());
    bytes.extend_from_slice(&header.encode());
    bytes.append(&mut body);
    bytes
}

/// The body of a control message whose sender was proven to have the key.
pub fn unsealed<'a>(seal: &mut Seal, header: &Header, body: &'a [u8]) -> Result<&'a [u8]> {
    if header.flags & FLAG_TAGGED == 0 {
        bail!(Unauthenticated, "a control message without a tag");
    }
    seal.open(&header.encode(), body)
}

fn features(node: &Node) -> u64 {
    if node.checksum == Checksum::Off { 0 } else { FEATURE_CHECKSUM }
}

fn check_name(name: &str) -> Result<()> {
    if name.len() > NAME_MAX || name.chars().any(char::is_control) {
        bail!(Rejected, "the peer's name is longer than {NAME_MAX} bytes or not printable");
    }
    Ok(())
}

/// Our half of a greeting, on the side that connects.
pub struct ClientGreeting {
    hello: Vec<u8>,
    asked_us: u64,
}

/// What a finished greeting gives.
pub struct Met {
    pub greeting: Greeting,
    pub has_checksum: bool,
    pub seal: Option<Seal>,
    /// Microseconds to add to our clock to get a time that the peer's has not passed.
    pub clock_offset_us: i64,
    /// The message that proves that we have the key.
    pub auth: Option<Vec<u8>>,
}

impl ClientGreeting {
    /// The greeting and its first message.
    pub fn start(node: &Node, epoch: u64, lane: u32) -> (ClientGreeting, Vec<u8>) {
        let hello = Hello {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            engine_id: node.id.0.to_vec(),
            name: node.name.clone(),
            epoch,
            lane,
            nonce: random::bytes::<NONCE_LENGTH>().to_vec(),
            features: features(node),
        }
        .encode_to_vec();
        let bytes = message(Header::new(Method::Hello, 0, 0), hello.clone(), None);
        (ClientGreeting { hello, asked_us: clock::now_ns() / 1000 }, bytes)
    }

    /// Judges the answer.
    pub fn finish(&self, node: &Node, body: &[u8]) -> Result<Met> {
        let ack = HelloAck::decode(body)
            .map_err(|error| fail!(Rejected, "the greeting cannot be read: {error}"))?;
        if let Some(code) = wire::code_of(ack.status) {
            let text: String = ack.text.chars().filter(|c| !c.is_control()).take(300).collect();
            return Err(Error::new(code, format!("the peer refuses: {text}")));
        }
        if !(VERSION_MIN..=VERSION_MAX).contains(&ack.version) {
            bail!(
                VersionMismatch,
                "the peer chose protocol {}, we speak {VERSION_MIN} to {VERSION_MAX}",
                ack.version
            );
        }
        check_name(&ack.name)?;
        let id = EngineId::from_bytes(&ack.engine_id)?;
        let transcript =
            Transcript { hello: &self.hello, server_nonce: &ack.nonce, server_id: &ack.engine_id };
        let mut met = Met {
            greeting: Greeting { id, name: ack.name.clone() },
            has_checksum: ack.features & features(node) & FEATURE_CHECKSUM != 0,
            seal: None,
            clock_offset_us: self.clock_offset(ack.now_us),
            auth: None,
        };
        if node.checksum == Checksum::Required && !met.has_checksum {
            bail!(Rejected, "checksums are required here and off at the peer");
        }
        if let Some(psk) = &node.psk {
            if !is_proven(psk, Side::Server, &transcript, &ack.proof) {
                bail!(Unauthenticated, "the peer does not have our key");
            }
            let body = Auth { proof: proof(psk, Side::Client, &transcript) }.encode_to_vec();
            met.auth = Some(message(Header::new(Method::Auth, 0, 0), body, None));
            met.seal = Some(Seal::new(psk, Side::Client, &transcript));
        } else if !ack.proof.is_empty() {
            bail!(Unauthenticated, "the peer needs a key, this engine has none: set the same key on both");
        }
        Ok(met)
    }

    /// The peer looked at its clock between our question and now: the earlier end errs on the late side.
    fn clock_offset(&self, peer_us: u64) -> i64 {
        peer_us as i64 - self.asked_us as i64
    }
}

/// The greeting of one who connected to us, once HELLO arrived.
pub struct ServerGreeting {
    pub greeting: Greeting,
    pub epoch: u64,
    pub lane: u32,
    pub has_checksum: bool,
    hello: Vec<u8>,
    nonce: Vec<u8>,
}

impl ServerGreeting {
    /// Judges a HELLO and makes the answer.
    pub fn answer(node: &Node, body: &[u8]) -> Result<(ServerGreeting, Vec<u8>)> {
        let hello =
            Hello::decode(body).map_err(|error| fail!(Rejected, "the greeting cannot be read: {error}"))?;
        if hello.version_min > VERSION_MAX || hello.version_max < VERSION_MIN {
            bail!(
                VersionMismatch,
                "the peer speaks protocols {} to {}, this engine {VERSION_MIN} to {VERSION_MAX}",
                hello.version_min,
                hello.version_max
            );
        }
        check_name(&hello.name)?;
        if hello.nonce.len() < NONCE_LENGTH {
            bail!(Rejected, "a greeting with a nonce of {} bytes", hello.nonce.len());
        }
        let both = hello.features & features(node);
        if node.checksum == Checksum::Required && both & FEATURE_CHECKSUM == 0 {
            bail!(Rejected, "checksums are required here and off at the peer");
        }
        let nonce = random::bytes::<NONCE_LENGTH>().to_vec();
        let transcript = Transcript { hello: body, server_nonce: &nonce, server_id: &node.id.0 };
        let ack = HelloAck {
            version: VERSION_MAX.min(hello.version_max),
            engine_id: node.id.0.to_vec(),
            name: node.name.clone(),
            nonce: nonce.clone(),
            features: both,
            proof: node.psk.as_ref().map_or_else(Vec::new, |psk| proof(psk, Side::Server, &transcript)),
            now_us: clock::now_ns() / 1000,
            ..Default::default()
        };
        let greeting = ServerGreeting {
            greeting: Greeting { id: EngineId::from_bytes(&hello.engine_id)?, name: hello.name },
            epoch: hello.epoch,
            lane: hello.lane,
            has_checksum: both & FEATURE_CHECKSUM != 0,
            hello: body.to_vec(),
            nonce,
        };
        Ok((greeting, message(Header::new(Method::HelloAck, 0, 0), ack.encode_to_vec(), None)))
    }

    /// Judges the proof of the key.
    pub fn check(&self, node: &Node, body: &[u8]) -> Result<Option<Seal>> {
        let Some(psk) = &node.psk else { return Ok(None) };
        let transcript = Transcript { hello: &self.hello, server_nonce: &self.nonce, server_id: &node.id.0 };
        let auth =
            Auth::decode(body).map_err(|error| fail!(Rejected, "the proof cannot be read: {error}"))?;
        if !is_proven(psk, Side::Client, &transcript, &auth.proof) {
            bail!(Unauthenticated, "the peer {} does not have our key", self.greeting.name);
        }
        Ok(Some(Seal::new(psk, Side::Server, &transcript)))
    }
}

/// The answer to somebody who is not let in.
pub fn refusal(error: &Error) -> Vec<u8> {
    let code = if error.code == Code::Internal { Code::Rejected } else { error.code };
    let ack = HelloAck { status: code as i32, text: error.message().to_owned(), ..Default::default() };
    message(Header::new(Method::HelloAck, 0, 0), ack.encode_to_vec(), None)
}
