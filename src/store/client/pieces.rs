//! Lists of memory that are read as one: the caller's buffers for one object.

use crate::store::object::CHECKSUM_BLOCK;
use crate::sys::checksum::{Crc32c, crc32c_of};
use crate::sys::memory::Mem;
use crate::transport::SUMMED;

pub fn total(pieces: &[Mem]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// Those parts of the pieces that have the bytes from `from` on.
pub fn window(pieces: &[Mem], from: u64, length: u64) -> Vec<Mem> {
    let (mut skip, mut left) = (from, length);
    let mut window = Vec::with_capacity(pieces.len().min(4));
    for piece in pieces {
        let size = piece.len() as u64;
        if skip >= size {
            skip -= size;
            continue;
        }
        let take = left.min(size - skip);
        if take > 0 {
            window.push(piece.part(skip as usize, take as usize));
        }
        left -= take;
        skip = 0;
        if left == 0 {
            break;
        }
    }
    window
}

/// CRC32C of blocks that was found out while they were read, by where they lie, in order.
#[derive(Debug, Default)]
pub struct BlockSums(pub Vec<(usize, u32)>);

impl BlockSums {
    /// CRC32C of a block.
    pub fn of(&self, block: Mem) -> u32 {
        let known = self.0.binary_search_by_key(&block.address(), |(address, _)| *address);
        match known {
            Ok(index) if block.len() == SUMMED => self.0[index].1,
            _ => crc32c_of(block),
        }
    }
}

const _: () = assert!(CHECKSUM_BLOCK == SUMMED as u64);

/// CRC32C of each block.
pub fn checksums(pieces: &[Mem], sums: &BlockSums) -> Vec<u32> {
    const BLOCK: usize = CHECKSUM_BLOCK as usize;
    let mut all = Vec::with_capacity(total(pieces).div_ceil(CHECKSUM_BLOCK) as usize);
    // A block that lies in several pieces, and how much of it is still to come.
    let (mut crc, mut room) = (Crc32c::default(), BLOCK);
    for piece in pieces {
        let mut at = 0;
        while at < piece.len() {
            let take = room.min(piece.len() - at);
            let part = piece.part(at, take);
            at += take;
            if take == BLOCK {
                // Whole: the quicker way.
                all.push(sums.of(part));
                continue;
            }
            crc.update(part);
            room -= take;
            if room == 0 {
                all.push(std::mem::take(&mut crc).value());
                room = BLOCK;
            }
        }
    }
    if room < BLOCK {
        all.push(crc.value());
    }
    all
}

/// Appends the bytes of all pieces.
pub fn gather(pieces: &[Mem], to: &mut Vec<u8>) {
    pieces.iter().for_each(|piece| piece.with_bytes(|bytes| to.extend_from_slice(bytes)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::checksum::crc32c;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_are_one_run_of_bytes(
            lengths in prop::collection::vec(0usize..100_000, 0..6),
            from in 0usize..300_000,
            length in 0usize..300_000,
        ) {
            let all: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|at| (at * 31 / 7) as u8).collect();
            let mut at = 0;
            let pieces: Vec<Mem> = lengths
                .iter()
                .map(|length| {
                    at += length;
                    Mem::of(&all[at - length..at])
                })
                .collect();
            prop_assert_eq!(total(&pieces), all.len() as u64);
            let expected: Vec<u32> = all.chunks(CHECKSUM_BLOCK as usize).map(crc32c).collect();
            prop_assert_eq!(checksums(&pieces, &BlockSums::default()), expected);
            let from = from.min(all.len());
            let length = length.min(all.len() - from);
            let mut taken = Vec::new();
            gather(&window(&pieces, from as u64, length as u64), &mut taken);
            prop_assert_eq!(taken, &all[from..from + length]);
        }
    }
}
