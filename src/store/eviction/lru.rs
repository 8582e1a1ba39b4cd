//! Least recently used first.

use super::entries::{Entries, List};
use super::{Eviction, QUEUE};

pub struct Lru {
    used: List,
}

impl Lru {
    pub fn new() -> Lru {
        Lru { used: List::new(QUEUE) }
    }
}

impl Eviction for Lru {
    fn insert(&mut self, entries: &mut Entries, slot: u32) {
        self.used.push(entries, slot);
    }

    fn touch(&mut self, entries: &mut Entries, slot: u32) {
        self.used.renew(entries, slot);
    }

    fn victim(&mut self, _entries: &mut Entries) -> Option<u32> {
        self.used.oldest()
    }

    fn remove(&mut self, entries: &mut Entries, slot: u32) {
        self.used.remove(entries, slot);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::super::tests::departures;

    #[test]
    fn what_was_used_longest_ago_leaves_first() {
        assert_eq!(departures(Policy::Lru, 3, &[1, 2, 3, 1, 4, 2, 1, 5]), [2, 3, 4]);
    }
}
