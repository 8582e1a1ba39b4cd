//! Segments: what a peer offers.

use std::ffi::{c_char, c_void};

use super::boundary::{call, fixed_text, output, slice, slice_mut, text, timeout};
use super::engine::{engine_of, mc_engine_t};
use super::options::{self, Sized32};
use super::status::mc_status_t;

/// A peer's memory as this engine knows it. 0 is never valid.
pub type mc_segment_t = u64;

/// What an open segment is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_segment_info_t {
    /// sizeof(mc_segment_info_t), set by the caller.
    pub struct_size: u32,
    /// Regions known.
    pub region_count: u32,
    /// Name of the peer's engine.
    pub name: [c_char; 128],
    /// Address at which the peer was met.
    pub address: [c_char; 80],
    /// Identity of the peer's engine, 32 hexadecimal digits; another one after it restarted.
    pub engine_id: [c_char; 40],
    /// Path that transfers of ordinary memory take now: "local", "memfd", "cma" or "tcp".
    pub path: [c_char; 16],
    /// Bytes in the regions known.
    pub total_bytes: u64,
    /// It was made by mc_segment_import().
    pub is_imported: bool,
    /// Padding, 0.
    pub reserved: [u8; 7],
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_segment_info_t {}

/// One region that a peer offers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_remote_region_t {
    /// First byte, as the peer's own virtual address: what mc_request_t.remote counts in.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// MC_MEMORY_FLAG_REMOTE_READ, _REMOTE_WRITE
    pub flags: u64,
    /// Path that transfers to this region take now.
    pub path: [c_char; 16],
    /// Location hint of its owner.
    pub location: [c_char; 32],
}

/// What a probe found.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_probe_t {
    /// sizeof(mc_probe_t), set by the caller.
    pub struct_size: u32,
    /// Connections for data that stand.
    pub lanes: u32,
    /// The peer answered.
    pub is_alive: bool,
    /// The peer is another process than the one this segment was opened with.
    pub has_restarted: bool,
    /// Padding, 0.
    pub reserved: [u8; 6],
    /// Milliseconds since the peer was met (alive) or since it last answered (not alive).
    pub since_ms: u64,
    /// Time from question to answer in nanoseconds.
    pub round_trip_ns: u64,
    /// Path that transfers of ordinary memory would take now.
    pub path: [c_char; 16],
    /// Identity of the peer's engine, 32 hexadecimal digits.
    pub engine_id: [c_char; 40],
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_probe_t {}

/// Opens a peer's segment by address or by name, and meets the peer.
///
/// Opening again gives another id of the same connection. A peer that restarts later is met again without any call.
///
/// @param engine  the engine
/// @param name  "host:port", "[IPv6]:port", or a name in the metadata backend
/// @param timeout_ms  milliseconds; 0: do not wait, the first transfer meets the peer; -1: the default deadline
/// @param[out] out_segment  the segment; end it with mc_segment_close()
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_NOT_FOUND (no such name or host),
/// MC_ERR_UNREACHABLE, MC_ERR_UNAUTHENTICATED, MC_ERR_VERSION_MISMATCH, MC_ERR_REJECTED, MC_ERR_EXHAUSTED.
/// Threads: blocks for the peer's answer.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_segment_open(
    engine: *mut mc_engine_t,
    name: *const c_char,
    timeout_ms: i64,
    out_segment: *mut mc_segment_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (name, out) = unsafe { (text(name, "name")?, output(out_segment, "out_segment")?) };
        let name = name.ok_or_else(|| crate::fail!(InvalidArgument, "name is NULL"))?;
        *out = engine.open_segment(name, timeout(timeout_ms, "timeout_ms")?)?;
        Ok(())
    })
}

/// Makes a segment of a peer's blob. Nobody is contacted: the first transfer meets the peer.
///
/// The segment has the regions of the blob and no others. A region that its owner unregistered since fails the
/// transfer with MC_ERR_ADDRESS_NOT_REGISTERED, also when other memory was registered there.
///
/// @param engine  the engine
/// @param blob  [length] bytes from the peer's mc_engine_export()
/// @param length  bytes
/// @param[out] out_segment  the segment; end it with mc_segment_close()
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT (not a blob, or cut), MC_ERR_VERSION_MISMATCH,
/// MC_ERR_EXHAUSTED.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_segment_import(
    engine: *mut mc_engine_t,
    blob: *const c_void,
    length: usize,
    out_segment: *mut mc_segment_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (blob, out) =
            unsafe { (slice(blob.cast::<u8>(), length, "blob")?, output(out_segment, "out_segment")?) };
        *out = engine.import_segment(blob)?;
        Ok(())
    })
}

