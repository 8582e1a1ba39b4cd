//! Changes: an object has one at a time, and it ends only when every node has done what it asks for, or was expelled. So
//! whatever a new master finds in inventories, nothing that was acknowledged as gone is among it.

use crate::error::Code;
use crate::store::message::{Command, Spot};
use crate::store::object::{NodeId, Token};
use crate::store::refusal::Refusal;

use super::drops::Drop;
use super::put::Put;
use super::shard::{CHANGING, ObjectRef, Place, Places};
use super::state::{Answer, State};
use super::task::Copying;

pub(super) const BUSY: Refusal = Refusal::retry(Code::Busy, "the object is being changed", 5);

/// Most drops of one segment that one tick sends again.
const RESENDS: usize = 128;

#[derive(Debug, Default)]
pub enum Work {
    #[default]
    None,
    Put(Box<Put>),
    Copy(Box<Copying>),
}

#[derive(Debug, Default)]
pub struct Change {
    pub work: Work,
    /// Drops that nodes have not applied yet.
    pub waiting: usize,
    /// Who is told when it ends.
    pub tokens: Vec<Token>,
}

impl State {
    /// The change of an object, begun if there is none.
    pub(super) fn change(&mut self, at: ObjectRef) -> &mut Change {
        self.object_mut(at).set(CHANGING, true);
        self.changes.entry(at).or_default()
    }

    pub(super) fn work(&self, at: ObjectRef) -> &Work {
        self.changes.get(&at).map_or(&Work::None, |change| &change.work)
    }

    /// Answers whoever asked for a change: at once, or when the nodes that it waits for have applied it.
    pub(super) fn answer(&mut self, at: ObjectRef, token: Token) -> Answer {
        let change = self.change(at);
        if change.waiting > 0 {
            change.tokens.push(token);
            return Answer::Later;
        }
        self.end_if_quiet(at);
        Answer::Done
    }

    /// Ends a change that waits for nothing. An object that is not seen then is not there.
    pub(super) fn end_if_quiet(&mut self, at: ObjectRef) {
        let Some(change) = self.changes.get(&at) else { return };
        if change.waiting > 0 || !matches!(change.work, Work::None) {
            return;
        }
        let change = self.changes.remove(&at).expect("it was just seen");
        self.object_mut(at).set(CHANGING, false);
        if !self.object(at).is_visible() {
            self.erase(at);
        }
        for token in change.tokens {
            self.reply(token);
        }
    }

    /// Tells the nodes of these ranges that they are no longer the object's. The object's change waits for them.
    pub(super) fn drop_places(
        &mut self,
        now: u64,
        owner: ObjectRef,
        places: &[Place],
        readers_until: u64,
        writer_done: bool,
    ) {
        self.change(owner);
        for place in places {
            if self.drop_place(now, *place, readers_until, writer_done, Some(owner)) {
                self.change(owner).waiting += 1;
            }
        }
    }

    /// False if the range is gone with its node.
    pub(super) fn drop_place(
        &mut self,
        now: u64,
        place: Place,
        readers_until: u64,
        writer_done: bool,
        owner: Option<ObjectRef>,
    ) -> bool {
        let Some(segment) = self.pool.get(place.segment) else { return false };
        let key = (place.segment, segment.allocator.offset(place.block));
        let bytes = segment.allocator.taken(place.block);
        let drop = Drop { place, bytes, readers_until, writer_done, owner };
        self.drops.add(key, drop, now + self.config.resend_ms);
        self.send_drop(now, key);
        true
    }

    pub(super) fn send_drop(&mut self, now: u64, key: (u32, u64)) {
        let (Some(drop), Some(segment)) = (self.drops.get(key), self.pool.get(key.0)) else { return };
        let spot = Spot { segment: segment.id, offset: key.1, generation: drop.place.generation() };
        let length = drop.bytes;
        let readers_ms = drop.readers_until.saturating_sub(now);
        let command = Command::Drop { spot, length, readers_ms, writer_done: drop.writer_done };
        let node = segment.node;
        self.send(node, command);
    }

    /// Tells nodes that answer again what they have not done.
    pub(super) fn resend_drops(&mut self, now: u64) {
        for slot in self.drops.segments() {
            let node = self.pool.get(slot).map(|segment| segment.node);
            if node.is_some_and(|node| self.is_answering(now, node)) {
                let offsets = self.drops.resend(now, slot, RESENDS, self.config.resend_ms);
                offsets.into_iter().for_each(|offset| self.send_drop(now, (slot, offset)));
            }
        }
    }

    /// A node applied a drop, and perhaps nothing can touch the bytes any more.
    pub(super) fn dropped(&mut self, now: u64, node: NodeId, spot: Spot, released: bool) {
        let Some(slot) = self.pool.find(node, spot.segment) else { return };
        let key = (slot, spot.offset);
        if self.drops.get(key).is_none_or(|drop| drop.place.generation() != spot.generation) {
            return;
        }
        let owner = if released {
            let drop = self.drops.remove(key);
            drop.and_then(|Drop { place, owner, .. }| {
                self.pool.free(place.segment, place.block);
                owner
            })
        } else {
            self.drops.applied(key, now + self.config.resend_ms)
        };
        if let Some(owner) = owner {
            self.settled(owner);
        }
    }

    /// One drop less to wait for.
    pub(super) fn settled(&mut self, at: ObjectRef) {
        self.change(at).waiting -= 1;
        self.end_if_quiet(at);
    }

    /// Makes an object unfindable and drops all it has. Its change ends when all nodes applied that.
    pub(super) fn begin_removal(&mut self, now: u64, at: ObjectRef) {
        self.hide(at);
        let object = self.object_mut(at);
        let places = std::mem::take(&mut object.places);
        let readers_until = object.lease_until;
        self.drop_places(now, at, places.as_slice(), readers_until, true);
    }

    /// Takes replicas that are gone or given up out of what is left of `places`, stripes that still lie on living nodes
    /// included, which are to be dropped.
    pub(super) fn split_lost(&self, places: &Places, replicas: u8) -> (Vec<Place>, u8, Vec<Place>) {
        let all = places.as_slice();
        let stripes = (all.len() / usize::from(replicas.max(1))).max(1);
        let is_there = |place: &Place| self.pool.get(place.segment).is_some();
        let (mut kept, mut count, mut stray) = (Vec::new(), 0, Vec::new());
        for copy in all.chunks(stripes) {
            if copy.iter().all(is_there) {
                kept.extend_from_slice(copy);
                count += 1;
            } else {
                stray.extend(copy.iter().filter(|place| is_there(place)));
            }
        }
        (kept, count, stray)
    }
}
