//! `mooncake simulate store`: clusters of the store, played from seeds.

use clap::Args;
use mooncake::store::sim::{Counters, Options, run};

#[derive(Args)]
pub struct StoreArgs {
    /// How many seeds to play.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Plays this one alone.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Events before faults end, at least 2000.
    #[arg(long, default_value_t = Options::default().steps, value_parser = clap::value_parser!(u64).range(2000..))]
    steps: u64,
}

pub fn run_seeds(args: &StoreArgs) -> Result<(), String> {
    let seeds = args.seed.map_or(0..args.seeds, |seed| seed..seed + 1);
    let options = Options { steps: args.steps, ..Options::default() };
    let (mut total, mut failed, count) = (Counters::default(), 0, seeds.end - seeds.start);
    for seed in seeds {
        match run(seed, options) {
            Ok(counters) => total.add(&counters),
            Err(failure) => {
                failed += 1;
                say!("{failure}");
            }
        }
    }
    for (name, number) in total.list() {
        say!("{:<20} {number}", name.replace('_', " "));
    }
    if failed > 0 {
        return Err(format!("{failed} of {count} seeds broke a promise"));
    }
    say!("{count} seeds kept every promise");
    Ok(())
}
