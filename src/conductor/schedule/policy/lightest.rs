//! Load balancing: whose queue ends first; of the idle, who has been so for longest.

use super::super::round::{Round, Way};
use super::Choice;

pub fn choose(round: &Round<'_>) -> Option<Choice> {
    Some((round.least(|candidate| candidate.free_at)?, Way::Recompute))
}
