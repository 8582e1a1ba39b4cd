//! Batches: requests submitted together, and what became of them.

use std::ffi::{c_char, c_void};

use super::boundary::{call, call_status, output, slice, text, timeout};
use super::cq::mc_cq_t;
use super::engine::{engine_of, mc_engine_t};
use super::memory::{at_least_one, mc_span_t};
use super::options::{self, Sized32, check_flags};
use super::segment::mc_segment_t;
use super::status::{MC_OK, mc_status_t};
use crate::bail;
use crate::engine::batch::{BatchInfo, BatchOptions, Local, Notification, Request};
use crate::error::Result;
use crate::transport::Opcode;

/// A set of requests submitted at once. 0 is never valid.
pub type mc_batch_t = u64;

/// Which way the bytes go.
pub type mc_opcode_t = u32;
/// From the segment into local memory.
pub const MC_OPCODE_READ: mc_opcode_t = 1;
/// From local memory into the segment.
pub const MC_OPCODE_WRITE: mc_opcode_t = 2;

/// Which of two batches goes first when both wait for the same link.
pub type mc_priority_t = u32;
/// Between the others.
pub const MC_PRIORITY_NORMAL: mc_priority_t = 0;
/// Before all others: a request whose first token waits.
pub const MC_PRIORITY_HIGH: mc_priority_t = 1;
/// When nothing else waits: replication, prefetch.
pub const MC_PRIORITY_LOW: mc_priority_t = 2;

/// One transfer between local memory and a segment.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_request_t {
    /// MC_OPCODE_*
    pub opcode: mc_opcode_t,
    /// Must be 0.
    pub flags: u32,
    /// Whose memory.
    pub segment: mc_segment_t,
    /// Absolute virtual address in the peer's process.
    pub remote: u64,
    /// Local memory, in one registered region; NULL when `spans` is used.
    pub local: *mut c_void,
    /// Bytes, at least 1; with `spans` their sum.
    pub length: u64,
    /// [span_count] pieces of local memory that follow each other in the peer's; each in one registered region, none
    /// empty. NULL: `local` is used.
    pub spans: *const mc_span_t,
    /// Items in spans.
    pub span_count: usize,
    /// Comes back in the completion.
    pub user_data: u64,
}

/// Deliver one completion for the whole batch instead of one per request.
pub const MC_BATCH_FLAG_COMPLETE_ONCE: u64 = 1;

/// How to run a batch; mc_batch_options_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_batch_options_t {
    /// sizeof(mc_batch_options_t)
    pub struct_size: u32,
    /// MC_PRIORITY_*
    pub priority: mc_priority_t,
    /// MC_BATCH_FLAG_*
    pub flags: u64,
    /// Milliseconds from submit or post until everything that is not done ends with MC_ERR_TIMEOUT or
    /// MC_ERR_UNREACHABLE; 0: the engine's default.
    pub deadline_ms: u64,
    /// Completion queue for the completions; 0: none.
    pub cq: mc_cq_t,
    /// user_data of the completion with MC_BATCH_FLAG_COMPLETE_ONCE.
    pub user_data: u64,
    /// Notification to send when all requests completed and their bytes are visible; NULL: none. Its tag, at most
    /// 255 bytes.
    pub notify_tag: *const c_char,
    /// [notify_length] bytes, copied; may be NULL when the length is 0.
    pub notify_data: *const c_void,
    /// At most MC_NOTIFY_MAX_LENGTH.
    pub notify_length: usize,
    /// Peer to notify; 0: the segment of the first request.
    pub notify_segment: mc_segment_t,
}

// SAFETY: repr(C), size first, zeros are NULLs and defaults.
unsafe impl Sized32 for mc_batch_options_t {}

