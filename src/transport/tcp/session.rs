//! One connection of a peer, on the side that answers: checks every access, moves the bytes, says what became of them.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use prost::Message;

use super::greet::{self, ServerGreeting, message, refusal};
use super::messages::{Description, Notice};
use super::server::Server;
use super::stream::{Gate, Handler, OutFrame, Payload, Receiver, Sent, send_frame};
use super::wire::{
    AckEntry, DataEntry, Entry, FLAG_CHECKSUM, FLAG_MORE, HEADER_LENGTH, Header, Method, entries,
};
use super::{Greeting, Node};
use crate::config::Checksum;
use crate::error::{Code, Error, Result};
use crate::rpc::auth::Seal;
use crate::segment::descriptor::SegmentRecord;
use crate::segment::memory::{REMOTE_READ, REMOTE_WRITE};
use crate::sys::memory::IoVec;
use crate::sys::net::Blocking;
use crate::sys::reactor::{Interest, Ready, Source, Token};
use crate::sys::{checksum, clock};
use crate::transport::PathKind;
use crate::{bail, fail};

/// A connection that owes its peer this much is not read from until the peer took some.
const BACKLOG: usize = 4 << 20;
/// Frames received before other connections of the same worker get their turn.
const TURN: usize = 64;
/// Most acknowledgements that are held back while more frames are announced.
const HELD_ACKS: usize = 16;
/// Bytes in one answer to a READ: the peer receives and verifies them while the next are brought into the cache.
const ANSWER_BYTES: usize = 128 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Hello,
    Auth,
    Ready,
}

struct Writer {
    queue: VecDeque<OutFrame>,
    spare: Vec<OutFrame>,
    queued_bytes: usize,
    vectors: Vec<IoVec<'static>>,
}

struct Reader {
    receiver: Receiver,
    work: Work,
}

/// What one connection is about.
struct Work {
    phase: Phase,
    greeting: Option<ServerGreeting>,
    lane: u32,
    has_checksum: bool,
    seal_in: Option<Seal>,
    seal_out: Option<Seal>,
    /// What became of each slice of the WRITE frame that is arriving: status and checksum.
    statuses: Vec<(i32, u32)>,
    /// Acknowledgements that were not sent yet.
    acks: Vec<u8>,
    /// The peer announced that something follows at once: the acknowledgements can go together.
    is_more_to_come: bool,
}

pub struct Session {
    node: Arc<Node>,
    server: Weak<Server>,
    pub number: u64,
    socket: TcpStream,
    token: Token,
    reader: Mutex<Reader>,
    writer: Mutex<Writer>,
    is_dead: AtomicBool,
    is_greeted: AtomicBool,
    wants_write: AtomicBool,
    pub accepted_ns: u64,
    pub epoch: AtomicU64,
    me: Weak<Session>,
}

impl Session {
    pub fn start(server: &Arc<Server>, number: u64, socket: TcpStream) -> Result<Arc<Session>> {
        let node = server.node.clone();
        let session = Arc::new_cyclic(|me| Session {
            node: node.clone(),
            server: Arc::downgrade(server),
            number,
            socket,
            token: node.reactor.token(number as usize),
            reader: Mutex::new(Reader {
                receiver: Receiver::default(),
                work: Work {
                    phase: Phase::Hello,
                    greeting: None,
                    lane: 0,
                    has_checksum: false,
                    seal_in: None,
                    seal_out: None,
                    statuses: Vec::new(),
                    acks: Vec::new(),
                    is_more_to_come: false,
                },
            }),
            writer: Mutex::new(Writer {
                queue: VecDeque::new(),
                spare: Vec::new(),
                queued_bytes: 0,
                vectors: Vec::with_capacity(160),
            }),
            is_dead: AtomicBool::new(false),
            is_greeted: AtomicBool::new(false),
            wants_write: AtomicBool::new(false),
            accepted_ns: clock::now_ns(),
            epoch: AtomicU64::new(0),
            me: me.clone(),
        });
        let added =
            node.reactor.add_as(session.token, session.socket.as_fd(), Interest::READ, session.clone());
        added.map_err(|error| fail!(Io, "watching a connection: {error}"))?;
        Ok(session)
    }

