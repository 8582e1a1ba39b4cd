//! The store: open, look at, close; and what its calls have in common.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::time::Duration;

use super::boundary::{call, fixed_text, output, slice, text};
use super::engine::{engine_of, mc_engine_t};
use super::live;
use super::memory::mc_span_t;
use super::opened::{self, Opened, Opening};
use super::options::{self, Sized32, check_flags};
use super::status::{MC_OK, mc_status_t};
use crate::config;
use crate::error::{Context, Result};
use crate::store::client;
use crate::sys::memory::Mem;

/// A way into a pooled cache of objects, and what of the cache runs in this process.
pub struct mc_store_t {
    _opaque: [u8; 0],
}

/// mc_store_open: ignores MC_* environment variables in making engines.
pub const MC_STORE_FLAG_NO_ENVIRONMENT: u64 = 1;
/// mc_store_open: remembers no leases, so that every get asks the master.
pub const MC_STORE_FLAG_NO_LEASE_CACHE: u64 = 2;
/// Put: replaces an object that is there, instead of MC_ERR_ALREADY_EXISTS.
pub const MC_STORE_FLAG_UPSERT: u64 = 4;
/// Put: the object is never evicted.
pub const MC_STORE_FLAG_HARD_PIN: u64 = 8;
/// Put: MC_ERR_NO_SPACE rather than two replicas in one failure domain.
pub const MC_STORE_FLAG_STRICT_DOMAINS: u64 = 16;
/// Get: asks the master although a lease is held, so that what was put before this call is seen.
pub const MC_STORE_FLAG_FRESH: u64 = 32;
/// Exists: takes a lease, so that the objects are not evicted for a while.
pub const MC_STORE_FLAG_PROLONG: u64 = 64;
/// Remove: MC_ERR_BUSY for an object that somebody reads.
pub const MC_STORE_FLAG_UNLESS_LEASED: u64 = 128;
/// Put: the first replica is placed in the failure domain of this process, such as its host, if there is room.
pub const MC_STORE_FLAG_NEAR: u64 = 256;

/// Longest key in bytes; the shortest has 1. Keys are bytes, not text.
pub const MC_STORE_KEY_MAX_LENGTH: usize = 1024;

/// How to open a store. Zero means default in every field; mc_store_options_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_options_t {
    /// sizeof(mc_store_options_t)
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// MC_STORE_FLAG_NO_ENVIRONMENT, _NO_LEASE_CACHE
    pub flags: u64,
    /// "host:port" of each master that there may be, separated by commas. NULL: a master of its own runs in this
    /// process, and dies with the store.
    pub masters: *const c_char,
    /// Whose objects these are, at most 256 bytes: keys of different tenants never meet. NULL: "".
    pub tenant: *const c_char,
    /// Secret that masters, nodes and clients share, 16 to 256 bytes. NULL: that in the file named by MC_PSK_FILE;
    /// without one, nobody is authenticated.
    pub psk: *const c_void,
    /// Bytes of `psk`.
    pub psk_length: usize,
    /// Engine through which the bytes go; it must outlive the store. NULL: one of its own, which does not listen.
    pub engine: *mut mc_engine_t,
    /// Deadline of operations that name none, in milliseconds; 0: 10,000.
    pub deadline_ms: u64,
    /// How many objects' leases are remembered; 0: 65,536.
    pub lease_cache: u64,
    /// Memory that this process gives to the store, in bytes: it becomes a node. 0: none, but 64 MiB with a master of
    /// its own.
    pub memory_bytes: u64,
    /// What that memory is called, at most 256 bytes: puts may prefer it. NULL: made from host name and address.
    pub node_name: *const c_char,
    /// What fails together with this process, such as a rack. NULL: the host name.
    pub domain: *const c_char,
    /// "host:port" for the master of its own; NULL: a port of 127.0.0.1 that the kernel gives.
    pub master_listen: *const c_char,
    /// "host:port" for the memory; NULL: a port that the kernel gives, of loopback where all masters are there, else of
    /// every address of the host.
    pub node_listen: *const c_char,
}

// SAFETY: repr(C), size first, zeros are NULLs and defaults.
unsafe impl Sized32 for mc_store_options_t {}

