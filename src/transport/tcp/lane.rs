//! One connection to a peer, on the side that asks. Frames go out in order and are answered in order; whoever submits
//! may send, and whoever waits may receive, if no other thread does.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::greet::{ClientGreeting, Met};
use super::link::Link;
use super::stream::{Gate, Handler, Looked, OutFrame, Payload, READ_PATIENCE, Receiver, Sent, send_frame};
use super::wire::{AckEntry, DataEntry, Entry, FLAG_CHECKSUM, FLAG_MORE, Header, Method, code_of};
use crate::error::{Code, Error, Result};
use crate::rpc::auth::Seal;
use crate::sys::memory::IoVec;
use crate::sys::net::{self, Blocking};
use crate::sys::reactor::{Ready, Source};
use crate::sys::{checksum, clock};
use crate::transport::{Connection, Opcode, Outcome, Owner, Run};
use crate::{bail, fail};

/// Most unanswered bytes on one lane: the pipe stays full over a long link, and a slow lane takes no more than that.
const WINDOW: usize = 8 << 20;
/// Most payload in one WRITE: the peer receives and verifies one while the next is made.
const WRITE_BYTES: usize = 128 << 10;
/// Most bytes asked for with one READ; they come in several answers.
const READ_BYTES: usize = 256 << 10;
/// Most slices in one frame.
const FRAME_SLICES: usize = 128;
/// Times that a slice is sent again after a wrong checksum.
const CHECKSUM_RETRIES: u32 = 1;
/// What one call of `send_queued` sends at most before it lets others go on.
pub const SEND_BUDGET: usize = 1 << 20;

/// A frame that awaits its answer.
struct Flight {
    id: u64,
    opcode: Opcode,
    runs: Vec<Run>,
    bytes: usize,
    /// Slices of a READ that were answered.
    answered: u32,
    /// Slices that the peer refused, by their index in the frame.
    refused: Vec<(u32, Code)>,
}

impl Flight {
    /// The slices in order: their run and index in the batch.
    fn slices(&self) -> impl Iterator<Item = (&Run, u32)> {
        self.runs.iter().flat_map(|run| (run.first..run.first + run.count).map(move |index| (run, index)))
    }

    fn slice_count(&self) -> u32 {
        self.runs.iter().map(|run| run.count).sum()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Connecting,
    Greeting,
    Ready,
}

struct Sender {
    frame: OutFrame,
    is_sending: bool,
    vectors: Vec<IoVec<'static>>,
    next_id: u64,
}

struct State {
    phase: Phase,
    greeting: Option<ClientGreeting>,
    has_checksum: bool,
    clock_offset_us: i64,
}

/// A slice whose bytes come next.
struct Arriving {
    /// Among all that were asked for together.
    position: u32,
    owner: Arc<dyn Owner>,
    index: usize,
    /// Stands beside it until the bytes are there.
    crc: u32,
}

pub struct Lane {
    link: Weak<Link>,
    /// 0 carries control messages, the others data.
    pub index: u32,
    pub epoch: u64,
    connection: Connection,
    state: Mutex<State>,
    sender: Mutex<Sender>,
    receiver: Mutex<Receiver>,
    flights: Mutex<VecDeque<Flight>>,
    /// Of the frame of an answer that is arriving.
    arriving: Mutex<Vec<Arriving>>,
    /// Lists of runs for frames to come, so that posting allocates nothing.
    spare_runs: Mutex<Vec<Vec<Run>>>,
    /// The last WRITE said that more follows: the peer may hold its acknowledgements back until then.
    has_promised: AtomicBool,
    /// Control messages that wait to be sent.
    messages: Mutex<VecDeque<Vec<u8>>>,
    seal_out: Mutex<Option<Seal>>,
    is_ready: AtomicBool,
    me: Weak<Lane>,
}

impl Lane {
    /// Starts to connect.
    pub fn start(link: &Arc<Link>, index: u32, epoch: u64, socket: TcpStream) -> Result<Arc<Lane>> {
        let lane = Arc::new_cyclic(|me| Lane {
            link: Arc::downgrade(link),
            index,
            epoch,
            connection: Connection::new(&link.node.reactor, index as usize, socket),
            state: Mutex::new(State {
                phase: Phase::Connecting,
                greeting: None,
                has_checksum: false,
                clock_offset_us: 0,
            }),
            sender: Mutex::new(Sender {
                frame: OutFrame::default(),
                is_sending: false,
                vectors: Vec::with_capacity(160),
                next_id: 1,
            }),
            receiver: Mutex::default(),
            flights: Mutex::new(VecDeque::with_capacity(64)),
            arriving: Mutex::default(),
            spare_runs: Mutex::new((0..SPARE_RUNS).map(|_| Vec::with_capacity(4)).collect()),
            has_promised: AtomicBool::new(false),
            messages: Mutex::default(),
            seal_out: Mutex::new(None),
            is_ready: AtomicBool::new(false),
            me: me.clone(),
        });
        lane.connection.watch(lane.clone())?;
        Ok(lane)
    }

