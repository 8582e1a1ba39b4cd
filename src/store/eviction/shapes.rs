//! Traffic of many shapes: the store's policy is to be no worse than the others on any of them.
//!
//! Each shape is small, because a debug build plays it; what `docs/simulate.md` says of larger ones was measured.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Policy, Replay};

/// A sequence of numbers that look random, and a counter of blocks.
struct Source {
    state: u64,
    blocks: u32,
}

impl Source {
    fn new(seed: u64) -> Source {
        Source { state: seed, blocks: 0 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.state) * u128::from(bound)) >> 64) as u64
    }

    /// `mean` on average, seldom many times that, at least 1.
    fn about(&mut self, mean: u64) -> u64 {
        let mut product = 1u64 << 20;
        for _ in 0..3 {
            product = product * (1 + self.below(2000)) / 1000;
        }
        ((mean * product) >> 20).max(1)
    }

    fn fresh(&mut self, count: u64) -> Vec<u32> {
        let first = self.blocks;
        self.blocks += count as u32;
        (first..self.blocks).collect()
    }
}

type Trace = Vec<Vec<u32>>;

/// People who come back with what they said before and more: of a thousand turns `returns` are followed by another,
/// after about `pause` requests of others. Each starts with one of `prompts`.
fn chat(seed: u64, requests: usize, returns: u64, pause: u64, prompts: u64) -> Trace {
    let mut source = Source::new(seed);
    let prompts: Trace = (0..prompts).map(|_| source.fresh(4)).collect();
    let mut due: BinaryHeap<Reverse<(usize, Vec<u32>)>> = BinaryHeap::new();
    let mut trace = Trace::new();
    while trace.len() < requests {
        let blocks = match due.peek() {
            Some(Reverse((time, _))) if *time <= trace.len() => {
                let Reverse((_, mut blocks)) = due.pop().expect("it was just looked at");
                blocks.pop();
                let more = source.about(2);
                blocks.extend(source.fresh(1 + more));
                blocks
            }
            _ => {
                // The first prompts are the most used.
                let one = source.below(prompts.len() as u64);
                let mut blocks = prompts[source.below(one + 1) as usize].clone();
                let more = source.about(5);
                blocks.extend(source.fresh(more));
                blocks
            }
        };
        if source.below(1000) < returns {
            due.push(Reverse((trace.len() + source.about(pause) as usize, blocks.clone())));
        }
        trace.push(blocks);
    }
    trace
}

/// Documents, each asked about again and again; a rank is drawn so that low ones are `skew` times squared more likely.
fn documents(seed: u64, requests: usize, count: u64, skew: u32) -> Trace {
    let mut source = Source::new(seed);
    let documents: Trace = (0..count)
        .map(|_| {
            let length = source.about(8);
            source.fresh(length)
        })
        .collect();
    let ask = |_| {
        let rank = (0..skew).fold(source.below(count), |rank, _| source.below(rank + 1));
        let mut blocks = documents[rank as usize].clone();
        blocks.extend(source.fresh(1));
        blocks
    };
    (0..requests).map(ask).collect()
}

/// The same blocks again and again, in the same order.
fn rounds(blocks: u32, rounds: usize) -> Trace {
    let all: Vec<u32> = (0..blocks).collect();
    let once: Trace = all.chunks(20).map(<[u32]>::to_vec).collect();
    std::iter::repeat_n(once, rounds).flatten().collect()
}

/// Two traces of different blocks, one request of each in turn.
fn mixed(one: Trace, other: Trace) -> Trace {
    let apart = |blocks: Vec<u32>| blocks.into_iter().map(|block| block + (1 << 20)).collect();
    one.into_iter().zip(other).flat_map(|(one, other): (Vec<u32>, Vec<u32>)| [one, apart(other)]).collect()
}

fn rate(trace: &Trace, policy: Policy, capacity: u64) -> f64 {
    let mut replay = Replay::new(policy, capacity);
    let found: usize = trace.iter().map(|blocks| replay.request(blocks).prefix).sum();
    found as f64 / trace.iter().map(Vec::len).sum::<usize>() as f64
}

/// Plays a trace with caches of these sizes. `short` are the sizes where the store's policy is worse than it should be,
/// and by how much more than that: it begins as LRU and has to see that others do better, which costs a short trace
/// most, and where policies are nearly equal chance decides which one it follows.
fn check(name: &str, trace: &Trace, capacities: &[u64], short: &[(u64, f64)]) {
    for &capacity in capacities {
        let rates = Policy::ALL.map(|policy| rate(trace, policy, capacity));
        let [lru, .., own] = rates;
        let best = rates.into_iter().fold(0.0, f64::max);
        let margin = (own - lru + 0.002).min(own - best + 0.005);
        let allowed = short.iter().find(|row| row.0 == capacity).map_or(0.0, |row| row.1);
        println!("{name:18} {capacity:6} lru {lru:.4} best {best:.4} default {own:.4} margin {margin:+.4}");
        assert!(allowed == 0.0 || margin < 0.0, "{name}, {capacity} blocks: no longer short");
        assert!(
            margin >= -allowed,
            "{name}, {capacity} blocks: {own:.4}, LRU has {lru:.4}, the best {best:.4}"
        );
    }
}

#[test]
fn people_who_come_back() {
    check("chat", &chat(1, 4000, 600, 100, 1), &[300, 1000, 3000, 10_000], &[]);
    check("slow chat", &chat(2, 4000, 600, 800, 1), &[300, 1000, 3000, 10_000], &[(1000, 0.001)]);
    check("agents", &chat(3, 4000, 850, 15, 60), &[300, 1000, 3000, 10_000], &[]);
    check(
        "single questions",
        &chat(4, 4000, 100, 100, 200),
        &[300, 1000, 3000],
        &[(300, 0.004), (1000, 0.003)],
    );
}

#[test]
fn documents_that_are_popular() {
    check(
        "popular",
        &documents(5, 5000, 2000, 2),
        &[300, 1000, 3000, 10_000],
        &[(300, 0.014), (1000, 0.005)],
    );
    check("evenly used", &documents(6, 5000, 600, 0), &[300, 1000, 3000], &[(1000, 0.009)]);
}

#[test]
fn rounds_through_more_than_fits() {
    check("rounds", &rounds(1300, 60), &[300, 1000, 1500], &[]);
    check("rounds and chat", &mixed(chat(7, 3000, 600, 100, 1), rounds(3000, 20)), &[300, 1000, 10_000], &[]);
}

#[test]
fn popular_documents_among_what_comes_once() {
    check("scans", &mixed(documents(8, 3000, 1000, 3), chat(9, 3000, 0, 1, 1)), &[300, 1000, 3000], &[]);
}
