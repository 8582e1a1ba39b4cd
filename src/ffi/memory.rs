//! Memory: what this engine reads, writes and offers to its peers.

use std::ffi::{c_char, c_void};

use super::boundary::{call, fixed_text, output, slice, slice_mut, text};
use super::engine::{engine_of, mc_engine_t};
use super::options::{self, Sized32, check_flags};
use super::status::{MC_OK, mc_status_t};
use crate::error::Result;
use crate::segment::memory::{MemoryOptions, REMOTE_READ, REMOTE_WRITE};

/// One registration of memory. 0 is never valid.
pub type mc_region_t = u64;

/// Peers may read the region.
pub const MC_MEMORY_FLAG_REMOTE_READ: u64 = 1;
/// Peers may write the region.
pub const MC_MEMORY_FLAG_REMOTE_WRITE: u64 = 2;
/// Peers may do neither: the region is only a source or destination of this engine's own transfers.
pub const MC_MEMORY_FLAG_LOCAL_ONLY: u64 = 4;
/// mc_memory_allocate: insist on huge pages instead of falling back to ordinary ones.
pub const MC_MEMORY_FLAG_HUGE_PAGES: u64 = 8;
/// mc_memory_unregister, mc_memory_free: MC_ERR_BUSY instead of waiting.
pub const MC_MEMORY_FLAG_NO_WAIT: u64 = 16;

/// How to register or allocate memory; mc_memory_options_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_memory_options_t {
    /// sizeof(mc_memory_options_t)
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// MC_MEMORY_FLAG_REMOTE_READ, _REMOTE_WRITE, _LOCAL_ONLY, _HUGE_PAGES; none of the first three: peers may read
    /// and write.
    pub flags: u64,
    /// Where the memory is, such as "cpu:0"; at most 31 bytes, shown to peers. NULL: "*", unknown.
    pub location: *const c_char,
}

// SAFETY: repr(C), size first, zeros are NULLs and defaults.
unsafe impl Sized32 for mc_memory_options_t {}

/// A range of this process's memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_span_t {
    /// First byte.
    pub address: *mut c_void,
    /// Bytes.
    pub length: usize,
}

/// What a registration is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_memory_info_t {
    /// sizeof(mc_memory_info_t), set by the caller.
    pub struct_size: u32,
    /// Times it was registered (identical registrations share one region).
    pub reference_count: u32,
    /// First byte.
    pub address: *mut c_void,
    /// Bytes.
    pub length: usize,
    /// MC_MEMORY_FLAG_REMOTE_READ and _REMOTE_WRITE as they hold; _HUGE_PAGES when it lies on such.
    pub flags: u64,
    /// Transfers of this engine under way from or to it.
    pub use_count: u64,
    /// Made by mc_memory_allocate().
    pub is_allocated: bool,
    /// Padding, 0.
    pub reserved: [u8; 7],
    /// Location hint.
    pub location: [c_char; 32],
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_memory_info_t {}

const REGISTER_FLAGS: u64 =
    MC_MEMORY_FLAG_REMOTE_READ | MC_MEMORY_FLAG_REMOTE_WRITE | MC_MEMORY_FLAG_LOCAL_ONLY;

/// # Safety
/// `pointer` is NULL or readable for its declared size, its string too.
unsafe fn read_options(pointer: *const mc_memory_options_t, known: u64) -> Result<MemoryOptions> {
    // SAFETY: the caller's promise.
    let options = unsafe { options::read(pointer, "options")? };
    check_flags(options.flags, known, "options->flags")?;
    check_flags(u64::from(options.reserved), 0, "options->reserved")?;
    let both = u64::from(REMOTE_READ | REMOTE_WRITE);
    let asked = options.flags & both;
    let local_only = options.flags & MC_MEMORY_FLAG_LOCAL_ONLY != 0;
    if local_only && asked != 0 {
        crate::bail!(InvalidArgument, "MC_MEMORY_FLAG_LOCAL_ONLY excludes _REMOTE_READ and _REMOTE_WRITE");
    }
    let permissions = if local_only {
        0
    } else if asked == 0 {
        both
    } else {
        asked
    };
    Ok(MemoryOptions {
        permissions: permissions as u32,
        // SAFETY: the caller's promise.
        location: unsafe { text(options.location, "options->location")? }.unwrap_or("*").to_owned(),
        insist_on_huge_pages: options.flags & MC_MEMORY_FLAG_HUGE_PAGES != 0,
    })
}

