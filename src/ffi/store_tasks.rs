//! Replicas and segments of the store: copying, moving, draining; quotas; what there is.

use std::ffi::{c_char, c_void};

use super::boundary::{call, fixed_text, output, slice_mut, text, timeout};
use super::options::{self, Sized32};
use super::status::{MC_OK, mc_status_t};
use super::store::*;
use super::store_put::names_of;
use crate::error::Result;
use crate::fail;
use crate::store::client::{Failure, TaskState};

/// Work that the store does by itself. 0 is never valid.
pub type mc_store_task_t = u64;

/// How far such work is.
pub type mc_store_task_state_t = u32;
/// Under way.
pub const MC_STORE_TASK_RUNNING: mc_store_task_state_t = 1;
/// All of it was done.
pub const MC_STORE_TASK_DONE: mc_store_task_state_t = 2;
/// It ended otherwise: the status says why.
pub const MC_STORE_TASK_FAILED: mc_store_task_state_t = 3;
/// mc_store_task_cancel() ended it.
pub const MC_STORE_TASK_CANCELED: mc_store_task_state_t = 4;

/// What a task is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_task_info_t {
    /// sizeof(mc_store_task_info_t), set by the caller.
    pub struct_size: u32,
    /// MC_STORE_TASK_*
    pub state: mc_store_task_state_t,
    /// With MC_STORE_TASK_FAILED: why.
    pub status: mc_status_t,
    /// With a failure: milliseconds after which it is worth trying again; 0: not known.
    pub retry_after_ms: u32,
    /// Objects copied or moved so far.
    pub moved_objects: u64,
    /// Their bytes.
    pub moved_bytes: u64,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_store_task_info_t {}

/// No limit to what a tenant may have.
pub const MC_STORE_NO_QUOTA: u64 = u64::MAX;

/// What a tenant has.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_usage_t {
    /// sizeof(mc_store_usage_t), set by the caller.
    pub struct_size: u32,
    /// Padding, 0.
    pub reserved: u32,
    /// Bytes that its objects take, all replicas counted.
    pub used_bytes: u64,
    /// Bytes that they may take; MC_STORE_NO_QUOTA: no limit.
    pub quota_bytes: u64,
    /// Its objects.
    pub object_count: u64,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_store_usage_t {}

/// A piece of memory that a node gives.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_segment_t {
    /// What it is called.
    pub name: [c_char; 264],
    /// Which start of which process gives it.
    pub node: u64,
    /// Bytes.
    pub capacity: u64,
    /// Bytes that objects take.
    pub used: u64,
    /// Objects may be put there.
    pub is_open: bool,
    /// What it has is being moved away.
    pub is_draining: bool,
    /// Padding, 0.
    pub reserved: [u8; 6],
}

fn error_of(failure: Failure) -> crate::error::Error {
    failure.error
}

/// # Safety
/// `name` is NULL or a text.
unsafe fn segment_of<'a>(name: *const c_char, argument: &str) -> Result<&'a str> {
    // SAFETY: the caller's promise.
    unsafe { text(name, argument)? }.ok_or_else(|| fail!(InvalidArgument, "{argument} is NULL"))
}

/// Begins to make one more replica of an object.
///
/// @param store  the store
/// @param key  [key_length]
/// @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
/// @param preferred  [preferred_count] names of segments, the best one first; NULL with count 0: any
/// @param preferred_count  any number
/// @param timeout_ms  milliseconds for the question; -1: the store's deadline
/// @param[out] out_task  the task: ask mc_store_task_get_info() how far it is
/// Errors: MC_ERR_NOT_FOUND, MC_ERR_BUSY, MC_ERR_NO_SPACE, MC_ERR_QUOTA_EXCEEDED, MC_ERR_NOT_READY, MC_ERR_UNREACHABLE,
/// MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_copy(
    store: *mut mc_store_t,
    key: *const c_void,
    key_length: usize,
    preferred: *const *const c_char,
    preferred_count: usize,
    timeout_ms: i64,
    out_task: *mut mc_store_task_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (key, preferred, out) = unsafe {
            (key_of(key, key_length)?, names_of(preferred, preferred_count)?, output(out_task, "out_task")?)
        };
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        *out = store.store.copy(key, &preferred, deadline).map_err(error_of)?;
        Ok(())
    })
}

