//! The index from what nodes report: after a start, and of nodes that join. And the other way: nodes that are gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::store::footer::stored_length;
use crate::store::message::{Cursor, Offers};
use crate::store::object::{Entry, EntryState, MAX_REPLICAS, Name, NodeId, Version, stripe_length};

use super::lead::{Node, Phase};
use super::shard::{HARD_PIN, ObjectRef, PARTIAL, Place, Places};
use super::state::State;

/// A stripe that was reported.
#[derive(Clone, Debug)]
struct Part {
    version: Version,
    place: Place,
    stripe: u16,
    stripes: u16,
    replicas: u8,
    size: u64,
    soft_until: u64,
    hard_pin: bool,
    group: Arc<str>,
}

/// Objects that have more to them than one piece, until all is reported.
#[derive(Debug, Default)]
pub struct Found {
    parts: BTreeMap<ObjectRef, Vec<Part>>,
}

/// One version of an object as far as it was found.
struct Candidate {
    version: Version,
    /// Whole copies, stripes in order.
    copies: Vec<Vec<Place>>,
    /// All copies that its put made are there.
    is_complete: bool,
}

impl Candidate {
    fn of(version: Version, parts: &[Part]) -> Candidate {
        let of_version = || parts.iter().filter(move |part| part.version == version);
        let first = of_version().next().expect("a version has parts");
        let mut stripes: Vec<Vec<Place>> = vec![Vec::new(); first.stripes.into()];
        for part in of_version().filter(|part| part.stripe < first.stripes) {
            stripes[usize::from(part.stripe)].push(part.place);
        }
        let whole = stripes.iter().map(Vec::len).min().unwrap_or(0);
        // A copy that was made later says 1: its object had been acknowledged.
        let wanted = of_version().map(|part| usize::from(part.replicas)).min().unwrap_or(0);
        let copies = (0..whole).map(|copy| stripes.iter().map(|places| places[copy]).collect()).collect();
        Candidate { version, copies, is_complete: whole >= wanted }
    }
}

impl State {
    /// Takes in what a node offers now: segments that came, and those that were taken back, which held nothing.
    pub(super) fn offered(&mut self, now: u64, node: NodeId, offers: Offers) {
        let Some(known) = self.lead.nodes.get_mut(&node) else { return };
        if offers.number > known.offers.number {
            known.offers = offers;
            let offers = &self.lead.nodes[&node].offers;
            let is_offered = |slot: &u32| {
                let segment = self.pool.get(*slot);
                segment.is_some_and(|segment| offers.list.iter().any(|offer| offer.segment == segment.id))
            };
            let gone: Vec<u32> =
                self.pool.of_node(node).into_iter().filter(|slot| !is_offered(slot)).collect();
            self.remove_segments(now, &gone);
            self.offers_of(node);
        }
    }

    /// Makes the segments that a node offers known. One that comes after the node has begun to report is empty: it was
    /// mounted after the promise, and what earlier masters granted was so before it.
    pub(super) fn offers_of(&mut self, node: NodeId) {
        let Some(known) = self.lead.nodes.get(&node) else { return };
        let is_open = known.is_member && self.lead.phase == Phase::Serving;
        for offer in &known.offers.list {
            let slot = self.pool.add(node, &known.domain, offer);
            if let Some(segment) = slot.and_then(|slot| self.pool.get_mut(slot)) {
                segment.is_open |= is_open;
                segment.is_withdrawn = known.offers.withdrawn.contains(&offer.segment);
            }
        }
        self.share_capacity();
    }

    /// Takes in a page of a report. Pages come in order: what was taken in already is passed over.
    pub(super) fn page(
        &mut self,
        now: u64,
        node: NodeId,
        after: Option<Cursor>,
        entries: Vec<Entry>,
        next: Option<Cursor>,
    ) {
        let phase = self.lead.phase;
        if phase == Phase::Gathering {
            return self.gather(now);
        }
        let is_in = self.lead.heirs.contains(&node);
        let Some(known) = self.lead.nodes.get_mut(&node) else { return };
        if known.reported || known.cursor != after {
            return;
        }
        match phase {
            // As long as no view without it holds, it is not too late.
            Phase::Rebuilding | Phase::Installing if is_in => known.is_member = true,
            Phase::Serving if known.is_fresh => {}
            _ => return,
        }
        known.cursor = next;
        known.reported = next.is_none();
        let is_member = known.is_member;
        self.offers_of(node);
        for entry in entries {
            self.admit(now, node, entry, is_member);
        }
        if next.is_some() {
            self.claim(now, node);
        }
        self.finish_rebuild(now);
    }

