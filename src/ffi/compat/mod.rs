//! The names of Mooncake's transfer_engine_c.h: one short function per name. What needs a rule has it in `crate::compat`.
#![allow(non_snake_case)]

mod boundary;
pub mod layout;
mod notifications;
mod status;

pub mod transfer_engine;
