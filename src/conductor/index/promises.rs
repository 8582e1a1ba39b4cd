//! Blocks that are on their way to a holder, each until it is there or its time is up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// The queue may hold promises that were renewed or kept meanwhile, as many as there are open ones and this.
const SLACK: usize = 64;

type Promise = (u64, u16);

#[derive(Debug, Default)]
pub struct Promises {
    /// By key and slot, the time in milliseconds.
    deadlines: HashMap<Promise, u64>,
    queue: BinaryHeap<Reverse<(u64, Promise)>>,
}

impl Promises {
    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// Opens a promise. If `open` tells that it is open already, the later deadline counts.
    pub fn make(&mut self, promise: Promise, deadline: u64, open: bool) {
        let before = self.deadlines.get(&promise).copied().filter(|_| open);
        if before.is_none_or(|before| before < deadline) {
            self.deadlines.insert(promise, deadline);
            self.queue.push(Reverse((deadline, promise)));
        }
        if self.queue.len() > 2 * self.deadlines.len() + SLACK {
            self.queue =
                self.deadlines.iter().map(|(promise, deadline)| Reverse((*deadline, *promise))).collect();
        }
    }

    pub fn forget(&mut self, promise: Promise) {
        self.deadlines.remove(&promise);
    }

    /// Ends a promise whose deadline is not after `now`, the earliest first.
    pub fn take_due(&mut self, now: u64) -> Option<Promise> {
        while let Some(Reverse((deadline, promise))) = self.queue.peek().copied() {
            if deadline > now {
                return None;
            }
            self.queue.pop();
            // Another deadline means that it was renewed, none that it was kept.
            if self.deadlines.get(&promise) == Some(&deadline) {
                self.deadlines.remove(&promise);
                return Some(promise);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_promise_ends_at_its_last_deadline_and_a_kept_one_never() {
        let mut promises = Promises::default();
        promises.make((1, 0), 10, false);
        promises.make((1, 0), 30, true);
        promises.make((1, 0), 20, true);
        promises.make((2, 0), 15, false);
        promises.forget((2, 0));
        assert_eq!(promises.take_due(29), None);
        assert_eq!(promises.take_due(30), Some((1, 0)));
        assert_eq!((promises.take_due(u64::MAX), promises.len()), (None, 0));
    }

    #[test]
    fn the_queue_stays_in_proportion_to_the_open_promises() {
        let mut promises = Promises::default();
        for deadline in 0..10_000 {
            promises.make((1, 0), deadline, true);
        }
        assert!(promises.queue.len() <= 2 + SLACK, "{}", promises.queue.len());
        assert_eq!(promises.take_due(9_999), Some((1, 0)));
    }
}
