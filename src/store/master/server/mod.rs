//! A master in a process: a state machine behind a server, with a clock, and with connections to the nodes.
//!
//! ```text
//!   clients, nodes --- call ---> front.rs ---> objects.rs, tasks.rs, nodes.rs ---> core.rs: State behind one lock
//!                                                                                    |            |
//!   nodes <--- orders --- links.rs <--------------- effects -------------------------+            |
//!   callers <--- answers that had to wait --- pending.rs <----------------------------------------+
//! ```
//!
//! Nothing is sent and nobody is answered while the lock is held.

mod attempts;
mod core;
mod counters;
mod feed;
mod front;
mod hot;
mod links;
mod look;
mod nodes;
mod objects;
mod pattern;
mod pending;
mod tasks;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::rpc::{Address, Server, Terms};
use crate::store::object::MasterId;
use crate::store::wire::MASTER_SERVICE;
use crate::sys::random;
use crate::sys::reactor::{Clockwork, Reactor};

use self::core::Core;
use self::front::Front;
use super::{Config, State};

pub use counters::Counted;
pub use feed::{Feed, Told};
pub use hot::HotKey;
pub use look::{Filter, Seen};

/// Most threads that serve calls: they take turns at the state.
const MAX_WORKERS: usize = 16;

/// A call about one key takes less, and its caller is back at once; one about many takes more.
const SHORT_NS: u64 = 15_000;

/// How a master is run.
#[derive(Clone)]
pub struct Options {
    /// Where it listens. Port 0 is one that the kernel gives.
    pub address: SocketAddr,
    /// The key that nodes and clients must have; None: whoever reaches it is let in.
    pub psk: Option<Arc<[u8]>>,
    /// What it is to keep to. Its hash seed is made anew.
    pub config: Config,
    /// Threads that serve calls, 1 to 16.
    pub workers: usize,
    /// Where to say which objects come and go.
    pub feed: Option<Arc<Feed>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0),
            psk: None,
            config: Config::default(),
            workers: 2,
            feed: None,
        }
    }
}

/// A master that runs until it is stopped or dropped. What it knows ends with it, and the nodes tell the next one.
pub struct Master {
    core: Arc<Core>,
    reactor: Arc<Reactor>,
    over_tcp: Arc<Server>,
    over_local: Arc<Server>,
    is_stopped: AtomicBool,
}

impl Master {
    pub fn start(options: Options) -> Result<Arc<Master>> {
        let io = |error: std::io::Error| Error::io("starting a master's threads", &error);
        let workers = options.workers.clamp(1, MAX_WORKERS);
        let reactor = Arc::new(Reactor::start_for_short("master", workers, SHORT_NS).map_err(io)?);
        let started = Master::serve(options, &reactor);
        // Its threads hold what it has begun with.
        started.inspect_err(|_| reactor.stop())
    }

    fn serve(options: Options, reactor: &Arc<Reactor>) -> Result<Arc<Master>> {
        let hash_seed = u64::from_le_bytes(random::bytes());
        let config = Config { hash_seed, notices: options.feed.is_some(), ..options.config };
        let id = MasterId(u64::from_le_bytes(random::bytes()));
        let terms = Terms { service: MASTER_SERVICE, psk: options.psk };
        let local = format!("mooncake-master-{:032x}", u128::from_le_bytes(random::bytes()));
        let core = Core::new(reactor, config, id, local.clone(), terms.psk.clone(), options.feed);
        let serve = |address: Address, is_local: bool| {
            let front = Arc::new(Front { core: core.clone(), is_local });
            Server::start(reactor, &address, terms.clone(), front)
        };
        let over_tcp = serve(Address::Tcp(options.address), false)?;
        let over_local = serve(Address::Local(local), true).inspect_err(|_| over_tcp.close())?;
        let keeper = Keeper { core: core.clone(), servers: [over_tcp.clone(), over_local.clone()] };
        reactor.set_clockwork(Arc::new(keeper));
        tracing::info!(address = %over_tcp.address(), master = id.0, "a master of the store listens");
        let is_stopped = AtomicBool::new(false);
        Ok(Arc::new(Master { core, reactor: reactor.clone(), over_tcp, over_local, is_stopped }))
    }

    /// Where it is found from anywhere, with the port that the kernel gave.
    pub fn address(&self) -> SocketAddr {
        match self.over_tcp.address() {
            Address::Tcp(address) => *address,
            Address::Local(_) => unreachable!("it was started over TCP"),
        }
    }

    /// The local name under which processes of this host find it.
    pub fn local(&self) -> &str {
        self.core.local()
    }

    /// Looks at the state, or changes it as an operator.
    pub fn with<R>(&self, look: impl FnOnce(&mut State, u64) -> R) -> R {
        self.core.work(|inner, now| look(&mut inner.state, now))
    }

    /// Answers what waits, and serves nobody any more. Not to be called from what it calls.
    pub fn stop(&self) {
        if self.is_stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        self.core.give_up("the master is being stopped");
        self.over_tcp.close();
        self.over_local.close();
        self.core.links.close();
        self.reactor.stop();
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Keeps the time.
struct Keeper {
    core: Arc<Core>,
    servers: [Arc<Server>; 2],
}

impl Clockwork for Keeper {
    fn tick(&self, now_ns: u64) -> Option<Duration> {
        // Whoever wakes the worker for something else calls here, too.
        if let Some(left) = self.core.until_due(now_ns) {
            return Some(left);
        }
        self.core.tick(now_ns);
        self.servers.iter().for_each(|server| server.tick(now_ns));
        self.core.until_due(now_ns)
    }
}
