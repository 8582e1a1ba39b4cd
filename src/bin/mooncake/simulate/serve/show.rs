//! What came of it, as a table, as JSON, and as a picture.

use std::path::Path;

use serde_json::json;

use super::super::numbered::Trace;
use super::super::svg::{self, Panel};
use super::{Outcome, ServeArgs, Way};

/// Requests per second, as the trace has them.
fn rate(trace: &Trace) -> f64 {
    let seconds = trace.requests.last().map_or(0.0, |last| last.at);
    if seconds > 0.0 { trace.requests.len() as f64 / seconds } else { 0.0 }
}

fn name(args: &ServeArgs, way: Way) -> String {
    match way {
        Way::Apart { prefill } => format!("{prefill} prefill, {} decode", args.machines - prefill),
        Way::Coupled { policy, chunk: None } => format!("coupled, {}", policy.name),
        Way::Coupled { policy, chunk: Some(tokens) } => {
            format!("coupled, {}, chunks of {tokens}", policy.name)
        }
    }
}

/// By how many percent more of the one than of the other, by limit.
fn gains(one: &Outcome, other: &Outcome) -> Vec<Option<f64>> {
    let gain = |(one, other): (&Option<f64>, &Option<f64>)| Some(100.0 * ((*one)? / (*other)? - 1.0));
    one.speed.iter().zip(&other.speed).map(gain).collect()
}

fn is_apart(outcome: &&Outcome) -> bool {
    matches!(outcome.way, Way::Apart { .. })
}

fn columns(numbers: impl Iterator<Item = Option<f64>>, shown: impl Fn(f64) -> String) -> String {
    numbers.map(|number| format!("{:>9}", number.map_or("-".to_string(), &shown))).collect()
}

pub fn print_table(args: &ServeArgs, trace: &Trace, outcomes: &[Outcome]) {
    say!("requests                {}", trace.requests.len());
    say!("of the trace, a second  {:.3}", rate(trace));
    say!(
        "promised                a first token in {} s, and what the columns say between tokens",
        args.ttft_slo
    );
    say!("");
    let limits = columns(args.tbt_slo.iter().copied().map(Some), |tbt| tbt.to_string());
    let half = 9 * args.tbt_slo.len();
    let own = format!("kept by, at {:.3} a second", args.speed * rate(trace));
    let at = format!("a second that {} % keep", 100.0 * args.share);
    let (one, two) = (half.max(own.len()), half.max(at.len()));
    say!("{:<32}  {own:>one$}  {at:>two$}", "");
    say!("{:<32}  {limits:>one$}  {limits:>two$}", "between tokens, s");
    for outcome in outcomes {
        let kept = columns(outcome.kept.iter().copied().map(Some), |share| format!("{share:.4}"));
        let rates = columns(outcome.speed.iter().copied(), |speed| format!("{:.3}", speed * rate(trace)));
        say!("{:<32}  {kept:>one$}  {rates:>two$}", name(args, outcome.way));
    }
    say!("");
    let coupled = || outcomes.iter().filter(|outcome| !is_apart(outcome));
    for outcome in outcomes.iter().filter(is_apart) {
        for other in coupled() {
            let gained = columns(gains(outcome, other).into_iter(), |gain| format!("{gain:+.0} %"));
            say!("{} over {}: {}", name(args, outcome.way), name(args, other.way), gained.trim_start());
        }
    }
}

pub fn print_objects(args: &ServeArgs, trace: &Trace, outcomes: &[Outcome]) {
    let coupled: Vec<&Outcome> = outcomes.iter().filter(|outcome| !is_apart(outcome)).collect();
    for outcome in outcomes {
        let (prefill, policy, chunk) = match outcome.way {
            Way::Apart { prefill } => (Some(prefill), "global", None),
            Way::Coupled { policy, chunk } => (None, policy.name, chunk),
        };
        let limits: Vec<_> = (0..args.tbt_slo.len())
            .map(|limit| {
                json!({
                    "tbt_slo": args.tbt_slo[limit],
                    "kept": outcome.kept[limit],
                    "speed": outcome.speed[limit],
                    "requests_per_second": outcome.speed[limit].map(|speed| speed * rate(trace)),
                })
            })
            .collect();
        let over: Vec<_> = coupled
            .iter()
            .filter(|_| is_apart(&outcome))
            .map(|other| json!({ "over": name(args, other.way), "percent": gains(outcome, other) }))
            .collect();
        say!(
            "{}",
            json!({
                "name": name(args, outcome.way),
                "machines": args.machines,
                "prefill": prefill,
                "policy": policy,
                "chunk": chunk,
                "requests": trace.requests.len(),
                "kept_at_speed": args.speed,
                "ttft_slo": args.ttft_slo,
                "share": args.share,
                "mfu": args.mfu,
                "link_gbytes": args.link_gbytes,
                "capacity": args.capacity,
                "noise": args.noise,
                "limits": limits,
                "gains": over,
            })
        );
    }
}

pub fn plot(path: &Path, args: &ServeArgs, trace: &Trace, outcomes: &[Outcome]) -> Result<(), String> {
    let panel = |limit: usize| Panel {
        title: format!(
            "requests (share) with a first token in {} s and {} s between tokens, by requests per second",
            args.ttft_slo, args.tbt_slo[limit]
        ),
        lines: outcomes
            .iter()
            .map(|outcome| {
                let point = |(speed, shares): &(f64, Vec<f64>)| (speed * rate(trace), shares[limit]);
                (name(args, outcome.way), outcome.tried.iter().map(point).collect())
            })
            .collect(),
        logarithmic: true,
        unit: "/s",
    };
    svg::write(path, &(0..args.tbt_slo.len()).map(panel).collect::<Vec<Panel>>())
}
