//! From requests to slices. Pure: what memory is registered and who the peers are is decided elsewhere.

use crate::transport::{SUMMED, SUMS};

/// Most bytes in one slice: the unit of checksums, of striping over lanes and of retries. It fits into a core's L2
/// cache, so that a checksum and the copy after it read memory once.
pub const SLICE_SIZE: usize = SUMS * SUMMED;

/// Cuts one piece of local memory into slices: `(offset in the piece, length)`, all but the last of SLICE_SIZE.
pub fn cut(length: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..length.div_ceil(SLICE_SIZE)).map(move |index| {
        let offset = index * SLICE_SIZE;
        (offset, SLICE_SIZE.min(length - offset))
    })
}

/// How many items at the front are alike, and what they are; None when there is none.
#[inline]
pub fn first_alike<K: PartialEq>(mut items: impl Iterator<Item = K>) -> Option<(u32, K)> {
    let first = items.next()?;
    let count = 1 + items.take_while(|item| *item == first).count() as u32;
    Some((count, first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slices_cover_a_piece_once_and_in_order(length in 1usize..5_000_000) {
            let mut at = 0;
            for (offset, size) in cut(length) {
                prop_assert_eq!(offset, at);
                prop_assert!(size > 0 && size <= SLICE_SIZE);
                at += size;
            }
            prop_assert_eq!(at, length);
        }

        #[test]
        fn those_at_the_front_are_alike_and_the_next_one_is_not(items in proptest::collection::vec(0u8..3, 0..60)) {
            match first_alike(items.iter()) {
                None => prop_assert!(items.is_empty()),
                Some((count, item)) => {
                    let (front, rest) = items.split_at(count as usize);
                    prop_assert!(front.iter().all(|other| other == item));
                    prop_assert_ne!(rest.first(), Some(item));
                }
            }
        }
    }
}
