//! Least frequently used first; of those used equally often, the one used longest ago. Uses are forgotten with the entry.

use super::entries::{Entries, List, NONE};
use super::{Eviction, QUEUE};

/// Entries of one number of uses, and the groups with fewer and with more of them.
struct Group {
    uses: u64,
    used: List,
    fewer: u32,
    more: u32,
}

/// Groups form a chain, so that one use more is one step along it. An entry's mark is its group.
pub struct Lfu {
    groups: Vec<Group>,
    free: Vec<u32>,
    /// The group of fewest uses.
    first: u32,
}

impl Lfu {
    pub fn new() -> Lfu {
        Lfu { groups: Vec::new(), free: Vec::new(), first: NONE }
    }

    fn group(&mut self, index: u32) -> &mut Group {
        &mut self.groups[index as usize]
    }

    /// The group of so many uses, which stands behind `fewer` in the chain, or at its start.
    fn group_after(&mut self, fewer: u32, uses: u64) -> u32 {
        let more = if fewer == NONE { self.first } else { self.group(fewer).more };
        if more != NONE && self.group(more).uses == uses {
            return more;
        }
        let group = Group { uses, used: List::new(QUEUE), fewer, more };
        let index = match self.free.pop() {
            Some(index) => {
                *self.group(index) = group;
                index
            }
            None => {
                self.groups.push(group);
                u32::try_from(self.groups.len() - 1).expect("there are no more groups than slots")
            }
        };
        self.link(fewer, index);
        if more != NONE {
            self.group(more).fewer = index;
        }
        index
    }

    fn link(&mut self, fewer: u32, more: u32) {
        if fewer == NONE {
            self.first = more;
        } else {
            self.group(fewer).more = more;
        }
    }

    fn join(&mut self, entries: &mut Entries, slot: u32, index: u32) {
        entries[slot].mark = index;
        self.group(index).used.push(entries, slot);
    }

    fn leave(&mut self, entries: &mut Entries, slot: u32) {
        let index = entries[slot].mark;
        let group = self.group(index);
        group.used.remove(entries, slot);
        if group.used.is_empty() {
            let (fewer, more) = (group.fewer, group.more);
            self.link(fewer, more);
            if more != NONE {
                self.group(more).fewer = fewer;
            }
            self.free.push(index);
        }
    }
}

impl Eviction for Lfu {
    fn insert(&mut self, entries: &mut Entries, slot: u32) {
        let group = self.group_after(NONE, 1);
        self.join(entries, slot, group);
    }

    fn touch(&mut self, entries: &mut Entries, slot: u32) {
        let index = entries[slot].mark;
        let uses = self.group(index).uses + 1;
        let more = self.group_after(index, uses);
        self.leave(entries, slot);
        self.join(entries, slot, more);
    }

    fn victim(&mut self, _entries: &mut Entries) -> Option<u32> {
        (self.first != NONE).then(|| self.groups[self.first as usize].used.oldest()).flatten()
    }

    fn remove(&mut self, entries: &mut Entries, slot: u32) {
        self.leave(entries, slot);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::super::tests::departures;

    #[test]
    fn what_was_used_least_often_leaves_first() {
        assert_eq!(departures(Policy::Lfu, 3, &[1, 1, 1, 2, 3, 3, 4, 5, 1, 6]), [2, 4, 5]);
    }

    #[test]
    fn of_equal_uses_the_older_leaves_and_what_left_has_no_merits() {
        assert_eq!(departures(Policy::Lfu, 2, &[1, 2, 2, 1, 3, 2, 2, 1, 3]), [2, 3, 2]);
    }
}
