//! What memory exists: here (`memory`) and at peers (`descriptor`).

pub mod descriptor;
pub mod memory;
