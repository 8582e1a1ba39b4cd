//! First in, first out, used or not.

use super::entries::{Entries, List};
use super::{Eviction, QUEUE};

pub struct Fifo {
    queue: List,
}

impl Fifo {
    pub fn new() -> Fifo {
        Fifo { queue: List::new(QUEUE) }
    }
}

impl Eviction for Fifo {
    fn insert(&mut self, entries: &mut Entries, slot: u32) {
        self.queue.push(entries, slot);
    }

    fn touch(&mut self, _entries: &mut Entries, _slot: u32) {}

    fn victim(&mut self, _entries: &mut Entries) -> Option<u32> {
        self.queue.oldest()
    }

    fn remove(&mut self, entries: &mut Entries, slot: u32) {
        self.queue.remove(entries, slot);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::super::tests::departures;

    #[test]
    fn what_came_first_leaves_first_even_if_it_was_used() {
        assert_eq!(departures(Policy::Fifo, 3, &[1, 2, 3, 1, 1, 4, 1, 5]), [1, 2, 3]);
    }
}
