//! The loop that measures: the same for the library and for every floor.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::latency::Latency;

/// Moves batches, one at a time: the competitor of one thread.
pub trait Mover: Send {
    /// Moves the batch of a step and returns when its bytes are there.
    fn step(&mut self, step: u64) -> Result<(), String>;

    /// What has to follow a step and is not part of its latency.
    fn settle(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// How long to run.
#[derive(Clone, Copy)]
pub struct Times {
    pub warm_up: Duration,
    pub run: Duration,
}

/// What a run gave.
pub struct Outcome {
    /// Steps of each thread, warming up included: what the destination must show.
    pub steps: Vec<u64>,
    /// Steps of all threads that were timed.
    pub timed: u64,
    pub wall: Duration,
    pub latency: Latency,
}

/// Timed steps of a run that goes on, for whoever shows progress.
#[derive(Default)]
pub struct Ticker(AtomicU64);

impl Ticker {
    pub fn steps(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Steps between two looks at whether somebody else failed, and two reports to the ticker.
const REPORT_EVERY: u64 = 64;
/// A latency needs at least so many steps to be one.
const LEAST_STEPS: u64 = 3;

struct Lap {
    steps: u64,
    timed: u64,
    begun: Instant,
    ended: Instant,
    latency: Latency,
}

/// Runs every mover in a thread of its own. `mark` is called when all are warm and none has started the timed part.
pub fn drive<M: Mover>(
    movers: Vec<M>,
    times: Times,
    ticker: &Ticker,
    mark: impl FnOnce() -> Result<(), String>,
) -> Result<Outcome, String> {
    ticker.0.store(0, Ordering::Relaxed);
    let barrier = Barrier::new(movers.len() + 1);
    let has_failed = AtomicBool::new(false);
    let laps: Result<Vec<Lap>, String> = std::thread::scope(|scope| {
        let run = |mut mover: M| {
            let lap = one_lap(&mut mover, times, ticker, &barrier, &has_failed);
            if lap.is_err() {
                has_failed.store(true, Ordering::Relaxed);
            }
            lap
        };
        let threads: Vec<_> = movers.into_iter().map(|mover| scope.spawn(move || run(mover))).collect();
        barrier.wait();
        let marked = mark();
        if marked.is_err() {
            has_failed.store(true, Ordering::Relaxed);
        }
        barrier.wait();
        let joined: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        marked?;
        joined.into_iter().map(|lap| lap.map_err(|_| "a measuring thread panicked".to_owned())?).collect()
    });
    let laps = laps?;
    let begun = laps.iter().map(|lap| lap.begun).min().unwrap_or_else(Instant::now);
    let ended = laps.iter().map(|lap| lap.ended).max().unwrap_or(begun);
    let mut latency = Latency::default();
    for lap in &laps {
        latency.merge(&lap.latency);
    }
    Ok(Outcome {
        steps: laps.iter().map(|lap| lap.steps).collect(),
        timed: laps.iter().map(|lap| lap.timed).sum(),
        wall: ended - begun,
        latency,
    })
}

fn one_lap<M: Mover>(
    mover: &mut M,
    times: Times,
    ticker: &Ticker,
    barrier: &Barrier,
    has_failed: &AtomicBool,
) -> Result<Lap, String> {
    // Others wait below for this thread, whatever becomes of it here.
    let warm = catch_unwind(AssertUnwindSafe(|| warm_up(mover, times.warm_up)));
    let warm = warm.unwrap_or_else(|_| Err("a measuring thread panicked".to_owned()));
    barrier.wait();
    barrier.wait();
    let mut steps = warm?;
    let before = steps;
    let mut latency = Latency::default();
    let begun = Instant::now();
    let mut now = begun;
    loop {
        mover.step(steps)?;
        let done = Instant::now();
        latency.record(done - now);
        mover.settle()?;
        steps += 1;
        now = Instant::now();
        let timed = steps - before;
        if now - begun >= times.run && timed >= LEAST_STEPS {
            break;
        }
        if timed % REPORT_EVERY == 0 {
            ticker.0.fetch_add(REPORT_EVERY, Ordering::Relaxed);
            if has_failed.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    Ok(Lap { steps, timed: steps - before, begun, ended: now, latency })
}

fn warm_up<M: Mover>(mover: &mut M, time: Duration) -> Result<u64, String> {
    let begun = Instant::now();
    let mut steps = 0;
    while steps == 0 || begun.elapsed() < time {
        mover.step(steps)?;
        mover.settle()?;
        steps += 1;
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting {
        next: u64,
        fail_at: u64,
    }

    struct Panicking;

    impl Mover for Panicking {
        fn step(&mut self, _: u64) -> Result<(), String> {
            panic!("expected by a test")
        }
    }

    impl Mover for Counting {
        fn step(&mut self, step: u64) -> Result<(), String> {
            assert_eq!(step, self.next, "steps follow each other, through warming up and timing");
            self.next += 1;
            if step == self.fail_at { Err("broken".to_owned()) } else { Ok(()) }
        }
    }

    const TIMES: Times = Times { warm_up: Duration::from_millis(1), run: Duration::from_millis(2) };

    #[test]
    fn every_thread_is_warm_before_any_is_timed() {
        let movers = (0..3).map(|_| Counting { next: 0, fail_at: u64::MAX }).collect();
        let mut marks = 0;
        let outcome = drive(movers, TIMES, &Ticker::default(), || {
            marks += 1;
            Ok(())
        });
        let outcome = outcome.expect("a run");
        assert_eq!((marks, outcome.steps.len()), (1, 3));
        assert!(outcome.timed >= 9 && outcome.timed < outcome.steps.iter().sum());
    }

    #[test]
    fn a_failure_ends_the_run_whenever_it_comes() {
        for fail_at in [0, 10_000] {
            let movers = vec![Counting { next: 0, fail_at }, Counting { next: 0, fail_at: u64::MAX }];
            let times = Times { warm_up: Duration::from_millis(1), run: Duration::from_secs(3600) };
            let error = drive(movers, times, &Ticker::default(), || Ok(())).err();
            assert_eq!(error.as_deref(), Some("broken"));
        }
    }

    #[test]
    fn a_panic_ends_the_run_and_not_the_program() {
        let error = drive(vec![Panicking, Panicking], TIMES, &Ticker::default(), || Ok(())).err();
        assert_eq!(error.as_deref(), Some("a measuring thread panicked"));
    }
}
