//! TCP: several connections per pair of engines. One carries control messages, the others data; requests on one
//! connection are answered in order, and many are under way on each.

mod greet;
mod lane;
mod link;
pub mod messages;
mod server;
mod session;
mod stream;
mod threshold;
pub mod wire;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::config::{Checksum, Config};
use crate::segment::descriptor::EngineId;
use crate::segment::memory::MemoryTable;
use crate::sys::reactor::Reactor;
use crate::telemetry::metrics::Metrics;

pub use link::Link;
pub use server::Server;

use super::{Contact, ContactEvents, Deliver, Greeting, Reply, ShmOffer};

/// Makes the offer.
pub type ShmSource = Box<dyn Fn() -> Option<ShmOffer> + Send + Sync>;

/// What every connection of one engine shares.
pub struct Node {
    pub id: EngineId,
    pub name: String,
    pub memory: Arc<MemoryTable>,
    pub metrics: Arc<Metrics>,
    pub reactor: Arc<Reactor>,
    pub inbox: Arc<dyn Deliver>,
    pub psk: Option<Vec<u8>>,
    pub checksum: Checksum,
    pub lanes: usize,
    pub keepalive: Duration,
    addresses: RwLock<Vec<String>>,
    shm: OnceLock<ShmSource>,
    links: Mutex<Vec<Weak<Link>>>,
    server: RwLock<Weak<Server>>,
}

impl Node {
    pub fn new(
        config: &Config,
        id: EngineId,
        memory: Arc<MemoryTable>,
        metrics: Arc<Metrics>,
        reactor: Arc<Reactor>,
        inbox: Arc<dyn Deliver>,
    ) -> Arc<Node> {
        Arc::new(Node {
            id,
            name: config.name.clone(),
            memory,
            metrics,
            reactor,
            inbox,
            psk: config.psk.clone(),
            checksum: config.checksum,
            lanes: config.lanes as usize,
            keepalive: config.keepalive,
            addresses: RwLock::default(),
            shm: OnceLock::new(),
            links: Mutex::default(),
            server: RwLock::new(Weak::new()),
        })
    }

    /// Where peers find this engine.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.read().clone()
    }

    /// What authenticated peers are told of a better way within this host; asked when the first one is told.
    pub fn set_shm(&self, source: ShmSource) {
        // Set once, when the engine is made.
        let _ = self.shm.set(source);
    }

    fn shm(&self) -> Option<ShmOffer> {
        self.shm.get().and_then(|source| source())
    }

    /// Looks after time-outs; true while something is under way that needs the clock.
    pub fn tick(&self, now: u64) -> bool {
        let links: Vec<Arc<Link>> = {
            let mut links = self.links.lock();
            links.retain(|link| link.strong_count() > 0);
            links.iter().filter_map(Weak::upgrade).collect()
        };
        // Every one is asked, also when the first is busy.
        let busy = links.iter().filter(|link| link.tick(now)).count();
        let server_busy = self.server.read().upgrade().is_some_and(|server| server.tick(now));
        busy > 0 || server_busy
    }

    /// When to look again although nothing is under way.
    pub fn next_keepalive(&self) -> Option<Duration> {
        let mut links = self.links.lock();
        links.retain(|link| link.strong_count() > 0);
        (!links.is_empty()).then_some(IDLE_TICK)
    }

    /// Starts the clock, when something came up that needs it.
    fn start_clock(&self) {
        self.reactor.wake(0);
    }
}

/// How often an engine with peers and nothing to do looks at them.
const IDLE_TICK: Duration = Duration::from_secs(5);