/// Begins to move the replica of an object that lies on a segment.
///
/// @param store  the store
/// @param key  [key_length]
/// @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
/// @param segment  name of the segment that it is to leave
/// @param preferred  [preferred_count] names of segments, the best one first; NULL with count 0: any
/// @param preferred_count  any number
/// @param timeout_ms  milliseconds for the question; -1: the store's deadline
/// @param[out] out_task  the task: ask mc_store_task_get_info() how far it is
/// Errors: those of mc_store_copy(); MC_ERR_NOT_FOUND also when no replica lies there.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_move(
    store: *mut mc_store_t,
    key: *const c_void,
    key_length: usize,
    segment: *const c_char,
    preferred: *const *const c_char,
    preferred_count: usize,
    timeout_ms: i64,
    out_task: *mut mc_store_task_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (key, segment, preferred, out) = unsafe {
            (
                key_of(key, key_length)?,
                segment_of(segment, "segment")?,
                names_of(preferred, preferred_count)?,
                output(out_task, "out_task")?,
            )
        };
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        *out = store.store.move_replica(key, segment, &preferred, deadline).map_err(error_of)?;
        Ok(())
    })
}

/// Gives up replicas of an object beyond a number.
///
/// @param store  the store
/// @param key  [key_length]
/// @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
/// @param keep  replicas to keep, at least 1
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// @param[out] out_trimmed  replicas that were given up; may be NULL
/// Errors: MC_ERR_NOT_FOUND, MC_ERR_BUSY, MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE,
/// MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_trim(
    store: *mut mc_store_t,
    key: *const c_void,
    key_length: usize,
    keep: u32,
    timeout_ms: i64,
    out_trimmed: *mut u64,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (key, out) = unsafe { (key_of(key, key_length)?, optional(out_trimmed, "out_trimmed")?) };
        if keep == 0 {
            crate::bail!(InvalidArgument, "keep is 0: mc_store_remove() gives up the last replica, too");
        }
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        let trimmed = store.store.trim(key, keep, deadline).map_err(error_of)?;
        if let Some(out) = out {
            *out = trimmed;
        }
        Ok(())
    })
}

/// Begins to move all that a segment has to others.
///
/// @param store  the store
/// @param segment  name of the segment
/// @param timeout_ms  milliseconds for the question; -1: the store's deadline
/// @param[out] out_task  the task: ask mc_store_task_get_info() how far it is
/// Errors: MC_ERR_NOT_FOUND, MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE,
/// MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_drain(
    store: *mut mc_store_t,
    segment: *const c_char,
    timeout_ms: i64,
    out_task: *mut mc_store_task_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (segment, out) = unsafe { (segment_of(segment, "segment")?, output(out_task, "out_task")?) };
        *out = store.store.drain(segment, timeout(timeout_ms, "timeout_ms")?).map_err(error_of)?;
        Ok(())
    })
}

/// Tells how far a task is. A task that failed is no failure of this call.
///
/// @param store  the store
/// @param task  from mc_store_copy(), mc_store_move() or mc_store_drain()
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// @param[in,out] out_info  struct_size set by the caller
/// Errors: MC_ERR_NOT_FOUND (no such task; one ends with its master, and is forgotten some time after its end),
/// MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_task_get_info(
    store: *mut mc_store_t,
    task: mc_store_task_t,
    timeout_ms: i64,
    out_info: *mut mc_store_task_info_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: writable for its declared size, by the rules in mooncake.h.
        unsafe { options::check_info(out_info, "out_info")? };
        let progress = store.store.task(task, timeout(timeout_ms, "timeout_ms")?).map_err(error_of)?;
        let (state, status, retry_after_ms) = match &progress.state {
            TaskState::Running => (MC_STORE_TASK_RUNNING, MC_OK, 0),
            TaskState::Done => (MC_STORE_TASK_DONE, MC_OK, 0),
            TaskState::Canceled => (MC_STORE_TASK_CANCELED, MC_OK, 0),
            TaskState::Failed(failure) => {
                (MC_STORE_TASK_FAILED, failure.code() as i32, failure.retry_after_ms.unwrap_or(0))
            }
        };
        let value = mc_store_task_info_t {
            struct_size: 0,
            state,
            status,
            retry_after_ms,
            moved_objects: progress.moved_objects,
            moved_bytes: progress.moved_bytes,
        };
        // SAFETY: as above.
        unsafe { options::write(out_info, &value, "out_info") }
    })
}

