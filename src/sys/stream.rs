//! A connection for control traffic: every wait on it ends at a deadline, with TLS or without.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::tls::Tls;

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// A connected stream. What is read or written after the deadline fails with `TimedOut`.
pub struct Stream {
    layer: Layer,
}

enum Layer {
    Plain(Timed),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, Timed>>),
}

struct Timed {
    socket: TcpStream,
    deadline: Instant,
}

impl Stream {
    /// Connects to the first address of a host that answers; the TLS handshake belongs to it.
    pub fn connect(host: &str, port: u16, tls: Option<&Tls>, deadline: Instant) -> io::Result<Stream> {
        let socket = connect(host, port, deadline)?;
        socket.set_nodelay(true)?;
        let timed = Timed { socket, deadline };
        let Some(tls) = tls else { return Ok(Stream { layer: Layer::Plain(timed) }) };
        let name = rustls::pki_types::ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        let session = rustls::ClientConnection::new(tls.config(), name)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let mut stream = rustls::StreamOwned::new(session, timed);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Stream { layer: Layer::Tls(Box::new(stream)) })
    }

    pub fn set_deadline(&mut self, deadline: Instant) {
        match &mut self.layer {
            Layer::Plain(timed) => timed.deadline = deadline,
            Layer::Tls(stream) => stream.sock.deadline = deadline,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.layer {
            Layer::Plain(timed) => timed.read(bytes),
            Layer::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.layer {
            Layer::Plain(timed) => timed.write(bytes),
            Layer::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.layer {
            Layer::Plain(timed) => timed.flush(),
            Layer::Tls(stream) => stream.flush(),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(left_until(self.deadline)?))?;
        self.socket.read(bytes).map_err(as_timeout)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(left_until(self.deadline)?))?;
        self.socket.write(bytes).map_err(as_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket says `WouldBlock` when its time is up.
fn as_timeout(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { timed_out() } else { error }
}

fn timed_out() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "no answer in time")
}

fn left_until(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(timed_out()) } else { Ok(left) }
}

fn connect(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in resolve(host, port, deadline)? {
        match TcpStream::connect_timeout(&address, left_until(deadline)?) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The addresses of a name. The resolver knows no deadline, so it is asked on a thread that may be left behind.
fn resolve(host: &str, port: u16, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let name = host.to_owned();
    std::thread::Builder::new().name("mooncake-resolve".to_owned()).spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs();
        // Nobody waits any more when the deadline has passed.
        let _ = sender.send(found.map(|addresses| addresses.take(ADDRESSES_MAX).collect()));
    })?;
    receiver.recv_timeout(left_until(deadline)?).map_err(|_| timed_out())?
}
