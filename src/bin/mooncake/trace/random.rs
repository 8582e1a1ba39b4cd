//! Where the generator's chance comes from: integers only, so that a seed gives the same bytes on every machine.

use mooncake::sys::splitmix::Random;

/// How often something happens that is expected `thousandths` / 1000 times: close to Poisson, as a sum of many
/// rare and independent chances.
pub fn count(random: &mut Random, thousandths: u64) -> u64 {
    const CHANCES_PER_EVENT: u64 = 64;
    let chances = (thousandths / 1000 + 1) * CHANCES_PER_EVENT;
    (0..chances).map(|_| u64::from(random.below(chances * 1000) < thousandths)).sum()
}

/// A distribution, told by some of its quantiles: (permille, value), both rising, from 0 to 1000; straight in between.
pub struct Quantiles(pub &'static [(i64, i64)]);

impl Quantiles {
    pub fn draw(&self, random: &mut Random) -> i64 {
        const FINE: i64 = 1000;
        let at = random.below(1000 * FINE as u64) as i64;
        let next = self.0.partition_point(|&(permille, _)| permille * FINE <= at);
        let ((low, from), (high, to)) = (self.0[next - 1], self.0[next]);
        from + (to - from) * (at - low * FINE) / ((high - low) * FINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_the_mean_and_the_spread_of_poisson() {
        let mut random = Random::new(7);
        let counts: Vec<u64> = (0..20_000).map(|_| count(&mut random, 10_200)).collect();
        let mean = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
        let spread = counts.iter().map(|&n| (n as f64 - mean).powi(2)).sum::<f64>() / counts.len() as f64;
        assert!((10.1..10.3).contains(&mean), "mean {mean}");
        assert!((9.6..10.6).contains(&spread), "variance {spread}");
    }

    #[test]
    fn quantiles_are_met_and_their_ends_are_bounds() {
        let table = Quantiles(&[(0, -5), (500, 10), (1000, 1000)]);
        let mut random = Random::new(3);
        let mut drawn: Vec<i64> = (0..10_001).map(|_| table.draw(&mut random)).collect();
        drawn.sort_unstable();
        assert!(drawn[0] >= -5 && drawn[10_000] < 1000);
        assert!((5..30).contains(&drawn[5000]), "median {}", drawn[5000]);
    }
}
