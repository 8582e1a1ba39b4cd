//! Memory for a table's parts: runs of lines that come and go, out of huge pages once there are enough of them.

use std::ops::Range;

use super::lines::Line;
use crate::sys::huge::Huge;

/// Lines in a huge page.
const PAGE: usize = (2 << 20) / size_of::<Line>();
/// A table of fewer lines has none in huge pages: the last page would be too much of it.
const FEW: usize = 8 * PAGE;

/// Lines of a part: empty when they are taken.
#[derive(Debug)]
pub struct Run {
    chunk: u32,
    first: u32,
    count: u32,
}

impl Run {
    pub fn len(&self) -> usize {
        self.count as usize
    }

    fn range(&self) -> Range<usize> {
        self.first as usize..self.first as usize + self.len()
    }
}

#[derive(Debug, Default)]
pub struct Runs {
    chunks: Vec<Chunk>,
    /// Chunks that hold nothing.
    void: Vec<u32>,
    /// In all runs.
    lines: usize,
}

#[derive(Debug)]
enum Chunk {
    Void,
    Run(Box<[Line]>),
    /// With the lines that are in no run, in their order.
    Page(Box<Huge<Line, PAGE>>, Vec<Range<u32>>),
}

impl Chunk {
    fn lines(&self) -> &[Line] {
        match self {
            Chunk::Void => &[],
            Chunk::Run(lines) => lines,
            Chunk::Page(lines, _) => lines,
        }
    }

    fn lines_mut(&mut self) -> &mut [Line] {
        match self {
            Chunk::Void => &mut [],
            Chunk::Run(lines) => lines,
            Chunk::Page(lines, _) => lines,
        }
    }

    /// The first gap with so many lines, less these.
    fn fit(&mut self, count: u32) -> Option<u32> {
        let Chunk::Page(_, gaps) = self else { return None };
        let at = gaps.iter().position(|gap| gap.end - gap.start >= count)?;
        let first = gaps[at].start;
        gaps[at].start += count;
        if gaps[at].is_empty() {
            gaps.remove(at);
        }
        Some(first)
    }
}

impl Runs {
    pub fn take(&mut self, count: usize) -> Run {
        let few = self.lines < FEW || count > PAGE;
        self.lines += count;
        if few {
            let lines = std::iter::repeat_with(Line::default).take(count).collect();
            return Run { chunk: self.add(Chunk::Run(lines)), first: 0, count: count as u32 };
        }
        let count = count as u32;
        let mut chunks = self.chunks.iter_mut().enumerate();
        if let Some((chunk, first)) = chunks.find_map(|(at, chunk)| Some((at, chunk.fit(count)?))) {
            return Run { chunk: chunk as u32, first, count };
        }
        let rest = Vec::from_iter((count < PAGE as u32).then_some(count..PAGE as u32));
        Run { chunk: self.add(Chunk::Page(Huge::boxed(), rest)), first: 0, count }
    }

    pub fn give_back(&mut self, run: Run) {
        self.lines -= run.len();
        let range = run.range();
        let chunk = &mut self.chunks[run.chunk as usize];
        if let Chunk::Page(lines, gaps) = chunk {
            lines[range].iter_mut().for_each(Line::clear);
            let mut gap = run.first..run.first + run.count;
            let at = gaps.partition_point(|other| other.start < gap.start);
            if gaps.get(at).is_some_and(|after| after.start == gap.end) {
                gap.end = gaps.remove(at).end;
            }
            match at.checked_sub(1).map(|before| &mut gaps[before]) {
                Some(before) if before.end == gap.start => before.end = gap.end,
                _ => gaps.insert(at, gap),
            }
            if gaps[0] != (0..PAGE as u32) {
                return;
            }
        }
        *chunk = Chunk::Void;
        self.void.push(run.chunk);
    }

    #[inline(always)]
    pub fn lines(&self, run: &Run) -> &[Line] {
        &self.chunks[run.chunk as usize].lines()[run.range()]
    }

    pub fn lines_mut(&mut self, run: &Run) -> &mut [Line] {
        &mut self.chunks[run.chunk as usize].lines_mut()[run.range()]
    }

    fn add(&mut self, chunk: Chunk) -> u32 {
        match self.void.pop() {
            Some(at) => {
                self.chunks[at as usize] = chunk;
                at
            }
            None => {
                self.chunks.push(chunk);
                self.chunks.len() as u32 - 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use super::super::chunks::At;
    use super::super::lines;

    fn pages(runs: &Runs) -> usize {
        runs.chunks.iter().filter(|chunk| matches!(chunk, Chunk::Page(..))).count()
    }

    #[test]
    fn lines_given_back_are_taken_again_and_a_page_without_any_is_gone() {
        let mut runs = Runs::default();
        let first = runs.take(FEW);
        assert_eq!(pages(&runs), 0);
        let all: Vec<Run> = [PAGE / 2, PAGE / 4, PAGE / 4, PAGE].map(|count| runs.take(count)).into();
        assert_eq!(pages(&runs), 2);
        let mut all = all.into_iter();
        let (half, quarter) = (all.next().expect("four"), all.next().expect("four"));
        runs.give_back(half);
        runs.give_back(quarter);
        let again = runs.take(PAGE / 4 * 3);
        assert_eq!((pages(&runs), again.first), (2, 0));
        let more = runs.take(PAGE + 1);
        assert_eq!(pages(&runs), 2);
        all.chain([again, more, first]).for_each(|run| runs.give_back(run));
        assert_eq!((pages(&runs), runs.lines, runs.void.len()), (0, 0, runs.chunks.len()));
    }

    proptest! {
        #[test]
        fn runs_are_empty_when_they_are_taken_and_never_overlap(
            steps in proptest::collection::vec((any::<bool>(), 1..PAGE / 3, 0usize..100), 1..60),
        ) {
            let mut runs = Runs { lines: FEW, ..Runs::default() };
            let mut held: Vec<(u32, Run)> = Vec::new();
            for (number, (take, count, which)) in steps.into_iter().enumerate() {
                if take || held.is_empty() {
                    let (key, run) = (number as u32, runs.take(count));
                    prop_assert!(run.len() == count);
                    for line in runs.lines_mut(&run) {
                        prop_assert_eq!(line.numbers().count(), 0);
                        lines::put(std::slice::from_mut(line), 0, 7, At(key));
                    }
                    held.push((key, run));
                } else {
                    let (_, run) = held.swap_remove(which % held.len());
                    runs.give_back(run);
                }
                for (key, run) in &held {
                    let found = lines::find(runs.lines(run), 0, 7, |_| true);
                    prop_assert_eq!(found, Some((At(*key), (0, 0))));
                }
            }
            held.into_iter().for_each(|(_, run)| runs.give_back(run));
            prop_assert_eq!((runs.lines, pages(&runs)), (FEW, 0));
        }
    }
}
