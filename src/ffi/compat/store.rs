//! The 19 functions of store_c.h. The header says what they promise, docs/compat.md how they are spelled natively; these
//! are spelling only.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

use super::boundary::log_failure;
use super::layout::mooncake_replicate_config;
use super::store_handle::{Handle, Running, Setup};
use super::store_status::{INTERNAL_ERROR, OBJECT_HAS_LEASE, number};
use crate::error::{Code, Context, Error, Result};
use crate::ffi::boundary::{call, slice, slice_mut, text};
use crate::ffi::live;
use crate::ffi::store::{key_of, piece_of};
use crate::store::client::{Failure, Matching, Put, PutOptions, Wanted};
use crate::store::object::ReplicateConfig;
use crate::sys::memory::Mem;
use crate::{bail, fail};

/// How long a soft pin holds there, unless its master is told otherwise.
const SOFT_PIN_MS: u32 = 30 * 60 * 1000;

/// A value, or the negative number of what went wrong. Misses are everyday answers and not logged.
fn or_number<T: From<i32>>(name: &str, body: impl FnOnce() -> Result<T>) -> T {
    let mut value = T::from(INTERNAL_ERROR);
    let status = call(|| {
        value = body()?;
        Ok(())
    });
    match Code::from_raw(status) {
        None => value,
        Some(code) => {
            if !matches!(code, Code::NotFound | Code::Busy) {
                log_failure(name);
            }
            T::from(number(code))
        }
    }
}

fn handle_of(store: *mut c_void) -> Result<Arc<Handle>> {
    live::root(store as u64)
}

fn running(store: *mut c_void) -> Result<Arc<Running>> {
    let handle = handle_of(store)?;
    // There it is a wrong argument.
    handle.running().map_err(|error| error.with_code(Code::InvalidArgument))
}

/// What a NULL is, in all functions.
fn null(name: &str) -> Error {
    fail!(InvalidHandle, "{name} is NULL")
}

/// # Safety
/// `key` is NULL or a NUL-terminated string that stays readable during the call.
unsafe fn key<'a>(key: *const c_char) -> Result<&'a [u8]> {
    if key.is_null() {
        return Err(null("key"));
    }
    // SAFETY: NUL-terminated, by the caller's promise.
    let bytes = unsafe { CStr::from_ptr(key) }.to_bytes();
    // SAFETY: the same bytes.
    unsafe { key_of(bytes.as_ptr().cast(), bytes.len()) }
}

/// # Safety
/// The range is mapped during the call.
unsafe fn piece(buffer: *const c_void, size: usize) -> Result<Mem> {
    if buffer.is_null() && size > 0 {
        return Err(null("buffer"));
    }
    // SAFETY: the caller's promise.
    unsafe { piece_of(buffer, size) }
}

/// # Safety
/// `config` is NULL or readable, with all that it names.
unsafe fn options_of(config: *const mooncake_replicate_config) -> Result<PutOptions> {
    // SAFETY: the caller's promise.
    let Some(config) = (unsafe { slice(config, usize::from(!config.is_null()), "config")? }).first() else {
        return Ok(PutOptions::default());
    };
    let count = match config.preferred_segments.is_null() {
        true => 0,
        false => config.preferred_segments_count,
    };
    // SAFETY: the caller's promise.
    let names = unsafe { slice(config.preferred_segments, count, "preferred_segments")? };
    let mut preferred = Vec::with_capacity(count);
    for name in names {
        // SAFETY: the caller's promise.
        preferred.extend(unsafe { text(*name, "preferred_segments")? }.map(str::to_owned));
    }
    let config = ReplicateConfig {
        count: u8::try_from(config.replica_num.max(1)).unwrap_or(u8::MAX),
        preferred,
        soft_pin_ms: if config.with_soft_pin != 0 { SOFT_PIN_MS } else { 0 },
        hard_pin: config.with_hard_pin != 0,
        ..Default::default()
    };
    config.check().map_err(|refusal| refusal.into_error().context("config"))?;
    Ok(PutOptions { config, ..Default::default() })
}

/// What is there, or is just being put by somebody else, counts as put.
fn put_outcome<T>(result: std::result::Result<T, Failure>) -> Result<()> {
    match result {
        Err(failure) if matches!(failure.code(), Code::AlreadyExists | Code::Busy) => Ok(()),
        result => result.map(drop).map_err(|failure| failure.error),
    }
}

