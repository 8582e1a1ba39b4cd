//! A connection of which is not known yet whose it is: its first bytes say whether it is a peer's or a stranger's.

use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::server::Server;
use crate::error::{Error, Result};
use crate::sys::reactor::{Interest, Ready, Source, Token};
use crate::sys::{clock, net};

/// Bytes that tell.
const FIRST: usize = 8;

pub struct Threshold {
    server: Weak<Server>,
    pub number: u64,
    token: Token,
    /// None once it is decided.
    socket: Mutex<Option<TcpStream>>,
    pub accepted_ns: u64,
}

impl Threshold {
    pub fn start(server: &Arc<Server>, number: u64, socket: TcpStream) -> Result<Arc<Threshold>> {
        let io = |error| Error::io("watching a connection", &error);
        // Woken once, when all of them are there.
        net::readable_from(&socket, FIRST as i32).map_err(io)?;
        let reactor = &server.node.reactor;
        let threshold = Arc::new(Threshold {
            server: Arc::downgrade(server),
            number,
            token: reactor.token(number as usize),
            socket: Mutex::new(None),
            accepted_ns: clock::now_ns(),
        });
        // Locked, so that a connection that has something to read finds its socket.
        let mut slot = threshold.socket.lock();
        reactor.add_as(threshold.token, socket.as_fd(), Interest::READ, threshold.clone()).map_err(io)?;
        *slot = Some(socket);
        drop(slot);
        Ok(threshold)
    }

    pub fn end(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<TcpStream> {
        let socket = self.socket.lock().take()?;
        if let Some(server) = self.server.upgrade() {
            server.node.reactor.remove(self.token, socket.as_fd());
            server.cross(self.number);
        }
        Some(socket)
    }
}

impl Source for Threshold {
    fn ready(&self, _: Ready) {
        let mut first = [0; FIRST];
        let found = match &*self.socket.lock() {
            Some(socket) => net::peek(socket, &mut first),
            None => return,
        };
        let (Some(socket), Some(server)) = (self.take(), self.server.upgrade()) else { return };
        // Fewer: it ended, or broke.
        if found.is_ok_and(|count| count == FIRST) && net::readable_from(&socket, 1).is_ok() {
            server.sort(socket, &first);
        }
    }

    fn broken(&self) {
        self.end();
    }
}
