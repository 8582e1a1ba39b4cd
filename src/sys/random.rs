//! Random bytes from the kernel: identities and nonces.

/// Fills an array from getrandom(2), which cannot fail for so few bytes once the system is up.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0u8; N];
    let mut have = 0;
    while have < N {
        // SAFETY: the range lies inside `out`.
        let got = unsafe { libc::getrandom(out[have..].as_mut_ptr().cast(), N - have, 0) };
        if got > 0 {
            have += got as usize;
        }
    }
    out
}
