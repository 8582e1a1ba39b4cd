//! Keys of the store without their bytes: whether they are there, how large, what there is, and away with them.

use std::ffi::{c_char, c_void};

use super::boundary::{call, output, slice, slice_mut, text, timeout};
use super::options::check_flags;
use super::status::{MC_ERR_NOT_FOUND, mc_status_t};
use super::store::*;
use crate::bail;
use crate::error::{Code, Result};
use crate::store::client::{Known, Listed, Matching};

/// An object of a list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_store_listed_t {
    /// Bytes of the object.
    pub size: u64,
    /// Which content of the key.
    pub version: u64,
    /// Copies of the object.
    pub replica_count: u32,
    /// Bytes of the key.
    pub key_length: u32,
    /// [key_length] bytes of the key; 0 behind them.
    pub key: [u8; 1024],
}

fn known(known: &Known) -> mc_store_result_t {
    mc_store_result_t { size: known.size, replica_count: known.replicas, ..Default::default() }
}

/// Tells whether an object is there. That it is not is an answer, not an error.
///
/// @param store  the store
/// @param key  [key_length]
/// @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
/// @param flags  MC_STORE_FLAG_PROLONG, or 0
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// @param[out] out_exists  whether it is
/// Errors: MC_ERR_NOT_READY (a master that has just taken over does not know yet), MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT,
/// MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_exists(
    store: *mut mc_store_t,
    key: *const c_void,
    key_length: usize,
    flags: u64,
    timeout_ms: i64,
    out_exists: *mut bool,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        check_flags(flags, MC_STORE_FLAG_PROLONG, "flags")?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (key, out) = unsafe { (key_of(key, key_length)?, output(out_exists, "out_exists")?) };
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        let prolong = flags & MC_STORE_FLAG_PROLONG != 0;
        *out = match store.store.exists(&[key], prolong, deadline).remove(0) {
            Ok(_) => true,
            Err(failure) if failure.code() == Code::NotFound => false,
            Err(failure) => return Err(failure.error),
        };
        Ok(())
    })
}

/// Tells of many keys whether their objects are there. Those that are not have MC_ERR_NOT_FOUND in their results, and are
/// no failure of the call.
///
/// @param store  the store
/// @param keys  [count]
/// @param count  at least 1
/// @param flags  MC_STORE_FLAG_PROLONG, or 0
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// @param[out] out_results  [count] with sizes and replica counts; written unless an argument is wrong
/// Errors: the first failure among the results, which are those of mc_store_exists(); MC_ERR_INVALID_HANDLE,
/// MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_exists_batch(
    store: *mut mc_store_t,
    keys: *const mc_store_key_t,
    count: usize,
    flags: u64,
    timeout_ms: i64,
    out_results: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        check_flags(flags, MC_STORE_FLAG_PROLONG, "flags")?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (keys, out) = unsafe { (keys_of(keys, count)?, slice_mut(out_results, count, "out_results")?) };
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        let missing = mc_store_result_t { status: MC_ERR_NOT_FOUND, ..Default::default() };
        let results = store.store.exists(&keys, flags & MC_STORE_FLAG_PROLONG != 0, deadline);
        let answered = results.into_iter().map(|result| match result {
            Ok(one) => Ok(known(&one)),
            Err(failure) if failure.code() == Code::NotFound => Ok(missing),
            Err(failure) => Err(failure),
        });
        settle_all(answered.collect(), out, |_, result| *result)
    })
}

/// Tells how large an object is.
///
/// @param store  the store
/// @param key  [key_length]
/// @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// @param[out] out_size  bytes
/// Errors: MC_ERR_NOT_FOUND, and those of mc_store_exists().
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_get_size(
    store: *mut mc_store_t,
    key: *const c_void,
    key_length: usize,
    timeout_ms: i64,
    out_size: *mut u64,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (key, out) = unsafe { (key_of(key, key_length)?, output(out_size, "out_size")?) };
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        let known = store.store.exists(&[key], false, deadline).remove(0);
        *out = known.map_err(|failure| failure.error)?.size;
        Ok(())
    })
}

