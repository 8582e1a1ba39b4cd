//! Nodes and masters of the store in a process: what `mooncake node` and `mooncake master` run.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::time::Duration;

use super::boundary::{call, fixed_text, output, text};
use super::live;
use super::opened::{address_of, engine_config, listed, loopback, near};
use super::options::{self, Sized32, check_flags};
use super::status::{MC_OK, mc_status_t};
use super::store::psk_of;
use crate::error::Result;
use crate::store::eviction::Policy;
use crate::store::master;
use crate::store::master::server::{self, Master};
use crate::store::node::server::{self as node, Node, SegmentOptions};
use crate::{bail, fail};

/// A master: it knows which object lies where, and who may write, read and evict what.
pub struct mc_master_t {
    _opaque: [u8; 0],
}

/// A node: memory that this process gives to the store.
pub struct mc_node_t {
    _opaque: [u8; 0],
}

/// mc_master_create: there was no cluster before, so that nodes of one need not be waited for.
pub const MC_MASTER_FLAG_FOUND: u64 = 1;
/// mc_master_create: ignores MC_* environment variables.
pub const MC_MASTER_FLAG_NO_ENVIRONMENT: u64 = 2;

/// mc_node_create: ignores MC_* environment variables in making its engine.
pub const MC_NODE_FLAG_NO_ENVIRONMENT: u64 = 1;

/// How to run a master. Zero means default in every field; mc_master_options_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_master_options_t {
    /// sizeof(mc_master_options_t)
    pub struct_size: u32,
    /// Threads that serve calls, 1 to 16; 0: 2.
    pub worker_threads: u32,
    /// MC_MASTER_FLAG_*
    pub flags: u64,
    /// "host:port" to listen on, port 0 for one that the kernel gives. NULL: 127.0.0.1 and such a port.
    pub listen: *const c_char,
    /// Secret that masters, nodes and clients share, 16 to 256 bytes. NULL: that in the file named by MC_PSK_FILE;
    /// without one, nobody is authenticated.
    pub psk: *const c_void,
    /// Bytes of `psk`.
    pub psk_length: usize,
    /// Order of eviction: "lru", "lfu", "fifo", "s3fifo", "sieve" or "default". NULL: "default".
    pub eviction: *const c_char,
    /// Bytes that a tenant may have unless it is told otherwise; 0: no limit.
    pub default_quota_bytes: u64,
    /// Milliseconds for which nodes of an earlier cluster are waited for; 0: 10,000.
    pub found_after_ms: u64,
}

// SAFETY: repr(C), size first, zeros are NULLs and defaults.
unsafe impl Sized32 for mc_master_options_t {}

/// What a master is at the moment.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_master_info_t {
    /// sizeof(mc_master_info_t), set by the caller.
    pub struct_size: u32,
    /// Port listened on.
    pub port: u32,
    /// "host:port" listened on.
    pub address: [c_char; 80],
    /// It leads, and answers; if not, it waits for nodes, or another master leads.
    pub is_serving: bool,
    /// Padding, 0.
    pub reserved: [u8; 7],
    /// Objects that it knows.
    pub object_count: u64,
    /// Bytes that they take, all replicas counted.
    pub used_bytes: u64,
    /// Bytes that nodes give.
    pub capacity_bytes: u64,
    /// Objects evicted so far.
    pub evicted_count: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_master_info_t {}

/// How to run a node. Zero means default in every field; mc_node_options_default() fills struct_size.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_node_options_t {
    /// sizeof(mc_node_options_t)
    pub struct_size: u32,
    /// Must be 0.
    pub reserved: u32,
    /// MC_NODE_FLAG_*
    pub flags: u64,
    /// "host:port" of each master that there may be, separated by commas. Must be set.
    pub masters: *const c_char,
    /// "host:port" to listen on, port 0 for one that the kernel gives. NULL: such a port, of loopback where all masters
    /// are there, else of every address of the host.
    pub listen: *const c_char,
    /// Secret that masters, nodes and clients share, 16 to 256 bytes. NULL: that in the file named by MC_PSK_FILE;
    /// without one, nobody is authenticated.
    pub psk: *const c_void,
    /// Bytes of `psk`.
    pub psk_length: usize,
    /// Memory to give, in bytes; must be set.
    pub memory_bytes: u64,
    /// What that memory is called, at most 256 bytes: puts may prefer it. NULL: made from host name and address.
    pub name: *const c_char,
    /// What fails together with this process, such as a rack. NULL: the host name.
    pub domain: *const c_char,
}

// SAFETY: repr(C), size first, zeros are NULLs and defaults.
unsafe impl Sized32 for mc_node_options_t {}

