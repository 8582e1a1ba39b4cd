//! The entries of a node's segments, from the first byte that a writer may send to the moment nothing can touch them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::Code;
use crate::store::message::{Cursor, Evidence, Offer, Offers, Report, Spot};
use crate::store::object::{ClientId, Entry, EntryState, Epoch, Generation, MasterId, NodeId, SegmentId};
use crate::store::refusal::{Refusal, Result};
use crate::store::view::View;

use super::Reaction;
use super::quarantine::{At, Quarantine};

/// An entry, and who may still touch its bytes.
#[derive(Debug)]
pub(super) struct Held {
    pub entry: Entry,
    pub soft_until: u64,
    /// Who may write, until it committed or there is evidence that it cannot.
    pub writer: Option<ClientId>,
    pub readers_until: u64,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub offer: Offer,
    pub entries: BTreeMap<u64, Held>,
}

impl Segment {
    /// True if an entry has any of these bytes.
    pub fn overlaps(&self, offset: u64, length: u64) -> bool {
        let before = self.entries.range(..offset.saturating_add(length)).next_back();
        before.is_some_and(|(start, held)| start + held.entry.length > offset)
    }
}

/// A node's memory, as one process since its start gives it. All times are milliseconds of the node's steady clock.
#[derive(Debug)]
pub struct Inventory {
    pub(super) node: NodeId,
    name: Arc<str>,
    domain: Arc<str>,
    pub(super) promised: Epoch,
    pub(super) master: MasterId,
    pub(super) view: Option<Arc<View>>,
    pub(super) is_fresh: bool,
    pub(super) floor: Generation,
    /// How long after this node was expelled somebody may still read from it.
    pub(super) horizon_ms: u64,
    pub(super) segments: BTreeMap<SegmentId, Segment>,
    /// How often what is offered has changed.
    changes: u64,
    withdrawn: BTreeSet<SegmentId>,
    /// Segments that were taken back. A late grant may still name them, so no other is called the same.
    retired: BTreeSet<SegmentId>,
    is_leaving: bool,
    quarantine: Quarantine,
}

impl Inventory {
    /// `name` is a place that only one process at a time can have; `domain` what fails together with this node;
    /// `horizon_ms` the longest lease and the longest term of a master together.
    pub fn new(node: NodeId, name: &str, domain: &str, horizon_ms: u64) -> Inventory {
        Inventory {
            node,
            name: name.into(),
            domain: domain.into(),
            promised: Epoch::default(),
            master: MasterId::default(),
            view: None,
            is_fresh: true,
            floor: Generation::default(),
            horizon_ms,
            segments: BTreeMap::new(),
            changes: 1,
            withdrawn: BTreeSet::new(),
            retired: BTreeSet::new(),
            is_leaving: false,
            quarantine: Quarantine::default(),
        }
    }

    pub fn id(&self) -> NodeId {
        self.node
    }

    pub fn promised(&self) -> Epoch {
        self.promised
    }

    pub fn view(&self) -> Option<&Arc<View>> {
        self.view.as_ref()
    }

    /// Offers a segment; the next `hello`, or answer to a master, tells. False if there is or was one of this id, or the
    /// node is about to leave.
    pub fn mount(&mut self, offer: Offer) -> bool {
        let id = offer.segment;
        if self.is_leaving || self.segments.contains_key(&id) || self.retired.contains(&id) {
            return false;
        }
        self.segments.insert(id, Segment { offer, entries: BTreeMap::new() });
        self.changes += 1;
        true
    }

    /// Asks masters to move what a segment holds elsewhere, this one and any later. `unmount` succeeds when that is done.
    pub fn withdraw(&mut self, segment: SegmentId) -> Result<()> {
        if !self.segments.contains_key(&segment) {
            return Err(NO_SEGMENT);
        }
        self.changes += u64::from(self.withdrawn.insert(segment));
        Ok(())
    }

