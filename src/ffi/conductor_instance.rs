//! Who serves and who holds blocks, and the contexts that they do it in.

use std::ffi::c_char;

use super::boundary::{call, fixed_text, output, text};
use super::conductor::{conductor_of, mc_conductor_t};
use super::options::{self, Sized32, check_flags};
use super::status::mc_status_t;
use crate::conductor::cost::{Cost, Decode, Machine, Model, Prefill};
use crate::conductor::hash::Scheme;
use crate::conductor::schedule::{Report, Role};
use crate::conductor::service::{Context, ContextId, Duty, InstanceId, Registration};
use crate::error::Result;
use crate::{bail, fail};

/// An instance of a conductor, until it is unregistered. 0 is never valid.
pub type mc_conductor_instance_t = u64;

/// A context of a conductor, until it is closed. 0 is never valid.
pub type mc_conductor_context_t = u64;

/// What an instance is to a conductor.
pub type mc_conductor_role_t = u32;
/// It prefills.
pub const MC_CONDUCTOR_ROLE_PREFILL: mc_conductor_role_t = 1;
/// It decodes.
pub const MC_CONDUCTOR_ROLE_DECODE: mc_conductor_role_t = 2;
/// It does both.
pub const MC_CONDUCTOR_ROLE_BOTH: mc_conductor_role_t = 3;
/// It holds blocks and serves nothing: the store.
pub const MC_CONDUCTOR_ROLE_HOLD: mc_conductor_role_t = 4;

/// What serving takes on one rank of an instance. Every number counts as it is: begin with mc_conductor_preset().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_cost_t {
    /// sizeof(mc_conductor_cost_t)
    pub struct_size: u32,
    /// Layers between which loading blocks and computing overlap; 0: the one waits for the other.
    pub layer_count: u32,
    /// Bytes of the cache for one token; above 0.
    pub kv_bytes_per_token: f64,
    /// Seconds of prefill: this,
    pub prefill_fixed: f64,
    /// and this for each token that is computed,
    pub prefill_linear: f64,
    /// and this for each pair of tokens: the square of all less the square of those that are cached.
    pub prefill_quadratic: f64,
    /// Seconds of a step of decode: this,
    pub decode_fixed: f64,
    /// and this for each request of the batch,
    pub decode_per_request: f64,
    /// and this for each token of all contexts.
    pub decode_per_token: f64,
    /// Bytes per second from the host's memory to the device's; above 0.
    pub host_rate: f64,
    /// Bytes per second from the disk; above 0.
    pub disk_rate: f64,
    /// Bytes per second from other instances and from the store; above 0.
    pub link_rate: f64,
    /// Tokens whose cache the device holds while it decodes; above 0.
    pub kv_tokens: u64,
    /// Tokens that are prefilled at once; above 0.
    pub chunk_tokens: u64,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_conductor_cost_t {}

/// An instance to register. mc_conductor_instance_options_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_instance_options_t {
    /// sizeof(mc_conductor_instance_options_t)
    pub struct_size: u32,
    /// MC_CONDUCTOR_ROLE_*; must be set.
    pub role: mc_conductor_role_t,
    /// What it is called, 1 to 256 bytes; must be set.
    pub name: *const c_char,
    /// What it serves. NULL for one that holds blocks: those of any model.
    pub model: *const c_char,
    /// Tokens per block of its engine. 0 for one that holds blocks: of any size.
    pub block_size: u32,
    /// Data-parallel ranks, each with a cache and a queue of its own, up to 1,024; 0: 1.
    pub rank_count: u32,
    /// What serving takes there; NULL: LLaMA3-70B on eight A800. Not for one that holds blocks.
    pub cost: *const mc_conductor_cost_t,
}

// SAFETY: repr(C), size first, zeros are NULLs and defaults.
unsafe impl Sized32 for mc_conductor_instance_options_t {}

