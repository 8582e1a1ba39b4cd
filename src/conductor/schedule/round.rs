//! What a policy sees of one request: every instance that may prefill it, and what it would take there.

use super::InstanceId;

/// How an instance gets what it lacks of the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Recompute,
    /// Move what others have, and compute the rest.
    Transfer,
}

/// Where blocks come from that the chosen instance does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Nowhere,
    Instance(InstanceId),
    Store,
}

/// One instance, and its numbers for the request at hand. Times are seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub instance: InstanceId,
    /// On the clock of the calls: when its queue ends; if it is idle, when that began.
    pub free_at: f64,
    /// From now until it would begin with this request.
    pub queue: f64,
    /// What of `queue` is there because it is silent or failed lately.
    pub doubt: f64,
    /// Blocks of the prefix that it has.
    pub local: u32,
    /// Prefill with these.
    pub recompute: f64,
    /// Blocks that it would have after moving; not above `local` if there is nothing to move.
    pub reach: u32,
    pub source: Source,
    /// What moving them adds to the queue, the wait for the sender included.
    pub transfer: f64,
    /// Prefill after that.
    pub rest: f64,
}

impl Candidate {
    /// From now until the first token.
    pub fn ttft(&self, way: Way) -> f64 {
        match way {
            Way::Recompute => self.queue + self.recompute,
            Way::Transfer => self.queue + self.transfer + self.rest,
        }
    }
}

/// One request and its candidates, in the order of the instances' ids.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    pub candidates: &'a [Candidate],
    /// See [`super::Options::threshold`].
    pub threshold: Option<f64>,
    /// Requests before this one, and the seed.
    pub number: u64,
}

impl Round<'_> {
    /// The candidate with the lowest price; of several the first.
    pub fn least(&self, price: impl Fn(&Candidate) -> f64) -> Option<usize> {
        let prices = self.candidates.iter().map(price).enumerate();
        prices.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(index, _)| index)
    }
}