/// Registers memory, so that this engine may transfer from and to it and, unless forbidden, its peers too.
///
/// Registering the identical range again returns the same region and counts; a contained or overlapping range is a
/// region of its own; a longer range at the same address too. All may be unregistered in any order. Registering costs
/// no pinning and no system call; the memory must stay mapped until the region is unregistered.
///
/// @param engine  the engine
/// @param address  first byte
/// @param length  bytes, at least 1
/// @param options  NULL: peers may read and write
/// @param[out] out_region  the region; end it with mc_memory_unregister()
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT (NULL, zero or wrapping range), MC_ERR_EXHAUSTED.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_memory_register(
    engine: *mut mc_engine_t,
    address: *mut c_void,
    length: usize,
    options: *const mc_memory_options_t,
    out_region: *mut mc_region_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, out) =
            unsafe { (read_options(options, REGISTER_FLAGS)?, output(out_region, "out_region")?) };
        *out = engine.register_memory(address as usize, length, &options)?;
        Ok(())
    })
}

/// Registers many ranges at once.
///
/// @param engine  the engine
/// @param spans  [count] ranges
/// @param count  at least 1
/// @param options  for all of them; NULL: peers may read and write
/// @param[out] out_regions  [count]; 0 where it failed
/// @param[out] out_statuses  [count]; may be NULL
/// Errors: the first failure among the statuses; MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_memory_register_batch(
    engine: *mut mc_engine_t,
    spans: *const mc_span_t,
    count: usize,
    options: *const mc_memory_options_t,
    out_regions: *mut mc_region_t,
    out_statuses: *mut mc_status_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        at_least_one(count)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, spans, out) = unsafe {
            (
                read_options(options, REGISTER_FLAGS)?,
                slice(spans, count, "spans")?,
                slice_mut(out_regions, count, "out_regions")?,
            )
        };
        let ranges: Vec<(usize, usize)> =
            spans.iter().map(|span| (span.address as usize, span.length)).collect();
        // SAFETY: writable by the rules in mooncake.h.
        let statuses = unsafe { optional_slice_mut(out_statuses, count)? };
        let results = engine.register_memory_batch(&ranges, &options);
        for (slot, result) in out.iter_mut().zip(&results) {
            *slot = *result.as_ref().unwrap_or(&0);
        }
        spread(results.into_iter().map(|result| result.map(|_| ())), statuses)
    })
}

/// Ends a registration. The last of identical ones ends the region: peers can no longer reach it.
///
/// Transfers of this engine that use the region are waited for; those of peers are fenced off at once.
///
/// @param engine  the engine
/// @param region  from mc_memory_register() or mc_memory_register_batch()
/// @param flags  MC_MEMORY_FLAG_NO_WAIT: MC_ERR_BUSY when transfers are under way; else 0
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUSY (with the flag; or a peer process of this host
/// is stopped in the middle of a copy and cannot be waited for longer), MC_ERR_INVALID_STATE (allocated memory: use
/// mc_memory_free()).
/// Threads: blocks until transfers that use the region have ended.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_memory_unregister(
    engine: *mut mc_engine_t,
    region: mc_region_t,
    flags: u64,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        check_flags(flags, MC_MEMORY_FLAG_NO_WAIT, "flags")?;
        engine.unregister_memory(region, flags & MC_MEMORY_FLAG_NO_WAIT == 0)
    })
}

/// Ends many registrations.
///
/// @param engine  the engine
/// @param regions  [count]
/// @param count  at least 1
/// @param flags  as in mc_memory_unregister()
/// @param[out] out_statuses  [count]; may be NULL
/// Errors: the first failure among the statuses; MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks as mc_memory_unregister() does.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_memory_unregister_batch(
    engine: *mut mc_engine_t,
    regions: *const mc_region_t,
    count: usize,
    flags: u64,
    out_statuses: *mut mc_status_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        at_least_one(count)?;
        check_flags(flags, MC_MEMORY_FLAG_NO_WAIT, "flags")?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (regions, statuses) =
            unsafe { (slice(regions, count, "regions")?, optional_slice_mut(out_statuses, count)?) };
        let wait = flags & MC_MEMORY_FLAG_NO_WAIT == 0;
        spread(regions.iter().map(|region| engine.unregister_memory(*region, wait)), statuses)
    })
}