/// Ends a task early. What it has copied or moved stays so.
///
/// @param store  the store
/// @param task  from mc_store_copy(), mc_store_move() or mc_store_drain()
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// Errors: MC_ERR_NOT_FOUND, MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE,
/// MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_store_task_cancel(
    store: *mut mc_store_t,
    task: mc_store_task_t,
    timeout_ms: i64,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        store.store.cancel_task(task, timeout(timeout_ms, "timeout_ms")?).map_err(error_of)
    })
}

/// Sets how many bytes a tenant may have. What it has above that stays.
///
/// @param store  the store
/// @param tenant  NULL: that of the store
/// @param quota_bytes  MC_STORE_NO_QUOTA: no limit
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// Errors: MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_set_quota(
    store: *mut mc_store_t,
    tenant: *const c_char,
    quota_bytes: u64,
    timeout_ms: i64,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable by the rules in mooncake.h.
        let tenant = unsafe { text(tenant, "tenant")? }.unwrap_or(&store.tenant);
        let bytes = (quota_bytes != MC_STORE_NO_QUOTA).then_some(quota_bytes);
        store.store.set_quota(tenant, bytes, timeout(timeout_ms, "timeout_ms")?).map_err(error_of)
    })
}

/// Tells what a tenant has; one that never put anything has nothing.
///
/// @param store  the store
/// @param tenant  NULL: that of the store
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// @param[in,out] out_usage  struct_size set by the caller
/// Errors: MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_get_usage(
    store: *mut mc_store_t,
    tenant: *const c_char,
    timeout_ms: i64,
    out_usage: *mut mc_store_usage_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable, and writable for its declared size, by the rules in mooncake.h.
        let tenant = unsafe {
            options::check_info(out_usage, "out_usage")?;
            text(tenant, "tenant")?
        };
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        let usage = store.store.usage(tenant.unwrap_or(&store.tenant), deadline).map_err(error_of)?;
        let value = mc_store_usage_t {
            struct_size: 0,
            reserved: 0,
            used_bytes: usage.used_bytes,
            quota_bytes: usage.quota_bytes.unwrap_or(MC_STORE_NO_QUOTA),
            object_count: usage.objects,
        };
        // SAFETY: as above.
        unsafe { options::write(out_usage, &value, "out_usage") }
    })
}

/// Lists the memory that all nodes give.
///
/// @param store  the store
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// @param[out] out_segments  [capacity]; may be NULL when capacity is 0
/// @param capacity  items in out_segments
/// @param[out] out_count  segments there are, also when there was room for fewer
/// Errors: MC_ERR_BUFFER_TOO_SMALL (the first `capacity` are written), MC_ERR_NOT_READY, MC_ERR_UNREACHABLE,
/// MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_list_segments(
    store: *mut mc_store_t,
    timeout_ms: i64,
    out_segments: *mut mc_store_segment_t,
    capacity: usize,
    out_count: *mut usize,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: writable by the rules in mooncake.h.
        let (out, out_count) =
            unsafe { (slice_mut(out_segments, capacity, "out_segments")?, output(out_count, "out_count")?) };
        let segments = store.store.segments(timeout(timeout_ms, "timeout_ms")?).map_err(error_of)?;
        *out_count = segments.len();
        for (slot, segment) in out.iter_mut().zip(&segments) {
            *slot = mc_store_segment_t {
                name: fixed_text(&segment.name),
                node: segment.node.0,
                capacity: segment.capacity,
                used: segment.used,
                is_open: segment.is_open,
                is_draining: segment.is_draining,
                reserved: [0; 6],
            };
        }
        if segments.len() > capacity {
            crate::bail!(BufferTooSmall, "there are {} segments, and room for {capacity}", segments.len());
        }
        Ok(())
    })
}
