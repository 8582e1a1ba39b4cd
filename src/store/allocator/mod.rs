//! Which bytes of which segment an object gets. Nothing is written into the memory that is given out.

pub mod offset;
pub mod placement;
