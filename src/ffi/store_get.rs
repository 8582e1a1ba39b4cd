//! Getting objects from the store: whole, in parts, into memory of the store's, in the background, or piece by piece.

use std::ffi::c_void;

use super::boundary::{call, output, slice, slice_mut, timeout};
use super::cq::mc_cq_t;
use super::memory::{at_least_one, mc_span_t};
use super::opened::{Child, Opened};
use super::options::{self, Sized32, check_flags};
use super::status::mc_status_t;
use super::store::*;
use super::store_put::{Results, outcome_of};
use crate::bail;
use crate::error::{Code, Context, Error, Result};
use crate::store::client::{self, GetOptions, GetSession, Got, Part, Wanted};
use crate::sys::memory::Mem;

/// How objects are got; mc_store_get_options_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_get_options_t {
    /// sizeof(mc_store_get_options_t)
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// MC_STORE_FLAG_FRESH
    pub flags: u64,
    /// Milliseconds for the whole operation; 0: the store's deadline.
    pub timeout_ms: u64,
}

// SAFETY: repr(C), size first, zeros are defaults.
unsafe impl Sized32 for mc_store_get_options_t {}

/// A part of an object, and where it goes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_range_t {
    /// Bytes from the object's first; as many follow as the spans take.
    pub offset: u64,
    /// [span_count] pieces of memory that are filled one after another.
    pub spans: *const mc_span_t,
    /// Items in spans.
    pub span_count: usize,
}

/// One object to get: all of it into `spans`, or parts of it into those of `ranges`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_get_t {
    /// Its key.
    pub key: mc_store_key_t,
    /// [span_count] pieces of memory that are filled one after another; they may have more room. NULL with ranges.
    pub spans: *const mc_span_t,
    /// Items in spans.
    pub span_count: usize,
    /// [range_count] parts. NULL: the whole object.
    pub ranges: *const mc_store_range_t,
    /// Items in ranges.
    pub range_count: usize,
}

/// Memory that a store handed out, of one store. 0 is never valid.
pub type mc_store_buffer_t = u64;

/// An object in memory of the store's.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_view_t {
    /// End it with mc_store_buffer_release(); 0 where getting it failed.
    pub buffer: mc_store_buffer_t,
    /// First byte; the memory is the caller's to write, too.
    pub address: *mut c_void,
    /// Bytes of the object.
    pub length: u64,
}

/// An object that is being read, of one store. 0 is never valid.
pub type mc_store_reading_t = u64;

/// # Safety
/// `pointer` is NULL or readable for its declared size.
unsafe fn read_options(pointer: *const mc_store_get_options_t) -> Result<GetOptions> {
    // SAFETY: the caller's promise.
    let options = unsafe { options::read(pointer, "options")? };
    check_flags(options.flags, MC_STORE_FLAG_FRESH, "options->flags")?;
    check_flags(u64::from(options.reserved), 0, "options->reserved")?;
    Ok(GetOptions {
        fresh: options.flags & MC_STORE_FLAG_FRESH != 0,
        deadline: deadline_of(options.timeout_ms),
    })
}

/// What is wanted of one object.
enum Want {
    Whole(Vec<Mem>),
    Parts(Vec<(u64, Vec<Mem>)>),
}

/// Gets of a batch, each with its own memory and a copy of its key.
type Gets = Vec<(Vec<u8>, Want)>;

/// # Safety
/// `gets` is NULL or readable for `count` items, with all that they name; the memory for as long as the result is used.
unsafe fn gets_of(gets: *const mc_store_get_t, count: usize) -> Result<Gets> {
    at_least_one(count)?;
    // SAFETY: the caller's promise.
    let gets = unsafe { slice(gets, count, "gets")? };
    let one = |(index, get): (usize, &mc_store_get_t)| {
        // SAFETY: the caller's promise.
        let (key, want) = unsafe { (key_of(get.key.data, get.key.length), want_of(get)) };
        let named = |error: Error| error.context(format_args!("item {index}"));
        Ok((key.map_err(named)?.to_vec(), want.map_err(named)?))
    };
    gets.iter().enumerate().map(one).collect()
}

