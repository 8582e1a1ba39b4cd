//! A node in a process: memory that clients reach through an engine, and the calls that go with it.
//!
//! ```text
//!   client --- Attach ---------------> attachments.rs   a key of its own to each segment
//!   client --- Prepare, Commit, Put -> service.rs       the inventory decides
//!   client === bytes, by its key ====> engine
//!   master --- Orders ---------------> service.rs --- fence ---> attachments.rs
//!      ^                                          --- fetch ---> fetch.rs
//!      +------ Reports --------------- masters.rs
//! ```
//!
//! Locks: the state's is held for short, never while a call is made; the errands' and the engine's may be taken within it.

mod attachments;
mod fetch;
mod masters;
mod service;
mod verify;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

use crate::config::{Compat, Config};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::rpc::{Address, Server, Terms};
use crate::segment::memory::MemoryOptions;
use crate::store::message::{Offer, Report, Spot};
use crate::store::object::{ClientId, EntryState, MasterId, NodeId, SegmentId};
use crate::store::wire::{MASTER_SERVICE, NODE_SERVICE};
use crate::store::{master, node};
use crate::sys::errands::Errands;
use crate::sys::memory::Mem;
use crate::sys::{clock, process, random};
use crate::{bail, fail};

use super::{Inventory, Reaction};
use attachments::Attachments;
use masters::{Following, Masters};

/// How often the clock looks at what time brings.
const TICK: Duration = Duration::from_millis(25);
/// Clients that are being cut off at once: each of them may hold a thread up, if its process was stopped.
const FENCERS: usize = 4;
/// Copies that are fetched at once.
const FETCHERS: usize = 4;
/// Copies, looks and cuts that wait for a thread.
const MAX_WAITING: usize = 16_384;

/// A piece of memory that a node gives.
#[derive(Clone, Debug)]
pub struct SegmentOptions {
    /// What callers prefer it by; empty is one that says where the node is.
    pub name: String,
    pub bytes: u64,
}

/// What a node is started with.
#[derive(Clone)]
pub struct Options {
    /// `host:port` of each master there may be: one of them leads.
    pub masters: Vec<String>,
    /// Where clients and masters find it; port 0 is one that the kernel gives.
    pub listen: SocketAddr,
    pub segments: Vec<SegmentOptions>,
    /// What fails together with this node; empty is this host.
    pub domain: String,
    /// How bytes travel, on how many threads, and with which key: that of its calls, too.
    pub engine: Config,
}

/// Bytes of a node's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub capacity: u64,
    /// Of objects, and of those that are being written.
    pub held: u64,
    /// Given up, and not free yet.
    pub quarantined: u64,
    pub free: u64,
}

/// A segment as it lies here.
struct Memory {
    /// The engine's name of it.
    region: u64,
    mem: Mem,
    length: u64,
}

struct State {
    inventory: Inventory,
    attachments: Attachments,
    following: Following,
    /// The highest id that this process had.
    last_id: NodeId,
    /// Ranges whose bytes are not what was written, and when the master was told of them last.
    worn: BTreeMap<Spot, Report>,
    worn_told_ms: u64,
}

struct Core {
    engine: Arc<Engine>,
    address: SocketAddr,
    local: String,
    memory: BTreeMap<SegmentId, Memory>,
    state: Mutex<State>,
    masters: Masters,
    fences: Errands,
    fetches: Errands,
    /// As a reader of other nodes.
    client: ClientId,
    sources: fetch::Sources,
    psk: Option<Arc<[u8]>>,
    is_stopping: AtomicBool,
    me: Weak<Core>,
}

/// A node, until it is stopped or dropped.
pub struct Node {
    core: Arc<Core>,
    servers: Vec<Arc<Server>>,
    clock: Mutex<Option<JoinHandle<()>>>,
    wake: Arc<(Mutex<bool>, Condvar)>,
}

impl Node {
    pub fn start(options: Options) -> Result<Arc<Node>> {
        let mut config = options.engine.clone();
        // Mooncake's engines reach memory without a key, and names in a metadata service are not needed.
        (config.compat, config.metadata, config.listen) = (Compat::Off, None, true);
        let engine = Engine::create(config, 0)?;
        Node::assemble(options, &engine).inspect_err(|_| engine.destroy())
    }

    fn assemble(options: Options, engine: &Arc<Engine>) -> Result<Arc<Node>> {
        check(&options)?;
        let psk: Option<Arc<[u8]>> = options.engine.psk.as_deref().map(Arc::from);
        let terms = Terms { service: NODE_SERVICE, psk: psk.clone() };
        let local = format!("mooncake-node-{:032x}", u128::from_le_bytes(random::bytes()));
        let doors = [false, true].map(service::door);
        let mut servers = Vec::new();
        let addresses = [Address::Tcp(options.listen), Address::Local(local.clone())];
        for (address, door) in addresses.iter().zip(&doors) {
            servers.push(Server::start(&engine.reactor, address, terms.clone(), door.clone())?);
        }
        let Address::Tcp(bound) = servers[0].address().clone() else {
            bail!(Internal, "a port was asked for");
        };
        let core = Core::new(&options, engine, told(bound, engine)?, local, psk)?;
        for door in doors {
            let _ = door.core.set(Arc::downgrade(&core));
        }
        let wake: Arc<(Mutex<bool>, Condvar)> = Arc::default();
        let clock = std::thread::Builder::new().name("mc-node-clock".into()).spawn({
            let (core, servers, wake) = (core.clone(), servers.clone(), wake.clone());
            move || run_clock(&core, &servers, &wake)
        });
        let clock = clock.map_err(|error| Error::io("starting a thread", &error))?;
        tracing::info!("node {} gives {} bytes at {}", core.id().0, core.usage().capacity, core.address);
        Ok(Arc::new(Node { core, servers, clock: Mutex::new(Some(clock)), wake }))
    }