/// Removes an object: when this returns MC_OK it is gone everywhere.
///
/// @param store  the store
/// @param key  [key_length]
/// @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
/// @param flags  MC_STORE_FLAG_UNLESS_LEASED, or 0
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// Errors: MC_ERR_NOT_FOUND, MC_ERR_BUSY (somebody puts it; with the flag also: somebody reads it), MC_ERR_NOT_READY,
/// MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master and the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_remove(
    store: *mut mc_store_t,
    key: *const c_void,
    key_length: usize,
    flags: u64,
    timeout_ms: i64,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        check_flags(flags, MC_STORE_FLAG_UNLESS_LEASED, "flags")?;
        // SAFETY: readable by the rules in mooncake.h.
        let key = unsafe { key_of(key, key_length)? };
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        let unless_leased = flags & MC_STORE_FLAG_UNLESS_LEASED != 0;
        store.store.remove(&[key], unless_leased, deadline).remove(0).map_err(|failure| failure.error)
    })
}

/// Removes many objects.
///
/// @param store  the store
/// @param keys  [count]
/// @param count  at least 1
/// @param flags  MC_STORE_FLAG_UNLESS_LEASED, or 0
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// @param[out] out_results  [count]; written unless an argument is wrong
/// Errors: the first failure among the results, which are those of mc_store_remove(); MC_ERR_INVALID_HANDLE,
/// MC_ERR_INVALID_ARGUMENT.
/// Threads: blocks for the master and the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_remove_batch(
    store: *mut mc_store_t,
    keys: *const mc_store_key_t,
    count: usize,
    flags: u64,
    timeout_ms: i64,
    out_results: *mut mc_store_result_t,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        check_flags(flags, MC_STORE_FLAG_UNLESS_LEASED, "flags")?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (keys, out) = unsafe { (keys_of(keys, count)?, slice_mut(out_results, count, "out_results")?) };
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        let results = store.store.remove(&keys, flags & MC_STORE_FLAG_UNLESS_LEASED != 0, deadline);
        settle_all(results, out, |_, ()| mc_store_result_t::default())
    })
}

/// # Safety
/// `prefix` is NULL or readable for `length` bytes, `regex` NULL or a text.
unsafe fn matching_of(prefix: *const c_void, length: usize, regex: *const c_char) -> Result<Matching> {
    // SAFETY: the caller's promise.
    let (prefix, regex) = unsafe { (slice(prefix.cast::<u8>(), length, "prefix")?, text(regex, "regex")?) };
    Ok(Matching { prefix: prefix.to_vec(), regex: regex.unwrap_or_default().to_owned() })
}

/// Removes all objects of the tenant whose keys match. What is put meanwhile may stay.
///
/// @param store  the store
/// @param prefix  [prefix_length] bytes that the keys begin with; NULL with length 0: any
/// @param prefix_length  0 to MC_STORE_KEY_MAX_LENGTH
/// @param regex  regular expression that is found somewhere in the keys; NULL: none, so that without a prefix all match
/// @param flags  MC_STORE_FLAG_UNLESS_LEASED, or 0
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// @param[out] out_removed  objects that were removed; may be NULL
/// @param[out] out_busy  objects that match and stay, because they are being written or, with the flag, read; may be NULL
/// Errors: MC_ERR_INVALID_ARGUMENT (also: no regular expression), MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT
/// (some may have been removed), MC_ERR_INVALID_HANDLE.
/// Threads: blocks for the master and the nodes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_remove_matching(
    store: *mut mc_store_t,
    prefix: *const c_void,
    prefix_length: usize,
    regex: *const c_char,
    flags: u64,
    timeout_ms: i64,
    out_removed: *mut u64,
    out_busy: *mut u64,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        check_flags(flags, MC_STORE_FLAG_UNLESS_LEASED, "flags")?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (matching, removed, busy) = unsafe {
            (
                matching_of(prefix, prefix_length, regex)?,
                optional(out_removed, "out_removed")?,
                optional(out_busy, "out_busy")?,
            )
        };
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        let unless_leased = flags & MC_STORE_FLAG_UNLESS_LEASED != 0;
        let done =
            store.store.remove_where(&matching, unless_leased, deadline).map_err(|failure| failure.error)?;
        if let Some(removed) = removed {
            *removed = done.removed;
        }
        if let Some(busy) = busy {
            *busy = done.busy;
        }
        Ok(())
    })
}