    fn admit(&mut self, now: u64, node: NodeId, entry: Entry, is_member: bool) {
        let Some(slot) = self.pool.find(node, entry.segment) else { return };
        let segment = self.pool.get_mut(slot).expect("it was just found");
        let Some(block) = segment.allocator.claim(entry.offset, entry.length) else {
            tracing::warn!(node = node.0, offset = entry.offset, "a node reports ranges that overlap");
            return;
        };
        let place = Place::new(entry.generation, slot, block);
        if !is_member || !self.admit_committed(now, place, &entry) {
            // It may have been a member without knowing, and have readers since.
            let readers_until = if is_member { now } else { now + self.config.horizon_ms() };
            self.drop_place(now, place, readers_until, false, None);
        }
    }

    /// False if it is no part of an object.
    fn admit_committed(&mut self, now: u64, place: Place, entry: &Entry) -> bool {
        let is_sound = Name { tenant: &entry.tenant, key: &entry.key }.check().is_ok()
            && entry.stripe < entry.stripes
            && (1..=MAX_REPLICAS).contains(&usize::from(entry.replicas))
            && (1..=i64::MAX as u64 / MAX_REPLICAS as u64).contains(&entry.size)
            && entry.length
                == stored_length(stripe_length(entry.size, entry.stripes.into(), entry.stripe.into()));
        if entry.state != EntryState::Committed || !is_sound {
            return false;
        }
        let Ok(tenant) = self.tenants.intern(&entry.tenant) else { return false };
        let Some(at) = self.find_in(tenant, &entry.key).or_else(|| self.add(tenant, &entry.key).ok()) else {
            self.tenants.forget_unused(tenant);
            return false;
        };
        let part = Part {
            version: entry.version,
            place,
            stripe: entry.stripe,
            stripes: entry.stripes,
            replicas: entry.replicas,
            size: entry.size,
            soft_until: if entry.soft_pin_ms > 0 { now + u64::from(entry.soft_pin_ms) } else { 0 },
            hard_pin: entry.hard_pin,
            group: entry.group.clone(),
        };
        let is_known = self.found.parts.contains_key(&at);
        if self.object(at).version == Version::default()
            && !is_known
            && part.replicas == 1
            && part.stripes == 1
        {
            self.make(at, &part, 1, Places::One(place));
            return true;
        }
        if !is_known {
            self.found.parts.insert(at, self.parts_of(at));
        }
        let version = part.version;
        let parts = self.found.parts.entry(at).or_default();
        parts.push(part);
        let candidate = Candidate::of(version, parts);
        if candidate.is_complete && !self.object(at).is_visible() {
            self.make_from(at, &candidate);
        }
        true
    }

    /// What was taken for the whole of an object before more of it came.
    fn parts_of(&self, at: ObjectRef) -> Vec<Part> {
        let object = self.object(at);
        let stripes = object.stripes();
        let part = |(index, place): (usize, &Place)| Part {
            version: object.version,
            place: *place,
            stripe: (index % stripes) as u16,
            stripes: stripes as u16,
            // One is missing at least, where some were.
            replicas: object.replicas + u8::from(object.flags & PARTIAL != 0),
            size: object.size,
            soft_until: object.soft_until,
            hard_pin: object.flags & HARD_PIN != 0,
            group: self.groups.name(object.group),
        };
        object.places.as_slice().iter().enumerate().map(part).collect()
    }

    fn make(&mut self, at: ObjectRef, part: &Part, replicas: u8, places: Places) {
        let leases_end = self.lead.leases_end;
        let object = self.object_mut(at);
        (object.version, object.size, object.replicas) = (part.version, part.size, replicas);
        (object.places, object.soft_until) = (places, part.soft_until);
        object.lease_until = object.lease_until.max(leases_end);
        object.set(HARD_PIN, part.hard_pin);
        self.show(at, &part.group);
    }

    fn make_from(&mut self, at: ObjectRef, candidate: &Candidate) {
        let parts = &self.found.parts[&at];
        let part =
            parts.iter().find(|part| part.version == candidate.version).expect("it is made of them").clone();
        let places: Vec<Place> = candidate.copies.iter().flatten().copied().collect();
        self.object_mut(at).set(PARTIAL, !candidate.is_complete);
        self.make(at, &part, candidate.copies.len() as u8, places.into());
    }

