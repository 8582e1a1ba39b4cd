//! Who leads, and whom: epochs that nodes promise, and views that they adopt.

use std::sync::Arc;

use crate::error::Code;
use crate::store::message::{Command, Offers, Report};
use crate::store::object::{Epoch, Name, NodeId};
use crate::store::refusal::{Refusal, Result};
use crate::store::view::{View, ViewId};

use super::lead::{Lead, Node, Phase};
use super::state::State;

const NOT_LEADING: Refusal =
    Refusal::retry(Code::NotReady, "this master is not followed by enough nodes", 100);

impl State {
    /// True once another master was heard of: this one does nothing any more.
    pub fn is_deposed(&self) -> bool {
        self.lead.phase == Phase::Deposed
    }

    /// True once all is known that can be known.
    pub fn is_serving(&self) -> bool {
        self.lead.phase == Phase::Serving
    }

    /// It serves, and a quorum said so lately: one that slept has been replaced, although it heard nothing of it.
    pub fn is_serving_at(&self, now: u64) -> bool {
        self.is_serving() && self.may_serve(now).is_ok()
    }

    pub fn epoch(&self) -> Epoch {
        self.lead.epoch
    }

    /// The latest view; it may not hold yet.
    pub fn view(&self) -> &View {
        &self.lead.view
    }

    /// Who leads whom, in one line.
    pub fn describe(&self) -> String {
        let Lead { epoch, phase, view, view_holds, nodes, .. } = &self.lead;
        let node = |(id, node): (&NodeId, &Node)| {
            let Node { promised, reported, is_member, adopted, view, is_fresh, .. } = node;
            let view = view.as_ref().map(|view| view.id.to_string());
            format!(
                "{}: {:?} {adopted:?} {view:?}",
                id.0,
                (promised, reported, is_member, is_fresh, self.lead.is_dead(*id))
            )
        };
        let nodes: Vec<String> = nodes.iter().map(node).collect();
        format!("epoch {}, {phase:?}, {view:?} {view_holds}, nodes {nodes:?}, {:?}", epoch.0, self.stats())
    }

    /// Takes an operator's word that nothing is left of an earlier cluster.
    pub fn found(&mut self) {
        self.config.found_after_ms = Some(0);
    }

    /// Takes a node's word, or an operator's, that a node is gone for good: its process does not exist any more, and
    /// what only it and others like it knew about views is lost.
    pub fn bury(&mut self, node: NodeId) {
        self.lead.dead.insert(node);
    }

    /// The same for whoever had this name, such as an address that it listened on; how many those were.
    pub fn bury_named(&mut self, name: &str) -> usize {
        let known = self.lead.nodes.iter().map(|(node, known)| (*node, known.name.clone()));
        let named = known.chain(self.lead.view.names.iter().cloned());
        let buried: std::collections::BTreeSet<NodeId> =
            named.filter(|(_, other)| **other == *name).map(|(node, _)| node).collect();
        buried.iter().for_each(|node| self.bury(*node));
        buried.len()
    }

    pub(super) fn may_serve(&self, now: u64) -> Result<()> {
        match self.lead.phase {
            Phase::Gathering | Phase::Deposed => Err(NOT_LEADING),
            _ if now >= self.lead.leading_until => Err(NOT_LEADING),
            _ => Ok(()),
        }
    }

    pub(super) fn may_change(&self, now: u64) -> Result<()> {
        self.may_serve(now)?;
        if self.lead.phase != Phase::Serving {
            return Err(Refusal::retry(Code::NotReady, "nodes have not reported what they hold yet", 50));
        }
        if now < self.lead.changes_from {
            let left = u32::try_from(self.lead.changes_from - now).unwrap_or(u32::MAX);
            return Err(Refusal::retry(Code::NotReady, "an earlier master may still be answering", left));
        }
        Ok(())
    }

