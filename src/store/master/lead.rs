//! What a master knows of nodes: what they promised and adopted, who is dead, and for how long their word is good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::store::message::{Cursor, Offers};
use crate::store::object::{Epoch, MasterId, NodeId};
use crate::store::view::{View, ViewId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Until a quorum of the last view promised the epoch.
    Gathering,
    /// Until every node of that view reported, or is given up.
    Rebuilding,
    /// Until a quorum knows whom that left.
    Installing,
    Serving,
    /// A later master was heard of. Nothing leads out of this: start another one, whose epoch is above.
    Deposed,
}

#[derive(Debug, Default)]
pub struct Node {
    pub name: Arc<str>,
    pub domain: Arc<str>,
    pub offers: Offers,
    /// Which questions are answered for: those to an earlier record of the node are not.
    pub ask: u64,
    pub promised: bool,
    pub reported: bool,
    pub cursor: Option<Cursor>,
    /// The view it had when it promised.
    pub view: Option<Arc<View>>,
    /// What it holds was in no view.
    pub is_fresh: bool,
    /// In a view that holds.
    pub is_member: bool,
    pub heard_at: u64,
    /// When the latest question was sent that it answered.
    pub answered: Option<u64>,
    pub adopted: Option<ViewId>,
    pub asked_at: Option<u64>,
    pub led_at: Option<u64>,
}

#[derive(Debug)]
pub struct Lead {
    pub epoch: Epoch,
    pub master: MasterId,
    pub phase: Phase,
    pub started: u64,
    /// The latest that was proposed, or found in the reports.
    pub view: Arc<View>,
    pub view_holds: bool,
    /// Members of the last view before this master: nobody else's inventory counts.
    pub heirs: Vec<NodeId>,
    /// What an earlier master may still be saying ends by then.
    pub changes_from: u64,
    /// What it granted to readers ends by then.
    pub leases_end: u64,
    pub leading_until: u64,
    pub nodes: BTreeMap<NodeId, Node>,
    pub last_ask: u64,
    names: BTreeMap<Arc<str>, NodeId>,
    pub dead: BTreeSet<NodeId>,
}

impl Lead {
    pub fn new(master: MasterId, now: u64) -> Lead {
        Lead {
            epoch: Epoch::default(),
            master,
            phase: Phase::Gathering,
            started: now,
            view: Arc::default(),
            view_holds: false,
            heirs: Vec::new(),
            changes_from: u64::MAX,
            leases_end: u64::MAX,
            leading_until: 0,
            nodes: BTreeMap::new(),
            last_ask: 0,
            names: BTreeMap::new(),
            dead: BTreeSet::new(),
        }
    }

    pub fn is_dead(&self, node: NodeId) -> bool {
        self.dead.contains(&node)
    }

    /// True if the node said something within its lease.
    pub fn is_heard(&self, now: u64, node: NodeId, lease_ms: u64) -> bool {
        !self.is_dead(node) && self.nodes.get(&node).is_some_and(|known| known.heard_at + lease_ms > now)
    }

    /// Learns from a view who was where.
    pub fn learn_names(&mut self, view: &View) {
        for (node, name) in &view.names {
            if !self.claim_name(name, *node) {
                self.dead.insert(*node);
            }
        }
    }

    pub fn agreed(&self, view: &View, says: impl Fn(&Node) -> bool) -> bool {
        view.agreed(|node| self.nodes.get(&node).is_some_and(&says), |node| self.is_dead(node))
    }

    /// Only one process at a time has a name: whoever had it before is dead. False if that is the node that speaks.
    pub fn claim_name(&mut self, name: &Arc<str>, node: NodeId) -> bool {
        let holder = self.names.entry(name.clone()).or_insert(node);
        if *holder > node || self.dead.contains(&node) {
            return false;
        }
        let before = std::mem::replace(holder, node);
        if before != node {
            self.dead.insert(before);
        }
        true
    }

    fn is_followed(&self, says: impl Fn(&Node) -> bool) -> bool {
        if !self.view_holds {
            return self.agreed(&self.view, says);
        }
        let agrees = |node: NodeId| self.nodes.get(&node).is_some_and(&says);
        self.view.members_agree(agrees, |node| self.is_dead(node))
    }

    /// The last moment at which no other master can have been promised by a quorum for long enough to be obeyed.
    pub fn count_answers(&mut self, now: u64, term_ms: u64) {
        let mut times: Vec<u64> = self.nodes.values().filter_map(|node| node.answered).collect();
        times.sort_unstable();
        times.dedup();
        let good = |since: u64| self.is_followed(|node| node.answered >= Some(since));
        if let Some(since) = times.into_iter().rev().find(|since| good(*since)) {
            self.leading_until = since + term_ms;
        } else if self.is_followed(|_| false) {
            self.leading_until = u64::MAX;
        } else {
            self.leading_until = self.leading_until.min(now + term_ms);
        }
    }
}