    pub fn is_greeted(&self) -> bool {
        self.is_greeted.load(Ordering::Acquire)
    }

    /// Ends the connection: on return nothing that is in its buffers will be applied.
    pub fn end(&self) {
        self.mark_dead();
        drop(self.reader.lock());
    }

    fn mark_dead(&self) {
        if self.is_dead.swap(true, Ordering::AcqRel) {
            return;
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        self.node.reactor.remove(self.token, self.socket.as_fd());
        if let Some(server) = self.server.upgrade() {
            server.forget(self.number);
        }
    }

    fn receive(&self) -> Result<()> {
        let mut reader = self.reader.lock();
        let Reader { receiver, work } = &mut *reader;
        let mut frames = 0;
        loop {
            if self.is_dead.load(Ordering::Acquire) {
                return Ok(());
            }
            let looked = receiver.look(&self.socket, Blocking::No, &mut Requests { session: self, work })?;
            frames += looked.frames;
            if looked.is_drained || frames >= TURN || self.writer.lock().queued_bytes > BACKLOG {
                break;
            }
        }
        if !work.is_more_to_come || work.acks.len() >= HELD_ACKS * AckEntry::LENGTH {
            self.queue_acks(work);
        }
        drop(reader);
        self.send()
    }

    fn queue_acks(&self, work: &mut Work) {
        if work.acks.is_empty() {
            return;
        }
        let mut writer = self.writer.lock();
        for chunk in work.acks.chunks(AckEntry::LENGTH * super::wire::MAX_ENTRIES) {
            let mut header = Header::new(Method::Ack, 0, chunk.len() as u64);
            header.count = (chunk.len() / AckEntry::LENGTH) as u32;
            let mut frame = writer.spare.pop().unwrap_or_default();
            frame.head.extend_from_slice(&header.encode());
            frame.head.extend_from_slice(chunk);
            writer.push(frame);
        }
        work.acks.clear();
    }

    fn queue_message(&self, bytes: Vec<u8>) {
        let mut writer = self.writer.lock();
        writer.push(OutFrame::message(bytes));
    }

    /// Sends what waits, as far as the socket takes it.
    fn send(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        while let Some(mut frame) = writer.queue.pop_front() {
            let sent = send_frame(&self.socket, &mut frame, &mut writer.vectors);
            if !matches!(sent, Ok(Sent::All)) {
                writer.queue.push_front(frame);
                drop(writer);
                return sent.and_then(|_| self.want_write(true));
            }
            writer.queued_bytes -= frame.head.len() + frame.payload.len();
            if frame.payload.len() > 0 {
                self.node.metrics.path(PathKind::Tcp).served_read_bytes.add(frame.payload.len() as u64);
            }
            frame.clear();
            if writer.spare.len() < 8 {
                writer.spare.push(frame);
            }
        }
        drop(writer);
        self.want_write(false)
    }

    /// Asks for the worker's call when there is room; a peer that takes nothing is not listened to meanwhile.
    fn want_write(&self, wanted: bool) -> Result<()> {
        if self.wants_write.swap(wanted, Ordering::AcqRel) == wanted {
            return Ok(());
        }
        let interest = Interest { readable: !wanted, writable: wanted, edge: false };
        self.node
            .reactor
            .modify(self.token, self.socket.as_fd(), interest)
            .map_err(|error| fail!(ConnectionLost, "{error}"))
    }

    fn fail(&self, error: &Error) {
        let name = {
            let reader = self.reader.lock();
            reader.work.greeting.as_ref().map(|greeting| greeting.greeting.name.clone())
        };
        let who = name.unwrap_or_else(|| {
            self.socket
                .peer_addr()
                .map_or_else(|_| "a stranger".into(), |address| format!("{address}, not greeted"))
        });
        if error.code == Code::ConnectionLost {
            tracing::debug!("connection of {who}: {}", error.message());
        } else {
            self.node.metrics.refused_count.increment();
            tracing::warn!("connection of {who} refused: {error}");
            if !self.is_greeted() {
                // As a last word, so that the other side's log says why. It may not even speak our language.
                self.queue_message(refusal(error));
                let _ = self.send();
            }
        }
        self.mark_dead();
    }
}

impl Writer {
    fn push(&mut self, frame: OutFrame) {
        self.queued_bytes += frame.head.len() + frame.payload.len();
        self.queue.push_back(frame);
    }
}

impl Source for Session {
    fn ready(&self, ready: Ready) {
        if self.is_dead.load(Ordering::Acquire) {
            return;
        }
        let result = (|| {
            if ready.writable {
                self.send()?;
            }
            if ready.readable && !self.wants_write.load(Ordering::Acquire) {
                self.receive()?;
            }
            if ready.hung_up && self.wants_write.load(Ordering::Acquire) {
                bail!(ConnectionLost, "the peer closed the connection");
            }
            Ok(())
        })();
        if let Err(error) = result {
            self.fail(&error);
        }
    }

