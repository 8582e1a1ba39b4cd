//! The 27 functions of transfer_engine_c.h. The header says what they promise, docs/compat.md how they are spelled
//! natively; these are spelling only.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::boundary::*;
use super::layout::*;
use super::notifications;
use super::status::status_of;
use crate::compat::{Arguments, Session, Transfer};
use crate::error::Result;
use crate::ffi::boundary::{output, slice, slice_mut, text};
use crate::ffi::live;
use crate::{bail, fail};

/// mc_engine_create()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn createTransferEngine(
    metadata_conn_string: *const c_char,
    local_server_name: *const c_char,
    _ip_or_host_name: *const c_char,
    _rpc_port: u64,
    auto_discover: c_int,
) -> *mut c_void {
    or_else("createTransferEngine", std::ptr::null_mut(), || {
        // SAFETY: texts or NULL, by the header.
        let arguments = unsafe {
            Arguments {
                metadata: required(metadata_conn_string, "metadata_conn_string")?,
                local_server_name: required(local_server_name, "local_server_name")?,
                auto_discover: auto_discover != 0,
            }
        };
        Ok(live::insert_session(|tag| Session::create(&arguments, tag))? as *mut c_void)
    })
}

/// mc_engine_destroy()
#[unsafe(no_mangle)]
pub extern "C" fn destroyTransferEngine(engine: *mut c_void) {
    if engine.is_null() {
        return;
    }
    or_negative("destroyTransferEngine", || {
        session_of(engine)?.say_what_is_left();
        live::remove(engine as u64)?.destroy();
        Ok(())
    });
}

/// mc_host_get_report()
#[unsafe(no_mangle)]
pub extern "C" fn discoverTopology(engine: *mut c_void) -> c_int {
    or_negative("discoverTopology", || {
        session_of(engine)?.topology.discover(&[]);
        Ok(())
    })
}

/// mc_engine_get_info()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getLocalIpAndPort(
    engine: *mut c_void,
    buf_out: *mut c_char,
    buf_len: usize,
) -> c_int {
    or_negative("getLocalIpAndPort", || {
        // SAFETY: writable for `buf_len` bytes, or NULL, by the header.
        let buffer = unsafe { slice_mut(buf_out.cast::<u8>(), buf_len, "buf_out")? };
        let first = buffer.first_mut().ok_or_else(|| fail!(InvalidArgument, "buf_len is 0"))?;
        // Callers that ignore the result find an end in any case.
        *first = 0;
        put(&session_of(engine)?.address(), buffer)
    })
}

/// A host program's signals are its own: this only says so.
#[unsafe(no_mangle)]
pub extern "C" fn enableGracefulShutdown(engine: *mut c_void) {
    or_negative("enableGracefulShutdown", || {
        session_of(engine)?;
        tracing::info!("enableGracefulShutdown: this library installs no signal handlers; nothing was done");
        Ok(())
    });
}

/// Natively an engine has its transports from the start; see the option "transports".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn installTransport(
    engine: *mut c_void,
    proto: *const c_char,
    args: *mut *mut c_void,
) -> *mut c_void {
    or_else("installTransport", std::ptr::null_mut(), || {
        let session = session_of(engine)?;
        // SAFETY: a text or NULL, and NULL or an array of texts that ends with NULL, by the header.
        let (proto, matrix) = unsafe { (required(proto, "proto")?, first_argument(args)?) };
        if let Some(matrix) = matrix.filter(|matrix| !matrix.is_empty()) {
            session.topology.read(matrix)?;
        }
        let protocol = session.transports.install(proto)?;
        Ok((&raw const *protocol).cast_mut().cast())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn uninstallTransport(engine: *mut c_void, proto: *const c_char) -> c_int {
    or_negative("uninstallTransport", || {
        // SAFETY: a text or NULL, by the header.
        let proto = unsafe { required(proto, "proto")? };
        session_of(engine)?.transports.uninstall(proto);
        Ok(())
    })
}

/// mc_segment_open()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openSegment(engine: *mut c_void, segment_name: *const c_char) -> i32 {
    or_else("openSegment", -1, || {
        // SAFETY: a text or NULL, by the header.
        session_of(engine)?.open(unsafe { required(segment_name, "segment_name")? })
    })
}

/// mc_segment_open() and mc_segment_refresh()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openSegmentNoCache(engine: *mut c_void, segment_name: *const c_char) -> i32 {
    or_else("openSegmentNoCache", -1, || {
        // SAFETY: a text or NULL, by the header.
        session_of(engine)?.open_anew(unsafe { required(segment_name, "segment_name")? })
    })
}

/// mc_segment_close()
#[unsafe(no_mangle)]
pub extern "C" fn closeSegment(engine: *mut c_void, segment_id: i32) -> c_int {
    or_negative("closeSegment", || session_of(engine)?.close(segment_id))
}

/// mc_segment_close(), by name
#[unsafe(no_mangle)]
pub unsafe extern "C" fn removeLocalSegment(engine: *mut c_void, segment_name: *const c_char) -> c_int {
    or_negative("removeLocalSegment", || {
        // SAFETY: a text or NULL, by the header.
        session_of(engine)?.forget(unsafe { required(segment_name, "segment_name")? })
    })
}

/// Nothing to warm up: lanes to a peer stand since it was opened.
#[unsafe(no_mangle)]
pub extern "C" fn warmupEfaSegment(engine: *mut c_void, _segment_name: *const c_char) -> c_int {
    or_negative("warmupEfaSegment", || session_of(engine).map(|_| ()))
}

/// What peers offer is kept fresh without being asked: what is not known, or was taken back, is asked for when it is
/// needed. So this never waits.
#[unsafe(no_mangle)]
pub extern "C" fn syncSegmentCache(engine: *mut c_void) -> c_int {
    or_negative("syncSegmentCache", || session_of(engine).map(|_| ()))
}

/// mc_memory_register()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn registerLocalMemory(
    engine: *mut c_void,
    addr: *mut c_void,
    length: usize,
    location: *const c_char,
    remote_accessible: c_int,
) -> c_int {
    or_negative("registerLocalMemory", || {
        let session = session_of(engine)?;
        // SAFETY: a text or NULL, by the header.
        let location = unsafe { text(location, "location")? }.unwrap_or("*");
        let ranges = [(addr as usize, length)];
        session.memory.register(&session.engine, &ranges, location, remote_accessible != 0)
    })
}

