//! A connection to a peer, on the side that asks: what is owed on it, and who receives. That is its worker, or a thread
//! that waits anyway and so saves a switch; the worker is not told of what arrives meanwhile.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::error::Result;
use crate::fail;
use crate::sys::clock;
use crate::sys::reactor::{Interest, Reactor, Source, Token};

/// Threads that met on a connection leave it to the worker for this long.
const CONTENDED_NS: u64 = 2_000_000;
/// A connection that waiting threads left with answers to come is looked after again after this time,
const UNDRIVEN_NS: u64 = 4_000_000;
/// and one that nobody used, after this.
const UNUSED_NS: u64 = 50_000_000;

pub struct Connection {
    pub socket: TcpStream,
    pub token: Token,
    reactor: Arc<Reactor>,
    unanswered: AtomicUsize,
    heard_ns: AtomicU64,
    is_dead: AtomicBool,
    /// The worker is told of bytes that arrive; not while a waiting thread receives them itself.
    is_armed: AtomicBool,
    /// The worker is told when there is room to send. Held while that or the other is changed.
    wants_room: Mutex<bool>,
    led_ns: AtomicU64,
    /// When last a thread found another one receiving: then the worker serves both better.
    contended_ns: AtomicU64,
}

impl Connection {
    pub fn new(reactor: &Arc<Reactor>, worker: usize, socket: TcpStream) -> Connection {
        Connection {
            socket,
            token: reactor.token(worker),
            reactor: reactor.clone(),
            unanswered: AtomicUsize::new(0),
            heard_ns: AtomicU64::new(clock::now_ns()),
            is_dead: AtomicBool::new(false),
            is_armed: AtomicBool::new(true),
            wants_room: Mutex::new(true),
            led_ns: AtomicU64::new(0),
            contended_ns: AtomicU64::new(0),
        }
    }

    /// From here on the worker calls `source`.
    pub fn watch(&self, source: Arc<dyn Source>) -> Result<()> {
        let interest = Interest { readable: true, writable: true, edge: true };
        let added = self.reactor.add_as(self.token, self.socket.as_fd(), interest, source);
        added.map_err(|error| fail!(Io, "watching a connection: {error}"))
    }

    /// Calls the worker, which sends what waits.
    pub fn nudge(&self) {
        self.reactor.nudge(self.token);
    }

    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Acquire)
    }

    /// Gives the connection up.
    pub fn kill(&self) {
        if self.is_dead.swap(true, Ordering::AcqRel) {
            return;
        }
        let _ = self.socket.shutdown(Shutdown::Both);
        self.reactor.remove(self.token, self.socket.as_fd());
    }

    // ---- what is owed

    /// Bytes sent or asked for that were not answered.
    pub fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Acquire)
    }

    /// These bytes await their answer; true when they are the only ones.
    pub fn owe(&self, bytes: usize) -> bool {
        self.unanswered.fetch_add(bytes, Ordering::AcqRel) == 0
    }

    pub fn answered(&self, bytes: usize) {
        self.unanswered.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub fn forget_owed(&self) {
        self.unanswered.store(0, Ordering::Release);
    }

    pub fn heard_ns(&self) -> u64 {
        self.heard_ns.load(Ordering::Relaxed)
    }

    pub fn heard(&self) {
        self.heard_ns.store(clock::now_ns(), Ordering::Relaxed);
    }

    // ---- who receives

    /// Lets the calling thread `receive`; false when another thread does, or nothing is awaited.
    pub fn lead<R>(
        &self,
        receiver: &Mutex<R>,
        until_ns: u64,
        receive: impl FnOnce(&mut R) -> Result<()>,
    ) -> Result<bool> {
        if self.unanswered() == 0 || self.is_dead() {
            return Ok(false);
        }
        let now = clock::now_ns();
        if now.saturating_sub(self.contended_ns.load(Ordering::Relaxed)) < CONTENDED_NS {
            // Whoever led last may have left it disarmed.
            self.hand_to_worker(receiver);
            return Ok(false);
        }
        let Some(mut held) = receiver.try_lock() else {
            // The worker may hold it for a moment, too; a leader leaves it disarmed.
            if !self.is_armed.load(Ordering::Acquire) {
                self.contended_ns.store(now, Ordering::Relaxed);
            }
            return Ok(false);
        };
        self.arm(false);
        let result = receive(&mut held);
        drop(held);
        self.led_ns.store(clock::now_ns(), Ordering::Relaxed);
        // Answers of other threads are still to come, and those sleep. Where one of them armed it meanwhile, the worker may
        // have been told already, and found us here.
        if self.is_armed.load(Ordering::Acquire) || (self.unanswered() > 0 && until_ns > now) {
            self.arm(true);
        }
        result.map(|()| true)
    }

    /// Switches the worker's interest in what arrives. Asked for again, it is told again of what is there: another thread
    /// may have swallowed the first word.
    fn arm(&self, wanted: bool) {
        if !self.is_armed.swap(wanted, Ordering::AcqRel) && !wanted {
            return;
        }
        self.tell_reactor(&self.wants_room.lock());
    }

    /// Whether something waits for room to be sent. Sockets within a host tell of room whenever the other side has read
    /// something: for whoever has nothing to send, that is a wake-up for nothing.
    pub fn want_room(&self, wanted: bool) {
        let mut wants_room = self.wants_room.lock();
        if *wants_room != wanted {
            *wants_room = wanted;
            self.tell_reactor(&wants_room);
        }
    }

    /// Under the lock, so that of two changes the later one counts.
    fn tell_reactor(&self, wants_room: &bool) {
        let readable = self.is_armed.load(Ordering::Acquire);
        let interest = Interest { readable, writable: *wants_room, edge: true };
        let _ = self.reactor.modify(self.token, self.socket.as_fd(), interest);
    }

    /// Has the worker told again of what is there: it stopped before the end.
    pub fn look_again(&self) {
        self.tell_reactor(&self.wants_room.lock());
    }

    /// Lets the worker receive, unless a thread is at it.
    pub fn hand_to_worker<R>(&self, receiver: &Mutex<R>) {
        if !self.is_armed.load(Ordering::Acquire) && receiver.try_lock().is_some() {
            self.arm(true);
        }
    }

    /// The worker takes over again when no thread received for a while. True while the clock must come back for that.
    pub fn tick<R>(&self, receiver: &Mutex<R>, now: u64) -> bool {
        if self.is_dead() || self.is_armed.load(Ordering::Acquire) {
            return false;
        }
        let idle_ns = now.saturating_sub(self.led_ns.load(Ordering::Relaxed));
        let patience = if self.unanswered() > 0 { UNDRIVEN_NS } else { UNUSED_NS };
        if idle_ns > patience && receiver.try_lock().is_some() {
            self.arm(true);
            return false;
        }
        true
    }
}
