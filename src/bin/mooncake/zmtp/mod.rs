//! ZMTP 3.0, what ZeroMQ's sockets speak, as far as events need it: one connection, no security; `serve.rs` listens.
//!
//! Its own for the sake of bounds: a peer may announce a frame of any length, and gets no memory for bytes that it
//! did not send. And a connection that ends is seen to end, which a socket that mends it silently does not show.

pub mod serve;

use std::io::{Error, ErrorKind, Result};
use std::mem;
use std::time::Duration;

use mooncake::sys::net::keep_alive;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Largest frame.
const FRAME_MAX: u64 = mooncake::conductor::event::MOST_BYTES as u64;
/// The same for what publishers and routers are sent: topics and numbers.
const REQUEST_MAX: u64 = 4096;
/// Most frames of a message: an event has three, an answer to a replay one more. Together they are no larger than one.
const PARTS_MAX: usize = 16;
/// How much is read at a time.
const CHUNK: usize = 64 << 10;
/// How long a peer may take from the first packet to the end of its greeting.
const GREET_WITHIN: Duration = Duration::from_secs(5);
/// How long it may take to be sent something.
const SEND_WITHIN: Duration = Duration::from_secs(5);

const GREETING: usize = 64;
const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What this end is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Gets all that a publisher sends.
    Subscriber,
    /// Asks a router, and is answered.
    Dealer,
    /// Is subscribed to.
    Publisher,
    /// Is asked.
    Router,
}

impl Kind {
    fn name(self) -> &'static [u8] {
        match self {
            Kind::Subscriber => b"SUB",
            Kind::Dealer => b"DEALER",
            Kind::Publisher => b"PUB",
            Kind::Router => b"ROUTER",
        }
    }

    /// The largest message that it may be sent.
    fn limit(self) -> u64 {
        match self {
            Kind::Subscriber | Kind::Dealer => FRAME_MAX,
            Kind::Publisher | Kind::Router => REQUEST_MAX,
        }
    }
}

pub struct Connection {
    stream: TcpStream,
    scratch: Box<[u8]>,
    /// What came and was not taken yet.
    buffer: Vec<u8>,
    taken: usize,
    /// The frames of the message that is on its way.
    parts: Vec<Vec<u8>>,
    limit: u64,
}

/// The host and port of `tcp://HOST:PORT`.
pub fn address_of(endpoint: &str) -> std::result::Result<&str, String> {
    let Some(address) = endpoint.strip_prefix("tcp://") else {
        return Err(format!("{endpoint}: an endpoint is tcp://HOST:PORT"));
    };
    match address.rsplit_once(':') {
        Some(("*" | "0.0.0.0" | "[::]", _)) => Err(format!(
            "{endpoint}: that is where the publisher listens; give the address at which it is reached"
        )),
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Ok(address)
        }
        _ => Err(format!("{endpoint}: an endpoint is tcp://HOST:PORT")),
    }
}

