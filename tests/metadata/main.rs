//! Metadata backends against real servers: Redis, etcd, Mooncake's own HTTP server, and ours.

mod contract;
mod engines;
mod failures;
mod place;
mod program;
mod security;
mod servers;
