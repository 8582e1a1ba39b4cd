//! One connection to a server of Mooncake. Trains of requests go out and are answered in order; whoever submits may send,
//! and whoever waits may receive, if no other thread does.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::Hub;
use super::remote::Remote;
use super::train::{Progress, Seen, Train};
use crate::error::{Code, Error, Result};
use crate::sys::clock;
use crate::sys::memory::{IoVec, Mem};
use crate::sys::net::{self, Blocking};
use crate::sys::reactor::{Ready, Source, Token};
use crate::transport::{Connection, Opcode, Outcome, Run};
use crate::{bail, fail};

/// Most unanswered bytes on one lane.
const WINDOW: usize = 8 << 20;
/// What one call of `send_queued` sends at most before it lets others go on.
pub const SEND_BUDGET: usize = 4 << 20;
/// How long a thread that waits for bytes sleeps before it looks at the clock.
const READ_PATIENCE: Duration = Duration::from_millis(10);

struct Sender {
    train: Option<Arc<Train>>,
    sent: usize,
    vectors: Vec<IoVec<'static>>,
}

/// How far the answers of the first unanswered train are.
struct Receiver {
    received: usize,
    progress: Progress,
    done: usize,
    /// Slices that the peer refused; it closes the connection after saying so.
    refused: Option<(usize, usize)>,
    vectors: Vec<IoVec<'static>>,
    /// For what belongs to nobody any more.
    sink: Vec<u8>,
}

const SINK: usize = 64 << 10;
/// Bytes of an answer that a waiting thread lets come before it takes them.
const WAIT_BYTES: usize = 64 << 10;

pub struct Lane {
    remote: Weak<Remote>,
    hub: Arc<Hub>,
    connection: Connection,
    sender: Mutex<Sender>,
    receiver: Mutex<Receiver>,
    /// Those that were or are being sent, in that order.
    trains: Mutex<VecDeque<Arc<Train>>>,
    /// Requests that were answered: a connection that never worked is another matter than one that was cut.
    answered: AtomicU64,
    is_connected: AtomicBool,
}

/// What was under way on a lane that ended.
pub struct TakenBack {
    pub refused: Vec<Run>,
    pub unfinished: Vec<Run>,
    pub has_worked: bool,
}

