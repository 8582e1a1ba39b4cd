//! Putting objects into the store: one, many, in the background, or piece by piece.

use std::ffi::{c_char, c_void};

use super::boundary::{call, slice, slice_mut, text, timeout};
use super::cq::mc_cq_t;
use super::memory::{at_least_one, mc_span_t};
use super::opened::Child;
use super::options::{self, Sized32, check_flags};
use super::status::mc_status_t;
use super::store::*;
use crate::error::{Code, Context, Error, Result};
use crate::store::client::{self, Put, PutOptions, PutSession, total};
use crate::store::object::{ReplicateConfig, Version};
use crate::sys::memory::Mem;

/// How objects are put and kept; mc_store_put_options_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_put_options_t {
    /// sizeof(mc_store_put_options_t)
    pub struct_size: u32,
    /// Copies of the object on different nodes, at most 16; 0: 1.
    pub replica_count: u32,
    /// MC_STORE_FLAG_UPSERT, _HARD_PIN, _STRICT_DOMAINS, _NEAR
    pub flags: u64,
    /// Milliseconds for which eviction takes anything else first; 0: not at all.
    pub soft_pin_ms: u64,
    /// Objects of one group are evicted together; at most 256 bytes. NULL: none.
    pub group: *const c_char,
    /// [preferred_count] names of segments that are taken first, the best one first. NULL: none.
    pub preferred: *const *const c_char,
    /// Items in preferred.
    pub preferred_count: usize,
    /// Objects above so many bytes are cut into stripes on several segments; 0: never.
    pub stripe_size: u64,
    /// Milliseconds for the whole operation; 0: the store's deadline.
    pub timeout_ms: u64,
}

// SAFETY: repr(C), size first, zeros are NULLs and defaults.
unsafe impl Sized32 for mc_store_put_options_t {}

/// One object to put.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_put_t {
    /// Its key.
    pub key: mc_store_key_t,
    /// [span_count] pieces of memory that follow one another in the object.
    pub spans: *const mc_span_t,
    /// Items in spans.
    pub span_count: usize,
}

/// One object to put piece by piece.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_put_size_t {
    /// Its key.
    pub key: mc_store_key_t,
    /// Bytes of the whole object.
    pub size: u64,
}

/// An object that is being written, of one store. 0 is never valid.
pub type mc_store_writing_t = u64;

/// # Safety
/// `pointer` is NULL or readable for its declared size, its strings too.
unsafe fn read_options(pointer: *const mc_store_put_options_t) -> Result<PutOptions> {
    // SAFETY: the caller's promise.
    let options = unsafe { options::read(pointer, "options")? };
    check_flags(
        options.flags,
        MC_STORE_FLAG_UPSERT | MC_STORE_FLAG_HARD_PIN | MC_STORE_FLAG_STRICT_DOMAINS | MC_STORE_FLAG_NEAR,
        "options->flags",
    )?;
    let count = u8::try_from(options.replica_count.max(1)).unwrap_or(u8::MAX);
    // SAFETY: the caller's promise.
    let (group, preferred) = unsafe {
        (text(options.group, "options->group")?, names_of(options.preferred, options.preferred_count)?)
    };
    let config = ReplicateConfig {
        count,
        preferred,
        near: String::new(),
        soft_pin_ms: u32::try_from(options.soft_pin_ms).unwrap_or(u32::MAX),
        hard_pin: options.flags & MC_STORE_FLAG_HARD_PIN != 0,
        group: group.unwrap_or_default().to_owned(),
        strict_domains: options.flags & MC_STORE_FLAG_STRICT_DOMAINS != 0,
        stripe_size: options.stripe_size,
    };
    config.check().map_err(|refusal| refusal.into_error().context("options"))?;
    Ok(PutOptions {
        config,
        upsert: options.flags & MC_STORE_FLAG_UPSERT != 0,
        near: options.flags & MC_STORE_FLAG_NEAR != 0,
        deadline: deadline_of(options.timeout_ms),
    })
}

