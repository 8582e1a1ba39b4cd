//! A node that says anything, in time and out of it. It may be obeyed where it lies about itself; the master goes on, and its
//! books add up.

use std::sync::Arc;

use super::*;
use crate::store::message::{Cursor, Offers, Spot};
use crate::store::view::{View, ViewId};
use crate::sys::splitmix::Random;

struct Liar<'a> {
    random: Random,
    cluster: &'a mut Cluster,
}

impl Liar<'_> {
    /// Numbers that mean something here, and those at which sums end.
    fn number(&mut self) -> u64 {
        let grants =
            self.cluster.nodes.iter().flat_map(|node| node.entries()).map(|entry| entry.generation.0);
        let mut numbers: Vec<u64> = grants.take(4).collect();
        numbers.extend([0, 1, 2, 3, 64, 4096, self.cluster.now, u64::MAX, 1 << 62, (1 << 24) - 1]);
        numbers.push(Epoch(1).first_generation().0 + self.random.below(20));
        numbers[self.random.index(numbers.len())]
    }

    fn node(&mut self) -> NodeId {
        NodeId([2, 3, 3, 3, 9, u64::MAX][self.random.index(6)])
    }

    fn epoch(&mut self) -> Epoch {
        let own = self.cluster.master.epoch();
        if self.random.happens(800) { own } else { Epoch(self.number()) }
    }

    fn spot(&mut self) -> Spot {
        let entries: Vec<Spot> =
            self.cluster.nodes.iter().flat_map(|node| node.entries()).map(spot_of).collect();
        if !entries.is_empty() && self.random.happens(600) {
            return entries[self.random.index(entries.len())];
        }
        let (segment, generation) = (SegmentId(self.random.below(3)), Generation(self.number()));
        Spot { segment, offset: self.number(), generation }
    }

    fn offers(&mut self) -> Offers {
        let offer = |liar: &mut Self| Offer {
            segment: SegmentId(liar.random.below(4)),
            name: "s3".into(),
            length: liar.number().clamp(1, 1 << 48),
        };
        let count = self.random.below(3);
        Offers {
            number: self.number(),
            list: (0..count).map(|_| offer(self)).collect(),
            withdrawn: (0..self.random.below(2)).map(SegmentId).collect(),
            is_leaving: self.random.happens(50),
        }
    }

    fn view(&mut self) -> Option<Arc<View>> {
        let id = ViewId { epoch: Epoch(self.number()), number: self.number() };
        let members = [vec![], vec![NodeId(2)], vec![NodeId(2), NodeId(3)], vec![NodeId(9)]];
        let members = members[self.random.index(4)].clone();
        let names = vec![(NodeId(9), "n2".into())];
        self.random.happens(500).then(|| Arc::new(View { id, members, bases: vec![vec![NodeId(3)]], names }))
    }

    fn entry(&mut self) -> Entry {
        let key = [b"k".as_slice(), b"a", b"b"][self.random.index(3)];
        Entry {
            segment: SegmentId(self.random.below(3)),
            offset: self.number(),
            length: self.number(),
            generation: Generation(self.number()),
            tenant: "t".into(),
            key: key.into(),
            version: Version(self.number()),
            size: self.number(),
            stripe: self.random.below(3) as u16,
            stripes: [0, 1, 1, 2, u16::MAX][self.random.index(5)],
            replicas: [0, 1, 1, 2, u8::MAX][self.random.index(5)],
            hard_pin: self.random.happens(500),
            soft_pin_ms: [0, 5, u32::MAX][self.random.index(3)],
            group: ["", "g"][self.random.index(2)].into(),
            state: [EntryState::Committed, EntryState::Quarantined, EntryState::Writing { writer: CLIENT }]
                [self.random.index(3)],
        }
    }

    fn cursor(&mut self) -> Option<Cursor> {
        let (segment, offset) = (SegmentId(self.random.below(3)), self.number());
        self.random.happens(300).then_some(Cursor { segment, offset })
    }

    fn report(&mut self) -> Report {
        let node = self.node();
        let promised = self.epoch();
        match self.random.below(7) {
            0 => {
                let name = ["n2", "n3", "n9"][self.random.index(3)].into();
                let (offers, is_fresh) = (self.offers(), self.random.happens(500));
                Report::Hello { node, name, domain: "d".into(), offers, promised, is_fresh }
            }
            1 => Report::Page {
                node,
                epoch: promised,
                ask: self.random.below(6),
                offers: self.offers(),
                is_fresh: self.random.happens(500),
                after: self.cursor(),
                entries: (0..self.random.below(4)).map(|_| self.entry()).collect(),
                next: self.cursor(),
                view: self.view(),
            },
            2 => {
                let view = self.view().map(|view| view.id);
                Report::Following { node, epoch: promised, sent: self.number(), view, offers: self.offers() }
            }
            3 if self.random.happens(100) => Report::Refused { node, promised },
            4 => Report::Fetched { node, spot: self.spot(), done: self.random.happens(500) },
            5 => {
                let (tenant, key) = ("t".into(), b"k".as_slice().into());
                Report::Worn { node, spot: self.spot(), tenant, key }
            }
            _ => Report::Dropped { node, spot: self.spot(), released: self.random.happens(500) },
        }
    }
}

