//! Versions, at compile time and at run time.

use std::ffi::c_char;

/// Version of this header: changes that break source or binary compatibility raise the major number (0.x: the minor).
pub const MC_VERSION_MAJOR: u32 = 0;
/// Raised when functions or fields are added.
pub const MC_VERSION_MINOR: u32 = 1;
/// Raised by corrections.
pub const MC_VERSION_PATCH: u32 = 0;
/// The number in the library's SONAME (libmooncake.so.N): a program works with every library of the same number.
pub const MC_ABI_VERSION: u32 = 0;

/// Returns the version of the loaded library, such as "0.1.0".
///
/// Errors: none. The text is static.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Returns the ABI number of the loaded library, to compare with MC_ABI_VERSION.
///
/// Errors: none.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_abi_version() -> u32 {
    MC_ABI_VERSION
}
