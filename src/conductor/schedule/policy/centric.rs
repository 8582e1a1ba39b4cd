//! KVCache-centric: wherever the first token comes soonest, with the blocks that are elsewhere priced in.
//!
//! The paper moves blocks whenever the best prefix anywhere is longer than `threshold` times that of the instance.
//! Without a threshold each instance takes the cheaper of moving and computing. It is all or nothing: a block further
//! back saves more time than one before it, so a part of what could be moved is never the best amount.

use super::super::round::{Candidate, Round, Way};
use super::Choice;

pub fn choose(round: &Round<'_>) -> Option<Choice> {
    let way = |candidate: &Candidate| way(round, candidate);
    let index = round.least(|candidate| candidate.ttft(way(candidate)))?;
    Some((index, way(&round.candidates[index])))
}

fn way(round: &Round<'_>, candidate: &Candidate) -> Way {
    let is_better = match round.threshold {
        Some(threshold) => f64::from(candidate.reach) > threshold * f64::from(candidate.local),
        None => candidate.ttft(Way::Transfer) < candidate.ttft(Way::Recompute),
    };
    if is_better && candidate.reach > candidate.local { Way::Transfer } else { Way::Recompute }
}
