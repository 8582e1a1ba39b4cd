//! From measurements to figures: medians, and ratios of what was measured side by side.

use super::super::case::Case;
use super::session::Measured;

const GIB: f64 = (1u64 << 30) as f64;

/// The figures of one competitor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub gb_per_s: f64,
    pub gib_per_s: f64,
    /// Rate while batches are under way: their bytes by their mean time.
    pub instant_gb_per_s: f64,
    /// Thousands of requests per second.
    pub kop_per_s: f64,
    /// From one batch to the next.
    pub latency_us: f64,
    /// From submitting a batch to seeing it complete.
    pub transfer_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// Processor seconds of both ends per GiB.
    pub cpu_s_per_gib: f64,
}

impl Figures {
    pub fn of(measured: &Measured, case: &Case) -> Figures {
        let outcome = &measured.outcome;
        let (bytes, seconds) = (measured.bytes(case) as f64, outcome.wall.as_secs_f64());
        let (batches, threads) = (outcome.timed as f64, case.threads as f64);
        let transfer_us = outcome.latency.mean_us();
        Figures {
            gb_per_s: bytes / seconds / 1e9,
            gib_per_s: bytes / seconds / GIB,
            instant_gb_per_s: case.bytes() as f64 * threads / transfer_us / 1e3,
            kop_per_s: batches * case.batch as f64 / seconds / 1e3,
            latency_us: seconds * threads / batches * 1e6,
            transfer_us,
            p50_us: outcome.latency.percentile_us(0.5),
            p99_us: outcome.latency.percentile_us(0.99),
            p999_us: outcome.latency.percentile_us(0.999),
            cpu_s_per_gib: measured.cpu_seconds / (bytes / GIB),
        }
    }

    /// The median of each figure.
    pub fn median(all: &[Figures]) -> Figures {
        let of = |field: fn(&Figures) -> f64| median(all.iter().map(field).collect());
        Figures {
            gb_per_s: of(|figures| figures.gb_per_s),
            gib_per_s: of(|figures| figures.gib_per_s),
            instant_gb_per_s: of(|figures| figures.instant_gb_per_s),
            kop_per_s: of(|figures| figures.kop_per_s),
            latency_us: of(|figures| figures.latency_us),
            transfer_us: of(|figures| figures.transfer_us),
            p50_us: of(|figures| figures.p50_us),
            p99_us: of(|figures| figures.p99_us),
            p999_us: of(|figures| figures.p999_us),
            cpu_s_per_gib: of(|figures| figures.cpu_s_per_gib),
        }
    }
}

/// The library against a floor: above 1 is better in `rate`, below 1 in `p50`.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    pub rate: f64,
    pub p50: f64,
    pub cpu: f64,
}

impl Ratio {
    /// The medians of the ratios of measurements that followed each other.
    pub fn of(library: &[Figures], floor: &[Figures]) -> Ratio {
        let of = |field: fn(&Figures) -> f64| {
            median(library.iter().zip(floor).map(|(mine, theirs)| field(mine) / field(theirs)).collect())
        };
        Ratio {
            rate: of(|figures| figures.gib_per_s),
            p50: of(|figures| figures.p50_us),
            cpu: of(|figures| figures.cpu_s_per_gib),
        }
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_ratio_compares_neighbours_in_time() {
        let rate = |gib_per_s| Figures { gib_per_s, p50_us: 1.0, cpu_s_per_gib: 1.0, ..Figures::default() };
        // The machine got slower from one repetition to the next: the medians would say 2/2, the pairs say 1/2.
        let ratio = Ratio::of(&[rate(4.0), rate(2.0), rate(1.0)], &[rate(8.0), rate(4.0), rate(2.0)]);
        assert_eq!(ratio.rate, 0.5);
    }
}
