//! How much goes on: what was counted a while ago, and what is counted now.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mooncake::store::master::server::{Counted, Seen};

/// How often it is looked, and how long back rates reach.
pub const EVERY: Duration = Duration::from_secs(5);
const SAMPLES: usize = 13;

#[derive(Default)]
pub struct Rates(Mutex<VecDeque<(Instant, Vec<Counted>)>>);

/// Of one method, by the second.
#[derive(Debug, PartialEq)]
pub struct Rate {
    pub method: &'static str,
    pub calls: f64,
    pub items: f64,
    pub failed: f64,
}

impl Rates {
    pub fn note(&self, now: Instant, counted: Vec<Counted>) {
        let mut samples = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        samples.push_back((now, counted));
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
    }

    /// Since the oldest sample, of the methods that were called; and how long ago that was.
    pub fn since(&self, now: Instant, seen: &Seen) -> (Duration, Vec<Rate>) {
        let samples = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some((then, before)) = samples.front() else { return (Duration::ZERO, Vec::new()) };
        let time = now.saturating_duration_since(*then);
        let seconds = time.as_secs_f64().max(0.001);
        let rate = |(now, before): (&Counted, &Counted)| Rate {
            method: now.method,
            calls: now.calls().saturating_sub(before.calls()) as f64 / seconds,
            items: now.items().saturating_sub(before.items()) as f64 / seconds,
            failed: now.failed().saturating_sub(before.failed()) as f64 / seconds,
        };
        let rates = seen.counted.iter().zip(before).map(rate).filter(|rate| rate.calls > 0.0);
        (time, rates.collect())
    }
}
