//! Instances that decode: each makes one token at a time for all requests in its batch.
//!
//! A step takes as long as the cost says for the batch. Between two changes of a batch all its requests advance alike,
//! so what is counted is the tokens that a request present from the beginning would have by now; a request leaves
//! when that number is its own. Contexts count with half of their output throughout. Who finds no room for its cache
//! waits, in order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use mooncake::conductor::cost::Cost;

use super::world::Instant;

/// What decodes, or is to.
#[derive(Clone, Copy)]
pub struct Joining {
    /// The caller's name for it.
    pub request: u64,
    /// Tokens of the whole context, and of the output.
    pub tokens: u64,
    pub output: u64,
    /// Seconds that it stays, if that does not follow from the batch.
    pub seconds: Option<f64>,
}

pub struct Decoder {
    cost: Cost,
    /// When `made` was so many tokens.
    at: f64,
    made: f64,
    /// Requests by the number of tokens (or, if that is given, by the time) at which they leave.
    batch: BinaryHeap<Reverse<(Instant, u64, u64)>>,
    tokens: u64,
    waiting: VecDeque<Joining>,
    /// Changes with the batch: what was expected before is void.
    pub version: u64,
    timed: bool,
}

impl Decoder {
    pub fn new(cost: Cost) -> Decoder {
        Decoder {
            cost,
            at: 0.0,
            made: 0.0,
            batch: BinaryHeap::new(),
            tokens: 0,
            waiting: VecDeque::new(),
            version: 0,
            timed: false,
        }
    }

    /// Seconds between two tokens.
    pub fn tbt(&self) -> f64 {
        self.cost.decode.seconds(self.batch.len() as f64, self.tokens as f64)
    }

    /// 1 is as much as the memory holds and the time between tokens may be. Those that wait count.
    pub fn load(&self, tbt_limit: f64) -> f64 {
        let waiting: u64 = self.waiting.iter().map(|waits| waits.tokens).sum();
        let memory = (self.tokens + waiting) as f64 / self.cost.kv_tokens as f64;
        memory.max(self.tbt() / tbt_limit)
    }

    pub fn join(&mut self, joining: Joining, now: f64) {
        self.pass(now);
        self.waiting.push_back(joining);
        self.admit();
    }

    /// When the next one leaves, if nobody comes before that.
    pub fn next_leave(&self) -> Option<f64> {
        let Reverse((Instant(mark), ..)) = self.batch.peek()?;
        Some(if self.timed { *mark } else { self.at + (mark - self.made).max(0.0) * self.tbt() })
    }

    /// The one that leaves at `now`, which is what `next_leave` said.
    pub fn leave(&mut self, now: f64) -> Option<u64> {
        let Reverse((Instant(mark), request, tokens)) = self.batch.pop()?;
        self.pass(now);
        if !self.timed {
            self.made = mark;
        }
        self.tokens -= tokens;
        self.admit();
        Some(request)
    }

    fn admit(&mut self) {
        self.version += 1;
        while let Some(next) = self.waiting.front().copied() {
            // One alone always has room.
            if self.tokens + next.tokens > self.cost.kv_tokens && !self.batch.is_empty() {
                return;
            }
            self.waiting.pop_front();
            self.timed = next.seconds.is_some();
            let mark =
                next.seconds.map_or(self.made + next.output.max(1) as f64, |seconds| self.at + seconds);
            self.batch.push(Reverse((Instant(mark), next.request, next.tokens)));
            self.tokens += next.tokens;
        }
    }

    fn pass(&mut self, now: f64) {
        if !self.batch.is_empty() {
            self.made += (now - self.at).max(0.0) / self.tbt();
        }
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mooncake::conductor::cost::{Decode, Machine, Model};

    fn decoder() -> Decoder {
        let decode = Decode { fixed: 0.0, per_request: 1.0, per_token: 0.0 };
        Decoder::new(Cost { decode, kv_tokens: 100, ..Cost::of(&Model::LLAMA3_70B, &Machine::A800) })
    }

    fn joining(request: u64, tokens: u64, output: u64) -> Joining {
        Joining { request, tokens, output, seconds: None }
    }

    #[test]
    fn two_together_take_twice_as_long_each() {
        let mut decoder = decoder();
        decoder.join(joining(1, 10, 10), 0.0);
        assert_eq!(decoder.next_leave(), Some(10.0));
        decoder.join(joining(2, 10, 10), 4.0);
        // Six more tokens at two seconds each, then four at one.
        assert_eq!(decoder.next_leave(), Some(16.0));
        assert_eq!(decoder.leave(16.0), Some(1));
        assert_eq!(decoder.next_leave(), Some(20.0));
        assert_eq!((decoder.leave(20.0), decoder.next_leave()), (Some(2), None));
    }

    #[test]
    fn who_finds_no_room_waits_for_it() {
        let mut decoder = decoder();
        decoder.join(joining(1, 60, 10), 0.0);
        decoder.join(joining(2, 60, 10), 1.0);
        assert!(decoder.load(10.0) > 1.19);
        assert_eq!((decoder.next_leave(), decoder.leave(10.0)), (Some(10.0), Some(1)));
        assert_eq!(decoder.next_leave(), Some(20.0));
    }
}
