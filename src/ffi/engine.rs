//! The engine: create, look at, destroy.

use std::ffi::{c_char, c_void};

use super::boundary::{call, fill, fixed_text, output, slice, text, timeout};
use super::live;
use super::options::{self, Sized32, check_flags};
use super::status::mc_status_t;
use crate::config;
use crate::engine::Engine;
use crate::error::Result;

/// One end of transfers: its registered memory, its connections, its threads.
pub struct mc_engine_t {
    _opaque: [u8; 0],
}

/// Creates no counters beyond those of mc_engine_get_stats().
pub const MC_ENGINE_FLAG_NO_METRICS: u64 = 1;
/// Ignores MC_* environment variables.
pub const MC_ENGINE_FLAG_NO_ENVIRONMENT: u64 = 2;
/// Listens nowhere: this engine can start transfers but offers nothing to peers on other hosts.
pub const MC_ENGINE_FLAG_NO_LISTEN: u64 = 4;

/// Whether bytes that cross a network carry a CRC32C per slice.
pub type mc_checksum_t = u32;
/// On between peers of this library.
pub const MC_CHECKSUM_DEFAULT: mc_checksum_t = 0;
/// Never.
pub const MC_CHECKSUM_OFF: mc_checksum_t = 1;
/// Always: a peer that will not is refused.
pub const MC_CHECKSUM_REQUIRED: mc_checksum_t = 2;

/// Whether engines of Mooncake itself are served and reached.
pub type mc_compat_t = u32;
/// Not set: off.
pub const MC_COMPAT_DEFAULT: mc_compat_t = 0;
/// Only peers of this library.
pub const MC_COMPAT_OFF: mc_compat_t = 1;
/// Unless there is a key: what Mooncake speaks is not authenticated.
pub const MC_COMPAT_ON: mc_compat_t = 2;
/// Also with a key.
pub const MC_COMPAT_ALLOW: mc_compat_t = 3;

/// How to make an engine. Zero means default in every field; mc_engine_options_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_engine_options_t {
    /// sizeof(mc_engine_options_t)
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// MC_ENGINE_FLAG_*
    pub flags: u64,
    /// Name shown to peers and, with a metadata backend, under which they find this engine; at most 127 bytes.
    /// NULL: made from host name, process id and a number.
    pub name: *const c_char,
    /// Address to listen on, as "10.0.0.1", "::1" or a host name. NULL: by `network_interface`, by `cidr`, else every
    /// address of the host.
    pub bind_address: *const c_char,
    /// Network interface whose address to listen on, such as "eth0".
    pub network_interface: *const c_char,
    /// Listen on the address that lies in this network, such as "10.0.0.0/8".
    pub cidr: *const c_char,
    /// Port to listen on; 0: one that the kernel gives.
    pub port: u16,
    /// Last port to try when `port` is taken; 0: only `port`.
    pub port_last: u16,
    /// Connections for data to each peer, 1 to 16; 0: chosen from the processors.
    pub lanes: u32,
    /// Threads that move data, 1 to 64; 0: chosen from the processors.
    pub worker_threads: u32,
    /// MC_CHECKSUM_*
    pub checksum: mc_checksum_t,
    /// Paths that bytes may take, separated by commas, of "local", "memfd", "cma", "tcp". NULL: all.
    pub transports: *const c_char,
    /// Deadline of batches that name none, in milliseconds; 0: 60,000.
    pub default_deadline_ms: u64,
    /// A peer that owes an answer and is silent for so long is taken for lost, in milliseconds; 0: 5,000.
    pub keepalive_ms: u64,
    /// Secret that every peer must share, 16 to 256 bytes. NULL: peers are not authenticated.
    pub psk: *const c_void,
    /// Bytes of `psk`.
    pub psk_length: usize,
    /// Where names are looked up: "memory://NAME" (this process) or "file:///DIRECTORY" (shared by its readers).
    /// NULL, or "P2PHANDSHAKE" as Mooncake says it: names are addresses.
    pub metadata: *const c_char,
    /// Configuration file (.toml or .json). It is weaker than the environment, which is weaker than this struct.
    pub config_file: *const c_char,
    /// Requests that may be under way at once; 0: 1,048,576.
    pub queue_limit: u64,
    /// MC_COMPAT_*
    pub compat: mc_compat_t,
    /// Must be 0.
    pub reserved2: u32,
    /// Host name or address that peers are told, instead of the addresses listened on. NULL: those.
    pub advertise_host: *const c_char,
    /// Part of the keys under which Mooncake's engines publish themselves in a metadata backend. NULL: none.
    pub metadata_cluster: *const c_char,
}

