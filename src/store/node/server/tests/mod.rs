//! Nodes with a master that does what its state says, and clients that do what they are told.

mod copies;
mod together;
mod writing;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message;

use super::*;
use crate::config::Given;
use crate::engine::batch::{BatchOptions, Local, Request};
use crate::error::Code;
use crate::rpc::{Answer, Caller, Client, Service};
use crate::store::footer;
use crate::store::master::{self as index, Effect, Grant, PutStart, TaskState};
use crate::store::message::{Order, Report as Told};
use crate::store::object::{
    CHECKSUM_BLOCK, ClientId, Entry, MasterId, Name, ReplicateConfig, Token, Version,
};
use crate::store::wire::master::{Contact, Contacts, ContactsReply, Greet, Reports, ReportsReply, Welcome};
use crate::store::wire::node::{
    Attach, Attached, Commit, Orders, OrdersReply, Prepare, Put, Results, WireSpot,
};
use crate::store::wire::{Call, decode};
use crate::sys::checksum::crc32c;
use crate::sys::reactor::Reactor;
use crate::transport::Opcode;

const PSK: &[u8] = b"0123456789abcdef";
const MIB: u64 = 1 << 20;

fn soon() -> u64 {
    clock::after(Duration::from_secs(30))
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = soon();
    while !is_so() {
        assert!(clock::now_ns() < until, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn config(transports: &str) -> Config {
    let given = Given {
        no_environment: true,
        bind_address: Some("127.0.0.1".into()),
        transports: Some(transports.into()),
        worker_threads: 1,
        psk: PSK.to_vec(),
        ..Given::default()
    };
    Config::load(given).expect("sound settings")
}

fn terms(service: &'static str) -> Terms {
    Terms { service, psk: Some(PSK.into()) }
}

/// The state, and calls to and from it; no answers are kept waiting.
struct TestMaster {
    id: MasterId,
    state: Mutex<index::State>,
    nodes: Mutex<BTreeMap<u64, (Contact, Arc<Client>)>>,
    reactor: Arc<Reactor>,
    me: Weak<TestMaster>,
}

fn now() -> u64 {
    clock::now_ms()
}

impl Service for TestMaster {
    fn call(&self, _: &Caller, method: u16, body: &[u8], answer: Answer) {
        let reply = self.serve(method, body);
        answer.send(reply.as_deref().map_err(Clone::clone));
        self.settle();
    }
}

impl TestMaster {
    fn serve(&self, method: u16, body: &[u8]) -> Result<Vec<u8>> {
        let mut state = self.state.lock();
        Ok(match method {
            Greet::METHOD => Welcome {
                master: self.id.0,
                epoch: state.epoch().0,
                is_serving: state.is_serving(),
                lease_ms: 50,
                term_ms: 2000,
                ..Default::default()
            }
            .encode_to_vec(),
            Reports::METHOD => {
                let told: Reports = decode(body)?;
                if let Some(contact) = told.contact {
                    let address = Address::Tcp(contact.address.parse().expect("an address"));
                    let terms = terms(NODE_SERVICE);
                    let client = || Client::new(&self.reactor, 0, address, terms);
                    self.nodes.lock().entry(contact.node).or_insert_with(|| (contact, client()));
                }
                for report in told.reports {
                    state.handle(now(), Told::try_from(report)?);
                }
                ReportsReply {}.encode_to_vec()
            }
            Contacts::METHOD => {
                let asked: Contacts = decode(body)?;
                let nodes = self.nodes.lock();
                let found = asked.nodes.iter().filter_map(|node| nodes.get(node)).map(|(one, _)| one.clone());
                ContactsReply { contacts: found.collect() }.encode_to_vec()
            }
            other => return Err(fail!(Unsupported, "method {other}")),
        })
    }

    /// Sends what the state has to say.
    fn settle(&self) {
        for effect in self.state.lock().effects() {
            let Effect::Send(order) = effect else { continue };
            self.send(&order);
        }
    }

    fn send(&self, order: &Order) {
        let Some((_, client)) = self.nodes.lock().get(&order.to.0).cloned() else { return };
        let me = self.me.clone();
        let body = Orders { orders: vec![order.into()] }.encode_to_vec();
        let heard = move |result: Result<Vec<u8>>| {
            let (Some(me), Ok(body)) = (me.upgrade(), result) else { return };
            let reply: OrdersReply = decode(&body).expect("a sound answer");
            // Another thread: this one may hold the state.
            me.reactor.clone().run(
                0,
                Box::new(move || {
                    for report in reply.reports {
                        me.state.lock().handle(now(), Told::try_from(report).expect("a sound report"));
                    }
                    me.settle();
                }),
            );
        };
        client.call(Orders::METHOD, &body, soon(), Box::new(heard));
    }
}

struct World {
    master: Arc<TestMaster>,
    server: Arc<Server>,
    nodes: Vec<Arc<Node>>,
    clock: Option<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
}

impl World {
    /// A cluster of nodes of so many bytes each.
    fn new(nodes: usize, bytes: u64) -> World {
        let reactor = Arc::new(Reactor::start("master", 1).expect("threads"));
        let id = MasterId(u64::from_le_bytes(random::bytes()));
        let config = index::Config {
            found_after_ms: Some(0),
            lease_ms: 50,
            resend_ms: 50,
            lead_every_ms: 100,
            ..index::Config::default()
        };
        let master = Arc::new_cyclic(|me: &Weak<TestMaster>| TestMaster {
            id,
            state: Mutex::new(index::State::new(config, id, now())),
            nodes: Mutex::default(),
            reactor: reactor.clone(),
            me: me.clone(),
        });
        let address = Address::tcp(Ipv4Addr::LOCALHOST.into(), 0);
        let server =
            Server::start(&reactor, &address, terms(MASTER_SERVICE), master.clone()).expect("a server");
        let is_over = Arc::new(AtomicBool::new(false));
        let clock = std::thread::spawn({
            let (master, is_over) = (master.clone(), is_over.clone());
            move || {
                while !is_over.load(Ordering::SeqCst) {
                    master.state.lock().tick(now());
                    master.settle();
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        });
        let mut world = World { master, server, nodes: Vec::new(), clock: Some(clock), is_over };
        for _ in 0..nodes {
            world.add_node(bytes);
        }
        world
    }

    fn add_node(&mut self, bytes: u64) -> Arc<Node> {
        let index = self.nodes.len();
        let node = Node::start(Options {
            masters: vec![self.server.address().to_string()],
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            segments: vec![SegmentOptions { name: format!("s{index}"), bytes }],
            domain: format!("d{index}"),
            engine: self::config("memfd,tcp"),
        });
        let node = node.expect("a node");
        self.nodes.push(node.clone());
        let count = self.nodes.len();
        wait_until("the master knows the segments", || {
            let state = self.master.state.lock();
            state.is_serving() && state.segments().iter().filter(|one| one.is_open).count() == count
        });
        node
    }

    fn put_start(&self, client: ClientId, key: &str, size: u64, config: &ReplicateConfig) -> Grant {
        let request = PutStart { name: name(key), client, size, config, upsert: false };
        let until = soon();
        loop {
            let granted = self.master.state.lock().put_start(now(), request);
            self.master.settle();
            match granted {
                Ok(grant) => return grant,
                Err(refusal) => assert!(clock::now_ns() < until, "{refusal}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn put_commit(&self, client: ClientId, key: &str, version: Version) {
        let done = self.master.state.lock().put_commit(now(), name(key), client, version, Token(1));
        done.expect("committed");
        self.master.settle();
    }

    fn node(&self, id: NodeId) -> &Arc<Node> {
        self.nodes.iter().find(|node| node.id() == id).expect("one of ours")
    }

    /// Writes an object wherever the master wants it.
    fn put(&self, client: &TestClient, key: &str, data: &[u8], config: &ReplicateConfig) -> Grant {
        let grant = self.put_start(client.id, key, data.len() as u64, config);
        for (node, entry) in &grant.entries {
            let way = client.attach(self.node(*node));
            assert_eq!(client.prepare(&way, entry), None);
            client.write(&way, entry, data).expect("written");
            assert_eq!(client.commit(&way, entry), None);
        }
        self.put_commit(client.id, key, grant.version);
        grant
    }
}

impl std::ops::Drop for World {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(clock) = self.clock.take() {
            let _ = clock.join();
        }
        self.nodes.iter().for_each(|node| node.stop());
        self.server.close();
        self.master.nodes.lock().clear();
        self.master.reactor.stop();
    }
}

fn name(key: &str) -> Name<'_> {
    Name { tenant: "t", key: key.as_bytes() }
}

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// Bytes of a stripe with their footer.
fn stored(entry: &Entry, data: &[u8]) -> Vec<u8> {
    let sums: Vec<u32> = data.chunks(CHECKSUM_BLOCK as usize).map(crc32c).collect();
    let mut bytes = data.to_vec();
    bytes.resize(footer::offset(data.len() as u64) as usize, 0);
    bytes.extend(footer::encode(entry.generation, &sums));
    bytes
}

struct TestClient {
    id: ClientId,
    engine: Arc<Engine>,
}

/// A client's way into a node.
struct Way {
    client: Arc<Client>,
    attached: Attached,
    segment: u64,
}

impl TestClient {
    fn new(id: u64, transports: &str) -> TestClient {
        TestClient { id: ClientId(id), engine: Engine::create(config(transports), 0).expect("an engine") }
    }

    fn reach(&self, node: &Node) -> Arc<Client> {
        let address = Address::Local(node.local_name().to_owned());
        Client::new(&self.engine.reactor, 0, address, terms(NODE_SERVICE))
    }

    fn attach(&self, node: &Node) -> Way {
        let client = self.reach(node);
        let attached = ask(&client, &Attach { client: self.id.0 }).expect("attached");
        let segment = self.engine.import_segment(&attached.segments[0].blob).expect("a blob");
        Way { client, attached, segment }
    }

    /// Why it was refused.
    fn prepare(&self, way: &Way, entry: &Entry) -> Option<Code> {
        let Attached { node, attachment, .. } = way.attached;
        let call = Prepare { client: self.id.0, node, attachment, entries: vec![entry.into()] };
        only(ask(&way.client, &call).expect("an answer"))
    }

    fn commit(&self, way: &Way, entry: &Entry) -> Option<Code> {
        let call = Commit { client: self.id.0, node: way.attached.node, spots: vec![spot(entry)] };
        only(ask(&way.client, &call).expect("an answer"))
    }

    fn write(&self, way: &Way, entry: &Entry, data: &[u8]) -> Result<()> {
        self.transfer(way, entry.offset, Opcode::Write, &mut stored(entry, data))
    }

    fn read(&self, way: &Way, entry: &Entry, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.transfer(way, entry.offset, Opcode::Read, &mut bytes).map(|()| bytes)
    }

    fn transfer(&self, way: &Way, offset: u64, opcode: Opcode, bytes: &mut [u8]) -> Result<()> {
        let address = bytes.as_mut_ptr() as usize;
        let region = self.engine.register_memory(address, bytes.len(), &MemoryOptions::default())?;
        let request = Request {
            opcode,
            segment: way.segment,
            remote: way.attached.segments[0].base + offset,
            length: bytes.len() as u64,
            local: Local::Contiguous(address),
            user_data: 0,
        };
        let batch = self.engine.submit([Ok(request)].into_iter(), BatchOptions::default())?;
        let info = self.engine.wait(batch, None)?;
        let result = info.status.map_or(Ok(()), |_| Err(self.engine.batch_error(batch, info)));
        self.engine.release(batch)?;
        self.engine.unregister_memory(region, true)?;
        result
    }
}

impl std::ops::Drop for TestClient {
    fn drop(&mut self) {
        self.engine.destroy();
    }
}

fn ask<C: Call>(client: &Client, call: &C) -> Result<C::Reply> {
    decode(&client.call_wait(C::METHOD, &call.encode_to_vec(), soon())?)
}

fn spot(entry: &Entry) -> WireSpot {
    WireSpot { segment: entry.segment.0, offset: entry.offset, generation: entry.generation.0 }
}

fn only(results: Results) -> Option<Code> {
    assert_eq!(results.results.len(), 1);
    results.results[0].failed.as_ref().map(|failed| failed.code())
}

/// A put of one object, as the body of a call.
fn put_body(client: u64, node: u64, entry: &Entry, bytes: &[u8]) -> Vec<u8> {
    let message = Put { client, node, entries: vec![entry.into()] }.encode_to_vec();
    let mut body = (message.len() as u32).to_le_bytes().to_vec();
    body.extend(message);
    body.extend(bytes);
    body
}