/// # Safety
/// As of `gets_of`.
unsafe fn want_of(get: &mc_store_get_t) -> Result<Want> {
    if get.ranges.is_null() && get.range_count == 0 {
        // SAFETY: the caller's promise.
        return Ok(Want::Whole(unsafe { pieces_of(get.spans, get.span_count)? }));
    }
    if !get.spans.is_null() || get.span_count != 0 {
        bail!(InvalidArgument, "spans and ranges are both set");
    }
    // SAFETY: the caller's promise.
    unsafe { parts_of(get.ranges, get.range_count) }.map(Want::Parts)
}

/// # Safety
/// As of `gets_of`.
unsafe fn parts_of(ranges: *const mc_store_range_t, count: usize) -> Result<Vec<(u64, Vec<Mem>)>> {
    // SAFETY: the caller's promise.
    let ranges = unsafe { slice(ranges, count, "ranges")? };
    let part = |(index, range): (usize, &mc_store_range_t)| {
        // SAFETY: the caller's promise.
        let pieces = unsafe { pieces_of(range.spans, range.span_count) };
        Ok((range.offset, pieces.context(format_args!("range {index}"))?))
    };
    ranges.iter().enumerate().map(part).collect()
}

fn borrowed(parts: &[(u64, Vec<Mem>)]) -> Vec<Part<'_>> {
    parts.iter().map(|(offset, into)| Part { offset: *offset, into }).collect()
}

fn run(store: &client::Store, gets: &Gets, options: &GetOptions) -> Vec<client::Result<Got>> {
    let parts: Vec<Vec<Part<'_>>> = gets
        .iter()
        .map(|(_, want)| match want {
            Want::Whole(_) => Vec::new(),
            Want::Parts(parts) => borrowed(parts),
        })
        .collect();
    let wanted: Vec<(&[u8], Wanted<'_>)> = gets
        .iter()
        .zip(&parts)
        .map(|((key, want), parts)| match want {
            Want::Whole(into) => (key.as_slice(), Wanted::Whole(into)),
            Want::Parts(_) => (key.as_slice(), Wanted::Parts(parts)),
        })
        .collect();
    store.get(&wanted, options)
}

fn found(got: &Got) -> mc_store_result_t {
    mc_store_result_t { size: got.size, version: got.version.0, ..Default::default() }
}

/// Gets a whole object into a buffer of the caller's, every byte of it verified.
///
/// @param store  the store
/// @param key  [key_length]
/// @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
/// @param[out] buffer  [size]; undefined on failure
/// @param size  bytes in buffer; it may have more room than the object has bytes
/// @param options  NULL: the store's deadline
/// @param[out] out_result  size and version, or when to try again; written on failure, too; may be NULL
/// Errors: MC_ERR_NOT_FOUND, MC_ERR_BUFFER_TOO_SMALL (the text has the size), MC_ERR_NOT_READY (a master that has just
/// taken over does not know yet), MC_ERR_UNREACHABLE, MC_ERR_CORRUPTED (every replica is), MC_ERR_LEASE_EXPIRED (reading
/// took longer than a lease, again and again), MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master and the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_get(
    store: *mut mc_store_t,
    key: *const c_void,
    key_length: usize,
    buffer: *mut c_void,
    size: usize,
    options: *const mc_store_get_options_t,
    out_result: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, key, piece, out) = unsafe {
            (
                read_options(options)?,
                key_of(key, key_length)?,
                piece_of(buffer, size).context("buffer")?,
                optional(out_result, "out_result")?,
            )
        };
        let pieces: &[Mem] = if piece.is_empty() { &[] } else { &[piece] };
        let result = store.store.get(&[(key, Wanted::Whole(pieces))], &options).remove(0);
        settle_one(result, out, found).map(drop)
    })
}