    /// True if a node answered lately enough to be given something to do.
    pub(super) fn is_answering(&self, now: u64, node: NodeId) -> bool {
        self.lead.is_heard(now, node, self.config.lead_every_ms * 3)
    }

    /// Takes in what a node says.
    pub fn handle(&mut self, now: u64, report: Report) {
        if self.is_deposed() {
            return;
        }
        match report {
            Report::Hello { node, name, domain, offers, promised, is_fresh } => {
                if self.lead.claim_name(&name, node) {
                    self.hello(now, node, (name, domain), offers, promised, is_fresh);
                }
            }
            Report::Page { node, epoch, ask, offers, is_fresh, after, entries, next, view } => {
                let Some(known) = self.heard(now, node, epoch).filter(|known| known.ask == ask) else {
                    return;
                };
                if !known.promised {
                    (known.promised, known.is_fresh, known.view) = (true, is_fresh, view);
                }
                self.offered(now, node, offers);
                self.page(now, node, after, entries, next);
            }
            Report::Following { node, epoch, sent, view, offers } => {
                // What was not asked yet is no answer, whoever says so: it would prolong the reign.
                let Some(known) = self.heard(now, node, epoch).filter(|_| sent <= now) else { return };
                known.answered = known.answered.max(Some(sent));
                known.adopted = known.adopted.max(view);
                self.offered(now, node, offers);
                let term_ms = self.config.term_ms;
                self.lead.count_answers(now, term_ms);
                self.install(now);
            }
            Report::Refused { node, promised } => self.outvoted(node, promised),
            Report::Dropped { node, spot, released } => self.dropped(now, node, spot, released),
            Report::Fetched { node, spot, done } => self.fetched(now, node, spot, done),
            Report::Worn { node, spot, tenant, key } => {
                self.worn(now, node, spot, Name { tenant: &tenant, key: &key });
            }
        }
    }

    fn heard(&mut self, now: u64, node: NodeId, epoch: Epoch) -> Option<&mut Node> {
        if epoch != self.lead.epoch || self.lead.is_dead(node) {
            return None;
        }
        let known = self.lead.nodes.get_mut(&node)?;
        known.heard_at = now;
        Some(known)
    }

    fn hello(
        &mut self,
        now: u64,
        node: NodeId,
        (name, domain): (Arc<str>, Arc<str>),
        offers: Offers,
        promised: Epoch,
        is_fresh: bool,
    ) {
        if self.lead.phase == Phase::Serving && self.lead.view_holds {
            let is_lost = !is_fresh && !self.lead.view.contains(node);
            if is_lost && promised <= self.lead.epoch {
                self.send(node, Command::Expelled { view: self.lead.view.id });
                return;
            }
        }
        let (nodes, last_ask) = (&mut self.lead.nodes, &mut self.lead.last_ask);
        let known = nodes.entry(node).or_insert_with(|| {
            *last_ask += 1;
            Node { ask: *last_ask, ..Node::default() }
        });
        (known.name, known.domain, known.heard_at) = (name, domain, now);
        if promised > self.lead.epoch {
            self.outvoted(node, promised);
        }
        if self.lead.epoch == Epoch::default() && !self.is_deposed() {
            self.lead.epoch = Epoch(promised.0 + 1);
        }
        self.offered(now, node, offers);
        let known = &self.lead.nodes[&node];
        if !known.promised && known.asked_at != Some(now) {
            self.claim(now, node);
        }
    }

    /// Asks for a promise, and for what follows on the last page.
    pub(super) fn claim(&mut self, now: u64, node: NodeId) {
        let Some(known) = self.lead.nodes.get_mut(&node) else { return };
        known.asked_at = Some(now);
        let (ask, after) = (known.ask, known.cursor);
        self.send(node, Command::Claim { ask, after });
    }

