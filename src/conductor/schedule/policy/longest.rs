//! The longest prefix, whatever the queue. Kept to show what it does: a prompt that all requests begin with sends all
//! of them to one instance.

use super::super::round::{Round, Way};
use super::Choice;

pub fn choose(round: &Round<'_>) -> Option<Choice> {
    let longest = round.candidates.iter().map(|candidate| candidate.local).max()?;
    let free_at = |lacking: bool, at: f64| if lacking { f64::INFINITY } else { at };
    let index = round.least(|candidate| free_at(candidate.local < longest, candidate.free_at))?;
    Some((index, Way::Recompute))
}
