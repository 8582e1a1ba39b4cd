//! The names of Mooncake's transfer_engine_c.h and store_c.h: one short function per name. What needs a rule has it in
//! `crate::compat`, or in `store_handle`.
#![allow(non_snake_case)]

mod boundary;
pub mod layout;
mod notifications;
mod status;
pub mod store_handle;
mod store_status;

pub mod store;
pub mod transfer_engine;
