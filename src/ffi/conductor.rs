//! The conductor: made and ended; what it knows as bytes, and what it counts.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::time::Duration;

use super::boundary::{call, fill, output, slice, text};
use super::conductor_hooks::{self, mc_conductor_hooks_t};
use super::live;
use super::options::{self, Sized32, check_flags};
use super::status::{MC_OK, mc_status_t};
use crate::conductor::index::Limits;
use crate::conductor::schedule::{self, Admission, CLASSES, Class, Doubts, Policy, Replication};
use crate::conductor::service::{Conductor, Options, Patience, Restored};
use crate::error::Result;
use crate::{bail, fail};

/// Says where requests should run: who has their prefix cached, and what serving them there would take.
pub struct mc_conductor_t {
    _opaque: [u8; 0],
}

/// mc_conductor_create: blocks begin to move only when the request's turn has come (the paper's Algorithm 1).
pub const MC_CONDUCTOR_FLAG_LATE_TRANSFERS: u64 = 1;
/// mc_conductor_create: what requests really take does not change what is predicted.
pub const MC_CONDUCTOR_FLAG_NO_LEARNING: u64 = 2;

/// Classes of service.
pub const MC_CONDUCTOR_CLASS_COUNT: usize = 4;

/// What a class of requests is promised. 0 means default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_class_t {
    /// Seconds to the first token; 0: 30.
    pub ttft_seconds: f64,
    /// Seconds between tokens; 0: 0.1.
    pub tbt_seconds: f64,
    /// The load up to which its requests are taken on; below 1, room is kept for other classes; 0: 1.
    pub load_limit: f64,
}

/// How a conductor decides. Zero means default in every field; mc_conductor_options_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_options_t {
    /// sizeof(mc_conductor_options_t)
    pub struct_size: u32,
    /// Most instances that prefill one long request together, 1 to 8; 0: 1.
    pub most_in_group: u32,
    /// MC_CONDUCTOR_FLAG_*
    pub flags: u64,
    /// What it is called in metrics, at most 256 bytes; NULL: "".
    pub name: *const c_char,
    /// Who prefills: "global", "local", "lb", "random" or "maxhit". NULL: "global", the first token soonest with blocks
    /// computed or moved, whichever is faster.
    pub policy: *const c_char,
    /// What is taken on: "none" (everything), "load", "early" or "predicted". NULL: "none".
    pub admission: *const c_char,
    /// With "global": blocks are moved if the best prefix is longer than this times the instance's own. 0: if that is
    /// faster.
    pub balancing_threshold: f64,
    /// Of the policy "random".
    pub seed: u64,
    /// What each class is promised.
    pub classes: [mc_conductor_class_t; MC_CONDUCTOR_CLASS_COUNT],
    /// The weight of a new observation in what is predicted, up to 1; 0: 0.1.
    pub learning: f64,
    /// Observations from which on an instance's numbers of prefill are those that fit them; 0: never.
    pub fit_after: u32,
    /// Decisions of each model that are kept for mc_conductor_explain(), up to 65,536; 0: 512.
    pub explain_count: u32,
    /// Seconds that a request decodes, until that is observed; 0: 20.
    pub decode_seconds: f64,
    /// Seconds for which decoding is foreseen; 0: 128.
    pub horizon_seconds: f64,
    /// Seconds of decoding after which a request is given up as one whose end was not told; 0: 3,600.
    pub longest_decode_seconds: f64,
    /// Seconds of silence after which an instance fades; 0: 5.
    pub silence_grace_seconds: f64,
    /// Seconds of silence after which it is not chosen while others are there; 0: 30.
    pub silence_limit_seconds: f64,
    /// Seconds of waiting that a failure of an instance counts as; 0: 5.
    pub failure_seconds: f64,
    /// Copies of hot prefixes are advised, of up to so many blocks a second; 0: none are.
    pub copied_blocks_per_second: f64,
    /// Blocks that may be advised at once after a pause; 0: 1,000.
    pub copied_blocks_at_once: f64,
    /// Requests for a prefix that one holder bears, within about a minute and a half; 0: 16.
    pub uses_per_copy: f64,
    /// Blocks of a decided request count as on their way for twice the time to its first token and so many seconds more;
    /// 0: 10.
    pub promise_seconds: f64,
    /// Most blocks of a context; 0: 16,777,216.
    pub block_limit: u64,
    /// Milliseconds after which a block that was neither stored nor matched is forgotten; 0: a day.
    pub idle_ms: u64,
    /// Most contexts; 0: 4,096.
    pub context_limit: u64,
    /// Most requests under way for each model; 0: 262,144.
    pub request_limit: u64,
}

