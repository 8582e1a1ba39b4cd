//! Everything of one holder is void at once: cost O(1) then, while the blocks that said it are cleaned one by one.
//!
//! Each clearing begins a *generation*. A block carries the generation in which it was last cleaned; what was cleared
//! since is one bitmap per age, to be taken off whatever an older block says. A sweep that has seen all blocks makes
//! the oldest bitmaps superfluous. So a slot can have a new holder at once, and its old blocks do not come back.

use std::collections::VecDeque;

use super::places::Bitmap;

/// Most generations that blocks may differ in: whoever wants one more finishes the sweep first.
const WINDOW: usize = u8::MAX as usize;
/// With so few left, sweeping begins to hurry.
pub const CROWDED: usize = WINDOW / 2;

#[derive(Debug)]
pub struct Clearings {
    current: u8,
    /// By age in generations: what was cleared since. The youngest is empty.
    since: VecDeque<Bitmap>,
}

impl Clearings {
    pub fn new() -> Clearings {
        Clearings { current: 0, since: VecDeque::from([Bitmap::default()]) }
    }

    /// The generation for blocks that are clean now.
    pub fn current(&self) -> u8 {
        self.current
    }

    pub fn is_full(&self) -> bool {
        self.since.len() > WINDOW
    }

    /// So many more, at most, and it is full.
    pub fn is_crowded(&self) -> bool {
        self.since.len() > WINDOW - CROWDED
    }

    /// Voids what all blocks say of these planes of the slot. Not while full.
    pub fn clear(&mut self, slot: u16, planes: u8) {
        debug_assert!(!self.is_full());
        self.since.iter_mut().for_each(|cleared| cleared.insert(slot, planes));
        self.since.push_front(Bitmap::default());
        self.current = self.current.wrapping_add(1);
    }

    /// What is void in a block that was last cleaned in this generation, if anything is.
    pub fn since(&self, generation: u8) -> Option<&Bitmap> {
        match self.age(generation) {
            0 => None,
            age => Some(&self.since[age]),
        }
    }

    /// No block is older than this generation any more.
    pub fn forget_before(&mut self, generation: u8) {
        self.since.truncate(self.age(generation) + 1);
    }

    fn age(&self, generation: u8) -> usize {
        usize::from(self.current.wrapping_sub(generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_loses_what_was_cleared_since_its_generation_and_nothing_else() {
        let mut clearings = Clearings { current: u8::MAX, ..Clearings::new() };
        let first = clearings.current();
        clearings.clear(3, 1);
        let second = clearings.current();
        clearings.clear(70, 2);
        let void = |generation, slot| clearings.since(generation).map(|void| void.planes(slot));
        assert_eq!((void(first, 3), void(first, 70)), (Some(1), Some(2)));
        assert_eq!((void(second, 3), void(second, 70)), (Some(0), Some(2)));
        assert_eq!(void(clearings.current(), 3), None);
    }

    #[test]
    fn generations_are_bounded_until_old_ones_are_forgotten() {
        let mut clearings = Clearings::new();
        while !clearings.is_full() {
            clearings.clear(0, 1);
        }
        assert_eq!(usize::from(clearings.current()), WINDOW);
        clearings.forget_before(clearings.current());
        assert!(!clearings.is_full());
        assert!(clearings.since(clearings.current()).is_none());
    }
}
