//! Numbers by tag in lines of the processor's cache, twelve in each: whoever looks for one reads memory once, mostly.
//!
//! Open addressing over a slice of lines, not all of them full. A number stands in its home or, where that is full, in
//! the next line that is not, so a search ends in a line with room. A tag is a piece of what the number stands for, and
//! whether it is the right one is for others to say.

use super::chunks::At;

/// Numbers in a line.
pub const WAYS: usize = 12;

#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Line {
    numbers: [u32; WAYS],
    tags: [u8; WAYS],
    count: u8,
    /// A bit for each that does not stand in its home.
    strays: u16,
}

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    fn count(&self) -> usize {
        usize::from(self.count)
    }

    fn is_full(&self) -> bool {
        self.count() == WAYS
    }

    /// A bit for each that has the tag.
    #[inline(always)]
    fn like(&self, tag: u8) -> u32 {
        // All at once and without a branch, which would be guessed wrong as often as not.
        let like = self.tags.iter().rev().fold(0, |like, own| like << 1 | u32::from(*own == tag));
        // What was taken out has a tag, too, but comes last.
        like & ((1 << self.count) - 1)
    }

    /// A number that may be the one with this tag, or any.
    #[inline(always)]
    pub fn guess(&self, tag: u8) -> At {
        At(self.numbers[self.like(tag).trailing_zeros() as usize % WAYS])
    }

    fn put(&mut self, entry: Entry) {
        self.set(self.count(), entry);
        self.count += 1;
    }

    fn get(&self, way: usize) -> Entry {
        Entry { at: At(self.numbers[way]), tag: self.tags[way], is_stray: self.strays >> way & 1 != 0 }
    }

    fn set(&mut self, way: usize, entry: Entry) {
        (self.numbers[way], self.tags[way]) = (entry.at.0, entry.tag);
        self.strays = self.strays & !(1 << way) | u16::from(entry.is_stray) << way;
    }

    fn take(&mut self, way: usize) -> Entry {
        let taken = self.get(way);
        self.count -= 1;
        self.set(way, self.get(self.count()));
        taken
    }

    pub fn clear(&mut self) {
        self.count = 0;
    }

    pub fn numbers(&self) -> impl Iterator<Item = At> {
        self.numbers[..self.count()].iter().map(|number| At(*number))
    }
}

#[derive(Clone, Copy)]
struct Entry {
    at: At,
    tag: u8,
    is_stray: bool,
}

fn after(lines: &[Line], line: usize) -> usize {
    if line + 1 == lines.len() { 0 } else { line + 1 }
}

/// Where a number stands.
pub type Place = (usize, usize);

/// The number with this tag that is the right one, and where it stands.
#[inline(always)]
pub fn find(lines: &[Line], home: usize, tag: u8, is_right: impl Fn(At) -> bool) -> Option<(At, Place)> {
    let mut at = home;
    loop {
        let line = &lines[at];
        let mut like = line.like(tag);
        while like != 0 {
            let way = like.trailing_zeros() as usize;
            let number = At(line.numbers[way]);
            if is_right(number) {
                return Some((number, (at, way)));
            }
            like &= like - 1;
        }
        if !line.is_full() {
            return None;
        }
        at = after(lines, at);
    }
}

/// Adds a number that is not there. There must be room.
pub fn put(lines: &mut [Line], home: usize, tag: u8, at: At) {
    let mut line = home;
    while lines[line].is_full() {
        line = after(lines, line);
    }
    lines[line].put(Entry { at, tag, is_stray: line != home });
}

/// Has another number stand for the same.
pub fn replace(lines: &mut [Line], (line, way): Place, at: At) {
    lines[line].numbers[way] = at.0;
}

/// Takes a number out and brings those nearer to their homes that had no room because of it.
pub fn remove(lines: &mut [Line], (line, way): Place, home_of: impl Fn(At) -> usize) {
    let (mut gap, mut next) = (line, line);
    let mut was_full = lines[line].is_full();
    lines[line].take(way);
    while was_full {
        next = after(lines, next);
        was_full = lines[next].is_full();
        let passed_by = |way: &usize| {
            let entry = lines[next].get(*way);
            if !entry.is_stray {
                return false;
            }
            let home = home_of(entry.at);
            let from_home = |line: usize| if line < home { line + lines.len() - home } else { line - home };
            from_home(gap) < from_home(next)
        };
        if let Some(way) = (0..lines[next].count()).find(passed_by) {
            let entry = lines[next].take(way);
            let is_stray = home_of(entry.at) != gap;
            lines[gap].put(Entry { is_stray, ..entry });
            gap = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_number_that_was_taken_out_is_not_found_where_it_stood() {
        let mut line = [Line::default()];
        let found = |line: &[Line], tag| find(line, 0, tag, |_| true).map(|(at, _)| at);
        assert_eq!(found(&line, 0), None);
        put(&mut line, 0, 7, At(1));
        put(&mut line, 0, 0, At(2));
        assert_eq!((found(&line, 7), found(&line, 0)), (Some(At(1)), Some(At(2))));
        remove(&mut line, (0, 0), |_| 0);
        assert_eq!((found(&line, 7), found(&line, 0)), (None, Some(At(2))));
        remove(&mut line, (0, 0), |_| 0);
        assert_eq!((found(&line, 0), line[0].count()), (None, 0));
    }

    proptest! {
        #[test]
        fn crowded_lines_hold_what_was_put_in_and_not_taken_out(
            count in 2usize..6, steps in proptest::collection::vec((any::<bool>(), 0u32..100), 1..300),
        ) {
            let mut lines: Vec<Line> = (0..count).map(|_| Line::default()).collect();
            let mut model = BTreeSet::new();
            let home_of = |at: At| (at.0 * 7 % 5) as usize % count;
            let find = |lines: &[Line], number: u32| {
                find(lines, home_of(At(number)), number as u8 % 4, |at| at == At(number)).map(|(_, place)| place)
            };
            for (put_in, number) in steps {
                match find(&lines, number) {
                    // One place stays empty, so that every search ends.
                    None if put_in && model.len() + 1 < count * WAYS => {
                        put(&mut lines, home_of(At(number)), number as u8 % 4, At(number));
                        model.insert(number);
                    }
                    Some(place) if !put_in => {
                        remove(&mut lines, place, home_of);
                        prop_assert!(model.remove(&number));
                    }
                    found => prop_assert_eq!(found.is_some(), model.contains(&number)),
                }
                for number in &model {
                    let (line, way) = find(&lines, *number).expect("it is there");
                    prop_assert_eq!(lines[line].get(way).is_stray, line != home_of(At(*number)));
                }
                prop_assert_eq!(lines.iter().map(Line::count).sum::<usize>(), model.len());
            }
        }
    }
}
