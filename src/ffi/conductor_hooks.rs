//! Rules of the caller's own: what C functions are shown, and how their answers come back.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::time::Duration;

use super::boundary::fixed_text;
use super::conductor::milliseconds;
use super::conductor_blocks::{mc_conductor_match_t, shown_match};
use super::conductor_instance::mc_conductor_instance_t;
use super::conductor_schedule::{MC_CONDUCTOR_REASON_NONE, mc_conductor_reason_t, reason_from, reason_of};
use super::log::mc_drop_fn;
use super::options::Sized32;
use super::status::{MC_OK, mc_status_t};
use crate::conductor::schedule::Rejection;
use crate::conductor::service::{Asked, Candidate, Copying, Hooks, InstanceId, Patience, Prospect};

/// Of mc_conductor_info_t.hooks_off: the hook of costs.
pub const MC_CONDUCTOR_HOOK_COST: u32 = 1;
/// The hook of scores.
pub const MC_CONDUCTOR_HOOK_SCORE: u32 = 2;
/// The hook of admission.
pub const MC_CONDUCTOR_HOOK_ADMISSION: u32 = 4;
/// The hook of replication.
pub const MC_CONDUCTOR_HOOK_REPLICATE: u32 = 8;

/// The request that a hook is asked about.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_asked_t {
    /// What it is for; valid during the call.
    pub model: *const c_char,
    /// What the caller calls it; "" if it has no name. Valid during the call.
    pub name: *const c_char,
    /// Tokens of input.
    pub input_tokens: u64,
    /// Full blocks of it.
    pub block_count: u32,
    /// 0 to 3.
    pub priority: u32,
    /// Which class of service.
    pub service_class: u32,
    /// Tokens of output; 0: not known.
    pub output_tokens: u32,
}

/// One rank of an instance, and its numbers for a request.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_candidate_t {
    /// Which instance.
    pub instance: mc_conductor_instance_t,
    /// Which of its ranks.
    pub rank: u32,
    /// Blocks of the prefix that it has.
    pub local_blocks: u32,
    /// Who would send it blocks that it lacks; 0: the store, or nobody if `reach_blocks` is not above `local_blocks`.
    pub source: mc_conductor_instance_t,
    /// Which rank of that instance.
    pub source_rank: u32,
    /// Blocks that it would have after they were moved.
    pub reach_blocks: u32,
    /// Seconds from now until it would begin with this request.
    pub queue_seconds: f64,
    /// What of these is there because it is silent or failed lately.
    pub doubt_seconds: f64,
    /// Seconds of prefill with the blocks that it has.
    pub recompute_seconds: f64,
    /// Seconds that moving blocks adds to the queue.
    pub transfer_seconds: f64,
    /// Seconds of prefill after that.
    pub rest_seconds: f64,
}

/// What a decision comes to, before it is made. A load of 1 is as much as the class allows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_prospect_t {
    /// Who would prefill.
    pub chosen: mc_conductor_candidate_t,
    /// Who would decode; 0: nobody does.
    pub decode: mc_conductor_instance_t,
    /// Which of its ranks.
    pub decode_rank: u32,
    /// 0.
    pub reserved: u32,
    /// Seconds from now to the first token.
    pub ttft_seconds: f64,
    /// Seconds between tokens after that.
    pub tbt_seconds: f64,
    /// Load of prefill with this request.
    pub prefill_load: f64,
    /// Load of decode at the moment.
    pub decode_load: f64,
    /// The same as it is foreseen for the end of the prefill.
    pub decode_foreseen_load: f64,
}

/// Whether a request is taken on, and if not, why and when to come back.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct mc_conductor_rejection_t {
    /// MC_CONDUCTOR_REASON_*; MC_CONDUCTOR_REASON_NONE: it is taken on.
    pub reason: mc_conductor_reason_t,
    /// Milliseconds after which it is worth asking again.
    pub retry_after_ms: u32,
    /// What the load would be.
    pub load: f64,
    /// What it may be.
    pub load_limit: f64,
}

