//! `mooncake simulate trace`: what a trace is like, in the figures by which published ones are known.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::trace::{self, BLOCK_TOKENS, Request};

#[derive(Args)]
pub struct StatisticsArgs {
    /// JSON lines of timestamp, input_length, output_length, hash_ids.
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &StatisticsArgs) -> Result<(), String> {
    let figures = figures(&trace::read(&args.trace)?);
    if args.json {
        say!("{}", Value::Object(figures));
        return Ok(());
    }
    for (name, value) in &figures {
        say!("{:<32} {}", name.replace('_', " "), shown(value));
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Array(values) => values.iter().map(shown).collect::<Vec<String>>().join(" "),
        Value::Number(number) if number.is_f64() => format!("{:.6}", number.as_f64().unwrap_or(0.0)),
        other => other.to_string(),
    }
}

/// Named figures; each share is of 1.
fn figures(trace: &[Request]) -> Map<String, Value> {
    let mut figures = Map::new();
    let mut add = |more: Value| {
        if let Value::Object(more) = more {
            figures.extend(more);
        }
    };
    let stamps: BTreeSet<u64> = trace.iter().map(|request| request.timestamp).collect();
    let last = stamps.last().copied().unwrap_or(0);
    let mut by_minute = vec![0u64; if trace.is_empty() { 0 } else { (last / 60_000) as usize + 1 }];
    trace.iter().for_each(|request| by_minute[(request.timestamp / 60_000) as usize] += 1);
    add(json!({
        "requests": trace.len(),
        "last_timestamp_ms": last,
        "distinct_timestamps": stamps.len(),
        "requests_by_minute": by_minute,
    }));
    add(lengths("input", trace.iter().map(|request| request.input_length).collect()));
    add(lengths("output", trace.iter().map(|request| request.output_length).collect()));
    add(sharing(trace));
    add(popularity(trace));
    figures
}

