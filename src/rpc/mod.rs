//! Calls to another process and their answers: frames, versions, keys, deadlines. Many calls share one connection and
//! may be answered in any order. Bytes of objects do not go this way.
//!
//! ```text
//!   Client --- call(method, body) ---> Server --- Service::call ---> Answer
//!     ^                                                                |
//!     +------------------------- status, body -------------------------+
//! ```

pub mod auth;
mod client;
pub mod connection;
pub mod frame;
mod greet;
mod served;
mod server;
mod several;

#[cfg(test)]
mod tests;

pub use client::{Client, Reply};
pub use server::{Answer, Caller, Server, Service};
pub use several::{Several, Taken};

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    /// A name that processes in the same network namespace find, and no other. It leaves no file behind.
    Local(String),
}

impl Address {
    /// A port of an address; 0 is one that the kernel gives.
    pub fn tcp(ip: IpAddr, port: u16) -> Address {
        Address::Tcp(SocketAddr::new(ip, port))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Local(name) => write!(f, "local:{name}"),
        }
    }
}

/// What both sides agree on before the first call.
#[derive(Clone)]
pub struct Terms {
    /// What is asked for here, such as "store": a server of something else refuses.
    pub service: &'static str,
    /// The key that both sides must have; None: anybody may call.
    pub psk: Option<Arc<[u8]>>,
}