/// mc_memory_unregister()
#[unsafe(no_mangle)]
pub extern "C" fn unregisterLocalMemory(engine: *mut c_void, addr: *mut c_void) -> c_int {
    or_negative("unregisterLocalMemory", || {
        let session = session_of(engine)?;
        session.memory.unregister(&session.engine, addr as usize)
    })
}

/// mc_memory_register_batch(), all or nothing
#[unsafe(no_mangle)]
pub unsafe extern "C" fn registerLocalMemoryBatch(
    engine: *mut c_void,
    buffer_list: *mut buffer_entry,
    buffer_len: usize,
    location: *const c_char,
) -> c_int {
    or_negative("registerLocalMemoryBatch", || {
        let session = session_of(engine)?;
        // SAFETY: readable for `buffer_len` entries, and a text or NULL, by the header.
        let (entries, location) = unsafe {
            (slice(buffer_list, buffer_len, "buffer_list")?, text(location, "location")?.unwrap_or("*"))
        };
        let ranges: Vec<(usize, usize)> =
            entries.iter().map(|entry| (entry.addr as usize, entry.length)).collect();
        session.memory.register(&session.engine, &ranges, location, true)
    })
}

/// mc_memory_unregister_batch()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unregisterLocalMemoryBatch(
    engine: *mut c_void,
    addr_list: *mut *mut c_void,
    addr_len: usize,
) -> c_int {
    or_negative("unregisterLocalMemoryBatch", || {
        let session = session_of(engine)?;
        // SAFETY: readable for `addr_len` entries, by the header.
        let list = unsafe { slice(addr_list, addr_len, "addr_list")? };
        let addresses: Vec<usize> = list.iter().map(|address| *address as usize).collect();
        session.memory.unregister_all(&session.engine, &addresses)
    })
}

/// Natively a batch is made by its submit. The size is a hint that nothing here needs.
#[unsafe(no_mangle)]
pub extern "C" fn allocateBatchID(engine: *mut c_void, _batch_size: usize) -> u64 {
    or_else("allocateBatchID", INVALID_BATCH, || {
        let session = session_of(engine)?;
        session.batches.allocate(&session.engine)
    })
}

/// mc_batch_submit()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn submitTransfer(
    engine: *mut c_void,
    batch_id: u64,
    entries: *mut transfer_request,
    count: usize,
) -> c_int {
    or_positive("submitTransfer", || {
        // SAFETY: readable for `count` entries, by the header.
        let transfers = unsafe { transfers_of(entries, count)? };
        session_of(engine)?.submit(batch_id, &transfers, None)
    })
}

/// mc_batch_submit() with the notify fields of its options
#[unsafe(no_mangle)]
pub unsafe extern "C" fn submitTransferWithNotify(
    engine: *mut c_void,
    batch_id: u64,
    entries: *mut transfer_request,
    count: usize,
    notify_msg: notify_msg,
) -> c_int {
    or_positive("submitTransferWithNotify", || {
        // SAFETY: readable for `count` entries, and texts or NULL, by the header.
        let (transfers, letter) = unsafe { (transfers_of(entries, count)?, letter_of(&notify_msg)?) };
        session_of(engine)?.submit(batch_id, &transfers, Some(letter))
    })
}

/// mc_batch_task()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getTransferStatus(
    engine: *mut c_void,
    batch_id: u64,
    task_id: usize,
    status: *mut transfer_status,
) -> c_int {
    or_positive_quietly(|| {
        let session = session_of(engine)?;
        // SAFETY: writable or NULL, by the header.
        let out = unsafe { output(status, "status")? };
        let (progress, transferred_bytes) = session.progress(batch_id, task_id)?;
        *out = transfer_status { status: status_of(progress), transferred_bytes };
        Ok(())
    })
}

