//! Am I the child of a fork? A page that the kernel wipes in children answers without a lock or a system call.

use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

static PAGE: AtomicPtr<AtomicU8> = AtomicPtr::new(std::ptr::null_mut());

const PARENT: u8 = 1;

/// True in a process that forked off after this library was used. Threads do not survive a fork, and locks may be
/// held for ever there: nothing of this library can work.
pub fn is_child() -> bool {
    let page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        return map_page();
    }
    // SAFETY: the page is mapped once and never unmapped.
    unsafe { (*page).load(Ordering::Relaxed) != PARENT }
}

#[cold]
fn map_page() -> bool {
    let size = super::mmap::page_size();
    // SAFETY: an anonymous mapping of one page touches nothing that exists.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return false;
    }
    // SAFETY: the page was just mapped. A kernel before 4.14 refuses, and then forks go unnoticed.
    unsafe { libc::madvise(page, size, libc::MADV_WIPEONFORK) };
    let page = page.cast::<AtomicU8>();
    // SAFETY: mapped, writable, zero-filled.
    unsafe { (*page).store(PARENT, Ordering::Relaxed) };
    if PAGE.compare_exchange(std::ptr::null_mut(), page, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: another thread was faster; nobody knows this page.
        unsafe { libc::munmap(page.cast(), size) };
    }
    false
}
