//! `mooncake simulate serve`: how many requests a number of machines can serve well, if some prefill and others decode, and
//! if each does both.

mod capacity;
mod coupled;
mod machine;
mod show;

use std::path::PathBuf;

use clap::Args;
use mooncake::conductor::cost::{Cost, Machine, Model};
use mooncake::conductor::schedule::{Admission, MOST_INSTANCES, Policy};

use super::numbered::Trace;
use super::schedule::policies;
use super::schedule::world::{self, Full, Setup};
use crate::trace;
use capacity::{Promise, Search};
use coupled::Coupled;

#[derive(Args)]
pub struct ServeArgs {
    /// JSON lines of timestamp, input_length, output_length, hash_ids.
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// Machines, in each way.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(2..=MOST_INSTANCES as u64 / 2))]
    machines: u64,
    /// How many of them prefill while the others decode [default: as many as do best].
    #[arg(long, value_delimiter = ',', value_name = "COUNT")]
    prefill: Vec<u64>,
    /// Who chooses among machines that do both.
    #[arg(long, value_delimiter = ',', value_parser = policies(), default_value = "lb")]
    policy: Vec<Policy>,
    /// Tokens of prompts that such a machine computes beside a token of everyone who decodes; 0 is whole prompts first.
    #[arg(long, value_delimiter = ',', default_value = "0,512", value_name = "TOKENS")]
    chunk: Vec<u64>,
    /// Seconds to the first token, and between tokens, that are promised.
    #[arg(long, default_value_t = 30.0, value_name = "S")]
    ttft_slo: f64,
    #[arg(long, value_delimiter = ',', default_value = "0.1,0.2,0.3", value_name = "S")]
    tbt_slo: Vec<f64>,
    /// The share of requests for which both have to be kept.
    #[arg(long, default_value_t = 0.9)]
    share: f64,
    /// By how much faster than the trace says requests come where the share that keeps both promises is told.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// The share of the machine's operations that prefill gets.
    #[arg(long, default_value_t = 0.6)]
    mfu: f64,
    /// GB per second between machines.
    #[arg(long, default_value_t = 50.0, value_name = "GBYTES")]
    link_gbytes: f64,
    /// Blocks of 512 tokens that a machine caches if it only prefills; one that does both has its device's memory.
    #[arg(long, default_value_t = 5859, value_name = "BLOCKS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    capacity: u64,
    /// By how much a prefill takes longer or shorter than predicted, at most, as a share.
    #[arg(long, default_value_t = 0.2, value_name = "SHARE")]
    noise: f64,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
    /// Writes a picture: the share of requests that keep both promises, by requests per second.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// A way to use the machines.
#[derive(Clone, Copy)]
enum Way {
    /// So many prefill, the others decode.
    Apart {
        prefill: u64,
    },
    Coupled {
        policy: Policy,
        chunk: Option<u64>,
    },
}

/// What came of it; lists are by limit between tokens.
struct Outcome {
    way: Way,
    /// The share of requests that keep both promises at the speed that was asked for.
    kept: Vec<f64>,
    /// By how much faster requests may come than the trace says.
    speed: Vec<Option<f64>>,
    /// All that was tried.
    tried: Vec<(f64, Vec<f64>)>,
}

/// Speeds that are tried are that far apart.
const STEP: f64 = 0.01;

impl ServeArgs {
    fn check(&self) -> Result<(), String> {
        let above = [
            ("ttft-slo", self.ttft_slo),
            ("mfu", self.mfu),
            ("link-gbytes", self.link_gbytes),
            ("speed", self.speed),
        ];
        for (name, number) in above.into_iter().chain(self.tbt_slo.iter().map(|tbt| ("tbt-slo", *tbt))) {
            if !(number.is_finite() && number > 0.0) {
                return Err(format!("--{name} is {number}: it must be above 0"));
            }
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(format!("--share is {}: it must be above 0, and can be up to 1", self.share));
        }
        if !(0.0..1.0).contains(&self.noise) {
            return Err(format!("--noise is {}: it can be 0 and up to 1", self.noise));
        }
        for prefill in &self.prefill {
            if !(1..self.machines).contains(prefill) {
                let most = self.machines - 1;
                return Err(format!(
                    "--prefill is {prefill}: of {} machines it can be 1 to {most}",
                    self.machines
                ));
            }
        }
        Ok(())
    }

