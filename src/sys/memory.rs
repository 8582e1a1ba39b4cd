//! Raw memory and I/O vectors: the only place where bytes that C code registered are touched.

use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;

/// Whether a byte of this process can be read; asked of the kernel, so that a wrong address is an answer. Where the kernel
/// does not allow the question, the address is trusted.
pub fn is_readable(address: usize) -> bool {
    let mut byte = 0u8;
    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let there = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: 1 };
    // SAFETY: it writes one byte to `byte`, and reads `address` with the care that the kernel has for other processes.
    let copied =
        unsafe { libc::process_vm_readv(libc::getpid(), &raw const here, 1, &raw const there, 1, 0) };
    copied == 1 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
}

/// A range of this process's memory for whose validity somebody vouched when making it: C code for what it registers,
/// until it unregisters; this library for what it maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mem {
    address: usize,
    length: usize,
}

impl Mem {
    /// # Safety
    /// The range is mapped, and stays mapped and writable (if anything writes to it) as long as the value is used.
    pub const unsafe fn new(address: usize, length: usize) -> Mem {
        Mem { address, length }
    }

    /// A length without memory: nothing may be touched through it.
    pub const fn void(length: usize) -> Mem {
        Mem { address: 0, length }
    }

    /// Bytes that Rust owns. They must outlive the use, which callers show by keeping both in one struct.
    pub fn of(bytes: &[u8]) -> Mem {
        Mem { address: bytes.as_ptr() as usize, length: bytes.len() }
    }

    /// Words that Rust owns and the kernel may change meanwhile. They must outlive the use, as above.
    pub fn of_words(words: &[AtomicU64]) -> Mem {
        Mem { address: words.as_ptr() as usize, length: size_of_val(words) }
    }

    pub const fn address(self) -> usize {
        self.address
    }

    pub const fn len(self) -> usize {
        self.length
    }

    pub const fn is_empty(self) -> bool {
        self.length == 0
    }

    /// A part of the range. A part that reaches outside is a defect, caught here.
    pub fn part(self, offset: usize, length: usize) -> Mem {
        assert!(offset <= self.length && length <= self.length - offset, "part outside of its range");
        Mem { address: self.address + offset, length }
    }

    /// Whether `[address, address + length)` lies inside.
    pub fn contains(self, address: usize, length: usize) -> bool {
        address >= self.address && length <= self.length && address - self.address <= self.length - length
    }

    /// Lets `look` see the bytes. Peers and the application may change them meanwhile; a checksum of such bytes is
    /// wrong, and nothing worse.
    pub fn with_bytes<T>(self, look: impl FnOnce(&[u8]) -> T) -> T {
        // SAFETY: mapped by the promise of `new`; `look` sees plain bytes, of which every pattern is valid.
        look(unsafe { std::slice::from_raw_parts(self.address as *const u8, self.length) })
    }

    /// Copies bytes of ours into the range.
    pub fn write(self, bytes: &[u8]) {
        copy(self, Mem::of(bytes));
    }

    /// Fills the range with one byte.
    pub fn fill(self, byte: u8) {
        // SAFETY: mapped and writable by the promise of `new`.
        unsafe { std::ptr::write_bytes(self.address as *mut u8, byte, self.length) }
    }
}

/// Copies `from` to `to`, which must be as long; they may overlap.
pub fn copy(to: Mem, from: Mem) {
    assert!(to.length == from.length, "copy of ranges of different lengths");
    // SAFETY: both are mapped by the promise of `Mem::new`, and `to` is writable.
    unsafe { std::ptr::copy(from.address as *const u8, to.address as *mut u8, from.length) }
}

/// One element of a vectored read or write.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct IoVec<'a> {
    raw: libc::iovec,
    lifetime: PhantomData<&'a ()>,
}

// SAFETY: an address and a length; what may be done with them is the promise of `Mem`.
unsafe impl Send for IoVec<'_> {}

impl<'a> IoVec<'a> {
    pub fn of(mem: Mem) -> IoVec<'a> {
        IoVec {
            raw: libc::iovec { iov_base: mem.address as *mut _, iov_len: mem.length },
            lifetime: PhantomData,
        }
    }

    pub fn bytes(bytes: &'a [u8]) -> IoVec<'a> {
        IoVec::of(Mem::of(bytes))
    }

    /// For reading into.
    pub fn bytes_mut(bytes: &'a mut [u8]) -> IoVec<'a> {
        IoVec {
            raw: libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() },
            lifetime: PhantomData,
        }
    }

    pub fn len(&self) -> usize {
        self.raw.iov_len
    }

    pub fn is_empty(&self) -> bool {
        self.raw.iov_len == 0
    }
}

/// Most elements that one system call takes.
pub const MAX_IOVECS: usize = 1024;

/// The vectors as the kernel wants them.
pub fn raw_iovecs(vectors: &[IoVec<'_>]) -> *const libc::iovec {
    vectors.as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_refuses_what_wraps_around() {
        let mem = Mem { address: 4096, length: 100 };
        assert!(mem.contains(4096, 100));
        assert!(!mem.contains(4096, 101));
        assert!(!mem.contains(4095, 2));
        assert!(!mem.contains(usize::MAX, 2));
        assert!(!mem.contains(4100, usize::MAX));
    }
}
