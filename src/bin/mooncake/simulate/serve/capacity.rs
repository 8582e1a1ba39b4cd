//! At which rate of requests enough of them still keep their promises.

use std::collections::BTreeMap;

use super::super::schedule::world::Served;

/// What is promised: seconds to the first token, and between tokens, one row per limit; and to which share of requests.
#[derive(Clone, Debug)]
pub struct Promise {
    pub ttft: f64,
    pub tbt: Vec<f64>,
    pub share: f64,
}

impl Promise {
    /// By limit, the share of all requests that kept both.
    pub fn kept(&self, served: &[Served], requests: usize) -> Vec<f64> {
        let keeps = |one: &&Served, tbt: f64| one.ttft <= self.ttft && one.gap <= tbt;
        let count = |tbt: &f64| served.iter().filter(|one| keeps(one, *tbt)).count();
        self.tbt.iter().map(|tbt| count(tbt) as f64 / requests.max(1) as f64).collect()
    }
}

/// Speeds that are tried are powers of 1 + `step`, within these.
const SLOWEST: f64 = 1.0 / 64.0;
const FASTEST: f64 = 64.0;

/// What was tried: by the power of the speed, the shares that kept their promises.
pub struct Search<P> {
    play: P,
    step: f64,
    tried: BTreeMap<i32, Vec<f64>>,
}

impl<P: FnMut(f64) -> Result<Vec<f64>, String>> Search<P> {
    /// `play` tells the shares at a speed; they are taken to fall with it.
    pub fn new(step: f64, play: P) -> Search<P> {
        Search { play, step, tried: BTreeMap::new() }
    }

    fn speed(&self, power: i32) -> f64 {
        (1.0 + self.step).powi(power)
    }

    fn shares(&mut self, power: i32) -> Result<&[f64], String> {
        if !self.tried.contains_key(&power) {
            let speed = self.speed(power);
            let shares = (self.play)(speed)?;
            self.tried.insert(power, shares);
        }
        Ok(&self.tried[&power])
    }

    /// The highest speed at which this limit is kept by so many; none if not even at the slowest.
    pub fn highest(&mut self, limit: usize, share: f64) -> Result<Option<f64>, String> {
        let powers = |speed: f64| (speed.ln() / (1.0 + self.step).ln()) as i32;
        let (slowest, fastest) = (powers(SLOWEST), powers(FASTEST));
        let mut keeps = |power: i32| Ok::<bool, String>(self.shares(power)?[limit] >= share);
        // Near the speed of the trace first, then further and further away.
        let (mut low, mut high) = (0, 0);
        let mut stride = 8;
        if keeps(0)? {
            while high < fastest {
                high = (high + stride).min(fastest);
                if !keeps(high)? {
                    break;
                }
                low = high;
                stride *= 2;
            }
        } else {
            while low > slowest {
                low = (low - stride).max(slowest);
                if keeps(low)? {
                    break;
                }
                high = low;
                stride *= 2;
            }
            if low == high {
                return Ok(None);
            }
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            *(if keeps(middle)? { &mut low } else { &mut high }) = middle;
        }
        Ok(Some(self.speed(low)))
    }

    /// Speeds that were tried, with their shares.
    pub fn tried(&self) -> Vec<(f64, Vec<f64>)> {
        self.tried.iter().map(|(power, shares)| (self.speed(*power), shares.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(knee: f64) -> Search<impl FnMut(f64) -> Result<Vec<f64>, String>> {
        Search::new(0.01, move |speed| Ok(vec![(1.0 - speed / knee).max(0.0), 1.0, 0.0]))
    }

    #[test]
    fn the_highest_speed_is_found_within_a_step_and_below_what_fails() {
        for speed in [0.02, 0.3, 0.999, 1.0, 1.001, 7.0, 60.0] {
            let found = search(10.0 * speed).highest(0, 0.9).expect("it plays").expect("there is one");
            assert!(found <= speed * 1.000001 && found * 1.0101 > speed, "{found} for {speed}");
        }
    }

    #[test]
    fn what_is_kept_always_ends_at_the_fastest_and_what_is_never_kept_nowhere() {
        let mut search = search(1.0);
        let fastest = search.highest(1, 0.9).expect("it plays").expect("all keep it");
        assert!((60.0..=64.0).contains(&fastest), "{fastest}");
        assert_eq!(search.highest(2, 0.9), Ok(None));
    }

    #[test]
    fn a_promise_is_kept_if_both_times_are() {
        let promise = Promise { ttft: 30.0, tbt: vec![0.1, 0.2], share: 0.9 };
        let served = [(1.0, 0.1), (31.0, 0.01), (30.0, 0.2)].map(|(ttft, gap)| Served { ttft, gap });
        assert_eq!(promise.kept(&served, 4), [0.25, 0.5]);
        assert_eq!(promise.kept(&[], 0), [0.0, 0.0]);
    }
}