/// What an instance is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_instance_info_t {
    /// sizeof(mc_conductor_instance_info_t), set by the caller.
    pub struct_size: u32,
    /// MC_CONDUCTOR_ROLE_*
    pub role: mc_conductor_role_t,
    /// What it is called.
    pub name: [c_char; 264],
    /// What it serves.
    pub model: [c_char; 264],
    /// Tokens per block; 0: any.
    pub block_size: u32,
    /// Data-parallel ranks.
    pub rank_count: u32,
    /// Milliseconds since it was registered for the first time.
    pub age_ms: u64,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_conductor_instance_info_t {}

/// mc_conductor_report_t: `queue_seconds` is set.
pub const MC_CONDUCTOR_REPORT_QUEUE: u64 = 1;
/// mc_conductor_report_t: `decoding_requests` and `decoding_tokens` are set.
pub const MC_CONDUCTOR_REPORT_DECODING: u64 = 2;
/// mc_conductor_report_t: `tbt_seconds` is set.
pub const MC_CONDUCTOR_REPORT_TBT: u64 = 4;

/// What one rank of an instance says of itself. Without flags: that it is there.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_report_t {
    /// sizeof(mc_conductor_report_t)
    pub struct_size: u32,
    /// Requests that decode there.
    pub decoding_requests: u32,
    /// MC_CONDUCTOR_REPORT_*
    pub flags: u64,
    /// Tokens of their contexts.
    pub decoding_tokens: u64,
    /// Seconds that a request sent now would wait before its prefill.
    pub queue_seconds: f64,
    /// Seconds between tokens.
    pub tbt_seconds: f64,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_conductor_report_t {}

/// How an engine names its blocks.
pub type mc_conductor_hash_t = u32;
/// XXH3 rolling, as Mooncake's indexer.
pub const MC_CONDUCTOR_HASH_XXH3: mc_conductor_hash_t = 0;
/// vLLM's sha256_cbor.
pub const MC_CONDUCTOR_HASH_VLLM_SHA256_CBOR: mc_conductor_hash_t = 1;
/// vLLM's sha256.
pub const MC_CONDUCTOR_HASH_VLLM_SHA256: mc_conductor_hash_t = 2;

/// What must be equal for two prompts to share blocks. mc_conductor_context_options_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_conductor_context_options_t {
    /// sizeof(mc_conductor_context_options_t)
    pub struct_size: u32,
    /// Tokens per block; must be set.
    pub block_size: u32,
    /// Must be set.
    pub model: *const c_char,
    /// NULL: "".
    pub tenant: *const c_char,
    /// Name of the LoRA; NULL: none.
    pub lora: *const c_char,
    /// NULL: none.
    pub salt: *const c_char,
    /// Of MC_CONDUCTOR_HASH_XXH3.
    pub hash_seed: u64,
    /// Of vLLM's: what PYTHONHASHSEED is there; must be set with them, and with them only.
    pub python_hash_seed: *const c_char,
    /// MC_CONDUCTOR_HASH_*
    pub hash: mc_conductor_hash_t,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C), size first, zeros are NULLs and defaults.
unsafe impl Sized32 for mc_conductor_context_options_t {}