// SAFETY: repr(C), size first, zeros are NULLs and defaults.
unsafe impl Sized32 for mc_conductor_options_t {}

/// What a conductor is at the moment.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_info_t {
    /// sizeof(mc_conductor_info_t), set by the caller.
    pub struct_size: u32,
    /// MC_CONDUCTOR_HOOK_* that were switched off.
    pub hooks_off: u32,
    /// Instances that are registered.
    pub instance_count: u64,
    /// Contexts that are open.
    pub context_count: u64,
    /// Requests that were decided and have not ended.
    pub request_count: u64,
    /// Blocks that somebody holds.
    pub block_count: u64,
    /// Requests that were sent to an instance so far.
    pub decided_count: u64,
    /// Requests that were not taken on.
    pub rejected_count: u64,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_conductor_info_t {}

/// What was taken up from a snapshot.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_restored_t {
    /// Instances, registered now.
    pub instance_count: u64,
    /// Contexts, open now.
    pub context_count: u64,
    /// Blocks in them.
    pub block_count: u64,
}

/// The conductor behind a pointer that C holds.
pub fn conductor_of(conductor: *const mc_conductor_t) -> Result<Arc<Conductor>> {
    live::root(conductor as u64)
}

/// Makes a conductor, which knows nobody yet. It has no threads, opens nothing and asks nobody.
///
/// @param options  NULL: all defaults
/// @param hooks  rules of the caller's own; NULL: none
/// @param[out] out_conductor  the conductor; end it with mc_conductor_destroy()
/// Errors: MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_UNSUPPORTED (field newer than the library), MC_ERR_EXHAUSTED
/// (too many live in this process).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_create(
    options: *const mc_conductor_options_t,
    hooks: *const mc_conductor_hooks_t,
    out_conductor: *mut *mut mc_conductor_t,
) -> mc_status_t {
    call(|| {
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, hooks, out) = unsafe {
            (
                options::read(options, "options")?,
                options::read(hooks, "hooks")?,
                output(out_conductor, "out_conductor")?,
            )
        };
        // SAFETY: the strings are readable during the call.
        let options = unsafe { options_of(&options, conductor_hooks::patience_of(&hooks))? };
        let make = |tag| {
            // From here on user_data is the conductor's: nothing may fail before that the caller would not know of.
            let options = Options { tag, ..options };
            Conductor::check(&options)?;
            Ok(Arc::new(Conductor::new(options, conductor_hooks::hooks_of(&hooks))?))
        };
        *out = live::try_insert_root::<Conductor>(make)? as *mut mc_conductor_t;
        Ok(())
    })
}

/// # Safety
/// The strings in `from` are readable.
unsafe fn options_of(from: &mc_conductor_options_t, patience: Patience) -> Result<Options> {
    let known = MC_CONDUCTOR_FLAG_LATE_TRANSFERS | MC_CONDUCTOR_FLAG_NO_LEARNING;
    check_flags(from.flags, known, "options->flags")?;
    // SAFETY: the caller's promise.
    let (name, policy, admission) = unsafe {
        (
            text(from.name, "options->name")?,
            text(from.policy, "options->policy")?,
            text(from.admission, "options->admission")?,
        )
    };
    let defaults = Options::default();
    let schedule = schedule_of(from, policy, admission)?;
    let count = |given: u64, default: usize, name: &str| match given {
        0 => Ok(default),
        _ => {
            usize::try_from(given).map_err(|_| fail!(InvalidArgument, "options->{name} is {given}: too many"))
        }
    };
    if from.explain_count > 1 << 16 {
        bail!(InvalidArgument, "options->explain_count is {}: it can be up to 65536", from.explain_count);
    }
    Ok(Options {
        name: name.unwrap_or_default().to_owned(),
        schedule,
        limits: Limits {
            blocks: count(from.block_limit, defaults.limits.blocks, "block_limit")?,
            idle: if from.idle_ms == 0 { defaults.limits.idle } else { from.idle_ms },
            ..defaults.limits
        },
        most_contexts: count(from.context_limit, defaults.most_contexts, "context_limit")?,
        patience,
        promise_seconds: or(from.promise_seconds, defaults.promise_seconds),
        explained: count(u64::from(from.explain_count), defaults.explained, "explain_count")?,
        tag: 0,
    })
}

