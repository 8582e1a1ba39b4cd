//! What stands behind a store that C holds: the client, what of the store runs in this process, and the client's children.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::live;
use crate::config::{Config, Given};
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::id::Slab;
use crate::store::client::{GetSession, Options, PutSession, Store};
use crate::store::master;
use crate::store::master::server::{self, Master};
use crate::store::node::server::{self as node, Node, SegmentOptions};
use crate::sys::net::resolve;
use crate::{bail, fail};

/// Most sessions and buffers of one store.
const MAX_CHILDREN: usize = 1 << 19;
/// What a store without a master gives, if it is not told how much.
const FIRST_MEMORY: u64 = 64 << 20;
/// How long a node that was just started is waited for.
const READY: Duration = Duration::from_secs(10);

/// How a store is opened.
pub struct Opening {
    pub client: Options,
    /// An engine to share.
    pub engine: Option<(u64, Arc<Engine>)>,
    pub no_environment: bool,
    pub memory_bytes: u64,
    pub node_name: String,
    pub master_listen: Option<String>,
    pub node_listen: Option<String>,
}

/// What an id of a store names.
pub enum Child {
    /// An object that is being written: which one of its session.
    Put(Arc<PutSession>, usize),
    /// An object that is being read.
    Get(Arc<GetSession>, usize),
    /// Memory that was handed out.
    Buffer(Box<[u8]>),
}

pub struct Opened {
    pub store: Arc<Store>,
    pub engine_name: u64,
    owns_engine: bool,
    pub node: Option<Arc<Node>>,
    pub master: Option<Arc<Master>>,
    pub tenant: String,
    pub children: RwLock<Slab<Child>>,
}

/// All but the children, whose ids carry the root's tag.
struct Parts {
    store: Arc<Store>,
    engine_name: u64,
    owns_engine: bool,
    node: Option<Arc<Node>>,
    master: Option<Arc<Master>>,
    tenant: String,
}

/// Opens a store under a new name.
pub fn open(opening: Opening) -> Result<u64> {
    let tenant = opening.client.tenant.clone();
    let master = if opening.client.masters.is_empty() { Some(start_master(&opening)?) } else { None };
    let mut options = opening.client.clone();
    let mut memory_bytes = opening.memory_bytes;
    if let Some(master) = &master {
        options.masters = vec![master.address().to_string()];
        memory_bytes = if memory_bytes == 0 { FIRST_MEMORY } else { memory_bytes };
    } else if opening.master_listen.is_some() {
        bail!(
            InvalidArgument,
            "options->master_listen is set and so is ->masters: a master runs here or there"
        );
    }
    let node = if memory_bytes > 0 {
        Some(start_node(&opening, &options.masters, memory_bytes)?)
    } else if opening.node_listen.is_some() {
        bail!(
            InvalidArgument,
            "options->node_listen is set and ->memory_bytes is 0: nothing would listen there"
        );
    } else {
        None
    };
    let owns_engine = opening.engine.is_none();
    let (engine_name, engine) = match opening.engine.clone() {
        Some(shared) => shared,
        None => own_engine(&opening)?,
    };
    let opened = Store::open(engine, &options).and_then(|store| {
        wait_for(&store, node.as_deref())?;
        Ok(store)
    });
    let store = opened.inspect_err(|_| end_engine(engine_name, owns_engine))?;
    let parts = Parts { store, engine_name, owns_engine, node, master, tenant };
    let named = live::insert_root(|tag| Arc::new(parts.under(tag)));
    named.inspect_err(|_| end_engine(engine_name, owns_engine))
}

fn start_master(opening: &Opening) -> Result<Arc<Master>> {
    let listen = match &opening.master_listen {
        Some(listen) => address_of(listen, "options->master_listen")?,
        None => loopback(),
    };
    // Behind a port that the kernel gave nobody has been before.
    let default = master::Config::default();
    let found_after_ms = if listen.port() == 0 { Some(0) } else { default.found_after_ms };
    let config = master::Config { found_after_ms, ..default };
    let psk = opening.client.psk.clone();
    Master::start(server::Options { address: listen, psk, config, ..Default::default() })
        .context("starting the store's own master")
}

fn start_node(opening: &Opening, masters: &[String], bytes: u64) -> Result<Arc<Node>> {
    let listen = match &opening.node_listen {
        Some(listen) => address_of(listen, "options->node_listen")?,
        None => near(masters),
    };
    let psk = opening.client.psk.as_deref().map(<[u8]>::to_vec).unwrap_or_default();
    Node::start(node::Options {
        masters: masters.to_vec(),
        listen,
        segments: vec![SegmentOptions { name: opening.node_name.clone(), bytes }],
        domain: opening.client.domain.clone(),
        engine: engine_config(listen.ip(), psk, opening.no_environment)?,
    })
    .context("giving memory to the store")
}