    fn broken(&self) {
        self.mark_dead();
    }
}

/// What the peer asks for.
struct Requests<'a> {
    session: &'a Session,
    work: &'a mut Work,
}

impl Handler for Requests<'_> {
    fn header(&mut self, header: &Header) -> Result<()> {
        let is_control = self.work.lane == 0;
        let is_fine = match header.method {
            Method::Hello => self.work.phase == Phase::Hello,
            Method::Auth => self.work.phase == Phase::Auth,
            Method::Describe | Method::Notify | Method::Ping => self.work.phase == Phase::Ready && is_control,
            Method::Write | Method::Read | Method::Flush => self.work.phase == Phase::Ready && !is_control,
            _ => false,
        };
        if !is_fine {
            let phase = self.work.phase;
            let code = if phase == Phase::Auth { Code::Unauthenticated } else { Code::Rejected };
            return Err(Error::new(code, format!("{:?} makes no sense in phase {phase:?}", header.method)));
        }
        Ok(())
    }

    fn begin(&mut self, header: &Header, meta: &[u8], payload: &mut Payload) -> Result<()> {
        match header.method {
            Method::Hello => self.hello(meta),
            Method::Auth => self.auth(meta),
            Method::Write => self.write(header, meta, payload),
            Method::Read => self.read(header, meta),
            Method::Flush => {
                self.work.is_more_to_come = false;
                Ok(())
            }
            _ => self.control(header, meta),
        }
    }

    fn end(&mut self, header: &Header, payload: &Payload) -> Result<()> {
        if header.method != Method::Write {
            return Ok(());
        }
        let has_checksum = header.flags & FLAG_CHECKSUM != 0;
        let mut written = 0;
        for (index, (status, crc)) in self.work.statuses.iter_mut().enumerate() {
            if *status == 0 {
                // A gate that shut while the bytes arrived: the region is gone, and so are they.
                match payload.checksum_if(index, has_checksum) {
                    None => *status = Code::AddressNotRegistered as i32,
                    Some(found) if has_checksum && found != *crc => {
                        *status = Code::Corrupted as i32;
                        self.session.node.metrics.corrupted_count.increment();
                    }
                    Some(_) => written += payload.piece_length(index) as u64,
                }
            }
            if *status != 0 {
                AckEntry { id: header.id, status: *status, index: index as u32 }.encode(&mut self.work.acks);
            }
        }
        AckEntry { id: header.id, status: 0, index: AckEntry::ALL }.encode(&mut self.work.acks);
        self.work.is_more_to_come = header.flags & FLAG_MORE != 0;
        self.session.node.metrics.path(PathKind::Tcp).served_written_bytes.add(written);
        Ok(())
    }
}

