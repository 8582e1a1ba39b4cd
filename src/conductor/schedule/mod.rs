//! Where a request runs: which instance prefills it, where its blocks come from, and when its first token will be there.
//!
//! ```text
//!   a request, and          round.rs   what it would take at each instance      policy/   one rule per file
//!   who has which of  --->                                                         |
//!   its blocks              decide.rs   the decision, and what it changes  <-------+
//!                             group.rs, admission.rs   long prompts on several instances; who decodes; what is rejected
//!                             rules.rs   where a caller decides instead
//!                             instance.rs, queue.rs, decoding.rs, running.rs   what is known of instances and requests
//!   started, first token,
//!   finished, failed  ---> feedback.rs   what really happened     accuracy.rs   how far predictions are off
//!                                                  learned.rs    what of it outlives a restart
//!   keys of the blocks --> replicate.rs   which prefixes deserve another copy
//! ```
//!
//! Nothing here reads a clock: every call says what time it is, in seconds on any clock that does not go back. Once
//! there are as many requests under way as there ever will be, no call allocates. One thread at a time calls.

mod accuracy;
mod admission;
mod decide;
mod decoding;
mod feedback;
mod group;
mod instance;
mod learned;
mod policy;
mod queue;
mod replicate;
mod round;
mod rules;
mod running;
#[cfg(test)]
mod tests;

pub use accuracy::Accuracy;
pub use admission::{Admission, Reason, Rejection};
pub use group::{Group, MOST_IN_GROUP};
pub use instance::{Doubts, InstanceId, Report, Role};
pub use learned::Learned;
pub use policy::{Choice, Choose, Policy};
pub use queue::LEVELS;
pub use replicate::{Advice, Replication};
pub use round::{Candidate, Round, Source, Way};
pub use rules::{Prospect, Rules};
pub use running::RequestId;

use crate::bail;
use crate::conductor::cost::{Cost, Fit};
use crate::error::Result;
use crate::id::{Id, Slab};
use decoding::Decoding;
use instance::Instance;
use replicate::Replicator;
use running::{Links, Running};

/// Most instances at once.
pub const MOST_INSTANCES: usize = 4096;
/// Classes of service.
pub const CLASSES: usize = 4;

/// What a class of requests is promised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class {
    /// Seconds to the first token, and between tokens.
    pub ttft: f64,
    pub tbt: f64,
    /// The load up to which its requests are taken on: below 1, room is kept for other classes.
    pub limit: f64,
}

