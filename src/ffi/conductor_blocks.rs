//! Who has which blocks: events in, matches out.

use std::cell::RefCell;

use super::boundary::{call, output, slice, slice_mut};
use super::conductor::{conductor_of, mc_conductor_t};
use super::conductor_instance::{mc_conductor_context_t, mc_conductor_instance_t};
use super::options::check_flags;
use super::status::mc_status_t;
use crate::bail;
use crate::conductor::index::Tier;
use crate::conductor::service::{Change, ContextId, Event, InstanceId, Match, Prompt};
use crate::error::Result;

/// What happened to blocks.
pub type mc_conductor_change_t = u32;
/// They are there now.
pub const MC_CONDUCTOR_CHANGE_STORED: mc_conductor_change_t = 1;
/// They are there no more.
pub const MC_CONDUCTOR_CHANGE_REMOVED: mc_conductor_change_t = 2;
/// All of a tier, or of all tiers, are there no more.
pub const MC_CONDUCTOR_CHANGE_CLEARED: mc_conductor_change_t = 3;

/// Where an instance has a block, nearest first.
pub type mc_conductor_tier_t = u32;
/// All tiers; to clear.
pub const MC_CONDUCTOR_TIER_ALL: mc_conductor_tier_t = 0;
/// The memory of the accelerator.
pub const MC_CONDUCTOR_TIER_DEVICE: mc_conductor_tier_t = 1;
/// The memory of the instance's host.
pub const MC_CONDUCTOR_TIER_HOST: mc_conductor_tier_t = 2;
/// The instance's own disk.
pub const MC_CONDUCTOR_TIER_DISK: mc_conductor_tier_t = 3;
/// The pooled store: what anybody has there is in reach of all.
pub const MC_CONDUCTOR_TIER_STORE: mc_conductor_tier_t = 4;
/// Tiers of a match.
pub const MC_CONDUCTOR_TIER_COUNT: usize = 4;

/// What an engine or the store tells about its blocks.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_event_t {
    /// Whose they are.
    pub instance: mc_conductor_instance_t,
    /// Which of its ranks.
    pub rank: u32,
    /// MC_CONDUCTOR_CHANGE_*
    pub change: mc_conductor_change_t,
    /// MC_CONDUCTOR_TIER_*
    pub tier: mc_conductor_tier_t,
    /// Must be 0.
    pub reserved: u32,
    /// [key_count] keys of blocks; none with MC_CONDUCTOR_CHANGE_CLEARED.
    pub keys: *const u64,
    /// Any number.
    pub key_count: usize,
}

/// What a batch of events did.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct mc_conductor_applied_t {
    /// Events that were taken.
    pub applied_count: u64,
    /// Events of instances, or of ranks, that are not registered for the context.
    pub unknown_count: u64,
}

/// A prompt from its beginning: its tokens, or the keys of its full blocks, and not both.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_prompt_t {
    /// [token_count]; NULL: the keys say it.
    pub tokens: *const u32,
    /// Tokens after the last full block have no key and are looked at by nobody.
    pub token_count: usize,
    /// [key_count]; NULL: the tokens say it.
    pub keys: *const u64,
    /// At most 1,048,576.
    pub key_count: usize,
}

/// What one rank of an instance has of a prompt, in blocks from its beginning.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct mc_conductor_match_t {
    /// Which instance.
    pub instance: mc_conductor_instance_t,
    /// Which of its ranks.
    pub rank: u32,
    /// Blocks that it has in device, host, disk and store, each within this or a nearer one; the last counts what
    /// anybody has in the store.
    pub blocks: [u32; MC_CONDUCTOR_TIER_COUNT],
    /// Its own, with those that are on their way to it.
    pub promised_blocks: u32,
}

pub fn shown_match(one: &Match) -> mc_conductor_match_t {
    mc_conductor_match_t {
        instance: one.instance.0,
        rank: one.rank,
        blocks: one.blocks,
        promised_blocks: one.promised,
    }
}

/// # Safety
/// The lists in `from` are readable, for as long as the result is used.
pub unsafe fn prompt_of<'a>(from: &mc_conductor_prompt_t) -> Result<Prompt<'a>> {
    // SAFETY: the caller's promise.
    let (tokens, keys) = unsafe {
        (
            slice(from.tokens, from.token_count, "prompt.tokens")?,
            slice(from.keys, from.key_count, "prompt.keys")?,
        )
    };
    match (tokens.is_empty(), keys.is_empty()) {
        (false, false) => bail!(InvalidArgument, "the prompt has tokens and keys: give one of them"),
        (false, true) => Ok(Prompt::Tokens(tokens)),
        (true, _) => Ok(Prompt::Keys(keys)),
    }
}

/// Takes in what engines and the store tell about their blocks, in its order.
///
/// @param conductor  the conductor
/// @param context  the context of all the keys
/// @param events  array of `count` events; borrowed for the call. If one of them is wrong, none is taken
/// @param count  any number
/// @param[out] out_applied  how many were taken; may be NULL
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT (which event), MC_ERR_INVALID_STATE (called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_apply(
    conductor: *mut mc_conductor_t,
    context: mc_conductor_context_t,
    events: *const mc_conductor_event_t,
    count: usize,
    out_applied: *mut mc_conductor_applied_t,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (events, out) = unsafe {
            let out = if out_applied.is_null() { None } else { Some(output(out_applied, "out_applied")?) };
            (slice(events, count, "events")?, out)
        };
        let read = |(index, event): (usize, &mc_conductor_event_t)| {
            // SAFETY: the keys are readable during the call.
            unsafe { event_of(event) }.map_err(|error| error.context(format_args!("event {index}")))
        };
        let events: Vec<Event<'_>> = events.iter().enumerate().map(read).collect::<Result<_>>()?;
        let applied = conductor.apply(ContextId(context), &events)?;
        if let Some(out) = out {
            let (applied_count, unknown_count) = (applied.applied as u64, applied.unknown as u64);
            *out = mc_conductor_applied_t { applied_count, unknown_count };
        }
        Ok(())
    })
}

