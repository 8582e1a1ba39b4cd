use clap::Parser;

use super::super::numbered::published;
use super::*;
use crate::trace::{Generator, Request};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: ServeArgs,
}

fn args(text: &str) -> ServeArgs {
    Command::parse_from(["serve", "--trace", "none"].into_iter().chain(text.split_whitespace())).args
}

fn generated() -> Trace {
    Trace::new(&Generator::new(1, 1000).take(1200).collect::<Vec<Request>>())
}

/// Rates by limit, of those apart, coupled, and coupled with chunks.
fn speeds(outcomes: &[Outcome]) -> Vec<Vec<f64>> {
    let speeds = |outcome: &Outcome| outcome.speed.iter().map(|speed| speed.expect("there is one")).collect();
    outcomes.iter().map(speeds).collect()
}

#[test]
fn apart_serves_more_and_gains_most_where_tokens_must_come_fastest() {
    let (args, trace) = (args("--machines 8 --prefill 6"), generated());
    let outcomes = args.outcomes(&trace, 0.05).expect("it plays");
    let [apart, whole, chunks] = &speeds(&outcomes)[..] else { panic!("three ways were asked for") };
    let gains: Vec<f64> = apart.iter().zip(whole).map(|(one, other)| one / other).collect();
    assert!(gains.is_sorted_by(|more, less| more >= less), "{gains:?}");
    assert!(gains[0] > 1.5 && gains[2] > 1.1, "{gains:?}");
    assert!(apart[0] > 1.2 * chunks[0], "{apart:?} {chunks:?}");
    assert!(chunks[0] > whole[0], "chunks let decoding go on: {chunks:?} {whole:?}");
    assert_eq!(speeds(&args.outcomes(&trace, 0.05).expect("it plays")), speeds(&outcomes));
}

/// Between these speeds lie the rates that docs/simulate.md has, at the tightest limit.
#[test]
fn the_published_conversation_is_served_at_its_known_rates() {
    let Some(trace) = published("simulate serve") else { return };
    let (args, coupled) =
        (args(""), Way::Coupled { policy: Policy::named("lb").expect("it is one"), chunk: None });
    for (way, enough, too_much) in [(Way::Apart { prefill: 14 }, 3.5, 3.8), (coupled, 1.09, 1.17)] {
        let kept = |speed| args.play(&trace, way, &args.promise(), speed).expect("it plays")[0];
        let kept = (kept(enough), kept(too_much));
        assert!(kept.0 >= 0.9 && kept.1 < 0.9, "{kept:?} at {enough} and {too_much}");
    }
}

#[test]
fn the_best_split_is_no_worse_than_its_neighbours() {
    let trace = generated();
    let best = args("--machines 6").best_split(&trace, 0.2).expect("it plays");
    let Way::Apart { prefill } = best.way else { panic!("it is a split") };
    let sum = |outcome: &Outcome| outcome.speed.iter().flatten().sum::<f64>();
    for other in [prefill - 1, prefill + 1].into_iter().filter(|other| (1..6).contains(other)) {
        let args = args("--machines 6");
        let other = args.outcome(&trace, Way::Apart { prefill: other }, 0.2).expect("it plays");
        assert!(sum(&other) <= sum(&best), "{:?} {:?}", other.speed, best.speed);
    }
}

#[test]
fn a_trace_of_nothing_has_no_rate_and_is_no_error() {
    let outcomes = args("--machines 2").outcomes(&Trace::new(&[]), 0.5).expect("it plays");
    assert!(outcomes.iter().all(|outcome| outcome.kept == [0.0; 3] && outcome.speed == [None; 3]));
}
