//! Looking at what lies here after a reader found it wrong: what is, is told to the master.

use std::sync::Arc;

use super::service::stripe_of;
use super::{Core, State};
use crate::store::footer::{self, Footer};
use crate::store::message::{Report, Spot};
use crate::store::node::Reaction;
use crate::store::object::{CHECKSUM_BLOCK, Entry, EntryState, NodeId};
use crate::sys::checksum::crc32c_of;

/// Ranges that are known to be worn at once, and how often the master is told of them.
const MAX_WORN: usize = 1024;
const TELL_EVERY_MS: u64 = 500;

impl Core {
    /// Checks a range against its checksums, some time.
    pub fn verify(self: &Arc<Self>, node: NodeId, spot: Spot) {
        let core = self.clone();
        let pushed = self.fetches.run(move || core.verify_now(node, spot));
        if let Err(error) = pushed {
            tracing::debug!("not looking at what a reader found wrong: {error}");
        }
    }

    fn verify_now(&self, node: NodeId, spot: Spot) {
        let Some(entry) = self.committed(node, spot) else { return };
        if self.is_right(&entry) {
            return;
        }
        // Had it been given up meanwhile, its bytes might be another's by now.
        if self.committed(node, spot).is_none() {
            return;
        }
        tracing::error!(
            "segment {} at {}: the {} bytes there do not match their checksums; the master is told",
            spot.segment.0,
            spot.offset,
            entry.length
        );
        let Entry { tenant, key, .. } = entry;
        let report = Report::Worn { node, spot, tenant, key };
        let worn = &mut self.state.lock().worn;
        if worn.len() < MAX_WORN {
            worn.insert(spot, report);
        }
    }

    /// What the master is to be told of now and then, until it gave that up: an object may have been changing when it heard.
    pub fn still_worn(&self, state: &mut State, now: u64) -> Vec<Reaction> {
        if state.worn.is_empty() || state.worn_told_ms + TELL_EVERY_MS > now {
            return Vec::new();
        }
        state.worn_told_ms = now;
        let inventory = &state.inventory;
        state.worn.retain(|spot, report| {
            let is_mine = matches!(report, Report::Worn { node, .. } if *node == inventory.id());
            let state = inventory.entry(*spot).map(|entry| entry.state);
            is_mine && state == Some(EntryState::Committed)
        });
        state.worn.values().cloned().map(Reaction::Send).collect()
    }

    fn committed(&self, node: NodeId, spot: Spot) -> Option<Entry> {
        let state = self.state.lock();
        let entry = state.inventory.entry(spot).filter(|_| state.inventory.id() == node)?;
        (entry.state == EntryState::Committed).then(|| entry.clone())
    }

    fn is_right(&self, entry: &Entry) -> bool {
        let (Some(memory), Ok(stripe)) = (self.memory.get(&entry.segment), stripe_of(entry)) else {
            return true;
        };
        let mem = memory.mem.part(entry.offset as usize, entry.length as usize);
        let at = footer::offset(stripe) as usize;
        mem.part(at, footer::footer_length(stripe)).with_bytes(|bytes| {
            let Ok(footer) = Footer::decode(bytes, entry.generation) else { return false };
            (0..footer::blocks(stripe)).all(|block| {
                let from = block as u64 * CHECKSUM_BLOCK;
                let length = CHECKSUM_BLOCK.min(stripe - from);
                footer.checksum(block) == Some(crc32c_of(mem.part(from as usize, length as usize)))
            })
        })
    }
}

#[cfg(test)]
impl super::Node {
    /// Changes a byte of the memory that this node gives.
    pub fn damage(&self, extent: &crate::store::object::Extent) {
        let mem = self.core.memory[&extent.segment].mem.part(extent.offset as usize, 1);
        let byte = mem.with_bytes(|bytes| bytes[0]);
        mem.fill(byte ^ 0x40);
    }
}
