//! Asks a Mooncake engine something, in a handshake. Blocks: for threads that move no data.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::frame::{self, ANSWER_MAX, Head, Kind};
use crate::error::{Code, Error, Result};
use crate::sys::clock;
use crate::sys::memory::IoVec;
use crate::sys::net::{self, Blocking};
use crate::{bail, fail};

/// How often a thread that waits looks whether it is still wanted.
const GLANCE: Duration = Duration::from_millis(20);
const CHUNK: usize = 64 << 10;

/// Until when an answer is waited for, and whether at all.
pub struct Patience<'a> {
    pub until_ns: u64,
    pub is_unwanted: &'a dyn Fn() -> bool,
}

impl Patience<'_> {
    /// The time to sleep before the next look; an error when there is none left.
    fn glance(&self, doing: &str) -> Result<Duration> {
        if (self.is_unwanted)() {
            bail!(Canceled, "the engine is being destroyed");
        }
        let left = clock::until(self.until_ns);
        if left.is_zero() {
            bail!(Unreachable, "{doing}: no answer in time");
        }
        Ok(left.min(GLANCE))
    }
}

/// Sends one question to the first address that can be reached, and returns the JSON of its answer. VERSION_MISMATCH when
/// the peer closes without an answer: it speaks something else.
pub fn exchange(
    addresses: &[SocketAddr],
    kind: Kind,
    json: &str,
    patience: &Patience<'_>,
) -> Result<Vec<u8>> {
    let mut failure = fail!(Unreachable, "no address");
    for address in addresses {
        match connect(address, patience) {
            Ok(socket) => return converse(&socket, kind, json, patience),
            Err(error) if error.code == Code::Canceled => return Err(error),
            Err(error) => failure = error.context(address),
        }
    }
    Err(failure)
}

fn connect(address: &SocketAddr, patience: &Patience<'_>) -> Result<TcpStream> {
    let unreachable = |error: std::io::Error| fail!(Unreachable, "{error}");
    let socket = net::connect_start(address).map_err(unreachable)?;
    while !net::wait_writable(&socket, patience.glance("connecting")?) {}
    net::connect_finish(&socket).map_err(unreachable)?;
    socket.set_nodelay(true).map_err(unreachable)?;
    Ok(socket)
}

fn converse(socket: &TcpStream, kind: Kind, json: &str, patience: &Patience<'_>) -> Result<Vec<u8>> {
    let question = frame::encode(Some(kind), json);
    let mut sent = 0;
    while sent < question.len() {
        match net::send(socket, &[IoVec::bytes(&question[sent..])], false) {
            Ok(Some(count)) => sent += count,
            Ok(None) => {
                net::wait_writable(socket, patience.glance("asking")?);
            }
            Err(error) => return Err(silent(error)),
        }
    }
    let mut bytes = Vec::new();
    let mut head: Option<Head> = None;
    loop {
        if let Some(head) = head
            && bytes.len() >= head.before + head.length
        {
            return Ok(bytes[head.before..head.before + head.length].to_vec());
        }
        let at = bytes.len();
        bytes.resize(at + CHUNK, 0);
        let got = net::receive(socket, &[IoVec::bytes_mut(&mut bytes[at..])], Blocking::No);
        bytes.truncate(at + got.as_ref().ok().copied().flatten().unwrap_or(0));
        match got {
            Ok(None) => {
                net::wait_readable(socket, patience.glance("waiting for its answer")?);
            }
            Ok(Some(0)) if at > 0 => bail!(ConnectionLost, "closed in the middle of its answer"),
            Ok(Some(0)) => bail!(VersionMismatch, "closed without an answer"),
            Ok(Some(_)) if head.is_none() => {
                // An engine of this library without `compat` refuses in its own words.
                let read = frame::head(&bytes, |_| ANSWER_MAX);
                head = read.map_err(|error| error.with_code(Code::VersionMismatch))?;
            }
            Ok(Some(_)) => {}
            Err(error) => return Err(silent(error)),
        }
    }
}

/// Reset before it said anything: it does not speak this.
fn silent(error: std::io::Error) -> Error {
    fail!(VersionMismatch, "{error}")
}
