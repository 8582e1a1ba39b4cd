//! A master among honest nodes and one that says anything, with clients that ask for anything: whatever happens, its books
//! add up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mooncake::store::eviction::Policy;
use mooncake::store::master::{Config, Effect, ListCursor, PutStart, State, TaskId, Walk};
use mooncake::store::message::{Evidence, Offer, Order, Report, Spot};
use mooncake::store::node::{Inventory, Reaction};
use mooncake::store::object::*;
use mooncake::store::wire::{decode, node};

const CLIENT: ClientId = ClientId(9);

struct World {
    now: u64,
    master: State,
    nodes: Vec<Inventory>,
    orders: Vec<Order>,
    last: Option<(Vec<u8>, Version)>,
    token: u64,
}

impl World {
    fn new() -> World {
        let config = Config {
            shards: 2,
            policy: Policy::Lru,
            found_after_ms: Some(0),
            lease_ms: 300,
            term_ms: 200,
            ..Config::default()
        };
        let horizon_ms = config.horizon_ms();
        let node = |id: u64| {
            let mut node = Inventory::new(NodeId(id), &format!("n{id}"), "host", horizon_ms);
            let name = format!("s{id}").as_str().into();
            node.mount(Offer { segment: SegmentId(1), name, length: 16 << 10 });
            node
        };
        let nodes = vec![node(2), node(3)];
        let master = State::new(config, MasterId(1), 1000);
        World { now: 1000, master, nodes, orders: Vec::new(), last: None, token: 0 }
    }

    fn react(&mut self, index: usize, reactions: Vec<Reaction>) {
        for reaction in reactions {
            let node = &mut self.nodes[index];
            let more = match reaction {
                Reaction::Send(report) => {
                    self.master.handle(self.now, report);
                    Vec::new()
                }
                Reaction::Fence { writer } => node.evidence(self.now, Evidence::Fenced { writer }),
                Reaction::Fetch { entry, .. } => {
                    let spot =
                        Spot { segment: entry.segment, offset: entry.offset, generation: entry.generation };
                    node.fetched(self.now, spot, true)
                }
                Reaction::Discarded => {
                    let id = NodeId(node.id().0.max(3) + 10 + self.token);
                    self.token += 1;
                    node.rename(id);
                    Vec::new()
                }
            };
            self.react(index, more);
        }
    }

    /// What was ordered is heard, and answered.
    fn obey(&mut self) {
        for order in std::mem::take(&mut self.orders) {
            for index in 0..self.nodes.len() {
                let reactions = self.nodes[index].obey(self.now, &order);
                self.react(index, reactions);
            }
        }
    }

    fn greet(&mut self) {
        for index in 0..self.nodes.len() {
            let hello = self.nodes[index].hello();
            self.master.handle(self.now, hello);
            let released = self.nodes[index].tick(self.now);
            self.react(index, released);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.greet();
        self.master.tick(self.now);
    }

    fn put(&mut self, key: &[u8], how: u8) {
        let config = ReplicateConfig {
            count: 1 + how % 2,
            group: if how & 4 == 0 { String::new() } else { "g".to_owned() },
            hard_pin: how & 8 != 0,
            ..ReplicateConfig::default()
        };
        let name = Name { tenant: "", key };
        let size = 100 << (how >> 5);
        let request = PutStart { name, client: CLIENT, size, config: &config, upsert: how & 16 != 0 };
        let Ok(grant) = self.master.put_start(self.now, request) else { return };
        for (id, entry) in grant.entries {
            let Some(node) = self.nodes.iter_mut().find(|node| node.id() == id) else { continue };
            let spot = Spot { segment: entry.segment, offset: entry.offset, generation: entry.generation };
            if node.prepare(id, entry, CLIENT).is_ok() && how & 2 == 0 {
                let _ = node.commit(self.now, id, spot, CLIENT);
            }
        }
        self.last = Some((key.to_vec(), grant.version));
    }

    fn step(&mut self, op: u8, rest: &[u8]) {
        self.token += 1;
        let token = Token(self.token);
        let key = &rest[..rest.len().min(2)];
        let name = Name { tenant: "", key };
        match op % 14 {
            0 => {
                let report = decode::<node::Report>(rest).and_then(Report::try_from);
                if let Ok(report) = report {
                    self.master.handle(self.now, report);
                }
            }
            1 => self.pass(u64::from(rest.first().copied().unwrap_or(5)) * 10),
            2 | 3 => self.put(key, rest.get(2).copied().unwrap_or(0)),
            4 => {
                if let Some((key, version)) = self.last.clone() {
                    let name = Name { tenant: "", key: &key };
                    let _ = self.master.put_commit(self.now, name, CLIENT, version, token);
                }
            }
            5 => drop(self.master.get(self.now, name)),
            6 => drop(self.master.remove(self.now, name, token, false)),
            7 => drop(self.master.copy(self.now, name, &[])),
            8 => drop(self.master.trim(self.now, name, 1)),
            9 => drop(self.master.drain(NodeId(2 + u64::from(op & 1)), SegmentId(1))),
            10 => drop(self.master.cancel_task(self.now, TaskId(1 + u64::from(op >> 4)))),
            11 => {
                let matches = &mut |_: &[u8]| true;
                let walk = Walk { tenant: "", from: ListCursor::default(), limit: 4, matches };
                let _ = self.master.remove_where(self.now, walk, token, true);
            }
            12 => {
                if let Some((key, version)) = self.last.take() {
                    let name = Name { tenant: "", key: &key };
                    let _ = self.master.put_revoke(self.now, name, CLIENT, version, op & 16 != 0);
                }
            }
            _ => self.obey(),
        }
        for effect in self.master.effects() {
            match effect {
                Effect::Send(order) if self.orders.len() < 200 => self.orders.push(order),
                _ => {}
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut world = World::new();
    // Most of what there is to see begins with a cluster.
    if bytes.first().is_some_and(|first| first & 1 == 0) {
        for _ in 0..6 {
            world.pass(50);
            world.orders.extend(world.master.effects().into_iter().filter_map(|effect| match effect {
                Effect::Send(order) => Some(order),
                Effect::Reply(_) | Effect::Notice(_) => None,
            }));
            world.obey();
        }
    }
    let mut rest = bytes.get(1..).unwrap_or_default();
    while let [op, length, after @ ..] = rest {
        let (payload, next) = after.split_at(usize::from(*length).min(after.len()));
        world.step(*op, payload);
        rest = next;
    }
    world.master.audit().expect("the books add up");
});
