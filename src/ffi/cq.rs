//! Completion queues: for callers with an event loop.

use super::batch::mc_completion_t;
use super::boundary::{call, output, slice_mut, timeout};
use super::engine::{engine_of, mc_engine_t};
use super::memory::at_least_one;
use super::options::{self, Sized32};
use super::status::{MC_OK, mc_status_t};
use crate::engine::cq::Completion;

/// A queue of completions that belongs to whoever made it. 0 is never valid.
pub type mc_cq_t = u64;

/// How to make a queue; mc_cq_options_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_cq_options_t {
    /// sizeof(mc_cq_options_t)
    pub struct_size: u32,
    /// Completions it can hold, at most 16,777,216; 0: 65,536. Batches that could overflow it are refused.
    pub capacity: u32,
}

// SAFETY: repr(C), size first, zeros are defaults.
unsafe impl Sized32 for mc_cq_options_t {}

/// Makes a completion queue.
///
/// @param engine  the engine
/// @param options  NULL: all defaults
/// @param[out] out_cq  the queue; end it with mc_cq_destroy()
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_EXHAUSTED, MC_ERR_IO (no file descriptor left).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_cq_create(
    engine: *mut mc_engine_t,
    options: *const mc_cq_options_t,
    out_cq: *mut mc_cq_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, out) = unsafe { (options::read(options, "options")?, output(out_cq, "out_cq")?) };
        *out = engine.create_cq(options.capacity as usize)?;
        Ok(())
    })
}

/// Ends a queue and wakes who waits on it. Batches that name it go on; their completions go nowhere.
///
/// @param engine  the engine
/// @param cq  a queue
/// Errors: MC_ERR_INVALID_HANDLE.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_cq_destroy(engine: *mut mc_engine_t, cq: mc_cq_t) -> mc_status_t {
    call(|| engine_of(engine)?.destroy_cq(cq))
}

/// Takes completions that are there. Allocates nothing, never blocks.
///
/// @param engine  the engine
/// @param cq  a queue
/// @param[out] out_completions  [capacity]
/// @param capacity  at least 1
/// @param[out] out_count  completions taken, may be 0
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_cq_poll(
    engine: *mut mc_engine_t,
    cq: mc_cq_t,
    out_completions: *mut mc_completion_t,
    capacity: usize,
    out_count: *mut usize,
) -> mc_status_t {
    // SAFETY: the same contract, without waiting.
    unsafe { mc_cq_wait(engine, cq, 0, out_completions, capacity, out_count) }
}

/// Takes completions, waiting for the first.
///
/// @param engine  the engine
/// @param cq  a queue
/// @param timeout_ms  milliseconds; 0 polls, -1 waits for ever
/// @param[out] out_completions  [capacity]
/// @param capacity  at least 1
/// @param[out] out_count  completions taken; 0 after the time
/// Errors: MC_ERR_INVALID_HANDLE (also when the queue is destroyed meanwhile), MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_cq_wait(
    engine: *mut mc_engine_t,
    cq: mc_cq_t,
    timeout_ms: i64,
    out_completions: *mut mc_completion_t,
    capacity: usize,
    out_count: *mut usize,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        at_least_one(capacity)?;
        // SAFETY: writable by the rules in mooncake.h.
        let (out, out_count) = unsafe {
            (slice_mut(out_completions, capacity, "out_completions")?, output(out_count, "out_count")?)
        };
        let mut taken = 0;
        engine.take_completions(cq, timeout(timeout_ms, "timeout_ms")?, capacity, &mut |item| {
            out[taken] = completion(item);
            taken += 1;
        })?;
        *out_count = taken;
        Ok(())
    })
}

/// Returns a file descriptor that is readable while the queue is not empty: for poll, epoll or select.
///
/// It belongs to the queue: do not read or close it.
///
/// @param engine  the engine
/// @param cq  a queue
/// @param[out] out_fd  the descriptor
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_cq_event_fd(
    engine: *mut mc_engine_t,
    cq: mc_cq_t,
    out_fd: *mut i32,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: writable by the rules in mooncake.h.
        let out = unsafe { output(out_fd, "out_fd")? };
        *out = engine.cq_event_fd(cq)?;
        Ok(())
    })
}

/// The C form of a completion.
pub fn completion(item: &Completion) -> mc_completion_t {
    mc_completion_t {
        user_data: item.user_data,
        batch: item.batch,
        index: item.index,
        length: item.length,
        status: item.status.map_or(MC_OK, |code| code as i32),
        kind: item.kind as u32,
    }
}

const _: () = {
    use crate::engine::cq::Kind;
    assert!(Kind::Request as u32 == super::batch::MC_COMPLETION_REQUEST);
    assert!(Kind::Batch as u32 == super::batch::MC_COMPLETION_BATCH);
    assert!(Kind::Notify as u32 == super::batch::MC_COMPLETION_NOTIFY);
    assert!(Kind::Store as u32 == super::batch::MC_COMPLETION_STORE);
};
