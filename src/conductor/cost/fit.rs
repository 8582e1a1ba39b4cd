//! The three numbers of prefill, from what instances report: least squares that forgets.

use super::Prefill;

/// One prefill that was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    pub tokens: u64,
    /// Cached ones at the beginning.
    pub prefix: u64,
    pub seconds: f64,
}

/// Tokens in a unit of the sums, so that their squares stay near 1.
const UNIT: f64 = 10_000.0;
/// What is known beforehand counts as so many observations.
const PRIOR: f64 = 0.05;

/// Observations, the older ones counting less.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    prior: [f64; 3],
    /// What each new observation leaves of the weight of those before it.
    keep: f64,
    count: u64,
    products: [[f64; 3]; 3],
    targets: [f64; 3],
}

impl Fit {
    /// Starts from what is known beforehand. `memory` is about how many observations count, at least 1.
    pub fn new(prior: Prefill, memory: u32) -> Fit {
        Fit {
            prior: [prior.fixed, prior.linear * UNIT, prior.quadratic * UNIT * UNIT],
            keep: 1.0 - 1.0 / f64::from(memory.max(1)),
            count: 0,
            products: [[0.0; 3]; 3],
            targets: [0.0; 3],
        }
    }

    /// Takes one. A measurement that is no time, or of nothing computed, is left out: false.
    pub fn add(&mut self, observed: Observed) -> bool {
        let Observed { tokens, prefix, seconds } = observed;
        if !(seconds.is_finite() && seconds > 0.0) || prefix >= tokens {
            return false;
        }
        let (whole, cached) = (tokens as f64 / UNIT, prefix as f64 / UNIT);
        let terms = [1.0, whole - cached, whole * whole - cached * cached];
        // Errors count by their share of the time, or long prompts would be all that is heard.
        let weight = 1.0 / (seconds * seconds);
        for (row, own) in terms.iter().enumerate() {
            for (column, other) in terms.iter().enumerate() {
                self.products[row][column] = self.products[row][column] * self.keep + weight * own * other;
            }
            self.targets[row] = self.targets[row] * self.keep + weight * own * seconds;
        }
        self.count += 1;
        true
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The numbers that fit best; those before while nothing was observed. None is below 0.
    pub fn prefill(&self) -> Prefill {
        // Each term is held at its prior as if a few observations had been made of it alone.
        let (mut matrix, mut right) = (self.products, self.targets);
        for term in 0..3 {
            let hold = (PRIOR * (1.0 - self.keep) * self.products[term][term]).max(f64::MIN_POSITIVE);
            matrix[term][term] += hold;
            right[term] += hold * self.prior[term];
        }
        let found = non_negative(&matrix, &right);
        Prefill { fixed: found[0], linear: found[1] / UNIT, quadratic: found[2] / (UNIT * UNIT) }
    }
}

/// The solution of the normal equations with the terms at 0 that make it least bad of those with none below 0.
fn non_negative(matrix: &[[f64; 3]; 3], right: &[f64; 3]) -> [f64; 3] {
    let mut best = ([0.0; 3], 0.0);
    for kept in 1..8u32 {
        let solution = solve(matrix, right, kept);
        if solution.iter().any(|term| !term.is_finite() || *term < 0.0) {
            continue;
        }
        // What is left of the squares, less a part that is the same for all.
        let gain: f64 = solution.iter().zip(right).map(|(term, right)| term * right).sum();
        if gain > best.1 {
            best = (solution, gain);
        }
    }
    best.0
}

/// Elimination over the terms whose bit is set in `kept`; the others are 0.
fn solve(matrix: &[[f64; 3]; 3], right: &[f64; 3], kept: u32) -> [f64; 3] {
    let is_kept = |term: usize| kept >> term & 1 == 1;
    let mut rows = [[0.0; 4]; 3];
    for (row, out) in rows.iter_mut().enumerate() {
        for column in 0..3 {
            let inside = is_kept(row) && is_kept(column);
            out[column] = if inside { matrix[row][column] } else { f64::from(u8::from(row == column)) };
        }
        out[3] = if is_kept(row) { right[row] } else { 0.0 };
    }
    for pivot in 0..3 {
        // The matrix is symmetric and definite: no need to look for a larger pivot.
        let pivots = rows[pivot];
        for (_, own) in rows.iter_mut().enumerate().filter(|(row, _)| *row != pivot) {
            let factor = own[pivot] / pivots[pivot];
            own.iter_mut().zip(pivots).for_each(|(own, above)| *own -= factor * above);
        }
    }
    [0, 1, 2].map(|row| rows[row][3] / rows[row][row])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::splitmix::Random;
    use proptest::prelude::*;

    const PRIOR_NUMBERS: Prefill = Prefill { fixed: 0.0, linear: 5e-5, quadratic: 1e-9 };

    fn observe(fit: &mut Fit, truth: Prefill, count: u64, noise: f64) {
        let mut random = Random::new(count);
        for _ in 0..count {
            let tokens = random.between(500, 60_000);
            let prefix = random.below(tokens);
            let error = 1.0 + noise * (random.below(2001) as f64 / 1000.0 - 1.0);
            assert!(fit.add(Observed { tokens, prefix, seconds: truth.seconds(tokens, prefix) * error }));
        }
    }

    fn worst(fit: &Fit, truth: Prefill) -> f64 {
        let found = fit.prefill();
        let shapes = [(800, 0), (7000, 512), (27_000, 20_000), (60_000, 0)];
        shapes
            .map(|(tokens, prefix)| {
                (found.seconds(tokens, prefix) / truth.seconds(tokens, prefix) - 1.0).abs()
            })
            .into_iter()
            .fold(0.0, f64::max)
    }

    #[test]
    fn without_observations_the_numbers_are_those_before() {
        let found = Fit::new(PRIOR_NUMBERS, 100).prefill();
        assert!((found.linear / PRIOR_NUMBERS.linear - 1.0).abs() < 1e-9, "{found:?}");
        assert!((found.quadratic / PRIOR_NUMBERS.quadratic - 1.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_machine_that_became_slower_is_followed() {
        let mut fit = Fit::new(PRIOR_NUMBERS, 200);
        observe(&mut fit, PRIOR_NUMBERS, 1000, 0.05);
        let slower = Prefill { fixed: 0.02, linear: 9e-5, quadratic: 2e-9 };
        observe(&mut fit, slower, 1500, 0.05);
        assert!(worst(&fit, slower) < 0.1, "{}", worst(&fit, slower));
    }

    #[test]
    fn what_is_no_measurement_is_left_out() {
        let mut fit = Fit::new(PRIOR_NUMBERS, 10);
        for (tokens, prefix, seconds) in [(10, 10, 1.0), (0, 0, 1.0), (10, 0, 0.0), (10, 0, f64::NAN)] {
            assert!(!fit.add(Observed { tokens, prefix, seconds }));
        }
        assert_eq!(fit.count(), 0);
    }

    proptest! {
        #[test]
        fn exact_observations_give_the_numbers_back(
            fixed in 0.0f64..0.1, linear in 1e-6f64..1e-3, quadratic in 0.0f64..1e-8,
        ) {
            let truth = Prefill { fixed, linear, quadratic };
            let mut fit = Fit::new(PRIOR_NUMBERS, 300);
            observe(&mut fit, truth, 600, 0.0);
            prop_assert!(worst(&fit, truth) < 0.03, "{} {:?}", worst(&fit, truth), fit.prefill());
        }
    }
}