// SAFETY: repr(C), size first, zeros are NULLs and defaults.
unsafe impl Sized32 for mc_engine_options_t {}

/// What an engine is at the moment.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_engine_info_t {
    /// sizeof(mc_engine_info_t), set by the caller.
    pub struct_size: u32,
    /// Port listened on; 0: none.
    pub port: u32,
    /// Name shown to peers.
    pub name: [c_char; 128],
    /// "host:port" or "[host]:port" that peers on the network can open; "" when not listening.
    pub address: [c_char; 80],
    /// Identity of this engine, 32 hexadecimal digits: made anew by each mc_engine_create().
    pub engine_id: [c_char; 40],
    /// Usable paths, separated by commas.
    pub transports: [c_char; 64],
    /// Segment of this engine's own memory, for transfers to itself.
    pub local_segment: u64,
    /// Connections for data to each peer.
    pub lanes: u32,
    /// Threads that move data.
    pub worker_threads: u32,
    /// Live registrations.
    pub region_count: u64,
    /// Bytes in live registrations, overlaps counted each time.
    pub registered_bytes: u64,
    /// Open segments, the local one not counted.
    pub segment_count: u64,
    /// Batches not yet released.
    pub batch_count: u64,
    /// Notifications that wait to be received.
    pub notify_count: u64,
}

// SAFETY: repr(C), size first, plain numbers.
unsafe impl Sized32 for mc_engine_info_t {}

/// The engine behind a pointer that C holds.
pub fn engine_of(engine: *const mc_engine_t) -> Result<std::sync::Arc<Engine>> {
    live::get(engine as u64)
}

/// Creates an engine: binds its port, starts its threads. No peer is contacted.
///
/// @param options  NULL: all defaults
/// @param[out] out_engine  the engine; end it with mc_engine_destroy()
/// Errors: MC_ERR_INVALID_ARGUMENT (which field, and its range), MC_ERR_IO (binding; the address is named),
/// MC_ERR_NOT_FOUND (interface, network or configuration file), MC_ERR_ALREADY_EXISTS (name taken in the backend),
/// MC_ERR_UNSUPPORTED (field newer than the library).
/// Threads: blocks for the metadata backend, if one is named.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_engine_create(
    options: *const mc_engine_options_t,
    out_engine: *mut *mut mc_engine_t,
) -> mc_status_t {
    call(|| {
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, out) =
            unsafe { (options::read(options, "options")?, output(out_engine, "out_engine")?) };
        // SAFETY: the strings are readable during the call.
        let config = config::Config::load(unsafe { given(&options)? })?;
        let name = live::insert(|tag| Engine::create(config, tag))?;
        *out = name as *mut mc_engine_t;
        Ok(())
    })
}

/// The fields that the caller set, as the strongest layer of the configuration.
///
/// # Safety
/// The strings in `options` are readable.
unsafe fn given(options: &mc_engine_options_t) -> Result<config::Given> {
    check_flags(
        options.flags,
        MC_ENGINE_FLAG_NO_METRICS | MC_ENGINE_FLAG_NO_ENVIRONMENT | MC_ENGINE_FLAG_NO_LISTEN,
        "options->flags",
    )?;
    check_flags(u64::from(options.reserved), 0, "options->reserved")?;
    check_flags(u64::from(options.reserved2), 0, "options->reserved2")?;
    // SAFETY: the caller's promise.
    let string = |pointer, name| Ok(unsafe { text(pointer, name)? }.map(str::to_owned));
    // SAFETY: the caller's promise.
    let psk = unsafe { slice(options.psk.cast::<u8>(), options.psk_length, "options->psk")? };
    Ok(config::Given {
        no_metrics: options.flags & MC_ENGINE_FLAG_NO_METRICS != 0,
        no_environment: options.flags & MC_ENGINE_FLAG_NO_ENVIRONMENT != 0,
        no_listen: options.flags & MC_ENGINE_FLAG_NO_LISTEN != 0,
        name: string(options.name, "options->name")?,
        bind_address: string(options.bind_address, "options->bind_address")?,
        network_interface: string(options.network_interface, "options->network_interface")?,
        cidr: string(options.cidr, "options->cidr")?,
        port: options.port,
        port_last: options.port_last,
        lanes: options.lanes,
        worker_threads: options.worker_threads,
        checksum: options.checksum,
        transports: string(options.transports, "options->transports")?,
        default_deadline_ms: options.default_deadline_ms,
        keepalive_ms: options.keepalive_ms,
        psk: psk.to_vec(),
        metadata: string(options.metadata, "options->metadata")?,
        config_file: string(options.config_file, "options->config_file")?,
        queue_limit: options.queue_limit,
        compat: options.compat,
        advertise_host: string(options.advertise_host, "options->advertise_host")?,
        metadata_cluster: string(options.metadata_cluster, "options->metadata_cluster")?,
    })
}

