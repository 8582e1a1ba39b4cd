//! Whole clusters in one thread: clients, nodes and masters of one seed, over a network that loses, doubles, delays and
//! cuts, on memory that remembers who wrote it. Processes crash, stop and come back at any moment.
//!
//! Checked at every step:
//! - a read that ended within its lease has the bytes of one version of its key, one that was current since it began;
//! - what was acknowledged and not taken back is found, while a node that has it lives and was not expelled;
//! - memory that is granted is free: nobody reads it under a lease, nobody can write it;
//! - a put is acknowledged when all its nodes have it committed, and not before;
//! - the master's books add up (`State::audit`).
//!
//! At the end all faults heal, all objects are removed, and nothing may be left.

mod client;
mod fault;
mod master;
mod message;
mod node;
mod truth;
mod world;

use std::fmt;

use world::World;

/// A check that is left out, to see that the others are sharp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nodes write what comes, whatever grant it came under.
    Generations,
    /// Nodes do not wait for the leases of readers.
    Leases,
    /// Nodes free memory though its writer may still reach it.
    Quarantine,
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Events before the faults end.
    pub steps: u64,
    pub flaw: Option<Flaw>,
}

impl Default for Options {
    fn default() -> Self {
        Options { steps: 4000, flaw: None }
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What really happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            pub fn add(&mut self, other: &Counters) { $(self.$name += other.$name;)* }

            pub fn list(&self) -> Vec<(&'static str, u64)> { vec![$((stringify!($name), self.$name),)*] }
        }
    };
}

counters! {
    steps,
    puts,
    upserts,
    gets,
    removes,
    copies,
    evictions,
    node_crashes,
    client_crashes,
    master_crashes,
    /// A master died before it served.
    crashes_in_rebuild,
    rebuilds,
    second_masters,
    deposed_masters,
    expelled_nodes,
    stopped_processes,
    partitions,
    lost_messages,
    doubled_messages,
    /// A commit came a second time, to a node or a master, and was answered as the first.
    double_commits,
    /// Bytes came under a grant that was over.
    late_writes,
    /// A read took longer than its lease, and was not believed.
    expired_leases,
    /// A put missed its deadline.
    missed_deadlines,
    lost_objects,
    renewed_leases,
    extended_puts,
    listed,
    swept,
    /// Refused since the tenant had no more.
    above_quota,
    mounted_segments,
    unmounted_segments,
    /// A node moved all that it had, and went.
    left_nodes,
}

/// What a seed broke, and when.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    pub step: u64,
    pub at_ms: u64,
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, step {}, at {} ms: {}", self.seed, self.step, self.at_ms, self.what)
    }
}

/// Plays one seed. The same seed is the same play, on every machine.
pub fn run(seed: u64, options: Options) -> Result<Counters, Failure> {
    let mut world = World::new(seed, options);
    let result = world.play();
    result.map(|()| world.counters()).map_err(|what| world.failure(what))
}