/// Blocks of a prompt that should be copied: those from `from_block` on, before `to_block`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct mc_conductor_copy_t {
    /// Who has them.
    pub sender: mc_conductor_instance_t,
    /// Who should have them, too.
    pub receiver: mc_conductor_instance_t,
    /// Which rank of the sender.
    pub sender_rank: u32,
    /// Which rank of the receiver.
    pub receiver_rank: u32,
    /// The first of the blocks.
    pub from_block: u32,
    /// The block after the last; 0: nothing is to be copied.
    pub to_block: u32,
}

/// Prices the candidates of a request: may change `queue_seconds`, `recompute_seconds`, `transfer_seconds` and
/// `rest_seconds` of each, to numbers from 0 on.
///
/// Returns MC_OK; anything else says that it failed, and the built-in numbers count.
pub type mc_conductor_cost_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        asked: *const mc_conductor_asked_t,
        candidates: *mut mc_conductor_candidate_t,
        count: usize,
    ) -> mc_status_t,
>;

/// Chooses who prefills: writes a price for each candidate, and the lowest wins; INFINITY: not this one.
///
/// Returns MC_OK; anything else says that it failed, and the policy decides.
pub type mc_conductor_score_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        asked: *const mc_conductor_asked_t,
        candidates: *const mc_conductor_candidate_t,
        count: usize,
        out_prices: *mut f64,
    ) -> mc_status_t,
>;

/// Says whether a request is taken on: gets what the built-in admission says, and may say otherwise.
///
/// Returns MC_OK; anything else says that it failed, and the built-in answer counts.
pub type mc_conductor_admission_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        asked: *const mc_conductor_asked_t,
        prospect: *const mc_conductor_prospect_t,
        rejection: *mut mc_conductor_rejection_t,
    ) -> mc_status_t,
>;

/// Says what should be copied beside a request: gets what is advised (`to_block` 0: nothing), and may say otherwise.
///
/// `found` is what every rank has of the prompt. Returns MC_OK; anything else says that it failed, and the built-in
/// advice counts.
pub type mc_conductor_replicate_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        asked: *const mc_conductor_asked_t,
        found: *const mc_conductor_match_t,
        count: usize,
        copy: *mut mc_conductor_copy_t,
    ) -> mc_status_t,
>;

/// Rules of the caller's own, each NULL or a function with its user_data.
///
/// They are called from any thread that schedules or explains, possibly from several at once. While `cost`, `score` and
/// `admission` run, no other request of the same model is decided: they must be quick. A hook may not call the conductor,
/// whose functions then return MC_ERR_INVALID_STATE. One that fails or takes longer than its budget `strike_limit` times
/// in a row is switched off for good, which is logged and counted, and the built-in rule is used.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_hooks_t {
    /// sizeof(mc_conductor_hooks_t)
    pub struct_size: u32,
    /// Failed calls in a row that switch a hook off; 0: 3.
    pub strike_limit: u32,
    /// Microseconds that a call may take; 0: 1,000.
    pub budget_us: u64,
    /// Changes the numbers of the candidates.
    pub cost: mc_conductor_cost_fn,
    /// Handed to `cost`.
    pub cost_data: *mut c_void,
    /// Chooses among them.
    pub score: mc_conductor_score_fn,
    /// Handed to `score`.
    pub score_data: *mut c_void,
    /// Takes requests on, or not.
    pub admission: mc_conductor_admission_fn,
    /// Handed to `admission`.
    pub admission_data: *mut c_void,
    /// Decides what is copied.
    pub replicate: mc_conductor_replicate_fn,
    /// Handed to `replicate`.
    pub replicate_data: *mut c_void,
    /// Is told of each user_data of a hook that is set, once, when it will not be used again; may be NULL. Not called if
    /// the conductor could not be made.
    pub drop: mc_drop_fn,
}

// SAFETY: repr(C), size first, zeros are NULLs and defaults.
unsafe impl Sized32 for mc_conductor_hooks_t {}