/// 0 means default.
fn or(given: f64, default: f64) -> f64 {
    if given == 0.0 { default } else { given }
}

fn schedule_of(
    from: &mc_conductor_options_t,
    policy: Option<&str>,
    admission: Option<&str>,
) -> Result<schedule::Options> {
    let defaults = schedule::Options::default();
    let policy = match policy {
        None => defaults.policy,
        Some(name) => Policy::named(name).ok_or_else(|| {
            let all = Policy::ALL.map(|policy| policy.name).join(", ");
            fail!(InvalidArgument, "options->policy is {name:?}: there are {all}")
        })?,
    };
    let admission = match admission {
        None => defaults.admission,
        Some(name) => {
            Admission::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, one)| one).ok_or_else(
                || {
                    let all = Admission::ALL.map(|(known, _)| known).join(", ");
                    fail!(InvalidArgument, "options->admission is {name:?}: there are {all}")
                },
            )?
        }
    };
    let no_learning = from.flags & MC_CONDUCTOR_FLAG_NO_LEARNING != 0;
    let advised = Replication::default();
    let class = |from: &mc_conductor_class_t| {
        let Class { ttft, tbt, limit } = Class::default();
        Class {
            ttft: or(from.ttft_seconds, ttft),
            tbt: or(from.tbt_seconds, tbt),
            limit: or(from.load_limit, limit),
        }
    };
    const { assert!(MC_CONDUCTOR_CLASS_COUNT == CLASSES) };
    let Doubts { grace, limit, failure } = defaults.doubts;
    Ok(schedule::Options {
        policy,
        threshold: (from.balancing_threshold != 0.0).then_some(from.balancing_threshold),
        eager: from.flags & MC_CONDUCTOR_FLAG_LATE_TRANSFERS == 0,
        seed: from.seed,
        doubts: Doubts {
            grace: or(from.silence_grace_seconds, grace),
            limit: or(from.silence_limit_seconds, limit),
            failure: or(from.failure_seconds, failure),
        },
        learning: if no_learning { 0.0 } else { or(from.learning, defaults.learning) },
        most_in_group: from.most_in_group.max(1) as usize,
        replication: (from.copied_blocks_per_second != 0.0).then_some(Replication {
            blocks_per_second: from.copied_blocks_per_second,
            most_blocks: or(from.copied_blocks_at_once, advised.most_blocks),
            uses: or(from.uses_per_copy, advised.uses),
        }),
        admission,
        classes: std::array::from_fn(|index| class(&from.classes[index])),
        decode_seconds: or(from.decode_seconds, defaults.decode_seconds),
        horizon: or(from.horizon_seconds, defaults.horizon),
        longest_decode: or(from.longest_decode_seconds, defaults.longest_decode),
        fit_after: (from.fit_after != 0).then_some(from.fit_after),
        most_requests: match from.request_limit {
            0 => defaults.most_requests,
            given => usize::try_from(given).unwrap_or(usize::MAX),
        },
    })
}

/// Ends a conductor with all it knows. The user_data of its hooks is dropped when the last call in it has returned.
///
/// @param conductor  NULL: nothing happens, MC_OK
/// Errors: MC_ERR_INVALID_HANDLE (destroyed before).
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_conductor_destroy(conductor: *mut mc_conductor_t) -> mc_status_t {
    if conductor.is_null() {
        return MC_OK;
    }
    call(|| live::remove_root::<Conductor>(conductor as u64).map(drop))
}

