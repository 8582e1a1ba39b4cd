//! Requests: where they run, what happened to them, and why.

use std::ffi::c_char;

use super::boundary::{call, fill, fixed_text, output, slice_mut, text};
use super::conductor::{conductor_of, mc_conductor_t};
use super::conductor_blocks::{fill_items, mc_conductor_prompt_t, prompt_of};
use super::conductor_hooks::{mc_conductor_copy_t, mc_conductor_rejection_t, rejection_of};
use super::conductor_instance::{mc_conductor_context_t, mc_conductor_instance_t, named};
use super::options::{self, Sized32};
use super::status::mc_status_t;
use crate::conductor::schedule::{MOST_IN_GROUP, Reason, Rejection};
use crate::conductor::service::{
    Advice, Answer, ContextId, Decision, Feedback, Place, Request, RequestId, Source,
};
use crate::error::Result;
use crate::{bail, fail};

/// A request of a conductor, until its end was told. 0 is never valid.
pub type mc_conductor_request_id_t = u64;

/// What a conductor said of a request.
pub type mc_conductor_verdict_t = u32;
/// It runs as the decision says.
pub const MC_CONDUCTOR_VERDICT_RUN: mc_conductor_verdict_t = 1;
/// It is not taken on: `rejection` says why, and when to come back.
pub const MC_CONDUCTOR_VERDICT_REJECTED: mc_conductor_verdict_t = 2;

/// Why a request was not taken on.
pub type mc_conductor_reason_t = u32;
/// It was.
pub const MC_CONDUCTOR_REASON_NONE: mc_conductor_reason_t = 0;
/// Its first token would come too late.
pub const MC_CONDUCTOR_REASON_PREFILL: mc_conductor_reason_t = 1;
/// The tokens after it would.
pub const MC_CONDUCTOR_REASON_DECODE: mc_conductor_reason_t = 2;
/// A hook says so.
pub const MC_CONDUCTOR_REASON_RULE: mc_conductor_reason_t = 3;

/// Where blocks come from that the chosen instance does not have.
pub type mc_conductor_source_t = u32;
/// None are moved.
pub const MC_CONDUCTOR_SOURCE_NONE: mc_conductor_source_t = 0;
/// Another instance.
pub const MC_CONDUCTOR_SOURCE_INSTANCE: mc_conductor_source_t = 1;
/// The pooled store.
pub const MC_CONDUCTOR_SOURCE_STORE: mc_conductor_source_t = 2;

/// What happened to a request.
pub type mc_conductor_feedback_t = u32;
/// Its prefill began.
pub const MC_CONDUCTOR_FEEDBACK_STARTED: mc_conductor_feedback_t = 1;
/// Its prefill ended, and its first token is there.
pub const MC_CONDUCTOR_FEEDBACK_FIRST_TOKEN: mc_conductor_feedback_t = 2;
/// It ended well. Without a first token before: all that was wanted was its prefill.
pub const MC_CONDUCTOR_FEEDBACK_FINISHED: mc_conductor_feedback_t = 3;
/// The instance gave it up.
pub const MC_CONDUCTOR_FEEDBACK_FAILED: mc_conductor_feedback_t = 4;
/// Whoever asked does not want it any more.
pub const MC_CONDUCTOR_FEEDBACK_CANCELED: mc_conductor_feedback_t = 5;

/// Most instances that prefill a request together with the chosen one.
pub const MC_CONDUCTOR_GROUP_MAX: usize = 7;

/// A request. mc_conductor_request_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_request_t {
    /// sizeof(mc_conductor_request_t)
    pub struct_size: u32,
    /// 0 to 3: among those that wait, higher ones go first.
    pub priority: u32,
    /// Must be set.
    pub context: mc_conductor_context_t,
    /// Its prompt, borrowed for the call.
    pub prompt: mc_conductor_prompt_t,
    /// Tokens of input; 0: those of the prompt, of which keys tell the full blocks only.
    pub input_tokens: u64,
    /// Tokens of output, where they are known beforehand; 0: they are not.
    pub output_tokens: u32,
    /// Which class of service, 0 to MC_CONDUCTOR_CLASS_COUNT - 1.
    pub service_class: u32,
    /// What the caller calls it, at most 256 bytes; no two live requests can have the same. NULL: nothing.
    pub name: *const c_char,
}