/// mc_batch_release()
#[unsafe(no_mangle)]
pub extern "C" fn freeBatchID(engine: *mut c_void, batch_id: u64) -> c_int {
    or_positive_quietly(|| session_of(engine)?.free_batch(batch_id))
}

/// mc_notify_receive(), all at once
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getNotifsFromEngine(engine: *mut c_void, size: *mut c_int) -> *mut notify_msg {
    let mut array = std::ptr::null_mut();
    // Called in a loop, also on an engine that is none.
    or_positive_quietly(|| {
        // SAFETY: writable or NULL, by the header.
        let size = unsafe { output(size, "size")? };
        // Callers that ignore the result walk over this many.
        *size = 0;
        let taken = session_of(engine)?.take_notifications()?;
        *size = c_int::try_from(taken.len()).map_err(|_| fail!(Internal, "too many notifications"))?;
        array = notifications::hand_out(taken);
        Ok(())
    });
    array
}

#[unsafe(no_mangle)]
pub extern "C" fn freeNotifsMsgBuf(msg: *mut notify_msg, _size: c_int) -> c_int {
    or_negative("freeNotifsMsgBuf", || notifications::take_back(msg))
}

/// mc_notify_send()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn genNotifyInEngine(
    engine: *mut c_void,
    target_id: u64,
    notify_msg: notify_msg,
) -> c_int {
    or_negative("genNotifyInEngine", || {
        let session = session_of(engine)?;
        // SAFETY: texts or NULL, by the header.
        let (name, message) = unsafe { letter_of(&notify_msg)? };
        let segment = i32::try_from(target_id)
            .map_err(|_| fail!(InvalidArgument, "target_id {target_id} is no segment"))?;
        session.notify(segment, name, message)
    })
}

/// mc_engine_get_stats(). Cards of RDMA are counted; there are none yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getNicLoadStats(
    engine: *mut c_void,
    stats: *mut nic_load_stat,
    count: *mut usize,
) -> c_int {
    or_negative("getNicLoadStats", || {
        session_of(engine)?;
        // SAFETY: writable or NULL, by the header.
        let count = unsafe { output(count, "count")? };
        if stats.is_null() && *count > 0 {
            bail!(InvalidArgument, "stats is NULL but its count is {count}");
        }
        *count = 0;
        Ok(())
    })
}

/// mc_segment_get_info(), of all at once
#[unsafe(no_mangle)]
pub unsafe extern "C" fn showLinks(
    engine: *mut c_void,
    buf_out: *mut c_char,
    buf_len: usize,
    json: c_int,
) -> c_int {
    or_negative("showLinks", || {
        let session = session_of(engine)?;
        // SAFETY: writable for `buf_len` bytes, or NULL, by the header.
        let buffer = unsafe { slice_mut(buf_out.cast::<u8>(), buf_len, "buf_out")? };
        if buffer.is_empty() {
            bail!(InvalidArgument, "buf_len is 0");
        }
        let shown = if json == 0 { session.links_text() } else { session.links_json() };
        // As much as fits, as there; the thread's message says that it was cut.
        put(&shown, buffer).or_else(|_| cut(&shown, buffer))
    })
}

/// Writes a text and its NUL, or nothing.
fn put(text: &str, buffer: &mut [u8]) -> Result<()> {
    if text.len() >= buffer.len() {
        bail!(BufferTooSmall, "{} bytes are needed, the buffer has {}", text.len() + 1, buffer.len());
    }
    buffer[..text.len()].copy_from_slice(text.as_bytes());
    buffer[text.len()] = 0;
    Ok(())
}

/// Writes what fits of a text, up to a whole character, and a NUL.
fn cut(text: &str, buffer: &mut [u8]) -> Result<()> {
    let mut length = buffer.len() - 1;
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    put(&text[..length], buffer)
}

/// # Safety
/// `entries` is NULL or readable for `count` entries.
unsafe fn transfers_of(entries: *const transfer_request, count: usize) -> Result<Vec<Transfer>> {
    // SAFETY: the caller's promise.
    let entries = unsafe { slice(entries, count, "entries")? };
    entries.iter().enumerate().map(|(index, entry)| transfer_of(index, entry)).collect()
}

/// # Safety
/// `args` is NULL or an array of texts that ends with NULL.
unsafe fn first_argument<'a>(args: *mut *mut c_void) -> Result<Option<&'a str>> {
    // SAFETY: the caller's promise: one item at least, if any.
    let items = unsafe { slice(args, usize::from(!args.is_null()), "args")? };
    match items.first().filter(|first| !first.is_null()) {
        None => Ok(None),
        // SAFETY: a text, by the caller's promise.
        Some(first) => unsafe { CStr::from_ptr(first.cast()) }
            .to_str()
            .map(Some)
            .map_err(|_| fail!(InvalidArgument, "args[0] is not UTF-8")),
    }
}
