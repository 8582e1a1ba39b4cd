//! One cache of whole blocks, a trace, and how often its requests find their prefix there.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use mooncake::store::eviction::{Policy, Replay};
use serde_json::json;

use super::numbered::Trace;
use super::svg::{self, Line, Panel};
use crate::trace;

/// Most blocks that a simulated cache may have.
const MOST_BLOCKS: u64 = 1_000_000_000;

#[derive(Args)]
pub struct CacheArgs {
    /// JSON lines of timestamp, input_length, output_length, hash_ids.
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// Which block leaves a full cache; "default" is what the store does [default: all of them].
    #[arg(long, value_delimiter = ',', value_parser = policies())]
    policy: Vec<Policy>,
    /// Blocks that the cache can have: numbers, or numbers with k or M for thousands or millions.
    #[arg(
        long,
        value_delimiter = ',',
        value_parser = blocks,
        default_value = "1k,10k,30k,50k,100k",
        value_name = "BLOCKS"
    )]
    capacity: Vec<u64>,
    /// One JSON object per line, with the numbers behind the rates.
    #[arg(long)]
    json: bool,
    /// Writes a picture: prefix hit rates by capacity.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

fn policies() -> impl TypedValueParser<Value = Policy> {
    let named = |name: String| Policy::ALL.into_iter().find(|policy| policy.name() == name);
    PossibleValuesParser::new(Policy::ALL.map(Policy::name))
        .map(move |name| named(name).expect("the parser lets only these names through"))
}

fn blocks(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K', 'M']) {
        Some(digits) => (digits, if text.ends_with('M') { 1_000_000 } else { 1000 }),
        None => (text, 1),
    };
    let count = digits.parse().ok().and_then(|number: u64| number.checked_mul(unit));
    count
        .filter(|count| (1..=MOST_BLOCKS).contains(count))
        .ok_or_else(|| format!("{text:?} is no number of blocks: 1 to {MOST_BLOCKS}, such as 500, 10k or 1M"))
}

pub fn run(args: &CacheArgs) -> Result<(), String> {
    let trace = Trace::new(&trace::read(&args.trace)?);
    let policies = if args.policy.is_empty() { &Policy::ALL[..] } else { &args.policy };
    let rows: Vec<Row> = policies
        .iter()
        .flat_map(|policy| args.capacity.iter().map(|capacity| (*policy, *capacity)))
        .map(|(policy, capacity)| (policy, capacity, replay(&trace, policy, capacity)))
        .collect();
    if args.json {
        print_rows(&trace, &rows)
    } else {
        print_table(args, &trace, &rows)
    }
    args.plot.as_ref().map_or(Ok(()), |path| plot(path, &trace, &rows))
}

/// A policy, a capacity, and what came of them.
type Row = (Policy, u64, Sums);

fn print_rows(trace: &Trace, rows: &[Row]) {
    for (policy, capacity, sums) in rows {
        say!(
            "{}",
            json!({
                "policy": policy.name(),
                "capacity": capacity,
                "requests": trace.requests.len(),
                "blocks": trace.blocks(),
                "prefix_hits": sums.prefix,
                "hits": sums.any,
                "prefix_hit_rate": ratio(sums.prefix, trace.blocks()),
                "hit_rate": ratio(sums.any, trace.blocks()),
                "token_hit_rate": ratio(sums.tokens, trace.tokens),
            })
        );
    }
}

fn print_table(args: &CacheArgs, trace: &Trace, rows: &[Row]) {
    let all = replay(trace, Policy::Lru, trace.unique.max(1));
    say!("requests                {}", trace.requests.len());
    say!("blocks                  {}", trace.blocks());
    say!("unique blocks           {}", trace.unique);
    say!("prefix hit rate of a cache that holds all of them  {:.4}", ratio(all.prefix, trace.blocks()));
    say!("");
    say!("blocks  {}", columns(args.capacity.iter().map(u64::to_string)));
    for same in rows.chunks(args.capacity.len()) {
        let rates = same.iter().map(|(.., sums)| format!("{:.4}", ratio(sums.prefix, trace.blocks())));
        say!("{:8}{}", same[0].0.name(), columns(rates));
    }
}

fn plot(path: &Path, trace: &Trace, rows: &[Row]) -> Result<(), String> {
    let mut lines: Vec<Line> = Vec::new();
    for (policy, capacity, sums) in rows {
        if lines.last().is_none_or(|line| line.0 != policy.name()) {
            lines.push((policy.name().into(), Vec::new()));
        }
        let point = (*capacity as f64, ratio(sums.prefix, trace.blocks()));
        lines.last_mut().expect("there is one").1.push(point);
    }
    lines.iter_mut().for_each(|line| line.1.sort_by(|one, other| one.0.total_cmp(&other.0)));
    let title = "prefix hit rate by the capacity in blocks, logarithmic".into();
    svg::write(path, &[Panel { title, lines, logarithmic: true, unit: "" }])
}

