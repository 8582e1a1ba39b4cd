//! Events on their way in: a connection to each publisher, its messages in order, and what they say of blocks.
//!
//! ```text
//!   publisher --- zmtp/ -----> subscriber.rs ---> blocks.rs ---> the conductor
//!                              (order.rs)         (names.rs)
//! ```

pub mod blocks;
pub mod figures;
mod names;
pub mod order;
pub mod subscriber;
pub mod watched;

#[cfg(test)]
mod tests;
