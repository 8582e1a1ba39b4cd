//! The way to the memory of one engine of Mooncake, in one life of it: shares slices out over its connections. What to do
//! when the peer cannot be reached is decided by its owner.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use super::Hub;
use super::lane::{Lane, SEND_BUDGET};
use super::train::{TRAIN_BYTES, TRAIN_SLICES, Train};
use crate::error::{Code, Error};
use crate::sys::reactor::Token;
use crate::transport::{Opcode, Outcome, Owner, Path, PathKind, Run, RunQueue, same_owner, submitter};

/// Times that a slice is sent again after lost connections.
const CONNECTION_RETRIES: u32 = 5;
/// A batch of at least this many bytes is shared out over all connections.
const SHARE_BYTES: usize = 2 * TRAIN_BYTES;

/// Who owns a remote.
pub trait RemoteEvents: Send + Sync {
    /// A connection cannot be made, or broke before it was of any use: is the peer still the one that it was? What waits
    /// is kept until `Remote::resume` or `Remote::close`.
    fn lost(&self, remote: &Arc<Remote>, error: Error);

    /// The peer owes an answer and is silent.
    fn silent(&self, remote: &Arc<Remote>);
}

#[derive(Clone, Debug)]
enum Phase {
    Active,
    /// Its owner looks whether the peer is still there.
    Paused,
    Closed(Error),
}

type Lanes = Arc<Vec<Option<Arc<Lane>>>>;

pub struct Remote {
    pub hub: Arc<Hub>,
    pub label: String,
    addresses: Vec<SocketAddr>,
    /// The second version of the protocol.
    has_status: bool,
    events: Weak<dyn RemoteEvents>,
    phase: Mutex<Phase>,
    lanes: RwLock<Lanes>,
    /// Failed connections since the last one that worked.
    attempts: AtomicUsize,
    pub(super) queue: RunQueue,
    me: Weak<Remote>,
}

impl Remote {
    /// Connects when first needed.
    pub fn new(
        hub: Arc<Hub>,
        label: &str,
        addresses: Vec<SocketAddr>,
        has_status: bool,
        events: Weak<dyn RemoteEvents>,
    ) -> Arc<Remote> {
        let remote = Arc::new_cyclic(|me: &Weak<Remote>| Remote {
            lanes: RwLock::new(Arc::new(vec![None; hub.lanes])),
            hub,
            label: label.to_owned(),
            addresses,
            has_status,
            events,
            phase: Mutex::new(Phase::Active),
            attempts: AtomicUsize::new(0),
            queue: RunQueue::default(),
            me: me.clone(),
        });
        remote.hub.remotes.lock().push(Arc::downgrade(&remote));
        remote
    }

    pub fn lane_count(&self) -> u32 {
        self.lanes.read().iter().flatten().filter(|lane| lane.is_connected()).count() as u32
    }

    /// When it was last heard, if it has a connection.
    pub fn heard_ns(&self) -> Option<u64> {
        self.lanes.read().iter().flatten().map(|lane| lane.heard_ns()).max()
    }

    // ---- slices

    /// The next slices of one kind, the most urgent first. Those of a batch that was stopped do not go.
    pub(super) fn take_train(&self) -> Option<Train> {
        loop {
            let mut runs = Vec::new();
            self.queue.take(|_| TRAIN_BYTES, TRAIN_SLICES, &mut runs)?;
            let (stopped, wanted): (Vec<Run>, Vec<Run>) =
                runs.into_iter().partition(|run| run.owner.stopped().is_some());
            for run in stopped {
                self.complete_unsent(&run);
            }
            if !wanted.is_empty() {
                return Some(Train::of(wanted, self.has_status));
            }
        }
    }

    fn complete_unsent(&self, run: &Run) {
        let reason = run.owner.stopped().unwrap_or(Code::Canceled);
        run.complete(Outcome::Failed(reason), &|| format!("stopped before it was sent to {}", self.label));
    }

    /// Sends on an idle connection at once; a large batch is shared out over all.
    fn kick(&self, bytes: usize) {
        if !matches!(*self.phase.lock(), Phase::Active) {
            return;
        }
        if bytes >= SHARE_BYTES {
            let lanes = self.lanes.read().clone();
            for index in 1..lanes.len() {
                match &lanes[index] {
                    Some(lane) => {
                        lane.hand_to_worker();
                        lane.nudge();
                    }
                    None => self.connect(index),
                }
            }
        }
        let lanes = self.lanes.read().clone();
        let first = submitter() % lanes.len();
        let is_idle = |lane: &&Arc<Lane>| lane.is_connected() && lane.unanswered() == 0;
        let idle = lanes[first].iter().find(is_idle).or_else(|| lanes.iter().flatten().find(is_idle));
        if let Some(lane) = idle {
            return self.send_on(lane);
        }
        if lanes[first].is_none() {
            return self.connect(first);
        }
        for lane in lanes.iter().flatten() {
            self.send_on(lane);
        }
    }

