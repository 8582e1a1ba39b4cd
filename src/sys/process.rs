//! Other processes of this host: who they are, whether they live, and copying from and to their memory.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::memory::Mem;

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

    /// Copies from the process's memory into ours; the whole of it or an error.
    pub fn read(&self, to: Mem, from: u64) -> io::Result<()> {
        self.copy(to, from, |pid, local, remote| {
            // SAFETY: the local range is valid by the promise of Mem; the kernel checks the remote one.
            unsafe { libc::process_vm_readv(pid, local, 1, remote, 1, 0) }
        })
    }

    /// Copies from our memory into the process's; the whole of it or an error.
    pub fn write(&self, from: Mem, to: u64) -> io::Result<()> {
        self.copy(from, to, |pid, local, remote| {
            // SAFETY: as above.
            unsafe { libc::process_vm_writev(pid, local, 1, remote, 1, 0) }
        })
    }

    fn copy(
        &self,
        local: Mem,
        remote: u64,
        call: impl Fn(libc::pid_t, *const libc::iovec, *const libc::iovec) -> isize,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < local.len() {
            let rest = local.part(done, local.len() - done);
            let here = libc::iovec { iov_base: rest.address() as *mut _, iov_len: rest.len() };
            let there = libc::iovec { iov_base: (remote as usize + done) as *mut _, iov_len: rest.len() };
            let copied = call(self.pid, &here, &there);
            if copied < 0 {
                return Err(io::Error::last_os_error());
            }
            if copied == 0 {
                return Err(io::Error::from_raw_os_error(libc::EFAULT));
            }
            done += copied as usize;
        }
        Ok(())
    }
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
