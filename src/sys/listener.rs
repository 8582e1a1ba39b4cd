//! A socket that listens: one worker accepts, a few at a time, and hands on.

use std::fmt::Display;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::clock;
use super::reactor::{Interest, Reactor, Ready, Source, Token};

/// Connections accepted before others of the worker get their turn: a flood does not starve them.
const TURN: usize = 64;

/// What fails again and again is said this often.
const WARN_EVERY_NS: u64 = 1_000_000_000;

/// Who wants the connections.
pub trait Accept: Send + Sync {
    /// One came, from there.
    fn accept(&self, socket: TcpStream, from: &dyn Display);
}

/// A bound socket.
pub enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Bound {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Bound::Tcp(listener) => listener.as_fd(),
            Bound::Unix(listener) => listener.as_fd(),
        }
    }

    fn accept(&self) -> io::Result<(TcpStream, Box<dyn Display>)> {
        match self {
            Bound::Tcp(listener) => {
                listener.accept().map(|(socket, from)| (socket, Box::new(from) as Box<dyn Display>))
            }
            Bound::Unix(listener) => {
                let (socket, _) = listener.accept()?;
                // What is done with it is the same for every stream socket.
                Ok((TcpStream::from(OwnedFd::from(socket)), Box::new("this host")))
            }
        }
    }
}

pub struct Listener {
    /// What is listened for, in the log.
    what: &'static str,
    reactor: Arc<Reactor>,
    token: Token,
    /// None once closed: the address is free then.
    bound: Mutex<Option<Bound>>,
    to: Weak<dyn Accept>,
    warned_ns: AtomicU64,
}

impl Listener {
    /// Accepts once it is watched.
    pub fn new(
        reactor: &Arc<Reactor>,
        what: &'static str,
        bound: Bound,
        to: Weak<dyn Accept>,
    ) -> Arc<Listener> {
        let (token, bound) = (reactor.token(0), Mutex::new(Some(bound)));
        Arc::new(Listener { what, reactor: reactor.clone(), token, bound, to, warned_ns: AtomicU64::new(0) })
    }

    /// From here on connections are handed on.
    pub fn watch(self: &Arc<Self>) -> io::Result<()> {
        let bound = self.bound.lock();
        let Some(open) = &*bound else { return Ok(()) };
        match open {
            Bound::Tcp(listener) => listener.set_nonblocking(true)?,
            Bound::Unix(listener) => listener.set_nonblocking(true)?,
        }
        self.reactor.add_as(self.token, open.fd(), Interest::READ, self.clone())
    }

    pub fn close(&self) {
        if let Some(bound) = self.bound.lock().take() {
            self.reactor.remove(self.token, bound.fd());
        }
    }
}

impl Source for Listener {
    fn ready(&self, _: Ready) {
        let Some(to) = self.to.upgrade() else { return };
        for _ in 0..TURN {
            let accepted = match &*self.bound.lock() {
                Some(bound) => bound.accept(),
                None => return,
            };
            match accepted {
                Ok((socket, from)) => to.accept(socket, &from),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // Out of descriptors, mostly: the kernel keeps the connection waiting, and calls again.
                    let now = clock::now_ns();
                    if now.saturating_sub(self.warned_ns.load(Ordering::Relaxed)) > WARN_EVERY_NS {
                        self.warned_ns.store(now, Ordering::Relaxed);
                        tracing::warn!("accepting {}: {error}", self.what);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                    return;
                }
            }
        }
    }

    fn broken(&self) {
        tracing::error!("accepting {} failed in this library: nobody else can connect", self.what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::Ipv4Addr;

    struct Kept(Mutex<Vec<TcpStream>>);

    impl Accept for Kept {
        fn accept(&self, socket: TcpStream, from: &dyn Display) {
            assert!(from.to_string().starts_with("127.0.0.1:"));
            self.0.lock().push(socket);
        }
    }

    #[test]
    fn connections_are_handed_on_until_it_is_closed_and_the_port_is_free_then() {
        let reactor = Arc::new(Reactor::start("listen", 1).expect("a thread"));
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = bound.local_addr().expect("its address");
        // More than one turn of them, and all there before anybody looks.
        let clients: Vec<_> = (0..TURN + 8).map(|_| TcpStream::connect(address).expect("connect")).collect();
        let kept = Arc::new(Kept(Mutex::default()));
        let to: Weak<dyn Accept> = Arc::downgrade(&kept) as Weak<dyn Accept>;
        let listener = Listener::new(&reactor, "a test", Bound::Tcp(bound), to);
        listener.watch().expect("watched");
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while kept.0.lock().len() < clients.len() {
            assert!(std::time::Instant::now() < until, "{} connections", kept.0.lock().len());
            std::thread::sleep(Duration::from_millis(1));
        }
        kept.0.lock()[0].write_all(b"x").expect("connected");
        listener.close();
        assert!(TcpStream::connect(address).is_err());
        TcpListener::bind(address).expect("the port is free");
    }
}
