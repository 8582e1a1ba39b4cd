//! Looks again for a moment before a thread sleeps: waking a sleeper costs more than most answers take.

use super::clock;

use std::sync::atomic::{AtomicU64, Ordering};

/// Waits that are not spun through after the spin before them was in vain, at most.
const MOST_SKIPPED: u32 = 64;
/// A thread that offers its processor and gets it back only after this time has others beside it who need it: to sleep is
/// better, for a sleeper that is woken goes first.
const CROWDED_NS: u64 = 200_000;
/// Nobody in this process spins for so long after that.
const PAUSE_NS: u64 = 100_000_000;

/// Until when the processors are taken to be crowded.
struct Crowd(AtomicU64);

static CROWD: Crowd = Crowd(AtomicU64::new(0));

/// Decides for one thread or one connection whether the next wait is worth spinning: after a spin in vain the following
/// waits sleep at once, twice as many each time, so that spinning costs little where it does not help.
#[derive(Default)]
pub struct Spinner {
    skipped: u32,
    to_skip: u32,
}

impl Spinner {
    /// Calls `look` until it finds something, at most for `budget_ns`; None: sleep.
    pub fn spin<T>(&mut self, budget_ns: u64, look: impl FnMut() -> Option<T>) -> Option<T> {
        self.spin_among(&CROWD, budget_ns, look)
    }

    fn spin_among<T>(
        &mut self,
        crowd: &Crowd,
        budget_ns: u64,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        if budget_ns == 0 || self.skipped < self.to_skip {
            self.skipped += 1;
            return None;
        }
        let mut now = clock::now_ns();
        if now < crowd.0.load(Ordering::Relaxed) {
            return None;
        }
        let until = now + budget_ns;
        loop {
            if let Some(found) = look() {
                self.skipped = 0;
                self.to_skip = 0;
                return Some(found);
            }
            // Whoever will send the answer may need this processor for it.
            std::thread::yield_now();
            let before = now;
            now = clock::now_ns();
            if now - before > CROWDED_NS {
                crowd.0.store(now + PAUSE_NS, Ordering::Relaxed);
            } else if now < until {
                continue;
            }
            self.skipped = 0;
            self.to_skip = (self.to_skip * 2 + 1).min(MOST_SKIPPED);
            return look();
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
            assert_eq!(spinner.spin_among(&Crowd(AtomicU64::new(0)), 1_000_000, || Some(7)), Some(7));
        }
    }

    #[test]
    fn spinning_in_vain_becomes_rare() {
        let mut spinner = Spinner::default();
        let mut looks = 0;
        for _ in 0..1000 {
            let crowd = Crowd(AtomicU64::new(0));
            let found = spinner.spin_among(&crowd, 1, || {
                looks += 1;
                None::<()>
            });
            assert_eq!(found, None);
        }
        assert!((6..60).contains(&looks), "{looks} looks in 1000 waits");
    }

    /// On a busy machine whoever offers its processor is without one for milliseconds, while a sleeper is woken at once.
    #[test]
    fn who_loses_its_processor_to_others_stops_spinning() {
        let (mut one, mut another, crowd) =
            (Spinner::default(), Spinner::default(), Crowd(AtomicU64::new(0)));
        let is_late = one.spin_among(&crowd, 1_000_000_000, || {
            std::thread::sleep(std::time::Duration::from_micros(300));
            None::<()>
        });
        assert_eq!(is_late, None);
        assert_eq!(another.spin_among(&crowd, 1_000_000_000, || Some(())), None);
        assert_eq!(one.spin_among(&crowd, 1_000_000_000, || Some(())), None);
    }
}
