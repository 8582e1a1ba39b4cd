//! The way to one peer: connects, greets, shares slices out over its lanes, and starts anew when a connection breaks.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};
use prost::Message;

use super::greet;
use super::lane::{Lane, SEND_BUDGET};
use super::messages::{Description, Notice};
use super::wire::{Header, Method};
use super::{Contact, ContactEvents, Greeting, Node, Reply, ShmOffer};
use crate::error::{Code, Error, Result};
use crate::rpc::auth::Seal;
use crate::sys::{clock, net};
use crate::transport::{Opcode, Outcome, Owner, Path, PathKind, Run, RunQueue, same_owner, submitter};
use crate::{bail, fail};

/// Times that connecting is tried again before those who wait are told, and the pause before each.
const RETRY_PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(60),
    Duration::from_millis(150),
    Duration::from_millis(300),
];
/// Times that a slice is sent again after lost connections.
const CONNECTION_RETRIES: u32 = 5;
/// A batch of at least this many bytes is shared out over all lanes.
const SHARE_BYTES: usize = 512 << 10;
/// A clock that stood still for so long, and for a keepalive time, belongs to a process that slept.
const AWAY_NS: u64 = 50_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// No connection, and nobody needs one.
    Idle,
    /// The next attempt comes at this time.
    Waiting(u64),
    Connecting,
    /// The control lane stands and the regions are known.
    Ready,
    Closed,
}

struct State {
    phase: Phase,
    /// Failed attempts since the last success.
    attempts: usize,
    /// Started connecting or lost contact at this time.
    since_ns: u64,
    greeting: Option<Greeting>,
    /// Somebody asked for the regions, and the answer is not there.
    is_describing: bool,
    /// Counts descriptions that arrived, for those who wait for a new one.
    described: u64,
    failure: Option<Error>,
    failures: u64,
}

struct Call {
    method: Method,
    body: Vec<u8>,
    deadline_ns: u64,
    reply: Reply,
    is_sent: bool,
}

type Lanes = Arc<Vec<Arc<Lane>>>;

pub struct Link {
    pub node: Arc<Node>,
    label: String,
    addresses: Vec<SocketAddr>,
    events: Weak<dyn ContactEvents>,
    state: Mutex<State>,
    changed: Condvar,
    epoch: AtomicU64,
    control: RwLock<Option<Arc<Lane>>>,
    lanes: RwLock<Lanes>,
    seal_in: Mutex<Option<Seal>>,
    pub(super) queue: RunQueue,
    calls: Mutex<HashMap<u64, Call>>,
    next_call: AtomicU64,
    /// When the peer was asked whether it lives; 0: not, since it was last heard.
    pinged_ns: AtomicU64,
    watched_ns: AtomicU64,
    me: Weak<Link>,
}

impl Link {
    /// A link that connects when first needed.
    pub fn new(
        node: Arc<Node>,
        label: &str,
        addresses: Vec<SocketAddr>,
        events: Weak<dyn ContactEvents>,
    ) -> Arc<Link> {
        let link = Arc::new_cyclic(|me: &Weak<Link>| Link {
            node,
            label: label.to_owned(),
            addresses,
            events,
            state: Mutex::new(State {
                phase: Phase::Idle,
                attempts: 0,
                since_ns: clock::now_ns(),
                greeting: None,
                is_describing: false,
                described: 0,
                failure: None,
                failures: 0,
            }),
            changed: Condvar::new(),
            // Epochs of one engine grow, over all its links to all its peers: it may reach one peer by two names.
            epoch: AtomicU64::new(0),
            control: RwLock::default(),
            lanes: RwLock::default(),
            seal_in: Mutex::new(None),
            queue: RunQueue::default(),
            calls: Mutex::default(),
            next_call: AtomicU64::new(1),
            pinged_ns: AtomicU64::new(0),
            watched_ns: AtomicU64::new(0),
            me: me.clone(),
        });
        link.node.links.lock().push(Arc::downgrade(&link));
        link
    }