/// Tells what a conductor is.
///
/// @param conductor  the conductor
/// @param[in,out] out_info  struct_size set by the caller
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_INVALID_STATE (called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_get_info(
    conductor: *const mc_conductor_t,
    out_info: *mut mc_conductor_info_t,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: writable for its declared size, by the rules in mooncake.h.
        unsafe { options::check_info(out_info, "out_info")? };
        let status = conductor.status()?;
        let value = mc_conductor_info_t {
            struct_size: 0,
            hooks_off: status.hooks_off,
            instance_count: status.instances as u64,
            context_count: status.contexts as u64,
            request_count: status.requests as u64,
            block_count: status.blocks as u64,
            decided_count: status.decided,
            rejected_count: status.rejected,
        };
        // SAFETY: as above.
        unsafe { options::write(out_info, &value, "out_info") }
    })
}

/// Lets time pass: ends promises that were not kept, and forgets blocks that nobody asked for in a long time and requests
/// that were given up. To be called about once a second.
///
/// @param conductor  the conductor
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_STATE (called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_conductor_sweep(conductor: *mut mc_conductor_t) -> mc_status_t {
    call(|| conductor_of(conductor)?.sweep())
}

/// Writes what a conductor knows as bytes: instances with what was learnt of them, contexts, and who holds which block.
///
/// Requests that run are not in it. Calls of other threads go on meanwhile, so that the length may be another one the next
/// time: leave some room.
///
/// @param conductor  the conductor
/// @param[out] buffer  `size` bytes, may be NULL when size is 0
/// @param size  bytes in buffer
/// @param[out] out_length  length of the whole, also when buffer was too small
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_INVALID_STATE (called by a
/// hook).
/// Threads: takes time in proportion to the blocks, and has a second copy of the bytes while it runs.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_snapshot(
    conductor: *const mc_conductor_t,
    buffer: *mut c_void,
    size: usize,
    out_length: *mut usize,
) -> mc_status_t {
    call(|| {
        let bytes = conductor_of(conductor)?.snapshot()?;
        // SAFETY: writable by the rules in mooncake.h.
        unsafe { fill(&bytes, false, buffer.cast(), size, out_length) }
    })
}

/// Takes up what another conductor knew. This one must have no instances and contexts yet.
///
/// Instances keep their names and get new ids. If the bytes are not taken, nothing changes, whatever they are.
///
/// @param conductor  the conductor
/// @param data  [length] bytes of mc_conductor_snapshot(), borrowed for the call
/// @param length  bytes in data
/// @param[out] out_restored  what was in it; may be NULL
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_INVALID_STATE (it knows something already, or called by
/// a hook), MC_ERR_CORRUPTED, MC_ERR_VERSION_MISMATCH (written by a later release), MC_ERR_EXHAUSTED (more contexts than
/// this one may have).
/// Threads: takes time in proportion to the blocks.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_restore(
    conductor: *mut mc_conductor_t,
    data: *const c_void,
    length: usize,
    out_restored: *mut mc_conductor_restored_t,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: readable by the rules in mooncake.h.
        let bytes = unsafe { slice(data.cast::<u8>(), length, "data")? };
        let out = match out_restored.is_null() {
            true => None,
            // SAFETY: writable by the rules in mooncake.h.
            false => Some(unsafe { output(out_restored, "out_restored")? }),
        };
        let Restored { instances, contexts, blocks } = conductor.restore(bytes)?;
        if let Some(out) = out {
            *out = mc_conductor_restored_t {
                instance_count: instances as u64,
                context_count: contexts as u64,
                block_count: blocks as u64,
            };
        }
        Ok(())
    })
}

/// Writes what a conductor counts in Prometheus' text format.
///
/// @param conductor  the conductor
/// @param[out] buffer  `size` bytes, may be NULL when size is 0; NUL-terminated text
/// @param size  bytes in buffer
/// @param[out] out_length  length of the whole text without its NUL, also when buffer was too small
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_INVALID_STATE (called by a
/// hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_get_metrics(
    conductor: *const mc_conductor_t,
    buffer: *mut c_char,
    size: usize,
    out_length: *mut usize,
) -> mc_status_t {
    call(|| {
        let text = conductor_of(conductor)?.metrics()?;
        // SAFETY: writable by the rules in mooncake.h.
        unsafe { fill(text.as_bytes(), true, buffer.cast(), size, out_length) }
    })
}

/// A number of seconds that C gives in milliseconds.
pub fn milliseconds(seconds: f64) -> u32 {
    // Rounded up: whoever comes back then does not come too early.
    let time = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
