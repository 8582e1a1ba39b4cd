//! The structs and numbers of transfer_engine_c.h and store_c.h. Truth flows from those headers to here, and the compiler
//! compares.

use std::ffi::{c_char, c_int, c_void};
use std::mem::offset_of;

/// The segment of the engine's own memory.
pub const LOCAL_SEGMENT: i32 = 0;
pub const INVALID_BATCH: u64 = u64::MAX;

pub const OPCODE_READ: c_int = 0;
pub const OPCODE_WRITE: c_int = 1;

pub const STATUS_WAITING: c_int = 0;
pub const STATUS_COMPLETED: c_int = 4;
pub const STATUS_FAILED: c_int = 6;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct transfer_request {
    pub opcode: c_int,
    pub source: *mut c_void,
    pub target_id: i32,
    pub target_offset: u64,
    pub length: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct transfer_status {
    pub status: c_int,
    pub transferred_bytes: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct notify_msg {
    pub name: *mut c_char,
    pub msg: *mut c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct buffer_entry {
    pub addr: *mut c_void,
    pub length: usize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct nic_load_stat {
    pub device_name: [c_char; 64],
    pub inflight_bytes: u64,
    pub ewma_bandwidth_bps: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct mooncake_replicate_config {
    pub replica_num: usize,
    pub with_soft_pin: c_int,
    pub with_hard_pin: c_int,
    pub preferred_segments: *const *const c_char,
    pub preferred_segments_count: usize,
}

const _: () = assert!(size_of::<transfer_request>() == 40);
const _: () = assert!(offset_of!(transfer_request, opcode) == 0);
const _: () = assert!(offset_of!(transfer_request, source) == 8);
const _: () = assert!(offset_of!(transfer_request, target_id) == 16);
const _: () = assert!(offset_of!(transfer_request, target_offset) == 24);
const _: () = assert!(offset_of!(transfer_request, length) == 32);

const _: () = assert!(size_of::<transfer_status>() == 16);
const _: () = assert!(offset_of!(transfer_status, status) == 0);
const _: () = assert!(offset_of!(transfer_status, transferred_bytes) == 8);

const _: () = assert!(size_of::<notify_msg>() == 16);
const _: () = assert!(offset_of!(notify_msg, name) == 0);
const _: () = assert!(offset_of!(notify_msg, msg) == 8);

const _: () = assert!(size_of::<buffer_entry>() == 16);
const _: () = assert!(offset_of!(buffer_entry, addr) == 0);
const _: () = assert!(offset_of!(buffer_entry, length) == 8);

const _: () = assert!(size_of::<nic_load_stat>() == 80);
const _: () = assert!(offset_of!(nic_load_stat, device_name) == 0);
const _: () = assert!(offset_of!(nic_load_stat, inflight_bytes) == 64);
const _: () = assert!(offset_of!(nic_load_stat, ewma_bandwidth_bps) == 72);

const _: () = assert!(size_of::<mooncake_replicate_config>() == 32);
const _: () = assert!(offset_of!(mooncake_replicate_config, replica_num) == 0);
const _: () = assert!(offset_of!(mooncake_replicate_config, with_soft_pin) == 8);
const _: () = assert!(offset_of!(mooncake_replicate_config, with_hard_pin) == 12);
const _: () = assert!(offset_of!(mooncake_replicate_config, preferred_segments) == 16);
const _: () = assert!(offset_of!(mooncake_replicate_config, preferred_segments_count) == 24);