    fn heard_ns(&self) -> Option<u64> {
        let control = self.control.read().as_ref().map(|lane| lane.heard_ns());
        let lanes = self.lanes.read();
        lanes.iter().map(|lane| lane.heard_ns()).chain(control).max()
    }

    fn all_lanes(&self) -> Vec<Arc<Lane>> {
        let mut lanes: Vec<Arc<Lane>> = self.control.read().iter().cloned().collect();
        lanes.extend(self.lanes.read().iter().cloned());
        lanes
    }

    // ---- meeting the peer

    fn connect(&self, state: &mut State) {
        let Some(me) = self.me.upgrade() else { return };
        let address = self.addresses[state.attempts % self.addresses.len()];
        let epoch = clock::now_ns();
        self.epoch.store(epoch, Ordering::Release);
        state.phase = Phase::Connecting;
        state.since_ns = epoch;
        self.node.start_clock();
        let started = net::connect_start(&address)
            .map_err(|error| fail!(Unreachable, "{error}"))
            .and_then(|socket| Lane::start(&me, 0, epoch, socket));
        match started {
            Ok(lane) => *self.control.write() = Some(lane),
            Err(error) => self.lane_broken(epoch, error),
        }
    }

    /// A lane finished its greeting.
    pub(super) fn greeted(&self, lane: &Arc<Lane>, greeting: Greeting) -> Result<()> {
        if lane.index > 0 {
            let known = self.state.lock().greeting.clone();
            if known.is_some_and(|known| known.id != greeting.id) {
                bail!(PeerRestarted, "{} is another engine now", self.label);
            }
            // The lane becomes ready when this returns; its worker then sends what waits.
            return Ok(());
        }
        let before = self.state.lock().greeting.replace(greeting.clone());
        if before.as_ref().is_some_and(|before| before.id != greeting.id) {
            self.fail_queued(Code::PeerRestarted, &format!("{} restarted: its memory is new", self.label));
        }
        self.describe_on(lane);
        self.open_data_lanes(lane)
    }

    fn open_data_lanes(&self, control: &Arc<Lane>) -> Result<()> {
        let me = self.me.upgrade().ok_or_else(|| fail!(Canceled, "the link is closed"))?;
        let address = control.peer_address()?;
        let mut lanes = Vec::new();
        for index in 1..=self.node.lanes {
            let socket = net::connect_start(&address).map_err(|error| fail!(Unreachable, "{error}"))?;
            lanes.push(Lane::start(&me, index as u32, control.epoch, socket)?);
        }
        if self.epoch.load(Ordering::Acquire) != control.epoch {
            lanes.iter().for_each(|lane| lane.kill());
            bail!(ConnectionLost, "the connection was given up");
        }
        *self.lanes.write() = Arc::new(lanes);
        Ok(())
    }

    pub(super) fn keep_seal(&self, lane: u32, seal: Seal) {
        if lane == 0 {
            *self.seal_in.lock() = Some(seal);
        }
    }

    fn describe_on(&self, control: &Arc<Lane>) {
        let Some(me) = self.me.upgrade() else { return };
        let epoch = control.epoch;
        let reply: Reply = Box::new(move |result| match result {
            Ok(body) => {
                if let Err(error) = me.described(&body) {
                    me.lane_broken(epoch, error);
                }
            }
            Err(error) => me.lane_broken(epoch, error),
        });
        let deadline = clock::after(self.node.keepalive * 2);
        let id = self.keep_call(Method::Describe, Vec::new(), deadline, reply, true);
        control.queue_message(Header::new(Method::Describe, id, 0), Vec::new());
    }

    fn described(&self, body: &[u8]) -> Result<()> {
        let description = Description::decode(body)
            .map_err(|error| fail!(Rejected, "the description cannot be read: {error}"))?;
        let record = description.segment.unwrap_or_default();
        let offer = ShmOffer { socket: description.shm_socket, token: description.shm_token };
        let greeting = {
            let mut state = self.state.lock();
            if state.phase == Phase::Closed {
                return Ok(());
            }
            state.phase = Phase::Ready;
            state.attempts = 0;
            state.is_describing = false;
            state.described += 1;
            state.failure = None;
            state.greeting.clone().ok_or_else(|| fail!(Rejected, "a description before the greeting"))?
        };
        let events = self.events.upgrade().ok_or_else(|| fail!(Canceled, "the peer is forgotten"))?;
        // Those who wait find everything in place.
        let result = events.met(greeting, record, (!offer.socket.is_empty()).then_some(offer));
        self.changed.notify_all();
        self.send_waiting_calls();
        result
    }