    pub fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire) && !self.is_dead()
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

    /// Puts a control message in the queue; `header.length` is set here.
    pub fn queue_message(&self, header: Header, body: Vec<u8>) {
        // The order of tags is the order of the queue.
        let mut seal = self.seal_out.lock();
        let bytes = super::greet::message(header, body, seal.as_mut());
        self.messages.lock().push_back(bytes);
    }

    /// Calls this lane's worker, which sends what waits.
    pub fn nudge(&self) {
        self.connection.nudge();
    }

    /// Sends what waits, if no other thread does: messages of this lane, then slices of the link, at most `budget`
    /// bytes of them. Never waits.
    pub fn send_queued(&self, budget: usize) -> Result<()> {
        let Some(link) = self.link.upgrade() else { return Ok(()) };
        let mut left = budget;
        loop {
            if self.is_dead() || !self.may_send() {
                return Ok(());
            }
            // Whoever holds it looks again after letting go: what we queued is not forgotten.
            let Some(mut sender) = self.sender.try_lock() else { return Ok(()) };
            let mut is_blocked = false;
            while sender.is_sending || (left > 0 && self.next_frame(&link, &mut sender, &mut left)) {
                sender.is_sending = true;
                let Sender { frame, vectors, .. } = &mut *sender;
                if send_frame(&self.connection.socket, frame, vectors)? == Sent::Blocked {
                    is_blocked = true;
                    break;
                }
                sender.frame.clear();
                sender.is_sending = false;
            }
            drop(sender);
            if is_blocked {
                // The edge-triggered worker hears when there is room.
                return Ok(());
            }
            if !self.has_work(&link) {
                return Ok(());
            }
            if left == 0 {
                // The worker goes on; a thread that waits may be faster.
                self.nudge();
                return Ok(());
            }
        }
    }

    fn may_send(&self) -> bool {
        self.is_ready() || !self.messages.lock().is_empty()
    }

    fn has_work(&self, link: &Link) -> bool {
        !self.messages.lock().is_empty()
            || self.has_promised.load(Ordering::Acquire)
            || (self.index > 0 && self.is_ready() && !link.queue.is_empty() && self.unanswered() < WINDOW)
    }

