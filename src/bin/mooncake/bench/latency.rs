//! How long steps took: a histogram that is cheap to fill and exact to a percent.

use std::time::Duration;

/// Each power of two is divided into so many buckets.
const FINE_BITS: u32 = 7;
const FINE: usize = 1 << FINE_BITS;
const BUCKETS: usize = (64 - FINE_BITS as usize + 1) * FINE;

/// Nanoseconds in buckets no wider than 1 % of their value.
pub struct Latency {
    buckets: Vec<u64>,
    count: u64,
    total_ns: u64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { buckets: vec![0; BUCKETS], count: 0, total_ns: 0 }
    }
}

impl Latency {
    #[inline]
    pub fn record(&mut self, took: Duration) {
        let ns = took.as_nanos() as u64;
        self.buckets[bucket(ns)] += 1;
        self.count += 1;
        self.total_ns += ns;
    }

    pub fn merge(&mut self, other: &Latency) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.total_ns += other.total_ns;
    }

    pub fn mean_us(&self) -> f64 {
        self.total_ns as f64 / self.count.max(1) as f64 / 1e3
    }

    /// The time that this share of the steps took at most, in microseconds; straight between the edges of a bucket.
    pub fn percentile_us(&self, share: f64) -> f64 {
        let wanted = share * self.count as f64;
        let mut before = 0.0;
        for (index, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = *count as f64;
            if before + count >= wanted {
                let (low, high) = (edge(index), edge(index + 1));
                return (low + (high - low) * (wanted - before) / count) / 1e3;
            }
            before += count;
        }
        0.0
    }
}

#[inline]
fn bucket(ns: u64) -> usize {
    if ns < FINE as u64 {
        return ns as usize;
    }
    let shift = 63 - ns.leading_zeros() - FINE_BITS;
    ((shift as usize) << FINE_BITS) + (ns >> shift) as usize
}

/// First nanosecond of a bucket.
fn edge(index: usize) -> f64 {
    if index < 2 * FINE {
        return index as f64;
    }
    let shift = (index >> FINE_BITS) - 1;
    ((index - (shift << FINE_BITS)) as f64) * 2f64.powi(shift as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_between_the_edges_of_its_bucket() {
        for ns in (0..5000).chain([1 << 20, (1 << 20) + 12345, u64::MAX >> 12]) {
            let index = bucket(ns);
            assert!(edge(index) <= ns as f64 && (ns as f64) < edge(index + 1), "{ns}");
            assert!(edge(index + 1) - edge(index) <= 1.0 + ns as f64 / 100.0);
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn percentiles_are_where_they_belong() {
        let mut latency = Latency::default();
        for us in 1..=1000 {
            latency.record(Duration::from_micros(us));
        }
        let close = |value: f64, wanted: f64| (value - wanted).abs() <= wanted / 100.0;
        assert!(close(latency.percentile_us(0.5), 500.0) && close(latency.percentile_us(0.99), 990.0));
        assert!(close(latency.mean_us(), 500.5));
        let mut both = Latency::default();
        both.merge(&latency);
        both.merge(&latency);
        assert_eq!((both.count, both.total_ns), (2 * latency.count, 2 * latency.total_ns));
    }
}
