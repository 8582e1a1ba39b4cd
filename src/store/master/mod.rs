//! The index of the store: which object lies where, and who may write, read and evict what. A state machine: calls bring
//! the time, answers are returned, and what nodes and waiting callers are to be told collects in `effects`.
//!
//! All it knows can be lost. Nodes hold the truth about their memory, and a new master asks them (`rebuild`).

mod audit;
mod change;
pub mod config;
mod drain;
mod drops;
mod evict;
mod get;
mod gone;
mod grants;
mod keys;
mod lead;
mod list;
mod look;
mod membership;
mod put;
mod quota;
mod rebuild;
mod remove;
mod segment;
pub mod server;
mod shard;
mod state;
mod task;
mod tick;
mod worn;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use get::Located;
pub use list::{ListCursor, Listed, Page, Swept, Walk};
pub use look::TenantInfo;
pub use put::{Grant, PutStart};
pub use segment::SegmentInfo;
pub use state::{Answer, Effect, Notice, State, Stats};
pub use task::{TaskId, TaskInfo, TaskState};
