//! One connection on the side that is called.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Terms;
use super::auth::Seal;
use super::frame::{self, Header, Inbound, Kind, Outbound};
use super::greet::{self, Greeted};
use super::server::{Answer, Caller, Server, Service};
use crate::error::Result;
use crate::sys::clock;
use crate::sys::memory::IoVec;
use crate::sys::net::{self, Blocking};
use crate::sys::reactor::{Interest, Reactor, Ready, Source, Token};
use crate::{bail, fail};

/// Bytes taken from one connection before others of the same worker get their turn.
const TURN: usize = 1 << 20;
/// Calls of one connection that wait for their answers, and bytes of answers that it did not take: above that nothing
/// more is read from it.
const MAX_WAITING: usize = 4096;
const MAX_UNSENT: usize = 16 << 20;

enum Phase {
    New,
    /// Greeted, and still to prove that it has the key.
    Unproven(Greeted),
    Open,
}

struct Inward {
    phase: Phase,
    inbound: Inbound,
    seal: Option<Seal>,
    /// Not everything that the socket has was read.
    is_behind: bool,
    /// The other side sends no more than what it has.
    has_ended: bool,
}

#[derive(Default)]
struct Outward {
    out: Outbound,
    /// A turn is under way: its answers leave together.
    is_corked: bool,
    /// The worker is told when there is room to send.
    wants_room: bool,
}

pub struct Served {
    caller: Caller,
    terms: Terms,
    service: Arc<dyn Service>,
    reactor: Arc<Reactor>,
    server: Weak<Server>,
    socket: TcpStream,
    token: Token,
    begun_ns: u64,
    inward: Mutex<Inward>,
    outward: Mutex<Outward>,
    waiting: AtomicUsize,
    is_open: AtomicBool,
    /// Nothing is read until answers went out.
    is_paused: AtomicBool,
    is_dead: AtomicBool,
    me: Weak<Served>,
}

impl Served {
    pub fn new(server: &Server, caller: Caller, socket: TcpStream) -> Result<Arc<Served>> {
        // Not for a local socket, which has no such options and needs none.
        if socket.set_nodelay(true).is_ok() {
            net::keep_alive(&socket).map_err(|error| fail!(Io, "{error}"))?;
        }
        Ok(Arc::new_cyclic(|me| Served {
            token: server.reactor.token(caller.number as usize),
            caller,
            terms: server.terms.clone(),
            service: server.service.clone(),
            reactor: server.reactor.clone(),
            server: server.handle(),
            socket,
            begun_ns: clock::now_ns(),
            inward: Mutex::new(Inward {
                phase: Phase::New,
                inbound: Inbound::default(),
                seal: None,
                is_behind: false,
                has_ended: false,
            }),
            outward: Mutex::default(),
            waiting: AtomicUsize::new(0),
            is_open: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            is_dead: AtomicBool::new(false),
            me: me.clone(),
        }))
    }

    pub fn watch(&self) -> Result<()> {
        let interest = Interest { readable: true, writable: false, edge: true };
        let source = Arc::new(Watched(self.me.clone()));
        self.reactor
            .add_as(self.token, self.socket.as_fd(), interest, source)
            .map_err(|error| fail!(Io, "watching a connection: {error}"))
    }

    pub fn tick(&self, now: u64) {
        let is_late = now.saturating_sub(self.begun_ns) > greet::PATIENCE.as_nanos() as u64;
        if is_late && !self.is_open.load(Ordering::Acquire) {
            self.end();
        }
    }

    /// Ends the connection; the service hears of it once. Not to be called by the service.
    pub fn end(&self) {
        if self.is_dead.swap(true, Ordering::AcqRel) {
            return;
        }
        let _ = self.socket.shutdown(Shutdown::Both);
        self.reactor.remove(self.token, self.socket.as_fd());
        if let Some(server) = self.server.upgrade() {
            server.forget(&self.caller);
        }
        // A turn may be under way on the worker: what it hands over comes before the end.
        drop(self.inward.lock());
        if self.is_open.load(Ordering::Acquire) {
            self.service.gone(&self.caller);
        }
    }

