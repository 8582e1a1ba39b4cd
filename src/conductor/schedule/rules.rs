//! Rules of the caller's own, in the places of the built-in ones.

use super::admission::Rejection;
use super::policy::{Choice, Choose};
use super::round::{Candidate, Round, Way};
use super::{InstanceId, Scheduler};

/// What a decision comes to, before it is made. Times are seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prospect {
    pub chosen: Candidate,
    pub way: Way,
    pub decode: Option<InstanceId>,
    pub ttft: f64,
    pub tbt: f64,
    /// Loads, of which 1 is as much as the class allows: of prefill with this request, of decode at the moment and as it
    /// is foreseen for the end of the prefill.
    pub prefill_load: f64,
    pub decode_load: f64,
    pub decode_foreseen: f64,
}

/// Asked in this order, once each per decision. What is not said otherwise is as without rules.
pub trait Rules {
    /// May change the times of the candidates, all finite and not below 0, and nothing else.
    fn price(&mut self, _candidates: &mut [Candidate]) {}

    /// None, or an index beyond the candidates, if none of them will do.
    fn choose(&mut self, round: &Round<'_>) -> Option<Choice>;

    /// `refusal` is what the scheduler's own admission says of it.
    fn admit(&mut self, _prospect: &Prospect, refusal: Option<Rejection>) -> Option<Rejection> {
        refusal
    }
}

/// A policy alone.
impl Rules for Choose {
    fn choose(&mut self, round: &Round<'_>) -> Option<Choice> {
        self(round)
    }
}

impl Scheduler {
    /// What the scheduler's own policy chooses.
    pub fn built_in(&self) -> Choose {
        self.options.policy.choose
    }
}
