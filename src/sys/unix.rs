//! Unix sockets: packets that keep their bounds, carry file descriptors, and know the process at the other end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::process::Process;

/// Connections that wait to be accepted.
const BACKLOG: libc::c_int = 128;
/// Descriptors that one packet may bring; more are closed by the kernel.
const MAX_DESCRIPTORS: usize = 4;
/// Gives a pidfd of the process that made the other end: since Linux 6.5, also across pid namespaces.
const SO_PEERPIDFD: libc::c_int = 77;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn own(raw: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: just opened, owned by nobody else.
    check(raw).map(|raw| unsafe { OwnedFd::from_raw_fd(raw) })
}

/// An address in the abstract namespace, which belongs to the network namespace and leaves no file behind.
fn abstract_address(name: &[u8]) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
    // SAFETY: zeros are a valid address.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= address.sun_path.len() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, from) in address.sun_path[1..].iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    // With the NUL before the name.
    let length = size_of::<libc::sa_family_t>() + 1 + name.len();
    Ok((address, length as libc::socklen_t))
}

fn socket(kind: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    own(unsafe { libc::socket(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) })
}

/// Connects to whoever `listen_stream`s under this name: decided at once. `WouldBlock` says that too many wait there already.
pub fn connect_stream(name: &str) -> io::Result<OwnedFd> {
    let (address, length) = abstract_address(name.as_bytes())?;
    let socket = socket(libc::SOCK_STREAM)?;
    // SAFETY: the address is readable for its length.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(socket)
}

/// Listens under an abstract name for streams of bytes.
pub fn listen_stream(name: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// Listens under an abstract name. Nothing here ever blocks.
pub fn listen(name: &[u8]) -> io::Result<OwnedFd> {
    let (address, length) = abstract_address(name)?;
    let socket = socket(libc::SOCK_SEQPACKET)?;
    // SAFETY: the address is readable for its length.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    // SAFETY: plain numbers.
    check(unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) })?;
    Ok(socket)
}

/// Connects to whoever listens under an abstract name of this network namespace: decided at once.
pub fn connect(name: &[u8]) -> io::Result<OwnedFd> {
    let (address, length) = abstract_address(name)?;
    let socket = socket(libc::SOCK_SEQPACKET)?;
    // SAFETY: the address is readable for its length.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(socket)
}

/// The next connection, None when there is none.
pub fn accept(listener: &OwnedFd) -> io::Result<Option<OwnedFd>> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the address is not asked for.
    let raw =
        unsafe { libc::accept4(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    match own(raw) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Room for the control message that carries descriptors, aligned as its header wants it.
#[repr(C)]
union Control {
    header: libc::cmsghdr,
    space: [u8; 64],
}

// SAFETY: a sum of sizes.
const _: () = assert!(unsafe { libc::CMSG_SPACE((MAX_DESCRIPTORS * size_of::<libc::c_int>()) as u32) } <= 64);

/// Sends one packet, with a descriptor if one is given; false when the other side does not empty its queue.
pub fn send(socket: &OwnedFd, packet: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<bool> {
    let mut part = libc::iovec { iov_base: packet.as_ptr() as *mut _, iov_len: packet.len() };
    let mut control = Control { space: [0; 64] };
    // SAFETY: zeros are a valid message header.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(descriptor) = descriptor {
        let size = size_of::<libc::c_int>() as libc::c_uint;
        message.msg_control = (&raw mut control).cast();
        // SAFETY: a sum of sizes.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(size) } as _;
        // SAFETY: the control buffer holds one header and one descriptor, as asserted above.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            libc::CMSG_DATA(header).cast::<libc::c_int>().write_unaligned(descriptor.as_raw_fd());
        }
    }
    loop {
        // SAFETY: packet and control buffer are readable; the kernel keeps nothing.
        let sent =
            unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
        if sent >= 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => continue,
            io::ErrorKind::WouldBlock => return Ok(false),
            _ => return Err(error),
        }
    }
}