    /// Asks masters to move all that this node holds, and then to go on without it. Whoever runs it takes back what
    /// `unmount_withdrawn` names, until `has_left`.
    pub fn leave(&mut self) {
        self.is_leaving = true;
        self.withdrawn.extend(self.segments.keys());
        self.changes += 1;
    }

    /// True once this node has left: it holds nothing, and no master counts on it.
    pub fn has_left(&self) -> bool {
        self.is_leaving && self.segments.is_empty() && self.is_fresh
    }

    /// Takes back the segments that were withdrawn and hold nothing any more.
    pub fn unmount_withdrawn(&mut self) -> Vec<SegmentId> {
        let withdrawn: Vec<SegmentId> = self.withdrawn.iter().copied().collect();
        withdrawn.into_iter().filter(|segment| self.unmount(*segment).is_ok()).collect()
    }

    /// Takes back a segment in which nothing is held; BUSY otherwise.
    pub fn unmount(&mut self, segment: SegmentId) -> Result<()> {
        match self.segments.get(&segment) {
            Some(held) if !held.entries.is_empty() => {
                Err(Refusal::new(Code::Busy, "the segment still holds objects, or memory in quarantine"))
            }
            Some(_) => {
                self.segments.remove(&segment);
                self.withdrawn.remove(&segment);
                self.retired.insert(segment);
                self.changes += 1;
                Ok(())
            }
            None => Err(NO_SEGMENT),
        }
    }

    /// What is offered now.
    pub fn offers(&self) -> Offers {
        Offers {
            number: self.changes,
            list: self.segments.values().map(|segment| segment.offer.clone()).collect(),
            withdrawn: self.withdrawn.iter().copied().collect(),
            is_leaving: self.is_leaving,
        }
    }

    pub fn hello(&self) -> Report {
        Report::Hello {
            node: self.node,
            name: self.name.clone(),
            domain: self.domain.clone(),
            offers: self.offers(),
            promised: self.promised,
            is_fresh: self.is_fresh,
        }
    }

    /// The id of a node that was discarded, or is made anew: greater than all that its name had before.
    pub fn rename(&mut self, node: NodeId) {
        self.node = node;
    }

    /// Opens a range for a writer. Before this, no path lets it write; a second time is as good as once.
    pub fn prepare(&mut self, node: NodeId, entry: Entry, writer: ClientId) -> Result<()> {
        self.check_grant(node, entry.generation)?;
        let floor = self.floor;
        let Some(segment) = self.segments.get_mut(&entry.segment) else {
            return Err(NO_SEGMENT);
        };
        let same =
            segment.entries.get(&entry.offset).filter(|held| held.entry.generation == entry.generation);
        if let Some(held) = same {
            let again = held.writer == Some(writer) || held.entry.state == EntryState::Committed;
            return if again && held.entry.state != EntryState::Quarantined { Ok(()) } else { Err(CANCELED) };
        }
        if entry.generation < floor {
            return Err(CANCELED);
        }
        let end = entry.offset.checked_add(entry.length);
        if entry.length == 0 || end.is_none_or(|end| end > segment.offer.length) {
            return Err(Refusal::new(Code::InvalidArgument, "the range is not within the segment"));
        }
        if segment.overlaps(entry.offset, entry.length) {
            return Err(Refusal::new(Code::Busy, "the range overlaps memory that is held"));
        }
        let entry = Entry { state: EntryState::Writing { writer }, ..entry };
        self.insert(Held { soft_until: 0, writer: Some(writer), readers_until: 0, entry });
        Ok(())
    }

