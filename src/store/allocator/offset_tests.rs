//! The allocator beside a model that keeps nothing but a list of ranges.

use super::*;
use proptest::prelude::*;

#[derive(Default)]
struct Model {
    /// (offset, length, handle)
    taken: Vec<(u64, u64, u32)>,
}

impl Model {
    fn largest_gap(&self, capacity: u64) -> u64 {
        let mut ranges: Vec<(u64, u64)> = self.taken.iter().map(|range| (range.0, range.1)).collect();
        ranges.sort_unstable();
        ranges.push((capacity, 0));
        let mut at = 0;
        let mut largest = 0;
        for (offset, length) in ranges {
            largest = largest.max(offset - at);
            at = offset + length;
        }
        largest
    }
}

#[derive(Clone, Debug)]
enum Step {
    Allocate { length: u64, alignment: u64 },
    Free(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u64..40_000, 0u32..14).prop_map(|(length, shift)| Step::Allocate { length, alignment: 1 << shift }),
        2 => any::<usize>().prop_map(Step::Free),
    ]
}

fn assert_sound(allocator: &OffsetAllocator, model: &Model) {
    assert_eq!(allocator.used(), model.taken.iter().map(|range| range.1).sum::<u64>());
    // Blocks follow one another without gaps, and no two free ones touch.
    let (mut block, mut end, mut free) = (allocator.last, allocator.units, false);
    while block != NONE {
        let here = allocator.blocks.get(block);
        assert_eq!(here.offset + here.size(), end);
        assert!(here.is_taken() || !free, "two free neighbours");
        (free, end, block) = (!here.is_taken(), here.offset, here.before);
    }
    assert_eq!(end, 0);
}

proptest! {
    #[test]
    fn ranges_never_overlap_and_all_is_accounted_for(
        capacity in 1u64..600_000,
        steps in proptest::collection::vec(step(), 1..300),
    ) {
        let mut allocator = OffsetAllocator::new(capacity);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Allocate { length, alignment } => match allocator.allocate(length, alignment) {
                    Some(handle) => {
                        let (offset, taken) = (allocator.offset(handle), allocator.taken(handle));
                        prop_assert!(offset % alignment == 0 && taken >= length && offset + taken <= capacity);
                        prop_assert_eq!(taken, allocator.rounded(length));
                        for (other, size, _) in &model.taken {
                            prop_assert!(offset + taken <= *other || other + size <= offset);
                        }
                        model.taken.push((offset, taken, handle));
                    }
                    // A gap that is an eighth larger than needed is always found.
                    None => {
                        let needed = allocator.rounded(length) + alignment.max(UNIT) - UNIT;
                        prop_assert!(model.largest_gap(allocator.capacity()) < needed + needed / 8 + UNIT);
                    }
                },
                Step::Free(pick) if !model.taken.is_empty() => {
                    let (_, _, handle) = model.taken.swap_remove(pick % model.taken.len());
                    allocator.free(handle);
                }
                Step::Free(_) => {}
            }
            assert_sound(&allocator, &model);
        }
        for (_, _, handle) in model.taken.drain(..) {
            allocator.free(handle);
        }
        prop_assert_eq!(allocator.used(), 0);
        prop_assert!(allocator.capacity() == 0 || allocator.blocks.len() == 1);
    }

    #[test]
    fn ranges_that_were_claimed_are_those_that_were_given(
        lengths in proptest::collection::vec((1u64..9000, any::<bool>()), 1..60),
    ) {
        let mut first = OffsetAllocator::new(1 << 20);
        let mut model = Model::default();
        let handles: Vec<_> = lengths
            .iter()
            .map(|(length, keep)| (first.allocate(*length, 1).expect("room"), *length, *keep))
            .collect();
        let mut kept = Vec::new();
        for (handle, length, keep) in handles {
            if keep { kept.push((first.offset(handle), length)) } else { first.free(handle) }
        }
        kept.sort_unstable();
        let mut second = OffsetAllocator::new(1 << 20);
        for (offset, length) in kept {
            let handle = second.claim(offset, length).expect("free and in order");
            prop_assert_eq!(second.offset(handle), offset);
            model.taken.push((offset, second.taken(handle), handle));
        }
        prop_assert_eq!(second.used(), first.used());
        assert_sound(&second, &model);
        for (_, _, handle) in model.taken.drain(..) {
            second.free(handle);
        }
        assert_sound(&second, &model);
    }
}

#[test]
fn bins_hold_what_they_say() {
    for size in (1..5000).chain([1 << 20, (1 << 20) + 1, TAKEN - 1]) {
        let (lies, holds) = (bin_of(size), bin_that_holds(size));
        assert!(lies <= holds && holds <= lies + 1 && holds < BINS, "{size}");
        assert!(bin_of(size + 1) >= lies);
        assert!(holds == lies || bin_of(size - 1) == lies || bin_of(size) == lies);
    }
}

#[test]
fn a_range_that_is_taken_cannot_be_claimed() {
    let mut allocator = OffsetAllocator::new(64 << 10);
    assert!(allocator.claim(4096, 100).is_some());
    assert!(allocator.claim(4096, 64).is_none() && allocator.claim(0, 64).is_none());
    assert!(allocator.claim(65_000, 1000).is_none(), "beyond the end");
    assert!(allocator.claim(u64::MAX, 2).is_none() && allocator.claim(8192, 0).is_none());
}

#[test]
fn a_segment_of_a_terabyte_has_larger_units_and_one_of_nothing_has_none() {
    let mut huge = OffsetAllocator::new(1 << 40);
    assert_eq!(huge.capacity(), 1 << 40);
    assert!(huge.allocate(1 << 39, 1).is_some());
    assert!(OffsetAllocator::new(10).allocate(1, 1).is_none());
}

#[test]
fn the_whole_segment_can_be_given_out_at_once() {
    let mut allocator = OffsetAllocator::new(1_000_000);
    let all = allocator.allocate(allocator.capacity(), 1).expect("all of it");
    assert!(allocator.allocate(1, 1).is_none());
    allocator.free(all);
    assert_eq!(allocator.used(), 0);
}
