//! A master that is called over connections, nodes that are inventories behind a server, and a client.

mod calls;
mod life;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message;

use super::*;
use crate::error::Code;
use crate::rpc::{Answer, Caller, Client, Service};
use crate::store::message::{Evidence, Offer, Report, Spot};
use crate::store::node::{Inventory, Reaction};
use crate::store::object::{ClientId, NodeId, SegmentId};
use crate::store::wire::master::{self as asked, *};
use crate::store::wire::node::{Orders, OrdersReply};
use crate::store::wire::{Call, NODE_SERVICE, decode};
use crate::sys::clock;

const CLIENT: ClientId = ClientId(1 << 40);

/// Everything goes on quickly, and leases are short enough to wait for them.
fn config() -> Config {
    Config {
        lease_ms: 300,
        // A machine that is busy is no reason to be deposed.
        term_ms: 3000,
        node_lease_ms: 8000,
        lead_every_ms: 20,
        resend_ms: 20,
        found_after_ms: Some(0),
        ..Config::default()
    }
}

fn options() -> Options {
    Options { config: config(), ..Options::default() }
}

fn now_ms() -> u64 {
    clock::now_ms()
}

fn soon() -> u64 {
    clock::after(Duration::from_secs(20))
}

type Kept = Vec<(Vec<u8>, Answer)>;

struct FakeNode {
    inventory: Mutex<Inventory>,
    /// While there are some, orders are kept and not carried out.
    kept: Mutex<Option<Kept>>,
}

impl FakeNode {
    fn react(&self, inventory: &mut Inventory, reactions: Vec<Reaction>) -> Vec<asked::Report> {
        let mut reports = Vec::new();
        for reaction in reactions {
            let more = match reaction {
                Reaction::Send(report) => {
                    reports.push(asked::Report::from(&report));
                    continue;
                }
                Reaction::Fence { writer } => inventory.evidence(now_ms(), Evidence::Fenced { writer }),
                Reaction::Fetch { entry, .. } => inventory.fetched(now_ms(), spot_of(&entry), true),
                Reaction::Discarded => Vec::new(),
            };
            reports.extend(self.react(inventory, more));
        }
        reports
    }

    fn obey(&self, body: &[u8], answer: Answer) {
        let orders: Orders = decode(body).expect("orders");
        let mut inventory = self.inventory.lock();
        let mut reports = Vec::new();
        for order in orders.orders {
            let order = order.try_into().expect("a sound order");
            let reactions = inventory.obey(now_ms(), &order);
            reports.extend(self.react(&mut inventory, reactions));
        }
        answer.send(Ok(&OrdersReply { reports }.encode_to_vec()));
    }

    fn keep_orders(&self) {
        *self.kept.lock() = Some(Vec::new());
    }

    fn go_on(&self) {
        let kept = self.kept.lock().take().unwrap_or_default();
        kept.into_iter().for_each(|(body, answer)| self.obey(&body, answer));
    }
}

impl Service for FakeNode {
    fn call(&self, _: &Caller, method: u16, body: &[u8], answer: Answer) {
        assert_eq!(method, Orders::METHOD);
        if let Some(kept) = self.kept.lock().as_mut() {
            return kept.push((body.to_vec(), answer));
        }
        self.obey(body, answer);
    }
}

fn spot_of(entry: &crate::store::object::Entry) -> Spot {
    Spot { segment: entry.segment, offset: entry.offset, generation: entry.generation }
}

struct World {
    reactor: Arc<Reactor>,
    nodes: Vec<(Arc<FakeNode>, Arc<Server>)>,
    psk: Option<Arc<[u8]>>,
}

impl World {
    /// So many nodes with a segment of 64 KiB each.
    fn new(nodes: u64, psk: &str) -> World {
        let reactor = Arc::new(Reactor::start("test", 2).expect("threads"));
        let psk: Option<Arc<[u8]>> = (!psk.is_empty()).then(|| psk.as_bytes().into());
        let node = |id: u64| {
            let horizon_ms = config().horizon_ms();
            let mut inventory =
                Inventory::new(NodeId(id), &format!("n{id}"), &format!("host{id}"), horizon_ms);
            let name = format!("s{id}").as_str().into();
            inventory.mount(Offer { segment: SegmentId(1), name, length: 64 << 10 });
            let node = Arc::new(FakeNode { inventory: Mutex::new(inventory), kept: Mutex::default() });
            let terms = Terms { service: NODE_SERVICE, psk: psk.clone() };
            let any = Address::tcp(Ipv4Addr::LOCALHOST.into(), 0);
            let server = Server::start(&reactor, &any, terms, node.clone()).expect("a server");
            (node, server)
        };
        let nodes = (2..2 + nodes).map(node).collect();
        World { nodes, reactor, psk }
    }

    fn master(&self) -> Arc<Master> {
        Master::start(Options { psk: self.psk.clone(), ..options() }).expect("a master")
    }

    fn caller(&self, master: &Master) -> Line {
        let terms = Terms { service: MASTER_SERVICE, psk: self.psk.clone() };
        Line(Client::new(&self.reactor, 1, Address::Tcp(master.address()), terms))
    }

