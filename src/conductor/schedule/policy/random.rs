//! Any instance: what others are measured against.

use super::super::round::{Round, Way};
use super::Choice;
use crate::sys::splitmix::Random;

pub fn choose(round: &Round<'_>) -> Option<Choice> {
    let count = round.candidates.len() as u64;
    (count > 0).then(|| ((Random::new(round.number).bits() % count) as usize, Way::Recompute))
}
