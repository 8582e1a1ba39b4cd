//! What everybody was told, and what therefore must be so.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::message::Spot;
use crate::store::object::{ClientId, Extent, Generation, NodeId, SegmentId, Version};

use super::message::Address;
use super::world::NODES;

/// Keys below this are pinned: nothing but a removal takes them away.
pub const PINNED_KEYS: u16 = 6;
pub const KEYS: u16 = 24;

/// A reader that believes in a lease.
#[derive(Clone, Debug)]
pub struct Reading {
    pub client: ClientId,
    pub extent: Extent,
    pub until: u64,
}

/// A writer that nothing keeps from writing into a range.
#[derive(Clone, Debug)]
pub struct Writing {
    pub writer: ClientId,
    pub node: NodeId,
    pub spot: Spot,
    pub length: u64,
}

/// An acknowledged key that a master says is not there.
#[derive(Clone, Copy, Debug)]
pub struct Missing {
    pub key: u16,
    pub master: usize,
}

/// Pieces by key and version.
pub type Held = BTreeMap<u16, BTreeMap<u64, usize>>;

#[derive(Default)]
pub struct Truth {
    /// Which process a node's id is, or was.
    pub processes: BTreeMap<NodeId, Address>,
    /// What was granted under a version.
    pub grants: BTreeMap<Version, Vec<(NodeId, Spot)>>,
    acknowledged: BTreeSet<Version>,
    /// Keys whose replicas were told to move.
    pub moved: BTreeSet<u16>,
    /// Versions below are not current any more, since a put or a removal was acknowledged.
    floor: BTreeMap<u16, u64>,
    /// Highest version that was ever granted.
    granted: BTreeMap<u16, u64>,
    /// Acknowledged, pinned, and nobody tried to remove it since: the version, and since when.
    pinned: BTreeMap<u16, (u64, u64)>,
    /// Versions of which every piece was committed, once.
    whole: BTreeSet<u64>,
    /// Versions up to these were being removed.
    doomed: BTreeMap<u16, u64>,
    /// Which pinned keys each node holds, in which versions.
    held: [Held; NODES],
    pub readings: Vec<Reading>,
    writings: Vec<Writing>,
    /// Grants whose writers said that they are done. What they sent before may still arrive, but no bytes.
    done: BTreeSet<(ClientId, Generation)>,
    pub missing: Vec<Missing>,
}

impl Truth {
    pub fn floor(&self, key: u16) -> u64 {
        self.floor.get(&key).copied().unwrap_or_default()
    }

    pub fn newest(&self, key: u16) -> u64 {
        self.granted.get(&key).copied().unwrap_or_default()
    }

    /// Memory was granted: it must be nobody's.
    pub fn grant(&mut self, now: u64, key: u16, version: Version, extents: &[Extent]) -> Option<String> {
        if version.0 <= self.newest(key) {
            return Some(format!("key {key} got version {version:?} after {}", self.newest(key)));
        }
        self.granted.insert(key, version.0);
        self.take_memory(now, extents)
    }

    pub fn take_memory(&self, now: u64, extents: &[Extent]) -> Option<String> {
        let process = |node: NodeId| self.processes.get(&node);
        let meets = |extent: &Extent, node: NodeId, segment: SegmentId, offset: u64, length: u64| {
            (process(extent.node), extent.segment) == (process(node), segment)
                && extent.offset < offset + length
                && offset < extent.offset + extent.length
        };
        for extent in extents {
            let read = self.readings.iter().find(|one| {
                let other = &one.extent;
                one.until > now && meets(extent, other.node, other.segment, other.offset, other.length)
            });
            if let Some(reading) = read {
                return Some(format!("{extent:?} is granted while it is read: {reading:?}"));
            }
            let written = self
                .writings
                .iter()
                .find(|one| meets(extent, one.node, one.spot.segment, one.spot.offset, one.length));
            if let Some(writing) = written {
                return Some(format!("{extent:?} is granted while it can be written: {writing:?}"));
            }
        }
        None
    }

    pub fn opened(&mut self, writing: Writing) {
        let is_known = self.writings.iter().any(|one| (one.node, one.spot) == (writing.node, writing.spot));
        if !is_known && !self.done.contains(&(writing.writer, writing.spot.generation)) {
            self.writings.push(writing);
        }
    }

    /// A writer sends no more bytes under this grant, whatever of it nodes open or close from now on.
    pub fn done(&mut self, writer: ClientId, generation: Generation) {
        self.done.insert((writer, generation));
        self.writings.retain(|one| (one.writer, one.spot.generation) != (writer, generation));
    }

    pub fn closed(&mut self, node: NodeId, spot: Spot) {
        self.writings.retain(|one| (one.node, one.spot) != (node, spot));
    }

    /// No write of this client gets through to the node any more, under whatever name it goes.
    pub fn fenced(&mut self, nodes: &[NodeId], writer: ClientId) {
        self.writings.retain(|one| !nodes.contains(&one.node) || one.writer != writer);
    }

    pub fn client_gone(&mut self, client: ClientId) {
        self.readings.retain(|one| one.client != client);
    }

    /// A node has lost what it held. Of a key that had its only replica there nothing is said any more, nor of one whose
    /// newer version, or whose replica that was told to move, may have been there alone.
    pub fn node_gone(&mut self, node: usize) {
        let held = std::mem::take(&mut self.held[node]);
        for (key, versions) in held {
            let Some((version, _)) = self.pinned.get(&key).copied() else { continue };
            let is_left = (0..NODES).any(|node| self.holds_exactly(node, key));
            let had_newer = versions.keys().any(|one| *one > version && self.whole.contains(one));
            if self.moved.contains(&key) || had_newer || versions.contains_key(&version) && !is_left {
                self.pinned.remove(&key);
            }
        }
    }