/// How far a batch is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_batch_info_t {
    /// sizeof(mc_batch_info_t), set by the caller.
    pub struct_size: u32,
    /// MC_OK while nothing failed; else the first failure.
    pub status: mc_status_t,
    /// Every request ended, and the notification, if any, was delivered: no local buffer will be touched again.
    pub is_done: bool,
    /// Padding, 0.
    pub reserved: [u8; 7],
    /// Requests in the batch.
    pub request_count: u64,
    /// Requests that completed.
    pub completed_count: u64,
    /// Requests that failed, timed out or were canceled.
    pub failed_count: u64,
    /// Bytes of completed requests.
    pub completed_bytes: u64,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_batch_info_t {}

/// The completion of one request.
pub const MC_COMPLETION_REQUEST: u32 = 1;
/// The completion of a batch submitted with MC_BATCH_FLAG_COMPLETE_ONCE.
pub const MC_COMPLETION_BATCH: u32 = 2;
/// A notification arrived: receive it with mc_notify_receive().
pub const MC_COMPLETION_NOTIFY: u32 = 3;
/// An operation of a store ended that was submitted with this queue.
pub const MC_COMPLETION_STORE: u32 = 4;

/// What became of a request or a batch.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_completion_t {
    /// From the request, the batch options, mc_notify_bind() or a submit to a store.
    pub user_data: u64,
    /// The batch; 0 for MC_COMPLETION_NOTIFY and _STORE.
    pub batch: mc_batch_t,
    /// Index of the request in its batch; 0 otherwise.
    pub index: u64,
    /// Bytes transferred.
    pub length: u64,
    /// MC_OK, the reason of the failure, or MC_ERR_NOT_READY from mc_batch_task() while it is under way.
    pub status: mc_status_t,
    /// MC_COMPLETION_*
    pub kind: u32,
}

/// # Safety
/// The request's spans are readable.
unsafe fn request(raw: &mc_request_t) -> Result<Request> {
    let opcode = match raw.opcode {
        MC_OPCODE_READ => Opcode::Read,
        MC_OPCODE_WRITE => Opcode::Write,
        other => bail!(InvalidArgument, "opcode is {other}: MC_OPCODE_READ or MC_OPCODE_WRITE"),
    };
    check_flags(u64::from(raw.flags), 0, "flags")?;
    let local = if raw.spans.is_null() {
        if raw.span_count != 0 {
            bail!(InvalidArgument, "spans is NULL but span_count is {}", raw.span_count);
        }
        Local::Contiguous(raw.local as usize)
    } else {
        if !raw.local.is_null() {
            bail!(InvalidArgument, "local and spans are both set");
        }
        // SAFETY: the caller's promise.
        let spans = unsafe { slice(raw.spans, raw.span_count, "spans")? };
        Local::Scattered(spans.iter().map(|span| (span.address as usize, span.length)).collect())
    };
    Ok(Request {
        opcode,
        segment: raw.segment,
        remote: raw.remote,
        length: raw.length,
        local,
        user_data: raw.user_data,
    })
}

/// # Safety
/// `pointer` is NULL or readable for its declared size, its strings too.
unsafe fn read_options(pointer: *const mc_batch_options_t) -> Result<BatchOptions> {
    // SAFETY: the caller's promise.
    let options = unsafe { options::read(pointer, "options")? };
    check_flags(options.flags, MC_BATCH_FLAG_COMPLETE_ONCE, "options->flags")?;
    if options.priority > MC_PRIORITY_LOW {
        bail!(InvalidArgument, "options->priority is {}: MC_PRIORITY_*", options.priority);
    }
    // SAFETY: the caller's promise.
    let (tag, data) = unsafe {
        (
            text(options.notify_tag, "options->notify_tag")?,
            slice(options.notify_data.cast::<u8>(), options.notify_length, "options->notify_data")?,
        )
    };
    if tag.is_none() && (options.notify_length != 0 || options.notify_segment != 0) {
        bail!(InvalidArgument, "options->notify_tag is NULL but other notify fields are set");
    }
    let notify = match tag {
        None => None,
        Some(tag) => Some(Notification::new(tag, data, options.notify_segment)?),
    };
    Ok(BatchOptions {
        verifies_reads: false,
        priority: match options.priority {
            MC_PRIORITY_HIGH => crate::transport::Priority::High,
            MC_PRIORITY_LOW => crate::transport::Priority::Low,
            _ => crate::transport::Priority::Normal,
        },
        complete_once: options.flags & MC_BATCH_FLAG_COMPLETE_ONCE != 0,
        deadline: (options.deadline_ms != 0).then(|| std::time::Duration::from_millis(options.deadline_ms)),
        cq: options.cq,
        user_data: options.user_data,
        notify,
        group: None,
    })
}

