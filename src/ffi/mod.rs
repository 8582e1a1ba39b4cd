//! The C ABI: `extern "C"` lives here and nowhere else. Header order is file order.
//!
//! Every function is a check, a call of the Rust core and a store; `boundary` and `live` hold what is clever.
#![allow(non_camel_case_types)]
// The comments are those of the header: brackets are shapes of arrays there, and mooncake.h says once what is safe.
#![allow(rustdoc::broken_intra_doc_links, clippy::missing_safety_doc)]

pub mod boundary;
pub mod live;
mod opened;
pub mod options;

// The order of the header, simple to expert.
pub mod status;
pub mod version;

pub mod log;

pub mod engine;

pub mod memory;

pub mod segment;

pub mod batch;

pub mod cq;

pub mod notify;

pub mod store;

pub mod store_put;

pub mod store_get;

pub mod store_keys;

pub mod store_tasks;

pub mod conductor;

pub mod conductor_instance;

pub mod conductor_blocks;

pub mod conductor_schedule;

pub mod conductor_hooks;

pub mod node;

pub mod diagnostics;

// The names of Mooncake's header.
#[cfg(feature = "compat")]
pub mod compat;