// SAFETY: repr(C), size first, zeros are NULLs and defaults.
unsafe impl Sized32 for mc_conductor_request_t {}

/// Where a request runs. Times are as predicted. mc_conductor_decision_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_decision_t {
    /// sizeof(mc_conductor_decision_t), set by the caller.
    pub struct_size: u32,
    /// MC_CONDUCTOR_VERDICT_*; of one that is rejected, `rejection` alone is set.
    pub verdict: mc_conductor_verdict_t,
    /// For feedback.
    pub request: mc_conductor_request_id_t,
    /// Who prefills.
    pub prefill: mc_conductor_instance_t,
    /// Who decodes; 0: nobody does.
    pub decode: mc_conductor_instance_t,
    /// Who sends the blocks that are moved, with MC_CONDUCTOR_SOURCE_INSTANCE; else 0.
    pub source: mc_conductor_instance_t,
    /// Which rank prefills.
    pub prefill_rank: u32,
    /// Which rank decodes.
    pub decode_rank: u32,
    /// Which rank sends.
    pub source_rank: u32,
    /// MC_CONDUCTOR_SOURCE_*
    pub source_kind: mc_conductor_source_t,
    /// What the one that prefills is called.
    pub prefill_name: [c_char; 264],
    /// What the one that decodes is called; "" if nobody does.
    pub decode_name: [c_char; 264],
    /// Full blocks of the prompt.
    pub block_count: u32,
    /// Blocks of its prefix that need not be computed.
    pub reused_blocks: u32,
    /// Blocks of these that are moved there.
    pub moved_blocks: u32,
    /// Those who prefill it with the chosen one, each a part of the layers.
    pub group_count: u32,
    /// [group_count]
    pub group: [mc_conductor_instance_t; MC_CONDUCTOR_GROUP_MAX],
    /// [group_count]
    pub group_ranks: [u32; MC_CONDUCTOR_GROUP_MAX],
    /// 1: a copy is advised, which mc_conductor_take_advice() tells; else 0.
    pub is_advised: u32,
    /// Tokens that are computed.
    pub computed_tokens: u64,
    /// Seconds from now until its turn comes.
    pub queue_seconds: f64,
    /// Seconds that moving blocks adds to that.
    pub transfer_seconds: f64,
    /// Seconds of prefill.
    pub compute_seconds: f64,
    /// The three together: from now to the first token.
    pub ttft_seconds: f64,
    /// Seconds between tokens after that.
    pub tbt_seconds: f64,
    /// If it is rejected.
    pub rejection: mc_conductor_rejection_t,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_conductor_decision_t {}

pub fn reason_of(reason: Reason) -> mc_conductor_reason_t {
    match reason {
        Reason::Prefill => MC_CONDUCTOR_REASON_PREFILL,
        Reason::Decode => MC_CONDUCTOR_REASON_DECODE,
        Reason::Rule => MC_CONDUCTOR_REASON_RULE,
    }
}

pub fn reason_from(reason: mc_conductor_reason_t) -> Option<Reason> {
    [Reason::Prefill, Reason::Decode, Reason::Rule].into_iter().find(|one| reason_of(*one) == reason)
}