/// mc_store_open(), in two steps
#[unsafe(no_mangle)]
pub extern "C" fn mooncake_store_create() -> *mut c_void {
    let mut store = std::ptr::null_mut();
    call(|| {
        crate::telemetry::log::set_sink_if_none(|| Box::new(crate::telemetry::log::StandardError));
        store = live::insert_root(|_| Arc::new(Handle::default()))? as *mut c_void;
        Ok(())
    });
    store
}

/// mc_store_close()
#[unsafe(no_mangle)]
pub extern "C" fn mooncake_store_destroy(store: *mut c_void) {
    if store.is_null() {
        return;
    }
    or_number("mooncake_store_destroy", || {
        live::remove_root::<Handle>(store as u64)?.close();
        Ok(0)
    });
}

/// mc_store_open()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_setup(
    store: *mut c_void,
    local_hostname: *const c_char,
    _metadata_server: *const c_char,
    global_segment_size: u64,
    _local_buffer_size: u64,
    protocol: *const c_char,
    _device_name: *const c_char,
    master_server_addr: *const c_char,
) -> c_int {
    or_number("mooncake_store_setup", || {
        let handle = handle_of(store)?;
        // SAFETY: texts or NULL, by the header.
        let (hostname, protocol, masters) = unsafe {
            (
                text(local_hostname, "local_hostname")?,
                text(protocol, "protocol")?,
                text(master_server_addr, "master_server_addr")?,
            )
        };
        handle.set_up(&Setup {
            local_hostname: hostname.unwrap_or_default(),
            segment_bytes: global_segment_size,
            protocol: protocol.unwrap_or("tcp"),
            masters: Setup::or_default(masters),
        })?;
        Ok(0)
    })
}

/// mc_node_create()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_init_all(
    store: *mut c_void,
    protocol: *const c_char,
    _device_name: *const c_char,
    mount_segment_size: u64,
) -> c_int {
    or_number("mooncake_store_init_all", || {
        // SAFETY: a text or NULL, by the header.
        let protocol = unsafe { text(protocol, "protocol")? }.unwrap_or("tcp");
        handle_of(store)?.mount(protocol, mount_segment_size)?;
        Ok(0)
    })
}

/// mc_store_list_segments()
#[unsafe(no_mangle)]
pub extern "C" fn mooncake_store_health_check(store: *mut c_void) -> c_int {
    or_number("mooncake_store_health_check", || {
        let handle = handle_of(store)?;
        let Ok(running) = handle.running() else { return Ok(1) };
        Ok(if running.ask().is_ok() { 0 } else { 2 })
    })
}

/// mc_store_put()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_put(
    store: *mut c_void,
    key: *const c_char,
    value: *const c_void,
    size: usize,
    config: *const mooncake_replicate_config,
) -> c_int {
    or_number("mooncake_store_put", || {
        // SAFETY: texts, a config and memory, or NULL, by the header.
        let (key, piece, options) = unsafe { (self::key(key)?, piece(value, size)?, options_of(config)?) };
        let running = running(store)?;
        put_outcome(running.opened.store.put(&[Put { key, from: &[piece] }], &options).remove(0))?;
        Ok(0)
    })
}

/// mc_store_put()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_put_from(
    store: *mut c_void,
    key: *const c_char,
    buffer: *mut c_void,
    size: usize,
    config: *const mooncake_replicate_config,
) -> c_int {
    // SAFETY: the same contract.
    unsafe { mooncake_store_put(store, key, buffer, size, config) }
}

/// Keys and memory of a batch.
///
/// # Safety
/// The arrays are NULL or readable for `count` items, and so is what they name.
unsafe fn batch_of<'a>(
    keys: *const *const c_char,
    buffers: *const *mut c_void,
    sizes: *const usize,
    count: usize,
) -> Result<Vec<(&'a [u8], [Mem; 1])>> {
    // SAFETY: the caller's promise.
    let (keys, buffers, sizes) = unsafe {
        (slice(keys, count, "keys"), slice(buffers, count, "buffers"), slice(sizes, count, "sizes"))
    };
    // A wrong array is there what a NULL is.
    let as_null = |error: Error| error.with_code(Code::InvalidHandle);
    let (keys, buffers, sizes) = (keys.map_err(as_null)?, buffers.map_err(as_null)?, sizes.map_err(as_null)?);
    let one = |index: usize| {
        // SAFETY: the caller's promise.
        let (key, piece) = unsafe { (self::key(keys[index]), piece(buffers[index], sizes[index])) };
        let named = |error: Error| error.context(format_args!("item {index}"));
        Ok((key.map_err(named)?, [piece.map_err(named)?]))
    };
    (0..count).map(one).collect()
}

