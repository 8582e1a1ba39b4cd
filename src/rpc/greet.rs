//! The greeting: do we speak of the same, in a version that both know, with the same key?

use std::time::Duration;

use prost::Message;

use super::Terms;
use super::auth::{NONCE_LENGTH, Seal, Side, Transcript, is_proven, proof};
use crate::error::{Code, Error, Result};
use crate::sys::random;
use crate::{bail, fail};

/// Versions of frames and greeting that this library speaks.
pub const VERSION_MIN: u32 = 1;
pub const VERSION_MAX: u32 = 1;
/// A greeting that takes longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Longest text of a refusal.
const MAX_TEXT: usize = 300;

/// First message of the side that connects.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    #[prost(uint32, tag = "1")]
    pub version_min: u32,
    #[prost(uint32, tag = "2")]
    pub version_max: u32,
    #[prost(string, tag = "3")]
    pub service: String,
    #[prost(bytes = "vec", tag = "4")]
    pub nonce: Vec<u8>,
}

/// The answer.
#[derive(Clone, PartialEq, Message)]
pub struct HelloAck {
    /// 0, or why not; then `text` says more.
    #[prost(sint32, tag = "1")]
    pub status: i32,
    #[prost(string, tag = "2")]
    pub text: String,
    #[prost(uint32, tag = "3")]
    pub version: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub nonce: Vec<u8>,
    /// Proof that the answerer has the key; empty without one.
    #[prost(bytes = "vec", tag = "5")]
    pub proof: Vec<u8>,
}

/// Proof that the side that connects has the key.
#[derive(Clone, PartialEq, Message)]
pub struct Auth {
    #[prost(bytes = "vec", tag = "1")]
    pub proof: Vec<u8>,
}

pub fn hello(terms: &Terms) -> Vec<u8> {
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        service: terms.service.to_owned(),
        nonce: random::bytes::<NONCE_LENGTH>().to_vec(),
    }
    .encode_to_vec()
}

/// What a greeting on the side that connects gives.
#[derive(Default)]
pub struct Met {
    pub seal: Option<Seal>,
    /// Body of the message that proves that we have the key.
    pub auth: Option<Vec<u8>>,
}

/// Judges the answer to our `hello`.
pub fn judge(terms: &Terms, hello: &[u8], body: &[u8]) -> Result<Met> {
    let ack =
        HelloAck::decode(body).map_err(|error| fail!(Rejected, "the greeting cannot be read: {error}"))?;
    if ack.status != 0 {
        let text: String = ack.text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect();
        return Err(failure(ack.status, text));
    }
    if !(VERSION_MIN..=VERSION_MAX).contains(&ack.version) {
        bail!(
            VersionMismatch,
            "the server chose version {}, we speak {VERSION_MIN} to {VERSION_MAX}",
            ack.version
        );
    }
    let transcript = Transcript { hello, server_nonce: &ack.nonce, server_id: b"" };
    match &terms.psk {
        None if !ack.proof.is_empty() => bail!(Unauthenticated, "the server has a key, and we have none"),
        None => Ok(Met::default()),
        Some(psk) if !is_proven(psk, Side::Server, &transcript, &ack.proof) => {
            bail!(Unauthenticated, "the server does not have our key")
        }
        Some(psk) => Ok(Met {
            seal: Some(Seal::new(psk, Side::Client, &transcript)),
            auth: Some(Auth { proof: proof(psk, Side::Client, &transcript) }.encode_to_vec()),
        }),
    }
}

/// The failure that a number, not 0, and a text of the other side stand for.
pub fn failure(status: i32, text: String) -> Error {
    Error::new(Code::from_raw(status).unwrap_or(Code::Rejected), text)
}

/// A greeting on the side that was called.
pub struct Greeted {
    hello: Vec<u8>,
    nonce: Vec<u8>,
}

impl Greeted {
    /// Takes a `hello`; the answer to it.
    pub fn answer(terms: &Terms, body: &[u8]) -> Result<(Greeted, Vec<u8>)> {
        let hello =
            Hello::decode(body).map_err(|error| fail!(Rejected, "the greeting cannot be read: {error}"))?;
        let version = hello.version_max.min(VERSION_MAX);
        if version < hello.version_min.max(VERSION_MIN) {
            bail!(
                VersionMismatch,
                "the client speaks {} to {}, we {VERSION_MIN} to {VERSION_MAX}",
                hello.version_min,
                hello.version_max
            );
        }
        if hello.service != terms.service {
            bail!(Rejected, "this is a server of {:?}", terms.service);
        }
        let greeted = Greeted { hello: body.to_vec(), nonce: random::bytes::<NONCE_LENGTH>().to_vec() };
        let proof =
            terms.psk.as_ref().map(|psk| proof(psk, Side::Server, &greeted.transcript())).unwrap_or_default();
        let ack = HelloAck { version, nonce: greeted.nonce.clone(), proof, ..Default::default() };
        Ok((greeted, ack.encode_to_vec()))
    }

    fn transcript(&self) -> Transcript<'_> {
        Transcript { hello: &self.hello, server_nonce: &self.nonce, server_id: b"" }
    }

    /// Checks the proof of the side that connected.
    pub fn prove(&self, psk: &[u8], body: &[u8]) -> Result<Seal> {
        let auth =
            Auth::decode(body).map_err(|error| fail!(Rejected, "the proof cannot be read: {error}"))?;
        if !is_proven(psk, Side::Client, &self.transcript(), &auth.proof) {
            bail!(Unauthenticated, "the client does not have our key");
        }
        Ok(Seal::new(psk, Side::Server, &self.transcript()))
    }
}

/// The answer to somebody who is not let in.
pub fn refusal(error: &Error) -> Vec<u8> {
    let code = if error.code == Code::Internal { Code::Rejected } else { error.code };
    HelloAck { status: code as i32, text: error.message().to_owned(), ..Default::default() }.encode_to_vec()
}
