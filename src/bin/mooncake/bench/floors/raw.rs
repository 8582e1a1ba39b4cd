//! System calls that the floors make, and memory that they make them on.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use mooncake::sys::memory::Mem;

/// Most pieces of one vectored call.
const PIECES_MAX: usize = 1024;

/// Memory of this process alone, or mapped from a file; given back when dropped.
pub struct Mapped {
    address: usize,
    length: usize,
}

impl Mapped {
    /// Ordinary memory, every page present.
    pub fn anonymous(length: usize) -> Result<Mapped, String> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        Mapped::new(length, flags, -1, 0)
            .map_err(|error| format!("mapping {length} bytes of memory: {error}"))
    }

    pub fn of_file(file: &impl AsRawFd, length: usize, offset: u64) -> Result<Mapped, String> {
        Mapped::new(length, libc::MAP_SHARED | libc::MAP_POPULATE, file.as_raw_fd(), offset)
            .map_err(|error| format!("mapping {length} bytes of a file: {error}"))
    }

    fn new(length: usize, flags: libc::c_int, fd: RawFd, offset: u64) -> io::Result<Mapped> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, fd, offset as libc::off_t) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapped { address: address as usize, length })
    }

    pub fn mem(&self) -> Mem {
        // SAFETY: mapped until drop; whoever takes the value keeps the mapping beside it.
        unsafe { Mem::new(self.address, self.length) }
    }

    /// A number that both processes see, at a multiple of 8 bytes.
    pub fn number(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.length, "number outside of its mapping");
        // SAFETY: inside the mapping, aligned, and only ever used as an atomic.
        unsafe { &*((self.address + offset) as *const AtomicU64) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping.
        unsafe { libc::munmap(self.address as *mut _, self.length) };
    }
}

/// Memory that an engine allocated and keeps until it is destroyed.
pub fn allocated(address: usize, length: usize) -> Mem {
    // SAFETY: the engine's allocation is mapped and writable; its owner keeps the engine beside the value.
    unsafe { Mem::new(address, length) }
}

/// Copies between ranges that do not overlap: what the floor of a copy is.
#[inline]
pub fn copy(to: Mem, from: Mem) {
    assert!(to.len() == from.len(), "copy of ranges of different lengths");
    // SAFETY: both are mapped by the promise of Mem, and belong to different buffers.
    unsafe { std::ptr::copy_nonoverlapping(from.address() as *const u8, to.address() as *mut u8, from.len()) }
}

/// A memory file without a name in any folder.
pub fn memory_file(length: usize) -> Result<OwnedFd, String> {
    // SAFETY: the name is NUL-terminated.
    let raw = unsafe { libc::memfd_create(c"mooncake-bench".as_ptr(), libc::MFD_CLOEXEC) };
    if raw < 0 {
        return Err(format!("making a memory file: {}", io::Error::last_os_error()));
    }
    // SAFETY: just opened, owned by nobody else.
    let file = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: plain numbers.
    if unsafe { libc::ftruncate(file.as_raw_fd(), length as libc::off_t) } < 0 {
        return Err(format!("making a memory file of {length} bytes: {}", io::Error::last_os_error()));
    }
    Ok(file)
}

/// Which way a vectored call moves bytes.
#[derive(Clone, Copy)]
pub enum Way {
    Send,
    Receive,
}

/// Pieces of memory for vectored calls, reused from call to call.
#[derive(Default)]
pub struct Pieces(Vec<libc::iovec>);

// SAFETY: addresses and lengths; what may be done with them is the promise of the Mems they came from.
unsafe impl Send for Pieces {}

impl Pieces {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn push(&mut self, address: usize, length: usize) {
        self.0.push(libc::iovec { iov_base: address as *mut _, iov_len: length });
    }

    /// Moves all pieces through a blocking socket. False: the peer hung up before the first byte.
    pub fn through(&mut self, socket: &impl AsRawFd, way: Way) -> io::Result<bool> {
        let mut rest = &mut self.0[..];
        let mut is_first = true;
        while !rest.is_empty() {
            let count = rest.len().min(PIECES_MAX) as libc::c_int;
            // SAFETY: the pieces are mapped, and writable where they are received into.
            let moved = unsafe {
                match way {
                    Way::Send => libc::writev(socket.as_raw_fd(), rest.as_ptr(), count),
                    Way::Receive => libc::readv(socket.as_raw_fd(), rest.as_ptr(), count),
                }
            };
            match moved {
                0 if is_first => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                ..0 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => continue,
                ..0 => return Err(io::Error::last_os_error()),
                _ => rest = advance(rest, moved as usize),
            }
            is_first = false;
        }
        Ok(true)
    }

    /// Copies all pieces from (`Receive`) or to (`Send`) as many of another process, of the same lengths.
    pub fn across(&self, pid: i32, there: &Pieces, way: Way) -> io::Result<()> {
        for (here, there) in self.0.chunks(PIECES_MAX).zip(there.0.chunks(PIECES_MAX)) {
            let wanted: usize = here.iter().map(|piece| piece.iov_len).sum();
            let (count, other_count) = (here.len() as libc::c_ulong, there.len() as libc::c_ulong);
            // SAFETY: our pieces are mapped, and writable where they are received into; the kernel checks the others.
            let moved = unsafe {
                match way {
                    Way::Send => {
                        libc::process_vm_writev(pid, here.as_ptr(), count, there.as_ptr(), other_count, 0)
                    }
                    Way::Receive => {
                        libc::process_vm_readv(pid, here.as_ptr(), count, there.as_ptr(), other_count, 0)
                    }
                }
            };
            if moved < 0 {
                return Err(io::Error::last_os_error());
            }
            if moved as usize != wanted {
                return Err(io::Error::other(format!("{moved} of {wanted} bytes were copied")));
            }
        }
        Ok(())
    }
}

/// Drops what was moved from the front of the pieces.
fn advance(mut pieces: &mut [libc::iovec], mut moved: usize) -> &mut [libc::iovec] {
    while moved > 0 {
        let piece = &mut pieces[0];
        if moved < piece.iov_len {
            piece.iov_base = (piece.iov_base as usize + moved) as *mut _;
            piece.iov_len -= moved;
            break;
        }
        moved -= piece.iov_len;
        pieces = &mut pieces[1..];
    }
    pieces
}

/// Processor time of this process so far, its kernel part included.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // Not getrusage(): it never goes back, and so hides what follows a reading that was too high.
    // SAFETY: the time is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn many_pieces_go_through_a_socket_in_order() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let data: Vec<u8> = (0..300_000u32).map(|number| number as u8).collect();
        let received = vec![0u8; data.len()];
        let pieces = |bytes: &[u8]| {
            let mut pieces = Pieces::default();
            for chunk in bytes.chunks(113) {
                pieces.push(chunk.as_ptr() as usize, chunk.len());
            }
            pieces
        };
        let mut outgoing = pieces(&data);
        let sender = std::thread::spawn(move || outgoing.through(&here, Way::Send).expect("sending"));
        let mut incoming = pieces(&received);
        assert!(incoming.through(&there, Way::Receive).expect("receiving"));
        assert!(sender.join().expect("the sender ends"));
        assert!(Mem::of(&received).with_bytes(|bytes| bytes == data));
        incoming.push(received.as_ptr() as usize, 1);
        assert!(!incoming.through(&there, Way::Receive).expect("the end"), "the sender hung up");
    }

    #[test]
    fn processor_time_grows() {
        let before = cpu_time();
        while cpu_time() == before {
            std::hint::spin_loop();
        }
    }
}