/// Writes what serving takes, of a model on a machine of the paper; each number can be changed then.
///
/// @param model  "llama3-70b"; NULL: that
/// @param machine  "a800" or "h800", eight of them; NULL: "a800"
/// @param[in,out] out_cost  struct_size set by the caller
/// Errors: MC_ERR_INVALID_ARGUMENT, MC_ERR_NOT_FOUND (no such model or machine).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_preset(
    model: *const c_char,
    machine: *const c_char,
    out_cost: *mut mc_conductor_cost_t,
) -> mc_status_t {
    call(|| {
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (model, machine) = unsafe {
            options::check_info(out_cost, "out_cost")?;
            (text(model, "model")?, text(machine, "machine")?)
        };
        let model = match model {
            None | Some("llama3-70b") => Model::LLAMA3_70B,
            Some(other) => bail!(NotFound, "no model of the paper is called {other:?}: there is llama3-70b"),
        };
        let machine = match machine {
            None | Some("a800") => Machine::A800,
            Some("h800") => Machine::H800,
            Some(other) => {
                bail!(NotFound, "no machine of the paper is called {other:?}: there are a800, h800")
            }
        };
        let cost = Cost::of(&model, &machine);
        let value = mc_conductor_cost_t {
            struct_size: 0,
            layer_count: cost.layers,
            kv_bytes_per_token: cost.kv_bytes_per_token,
            prefill_fixed: cost.prefill.fixed,
            prefill_linear: cost.prefill.linear,
            prefill_quadratic: cost.prefill.quadratic,
            decode_fixed: cost.decode.fixed,
            decode_per_request: cost.decode.per_request,
            decode_per_token: cost.decode.per_token,
            host_rate: cost.host_rate,
            disk_rate: cost.disk_rate,
            link_rate: cost.link_rate,
            kv_tokens: cost.kv_tokens,
            chunk_tokens: cost.chunk_tokens,
        };
        // SAFETY: as above.
        unsafe { options::write(out_cost, &value, "out_cost") }
    })
}

/// # Safety
/// `cost` is NULL or readable.
unsafe fn cost_of(cost: *const mc_conductor_cost_t, block_size: u32) -> Result<Cost> {
    let block_tokens = block_size.max(1);
    if cost.is_null() {
        return Ok(Cost { block_tokens, ..Cost::of(&Model::LLAMA3_70B, &Machine::A800) });
    }
    // SAFETY: the caller's promise.
    let from = unsafe { options::read(cost, "options->cost")? };
    Ok(Cost {
        block_tokens,
        kv_bytes_per_token: from.kv_bytes_per_token,
        prefill: Prefill {
            fixed: from.prefill_fixed,
            linear: from.prefill_linear,
            quadratic: from.prefill_quadratic,
        },
        decode: Decode {
            fixed: from.decode_fixed,
            per_request: from.decode_per_request,
            per_token: from.decode_per_token,
        },
        host_rate: from.host_rate,
        disk_rate: from.disk_rate,
        link_rate: from.link_rate,
        layers: from.layer_count,
        kv_tokens: from.kv_tokens,
        chunk_tokens: from.chunk_tokens,
    })
}

/// Registers an instance: requests may be sent there from now on, and it may have blocks.
///
/// One that has the name already is changed to what is said now, its ranks and cost, and keeps its id; its model and role
/// stay as they are.
///
/// @param conductor  the conductor
/// @param options  copied
/// @param[out] out_instance  the instance; may be NULL
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_ALREADY_EXISTS (with another model or
/// role: unregister it first), MC_ERR_EXHAUSTED (too many), MC_ERR_INVALID_STATE (called by a hook), MC_ERR_UNSUPPORTED
/// (field newer than the library).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_register_instance(
    conductor: *mut mc_conductor_t,
    options: *const mc_conductor_instance_options_t,
    out_instance: *mut mc_conductor_instance_t,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (registration, out) = unsafe {
            let out = if out_instance.is_null() { None } else { Some(output(out_instance, "out_instance")?) };
            (registration_of(&options::read(options, "options")?)?, out)
        };
        let id = conductor.register(&registration)?;
        if let Some(out) = out {
            *out = id.0;
        }
        Ok(())
    })
}