/// What a store is at the moment.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_info_t {
    /// sizeof(mc_store_info_t), set by the caller.
    pub struct_size: u32,
    /// Padding, 0.
    pub reserved: u32,
    /// Whose objects it puts and gets.
    pub tenant: [c_char; 264],
    /// "host:port" of the master of its own, for other processes to join; "" without one.
    pub master_address: [c_char; 80],
    /// "host:port" where the memory of this process is reached; "" without any.
    pub node_address: [c_char; 80],
    /// Bytes that this process gives.
    pub memory_bytes: u64,
    /// Of those, bytes that objects take.
    pub held_bytes: u64,
    /// Objects under way in sessions, and buffers not yet released.
    pub child_count: u64,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_store_info_t {}

/// A key.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_key_t {
    /// [length] bytes of any value.
    pub data: *const c_void,
    /// 1 to MC_STORE_KEY_MAX_LENGTH.
    pub length: usize,
}

/// What became of one key. Not written where a call fails before it asks the store.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct mc_store_result_t {
    /// MC_OK, or why it was not done.
    pub status: mc_status_t,
    /// With a failure: milliseconds after which it is worth trying again; 0: not known.
    pub retry_after_ms: u32,
    /// Bytes of the object.
    pub size: u64,
    /// Which content of the key: a later one has a higher number. 0: not asked for.
    pub version: u64,
    /// Copies of the object, where they were counted; else 0.
    pub replica_count: u32,
    /// 0.
    pub reserved: u32,
}

/// The store behind a pointer that C holds.
pub fn store_of(store: *const mc_store_t) -> Result<Arc<Opened>> {
    live::root(store as u64)
}

/// Opens a store: finds its master, or starts one, and gives memory if told to.
///
/// With NULL for options the whole store is in this process: a master, 64 MiB of memory, and a client.
///
/// @param options  NULL: all defaults
/// @param[out] out_store  the store; end it with mc_store_close()
/// Errors: MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_INVALID_HANDLE (options->engine), MC_ERR_UNREACHABLE (no master
/// answers), MC_ERR_UNAUTHENTICATED (the key), MC_ERR_NOT_READY (the master does not take the memory in), MC_ERR_NO_SPACE
/// (memory), MC_ERR_IO (binding), MC_ERR_UNSUPPORTED (field newer than the library).
/// Threads: blocks until the master answered, and until the memory was taken in.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_open(
    options: *const mc_store_options_t,
    out_store: *mut *mut mc_store_t,
) -> mc_status_t {
    call(|| {
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, out) = unsafe { (options::read(options, "options")?, output(out_store, "out_store")?) };
        // SAFETY: the strings are readable during the call.
        *out = opened::open(unsafe { opening(&options)? })? as *mut mc_store_t;
        Ok(())
    })
}

/// # Safety
/// The strings in `options` are readable.
unsafe fn opening(options: &mc_store_options_t) -> Result<Opening> {
    check_flags(
        options.flags,
        MC_STORE_FLAG_NO_ENVIRONMENT | MC_STORE_FLAG_NO_LEASE_CACHE,
        "options->flags",
    )?;
    check_flags(u64::from(options.reserved), 0, "options->reserved")?;
    // SAFETY: the caller's promise.
    let string =
        |pointer, name| Ok::<_, crate::error::Error>(unsafe { text(pointer, name)? }.map(str::to_owned));
    let masters = match string(options.masters, "options->masters")? {
        Some(masters) => opened::listed(&masters, "options->masters")?,
        None => Vec::new(),
    };
    let no_environment = options.flags & MC_STORE_FLAG_NO_ENVIRONMENT != 0;
    // SAFETY: the caller's promise.
    let psk = unsafe { psk_of(options.psk, options.psk_length, no_environment)? };
    let default = client::Options::default();
    let deadline = match options.deadline_ms {
        0 => default.deadline,
        deadline_ms => Duration::from_millis(deadline_ms),
    };
    let lease_cache = match options.lease_cache {
        _ if options.flags & MC_STORE_FLAG_NO_LEASE_CACHE != 0 => 0,
        0 => default.lease_cache,
        count => usize::try_from(count).unwrap_or(usize::MAX),
    };
    let tenant = string(options.tenant, "options->tenant")?.unwrap_or_default();
    let engine = match options.engine.is_null() {
        true => None,
        false => Some((options.engine as u64, engine_of(options.engine).context("options->engine")?)),
    };
    Ok(Opening {
        client: client::Options {
            masters,
            tenant,
            psk: psk.map(Arc::from),
            deadline,
            lease_cache,
            domain: string(options.domain, "options->domain")?.unwrap_or_default(),
            ..default
        },
        engine,
        no_environment,
        memory_bytes: options.memory_bytes,
        node_name: string(options.node_name, "options->node_name")?.unwrap_or_default(),
        master_listen: string(options.master_listen, "options->master_listen")?,
        node_listen: string(options.node_listen, "options->node_listen")?,
    })
}

