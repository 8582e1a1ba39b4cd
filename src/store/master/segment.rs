//! The memory of all nodes: which segments there are, and what of them is given out.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::store::allocator::offset::OffsetAllocator;
use crate::store::allocator::placement::{Candidate, Taken, Wish, domains, place};
use crate::store::footer::stored_length;
use crate::store::message::Offer;
use crate::store::object::{Extent, Generation, NodeId, ReplicateConfig, SegmentId, stripe_length};
use crate::store::slab::Slab;

use super::shard::Place;

#[derive(Debug)]
pub struct Segment {
    pub node: NodeId,
    pub id: SegmentId,
    pub name: Arc<str>,
    pub domain: u32,
    pub allocator: OffsetAllocator,
    /// New objects may be placed here: the node is in a view that holds.
    pub is_open: bool,
    pub is_draining: bool,
    /// Its node wants it back.
    pub is_withdrawn: bool,
}

impl Segment {
    pub fn takes_objects(&self) -> bool {
        self.is_open && !self.is_draining && !self.is_withdrawn
    }
}

/// A segment, for those who look on. Bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    pub node: NodeId,
    pub segment: SegmentId,
    pub name: Arc<str>,
    pub capacity: u64,
    /// Objects, and memory that is not free again yet.
    pub used: u64,
    pub is_open: bool,
    pub is_draining: bool,
}

#[derive(Debug)]
pub struct Pool {
    /// Objects begin at such multiples.
    alignment: u64,
    slots: Slab<Option<Box<Segment>>>,
    by_id: BTreeMap<(NodeId, SegmentId), u32>,
    domains: BTreeMap<Arc<str>, u32>,
}

impl Pool {
    pub fn new(alignment: u64) -> Pool {
        Pool { alignment, slots: Slab::default(), by_id: BTreeMap::new(), domains: BTreeMap::new() }
    }

    pub fn get(&self, slot: u32) -> Option<&Segment> {
        self.slots.get(slot).as_deref()
    }

    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Segment> {
        self.slots.get_mut(slot).as_deref_mut()
    }

    pub fn find(&self, node: NodeId, segment: SegmentId) -> Option<u32> {
        self.by_id.get(&(node, segment)).copied()
    }

    pub fn of_node(&self, node: NodeId) -> Vec<u32> {
        self.by_id.range((node, SegmentId(0))..=(node, SegmentId(u64::MAX))).map(|(_, slot)| *slot).collect()
    }