/// Names of segments, the best one first.
///
/// # Safety
/// `names` is NULL or readable for `count` items, each NULL or a text.
pub unsafe fn names_of(names: *const *const c_char, count: usize) -> Result<Vec<String>> {
    // SAFETY: the caller's promise.
    let names = unsafe { slice(names, count, "preferred")? };
    let name = |(index, name): (usize, &*const c_char)| {
        // SAFETY: the caller's promise.
        let name = unsafe { text(*name, "preferred")? };
        name.map(str::to_owned).ok_or_else(|| crate::fail!(InvalidArgument, "preferred[{index}] is NULL"))
    };
    names.iter().enumerate().map(name).collect()
}

fn stored(size: u64, version: Version) -> mc_store_result_t {
    mc_store_result_t { size, version: version.0, ..Default::default() }
}

/// Puts of a batch, each with its own memory.
type Puts<'a> = Vec<(&'a [u8], Vec<Mem>)>;

/// # Safety
/// `puts` is NULL or readable for `count` items, with all that they name, for as long as the result is used.
unsafe fn puts_of<'a>(puts: *const mc_store_put_t, count: usize) -> Result<Puts<'a>> {
    at_least_one(count)?;
    // SAFETY: the caller's promise.
    let puts = unsafe { slice(puts, count, "puts")? };
    let one = |(index, put): (usize, &mc_store_put_t)| {
        // SAFETY: the caller's promise.
        let (key, pieces) =
            unsafe { (key_of(put.key.data, put.key.length), pieces_of(put.spans, put.span_count)) };
        let named = |error: Error| error.context(format_args!("item {index}"));
        Ok((key.map_err(named)?, pieces.map_err(named)?))
    };
    puts.iter().enumerate().map(one).collect()
}

fn run(
    store: &client::Store,
    puts: &[(impl AsRef<[u8]>, Vec<Mem>)],
    options: &PutOptions,
) -> Vec<client::Result<Version>> {
    let puts: Vec<Put<'_>> = puts.iter().map(|(key, from)| Put { key: key.as_ref(), from }).collect();
    store.put(&puts, options)
}

/// Puts an object, and waits until all its replicas are there. The bytes are copied: the buffer is the caller's again.
///
/// @param store  the store
/// @param key  [key_length]
/// @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
/// @param data  [length]
/// @param length  bytes, at least 1
/// @param options  NULL: one replica, no pins, the store's deadline
/// @param[out] out_result  version and size, or when to try again; written on failure, too; may be NULL
/// Errors: MC_ERR_ALREADY_EXISTS (without MC_STORE_FLAG_UPSERT), MC_ERR_BUSY (somebody else puts it), MC_ERR_NO_SPACE
/// (out_result says when there may be room), MC_ERR_QUOTA_EXCEEDED, MC_ERR_NOT_READY (no master serves yet),
/// MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_CANCELED (it took longer than its grant), MC_ERR_INVALID_HANDLE,
/// MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master and the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_put(
    store: *mut mc_store_t,
    key: *const c_void,
    key_length: usize,
    data: *const c_void,
    length: usize,
    options: *const mc_store_put_options_t,
    out_result: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, key, piece, out) = unsafe {
            (
                read_options(options)?,
                key_of(key, key_length)?,
                piece_of(data, length).context("data")?,
                optional(out_result, "out_result")?,
            )
        };
        let result = store.store.put(&[Put { key, from: &[piece] }], &options).remove(0);
        settle_one(result, out, |version| stored(length as u64, *version)).map(drop)
    })
}

/// Puts many objects with one question to the master, each gathered from pieces of memory.
///
/// @param store  the store
/// @param puts  [count]
/// @param count  at least 1
/// @param options  for all of them; NULL: as in mc_store_put()
/// @param[out] out_results  [count]; written unless an argument is wrong
/// Errors: the first failure among the results, which are those of mc_store_put(); MC_ERR_INVALID_HANDLE,
/// MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master and the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_put_batch(
    store: *mut mc_store_t,
    puts: *const mc_store_put_t,
    count: usize,
    options: *const mc_store_put_options_t,
    out_results: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, puts, out) = unsafe {
            (read_options(options)?, puts_of(puts, count)?, slice_mut(out_results, count, "out_results")?)
        };
        let results = run(&store.store, &puts, &options);
        settle_all(results, out, |index, version| stored(total(&puts[index].1), *version))
    })
}