impl Default for Class {
    /// What the paper promises.
    fn default() -> Class {
        Class { ttft: 30.0, tbt: 0.1, limit: 1.0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    pub policy: Policy,
    /// With the policy "global": blocks are moved if the best prefix anywhere is longer than this times that of the
    /// instance (the paper's `kvcache_balancing_threshold`). None moves them if that is faster.
    pub threshold: Option<f64>,
    /// Whether blocks begin to move when the request is decided, after what their sender already sends. If not, they
    /// move when its turn has come, over a link of its own (the paper's Algorithm 1).
    pub eager: bool,
    /// Of the policy "random".
    pub seed: u64,
    pub doubts: Doubts,
    /// The weight of a new observation in the pace of an instance, by which predictions are multiplied: 0 to 1.
    pub learning: f64,
    /// Most instances that prefill a request together, if one alone would be too late for its class: 1 to
    /// MOST_IN_GROUP.
    pub most_in_group: usize,
    /// When to advise copies of what is asked for often; None never does.
    pub replication: Option<Replication>,
    pub admission: Admission,
    pub classes: [Class; CLASSES],
    /// Seconds that a request decodes, until `learning` has made them those that are observed. The same for all, as
    /// in the paper, but for those that bring their output along.
    pub decode_seconds: f64,
    /// Seconds for which decoding is foreseen: at least those of a prefill with its queue, and of decoding.
    pub horizon: f64,
    /// Seconds of decoding after which a request is given up as one whose end was not told.
    pub longest_decode: f64,
    /// The number of observations from which on an instance's numbers of prefill are those that fit them.
    pub fit_after: Option<u32>,
    /// Most requests under way at once.
    pub most_requests: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            policy: Policy::GLOBAL,
            threshold: None,
            eager: true,
            seed: 0,
            doubts: Doubts::default(),
            learning: 0.1,
            most_in_group: 1,
            replication: None,
            admission: Admission::Everything,
            classes: [Class::default(); CLASSES],
            decode_seconds: 20.0,
            horizon: 128.0,
            longest_decode: 3600.0,
            fit_after: None,
            most_requests: 1 << 18,
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Request {
    /// Tokens of input, at least 1.
    pub tokens: u64,
    /// Among those that wait at an instance, higher ones go first: 0 to LEVELS - 1.
    pub priority: u8,
    /// Which of [`Options::classes`].
    pub class: u8,
    /// Tokens of output, where they are known beforehand.
    pub output: Option<u32>,
}

/// What one instance has of a request's prefix, in blocks from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub instance: InstanceId,
    /// By tier, as in [`crate::conductor::index::HolderMatch`]: each within this or a nearer one.
    pub blocks: [u32; 4],
    /// With those that requests in front of this one will leave there.
    pub promised: u32,
}

/// Where a request runs. Times are seconds, as predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    pub request: RequestId,
    pub prefill: InstanceId,
    /// Who prefills it with that one: each a part of the layers.
    pub group: Group,
    /// Who decodes; none if no instance does.
    pub decode: Option<InstanceId>,
    /// Blocks of the prefix that need not be computed: the instance's own, and those that are moved there.
    pub reused: u32,
    pub moved: u32,
    /// Where the moved blocks come from.
    pub source: Source,
    pub computed_tokens: u64,
    pub queue: f64,
    pub transfer: f64,
    pub compute: f64,
    /// The three together: from now to the first token.
    pub ttft: f64,
    /// Between tokens after that, as it is when decoding begins.
    pub tbt: f64,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Run(Decision),
    Rejected(Rejection),
}

impl Verdict {
    pub fn decision(self) -> Option<Decision> {
        match self {
            Verdict::Run(decision) => Some(decision),
            Verdict::Rejected(_) => None,
        }
    }
}

/// The scheduler of one model's instances.
pub struct Scheduler {
    options: Options,
    instances: Slab<Instance>,
    requests: Slab<Running>,
    /// Those that decode, in the order in which they began to.
    decoding: Links,
    /// How long requests decode, as it is known by now.
    decode_seconds: f64,
    decisions: u64,
    rejections: u64,
    lost: u64,
    accuracy: Accuracy,
    replicator: Option<Replicator>,
    candidates: Vec<Candidate>,
    /// Where in what was found there is something of an instance, by the index of its id; beyond it if nothing was.
    places: Vec<usize>,
}

impl Scheduler {
    pub fn new(options: Options) -> Result<Scheduler> {
        let Options { threshold, learning, doubts, .. } = options;
        if !(0.0..=1.0).contains(&learning) {
            bail!(InvalidArgument, "learning is {learning}: it can be 0 to 1");
        }
        if threshold.is_some_and(|threshold| !(threshold >= 0.0 && threshold.is_finite())) {
            bail!(InvalidArgument, "the balancing threshold is {threshold:?}: it can be 0 and above");
        }
        for (name, seconds) in [
            ("the grace of silence", doubts.grace),
            ("the limit of silence", doubts.limit),
            ("a failure", doubts.failure),
            ("decoding", options.decode_seconds),
            ("the longest decoding", options.longest_decode),
        ] {
            if seconds.is_nan() || seconds < 0.0 {
                bail!(InvalidArgument, "{name} is {seconds} seconds: it can be 0 and above");
            }
        }
        if !(1..=MOST_IN_GROUP).contains(&options.most_in_group) {
            let most = options.most_in_group;
            bail!(InvalidArgument, "a group of {most} instances: it can be of 1 to {MOST_IN_GROUP}");
        }
        options.replication.map_or(Ok(()), |replication| replication.check())?;
        if !(1e-3..=1e9).contains(&options.horizon) {
            bail!(InvalidArgument, "the horizon is {} seconds: it can be 0.001 to 1e9", options.horizon);
        }
        for (number, class) in options.classes.iter().enumerate() {
            if [class.ttft, class.tbt, class.limit].iter().any(|promise| promise.is_nan() || *promise <= 0.0)
            {
                bail!(InvalidArgument, "class {number} promises {class:?}: all of it must be above 0");
            }
        }
        Ok(Scheduler {
            instances: Slab::new("instance", 0, MOST_INSTANCES),
            requests: Slab::new("request", 0, options.most_requests),
            options,
            decoding: Links::default(),
            decode_seconds: options.decode_seconds,
            decisions: 0,
            rejections: 0,
            lost: 0,
            accuracy: Accuracy::default(),
            replicator: options.replication.map(Replicator::new),
            candidates: Vec::new(),
            places: Vec::new(),
        })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn add(&mut self, role: Role, cost: Cost, now: f64) -> Result<InstanceId> {
        is_time(now)?;
        cost.check()?;
        let mut instance = Instance::new(role, cost, now);
        instance.decoding = role.decodes().then(|| Decoding::new(self.options.horizon, now));
        instance.fit = self.options.fit_after.map(|count| Fit::new(cost.prefill, count.saturating_mul(4)));
        let id = InstanceId(self.instances.insert(instance)?);
        self.places.resize(self.places.len().max(index_of(id) + 1), usize::MAX);
        Ok(id)
    }

    /// Forgets an instance and all requests that wait for their first token there: their ids are stale at once.
    pub fn remove(&mut self, id: InstanceId) -> Result<()> {
        let instance = self.instances.remove(id.0)?;
        self.drop_queue(instance.queue.first());
        Ok(())
    }

    pub fn instance_count(&self) -> usize {
        self.instances.len()
    }

    /// Requests that were decided and have not ended.
    pub fn running(&self) -> usize {
        self.requests.len()
    }

    /// Requests that were not taken on.
    pub fn rejections(&self) -> u64 {
        self.rejections
    }

    /// How long requests decode, in seconds, as it is known by now.
    pub fn decode_seconds(&self) -> f64 {
        self.decode_seconds
    }

    /// Requests that were given up: their instance fell silent before their first token, or their end was not told.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    pub fn accuracy(&self) -> &Accuracy {
        &self.accuracy
    }

    /// What the last decision was made of: every instance that could be chosen.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The cost of an instance as it is known now.
    pub fn cost(&self, id: InstanceId) -> Result<&Cost> {
        Ok(&self.instances.get(id.0)?.cost)
    }

    fn drop_queue(&mut self, mut next: Option<u64>) {
        while let Some(id) = next {
            let Ok(request) = self.requests.remove(id) else { return };
            self.lost += 1;
            self.forget_stay(&request);
            next = (request.after != 0).then_some(request.after);
        }
    }

    /// Takes back what was foreseen of the request's decoding.
    fn forget_stay(&mut self, request: &Running) {
        if let Some(decoding) = self.decoding_of(request.decode) {
            decoding.forget(&request.stay);
        }
    }
}

fn index_of(id: InstanceId) -> usize {
    Id::from_raw(id.0).index as usize
}

fn is_time(now: f64) -> Result<()> {
    // Far enough for any clock, and a millisecond still counts.
    if now.is_nan() || now.abs() > 1e12 {
        bail!(InvalidArgument, "the time of a call is {now}: it must be a number of seconds up to 1e12");
    }
    Ok(())
}
