//! The port on which engines of Mooncake read and write this engine's memory: accepts, and bounds what it accepts.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Hub;
use super::served::Served;
use crate::bail;
use crate::error::{Error, Result};
use crate::sys::net;
use crate::sys::reactor::{Interest, Ready, Source, Token};

/// Connections that stand at once; a connection beyond that replaces the one that was idle for the longest time.
const MAX_CONNECTIONS: usize = 16_384;
/// Connections accepted before others of the same worker get their turn.
const TURN: usize = 64;

pub struct Target {
    pub hub: Arc<Hub>,
    /// None once closed: the port is free then.
    listener: Mutex<Option<TcpListener>>,
    bound: SocketAddr,
    token: Token,
    connections: Mutex<HashMap<u64, Arc<Served>>>,
    next_number: AtomicU64,
    is_closed: AtomicBool,
    me: Weak<Target>,
}

impl Target {
    /// Listens on the address of the engine, on the first of the ports that is free (0: one that the kernel gives).
    pub fn start(hub: Arc<Hub>, ip: IpAddr, ports: std::ops::RangeInclusive<u16>) -> Result<Arc<Target>> {
        let io = |error| Error::io("listening for data of Mooncake's engines", &error);
        let mut failure = None;
        let bound = ports.into_iter().find_map(|port| {
            let address = SocketAddr::new(ip, port);
            TcpListener::bind(address).map_err(|error| failure = Some(error)).ok()
        });
        let Some(listener) = bound else {
            return Err(io(failure.unwrap_or_else(|| std::io::ErrorKind::AddrNotAvailable.into())));
        };
        listener.set_nonblocking(true).map_err(io)?;
        let bound = listener.local_addr().map_err(io)?;
        let target = Arc::new_cyclic(|me| Target {
            token: hub.reactor.token(0),
            hub: hub.clone(),
            listener: Mutex::new(None),
            bound,
            connections: Mutex::default(),
            next_number: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            me: me.clone(),
        });
        // Locked, so that a connection that is there already finds the listener.
        let mut slot = target.listener.lock();
        hub.reactor.add_as(target.token, listener.as_fd(), Interest::READ, target.clone()).map_err(io)?;
        *slot = Some(listener);
        drop(slot);
        *hub.target.write() = Arc::downgrade(&target);
        Ok(target)
    }

    pub fn port(&self) -> u16 {
        self.bound.port()
    }

    fn accept(&self) {
        for _ in 0..TURN {
            let accepted = match &*self.listener.lock() {
                Some(listener) => listener.accept(),
                None => return,
            };
            let (socket, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // Out of descriptors, mostly: the kernel keeps the connection waiting.
                    tracing::warn!("accepting a data connection: {error}");
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    return;
                }
            };
            if let Err(error) = self.admit(socket) {
                self.hub.metrics.refused_count.increment();
                tracing::warn!("data connection of {address} refused: {error}");
            }
        }
    }

    fn admit(&self, socket: TcpStream) -> Result<()> {
        let io = |error| Error::io("preparing a data connection", &error);
        let Some(me) = self.me.upgrade() else { bail!(InvalidHandle, "the engine is being destroyed") };
        socket.set_nodelay(true).map_err(io)?;
        net::keep_alive(&socket).map_err(io)?;
        self.make_room();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let mut connections = self.connections.lock();
        if self.is_closed.load(Ordering::Acquire) {
            bail!(InvalidHandle, "the engine is being destroyed");
        }
        let served = Served::start(&me, number, socket)?;
        connections.insert(number, served);
        Ok(())
    }

    fn make_room(&self) {
        let idlest = {
            let connections = self.connections.lock();
            if connections.len() < MAX_CONNECTIONS {
                return;
            }
            connections.values().min_by_key(|served| served.heard_ns()).cloned()
        };
        if let Some(idlest) = idlest {
            self.hub.metrics.refused_count.increment();
            idlest.end();
        }
    }

    pub(super) fn forget(&self, number: u64) {
        self.connections.lock().remove(&number);
    }

    /// Ends connections that stopped in the middle of a request; true while some are in one.
    pub fn tick(&self, now: u64) -> bool {
        let connections: Vec<Arc<Served>> = {
            let connections = self.connections.lock();
            connections.values().filter(|served| served.is_in_request()).cloned().collect()
        };
        connections.iter().for_each(|served| served.tick(now));
        !connections.is_empty()
    }

    /// Ends every connection; on return nothing is applied any more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        if let Some(listener) = self.listener.lock().take() {
            self.hub.reactor.remove(self.token, listener.as_fd());
        }
        let connections: Vec<Arc<Served>> = self.connections.lock().values().cloned().collect();
        connections.iter().for_each(|served| served.end());
    }
}

impl Source for Target {
    fn ready(&self, _: Ready) {
        if !self.is_closed.load(Ordering::Acquire) {
            self.accept();
        }
    }

    fn broken(&self) {
        tracing::error!("the listener for Mooncake's engines failed: they can no longer connect");
    }
}
