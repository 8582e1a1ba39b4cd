//! One connection on the side that is called.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::Terms;
use super::auth::Seal;
use super::frame::{self, Header, Inbound, Kind};
use super::greet::{self, Greeted};
use super::server::{Answer, Caller, Server, Service};
use crate::error::Result;
use crate::sys::clock;
use crate::sys::memory::IoVec;
use crate::sys::net::{self, Blocking};
use crate::sys::reactor::{Interest, Reactor, Ready, Source, Token};
use crate::{bail, fail};

/// A connection whose greeting takes longer is ended.
const GREETING: Duration = Duration::from_secs(10);
/// Bytes taken from one connection before others of the same worker get their turn.
const TURN: usize = 1 << 20;
/// Calls of one connection that wait for their answers, and bytes of answers that it did not take: above that nothing
/// more is read from it.
const MAX_WAITING: usize = 4096;
const MAX_UNSENT: usize = 16 << 20;
/// Room for answers that is kept.
const KEPT: usize = 1 << 20;

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
}

#[derive(Default)]
struct Outward {
    bytes: Vec<u8>,
    sent: usize,
    seal: Option<Seal>,
    /// A turn is under way: its answers leave together.
    is_corked: bool,
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
        // Not for a socket file, which has no such options and needs none.
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
        let interest = Interest { readable: true, writable: true, edge: true };
        let source = Arc::new(Watched(self.me.clone()));
        self.reactor
            .add_as(self.token, self.socket.as_fd(), interest, source)
            .map_err(|error| fail!(Io, "watching a connection: {error}"))
    }

    pub fn tick(&self, now: u64) {
        let is_late = now.saturating_sub(self.begun_ns) > GREETING.as_nanos() as u64;
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
            Ok(body) if body.len() <= frame::MAX_BODY => outward.put(header, body),
            Ok(body) => {
                let text = format!("the answer has {} bytes, {} are allowed", body.len(), frame::MAX_BODY);
                let status = crate::error::Code::Internal as i32;
                outward.put(Header { status, ..header }, text.as_bytes());
            }
            Err(error) => {
                outward.put(Header { status: error.code as i32, ..header }, error.message().as_bytes())
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

    fn flush(&self, outward: &mut Outward) -> Result<()> {
        while outward.sent < outward.bytes.len() {
            let vector = [IoVec::bytes(&outward.bytes[outward.sent..])];
            match net::send(&self.socket, &vector, false).map_err(|error| fail!(ConnectionLost, "{error}"))? {
                Some(count) => outward.sent += count,
                // The worker is told when there is room.
                None => return Ok(()),
            }
        }
        outward.bytes.clear();
        outward.bytes.shrink_to(KEPT);
        outward.sent = 0;
        Ok(())
    }

    /// Has the worker read on, if it stopped and may.
    fn resume(&self) {
        if self.is_paused.load(Ordering::Acquire) && !self.is_full() {
            self.reactor.nudge(self.token);
        }
    }

    fn is_full(&self) -> bool {
        let unsent = {
            let outward = self.outward.lock();
            outward.bytes.len() - outward.sent
        };
        self.waiting.load(Ordering::Acquire) >= MAX_WAITING || unsent >= MAX_UNSENT
    }

    fn turn(&self, ready: Ready) -> Result<()> {
        let mut inward = self.inward.lock();
        self.outward.lock().is_corked = true;
        inward.is_behind |= ready.readable || ready.hung_up;
        let taken = self.take(&mut inward);
        let mut outward = self.outward.lock();
        outward.is_corked = false;
        let flushed = self.flush(&mut outward);
        drop(outward);
        taken.and(flushed)?;
        if inward.is_behind && !self.is_full() {
            self.reactor.nudge(self.token);
        }
        Ok(())
    }

    /// Takes what the socket has, as far as this turn goes.
    fn take(&self, inward: &mut Inward) -> Result<()> {
        let mut taken = 0;
        while inward.is_behind && taken < TURN {
            // Said before it is looked: an answer meanwhile calls this worker again.
            self.is_paused.store(true, Ordering::SeqCst);
            if self.is_full() {
                return Ok(());
            }
            self.is_paused.store(false, Ordering::SeqCst);
            let got = {
                let vector = [IoVec::bytes_mut(inward.inbound.room())];
                net::receive(&self.socket, &vector, Blocking::No)
                    .map_err(|error| fail!(ConnectionLost, "{error}"))?
            };
            match got {
                None => inward.is_behind = false,
                Some(0) => bail!(ConnectionLost, "closed"),
                Some(count) => {
                    taken += count;
                    inward.inbound.received(count);
                    self.handle(inward)?;
                }
            }
        }
        Ok(())
    }

    fn handle(&self, inward: &mut Inward) -> Result<()> {
        while let Some((header, body)) = inward.inbound.next_frame()? {
            if self.is_dead.load(Ordering::Acquire) {
                bail!(ConnectionLost, "ended here");
            }
            match (&inward.phase, header.kind) {
                (Phase::New, Kind::Hello) => inward.phase = self.greet(body)?,
                (Phase::Unproven(greeted), Kind::Auth) => {
                    let psk = self.terms.psk.as_ref().expect("unproven only with a key");
                    let (seal_in, seal_out) = greeted.prove(psk, body)?.split();
                    inward.seal = Some(seal_in);
                    self.outward.lock().seal = Some(seal_out);
                    inward.phase = Phase::Open;
                    self.is_open.store(true, Ordering::Release);
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
        Ok(())
    }

    fn greet(&self, body: &[u8]) -> Result<Phase> {
        let (greeted, ack) = match Greeted::answer(&self.terms, body) {
            Ok(answered) => answered,
            Err(error) => {
                let mut outward = self.outward.lock();
                outward.put(Header::new(Kind::HelloAck, 0), &greet::refusal(&error));
                let _ = self.flush(&mut outward);
                return Err(error);
            }
        };
        self.outward.lock().put(Header::new(Kind::HelloAck, 0), &ack);
        if self.terms.psk.is_some() {
            return Ok(Phase::Unproven(greeted));
        }
        self.is_open.store(true, Ordering::Release);
        Ok(Phase::Open)
    }
}

impl Outward {
    fn put(&mut self, header: Header, body: &[u8]) {
        frame::put(&mut self.bytes, header, body, self.seal.as_mut());
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
