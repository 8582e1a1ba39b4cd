//! Sockets: what std lacks, on file descriptors that std owns.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::memory::{IoVec, MAX_IOVECS, raw_iovecs};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn set_option<T>(fd: &impl AsFd, level: libc::c_int, option: libc::c_int, value: T) -> io::Result<()> {
    // SAFETY: the value is readable for its size.
    check(unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    })
    .map(|_| ())
}

/// The first address of `host:port`. It may ask name servers, and wait for them.
pub fn resolve(text: &str) -> io::Result<SocketAddr> {
    text.to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

/// Starts to connect without waiting; the socket becomes writable when it is decided.
pub fn connect_start(address: &SocketAddr) -> io::Result<TcpStream> {
    let (family, storage, length) = raw_address(address);
    // SAFETY: plain numbers.
    let raw = check(unsafe {
        libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
    })?;
    // SAFETY: just opened, owned by nobody else.
    let socket = TcpStream::from(unsafe { OwnedFd::from_raw_fd(raw) });
    // SAFETY: the storage holds an address of `length` bytes.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const storage).cast(), length) };
    if result < 0 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINPROGRESS) {
            return Err(error);
        }
    }
    Ok(socket)
}

/// What became of `connect_start`; on success the socket blocks from now on (calls that must not say so themselves).
pub fn connect_finish(socket: &TcpStream) -> io::Result<()> {
    match socket.take_error()? {
        Some(error) => Err(error),
        None => socket.set_nonblocking(false),
    }
}

fn raw_address(address: &SocketAddr) -> (libc::c_int, libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: zeros are a valid address storage.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: the storage is made to hold any address.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in>().write(raw) };
            (libc::AF_INET, storage, size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { (&raw mut storage).cast::<libc::sockaddr_in6>().write(raw) };
            (libc::AF_INET6, storage, size_of::<libc::sockaddr_in6>() as libc::socklen_t)
        }
    }
}

/// Settings of every connection of ours: small frames leave at once, reads that may block wake up now and then, and
/// unacknowledged data does not linger for minutes on a dead link.
pub fn prepare_stream(socket: &TcpStream, read_timeout: Duration, user_timeout: Duration) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(read_timeout))?;
    let millis = libc::c_uint::try_from(user_timeout.as_millis()).unwrap_or(libc::c_uint::MAX);
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, millis)
}

/// Lets the kernel notice peers that are gone without a word, at no cost to this process.
pub fn keep_alive(socket: &TcpStream) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1 as libc::c_int)?;
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 60 as libc::c_int)?;
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 20 as libc::c_int)
}

/// Whether a call blocks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    Yes,
    No,
}

impl Blocking {
    fn flag(self) -> libc::c_int {
        if self == Blocking::Yes { 0 } else { libc::MSG_DONTWAIT }
    }
}

/// Sends from many places at once; `Ok(None)` when it would block.
pub fn send(socket: &impl AsFd, vectors: &[IoVec<'_>], more: bool) -> io::Result<Option<usize>> {
    // SAFETY: zeros are a valid message header.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = raw_iovecs(vectors).cast_mut();
    message.msg_iovlen = vectors.len().min(MAX_IOVECS) as _;
    let more = if more { libc::MSG_MORE } else { 0 };
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | more;
    retry(|| {
        // SAFETY: the vectors are readable by the promise of Mem.
        unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &message, flags) }
    })
}

/// Receives into many places at once; `Ok(None)` when it would block (or the read timeout passed), `Ok(Some(0))` at the
/// end of the stream.
pub fn receive(socket: &impl AsFd, vectors: &[IoVec<'_>], blocking: Blocking) -> io::Result<Option<usize>> {
    // SAFETY: zeros are a valid message header.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = raw_iovecs(vectors).cast_mut();
    message.msg_iovlen = vectors.len().min(MAX_IOVECS) as _;
    retry(|| {
        // SAFETY: the vectors are writable by the promise of Mem.
        unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &mut message, blocking.flag()) }
    })
}

fn retry(mut call: impl FnMut() -> isize) -> io::Result<Option<usize>> {
    loop {
        let result = call();
        if result >= 0 {
            return Ok(Some(result as usize));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => continue,
            io::ErrorKind::WouldBlock => return Ok(None),
            _ => return Err(error),
        }
    }
}

/// Waits until a socket is readable, at most `timeout`; false when it is not.
pub fn wait_readable(socket: &impl AsFd, timeout: Duration) -> bool {
    let mut entry = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let millis = libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one entry, writable.
    unsafe { libc::poll(&mut entry, 1, millis) > 0 }
}

/// Waits until a socket is writable, at most `timeout`; false when it is not.
pub fn wait_writable(socket: &impl AsFd, timeout: Duration) -> bool {
    let mut entry = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    let millis = libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one entry, writable.
    unsafe { libc::poll(&mut entry, 1, millis) > 0 }
}

/// Looks at the first bytes without taking them; how many there are, 0 when none or at the end.
pub fn peek(socket: &impl AsFd, bytes: &mut [u8]) -> io::Result<usize> {
    let found = retry(|| {
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        // SAFETY: writable for its length.
        unsafe { libc::recv(socket.as_fd().as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), flags) }
    })?;
    Ok(found.unwrap_or(0))
}

/// A socket is readable once so many bytes are there, or its end.
pub fn readable_from(socket: &impl AsFd, bytes: libc::c_int) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes)
}

/// An interface of this host with one of its addresses.
#[derive(Clone, Debug)]
pub struct InterfaceAddress {
    pub interface: String,
    pub address: std::net::IpAddr,
    pub scope_id: u32,
    pub is_up: bool,
    pub is_loopback: bool,
}

/// Every address of this host.
pub fn interface_addresses() -> io::Result<Vec<InterfaceAddress>> {
    let mut head = std::ptr::null_mut();
    // SAFETY: `head` is writable; the list is freed below.
    check(unsafe { libc::getifaddrs(&mut head) })?;
    let mut found = Vec::new();
    let mut next = head;
    while !next.is_null() {
        // SAFETY: an element of the list that getifaddrs made.
        let entry = unsafe { &*next };
        next = entry.ifa_next;
        if entry.ifa_addr.is_null() {
            continue;
        }
        // SAFETY: the address says which family it is.
        let (address, scope_id) = match i32::from(unsafe { (*entry.ifa_addr).sa_family }) {
            libc::AF_INET => {
                // SAFETY: AF_INET means sockaddr_in.
                let raw = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned() };
                (std::net::IpAddr::from(raw.sin_addr.s_addr.to_ne_bytes()), 0)
            }
            libc::AF_INET6 => {
                // SAFETY: AF_INET6 means sockaddr_in6.
                let raw = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
                (std::net::IpAddr::from(raw.sin6_addr.s6_addr), raw.sin6_scope_id)
            }
            _ => continue,
        };
        // SAFETY: the name is NUL-terminated.
        let interface = unsafe { std::ffi::CStr::from_ptr(entry.ifa_name) }.to_string_lossy().into_owned();
        let flags = entry.ifa_flags as libc::c_int;
        found.push(InterfaceAddress {
            interface,
            address,
            scope_id,
            is_up: flags & libc::IFF_UP != 0,
            is_loopback: flags & libc::IFF_LOOPBACK != 0,
        });
    }
    // SAFETY: made by getifaddrs, not used any more.
    unsafe { libc::freeifaddrs(head) };
    Ok(found)
}
