//! What memory exists: here (`memory`) and at peers (`descriptor`; `mooncake` for those of Mooncake).

pub mod descriptor;
pub mod memory;
pub mod mooncake;
