//! Instances that decode: each makes one token at a time for all requests in its batch.
//!
//! A step takes as long as the cost says for the batch. Between two changes of a batch all its requests advance alike,
//! so what is counted is the tokens that a request present from the beginning would have by now; a request leaves
//! when that number is its own. Contexts count with half of their output throughout. Who finds no room for its cache
//! waits, in order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use mooncake::conductor::cost::Cost;

use super::super::gaps::Gaps;
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

/// One of the batch.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    /// The number of tokens (or, if that is given, the time) at which it leaves.
    leaves: Instant,
    request: u64,
    tokens: u64,
    /// From where on gaps are its own, and how long it waited before the first.
    since: usize,
    waited: Instant,
}

/// One that is done.
#[derive(PartialEq, Debug)]
pub struct Left {
    pub request: u64,
    /// Seconds between its tokens: of the longest tenth of its gaps.
    pub gap: f64,
}

pub struct Decoder {
    cost: Cost,
    /// When `made` was so many tokens.
    at: f64,
    made: f64,
    batch: BinaryHeap<Reverse<Member>>,
    tokens: u64,
    /// With the time since when.
    waiting: VecDeque<(Joining, f64)>,
    gaps: Gaps,
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
            gaps: Gaps::default(),
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
        let waiting: u64 = self.waiting.iter().map(|(waits, _)| waits.tokens).sum();
        let memory = (self.tokens + waiting) as f64 / self.cost.kv_tokens as f64;
        memory.max(self.tbt() / tbt_limit)
    }

    pub fn join(&mut self, joining: Joining, now: f64) {
        self.pass(now);
        self.waiting.push_back((joining, now));
        self.admit();
    }

    /// When the next one leaves, if nobody comes before that.
    pub fn next_leave(&self) -> Option<f64> {
        let mark = self.batch.peek()?.0.leaves.0;
        Some(if self.timed { mark } else { self.at + (mark - self.made).max(0.0) * self.tbt() })
    }

    /// The one that leaves at `now`, which is what `next_leave` said.
    pub fn leave(&mut self, now: f64) -> Option<Left> {
        self.pass(now);
        let Reverse(member) = self.batch.pop()?;
        if !self.timed {
            self.made = member.leaves.0;
        }
        self.tokens -= member.tokens;
        let gap = self.gaps.longest_tenth(member.since, member.waited.0);
        if self.gaps.has_many() {
            let oldest = self.batch.iter().map(|Reverse(member)| member.since).min();
            self.gaps.forget(oldest.unwrap_or(self.gaps.mark()));
        }
        self.admit();
        Some(Left { request: member.request, gap })
    }

    fn admit(&mut self) {
        self.version += 1;
        while let Some((next, since)) = self.waiting.front().copied() {
            // One alone always has room.
            if self.tokens + next.tokens > self.cost.kv_tokens && !self.batch.is_empty() {
                return;
            }
            self.waiting.pop_front();
            self.timed = next.seconds.is_some();
            let leaves =
                next.seconds.map_or(self.made + next.output.max(1) as f64, |seconds| self.at + seconds);
            self.batch.push(Reverse(Member {
                leaves: Instant(leaves),
                request: next.request,
                tokens: next.tokens,
                since: self.gaps.mark(),
                waited: Instant(self.at - since),
            }));
            self.tokens += next.tokens;
        }
    }

    fn pass(&mut self, now: f64) {
        if !self.batch.is_empty() {
            let tbt = self.tbt();
            let count = (now - self.at).max(0.0) / tbt;
            self.gaps.add(tbt, count);
            self.made += count;
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
        assert_eq!(decoder.leave(16.0), Some(Left { request: 1, gap: 2.0 }));
        assert_eq!(decoder.next_leave(), Some(20.0));
        assert_eq!((decoder.leave(20.0), decoder.next_leave()), (Some(Left { request: 2, gap: 2.0 }), None));
    }

    #[test]
    fn who_finds_no_room_waits_for_it() {
        let mut decoder = decoder();
        decoder.join(joining(1, 60, 10), 0.0);
        decoder.join(joining(2, 60, 10), 1.0);
        assert!(decoder.load(10.0) > 1.19);
        let first = Left { request: 1, gap: 1.0 };
        assert_eq!((decoder.next_leave(), decoder.leave(10.0)), (Some(10.0), Some(first)));
        assert_eq!(decoder.next_leave(), Some(20.0));
        let second = Left { request: 2, gap: 10.0 };
        assert_eq!(decoder.leave(20.0), Some(second), "it stood still for nine seconds");
    }
}
