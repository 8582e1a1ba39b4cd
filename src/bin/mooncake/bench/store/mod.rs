//! `mooncake bench store`: puts and gets beside what the machine can do, each process on its own.

mod alone;
mod cases;
mod floor;
mod processes;
mod rebuild;

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::drive::Times;
use super::transfer::options::parse_seconds;

/// The store with a master, a node and a client in processes of their own, beside raw sockets and copies of the same sizes.
#[derive(Args)]
pub struct StoreArgs {
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "get,batch,host,lease,exists,put,evict")]
    part: Vec<Part>,
    /// Seconds of each measurement, without warming up.
    #[arg(long, default_value_t = 1.0, value_parser = parse_seconds)]
    secs: f64,
    /// Rounds over all cases; the medians are shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=101))]
    rounds: u32,
    #[arg(long)]
    json: bool,
    /// What this process does for another one.
    #[arg(long, hide = true, value_enum)]
    role: Option<Role>,
    #[arg(long, hide = true, default_value = "")]
    master: String,
    /// Objects that a new master has to find.
    #[arg(long, default_value_t = 1_000_000)]
    objects: u64,
    #[arg(long, hide = true, default_value_t = 0)]
    memory: u64,
    #[arg(long, hide = true, default_value_t = 0)]
    port: u16,
}

/// A group of cases.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One key over TCP, 4 KiB to 16 MiB.
    Get,
    /// 16 keys at once over TCP.
    Batch,
    /// One key on the same host.
    Host,
    /// A key whose lease is held.
    Lease,
    /// Whether keys exist.
    Exists,
    /// 64 bytes, four threads.
    Put,
    /// Puts while the memory is full.
    Evict,
    /// A master is killed; the next one asks the nodes.
    Rebuild,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Master,
    Node,
    Floor,
}

pub fn run(args: &StoreArgs) -> Result<(), String> {
    match args.role {
        Some(Role::Master) => processes::master(args.port),
        Some(Role::Node) => processes::node(&args.master, args.memory),
        Some(Role::Floor) => floor::serve(),
        None => cases::run(args),
    }
}

impl StoreArgs {
    fn times(&self) -> Times {
        let run = Duration::from_secs_f64(self.secs);
        Times { warm_up: run / 5, run }
    }
}
