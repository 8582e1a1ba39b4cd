//! Safe wrappers over the operating system. `unsafe` is allowed here so that it need not be above.

pub mod cache;
pub mod checksum;
pub mod clock;
pub mod dylib;
pub mod errands;
pub mod fork;
pub mod futex;
pub mod huge;
pub mod listener;
pub mod memory;
pub mod mmap;
pub mod net;
pub mod process;
pub mod random;
pub mod reactor;
pub mod spin;
pub mod splitmix;
#[cfg(feature = "tls")]
pub mod stream;
#[cfg(feature = "tls")]
pub mod tls;
pub mod unix;
