//! Replicas whose bytes are not what was written: given up, so that nobody reads them again.

use crate::store::message::Spot;
use crate::store::object::{Name, NodeId};

use super::shard::Place;
use super::state::State;

impl State {
    /// A node found that what it holds there does not match its checksums. The object goes with its last replica. One that
    /// is being changed is left: whoever reads it next has the node look again.
    pub(super) fn worn(&mut self, now: u64, node: NodeId, spot: Spot, name: Name<'_>) {
        if self.may_change(now).is_err() {
            return;
        }
        let (Some(slot), Some(at)) = (self.pool.find(node, spot.segment), self.find(name)) else { return };
        let object = self.object(at);
        if !object.is_visible() || object.is_changing() {
            return;
        }
        let is_there = |place: &Place| {
            let segment = self.pool.get(place.segment).filter(|_| place.segment == slot);
            place.generation() == spot.generation
                && segment.is_some_and(|segment| segment.allocator.offset(place.block) == spot.offset)
        };
        let mut copies: Vec<Vec<Place>> = object.copies().map(<[Place]>::to_vec).collect();
        let Some(worn) = copies.iter().position(|copy| copy.iter().any(is_there)) else { return };
        let readers_until = object.lease_until;
        self.stats.worn += 1;
        let given_up = copies.remove(worn);
        if copies.is_empty() {
            self.begin_removal(now, at);
        } else {
            let count = copies.len() as u8;
            self.set_places(at, copies.concat(), count);
            self.drop_places(now, at, &given_up, readers_until, true);
        }
        self.end_if_quiet(at);
    }
}