    /// Makes the next frame; false when nothing may go.
    fn next_frame(&self, link: &Link, sender: &mut Sender, left: &mut usize) -> bool {
        if let Some(message) = self.messages.lock().pop_front() {
            sender.frame.head = message;
            return true;
        }
        if self.index == 0 || !self.is_ready() || self.unanswered() >= WINDOW {
            return self.keep_promise(sender);
        }
        let mut runs = self.spare_runs.lock().pop().unwrap_or_default();
        let room = |opcode| if opcode == Opcode::Write { WRITE_BYTES } else { READ_BYTES };
        let Some(opcode) = link.queue.take(room, FRAME_SLICES, &mut runs) else {
            self.spare_runs.lock().push(runs);
            return self.keep_promise(sender);
        };
        let (has_checksum, offset) = {
            let state = self.state.lock();
            (state.has_checksum, state.clock_offset_us)
        };
        let id = sender.next_id;
        sender.next_id += 1;
        let has_more = opcode == Opcode::Write && !link.queue.is_empty();
        self.has_promised.store(has_more, Ordering::Release);
        // The peer answers a read as it was asked.
        let is_in_good_hands = opcode == Opcode::Read && runs.iter().all(|run| run.owner.verifies_reads());
        let mut flags = if has_checksum && !is_in_good_hands { FLAG_CHECKSUM } else { 0 };
        if has_more {
            flags |= FLAG_MORE;
        }
        let bytes = build(&mut sender.frame, opcode, id, &runs, flags, offset);
        *left = left.saturating_sub(bytes);
        self.connection.owe(bytes);
        self.flights.lock().push_back(Flight { id, opcode, runs, bytes, answered: 0, refused: Vec::new() });
        true
    }

    /// Nothing follows after all, for another lane took it or the peer owes too much: then this does.
    fn keep_promise(&self, sender: &mut Sender) -> bool {
        let has_promised = self.has_promised.swap(false, Ordering::AcqRel);
        if has_promised {
            sender.frame.head.clear();
            sender.frame.head.extend_from_slice(&Header::new(Method::Flush, 0, 0).encode());
        }
        has_promised
    }

    /// Receives what is there; the worker's way.
    fn receive_available(&self) -> Result<()> {
        // A waiting thread is at it: the clock arms us again when it stops.
        let Some(mut receiver) = self.receiver.try_lock() else { return Ok(()) };
        while !self.look(&mut receiver, Blocking::No)?.is_drained {}
        Ok(())
    }

    fn look(&self, receiver: &mut Receiver, blocking: Blocking) -> Result<Looked> {
        if self.is_dead() {
            bail!(ConnectionLost, "the connection was given up");
        }
        let looked = receiver.look(&self.connection.socket, blocking, &mut Answers { lane: self })?;
        if looked.bytes > 0 {
            self.connection.heard();
        }
        Ok(looked)
    }

