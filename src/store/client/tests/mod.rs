//! A client among real masters and nodes of one process.

mod cluster;
mod failures;
mod objects;
mod sessions;