impl Lane {
    /// Starts to connect.
    pub fn start(remote: &Arc<Remote>, index: usize, address: &SocketAddr) -> Result<Arc<Lane>> {
        let hub = remote.hub.clone();
        let socket = net::connect_start(address).map_err(|error| fail!(Unreachable, "{error}"))?;
        let lane = Arc::new(Lane {
            remote: Arc::downgrade(remote),
            connection: Connection::new(&hub.reactor, index + 1, socket),
            hub,
            sender: Mutex::new(Sender { train: None, sent: 0, vectors: Vec::with_capacity(64) }),
            receiver: Mutex::new(Receiver {
                received: 0,
                progress: Progress::default(),
                done: 0,
                refused: None,
                vectors: Vec::with_capacity(64),
                sink: Vec::new(),
            }),
            trains: Mutex::new(VecDeque::with_capacity(8)),
            answered: AtomicU64::new(0),
            is_connected: AtomicBool::new(false),
        });
        lane.connection.watch(lane.clone())?;
        Ok(lane)
    }

    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Acquire) && !self.is_dead()
    }

    pub fn is_dead(&self) -> bool {
        self.connection.is_dead()
    }

    /// Bytes sent or asked for that were not answered.
    pub fn unanswered(&self) -> usize {
        self.connection.unanswered()
    }

    pub fn heard_ns(&self) -> u64 {
        self.connection.heard_ns()
    }

    /// Calls this lane's worker, which sends what waits.
    pub fn nudge(&self) {
        self.connection.nudge();
    }

    /// Sends what waits, if no other thread does, at most `budget` bytes of it. Never waits.
    pub fn send_queued(&self, budget: usize) -> Result<()> {
        let Some(remote) = self.remote.upgrade() else { return Ok(()) };
        let mut left = budget;
        loop {
            if !self.is_connected() {
                return Ok(());
            }
            // Whoever holds it looks again after letting go: what we queued is not forgotten.
            let Some(mut sender) = self.sender.try_lock() else { return Ok(()) };
            while sender.train.is_some() || (left > 0 && self.next_train(&remote, &mut sender, &mut left)) {
                if !self.send_train(&mut sender)? {
                    // The edge-triggered worker hears when there is room.
                    return Ok(());
                }
            }
            drop(sender);
            if remote.queue.is_empty() || self.unanswered() >= WINDOW {
                return Ok(());
            }
            if left == 0 {
                self.nudge();
                return Ok(());
            }
        }
    }

    /// False when the socket takes no more at the moment.
    fn send_train(&self, sender: &mut Sender) -> Result<bool> {
        let Sender { train, sent, vectors } = sender;
        let Some(current) = train.clone() else { return Ok(true) };
        while *sent < current.out.len() {
            vectors.clear();
            let is_shut = Cell::new(false);
            let result = current.out.with_vectors(
                *sent,
                vectors,
                |_, _| is_shut.set(true),
                |vectors| {
                    if is_shut.get() { Ok(None) } else { net::send(&self.connection.socket, vectors, false) }
                },
            );
            if is_shut.get() {
                // What was announced cannot be sent any more, and nothing else may be sent in its place.
                bail!(Canceled, "stopped in the middle of sending");
            }
            match result {
                Ok(Some(count)) => *sent += count,
                Ok(None) => return Ok(false),
                Err(error) => return Err(lost(&error)),
            }
        }
        *train = None;
        *sent = 0;
        Ok(true)
    }

    /// Takes the next slices from the queue; false when nothing may go.
    fn next_train(&self, remote: &Remote, sender: &mut Sender, left: &mut usize) -> bool {
        // Looked at with the sender held: `take_back` takes it after the death, and so sees every train put here.
        if self.is_dead() || self.unanswered() >= WINDOW {
            return false;
        }
        let Some(train) = remote.take_train() else { return false };
        let train = Arc::new(train);
        *left = left.saturating_sub(train.bytes);
        if self.connection.owe(train.bytes) {
            self.connection.heard();
        }
        // Before it is sent: the answer may come first.
        self.trains.lock().push_back(train.clone());
        sender.train = Some(train);
        true
    }

    /// Receives what is there; the worker's way.
    fn receive_available(&self) -> Result<()> {
        // A waiting thread is at it: the clock arms us again when it stops.
        let Some(mut receiver) = self.receiver.try_lock() else { return Ok(()) };
        while !self.look(&mut receiver, Blocking::No)? {}
        Ok(())
    }

    /// Receives once; true when nothing more is there at the moment. With `Blocking::Yes` it waits for the first byte for
    /// a while, but never while it holds a gate open.
    fn look(&self, receiver: &mut Receiver, blocking: Blocking) -> Result<bool> {
        if self.is_dead() {
            bail!(ConnectionLost, "the connection was given up");
        }
        let Some(train) = self.trains.lock().front().cloned() else { return self.look_unasked() };
        let (asked, got) =
            receiver.receive(&self.connection.socket, &train, blocking).map_err(|error| lost(&error))?;
        let Some(bytes) = got else { return Ok(true) };
        if bytes == 0 {
            bail!(ConnectionLost, "the peer closed the connection");
        }
        self.connection.heard();
        receiver.received += bytes;
        self.take_note(receiver, &train)?;
        Ok(bytes < asked)
    }

    /// Nothing is expected: a peer that sends all the same makes no sense, one that closes has done nothing wrong.
    fn look_unasked(&self) -> Result<bool> {
        let mut byte = [0; 1];
        let got = net::receive(&self.connection.socket, &[IoVec::bytes_mut(&mut byte)], Blocking::No);
        match got.map_err(|error| lost(&error))? {
            None => Ok(true),
            Some(0) => bail!(ConnectionLost, "the peer closed the connection"),
            Some(_) => bail!(Rejected, "the peer sent bytes that nobody asked for"),
        }
    }

    fn take_note(&self, receiver: &mut Receiver, train: &Arc<Train>) -> Result<()> {
        while let Some(seen) = train.look(&mut receiver.progress, receiver.received)? {
            match seen {
                Seen::Done(end) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    self.complete(train, receiver.done, end);
                    receiver.done = end;
                }
                Seen::Refused(first, end) => {
                    receiver.refused = Some((first, end));
                    bail!(AddressNotRegistered, "the peer refused a range");
                }
            }
        }
        if receiver.received == train.answers.len() {
            receiver.received = 0;
            receiver.done = 0;
            receiver.progress = Progress::default();
            self.trains.lock().pop_front();
            self.connection.answered(train.bytes);
        }
        Ok(())
    }

    fn complete(&self, train: &Train, first: usize, end: usize) {
        let mut bytes = 0;
        for (run, index) in train.slices().skip(first).take(end - first) {
            match run.owner.stopped().filter(|_| train.opcode == Opcode::Read) {
                // Its bytes went nowhere.
                Some(reason) => run.owner.complete(run.epoch, index, Outcome::Failed(reason), &|| {
                    "stopped while the peer was answering".into()
                }),
                None => {
                    bytes += run.owner.slices()[index as usize].len() as u64;
                    run.owner.complete(run.epoch, index, Outcome::Done, &String::new);
                }
            }
        }
        self.hub.count(train.opcode, bytes);
    }

    /// Receives on the calling thread until `is_done`; false when another thread does, or nothing is awaited. The caller
    /// holds the remote: see `ready`.
    pub fn lead(&self, is_done: &dyn Fn() -> bool, until_ns: u64) -> Result<bool> {
        self.connection
            .lead(&self.receiver, until_ns, |receiver| self.receive_until(receiver, is_done, until_ns))
    }

    fn receive_until(
        &self,
        receiver: &mut Receiver,
        is_done: &dyn Fn() -> bool,
        until_ns: u64,
    ) -> Result<()> {
        loop {
            self.send_queued(SEND_BUDGET)?;
            if is_done() || self.unanswered() == 0 {
                return Ok(());
            }
            let can_wait = until_ns > clock::now_ns();
            self.look(receiver, if can_wait { Blocking::Yes } else { Blocking::No })?;
            if !can_wait {
                return Ok(());
            }
        }
    }

    /// Lets the worker receive, unless a thread is at it.
    pub fn hand_to_worker(&self) {
        self.connection.hand_to_worker(&self.receiver);
    }

    /// The worker takes over again when no thread received for a while. True while the clock must come back for that.
    pub fn tick(&self, now: u64) -> bool {
        self.connection.tick(&self.receiver, now)
    }

    /// Gives the connection up. What was under way is still in its books: `take_back` hands it out.
    pub fn kill(&self) {
        self.connection.kill();
    }

    /// After `kill`: waits for threads in the middle of a system call, and returns what was not answered. Must not be
    /// called by a thread that sends or receives on this lane.
    pub fn take_back(&self) -> TakenBack {
        drop(self.sender.lock());
        let mut receiver = self.receiver.lock();
        self.connection.forget_owed();
        let refused = receiver.refused.take();
        let mut taken = TakenBack {
            refused: Vec::new(),
            unfinished: Vec::new(),
            has_worked: self.answered.load(Ordering::Relaxed) > 0 || refused.is_some(),
        };
        let trains = std::mem::take(&mut *self.trains.lock());
        for (position, train) in trains.iter().enumerate() {
            let is_front = position == 0;
            let done = if is_front { receiver.done } else { 0 };
            for (at, (run, index)) in train.slices().enumerate().skip(done) {
                let run = Run { owner: run.owner.clone(), epoch: run.epoch, first: index, count: 1 };
                match refused {
                    Some((first, end)) if is_front && (first..end).contains(&at) => taken.refused.push(run),
                    _ => taken.unfinished.push(run),
                }
            }
        }
        taken
    }

    /// Whether a batch has unanswered requests here.
    pub fn has_runs_of(&self, run_is: impl Fn(&Run) -> bool) -> bool {
        self.trains.lock().iter().flat_map(|train| &train.runs).any(|run| run_is(run) && !run.is_done())
    }

    /// Completes reads of a stopped batch: their answers go nowhere.
    pub fn drop_reads(&self, run_is: impl Fn(&Run) -> bool, reason: Code) {
        let runs: Vec<Run> = {
            let trains = self.trains.lock();
            let reads = trains.iter().filter(|train| train.opcode == Opcode::Read);
            reads.flat_map(|train| &train.runs).filter(|run| run_is(run)).cloned().collect()
        };
        for run in runs {
            run.complete(Outcome::Failed(reason), &|| "stopped while the peer was answering".into());
        }
    }

    fn finish_connecting(&self) -> Result<()> {
        net::connect_finish(&self.connection.socket).map_err(|error| fail!(Unreachable, "{error}"))?;
        net::prepare_stream(&self.connection.socket, READ_PATIENCE, self.hub.keepalive * 3)
            .map_err(|error| fail!(Unreachable, "{error}"))?;
        self.is_connected.store(true, Ordering::Release);
        self.send_queued(SEND_BUDGET)
    }

    fn fail(&self, error: Error) {
        if let (Some(remote), false) = (self.remote.upgrade(), self.is_dead()) {
            remote.lane_broken(self.connection.token, error);
        }
    }

    pub fn token(&self) -> Token {
        self.connection.token
    }
}

