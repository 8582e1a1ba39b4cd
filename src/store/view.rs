//! Views: which nodes a master counts on, and how many of them have to agree before another master must know.

use std::fmt;
use std::sync::Arc;

use super::object::{Epoch, NodeId};

/// Views are ordered: by the epoch that proposed them, then by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViewId {
    pub epoch: Epoch,
    pub number: u64,
}

/// A membership. It holds once a quorum of its members and a quorum of each of its bases have adopted it, so that
/// whoever asks a quorum of an older one hears of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub id: ViewId,
    /// Rising.
    pub members: Vec<NodeId>,
    /// The memberships that may hold until this one does.
    pub bases: Vec<Vec<NodeId>>,
    /// The place of each node in either. Whoever hears of a later one at the same place knows that this one is dead.
    pub names: Vec<(NodeId, Arc<str>)>,
}

impl View {
    pub fn contains(&self, node: NodeId) -> bool {
        self.members.binary_search(&node).is_ok()
    }

    /// True of all whose votes count: members, and those of views that may still hold.
    pub fn asks(&self, node: NodeId) -> bool {
        self.contains(node) || self.bases.iter().any(|base| base.contains(&node))
    }

    /// What follows on this view, which is known to hold if `holds`. `names` are those of its new members.
    pub fn successor(
        &self,
        id: ViewId,
        members: Vec<NodeId>,
        holds: bool,
        mut names: Vec<(NodeId, Arc<str>)>,
    ) -> View {
        let mut bases = if holds { Vec::new() } else { self.bases.clone() };
        bases.push(self.members.clone());
        bases.dedup();
        names.extend_from_slice(&self.names);
        names.retain(|(node, _)| members.contains(node) || bases.iter().any(|base| base.contains(node)));
        names.sort();
        names.dedup();
        View { id, members, bases, names }
    }

    /// True if enough of its members agree, which is all that counts once it holds.
    pub fn members_agree(&self, agrees: impl Fn(NodeId) -> bool, is_dead: impl Fn(NodeId) -> bool) -> bool {
        is_quorum(&self.members, agrees, is_dead)
    }

    /// True if enough nodes agree. The dead can neither agree nor object.
    pub fn agreed(&self, agrees: impl Fn(NodeId) -> bool, is_dead: impl Fn(NodeId) -> bool) -> bool {
        std::iter::once(&self.members).chain(&self.bases).all(|set| is_quorum(set, &agrees, &is_dead))
    }
}

/// More than half of the living and the dead; or just half, with the first of them; or else all that live. Two quorums of
/// one set meet in a node that still lives, even if some died between them, unless all of one of them did.
fn is_quorum(set: &[NodeId], agrees: impl Fn(NodeId) -> bool, is_dead: impl Fn(NodeId) -> bool) -> bool {
    let says = |node: NodeId| !is_dead(node) && agrees(node);
    let count = set.iter().filter(|node| says(**node)).count();
    count * 2 > set.len()
        || count * 2 == set.len() && set.first().is_none_or(|first| says(*first))
        || set.iter().all(|node| is_dead(*node) || agrees(*node))
}

impl fmt::Display for ViewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch.0, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nodes(bits: u16) -> Vec<NodeId> {
        (0..16).filter(|bit| bits >> bit & 1 == 1).map(NodeId).collect()
    }

    proptest! {
        #[test]
        fn two_quorums_of_a_set_meet(set in 1u16.., a: u16, b: u16) {
            let set = nodes(set);
            let quorum = |votes: u16| is_quorum(&set, |node| votes >> node.0 & 1 == 1, |_| false);
            if quorum(a) && quorum(b) {
                prop_assert!(set.iter().any(|node| a & b & 1 << node.0 != 0));
            }
        }

        /// A quorum that agreed and one that is asked after more have died: a node that was in the first, and lives, is in
        /// the second too, if the first has any.
        #[test]
        fn quorums_meet_although_nodes_die_between_them(
            set in 1u16..,
            a: u16,
            b: u16,
            dead_before: u16,
            died_since: u16,
        ) {
            let (set, dead) = (nodes(set), dead_before | died_since);
            let quorum =
                |votes: u16, dead: u16| is_quorum(&set, |node| votes >> node.0 & 1 == 1, |node| dead >> node.0 & 1 == 1);
            let a_lives = set.iter().any(|node| a & !dead & 1 << node.0 != 0);
            if quorum(a, dead_before) && quorum(b, dead) && a_lives {
                prop_assert!(set.iter().any(|node| a & b & 1 << node.0 != 0));
            }
        }

        /// Whoever finds a view agreed, or takes over from one it heard of, meets a node that knows the latest.
        #[test]
        fn a_view_that_holds_is_heard_of(old in 1u16.., new in 1u16.., adopted: u16, asked: u16) {
            let old = View { members: nodes(old), ..Default::default() };
            let next = ViewId { epoch: Epoch(1), number: 1 };
            let new = old.successor(next, nodes(new), true, Vec::new());
            let agrees = |votes: u16| move |node: NodeId| votes >> node.0 & 1 == 1;
            let holds = new.agreed(agrees(adopted), |_| false);
            if holds && old.agreed(agrees(asked), |_| false) {
                prop_assert!(nodes(adopted & asked).iter().any(|node| old.contains(*node) || new.contains(*node)));
            }
        }
    }

    #[test]
    fn the_dead_do_not_count() {
        let view = View { members: nodes(0b111), ..Default::default() };
        assert!(!view.agreed(|node| node.0 == 2, |_| false));
        assert!(view.agreed(|node| node.0 == 2, |node| node.0 < 2));
        assert!(view.agreed(|_| false, |_| true), "nobody is left to ask");
    }

    #[test]
    fn what_may_still_hold_stays_a_base() {
        let id = ViewId::default();
        let first = View { members: nodes(0b1), ..Default::default() };
        let second = first.successor(id, nodes(0b11), true, Vec::new());
        let third = second.successor(id, nodes(0b110), false, Vec::new());
        assert_eq!(second.bases, [nodes(0b1)]);
        assert_eq!(third.bases, [nodes(0b1), nodes(0b11)]);
        assert_eq!(third.successor(id, nodes(0b1), true, Vec::new()).bases, [nodes(0b110)]);
    }
}
