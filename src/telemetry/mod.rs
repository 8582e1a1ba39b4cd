//! What the library tells about itself: log lines, counters, and what it found on this host.

pub mod host;
pub mod log;
pub mod metrics;