    /// A master replaced what a key has: from now on, that may be held instead.
    pub fn decided(&mut self, key: u16, version: u64) {
        let is_held = self.is_held(key, version);
        if self.pinned.get(&key).is_none_or(|pinned| version <= pinned.0) {
            return;
        }
        if is_held {
            self.whole.insert(version);
        } else {
            self.pinned.remove(&key);
        }
    }

    fn is_held(&self, key: u16, version: u64) -> bool {
        self.held.iter().any(|held| held.get(&key).is_some_and(|all| all.contains_key(&version)))
    }

    /// True for the first time that a put is acknowledged.
    pub fn is_first_word(&mut self, version: Version) -> bool {
        self.acknowledged.insert(version)
    }

    /// A master removes a key, or replicas of it: nothing is said any more of what there is of it now.
    pub fn will_remove(&mut self, key: u16) {
        self.pinned.remove(&key);
        self.doomed.insert(key, self.newest(key));
    }

    /// Everything up to this version is gone.
    pub fn removed(&mut self, key: u16, up_to: u64) {
        let floor = self.floor.entry(key).or_default();
        *floor = (*floor).max(up_to + 1);
    }

    pub fn put(&mut self, now: u64, key: u16, version: u64, is_pinned: bool) {
        let floor = self.floor.entry(key).or_default();
        let is_newest = version >= *floor && self.doomed.get(&key).is_none_or(|doomed| version > *doomed);
        *floor = (*floor).max(version);
        if is_pinned && is_newest && self.is_held(key, version) {
            self.pinned.insert(key, (version, now));
        }
    }

    /// A key was not found by a request that began then.
    pub fn not_found(&mut self, key: u16, began: u64, master: usize) {
        if self.pinned.get(&key).is_some_and(|(_, since)| *since < began) {
            self.missing.push(Missing { key, master });
        }
    }

    pub fn holds_exactly(&self, node: usize, key: u16) -> bool {
        let Some((version, _)) = self.pinned.get(&key) else { return false };
        self.held[node].get(&key).is_some_and(|held| held.contains_key(version))
    }

    /// Holds it, or what may have replaced it.
    fn holds(&self, node: usize, key: u16) -> bool {
        let Some((version, _)) = self.pinned.get(&key) else { return false };
        let counts = |one: &u64| one == version || one > version && self.whole.contains(one);
        self.held[node].get(&key).is_some_and(|held| held.keys().any(counts))
    }

    /// A node holds something else than before. A pinned key that was held must still be, by some node.
    pub fn see_node(&mut self, node: usize, held: Held) -> Option<String> {
        let before: Vec<u16> = self.pinned.keys().copied().filter(|key| self.holds(node, *key)).collect();
        self.held[node] = held;
        for version in self.held[node].values().flat_map(BTreeMap::keys) {
            let granted = self.grants.get(&Version(*version)).map_or(0, Vec::len);
            // Where few nodes are there, one may have two replicas.
            let held: usize =
                self.held.iter().flat_map(|held| held.values()).filter_map(|all| all.get(version)).sum();
            if held >= granted {
                self.whole.insert(*version);
            }
        }
        let lost = before.into_iter().find(|key| !(0..NODES).any(|node| self.holds(node, *key)));
        lost.map(|key| format!("the last replica of key {key}, which was acknowledged, is dropped"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Place;
    use super::*;

    const NODE: NodeId = NodeId(3);

    fn spot(offset: u64) -> Spot {
        Spot { segment: SegmentId(1), offset, generation: Generation(5) }
    }

    #[test]
    fn a_writer_that_said_it_is_done_is_not_waited_for_whatever_it_sent_before() {
        let mut truth = Truth::default();
        truth.processes.insert(NODE, Address { place: Place::Node(0), start: 3 });
        let writing = Writing { writer: ClientId(6), node: NODE, spot: spot(0), length: 100 };
        let generation = Generation(7);
        let extent = Extent { node: NODE, segment: SegmentId(1), offset: 50, length: 100, generation };
        truth.opened(writing.clone());
        assert!(truth.take_memory(0, &[extent]).is_some());
        truth.done(writing.writer, writing.spot.generation);
        assert_eq!(truth.take_memory(0, &[extent]), None, "its node may hear of it from a master first");
        truth.opened(writing);
        assert_eq!(truth.take_memory(0, &[extent]), None, "that was sent before");
    }

    #[test]
    fn two_replicas_on_one_node_are_two() {
        let is_lost_with = |replicas: usize| {
            let mut truth = Truth::default();
            let held = |version: u64, count: usize| Held::from([(1, BTreeMap::from([(version, count)]))]);
            truth.grants.insert(Version(4), vec![(NodeId(2), spot(0))]);
            truth.grants.insert(Version(5), vec![(NODE, spot(0)), (NODE, spot(100))]);
            assert_eq!(truth.see_node(0, held(4, 1)), None);
            truth.put(0, 1, 4, true);
            assert_eq!(truth.see_node(1, held(5, replicas)), None);
            truth.see_node(0, Held::new()).is_some()
        };
        assert!(is_lost_with(1), "half of a version replaces nothing");
        assert!(!is_lost_with(2), "a new master takes the whole one");
    }
}