/// Closes a segment. Transfers under way go on; the last segment of a peer closes its connections.
///
/// @param engine  the engine
/// @param segment  from mc_segment_open() or mc_segment_import()
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_STATE (the local segment).
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_segment_close(engine: *mut mc_engine_t, segment: mc_segment_t) -> mc_status_t {
    call(|| engine_of(engine)?.close_segment(segment))
}

/// Tells what a segment is.
///
/// @param engine  the engine
/// @param segment  an open segment
/// @param[in,out] out_info  struct_size set by the caller
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_segment_get_info(
    engine: *const mc_engine_t,
    segment: mc_segment_t,
    out_info: *mut mc_segment_info_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: writable for its declared size, by the rules in mooncake.h.
        unsafe { options::check_info(out_info, "out_info")? };
        let info = engine.segment_info(segment)?;
        let value = mc_segment_info_t {
            struct_size: 0,
            region_count: info.region_count,
            name: fixed_text(&info.name),
            address: fixed_text(&info.address),
            engine_id: fixed_text(&info.engine_id),
            path: fixed_text(info.path),
            total_bytes: info.total_bytes,
            is_imported: info.is_imported,
            reserved: [0; 7],
        };
        // SAFETY: as above.
        unsafe { options::write(out_info, &value, "out_info") }
    })
}

/// Lists the regions of a segment in the order in which the peer registered them.
///
/// @param engine  the engine
/// @param segment  an open segment
/// @param[out] out_regions  [capacity]; may be NULL when capacity is 0
/// @param capacity  items in out_regions
/// @param[out] out_count  regions there are, also when there was room for fewer
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL (the first `capacity` are written).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_segment_list_regions(
    engine: *const mc_engine_t,
    segment: mc_segment_t,
    out_regions: *mut mc_remote_region_t,
    capacity: usize,
    out_count: *mut usize,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: writable by the rules in mooncake.h.
        let (out, out_count) =
            unsafe { (slice_mut(out_regions, capacity, "out_regions")?, output(out_count, "out_count")?) };
        let regions = engine.segment_regions(segment)?;
        *out_count = regions.len();
        for (slot, region) in out.iter_mut().zip(&regions) {
            *slot = mc_remote_region_t {
                address: region.address,
                length: region.length,
                flags: u64::from(region.permissions),
                path: fixed_text(region.path),
                location: fixed_text(&region.location),
            };
        }
        if regions.len() > capacity {
            crate::bail!(
                BufferTooSmall,
                "the segment has {} regions, there is room for {capacity}",
                regions.len()
            );
        }
        Ok(())
    })
}

/// Asks the peer for its regions anew. Transfers do that by themselves when they meet an unknown address; this is
/// for mc_segment_list_regions().
///
/// @param engine  the engine
/// @param segment  an open segment, not an imported one
/// @param timeout_ms  milliseconds; -1: the default deadline
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_STATE (imported), MC_ERR_TIMEOUT, and those of mc_segment_open().
/// Threads: blocks for the peer's answer.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_segment_refresh(
    engine: *mut mc_engine_t,
    segment: mc_segment_t,
    timeout_ms: i64,
) -> mc_status_t {
    call(|| engine_of(engine)?.refresh_segment(segment, timeout(timeout_ms, "timeout_ms")?))
}

/// Asks whether a peer is alive. A dead peer is an answer, not an error.
///
/// @param engine  the engine
/// @param segment  an open segment
/// @param timeout_ms  milliseconds to wait for the answer; -1: the keepalive time
/// @param[in,out] out_probe  struct_size set by the caller
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the peer's answer.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_segment_probe(
    engine: *mut mc_engine_t,
    segment: mc_segment_t,
    timeout_ms: i64,
    out_probe: *mut mc_probe_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: writable for its declared size, by the rules in mooncake.h.
        unsafe { options::check_info(out_probe, "out_probe")? };
        let probe = engine.probe_segment(segment, timeout(timeout_ms, "timeout_ms")?)?;
        let value = mc_probe_t {
            struct_size: 0,
            lanes: probe.lanes,
            is_alive: probe.is_alive,
            has_restarted: probe.has_restarted,
            reserved: [0; 6],
            since_ms: probe.since.as_millis() as u64,
            round_trip_ns: probe.round_trip.as_nanos() as u64,
            path: fixed_text(probe.path),
            engine_id: fixed_text(&probe.engine_id),
        };
        // SAFETY: as above.
        unsafe { options::write(out_probe, &value, "out_probe") }
    })
}