fn lost(error: &std::io::Error) -> Error {
    Error::new(Code::ConnectionLost, error.to_string())
}

impl Receiver {
    /// Asks for what is left of the answers to a train: (bytes asked for, bytes received).
    fn receive(
        &mut self,
        socket: &TcpStream,
        train: &Train,
        blocking: Blocking,
    ) -> std::io::Result<(usize, Option<usize>)> {
        let left = train.answers.len() - self.received;
        if blocking == Blocking::Yes
            && let Some(memory) = train.words_left(left)
        {
            return net::receive(socket, &[IoVec::of(memory)], Blocking::Yes).map(|got| (left, got));
        }
        let (asked, got) = self.receive_at_once(socket, train)?;
        if got.is_some() || blocking == Blocking::No {
            return Ok((asked, got));
        }
        // A server sends the status by itself and the bytes after it: woken by each, we would ask many times for little.
        net::readable_from(socket, left.min(WAIT_BYTES) as i32)?;
        net::wait_readable(socket, READ_PATIENCE);
        net::readable_from(socket, 1)?;
        self.receive_at_once(socket, train)
    }

    fn receive_at_once(
        &mut self,
        socket: &TcpStream,
        train: &Train,
    ) -> std::io::Result<(usize, Option<usize>)> {
        if self.sink.is_empty() {
            self.sink = vec![0; SINK];
        }
        let sink = Mem::of(&self.sink);
        let into_sink = move |vectors: &mut Vec<IoVec<'static>>, mut length: usize| {
            while length > 0 {
                let part = length.min(SINK);
                vectors.push(IoVec::of(sink.part(0, part)));
                length -= part;
            }
        };
        self.vectors.clear();
        let mut asked = 0;
        let got = train.answers.with_vectors(self.received, &mut self.vectors, into_sink, |vectors| {
            asked = vectors.iter().map(IoVec::len).sum();
            net::receive(socket, vectors, Blocking::No)
        })?;
        Ok((asked, got))
    }
}

impl Source for Lane {
    fn ready(&self, ready: Ready) {
        // An answer may be what the last holder of the remote waited for. Let go of only after the locks below: its end
        // takes them.
        let Some(_remote) = self.remote.upgrade() else { return };
        if self.is_dead() {
            return;
        }
        let result = (|| {
            if !self.is_connected.load(Ordering::Acquire) {
                // A nudge comes as writable, too, and before the outcome is known there is no error either.
                let is_decided = ready.hung_up || net::wait_writable(&self.connection.socket, Duration::ZERO);
                return if is_decided { self.finish_connecting() } else { Ok(()) };
            }
            if ready.readable {
                self.receive_available()?;
            }
            self.send_queued(SEND_BUDGET)
        })();
        if let Err(error) = result {
            self.fail(error);
        }
    }

    fn broken(&self) {
        self.fail(fail!(Internal, "a defect while handling this connection"));
    }
}
