//! The side that is called: accepts, bounds what it accepts, and hands calls to a service.

use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::served::Served;
use super::{Address, Terms};
use crate::error::{Code, Error, Result};
use crate::sys::reactor::{Interest, Reactor, Ready, Source, Token};
use crate::{bail, fail};

/// Connections that stand at once; what comes beyond that is turned away.
const MAX_CONNECTIONS: usize = 16_384;
/// Connections accepted before others of the same worker get their turn.
const TURN: usize = 64;

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

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn accept(&self) -> std::io::Result<(TcpStream, String)> {
        match self {
            Listener::Tcp(listener) => listener.accept().map(|(socket, from)| (socket, from.to_string())),
            // What is done with it later is the same for every stream socket.
            Listener::Unix(listener) => listener
                .accept()
                .map(|(socket, _)| (TcpStream::from(OwnedFd::from(socket)), "this host".into())),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

pub struct Server {
    pub(super) terms: Terms,
    pub(super) service: Arc<dyn Service>,
    pub(super) reactor: Arc<Reactor>,
    /// None once closed: the address is free then.
    listener: Mutex<Option<Listener>>,
    bound: Address,
    token: Token,
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
                listener.set_nonblocking(true).map_err(io)?;
                let bound = listener.local_addr().map_err(io)?;
                (Listener::Tcp(listener), Address::Tcp(bound))
            }
            Address::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path).map_err(io)?;
                listener.set_nonblocking(true).map_err(io)?;
                (Listener::Unix(listener), address.clone())
            }
        };
        let server = Arc::new_cyclic(|me| Server {
            terms,
            service,
            reactor: reactor.clone(),
            listener: Mutex::new(None),
            bound,
            token: reactor.token(0),
            connections: Mutex::default(),
            next_number: AtomicU64::new(1),
            is_closed: AtomicBool::new(false),
            me: me.clone(),
        });
        // Locked, so that a connection that is there already finds the listener.
        let mut slot = server.listener.lock();
        let source = Arc::new(Listening(server.me.clone()));
        reactor.add_as(server.token, listener.fd(), Interest::READ, source).map_err(io)?;
        *slot = Some(listener);
        drop(slot);
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
        let listener = self.listener.lock().take();
        if let Some(listener) = listener {
            self.reactor.remove(self.token, listener.fd());
            if let (Listener::Unix(_), Address::Unix(path)) = (&listener, &self.bound) {
                let _ = std::fs::remove_file(path);
            }
        }
        let connections: Vec<Arc<Served>> = self.connections.lock().drain().map(|(_, one)| one).collect();
        for connection in connections {
            connection.end();
        }
    }

    fn accept(&self) -> Result<()> {
        for _ in 0..TURN {
            let listener = self.listener.lock();
            let Some(open) = &*listener else { return Ok(()) };
            let (socket, name) = match open.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                // Of one that is gone already, or without descriptors: the others are there at the next look.
                Err(error) => bail!(Io, "accepting on {}: {error}", self.bound),
            };
            drop(listener);
            if self.connections.lock().len() >= MAX_CONNECTIONS {
                tracing::warn!("{} has {MAX_CONNECTIONS} connections: {name} is turned away", self.bound);
                continue;
            }
            let number = self.next_number.fetch_add(1, Ordering::Relaxed);
            let caller = Caller { number, name };
            if let Err(error) = self.admit(caller, socket) {
                tracing::warn!("a connection to {}: {error}", self.bound);
            }
        }
        // Others wait for this worker; whoever stands in the queue is seen at the next look.
        Ok(())
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

struct Listening(Weak<Server>);

impl Source for Listening {
    fn ready(&self, _: Ready) {
        let Some(server) = self.0.upgrade() else { return };
        if let Err(error) = server.accept() {
            tracing::warn!("{error}");
        }
    }

    fn broken(&self) {
        if let Some(server) = self.0.upgrade() {
            tracing::error!("{} listens no more, after a defect in this library", server.bound);
            server.close();
        }
    }
}
