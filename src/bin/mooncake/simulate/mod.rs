//! `mooncake simulate`: what would become of a trace.

mod cache;

use clap::{Args, Subcommand};

/// Replays a request trace through a part of the library, without any memory or network.
#[derive(Args)]
pub struct SimulateArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Prints which share of a trace's blocks caches of several sizes would have, under the policies that there are.
    Cache(cache::CacheArgs),
}

pub fn run(args: &SimulateArgs) -> Result<(), String> {
    match &args.verb {
        Verb::Cache(args) => cache::run(args),
    }
}
