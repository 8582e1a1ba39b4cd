//! Hints to the processor about what will be read.

/// Brings a value near before it is looked at; whoever asks for several at once waits for them once.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    prefetch_at(std::ptr::from_ref(value));
}

/// Brings what comes after a value near, if anything does.
#[inline(always)]
pub fn prefetch_after<T>(value: &T) {
    prefetch_at(std::ptr::from_ref(value).wrapping_add(1));
}

#[inline(always)]
fn prefetch_at<T>(value: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which may be about any address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(value.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) value, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = value;
}
