//! Frames on a socket: payload goes from and into registered memory, and a gate is asked before each system call that
//! touches it. What arrives in the same receive as a header is copied once.

use std::net::TcpStream;
use std::time::Duration;

use super::wire::{HEADER_LENGTH, Header};
use crate::error::{Code, Error, Result};
use crate::fail;
use crate::sys::memory::{IoVec, Mem};
use crate::sys::net::{self, Blocking};
use crate::sys::spin::Spinner;
use crate::transport::ZEROS;
pub use crate::transport::{Gate, Payload};

/// A frame on its way out.
#[derive(Default)]
pub struct OutFrame {
    /// Header and entries, or a whole control message.
    pub head: Vec<u8>,
    pub payload: Payload,
    sent: usize,
}

impl OutFrame {
    /// A whole control message.
    pub fn message(bytes: Vec<u8>) -> OutFrame {
        OutFrame { head: bytes, payload: Payload::default(), sent: 0 }
    }

    pub fn clear(&mut self) {
        self.head.clear();
        self.payload.clear();
        self.sent = 0;
    }
}

/// How far sending came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    All,
    Blocked,
}

/// Sends what is left of a frame, as far as the socket takes it.
pub fn send_frame(
    socket: &TcpStream,
    frame: &mut OutFrame,
    vectors: &mut Vec<IoVec<'static>>,
) -> Result<Sent> {
    let total = frame.head.len() + frame.payload.len();
    while frame.sent < total {
        vectors.clear();
        let mut offset = 0;
        if frame.sent < frame.head.len() {
            vectors.push(IoVec::of(Mem::of(&frame.head[frame.sent..])));
        } else {
            offset = frame.sent - frame.head.len();
        }
        let zeros = |vectors: &mut Vec<IoVec<'static>>, mut length: usize| {
            while length > 0 {
                let part = length.min(ZEROS.len());
                vectors.push(IoVec::bytes(&ZEROS[..part]));
                length -= part;
            }
        };
        let sent =
            frame.payload.with_vectors(offset, vectors, zeros, |vectors| net::send(socket, vectors, false));
        match sent {
            Ok(Some(count)) => frame.sent += count,
            Ok(None) => return Ok(Sent::Blocked),
            Err(error) => return Err(lost(&error)),
        }
    }
    Ok(Sent::All)
}

fn lost(error: &std::io::Error) -> Error {
    Error::new(Code::ConnectionLost, error.to_string())
}

/// What to do with frames that arrive.
pub trait Handler {
    /// A header arrived; refuse what makes no sense here before any memory is spent on it.
    fn header(&mut self, header: &Header) -> Result<()>;

    /// Header and entries (or the whole control message) are there. Fill `payload` with where the rest goes.
    fn begin(&mut self, header: &Header, meta: &[u8], payload: &mut Payload) -> Result<()>;

    /// The payload is in place.
    fn end(&mut self, header: &Header, payload: &Payload) -> Result<()>;
}

/// The receiving side of a connection.
pub struct Receiver {
    stage: Vec<u8>,
    start: usize,
    end: usize,
    header: Option<Header>,
    payload: Payload,
    /// Payload bytes that arrived; None while header or entries are awaited.
    received: Option<usize>,
    vectors: Vec<IoVec<'static>>,
    sink: Vec<u8>,
    /// Of the thread that waits for answers here.
    pub spinner: Spinner,
}

/// Room for a header, the entries of a full frame, and small payloads.
const STAGE: usize = 32 << 10;
/// Asked for beyond the end of a payload: the next header, and not much of what it announces.
const LOOKAHEAD: usize = 2 << 10;
/// Asked for when a header is awaited: a small request whole.
const FIRST_LOOK: usize = 8 << 10;
const SINK: usize = 64 << 10;

/// What one look at the socket gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Looked {
    /// Frames that were completed.
    pub frames: usize,
    /// Bytes that arrived.
    pub bytes: usize,
    /// Nothing more is there at the moment.
    pub is_drained: bool,
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver {
            stage: vec![0; STAGE],
            start: 0,
            end: 0,
            header: None,
            payload: Payload::default(),
            received: None,
            vectors: Vec::with_capacity(64),
            sink: Vec::new(),
            spinner: Spinner::default(),
        }
    }
}

impl Receiver {
    /// Receives once and handles every frame that became complete. With `Blocking::Yes` it waits for the first byte, as
    /// long as the socket's read timeout, but never while it holds a gate open.
    pub fn look(
        &mut self,
        socket: &TcpStream,
        blocking: Blocking,
        handler: &mut dyn Handler,
    ) -> Result<Looked> {
        let (asked, got) = match self.received {
            None => self.receive_meta(socket, blocking)?,
            Some(received) => self.receive_payload(socket, blocking, received)?,
        };
        let Some(bytes) = got else { return Ok(Looked { frames: 0, bytes: 0, is_drained: true }) };
        if bytes == 0 {
            return Err(fail!(ConnectionLost, "the peer closed the connection"));
        }
        let frames = self.handle(handler)?;
        Ok(Looked { frames, bytes, is_drained: bytes < asked })
    }