impl Connection {
    /// Connects and greets; a subscriber subscribes to all topics.
    pub async fn open(address: &str, kind: Kind) -> Result<Connection> {
        let opening = async {
            let mut last = Error::new(ErrorKind::NotFound, "the name has no address");
            for address in lookup_host(address).await? {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Connection::greet(stream, kind).await,
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        timeout(GREET_WITHIN, opening).await.unwrap_or_else(|_| Err(late("greeting")))
    }

    async fn greet(stream: TcpStream, kind: Kind) -> Result<Connection> {
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        keep_alive(&stream)?;
        let stream = TcpStream::from_std(stream)?;
        let (scratch, buffer, parts) = (vec![0; CHUNK].into(), Vec::new(), Vec::new());
        let mut connection = Connection { stream, scratch, buffer, taken: 0, parts, limit: kind.limit() };
        let mut greeting = [0; GREETING];
        greeting[0] = 0xff;
        greeting[9] = 0x7f;
        greeting[10] = 3;
        greeting[12..16].copy_from_slice(b"NULL");
        connection.write(&greeting).await?;
        while connection.buffer.len() < GREETING {
            connection.fill().await?;
            // A peer that speaks something else may not say much.
            if connection.buffer[0] != 0xff || connection.buffer.get(9).is_some_and(|byte| byte & 1 == 0) {
                return Err(wrong("the peer does not speak ZeroMQ's protocol"));
            }
        }
        let theirs = &connection.buffer[..GREETING];
        if theirs[10] < 3 {
            return Err(wrong("the peer speaks a version of ZeroMQ's protocol before 3"));
        }
        if &theirs[12..32] != b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" {
            let mechanism = String::from_utf8_lossy(&theirs[12..32]);
            let mechanism = mechanism.trim_end_matches('\0');
            return Err(wrong(&format!("the peer wants {mechanism:?}, and only NULL is spoken here")));
        }
        connection.taken = GREETING;
        let name = kind.name();
        let mut ready = b"\x05READY".to_vec();
        for (property, value) in [(&b"Socket-Type"[..], name), (b"Identity", b"")] {
            ready.push(property.len() as u8);
            ready.extend_from_slice(property);
            ready.extend_from_slice(&(value.len() as u32).to_be_bytes());
            ready.extend_from_slice(value);
        }
        connection.write(&framed(COMMAND, &ready)).await?;
        connection.ready().await?;
        if kind == Kind::Subscriber {
            connection.write(&framed(0, b"\x01")).await?;
        }
        Ok(connection)
    }

    /// Waits until the peer is ready, too.
    async fn ready(&mut self) -> Result<()> {
        loop {
            match self.frame()? {
                Some((flags, frame)) if flags & COMMAND != 0 => match frame.get(..6) {
                    Some(b"\x05READY") => return Ok(()),
                    Some(b"\x05ERROR") => {
                        let reason = String::from_utf8_lossy(frame.get(7..).unwrap_or_default()).into_owned();
                        return Err(wrong(&format!("the peer refuses: {reason}")));
                    }
                    _ => return Err(wrong("the peer says something else than that it is ready")),
                },
                Some(_) => return Err(wrong("the peer sends messages before it is ready")),
                None => self.fill().await?,
            }
        }
    }

    /// The next message, frame by frame. One that is given up halfway goes on with the next call.
    pub async fn receive(&mut self) -> Result<Vec<Vec<u8>>> {
        loop {
            match self.frame()? {
                Some((flags, frame)) if flags & COMMAND != 0 => {
                    // Its time to live, then what it wants to have back.
                    if let Some(context) = frame.strip_prefix(b"\x04PING").and_then(|rest| rest.get(2..)) {
                        self.write(&framed(COMMAND, &[b"\x04PONG", context].concat())).await?;
                    }
                }
                Some((flags, frame)) => {
                    self.parts.push(frame);
                    if flags & MORE == 0 {
                        return Ok(mem::take(&mut self.parts));
                    }
                    if self.parts.len() == PARTS_MAX {
                        return Err(wrong(&format!("a message of more than {PARTS_MAX} frames")));
                    }
                    if self.parts.iter().map(Vec::len).sum::<usize>() as u64 > self.limit {
                        return Err(wrong(&format!("a message of more than {} bytes", self.limit)));
                    }
                }
                None => self.fill().await?,
            }
        }
    }

    pub async fn send(&mut self, parts: &[impl AsRef<[u8]>]) -> Result<()> {
        let last = parts.len().saturating_sub(1);
        let flags = |index| if index < last { MORE } else { 0 };
        let bytes: Vec<u8> =
            parts.iter().enumerate().flat_map(|(index, part)| framed(flags(index), part.as_ref())).collect();
        self.write(&bytes).await
    }

    /// A frame that came whole.
    fn frame(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        let waiting = &self.buffer[self.taken..];
        let Some((flags, rest)) = waiting.split_first() else { return Ok(None) };
        let (length, head) = if flags & LONG == 0 {
            let Some(length) = rest.first() else { return Ok(None) };
            (u64::from(*length), 2)
        } else {
            let Some(length) = rest.first_chunk() else { return Ok(None) };
            (u64::from_be_bytes(*length), 9)
        };
        if length > self.limit {
            return Err(wrong(&format!("a frame of {length} bytes: {} is the limit", self.limit)));
        }
        let Some(frame) = waiting.get(head..head + length as usize) else { return Ok(None) };
        let read = (*flags, frame.to_vec());
        self.taken += head + length as usize;
        Ok(Some(read))
    }

    /// Waits for more bytes.
    async fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..mem::take(&mut self.taken));
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut self.scratch) {
                Ok(0) => return Err(Error::new(ErrorKind::UnexpectedEof, "the peer closed the connection")),
                Ok(length) => {
                    self.buffer.extend_from_slice(&self.scratch[..length]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        let writing = async {
            while !bytes.is_empty() {
                self.stream.writable().await?;
                match self.stream.try_write(bytes) {
                    Ok(length) => bytes = &bytes[length..],
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        timeout(SEND_WITHIN, writing).await.unwrap_or_else(|_| Err(late("sending")))
    }
}

fn framed(flags: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(bytes.len() + 9);
    match u8::try_from(bytes.len()) {
        Ok(length) => frame.extend_from_slice(&[flags, length]),
        Err(_) => {
            frame.push(flags | LONG);
            frame.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(bytes);
    frame
}

fn wrong(text: &str) -> Error {
    Error::new(ErrorKind::InvalidData, text)
}

fn late(doing: &str) -> Error {
    Error::new(ErrorKind::TimedOut, format!("{doing} took too long"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use super::*;

    /// A peer that says these bytes, and tells what it heard once the other end is gone.
    fn peer(says: Vec<u8>) -> (String, JoinHandle<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let heard = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut heard = Vec::new();
            let _ = stream.write_all(&says);
            let _ = stream.read_to_end(&mut heard);
            heard
        });
        (address, heard)
    }

    fn greeting(mechanism: &[u8]) -> Vec<u8> {
        let mut greeting = vec![0; GREETING];
        (greeting[0], greeting[9], greeting[10], greeting[11]) = (0xff, 0x7f, 3, 1);
        greeting[12..12 + mechanism.len()].copy_from_slice(mechanism);
        greeting
    }

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts").block_on(future)
    }

    async fn first(address: &str) -> Result<Vec<Vec<u8>>> {
        Connection::open(address, Kind::Subscriber).await?.receive().await
    }

    #[test]
    fn a_message_comes_whole_between_commands() {
        let mut says = greeting(b"NULL");
        says.extend(framed(COMMAND, b"\x05READY\x0bSocket-Type\0\0\0\x03PUB"));
        says.extend(framed(COMMAND, b"\x04PING\0\x01me"));
        says.extend(framed(MORE, b"topic"));
        says.extend(framed(0, &[7; 300]));
        let (address, heard) = peer(says);
        assert_eq!(run(first(&address)).expect("a message"), [b"topic".to_vec(), vec![7; 300]]);
        let heard = heard.join().expect("no panic");
        assert!(heard[GREETING..].starts_with(b"\x04\x26\x05READY\x0bSocket-Type\0\0\0\x03SUB"));
        assert!(heard.ends_with(b"\0\x01\x01\x04\x07\x04PONGme"), "{heard:x?}");
    }

    #[test]
    fn peers_that_speak_otherwise_are_told_from_publishers() {
        let ready = || [greeting(b"NULL"), framed(COMMAND, b"\x05READY")].concat();
        let cases = [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "does not speak"),
            (greeting(b"CURVE"), "wants \"CURVE\""),
            ([greeting(b"NULL"), framed(COMMAND, b"\x05ERROR\x02no")].concat(), "refuses: no"),
            ([greeting(b"NULL"), framed(0, b"hello")].concat(), "before it is ready"),
            // An announcement of more than all memory there is.
            ([ready(), vec![LONG, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat(), "is the limit"),
            ([ready(), framed(MORE, b"").repeat(100)].concat(), "more than 16 frames"),
        ];
        for (says, why) in cases {
            let (address, _heard) = peer(says);
            let error = run(first(&address)).expect_err("no message").to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn endpoints_are_where_a_publisher_is_reached() {
        assert_eq!(address_of("tcp://10.0.0.1:5557"), Ok("10.0.0.1:5557"));
        assert_eq!(address_of("tcp://[::1]:5557"), Ok("[::1]:5557"));
        for wrong in
            ["tcp://*:5557", "tcp://0.0.0.0:1", "ipc:///tmp/x", "tcp://host", "tcp://host:0", "tcp://:1"]
        {
            assert!(address_of(wrong).is_err(), "{wrong}");
        }
    }
}