    pub fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.by_id.keys().map(|(node, _)| *node).collect();
        nodes.dedup();
        nodes
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Segment)> {
        self.by_id.values().filter_map(|slot| Some((*slot, self.get(*slot)?)))
    }

    /// Adds a segment with all of it free, unless it is there.
    pub fn add(&mut self, node: NodeId, domain: &Arc<str>, offer: &Offer) -> Option<u32> {
        if let Some(slot) = self.find(node, offer.segment) {
            return Some(slot);
        }
        let next = self.domains.len() as u32;
        let domain = *self.domains.entry(domain.clone()).or_insert(next);
        let allocator = OffsetAllocator::new(offer.length);
        let name = offer.name.clone();
        let segment = Segment {
            node,
            id: offer.segment,
            name,
            domain,
            allocator,
            is_open: false,
            is_draining: false,
            is_withdrawn: false,
        };
        let slot = self.slots.insert(Some(Box::new(segment)))?;
        self.by_id.insert((node, offer.segment), slot);
        Some(slot)
    }

    /// Forgets a segment. Its slot stays taken until it is released.
    pub fn close(&mut self, slot: u32) {
        if let Some(segment) = self.slots.get_mut(slot).take() {
            self.by_id.remove(&(segment.node, segment.id));
        }
    }

    /// Nothing names this slot any more: another segment may have it.
    pub fn release(&mut self, slot: u32) {
        self.slots.remove(slot);
    }

    pub fn free(&mut self, segment: u32, block: u32) {
        if let Some(segment) = self.get_mut(segment) {
            segment.allocator.free(block);
        }
    }

    /// Bytes in use and in all, of segments that objects may be placed in.
    pub fn usage(&self) -> (u64, u64) {
        let open = self.iter().filter(|(_, segment)| segment.takes_objects());
        open.fold((0, 0), |(used, capacity), (_, segment)| {
            (used + segment.allocator.used(), capacity + segment.allocator.capacity())
        })
    }

    /// Takes memory for the replicas of an object: stripes of each, one replica after the other. None if it cannot be
    /// done now; replicas are fewer than wished only where there are fewer segments.
    pub fn allocate(
        &mut self,
        size: u64,
        config: &ReplicateConfig,
        may_use: impl Fn(u32, &Segment) -> bool,
    ) -> Option<Vec<Vec<Taken>>> {
        let mut candidates = self.candidates(config, may_use);
        let alignment = self.alignment;
        let pool = RefCell::new(self);
        let take =
            |slot: u32, length: u64| pool.borrow_mut().get_mut(slot)?.allocator.allocate(length, alignment);
        let give_back = |taken: Taken| pool.borrow_mut().free(taken.segment, taken.block);
        place_object(&mut candidates, size, config, take, give_back)
    }

    /// Why an object would find no memory even if nothing else were there; None if it would.
    pub fn never_fits(&self, size: u64, config: &ReplicateConfig) -> Option<&'static str> {
        let mut candidates = self.candidates(config, |_, _| true);
        candidates.iter_mut().for_each(|one| one.free = one.capacity);
        let (all, strict) = (candidates.clone(), config.strict_domains);
        // What is left of each segment, and what each stripe took of it.
        let left: BTreeMap<u32, u64> = all.iter().map(|one| (one.segment, one.capacity)).collect();
        let (left, taken) = (RefCell::new(left), RefCell::new(Vec::new()));
        let take = |slot: u32, length: u64| {
            let (mut left, mut taken) = (left.borrow_mut(), taken.borrow_mut());
            let (allocator, room) = (&self.get(slot)?.allocator, left.get_mut(&slot)?);
            if allocator.needed(length, self.alignment) > *room {
                return None;
            }
            let bytes = allocator.rounded(length).next_multiple_of(self.alignment).min(*room);
            *room -= bytes;
            taken.push(bytes);
            u32::try_from(taken.len() - 1).ok()
        };
        let give_back = |gone: Taken| {
            *left.borrow_mut().entry(gone.segment).or_default() += taken.borrow()[gone.block as usize];
        };
        if place_object(&mut candidates, size, config, take, give_back).is_some() {
            return None;
        }
        let stripe = stored_length(stripe_length(size, config.stripes(size), 0));
        let fits = |one: &Candidate| {
            self.get(one.segment)
                .is_some_and(|segment| segment.allocator.needed(stripe, self.alignment) <= one.capacity)
        };
        let large: Vec<Candidate> = all.into_iter().filter(fits).collect();
        Some(match domains(&large) {
            0 => "the object, or a stripe of it, is larger than every segment",
            there if strict && there < usize::from(config.count) => {
                "it is to have more replicas than there are failure domains with a segment that is large enough"
            }
            _ => "its replicas together are larger than all memory that they may lie in",
        })
    }

    fn candidates(
        &self,
        config: &ReplicateConfig,
        may_use: impl Fn(u32, &Segment) -> bool,
    ) -> Vec<Candidate> {
        let near = self.domains.get(&*config.near);
        self.iter()
            .filter(|(slot, segment)| segment.takes_objects() && may_use(*slot, segment))
            .map(|(slot, segment)| Candidate {
                segment: slot,
                domain: segment.domain,
                free: segment.allocator.capacity() - segment.allocator.used(),
                capacity: segment.allocator.capacity(),
                preferred: config.preferred.iter().position(|name| **name == *segment.name),
                near: near == Some(&segment.domain),
            })
            .collect()
    }

    /// Where a stripe lies, for clients and nodes. None once its node is gone.
    pub fn extent(&self, place: &Place, size: u64, stripes: usize, stripe: usize) -> Option<Extent> {
        let segment = self.get(place.segment)?;
        Some(Extent {
            node: segment.node,
            segment: segment.id,
            offset: segment.allocator.offset(place.block),
            length: stored_length(stripe_length(size, stripes, stripe)),
            generation: place.generation(),
        })
    }

    pub fn info(&self) -> Vec<SegmentInfo> {
        let info = |(_, segment): (u32, &Segment)| SegmentInfo {
            node: segment.node,
            segment: segment.id,
            name: segment.name.clone(),
            capacity: segment.allocator.capacity(),
            used: segment.allocator.used(),
            is_open: segment.is_open,
            is_draining: segment.is_draining || segment.is_withdrawn,
        };
        self.iter().map(info).collect()
    }
}

/// Places the replicas of an object by `take(segment, bytes)`. None if it does not succeed; then nothing stays taken.
fn place_object(
    candidates: &mut [Candidate],
    size: u64,
    config: &ReplicateConfig,
    mut take: impl FnMut(u32, u64) -> Option<u32>,
    mut give_back: impl FnMut(Taken),
) -> Option<Vec<Vec<Taken>>> {
    let (replicas, stripes) = (usize::from(config.count), config.stripes(size));
    let enough = if config.strict_domains { replicas } else { replicas.min(candidates.len()).max(1) };
    let wish = Wish { replicas, stripes, strict: config.strict_domains };
    let take_stripe =
        |slot: u32, stripe: usize| take(slot, stored_length(stripe_length(size, stripes, stripe)));
    let placed = place(candidates, wish, take_stripe, &mut give_back);
    // With stripes a replica takes many segments, and others go without.
    if placed.len() >= enough || stripes > 1 && !config.strict_domains && !placed.is_empty() {
        return Some(placed);
    }
    placed.into_iter().flatten().for_each(give_back);
    None
}

/// All stripes as places of one grant.
pub fn places_of(taken: &[Vec<Taken>], generation: Generation) -> Vec<Place> {
    let place = |taken: &Taken| Place::new(generation, taken.segment, taken.block);
    taken.iter().flatten().map(place).collect()
}
