//! Grants that are not committed, and below which generation no writer comes to a node any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::store::object::{Generation, NodeId};

use super::shard::ObjectRef;

#[derive(Debug)]
struct Granted {
    at: ObjectRef,
    nodes: Vec<NodeId>,
}

/// A grant holds back the floor of the nodes that it touches, and of no others: nobody else prepares anything under it. And
/// it does so for the time that a writer has to begin, however long it goes on then: what is prepared is not asked for
/// the floor again.
#[derive(Debug, Default)]
pub struct Grants {
    list: BTreeMap<Generation, Granted>,
    by_node: BTreeMap<NodeId, BTreeSet<Generation>>,
    /// By when their writers have begun, in the order in which they were given.
    begun_by: VecDeque<(u64, Generation)>,
}

impl Grants {
    /// Adds a grant above all others, whose writer has begun by `begun_by` or never does. These times never fall.
    pub fn add(&mut self, generation: Generation, at: ObjectRef, nodes: Vec<NodeId>, begun_by: u64) {
        for node in &nodes {
            self.by_node.entry(*node).or_default().insert(generation);
        }
        self.list.insert(generation, Granted { at, nodes });
        self.begun_by.push_back((begun_by, generation));
    }

    pub fn remove(&mut self, generation: Generation) {
        if let Some(granted) = self.list.remove(&generation) {
            self.let_go(generation, &granted.nodes);
        }
        if self.list.is_empty() {
            self.begun_by.clear();
        }
    }

    pub fn get(&self, generation: Generation) -> Option<ObjectRef> {
        self.list.get(&generation).map(|granted| granted.at)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Generation, ObjectRef)> {
        self.list.iter().map(|(generation, granted)| (*generation, granted.at))
    }

    /// The lowest grant that may still be prepared at a node.
    pub fn lowest(&self, node: NodeId) -> Option<Generation> {
        self.by_node.get(&node)?.first().copied()
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: u64) {
        while let Some((_, generation)) = self.begun_by.front().copied().filter(|(until, _)| *until <= now) {
            self.begun_by.pop_front();
            let nodes = self.list.get_mut(&generation).map(|granted| std::mem::take(&mut granted.nodes));
            self.let_go(generation, &nodes.unwrap_or_default());
        }
    }

    fn let_go(&mut self, generation: Generation, nodes: &[NodeId]) {
        for node in nodes {
            if let Some(here) = self.by_node.get_mut(node) {
                here.remove(&generation);
                if here.is_empty() {
                    self.by_node.remove(node);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_holds_back_its_own_nodes_and_only_until_its_writer_must_have_begun() {
        let (a, b, c) = (NodeId(1), NodeId(2), NodeId(3));
        let at = |slot| ObjectRef { shard: 0, slot };
        let mut grants = Grants::default();
        grants.add(Generation(5), at(0), vec![a, b], 100);
        grants.add(Generation(6), at(1), vec![b], 200);
        let lowest = |grants: &Grants| [a, b, c].map(|node| grants.lowest(node).map(|one| one.0));
        assert_eq!(lowest(&grants), [Some(5), Some(5), None]);
        grants.tick(99);
        assert_eq!(lowest(&grants), [Some(5), Some(5), None]);
        grants.tick(100);
        assert_eq!(lowest(&grants), [None, Some(6), None]);
        assert_eq!(grants.get(Generation(5)), Some(at(0)), "it goes on");
        grants.remove(Generation(6));
        grants.remove(Generation(5));
        assert!(grants.by_node.is_empty() && grants.begun_by.is_empty() && grants.list.is_empty());
    }
}
