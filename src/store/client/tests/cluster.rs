//! A master, nodes, clients.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::{GetOptions, Options, Put, PutOptions, Result, Store, Wanted};
use crate::config::{Config, Given};
use crate::engine::Engine;
use crate::store::eviction::Policy;
use crate::store::master::server::{self, Master};
use crate::store::node::server::{self as node, Node, SegmentOptions};
use crate::sys::memory::Mem;

pub struct Cluster {
    pub master: Arc<Master>,
    pub nodes: Vec<Arc<Node>>,
}

fn engine_config(transports: &str) -> Config {
    let given = Given { no_environment: true, transports: Some(transports.into()), ..Given::default() };
    Config::load(given).expect("a configuration")
}

/// Quick to found, to expel and to forget.
pub fn master_config() -> crate::store::master::Config {
    crate::store::master::Config {
        lease_ms: 1000,
        term_ms: 500,
        node_lease_ms: 2000,
        lead_every_ms: 50,
        resend_ms: 50,
        put_deadline_ms: 3000,
        found_after_ms: Some(0),
        policy: Policy::Lru,
        high_mark: 1001,
        ..Default::default()
    }
}

pub fn start_master(port: u16, found: bool) -> crate::error::Result<Arc<Master>> {
    let found_after_ms = found.then_some(0);
    let config = crate::store::master::Config { found_after_ms, ..master_config() };
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    Master::start(server::Options { address, config, ..Default::default() })
}

pub fn start_node(master: &Master, index: usize, bytes: u64) -> Arc<Node> {
    Node::start(node::Options {
        masters: vec![master.address().to_string()],
        listen: (std::net::Ipv4Addr::LOCALHOST, 0).into(),
        segments: vec![SegmentOptions { name: format!("s{index}"), bytes }],
        domain: format!("host{index}"),
        engine: engine_config("memfd,cma,tcp"),
    })
    .expect("a node")
}

impl Cluster {
    pub fn new(nodes: usize, bytes: u64) -> Cluster {
        let master = start_master(0, true).expect("a master");
        let nodes: Vec<_> = (0..nodes).map(|index| start_node(&master, index, bytes)).collect();
        let cluster = Cluster { master, nodes };
        cluster.settle();
        cluster
    }

    /// Until the master serves and every node's memory may be used.
    pub fn settle(&self) {
        wait_until("a cluster that serves", || {
            self.master.with(|state, _| {
                state.is_serving()
                    && state.segments().iter().filter(|one| one.is_open).count() >= self.nodes.len()
            })
        });
    }

    pub fn client(&self) -> Arc<Store> {
        self.client_over("local,memfd,cma,tcp", 1000)
    }

    pub fn client_over(&self, transports: &str, lease_cache: usize) -> Arc<Store> {
        self.client_with(transports, Options { lease_cache, ..Default::default() })
    }

    pub fn client_with(&self, transports: &str, options: Options) -> Arc<Store> {
        let config = engine_config(transports);
        let engine = Engine::create(config, 7).expect("an engine");
        let masters = vec![self.master.address().to_string()];
        let deadline = Duration::from_secs(20);
        let options = Options { masters, tenant: "t".into(), deadline, ..options };
        Store::open(engine, &options).expect("a client")
    }
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(40);
    while !is_so() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes that tell where they come from.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let byte = |at: usize| (seed.wrapping_mul(31).wrapping_add(at as u64 * 7 + (at as u64 >> 8)) % 251) as u8;
    (0..length).map(byte).collect()
}

pub fn put(store: &Store, key: &[u8], bytes: &[u8], options: &PutOptions) -> Result<()> {
    let pieces = [Mem::of(bytes)];
    store.put(&[Put { key, from: &pieces }], options).remove(0).map(drop)
}

pub fn get(store: &Store, key: &[u8], room: usize) -> Result<Vec<u8>> {
    get_as(store, key, room, &GetOptions::default())
}

pub fn get_as(store: &Store, key: &[u8], room: usize, options: &GetOptions) -> Result<Vec<u8>> {
    let mut bytes = vec![0u8; room];
    let pieces = [Mem::of(&bytes)];
    let got = store.get(&[(key, Wanted::Whole(&pieces))], options).remove(0)?;
    bytes.truncate(got.size as usize);
    Ok(bytes)
}