/// # Safety
/// `results` is NULL or writable for `count` items.
unsafe fn results_of<'a, T>(results: *mut T, count: usize) -> Result<&'a mut [T]> {
    if results.is_null() {
        return Err(null("results_out"));
    }
    // SAFETY: the caller's promise.
    unsafe { slice_mut(results, count, "results_out") }
}

/// mc_store_put_batch()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_batch_put_from(
    store: *mut c_void,
    keys: *mut *const c_char,
    buffers: *mut *mut c_void,
    sizes: *const usize,
    count: usize,
    config: *const mooncake_replicate_config,
    results_out: *mut c_int,
) -> c_int {
    or_number("mooncake_store_batch_put_from", || {
        // SAFETY: arrays of `count` items and a config, or NULL, by the header.
        let (batch, options, results) = unsafe {
            (batch_of(keys, buffers, sizes, count)?, options_of(config)?, results_of(results_out, count)?)
        };
        let running = running(store)?;
        let puts: Vec<Put<'_>> = batch.iter().map(|(key, from)| Put { key, from }).collect();
        for (slot, result) in results.iter_mut().zip(running.opened.store.put(&puts, &options)) {
            *slot = put_outcome(result).map_or_else(|error| number(error.code), |()| 0);
        }
        Ok(0)
    })
}

fn bytes(size: u64) -> Result<i64> {
    i64::try_from(size).map_err(|_| fail!(Internal, "an object of {size} bytes"))
}

/// mc_store_get()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_get_into(
    store: *mut c_void,
    key: *const c_char,
    buffer: *mut c_void,
    size: usize,
) -> i64 {
    or_number("mooncake_store_get_into", || {
        // SAFETY: a text and memory, or NULL, by the header.
        let (key, piece) = unsafe { (self::key(key)?, piece(buffer, size)?) };
        let running = running(store)?;
        let wanted = [(key, Wanted::Whole(&[piece]))];
        let got = running.opened.store.get(&wanted, &Default::default()).remove(0);
        bytes(got.map_err(|failure| failure.error)?.size)
    })
}

/// mc_store_get_batch()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_batch_get_into(
    store: *mut c_void,
    keys: *mut *const c_char,
    buffers: *mut *mut c_void,
    sizes: *const usize,
    count: usize,
    results_out: *mut i64,
) -> c_int {
    or_number("mooncake_store_batch_get_into", || {
        // SAFETY: arrays of `count` items, or NULL, by the header.
        let (batch, results) =
            unsafe { (batch_of(keys, buffers, sizes, count)?, results_of(results_out, count)?) };
        let running = running(store)?;
        let wanted: Vec<(&[u8], Wanted<'_>)> =
            batch.iter().map(|(key, into)| (*key, Wanted::Whole(into))).collect();
        for (slot, got) in results.iter_mut().zip(running.opened.store.get(&wanted, &Default::default())) {
            let got = got.map_err(|failure| failure.error).and_then(|got| bytes(got.size));
            *slot = got.unwrap_or_else(|error| i64::from(number(error.code)));
        }
        Ok(0)
    })
}

/// mc_store_exists()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_is_exist(store: *mut c_void, key: *const c_char) -> c_int {
    or_number("mooncake_store_is_exist", || {
        // SAFETY: a text or NULL, by the header.
        let key = unsafe { self::key(key)? };
        match running(store)?.opened.store.exists(&[key], false, None).remove(0) {
            Ok(_) => Ok(1),
            Err(failure) if failure.code() == Code::NotFound => Ok(0),
            Err(failure) => Err(failure.error),
        }
    })
}

/// mc_store_exists_batch()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_batch_is_exist(
    store: *mut c_void,
    keys: *mut *const c_char,
    count: usize,
    results_out: *mut c_int,
) -> c_int {
    or_number("mooncake_store_batch_is_exist", || {
        // SAFETY: arrays of `count` items, or NULL, by the header.
        let (names, results) = unsafe { (slice(keys, count, "keys"), results_of(results_out, count)?) };
        let names = names.map_err(|error| error.with_code(Code::InvalidHandle))?;
        // SAFETY: texts or NULL, by the header.
        let names = names.iter().map(|name| unsafe { self::key(*name) }).collect::<Result<Vec<_>>>()?;
        let running = running(store)?;
        for (slot, known) in results.iter_mut().zip(running.opened.store.exists(&names, false, None)) {
            *slot = match known {
                Ok(_) => 1,
                Err(failure) if failure.code() == Code::NotFound => 0,
                Err(failure) => number(failure.code()),
            };
        }
        Ok(0)
    })
}