    /// What every node says of itself now and then.
    fn greet(&self, caller: &Line) {
        for (node, server) in &self.nodes {
            let (id, mut reports) = {
                let mut inventory = node.inventory.lock();
                let released = inventory.tick(now_ms());
                (inventory.id(), node.react(&mut inventory, released))
            };
            reports.push(asked::Report::from(&node.inventory.lock().hello()));
            // Nobody has the local name: it is as if the node were on another host.
            let contact = Contact {
                node: id.0,
                address: server.address().to_string(),
                local: "mooncake-nobody".into(),
            };
            caller.ask(&Reports { contact: Some(contact), reports }).expect("a master listens");
        }
    }

    /// Lets everybody go on until something is so.
    fn until(&self, what: &str, caller: &Line, mut is_so: impl FnMut() -> bool) {
        let until = soon();
        while !is_so() {
            assert!(clock::now_ns() < until, "{what}");
            self.greet(caller);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Until all nodes are members, and things can be changed.
    fn serving(&self, caller: &Line) {
        let all = self.nodes.len();
        self.until("the master serves", caller, || {
            let segments = caller.ask(&Segments {}).expect("an answer").segments;
            let is_open = segments.iter().filter(|segment| segment.is_open).count() == all;
            is_open && caller.ask(&List::default()).is_ok()
        });
    }

    /// Writes what was granted, at its nodes.
    fn write(&self, grant: Grant) {
        let grant: crate::store::master::Grant = grant.try_into().expect("a sound grant");
        for (id, entry) in grant.entries {
            let found = self.nodes.iter().find(|(node, _)| node.inventory.lock().id() == id);
            let mut inventory = found.expect("a node of this world").0.inventory.lock();
            let spot = spot_of(&entry);
            inventory.prepare(id, entry, CLIENT).expect("granted");
            inventory.commit(now_ms(), id, spot, CLIENT).expect("prepared");
        }
    }

    /// Puts objects of 100 bytes; their versions.
    fn put(&self, caller: &Line, keys: &[&[u8]], count: u32) -> Vec<u64> {
        let started = caller.start(keys, count, false);
        let grants = started.into_iter().map(|one| one.grant.expect("room")).collect::<Vec<_>>();
        let versions: Vec<u64> = grants.iter().map(|grant| grant.version).collect();
        grants.into_iter().for_each(|grant| self.write(grant));
        assert_eq!(caller.commit(keys, &versions), vec![None; keys.len()]);
        versions
    }
}

/// A connection to a master.
struct Line(Arc<Client>);

impl Line {
    fn ask<C: Call>(&self, message: &C) -> crate::error::Result<C::Reply> {
        let body = self.0.call_wait(C::METHOD, &message.encode_to_vec(), soon())?;
        Ok(decode(&body).expect("an answer"))
    }

    fn start(&self, keys: &[&[u8]], count: u32, upsert: bool) -> Vec<PutStartResult> {
        let items = keys.iter().map(|key| PutItem { key: key.to_vec(), size: 100 }).collect();
        let config = Some(Replication { count, ..Replication::default() });
        let start = PutStart { tenant: "t".into(), client: CLIENT.0, config, upsert, items };
        self.ask(&start).expect("an answer").results
    }

    fn commit(&self, keys: &[&[u8]], versions: &[u64]) -> Vec<Option<Code>> {
        let puts = keys.iter().zip(versions);
        let puts = puts.map(|(key, version)| PutRef { key: key.to_vec(), version: *version, is_done: true });
        let commit = PutCommit { tenant: "t".into(), client: CLIENT.0, puts: puts.collect() };
        codes(self.ask(&commit).expect("an answer"))
    }

    fn get(&self, keys: &[&[u8]]) -> Vec<std::result::Result<Located, Code>> {
        let keys = keys.iter().map(|key| key.to_vec()).collect();
        let reply = self.ask(&Get { tenant: "t".into(), keys }).expect("an answer");
        let result = |one: GetResult| one.located.ok_or_else(|| one.failed.expect("one of both").code());
        reply.results.into_iter().map(result).collect()
    }

    fn exists(&self, keys: &[&[u8]]) -> ExistsReply {
        let keys = keys.iter().map(|key| key.to_vec()).collect();
        self.ask(&Exists { tenant: "t".into(), keys, prolong: false }).expect("an answer")
    }

    fn remove(&self, keys: &[&[u8]]) -> Vec<Option<Code>> {
        codes(self.ask(&removal(keys)).expect("an answer"))
    }

    fn list(&self, prefix: &str, regex: &str) -> Vec<Vec<u8>> {
        let matching = Some(Matching { prefix: prefix.into(), regex: regex.into() });
        let mut list = List { tenant: "t".into(), matching, from: None, limit: 3 };
        let mut keys = Vec::new();
        loop {
            let page = self.ask(&list).expect("an answer");
            assert!(page.objects.len() <= 3);
            keys.extend(page.objects.into_iter().map(|object| object.key));
            list.from = page.next;
            if list.from.is_none() {
                keys.sort();
                return keys;
            }
        }
    }
}

fn removal(keys: &[&[u8]]) -> Remove {
    let keys = keys.iter().map(|key| key.to_vec()).collect();
    Remove { tenant: "t".into(), keys, unless_leased: false, stamp: None }
}

fn codes(results: Results) -> Vec<Option<Code>> {
    results.results.into_iter().map(|one| one.failed.map(|failed| failed.code())).collect()
}
