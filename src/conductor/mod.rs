//! Where a request should run: who caches which prefix, and what serving it there would cost.
//!
//! ```text
//!   tokens --- hash/ ---> keys of blocks, each standing for the whole prefix up to it
//!                           |
//!   events of engines       v
//!   and the store
//!   --- event/ ---------> index/     which instance holds the longest prefix, and in which tier
//!                           |
//!   what instances          v
//!   report -----------> schedule/    where it runs, what is moved for it, when its first token will be there
//!                           |
//!                         cost/      what prefill, moving blocks and decoding take
//!
//!   all of it shared by threads, with a clock: service/
//! ```
//!
//! What is here does no I/O and has no threads, and all but `service` reads no clock: every call that needs the time
//! brings it.

pub mod cost;
#[cfg(feature = "events")]
pub mod event;
pub mod hash;
pub mod index;
pub mod schedule;
pub mod service;
