//! Where the blocks of each step lie: the same for every competitor and at both ends.
//!
//! Each thread owns a run of slots of one block each. It visits all of them before it repeats any (cold), or only one
//! batch of them (hot), in an order that scatters a batch differently in source and destination, as KV blocks are.

use super::case::Case;

/// The walk of one thread.
#[derive(Clone, Debug)]
pub struct Walk {
    size: usize,
    batch: usize,
    /// First slot of this thread.
    first: usize,
    slots: usize,
    positions: usize,
    /// Slot of the n-th block in the source is `n * stride % slots`, in the destination with the other stride.
    source_stride: usize,
    destination_stride: usize,
}

impl Walk {
    pub fn new(case: &Case, thread: usize) -> Walk {
        let own = case.buffer / case.size / case.threads;
        let most = if case.is_cold { own / case.batch } else { 1 };
        let positions = most.clamp(1, case.positions.max(1));
        let slots = positions * case.batch;
        Walk {
            size: case.size,
            batch: case.batch,
            first: thread * own,
            slots,
            positions,
            source_stride: stride(slots, 0.618),
            destination_stride: stride(slots, 0.382),
        }
    }

    /// Different batches there are.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Which of them a step moves.
    #[inline]
    pub fn position(&self, step: u64) -> usize {
        if self.positions == 1 { 0 } else { (step % self.positions as u64) as usize }
    }

    /// Offsets of a batch's blocks in the source and in the destination. Divides twice per batch and not per block:
    /// the loops that use it measure operations of a tenth of a microsecond.
    #[inline]
    pub fn blocks(&self, position: usize) -> Blocks<'_> {
        let start =
            |stride: usize| if position == 0 { 0 } else { position * self.batch * stride % self.slots };
        Blocks {
            walk: self,
            left: self.batch,
            source: start(self.source_stride),
            destination: start(self.destination_stride),
        }
    }

    /// The part of the destination that the walk can reach: offset and length.
    pub fn reach(&self) -> (usize, usize) {
        (self.first * self.size, self.slots * self.size)
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn batch(&self) -> usize {
        self.batch
    }
}

/// The blocks of one batch.
pub struct Blocks<'a> {
    walk: &'a Walk,
    left: usize,
    /// Slots of the next block.
    source: usize,
    destination: usize,
}

impl Iterator for Blocks<'_> {
    type Item = (usize, usize);

    #[inline]
    fn next(&mut self) -> Option<(usize, usize)> {
        self.left = self.left.checked_sub(1)?;
        let walk = self.walk;
        let offset = |slot: usize| (walk.first + slot) * walk.size;
        let block = (offset(self.source), offset(self.destination));
        let advance = |slot: &mut usize, stride: usize| {
            *slot += stride;
            if *slot >= walk.slots {
                *slot -= walk.slots;
            }
        };
        advance(&mut self.source, walk.source_stride);
        advance(&mut self.destination, walk.destination_stride);
        Some(block)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Blocks<'_> {}

/// A number near `share` of `slots`, no larger than it and without a common divisor with it: its multiples visit every
/// slot.
fn stride(slots: usize, share: f64) -> usize {
    let start = ((slots as f64 * share) as usize).max(1);
    (1..=start).rev().find(|stride| divisor(*stride, slots) == 1).expect("1 has none in common with any")
}

fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::case::{Op, Path};
    use super::*;

    fn case(size: usize, batch: usize, threads: usize, is_cold: bool) -> Case {
        Case {
            path: Path::Tcp,
            op: Op::Write,
            size,
            batch,
            threads,
            is_cold,
            buffer: 1 << 20,
            positions: usize::MAX,
        }
    }

    #[test]
    fn a_cold_walk_visits_every_slot_of_every_thread_once() {
        for (size, batch, threads) in
            [(4096, 1, 1), (4096, 16, 3), (1000, 7, 2), (1 << 20, 1, 1), (8, 128, 4)]
        {
            let case = case(size, batch, threads, true);
            let (mut sources, mut destinations) = (HashSet::new(), HashSet::new());
            for walk in (0..threads).map(|thread| Walk::new(&case, thread)) {
                for position in 0..walk.positions() {
                    for (source, destination) in walk.blocks(position) {
                        let (start, length) = walk.reach();
                        assert!(destination >= start && destination + size <= start + length);
                        assert!(source + size <= case.buffer && destination + size <= case.buffer);
                        assert!(sources.insert(source) && destinations.insert(destination), "visited twice");
                    }
                }
            }
            assert_eq!(sources.len(), case.buffer / size / threads / batch * batch * threads);
        }
    }

    #[test]
    fn a_hot_walk_stays_in_one_batch() {
        let walk = Walk::new(&case(4096, 16, 2, false), 1);
        assert_eq!((walk.positions(), walk.position(12345)), (1, 0));
        let blocks: HashSet<_> = walk.blocks(0).map(|(_, destination)| destination).collect();
        assert_eq!((blocks.len(), walk.reach().1), (16, 16 * 4096));
    }
}