/// What a node is at the moment.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mc_node_info_t {
    /// sizeof(mc_node_info_t), set by the caller.
    pub struct_size: u32,
    /// Clients that can reach its memory.
    pub client_count: u32,
    /// "host:port" where it is reached.
    pub address: [c_char; 80],
    /// This start of the node: a later one has a higher number.
    pub id: u64,
    /// A master leads it.
    pub is_led: bool,
    /// Padding, 0.
    pub reserved: [u8; 7],
    /// Bytes that it gives.
    pub capacity_bytes: u64,
    /// Of those, bytes of objects, and of those that are being written.
    pub held_bytes: u64,
    /// Bytes given up and not free yet, because somebody might still touch them.
    pub quarantined_bytes: u64,
    /// Bytes free.
    pub free_bytes: u64,
}

// SAFETY: repr(C), size first, zeros are valid.
unsafe impl Sized32 for mc_node_info_t {}

fn master_of(master: *const mc_master_t) -> Result<Arc<Master>> {
    live::root(master as u64)
}

fn node_of(node: *const mc_node_t) -> Result<Arc<Node>> {
    live::root(node as u64)
}

/// Starts a master. What it knows ends with it; the nodes tell the next one.
///
/// @param options  NULL: all defaults
/// @param[out] out_master  the master; end it with mc_master_destroy()
/// Errors: MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_IO (binding; the address is named), MC_ERR_UNSUPPORTED (field newer
/// than the library).
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_master_create(
    options: *const mc_master_options_t,
    out_master: *mut *mut mc_master_t,
) -> mc_status_t {
    call(|| {
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, out) =
            unsafe { (options::read(options, "options")?, output(out_master, "out_master")?) };
        // SAFETY: the strings are readable during the call.
        let started = Master::start(unsafe { master_options(&options)? })?;
        *out = live::insert_root(|_| started)? as *mut mc_master_t;
        Ok(())
    })
}

/// # Safety
/// The strings in `options` are readable.
unsafe fn master_options(options: &mc_master_options_t) -> Result<server::Options> {
    check_flags(options.flags, MC_MASTER_FLAG_FOUND | MC_MASTER_FLAG_NO_ENVIRONMENT, "options->flags")?;
    let no_environment = options.flags & MC_MASTER_FLAG_NO_ENVIRONMENT != 0;
    if options.worker_threads > 16 {
        bail!(InvalidArgument, "options->worker_threads is {}: 1 to 16, or 0", options.worker_threads);
    }
    // SAFETY: the caller's promise.
    let (listen, eviction, psk) = unsafe {
        (
            text(options.listen, "options->listen")?,
            text(options.eviction, "options->eviction")?,
            psk_of(options.psk, options.psk_length, no_environment)?,
        )
    };
    let policy = match eviction {
        None => Policy::Default,
        Some(name) => Policy::ALL.into_iter().find(|policy| policy.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Policy::ALL.iter().map(|policy| policy.name()).collect();
            fail!(InvalidArgument, "options->eviction is {name:?}: one of {}", names.join(", "))
        })?,
    };
    let default = master::Config::default();
    let found_after_ms = match options.found_after_ms {
        _ if options.flags & MC_MASTER_FLAG_FOUND != 0 => Some(0),
        0 => default.found_after_ms,
        milliseconds => Some(milliseconds),
    };
    let config = master::Config {
        policy,
        found_after_ms,
        default_quota: (options.default_quota_bytes != 0).then_some(options.default_quota_bytes),
        ..default
    };
    let workers = if options.worker_threads == 0 { 2 } else { options.worker_threads as usize };
    let address = listen.map_or_else(|| Ok(loopback()), |listen| address_of(listen, "options->listen"))?;
    Ok(server::Options { address, psk: psk.map(Arc::from), config, workers, feed: None })
}

/// Stops a master. Who waits for its answer is told that it is gone.
///
/// @param master  NULL: nothing happens, MC_OK
/// Errors: MC_ERR_INVALID_HANDLE (destroyed before).
/// Threads: blocks until its threads have ended.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_master_destroy(master: *mut mc_master_t) -> mc_status_t {
    if master.is_null() {
        return MC_OK;
    }
    call(|| {
        live::remove_root::<Master>(master as u64)?.stop();
        Ok(())
    })
}

/// Tells what a master is: its address, for nodes and clients, and what it counts.
///
/// @param master  the master
/// @param[in,out] out_info  struct_size set by the caller
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_master_get_info(
    master: *const mc_master_t,
    out_info: *mut mc_master_info_t,
) -> mc_status_t {
    call(|| {
        let master = master_of(master)?;
        // SAFETY: writable for its declared size, by the rules in mooncake.h.
        unsafe { options::check_info(out_info, "out_info")? };
        let (stats, is_serving) = master.with(|state, _| (state.stats(), state.is_serving()));
        let address = master.address();
        let value = mc_master_info_t {
            struct_size: 0,
            port: u32::from(address.port()),
            address: fixed_text(&address.to_string()),
            is_serving,
            reserved: [0; 7],
            object_count: stats.objects,
            used_bytes: stats.used_bytes,
            capacity_bytes: stats.capacity_bytes,
            evicted_count: stats.evicted,
            evicted_bytes: stats.evicted_bytes,
        };
        // SAFETY: as above.
        unsafe { options::write(out_info, &value, "out_info") }
    })
}