/// # Safety
/// What `from` points to is readable, for as long as the result is used.
unsafe fn request_of<'a>(from: *const mc_conductor_request_t) -> Result<Request<'a>> {
    if from.is_null() {
        bail!(InvalidArgument, "request is NULL");
    }
    // SAFETY: the caller's promise.
    let (from, name, prompt) = unsafe {
        let from = options::read(from, "request")?;
        (from, text(from.name, "request->name")?, prompt_of(&from.prompt)?)
    };
    let small = |number: u32, name: &str| {
        u8::try_from(number)
            .map_err(|_| fail!(InvalidArgument, "request->{name} is {number}: it can be 0 to 3"))
    };
    Ok(Request {
        context: ContextId(from.context),
        prompt,
        tokens: from.input_tokens,
        priority: small(from.priority, "priority")?,
        class: small(from.service_class, "service_class")?,
        output: (from.output_tokens != 0).then_some(from.output_tokens),
        name: name.unwrap_or_default(),
    })
}

/// Decides where a request runs, or that it is not taken on: then, too, the status is MC_OK.
///
/// Its blocks count as on their way to the instance that prefills it, and the request as running there, until
/// mc_conductor_feedback() tells its end.
///
/// @param conductor  the conductor
/// @param request  borrowed for the call
/// @param[in,out] out_decision  struct_size set by the caller
/// Errors: MC_ERR_INVALID_HANDLE (conductor or context), MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_NOT_READY (no
/// instance of the model prefills), MC_ERR_ALREADY_EXISTS (the name), MC_ERR_EXHAUSTED (too many requests under way),
/// MC_ERR_INVALID_STATE (called by a hook), MC_ERR_UNSUPPORTED (field newer than the library).
/// Threads: waits for other threads that decide for the same model, hooks included.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_schedule(
    conductor: *mut mc_conductor_t,
    request: *const mc_conductor_request_t,
    out_decision: *mut mc_conductor_decision_t,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: readable, and writable for its declared size, by the rules in mooncake.h.
        let request = unsafe {
            options::check_info(out_decision, "out_decision")?;
            request_of(request)?
        };
        let value = match conductor.schedule(&request)? {
            Answer::Run(decision) => decided(&decision),
            Answer::Rejected(rejection) => rejected(&rejection),
        };
        // SAFETY: as above.
        unsafe { options::write(out_decision, &value, "out_decision") }
    })
}

fn rejected(rejection: &Rejection) -> mc_conductor_decision_t {
    let nothing: mc_conductor_decision_t = mc_conductor_decision_t {
        struct_size: 0,
        verdict: MC_CONDUCTOR_VERDICT_REJECTED,
        request: 0,
        prefill: 0,
        decode: 0,
        source: 0,
        prefill_rank: 0,
        decode_rank: 0,
        source_rank: 0,
        source_kind: MC_CONDUCTOR_SOURCE_NONE,
        prefill_name: [0; 264],
        decode_name: [0; 264],
        block_count: 0,
        reused_blocks: 0,
        moved_blocks: 0,
        group_count: 0,
        group: [0; MC_CONDUCTOR_GROUP_MAX],
        group_ranks: [0; MC_CONDUCTOR_GROUP_MAX],
        is_advised: 0,
        computed_tokens: 0,
        queue_seconds: 0.0,
        transfer_seconds: 0.0,
        compute_seconds: 0.0,
        ttft_seconds: 0.0,
        tbt_seconds: 0.0,
        rejection: mc_conductor_rejection_t::default(),
    };
    mc_conductor_decision_t { rejection: rejection_of(Some(rejection)), ..nothing }
}