/// Starts a batch of transfers and returns at once.
///
/// Requests may go to different segments, and complete in any order. Copies that stay on this host and are small
/// are done when this returns.
///
/// @param engine  the engine
/// @param requests  [count], copied before return, the spans too
/// @param count  at least 1
/// @param options  NULL: normal priority, default deadline, no queue, no notification
/// @param[out] out_batch  the batch; end it with mc_batch_release()
/// Memory: every local range must lie in a registered region, and stays in use until its request ended.
/// Errors: MC_ERR_INVALID_HANDLE (engine, segment or queue), MC_ERR_INVALID_ARGUMENT (which request, and why),
/// MC_ERR_ADDRESS_NOT_REGISTERED (local range), MC_ERR_EXHAUSTED (too much under way, or the queue could overflow).
/// On an error nothing was started.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_batch_submit(
    engine: *mut mc_engine_t,
    requests: *const mc_request_t,
    count: usize,
    options: *const mc_batch_options_t,
    out_batch: *mut mc_batch_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        at_least_one(count)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (requests, options, out) = unsafe {
            (slice(requests, count, "requests")?, read_options(options)?, output(out_batch, "out_batch")?)
        };
        // SAFETY: as above.
        *out = engine.submit(requests.iter().map(|raw| unsafe { request(raw) }), options)?;
        Ok(())
    })
}

/// Checks and resolves a batch without starting it: for transfers that repeat over the same memory.
///
/// @param engine  the engine
/// @param requests  [count], copied before return, the spans too
/// @param count  at least 1
/// @param options  as in mc_batch_submit(); the deadline counts from each post
/// @param[out] out_batch  the batch; start it with mc_batch_post(), end it with mc_batch_release()
/// Memory: the local regions are in use while the batch runs; they may be unregistered between two posts, and then the
/// next post fails.
/// Errors: as mc_batch_submit().
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_batch_prepare(
    engine: *mut mc_engine_t,
    requests: *const mc_request_t,
    count: usize,
    options: *const mc_batch_options_t,
    out_batch: *mut mc_batch_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        at_least_one(count)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (requests, options, out) = unsafe {
            (slice(requests, count, "requests")?, read_options(options)?, output(out_batch, "out_batch")?)
        };
        // SAFETY: as above.
        *out = engine.prepare(requests.iter().map(|raw| unsafe { request(raw) }), options)?;
        Ok(())
    })
}

/// Starts a prepared batch, for the first time or again after it ended. Allocates nothing.
///
/// @param engine  the engine
/// @param batch  from mc_batch_prepare()
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_STATE (not prepared), MC_ERR_BUSY (still under way),
/// MC_ERR_ADDRESS_NOT_REGISTERED (a local region was unregistered since it was prepared), MC_ERR_EXHAUSTED (too much under way, or the queue could overflow).
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_batch_post(engine: *mut mc_engine_t, batch: mc_batch_t) -> mc_status_t {
    call(|| engine_of(engine)?.post(batch))
}

