//! A data plane for KV caches, as one library with a C ABI.
//!
//! ```text
//!        C / C++ / Go callers            callers written for Mooncake
//!                 |                                  |
//!               ffi/        ---------------->  ffi/compat/       extern "C" lives here, nowhere else
//!                 |                                  |
//!                 |                               compat/        what Mooncake's API remembers of an engine
//!                 +----------------------------------+
//!                 |
//!               engine/     request -> plan -> dispatch -> progress -> completion     store/   a cache over many nodes
//!                 |                                                            conductor/   where a request should run
//!                 |
//!   +-------------+-------------+
//!   |             |             |
//! segment/    transport/    metadata/     what memory exists; how bytes move; how peers are found
//!   |             |             |
//!   +-------------+-------------+
//!                 |
//!   rpc/    calls to other processes and their answers
//!   config/  telemetry/  sys/  id.rs  error.rs
//! ```
//!
//! A module uses those below it only; `tests/architecture.rs` keeps that.

pub mod error;
pub mod id;

pub mod config;
pub mod sys;
pub mod telemetry;

pub mod rpc;

pub mod metadata;

pub mod segment;

pub mod transport;

pub mod engine;

pub mod store;

pub mod conductor;

#[cfg(feature = "compat")]
pub mod compat;

pub mod ffi;
