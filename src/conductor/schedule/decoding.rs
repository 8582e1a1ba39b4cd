//! What decodes at an instance, now and as it is foreseen.
//!
//! A request that was decided will begin to decode when its prefill ends, and stop some time after that. What is
//! foreseen is a sum over time slots of those who come less those who go; who is late in going is taken to be gone,
//! as the paper does. What is there now is counted apart, by feedback alone.

use crate::conductor::cost::Cost;

/// Slots of time that are foreseen; what lies behind them is put into the last one.
const SLOTS: usize = 256;
/// Slots of a block, whose sum and peak are kept.
const BLOCK: usize = 16;
const BLOCKS: usize = SLOTS / BLOCK;

/// When a request decodes, in slots since the beginning of the clock, and its context.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stay {
    pub from: i64,
    pub to: i64,
    pub tokens: i64,
}

impl Stay {
    /// Nowhere.
    pub const NONE: Stay = Stay { from: 0, to: 0, tokens: 0 };
}

/// Requests that decode together, and the tokens of their contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub requests: i64,
    pub tokens: i64,
}

impl Batch {
    fn add(&mut self, requests: i64, tokens: i64) {
        self.requests += requests;
        self.tokens += tokens;
    }

    /// With one more.
    pub fn with(self, tokens: i64) -> Batch {
        Batch { requests: self.requests + 1, tokens: self.tokens + tokens }
    }

    /// Seconds between two tokens. Nothing is less than empty, whatever was reported.
    pub fn tbt(self, cost: &Cost) -> f64 {
        cost.decode.seconds(self.requests.max(0) as f64, self.tokens.max(0) as f64)
    }

    /// Of the memory for caches.
    pub fn memory(self, cost: &Cost) -> f64 {
        self.tokens.max(0) as f64 / cost.kv_tokens as f64
    }
}

/// How a number changes from slot to slot, as a ring.
#[derive(Debug)]
struct Changes {
    slots: Box<[i64; SLOTS]>,
    /// By block the sum of its changes, and the highest sum of some of them from its first on.
    sums: [i64; BLOCKS],
    peaks: [i64; BLOCKS],
}

impl Changes {
    fn new() -> Changes {
        Changes { slots: Box::new([0; SLOTS]), sums: [0; BLOCKS], peaks: [0; BLOCKS] }
    }

    fn add(&mut self, index: usize, change: i64) {
        self.slots[index] += change;
        let block = index / BLOCK;
        let (mut sum, mut peak) = (0, i64::MIN);
        for change in &self.slots[block * BLOCK..][..BLOCK] {
            sum += change;
            peak = peak.max(sum);
        }
        (self.sums[block], self.peaks[block]) = (sum, peak);
    }

    fn take(&mut self, index: usize) -> i64 {
        let change = self.slots[index];
        if change != 0 {
            self.add(index, -change);
        }
        change
    }

    /// After the first `ahead` changes from `start` on, and the highest from there to the end of the ring.
    fn look(&self, start: usize, ahead: usize) -> (i64, i64) {
        let (mut sum, mut at) = (0, 0);
        while at < ahead {
            let index = (start + at) % SLOTS;
            if index.is_multiple_of(BLOCK) && ahead - at >= BLOCK {
                sum += self.sums[index / BLOCK];
                at += BLOCK;
            } else {
                sum += self.slots[index];
                at += 1;
            }
        }
        let (here, mut peak) = (sum, sum);
        while at < SLOTS - 1 {
            let index = (start + at) % SLOTS;
            if index.is_multiple_of(BLOCK) && SLOTS - 1 - at >= BLOCK {
                peak = peak.max(sum + self.peaks[index / BLOCK]);
                sum += self.sums[index / BLOCK];
                at += BLOCK;
            } else {
                sum += self.slots[index];
                peak = peak.max(sum);
                at += 1;
            }
        }
        (here, peak)
    }
}

#[derive(Debug)]
pub struct Decoding {
    /// Seconds of a slot.
    width: f64,
    now: Batch,
    /// What the instance said it has beyond what is known here.
    others: Batch,
    /// What is foreseen for the slot `at`, and how it changes in those after it.
    at: i64,
    base: Batch,
    requests: Changes,
    tokens: Changes,
    /// Observed times between tokens by predicted ones, lately.
    pub pace: f64,
}

impl Decoding {
    /// `horizon` is how many seconds are foreseen.
    pub fn new(horizon: f64, now: f64) -> Decoding {
        let width = horizon / SLOTS as f64;
        Decoding {
            width,
            now: Batch::default(),
            others: Batch::default(),
            at: slot(now, width),
            base: Batch::default(),
            requests: Changes::new(),
            tokens: Changes::new(),
            pace: 1.0,
        }
    }

    /// The slots of a stay.
    pub fn stay(&self, from: f64, seconds: f64, tokens: u64) -> Stay {
        let first = slot(from, self.width);
        Stay { from: first, to: slot(from + seconds, self.width).max(first + 1), tokens: bounded(tokens) }
    }

    /// Foresees a stay.
    pub fn expect(&mut self, stay: &Stay) {
        self.change(stay.from, 1, stay.tokens);
        self.change(stay.to, -1, -stay.tokens);
    }

    /// Takes back what was foreseen.
    pub fn forget(&mut self, stay: &Stay) {
        self.change(stay.from, -1, -stay.tokens);
        self.change(stay.to, 1, stay.tokens);
    }

    /// A request begins to decode, or ends.
    pub fn enter(&mut self, tokens: i64) {
        self.now.add(1, tokens);
    }

    pub fn leave(&mut self, tokens: i64) {
        self.now.add(-1, -tokens);
    }