/// Gets a part of an object into a buffer of the caller's.
///
/// @param store  the store
/// @param key  [key_length]
/// @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
/// @param offset  bytes from the object's first
/// @param[out] buffer  [length]; undefined on failure
/// @param length  bytes to get
/// @param options  NULL: the store's deadline
/// @param[out] out_result  size of the whole object, and its version; written on failure, too; may be NULL
/// Errors: those of mc_store_get(); MC_ERR_INVALID_ARGUMENT also when the part is not within the object.
/// Threads: blocks for the master and the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_get_range(
    store: *mut mc_store_t,
    key: *const c_void,
    key_length: usize,
    offset: u64,
    buffer: *mut c_void,
    length: usize,
    options: *const mc_store_get_options_t,
    out_result: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, key, piece, out) = unsafe {
            (
                read_options(options)?,
                key_of(key, key_length)?,
                piece_of(buffer, length).context("buffer")?,
                optional(out_result, "out_result")?,
            )
        };
        if length == 0 {
            bail!(InvalidArgument, "length is 0");
        }
        let part = Part { offset, into: &[piece] };
        let result = store.store.get(&[(key, Wanted::Parts(&[part]))], &options).remove(0);
        settle_one(result, out, found).map(drop)
    })
}

/// Gets many objects, or many parts of many objects, with one question to the master.
///
/// @param store  the store
/// @param gets  [count]
/// @param count  at least 1
/// @param options  for all of them; NULL: the store's deadline
/// @param[out] out_results  [count]; written unless an argument is wrong
/// Errors: the first failure among the results, which are those of mc_store_get() and mc_store_get_range();
/// MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master and the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_get_batch(
    store: *mut mc_store_t,
    gets: *const mc_store_get_t,
    count: usize,
    options: *const mc_store_get_options_t,
    out_results: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, gets, out) = unsafe {
            (read_options(options)?, gets_of(gets, count)?, slice_mut(out_results, count, "out_results")?)
        };
        settle_all(run(&store.store, &gets, &options), out, |_, got| found(got))
    })
}

/// Gets many objects in the background and returns at once.
///
/// One completion of kind MC_COMPLETION_STORE comes into the queue when all are done: its status is the first failure,
/// its length the bytes of all objects.
///
/// @param store  the store
/// @param gets  [count], copied, keys and lists of spans and ranges too
/// @param count  at least 1
/// @param options  for all of them; NULL: the store's deadline
/// @param cq  queue of the store's engine
/// @param user_data  comes back in the completion
/// @param[out] out_results  [count]; written before the completion is there
/// Memory: the spans and out_results belong to the store until the completion. It comes in any case: closing the store
/// makes it MC_ERR_CANCELED, and then out_results are not written.
/// Errors: MC_ERR_INVALID_HANDLE (store or queue), MC_ERR_INVALID_ARGUMENT, MC_ERR_EXHAUSTED (the queue could overflow, or
/// too much waits already). On an error nothing was started.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_get_submit(
    store: *mut mc_store_t,
    gets: *const mc_store_get_t,
    count: usize,
    options: *const mc_store_get_options_t,
    cq: mc_cq_t,
    user_data: u64,
    out_results: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, gets) = unsafe { (read_options(options)?, gets_of(gets, count)?) };
        // SAFETY: as above.
        unsafe { slice_mut(out_results, count, "out_results")? };
        let results = Results(out_results, count);
        store.store.in_background(cq, user_data, move |store| {
            let done = run(store, &gets, &options);
            // SAFETY: the array belongs to this job until its completion, by the rules of this function.
            let out = unsafe { results.slice() };
            // The first failure is found again in the results.
            let _ = settle_all(done, out, |_, got| found(got));
            outcome_of(out)
        })
    })
}

/// How often an object may grow between asking for its size and getting it.
const GROWTHS: usize = 4;

/// An object in memory of ours, or why not.
type Fetched = client::Result<(Box<[u8]>, Got)>;

