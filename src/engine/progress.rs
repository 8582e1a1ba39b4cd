//! Deadlines, cancels, and the clock that enforces them. An engine with nothing under way has no clock.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Engine;
use super::batch::Batch;
use crate::error::Code;
use crate::sys::reactor::Clockwork;
use crate::transport::Owner;

/// How often the clock looks while something is under way.
const TICK: Duration = Duration::from_millis(5);
/// What was sent is waited for, for so long after a cancel.
const CANCEL_PATIENCE: Duration = Duration::from_secs(2);
/// A batch is wound up this much before its deadline at most, so that it ends within it.
const WIND_UP: Duration = Duration::from_millis(50);

/// The clock of one engine.
struct Clock(Weak<Engine>);

impl Clockwork for Clock {
    fn tick(&self, now_ns: u64) -> Option<Duration> {
        self.0.upgrade().and_then(|engine| engine.tick(now_ns))
    }
}

impl Engine {
    pub(super) fn clock(&self) -> Arc<dyn Clockwork> {
        Arc::new(Clock(self.me.clone()))
    }

    /// Puts a batch under the clock.
    pub(super) fn watch(&self, batch: &Arc<Batch>) {
        // Its time runs, if it did not before.
        batch.deadline_ns();
        if !batch.is_listed.swap(true, Ordering::SeqCst) {
            self.active.lock().push(batch.clone());
        }
        self.ensure_ticking();
    }

    pub(super) fn ensure_ticking(&self) {
        if !self.is_ticking.swap(true, Ordering::AcqRel) {
            self.reactor.wake(0);
        }
    }

    /// Looks at what is under way; returns when to look again.
    fn tick(&self, now: u64) -> Option<Duration> {
        let batches: Vec<Arc<Batch>> = {
            let mut active = self.active.lock();
            active.retain(|batch| {
                if !batch.is_idle() {
                    return true;
                }
                batch.is_listed.store(false, Ordering::SeqCst);
                // Posted again while it was still listed: then it stays, unless its poster saw the store above.
                !batch.is_idle() && !batch.is_listed.swap(true, Ordering::SeqCst)
            });
            active.clone()
        };
        for batch in &batches {
            self.enforce_deadline(batch, now);
        }
        let links_busy = self.node.tick(now);
        let mooncake_busy = self.mooncake.as_ref().is_some_and(|side| side.hub.tick(now));
        if !batches.is_empty() || links_busy || mooncake_busy {
            return Some(TICK);
        }
        self.is_ticking.store(false, Ordering::SeqCst);
        // Whoever came between the look and the store relied on the clock running.
        if !self.active.lock().is_empty() {
            self.is_ticking.store(true, Ordering::SeqCst);
            return Some(TICK);
        }
        self.node.next_keepalive()
    }

    /// Ends what is late: first what was not sent, shortly after also what the peer does not confirm.
    pub(super) fn enforce_deadline(&self, batch: &Arc<Batch>, now: u64) {
        let deadline = batch.deadline_ns();
        let wind_up = (batch.deadline.as_nanos() as u64 / 10).min(WIND_UP.as_nanos() as u64);
        if now >= deadline.saturating_sub(wind_up) && batch.stopped().is_none() {
            self.stop(batch, Code::Timeout);
        }
        if now >= batch.patience_ns() && !batch.is_idle() {
            let owner: Arc<dyn Owner> = batch.clone();
            for leg in &batch.legs {
                leg.segment.peer.abandon(&owner, batch.epoch());
            }
        }
    }

    /// Stops a batch: its local memory is not touched from here on, and it is done as soon as the peer confirmed what
    /// was sent.
    pub(super) fn stop(&self, batch: &Arc<Batch>, reason: Code) {
        let epoch = batch.epoch();
        if !batch.stop(reason) {
            return;
        }
        batch.be_patient(CANCEL_PATIENCE);
        let owner: Arc<dyn Owner> = batch.clone();
        for leg in &batch.legs {
            leg.segment.peer.prune(&owner, epoch, reason);
        }
        if !batch.is_idle() {
            self.watch(batch);
        }
    }

    /// Ends every batch, as the engine goes.
    pub(super) fn stop_everything(&self) {
        let mut batches: Vec<Arc<Batch>> =
            self.batches.read().iter().map(|(_, batch)| batch.clone()).collect();
        batches.extend(self.active.lock().iter().cloned());
        // With the epoch comes the phase that was entered before it: what does not run now finds the engine closed.
        batches.retain(|batch| {
            batch.epoch();
            !batch.is_idle()
        });
        for batch in &batches {
            self.stop(batch, Code::Canceled);
            let owner: Arc<dyn Owner> = batch.clone();
            for leg in &batch.legs {
                leg.segment.peer.abandon(&owner, batch.epoch());
            }
        }
        while self.copies.help() {}
    }
}