    fn connect(&self, index: usize) {
        let Some(me) = self.me.upgrade() else { return };
        let mut lanes = self.lanes.write();
        // The phase is looked at with the lanes held: whoever closes takes them after it.
        if lanes[index].is_some() || !matches!(*self.phase.lock(), Phase::Active) {
            return;
        }
        let address = self.addresses[self.attempts.load(Ordering::Relaxed) % self.addresses.len()];
        match Lane::start(&me, index, &address) {
            Ok(lane) => {
                Arc::make_mut(&mut lanes)[index] = Some(lane);
                drop(lanes);
                self.hub.start_clock();
            }
            Err(error) => {
                drop(lanes);
                // The owner may hold locks that its answer needs.
                self.hub.reactor.run(0, Box::new(move || me.pause(error)));
            }
        }
    }

    fn send_on(&self, lane: &Arc<Lane>) {
        if lane.is_connected()
            && let Err(error) = lane.send_queued(SEND_BUDGET)
        {
            self.lane_broken(lane.token(), error);
        }
    }

    // ---- when a connection breaks

    /// May be called with any lock held: a worker does the rest.
    pub(super) fn lane_broken(&self, token: Token, error: Error) {
        if let Some(me) = self.me.upgrade() {
            self.hub.reactor.run(0, Box::new(move || me.end_lane(token, error)));
        }
    }

    fn end_lane(&self, token: Token, error: Error) {
        let lane = {
            let mut lanes = self.lanes.write();
            let slot = Arc::make_mut(&mut lanes)
                .iter_mut()
                .find(|slot| slot.as_ref().is_some_and(|lane| lane.token() == token));
            let Some(lane) = slot.and_then(Option::take) else { return };
            lane
        };
        // Closed before anything is told: nothing of it touches memory from here on.
        lane.kill();
        let taken = lane.take_back();
        let error = error.context(format_args!("data connection to {}", self.label));
        tracing::debug!("{error}");
        for run in &taken.refused {
            self.complete_refused(run);
        }
        let is_at_fault = taken.refused.is_empty();
        for run in taken.unfinished {
            self.send_again(run, &error, is_at_fault);
        }
        if taken.has_worked {
            self.attempts.store(0, Ordering::Relaxed);
        }
        self.fail_closed();
        if self.queue.is_empty() {
            return;
        }
        if taken.has_worked || error.code == Code::Canceled {
            // It worked before, so the peer was there a moment ago: the next connection shows whether it still is.
            self.kick(0);
        } else {
            self.pause(error);
        }
    }

    fn pause(&self, error: Error) {
        let Some(me) = self.me.upgrade() else { return };
        {
            let mut phase = self.phase.lock();
            if !matches!(*phase, Phase::Active) {
                return;
            }
            *phase = Phase::Paused;
        }
        self.attempts.fetch_add(1, Ordering::Relaxed);
        match self.events.upgrade() {
            Some(events) => events.lost(&me, error),
            None => self.close(&error),
        }
    }

    /// The peer is still the one that it was: goes on.
    pub fn resume(&self) {
        {
            let mut phase = self.phase.lock();
            if !matches!(*phase, Phase::Paused) {
                return;
            }
            *phase = Phase::Active;
        }
        if !self.queue.is_empty() {
            self.kick(0);
        }
    }

    /// Ends it for good; what is under way fails with this error.
    pub fn close(&self, error: &Error) {
        {
            let mut phase = self.phase.lock();
            if matches!(*phase, Phase::Closed(_)) {
                return;
            }
            *phase = Phase::Closed(error.clone());
        }
        self.fail_all(error);
    }

    fn fail_all(&self, error: &Error) {
        for run in self.tear_down().into_iter().chain(self.queue.take_all()) {
            run.complete(Outcome::Failed(error.code), &|| error.message().to_owned());
        }
    }

    /// After something was put into the queue: whoever closed the remote meanwhile did not see it.
    fn fail_closed(&self) {
        let phase = self.phase.lock().clone();
        if let Phase::Closed(error) = phase {
            for run in self.queue.take_all() {
                run.complete(Outcome::Failed(error.code), &|| error.message().to_owned());
            }
        }
    }

