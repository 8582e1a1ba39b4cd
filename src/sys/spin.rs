//! Looks again for a moment before a thread sleeps: waking a sleeper costs more than most answers take.

use super::clock;

/// Waits that are not spun through after the spin before them was in vain, at most.
const MOST_SKIPPED: u32 = 64;

/// Decides for one thread or one connection whether the next wait is worth spinning: after a spin in vain the following
/// waits sleep at once, twice as many each time, so that spinning costs little where it does not help.
#[derive(Default)]
pub struct Spinner {
    skipped: u32,
    to_skip: u32,
}

impl Spinner {
    /// Calls `look` until it finds something, at most for `budget_ns`; None: sleep.
    pub fn spin<T>(&mut self, budget_ns: u64, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        if budget_ns == 0 || self.skipped < self.to_skip {
            self.skipped += 1;
            return None;
        }
        let until = clock::now_ns() + budget_ns;
        loop {
            if let Some(found) = look() {
                self.skipped = 0;
                self.to_skip = 0;
                return Some(found);
            }
            if clock::now_ns() >= until {
                self.skipped = 0;
                self.to_skip = (self.to_skip * 2 + 1).min(MOST_SKIPPED);
                return None;
            }
            // Whoever will send the answer may need this processor for it.
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_at_once_is_found_without_a_pause() {
        let mut spinner = Spinner::default();
        for _ in 0..100 {
            assert_eq!(spinner.spin(1_000_000, || Some(7)), Some(7));
        }
    }

    #[test]
    fn spinning_in_vain_becomes_rare() {
        let mut spinner = Spinner::default();
        let mut spins = 0;
        for _ in 0..1000 {
            let mut has_looked = false;
            assert_eq!(
                spinner.spin(1, || {
                    has_looked = true;
                    None::<()>
                }),
                None
            );
            spins += u32::from(has_looked);
        }
        assert!((3..30).contains(&spins), "{spins} spins in 1000 waits");
        // One success, and every wait is worth a spin again.
        while spinner.spin(1, || Some(())).is_none() {}
        assert_eq!(spinner.spin(1, || Some(())), Some(()));
    }
}