/// A secret: the caller's, or the one that engines would have by the environment, or none.
///
/// # Safety
/// `psk` is NULL or readable for `length` bytes.
pub unsafe fn psk_of(psk: *const c_void, length: usize, no_environment: bool) -> Result<Option<Vec<u8>>> {
    // SAFETY: the caller's promise.
    let bytes = unsafe { slice(psk.cast::<u8>(), length, "options->psk")? };
    if !psk.is_null() && !(16..=256).contains(&length) {
        crate::bail!(InvalidArgument, "options->psk has {length} bytes: 16 to 256");
    }
    match bytes {
        [] if no_environment => Ok(None),
        [] => config::psk(None),
        given => Ok(Some(given.to_vec())),
    }
}

/// Ends a store: operations under way end first; sessions and buffers end with it.
///
/// What this process gave to the store is gone with it, and so is a master of its own. On return nothing touches memory
/// of the caller's on the store's behalf, but for calls that other threads are still in.
///
/// @param store  NULL: nothing happens, MC_OK
/// Errors: MC_ERR_INVALID_HANDLE (closed before).
/// Threads: blocks until operations that run in the background have ended.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_store_close(store: *mut mc_store_t) -> mc_status_t {
    if store.is_null() {
        return MC_OK;
    }
    call(|| {
        live::remove_root::<Opened>(store as u64)?.close();
        Ok(())
    })
}

/// Gives the engine through which a store's bytes go: for registering memory, and for completion queues.
///
/// Memory that is registered with it need not be registered for each operation anew.
///
/// @param store  the store
/// @param[out] out_engine  the engine; one that the store made ends with it
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_engine(
    store: *const mc_store_t,
    out_engine: *mut *mut mc_engine_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: writable by the rules in mooncake.h.
        *unsafe { output(out_engine, "out_engine")? } = store.engine_name as *mut mc_engine_t;
        Ok(())
    })
}

/// Tells what a store is. Asks nobody.
///
/// @param store  the store
/// @param[in,out] out_info  struct_size set by the caller
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_get_info(
    store: *const mc_store_t,
    out_info: *mut mc_store_info_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: writable for its declared size, by the rules in mooncake.h.
        unsafe { options::check_info(out_info, "out_info")? };
        let usage = store.node.as_ref().map(|node| node.usage()).unwrap_or_default();
        let address = |address: Option<std::net::SocketAddr>| {
            fixed_text(&address.map(|address| address.to_string()).unwrap_or_default())
        };
        let value = mc_store_info_t {
            struct_size: 0,
            reserved: 0,
            tenant: fixed_text(&store.tenant),
            master_address: address(store.master.as_ref().map(|master| master.address())),
            node_address: address(store.node.as_ref().map(|node| node.address())),
            memory_bytes: usage.capacity,
            held_bytes: usage.held,
            child_count: store.children.read().len() as u64,
        };
        // SAFETY: as above.
        unsafe { options::write(out_info, &value, "out_info") }
    })
}

// What the calls have in common.

/// # Safety
/// The key is NULL or readable for its length, for as long as the result is used.
pub unsafe fn key_of<'a>(data: *const c_void, length: usize) -> Result<&'a [u8]> {
    if data.is_null() {
        crate::bail!(InvalidArgument, "key is NULL");
    }
    if length == 0 || length > MC_STORE_KEY_MAX_LENGTH {
        crate::bail!(InvalidArgument, "the key has {length} bytes: 1 to {MC_STORE_KEY_MAX_LENGTH}");
    }
    // SAFETY: the caller's promise.
    unsafe { slice(data.cast::<u8>(), length, "key") }
}