    /// The instance says what it has.
    pub fn report(&mut self, requests: u32, tokens: u64) {
        self.others.requests = (i64::from(requests) - self.now.requests).max(0);
        self.others.tokens = (bounded(tokens) - self.now.tokens).max(0);
    }

    /// What decodes now.
    pub fn now(&self) -> Batch {
        self.with_others(self.now)
    }

    /// What will decode at a time that is not before those of earlier calls, and the most from then on: whoever was
    /// decided before comes later than that, perhaps, and counts on its place.
    pub fn foreseen(&self, at: f64) -> (Batch, Batch) {
        let ahead = (slot(at, self.width) - self.at).clamp(0, SLOTS as i64 - 1) as usize;
        let start = (self.at + 1).rem_euclid(SLOTS as i64) as usize;
        let (requests, most_requests) = self.requests.look(start, ahead);
        let (tokens, most_tokens) = self.tokens.look(start, ahead);
        let batch = |requests, tokens| {
            self.with_others(Batch {
                requests: self.base.requests + requests,
                tokens: self.base.tokens + tokens,
            })
        };
        (batch(requests, tokens), batch(most_requests, most_tokens))
    }

    /// Time goes on: what changed in slots that are over is what is.
    pub fn pass(&mut self, now: f64) {
        let to = slot(now, self.width);
        if to - self.at >= SLOTS as i64 {
            self.at = to - SLOTS as i64;
        }
        while self.at < to {
            self.at += 1;
            let index = self.at.rem_euclid(SLOTS as i64) as usize;
            self.base.add(self.requests.take(index), self.tokens.take(index));
        }
    }

    fn change(&mut self, slot: i64, requests: i64, tokens: i64) {
        if slot <= self.at {
            return self.base.add(requests, tokens);
        }
        let slot = slot.min(self.at + SLOTS as i64 - 1);
        let index = slot.rem_euclid(SLOTS as i64) as usize;
        self.requests.add(index, requests);
        self.tokens.add(index, tokens);
    }

    fn with_others(&self, own: Batch) -> Batch {
        Batch {
            requests: own.requests + self.others.requests,
            tokens: own.tokens.saturating_add(self.others.tokens),
        }
    }
}

/// So few that the sum over all requests is a number.
pub fn bounded(tokens: u64) -> i64 {
    tokens.min(1 << 40) as i64
}

/// The clock is finite and a slot has a width. Far ones are as good as never, and can be counted on from.
fn slot(at: f64, width: f64) -> i64 {
    (at / width).floor().clamp(-1e17, 1e17) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn those_who_come_count_from_then_and_those_who_go_no_longer() {
        let mut decoding = Decoding::new(256.0, 0.0);
        let (early, late) = (decoding.stay(2.0, 10.0, 100), decoding.stay(5.0, 100.0, 1000));
        decoding.expect(&early);
        decoding.expect(&late);
        let at = |decoding: &Decoding, at| (decoding.foreseen(at).0.requests, decoding.foreseen(at).0.tokens);
        for round in 0..2 {
            assert_eq!(at(&decoding, 11.0), (2, 1100), "{round}");
            assert_eq!(at(&decoding, 12.0), (1, 1000), "{round}");
            assert_eq!(at(&decoding, 105.0), (0, 0), "{round}");
            decoding.pass(10.0);
        }
        assert_eq!(decoding.now(), Batch::default(), "what is foreseen has not come");
        decoding.forget(&early);
        assert_eq!((at(&decoding, 10.0), at(&decoding, 50.0)), ((1, 1000), (1, 1000)));
        decoding.pass(1e6);
        assert_eq!(at(&decoding, 1e6), (0, 0));
    }

    #[test]
    fn what_the_instance_has_from_others_counts_now_and_later() {
        let mut decoding = Decoding::new(60.0, 0.0);
        decoding.enter(50);
        decoding.report(3, 250);
        assert_eq!(decoding.now(), Batch { requests: 3, tokens: 250 });
        assert_eq!(decoding.foreseen(30.0).0, Batch { requests: 2, tokens: 200 });
        decoding.leave(50);
        decoding.report(0, 0);
        assert_eq!(decoding.now(), Batch::default());
    }

    proptest! {
        #[test]
        fn what_is_foreseen_is_a_sum_over_stays(
            steps in proptest::collection::vec((0.0f64..20.0, 0.0f64..40.0, 0u64..1000, any::<bool>(), 0.0f64..3.0), 1..60),
            ahead in 0.0f64..60.0,
        ) {
            // Slots of a quarter: none of these stays lies behind what is foreseen.
            let (mut decoding, mut now, mut stays) = (Decoding::new(64.0, 0.0), 0.0, Vec::new());
            for (from, seconds, tokens, withdraw, passed) in steps {
                now += passed;
                decoding.pass(now);
                let stay = decoding.stay(now + from, seconds, tokens);
                decoding.expect(&stay);
                stays.push(stay);
                if withdraw {
                    decoding.forget(&stays.swap_remove(tokens as usize % stays.len()));
                }
            }
            let at = slot(now + ahead, 0.25);
            let batch = |at: i64| {
                let there = stays.iter().filter(|stay| stay.from <= at && at < stay.to);
                there.fold(Batch::default(), |sum, stay| sum.with(stay.tokens))
            };
            let after: Vec<Batch> = (at..at + 300).map(batch).collect();
            let most = Batch {
                requests: after.iter().map(|batch| batch.requests).max().expect("it is not empty"),
                tokens: after.iter().map(|batch| batch.tokens).max().expect("it is not empty"),
            };
            prop_assert_eq!(decoding.foreseen(now + ahead), (batch(at), most));
        }
    }
}
