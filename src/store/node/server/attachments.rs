//! Ways of clients into this node's memory: one key for each client and segment, which is cut off for that client alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Core, State};
use crate::error::{Code, Result};
use crate::segment::memory::{MemoryOptions, REMOTE_READ, REMOTE_WRITE};
use crate::store::message::Evidence;
use crate::store::node::Reaction;
use crate::store::object::ClientId;
use crate::store::refusal::{self, Refusal};
use crate::store::wire::node::{Attached, AttachedSegment};
use crate::{bail, fail};

/// Clients that are attached at once.
const MAX_CLIENTS: usize = 16_384;
/// Who has closed all its connections for so long loses its keys, too.
const LEFT_AFTER_MS: u64 = 60_000;

struct Attachment {
    number: u64,
    /// The engine's names of the keys.
    shares: Vec<u64>,
    segments: Vec<AttachedSegment>,
    /// From here on nothing comes by it that was not on its way.
    is_being_fenced: bool,
    /// Connections that its client has here, and when it had some last.
    callers: BTreeSet<u64>,
    seen_ms: u64,
}

#[derive(Default)]
pub struct Attachments {
    by_client: BTreeMap<ClientId, Attachment>,
    last: u64,
}

impl Attachments {
    pub fn count(&self) -> usize {
        self.by_client.len()
    }

    /// Whether a client may open ranges by this attachment. PEER_RESTARTED says that it is to attach anew.
    pub fn check(&mut self, client: ClientId, number: u64, caller: u64) -> refusal::Result<()> {
        let found = self.by_client.get_mut(&client);
        match found.filter(|one| one.number == number && !one.is_being_fenced) {
            Some(one) => {
                one.callers.insert(caller);
                Ok(())
            }
            None => Err(Refusal::new(
                Code::PeerRestarted,
                "this way into the node's memory was closed: attach anew",
            )),
        }
    }

    /// A connection ended.
    pub fn gone(&mut self, now: u64, caller: u64) {
        for one in self.by_client.values_mut() {
            if one.callers.remove(&caller) {
                one.seen_ms = now;
            }
        }
    }

    /// Clients that left long ago.
    pub fn left(&self, now: u64) -> Vec<ClientId> {
        let has_left = |one: &Attachment| {
            one.callers.is_empty() && !one.is_being_fenced && one.seen_ms + LEFT_AFTER_MS <= now
        };
        self.by_client.iter().filter(|(_, one)| has_left(one)).map(|(client, _)| *client).collect()
    }
}

impl Core {
    /// Opens all segments for a client, once.
    pub fn attach(&self, state: &mut State, client: ClientId, caller: u64) -> Result<Attached> {
        let now = self.now();
        let node = state.inventory.id().0;
        if let Some(one) = state.attachments.by_client.get_mut(&client) {
            if one.is_being_fenced {
                bail!(
                    Busy,
                    "an earlier way of client {:x} into this memory is being closed: try again",
                    client.0
                );
            }
            one.callers.insert(caller);
            return Ok(Attached { node, attachment: one.number, segments: one.segments.clone() });
        }
        if state.attachments.count() >= MAX_CLIENTS {
            bail!(Exhausted, "{MAX_CLIENTS} clients are attached to this node");
        }
        let (mut shares, mut segments) = (Vec::new(), Vec::new());
        for (segment, memory) in &self.memory {
            let options = MemoryOptions { permissions: REMOTE_READ | REMOTE_WRITE, ..Default::default() };
            let made = self.engine.share_memory(memory.region, &options).and_then(|share| {
                shares.push(share);
                self.engine.export(Some(&[share]))
            });
            let blob = made.inspect_err(|_| {
                for share in &shares {
                    let _ = self.engine.unregister_memory(*share, true);
                }
            })?;
            segments.push(AttachedSegment {
                segment: segment.0,
                base: memory.mem.address() as u64,
                length: memory.length,
                blob,
            });
        }
        state.attachments.last += 1;
        let number = state.attachments.last;
        let reply = Attached { node, attachment: number, segments: segments.clone() };
        let attachment = Attachment {
            number,
            shares,
            segments,
            is_being_fenced: false,
            callers: BTreeSet::from([caller]),
            seen_ms: now,
        };
        state.attachments.by_client.insert(client, attachment);
        Ok(reply)
    }

    /// Begins to cut a client off. Who has no way in is cut off already: what it sent by `Put` was copied while this node
    /// looked on.
    pub fn fence(&self, state: &mut State, client: ClientId) -> Vec<Reaction> {
        let Some(one) = state.attachments.by_client.get_mut(&client) else {
            return state.inventory.evidence(self.now(), Evidence::Fenced { writer: client });
        };
        if !one.is_being_fenced {
            one.is_being_fenced = true;
            let shares = one.shares.clone();
            if let Err(error) = self.close_shares(client, shares) {
                // It is asked for again.
                one.is_being_fenced = false;
                tracing::warn!("cutting client {:x} off: {error}", client.0);
            }
        }
        Vec::new()
    }

    /// Takes keys back where it may wait: one that a stopped process is using at this moment stays until it goes on or
    /// dies, however long that is.
    fn close_shares(&self, client: ClientId, shares: Vec<u64>) -> Result<()> {
        let core = self.me.upgrade().ok_or_else(|| fail!(Canceled, "the node is stopping"))?;
        self.fences.run(move || core.close_now(client, shares))
    }

    fn close_now(self: Arc<Self>, client: ClientId, mut shares: Vec<u64>) {
        shares.retain(|share| match self.engine.unregister_memory(*share, true) {
            Err(error) if error.code == Code::Busy => {
                tracing::warn!("client {:x} still has a way into this node's memory: {error}", client.0);
                true
            }
            // Gone, now or before.
            _ => false,
        });
        if !shares.is_empty() {
            if let Err(error) = self.close_shares(client, shares)
                && error.code != Code::Canceled
            {
                tracing::error!("what client {:x} may be writing to stays in quarantine: {error}", client.0);
            }
            return;
        }
        self.change(|state| {
            state.attachments.by_client.remove(&client);
            state.inventory.evidence(self.now(), Evidence::Fenced { writer: client })
        });
    }
}