/// Starts a node: allocates its memory, and offers it to the master until one takes it.
///
/// @param options  with masters and memory_bytes
/// @param[out] out_node  the node; end it with mc_node_drain() and mc_node_destroy()
/// Errors: MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_NO_SPACE (memory), MC_ERR_IO (binding; the address is named),
/// MC_ERR_UNSUPPORTED (field newer than the library). That no master answers is no error: look at mc_node_get_info().
/// Threads: blocks for the time that touching every page takes.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_node_create(
    options: *const mc_node_options_t,
    out_node: *mut *mut mc_node_t,
) -> mc_status_t {
    call(|| {
        // SAFETY: readable and writable by the rules in mooncake.h.
        let (options, out) = unsafe { (options::read(options, "options")?, output(out_node, "out_node")?) };
        // SAFETY: the strings are readable during the call.
        let started = Node::start(unsafe { node_options(&options)? })?;
        *out = live::insert_root(|_| started)? as *mut mc_node_t;
        Ok(())
    })
}

/// # Safety
/// The strings in `options` are readable.
unsafe fn node_options(options: &mc_node_options_t) -> Result<node::Options> {
    check_flags(options.flags, MC_NODE_FLAG_NO_ENVIRONMENT, "options->flags")?;
    check_flags(u64::from(options.reserved), 0, "options->reserved")?;
    let no_environment = options.flags & MC_NODE_FLAG_NO_ENVIRONMENT != 0;
    // SAFETY: the caller's promise.
    let (masters, listen, psk, name, domain) = unsafe {
        (
            text(options.masters, "options->masters")?,
            text(options.listen, "options->listen")?,
            psk_of(options.psk, options.psk_length, no_environment)?,
            text(options.name, "options->name")?.unwrap_or_default().to_owned(),
            text(options.domain, "options->domain")?.unwrap_or_default().to_owned(),
        )
    };
    let masters = masters.ok_or_else(|| fail!(InvalidArgument, "options->masters is NULL"))?;
    let masters = listed(masters, "options->masters")?;
    if options.memory_bytes == 0 {
        bail!(InvalidArgument, "options->memory_bytes is 0");
    }
    let listen = match listen {
        Some(listen) => address_of(listen, "options->listen")?,
        None => near(&masters),
    };
    Ok(node::Options {
        masters,
        listen,
        segments: vec![SegmentOptions { name, bytes: options.memory_bytes }],
        domain,
        engine: engine_config(listen.ip(), psk.unwrap_or_default(), no_environment)?,
    })
}

/// Has the master move all that a node has to others, and stops it: the polite step before mc_node_destroy().
///
/// @param node  the node
/// @param grace_ms  milliseconds to wait for that; -1: as long as it takes
/// Errors: MC_ERR_TIMEOUT (the text says how many bytes were left behind), MC_ERR_INVALID_HANDLE,
/// MC_ERR_INVALID_ARGUMENT. In any case the node has stopped.
/// Threads: blocks.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_node_drain(node: *mut mc_node_t, grace_ms: i64) -> mc_status_t {
    call(|| {
        let node = node_of(node)?;
        let grace = super::boundary::timeout(grace_ms, "grace_ms")?;
        node.drain(grace.unwrap_or(Duration::MAX))
    })
}

/// Stops a node and gives its memory up: on return nobody reaches it. What only it had is lost.
///
/// @param node  NULL: nothing happens, MC_OK
/// Errors: MC_ERR_INVALID_HANDLE (destroyed before).
/// Threads: blocks until copies under way have ended.
/// Since: 0.1
#[unsafe(no_mangle)]
pub extern "C" fn mc_node_destroy(node: *mut mc_node_t) -> mc_status_t {
    if node.is_null() {
        return MC_OK;
    }
    call(|| {
        live::remove_root::<Node>(node as u64)?.stop();
        Ok(())
    })
}

/// Tells what a node is: where it is reached, who leads it, how full it is.
///
/// @param node  the node
/// @param[in,out] out_info  struct_size set by the caller
/// Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
/// Since: 0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mc_node_get_info(
    node: *const mc_node_t,
    out_info: *mut mc_node_info_t,
) -> mc_status_t {
    call(|| {
        let node = node_of(node)?;
        // SAFETY: writable for its declared size, by the rules in mooncake.h.
        unsafe { options::check_info(out_info, "out_info")? };
        let usage = node.usage();
        let value = mc_node_info_t {
            struct_size: 0,
            client_count: u32::try_from(node.client_count()).unwrap_or(u32::MAX),
            address: fixed_text(&node.address().to_string()),
            id: node.id().0,
            is_led: node.is_led(),
            reserved: [0; 7],
            capacity_bytes: usage.capacity,
            held_bytes: usage.held,
            quarantined_bytes: usage.quarantined,
            free_bytes: usage.free,
        };
        // SAFETY: as above.
        unsafe { options::write(out_info, &value, "out_info") }
    })
}