pub fn patience_of(from: &mc_conductor_hooks_t) -> Patience {
    let default = Patience::default();
    Patience {
        budget: if from.budget_us == 0 { default.budget } else { Duration::from_micros(from.budget_us) },
        strikes: if from.strike_limit == 0 { default.strikes } else { from.strike_limit },
    }
}

/// What a hook's user_data is, until nobody calls it any more.
struct Data {
    user_data: *mut c_void,
    drop: mc_drop_fn,
}

// SAFETY: the header says that hooks are called from any thread, possibly from several at once.
unsafe impl Send for Data {}
// SAFETY: as above.
unsafe impl Sync for Data {}

impl Drop for Data {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: called once, after the last call of the hook has returned; the caller vouches for the function.
            unsafe { drop(self.user_data) }
        }
    }
}

/// What is shown to hooks, kept for its capacity.
#[derive(Default)]
struct Shown {
    candidates: Vec<mc_conductor_candidate_t>,
    found: Vec<mc_conductor_match_t>,
}

thread_local! {
    static SHOWN: RefCell<Shown> = RefCell::default();
}

/// The hooks as the conductor calls them. From here on each user_data is theirs.
pub fn hooks_of(from: &mc_conductor_hooks_t) -> Hooks {
    let data = |user_data| Arc::new(Data { user_data, drop: from.drop });
    let mut hooks = Hooks::default();
    if let Some(hook) = from.cost {
        let data = data(from.cost_data);
        hooks.cost = Some(Box::new(move |asked, candidates| {
            let is_said = with_shown(asked, candidates, |asked, shown| {
                // SAFETY: the caller of mc_conductor_create vouches for the function and its user_data until drop.
                unsafe { hook(data.user_data, asked, shown.as_mut_ptr(), shown.len()) == MC_OK }
            });
            SHOWN.with_borrow(|shown| {
                candidates.iter_mut().zip(&shown.candidates).for_each(|(one, shown)| take_times(one, shown));
            });
            is_said
        }));
    }
    if let Some(hook) = from.score {
        let data = data(from.score_data);
        hooks.score = Some(Box::new(move |asked, candidates, prices| {
            with_shown(asked, candidates, |asked, shown| {
                // SAFETY: as above; there are as many prices as candidates.
                let status =
                    unsafe { hook(data.user_data, asked, shown.as_ptr(), shown.len(), prices.as_mut_ptr()) };
                status == MC_OK
            })
        }));
    }
    if let Some(hook) = from.admission {
        let data = data(from.admission_data);
        hooks.admission = Some(Box::new(move |asked, prospect, refusal| {
            with_asked(asked, |asked| {
                let prospect = shown_prospect(prospect);
                let before = rejection_of(refusal.as_ref());
                let mut said = before;
                // SAFETY: as above.
                let status = unsafe { hook(data.user_data, asked, &prospect, &mut said) };
                status == MC_OK && take_rejection(refusal, &before, &said)
            })
        }));
    }
    if let Some(hook) = from.replicate {
        let data = data(from.replicate_data);
        hooks.replicate = Some(Box::new(move |asked, found, advice| {
            with_asked(asked, |asked| {
                SHOWN.with_borrow_mut(|Shown { found: shown, .. }| {
                    shown.clear();
                    shown.extend(found.iter().map(shown_match));
                    let mut copy = advice.as_ref().map(shown_copy).unwrap_or_default();
                    // SAFETY: as above.
                    let status =
                        unsafe { hook(data.user_data, asked, shown.as_ptr(), shown.len(), &mut copy) };
                    *advice = copying_of(&copy);
                    status == MC_OK
                })
            })
        }));
    }
    hooks
}

