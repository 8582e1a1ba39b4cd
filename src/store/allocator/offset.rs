//! Gives out ranges of one segment: blocks in bins by size, neighbours joined when they become free.
//!
//! A block is taken from the first bin whose blocks are all large enough, found by two bitmaps, and what it has too
//! much stays free: nothing is lost but the rounding to whole units.

use crate::store::slab::Slab;

/// Smallest unit in bytes; segments that are very large have larger ones.
pub const UNIT: u64 = 64;
/// Size classes: eight for each power of two.
const BINS: usize = 256;
const NONE: u32 = u32::MAX;
/// How many blocks of the one bin that may or may not be large enough are looked at.
const LOOKS: usize = 16;
const MAX_UNITS: u64 = (1 << 31) - 1;

/// A block, free or not. Lengths in units; the top bit of `size` is set while the block is taken.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    offset: u32,
    size: u32,
    /// Neighbours in memory.
    before: u32,
    after: u32,
    /// Neighbours in the bin, while free.
    previous: u32,
    next: u32,
}

const TAKEN: u32 = 1 << 31;

impl Block {
    fn size(&self) -> u32 {
        self.size & !TAKEN
    }

    fn is_taken(&self) -> bool {
        self.size & TAKEN != 0
    }
}

/// The memory of one segment. Blocks are named by handles; a handle is valid until it is freed.
#[derive(Debug)]
pub struct OffsetAllocator {
    unit: u64,
    units: u32,
    used: u32,
    blocks: Slab<Block>,
    heads: Box<[u32; BINS]>,
    /// One bit per group of eight bins, and one bit per bin.
    groups: u32,
    bins: [u8; BINS / 8],
    last: u32,
}

impl OffsetAllocator {
    /// A tail that is no whole unit stays unused.
    pub fn new(length: u64) -> OffsetAllocator {
        let unit = (length / MAX_UNITS + 1).next_power_of_two().max(UNIT);
        let units = (length / unit) as u32;
        let mut allocator = OffsetAllocator {
            unit,
            units,
            used: 0,
            blocks: Slab::default(),
            heads: Box::new([NONE; BINS]),
            groups: 0,
            bins: [0; BINS / 8],
            last: NONE,
        };
        if units > 0 {
            let whole =
                Block { size: units, before: NONE, after: NONE, previous: NONE, next: NONE, offset: 0 };
            allocator.last = allocator.blocks.insert(whole).expect("the first of u32");
            allocator.link(allocator.last);
        }
        allocator
    }

    /// Bytes that can be given out in all.
    pub fn capacity(&self) -> u64 {
        u64::from(self.units) * self.unit
    }

    /// Bytes given out, rounding included.
    pub fn used(&self) -> u64 {
        u64::from(self.used) * self.unit
    }

    /// Bytes that `length` bytes take.
    pub fn rounded(&self, length: u64) -> u64 {
        length.max(1).next_multiple_of(self.unit)
    }

    /// Bytes that must be free in one place for `allocate` to find `length` bytes in an empty segment.
    pub fn needed(&self, length: u64, alignment: u64) -> u64 {
        self.rounded(length).saturating_add(alignment.next_multiple_of(self.unit) - self.unit)
    }

    /// Where a block that was given out lies.
    pub fn offset(&self, handle: u32) -> u64 {
        u64::from(self.blocks.get(handle).offset) * self.unit
    }

    /// How many bytes a block takes, rounding included.
    pub fn taken(&self, handle: u32) -> u64 {
        u64::from(self.blocks.get(handle).size()) * self.unit
    }

    /// A block of `length` bytes at a multiple of `alignment`, a power of two. None when there is no such range.
    pub fn allocate(&mut self, length: u64, alignment: u64) -> Option<u32> {
        let units = u32::try_from(self.rounded(length) / self.unit).ok().filter(|units| *units < TAKEN)?;
        let alignment = u32::try_from(alignment.div_ceil(self.unit).max(1)).ok()?;
        let block = self.find(units.checked_add(alignment - 1)?)?;
        self.unlink(block);
        let offset = self.blocks.get(block).offset;
        let front = offset.next_multiple_of(alignment) - offset;
        let block = if front > 0 { self.split(block, front)? } else { block };
        Some(self.take(block, units))
    }

    /// Takes a range that is known to be in use. Ranges are told in rising order, before anything is allocated.
    pub fn claim(&mut self, offset: u64, length: u64) -> Option<u32> {
        let last = *self.blocks.get(Some(self.last).filter(|last| *last != NONE)?);
        let (from, to) = (offset / self.unit, offset.checked_add(length)?.div_ceil(self.unit));
        let (from, to) = (u32::try_from(from).ok()?, u32::try_from(to).ok()?);
        if last.is_taken() || from < last.offset || to > self.units || from >= to {
            return None;
        }
        self.unlink(self.last);
        let front = from - last.offset;
        let block = if front > 0 { self.split(self.last, front)? } else { self.last };
        Some(self.take(block, to - from))
    }

