//! Structs that grow: read from a caller that may be older or newer, and written back likewise.

use crate::error::Result;
use crate::{bail, fail};

/// A struct that starts with `uint32_t struct_size` and only ever grows at its end.
///
/// # Safety
/// `repr(C)`, first field a `u32` with the size, valid when all its bytes are zero, no padding that carries meaning.
pub unsafe trait Sized32: Copy {}

/// Smallest struct_size that any release had: the size field and its partner.
const LEAST: usize = 8;

fn declared_size<T: Sized32>(pointer: *const T, name: &str) -> Result<usize> {
    if !pointer.is_aligned() {
        bail!(InvalidArgument, "{name} is not aligned for its type");
    }
    // SAFETY: not NULL (the callers check) and at least the size field is readable, by the rules in mooncake.h.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    if !(LEAST..=1 << 16).contains(&size) {
        bail!(
            InvalidArgument,
            "{name}->struct_size is {size}: set it to sizeof(*{name}), or use the default() function"
        );
    }
    Ok(size)
}

/// Reads an options struct. A shorter one is filled with zeros (which mean "default"); a longer one is accepted when
/// what this library does not know is zero; NULL is all defaults.
///
/// # Safety
/// `pointer` is NULL or readable for the size that it declares.
pub unsafe fn read<T: Sized32>(pointer: *const T, name: &str) -> Result<T> {
    // SAFETY: Sized32 promises that zeros are valid.
    let mut value: T = unsafe { std::mem::zeroed() };
    if pointer.is_null() {
        return Ok(value);
    }
    let size = declared_size(pointer, name)?;
    let known = size.min(size_of::<T>());
    // SAFETY: readable for `size` bytes by the caller's promise; `value` has room for `known`.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut value).cast::<u8>(), known) };
    // SAFETY: the tail lies inside the declared size.
    let tail = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>().add(known), size - known) };
    if tail.iter().any(|byte| *byte != 0) {
        return Err(fail!(
            Unsupported,
            "{name} uses fields that came after this library: upgrade it, or leave them 0"
        ));
    }
    Ok(value)
}

/// Checks an info struct before the call does anything, so that a bad one has no effect.
///
/// # Safety
/// `pointer` is NULL or writable for the size that it declares.
pub unsafe fn check_info<T: Sized32>(pointer: *mut T, name: &str) -> Result<()> {
    if pointer.is_null() {
        bail!(InvalidArgument, "{name} is NULL");
    }
    declared_size(pointer.cast_const(), name).map(|_| ())
}

/// Writes an info struct: an older caller gets the fields it knows, a newer one zeros in those it alone knows.
///
/// # Safety
/// `pointer` is NULL or writable for the size that it declares.
pub unsafe fn write<T: Sized32>(pointer: *mut T, value: &T, name: &str) -> Result<()> {
    // SAFETY: the same promise.
    unsafe { check_info(pointer, name)? };
    let size = declared_size(pointer.cast_const(), name)?;
    let known = size.min(size_of::<T>());
    let bytes = pointer.cast::<u8>();
    // SAFETY: writable for `size` bytes by the caller's promise; struct_size itself stays the caller's.
    unsafe {
        std::ptr::copy_nonoverlapping((&raw const *value).cast::<u8>().add(4), bytes.add(4), known - 4);
        std::ptr::write_bytes(bytes.add(known), 0, size - known);
    }
    Ok(())
}

/// Unknown flag bits are an error, so that a newer caller is told and not misunderstood.
pub fn check_flags(flags: u64, known: u64, name: &str) -> Result<()> {
    if flags & !known != 0 {
        bail!(InvalidArgument, "{name} has unknown flags {:#x}", flags & !known);
    }
    Ok(())
}
