//! What decodes at an instance, now and as it is foreseen.
//!
//! A request that was decided will begin to decode when its prefill ends, and stop some time after that. What is
//! foreseen is a sum over time slots of those who come less those who go; who is late in going is taken to be gone,
//! as the paper does. What is there now is counted apart, by feedback alone.

use std::ops::Range;

use crate::conductor::cost::{Cost, Rates};

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

    pub fn memory(self, rates: &Rates) -> f64 {
        rates.memory(self.tokens)
    }
}

/// What is foreseen, slot by slot, as a ring.
#[derive(Debug)]
struct Foreseen {
    /// What there is of a moment lies side by side: a decision looks at one moment of every instance.
    slots: [Batch; SLOTS],
    /// By block the most tokens.
    peaks: [i64; BLOCKS],
}

impl Foreseen {
    fn new() -> Box<Foreseen> {
        Box::new(Foreseen { slots: [Batch::default(); SLOTS], peaks: [0; BLOCKS] })
    }

    /// Changes slots that lie side by side.
    fn change(&mut self, slots: Range<usize>, change: impl Fn(&mut Batch)) {
        self.slots[slots.clone()].iter_mut().for_each(change);
        for block in slots.start / BLOCK..slots.end.div_ceil(BLOCK) {
            self.peaks[block] = most(&self.slots[block * BLOCK..][..BLOCK]);
        }
    }

    /// The most tokens in slots that lie side by side; nothing if there are none.
    fn peak(&self, slots: Range<usize>) -> i64 {
        let (first, last) = (slots.start.div_ceil(BLOCK), slots.end / BLOCK);
        if first > last {
            return most(&self.slots[slots]);
        }
        let whole = self.peaks[first..last].iter().copied().max().unwrap_or(0);
        let (before, after) = (slots.start..first * BLOCK, last * BLOCK..slots.end);
        whole.max(most(&self.slots[before])).max(most(&self.slots[after]))
    }
}

fn most(slots: &[Batch]) -> i64 {
    slots.iter().map(|slot| slot.tokens).max().unwrap_or(0)
}

#[derive(Debug)]
pub struct Decoding {
    /// Seconds that are foreseen.
    horizon: f64,
    now: Batch,
    /// What the instance said it has beyond what is known here.
    others: Batch,
    /// With which slot what is foreseen begins: of the moment at which a stay was made last. Nothing is in the last one,
    /// nor in those behind it.
    at: i64,
    foreseen: Box<Foreseen>,
    /// Observed times between tokens by predicted ones, lately.
    pub pace: f64,
}

impl Decoding {
    pub fn new(horizon: f64, now: f64) -> Decoding {
        Decoding {
            horizon,
            now: Batch::default(),
            others: Batch::default(),
            at: slot(now, horizon),
            foreseen: Foreseen::new(),
            pace: 1.0,
        }
    }

