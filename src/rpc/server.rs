//! The side that is called: accepts, bounds what it accepts, and hands calls to a service.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::served::Served;
use super::{Address, Terms};
use crate::error::{Error, Result};
use crate::fail;
use crate::sys::listener::{Accept, Bound, Listener};
use crate::sys::reactor::Reactor;
use crate::sys::unix;

/// Connections that stand at once; what comes beyond that is turned away.
const MAX_CONNECTIONS: usize = 16_384;
/// Connections that have not greeted; beyond that the oldest goes.
const MAX_STRANGERS: usize = 256;

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Of its connection: another connection of the same process has another one.
    pub number: u64,
    /// For the log.
    pub name: String,
}

/// What a server does. Called on the server's workers, for one connection in the order in which calls were sent: it must
/// not wait for anything. UNREACHABLE in an answer says of the call what it says everywhere: nobody carried it out.
pub trait Service: Send + Sync {
    fn call(&self, caller: &Caller, method: u16, body: &[u8], answer: Answer);

    /// The connection ended. What was sent on it before was handed over; nothing more will be.
    fn gone(&self, _caller: &Caller) {}
}

/// Answers one call, at once or later, from any thread. Dropped, it answers that there was none.
pub struct Answer {
    pub(super) served: Option<Arc<Served>>,
    pub(super) id: u64,
}

impl Answer {
    pub fn send(mut self, result: Result<&[u8]>) {
        if let Some(served) = self.served.take() {
            served.answer(self.id, result);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(served) = self.served.take() {
            served.answer(self.id, Err(fail!(Internal, "the call was given up without an answer")));
        }
    }
}

#[derive(Default)]
struct Connections {
    all: HashMap<u64, Arc<Served>>,
    /// Those that have not greeted, the oldest first.
    strangers: BTreeSet<u64>,
}

pub struct Server {
    pub(super) terms: Terms,
    pub(super) service: Arc<dyn Service>,
    pub(super) reactor: Arc<Reactor>,
    listener: Arc<Listener>,
    bound: Address,
    connections: Mutex<Connections>,
    next_number: AtomicU64,
    is_closed: AtomicBool,
    me: Weak<Server>,
}

impl Server {
    pub fn start(
        reactor: &Arc<Reactor>,
        address: &Address,
        terms: Terms,
        service: Arc<dyn Service>,
    ) -> Result<Arc<Server>> {
        let io = |error: std::io::Error| Error::io(format!("listening on {address}"), &error);
        let (listener, bound) = match address {
            Address::Tcp(wanted) => {
                let listener = TcpListener::bind(wanted).map_err(io)?;
                let bound = listener.local_addr().map_err(io)?;
                (Bound::Tcp(listener), Address::Tcp(bound))
            }
            Address::Local(name) => (Bound::Unix(unix::listen_stream(name).map_err(io)?), address.clone()),
        };
        let server = Arc::new_cyclic(|me: &Weak<Server>| Server {
            listener: Listener::new(reactor, "connections of callers", listener, me.clone()),
            terms,
            service,
            reactor: reactor.clone(),
            bound,
            connections: Mutex::default(),
            next_number: AtomicU64::new(1),
            is_closed: AtomicBool::new(false),
            me: me.clone(),
        });
        server.listener.watch().map_err(io)?;
        Ok(server)
    }

    /// Where it listens, with the port that the kernel gave.
    pub fn address(&self) -> &Address {
        &self.bound
    }

    pub fn connection_count(&self) -> usize {
        self.connections.lock().all.len()
    }

    /// Ends connections whose greeting takes too long.
    pub fn tick(&self, now: u64) {
        let strangers: Vec<Arc<Served>> = {
            let connections = self.connections.lock();
            connections.strangers.iter().filter_map(|number| connections.all.get(number).cloned()).collect()
        };
        for stranger in strangers {
            stranger.tick(now);
        }
    }

    /// Listens no more, and ends every connection. Calls that are under way are answered to nobody. Not to be called by
    /// the service.
    pub fn close(&self) {
        if self.is_closed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.listener.close();
        let connections: Vec<Arc<Served>> = self.connections.lock().all.drain().map(|(_, one)| one).collect();
        for connection in connections {
            connection.end();
        }
    }

    fn admit(&self, caller: Caller, socket: TcpStream) -> Result<()> {
        let number = caller.number;
        let served = Served::new(self, caller, socket)?;
        let oldest = {
            let mut connections = self.connections.lock();
            let is_crowded = connections.strangers.len() >= MAX_STRANGERS;
            let oldest = if is_crowded { connections.strangers.pop_first() } else { None };
            connections.strangers.insert(number);
            connections.all.insert(number, served.clone());
            oldest.and_then(|oldest| connections.all.get(&oldest).cloned())
        };
        if let Some(oldest) = oldest {
            oldest.end();
        }
        let watched = served.watch();
        if watched.is_err() || self.is_closed.load(Ordering::SeqCst) {
            served.end();
        }
        watched
    }

    pub(super) fn greeted(&self, caller: &Caller) {
        self.connections.lock().strangers.remove(&caller.number);
    }

    pub(super) fn forget(&self, caller: &Caller) {
        let known = {
            let mut connections = self.connections.lock();
            connections.strangers.remove(&caller.number);
            connections.all.remove(&caller.number)
        };
        drop(known);
    }

    pub(super) fn handle(&self) -> Weak<Server> {
        self.me.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

impl Accept for Server {
    fn accept(&self, socket: TcpStream, from: &dyn Display) {
        if self.connections.lock().all.len() >= MAX_CONNECTIONS {
            return tracing::warn!("{} has {MAX_CONNECTIONS} connections: {from} is turned away", self.bound);
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let caller = Caller { number, name: from.to_string() };
        if let Err(error) = self.admit(caller, socket) {
            tracing::warn!("a connection of {from} to {}: {error}", self.bound);
        }
    }
}
