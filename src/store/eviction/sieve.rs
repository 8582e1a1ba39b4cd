//! SIEVE: a queue in which a hand goes from the oldest to the newest, and takes the first that was not used since it passed.

use super::entries::{Entries, List};
use super::{Eviction, QUEUE};

pub struct Sieve {
    queue: List,
    /// Where the hand stands. None is at the oldest.
    hand: Option<u32>,
}

impl Sieve {
    pub fn new() -> Sieve {
        Sieve { queue: List::new(QUEUE), hand: None }
    }
}

impl Eviction for Sieve {
    fn insert(&mut self, entries: &mut Entries, slot: u32) {
        entries[slot].set_uses(0);
        self.queue.push(entries, slot);
    }

    fn touch(&mut self, entries: &mut Entries, slot: u32) {
        entries[slot].set_uses(1);
    }

    /// Each step over a used entry is paid for by the touch that made it used.
    fn victim(&mut self, entries: &mut Entries) -> Option<u32> {
        let mut at = self.hand.or(self.queue.oldest())?;
        while entries[at].uses() > 0 {
            entries[at].set_uses(0);
            at = entries[at].newer().or(self.queue.oldest())?;
        }
        self.hand = Some(at);
        self.hand
    }

    fn remove(&mut self, entries: &mut Entries, slot: u32) {
        if self.hand == Some(slot) {
            self.hand = entries[slot].newer();
        }
        self.queue.remove(entries, slot);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::super::tests::departures;

    #[test]
    fn the_hand_spares_what_was_used_and_goes_on_from_there() {
        // 1 is spared and 2 taken; the hand stays with 3 although 1 is older; used 3 and 4 are passed, then 1 comes.
        assert_eq!(departures(Policy::Sieve, 3, &[1, 2, 3, 1, 4, 3, 4, 5]), [2, 1]);
    }

    #[test]
    fn new_ones_behind_the_hand_wait_until_it_has_gone_around() {
        assert_eq!(departures(Policy::Sieve, 3, &[1, 2, 3, 1, 4, 5, 6]), [2, 3, 4]);
    }
}
