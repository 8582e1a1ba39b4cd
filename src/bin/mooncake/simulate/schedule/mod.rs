//! `mooncake simulate schedule`: a trace on instances that prefill, under several policies.

mod caches;
mod world;

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use mooncake::conductor::cost::{Cost, Machine, Model};
use mooncake::conductor::schedule::{MOST_INSTANCES, Policy};
use serde_json::json;

use super::numbered::Trace;
use crate::trace;
use world::{Played, Setup, play};

#[derive(Args)]
pub struct ScheduleArgs {
    /// JSON lines of timestamp, input_length, output_length, hash_ids.
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// How instances behave; "reference" is prefill alone, exactly as predicted.
    #[arg(long, value_enum, default_value_t = Behaviour::Reference)]
    model: Behaviour,
    /// Instances that prefill.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=MOST_INSTANCES as u64))]
    instances: u64,
    /// The share of the machine's operations that prefill gets.
    #[arg(long, default_value_t = 0.5)]
    mfu: f64,
    /// GB per second between instances.
    #[arg(long, default_value_t = 50.0, value_name = "GBYTES")]
    link_gbytes: f64,
    /// Blocks of 512 tokens that each instance caches.
    #[arg(long, default_value_t = 5859, value_name = "BLOCKS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    capacity: u64,
    /// Who chooses the instance [default: all of them].
    #[arg(long, value_delimiter = ',', value_parser = policies())]
    policy: Vec<Policy>,
    /// "global" moves blocks if the best prefix is longer than this times the own one [default: if that is faster].
    #[arg(long)]
    threshold: Option<f64>,
    /// By how much faster requests come than the trace says.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Behaviour {
    Reference,
}

fn policies() -> impl TypedValueParser<Value = Policy> {
    let named = |name: String| Policy::named(&name).expect("the parser lets only these names through");
    let values = Policy::ALL.map(|policy| PossibleValue::new(policy.name).help(policy.about));
    PossibleValuesParser::new(values).map(named)
}

impl ScheduleArgs {
    fn setup(&self) -> Result<Setup, String> {
        let Behaviour::Reference = self.model;
        for (name, number) in [("mfu", self.mfu), ("link-gbytes", self.link_gbytes), ("speed", self.speed)] {
            if !(number.is_finite() && number > 0.0) {
                return Err(format!("--{name} is {number}: it must be above 0"));
            }
        }
        let machine = Machine { utilisation: self.mfu, link_rate: self.link_gbytes * 1e9, ..Machine::A800 };
        Ok(Setup {
            instances: self.instances as usize,
            capacity: self.capacity,
            cost: Cost::of(&Model::LLAMA3_70B, &machine),
            threshold: self.threshold,
            speed: self.speed,
        })
    }
}

pub fn run(args: &ScheduleArgs) -> Result<(), String> {
    let setup = args.setup()?;
    let trace = Trace::new(&trace::read(&args.trace)?);
    let policies = if args.policy.is_empty() { &Policy::ALL[..] } else { &args.policy };
    if !args.json {
        say!("requests                {}", trace.requests.len());
        say!("blocks                  {}", trace.blocks());
        say!("");
        say!("policy   mean TTFT       p50       p90       p99     hit  GPU s/req   moved  busiest");
    }
    for policy in policies {
        let played = play(&trace, *policy, &setup)?;
        if args.json {
            print_object(args, &trace, policy, &played)
        } else {
            print_row(&trace, policy, &played)
        }
    }
    Ok(())
}

fn print_row(trace: &Trace, policy: &Policy, played: &Played) {
    let requests = trace.requests.len() as u64;
    say!(
        "{:<8} {:>9.3} {:>9.3} {:>9.3} {:>9.3}  {:>6.4}  {:>9.4}  {:>6.4}  {:>7.3}",
        policy.name,
        played.mean(),
        played.quantile(0.5),
        played.quantile(0.9),
        played.quantile(0.99),
        share(played.hits, trace.blocks()),
        played.busy / requests.max(1) as f64,
        share(played.moved, trace.blocks()),
        share(played.busiest(), requests),
    );
}

fn print_object(args: &ScheduleArgs, trace: &Trace, policy: &Policy, played: &Played) {
    let requests = trace.requests.len() as u64;
    say!(
        "{}",
        json!({
            "policy": policy.name,
            "instances": args.instances,
            "mfu": args.mfu,
            "link_gbytes": args.link_gbytes,
            "capacity": args.capacity,
            "threshold": args.threshold,
            "speed": args.speed,
            "requests": requests,
            "blocks": trace.blocks(),
            "ttft_mean": played.mean(),
            "ttft_p50": played.quantile(0.5),
            "ttft_p90": played.quantile(0.9),
            "ttft_p99": played.quantile(0.99),
            "ttft_max": played.quantile(1.0),
            "hit_rate": share(played.hits, trace.blocks()),
            "gpu_seconds_per_request": played.busy / requests.max(1) as f64,
            "moved_share": share(played.moved, trace.blocks()),
            "requests_by_instance": played.requests,
            "busiest_share": share(played.busiest(), requests),
            "prediction_error": played.error,
        })
    );
}

fn share(part: u64, whole: u64) -> f64 {
    if whole > 0 { part as f64 / whole as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests;
