//! The client of the store: puts and gets objects by key. Control goes through `rpc`, bytes through the engine.
//!
//! ```text
//!   put: grant (master) -> prepare, write, commit (nodes) -> commit (master)
//!   get: locate (master, or a lease that is held) -> read, verify (nodes)
//! ```
//! Every operation takes many keys and gives one result for each. A thread that calls waits for the result; many may
//! call at once.

mod background;
mod calls;
mod failure;
mod get;
mod keys;
mod leases;
mod masters;
mod memory;
mod nodes;
mod pieces;
mod put;
mod quick;
mod read;
mod session;
mod tasks;
mod write;

#[cfg(test)]
mod tests;

pub use failure::{Failure, Result};
pub use get::{GetOptions, Got, Part, Wanted};
pub use keys::{Known, Listed, Matching, Removed};
pub use pieces::total;
pub use put::{Put, PutOptions};
pub use session::{GetSession, PutSession};
pub use tasks::{Progress, Segment, TaskState, Usage};

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::engine::Engine;
use crate::error::{self, Context};
use crate::sys::clock;
use crate::sys::errands::Errands;
use crate::sys::process;
use crate::sys::random;
use crate::sys::reactor::{Clockwork, Reactor};

use super::object::{ClientId, MAX_NAME};
use leases::Leases;
use masters::Masters;
use memory::Rooms;
use nodes::Nodes;

/// How a client is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port` of each master there may be.
    pub masters: Vec<String>,
    /// Whose objects these are. Empty is a tenant like any other.
    pub tenant: String,
    pub psk: Option<Arc<[u8]>>,
    /// For operations that name none.
    pub deadline: Duration,
    /// What fails together with this process: where puts go that are to be near. Empty is the host's name.
    pub domain: String,
    /// Calls go over TCP even to masters and nodes of this host.
    pub no_local: bool,
    /// How many objects' leases are remembered; 0 asks the master every time.
    pub lease_cache: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            masters: Vec::new(),
            tenant: String::new(),
            psk: None,
            deadline: Duration::from_secs(10),
            domain: String::new(),
            no_local: false,
            lease_cache: 65_536,
        }
    }
}

pub struct Store {
    id: ClientId,
    tenant: String,
    domain: String,
    deadline: Duration,
    engine: Arc<Engine>,
    reactor: Arc<Reactor>,
    masters: Masters,
    nodes: Nodes,
    leases: Leases,
    rooms: Rooms,
    errands: Errands,
}

impl Store {
    /// Opens a client whose bytes go through this engine. Errors: UNREACHABLE (no master answers in time),
    /// UNAUTHENTICATED, INVALID_ARGUMENT.
    pub fn open(engine: Arc<Engine>, options: &Options) -> error::Result<Arc<Store>> {
        if options.tenant.len() > MAX_NAME {
            crate::bail!(
                InvalidArgument,
                "the tenant's name has {} bytes: {MAX_NAME} at most",
                options.tenant.len()
            );
        }
        let reactor = Arc::new(Reactor::start("store", 1).context("starting a thread")?);
        let opened = Store::assemble(engine, options, &reactor);
        if opened.is_err() {
            reactor.stop();
        }
        opened
    }

    fn assemble(engine: Arc<Engine>, options: &Options, reactor: &Arc<Reactor>) -> error::Result<Arc<Store>> {
        let domain = process::domain(&options.domain);
        // 0 is the writer of what nodes copy.
        let id = ClientId(u64::from_le_bytes(random::bytes()).max(1));
        let masters = Masters::new(options, reactor)?;
        masters.welcome(clock::after(options.deadline))?;
        let store = Arc::new(Store {
            id,
            tenant: options.tenant.clone(),
            domain,
            deadline: options.deadline,
            nodes: Nodes::new(id, options, reactor, &engine),
            masters,
            leases: Leases::new(options.lease_cache),
            rooms: Rooms::new(&engine),
            errands: Errands::default(),
            engine,
            reactor: reactor.clone(),
        });
        reactor.set_clockwork(Arc::new(Clock(Arc::downgrade(&store))));
        Ok(store)
    }

    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Ends the client: what runs in the background ends first, what waits to run does not begin.
    pub fn close(&self) {
        self.errands.close();
        self.reactor.stop();
    }

    fn until(&self, deadline: Option<Duration>) -> u64 {
        clock::after(deadline.unwrap_or(self.deadline))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

/// Ends calls whose time is over.
struct Clock(Weak<Store>);

impl Clockwork for Clock {
    fn tick(&self, now_ns: u64) -> Option<Duration> {
        let store = self.0.upgrade()?;
        let is_busy = store.masters.tick(now_ns) | store.nodes.tick(now_ns);
        Some(Duration::from_millis(if is_busy { 10 } else { 100 }))
    }
}