/// How the engine of a node is made.
pub fn engine_config(listen: IpAddr, psk: Vec<u8>, no_environment: bool) -> Result<Config> {
    let bind_address = (!listen.is_unspecified()).then(|| listen.to_string());
    Config::load(Given { bind_address, psk, no_environment, ..Default::default() })
}

/// Where a node listens that is not told: where its masters reach it.
pub fn near(masters: &[String]) -> SocketAddr {
    let first = |name: &String| resolve(name).ok();
    let addresses: Option<Vec<SocketAddr>> = masters.iter().map(first).collect();
    match addresses.as_deref() {
        Some(all @ [one, ..]) if all.iter().all(|address| address.ip().is_loopback()) => {
            SocketAddr::new(one.ip(), 0)
        }
        _ => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
    }
}

pub fn loopback() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)
}

fn own_engine(opening: &Opening) -> Result<(u64, Arc<Engine>)> {
    let given = Given {
        no_listen: true,
        no_environment: opening.no_environment,
        psk: opening.client.psk.as_deref().map(<[u8]>::to_vec).unwrap_or_default(),
        ..Default::default()
    };
    let config = Config::load(given)?;
    let name = live::insert_for_store(|tag| Engine::create(config, tag))?;
    Ok((name, live::get(name)?))
}

fn end_engine(name: u64, is_own: bool) {
    if is_own && let Ok(engine) = live::remove_for_store(name) {
        engine.destroy();
    }
}

/// Waits until the memory that this process gives can be used.
pub fn wait_for(store: &Store, node: Option<&Node>) -> Result<()> {
    let Some(node) = node else { return Ok(()) };
    let until = crate::sys::clock::after(READY);
    loop {
        let id = node.id();
        let is_there = |segments: Vec<crate::store::client::Segment>| {
            segments.iter().any(|segment| segment.node == id && segment.is_open)
        };
        let listed = store.segments(None);
        if listed.is_ok_and(is_there) {
            return Ok(());
        }
        if crate::sys::clock::now_ns() >= until {
            bail!(
                NotReady,
                "the master took in no node of this process within {} ms: is {} where it can reach it?",
                READY.as_millis(),
                node.address()
            );
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// "host:port" as an address.
pub fn address_of(text: &str, name: &str) -> Result<SocketAddr> {
    resolve(text).map_err(|error| fail!(InvalidArgument, "{name} is {text:?}: {error}; say host:port"))
}

/// Texts separated by commas.
pub fn listed(text: &str, name: &str) -> Result<Vec<String>> {
    let all: Vec<String> = text.split(',').map(|one| one.trim().to_owned()).collect();
    if all.iter().any(String::is_empty) {
        bail!(InvalidArgument, "{name} is {text:?}: host:port, separated by commas");
    }
    Ok(all)
}

impl Parts {
    fn under(self, tag: u16) -> Opened {
        let Parts { store, engine_name, owns_engine, node, master, tenant } = self;
        let children = RwLock::new(Slab::new("object or buffer", tag, MAX_CHILDREN));
        Opened { store, engine_name, owns_engine, node, master, tenant, children }
    }
}

impl Opened {
    pub fn keep(&self, child: Child) -> Result<u64> {
        self.children.write().insert(child)
    }

    pub fn put_of(&self, id: u64) -> Result<(Arc<PutSession>, usize)> {
        match self.children.read().get(id)? {
            Child::Put(session, index) => Ok((session.clone(), *index)),
            _ => Err(fail!(InvalidHandle, "{id:#x} is no object that is being written")),
        }
    }

    pub fn get_of(&self, id: u64) -> Result<(Arc<GetSession>, usize)> {
        match self.children.read().get(id)? {
            Child::Get(session, index) => Ok((session.clone(), *index)),
            _ => Err(fail!(InvalidHandle, "{id:#x} is no object that is being read")),
        }
    }

    /// Forgets a child that somebody else may have forgotten meanwhile.
    pub fn forget(&self, id: u64) {
        let gone = self.children.write().remove(id);
        drop(gone);
    }

    pub fn release(&self, buffer: u64) -> Result<()> {
        let mut children = self.children.write();
        if !matches!(children.get(buffer)?, Child::Buffer(_)) {
            bail!(InvalidHandle, "{buffer:#x} is no buffer");
        }
        let gone = children.remove(buffer)?;
        drop(children);
        drop(gone);
        Ok(())
    }

    /// Ends everything that runs for this store.
    pub fn close(&self) {
        let children = self.children.write().drain();
        drop(children);
        self.store.close();
        end_engine(self.engine_name, self.owns_engine);
        if let Some(node) = &self.node {
            node.stop();
        }
        if let Some(master) = &self.master {
            master.stop();
        }
    }
}