/// Lists objects of the tenant whose keys match, a page at a time. What is there during the whole walk is met once.
///
/// @param store  the store
/// @param prefix  [prefix_length] bytes that the keys begin with; NULL with length 0: any
/// @param prefix_length  0 to MC_STORE_KEY_MAX_LENGTH
/// @param regex  regular expression that is found somewhere in the keys; NULL: none
/// @param timeout_ms  milliseconds; -1: the store's deadline
/// @param[in,out] cursor  0 begins; what comes back goes on, until it is 0 again
/// @param[out] out_objects  [capacity]
/// @param capacity  at least 1
/// @param[out] out_count  objects of this page; a page in the middle may have few or none
/// Errors: MC_ERR_INVALID_ARGUMENT (also: no regular expression), MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT,
/// MC_ERR_INVALID_HANDLE.
/// Threads: blocks for the master.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_store_list(
    store: *mut mc_store_t,
    prefix: *const c_void,
    prefix_length: usize,
    regex: *const c_char,
    timeout_ms: i64,
    cursor: *mut u64,
    out_objects: *mut mc_store_listed_t,
    capacity: usize,
    out_count: *mut usize,
) -> mc_status_t {
    call(|| {
        let store = store_of(store)?;
        if capacity == 0 {
            bail!(InvalidArgument, "capacity is 0");
        }
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (matching, cursor, out, out_count) = unsafe {
            (
                matching_of(prefix, prefix_length, regex)?,
                output(cursor, "cursor")?,
                slice_mut(out_objects, capacity, "out_objects")?,
                output(out_count, "out_count")?,
            )
        };
        let deadline = timeout(timeout_ms, "timeout_ms")?;
        let limit = u32::try_from(capacity).unwrap_or(u32::MAX);
        let (objects, next) = store
            .store
            .list(&matching, place_of(*cursor), limit, deadline)
            .map_err(|failure| failure.error)?;
        if objects.len() > capacity || objects.iter().any(|one| one.key.len() > MC_STORE_KEY_MAX_LENGTH) {
            bail!(Rejected, "the master lists more than was asked for");
        }
        let next = next.map_or(Ok(0), cursor_of)?;
        for (slot, object) in out.iter_mut().zip(&objects) {
            *slot = listed(object);
        }
        (*cursor, *out_count) = (next, objects.len());
        Ok(())
    })
}

fn listed(object: &Listed) -> mc_store_listed_t {
    let mut key = [0; 1024];
    key[..object.key.len()].copy_from_slice(&object.key);
    mc_store_listed_t {
        size: object.size,
        version: object.version.0,
        replica_count: object.replicas,
        key_length: object.key.len() as u32,
        key,
    }
}

/// Where a walk goes on; 0 is its beginning.
fn place_of(cursor: u64) -> Option<(u32, u32)> {
    let place = cursor.checked_sub(1)?;
    Some(((place >> 32) as u32, place as u32))
}

fn cursor_of((shard, slot): (u32, u32)) -> Result<u64> {
    let place = u64::from(shard) << 32 | u64::from(slot);
    place.checked_add(1).ok_or_else(|| crate::fail!(Rejected, "the master's list goes on nowhere"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_the_place_that_it_was_made_of_and_never_the_beginning() {
        for place in [(0, 0), (0, 1), (1, 0), (7, u32::MAX), (u32::MAX, 0)] {
            let cursor = cursor_of(place).expect("there is one");
            assert_ne!(cursor, 0);
            assert_eq!(place_of(cursor), Some(place));
        }
        assert!(cursor_of((u32::MAX, u32::MAX)).is_err());
        assert_eq!(place_of(0), None);
    }
}