/// Keys of a batch: at least one, and each by the rules.
///
/// # Safety
/// `keys` is NULL or readable for `count` items, and so is each key, for as long as the result is used.
pub unsafe fn keys_of<'a>(keys: *const mc_store_key_t, count: usize) -> Result<Vec<&'a [u8]>> {
    super::memory::at_least_one(count)?;
    // SAFETY: the caller's promise.
    let keys = unsafe { slice(keys, count, "keys")? };
    let key = |(index, key): (usize, &mc_store_key_t)| {
        // SAFETY: the caller's promise.
        unsafe { key_of(key.data, key.length) }.context(format_args!("item {index}"))
    };
    keys.iter().enumerate().map(key).collect()
}

/// Memory of the caller's that an operation uses.
///
/// # Safety
/// `spans` is NULL or readable for `count` items, and what they name is mapped for as long as the result is used.
pub unsafe fn pieces_of(spans: *const mc_span_t, count: usize) -> Result<Vec<Mem>> {
    // SAFETY: the caller's promise.
    let spans = unsafe { slice(spans, count, "spans")? };
    let mut total: usize = 0;
    let mut pieces = Vec::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        // SAFETY: the caller's promise.
        pieces.push(unsafe { piece_of(span.address, span.length) }.context(format_args!("span {index}"))?);
        total = match total.checked_add(span.length) {
            Some(total) if total <= isize::MAX as usize => total,
            _ => crate::bail!(InvalidArgument, "the spans' lengths wrap around"),
        };
    }
    pieces.retain(|piece| !piece.is_empty());
    Ok(pieces)
}

/// # Safety
/// The range is mapped for as long as the result is used.
pub unsafe fn piece_of(address: *const c_void, length: usize) -> Result<Mem> {
    if address.is_null() && length != 0 {
        crate::bail!(InvalidArgument, "the address is NULL but the length is {length}");
    }
    if (address as usize).checked_add(length).is_none() || length > isize::MAX as usize {
        crate::bail!(InvalidArgument, "{length} bytes from {address:p} on wrap around");
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { Mem::new(address as usize, length) })
}

/// The time that an operation is given; 0 is the store's own.
pub fn deadline_of(timeout_ms: u64) -> Option<Duration> {
    (timeout_ms != 0).then(|| Duration::from_millis(timeout_ms))
}

/// A failed key, as C sees it.
pub fn failed(failure: &client::Failure) -> mc_store_result_t {
    mc_store_result_t {
        status: failure.code() as i32,
        retry_after_ms: failure.retry_after_ms.unwrap_or(0),
        ..Default::default()
    }
}

/// What became of one key: written if C wants it, and the failure as an error.
pub fn settle_one<T>(
    result: client::Result<T>,
    out: Option<&mut mc_store_result_t>,
    done: impl FnOnce(&T) -> mc_store_result_t,
) -> Result<T> {
    if let Some(out) = out {
        *out = match &result {
            Ok(value) => done(value),
            Err(failure) => failed(failure),
        };
    }
    result.map_err(|failure| failure.error)
}

/// What became of many keys: one result each, and the first failure as an error.
pub fn settle_all<T>(
    results: Vec<client::Result<T>>,
    out: &mut [mc_store_result_t],
    done: impl Fn(usize, &T) -> mc_store_result_t,
) -> Result<()> {
    let mut first = Ok(());
    for (index, (result, out)) in results.into_iter().zip(out).enumerate() {
        match result {
            Ok(value) => *out = done(index, &value),
            Err(failure) => {
                *out = failed(&failure);
                if first.is_ok() {
                    first = Err(failure.error.context(format_args!("item {index}")));
                }
            }
        }
    }
    first
}

/// A result that C may leave out.
///
/// # Safety
/// `pointer` is NULL or writable.
pub unsafe fn optional<'a, T>(pointer: *mut T, name: &str) -> Result<Option<&'a mut T>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { output(pointer, name) }.map(Some)
}