    /// Where calls go, as others are told.
    pub fn address(&self) -> SocketAddr {
        self.core.address
    }

    /// The name under which processes of this host find it, too.
    pub fn local_name(&self) -> &str {
        &self.core.local
    }

    pub fn id(&self) -> NodeId {
        self.core.id()
    }

    /// Whether a master gives orders.
    pub fn is_led(&self) -> bool {
        self.core.is_led()
    }

    pub fn usage(&self) -> Usage {
        self.core.usage()
    }

    /// Clients that can reach its memory.
    pub fn client_count(&self) -> usize {
        self.core.state.lock().attachments.count()
    }

    /// Has the master move everything away, waits for that until the grace is over, and stops. An error says what was left
    /// behind.
    pub fn drain(&self, grace: Duration) -> Result<()> {
        let emptied = self.core.empty(clock::after(grace));
        self.stop();
        emptied
    }

    /// Gives the memory up: on return nobody reaches it.
    pub fn stop(&self) {
        if self.core.is_stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        *self.wake.0.lock() = true;
        self.wake.1.notify_all();
        if let Some(clock) = self.clock.lock().take() {
            let _ = clock.join();
        }
        self.servers.iter().for_each(|server| server.close());
        self.core.fetches.shut();
        self.core.fences.shut();
        self.core.masters.close();
        self.core.sources.close();
        self.core.fetches.close();
        self.core.engine.destroy();
        self.core.fences.close();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

fn check(options: &Options) -> Result<()> {
    if options.segments.is_empty() {
        bail!(InvalidArgument, "a node gives at least one segment of memory");
    }
    if options.masters.is_empty() {
        bail!(InvalidArgument, "a node needs the address of a master");
    }
    for one in &options.segments {
        if one.bytes == 0
            || one.bytes > isize::MAX as u64 / 2
            || one.name.len() > super::super::object::MAX_NAME
        {
            bail!(InvalidArgument, "segment {:?} of {} bytes: neither can be so", one.name, one.bytes);
        }
    }
    Ok(())
}

/// The address that others are told: nobody can call one that stands for all.
fn told(bound: SocketAddr, engine: &Engine) -> Result<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return Ok(bound);
    }
    let address = engine.info().address;
    let host = address.parse::<SocketAddr>().map_err(|_| {
        fail!(
            InvalidArgument,
            "listening on all addresses, and {address:?} tells none: name the one to listen on"
        )
    })?;
    Ok(SocketAddr::new(host.ip(), bound.port()))
}

/// A later start has a greater one.
fn new_id(above: NodeId) -> NodeId {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    NodeId(u64::try_from(since).unwrap_or(u64::MAX).max(above.0 + 1))
}

fn run_clock(core: &Core, servers: &[Arc<Server>], wake: &(Mutex<bool>, Condvar)) {
    let mut is_over = wake.0.lock();
    while !*is_over {
        parking_lot::MutexGuard::unlocked(&mut is_over, || {
            core.tick();
            let now = clock::now_ns();
            servers.iter().for_each(|server| server.tick(now));
            core.masters.tick(now);
            core.sources.tick(now);
        });
        if !*is_over {
            wake.1.wait_for(&mut is_over, TICK);
        }
    }
}

