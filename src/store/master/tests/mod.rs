//! A master and nodes that answer at once, over many turns of fate.

mod failover;
mod lies;
mod objects;
mod segments;

use std::collections::BTreeSet;

use super::*;
use crate::error::Code;
use crate::store::message::{Command, Offer, Report};
use crate::store::node::{Inventory, Reaction};
use crate::store::object::*;
use crate::store::refusal::{Refusal, Result};

const CLIENT: ClientId = ClientId(1 << 40);
/// Nearly: what stands behind objects needs room, too.
const KIB: u64 = 1000;

struct Cluster {
    now: u64,
    master: State,
    nodes: Vec<Inventory>,
    replied: Vec<Token>,
    token: u64,
    /// Nodes that hear nothing.
    deaf: Vec<NodeId>,
    /// What is there by the notices alone.
    noticed: BTreeSet<Box<[u8]>>,
}

fn config(found: bool) -> Config {
    Config {
        shards: 2,
        found_after_ms: found.then_some(0),
        policy: crate::store::eviction::Policy::Lru,
        high_mark: 1001,
        low_mark: 900,
        notices: true,
        ..Config::default()
    }
}

fn state(found: bool, now: u64) -> State {
    State::new(config(found), MasterId(now + 1), now)
}

fn node(id: u64, kib: u64) -> Inventory {
    let mut node =
        Inventory::new(NodeId(id), &format!("n{id}"), &format!("host{}", id / 2), config(true).horizon_ms());
    node.mount(Offer { segment: SegmentId(1), name: format!("s{id}").as_str().into(), length: kib * 1024 });
    node
}

fn name(key: &str) -> Name<'_> {
    Name { tenant: "t", key: key.as_bytes() }
}

impl Cluster {
    /// So many nodes of so many KiB each.
    fn new(nodes: u64, kib: u64) -> Cluster {
        let nodes = (2..2 + nodes).map(|id| node(id, kib)).collect();
        let (replied, deaf, noticed) = (Vec::new(), Vec::new(), BTreeSet::new());
        let master = state(true, 1000);
        let mut cluster = Cluster { now: 1000, master, nodes, replied, token: 0, deaf, noticed };
        cluster.run(3000);
        cluster
    }

    /// Lets time pass, in which everybody says and does what is due.
    fn run(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.now < until {
            self.now += 50.min(until - self.now);
            for index in 0..self.nodes.len() {
                let hello = self.nodes[index].hello();
                self.tell(hello);
                let released = self.nodes[index].tick(self.now);
                self.react(released);
                self.nodes[index].unmount_withdrawn();
            }
            self.master.tick(self.now);
            self.settle();
            self.master.audit().expect("the books add up");
            self.check_notices();
        }
    }

    /// Whoever only hears notices knows what a list would show.
    fn check_notices(&mut self) {
        let mut matches = |_: &[u8]| true;
        let from = ListCursor::default();
        let walk = Walk { tenant: "t", from, limit: 10_000, matches: &mut matches };
        // What a lost node held is told as the walk comes to it.
        if let (true, Ok(page)) = (self.master.gone.is_empty(), self.master.list(self.now, walk)) {
            let listed: BTreeSet<Box<[u8]>> = page.objects.into_iter().map(|one| one.key).collect();
            assert_eq!(self.noticed, listed);
        }
    }

    fn tell(&mut self, report: Report) {
        let (Report::Hello { node, .. }
        | Report::Page { node, .. }
        | Report::Following { node, .. }
        | Report::Refused { node, .. }
        | Report::Dropped { node, .. }
        | Report::Fetched { node, .. }
        | Report::Worn { node, .. }) = &report;
        if !self.deaf.contains(node) {
            self.master.handle(self.now, report);
        }
    }

    fn settle(&mut self) {
        loop {
            let effects = self.master.effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Reply(token) => self.replied.push(token),
                    Effect::Notice(Notice { key, is_there, .. }) => {
                        let is_news =
                            if is_there { self.noticed.insert(key) } else { self.noticed.remove(&key) };
                        assert!(is_news, "what is there came, or what is not there went");
                    }
                    Effect::Send(order) => {
                        let hears = !self.deaf.contains(&order.to);
                        let node = self.nodes.iter_mut().find(|node| hears && node.id() == order.to);
                        let reactions = node.map(|node| node.obey(self.now, &order)).unwrap_or_default();
                        self.react(reactions);
                    }
                }
            }
        }
    }

    fn react(&mut self, reactions: Vec<Reaction>) {
        for reaction in reactions {
            match reaction {
                Reaction::Send(report) => self.tell(report),
                Reaction::Fetch { entry, .. } => {
                    let spot = crate::store::message::Spot {
                        segment: entry.segment,
                        offset: entry.offset,
                        generation: entry.generation,
                    };
                    let holds =
                        |node: &&mut Inventory| node.entries().any(|one| one.generation == spot.generation);
                    let node = self.nodes.iter_mut().find(holds).expect("who was asked");
                    let more = node.fetched(self.now, spot, true);
                    self.react(more);
                }
                Reaction::Fence { .. } | Reaction::Discarded => {}
            }
        }
    }

    fn start(&mut self, key: &str, size: u64, config: &ReplicateConfig, upsert: bool) -> Result<Grant> {
        let request = PutStart { name: name(key), client: CLIENT, size, config, upsert };
        let grant = self.master.put_start(self.now, request);
        self.settle();
        grant
    }

    /// Prepares and commits at the first `count` nodes of a grant.
    fn write(&mut self, grant: &Grant, count: usize) {
        for (id, entry) in grant.entries.iter().take(count) {
            let node = self.nodes.iter_mut().find(|node| node.id() == *id).expect("a node of the cluster");
            node.prepare(*id, entry.clone(), CLIENT).expect("granted");
            let spot = crate::store::message::Spot {
                segment: entry.segment,
                offset: entry.offset,
                generation: entry.generation,
            };
            node.commit(self.now, *id, spot, CLIENT).expect("prepared");
        }
    }

    fn next_token(&mut self) -> Token {
        self.token += 1;
        Token(self.token)
    }

    fn commit(&mut self, key: &str, version: Version) -> Result<Answer> {
        let token = self.next_token();
        let answer = self.master.put_commit(self.now, name(key), CLIENT, version, token);
        self.settle();
        answer
    }

    fn put_as(&mut self, key: &str, size: u64, config: &ReplicateConfig, upsert: bool) -> Result<Version> {
        let grant = self.start(key, size, config, upsert)?;
        self.write(&grant, usize::MAX);
        self.commit(key, grant.version)?;
        Ok(grant.version)
    }

    fn put(&mut self, key: &str, size: u64) -> Result<Version> {
        self.put_as(key, size, &ReplicateConfig::default(), false)
    }

    fn get(&mut self, key: &str) -> Result<Located> {
        self.master.get(self.now, name(key))
    }

    fn remove(&mut self, key: &str) -> Result<Answer> {
        let token = self.next_token();
        let answer = self.master.remove(self.now, name(key), token, false);
        self.settle();
        answer
    }

    fn used(&self) -> u64 {
        self.master.stats().used_bytes
    }

    /// The master dies with all it knows, and another one starts.
    fn replace_master(&mut self) {
        self.now += 10;
        self.master = state(false, self.now);
        self.noticed.clear();
    }
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.expect_err("refused").code
}