/// Allocates memory that peers on this host reach fastest, zeroed, populated and registered.
///
/// It lies in a sealed memory file on huge pages where the host has them; peers of this host map it.
///
/// @param engine  the engine
/// @param length  bytes, at least 1; rounded up to whole pages
/// @param options  NULL: peers may read and write
/// @param[out] out_address  first byte
/// @param[out] out_region  the region; end both with mc_memory_free()
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_NO_SPACE, MC_ERR_UNSUPPORTED (no memory files).
/// Threads: blocks for the time that touching every page takes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_memory_allocate(
    engine: *mut mc_engine_t,
    length: usize,
    options: *const mc_memory_options_t,
    out_address: *mut *mut c_void,
    out_region: *mut mc_region_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, out_address, out_region) = unsafe {
            (
                read_options(options, REGISTER_FLAGS | MC_MEMORY_FLAG_HUGE_PAGES)?,
                output(out_address, "out_address")?,
                output(out_region, "out_region")?,
            )
        };
        let (address, region) = engine.allocate_memory(length, &options)?;
        *out_address = address as *mut c_void;
        *out_region = region;
        Ok(())
    })
}

/// Frees what mc_memory_allocate() made, and its registration.
///
/// @param engine  the engine
/// @param region  from mc_memory_allocate()
/// @param flags  as in mc_memory_unregister()
/// Errors: as mc_memory_unregister(); MC_ERR_INVALID_STATE (not allocated by this library).
/// Threads: blocks as mc_memory_unregister() does.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_memory_free(engine: *mut mc_engine_t, region: mc_region_t, flags: u64) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        check_flags(flags, MC_MEMORY_FLAG_NO_WAIT, "flags")?;
        engine.free_memory(region, flags & MC_MEMORY_FLAG_NO_WAIT == 0)
    })
}

/// Tells what a region is.
///
/// @param engine  the engine
/// @param region  a live region
/// @param[in,out] out_info  struct_size set by the caller
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_memory_get_info(
    engine: *const mc_engine_t,
    region: mc_region_t,
    out_info: *mut mc_memory_info_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: writable for its declared size, by the rules in mooncake.h.
        unsafe { options::check_info(out_info, "out_info")? };
        let info = engine.memory_info(region)?;
        let huge = if info.is_huge { MC_MEMORY_FLAG_HUGE_PAGES } else { 0 };
        let value = mc_memory_info_t {
            struct_size: 0,
            reference_count: info.reference_count,
            address: info.address as *mut c_void,
            length: info.length,
            flags: u64::from(info.permissions) | huge,
            use_count: info.use_count,
            is_allocated: info.is_allocated,
            reserved: [0; 7],
            location: fixed_text(&info.location),
        };
        // SAFETY: as above.
        unsafe { options::write(out_info, &value, "out_info") }
    })
}

/// Batch calls refuse an empty batch: it is more often a bug than a wish.
pub fn at_least_one(count: usize) -> Result<()> {
    if count == 0 {
        crate::bail!(InvalidArgument, "count is 0");
    }
    Ok(())
}

/// An output array that the caller may leave out.
///
/// # Safety
/// `pointer` is NULL or writable for `count` items during the call.
unsafe fn optional_slice_mut<'a>(pointer: *mut mc_status_t, count: usize) -> Result<&'a mut [mc_status_t]> {
    let count = if pointer.is_null() { 0 } else { count };
    // SAFETY: the caller's promise.
    unsafe { slice_mut(pointer, count, "out_statuses") }
}

/// Writes one status per item and returns the first failure.
fn spread(results: impl Iterator<Item = Result<()>>, statuses: &mut [mc_status_t]) -> Result<()> {
    let mut first = Ok(());
    for (index, result) in results.enumerate() {
        if let Some(slot) = statuses.get_mut(index) {
            *slot = result.as_ref().map_or_else(|error| error.code as i32, |()| MC_OK);
        }
        if first.is_ok() {
            first = result.map_err(|error| error.context(format_args!("item {index}")));
        }
    }
    first
}