/// # Safety
/// The strings and the cost in `from` are readable.
unsafe fn registration_of(from: &mc_conductor_instance_options_t) -> Result<Registration> {
    // SAFETY: the caller's promise.
    let (name, model) = unsafe { (text(from.name, "options->name")?, text(from.model, "options->model")?) };
    let role = match from.role {
        MC_CONDUCTOR_ROLE_PREFILL => Some(Role::Prefill),
        MC_CONDUCTOR_ROLE_DECODE => Some(Role::Decode),
        MC_CONDUCTOR_ROLE_BOTH => Some(Role::Both),
        MC_CONDUCTOR_ROLE_HOLD => None,
        other => bail!(InvalidArgument, "options->role is {other}: MC_CONDUCTOR_ROLE_* begin at 1"),
    };
    let duty = match role {
        // SAFETY: the caller's promise.
        Some(role) => Duty::Serve { role, cost: unsafe { cost_of(from.cost, from.block_size)? } },
        None if !from.cost.is_null() => {
            bail!(InvalidArgument, "options->cost is set for an instance that serves nothing")
        }
        None => Duty::Hold,
    };
    Ok(Registration {
        name: name.unwrap_or_default().to_owned(),
        model: model.unwrap_or_default().to_owned(),
        block_size: from.block_size,
        ranks: from.rank_count.max(1),
        duty,
    })
}

/// Forgets an instance: at once all that it has, and the requests that wait for their first token there.
///
/// @param conductor  the conductor
/// @param name  what it is called
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_NOT_FOUND, MC_ERR_INVALID_STATE (called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_unregister_instance(
    conductor: *mut mc_conductor_t,
    name: *const c_char,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: readable by the rules in mooncake.h.
        conductor.unregister(unsafe { named(name)? })
    })
}

/// # Safety
/// `name` is NULL or a string that stays readable.
pub unsafe fn named<'a>(name: *const c_char) -> Result<&'a str> {
    // SAFETY: the caller's promise.
    unsafe { text(name, "name")? }.ok_or_else(|| fail!(InvalidArgument, "name is NULL"))
}

/// Finds an instance by its name.
///
/// @param conductor  the conductor
/// @param name  what it is called
/// @param[out] out_instance  the instance
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_NOT_FOUND, MC_ERR_INVALID_STATE (called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_find_instance(
    conductor: *const mc_conductor_t,
    name: *const c_char,
    out_instance: *mut mc_conductor_instance_t,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (name, out) = unsafe { (named(name)?, output(out_instance, "out_instance")?) };
        *out = conductor.instance(name)?.0;
        Ok(())
    })
}

/// Tells what an instance is.
///
/// @param conductor  the conductor
/// @param instance  the instance
/// @param[in,out] out_info  struct_size set by the caller
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_INVALID_STATE (called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_get_instance(
    conductor: *const mc_conductor_t,
    instance: mc_conductor_instance_t,
    out_info: *mut mc_conductor_instance_info_t,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: writable for its declared size, by the rules in mooncake.h.
        unsafe { options::check_info(out_info, "out_info")? };
        let info = conductor.instance_info(InstanceId(instance))?;
        let registration = &info.registration;
        let value = mc_conductor_instance_info_t {
            struct_size: 0,
            role: match registration.duty {
                Duty::Serve { role: Role::Prefill, .. } => MC_CONDUCTOR_ROLE_PREFILL,
                Duty::Serve { role: Role::Decode, .. } => MC_CONDUCTOR_ROLE_DECODE,
                Duty::Serve { role: Role::Both, .. } => MC_CONDUCTOR_ROLE_BOTH,
                Duty::Hold => MC_CONDUCTOR_ROLE_HOLD,
            },
            name: fixed_text(&registration.name),
            model: fixed_text(&registration.model),
            block_size: registration.block_size,
            rank_count: registration.ranks,
            // Whole and not below 0.
            age_ms: (info.age * 1e3) as u64,
        };
        // SAFETY: as above.
        unsafe { options::write(out_info, &value, "out_info") }
    })
}

