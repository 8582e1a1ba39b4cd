//! An instance that prefills and decodes, step by step: what a token of one request waits for is the work of others.
//!
//! Prompts are prefilled in the order in which they came. Either whole and before anything else, while those who decode
//! stand still; or in chunks, each together with a token of everyone who decodes. A prompt begins when its whole context
//! has room.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use mooncake::conductor::cost::Cost;

use super::super::gaps::Gaps;

#[derive(Clone, Copy)]
pub struct Prompt {
    /// The caller's name for it.
    pub request: u64,
    pub tokens: u64,
    /// Of these, those at the beginning that need not be computed; fewer than all.
    pub cached: u64,
    pub output: u64,
    /// What computing takes, by what the cost says.
    pub pace: f64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event {
    FirstToken {
        request: u64,
    },
    /// With the mean of the longest tenth of its gaps.
    Finished {
        request: u64,
        gap: f64,
    },
}

/// One that decodes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    /// The number of steps after which it has all its tokens.
    leaves: u64,
    request: u64,
    tokens: u64,
    /// From where on gaps are its own, and nanoseconds of the first one that were over when it came.
    since: usize,
    spared: u64,
}

pub struct Machine {
    cost: Cost,
    /// Tokens of a step's prefill; none prefills whole prompts.
    chunk: Option<u64>,
    at: f64,
    waiting: VecDeque<Prompt>,
    /// The one whose chunks are being prefilled, and its tokens so far.
    current: Option<(Prompt, u64)>,
    batch: BinaryHeap<Reverse<Member>>,
    /// Of the contexts of all that have room.
    tokens: u64,
    steps: u64,
    /// Seconds since the last token of those who decode.
    stalled: f64,
    gaps: Gaps,
    /// What happened and was not asked for yet, in order.
    events: VecDeque<(f64, Event)>,
}

impl Machine {
    pub fn new(cost: Cost, chunk: Option<u64>) -> Machine {
        Machine {
            cost,
            chunk,
            at: 0.0,
            waiting: VecDeque::new(),
            current: None,
            batch: BinaryHeap::new(),
            tokens: 0,
            steps: 0,
            stalled: 0.0,
            gaps: Gaps::default(),
            events: VecDeque::new(),
        }
    }

    pub fn push(&mut self, prompt: Prompt) {
        self.waiting.push_back(prompt);
    }

    /// The next that happens until then.
    pub fn next(&mut self, until: f64) -> Option<(f64, Event)> {
        while self.events.is_empty() && self.at < until && !self.is_idle() {
            self.work(until);
        }
        if self.is_idle() && self.events.is_empty() {
            self.at = self.at.max(if until.is_finite() { until } else { self.at });
        }
        if self.events.front()?.0 <= until { self.events.pop_front() } else { None }
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.current.is_none() && self.batch.is_empty()
    }

    /// One prompt, one chunk, or some tokens of everyone.
    fn work(&mut self, until: f64) {
        match self.chunk {
            Some(chunk) => self.mixed_step(chunk, until),
            None => match self.take() {
                Some(prompt) => {
                    let seconds = prompt.pace * self.cost.prefill.seconds(prompt.tokens, prompt.cached);
                    self.at += seconds;
                    self.stalled += seconds;
                    self.join(&prompt);
                }
                None => self.decode(until),
            },
        }
    }

    /// The next prompt, if it has room. One alone always has.
    fn take(&mut self) -> Option<Prompt> {
        let tokens = context(self.waiting.front()?);
        if self.tokens + tokens > self.cost.kv_tokens && self.tokens > 0 {
            return None;
        }
        self.tokens += tokens;
        self.waiting.pop_front()
    }

    fn step_seconds(&self) -> f64 {
        self.cost.decode.seconds(self.batch.len() as f64, self.tokens as f64)
    }

    /// Tokens for all until somebody leaves, or until then.
    fn decode(&mut self, until: f64) {
        let Some(first) = self.batch.peek().map(|Reverse(member)| member.leaves) else { return };
        let step = self.step_seconds();
        let steps = ((until - self.at) / step).ceil().max(1.0);
        // What is no whole number of this size is more than are left.
        let steps = (steps as u64).min(first - self.steps);
        self.gaps.add(self.stalled + step, 1.0);
        self.gaps.add(step, (steps - 1) as f64);
        self.pass(steps, steps as f64 * step);
    }

    /// A chunk of prompts, and a token for everyone who decodes. Weights are read once, while the chunk is computed.
    fn mixed_step(&mut self, chunk: u64, until: f64) {
        let mut room = chunk.saturating_sub(self.batch.len() as u64).max(1);
        let mut compute = 0.0;
        let mut done = Vec::new();
        while room > 0 {
            let Some((prompt, from)) =
                self.current.take().or_else(|| self.take().map(|next| (next, next.cached)))
            else {
                break;
            };
            let to = prompt.tokens.min(from + room);
            room -= to - from;
            compute += prompt.pace * self.cost.prefill.seconds(to, from);
            if to < prompt.tokens {
                self.current = Some((prompt, to));
            } else {
                done.push(prompt);
            }
        }
        if compute == 0.0 {
            return self.decode(until);
        }
        let seconds = self.step_seconds() - self.cost.decode.fixed + compute.max(self.cost.decode.fixed);
        if self.batch.is_empty() {
            self.at += seconds;
        } else {
            self.gaps.add(seconds, 1.0);
            self.pass(1, seconds);
        }
        done.iter().for_each(|prompt| self.join(prompt));
    }