/// An array of results that belongs to C until a completion says otherwise.
pub struct Results(pub *mut mc_store_result_t, pub usize);

// SAFETY: whoever submits leaves the array to the library until the completion.
unsafe impl Send for Results {}

impl Results {
    /// # Safety
    /// The array that was given to submit is writable still, and nobody else looks at it.
    pub unsafe fn slice<'a>(&self) -> &'a mut [mc_store_result_t] {
        // SAFETY: checked when it was submitted, and the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0, self.1) }
    }
}

/// Bytes of what was done, or the first failure: what a completion tells.
pub fn outcome_of(results: &[mc_store_result_t]) -> std::result::Result<u64, Code> {
    match results.iter().find_map(|result| Code::from_raw(result.status)) {
        Some(code) => Err(code),
        None => Ok(results.iter().map(|result| result.size).sum()),
    }
}

/// Puts many objects in the background and returns at once.
///
/// One completion of kind MC_COMPLETION_STORE comes into the queue when all are done: its status is the first failure,
/// its length the bytes of all objects.
///
/// @param store  the store
/// @param puts  [count], copied, keys and lists of spans too
/// @param count  at least 1
/// @param options  for all of them; NULL: as in mc_store_put()
/// @param cq  queue of the store's engine
/// @param user_data  comes back in the completion
/// @param[out] out_results  [count]; written before the completion is there
/// Memory: the spans and out_results belong to the store until the completion. It comes in any case: closing the store
/// makes it MC_ERR_CANCELED, and then out_results are not written.
/// Errors: MC_ERR_INVALID_HANDLE (store or queue), MC_ERR_INVALID_ARGUMENT, MC_ERR_EXHAUSTED (the queue could overflow, or
/// too much waits already). On an error nothing was started.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_put_submit(
    store: *mut mc_store_t,
    puts: *const mc_store_put_t,
    count: usize,
    options: *const mc_store_put_options_t,
    cq: mc_cq_t,
    user_data: u64,
    out_results: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, puts) = unsafe { (read_options(options)?, puts_of(puts, count)?) };
        // SAFETY: as above.
        unsafe { slice_mut(out_results, count, "out_results")? };
        let results = Results(out_results, count);
        let puts: Vec<(Vec<u8>, Vec<Mem>)> =
            puts.into_iter().map(|(key, pieces)| (key.to_vec(), pieces)).collect();
        store.store.in_background(cq, user_data, move |store| {
            let done = run(store, &puts, &options);
            // SAFETY: the array belongs to this job until its completion, by the rules of this function.
            let out = unsafe { results.slice() };
            // The first failure is found again in the results.
            let _ = settle_all(done, out, |index, version| stored(total(&puts[index].1), *version));
            outcome_of(out)
        })
    })
}