fn with_asked(asked: &Asked<'_>, body: impl FnOnce(&mc_conductor_asked_t) -> bool) -> bool {
    // Names have at most 256 bytes.
    let (model, name): ([c_char; 264], [c_char; 264]) = (fixed_text(asked.model), fixed_text(asked.name));
    body(&mc_conductor_asked_t {
        model: model.as_ptr(),
        name: name.as_ptr(),
        input_tokens: asked.tokens,
        block_count: asked.blocks,
        priority: u32::from(asked.priority),
        service_class: u32::from(asked.class),
        output_tokens: asked.output.unwrap_or(0),
    })
}

fn with_shown(
    asked: &Asked<'_>,
    candidates: &[Candidate],
    body: impl FnOnce(&mc_conductor_asked_t, &mut [mc_conductor_candidate_t]) -> bool,
) -> bool {
    with_asked(asked, |asked| {
        SHOWN.with_borrow_mut(|Shown { candidates: shown, .. }| {
            shown.clear();
            shown.extend(candidates.iter().map(shown_candidate));
            body(asked, shown)
        })
    })
}

fn shown_candidate(one: &Candidate) -> mc_conductor_candidate_t {
    let (source, source_rank) = one.source.map_or((0, 0), |(id, rank)| (id.0, rank));
    mc_conductor_candidate_t {
        instance: one.instance.0,
        rank: one.rank,
        local_blocks: one.local,
        source,
        source_rank,
        reach_blocks: one.reach,
        queue_seconds: one.queue,
        doubt_seconds: one.doubt,
        recompute_seconds: one.recompute,
        transfer_seconds: one.transfer,
        rest_seconds: one.rest,
    }
}

fn take_times(candidate: &mut Candidate, shown: &mc_conductor_candidate_t) {
    candidate.queue = shown.queue_seconds;
    candidate.recompute = shown.recompute_seconds;
    candidate.transfer = shown.transfer_seconds;
    candidate.rest = shown.rest_seconds;
}

fn shown_prospect(from: &Prospect) -> mc_conductor_prospect_t {
    let (decode, decode_rank) = from.decode.map_or((0, 0), |(id, rank)| (id.0, rank));
    mc_conductor_prospect_t {
        chosen: shown_candidate(&from.chosen),
        decode,
        decode_rank,
        reserved: 0,
        ttft_seconds: from.ttft,
        tbt_seconds: from.tbt,
        prefill_load: from.prefill_load,
        decode_load: from.decode_load,
        decode_foreseen_load: from.decode_foreseen,
    }
}

pub fn rejection_of(from: Option<&Rejection>) -> mc_conductor_rejection_t {
    from.map_or_else(mc_conductor_rejection_t::default, |from| mc_conductor_rejection_t {
        reason: reason_of(from.reason),
        retry_after_ms: milliseconds(from.retry_after),
        load: from.load,
        load_limit: from.limit,
    })
}

/// Writes what was said over `refusal`, unless it is as before. False if it makes no sense.
fn take_rejection(
    refusal: &mut Option<Rejection>,
    before: &mc_conductor_rejection_t,
    said: &mc_conductor_rejection_t,
) -> bool {
    if (said.reason, said.retry_after_ms) == (before.reason, before.retry_after_ms) {
        return true;
    }
    if said.reason == MC_CONDUCTOR_REASON_NONE {
        *refusal = None;
        return true;
    }
    let Some(reason) = reason_from(said.reason) else { return false };
    *refusal = Some(Rejection {
        reason,
        load: said.load,
        limit: said.load_limit,
        retry_after: f64::from(said.retry_after_ms) / 1e3,
    });
    true
}

fn shown_copy(from: &Copying) -> mc_conductor_copy_t {
    mc_conductor_copy_t {
        sender: from.sender.0.0,
        receiver: from.receiver.0.0,
        sender_rank: from.sender.1,
        receiver_rank: from.receiver.1,
        from_block: from.from,
        to_block: from.to,
    }
}

fn copying_of(from: &mc_conductor_copy_t) -> Option<Copying> {
    (from.to_block > 0).then_some(Copying {
        sender: (InstanceId(from.sender), from.sender_rank),
        receiver: (InstanceId(from.receiver), from.receiver_rank),
        from: from.from_block,
        to: from.to_block,
    })
}