    /// Receives on the calling thread until `is_done`; false when another thread does, or nothing is awaited.
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
            if until_ns <= clock::now_ns() {
                self.look(receiver, Blocking::No)?;
                return Ok(());
            }
            let mut spinner = std::mem::take(&mut receiver.spinner);
            let spun = spinner.spin(SPIN_NS, || {
                let looked = self.look(receiver, Blocking::No);
                (!matches!(looked, Ok(Looked { bytes: 0, .. }))).then_some(looked)
            });
            receiver.spinner = spinner;
            match spun {
                Some(looked) => looked?,
                None => self.look(receiver, Blocking::Yes)?,
            };
        }
    }

    /// Lets the worker receive, unless a thread is at it.
    pub fn hand_to_worker(&self) {
        self.connection.hand_to_worker(&self.receiver);
    }

    pub fn peer_address(&self) -> Result<std::net::SocketAddr> {
        self.connection.socket.peer_addr().map_err(|error| fail!(ConnectionLost, "{error}"))
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
    pub fn take_back(&self) -> Vec<Run> {
        drop(self.sender.lock());
        drop(self.receiver.lock());
        self.connection.forget_owed();
        std::mem::take(&mut *self.flights.lock()).into_iter().flat_map(|flight| flight.runs).collect()
    }

    /// Whether a batch has unanswered writes here.
    pub fn has_flights_of(&self, run_is: impl Fn(&Run) -> bool) -> bool {
        self.flights.lock().iter().flat_map(|flight| &flight.runs).any(|run| run_is(run) && !run.is_done())
    }

    /// Completes reads of a stopped batch: their answers go nowhere.
    pub fn drop_reads(&self, run_is: impl Fn(&Run) -> bool, reason: Code) {
        let runs: Vec<Run> = {
            let flights = self.flights.lock();
            let reads = flights.iter().filter(|flight| flight.opcode == Opcode::Read);
            reads.flat_map(|flight| &flight.runs).filter(|run| run_is(run)).cloned().collect()
        };
        for run in runs {
            run.complete(Outcome::Failed(reason), &|| "stopped while the peer was answering".into());
        }
    }

    fn greet(&self, link: &Arc<Link>) -> Result<()> {
        net::connect_finish(&self.connection.socket).map_err(|error| fail!(Unreachable, "{error}"))?;
        net::prepare_stream(&self.connection.socket, READ_PATIENCE, link.node.keepalive * 3)
            .map_err(|error| fail!(Unreachable, "{error}"))?;
        let (greeting, hello) = ClientGreeting::start(&link.node, self.epoch, self.index);
        {
            let mut state = self.state.lock();
            state.phase = Phase::Greeting;
            state.greeting = Some(greeting);
        }
        self.messages.lock().push_back(hello);
        self.send_queued(SEND_BUDGET)
    }

    fn met(&self, body: &[u8]) -> Result<()> {
        let link = self.link.upgrade().ok_or_else(|| fail!(ConnectionLost, "the link is closed"))?;
        let met: Met = {
            let mut state = self.state.lock();
            let Some(greeting) = state.greeting.take() else { bail!(Rejected, "a second greeting") };
            let met = greeting.finish(&link.node, body)?;
            state.phase = Phase::Ready;
            state.has_checksum = met.has_checksum;
            state.clock_offset_us = met.clock_offset_us;
            met
        };
        if let Some(auth) = met.auth {
            self.messages.lock().push_back(auth);
        }
        *self.seal_out.lock() = None;
        if let Some(seal) = met.seal {
            let (out, inward) = seal.split();
            *self.seal_out.lock() = Some(out);
            link.keep_seal(self.index, inward);
        }
        let me = self.me.upgrade().ok_or_else(|| fail!(ConnectionLost, "the lane is closed"))?;
        link.greeted(&me, met.greeting)?;
        self.is_ready.store(true, Ordering::Release);
        Ok(())
    }

    fn handle_ack(&self, meta: &[u8]) -> Result<()> {
        for entry in meta.chunks_exact(AckEntry::LENGTH).map(AckEntry::decode) {
            let mut flights = self.flights.lock();
            let front =
                flights.front_mut().filter(|flight| flight.id == entry.id && flight.opcode == Opcode::Write);
            let Some(flight) = front else { bail!(Rejected, "an acknowledgement for no frame of ours") };
            if entry.index != AckEntry::ALL {
                let is_known = flight.refused.iter().any(|(index, _)| *index == entry.index);
                if entry.index >= flight.slice_count() || is_known {
                    bail!(Rejected, "an acknowledgement for slice {}, which awaits none", entry.index);
                }
                let code = code_of(entry.status).unwrap_or(Code::Rejected);
                flight.refused.push((entry.index, code));
                continue;
            }
            let flight = flights.pop_front().expect("looked at above");
            drop(flights);
            self.settle(flight);
        }
        Ok(())
    }

    /// A frame was answered: completes its slices.
    fn settle(&self, flight: Flight) {
        self.connection.answered(flight.bytes);
        let Some(link) = self.link.upgrade() else { return };
        let refusal = |position: usize| {
            flight.refused.iter().find(|(refused, _)| *refused as usize == position).map(|(_, code)| *code)
        };
        // Counted before the last word: whoever waits for the batch finds its bytes counted.
        let refused: usize = flight
            .refused
            .iter()
            .filter_map(|(position, _)| flight.slices().nth(*position as usize))
            .map(|(run, index)| run.owner.slices()[index as usize].len())
            .sum();
        link.count(flight.opcode, (flight.bytes - refused) as u64);
        for (position, (run, index)) in flight.slices().enumerate() {
            match refusal(position) {
                // Stopped meanwhile: bytes that arrived were dropped, and zeros may have been sent instead of others.
                None if run.owner.stopped().is_some() => {
                    let reason = run.owner.stopped().unwrap_or(Code::Canceled);
                    run.owner
                        .complete(run.epoch, index, Outcome::Failed(reason), &|| "stopped under way".into());
                }
                None => run.owner.complete(run.epoch, index, Outcome::Done, &String::new),
                Some(code) => link.slice_refused(run, index, code, CHECKSUM_RETRIES),
            }
        }
        let mut runs = flight.runs;
        runs.clear();
        let mut spare = self.spare_runs.lock();
        if spare.len() < SPARE_RUNS {
            spare.push(runs);
        }
    }

    /// An error ended this connection; must not be called with a lock of the lane held.
    fn broken(&self, error: Error) {
        if let Some(link) = self.link.upgrade() {
            link.lane_broken(self.epoch, error);
        }
    }
}

