//! A list that is mostly of one: the first item lies in the list itself, more take an allocation.

use std::ops::{Deref, DerefMut};

pub enum Few<T> {
    None,
    One([T; 1]),
    Many(Vec<T>),
}

impl<T> Few<T> {
    /// A list that will hold so many.
    pub fn with_capacity(count: usize) -> Few<T> {
        if count > 1 { Few::Many(Vec::with_capacity(count)) } else { Few::None }
    }

    #[inline]
    pub fn push(&mut self, item: T) {
        match self {
            Few::None => *self = Few::One([item]),
            Few::One(_) => self.grow(item),
            Few::Many(items) => items.push(item),
        }
    }

    fn grow(&mut self, item: T) {
        let mut items = Vec::with_capacity(4);
        if let Few::One([first]) = std::mem::replace(self, Few::None) {
            items.push(first);
        }
        items.push(item);
        *self = Few::Many(items);
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Few::None => &[],
            Few::One(item) => item,
            Few::Many(items) => items,
        }
    }
}

impl<T> DerefMut for Few<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Few::None => &mut [],
            Few::One(item) => item,
            Few::Many(items) => items,
        }
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    #[inline]
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_what_was_pushed_whatever_was_expected() {
        for expected in [0, 1, 2, 5] {
            let mut few = Few::with_capacity(expected);
            for count in 0..6usize {
                assert_eq!(*few, (0..count).collect::<Vec<_>>());
                few.push(count);
                *few.last_mut().expect("just pushed") += 0;
            }
            assert_eq!((&few).into_iter().sum::<usize>(), 15);
        }
    }
}
