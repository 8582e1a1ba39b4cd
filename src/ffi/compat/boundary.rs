//! The edge as Mooncake's callers know it: negative numbers, positive ones, or a value that means failure.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use super::layout::{notify_msg, transfer_request};
use super::status::{negative, positive};
use crate::compat::{Session, Transfer, opcode_of};
use crate::error::{Code, Context, Result};
use crate::fail;
use crate::ffi::boundary::{call, last_message, text};
use crate::ffi::live;

/// The session behind a handle that C holds.
pub fn session_of(engine: *mut c_void) -> Result<Arc<Session>> {
    live::session(engine as u64)
}

/// Most functions: 0, or a negative number. A failure is logged, since few callers ask for its text.
pub fn or_negative(name: &str, body: impl FnOnce() -> Result<()>) -> c_int {
    logged(name, body).map_or(0, negative)
}

/// Functions of batches: 0, or a positive number.
pub fn or_positive(name: &str, body: impl FnOnce() -> Result<()>) -> c_int {
    logged(name, body).map_or(0, positive)
}

/// As `or_positive`, for what is called in a loop: a program that loops on a failure does not fill its log.
pub fn or_positive_quietly(body: impl FnOnce() -> Result<()>) -> c_int {
    Code::from_raw(call(body)).map_or(0, positive)
}

/// A value, or the one that means failure.
pub fn or_else<T>(name: &str, failure: T, body: impl FnOnce() -> Result<T>) -> T {
    let mut value = failure;
    logged(name, || {
        value = body()?;
        Ok(())
    });
    value
}

fn logged(name: &str, body: impl FnOnce() -> Result<()>) -> Option<Code> {
    let code = Code::from_raw(call(body))?;
    log_failure(name);
    Some(code)
}

/// Tells the log what this thread's last failure was.
pub fn log_failure(name: &str) {
    if crate::sys::fork::is_child() {
        // A log may take a lock that a thread of the parent held when it forked.
        return;
    }
    // SAFETY: this thread's message, NUL-terminated, which lives as long as the thread.
    let message = unsafe { std::ffi::CStr::from_ptr(last_message()) };
    tracing::warn!("{name}: {}", message.to_string_lossy());
}

/// A mandatory text.
///
/// # Safety
/// `pointer` is NULL or a NUL-terminated string that stays readable during the call.
pub unsafe fn required<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    // SAFETY: the caller's promise.
    unsafe { text(pointer, name)? }.ok_or_else(|| fail!(InvalidArgument, "{name} is NULL"))
}

/// A request in our terms.
pub fn transfer_of(index: usize, request: &transfer_request) -> Result<Transfer> {
    Ok(Transfer {
        opcode: opcode_of(request.opcode).context(format_args!("request {index}"))?,
        source: request.source as usize,
        segment: request.target_id,
        remote: request.target_offset,
        length: request.length,
    })
}

/// Name and bytes of a message; NULL counts as empty.
///
/// # Safety
/// Both pointers are NULL or NUL-terminated strings that stay readable during the call.
pub unsafe fn letter_of<'a>(message: &notify_msg) -> Result<(&'a str, &'a [u8])> {
    // SAFETY: the caller's promise.
    let name = unsafe { text(message.name, "notify_msg.name")? }.unwrap_or("");
    let bytes = match message.msg.is_null() {
        true => &[],
        // SAFETY: not NULL, NUL-terminated by the caller's promise.
        false => unsafe { std::ffi::CStr::from_ptr(message.msg) }.to_bytes(),
    };
    Ok((name, bytes))
}