impl Core {
    fn new(
        options: &Options,
        engine: &Arc<Engine>,
        address: SocketAddr,
        local: String,
        psk: Option<Arc<[u8]>>,
    ) -> Result<Arc<Core>> {
        let domain = process::domain(&options.domain);
        let horizon = master::Config::default().horizon_ms();
        let mut inventory = Inventory::new(new_id(NodeId::default()), &address.to_string(), &domain, horizon);
        let mut memory = BTreeMap::new();
        for (id, one) in (1..).map(SegmentId).zip(&options.segments) {
            let name = match (one.name.as_str(), id.0) {
                ("", 1) => format!("{}@{address}", process::host_name()),
                ("", number) => format!("{}@{address}/{number}", process::host_name()),
                (name, _) => name.to_owned(),
            };
            // Peers get keys of their own, and nobody this one.
            let options = MemoryOptions { permissions: 0, ..Default::default() };
            let (_, region) = engine
                .allocate_memory(one.bytes as usize, &options)
                .map_err(|error| error.context(format_args!("segment {name:?}")))?;
            let mem = engine.memory.get(region)?.mem;
            memory.insert(id, Memory { region, mem, length: one.bytes });
            inventory.mount(Offer { segment: id, name: name.into(), length: one.bytes });
        }
        let last_id = inventory.id();
        let state = State {
            inventory,
            attachments: Attachments::default(),
            following: Following::default(),
            last_id,
            worn: BTreeMap::new(),
            worn_told_ms: 0,
        };
        let terms = Terms { service: MASTER_SERVICE, psk: psk.clone() };
        let now = clock::now_ms();
        let masters = Masters::new(&engine.reactor, &options.masters, terms, now)?;
        let (fences, fetches) = (Errands::new(FENCERS, MAX_WAITING), Errands::new(FETCHERS, MAX_WAITING));
        Ok(Arc::new_cyclic(|me| Core {
            engine: engine.clone(),
            address,
            local,
            memory,
            state: Mutex::new(state),
            masters,
            fences,
            fetches,
            client: ClientId(u64::from_le_bytes(random::bytes()) | 1),
            sources: fetch::Sources::default(),
            psk,
            is_stopping: AtomicBool::new(false),
            me: me.clone(),
        }))
    }

    fn id(&self) -> NodeId {
        self.state.lock().inventory.id()
    }

    fn is_led(&self) -> bool {
        self.state.lock().following.is_led(self.now())
    }

    /// Milliseconds of a steady clock.
    fn now(&self) -> u64 {
        clock::now_ms()
    }

    fn usage(&self) -> Usage {
        let state = self.state.lock();
        let mut usage =
            Usage { capacity: self.memory.values().map(|one| one.length).sum(), ..Default::default() };
        for entry in state.inventory.entries() {
            match entry.state {
                EntryState::Quarantined => usage.quarantined += entry.length,
                EntryState::Committed | EntryState::Writing { .. } => usage.held += entry.length,
            }
        }
        usage.free = usage.capacity - usage.held - usage.quarantined;
        usage
    }

    /// Writes bytes that the inventory allowed.
    fn write(&self, segment: SegmentId, offset: u64, bytes: &[u8]) {
        if let Some(memory) = self.memory.get(&segment) {
            memory.mem.part(offset as usize, bytes.len()).write(bytes);
        }
    }

    /// Changes the state, and does what comes of it.
    fn change(&self, act: impl FnOnce(&mut State) -> Vec<Reaction>) {
        let reports = {
            let mut state = self.state.lock();
            let reactions = act(&mut state);
            self.react(&mut state, reactions)
        };
        self.report(reports);
    }

    /// Does what the inventory asks for; returns what the master is to be told.
    fn react(&self, state: &mut State, reactions: Vec<Reaction>) -> Vec<Report> {
        let (mut reports, mut todo) = (Vec::new(), reactions);
        while !todo.is_empty() {
            for reaction in std::mem::take(&mut todo) {
                match reaction {
                    Reaction::Send(report) => reports.push(report),
                    // A fetch looks before each write, and says by its end that there will be no more.
                    Reaction::Fence { writer: node::obey::ITSELF } => {}
                    Reaction::Fence { writer } => todo.extend(self.fence(state, writer)),
                    Reaction::Fetch { entry, from } => todo.extend(self.begin_fetch(state, *entry, from)),
                    Reaction::Discarded => {
                        // The id is gone by now: it was below this moment.
                        state.inventory.rename(new_id(state.last_id));
                        state.last_id = state.inventory.id();
                        state.following.lose();
                        tracing::warn!(
                            "the cluster went on without this node: it joins anew as {}",
                            state.last_id.0
                        );
                    }
                }
            }
        }
        reports
    }

    fn tick(&self) {
        let mut is_hello_due = false;
        self.change(|state| {
            let now = self.now();
            is_hello_due = state.following.is_hello_due(now);
            let mut reactions = state.inventory.tick(now);
            reactions.extend(self.still_worn(state, now));
            for client in state.attachments.left(now) {
                reactions.extend(self.fence(state, client));
            }
            reactions
        });
        if is_hello_due {
            if !self.is_led() {
                self.masters.resolve_again(self.now());
            }
            self.hello();
        }
    }

    fn following(&self) -> Option<MasterId> {
        self.state.lock().following.master
    }

    /// Has everything moved away, by whichever master leads.
    fn empty(&self, until_ns: u64) -> Result<()> {
        self.state.lock().inventory.leave();
        loop {
            let has_left = {
                let inventory = &mut self.state.lock().inventory;
                inventory.unmount_withdrawn();
                inventory.has_left()
            };
            let Usage { held, quarantined, .. } = self.usage();
            // Without a master nobody can be told, and an empty node need not.
            if has_left || held + quarantined == 0 && !self.is_led() {
                return Ok(());
            }
            if clock::now_ns() >= until_ns {
                bail!(
                    Timeout,
                    "the time to leave is over: {held} bytes of objects are still here, and {quarantined} that somebody may touch"
                );
            }
            std::thread::sleep(clock::until(until_ns).min(TICK));
        }
    }
}
