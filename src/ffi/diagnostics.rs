//! Counters, and what was found on this host.

use std::ffi::c_char;

use super::boundary::{call, fill};
use super::engine::{engine_of, mc_engine_t};
use super::options::{self, Sized32};
use super::status::mc_status_t;

/// Bytes that one path carried.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct mc_path_stats_t {
    /// Read from peers by this engine.
    pub read_bytes: u64,
    /// Written to peers by this engine.
    pub written_bytes: u64,
    /// Read from this engine by peers, as seen here; paths that need no hand of the owner do not count it.
    pub served_read_bytes: u64,
    /// Written into this engine by peers, likewise.
    pub served_written_bytes: u64,
}

/// Counters since the engine was made.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_engine_stats_t {
    /// sizeof(mc_engine_stats_t), set by the caller.
    pub struct_size: u32,
    /// Padding, 0.
    pub reserved: u32,
    /// Within this process.
    pub local: mc_path_stats_t,
    /// Mapped memory of a process on this host.
    pub memfd: mc_path_stats_t,
    /// Cross-memory attach of a process on this host.
    pub cma: mc_path_stats_t,
    /// TCP.
    pub tcp: mc_path_stats_t,
    /// Batches started.
    pub batch_count: u64,
    /// Requests completed.
    pub completed_count: u64,
    /// Requests that ended otherwise.
    pub failed_count: u64,
    /// Slices sent again after a lost connection or a wrong checksum.
    pub retry_count: u64,
    /// Slices whose checksum did not match.
    pub corrupted_count: u64,
    /// Connections that peers opened and this engine accepted.
    pub accepted_count: u64,
    /// Connections, frames and accesses that this engine refused.
    pub refused_count: u64,
    /// Times that a worker thread of this engine woke up.
    pub wakeup_count: u64,
    /// Notifications sent and received.
    pub notify_count: u64,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_engine_stats_t {}

/// Reads an engine's counters.
///
/// @param engine  the engine
/// @param[in,out] out_stats  struct_size set by the caller
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_engine_get_stats(
    engine: *const mc_engine_t,
    out_stats: *mut mc_engine_stats_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: writable for its declared size, by the rules in mooncake.h.
        unsafe { options::check_info(out_stats, "out_stats")? };
        let stats = engine.stats();
        let path = |path: crate::telemetry::metrics::PathStats| mc_path_stats_t {
            read_bytes: path.read_bytes,
            written_bytes: path.written_bytes,
            served_read_bytes: path.served_read_bytes,
            served_written_bytes: path.served_written_bytes,
        };
        let value = mc_engine_stats_t {
            struct_size: 0,
            reserved: 0,
            local: path(stats.local),
            memfd: path(stats.memfd),
            cma: path(stats.cma),
            tcp: path(stats.tcp),
            batch_count: stats.batch_count,
            completed_count: stats.completed_count,
            failed_count: stats.failed_count,
            retry_count: stats.retry_count,
            corrupted_count: stats.corrupted_count,
            accepted_count: stats.accepted_count,
            refused_count: stats.refused_count,
            wakeup_count: stats.wakeup_count,
            notify_count: stats.notify_count,
        };
        // SAFETY: as above.
        unsafe { options::write(out_stats, &value, "out_stats") }
    })
}

/// Writes an engine's counters in Prometheus' text format.
///
/// @param engine  the engine
/// @param[out] buffer  `size` bytes, may be NULL when size is 0; NUL-terminated text
/// @param size  bytes in buffer
/// @param[out] out_length  length of the whole text without its NUL, also when buffer was too small
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_INVALID_STATE (metrics are
/// switched off).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_engine_get_metrics(
    engine: *const mc_engine_t,
    buffer: *mut c_char,
    size: usize,
    out_length: *mut usize,
) -> mc_status_t {
    call(|| {
        let text = engine_of(engine)?.metrics_text()?;
        // SAFETY: writable by the rules in mooncake.h.
        unsafe { fill(text.as_bytes(), true, buffer.cast(), size, out_length) }
    })
}

/// Writes what was found on this host as JSON: what works, what does not, why, and what to do. Needs no engine.
///
/// @param[out] buffer  `size` bytes, may be NULL when size is 0; NUL-terminated text
/// @param size  bytes in buffer
/// @param[out] out_length  length of the whole text without its NUL, also when buffer was too small
/// Errors: MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL.
/// Threads: blocks for a few system calls.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_host_get_report(
    buffer: *mut c_char,
    size: usize,
    out_length: *mut usize,
) -> mc_status_t {
    call(|| {
        let json = crate::telemetry::host::report_json();
        // SAFETY: writable by the rules in mooncake.h.
        unsafe { fill(json.as_bytes(), true, buffer.cast(), size, out_length) }
    })
}