/// Gets objects into memory of ours: asks how large they are, and gets them.
fn views(store: &Opened, keys: &[&[u8]], options: &GetOptions) -> Vec<Fetched> {
    let mut results: Vec<Option<Fetched>> = keys.iter().map(|_| None).collect();
    for _ in 0..GROWTHS {
        let missing: Vec<usize> = (0..keys.len()).filter(|index| results[*index].is_none()).collect();
        if missing.is_empty() {
            break;
        }
        let asked: Vec<&[u8]> = missing.iter().map(|index| keys[*index]).collect();
        let known = store.store.exists(&asked, true, options.deadline);
        let mut rooms: Vec<(usize, Box<[u8]>, Vec<Mem>)> = Vec::with_capacity(missing.len());
        for (index, known) in missing.into_iter().zip(known) {
            match known.and_then(|known| room_of(known.size).map_err(client::Failure::from)) {
                Ok((room, pieces)) => rooms.push((index, room, pieces)),
                Err(failure) => results[index] = Some(Err(failure)),
            }
        }
        let wanted: Vec<(&[u8], Wanted<'_>)> =
            rooms.iter().map(|(index, _, pieces)| (keys[*index], Wanted::Whole(pieces))).collect();
        // What was replaced since it was asked for is found again at its new place.
        let fresh = GetOptions { fresh: true, ..options.clone() };
        let got = store.store.get(&wanted, &fresh);
        drop(wanted);
        for ((index, room, _), got) in rooms.into_iter().zip(got) {
            results[index] = match got {
                Ok(got) => Some(Ok((room, got))),
                Err(failure) if failure.code() == Code::BufferTooSmall => None,
                Err(failure) => Some(Err(failure)),
            };
        }
    }
    let grows = || Err(crate::fail!(Busy, "the object grows all the time").into());
    results.into_iter().map(|result| result.unwrap_or_else(grows)).collect()
}

fn room_of(size: u64) -> Result<(Box<[u8]>, Vec<Mem>)> {
    let size = usize::try_from(size).ok().filter(|size| *size <= isize::MAX as usize);
    let Some(size) = size else { bail!(NoSpace, "the object does not fit into this process's memory") };
    let mut room = Vec::new();
    if room.try_reserve_exact(size).is_err() {
        bail!(NoSpace, "there is no memory for an object of {size} bytes");
    }
    room.resize(size, 0u8);
    let mut room = room.into_boxed_slice();
    // SAFETY: the box does not move its bytes, and stands beside the pieces for as long as they are used.
    let piece = unsafe { Mem::new(room.as_mut_ptr() as usize, size) };
    Ok((room, vec![piece]))
}

/// Hands the memory out: its bytes stay where they are.
fn hand_out(store: &Opened, mut room: Box<[u8]>, got: &Got, view: &mut mc_store_view_t) -> Result<()> {
    let (address, length) = (room.as_mut_ptr(), got.size);
    let buffer = store.keep(Child::Buffer(room))?;
    *view = mc_store_view_t { buffer, address: address.cast(), length };
    Ok(())
}

/// Gets a whole object into memory that the store allocates.
///
/// @param store  the store
/// @param key  [key_length]
/// @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
/// @param options  NULL: the store's deadline
/// @param[out] out_view  the object; end it with mc_store_buffer_release()
/// @param[out] out_result  version, or when to try again; written on failure, too; may be NULL
/// Errors: those of mc_store_get(), but for MC_ERR_BUFFER_TOO_SMALL; MC_ERR_NO_SPACE (memory of this process),
/// MC_ERR_EXHAUSTED (524,288 sessions and buffers live).
/// Threads: blocks for the master and the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_get_view(
    store: *mut mc_store_t,
    key: *const c_void,
    key_length: usize,
    options: *const mc_store_get_options_t,
    out_view: *mut mc_store_view_t,
    out_result: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, key, view, out) = unsafe {
            (
                read_options(options)?,
                key_of(key, key_length)?,
                output(out_view, "out_view")?,
                optional(out_result, "out_result")?,
            )
        };
        let result = views(&store, &[key], &options).remove(0);
        let (room, got) = settle_one(result, out, |(_, got)| found(got))?;
        hand_out(&store, room, &got, view)
    })
}