    /// A node promised an epoch that is not this master's. One that leads already has been replaced.
    fn outvoted(&mut self, node: NodeId, promised: Epoch) {
        let is_ours = self.lead.nodes.get(&node).is_some_and(|known| known.promised);
        if promised < self.lead.epoch || promised == self.lead.epoch && is_ours {
            return;
        }
        if self.lead.phase != Phase::Gathering || promised >= Epoch::MAX {
            self.lead.phase = Phase::Deposed;
            return;
        }
        self.lead.epoch = Epoch(promised.0 + 1);
        for known in self.lead.nodes.values_mut() {
            (known.promised, known.asked_at) = (false, None);
        }
    }

    /// Looks whether a quorum of the last view promised. Nobody else can then lead by it.
    pub(super) fn gather(&mut self, now: u64) {
        let promised = self.lead.nodes.values().filter(|node| node.promised);
        let last = promised.filter_map(|node| node.view.clone()).max_by_key(|view| view.id);
        if let Some(view) = &last {
            self.lead.learn_names(view);
        }
        let view = match last {
            Some(view) if self.lead.agreed(&view, |node| node.promised) => view,
            // Nobody who answered was ever in a view. Where nobody answered, nobody knows.
            None if self.lead.nodes.values().any(|node| node.promised)
                && self.config.found_after_ms.is_some_and(|wait| now >= self.lead.started + wait) =>
            {
                Arc::default()
            }
            _ => return,
        };
        if self.lead.epoch == Epoch::default() {
            self.lead.epoch = Epoch(1);
        }
        self.lead.changes_from = if view.members.is_empty() { now } else { now + self.config.term_ms };
        self.lead.leases_end = now + self.config.horizon_ms();
        for member in &view.members {
            if let Some(node) = self.lead.nodes.get_mut(member) {
                node.is_member = node.promised;
            }
        }
        self.lead.heirs = view.members.clone();
        (self.lead.view, self.lead.phase) = (view, Phase::Rebuilding);
        let promised: Vec<NodeId> =
            self.lead.nodes.iter().filter(|(_, node)| node.promised).map(|(id, _)| *id).collect();
        for node in promised {
            self.offers_of(node);
            self.claim(now, node);
        }
    }

    /// Members that are to be in the next view: those that are there and reported, and whoever joined them.
    fn wished(&self, now: u64) -> Vec<NodeId> {
        let lease_ms = self.config.node_lease_ms;
        let may = |id: NodeId, node: &Node| {
            let is_new = self.lead.phase == Phase::Serving && node.is_fresh;
            let goes = node.offers.is_leaving && (node.offers.list.is_empty() || !node.is_member);
            node.promised
                && node.reported
                && (node.is_member || is_new)
                && !goes
                && self.lead.is_heard(now, id, lease_ms)
        };
        self.lead.nodes.iter().filter(|(id, node)| may(**id, node)).map(|(id, _)| *id).collect()
    }

    /// Proposes another view where the latest one is not what it should be.
    pub(super) fn propose(&mut self, now: u64) {
        let wished = self.wished(now);
        let is_own = self.lead.view.id.epoch == self.lead.epoch;
        if is_own && wished == self.lead.view.members {
            return;
        }
        // A view that no quorum can adopt now is of no use, and of harm when the network comes back: those it leaves out
        // would be expelled by their own answers.
        let is_there = |node| {
            let promised = self.lead.nodes.get(&node).is_some_and(|known| known.promised);
            promised && self.lead.is_heard(now, node, self.config.node_lease_ms)
        };
        let is_dead = |node| self.lead.is_dead(node);
        let view = &self.lead.view;
        let can_agree = match self.lead.view_holds {
            true => view.members_agree(is_there, is_dead),
            false => view.agreed(is_there, is_dead),
        };
        if !can_agree {
            return;
        }
        let id = ViewId { epoch: self.lead.epoch, number: self.lead.view.id.number + 1 };
        let name = |node: &NodeId| Some((*node, self.lead.nodes.get(node)?.name.clone()));
        let names = wished.iter().filter_map(name).collect();
        let view = self.lead.view.successor(id, wished, self.lead.view_holds, names);
        (self.lead.view, self.lead.view_holds) = (Arc::new(view), false);
        if self.lead.phase == Phase::Rebuilding {
            self.lead.phase = Phase::Installing;
        }
        let nodes: Vec<NodeId> = self.lead.nodes.keys().copied().collect();
        for node in nodes {
            self.lead_on(now, node);
        }
        self.install(now);
    }