/// # Safety
/// The keys are readable, for as long as the result is used.
unsafe fn event_of<'a>(from: &mc_conductor_event_t) -> Result<Event<'a>> {
    check_flags(u64::from(from.reserved), 0, "reserved")?;
    // SAFETY: the caller's promise.
    let keys = unsafe { slice(from.keys, from.key_count, "keys")? };
    let tier = match from.tier {
        MC_CONDUCTOR_TIER_ALL => None,
        given => match Tier::ALL.get(given as usize - 1) {
            Some(tier) => Some(*tier),
            None => bail!(InvalidArgument, "tier {given}: no such MC_CONDUCTOR_TIER_*"),
        },
    };
    let change = match (from.change, tier) {
        (MC_CONDUCTOR_CHANGE_STORED, Some(tier)) => Change::Stored { tier, keys },
        (MC_CONDUCTOR_CHANGE_REMOVED, Some(tier)) => Change::Removed { tier, keys },
        (MC_CONDUCTOR_CHANGE_STORED | MC_CONDUCTOR_CHANGE_REMOVED, None) => {
            bail!(InvalidArgument, "MC_CONDUCTOR_TIER_ALL is to clear: say which tier")
        }
        (MC_CONDUCTOR_CHANGE_CLEARED, _) if !keys.is_empty() => {
            bail!(InvalidArgument, "MC_CONDUCTOR_CHANGE_CLEARED has {} keys: it has none", keys.len())
        }
        (MC_CONDUCTOR_CHANGE_CLEARED, tier) => Change::Cleared { tier },
        (other, _) => bail!(InvalidArgument, "change {other}: no such MC_CONDUCTOR_CHANGE_*"),
    };
    Ok(Event { instance: InstanceId(from.instance), rank: from.rank, change })
}

/// Forgets all blocks of one rank of an instance, in all contexts: what it has will be told anew.
///
/// @param conductor  the conductor
/// @param instance  the instance
/// @param rank  which of its ranks
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_NOT_FOUND (no such rank), MC_ERR_INVALID_STATE (called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_conductor_clear(
    conductor: *mut mc_conductor_t,
    instance: mc_conductor_instance_t,
    rank: u32,
) -> mc_status_t {
    call(|| conductor_of(conductor)?.clear(InstanceId(instance), rank))
}

/// Computes the keys of the full blocks of a prompt, as the engines of the context name them.
///
/// @param conductor  the conductor
/// @param context  the context
/// @param tokens  array of `token_count` tokens
/// @param token_count  any number
/// @param[out] keys  `capacity` keys, may be NULL when capacity is 0
/// @param capacity  items in keys
/// @param[out] out_count  how many there are, also when they did not fit
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_INVALID_STATE (called by a
/// hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_hash(
    conductor: *const mc_conductor_t,
    context: mc_conductor_context_t,
    tokens: *const u32,
    token_count: usize,
    keys: *mut u64,
    capacity: usize,
    out_count: *mut usize,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (tokens, keys, out_count) = unsafe {
            (
                slice(tokens, token_count, "tokens")?,
                slice_mut(keys, capacity, "keys")?,
                output(out_count, "out_count")?,
            )
        };
        fill_items(&conductor.keys(ContextId(context), tokens)?, keys, out_count)
    })
}

/// Copies items out if they all fit; how many there are always goes out.
pub fn fill_items<T: Copy>(items: &[T], room: &mut [T], out_count: &mut usize) -> Result<()> {
    *out_count = items.len();
    let Some(room) = room.get_mut(..items.len()) else {
        bail!(BufferTooSmall, "{} items are there, and there is room for {}", items.len(), room.len());
    };
    room.copy_from_slice(items);
    Ok(())
}

thread_local! {
    static FOUND: RefCell<Vec<Match>> = const { RefCell::new(Vec::new()) };
}

/// Tells what each rank of each instance has of a prompt; those that have nothing too.
///
/// @param conductor  the conductor
/// @param context  the context
/// @param prompt  borrowed for the call
/// @param[out] matches  `capacity` items, may be NULL when capacity is 0; in an order that stays while no instance comes or
/// goes
/// @param capacity  items in matches
/// @param[out] out_count  how many there are, also when they did not fit
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_INVALID_STATE (called by a
/// hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_match(
    conductor: *const mc_conductor_t,
    context: mc_conductor_context_t,
    prompt: *const mc_conductor_prompt_t,
    matches: *mut mc_conductor_match_t,
    capacity: usize,
    out_count: *mut usize,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (prompt, room, out_count) = unsafe {
            let [prompt] = slice(prompt, 1, "prompt")? else { bail!(InvalidArgument, "prompt is NULL") };
            (prompt_of(prompt)?, slice_mut(matches, capacity, "matches")?, output(out_count, "out_count")?)
        };
        FOUND.with_borrow_mut(|found| {
            conductor.find(ContextId(context), prompt, found)?;
            *out_count = found.len();
            if found.len() > room.len() {
                bail!(
                    BufferTooSmall,
                    "{} ranks are there, and there is room for {}",
                    found.len(),
                    room.len()
                );
            }
            room.iter_mut().zip(found.iter()).for_each(|(out, one)| *out = shown_match(one));
            Ok(())
        })
    })
}