impl Requests<'_> {
    fn hello(&mut self, body: &[u8]) -> Result<()> {
        let node = &self.session.node;
        let (greeting, answer) = ServerGreeting::answer(node, body)?;
        let server =
            self.session.server.upgrade().ok_or_else(|| fail!(Rejected, "the engine is being destroyed"))?;
        self.work.lane = greeting.lane;
        self.work.has_checksum = greeting.has_checksum;
        let needs_proof = node.psk.is_some();
        self.work.phase = if needs_proof { Phase::Auth } else { Phase::Ready };
        if !needs_proof {
            self.admit(&server, &greeting)?;
        }
        self.work.greeting = Some(greeting);
        self.session.queue_message(answer);
        Ok(())
    }

    fn auth(&mut self, body: &[u8]) -> Result<()> {
        let server =
            self.session.server.upgrade().ok_or_else(|| fail!(Rejected, "the engine is being destroyed"))?;
        let Some(greeting) = self.work.greeting.take() else {
            bail!(Rejected, "a proof before the greeting")
        };
        if let Some(seal) = greeting.check(&self.session.node, body)? {
            let (out, inward) = seal.split();
            self.work.seal_out = Some(out);
            self.work.seal_in = Some(inward);
        }
        self.admit(&server, &greeting)?;
        self.work.greeting = Some(greeting);
        self.work.phase = Phase::Ready;
        Ok(())
    }

    /// Lets the peer in: its connections of earlier epochs end first, and with them whatever they still hold.
    fn admit(&self, server: &Arc<Server>, greeting: &ServerGreeting) -> Result<()> {
        let me = self.session.me.upgrade().ok_or_else(|| fail!(Rejected, "the connection is closed"))?;
        self.session.epoch.store(greeting.epoch, Ordering::Release);
        server.admit(&me, greeting.greeting.id, greeting.epoch)?;
        self.session.is_greeted.store(true, Ordering::Release);
        self.session.node.metrics.accepted_count.increment();
        Ok(())
    }

    fn control(&mut self, header: &Header, meta: &[u8]) -> Result<()> {
        let body = match self.work.seal_in.as_mut() {
            Some(seal) => greet::unsealed(seal, header, meta)?,
            None => meta,
        };
        let node = &self.session.node;
        let sender = self.work.greeting.as_ref().map(|greeting| greeting.greeting.clone());
        let sender = sender.ok_or_else(|| fail!(Rejected, "a message before the greeting"))?;
        let result = match header.method {
            Method::Describe => self.describe(),
            Method::Notify => notify(node, body, &sender),
            _ => Ok(Vec::new()),
        };
        let mut reply = Header::new(Method::Reply, header.id, 0);
        let body = match result {
            Ok(body) => body,
            Err(error) => {
                reply.count = error.code as i32 as u32;
                error.message().as_bytes().to_vec()
            }
        };
        self.session.queue_message(message(reply, body, self.work.seal_out.as_mut()));
        Ok(())
    }

    fn describe(&self) -> Result<Vec<u8>> {
        let node = &self.session.node;
        let segment = SegmentRecord::of(&node.memory, node.id, &node.name, node.addresses(), None)?;
        let shm = node.shm().unwrap_or_default();
        Ok(Description { segment: Some(segment), shm_socket: shm.socket, shm_token: shm.token }
            .encode_to_vec())
    }

    /// Finds where the bytes of a WRITE go; those that may go nowhere are received and dropped.
    fn write(&mut self, header: &Header, meta: &[u8], payload: &mut Payload) -> Result<()> {
        let is_late = header.expiry_us != 0 && clock::now_ns() / 1000 > header.expiry_us;
        self.work.statuses.clear();
        let mut found = None;
        for entry in entries(header, meta)? {
            let length = entry.length as usize;
            let status = if is_late {
                Err(Code::Timeout)
            } else {
                self.reach(&entry, REMOTE_WRITE, &mut found).map_err(|error| error.code)
            };
            match status {
                Ok(()) => {
                    let region: &Arc<_> = found.as_ref().expect("reached");
                    let mem = region.mem.part(entry.address as usize - region.mem.address(), length);
                    payload.push(mem, &Gate::Region(region.clone()));
                    self.work.statuses.push((0, entry.crc));
                }
                Err(code) => {
                    payload.push_void(length);
                    self.session.node.metrics.refused_count.increment();
                    self.work.statuses.push((code as i32, 0));
                }
            }
        }
        Ok(())
    }

    /// Answers a READ, in parts: each is made here, its bytes leave memory when it is sent.
    fn read(&mut self, header: &Header, meta: &[u8]) -> Result<()> {
        // Answers go out in the order of the questions.
        self.session.queue_acks(self.work);
        let is_required = self.session.node.checksum == Checksum::Required;
        let has_checksum = self.work.has_checksum && (is_required || header.flags & FLAG_CHECKSUM != 0);
        let mut found = None;
        let mut asked = entries(header, meta)?.peekable();
        while asked.peek().is_some() {
            let mut frame = self.session.writer.lock().spare.pop().unwrap_or_default();
            let mut reply = Header::new(Method::Data, header.id, 0);
            frame.head.resize(HEADER_LENGTH, 0);
            while frame.payload.len() < ANSWER_BYTES
                && let Some(entry) = asked.next()
            {
                let answer = match self.reach(&entry, REMOTE_READ, &mut found) {
                    Ok(()) => {
                        let region = found.as_ref().expect("reached");
                        self.read_one(&entry, region, has_checksum, &mut frame.payload)
                    }
                    Err(error) => Err(error),
                };
                let answer = answer.unwrap_or_else(|error| {
                    self.session.node.metrics.refused_count.increment();
                    DataEntry { status: error.code as i32, crc: 0 }
                });
                answer.encode(&mut frame.head);
                reply.count += 1;
            }
            if has_checksum {
                reply.flags |= FLAG_CHECKSUM;
            }
            if asked.peek().is_some() {
                reply.flags |= FLAG_MORE;
            }
            reply.length = (frame.head.len() - HEADER_LENGTH + frame.payload.len()) as u64;
            frame.head[..HEADER_LENGTH].copy_from_slice(&reply.encode());
            self.session.writer.lock().push(frame);
            // At once, so that the peer receives while the next part is made.
            self.session.send()?;
        }
        Ok(())
    }

    fn read_one(
        &self,
        entry: &Entry,
        region: &Arc<crate::segment::memory::Region>,
        has_checksum: bool,
        payload: &mut Payload,
    ) -> Result<DataEntry> {
        let mem = region.mem.part(entry.address as usize - region.mem.address(), entry.length as usize);
        let mut crc = 0;
        if has_checksum {
            let Some(_open) = region.enter() else {
                bail!(AddressNotRegistered, "the region was unregistered")
            };
            crc = checksum::crc32c_of(mem);
        }
        payload.push(mem, &Gate::Region(region.clone()));
        Ok(DataEntry { status: 0, crc })
    }

    /// Finds the region that an entry means, if the peer may do that to it; the last one found is tried first.
    fn reach(
        &self,
        entry: &Entry,
        permission: u32,
        found: &mut Option<Arc<crate::segment::memory::Region>>,
    ) -> Result<()> {
        let (address, length) = (entry.address as usize, entry.length as usize);
        let is_hit = found.as_ref().is_some_and(|region| {
            region.key == entry.key
                && region.permissions & permission != 0
                && region.mem.contains(address, length)
        });
        if !is_hit {
            *found = None;
            *found = Some(self.session.node.memory.find_keyed(address, length, permission, entry.key)?);
        }
        Ok(())
    }
}

fn notify(node: &Node, body: &[u8], sender: &Greeting) -> Result<Vec<u8>> {
    let notice =
        Notice::decode(body).map_err(|error| fail!(Rejected, "the notification cannot be read: {error}"))?;
    if notice.tag.len() > 255 || notice.tag.contains('\0') || notice.data.len() > 1 << 20 {
        bail!(Rejected, "a notification of {} bytes, tag {}", notice.data.len(), notice.tag.len());
    }
    node.metrics.notify_count.increment();
    node.inbox.deliver(notice.tag, notice.data, sender).map(|()| Vec::new())
}