/// Gets many objects into memory that the store allocates.
///
/// @param store  the store
/// @param keys  [count]
/// @param count  at least 1
/// @param options  for all of them; NULL: the store's deadline
/// @param[out] out_views  [count]; buffer 0 where it failed
/// @param[out] out_results  [count]; both are written unless an argument is wrong
/// Errors: the first failure among the results, which are those of mc_store_get_view(); MC_ERR_INVALID_HANDLE,
/// MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master and the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_get_view_batch(
    store: *mut mc_store_t,
    keys: *const mc_store_key_t,
    count: usize,
    options: *const mc_store_get_options_t,
    out_views: *mut mc_store_view_t,
    out_results: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, keys, out_views, out) = unsafe {
            (
                read_options(options)?,
                keys_of(keys, count)?,
                slice_mut(out_views, count, "out_views")?,
                slice_mut(out_results, count, "out_results")?,
            )
        };
        let mut handed = Vec::with_capacity(count);
        for (result, view) in views(&store, &keys, &options).into_iter().zip(out_views) {
            *view = mc_store_view_t { buffer: 0, address: std::ptr::null_mut(), length: 0 };
            handed.push(result.and_then(|(room, got)| {
                hand_out(&store, room, &got, view).map(|()| got).map_err(client::Failure::from)
            }));
        }
        settle_all(handed, out, |_, got| found(got))
    })
}

/// Gives memory back that a store handed out.
///
/// @param store  the store
/// @param buffer  from mc_store_get_view() or mc_store_get_view_batch()
/// Errors: MC_ERR_INVALID_HANDLE (also when it was released before).
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_store_buffer_release(store: *mut mc_store_t, buffer: mc_store_buffer_t) -> mc_status_t {
    call(|| store_of(store)?.release(buffer))
}

/// Begins to read objects piece by piece: looks them up, all at once. What is read is of the version that they have now.
///
/// @param store  the store
/// @param keys  [count]
/// @param count  at least 1
/// @param options  for all of them; NULL: the store's deadline
/// @param[out] out_readings  [count]; each ends with mc_store_get_end(); 0 where it failed
/// @param[out] out_results  [count] sizes and versions; both are written unless an argument is wrong
/// Errors: the first failure among the results: MC_ERR_NOT_FOUND, MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_EXHAUSTED
/// (524,288 sessions and buffers live); MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_get_begin(
    store: *mut mc_store_t,
    keys: *const mc_store_key_t,
    count: usize,
    options: *const mc_store_get_options_t,
    out_readings: *mut mc_store_reading_t,
    out_results: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, keys, readings, out) = unsafe {
            (
                read_options(options)?,
                keys_of(keys, count)?,
                slice_mut(out_readings, count, "out_readings")?,
                slice_mut(out_results, count, "out_results")?,
            )
        };
        let (session, results) = GetSession::begin(&store.store, &keys, &options);
        let session = std::sync::Arc::new(session);
        let mut kept = Vec::with_capacity(count);
        for ((index, reading), result) in readings.iter_mut().enumerate().zip(results) {
            *reading = 0;
            kept.push(result.and_then(|got| {
                let id = store.keep(Child::Get(session.clone(), index));
                id.map(|id| *reading = id).map(|()| got).map_err(client::Failure::from)
            }));
        }
        settle_all(kept, out, |_, got| found(got))
    })
}

/// Reads parts of an object, verified.
///
/// @param store  the store
/// @param reading  from mc_store_get_begin()
/// @param ranges  [range_count] parts, and where they go; undefined on failure
/// @param range_count  at least 1
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// Errors: MC_ERR_INVALID_HANDLE (store; or the reading ended), MC_ERR_INVALID_ARGUMENT, MC_ERR_LEASE_EXPIRED (the object
/// was replaced, removed or moved meanwhile: begin again), MC_ERR_UNREACHABLE, MC_ERR_CORRUPTED, MC_ERR_TIMEOUT.
/// Threads: blocks for the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_get_read(
    store: *mut mc_store_t,
    reading: mc_store_reading_t,
    ranges: *const mc_store_range_t,
    range_count: usize,
    timeout_ms: i64,
) -> mc_status_t {
    call(|| {
        let (session, index) = store_of(store)?.get_of(reading)?;
        at_least_one(range_count)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let parts = unsafe { parts_of(ranges, range_count)? };
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        session.read(index, &borrowed(&parts), deadline).map(drop).map_err(|failure| failure.error)
    })
}

/// Ends the reading of an object.
///
/// @param store  the store
/// @param reading  from mc_store_get_begin()
/// Errors: MC_ERR_INVALID_HANDLE (also when it ended before).
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_store_get_end(store: *mut mc_store_t, reading: mc_store_reading_t) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        let (session, index) = store.get_of(reading)?;
        store.forget(reading);
        session.end(index).map_err(|failure| failure.error)
    })
}