    fn coupled(&self) -> impl Iterator<Item = Way> {
        self.policy.iter().flat_map(|policy| {
            let chunk = |tokens: u64| (tokens > 0).then_some(tokens);
            self.chunk.iter().map(move |tokens| Way::Coupled { policy: *policy, chunk: chunk(*tokens) })
        })
    }

    fn promise(&self) -> Promise {
        Promise { ttft: self.ttft_slo, tbt: self.tbt_slo.clone(), share: self.share }
    }

    fn cost(&self) -> Cost {
        let machine = Machine { utilisation: self.mfu, link_rate: self.link_gbytes * 1e9, ..Machine::A800 };
        Cost::of(&Model::LLAMA3_70B, &machine)
    }

    /// The shares that keep their promises at a speed.
    fn play(&self, trace: &Trace, way: Way, promise: &Promise, speed: f64) -> Result<Vec<f64>, String> {
        let cost = self.cost();
        let setup = |instances: u64, capacity| Setup {
            instances: instances as usize,
            capacity,
            cost,
            threshold: None,
            speed,
            full: None,
        };
        let served = match way {
            Way::Apart { prefill } => {
                let full = Full {
                    decoders: (self.machines - prefill) as usize,
                    admission: Admission::Everything,
                    ttft: promise.ttft,
                    tbt: promise.tbt.first().copied().unwrap_or(1.0),
                    noise: self.noise,
                    decode_seconds: None,
                };
                let setup = Setup { full: Some(full), ..setup(prefill, self.capacity) };
                world::play(trace, Policy::GLOBAL, &setup)?.served
            }
            Way::Coupled { policy, chunk } => {
                let device = (cost.kv_tokens / u64::from(cost.block_tokens)).max(1);
                let coupled = Coupled { policy, chunk, noise: self.noise };
                coupled::play(trace, &coupled, &setup(self.machines, device))?
            }
        };
        Ok(promise.kept(&served, trace.requests.len()))
    }

    fn outcome(&self, trace: &Trace, way: Way, step: f64) -> Result<Outcome, String> {
        let promise = self.promise();
        let mut search = Search::new(step, |speed| self.play(trace, way, &promise, speed));
        let speed = (0..promise.tbt.len())
            .map(|limit| search.highest(limit, promise.share))
            .collect::<Result<_, _>>()?;
        Ok(Outcome { way, kept: self.play(trace, way, &promise, self.speed)?, speed, tried: search.tried() })
    }

    /// Those that were asked for, apart first.
    fn outcomes(&self, trace: &Trace, step: f64) -> Result<Vec<Outcome>, String> {
        let mut outcomes = Vec::new();
        for prefill in &self.prefill {
            outcomes.push(self.outcome(trace, Way::Apart { prefill: *prefill }, step)?);
        }
        if self.prefill.is_empty() {
            outcomes.push(self.best_split(trace, step)?);
        }
        for way in self.coupled() {
            outcomes.push(self.outcome(trace, way, step)?);
        }
        Ok(outcomes)
    }

    /// As many that prefill as serve most, over all limits: with one more or fewer it is less.
    fn best_split(&self, trace: &Trace, step: f64) -> Result<Outcome, String> {
        let outcome = |prefill| self.outcome(trace, Way::Apart { prefill }, step);
        let sum = |outcome: &Outcome| outcome.speed.iter().flatten().sum::<f64>();
        // Prompts are most of the work.
        let start = (self.machines * 3 / 4).max(1);
        let mut best = outcome(start)?;
        for up in [true, false] {
            let mut prefill = start;
            loop {
                prefill = if up { prefill + 1 } else { prefill - 1 };
                if !(1..self.machines).contains(&prefill) {
                    break;
                }
                let next = outcome(prefill)?;
                if sum(&next) <= sum(&best) {
                    break;
                }
                best = next;
            }
        }
        Ok(best)
    }
}

pub fn run(args: &ServeArgs) -> Result<(), String> {
    args.check()?;
    let trace = Trace::new(&trace::read(&args.trace)?);
    let outcomes = args.outcomes(&trace, STEP)?;
    if args.json {
        show::print_objects(args, &trace, &outcomes);
    } else {
        show::print_table(args, &trace, &outcomes);
    }
    args.plot.as_ref().map_or(Ok(()), |path| show::plot(path, args, &trace, &outcomes))
}

#[cfg(test)]
mod tests;