/// How long a thread that waits for an answer looks for it before it sleeps.
const SPIN_NS: u64 = 50_000;
/// Lists of runs that a lane keeps.
const SPARE_RUNS: usize = 16;

/// Fills a frame; returns the bytes of its slices.
fn build(frame: &mut OutFrame, opcode: Opcode, id: u64, runs: &[Run], flags: u16, offset_us: i64) -> usize {
    let has_checksum = flags & FLAG_CHECKSUM != 0;
    let count: u32 = runs.iter().map(|run| run.count).sum();
    let method = if opcode == Opcode::Write { Method::Write } else { Method::Read };
    let mut header = Header::new(method, id, 0);
    header.count = count;
    header.flags = flags;
    frame.clear();
    frame.head.resize(super::wire::HEADER_LENGTH, 0);
    let mut bytes = 0;
    let mut deadline = 0;
    for run in runs {
        deadline = deadline.max(run.owner.deadline_ns());
        let gate = Gate::Owner(run.owner.clone(), run.epoch);
        for slice in run.slices() {
            let mut crc = 0;
            if opcode == Opcode::Write {
                if has_checksum && run.owner.begin_touch(run.epoch) {
                    crc = checksum::crc32c_of(slice.local);
                    run.owner.end_touch();
                }
                frame.payload.push(slice.local, &gate);
            }
            let key = slice.key.load(Ordering::Relaxed);
            Entry { address: slice.remote, key, length: slice.len() as u32, crc }.encode(&mut frame.head);
            bytes += slice.len();
        }
    }
    header.length = (frame.head.len() - super::wire::HEADER_LENGTH + frame.payload.len()) as u64;
    if deadline != u64::MAX {
        header.expiry_us = (deadline / 1000).saturating_add_signed(offset_us).max(1);
    }
    frame.head[..super::wire::HEADER_LENGTH].copy_from_slice(&header.encode());
    bytes
}

/// What the peer answers.
struct Answers<'a> {
    lane: &'a Lane,
}

