//! Gaps between the tokens of a batch, and of each request in it the longest ones.
//!
//! The time between tokens of a request is the mean of the longest tenth of its gaps, as the paper has it: a mean over
//! all would hide that a request stood still. All requests of a batch have the same gaps while they are in it, so the
//! gaps are written down once, and each request knows from where on they are its own.

use std::collections::VecDeque;

#[derive(Default)]
pub struct Gaps {
    /// Seconds of a gap, and how many of them came one after the other.
    spans: VecDeque<(f64, f64)>,
    /// Spans that were forgotten in front of them.
    gone: usize,
    sorted: Vec<(f64, f64)>,
}

/// More spans than this are looked through for those that nobody needs.
const MANY: usize = 4096;

impl Gaps {
    /// What comes from now on.
    pub fn mark(&self) -> usize {
        self.gone + self.spans.len()
    }

    pub fn add(&mut self, seconds: f64, count: f64) {
        if count > 0.0 {
            self.spans.push_back((seconds, count));
        }
    }

    /// Mean of the longest tenth since the mark, at least of one; `more` is by how much the first is longer than
    /// those of the others.
    pub fn longest_tenth(&mut self, mark: usize, more: f64) -> f64 {
        let spans = self.spans.range(mark.saturating_sub(self.gone).min(self.spans.len())..);
        self.sorted.clear();
        self.sorted.extend(spans);
        let Some(first) = self.sorted.first_mut() else { return more.max(0.0) };
        let (seconds, count) = *first;
        first.1 = (count - 1.0).max(0.0);
        self.sorted.push((seconds + more, count.min(1.0)));
        let all: f64 = self.sorted.iter().map(|span| span.1).sum();
        self.sorted.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
        let tenth = (all / 10.0).max(all.min(1.0));
        let (mut left, mut sum) = (tenth, 0.0);
        for (seconds, count) in &self.sorted {
            let taken = count.min(left);
            sum += taken * seconds;
            left -= taken;
        }
        sum / tenth
    }

    pub fn has_many(&self) -> bool {
        self.spans.len() > MANY
    }

    /// Forgets what is before the mark.
    pub fn forget(&mut self, mark: usize) {
        let count = mark.saturating_sub(self.gone).min(self.spans.len());
        self.spans.drain(..count);
        self.gone += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_gaps_counts_and_at_least_one() {
        let mut gaps = Gaps::default();
        gaps.add(9.0, 5.0);
        let mark = gaps.mark();
        gaps.add(1.0, 18.0);
        gaps.add(4.0, 1.0);
        gaps.add(2.0, 1.0);
        assert_eq!(gaps.longest_tenth(mark, 0.0), 3.0, "two of twenty");
        assert_eq!(gaps.longest_tenth(mark, 6.0), 5.5, "its first took longer");
        let mark = gaps.mark();
        assert_eq!((gaps.longest_tenth(mark, 0.0), gaps.longest_tenth(mark, 2.0)), (0.0, 2.0));
        gaps.add(1.0, 3.0);
        assert_eq!(gaps.longest_tenth(mark, -0.5), 1.0);
        gaps.forget(mark);
        assert_eq!((gaps.mark(), gaps.longest_tenth(mark, 0.0)), (mark + 1, 1.0));
    }
}
