//! Transfers between processes of one host: what is copied, who is let in, and how memory is taken back from a peer
//! that copies, sleeps, dies or lies.

mod copies;
mod doors;
mod engines;
mod fences;
mod owners;
mod parts;
mod spaces;
mod world;