fn lengths(name: &str, mut values: Vec<u64>) -> Value {
    values.sort_unstable();
    let sum: u64 = values.iter().sum();
    // The nearest by rank.
    let at = |share: f64| {
        let place = values.len().saturating_sub(1) as f64 * share;
        values.get(place.round() as usize).copied().unwrap_or(0)
    };
    let mut figures = Map::new();
    for (what, value) in [("sum", json!(sum)), ("mean", json!(ratio(sum as f64, values.len() as f64)))] {
        figures.insert(format!("{name}_{what}"), value);
    }
    for (what, share) in [("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
        figures.insert(format!("{name}_{what}"), json!(at(share)));
    }
    Value::Object(figures)
}

/// What a cache that holds everything would have.
fn sharing(trace: &[Request]) -> Value {
    let mut seen: HashSet<u64> = HashSet::new();
    let (mut blocks, mut hits, mut tokens, mut hit_tokens) = (0, 0, 0, 0);
    let (mut rates, mut token_rates, mut one, mut two, mut whole) = (0.0, 0.0, 0, 0, 0);
    for request in trace {
        let prefix = request.hash_ids.iter().take_while(|block| seen.contains(*block)).count() as u64;
        let cached = (prefix * BLOCK_TOKENS).min(request.input_length);
        blocks += request.hash_ids.len() as u64;
        hits += prefix;
        tokens += request.input_length;
        hit_tokens += cached;
        rates += ratio(prefix as f64, request.hash_ids.len() as f64);
        token_rates += ratio(cached as f64, request.input_length as f64);
        one += u64::from(prefix >= 1);
        two += u64::from(prefix >= 2);
        whole += u64::from(request.hash_ids.len() as u64 == request.input_length.div_ceil(BLOCK_TOKENS));
        seen.extend(&request.hash_ids);
    }
    let count = trace.len() as f64;
    json!({
        "blocks": blocks,
        "unique_blocks": seen.len(),
        "blocks_per_request": ratio(blocks as f64, count),
        "requests_with_a_block_per_512_tokens": whole,
        "prefix_hits": hits,
        "prefix_hit_rate": ratio(hits as f64, blocks as f64),
        "token_hit_rate": ratio(hit_tokens as f64, tokens as f64),
        "mean_prefix_hit_rate": ratio(rates, count),
        "mean_token_hit_rate": ratio(token_rates, count),
        "requests_sharing_1_block": one,
        "requests_sharing_2_blocks": two,
    })
}

fn popularity(trace: &[Request]) -> Value {
    let mut uses: HashMap<u64, u64> = HashMap::new();
    trace
        .iter()
        .flat_map(|request| &request.hash_ids)
        .for_each(|block| *uses.entry(*block).or_insert(0) += 1);
    let mut counts: Vec<u64> = uses.into_values().collect();
    counts.sort_unstable_by(|one, other| other.cmp(one));
    let total: u64 = counts.iter().sum();
    let mut figures = Map::new();
    for most in [1, 2, 3, 10] {
        let few = counts.iter().filter(|count| **count <= most).count();
        figures.insert(
            format!("unique_blocks_used_at_most_{most}"),
            json!(ratio(few as f64, counts.len() as f64)),
        );
    }
    for top in [1, 10, 100, 1000, 10_000] {
        let uses: u64 = counts.iter().take(top).sum();
        figures.insert(format!("uses_of_the_hottest_{top}"), json!(ratio(uses as f64, total as f64)));
    }
    figures.insert("uses_by_rank".into(), json!(counts.iter().take(10).collect::<Vec<&u64>>()));
    Value::Object(figures)
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::numbered::published_path;
    use super::*;

    /// What an independent reading of the published trace gives.
    #[test]
    fn the_published_conversation_has_its_known_figures() {
        let Some(path) = published_path("simulate trace") else { return };
        let figures = figures(&trace::read(&path).expect("it is a trace"));
        for (name, known, tolerance) in [
            ("requests", 12_031.0, 0.0),
            ("last_timestamp_ms", 3_536_999.0, 0.0),
            ("distinct_timestamps", 1180.0, 0.0),
            ("input_sum", 144_793_823.0, 0.0),
            ("output_sum", 4_122_048.0, 0.0),
            ("input_mean", 12_035.06, 0.005),
            ("output_mean", 342.62, 0.005),
            ("input_min", 891.0, 0.0),
            ("input_p50", 6909.0, 0.5),
            ("input_p90", 27_367.0, 0.5),
            ("input_p99", 85_401.0, 0.5),
            ("input_max", 126_195.0, 0.0),
            ("output_p50", 350.0, 0.5),
            ("output_p90", 597.0, 0.5),
            ("output_p99", 1120.0, 0.5),
            ("output_max", 2000.0, 0.0),
            ("blocks", 288_500.0, 0.0),
            ("unique_blocks", 182_790.0, 0.0),
            ("blocks_per_request", 23.98, 0.005),
            ("requests_with_a_block_per_512_tokens", 12_031.0, 0.0),
            ("prefix_hits", 105_710.0, 0.0),
            ("prefix_hit_rate", 0.366412, 5e-7),
            ("token_hit_rate", 0.373624, 5e-7),
            ("mean_prefix_hit_rate", 0.3843, 5e-5),
            ("mean_token_hit_rate", 0.4094, 5e-5),
            ("requests_sharing_1_block", 12_030.0, 0.0),
            ("requests_sharing_2_blocks", 4658.0, 0.0),
            ("unique_blocks_used_at_most_1", 0.7585, 5e-5),
            ("unique_blocks_used_at_most_2", 0.8978, 5e-5),
            ("unique_blocks_used_at_most_3", 0.9492, 5e-5),
            ("unique_blocks_used_at_most_10", 0.995, 5e-4),
            ("uses_of_the_hottest_1", 0.0417, 5e-5),
            ("uses_of_the_hottest_10", 0.0430, 5e-5),
            ("uses_of_the_hottest_100", 0.0511, 5e-5),
            ("uses_of_the_hottest_1000", 0.0969, 5e-5),
            ("uses_of_the_hottest_10000", 0.2526, 5e-5),
        ] {
            let found = figures[name].as_f64().unwrap_or_else(|| panic!("no figure {name}"));
            assert!((found - known).abs() <= tolerance, "{name}: {found}, known as {known}");
        }
        let minutes = figures["requests_by_minute"].as_array().expect("numbers");
        let at = |minute: usize| minutes[minute].as_u64();
        assert_eq!((minutes.len(), at(0), at(25), at(58)), (59, Some(162), Some(240), Some(203)));
    }

    #[test]
    fn an_empty_trace_has_figures_too() {
        let figures = figures(&[]);
        assert_eq!((&figures["requests"], &figures["input_p99"]), (&json!(0), &json!(0)));
    }
}
