//! How far predictions are off.

/// Predicted times to the first token beside those that came. Times are seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Accuracy {
    pub count: u64,
    /// Observed less predicted, together: above 0 if predictions are too hopeful.
    pub error: f64,
    /// The same without the sign.
    pub absolute: f64,
    pub observed: f64,
    /// Of lately, as a share of what was observed.
    pub recent: f64,
}

/// The weight of one request in what counts as lately.
const WEIGHT: f64 = 0.02;

impl Accuracy {
    pub fn add(&mut self, predicted: f64, observed: f64) {
        let error = observed - predicted;
        self.count += 1;
        self.error += error;
        self.absolute += error.abs();
        self.observed += observed;
        let share = error.abs() / observed.max(f64::MIN_POSITIVE);
        let weight = WEIGHT.max(1.0 / self.count as f64);
        self.recent += weight * (share.min(1.0) - self.recent);
    }

    /// All errors as a share of all that was observed.
    pub fn relative(&self) -> f64 {
        if self.observed > 0.0 { self.absolute / self.observed } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_shares_of_what_was_observed() {
        let mut accuracy = Accuracy::default();
        accuracy.add(1.0, 2.0);
        accuracy.add(3.0, 2.0);
        assert_eq!((accuracy.count, accuracy.error, accuracy.relative()), (2, 0.0, 0.5));
        assert_eq!(accuracy.recent, 0.5);
        accuracy.add(0.0, 0.0);
        assert!(accuracy.recent.is_finite() && Accuracy::default().relative() == 0.0);
    }
}