/// Tells how far a batch is. Costs the same for any number of requests, allocates nothing, never blocks.
///
/// @param engine  the engine
/// @param batch  a batch
/// @param[in,out] out_info  struct_size set by the caller
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT. A failed transfer is no error of this call: look at
/// out_info->is_done and ->status.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_batch_poll(
    engine: *mut mc_engine_t,
    batch: mc_batch_t,
    out_info: *mut mc_batch_info_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: writable for its declared size, by the rules in mooncake.h.
        unsafe { options::check_info(out_info, "out_info")? };
        let info = batch_info(engine.poll(batch)?);
        // SAFETY: as above.
        unsafe { options::write(out_info, &info, "out_info") }
    })
}

/// Waits until a batch is done, and returns what became of it.
///
/// @param engine  the engine
/// @param batch  a batch
/// @param timeout_ms  milliseconds; 0 polls, -1 waits until it is done (its deadline bounds that)
/// @param[in,out] out_info  struct_size set by the caller; may be NULL
/// Errors: MC_ERR_NOT_READY (not done after the time), the status of the first request that failed (out_info->is_done
/// is true then), MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks; the waiting thread moves its own bytes where it can.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_batch_wait(
    engine: *mut mc_engine_t,
    batch: mc_batch_t,
    timeout_ms: i64,
    out_info: *mut mc_batch_info_t,
) -> mc_status_t {
    call_status(|| {
        let engine = engine_of(engine)?;
        if !out_info.is_null() {
            // SAFETY: writable for its declared size, by the rules in mooncake.h.
            unsafe { options::check_info(out_info, "out_info")? };
        }
        let info = engine.wait(batch, timeout(timeout_ms, "timeout_ms")?)?;
        let value = batch_info(info);
        if !out_info.is_null() {
            // SAFETY: as above.
            unsafe { options::write(out_info, &value, "out_info")? };
        }
        if !value.is_done {
            bail!(NotReady, "batch {batch:#x} is still under way after {timeout_ms} ms");
        }
        if value.status != MC_OK {
            return Err(engine.batch_error(batch, info));
        }
        Ok(MC_OK)
    })
}

fn batch_info(info: BatchInfo) -> mc_batch_info_t {
    mc_batch_info_t {
        struct_size: 0,
        status: info.status.map_or(MC_OK, |code| code as i32),
        is_done: info.is_done,
        reserved: [0; 7],
        request_count: info.request_count,
        completed_count: info.completed_count,
        failed_count: info.failed_count,
        completed_bytes: info.completed_bytes,
    }
}

/// Tells what became of one request of a batch.
///
/// @param engine  the engine
/// @param batch  a batch
/// @param index  0 to count - 1
/// @param[out] out_completion  its status is MC_ERR_NOT_READY while the request is under way
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT (index).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_batch_task(
    engine: *mut mc_engine_t,
    batch: mc_batch_t,
    index: usize,
    out_completion: *mut mc_completion_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: writable by the rules in mooncake.h.
        let out = unsafe { output(out_completion, "out_completion")? };
        *out = super::cq::completion(&engine.task(batch, index)?);
        Ok(())
    })
}

/// Ends a batch early. What was not sent is not sent; what was sent is waited for, a short while.
///
/// Returns at once: the batch is done soon after, each request with MC_OK (it was faster), MC_ERR_CANCELED (local
/// memory is not touched again, remote memory is final: it holds any mix of old, new and zero bytes in the range) or
/// MC_ERR_UNREACHABLE (the peer did not answer: the remote range is undefined until that peer was met again).
///
/// @param engine  the engine
/// @param batch  a batch; one that is done stays as it is
/// Errors: MC_ERR_INVALID_HANDLE.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_batch_cancel(engine: *mut mc_engine_t, batch: mc_batch_t) -> mc_status_t {
    call(|| engine_of(engine)?.cancel(batch))
}

/// Gives a batch back, at any time. One that is under way is canceled in the background; its completions still reach
/// its queue.
///
/// @param engine  the engine
/// @param batch  a batch
/// Errors: MC_ERR_INVALID_HANDLE.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_batch_release(engine: *mut mc_engine_t, batch: mc_batch_t) -> mc_status_t {
    call(|| engine_of(engine)?.release(batch))
}
