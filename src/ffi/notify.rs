//! Notifications: short binary messages to a peer, beside or after its data.

use std::ffi::{c_char, c_void};

use super::boundary::{call, fixed_text, slice, slice_mut, text, timeout};
use super::cq::mc_cq_t;
use super::engine::{engine_of, mc_engine_t};
use super::options::{self, Sized32};
use super::segment::mc_segment_t;
use super::status::mc_status_t;
use crate::engine::batch::Notification;
use crate::{bail, fail};

/// Longest notification in bytes.
pub const MC_NOTIFY_MAX_LENGTH: u64 = 1048576;

/// A notification that was received.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_notify_info_t {
    /// sizeof(mc_notify_info_t), set by the caller.
    pub struct_size: u32,
    /// Padding, 0.
    pub reserved: u32,
    /// Its tag.
    pub tag: [c_char; 256],
    /// Name of the engine that sent it.
    pub sender: [c_char; 128],
    /// Identity of the engine that sent it, 32 hexadecimal digits.
    pub sender_id: [c_char; 40],
    /// Its bytes, also when the buffer was too small.
    pub length: u64,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_notify_info_t {}

/// Sends a notification and waits until the peer's engine has it.
///
/// Not ordered with batches under way: to tell a peer that its data is there, name the notification in the batch.
///
/// @param engine  the engine
/// @param segment  the peer; the local segment sends to this engine itself
/// @param tag  at most 255 bytes; NULL: ""
/// @param data  [length] bytes; may be NULL when length is 0
/// @param length  0 to MC_NOTIFY_MAX_LENGTH
/// @param timeout_ms  milliseconds; -1: the default deadline
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_TIMEOUT (it may still arrive), MC_ERR_EXHAUSTED (the
/// peer's queue is full), and those of mc_segment_open().
/// Threads: blocks for the peer's answer.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_notify_send(
    engine: *mut mc_engine_t,
    segment: mc_segment_t,
    tag: *const c_char,
    data: *const c_void,
    length: usize,
    timeout_ms: i64,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: readable by the rules in mooncake.h.
        let (tag, data) = unsafe { (text(tag, "tag")?, slice(data.cast::<u8>(), length, "data")?) };
        let notification = Notification::new(tag.unwrap_or(""), data, segment)?;
        engine.notify(notification, timeout(timeout_ms, "timeout_ms")?)
    })
}

/// Takes the oldest notification, or the oldest with a tag.
///
/// One that does not fit into the buffer stays: out_info tells its length.
///
/// @param engine  the engine
/// @param tag  only those with this tag; NULL: any
/// @param timeout_ms  milliseconds; 0 polls, -1 waits for ever
/// @param[out] buffer  `size` bytes; may be NULL when size is 0
/// @param size  bytes in buffer
/// @param[in,out] out_info  struct_size set by the caller
/// Errors: MC_ERR_NOT_READY (none came), MC_ERR_BUFFER_TOO_SMALL (out_info is written), MC_ERR_INVALID_HANDLE,
/// MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_notify_receive(
    engine: *mut mc_engine_t,
    tag: *const c_char,
    timeout_ms: i64,
    buffer: *mut c_void,
    size: usize,
    out_info: *mut mc_notify_info_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (tag, buffer) = unsafe {
            options::check_info(out_info, "out_info")?;
            (text(tag, "tag")?, slice_mut(buffer.cast::<u8>(), size, "buffer")?)
        };
        let taken = engine
            .receive_notification(tag, timeout(timeout_ms, "timeout_ms")?, size)?
            .ok_or_else(|| fail!(NotReady, "no notification came"))?;
        let value = mc_notify_info_t {
            struct_size: 0,
            reserved: 0,
            tag: fixed_text(&taken.tag),
            sender: fixed_text(&taken.sender),
            sender_id: fixed_text(&taken.sender_id),
            length: taken.length as u64,
        };
        // SAFETY: as above.
        unsafe { options::write(out_info, &value, "out_info")? };
        let Some(data) = taken.data else {
            bail!(BufferTooSmall, "the notification has {} bytes, the buffer {size}", taken.length);
        };
        buffer[..data.len()].copy_from_slice(&data);
        Ok(())
    })
}

/// Announces notifications on a completion queue: each that arrives puts one MC_COMPLETION_NOTIFY there, for which
/// one mc_notify_receive() with the same tag finds one. They do not count against the queue's capacity.
///
/// @param engine  the engine
/// @param tag  only those with this tag; NULL: those whose tag is bound to no queue
/// @param cq  the queue; 0: no longer announce
/// @param user_data  comes back in the completion
/// Errors: MC_ERR_INVALID_HANDLE (engine or queue), MC_ERR_INVALID_ARGUMENT, MC_ERR_EXHAUSTED (65,536 tags are bound).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_notify_bind(
    engine: *mut mc_engine_t,
    tag: *const c_char,
    cq: mc_cq_t,
    user_data: u64,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: readable by the rules in mooncake.h.
        let tag = unsafe { text(tag, "tag")? };
        engine.bind_notifications(tag, cq, user_data)
    })
}