fn columns(cells: impl Iterator<Item = String>) -> String {
    cells.map(|cell| format!("{cell:>10}")).collect()
}

/// What all requests together found.
#[derive(Debug, Default, PartialEq)]
struct Sums {
    prefix: u64,
    any: u64,
    /// Tokens of the input that the prefixes cover.
    tokens: u64,
}

fn replay(trace: &Trace, policy: Policy, capacity: u64) -> Sums {
    let mut replay = Replay::new(policy, capacity);
    let mut sums = Sums::default();
    for request in &trace.requests {
        let found = replay.request(trace.blocks_of(request));
        sums.prefix += found.prefix as u64;
        sums.any += found.any as u64;
        sums.tokens += (found.prefix as u64 * trace::BLOCK_TOKENS).min(request.input);
    }
    sums
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole > 0 { part as f64 / whole as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::numbered::published;
    use super::*;
    use crate::trace::{Generator, Request};

    /// Prefix hits that plain lists, written apart from these policies, have on the same requests; the store's own
    /// policy has no such twin.
    #[test]
    fn a_generated_trace_has_known_hits() {
        let trace = Trace::new(&Generator::new(1, 1000).take(2000).collect::<Vec<Request>>());
        assert_eq!((trace.blocks(), trace.unique), (49_494, 36_887));
        for (policy, hits) in [
            (Policy::Lru, [2010, 5152]),
            (Policy::Lfu, [2030, 4314]),
            (Policy::Fifo, [1923, 4871]),
            (Policy::S3Fifo, [2012, 4746]),
            (Policy::Sieve, [2030, 4314]),
            (Policy::Default, [2010, 5141]),
        ] {
            let found = [500, 5000].map(|capacity| replay(&trace, policy, capacity).prefix);
            assert_eq!(found, hits, "{}", policy.name());
        }
    }

    /// The store's policy is as good as LRU, and nearly as good as the best, at each of these sizes.
    fn compare(name: &str, trace: &Trace, capacities: &[u64]) {
        for &capacity in capacities {
            let rates =
                Policy::ALL.map(|policy| ratio(replay(trace, policy, capacity).prefix, trace.blocks()));
            let [lru, .., own] = rates;
            let best = rates.into_iter().fold(0.0, f64::max);
            assert!(own >= lru - 0.002, "{name}, {capacity} blocks: {own:.4}, LRU has {lru:.4}");
            assert!(own >= best - 0.005, "{name}, {capacity} blocks: {own:.4}, the best has {best:.4}");
        }
    }

    #[test]
    fn the_policy_of_the_store_is_no_worse_than_others_on_a_generated_hour() {
        for (seed, rate) in [(1, 1000), (4, 400)] {
            let generated = Generator::new(seed, rate).take_while(|request| request.timestamp < 3_540_000);
            let trace = Trace::new(&generated.collect::<Vec<Request>>());
            compare(&format!("seed {seed}"), &trace, &[1000, 10_000, 30_000]);
        }
    }

    /// Rates that an independent simulator has on the published trace: docs/simulate.md.
    #[test]
    fn the_published_conversation_has_its_known_rates() {
        let Some(trace) = published("simulate cache") else { return };
        const CAPACITIES: [u64; 5] = [1000, 10_000, 30_000, 50_000, 100_000];
        for (policy, rates) in [
            (Policy::Lru, [0.0445, 0.2112, 0.3257, 0.3546, 0.3637]),
            (Policy::Lfu, [0.0481, 0.1318, 0.2759, 0.3438, 0.3631]),
            (Policy::Fifo, [0.0434, 0.1815, 0.2944, 0.3335, 0.3563]),
            (Policy::S3Fifo, [0.0556, 0.1952, 0.3039, 0.3490, 0.3624]),
            (Policy::Sieve, [0.0481, 0.1318, 0.2759, 0.3438, 0.3631]),
        ] {
            for (capacity, rate) in CAPACITIES.into_iter().zip(rates) {
                let found = ratio(replay(&trace, policy, capacity).prefix, trace.blocks());
                assert!((found - rate).abs() <= 0.0005, "{} {capacity}: {found:.4}", policy.name());
            }
        }
        compare("conversation", &trace, &CAPACITIES);
    }

    #[test]
    fn capacities_are_numbers_of_blocks() {
        assert_eq!(
            ["1", "500", "10k", "2K", "1M"].map(blocks),
            [Ok(1), Ok(500), Ok(10_000), Ok(2000), Ok(1_000_000)]
        );
        for wrong in ["", "0", "k", "-1", "1.5k", "10kk", "2G", "99999999999999999999", "1001M"] {
            assert!(blocks(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_trace_has_rates_too() {
        let trace = Trace::new(&[]);
        assert_eq!((replay(&trace, Policy::Default, 1), ratio(0, trace.blocks())), (Sums::default(), 0.0));
    }
}