    /// Ends every connection; returns what was not answered.
    fn tear_down(&self) -> Vec<Run> {
        let lanes = std::mem::replace(&mut *self.lanes.write(), Arc::new(vec![None; self.hub.lanes]));
        lanes.iter().flatten().for_each(|lane| lane.kill());
        let taken = lanes.iter().flatten().map(|lane| lane.take_back());
        taken.flat_map(|taken| taken.refused.into_iter().chain(taken.unfinished)).collect()
    }

    /// `is_at_fault`: these slices may be what the connection was lost for. A peer that refuses one names it, and closes.
    fn send_again(&self, run: Run, error: &Error, is_at_fault: bool) {
        let slice = &run.slices()[0];
        if slice.is_done(run.epoch) {
            return;
        }
        let code = match run.owner.stopped() {
            // It was sent, and nobody knows what became of it.
            Some(_) if slice.opcode == Opcode::Write => Code::Unreachable,
            Some(reason) => reason,
            None if is_at_fault && slice.retries.fetch_add(1, Ordering::Relaxed) >= CONNECTION_RETRIES => {
                Code::ConnectionLost
            }
            None => {
                self.hub.metrics.retry_count.increment();
                return self.queue.put(run);
            }
        };
        run.complete(Outcome::Failed(code), &|| error.message().to_owned());
    }

    fn complete_refused(&self, run: &Run) {
        let slice = &run.slices()[0];
        let (label, remote, length) = (&self.label, slice.remote, slice.len());
        run.complete(Outcome::Failed(Code::AddressNotRegistered), &|| {
            format!("{label} refuses {length} bytes at {remote:#x}: no buffer of it holds the whole range")
        });
    }

    // ---- the clock

    /// Looks after connections that do not come about, and answers that do not come. True while that needs a clock.
    pub fn tick(&self, now: u64) -> bool {
        let keepalive = self.hub.keepalive.as_nanos() as u64;
        let lanes = self.lanes.read().clone();
        let mut busy = false;
        for lane in lanes.iter().flatten() {
            let silent = now.saturating_sub(lane.heard_ns());
            if !lane.is_connected() {
                busy = true;
                if silent > keepalive {
                    let error = Error::new(Code::Unreachable, "no connection in time");
                    self.lane_broken(lane.token(), error);
                }
                continue;
            }
            let is_led = lane.tick(now);
            busy |= is_led || lane.unanswered() > 0;
            if lane.unanswered() > 0
                && silent > keepalive
                && let (Some(events), Some(me)) = (self.events.upgrade(), self.me.upgrade())
            {
                events.silent(&me);
            }
        }
        busy
    }
}

impl Path for Remote {
    fn kind(&self) -> PathKind {
        PathKind::Tcp
    }

    fn submit(&self, run: Run) {
        let closed = match &*self.phase.lock() {
            Phase::Closed(error) => Some(error.clone()),
            _ => None,
        };
        if let Some(error) = closed {
            return run.complete(Outcome::Failed(error.code), &|| error.message().to_owned());
        }
        let bytes = run.slices().iter().map(|slice| slice.len()).sum();
        self.queue.put(run);
        self.kick(bytes);
        self.fail_closed();
    }

    fn drive(&self, is_done: &dyn Fn() -> bool, until_ns: u64) -> bool {
        let lanes = self.lanes.read().clone();
        for lane in lanes.iter().flatten() {
            match lane.lead(is_done, until_ns) {
                Ok(false) => {}
                Ok(true) => return true,
                Err(error) => {
                    self.lane_broken(lane.token(), error);
                    return true;
                }
            }
        }
        false
    }

    fn prune(&self, owner: &Arc<dyn Owner>, epoch: u32) {
        let is_mine = |run: &Run| run.epoch == epoch && same_owner(&run.owner, owner);
        for run in self.queue.take_those(is_mine) {
            self.complete_unsent(&run);
        }
        let reason = owner.stopped().unwrap_or(Code::Canceled);
        for lane in self.lanes.read().iter().flatten() {
            lane.drop_reads(is_mine, reason);
        }
    }

    fn abandon(&self, owner: &Arc<dyn Owner>, epoch: u32) {
        self.prune(owner, epoch);
        let is_mine = |run: &Run| run.epoch == epoch && same_owner(&run.owner, owner);
        let lanes = self.lanes.read().clone();
        for lane in lanes.iter().flatten().filter(|lane| lane.has_runs_of(is_mine)) {
            // Sent and not confirmed: nothing of it is sent from here on, and the peer's memory is in doubt.
            let error = Error::new(Code::Unreachable, "the peer did not confirm what was sent in time");
            self.lane_broken(lane.token(), error);
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // Closed before, as a rule; what is under way all the same is told once, as everywhere.
        self.fail_all(&Error::new(Code::Canceled, format!("the connection to {} was dropped", self.label)));
    }
}