    fn receive_meta(&mut self, socket: &TcpStream, blocking: Blocking) -> Result<(usize, Option<usize>)> {
        if self.start > 0 {
            self.stage.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let needed = HEADER_LENGTH + self.header.map_or(0, |header| header.meta_length());
        let room = needed.max(self.end + 1).max(FIRST_LOOK);
        if self.stage.len() < room {
            self.stage.resize(room, 0);
        }
        let asked = room - self.end;
        let vector = [IoVec::bytes_mut(&mut self.stage[self.end..room])];
        let got = net::receive(socket, &vector, blocking).map_err(|error| lost(&error))?;
        self.end += got.unwrap_or(0);
        Ok((asked, got))
    }

    fn receive_payload(
        &mut self,
        socket: &TcpStream,
        blocking: Blocking,
        received: usize,
    ) -> Result<(usize, Option<usize>)> {
        debug_assert!(
            self.start == self.end,
            "staged bytes are consumed before the socket is asked for more"
        );
        self.start = 0;
        self.end = 0;
        if self.sink.is_empty() {
            self.sink = vec![0; SINK];
        }
        let sink = Mem::of(&self.sink);
        let stage = Mem::of(&self.stage).part(0, LOOKAHEAD);
        let left = self.payload.len() - received;
        let into_sink = move |vectors: &mut Vec<IoVec<'static>>, mut length: usize| {
            while length > 0 {
                let part = length.min(SINK);
                vectors.push(IoVec::of(sink.part(0, part)));
                length -= part;
            }
        };
        self.vectors.clear();
        let mut asked = 0;
        let mut attempt = |vectors: &mut Vec<IoVec<'static>>| {
            vectors.clear();
            self.payload.with_vectors(received, vectors, into_sink, |vectors| {
                let direct: usize = vectors.iter().map(IoVec::len).sum();
                if direct == left {
                    vectors.push(IoVec::of(stage));
                }
                asked = vectors.iter().map(IoVec::len).sum();
                net::receive(socket, vectors, Blocking::No)
            })
        };
        let mut got = attempt(&mut self.vectors).map_err(|error| lost(&error))?;
        if got.is_none() && blocking == Blocking::Yes && net::wait_readable(socket, READ_PATIENCE) {
            got = attempt(&mut self.vectors).map_err(|error| lost(&error))?;
        }
        if let Some(bytes) = got {
            let direct = bytes.min(left);
            self.received = Some(received + direct);
            self.end = bytes - direct;
        }
        Ok((asked, got))
    }

    /// Takes as many frames as possible out of what is staged.
    fn handle(&mut self, handler: &mut dyn Handler) -> Result<usize> {
        let mut frames = 0;
        loop {
            if self.received.is_none() && !self.take_meta(handler)? {
                return Ok(frames);
            }
            let received = self.received.expect("set by take_meta");
            let header = self.header.expect("set by take_meta");
            let staged = (self.end - self.start).min(self.payload.len() - received);
            if staged > 0 {
                self.payload.scatter(received, &self.stage[self.start..self.start + staged]);
                self.start += staged;
                self.received = Some(received + staged);
            }
            if received + staged < self.payload.len() {
                return Ok(frames);
            }
            handler.end(&header, &self.payload)?;
            self.payload.clear();
            self.received = None;
            self.header = None;
            frames += 1;
        }
    }

    /// Header and entries, if they are there in full.
    fn take_meta(&mut self, handler: &mut dyn Handler) -> Result<bool> {
        if self.header.is_none() {
            if self.end - self.start < HEADER_LENGTH {
                return Ok(false);
            }
            let header = Header::decode(&self.stage[self.start..self.end])?;
            handler.header(&header)?;
            self.header = Some(header);
        }
        let header = self.header.expect("set above");
        let length = HEADER_LENGTH + header.meta_length();
        if self.end - self.start < length {
            return Ok(false);
        }
        let meta = &self.stage[self.start + HEADER_LENGTH..self.start + length];
        self.payload.clear();
        handler.begin(&header, meta, &mut self.payload)?;
        if self.payload.len() as u64 != header.payload_length() {
            return Err(fail!(
                Rejected,
                "a {:?} frame whose payload does not match its entries",
                header.method
            ));
        }
        self.start += length;
        self.received = Some(0);
        // A large control message is rare: its room is given back.
        if self.stage.len() > STAGE && self.end - self.start <= STAGE {
            self.stage.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            self.stage.truncate(STAGE);
            self.stage.shrink_to_fit();
        }
        Ok(true)
    }
}

/// How long one blocking receive waits before it looks at deadlines again.
pub const READ_PATIENCE: Duration = Duration::from_millis(10);