    /// Whether bytes that came over a path which this node controls may be written: only into a range that was
    /// prepared for this writer and grant, and neither committed nor taken back since.
    pub fn may_write(
        &self,
        node: NodeId,
        spot: Spot,
        writer: ClientId,
        from: u64,
        length: u64,
    ) -> Result<()> {
        self.check_grant(node, spot.generation)?;
        let held = self.find(spot).ok_or(CANCELED)?;
        if held.entry.state != (EntryState::Writing { writer }) {
            return Err(CANCELED);
        }
        let end = from.checked_add(length);
        if from < spot.offset || end.is_none_or(|end| end > spot.offset + held.entry.length) {
            return Err(Refusal::new(Code::InvalidArgument, "the write is not within what was granted"));
        }
        Ok(())
    }

    /// Whether these bytes are still those of this grant, for reads over a path which this node controls.
    pub fn may_read(&self, node: NodeId, spot: Spot) -> Result<()> {
        self.check_node(node)?;
        match self.find(spot) {
            Some(held) if !matches!(held.entry.state, EntryState::Writing { .. }) => Ok(()),
            _ => Err(Refusal::new(Code::LeaseExpired, "the memory was given up since the lease was granted")),
        }
    }

    /// Makes the bytes an object's: the writer says that it wrote them all, and will write no more. A second time is
    /// as good as once.
    pub fn commit(&mut self, now: u64, node: NodeId, spot: Spot, writer: ClientId) -> Result<()> {
        self.check_grant(node, spot.generation)?;
        match self.find(spot).ok_or(CANCELED)?.entry.state {
            EntryState::Committed => Ok(()),
            EntryState::Writing { writer: owner } if owner == writer => {
                self.change((spot.segment, spot.offset), |held| {
                    held.entry.state = EntryState::Committed;
                    held.writer = None;
                    held.soft_until = now.saturating_add(held.entry.soft_pin_ms.into());
                });
                Ok(())
            }
            _ => Err(CANCELED),
        }
    }

    /// Takes note of what the node's program saw. Memory that was waiting for it may be free by that.
    pub fn evidence(&mut self, now: u64, evidence: Evidence) -> Vec<Reaction> {
        let touched = match evidence {
            Evidence::Done { writer, generation } => self.quarantine.of_writer(writer, Some(generation)),
            Evidence::Fenced { writer } => self.quarantine.of_writer(writer, None),
        };
        for at in touched {
            self.change(at, |held| {
                held.writer = None;
                held.entry.state = EntryState::Quarantined;
            });
        }
        self.release(now)
    }

    /// Frees what only waited for time to pass.
    pub fn tick(&mut self, now: u64) -> Vec<Reaction> {
        self.release(now)
    }

    /// When `tick` will free something, if nothing else happens.
    pub fn next_tick(&self) -> Option<u64> {
        self.quarantine.next_free()
    }

    /// Gives up what is in quarantine and cannot be touched: no reader has a lease, no writer a way, and no late
    /// message can open it again, because its grant lies below the floor.
    pub(super) fn release(&mut self, now: u64) -> Vec<Reaction> {
        let mut reactions = Vec::new();
        while let Some((segment, offset)) = self.quarantine.pop_free(now) {
            let entries = self.segments.get_mut(&segment).map(|segment| &mut segment.entries);
            let Some(held) = entries.and_then(|entries| entries.remove(&offset)) else { continue };
            let spot = Spot { segment, offset, generation: held.entry.generation };
            reactions.push(Reaction::Send(Report::Dropped { node: self.node, spot, released: true }));
        }
        reactions
    }

    /// Every grant below it is late from now on.
    pub(super) fn raise_floor(&mut self, floor: Generation) {
        self.floor = self.floor.max(floor);
        while let Some(at) = self.quarantine.pop_below(self.floor) {
            self.change(at, |_| {});
        }
    }

    /// What writers are at is in quarantine from now on; they may go on writing all the same.
    pub(super) fn end_writing(&mut self) {
        for at in self.quarantine.of_writers() {
            self.change(at, |held| held.entry.state = EntryState::Quarantined);
        }
    }

