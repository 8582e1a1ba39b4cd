//! How an attachment learns where a region is, and what waits for that.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::regions::{Known, Parked, Waiting};
use super::super::wire::{self, Ask, Grant, Message};
use super::Attachment;
use crate::error::{Code, Error};
use crate::transport::{Outcome, Owner, PathKind, Run};

/// A region's pages are mapped by stretches of this many bytes, so that other work of the worker has its turn.
const POPULATE_BYTES: usize = 16 << 20;
/// When a batch gives up waiting for an answer that is late by so much, the owner is taken for deaf and its bytes go
/// over the network.
const DEAF_AFTER_NS: u64 = 500_000_000;

impl Attachment {
    /// Parks a run until the owner told where the region with this key is.
    pub(in crate::transport::shm) fn wait_for(&self, key: u64, kind: PathKind, run: Run) {
        let (owner, epoch) = (run.owner.clone(), run.epoch);
        let slice = &run.slices()[0];
        let ask = Ask { key, address: slice.remote, length: slice.len() as u64 };
        match self.regions.park(Waiting { key, kind, run }) {
            Parked::First => {
                if let Err(error) = self.send(Message::Ask(ask)) {
                    return self.fail(error);
                }
            }
            Parked::Also => {}
            Parked::Known(run) => return self.resume(kind, run),
            Parked::Closed(run) => return run.complete(Outcome::Reroute, &|| self.lost_text()),
        }
        if owner.stopped().is_some() {
            // It was stopped before it stood in the queue, where nobody would have found it.
            self.give_up(&owner, epoch);
        }
    }

    /// A batch was stopped: completes what waits here.
    pub fn give_up(&self, owner: &Arc<dyn Owner>, epoch: u32) {
        let taken = self.regions.take(owner, epoch);
        if taken.is_empty() {
            return;
        }
        let reason = owner.stopped().unwrap_or(Code::Unreachable);
        let is_deaf = taken.iter().any(|waiting| self.regions.is_late(waiting.key, DEAF_AFTER_NS));
        for waiting in taken {
            waiting.run.complete(Outcome::Failed(reason), &|| {
                format!("stopped before {} told where its region {} is", self.name(), waiting.key)
            });
        }
        if is_deaf {
            self.fail(Error::new(Code::Unreachable, "it does not answer on the same-host socket"));
        }
    }

    fn resume(&self, kind: PathKind, run: Run) {
        match (self.me.upgrade(), self.events.upgrade()) {
            (Some(me), Some(events)) => events.resume(me.path(kind), run),
            _ => run.complete(Outcome::Failed(Code::Canceled), &|| "the engine was destroyed".into()),
        }
    }

    /// The owner's answer about a region.
    pub(super) fn learn(&self, grant: &Grant, file: Option<OwnedFd>) {
        if !self.regions.is_asked(grant.key) {
            return;
        }
        match wire::code_of(grant.status) {
            None => match Known::of(grant, file) {
                Ok(known) => self.enter(Arc::new(known)),
                Err(error) => {
                    tracing::warn!("a region of {}: {error}", self.name());
                    self.enter(Arc::new(Known::elsewhere(grant.key)));
                }
            },
            Some(code @ (Code::AddressNotRegistered | Code::Permission)) => {
                for waiting in self.regions.learn(grant.key, None).unwrap_or_default() {
                    self.refuse(waiting, code, &grant.text);
                }
            }
            Some(code) => {
                tracing::info!(
                    "a region of {} is reached over the network: {}: {}",
                    self.name(),
                    code.name(),
                    grant.text
                );
                self.enter(Arc::new(Known::elsewhere(grant.key)));
            }
        }
    }

    fn enter(&self, known: Arc<Known>) {
        let waiting = self.regions.learn(known.key, Some(known.clone())).unwrap_or_default();
        for Waiting { kind, run, .. } in waiting {
            self.resume(kind, run);
        }
        if let Some(me) = self.me.upgrade() {
            populate(&me, known, 0);
        }
    }

    /// Completes the slices of a refused region at the front of a run; the others go on.
    fn refuse(&self, waiting: Waiting, code: Code, text: &str) {
        let Waiting { key, kind, mut run } = waiting;
        let same = run.slices().iter().take_while(|slice| slice.key.load(Ordering::Relaxed) == key).count();
        let refused = run.split_front(same as u32);
        refused.complete(Outcome::Failed(code), &|| format!("{}: {text}", self.name()));
        if run.count > 0 {
            self.resume(kind, run);
        }
    }
}

/// Maps a region's pages bit by bit, so that the first copies do not have to. Ends by itself with the attachment or
/// the region.
fn populate(attachment: &Arc<Attachment>, known: Arc<Known>, offset: usize) {
    if attachment.regions.get(known.key).is_none() {
        return;
    }
    if let Some(next) = known.populate(offset, POPULATE_BYTES) {
        let again = Arc::downgrade(attachment);
        let job = move || {
            if let Some(attachment) = again.upgrade() {
                populate(&attachment, known, next);
            }
        };
        attachment.reactor.run(attachment.worker, Box::new(job));
    }
}
