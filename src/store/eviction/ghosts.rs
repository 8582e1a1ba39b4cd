//! Which objects left lately, and when they were last used: 16 bytes each, forgotten in the order in which they left.

use std::collections::VecDeque;

use super::entries::NONE;
use super::spread;

/// Ghosts come in pieces, so that growing copies none of them and shrinking gives memory back.
const PIECE: u32 = 512;
/// How many chains a departure may add: growing is spread over many departures.
const GROWTH: usize = 2;

#[derive(Clone, Copy)]
struct Ghost {
    key: u32,
    time: u32,
    /// The one before it in its chain. Those that are forgotten end a chain, so no chain need be mended.
    before: u32,
}

/// A queue of departures, numbered one after the other, and a table of chains through it that grows by linear hashing.
pub struct Ghosts {
    pieces: VecDeque<Box<[Ghost]>>,
    /// The departure at the start of the first piece.
    first: u32,
    /// The oldest departure that is remembered, and the next one to come.
    start: u32,
    end: u32,
    chains: Vec<u32>,
}

impl Ghosts {
    pub fn new() -> Ghosts {
        Ghosts { pieces: VecDeque::new(), first: 0, start: 0, end: 0, chains: Vec::new() }
    }

    /// An object left that was last used at `time`. Of departures the last `most` are remembered.
    pub fn add(&mut self, key: u32, time: u32, most: usize) {
        if self.end == NONE {
            // Numbers are used up.
            *self = Ghosts::new();
        }
        self.forget(u32::try_from(most).unwrap_or(NONE));
        for _ in 0..GROWTH {
            if self.chains.len() < most {
                self.grow();
            }
        }
        if most == 0 {
            return;
        }
        if (self.end - self.first) as usize == self.pieces.len() * PIECE as usize {
            self.pieces.push_back(vec![Ghost { key: 0, time: 0, before: NONE }; PIECE as usize].into());
        }
        let chain = self.chain_of(key);
        *self.ghost(self.end) = Ghost { key, time, before: self.chains[chain] };
        self.chains[chain] = self.end;
        self.end += 1;
    }

    /// When `key` was last used, if that is remembered; it is not any more.
    pub fn take(&mut self, key: u32) -> Option<u32> {
        if self.chains.is_empty() {
            return None;
        }
        let chain = self.chain_of(key);
        let (mut after, mut at) = (NONE, self.chains[chain]);
        while self.remembers(at) {
            let Ghost { key: found, time, before } = *self.ghost(at);
            if found == key {
                self.link(chain, after, before);
                return Some(time);
            }
            (after, at) = (at, before);
        }
        None
    }

    /// Leaves room for one more.
    fn forget(&mut self, most: u32) {
        self.start = self.start.max((self.end + 1).saturating_sub(most)).min(self.end);
        while self.start - self.first >= PIECE {
            self.pieces.pop_front();
            self.first += PIECE;
        }
    }

    fn remembers(&self, number: u32) -> bool {
        number != NONE && number >= self.start
    }

    fn ghost(&mut self, number: u32) -> &mut Ghost {
        let place = number - self.first;
        &mut self.pieces[(place / PIECE) as usize][(place % PIECE) as usize]
    }

    /// Makes `number` the one before `after` in a chain, or its last.
    fn link(&mut self, chain: usize, after: u32, number: u32) {
        if after == NONE {
            self.chains[chain] = number;
        } else {
            self.ghost(after).before = number;
        }
    }

    /// A chain beyond the last one is still part of the one that it will be split from.
    fn chain_of(&self, key: u32) -> usize {
        let round = self.chains.len().next_power_of_two();
        let index = spread(key) as usize & (round - 1);
        if index < self.chains.len() { index } else { index - round / 2 }
    }

    /// Adds a chain, and splits off what belongs there now.
    fn grow(&mut self) {
        let added = self.chains.len();
        self.chains.push(NONE);
        if added == 0 {
            return;
        }
        let source = added - self.chains.len().next_power_of_two() / 2;
        let mut at = self.chains[source];
        let mut lasts = [NONE, NONE];
        while self.remembers(at) {
            let Ghost { key, before, .. } = *self.ghost(at);
            let moves = self.chain_of(key) == added;
            self.link(if moves { added } else { source }, lasts[usize::from(moves)], at);
            lasts[usize::from(moves)] = at;
            at = before;
        }
        self.link(source, lasts[0], NONE);
        self.link(added, lasts[1], NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_left_is_taken_once_however_the_table_grew_since() {
        let mut ghosts = Ghosts::new();
        for key in 0..2000 {
            ghosts.add(key, key + 1, 20_000);
        }
        for key in (0..2000).rev() {
            assert_eq!(ghosts.take(key), Some(key + 1), "key {key}");
            assert_eq!(ghosts.take(key), None);
        }
    }

    #[test]
    fn as_many_departures_are_remembered_as_were_asked_for() {
        const MOST: u32 = 3000;
        let mut ghosts = Ghosts::new();
        for key in 0..100_000 {
            ghosts.add(key, key, MOST as usize);
        }
        assert_eq!(ghosts.take(99_999 - MOST), None);
        assert!((100_000 - MOST..100_000).all(|key| ghosts.take(key) == Some(key)));
        assert!(ghosts.pieces.len() as u32 <= MOST / PIECE + 2 && ghosts.chains.len() == MOST as usize);
    }

    #[test]
    fn fewer_are_remembered_when_fewer_are_asked_for() {
        let mut ghosts = Ghosts::new();
        for key in 0..5000 {
            ghosts.add(key, key, 5000);
        }
        ghosts.add(5000, 5000, 10);
        assert_eq!((ghosts.take(4990), ghosts.take(4991), ghosts.take(5000)), (None, Some(4991), Some(5000)));
        assert_eq!(ghosts.pieces.len(), 1);
        ghosts.add(5001, 5001, 0);
        assert_eq!((ghosts.take(5001), ghosts.take(4992)), (None, None));
    }

    #[test]
    fn numbers_that_are_used_up_start_again() {
        let mut ghosts = Ghosts::new();
        (ghosts.first, ghosts.start, ghosts.end) = (NONE - 1, NONE - 1, NONE - 1);
        for key in 0..3 {
            ghosts.add(key, key, 100);
        }
        assert_eq!([0, 1, 2].map(|key| ghosts.take(key)), [None, Some(1), Some(2)]);
    }
}