    /// Asks a node to go on following, with the view if it has a vote.
    pub(super) fn lead_on(&mut self, now: u64, node: NodeId) {
        let own = self.lead.view.id.epoch == self.lead.epoch && self.lead.view.asks(node);
        let view = own.then(|| self.lead.view.clone());
        let Some(known) = self.lead.nodes.get_mut(&node).filter(|known| known.promised) else { return };
        known.led_at = Some(now);
        self.send(node, Command::Lead { sent: now, view });
    }

    /// Looks whether the latest view holds, and lets go of those that are not in it.
    pub(super) fn install(&mut self, now: u64) {
        let (view, is_own) = (self.lead.view.clone(), self.lead.view.id.epoch == self.lead.epoch);
        if self.lead.view_holds || !is_own {
            return;
        }
        if !self.lead.agreed(&view, |node| node.adopted == Some(view.id)) {
            return;
        }
        self.lead.view_holds = true;
        self.lead.phase = Phase::Serving;
        let term_ms = self.config.term_ms;
        self.lead.count_answers(now, term_ms);
        for node in &view.members {
            if let Some(known) = self.lead.nodes.get_mut(node) {
                known.is_member = true;
            }
            for slot in self.pool.of_node(*node) {
                if let Some(segment) = self.pool.get_mut(slot) {
                    segment.is_open = true;
                }
            }
        }
        for node in self.pool.nodes() {
            if self.lead.nodes.get(&node).is_none_or(|known| known.is_member && !view.contains(node)) {
                self.remove_node(now, node);
            }
        }
        self.share_capacity();
        let gone = |id: &NodeId, node: &Node| node.is_member && !view.contains(*id);
        let left = |(id, node): &(&NodeId, &Node)| gone(id, node) && node.offers.is_leaving;
        let left: Vec<NodeId> = self.lead.nodes.iter().filter(left).map(|(id, _)| *id).collect();
        self.lead.nodes.retain(|id, node| !gone(id, node));
        // Those who asked for it wait for the word. If it is lost, they say hello, and get it again.
        left.into_iter().for_each(|node| self.send(node, Command::Expelled { view: view.id }));
        // Nobody asks for the others' votes any more, and their names turn them away; but while a record of one is there,
        // what it said before it died may still come and be counted.
        let nodes = &self.lead.nodes;
        self.lead.dead.retain(|node| view.contains(*node) || nodes.contains_key(node));
    }

    /// Lets go of nodes outside the view: of those that were in an earlier one, which are told, and of those that are not
    /// heard any more.
    pub(super) fn forget_strangers(&mut self, now: u64) {
        let (lease_ms, view) = (self.config.node_lease_ms, self.lead.view.clone());
        let is_lost = |node: &Node| node.promised && !node.is_fresh && self.lead.view_holds;
        let strangers = self.lead.nodes.iter().filter(|(id, node)| !node.is_member && !view.contains(**id));
        let gone: Vec<(NodeId, bool)> = strangers
            .filter(|(id, node)| is_lost(node) || !self.lead.is_heard(now, **id, lease_ms))
            .map(|(id, node)| (*id, is_lost(node)))
            .collect();
        for (node, is_lost) in gone {
            self.remove_node(now, node);
            self.lead.nodes.remove(&node);
            if is_lost {
                self.send(node, Command::Expelled { view: view.id });
            }
        }
    }
}
