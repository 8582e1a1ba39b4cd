//! A pooled object cache: nodes give memory, clients put and get objects by key, a master knows what lies where.
//!
//! ```text
//!   clients --- put, get, remove ---> master/      which object lies where; who may write, read and evict what
//!      |                                |
//!      | bytes, prepare, commit         | message.rs
//!      v                                v
//!   node/  inventories: the truth about the memory that a node gives
//! ```
//!
//! What decides does no I/O, reads no clock and has no threads: every call brings the time, and what is to be sent
//! comes back as a list. Folders named `server` put it behind connections and a clock. `sim/` plays whole
//! clusters with it. docs/store-protocol.md has the rules.

pub mod footer;
pub mod message;
pub mod object;
pub mod refusal;
pub mod slab;
pub mod view;

pub mod allocator;
pub mod eviction;
pub mod master;
pub mod node;

pub mod client;
pub mod sim;

pub mod wire;
