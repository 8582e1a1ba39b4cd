//! `mooncake bench`: how fast the library is on this machine, beside what the machine can do.

mod case;
mod control;
mod drive;
mod end;
mod floors;
mod idle;
mod latency;
mod movers;
mod pattern;
mod prepared;
mod start;
mod store;
mod target;
mod transfer;
mod walk;

use clap::{Args, Subcommand};

/// Measures the library.
#[derive(Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Transfer(Box<transfer::options::TransferArgs>),
    Idle(idle::IdleArgs),
    Start(start::StartArgs),
    Prepared(prepared::PreparedArgs),
    Store(store::StoreArgs),
}

pub fn run(args: BenchArgs) -> Result<(), String> {
    match args.what {
        What::Transfer(args) => transfer::run(*args),
        What::Idle(args) => idle::run(&args),
        What::Start(args) => start::run(&args),
        What::Prepared(args) => prepared::run(&args),
        What::Store(args) => store::run(&args),
    }
}
