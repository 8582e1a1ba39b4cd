//! What a trace looks like: the figures by which traces are compared.

use std::collections::{HashMap, HashSet, VecDeque};

use super::Request;

/// Sizes of a cache, in blocks, for which hit rates are told.
const CACHES: [usize; 4] = [1_000, 10_000, 30_000, 50_000];
/// How many of the most used blocks are taken together.
const HOTTEST: [usize; 4] = [1, 100, 1_000, 10_000];

/// Named figures, in the order in which they are shown.
pub fn describe(trace: &[Request]) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_string(), value));
    arrival(trace, &mut row);
    lengths("input", trace.iter().map(|request| request.input_length).collect(), &mut row);
    lengths("output", trace.iter().map(|request| request.output_length).collect(), &mut row);
    popularity(trace, &mut row);
    sharing(trace, &mut row);
    for capacity in CACHES {
        row(
            &format!("hits of an LRU cache of {capacity} blocks"),
            percent(lru_hits(trace, capacity), references(trace)),
        );
    }
    rows
}

fn arrival(trace: &[Request], row: &mut impl FnMut(&str, String)) {
    let stamps = || trace.iter().map(|request| request.timestamp);
    let span = stamps().max().unwrap_or(0) - stamps().min().unwrap_or(0);
    let mut times = HashMap::new();
    for stamp in stamps() {
        *times.entry(stamp).or_insert(0u64) += 1;
    }
    row("requests", trace.len().to_string());
    row("duration, s", format!("{:.0}", span as f64 / 1000.0));
    row("requests per second", format!("{:.2}", ratio(trace.len() as f64 * 1000.0, span as f64)));
    let mean = ratio(trace.len() as f64, times.len() as f64);
    let spread = times.values().map(|&n| (n as f64 - mean).powi(2)).sum::<f64>();
    row("requests per time stamp, mean", format!("{mean:.2}"));
    row("requests per time stamp, variance", format!("{:.2}", ratio(spread, times.len() as f64)));
}

fn lengths(name: &str, mut values: Vec<u64>, row: &mut impl FnMut(&str, String)) {
    values.sort_unstable();
    let mean = ratio(values.iter().map(|&value| value as f64).sum(), values.len() as f64);
    row(&format!("{name} tokens, mean"), format!("{mean:.0}"));
    for (quantile, text) in [(0, "shortest"), (500, "median"), (900, "p90"), (990, "p99"), (1000, "longest")]
    {
        let at = values.len().saturating_sub(1) * quantile / 1000;
        row(&format!("{name} tokens, {text}"), values.get(at).copied().unwrap_or(0).to_string());
    }
}

fn popularity(trace: &[Request], row: &mut impl FnMut(&str, String)) {
    let mut uses: HashMap<u64, u64> = HashMap::new();
    for &block in trace.iter().flat_map(|request| &request.hash_ids) {
        *uses.entry(block).or_insert(0) += 1;
    }
    let mut counts: Vec<u64> = uses.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let (total, unique) = (references(trace), counts.len() as u64);
    row("blocks", total.to_string());
    row("blocks per request", format!("{:.2}", ratio(total as f64, trace.len() as f64)));
    row("unique blocks", unique.to_string());
    for (bound, text) in [(1, "once"), (2, "at most twice"), (3, "at most three times")] {
        let few = counts.iter().filter(|&&count| count <= bound).count() as u64;
        row(&format!("unique blocks used {text}"), percent(few, unique));
    }
    for top in HOTTEST {
        row(&format!("uses that go to the hottest {top}"), percent(counts.iter().take(top).sum(), total));
    }
    let second = counts.get(1).copied().unwrap_or(0);
    row(
        "uses of the hottest, and of the next",
        format!("{} / {second}", counts.first().copied().unwrap_or(0)),
    );
}

fn sharing(trace: &[Request], row: &mut impl FnMut(&str, String)) {
    let mut seen = HashSet::new();
    let (mut reused, mut first, mut second) = (0, 0, 0);
    for request in trace {
        let prefix = request.hash_ids.iter().take_while(|block| seen.contains(*block)).count() as u64;
        reused += prefix;
        first += u64::from(prefix >= 1);
        second += u64::from(prefix >= 2);
        seen.extend(request.hash_ids.iter().copied());
    }
    row("blocks reused as a prefix", percent(reused, references(trace)));
    row("requests that share a prefix of 1 block", percent(first, trace.len() as u64));
    row("requests that share a prefix of 2 blocks", percent(second, trace.len() as u64));
}

/// Blocks found in a cache of `capacity` blocks that drops the one used longest ago.
fn lru_hits(trace: &[Request], capacity: usize) -> u64 {
    let mut last_use: HashMap<u64, u64> = HashMap::new();
    let mut order = VecDeque::new(); // (block, time); out of date when the block was used again later
    let mut hits = 0;
    for (time, &block) in trace.iter().flat_map(|request| &request.hash_ids).enumerate() {
        hits += u64::from(last_use.insert(block, time as u64).is_some());
        order.push_back((block, time as u64));
        while last_use.len() > capacity {
            let (oldest, time) = order.pop_front().expect("every cached block is in the order");
            if last_use.get(&oldest) == Some(&time) {
                last_use.remove(&oldest);
            }
        }
    }
    hits
}

fn references(trace: &[Request]) -> u64 {
    trace.iter().map(|request| request.hash_ids.len() as u64).sum()
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2} %", 100.0 * ratio(part as f64, whole as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(requests: &[&[u64]]) -> Vec<Request> {
        let request = |(index, ids): (usize, &&[u64])| Request {
            timestamp: index as u64 * 1000,
            input_length: ids.len() as u64 * 512,
            output_length: 10,
            hash_ids: ids.to_vec(),
        };
        requests.iter().enumerate().map(request).collect()
    }

    fn figure(trace: &[Request], name: &str) -> String {
        describe(trace).into_iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("no row {name}")).1
    }

    #[test]
    fn a_small_trace_is_counted_right() {
        let trace = trace(&[&[0, 1, 2], &[0, 3], &[0, 1, 2, 4]]);
        assert_eq!(figure(&trace, "blocks"), "9");
        assert_eq!(figure(&trace, "unique blocks"), "5");
        assert_eq!(figure(&trace, "unique blocks used once"), "40.00 %");
        assert_eq!(figure(&trace, "blocks reused as a prefix"), "44.44 %");
        assert_eq!(figure(&trace, "requests that share a prefix of 2 blocks"), "33.33 %");
        assert_eq!(figure(&trace, "uses of the hottest, and of the next"), "3 / 2");
        assert_eq!(figure(&trace, "duration, s"), "2");
    }

    #[test]
    fn an_lru_cache_drops_what_was_used_longest_ago() {
        assert_eq!(lru_hits(&trace(&[&[1, 2, 1, 3, 2, 1]]), 2), 1);
        assert_eq!(lru_hits(&trace(&[&[1, 2, 1, 3, 2, 1]]), 3), 3);
    }

    #[test]
    fn an_empty_trace_has_figures_too() {
        assert_eq!(figure(&[], "requests"), "0");
        assert_eq!(figure(&[], "blocks reused as a prefix"), "0.00 %");
    }
}