    /// So many tokens later.
    fn pass(&mut self, steps: u64, seconds: f64) {
        self.at += seconds;
        self.steps += steps;
        self.stalled = 0.0;
        while self.batch.peek().is_some_and(|Reverse(member)| member.leaves <= self.steps) {
            let Some(Reverse(member)) = self.batch.pop() else { return };
            self.tokens -= member.tokens;
            let gap = self.gaps.longest_tenth(member.since, -(member.spared as f64) / 1e9);
            self.events.push_back((self.at, Event::Finished { request: member.request, gap }));
        }
        if self.gaps.has_many() {
            let oldest = self.batch.iter().map(|Reverse(member)| member.since).min();
            self.gaps.forget(oldest.unwrap_or(self.gaps.mark()));
        }
    }

    /// Its first token is there.
    fn join(&mut self, prompt: &Prompt) {
        self.events.push_back((self.at, Event::FirstToken { request: prompt.request }));
        if prompt.output <= 1 {
            self.tokens -= context(prompt);
            self.events.push_back((self.at, Event::Finished { request: prompt.request, gap: 0.0 }));
            return;
        }
        // Whoever decodes alone has not stood still.
        if self.batch.is_empty() {
            self.stalled = 0.0;
        }
        self.batch.push(Reverse(Member {
            leaves: self.steps + prompt.output - 1,
            request: prompt.request,
            tokens: context(prompt),
            since: self.gaps.mark(),
            spared: (self.stalled * 1e9) as u64,
        }));
    }
}

/// On average a context has half of its output.
fn context(prompt: &Prompt) -> u64 {
    prompt.tokens + prompt.output / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use mooncake::conductor::cost::{Decode, Machine as Hardware, Model, Prefill};

    /// A second for each token of a prompt, and for each request of a step.
    fn machine(chunk: Option<u64>, kv_tokens: u64) -> Machine {
        let prefill = Prefill { fixed: 0.0, linear: 1.0, quadratic: 0.0 };
        let decode = Decode { fixed: 0.0, per_request: 1.0, per_token: 0.0 };
        let cost = Cost::of(&Model::LLAMA3_70B, &Hardware::A800);
        Machine::new(Cost { prefill, decode, kv_tokens, ..cost }, chunk)
    }

    fn prompt(request: u64, tokens: u64, output: u64) -> Prompt {
        Prompt { request, tokens, cached: 0, output, pace: 1.0 }
    }

    fn all(machine: &mut Machine, until: f64) -> Vec<(f64, Event)> {
        std::iter::from_fn(|| machine.next(until)).collect()
    }

    #[test]
    fn a_whole_prompt_lets_the_others_stand_still() {
        let mut machine = machine(None, 1000);
        machine.push(prompt(1, 4, 11));
        assert_eq!(all(&mut machine, 6.5), [(4.0, Event::FirstToken { request: 1 })]);
        machine.push(prompt(2, 20, 2));
        // The step that was under way ends at 7; then the prompt; then two tokens at once, and seven more.
        let events = [
            (27.0, Event::FirstToken { request: 2 }),
            (29.0, Event::Finished { request: 2, gap: 2.0 }),
            (35.0, Event::Finished { request: 1, gap: 22.0 }),
        ];
        assert_eq!(all(&mut machine, f64::INFINITY), events);
        machine.push(prompt(3, 1, 1));
        assert_eq!(all(&mut machine, 50.0).len(), 2);
    }

    #[test]
    fn chunks_let_everyone_go_on_more_slowly() {
        let mut machine = machine(Some(6), 1000);
        machine.push(prompt(1, 4, 11));
        assert_eq!(all(&mut machine, 6.5), [(4.0, Event::FirstToken { request: 1 })]);
        machine.push(prompt(2, 20, 2));
        // From 7 on four chunks of five, six seconds each with the token of the other.
        let events = [
            (31.0, Event::FirstToken { request: 2 }),
            (33.0, Event::Finished { request: 2, gap: 2.0 }),
            (35.0, Event::Finished { request: 1, gap: 6.0 }),
        ];
        assert_eq!(all(&mut machine, f64::INFINITY), events);
    }

    #[test]
    fn a_prompt_waits_until_it_has_room() {
        for chunk in [None, Some(10)] {
            let mut machine = machine(chunk, 20);
            machine.push(prompt(1, 10, 2));
            machine.push(prompt(2, 15, 2));
            let order: Vec<Event> = all(&mut machine, 100.0).iter().map(|event| event.1).collect();
            assert!(matches!(order[1], Event::Finished { request: 1, .. }), "{order:?}");
            assert_eq!(order.len(), 4);
        }
    }

    #[test]
    fn nothing_happens_before_it_is_asked_for() {
        let mut machine = machine(None, 1000);
        machine.push(prompt(1, 10, 3));
        assert_eq!(machine.next(9.0), None);
        assert_eq!(machine.next(10.0), Some((10.0, Event::FirstToken { request: 1 })));
        assert_eq!(machine.next(10.0), None);
        assert_eq!(machine.next(13.0), Some((12.0, Event::Finished { request: 1, gap: 1.0 })));
        machine.next(20.0);
        machine.push(prompt(2, 1, 1));
        assert_eq!(machine.next(30.0), Some((21.0, Event::FirstToken { request: 2 })));
    }
}
