//! What decodes at an instance, now and as it is foreseen.
//!
//! A request that was decided will begin to decode when its prefill ends, and stop some time after that. What is
//! foreseen is a sum over time slots of those who come less those who go; who is late in going is taken to be gone,
//! as the paper does. What is there now is counted apart, by feedback alone.

use std::ops::Range;

use crate::conductor::cost::Cost;

/// Slots of time that are foreseen, that of the moment included; what lies behind them is put into the last one.
const SLOTS: usize = 256;
/// Slots of a block, whose peak is kept.
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

    pub fn memory(self, cost: &Cost) -> f64 {
        memory(self.tokens, cost)
    }
}

/// How much of the memory for caches so many tokens take.
pub fn memory(tokens: i64, cost: &Cost) -> f64 {
    tokens.max(0) as f64 / cost.kv_tokens as f64
}

/// What is foreseen, slot by slot, as a ring.
#[derive(Debug)]
struct Foreseen {
    requests: [i64; SLOTS],
    /// Whole numbers below 2^53, which are exact: every processor quickly finds the most of such.
    tokens: [f64; SLOTS],
    /// By block the most tokens.
    peaks: [f64; BLOCKS],
}

impl Foreseen {
    fn new() -> Box<Foreseen> {
        Box::new(Foreseen { requests: [0; SLOTS], tokens: [0.0; SLOTS], peaks: [0.0; BLOCKS] })
    }

    /// Adds to slots that lie side by side.
    fn add(&mut self, slots: Range<usize>, requests: i64, tokens: f64) {
        if slots.is_empty() {
            return;
        }
        self.requests[slots.clone()].iter_mut().for_each(|own| *own += requests);
        self.tokens[slots.clone()].iter_mut().for_each(|own| *own += tokens);
        for block in slots.start / BLOCK..slots.end.div_ceil(BLOCK) {
            self.peaks[block] = most(&self.tokens[block * BLOCK..][..BLOCK]);
        }
    }

    /// The most tokens in slots that lie side by side.
    fn peak(&self, slots: Range<usize>) -> f64 {
        let (first, last) = (slots.start.div_ceil(BLOCK), slots.end / BLOCK);
        if first > last {
            return most(&self.tokens[slots]);
        }
        let whole = most(&self.peaks[first..last]);
        let (before, after) = (slots.start..first * BLOCK, last * BLOCK..slots.end);
        whole.max(most(&self.tokens[before])).max(most(&self.tokens[after]))
    }
}

/// Four at a time: each waits for the one before it.
fn most(numbers: &[f64]) -> f64 {
    let more = |most: f64, number: f64| if number > most { number } else { most };
    let (fours, rest) = numbers.as_chunks::<4>();
    let by_four = fours.iter().fold([f64::NEG_INFINITY; 4], |most, four| {
        std::array::from_fn(|index| more(most[index], four[index]))
    });
    by_four.iter().chain(rest).fold(f64::NEG_INFINITY, |most, number| more(most, *number))
}

#[derive(Debug)]
pub struct Decoding {
    /// Seconds of a slot.
    width: f64,
    now: Batch,
    /// What the instance said it has beyond what is known here.
    others: Batch,
    /// The slot of the moment, with which what is foreseen begins.
    at: i64,
    foreseen: Box<Foreseen>,
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
            foreseen: Foreseen::new(),
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
        self.add(stay, 1, stay.tokens);
    }

    /// Takes back what was foreseen.
    pub fn forget(&mut self, stay: &Stay) {
        self.add(stay, -1, -stay.tokens);
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

    /// What will decode at a time that is not before those of earlier calls, and the most tokens from then on: whoever
    /// was decided before comes later than that, perhaps, and counts on its place.
    pub fn foreseen(&self, at: f64) -> (Batch, i64) {
        let first = self.within(slot(at, self.width));
        let foreseen = &self.foreseen;
        let [near, far] = self.ring(first, self.end());
        let peak = if far.is_empty() { f64::NEG_INFINITY } else { foreseen.peak(far) };
        let (requests, tokens) = (foreseen.requests[near.start], foreseen.tokens[near.start] as i64);
        let batch = Batch { requests, tokens };
        let most = Batch { requests: 0, tokens: foreseen.peak(near).max(peak) as i64 };
        (self.with_others(batch), self.with_others(most).tokens)
    }

    /// Time goes on. Nothing is known of the slots that come at the end but what holds before them.
    pub fn pass(&mut self, now: f64) {
        let to = slot(now, self.width);
        if to <= self.at {
            return;
        }
        let last = index(self.end() - 1);
        let (requests, tokens) = (self.foreseen.requests[last], self.foreseen.tokens[last]);
        // All slots are new if as many passed.
        let over = self.at.max(to - SLOTS as i64);
        for slot in over..to {
            let own = index(slot);
            let (had_requests, had_tokens) = (self.foreseen.requests[own], self.foreseen.tokens[own]);
            self.foreseen.add(own..own + 1, requests - had_requests, tokens - had_tokens);
        }
        self.at = to;
    }

    fn add(&mut self, stay: &Stay, requests: i64, tokens: i64) {
        // Who comes later than what is foreseen is not; who goes later goes with its last slot.
        for slots in self.ring(self.within(stay.from), self.within(stay.to)) {
            self.foreseen.add(slots, requests, tokens as f64);
        }
    }

    /// The end of what is foreseen.
    fn end(&self) -> i64 {
        self.at + SLOTS as i64
    }

    fn within(&self, slot: i64) -> i64 {
        slot.clamp(self.at, self.end() - 1)
    }

    /// Where in the ring these slots are.
    fn ring(&self, from: i64, to: i64) -> [Range<usize>; 2] {
        let (first, count) = (index(from), (to - from).max(0) as usize);
        let near = count.min(SLOTS - first);
        [first..first + near, 0..count - near]
    }

    fn with_others(&self, own: Batch) -> Batch {
        Batch {
            requests: own.requests + self.others.requests,
            tokens: own.tokens.saturating_add(self.others.tokens),
        }
    }
}

/// So few that the sum over a million requests is below 2^53.
pub fn bounded(tokens: u64) -> i64 {
    tokens.min(1 << 32) as i64
}

fn index(slot: i64) -> usize {
    slot.rem_euclid(SLOTS as i64) as usize
}

/// The clock is finite and a slot has a width. Far ones are as good as never, and can be counted on from.
fn slot(at: f64, width: f64) -> i64 {
    let slots = (at / width).clamp(-1e17, 1e17);
    let whole = slots as i64;
    // As `floor` would, which is a call.
    whole - i64::from(whole as f64 > slots)
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
            let most = (at..at + 300).map(|at| batch(at).tokens).max().expect("it is not empty");
            prop_assert_eq!(decoding.foreseen(now + ahead), (batch(at), most));
        }
    }
}