/// Receives one packet with the descriptors that it brought: None when there is none, `Some(0)` at the end. A packet
/// longer than the buffer is an error.
pub fn receive(
    socket: &OwnedFd,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<Option<usize>> {
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut control = Control { space: [0; 64] };
    // SAFETY: zeros are a valid message header.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    let received = loop {
        // SAFETY: buffer and control buffer are writable for their lengths.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) };
        if received >= 0 {
            break received as usize;
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => continue,
            io::ErrorKind::WouldBlock => return Ok(None),
            _ => return Err(error),
        }
    };
    take_descriptors(&message, descriptors);
    if message.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok(Some(received))
}

/// Takes what the kernel put into this process's table: each is owned from here on, wanted or not.
fn take_descriptors(message: &libc::msghdr, descriptors: &mut Vec<OwnedFd>) {
    // SAFETY: the kernel filled the control buffer; the macros stay within its length.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<libc::c_int>();
                for index in 0..bytes / size_of::<libc::c_int>() {
                    descriptors.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}

fn option<T: Copy>(socket: &OwnedFd, name: libc::c_int, mut value: T) -> io::Result<T> {
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value is writable for its length.
    check(unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &mut length)
    })?;
    Ok(value)
}

/// The process at the other end: the one that connected, or the one that listens. Its pid is 0 when this process's pid
/// namespace does not show it.
pub fn peer_process(socket: &OwnedFd) -> io::Result<Process> {
    let credentials = option(socket, libc::SO_PEERCRED, libc::ucred { pid: 0, uid: 0, gid: 0 })?;
    match option(socket, SO_PEERPIDFD, -1).and_then(own) {
        Ok(pidfd) => Ok(Process::from_pidfd(credentials.pid, pidfd)),
        Err(error) if error.raw_os_error() != Some(libc::ENOPROTOOPT) => Err(error),
        Err(_) if credentials.pid <= 0 => Err(io::Error::other(
            "its process lives in another pid namespace, and this kernel (before 6.5) cannot watch it",
        )),
        Err(_) => Process::open(credentials.pid),
    }
}

/// Ends both directions, whoever else holds the socket.
pub fn hang_up(socket: &OwnedFd) {
    // SAFETY: plain numbers.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}

/// False once the other side closed its end.
pub fn is_connected(socket: &OwnedFd) -> bool {
    let mut entry = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry, writable.
    unsafe { libc::poll(&mut entry, 1, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let name = format!("mooncake-test-{:02x?}", super::super::random::bytes::<8>());
        let listener = listen(name.as_bytes()).expect("listen");
        let here = connect(name.as_bytes()).expect("connect");
        let there = accept(&listener).expect("accept").expect("one waits");
        (here, there)
    }

    #[test]
    fn packets_keep_their_bounds_and_bring_descriptors() {
        let (here, there) = pair();
        let event = crate::sys::reactor::eventfd().expect("eventfd");
        assert!(send(&here, b"one", Some(event.as_fd())).expect("send"));
        assert!(send(&here, b"three", None).expect("send"));
        let (mut buffer, mut descriptors) = ([0; 16], Vec::new());
        assert_eq!(receive(&there, &mut buffer, &mut descriptors).expect("receive"), Some(3));
        assert_eq!((&buffer[..3], descriptors.len()), (&b"one"[..], 1));
        assert_eq!(receive(&there, &mut buffer, &mut descriptors).expect("receive"), Some(5));
        assert_eq!(receive(&there, &mut buffer, &mut descriptors).expect("receive"), None);
        drop(here);
        assert!(!is_connected(&there));
        assert_eq!(receive(&there, &mut buffer, &mut descriptors).expect("receive"), Some(0));
    }

    #[test]
    fn a_packet_that_does_not_fit_is_an_error() {
        let (here, there) = pair();
        send(&here, &[7; 100], None).expect("send");
        assert!(receive(&there, &mut [0; 10], &mut Vec::new()).is_err());
    }

    #[test]
    fn the_process_at_the_other_end_is_known() {
        let (here, there) = pair();
        for socket in [&here, &there] {
            let process = peer_process(socket).expect("known");
            assert_eq!(process.pid(), crate::sys::process::own_pid());
            assert!(process.is_alive());
        }
    }
}
