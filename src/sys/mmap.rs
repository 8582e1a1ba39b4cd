//! Memory files and mappings.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use super::memory::Mem;

pub fn page_size() -> usize {
    // SAFETY: a question without side effects.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// A mapping that is undone when dropped.
#[derive(Debug)]
pub struct Mapping {
    address: usize,
    length: usize,
}

impl Mapping {
    /// Maps `length` bytes of a file, shared, and makes every page present (a hugetlb page that is missing would be a
    /// SIGBUS later).
    pub fn of_file(file: &OwnedFd, length: usize, writable: bool) -> io::Result<Mapping> {
        Mapping::new(file, length, writable, libc::MAP_POPULATE)
    }

    /// As `of_file`, for a file whose pages are all allocated: they are mapped when they are touched, or by `populate`.
    pub fn of_file_lazily(file: &OwnedFd, length: usize, writable: bool) -> io::Result<Mapping> {
        Mapping::new(file, length, writable, 0)
    }

    fn new(file: &OwnedFd, length: usize, writable: bool, flags: libc::c_int) -> io::Result<Mapping> {
        let protection = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let flags = libc::MAP_SHARED | flags;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, file.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { address: address as usize, length })
    }

    /// Maps the pages of a part now. Only for speed: what is refused is mapped when it is touched.
    pub fn populate(&self, offset: usize, length: usize, writable: bool) {
        let part = self.mem().part(offset, length);
        let advice = if writable { libc::MADV_POPULATE_WRITE } else { libc::MADV_POPULATE_READ };
        // SAFETY: the part lies in the mapping, and its content stays.
        unsafe { libc::madvise(part.address() as *mut _, part.len(), advice) };
    }

    /// A word of a mapping that other processes change, too.
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        let part = self.mem().part(offset, size_of::<AtomicU64>());
        assert!(part.address().is_multiple_of(align_of::<AtomicU64>()), "a word that is not aligned");
        // SAFETY: mapped as long as `self`, inside, aligned, and never accessed but as an atomic.
        unsafe { &*(part.address() as *const AtomicU64) }
    }

    pub fn mem(&self) -> Mem {
        // SAFETY: mapped until drop; users keep the mapping beside the value.
        unsafe { Mem::new(self.address, self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping.
        unsafe { libc::munmap(self.address as *mut _, self.length) };
    }
}

const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// Makes a memory file of `length` bytes with every page allocated. `huge_page` is the size of its pages, 0 ordinary.
pub fn memory_file(name: &str, length: usize, huge_page: usize) -> io::Result<OwnedFd> {
    let name = std::ffi::CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let huge = if huge_page == 0 {
        0
    } else {
        libc::MFD_HUGETLB | (huge_page.trailing_zeros() << libc::MFD_HUGE_SHIFT)
    };
    // SAFETY: the name is readable.
    let raw =
        unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | huge) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, owned by nobody else.
    let file = unsafe { OwnedFd::from_raw_fd(raw) };
    let size = length as libc::off_t;
    // fallocate takes the pages now: what cannot be had fails here and not as a SIGBUS in the middle of a copy.
    // SAFETY: plain numbers.
    let is_made = unsafe {
        libc::ftruncate(file.as_raw_fd(), size) == 0 && libc::fallocate(file.as_raw_fd(), 0, 0, size) == 0
    };
    if !is_made {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

/// Forbids for ever that the file changes its size, and with `read_only` that anybody maps it writable from now on.
pub fn seal(file: &OwnedFd, read_only: bool) -> io::Result<()> {
    let future = if read_only { libc::F_SEAL_FUTURE_WRITE } else { 0 };
    // SAFETY: plain numbers.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS | future) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether a file that a peer sent can be mapped without fear: it cannot shrink under the mapping.
pub fn is_sealed(file: &OwnedFd) -> bool {
    // SAFETY: plain numbers.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & SEALS == SEALS
}

/// Size of a file in bytes, and how many of them have memory.
pub fn size_of_file(file: &OwnedFd) -> io::Result<(usize, usize)> {
    // SAFETY: zeros are a valid stat buffer.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the buffer is writable.
    if unsafe { libc::fstat(file.as_raw_fd(), &mut status) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((status.st_size as usize, status.st_blocks as usize * 512))
}

/// Bytes that this process can still have: what the host says is available, and what its control group leaves. Asking for
/// more would not fail but wake the kernel's out-of-memory killer.
pub fn available_memory() -> Option<usize> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let host = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
        line.split_whitespace().nth(1)?.parse::<usize>().ok().map(|kib| kib << 10)
    });
    let group = read("/proc/self/cgroup").and_then(|text| {
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
        let number = |file| read(&format!("/sys/fs/cgroup{path}/{file}"))?.trim().parse::<usize>().ok();
        Some(number("memory.max")?.saturating_sub(number("memory.current")?))
    });
    host.into_iter().chain(group).min()
}

/// Size of the default huge page, if the host has any reserved or may overcommit some.
pub fn huge_page_size() -> Option<usize> {
    let pools = std::fs::read_dir("/sys/kernel/mm/hugepages").ok()?;
    let count = |folder: &std::path::Path, file: &str| -> u64 {
        std::fs::read_to_string(folder.join(file)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    pools
        .flatten()
        .filter_map(|pool| {
            let name = pool.file_name().into_string().ok()?;
            let kib: usize = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let usable =
                count(&pool.path(), "free_hugepages") + count(&pool.path(), "nr_overcommit_hugepages");
            (usable > 0).then_some(kib * 1024)
        })
        .min()
}
