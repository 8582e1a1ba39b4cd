//! Same host.