    /// Gives a block back.
    pub fn free(&mut self, handle: u32) {
        let mut block = *self.blocks.get(handle);
        debug_assert!(block.is_taken(), "block {handle} is freed twice");
        block.size &= !TAKEN;
        self.used -= block.size;
        if block.before != NONE && !self.blocks.get(block.before).is_taken() {
            self.unlink(block.before);
            let before = self.blocks.remove(block.before);
            block = Block {
                offset: before.offset,
                size: before.size + block.size,
                before: before.before,
                ..block
            };
        }
        if block.after != NONE && !self.blocks.get(block.after).is_taken() {
            self.unlink(block.after);
            let after = self.blocks.remove(block.after);
            block = Block { size: block.size + after.size, after: after.after, ..block };
        }
        *self.blocks.get_mut(handle) = block;
        self.join(block.before, handle);
        self.join(handle, block.after);
        self.link(handle);
    }

    /// Marks an unlinked block as taken, and puts what it has beyond `units` back.
    fn take(&mut self, block: u32, units: u32) -> u32 {
        if self.blocks.get(block).size > units
            && let Some(rest) = self.split_off(block, units)
        {
            self.link(rest);
        }
        let block_ref = self.blocks.get_mut(block);
        self.used += block_ref.size;
        block_ref.size |= TAKEN;
        block
    }

    /// Cuts `front` units off the start of an unlinked block and frees them; what follows is returned, unlinked.
    fn split(&mut self, block: u32, front: u32) -> Option<u32> {
        let rest = self.split_off(block, front);
        self.link(block);
        rest
    }

    fn split_off(&mut self, block: u32, at: u32) -> Option<u32> {
        let whole = *self.blocks.get(block);
        let rest = Block {
            offset: whole.offset + at,
            size: whole.size - at,
            before: block,
            after: whole.after,
            previous: NONE,
            next: NONE,
        };
        let rest = self.blocks.insert(rest)?;
        self.blocks.get_mut(block).size = at;
        self.join(rest, whole.after);
        self.join(block, rest);
        Some(rest)
    }

    /// Makes two blocks neighbours in memory; NONE is the segment's edge.
    fn join(&mut self, left: u32, right: u32) {
        if left != NONE {
            self.blocks.get_mut(left).after = right;
        }
        if right != NONE {
            self.blocks.get_mut(right).before = left;
        } else {
            self.last = left;
        }
    }

    fn find(&self, units: u32) -> Option<u32> {
        if let Some(bin) = self.first_bin(bin_that_holds(units)) {
            return Some(self.heads[bin]);
        }
        let mut block = self.heads[bin_of(units)];
        for _ in 0..LOOKS {
            if block == NONE || self.blocks.get(block).size >= units {
                break;
            }
            block = self.blocks.get(block).next;
        }
        (block != NONE && self.blocks.get(block).size >= units).then_some(block)
    }

    /// The first bin at or above `from` that has a block.
    fn first_bin(&self, from: usize) -> Option<usize> {
        if from >= BINS {
            return None;
        }
        let (group, bit) = (from / 8, from % 8);
        let here = self.bins[group] & (u8::MAX << bit);
        if here != 0 {
            return Some(group * 8 + here.trailing_zeros() as usize);
        }
        let above = self.groups.checked_shr(group as u32 + 1)?;
        let group = (above != 0).then(|| group + 1 + above.trailing_zeros() as usize)?;
        Some(group * 8 + self.bins[group].trailing_zeros() as usize)
    }

    fn link(&mut self, block: u32) {
        let bin = bin_of(self.blocks.get(block).size);
        let head = self.heads[bin];
        let linked = self.blocks.get_mut(block);
        (linked.previous, linked.next) = (NONE, head);
        if head != NONE {
            self.blocks.get_mut(head).previous = block;
        }
        self.heads[bin] = block;
        self.bins[bin / 8] |= 1 << (bin % 8);
        self.groups |= 1 << (bin / 8);
    }

    fn unlink(&mut self, block: u32) {
        let Block { size, previous, next, .. } = *self.blocks.get(block);
        if next != NONE {
            self.blocks.get_mut(next).previous = previous;
        }
        if previous != NONE {
            self.blocks.get_mut(previous).next = next;
            return;
        }
        let bin = bin_of(size);
        self.heads[bin] = next;
        if next == NONE {
            self.bins[bin / 8] &= !(1 << (bin % 8));
            if self.bins[bin / 8] == 0 {
                self.groups &= !(1 << (bin / 8));
            }
        }
    }
}

/// The bin that a free block of this size lies in: exact below 8, then by the three bits after the leading one.
fn bin_of(size: u32) -> usize {
    if size < 8 {
        return size as usize;
    }
    let exponent = size.ilog2() - 3;
    ((exponent as usize + 1) << 3) | ((size >> exponent) & 7) as usize
}

/// The first bin whose blocks all have at least this size.
fn bin_that_holds(size: u32) -> usize {
    let bin = bin_of(size);
    let exponent = size.max(8).ilog2() - 3;
    bin + usize::from(size & ((1 << exponent) - 1) != 0)
}

#[cfg(test)]
#[path = "offset_tests.rs"]
mod tests;
