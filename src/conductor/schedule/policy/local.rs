//! Cache-aware without moving blocks: wherever the first token comes soonest with what is cached there.

use super::super::round::{Round, Way};
use super::Choice;

pub fn choose(round: &Round<'_>) -> Option<Choice> {
    let index = round.least(|candidate| candidate.ttft(Way::Recompute))?;
    Some((index, Way::Recompute))
}