    fn wait(&self, until_ns: u64, seen_failures: u64, is_there: impl Fn(&State) -> bool) -> Result<()> {
        let mut state = self.state.lock();
        while !is_there(&state) {
            if let Some(failure) = state.failure.clone().filter(|_| state.failures > seen_failures) {
                return Err(failure);
            }
            let left = clock::until(until_ns);
            if left.is_zero() {
                bail!(Unreachable, "{} did not answer in time", self.label);
            }
            self.changed.wait_for(&mut state, left);
        }
        Ok(())
    }

    // ---- when a connection breaks

    /// A connection of an epoch broke: all of that epoch end, what was under way waits for the next. May be called with
    /// any lock held: a worker does the rest.
    pub(super) fn lane_broken(&self, epoch: u64, error: Error) {
        let Some(me) = self.me.upgrade() else { return };
        if self.epoch.load(Ordering::Acquire) == epoch {
            self.node.reactor.run(0, Box::new(move || me.end_epoch(epoch, error)));
        }
    }

    fn end_epoch(&self, epoch: u64, error: Error) {
        if self.epoch.compare_exchange(epoch, epoch + 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        let error = error.context(format_args!("connection to {}", self.label));
        tracing::debug!("{error}");
        let under_way = self.tear_down();
        self.fail_sent_calls(&error);
        let is_final = matches!(
            error.code,
            Code::Unauthenticated
                | Code::VersionMismatch
                | Code::Rejected
                | Code::Internal
                | Code::Permission
        );
        let has_waiting = !under_way.is_empty() || !self.queue.is_empty() || self.has_calls();
        let again = {
            let mut state = self.state.lock();
            // Somebody may wait for the peer or its regions without a slice in our queue.
            let is_wanted = has_waiting || state.phase == Phase::Connecting || state.is_describing;
            state.is_describing = false;
            let attempt = state.attempts;
            state.attempts += 1;
            if state.phase == Phase::Closed {
                false
            } else if is_final || !is_wanted || attempt >= RETRY_PAUSES.len() {
                state.phase = Phase::Idle;
                state.attempts = 0;
                false
            } else {
                state.phase = Phase::Waiting(clock::after(RETRY_PAUSES[attempt]));
                true
            }
        };
        if !again {
            let code = if is_final { error.code } else { Code::Unreachable };
            let error = error.with_code(code);
            for run in under_way {
                run.complete(Outcome::Failed(code), &|| error.message().to_owned());
            }
            return self.tell_failure(&error);
        }
        for run in under_way {
            self.send_again(run, &error);
        }
        self.fail_what_came_after_the_end();
        self.node.start_clock();
    }

    /// Ends every connection; returns what was not answered.
    fn tear_down(&self) -> Vec<Run> {
        let lanes = self.all_lanes();
        *self.control.write() = None;
        *self.lanes.write() = Lanes::default();
        *self.seal_in.lock() = None;
        lanes.iter().for_each(|lane| lane.kill());
        lanes.iter().flat_map(|lane| lane.take_back()).collect()
    }

    fn send_again(&self, run: Run, error: &Error) {
        for index in run.first..run.first + run.count {
            let slice = &run.owner.slices()[index as usize];
            if slice.is_done(run.epoch) {
                continue;
            }
            if let Some(reason) = run.owner.stopped() {
                // It was sent, and nobody knows what became of it.
                let code = if slice.opcode == Opcode::Write { Code::Unreachable } else { reason };
                run.owner.complete(run.epoch, index, Outcome::Failed(code), &|| error.message().to_owned());
            } else if slice.retries.fetch_add(1, Ordering::Relaxed) >= CONNECTION_RETRIES {
                let code = Code::ConnectionLost;
                run.owner.complete(run.epoch, index, Outcome::Failed(code), &|| error.message().to_owned());
            } else {
                self.node.metrics.retry_count.increment();
                self.queue.put(Run { owner: run.owner.clone(), epoch: run.epoch, first: index, count: 1 });
            }
        }
    }

    /// Tells everybody who waits that the peer cannot be met.
    fn tell_failure(&self, error: &Error) {
        {
            let mut state = self.state.lock();
            state.failure = Some(error.clone());
            state.failures += 1;
            state.since_ns = clock::now_ns();
        }
        self.changed.notify_all();
        self.fail_queued(error.code, error.message());
        let calls = std::mem::take(&mut *self.calls.lock());
        for (_, call) in calls {
            (call.reply)(Err(error.clone()));
        }
        if let Some(events) = self.events.upgrade() {
            events.failed(error);
        }
    }

    fn fail_queued(&self, code: Code, text: &str) {
        for run in self.queue.take_all() {
            run.complete(Outcome::Failed(code), &|| text.to_owned());
        }
    }

    /// Whatever was queued while the link was being closed is not in what `close` found.
    fn fail_what_came_after_the_end(&self) {
        if self.state.lock().phase == Phase::Closed {
            self.fail_queued(Code::Canceled, &format!("the connection to {} was closed", self.label));
        }
    }

    // ---- control messages

    fn keep_call(&self, method: Method, body: Vec<u8>, deadline_ns: u64, reply: Reply, is_sent: bool) -> u64 {
        let id = self.next_call.fetch_add(1, Ordering::Relaxed);
        self.calls.lock().insert(id, Call { method, body, deadline_ns, reply, is_sent });
        self.node.start_clock();
        id
    }

    fn has_calls(&self) -> bool {
        !self.calls.lock().is_empty()
    }

    /// Asks the peer something; the reply comes exactly once.
    fn call(&self, method: Method, body: Vec<u8>, deadline_ns: u64, reply: Reply) {
        self.keep_call(method, body, deadline_ns, reply, false);
        if self.state.lock().phase == Phase::Ready {
            self.send_waiting_calls();
        } else {
            self.meet();
        }
    }

    fn send_waiting_calls(&self) {
        let Some(control) = self.control.read().clone().filter(|lane| lane.is_ready()) else { return };
        {
            let mut calls = self.calls.lock();
            let mut waiting: Vec<u64> =
                calls.iter().filter(|(_, call)| !call.is_sent).map(|(id, _)| *id).collect();
            waiting.sort_unstable();
            for id in waiting {
                let call = calls.get_mut(&id).expect("listed above");
                call.is_sent = true;
                control.queue_message(Header::new(call.method, id, 0), std::mem::take(&mut call.body));
            }
        }
        self.flush(&control);
    }

    fn flush(&self, lane: &Arc<Lane>) {
        if let Err(error) = lane.send_queued(SEND_BUDGET) {
            self.lane_broken(lane.epoch, error);
        }
    }

    pub(super) fn replied(&self, header: &Header, meta: &[u8]) -> Result<()> {
        let body = match self.seal_in.lock().as_mut() {
            Some(seal) => greet::unsealed(seal, header, meta)?,
            None => meta,
        };
        // An answer that came after its time-out finds nobody.
        let Some(call) = self.calls.lock().remove(&header.id) else { return Ok(()) };
        let result = match header.status() {
            None => Ok(body.to_vec()),
            Some(code) => {
                let text: String =
                    String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(300).collect();
                Err(Error::new(code, format!("{}: {text}", self.label)))
            }
        };
        // On a worker without locks: the reply may send, and this thread holds the receiver.
        self.node.reactor.run(0, Box::new(move || (call.reply)(result)));
        Ok(())
    }

    fn fail_sent_calls(&self, error: &Error) {
        let sent: Vec<Call> = {
            let mut calls = self.calls.lock();
            let ids: Vec<u64> = calls.iter().filter(|(_, call)| call.is_sent).map(|(id, _)| *id).collect();
            ids.iter().filter_map(|id| calls.remove(id)).collect()
        };
        for call in sent.into_iter().filter(|call| call.method != Method::Describe) {
            (call.reply)(Err(error.clone().with_code(Code::ConnectionLost)));
        }
    }

    // ---- slices

    /// Sends on an idle lane at once; a large batch is shared out over all.
    fn kick(&self, bytes: usize, opcode: Opcode) {
        let lanes = self.lanes.read().clone();
        let ready = || lanes.iter().filter(|lane| lane.is_ready());
        let count = ready().count();
        if count == 0 {
            if self.state.lock().phase == Phase::Idle {
                self.meet();
            }
            return;
        }
        if bytes >= SHARE_BYTES && count > 1 {
            return self.kick_all(&lanes, bytes.div_ceil(count), opcode);
        }
        let first = self.pick(&lanes);
        for offset in 0..lanes.len() {
            self.send_on(&lanes[(first + offset) % lanes.len()], SEND_BUDGET);
            if self.queue.is_empty() {
                return;
            }
        }
    }

    /// Shares a large batch out: the workers of the other lanes send and receive beside us.
    fn kick_all(&self, lanes: &[Arc<Lane>], share: usize, opcode: Opcode) {
        for lane in &lanes[1..] {
            lane.hand_to_worker();
            if opcode == Opcode::Write {
                // Before we send ourselves: it takes a while to wake.
                lane.nudge();
            }
        }
        if opcode == Opcode::Write {
            return self.send_on(&lanes[0], share.min(SEND_BUDGET));
        }
        // Questions are short: we ask on all lanes.
        for lane in lanes {
            self.send_on(lane, share);
        }
    }

    fn send_on(&self, lane: &Arc<Lane>, budget: usize) {
        if lane.is_ready()
            && let Err(error) = lane.send_queued(budget)
        {
            self.lane_broken(lane.epoch, error);
        }
    }

    /// The lane for a small batch: the calling thread's own, or another one while that is busy and the other idle.
    fn pick(&self, lanes: &[Arc<Lane>]) -> usize {
        let own = submitter() % lanes.len();
        let is_idle = |lane: &Arc<Lane>| lane.is_ready() && lane.unanswered() == 0;
        if is_idle(&lanes[own]) {
            return own;
        }
        lanes.iter().position(is_idle).unwrap_or(own)
    }

    /// The peer refused a slice.
    pub(super) fn slice_refused(&self, run: &Run, index: u32, code: Code, retries: u32) {
        let slice = &run.owner.slices()[index as usize];
        if code == Code::Corrupted {
            self.node.metrics.corrupted_count.increment();
            if slice.retries.fetch_add(1, Ordering::Relaxed) < retries && run.owner.stopped().is_none() {
                self.node.metrics.retry_count.increment();
                self.queue.put(Run { owner: run.owner.clone(), epoch: run.epoch, first: index, count: 1 });
                return;
            }
        }
        let (label, remote, length) = (&self.label, slice.remote, slice.len());
        run.owner.complete(run.epoch, index, Outcome::Failed(code), &|| {
            format!("{label} refuses {length} bytes at {remote:#x}: {}", code.text())
        });
    }

    pub(super) fn count(&self, opcode: Opcode, bytes: u64) {
        let path = self.node.metrics.path(PathKind::Tcp);
        match opcode {
            Opcode::Read => path.read_bytes.add(bytes),
            Opcode::Write => path.written_bytes.add(bytes),
        }
    }

    // ---- the clock

    /// Looks after attempts, answers that do not come, and lanes that nobody reads. True while that needs a clock.
    pub fn tick(&self, now: u64) -> bool {
        self.end_late_calls(now);
        let (phase, since) = {
            let mut state = self.state.lock();
            if let Phase::Waiting(at) = state.phase
                && now >= at
            {
                self.connect(&mut state);
            }
            (state.phase, state.since_ns)
        };
        let keepalive = self.node.keepalive.as_nanos() as u64;
        match phase {
            Phase::Connecting if now.saturating_sub(since) > keepalive => self.give_up(now),
            Phase::Ready => self.watch(now, keepalive),
            _ => {}
        }
        let lanes = self.lanes.read().clone();
        let led = lanes.iter().filter(|lane| lane.tick(now)).count();
        let is_under_way = lanes.iter().any(|lane| lane.unanswered() > 0);
        led > 0 || is_under_way || self.has_calls() || matches!(phase, Phase::Connecting | Phase::Waiting(_))
    }

    /// A peer that owes an answer is asked whether it lives, and given up when that is not answered either.
    fn watch(&self, now: u64, keepalive: u64) {
        let owes = self.has_calls() || self.lanes.read().iter().any(|lane| lane.unanswered() > 0);
        let silent = now.saturating_sub(self.heard_ns().unwrap_or(now));
        // Nothing was owed for a while, or this process slept: then silence says nothing of the peer.
        let was_away =
            now.saturating_sub(self.watched_ns.swap(now, Ordering::Relaxed)) > keepalive.max(AWAY_NS);
        if !owes || was_away || silent < keepalive / 3 {
            self.pinged_ns.store(0, Ordering::Relaxed);
        }
        if !owes || silent < keepalive / 3 {
            return;
        }
        match self.pinged_ns.load(Ordering::Relaxed) {
            0 => {
                self.pinged_ns.store(now, Ordering::Relaxed);
                self.ping(now.saturating_add(keepalive), Box::new(|_| ()));
            }
            asked_ns if now.saturating_sub(asked_ns) > keepalive / 3 * 2 => self.give_up(now),
            _ => {}
        }
    }

    /// The peer is silent: fails everything at once, for trying again would only wait again.
    fn give_up(&self, now: u64) {
        let epoch = self.epoch.load(Ordering::Acquire);
        if self.epoch.compare_exchange(epoch, epoch + 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        let silence =
            Duration::from_nanos(now.saturating_sub(self.heard_ns().unwrap_or(self.state.lock().since_ns)));
        let under_way = self.tear_down();
        {
            let mut state = self.state.lock();
            if state.phase != Phase::Closed {
                state.phase = Phase::Idle;
            }
            state.attempts = 0;
            state.is_describing = false;
        }
        let error = fail!(Unreachable, "{} is silent for {} ms", self.label, silence.as_millis());
        for run in under_way {
            run.complete(Outcome::Failed(Code::Unreachable), &|| error.message().to_owned());
        }
        self.tell_failure(&error);
    }

    fn end_late_calls(&self, now: u64) {
        let late: Vec<Call> = {
            let mut calls = self.calls.lock();
            let ids: Vec<u64> =
                calls.iter().filter(|(_, call)| now >= call.deadline_ns).map(|(id, _)| *id).collect();
            ids.iter().filter_map(|id| calls.remove(id)).collect()
        };
        for call in late {
            (call.reply)(Err(fail!(Timeout, "{} did not answer in time", self.label)));
        }
    }
}

impl Contact for Link {
    fn meet(&self) {
        let mut state = self.state.lock();
        match state.phase {
            Phase::Idle => self.connect(&mut state),
            Phase::Closed => {
                drop(state);
                self.tell_failure(&fail!(Canceled, "the connection to {} was closed", self.label));
            }
            _ => {}
        }
    }

    fn describe(&self) {
        let mut state = self.state.lock();
        if state.phase != Phase::Ready {
            drop(state);
            return self.meet();
        }
        if state.is_describing {
            return;
        }
        state.is_describing = true;
        drop(state);
        if let Some(control) = self.control.read().clone() {
            self.describe_on(&control);
            self.flush(&control);
        }
    }

    fn wait_met(&self, until_ns: u64) -> Result<()> {
        let seen = self.state.lock().failures;
        self.meet();
        self.wait(until_ns, seen, |state| state.phase == Phase::Ready)
    }

    fn wait_described(&self, until_ns: u64) -> Result<()> {
        let (seen, failures) = {
            let state = self.state.lock();
            // One that is under way may be older than what the caller wants to see.
            (state.described + u64::from(state.is_describing), state.failures)
        };
        self.describe();
        loop {
            let before = self.state.lock().described;
            if before > seen {
                return Ok(());
            }
            self.wait(until_ns, failures, |state| state.described > before)?;
            if self.state.lock().described <= seen {
                self.describe();
            }
        }
    }

    fn notify(&self, tag: &str, data: &[u8], deadline_ns: u64, reply: Reply) {
        let body = Notice { tag: tag.to_owned(), data: data.to_vec() }.encode_to_vec();
        self.call(Method::Notify, body, deadline_ns, reply);
    }

    fn ping(&self, deadline_ns: u64, reply: Reply) {
        self.call(Method::Ping, Vec::new(), deadline_ns, reply);
    }

    fn silence(&self) -> Duration {
        let heard = self.heard_ns().unwrap_or_else(|| self.state.lock().since_ns);
        Duration::from_nanos(clock::now_ns().saturating_sub(heard))
    }

    fn lane_count(&self) -> u32 {
        self.lanes.read().iter().filter(|lane| lane.is_ready()).count() as u32
    }

    fn close(&self) {
        self.state.lock().phase = Phase::Closed;
        self.epoch.fetch_add(1, Ordering::AcqRel);
        let error = fail!(Canceled, "the connection to {} was closed", self.label);
        for run in self.tear_down() {
            run.complete(Outcome::Failed(Code::Canceled), &|| error.message().to_owned());
        }
        self.tell_failure(&error);
    }
}

impl Path for Link {
    fn kind(&self) -> PathKind {
        PathKind::Tcp
    }

    fn submit(&self, run: Run) {
        let bytes = run.slices().iter().map(|slice| slice.len()).sum();
        let opcode = run.slices()[0].opcode;
        self.queue.put(run);
        self.fail_what_came_after_the_end();
        self.kick(bytes, opcode);
    }

    fn drive(&self, is_done: &dyn Fn() -> bool, until_ns: u64) -> bool {
        let lanes = self.lanes.read().clone();
        for lane in lanes.iter() {
            match lane.lead(is_done, until_ns) {
                Ok(false) => {}
                Ok(true) => return true,
                Err(error) => {
                    self.lane_broken(lane.epoch, error);
                    return true;
                }
            }
        }
        false
    }

    fn prune(&self, owner: &Arc<dyn Owner>, epoch: u32) {
        let is_mine = |run: &Run| run.epoch == epoch && same_owner(&run.owner, owner);
        let mine = self.queue.take_those(is_mine);
        let reason = owner.stopped().unwrap_or(Code::Canceled);
        for run in mine {
            run.complete(Outcome::Failed(reason), &|| {
                format!("stopped before it was sent to {}", self.label)
            });
        }
        for lane in self.lanes.read().iter() {
            lane.drop_reads(is_mine, reason);
        }
    }

    fn abandon(&self, owner: &Arc<dyn Owner>, epoch: u32) {
        self.prune(owner, epoch);
        let is_mine = |run: &Run| run.epoch == epoch && same_owner(&run.owner, owner);
        let lanes = self.lanes.read().clone();
        let Some(lane) = lanes.iter().find(|lane| lane.has_flights_of(is_mine)) else { return };
        // Sent and not confirmed. The next greeting ends this epoch at the peer; until then its memory is in doubt.
        self.lane_broken(lane.epoch, fail!(Unreachable, "the peer did not confirm what was sent in time"));
    }
}

impl Drop for Link {
    /// Whoever holds a link last may let go of it while others still hand it something: that ends here, with a word.
    fn drop(&mut self) {
        let error = fail!(Unreachable, "{} is not met any more", self.label);
        for run in self.tear_down() {
            run.complete(Outcome::Failed(error.code), &|| error.message().to_owned());
        }
        self.fail_queued(error.code, error.message());
        let calls = std::mem::take(&mut *self.calls.lock());
        for (_, call) in calls {
            (call.reply)(Err(error.clone()));
        }
    }
}
