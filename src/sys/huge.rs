//! Memory in huge pages, for what is read all over the place: there the processor has a page to look up for every read.

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};

/// So many values where a huge page can hold them: on x86, and on ARM with pages of 4 KiB.
#[repr(C, align(0x20_0000))]
#[derive(Debug)]
pub struct Huge<T, const N: usize>([T; N]);

impl<T: Default, const N: usize> Huge<T, N> {
    /// In huge pages where the kernel has them, else in others.
    pub fn boxed() -> Box<Huge<T, N>> {
        let mut made = Box::<Huge<T, N>>::new_uninit();
        let first = made.as_mut_ptr().cast::<MaybeUninit<T>>();
        // SAFETY: advice on memory that is ours alone, and is not touched yet.
        unsafe { libc::madvise(first.cast(), size_of::<Self>(), libc::MADV_HUGEPAGE) };
        // SAFETY: `made` is an array of so many values, with nothing before it.
        let values = unsafe { std::slice::from_raw_parts_mut(first, N) };
        values.iter_mut().for_each(|value| {
            value.write(T::default());
        });
        // SAFETY: all of its values were just written.
        unsafe { made.assume_init() }
    }
}

impl<T, const N: usize> Deref for Huge<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const N: usize> DerefMut for Huge<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_at_the_beginning_of_a_huge_page() {
        let mut values = Huge::<u64, 1000>::boxed();
        assert!(values.as_ptr().addr().is_multiple_of(2 << 20));
        assert_eq!((values.len(), values.iter().sum::<u64>()), (1000, 0));
        values[999] = 7;
        assert_eq!(values[999], 7);
    }
}
