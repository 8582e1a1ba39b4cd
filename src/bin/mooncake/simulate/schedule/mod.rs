//! `mooncake simulate schedule`: a trace on instances that prefill, and decode, under several policies.

pub mod caches;
mod decoders;
mod plot;
mod show;
pub mod world;

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use mooncake::conductor::cost::{Cost, Machine, Model};
use mooncake::conductor::schedule::{Admission, MOST_INSTANCES, Policy};

use super::numbered::Trace;
use crate::trace;
use world::{Full, Played, Setup, play};

#[derive(Args)]
pub struct ScheduleArgs {
    /// JSON lines of timestamp, input_length, output_length, hash_ids.
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// How instances behave.
    #[arg(long, value_enum, default_value_t = Behaviour::Reference)]
    model: Behaviour,
    /// Instances that prefill.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=MOST_INSTANCES as u64 / 2))]
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
    /// Who chooses the instance [default: all of them; with several admissions, global].
    #[arg(long, value_delimiter = ',', value_parser = policies())]
    policy: Vec<Policy>,
    /// "global" moves blocks if the best prefix is longer than this times the own one [default: if that is faster].
    #[arg(long)]
    threshold: Option<f64>,
    /// By how much faster requests come than the trace says.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    #[command(flatten)]
    full: FullArgs,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
    /// Writes a picture: rejections and loads over time if there are several admissions, else how long first
    /// tokens take.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// What only the full model has.
#[derive(Args)]
struct FullArgs {
    /// Instances that decode.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(0..=MOST_INSTANCES as u64 / 2))]
    decoders: u64,
    /// Which requests are taken on.
    #[arg(long, value_delimiter = ',', default_value = "none", value_parser = admissions())]
    admission: Vec<Admission>,
    /// Seconds that each request decodes, whatever its output and the batch [default: what these make of it].
    #[arg(long, value_delimiter = ',', value_name = "S")]
    decode_seconds: Vec<f64>,
    /// Seconds to the first token, and between tokens, that are promised.
    #[arg(long, default_value_t = 30.0, value_name = "S")]
    ttft_slo: f64,
    #[arg(long, default_value_t = 0.1, value_name = "S")]
    tbt_slo: f64,
    /// By how much a prefill takes longer or shorter than predicted, at most, as a share.
    #[arg(long, default_value_t = 0.2, value_name = "SHARE")]
    noise: f64,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Behaviour {
    /// Prefill alone, exactly as predicted.
    Reference,
    /// With decoding, busy senders, and prefills that are not quite as predicted.
    Full,
}

pub fn policies() -> impl TypedValueParser<Value = Policy> {
    let named = |name: String| Policy::named(&name).expect("the parser lets only these names through");
    let values = Policy::ALL.map(|policy| PossibleValue::new(policy.name).help(policy.about));
    PossibleValuesParser::new(values).map(named)
}

fn admissions() -> impl TypedValueParser<Value = Admission> {
    let named = |name: String| Admission::ALL.into_iter().find(|known| known.0 == name);
    PossibleValuesParser::new(Admission::ALL.map(|known| known.0))
        .map(move |name| named(name).expect("the parser lets only these names through").1)
}

/// One of what is played, and what came of it.
pub struct Row {
    policy: Policy,
    setup: Setup,
    played: Played,
}

impl ScheduleArgs {
    fn setup(&self) -> Result<Setup, String> {
        let FullArgs { ttft_slo, tbt_slo, noise, .. } = self.full;
        for (name, number) in [
            ("mfu", self.mfu),
            ("link-gbytes", self.link_gbytes),
            ("speed", self.speed),
            ("ttft-slo", ttft_slo),
            ("tbt-slo", tbt_slo),
        ]
        .into_iter()
        .chain(self.full.decode_seconds.iter().map(|seconds| ("decode-seconds", *seconds)))
        {
            if !(number.is_finite() && number > 0.0) {
                return Err(format!("--{name} is {number}: it must be above 0"));
            }
        }
        if !(0.0..1.0).contains(&noise) {
            return Err(format!("--noise is {noise}: it can be 0 and up to 1"));
        }
        let machine = Machine { utilisation: self.mfu, link_rate: self.link_gbytes * 1e9, ..Machine::A800 };
        Ok(Setup {
            instances: self.instances as usize,
            capacity: self.capacity,
            cost: Cost::of(&Model::LLAMA3_70B, &machine),
            threshold: self.threshold,
            speed: self.speed,
            full: None,
        })
    }

    /// What is played, in the order in which it is shown.
    fn setups(&self) -> Result<Vec<(Policy, Setup)>, String> {
        let setup = self.setup()?;
        let policies = match &self.policy[..] {
            [] if self.full.admission.len() > 1 => &[Policy::GLOBAL][..],
            [] => &Policy::ALL[..],
            some => some,
        };
        if self.model == Behaviour::Reference {
            return Ok(policies.iter().map(|policy| (*policy, setup)).collect());
        }
        let FullArgs { decoders, ttft_slo, tbt_slo, noise, .. } = self.full;
        let seconds: Vec<Option<f64>> = match &self.full.decode_seconds[..] {
            [] => vec![None],
            some => some.iter().copied().map(Some).collect(),
        };
        let mut setups = Vec::new();
        for policy in policies {
            for decode_seconds in &seconds {
                for admission in &self.full.admission {
                    let full = Full {
                        decoders: decoders as usize,
                        admission: *admission,
                        ttft: ttft_slo,
                        tbt: tbt_slo,
                        noise,
                        decode_seconds: *decode_seconds,
                    };
                    setups.push((*policy, Setup { full: Some(full), ..setup }));
                }
            }
        }
        Ok(setups)
    }
}

pub fn run(args: &ScheduleArgs) -> Result<(), String> {
    let setups = args.setups()?;
    let trace = Trace::new(&trace::read(&args.trace)?);
    let mut rows = Vec::new();
    if !args.json {
        show::print_title(&trace, args.model == Behaviour::Full);
    }
    for (policy, setup) in setups {
        let row = Row { played: play(&trace, policy, &setup)?, policy, setup };
        if args.json {
            show::print_object(args, &trace, &row)
        } else {
            show::print_row(&trace, &row)
        }
        if args.plot.is_some() {
            rows.push(row);
        }
    }
    match &args.plot {
        Some(path) => plot::write(path, &rows),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