fn decided(decision: &Decision) -> mc_conductor_decision_t {
    const { assert!(MC_CONDUCTOR_GROUP_MAX == MOST_IN_GROUP - 1) };
    let rank = |place: Option<&Place>| place.map_or((0, 0), |place| (place.instance.0, place.rank));
    let name = |place: Option<&Place>| fixed_text(place.map_or("", |place| &place.name));
    let (source_kind, from) = match &decision.source {
        Source::Nowhere => (MC_CONDUCTOR_SOURCE_NONE, None),
        Source::Instance(place) => (MC_CONDUCTOR_SOURCE_INSTANCE, Some(place)),
        Source::Store => (MC_CONDUCTOR_SOURCE_STORE, None),
    };
    let (decode, decode_rank) = rank(decision.decode.as_ref());
    let (source, source_rank) = rank(from);
    let member = |index: usize| rank(decision.group.get(index));
    mc_conductor_decision_t {
        struct_size: 0,
        verdict: MC_CONDUCTOR_VERDICT_RUN,
        request: decision.request.0,
        prefill: decision.prefill.instance.0,
        decode,
        source,
        prefill_rank: decision.prefill.rank,
        decode_rank,
        source_rank,
        source_kind,
        prefill_name: name(Some(&decision.prefill)),
        decode_name: name(decision.decode.as_ref()),
        block_count: decision.blocks,
        reused_blocks: decision.reused,
        moved_blocks: decision.moved,
        group_count: decision.group.len().min(MC_CONDUCTOR_GROUP_MAX) as u32,
        group: std::array::from_fn(|index| member(index).0),
        group_ranks: std::array::from_fn(|index| member(index).1),
        is_advised: u32::from(decision.advice.is_some()),
        computed_tokens: decision.computed_tokens,
        queue_seconds: decision.queue,
        transfer_seconds: decision.transfer,
        compute_seconds: decision.compute,
        ttft_seconds: decision.ttft,
        tbt_seconds: decision.tbt,
        rejection: mc_conductor_rejection_t::default(),
    }
}

/// With the admission "load", to be asked when a prefill has ended and before that is told: whether there is room to
/// decode. A request that is rejected then has to be canceled.
///
/// @param conductor  the conductor
/// @param request  the request
/// @param[out] out_rejection  with MC_CONDUCTOR_REASON_NONE there is room
/// Errors: MC_ERR_INVALID_HANDLE (also of a request that was given up), MC_ERR_INVALID_ARGUMENT, MC_ERR_INVALID_STATE (it
/// decodes already, or called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_recheck(
    conductor: *mut mc_conductor_t,
    request: mc_conductor_request_id_t,
    out_rejection: *mut mc_conductor_rejection_t,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: writable by the rules in mooncake.h.
        let out = unsafe { output(out_rejection, "out_rejection")? };
        *out = rejection_of(conductor.recheck(RequestId(request))?.as_ref());
        Ok(())
    })
}

/// Finds a live request by the name that the caller gave it.
///
/// @param conductor  the conductor
/// @param name  what it is called
/// @param[out] out_request  the request
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_NOT_FOUND, MC_ERR_INVALID_STATE (called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_find_request(
    conductor: *const mc_conductor_t,
    name: *const c_char,
    out_request: *mut mc_conductor_request_id_t,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (name, out) = unsafe { (named(name)?, output(out_request, "out_request")?) };
        *out = conductor.request(name)?.0;
        Ok(())
    })
}

/// Tells what happened to a request. After its end its id is stale.
///
/// @param conductor  the conductor
/// @param request  the request
/// @param feedback  MC_CONDUCTOR_FEEDBACK_*
/// Errors: MC_ERR_INVALID_HANDLE (also of a request that was given up: its instance is gone, or was silent for too long),
/// MC_ERR_INVALID_ARGUMENT, MC_ERR_INVALID_STATE (out of order, or called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_conductor_feedback(
    conductor: *mut mc_conductor_t,
    request: mc_conductor_request_id_t,
    feedback: mc_conductor_feedback_t,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        let what = match feedback {
            MC_CONDUCTOR_FEEDBACK_STARTED => Feedback::Started,
            MC_CONDUCTOR_FEEDBACK_FIRST_TOKEN => Feedback::FirstToken,
            MC_CONDUCTOR_FEEDBACK_FINISHED => Feedback::Finished,
            MC_CONDUCTOR_FEEDBACK_FAILED => Feedback::Failed,
            MC_CONDUCTOR_FEEDBACK_CANCELED => Feedback::Cancelled,
            other => bail!(InvalidArgument, "feedback is {other}: MC_CONDUCTOR_FEEDBACK_* are 1 to 5"),
        };
        conductor.feedback(RequestId(request), what)
    })
}

