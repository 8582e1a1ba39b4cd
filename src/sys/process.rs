//! Other processes of this host: who they are, whether they live, and copying from and to their memory.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::memory::Mem;

/// Which way bytes go, seen from this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    In,
    Out,
}

/// Most pieces that one copy takes.
pub const MAX_PIECES: usize = 16;

/// A handle on a process that stays the same process: a pid alone may be reused.
#[derive(Debug)]
pub struct Process {
    pid: libc::pid_t,
    pidfd: OwnedFd,
}

impl Process {
    pub fn open(pid: i32) -> io::Result<Process> {
        // SAFETY: plain numbers.
        let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, owned by nobody else.
        Ok(Process { pid, pidfd: unsafe { OwnedFd::from_raw_fd(raw as i32) } })
    }

    /// A process that is held already; `pid` is its number here, 0 when this pid namespace does not show it.
    pub fn from_pidfd(pid: i32, pidfd: OwnedFd) -> Process {
        Process { pid, pidfd }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Readable when the process has ended.
    pub fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    pub fn is_alive(&self) -> bool {
        let mut entry = libc::pollfd { fd: self.pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, writable.
        unsafe { libc::poll(&mut entry, 1, 0) == 0 }
    }

    /// Copies at most MAX_PIECES pieces of our memory to or from addresses of the process, in order and with as few calls as it takes.
    /// Returns how many bytes were copied, with the error that ended it before all were.
    pub fn copy(
        &self,
        direction: Direction,
        pieces: impl ExactSizeIterator<Item = (Mem, u64)>,
    ) -> (usize, io::Result<()>) {
        match pieces.len() {
            1 => self.copy_up_to::<1>(direction, pieces),
            _ => self.copy_up_to::<MAX_PIECES>(direction, pieces),
        }
    }

    #[inline]
    fn copy_up_to<const N: usize>(
        &self,
        direction: Direction,
        pieces: impl Iterator<Item = (Mem, u64)>,
    ) -> (usize, io::Result<()>) {
        let none = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let (mut here, mut there) = ([none; N], [none; N]);
        let (mut count, mut total) = (0, 0);
        for (local, remote) in pieces.take(N) {
            here[count] = libc::iovec { iov_base: local.address() as *mut _, iov_len: local.len() };
            there[count] = libc::iovec { iov_base: remote as usize as *mut _, iov_len: local.len() };
            total += local.len();
            count += 1;
        }
        let (mut done, mut first) = (0, 0);
        while done < total {
            let copied = self.call(direction, &here[first..count], &there[first..count]);
            let copied = match usize::try_from(copied) {
                Ok(0) => return (done, Err(io::Error::from_raw_os_error(libc::EFAULT))),
                Ok(copied) => copied,
                Err(_) => return (done, Err(io::Error::last_os_error())),
            };
            done += copied;
            skip(&mut here[first..count], copied);
            first += skip(&mut there[first..count], copied);
        }
        (done, Ok(()))
    }

    fn call(&self, direction: Direction, here: &[libc::iovec], there: &[libc::iovec]) -> isize {
        let (pid, count) = (self.pid, here.len() as libc::c_ulong);
        // SAFETY: the local ranges are valid by the promise of Mem; the kernel checks the remote ones.
        unsafe {
            match direction {
                Direction::In => libc::process_vm_readv(pid, here.as_ptr(), count, there.as_ptr(), count, 0),
                Direction::Out => {
                    libc::process_vm_writev(pid, here.as_ptr(), count, there.as_ptr(), count, 0)
                }
            }
        }
    }
}

/// Takes `copied` bytes off the front; returns how many whole elements went.
fn skip(vectors: &mut [libc::iovec], mut copied: usize) -> usize {
    let mut whole = 0;
    for vector in vectors {
        if copied < vector.iov_len {
            vector.iov_base = (vector.iov_base as usize + copied) as *mut _;
            vector.iov_len -= copied;
            break;
        }
        copied -= vector.iov_len;
        whole += 1;
    }
    whole
}

/// This process's id, as processes of the same pid namespace see it.
pub fn own_pid() -> i32 {
    std::process::id() as i32
}

/// This host's name.
pub fn host_name() -> String {
    let mut buffer = [0u8; 256];
    // SAFETY: the buffer is writable for its size.
    unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len() - 1) };
    let length = buffer.iter().position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// The name that was given for what fails together with this process; without one, the host's.
pub fn domain(given: &str) -> String {
    if given.is_empty() { host_name() } else { given.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_copied_until_one_cannot_be() {
        let me = Process::open(own_pid()).expect("pidfd");
        let (from, to) = ([[1u8; 100], [2; 100]], [[0u8; 100]; 3]);
        let address = |bytes: &[u8; 100]| bytes.as_ptr() as u64;
        let pieces = [
            (Mem::of(&to[0]), address(&from[0])),
            (Mem::of(&to[1]), address(&from[1])),
            (Mem::of(&to[2]), 8),
        ];
        let (done, result) = me.copy(Direction::In, pieces[..2].iter().copied());
        assert_eq!((done, result.is_ok()), (200, true));
        assert_eq!(std::hint::black_box(&to)[..2], from);
        let (done, result) = me.copy(Direction::In, pieces.into_iter());
        assert_eq!((done, result.expect_err("page 0").raw_os_error()), (200, Some(libc::EFAULT)));
    }
}
