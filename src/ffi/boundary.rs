//! What stands at every edge to C: the panic guard, the last message, the checks of pointers.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::status::{MC_OK, mc_status_t};
use crate::error::{Code, Error, Result};
use crate::{bail, fail, sys};

/// Longest message kept for a thread, its NUL included.
const MESSAGE_SIZE: usize = 1024;

thread_local! {
    // Plain bytes without a destructor: nothing to run when a thread ends after dlclose().
    static MESSAGE: UnsafeCell<[u8; MESSAGE_SIZE]> = const { UnsafeCell::new([0; MESSAGE_SIZE]) };
}

/// This thread's last message, NUL-terminated.
pub fn last_message() -> *const c_char {
    MESSAGE.with(|message| message.get().cast::<c_char>().cast_const())
}

fn keep_message(text: &str) {
    MESSAGE.with(|message| {
        // SAFETY: the cell belongs to this thread, and no reference to it outlives this closure.
        let message = unsafe { &mut *message.get() };
        let mut length = text.len().min(MESSAGE_SIZE - 1);
        while !text.is_char_boundary(length) {
            length -= 1;
        }
        for (slot, byte) in message.iter_mut().zip(text.as_bytes()[..length].iter()) {
            *slot = if *byte == 0 { b' ' } else { *byte };
        }
        message[length] = 0;
    });
}

/// Keeps the error's text for mc_last_error_message() and returns its number.
pub fn report(error: &Error) -> mc_status_t {
    keep_message(error.message());
    error.code as i32
}

/// Runs the body of an exported function: errors become a status and a text, panics too, and a forked child is
/// turned away before it can take a lock that its parent held.
pub fn call(body: impl FnOnce() -> Result<()>) -> mc_status_t {
    call_status(|| body().map(|()| MC_OK))
}

/// As `call`, for the functions whose success has several values.
pub fn call_status(body: impl FnOnce() -> Result<mc_status_t>) -> mc_status_t {
    if sys::fork::is_child() {
        return report(&fail!(
            InvalidState,
            "this process is a fork of the one that loaded the library: exec() first"
        ));
    }
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => report(&error),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic without a text");
            tracing::error!("panic at the C boundary: {text}");
            report(&Error::new(Code::Internal, format!("a defect in this library: {text}")))
        }
    }
}

/// A mandatory output.
///
/// # Safety
/// `pointer` is NULL or writable.
pub unsafe fn output<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T> {
    if pointer.is_null() {
        bail!(InvalidArgument, "{name} is NULL");
    }
    if !pointer.is_aligned() {
        bail!(InvalidArgument, "{name} is not aligned for its type");
    }
    // SAFETY: not NULL, aligned, and writable by the rules in mooncake.h.
    Ok(unsafe { &mut *pointer })
}

/// An input array of `count` items; NULL is allowed for none.
///
/// # Safety
/// `pointer` is NULL or readable for `count` items during the call.
pub unsafe fn slice<'a, T>(pointer: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        bail!(InvalidArgument, "{name} is NULL but its count is {count}");
    }
    if !pointer.is_aligned() || count > isize::MAX as usize / size_of::<T>().max(1) {
        bail!(InvalidArgument, "{name} is not an array of {count} items");
    }
    // SAFETY: not NULL, aligned, and readable by the rules in mooncake.h.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// An output array of `count` items; NULL is allowed for none.
///
/// # Safety
/// `pointer` is NULL or writable for `count` items during the call.
pub unsafe fn slice_mut<'a, T>(pointer: *mut T, count: usize, name: &str) -> Result<&'a mut [T]> {
    if count == 0 {
        return Ok(&mut []);
    }
    // SAFETY: the same promise, checked by the same rules.
    unsafe { slice(pointer, count, name)? };
    // SAFETY: checked above, and writable by the rules in mooncake.h.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, count) })
}

/// An optional text in UTF-8.
///
/// # Safety
/// `pointer` is NULL or a NUL-terminated string that stays readable during the call.
pub unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: NUL-terminated by the rules in mooncake.h.
    let bytes = unsafe { CStr::from_ptr(pointer) };
    bytes.to_str().map(Some).map_err(|_| fail!(InvalidArgument, "{name} is not UTF-8"))
}

/// Copies a text or blob into a caller's buffer: the full length always goes out, a NUL follows when `terminate`.
///
/// # Safety
/// `buffer` is NULL or writable for `size` bytes; `out_length` is NULL or writable.
pub unsafe fn fill(
    bytes: &[u8],
    terminate: bool,
    buffer: *mut u8,
    size: usize,
    out_length: *mut usize,
) -> Result<()> {
    // SAFETY: the caller's promise.
    let out_length = unsafe { output(out_length, "out_length")? };
    // SAFETY: the caller's promise.
    let buffer = unsafe { slice_mut(buffer, size, "buffer")? };
    *out_length = bytes.len();
    let room = if terminate { size.saturating_sub(1) } else { size };
    let copied = bytes.len().min(room);
    let fits = bytes.len() <= room && (size > 0 || !terminate);
    if terminate || fits {
        buffer[..copied].copy_from_slice(&bytes[..copied]);
    }
    if terminate && size > 0 {
        buffer[copied] = 0;
    }
    if !fits {
        bail!(
            BufferTooSmall,
            "{} bytes are needed, the buffer has {size}",
            bytes.len() + usize::from(terminate)
        );
    }
    Ok(())
}

/// Turns the C convention for time-outs into ours: -1 waits for ever, 0 polls.
pub fn timeout(timeout_ms: i64, name: &str) -> Result<Option<std::time::Duration>> {
    match timeout_ms {
        -1 => Ok(None),
        0.. => Ok(Some(std::time::Duration::from_millis(timeout_ms as u64))),
        _ => Err(fail!(InvalidArgument, "{name} is {timeout_ms}: -1 waits for ever, 0 polls")),
    }
}

/// Copies a text into a fixed field of an info struct, cut at a character if it is longer, NUL-terminated.
pub fn fixed_text<const N: usize>(text: &str) -> [c_char; N] {
    let mut field = [0; N];
    let mut length = text.len().min(N - 1);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    for (slot, byte) in field.iter_mut().zip(&text.as_bytes()[..length]) {
        *slot = *byte as c_char;
    }
    field
}
