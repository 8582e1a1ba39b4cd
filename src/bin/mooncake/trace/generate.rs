//! Makes traces: sessions arrive, ask, and come back with a longer prefix.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Request;
use super::model::*;
use mooncake::sys::splitmix::Random;

use super::random::count;

/// A session between two turns.
struct Session {
    turns: usize,
    input: i64,
    output: i64,
    blocks: Vec<u64>,
}

/// An endless trace. How many come is given by the arrival process alone; sessions that are due come first, and new
/// ones make up the number.
pub struct Generator {
    random: Random,
    /// Thousandths of the published rate.
    rate_scale: u64,
    tick: u64,
    /// Requests still to come in this tick.
    arrivals: u64,
    next_block: u64,
    sessions: Vec<Option<Session>>,
    free: Vec<usize>,
    /// (time in milliseconds, place in `sessions`), earliest first.
    due: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Generator {
    pub fn new(seed: u64, rate_scale: u64) -> Self {
        let mut generator = Self {
            random: Random::new(seed),
            rate_scale,
            tick: 0,
            arrivals: 0,
            next_block: 1, // block 0 is the system prompt, which every request starts with
            sessions: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
        };
        generator.arrivals = generator.draw_arrivals();
        generator
    }

    fn now(&self) -> u64 {
        self.tick * TICK_MS
    }

    fn draw_arrivals(&mut self) -> u64 {
        let second = (self.now() / 1000).min(HOUR_SECONDS);
        let rate = RATE_AT_START + RATE_RISE * second / HOUR_SECONDS;
        count(&mut self.random, rate * self.rate_scale / 1000)
    }

    /// The session that speaks next, with the input of this turn.
    fn arrive(&mut self) -> Session {
        match self.due.peek() {
            Some(&Reverse((time, place))) if time <= self.now() => {
                self.due.pop();
                self.free.push(place);
                let session = self.sessions[place].take().expect("a place that is due holds its session");
                self.next_turn(session)
            }
            _ => self.first_turn(),
        }
    }

    fn first_turn(&mut self) -> Session {
        let input = FIRST_INPUT.draw(&mut self.random);
        let blocks = self.extend(vec![0], input);
        Session { turns: 1, input, output: OUTPUT.draw(&mut self.random), blocks }
    }

    fn next_turn(&mut self, last: Session) -> Session {
        let rewrite = REWRITES.iter().find(|(below, _)| last.blocks.len() < *below).map_or(0, |row| row.1);
        let (input, kept) = if self.random.happens(rewrite) {
            let input = last.input * REWRITE_LENGTH.draw(&mut self.random) / 1000;
            (input, REWRITE_KEEPS.draw(&mut self.random))
        } else {
            // A block that was not full at the end of the last turn is another block now.
            (last.input + last.output + QUESTION.draw(&mut self.random), last.input / BLOCK_TOKENS)
        };
        let input = input.clamp(INPUT_MIN, INPUT_MAX);
        let kept = kept.min(last.input / BLOCK_TOKENS).min(input / BLOCK_TOKENS).max(1);
        let mut blocks = last.blocks;
        blocks.truncate(usize::try_from(kept).expect("at least 1"));
        let blocks = self.extend(blocks, input);
        Session { turns: last.turns + 1, input, output: OUTPUT.draw(&mut self.random), blocks }
    }

    /// Adds new blocks until `input` tokens are covered.
    fn extend(&mut self, mut blocks: Vec<u64>, input: i64) -> Vec<u64> {
        let count = u64::try_from((input + BLOCK_TOKENS - 1) / BLOCK_TOKENS).expect("inputs are positive");
        let missing = count - blocks.len() as u64;
        blocks.extend(self.next_block..self.next_block + missing);
        self.next_block += missing;
        blocks
    }

    fn park(&mut self, session: Session) {
        let by_turns = RETURNS[(session.turns - 1).min(RETURNS.len() - 1)];
        let by_input = RETURNS_BY_INPUT.iter().find(|row| session.input < row.0).map_or(1000, |row| row.1);
        if !self.random.happens(by_turns * by_input / 1000) {
            return;
        }
        let after = u64::try_from(RETURN_AFTER_MS.draw(&mut self.random)).expect("a time is positive");
        let place = self.free.pop().unwrap_or_else(|| {
            self.sessions.push(None);
            self.sessions.len() - 1
        });
        self.due.push(Reverse((self.now() + after, place)));
        self.sessions[place] = Some(session);
    }
}

impl Iterator for Generator {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        while self.arrivals == 0 {
            self.tick += 1;
            self.arrivals = self.draw_arrivals();
        }
        self.arrivals -= 1;
        let session = self.arrive();
        let request = Request {
            timestamp: self.now(),
            input_length: session.input.unsigned_abs(),
            output_length: session.output.unsigned_abs(),
            hash_ids: session.blocks.clone(),
        };
        self.park(session);
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn hour() -> Vec<Request> {
        Generator::new(1, 1000).take_while(|request| request.timestamp < HOUR_SECONDS * 1000).collect()
    }

    #[test]
    fn blocks_cover_the_input_and_start_with_the_system_prompt() {
        for request in hour() {
            assert_eq!(request.hash_ids.len() as u64, request.input_length.div_ceil(BLOCK_TOKENS as u64));
            assert_eq!(request.hash_ids[0], 0);
        }
    }

    #[test]
    fn a_block_has_one_place_and_one_parent() {
        let mut parents = HashMap::new();
        for request in hour() {
            for (place, pair) in request.hash_ids.windows(2).enumerate() {
                let known = *parents.entry(pair[1]).or_insert((place, pair[0]));
                assert_eq!(known, (place, pair[0]), "block {}", pair[1]);
            }
        }
    }

    #[test]
    fn twice_the_rate_is_about_twice_the_requests() {
        let count =
            |scale| Generator::new(5, scale).take_while(|request| request.timestamp < 600_000).count() as f64;
        let ratio = count(2000) / count(1000);
        assert!((1.8..2.2).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_tiny_rate_still_brings_requests_in_order_of_time() {
        let stamps: Vec<u64> = Generator::new(2, 1).take(20).map(|request| request.timestamp).collect();
        assert!(stamps.is_sorted() && stamps[19] > 1_000_000, "{stamps:?}");
    }
}