/// Takes in what one rank of an instance says of itself. Once it has reported, its silence counts against it.
///
/// @param conductor  the conductor
/// @param instance  the instance
/// @param rank  which of its ranks
/// @param report  NULL: it says that it is there
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_NOT_FOUND (no such rank), MC_ERR_INVALID_STATE (called
/// by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_report(
    conductor: *mut mc_conductor_t,
    instance: mc_conductor_instance_t,
    rank: u32,
    report: *const mc_conductor_report_t,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: readable by the rules in mooncake.h.
        let from = unsafe { options::read(report, "report")? };
        let all = MC_CONDUCTOR_REPORT_QUEUE | MC_CONDUCTOR_REPORT_DECODING | MC_CONDUCTOR_REPORT_TBT;
        check_flags(from.flags, all, "report->flags")?;
        let has = |flag| from.flags & flag != 0;
        let report = Report {
            queue: has(MC_CONDUCTOR_REPORT_QUEUE).then_some(from.queue_seconds),
            decoding: has(MC_CONDUCTOR_REPORT_DECODING)
                .then_some((from.decoding_requests, from.decoding_tokens)),
            tbt: has(MC_CONDUCTOR_REPORT_TBT).then_some(from.tbt_seconds),
        };
        conductor.report(InstanceId(instance), rank, &report)
    })
}

/// Opens a context: all instances of its model, and all that hold blocks of any, may have blocks in it.
///
/// One that is open already keeps its id.
///
/// @param conductor  the conductor
/// @param options  copied
/// @param[out] out_context  the context
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_EXHAUSTED (too many: close some),
/// MC_ERR_INVALID_STATE (called by a hook), MC_ERR_UNSUPPORTED (field newer than the library).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_conductor_open_context(
    conductor: *mut mc_conductor_t,
    options: *const mc_conductor_context_options_t,
    out_context: *mut mc_conductor_context_t,
) -> mc_status_t {
    call(|| {
        let conductor = conductor_of(conductor)?;
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (context, out) = unsafe {
            (context_of(&options::read(options, "options")?)?, output(out_context, "out_context")?)
        };
        *out = conductor.open_context(&context)?.0;
        Ok(())
    })
}

/// # Safety
/// The strings in `from` are readable.
unsafe fn context_of(from: &mc_conductor_context_options_t) -> Result<Context> {
    check_flags(u64::from(from.reserved), 0, "options->reserved")?;
    // SAFETY: the caller's promise.
    let string =
        |pointer, name| Ok::<_, crate::error::Error>(unsafe { text(pointer, name)? }.map(str::to_owned));
    let python = string(from.python_hash_seed, "options->python_hash_seed")?;
    let scheme = match (from.hash, python) {
        (MC_CONDUCTOR_HASH_XXH3, None) => Scheme::Xxh3 { seed: from.hash_seed },
        (MC_CONDUCTOR_HASH_VLLM_SHA256_CBOR, Some(python_hash_seed)) => Scheme::VllmCbor { python_hash_seed },
        (MC_CONDUCTOR_HASH_VLLM_SHA256, Some(python_hash_seed)) => Scheme::VllmPickle { python_hash_seed },
        (MC_CONDUCTOR_HASH_XXH3..=MC_CONDUCTOR_HASH_VLLM_SHA256, _) => {
            bail!(
                InvalidArgument,
                "options->python_hash_seed is for vLLM's hashes, and must be set with them"
            )
        }
        (other, _) => bail!(InvalidArgument, "options->hash is {other}: no such MC_CONDUCTOR_HASH_*"),
    };
    Ok(Context {
        tenant: string(from.tenant, "options->tenant")?.unwrap_or_default(),
        model: string(from.model, "options->model")?.unwrap_or_default(),
        lora: string(from.lora, "options->lora")?,
        salt: string(from.salt, "options->salt")?,
        block_size: from.block_size,
        scheme,
    })
}

/// Closes a context: its blocks are forgotten at once. Requests that run go on.
///
/// @param conductor  the conductor
/// @param context  the context
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_STATE (called by a hook).
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_conductor_close_context(
    conductor: *mut mc_conductor_t,
    context: mc_conductor_context_t,
) -> mc_status_t {
    call(|| conductor_of(conductor)?.close_context(ContextId(context)))
}
