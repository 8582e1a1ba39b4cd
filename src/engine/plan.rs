//! From requests to slices. Pure: what memory is registered and who the peers are is decided elsewhere.

/// Most bytes in one slice: the unit of checksums, of striping over lanes and of retries. It fits into a core's L2
/// cache, so that a checksum and the copy after it read memory once.
pub const SLICE_SIZE: usize = 256 << 10;

/// Cuts one piece of local memory into slices: `(offset in the piece, length)`, all but the last of SLICE_SIZE.
pub fn cut(length: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..length.div_ceil(SLICE_SIZE)).map(move |index| {
        let offset = index * SLICE_SIZE;
        (offset, SLICE_SIZE.min(length - offset))
    })
}

/// Groups neighbours: calls `each(first, count)` for every maximal run of items with equal keys.
pub fn group_runs<K: PartialEq>(keys: impl Iterator<Item = K>, mut each: impl FnMut(u32, u32, K)) {
    let mut first = 0;
    let mut count = 0;
    let mut current: Option<K> = None;
    for key in keys {
        if current.as_ref() == Some(&key) {
            count += 1;
            continue;
        }
        if let Some(done) = current.replace(key) {
            each(first, count, done);
        }
        first += count;
        count = 1;
    }
    if let Some(done) = current {
        each(first, count, done);
    }
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
        fn runs_cover_all_items_and_neighbours_differ(keys in proptest::collection::vec(0u8..3, 0..60)) {
            let mut at = 0;
            let mut last = None;
            group_runs(keys.iter(), |first, count, key| {
                assert_eq!(first, at);
                assert!(count > 0);
                assert_ne!(last, Some(*key));
                assert!(keys[first as usize..(first + count) as usize].iter().all(|item| item == key));
                at += count;
                last = Some(*key);
            });
            prop_assert_eq!(at as usize, keys.len());
        }
    }
}