    /// Goes on once every member of the last view reported, died, or was silent for its lease.
    pub(super) fn finish_rebuild(&mut self, now: u64) {
        if !matches!(self.lead.phase, Phase::Rebuilding | Phase::Installing) {
            return;
        }
        let lease_ms = self.config.node_lease_ms;
        let waited_for = |node: &NodeId| match self.lead.nodes.get(node) {
            _ if self.lead.is_dead(*node) => false,
            Some(Node { reported: true, .. }) => false,
            Some(_) => self.lead.is_heard(now, *node, lease_ms),
            None => now < self.lead.started + lease_ms,
        };
        if self.lead.phase == Phase::Rebuilding && self.lead.heirs.iter().any(waited_for) {
            return;
        }
        let objects: Vec<ObjectRef> = self.found.parts.keys().copied().collect();
        for at in objects {
            self.resolve(now, at);
        }
        self.propose(now);
    }

    /// Decides which version of an object there is: the highest one that is whole. Where several are there, none but the
    /// lowest can have been acknowledged, since that waits until what it replaced is gone; so without a whole one, it is
    /// the lowest.
    fn resolve(&mut self, now: u64, at: ObjectRef) {
        let pool = &self.pool;
        if let Some(parts) = self.found.parts.get_mut(&at) {
            parts.retain(|part| pool.get(part.place.segment).is_some());
        }
        let parts = &self.found.parts[&at];
        let mut versions: Vec<Version> = parts.iter().map(|part| part.version).collect();
        versions.sort_unstable();
        versions.dedup();
        let candidates = versions.iter().map(|version| Candidate::of(*version, parts));
        let whole = candidates.filter(|candidate| !candidate.copies.is_empty());
        let best = whole
            .max_by_key(|one| (one.is_complete, one.version.0 ^ if one.is_complete { 0 } else { u64::MAX }));
        let mut stray: Vec<Place> = parts.iter().map(|part| part.place).collect();
        if self.object(at).is_visible() {
            self.hide(at);
            self.object_mut(at).places = Places::default();
        }
        if let Some(best) = best {
            self.make_from(at, &best);
        }
        stray.retain(|place| !self.object(at).places.as_slice().contains(place));
        self.found.parts.remove(&at);
        let readers_until = self.object(at).lease_until.max(self.lead.leases_end);
        self.drop_places(now, at, &stray, readers_until, false);
        self.end_if_quiet(at);
    }

    pub(super) fn is_found(&self, at: ObjectRef) -> bool {
        self.found.parts.contains_key(&at)
    }

    pub(super) fn found_places(&self, at: ObjectRef) -> Vec<Place> {
        self.found.parts.get(&at).into_iter().flatten().map(|part| part.place).collect()
    }

    /// Forgets a node and all that lay on it.
    pub(super) fn remove_node(&mut self, now: u64, node: NodeId) {
        let slots = self.pool.of_node(node);
        self.remove_segments(now, &slots);
    }

    /// Forgets segments. What lay there is taken out of objects as they are met (`gone`).
    fn remove_segments(&mut self, now: u64, slots: &[u32]) {
        if slots.is_empty() {
            return;
        }
        self.end_drains(slots);
        let mut owners = Vec::new();
        for slot in slots {
            owners.extend(self.drops.remove_segment(*slot));
            self.pool.close(*slot);
            self.gone.add(*slot);
        }
        owners.into_iter().for_each(|owner| self.settled(owner));
        let changing: Vec<ObjectRef> = self.grants.iter().map(|(_, at)| at).collect();
        for at in changing {
            self.shrink_put(now, at);
            self.shrink_copy(now, at);
        }
    }

    /// Gives a visible object other replicas of the same content.
    pub(super) fn set_places(&mut self, at: ObjectRef, places: Vec<Place>, replicas: u8) {
        let object = self.object_mut(at);
        let (tenant, before) = (object.tenant, object.charge());
        (object.places, object.replicas) = (places.into(), replicas);
        let after = object.charge();
        self.tenants.uncharge(tenant, before);
        self.tenants.charge(tenant, after);
        self.shards[at.shard as usize].enroll(at.slot);
    }
}