/// mc_store_get_size()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_get_size(store: *mut c_void, key: *const c_char) -> i64 {
    or_number("mooncake_store_get_size", || {
        // SAFETY: a text or NULL, by the header.
        let key = unsafe { self::key(key)? };
        let known = running(store)?.opened.store.exists(&[key], false, None).remove(0);
        bytes(known.map_err(|failure| failure.error)?.size)
    })
}

/// mc_store_get_info()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_get_hostname(
    store: *mut c_void,
    buf_out: *mut c_char,
    buf_len: usize,
) -> c_int {
    or_number("mooncake_store_get_hostname", || {
        if buf_out.is_null() || buf_len == 0 {
            return Err(null("buf_out"));
        }
        // SAFETY: writable for `buf_len` bytes, by the header.
        let buffer = unsafe { slice_mut(buf_out.cast::<u8>(), buf_len, "buf_out")? };
        let running = running(store)?;
        let name = running.hostname.as_bytes();
        if name.len() >= buffer.len() {
            // There it is a -1.
            bail!(InvalidHandle, "{} bytes are needed, buf_out has {buf_len}", name.len() + 1);
        }
        buffer[..name.len()].copy_from_slice(name);
        buffer[name.len()] = 0;
        Ok(0)
    })
}

/// mc_store_remove()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_remove(
    store: *mut c_void,
    key: *const c_char,
    force: c_int,
) -> c_int {
    or_number("mooncake_store_remove", || {
        // SAFETY: a text or NULL, by the header.
        let key = unsafe { self::key(key)? };
        let unless_leased = force == 0;
        match running(store)?.opened.store.remove(&[key], unless_leased, None).remove(0) {
            Ok(()) => Ok(0),
            Err(failure) if unless_leased && failure.code() == Code::Busy => Ok(OBJECT_HAS_LEASE),
            Err(failure) => Err(failure.error),
        }
    })
}

fn remove_matching(store: *mut c_void, regex: &str, force: c_int) -> Result<i64> {
    let matching = Matching { regex: regex.to_owned(), ..Default::default() };
    let done = running(store)?.opened.store.remove_where(&matching, force == 0, None);
    bytes(done.map_err(|failure| failure.error)?.removed)
}

/// mc_store_remove_matching()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mooncake_store_remove_by_regex(
    store: *mut c_void,
    pattern: *const c_char,
    force: c_int,
) -> i64 {
    or_number("mooncake_store_remove_by_regex", || {
        // SAFETY: a text or NULL, by the header.
        let pattern = unsafe { text(pattern, "pattern")? }.ok_or_else(|| null("pattern"))?;
        remove_matching(store, pattern, force).context(format_args!("pattern {pattern:?}"))
    })
}

/// mc_store_remove_matching()
#[unsafe(no_mangle)]
pub extern "C" fn mooncake_store_remove_all(store: *mut c_void, force: c_int) -> i64 {
    or_number("mooncake_store_remove_all", || remove_matching(store, "", force))
}

/// mc_memory_register()
#[unsafe(no_mangle)]
pub extern "C" fn mooncake_store_register_buffer(
    store: *mut c_void,
    buffer: *mut c_void,
    size: usize,
) -> c_int {
    or_number("mooncake_store_register_buffer", || {
        if buffer.is_null() || size == 0 {
            return Err(null("buffer"));
        }
        let running = running(store)?;
        running.memory.register(running.opened.store.engine(), &[(buffer as usize, size)], "*", false)?;
        Ok(0)
    })
}

/// mc_memory_unregister()
#[unsafe(no_mangle)]
pub extern "C" fn mooncake_store_unregister_buffer(store: *mut c_void, buffer: *mut c_void) -> c_int {
    or_number("mooncake_store_unregister_buffer", || {
        let running = running(store)?;
        running.memory.unregister(running.opened.store.engine(), buffer as usize)?;
        Ok(0)
    })
}