    pub(super) fn answer(&self, id: u64, result: Result<&[u8]>) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        if self.is_dead.load(Ordering::Acquire) {
            return;
        }
        let mut outward = self.outward.lock();
        let header = Header::new(Kind::Answer, id);
        match &result {
            Ok(body) if body.len() <= frame::MAX_BODY => outward.out.put(header, body),
            Ok(body) => {
                let text = format!("the answer has {} bytes, {} are allowed", body.len(), frame::MAX_BODY);
                let status = crate::error::Code::Internal as i32;
                outward.out.put(Header { status, ..header }, text.as_bytes());
            }
            Err(error) => {
                outward.out.put(Header { status: error.code as i32, ..header }, error.message().as_bytes())
            }
        }
        if outward.is_corked {
            return;
        }
        let flushed = self.flush(&mut outward);
        drop(outward);
        match flushed {
            Ok(()) => self.resume(),
            // The worker notices, and ends it.
            Err(_) => drop(self.socket.shutdown(Shutdown::Both)),
        }
    }

    /// Sends what the socket takes; of room for the rest the worker is told, and of room for nothing it is not.
    fn flush(&self, outward: &mut Outward) -> Result<()> {
        outward.out.flush(&self.socket)?;
        let wanted = outward.out.unsent() > 0;
        if outward.wants_room != wanted {
            outward.wants_room = wanted;
            let interest = Interest { readable: true, writable: wanted, edge: true };
            let _ = self.reactor.modify(self.token, self.socket.as_fd(), interest);
        }
        Ok(())
    }

    /// Has the worker read on, if it stopped and may.
    fn resume(&self) {
        if self.is_paused.load(Ordering::Acquire) && !self.is_full() {
            self.reactor.nudge(self.token);
        }
    }

    fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Acquire) >= MAX_WAITING || self.outward.lock().out.unsent() >= MAX_UNSENT
    }

    fn turn(&self, ready: Ready) -> Result<()> {
        let mut inward = self.inward.lock();
        self.outward.lock().is_corked = true;
        inward.is_behind |= ready.readable;
        inward.has_ended |= ready.ended;
        let taken = self.take(&mut inward);
        let mut outward = self.outward.lock();
        outward.is_corked = false;
        let flushed = self.flush(&mut outward);
        drop(outward);
        taken.and(flushed)?;
        if inward.is_behind {
            // Said before it is looked: an answer meanwhile calls this worker again.
            self.is_paused.store(true, Ordering::SeqCst);
            if !self.is_full() {
                self.reactor.nudge(self.token);
            }
        }
        Ok(())
    }

    /// Takes what the socket has, as far as this turn goes and there is room for answers.
    fn take(&self, inward: &mut Inward) -> Result<()> {
        self.is_paused.store(false, Ordering::SeqCst);
        let mut taken = 0;
        loop {
            if !self.handle(inward)? {
                inward.is_behind = true;
                break;
            }
            if !inward.is_behind || taken >= TURN {
                break;
            }
            let (asked, got) = {
                let vector = [IoVec::bytes_mut(inward.inbound.room())];
                let got = net::receive(&self.socket, &vector, Blocking::No);
                (vector[0].len(), got.map_err(|error| fail!(ConnectionLost, "{error}"))?)
            };
            match got {
                None => inward.is_behind = false,
                Some(0) => bail!(ConnectionLost, "closed"),
                Some(count) => {
                    taken += count;
                    inward.inbound.received(count);
                    // Less came than there was room for: of more the worker is told, and of the end it was, perhaps.
                    inward.is_behind = count == asked || inward.has_ended;
                }
            }
        }
        if inward.has_ended && inward.is_behind && self.is_full() {
            bail!(ConnectionLost, "closed, with more calls than it may have");
        }
        Ok(())
    }

    /// Hands over the calls that have arrived; false when no more are taken now.
    fn handle(&self, inward: &mut Inward) -> Result<bool> {
        loop {
            if self.is_full() {
                return Ok(false);
            }
            let Some((header, body)) = inward.inbound.next_frame()? else { return Ok(true) };
            if self.is_dead.load(Ordering::Acquire) {
                bail!(ConnectionLost, "ended here");
            }
            match (&inward.phase, header.kind) {
                (Phase::New, Kind::Hello) => {
                    let greeted = self.greet(body)?;
                    match self.terms.psk {
                        Some(_) => inward.phase = Phase::Unproven(greeted),
                        None => self.open(inward),
                    }
                }
                (Phase::Unproven(greeted), Kind::Auth) => {
                    let psk = self.terms.psk.as_ref().expect("unproven only with a key");
                    let (seal_in, seal_out) = greeted.prove(psk, body)?.split();
                    inward.seal = Some(seal_in);
                    self.outward.lock().out.seal = Some(seal_out);
                    self.open(inward);
                }
                (Phase::Open, Kind::Call) => {
                    let body = frame::open(&header, body, inward.seal.as_mut())?;
                    self.waiting.fetch_add(1, Ordering::AcqRel);
                    let answer = Answer { served: self.me.upgrade(), id: header.id };
                    self.service.call(&self.caller, header.method, body, answer);
                }
                (_, other) => bail!(Rejected, "{other:?} makes no sense here"),
            }
        }
    }

    /// From here on it may call.
    fn open(&self, inward: &mut Inward) {
        inward.phase = Phase::Open;
        inward.inbound.trust();
        self.is_open.store(true, Ordering::Release);
        if let Some(server) = self.server.upgrade() {
            server.greeted(&self.caller);
        }
    }

    fn greet(&self, body: &[u8]) -> Result<Greeted> {
        let (greeted, ack) = match Greeted::answer(&self.terms, body) {
            Ok(answered) => answered,
            Err(error) => {
                let mut outward = self.outward.lock();
                outward.out.put(Header::new(Kind::HelloAck, 0), &greet::refusal(&error));
                let _ = self.flush(&mut outward);
                return Err(error);
            }
        };
        self.outward.lock().out.put(Header::new(Kind::HelloAck, 0), &ack);
        Ok(greeted)
    }
}

/// What the reactor knows of a connection: its server keeps it.
struct Watched(Weak<Served>);

impl Source for Watched {
    fn ready(&self, ready: Ready) {
        let Some(served) = self.0.upgrade() else { return };
        if let Err(error) = served.turn(ready) {
            tracing::debug!("a connection of {}: {error}", served.caller.name);
            served.end();
        }
    }

    fn broken(&self) {
        if let Some(served) = self.0.upgrade() {
            served.end();
        }
    }
}
