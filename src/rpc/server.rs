//! The side that is called: accepts, bounds what it accepts, and hands calls to a service.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::served::Served;
use super::{Address, Terms};
use crate::error::{Code, Error, Result};
use crate::sys::listener::{Accept, Bound, Listener};
use crate::sys::reactor::Reactor;
use crate::{bail, fail};

/// Connections that stand at once; what comes beyond that is turned away.
const MAX_CONNECTIONS: usize = 16_384;

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Of its connection: another connection of the same process has another one.
    pub number: u64,
    /// For the log.
    pub name: String,
}

/// What a server does. Called on the server's workers, for one connection in the order in which calls were sent: it must
/// not wait for anything.
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

pub struct Server {
    pub(super) terms: Terms,
    pub(super) service: Arc<dyn Service>,
    pub(super) reactor: Arc<Reactor>,
    listener: Arc<Listener>,
    bound: Address,
    connections: Mutex<HashMap<u64, Arc<Served>>>,
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
            Address::Unix(path) => {
                remove_stale(path)?;
                (Bound::Unix(UnixListener::bind(path).map_err(io)?), address.clone())
            }
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
        self.connections.lock().len()
    }

    /// Ends connections whose greeting takes too long.
    pub fn tick(&self, now: u64) {
        let connections: Vec<Arc<Served>> = self.connections.lock().values().cloned().collect();
        for connection in connections {
            connection.tick(now);
        }
    }

    /// Listens no more, and ends every connection. Calls that are under way are answered to nobody. Not to be called by
    /// the service.
    pub fn close(&self) {
        if self.is_closed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.listener.close();
        if let Address::Unix(path) = &self.bound {
            let _ = std::fs::remove_file(path);
        }
        let connections: Vec<Arc<Served>> = self.connections.lock().drain().map(|(_, one)| one).collect();
        for connection in connections {
            connection.end();
        }
    }

    fn admit(&self, caller: Caller, socket: TcpStream) -> Result<()> {
        let number = caller.number;
        let served = Served::new(self, caller, socket)?;
        self.connections.lock().insert(number, served.clone());
        if self.is_closed.load(Ordering::SeqCst) {
            served.end();
        }
        served.watch()
    }

    pub(super) fn forget(&self, caller: &Caller) {
        let known = self.connections.lock().remove(&caller.number);
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

/// Takes away a socket file that nobody listens on any more.
fn remove_stale(path: &Path) -> Result<()> {
    match UnixStream::connect(path) {
        Ok(_) => bail!(AlreadyExists, "somebody listens on {} already", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .map_err(|error| Error::new(Code::Io, format!("removing {}: {error}", path.display()))),
        // Bound to say what is wrong with the path, if anything is.
        Err(_) => Ok(()),
    }
}

impl Accept for Server {
    fn accept(&self, socket: TcpStream, from: &dyn Display) {
        if self.connections.lock().len() >= MAX_CONNECTIONS {
            return tracing::warn!("{} has {MAX_CONNECTIONS} connections: {from} is turned away", self.bound);
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let caller = Caller { number, name: from.to_string() };
        if let Err(error) = self.admit(caller, socket) {
            tracing::warn!("a connection of {from} to {}: {error}", self.bound);
        }
    }
}