/// Begins to put objects piece by piece, such as layer by layer: asks for their memory, all at once.
///
/// Nobody sees an object before mc_store_put_commit(). One that takes long keeps its memory as long as pieces come.
///
/// @param store  the store
/// @param puts  [count] keys and sizes
/// @param count  at least 1
/// @param options  for all of them; NULL: as in mc_store_put()
/// @param[out] out_writings  [count]; each ends with mc_store_put_commit() or mc_store_put_revoke(); 0 where it failed
/// @param[out] out_results  [count]; both are written unless an argument is wrong
/// Errors: the first failure among the results, which are those of mc_store_put(); MC_ERR_INVALID_HANDLE,
/// MC_ERR_INVALID_ARGUMENT, MC_ERR_EXHAUSTED (524,288 sessions and buffers live).
/// Threads: blocks for the master and the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_put_begin(
    store: *mut mc_store_t,
    puts: *const mc_store_put_size_t,
    count: usize,
    options: *const mc_store_put_options_t,
    out_writings: *mut mc_store_writing_t,
    out_results: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        at_least_one(count)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, puts, writings, out) = unsafe {
            (
                read_options(options)?,
                slice(puts, count, "puts")?,
                slice_mut(out_writings, count, "out_writings")?,
                slice_mut(out_results, count, "out_results")?,
            )
        };
        let sized = |(index, put): (usize, &mc_store_put_size_t)| {
            // SAFETY: as above.
            let key = unsafe { key_of(put.key.data, put.key.length) };
            Ok((key.context(format_args!("item {index}"))?, put.size))
        };
        let sizes: Vec<(&[u8], u64)> = puts.iter().enumerate().map(sized).collect::<Result<_>>()?;
        let (session, results) = PutSession::begin(&store.store, &sizes, &options);
        let session = std::sync::Arc::new(session);
        let mut kept = Vec::with_capacity(count);
        for (index, writing) in writings.iter_mut().enumerate() {
            *writing = 0;
            kept.push(match &results[index] {
                Err(failure) => Err(failure.clone()),
                Ok(version) => {
                    let id = store.keep(Child::Put(session.clone(), index));
                    id.map(|id| *writing = id).map(|()| *version).map_err(client::Failure::from)
                }
            });
        }
        settle_all(kept, out, |index, version| stored(sizes[index].1, *version))
    })
}

/// Writes a piece of an object to all its replicas. Pieces come in any order; the same piece may come again, and none may
/// overlap another.
///
/// @param store  the store
/// @param writing  from mc_store_put_begin()
/// @param offset  bytes from the object's first
/// @param spans  [span_count] pieces of memory that follow one another from there on
/// @param span_count  at least 1
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// Errors: MC_ERR_INVALID_HANDLE (store; or it was committed or revoked), MC_ERR_INVALID_ARGUMENT (outside of the object,
/// or overlapping), MC_ERR_CANCELED (its grant was taken back), MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT. After one of the last
/// three the object can only be revoked.
/// Threads: blocks for the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_put_write(
    store: *mut mc_store_t,
    writing: mc_store_writing_t,
    offset: u64,
    spans: *const mc_span_t,
    span_count: usize,
    timeout_ms: i64,
) -> mc_status_t {
    call(|| {
        let (session, index) = store_of(store)?.put_of(writing)?;
        // SAFETY: readable by the rules in mooncake.h.
        let pieces = unsafe { pieces_of(spans, span_count)? };
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        session.write(index, offset, &pieces, deadline).map_err(|failure| failure.error)
    })
}

/// Makes an object visible, all of which was written, and ends its writing.
///
/// @param store  the store
/// @param writing  from mc_store_put_begin()
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// @param[out] out_result  its version; written on failure, too; may be NULL
/// Errors: MC_ERR_INVALID_STATE (bytes are missing: the writing goes on), MC_ERR_INVALID_HANDLE, and those of
/// mc_store_put(), with which the writing has ended.
/// Threads: blocks for the nodes and the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_put_commit(
    store: *mut mc_store_t,
    writing: mc_store_writing_t,
    timeout_ms: i64,
    out_result: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        let (session, index) = store.put_of(writing)?;
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        // SAFETY: writable by the rules in mooncake.h.
        let out = unsafe { optional(out_result, "out_result")? };
        let result = session.commit(index, deadline);
        if !matches!(&result, Err(failure) if failure.code() == Code::InvalidState) {
            store.forget(writing);
        }
        settle_one(result, out, |version| stored(0, *version)).map(drop)
    })
}

/// Gives up an object that is being written, and its memory.
///
/// @param store  the store
/// @param writing  from mc_store_put_begin()
/// Errors: MC_ERR_INVALID_HANDLE (also when it was committed or revoked before).
/// Threads: blocks for the nodes and the master, half a second at most.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_store_put_revoke(store: *mut mc_store_t, writing: mc_store_writing_t) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        let (session, index) = store.put_of(writing)?;
        store.forget(writing);
        session.revoke(index).map_err(|failure| failure.error)
    })
}
