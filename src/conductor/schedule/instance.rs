//! An instance as the scheduler knows it: its cost, its queue, and how far it is to be trusted.

use super::decoding::Decoding;
use super::queue::{Queue, larger};
use crate::conductor::cost::{Cost, Fit, Rates};

/// An instance until it is removed: one that is added again has another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub(super) u64);

impl InstanceId {
    pub fn raw(self) -> u64 {
        self.0
    }

    /// Whether it names an instance is found out by the call that it is given to.
    pub fn from_raw(raw: u64) -> InstanceId {
        InstanceId(raw)
    }
}

/// What an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Prefill,
    Decode,
    Both,
}

impl Role {
    pub fn prefills(self) -> bool {
        self != Role::Decode
    }

    pub fn decodes(self) -> bool {
        self != Role::Prefill
    }
}

/// What an instance says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Seconds that a request sent now would wait before its prefill.
    pub queue: Option<f64>,
    /// Requests that decode, and the tokens of their contexts.
    pub decoding: Option<(u32, u64)>,
    /// Seconds between tokens with these.
    pub tbt: Option<f64>,
}

/// Whether silence and failures speak against an instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Doubts {
    /// Seconds of silence after which an instance that should have been heard of fades: each more counts as one of
    /// waiting there.
    pub grace: f64,
    /// Seconds of silence after which it is not chosen while others are there.
    pub limit: f64,
    /// Seconds of waiting that a failure counts as; half as many each ten seconds.
    pub failure: f64,
}

impl Default for Doubts {
    fn default() -> Doubts {
        Doubts { grace: 5.0, limit: 30.0, failure: 5.0 }
    }
}

const FAILURE_HALF_LIFE: f64 = 10.0;

#[derive(Debug)]
pub struct Instance {
    pub role: Role,
    pub cost: Cost,
    /// Of the cost.
    pub rates: Rates,
    pub queue: Queue,
    /// If it decodes.
    pub decoding: Option<Decoding>,
    /// Until when what it sends to others keeps its link busy.
    pub sends_until: f64,
    /// Observed prefill times by predicted ones, lately.
    pub pace: f64,
    pub fit: Option<Fit>,
    /// When it was last heard of, and whether it reports by itself: then its silence counts although nothing is due.
    heard: f64,
    reports: bool,
    /// What failures counted as, and when.
    trouble: (f64, f64),
}

impl Instance {
    pub fn new(role: Role, cost: Cost, now: f64) -> Instance {
        Instance {
            role,
            cost,
            rates: cost.rates(),
            queue: Queue::default(),
            decoding: None,
            sends_until: f64::NEG_INFINITY,
            pace: 1.0,
            fit: None,
            heard: now,
            reports: false,
            trouble: (0.0, now),
        }
    }

    pub fn hear(&mut self, now: f64) {
        self.heard = self.heard.max(now);
    }

    pub fn hear_report(&mut self, now: f64) {
        self.hear(now);
        self.reports = true;
    }

    pub fn fail(&mut self, doubts: &Doubts, now: f64) {
        self.trouble = (self.trouble_at(now) + doubts.failure, now);
    }

    pub fn succeed(&mut self) {
        self.trouble.0 = 0.0;
    }

    /// Seconds since it should have been heard of.
    pub fn silence(&self, now: f64) -> f64 {
        let missed = match self.queue.due() {
            _ if self.reports => self.heard,
            Some(due) => larger(due, self.heard),
            None => return 0.0,
        };
        larger(now - missed, 0.0)
    }

    /// What so much silence and its failures count as, in seconds of waiting.
    pub fn doubt(&self, silence: f64, doubts: &Doubts, now: f64) -> f64 {
        larger(silence - doubts.grace, 0.0) + self.trouble_at(now)
    }

    fn trouble_at(&self, now: f64) -> f64 {
        let (seconds, since) = self.trouble;
        if seconds == 0.0 { 0.0 } else { seconds * (-(now - since).max(0.0) / FAILURE_HALF_LIFE).exp2() }
    }
}