    /// Puts everything into quarantine.
    pub(super) fn give_up_all(&mut self, readers_until: u64) {
        for (id, segment) in &mut self.segments {
            for (offset, held) in &mut segment.entries {
                let at = (*id, *offset);
                self.quarantine.leave(at, held);
                held.entry.state = EntryState::Quarantined;
                held.readers_until = held.readers_until.max(readers_until);
                self.quarantine.enter(at, held, self.floor);
            }
        }
    }

    pub(super) fn insert(&mut self, held: Held) {
        let (segment, offset) = (held.entry.segment, held.entry.offset);
        if let Some(here) = self.segments.get_mut(&segment) {
            self.quarantine.enter((segment, offset), &held, self.floor);
            here.entries.insert(offset, held);
        }
    }

    /// The only way to change an entry: what it waits for is known by what it is.
    pub(super) fn change(&mut self, at: At, act: impl FnOnce(&mut Held)) {
        let segment = self.segments.get_mut(&at.0);
        let Some(held) = segment.and_then(|segment| segment.entries.get_mut(&at.1)) else { return };
        self.quarantine.leave(at, held);
        act(held);
        self.quarantine.enter(at, held, self.floor);
    }

    /// Entries after the cursor, at most `limit`, and where the next page begins.
    pub(super) fn page(&self, now: u64, after: Option<Cursor>, limit: usize) -> (Vec<Entry>, Option<Cursor>) {
        let first = after.map_or(SegmentId(0), |cursor| cursor.segment);
        let later =
            |segment: SegmentId, offset: u64| after.is_none_or(|after| Cursor { segment, offset } > after);
        let entry = |held: &Held| {
            let soft_pin_ms = u32::try_from(held.soft_until.saturating_sub(now)).unwrap_or(u32::MAX);
            Entry { soft_pin_ms, ..held.entry.clone() }
        };
        let all = self.segments.range(first..).flat_map(|(id, segment)| {
            let from = after.filter(|after| after.segment == *id).map_or(0, |after| after.offset);
            segment.entries.range(from..).map(move |(offset, held)| (*id, *offset, held))
        });
        let mut rest = all.filter(|(id, offset, _)| later(*id, *offset)).peekable();
        let entries: Vec<Entry> = rest.by_ref().take(limit).map(|(_, _, held)| entry(held)).collect();
        let last = entries.last().map(|last| Cursor { segment: last.segment, offset: last.offset });
        let next = rest.peek().and(last);
        (entries, next)
    }

    pub(super) fn find(&self, spot: Spot) -> Option<&Held> {
        let held = self.segments.get(&spot.segment)?.entries.get(&spot.offset)?;
        (held.entry.generation == spot.generation).then_some(held)
    }

    /// What is written down about a range.
    pub fn entry(&self, spot: Spot) -> Option<&Entry> {
        self.find(spot).map(|held| &held.entry)
    }

    /// Everything that is held, for those who look on.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.segments.values().flat_map(|segment| segment.entries.values().map(|held| &held.entry))
    }

    #[cfg(test)]
    pub(super) fn quarantined(&self) -> usize {
        self.quarantine.len()
    }

    fn check_node(&self, node: NodeId) -> Result<()> {
        if node == self.node {
            return Ok(());
        }
        Err(Refusal::new(Code::PeerRestarted, "this node is not the one that the memory was granted on"))
    }

    fn check_grant(&self, node: NodeId, generation: Generation) -> Result<()> {
        self.check_node(node)?;
        match generation.epoch().cmp(&self.promised) {
            std::cmp::Ordering::Less => Err(CANCELED),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => {
                Err(Refusal::new(Code::NotReady, "this node does not follow that master"))
            }
        }
    }
}

const NO_SEGMENT: Refusal = Refusal::new(Code::NotFound, "this node has no such segment");

/// What a grant that is not worth anything any more is answered with.
pub(super) const CANCELED: Refusal =
    Refusal::new(Code::Canceled, "the grant was taken back, or its master replaced");
