//! `mooncake simulate`: what would become of a trace, or of a cluster.

mod cache;
mod gaps;
mod numbered;
mod schedule;
mod serve;
mod statistics;
mod store;
mod svg;

use clap::{Args, Subcommand};

/// Plays a part of the library, without any memory or network.
#[derive(Args)]
pub struct SimulateArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Prints the figures by which a trace is known.
    Trace(statistics::StatisticsArgs),
    /// Prints which share of a trace's blocks caches of several sizes would have, under the policies that there are.
    Cache(cache::CacheArgs),
    /// Plays a trace on instances that prefill, and prints how long first tokens take under several ways to choose one.
    Schedule(schedule::ScheduleArgs),
    /// Finds how many requests a second machines can serve well: some prefilling and others decoding, or each doing both.
    Serve(serve::ServeArgs),
    /// Plays clusters of the store in which everything goes wrong, and checks that no promise is broken.
    Store(store::StoreArgs),
}

pub fn run(args: &SimulateArgs) -> Result<(), String> {
    match &args.verb {
        Verb::Trace(args) => statistics::run(args),
        Verb::Cache(args) => cache::run(args),
        Verb::Schedule(args) => schedule::run(args),
        Verb::Serve(args) => serve::run(args),
        Verb::Store(args) => store::run_seeds(args),
    }
}