/// Ends an engine: fails what is under way, closes its connections, forgets its memory.
///
/// On return no registered buffer will be touched again by this engine or on its behalf. Calls of other threads on
/// this engine end with MC_ERR_INVALID_HANDLE.
///
/// @param engine  NULL: nothing happens, MC_OK
/// Errors: MC_ERR_INVALID_HANDLE (destroyed before), MC_ERR_INVALID_STATE (a store made it, and ends it).
/// Threads: blocks until copies under way have ended.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_engine_destroy(engine: *mut mc_engine_t) -> mc_status_t {
    if engine.is_null() {
        return super::status::MC_OK;
    }
    call(|| {
        live::remove(engine as u64)?.destroy();
        Ok(())
    })
}

/// Waits until no batch of this engine is under way: the polite step before mc_engine_destroy().
///
/// @param engine  the engine
/// @param timeout_ms  milliseconds; 0 polls, -1 waits for ever
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_BUSY (still under way after the time; the text says how many).
/// Threads: blocks.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_engine_drain(engine: *mut mc_engine_t, timeout_ms: i64) -> mc_status_t {
    call(|| engine_of(engine)?.drain(timeout(timeout_ms, "timeout_ms")?))
}

/// Tells what an engine is: names, addresses, counts.
///
/// @param engine  the engine
/// @param[in,out] out_info  struct_size set by the caller
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_engine_get_info(
    engine: *const mc_engine_t,
    out_info: *mut mc_engine_info_t,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: writable for its declared size, by the rules in mooncake.h.
        unsafe { options::check_info(out_info, "out_info")? };
        let info = engine.info();
        let value = mc_engine_info_t {
            struct_size: 0,
            port: u32::from(info.port),
            name: fixed_text(&info.name),
            address: fixed_text(&info.address),
            engine_id: fixed_text(&info.engine_id),
            transports: fixed_text(&info.transports),
            local_segment: info.local_segment,
            lanes: info.lanes,
            worker_threads: info.worker_threads,
            region_count: info.region_count,
            registered_bytes: info.registered_bytes,
            segment_count: info.segment_count,
            batch_count: info.batch_count,
            notify_count: info.notify_count,
        };
        // SAFETY: as above.
        unsafe { options::write(out_info, &value, "out_info") }
    })
}

/// Writes the effective configuration as JSON: for each setting its value and where it came from
/// ("default", "file", "environment" or "options"). A key is shown as its length only.
///
/// @param engine  the engine
/// @param[out] buffer  `size` bytes, may be NULL when size is 0; NUL-terminated text
/// @param size  bytes in buffer
/// @param[out] out_length  length of the whole text without its NUL, also when buffer was too small
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_engine_get_config(
    engine: *const mc_engine_t,
    buffer: *mut c_char,
    size: usize,
    out_length: *mut usize,
) -> mc_status_t {
    call(|| {
        let json = engine_of(engine)?.config_json();
        // SAFETY: writable by the rules in mooncake.h.
        unsafe { fill(json.as_bytes(), true, buffer.cast(), size, out_length) }
    })
}

/// Writes a blob with which a peer can reach this engine without any name service: its addresses and regions.
///
/// Send it by any channel; the peer calls mc_segment_import(). A blob with some regions gives access to those only.
/// It does not change when more memory is registered later: export again.
///
/// @param engine  the engine
/// @param regions  [region_count] regions to tell of; NULL with count 0: all
/// @param region_count  any number
/// @param[out] buffer  `size` bytes, may be NULL when size is 0
/// @param size  bytes in buffer
/// @param[out] out_length  length of the whole blob, also when buffer was too small (then buffer is not written)
/// Errors: MC_ERR_INVALID_HANDLE (engine or a region), MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_engine_export(
    engine: *const mc_engine_t,
    regions: *const u64,
    region_count: usize,
    buffer: *mut c_void,
    size: usize,
    out_length: *mut usize,
) -> mc_status_t {
    call(|| {
        let engine = engine_of(engine)?;
        // SAFETY: readable by the rules in mooncake.h.
        let regions = unsafe { slice(regions, region_count, "regions")? };
        let blob = engine.export(if regions.is_empty() { None } else { Some(regions) })?;
        // SAFETY: writable by the rules in mooncake.h.
        unsafe { fill(&blob, false, buffer.cast(), size, out_length) }
    })
}
