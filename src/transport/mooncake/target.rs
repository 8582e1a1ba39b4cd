//! The port on which engines of Mooncake read and write this engine's memory: accepts, and bounds what it accepts.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Hub;
use super::served::Served;
use crate::bail;
use crate::error::{Error, Result};
use crate::sys::listener::{Accept, Bound, Listener};
use crate::sys::net;

/// Connections that stand at once; a connection beyond that replaces the one that was idle for the longest time.
const MAX_CONNECTIONS: usize = 16_384;

pub struct Target {
    pub hub: Arc<Hub>,
    listener: Arc<Listener>,
    port: u16,
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
        let port = listener.local_addr().map_err(io)?.port();
        let target = Arc::new_cyclic(|me: &Weak<Target>| Target {
            listener: Listener::new(
                &hub.reactor,
                "data connections of Mooncake's engines",
                Bound::Tcp(listener),
                me.clone(),
            ),
            hub: hub.clone(),
            port,
            connections: Mutex::default(),
            next_number: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            me: me.clone(),
        });
        target.listener.watch().map_err(io)?;
        *hub.target.write() = Arc::downgrade(&target);
        Ok(target)
    }

    pub fn port(&self) -> u16 {
        self.port
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
        self.listener.close();
        let connections: Vec<Arc<Served>> = self.connections.lock().values().cloned().collect();
        connections.iter().for_each(|served| served.end());
    }
}

impl Accept for Target {
    fn accept(&self, socket: TcpStream, from: &dyn Display) {
        if let Err(error) = self.admit(socket) {
            self.hub.metrics.refused_count.increment();
            tracing::warn!("data connection of {from} refused: {error}");
        }
    }
}