impl Handler for Answers<'_> {
    fn header(&mut self, header: &Header) -> Result<()> {
        let phase = self.lane.state.lock().phase;
        let is_fine = match header.method {
            Method::HelloAck => phase == Phase::Greeting,
            Method::Reply => phase == Phase::Ready && self.lane.index == 0,
            Method::Ack | Method::Data => phase == Phase::Ready && self.lane.index > 0,
            _ => false,
        };
        if !is_fine {
            bail!(Rejected, "the peer sent {:?} where that makes no sense", header.method);
        }
        Ok(())
    }

    fn begin(&mut self, header: &Header, meta: &[u8], payload: &mut Payload) -> Result<()> {
        match header.method {
            Method::HelloAck => self.lane.met(meta),
            Method::Reply => {
                let link =
                    self.lane.link.upgrade().ok_or_else(|| fail!(ConnectionLost, "the link is closed"))?;
                link.replied(header, meta)
            }
            Method::Ack => self.lane.handle_ack(meta),
            _ => self.place(header, meta, payload),
        }
    }

    fn end(&mut self, header: &Header, payload: &Payload) -> Result<()> {
        if header.method != Method::Data {
            return Ok(());
        }
        let mut corrupted = self.verify(payload, header.flags & FLAG_CHECKSUM != 0);
        let mut flights = self.lane.flights.lock();
        let Some(flight) = flights.front_mut() else {
            bail!(ConnectionLost, "the connection was given up");
        };
        flight.refused.append(&mut corrupted);
        flight.answered += header.count;
        if header.flags & FLAG_MORE != 0 {
            return Ok(());
        }
        let flight = flights.pop_front().expect("looked at above");
        drop(flights);
        self.lane.settle(flight);
        Ok(())
    }
}

impl Answers<'_> {
    /// Where the bytes of an answer go: into the memory of the slices that were asked for.
    fn place(&mut self, header: &Header, meta: &[u8], payload: &mut Payload) -> Result<()> {
        let mut flights = self.lane.flights.lock();
        let front =
            flights.front_mut().filter(|flight| flight.id == header.id && flight.opcode == Opcode::Read);
        let Some(flight) = front else { bail!(Rejected, "data that nobody asked for") };
        let left = flight.slice_count() - flight.answered;
        let has_more = header.flags & FLAG_MORE != 0;
        if header.count > left || (header.count == left) == has_more {
            bail!(Rejected, "data for {} slices, {left} were asked for", header.count);
        }
        let entries = meta.chunks_exact(DataEntry::LENGTH).map(DataEntry::decode);
        let mut refused = Vec::new();
        let mut arriving = self.lane.arriving.lock();
        arriving.clear();
        let slices = flight.slices().enumerate().skip(flight.answered as usize);
        for ((position, (run, index)), entry) in slices.zip(entries) {
            match code_of(entry.status) {
                Some(code) => refused.push((position as u32, code)),
                None => {
                    let slice = &run.owner.slices()[index as usize];
                    payload.push(slice.local, &Gate::Owner(run.owner.clone(), run.epoch));
                    let (position, owner) = (position as u32, run.owner.clone());
                    arriving.push(Arriving { position, owner, index: index as usize, crc: entry.crc });
                }
            }
        }
        flight.refused.append(&mut refused);
        Ok(())
    }

    /// Which of the slices that have come are not what was sent. Where that is for their owners to find out, they get sums.
    fn verify(&self, payload: &Payload, has_checksum: bool) -> Vec<(u32, Code)> {
        let mut corrupted = Vec::new();
        for (piece, one) in self.lane.arriving.lock().drain(..).enumerate() {
            // A shut gate: the batch was stopped, and its slices are completed already.
            if has_checksum && payload.checksum(piece).is_some_and(|found| found != one.crc) {
                corrupted.push((one.position, Code::Corrupted));
            } else if !has_checksum && one.owner.verifies_reads() {
                payload.look(piece, || one.owner.slices()[one.index].sum());
            }
        }
        corrupted
    }
}

impl Source for Lane {
    fn ready(&self, ready: Ready) {
        let Some(link) = self.link.upgrade() else { return };
        if self.is_dead() {
            return;
        }
        let result = (|| {
            let phase = self.state.lock().phase;
            if phase == Phase::Connecting {
                if ready.writable || ready.hung_up {
                    return self.greet(&link);
                }
                return Ok(());
            }
            if ready.readable {
                self.receive_available()?;
            }
            self.send_queued(SEND_BUDGET)
        })();
        if let Err(error) = result {
            self.broken(error);
        }
    }

    fn broken(&self) {
        Lane::broken(self, fail!(Internal, "a defect while handling this connection"));
    }
}
