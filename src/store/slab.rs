//! Many small things named by u32: in pieces, so that growing never copies them nor doubles what they take.

const PIECE: usize = 256;

/// Slots are taken again in the order in which they became free, the last one first. A free slot holds the default.
#[derive(Debug)]
pub struct Slab<T> {
    pieces: Vec<Vec<T>>,
    free: Vec<u32>,
    live: usize,
}

impl<T: Default> Default for Slab<T> {
    fn default() -> Self {
        Slab { pieces: Vec::new(), free: Vec::new(), live: 0 }
    }
}

impl<T: Default> Slab<T> {
    /// None when there are as many as u32 can name.
    pub fn insert(&mut self, value: T) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            *self.get_mut(slot) = value;
            self.live += 1;
            return Some(slot);
        }
        let slot = u32::try_from(self.slots()).ok().filter(|slot| *slot != u32::MAX)?;
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        self.pieces.last_mut()?.push(value);
        self.live += 1;
        Some(slot)
    }

    pub fn remove(&mut self, slot: u32) -> T {
        self.live -= 1;
        self.free.push(slot);
        std::mem::take(self.get_mut(slot))
    }

    pub fn get(&self, slot: u32) -> &T {
        &self.pieces[slot as usize / PIECE][slot as usize % PIECE]
    }

    pub fn get_mut(&mut self, slot: u32) -> &mut T {
        &mut self.pieces[slot as usize / PIECE][slot as usize % PIECE]
    }

    pub fn len(&self) -> usize {
        self.live
    }

    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// How many slots there are, free ones included.
    pub fn slots(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_found_and_free_slots_are_used_again() {
        let mut slab = Slab::default();
        let slots: Vec<u32> = (0..1000).map(|value| slab.insert(value).expect("room")).collect();
        assert!(slots.iter().enumerate().all(|(value, slot)| *slab.get(*slot) == value));
        assert_eq!((slab.remove(slots[7]), slab.len(), slab.slots()), (7, 999, 1000));
        assert_eq!(slab.insert(70), Some(slots[7]));
        assert_eq!((*slab.get(slots[7]), slab.slots()), (70, 1000));
    }
}