    /// The slots of a stay. Who comes later than what is foreseen does not count; who goes later goes with its end: both
    /// for good, or more would be taken back than was added when time has gone on.
    pub fn stay(&mut self, now: f64, from: f64, seconds: f64, tokens: u64) -> Stay {
        self.pass(now);
        let first = slot(from, self.horizon);
        let last = slot(from + seconds, self.horizon).max(first + 1);
        Stay { from: self.within(first), to: self.within(last), tokens: bounded(tokens) }
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

    /// What will decode in a slot that is not before that of the moment.
    pub fn foreseen(&self, slot: i64) -> Batch {
        self.with_others(self.foreseen.slots[index(self.within(slot))])
    }

    /// The most tokens from that slot on: whoever was decided before comes later, perhaps, and counts on its place.
    pub fn peak(&self, slot: i64) -> i64 {
        let [near, far] = self.ring(self.within(slot), self.end());
        let tokens = self.foreseen.peak(near).max(self.foreseen.peak(far));
        self.with_others(Batch { requests: 0, tokens }).tokens
    }

    /// Time goes on, and nothing is known of the slots that come at the end.
    fn pass(&mut self, now: f64) {
        let to = slot(now, self.horizon);
        if to > self.at {
            // All slots are new if as many passed.
            for slots in self.ring(self.at.max(to - SLOTS as i64), to) {
                self.foreseen.change(slots, |slot| *slot = Batch::default());
            }
            self.at = to;
        }
    }

    fn add(&mut self, stay: &Stay, requests: i64, tokens: i64) {
        // What has passed is no longer there.
        for slots in self.ring(stay.from.max(self.at), stay.to) {
            self.foreseen.change(slots, |slot| slot.add(requests, tokens));
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
        Batch { requests: own.requests + self.others.requests, tokens: own.tokens + self.others.tokens }
    }
}

/// So few that the sum over a million requests is below 2^53.
pub fn bounded(tokens: u64) -> i64 {
    tokens.min(1 << 32) as i64
}

fn index(slot: i64) -> usize {
    slot.rem_euclid(SLOTS as i64) as usize
}

/// The slot of an instant, if `horizon` seconds are foreseen. The clock is finite and a slot has a width. Far ones are as
/// good as never, and can be counted on from.
pub fn slot(at: f64, horizon: f64) -> i64 {
    (at / (horizon / SLOTS as f64)).clamp(-1e17, 1e17).floor() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As many seconds as there are slots.
    const HORIZON: f64 = SLOTS as f64;

    fn at(decoding: &Decoding, at: f64) -> (i64, i64) {
        let there = decoding.foreseen(slot(at, decoding.horizon));
        (there.requests, there.tokens)
    }

    #[test]
    fn those_who_come_count_from_then_and_those_who_go_no_longer() {
        let mut decoding = Decoding::new(HORIZON, 0.0);
        let (early, late) = (decoding.stay(0.0, 2.0, 10.0, 100), decoding.stay(0.0, 5.0, 100.0, 1000));
        decoding.expect(&early);
        decoding.expect(&late);
        for now in [0.0, 10.0] {
            decoding.pass(now);
            assert_eq!(at(&decoding, 11.0), (2, 1100), "{now}");
            assert_eq!(at(&decoding, 12.0), (1, 1000), "{now}");
            assert_eq!(at(&decoding, 105.0), (0, 0), "{now}");
        }
        assert_eq!(decoding.now(), Batch::default(), "what is foreseen has not come");
        decoding.forget(&early);
        assert_eq!((at(&decoding, 10.0), at(&decoding, 50.0)), ((1, 1000), (1, 1000)));
        assert_eq!(at(&decoding, 1e6), (0, 0));
    }

    #[test]
    fn what_the_instance_has_from_others_counts_now_and_later() {
        let mut decoding = Decoding::new(HORIZON, 0.0);
        decoding.enter(50);
        decoding.report(3, 250);
        assert_eq!(decoding.now(), Batch { requests: 3, tokens: 250 });
        assert_eq!((at(&decoding, 30.0), decoding.peak(30)), ((2, 200), 200));
        decoding.leave(50);
        decoding.report(0, 0);
        assert_eq!(decoding.now(), Batch::default());
    }

    /// It went with the end of what was foreseen when it came. When it was taken back later, from slots that had come
    /// at the end since, less than nothing was foreseen there.
    #[test]
    fn a_stay_beyond_the_horizon_is_taken_back_from_where_it_was_added() {
        let mut decoding = Decoding::new(HORIZON, 0.0);
        let long = decoding.stay(0.0, 200.0, 100.0, 1000);
        decoding.expect(&long);
        let short = decoding.stay(50.0, 60.0, 10.0, 1);
        decoding.expect(&short);
        decoding.forget(&long);
        assert_eq!([65.0, 210.0, 260.0, 299.0].map(|then| at(&decoding, then).0), [1, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn what_is_foreseen_is_a_sum_over_stays(
            steps in proptest::collection::vec((0.0f64..80.0, 0.0f64..80.0, 0u64..1000, any::<bool>(), 0.0f64..3.0), 1..60),
            ahead in 0.0f64..60.0,
        ) {
            // Slots of a quarter: some of these stays lie behind what is foreseen, or reach there.
            let (mut decoding, mut now, mut stays) = (Decoding::new(HORIZON / 4.0, 0.0), 0.0, Vec::new());
            for (from, seconds, tokens, withdraw, passed) in steps {
                now += passed;
                let stay = decoding.stay(now, now + from, seconds, tokens);
                decoding.expect(&stay);
                stays.push(stay);
                if withdraw {
                    decoding.forget(&stays.swap_remove(tokens as usize % stays.len()));
                }
            }
            // Whether or not time went on since the last one came.
            now += ahead;
            let first = slot(now, decoding.horizon);
            let batch = |at: i64| {
                let there = stays.iter().filter(|stay| stay.from <= at && at < stay.to);
                there.fold(Batch::default(), |sum, stay| sum.with(stay.tokens))
            };
            let most = (first..first + 300).map(|at| batch(at).tokens).max().expect("it is not empty");
            prop_assert_eq!((decoding.foreseen(first), decoding.peak(first)), (batch(first), most));
            decoding.pass(now);
            prop_assert_eq!((decoding.foreseen(first), decoding.peak(first)), (batch(first), most));
        }
    }
}