/// Writes why a request that has not ended runs where it runs, as JSON: every instance that could have been chosen, with
/// its numbers.
///
/// @param conductor  the conductor
/// @param request  the request
/// @param[out] buffer  `size` bytes, may be NULL when size is 0; NUL-terminated text
/// @param size  bytes in buffer
/// @param[out] out_length  length of the whole text without its NUL, also when buffer was too small
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_NOT_FOUND (it was decided too
/// long ago: options->explain_count), MC_ERR_INVALID_STATE (called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_explain(
    conductor: *const mc_conductor_t,
    request: mc_conductor_request_id_t,
    buffer: *mut c_char,
    size: usize,
    out_length: *mut usize,
) -> mc_status_t {
    call(|| {
        let json = conductor_of(conductor)?.explain(RequestId(request))?;
        // SAFETY: writable by the rules in mooncake.h.
        unsafe { fill(json.as_bytes(), true, buffer.cast(), size, out_length) }
    })
}

/// Writes what would be decided of a request and why, as JSON. Nothing is decided; hooks are asked.
///
/// @param conductor  the conductor
/// @param request  borrowed for the call
/// @param[out] buffer  `size` bytes, may be NULL when size is 0; NUL-terminated text
/// @param size  bytes in buffer
/// @param[out] out_length  length of the whole text without its NUL, also when buffer was too small
/// Errors: those of mc_conductor_schedule(), and MC_ERR_BUFFER_TOO_SMALL.
/// Threads: as mc_conductor_schedule().
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_explain_request(
    conductor: *mut mc_conductor_t,
    request: *const mc_conductor_request_t,
    buffer: *mut c_char,
    size: usize,
    out_length: *mut usize,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: readable by the rules in mooncake.h.
        let json = conductor.explain_request(&unsafe { request_of(request)? })?;
        // SAFETY: writable by the rules in mooncake.h.
        unsafe { fill(json.as_bytes(), true, buffer.cast(), size, out_length) }
    })
}

/// Takes the oldest advice to copy blocks that nobody took yet. The last 256 are kept.
///
/// @param conductor  the conductor
/// @param[out] out_copy  who should send what to whom, in blocks of a prompt
/// @param[out] out_context  the context of these blocks
/// @param[out] keys  `capacity` keys: those of the blocks; may be NULL when capacity is 0
/// @param capacity  items in keys
/// @param[out] out_count  how many keys there are, also when they did not fit: then the advice is there still
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_NOT_FOUND (no advice waits),
/// MC_ERR_INVALID_STATE (called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_take_advice(
    conductor: *mut mc_conductor_t,
    out_copy: *mut mc_conductor_copy_t,
    out_context: *mut mc_conductor_context_t,
    keys: *mut u64,
    capacity: usize,
    out_count: *mut usize,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: writable by the rules in mooncake.h.
        let (copy, context, keys, out_count) = unsafe {
            (
                output(out_copy, "out_copy")?,
                output(out_context, "out_context")?,
                slice_mut(keys, capacity, "keys")?,
                output(out_count, "out_count")?,
            )
        };
        let taken =
            conductor.take_advice(&mut |advice: &Advice| fill_items(&advice.keys, keys, out_count))?;
        let Some(advice) = taken else {
            bail!(NotFound, "no advice waits to be taken");
        };
        *copy = mc_conductor_copy_t {
            sender: advice.sender.instance.0,
            receiver: advice.receiver.instance.0,
            sender_rank: advice.sender.rank,
            receiver_rank: advice.receiver.rank,
            from_block: advice.from,
            to_block: advice.from.saturating_add(u32::try_from(advice.keys.len()).unwrap_or(u32::MAX)),
        };
        *context = advice.context.0;
        Ok(())
    })
}
