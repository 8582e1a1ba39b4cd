//! The control page that an engine shares with one peer process: what the peer may touch, and what it touches now.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bail;
use crate::error::{Context, Result};
use crate::sys::mmap::{self, Mapping};
use crate::transport::{Opcode, PathKind};

/// Regions that one peer may have in use at a time; transfers to others go over the network.
pub const SLOTS: u32 = 4096;
/// A cache line for each: threads in different regions do not slow each other down.
const SLOT_LENGTH: usize = 64;
/// In front of the slots: bytes read and written by each path.
const HEADER_LENGTH: usize = 64;
const LENGTH: usize = (HEADER_LENGTH + SLOTS as usize * SLOT_LENGTH).next_multiple_of(4096);

/// How many counters a page has: memfd and cma, read and written.
pub const COUNTERS: usize = 4;

pub struct Page {
    mapping: Mapping,
}

/// A copy under way, until dropped.
pub struct Inside<'a> {
    in_use: &'a AtomicU64,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // The copy happened before the owner sees this.
        self.in_use.fetch_sub(1, Ordering::Release);
    }
}

impl Page {
    /// A page of the owner, and the file to hand to the peer.
    pub fn create() -> Result<(OwnedFd, Page)> {
        let file = mmap::memory_file("mooncake-control", LENGTH, 0).context("making a control page")?;
        mmap::seal(&file, false).context("sealing a control page")?;
        let mapping = Mapping::of_file(&file, LENGTH, true).context("mapping a control page")?;
        Ok((file, Page { mapping }))
    }

    /// The page that an owner sent. Sealed, of full length and with memory behind it: touching it is no SIGBUS.
    pub fn open(file: &OwnedFd) -> Result<Page> {
        let (length, allocated) = mmap::size_of_file(file).context("looking at the peer's control page")?;
        if !mmap::is_sealed(file) || length != LENGTH || allocated < LENGTH {
            bail!(
                Rejected,
                "the peer's control page is not sealed, or has {length} bytes instead of {LENGTH}"
            );
        }
        let mapping = Mapping::of_file(file, LENGTH, true).context("mapping the peer's control page")?;
        Ok(Page { mapping })
    }

    fn key(&self, slot: u32) -> &AtomicU64 {
        self.mapping.word(HEADER_LENGTH + slot as usize * SLOT_LENGTH)
    }

    fn in_use(&self, slot: u32) -> &AtomicU64 {
        self.mapping.word(HEADER_LENGTH + slot as usize * SLOT_LENGTH + 8)
    }

    /// Owner: the peer may touch the region with this key.
    pub fn grant(&self, slot: u32, key: u64) {
        self.key(slot).store(key, Ordering::SeqCst);
    }

    /// Owner: the peer starts no copy from here on. Those under way are seen by `is_in_use`.
    pub fn revoke(&self, slot: u32) {
        self.key(slot).store(0, Ordering::SeqCst);
    }

    /// Owner: whether the peer is in the middle of a copy.
    pub fn is_in_use(&self, slot: u32) -> bool {
        self.in_use(slot).load(Ordering::SeqCst) != 0
    }

    /// Peer: starts a copy; None when the region is not granted any more. Either the owner's revocation is seen here, or
    /// the owner sees the count: both sides write first and then read.
    pub fn enter(&self, slot: u32, key: u64) -> Option<Inside<'_>> {
        let in_use = self.in_use(slot);
        in_use.fetch_add(1, Ordering::SeqCst);
        let inside = Inside { in_use };
        (self.key(slot).load(Ordering::SeqCst) == key).then_some(inside)
    }

    fn counter(&self, index: usize) -> &AtomicU64 {
        self.mapping.word(index * 8)
    }

    /// Peer: tells the owner, who cannot count it by itself, how many bytes it moved.
    pub fn count(&self, kind: PathKind, opcode: Opcode, bytes: u64) {
        let index = usize::from(kind == PathKind::Cma) * 2 + usize::from(opcode == Opcode::Write);
        self.counter(index).fetch_add(bytes, Ordering::Relaxed);
    }

    /// Owner: memfd read, memfd written, cma read, cma written.
    pub fn counts(&self) -> [u64; COUNTERS] {
        std::array::from_fn(|index| self.counter(index).load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revoked_slot_is_not_entered_and_a_copy_under_way_is_seen() {
        let (file, ours) = Page::create().expect("create");
        let theirs = Page::open(&file).expect("open");
        let last = SLOTS - 1;
        assert!(theirs.enter(last, 7).is_none(), "never granted");
        ours.grant(last, 7);
        let inside = theirs.enter(last, 7).expect("granted");
        ours.revoke(last);
        assert!(ours.is_in_use(last) && !ours.is_in_use(last - 1));
        assert!(theirs.enter(last, 7).is_none());
        drop(inside);
        assert!(!ours.is_in_use(last));
    }

    #[test]
    fn counters_do_not_touch_slots() {
        let (_, page) = Page::create().expect("create");
        page.grant(0, 9);
        page.count(PathKind::Memfd, Opcode::Read, 1);
        page.count(PathKind::Memfd, Opcode::Write, 2);
        page.count(PathKind::Cma, Opcode::Read, 3);
        page.count(PathKind::Cma, Opcode::Write, 4);
        assert_eq!(page.counts(), [1, 2, 3, 4]);
        assert!(page.enter(0, 9).is_some());
    }

    #[test]
    fn a_file_that_can_shrink_or_has_no_memory_is_refused() {
        let unsealed = mmap::memory_file("unsealed", LENGTH, 0).expect("make");
        assert!(Page::open(&unsealed).is_err());
        let short = mmap::memory_file("short", 4096, 0).expect("make");
        mmap::seal(&short, false).expect("seal");
        assert!(Page::open(&short).is_err());
        assert!(Page::open(&crate::sys::reactor::eventfd().expect("eventfd")).is_err());
    }
}