fn spot_of(entry: &Entry) -> Spot {
    Spot { segment: entry.segment, offset: entry.offset, generation: entry.generation }
}

/// As far as the nodes let it.
fn put(cluster: &mut Cluster, key: &str, size: u64, config: &ReplicateConfig) {
    let Ok(grant) = cluster.start(key, size, config, true) else { return };
    for (id, entry) in &grant.entries {
        let Some(node) = cluster.nodes.iter_mut().find(|node| node.id() == *id) else { continue };
        let _ = node.prepare(*id, entry.clone(), CLIENT);
        let _ = node.commit(cluster.now, *id, spot_of(entry), CLIENT);
    }
    let _ = cluster.commit(key, grant.version);
}

#[test]
fn whatever_a_node_says_the_books_add_up() {
    for seed in 0..400 {
        let mut cluster = Cluster::new(2, 64);
        if seed % 3 == 0 {
            cluster.replace_master();
        }
        let mut liar = Liar { random: Random::new(seed), cluster: &mut cluster };
        for turn in 0..40 {
            let report = liar.report();
            let text = format!("{report:?}");
            liar.cluster.master.handle(liar.cluster.now, report);
            liar.cluster.master.audit().unwrap_or_else(|wrong| panic!("seed {seed}: {text}: {wrong}"));
            let (key, two) = (["k", "a", "b"][liar.random.index(3)], liar.random.happens(300));
            let config = ReplicateConfig { count: 1 + u8::from(two), ..Default::default() };
            // What becomes of them is for other tests to say.
            match liar.random.below(6) {
                0 => put(liar.cluster, key, 100 << (turn % 9), &config),
                1 => drop(liar.cluster.remove(key)),
                2 => drop(liar.cluster.get(key)),
                3 => drop(liar.cluster.master.copy(liar.cluster.now, name(key), &[])),
                4 => liar.cluster.settle(),
                _ => {
                    liar.cluster.now += liar.random.below(3000);
                    liar.cluster.master.tick(liar.cluster.now);
                }
            }
            liar.cluster.master.audit().unwrap_or_else(|wrong| panic!("seed {seed}, after {text}: {wrong}"));
        }
    }
}

#[test]
fn an_answer_to_a_question_that_was_not_asked_yet_prolongs_nothing() {
    let mut cluster = Cluster::new(1, 64);
    let (node, epoch) = (NodeId(2), cluster.master.epoch());
    let view = cluster.nodes[0].view().map(|view| view.id);
    let offers = cluster.nodes[0].offers();
    cluster.master.handle(cluster.now, Report::Following { node, epoch, sent: u64::MAX - 1, view, offers });
    cluster.deaf = vec![node];
    cluster.now += config(true).term_ms + 1;
    assert_eq!(code(cluster.get("k")), Code::NotReady, "nobody has followed it for a term");
}
