//! Rules of the caller's own, watched: each is timed, and one that fails or takes too long again and again is
//! switched off, and the built-in rule used.
//!
//! Cost, score and admission are asked while the scheduler of the request's model is locked, so that what they see
//! is what is decided by: other requests of that model wait for them. Replication is asked with no lock held. None
//! of them may call the conductor: it refuses, since that could wait for itself.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::words::{InstanceId, Match};
use crate::bail;
use crate::conductor::schedule::Rejection;
use crate::error::Result;
use crate::sys::clock;
use crate::telemetry::metrics::Counter;

/// What a hook is told of the request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked<'a> {
    pub model: &'a str,
    /// What the caller calls the request, or empty.
    pub name: &'a str,
    /// Tokens of input, and full blocks of it.
    pub tokens: u64,
    pub blocks: u32,
    pub priority: u8,
    pub class: u8,
    pub output: Option<u32>,
}

/// One rank of an instance, and its numbers for the request. Times are seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub instance: InstanceId,
    pub rank: u32,
    /// From now until it would begin with this request.
    pub queue: f64,
    /// What of `queue` is there because it is silent or failed lately.
    pub doubt: f64,
    /// Blocks of the prefix that it has, and that it would have after moving what others have.
    pub local: u32,
    pub reach: u32,
    /// Who would send them; none: the store, or nobody if `reach` is not above `local`.
    pub source: Option<(InstanceId, u32)>,
    /// Prefill with what it has.
    pub recompute: f64,
    /// What moving adds to the queue, and prefill after that.
    pub transfer: f64,
    pub rest: f64,
}

/// What a decision comes to, before it is made. Times are seconds; a load of 1 is as much as the class allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prospect {
    pub chosen: Candidate,
    pub decode: Option<(InstanceId, u32)>,
    pub ttft: f64,
    pub tbt: f64,
    pub prefill_load: f64,
    pub decode_load: f64,
    pub decode_foreseen: f64,
}

/// What of a prompt should be copied, in blocks from its beginning: those from `from` on, before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copying {
    pub sender: (InstanceId, u32),
    pub receiver: (InstanceId, u32),
    pub from: u32,
    pub to: u32,
}

/// May change `queue`, `recompute`, `transfer` and `rest` of each candidate. False: it failed, and nothing changes.
pub type CostHook = dyn Fn(&Asked<'_>, &mut [Candidate]) -> bool + Send + Sync;
/// Gives each candidate a price, of which the lowest is chosen; infinite: not this one. False: it failed.
pub type ScoreHook = dyn Fn(&Asked<'_>, &[Candidate], &mut [f64]) -> bool + Send + Sync;
/// Gets what the built-in admission says, and may say otherwise. False: it failed.
pub type AdmissionHook = dyn Fn(&Asked<'_>, &Prospect, &mut Option<Rejection>) -> bool + Send + Sync;
/// Gets the built-in advice, if there is one, and may give another or none. False: it failed.
pub type ReplicateHook = dyn Fn(&Asked<'_>, &[Match], &mut Option<Copying>) -> bool + Send + Sync;

/// Each is called from any thread that schedules, possibly from several at once.
#[derive(Default)]
pub struct Hooks {
    pub cost: Option<Box<CostHook>>,
    pub score: Option<Box<ScoreHook>>,
    pub admission: Option<Box<AdmissionHook>>,
    pub replicate: Option<Box<ReplicateHook>>,
}

/// What a hook may take, and how often it may not keep to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A call that takes longer counts as one that failed; what it said counts nevertheless.
    pub budget: Duration,
    /// So many failed calls in a row switch the hook off; at least 1.
    pub strikes: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { budget: Duration::from_millis(1), strikes: 3 }
    }
}

impl Patience {
    pub(super) fn check(&self) -> Result<()> {
        if self.strikes == 0 || self.budget.is_zero() {
            bail!(InvalidArgument, "hooks need a budget above 0 and at least 1 strike, not {self:?}");
        }
        Ok(())
    }
}

thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Refuses calls that come from a hook.
pub(super) fn refuse_inside() -> Result<()> {
    if IS_INSIDE.get() {
        bail!(InvalidState, "a hook called the conductor: decide by what the hook is given");
    }
    Ok(())
}

/// How the calls of one hook went.
#[derive(Debug)]
pub struct Watch {
    pub name: &'static str,
    pub calls: Counter,
    pub failures: Counter,
    pub overruns: Counter,
    /// Failed calls in a row; once it is at the limit it stays there.
    strikes: AtomicU32,
    patience: Patience,
}

impl Watch {
    fn new(name: &'static str, patience: Patience) -> Watch {
        let (calls, failures, overruns) = Default::default();
        Watch { name, calls, failures, overruns, strikes: AtomicU32::new(0), patience }
    }

    pub fn is_off(&self) -> bool {
        self.strikes.load(Relaxed) >= self.patience.strikes
    }

    /// What the hook says; none if it is off or failed.
    fn ask<T>(&self, hook: impl FnOnce() -> Option<T>) -> Option<T> {
        if self.is_off() {
            return None;
        }
        self.calls.increment();
        IS_INSIDE.set(true);
        let began = clock::now_ns();
        let said = catch_unwind(AssertUnwindSafe(hook));
        let took = Duration::from_nanos(clock::now_ns().saturating_sub(began));
        IS_INSIDE.set(false);
        let said = said.unwrap_or_else(|_| {
            tracing::error!("the conductor's {} hook panicked", self.name);
            None
        });
        let is_late = took > self.patience.budget;
        if said.is_none() {
            self.failures.increment();
        }
        if is_late {
            self.overruns.increment();
        }
        self.judge(said.is_some() && !is_late);
        said
    }

    fn judge(&self, is_good: bool) {
        let limit = self.patience.strikes;
        let next = |strikes: u32| match is_good {
            _ if strikes >= limit => None,
            true => Some(0),
            false => Some(strikes + 1),
        };
        let before = self.strikes.fetch_update(Relaxed, Relaxed, next);
        if !is_good && before == Ok(limit - 1) {
            tracing::warn!(
                "the conductor's {} hook failed or took longer than {:?} {limit} times in a row: it is switched off, \
                 and the built-in rule used from here on",
                self.name,
                self.patience.budget
            );
        }
    }
}

struct Watched<T: ?Sized> {
    hook: Option<Box<T>>,
    watch: Watch,
}

impl<T: ?Sized> Watched<T> {
    fn new(hook: Option<Box<T>>, name: &'static str, patience: Patience) -> Watched<T> {
        Watched { hook, watch: Watch::new(name, patience) }
    }

    fn is_asked(&self) -> bool {
        self.hook.is_some() && !self.watch.is_off()
    }
}

/// The hooks of a conductor, each with its watch.
pub(super) struct Guarded {
    cost: Watched<CostHook>,
    score: Watched<ScoreHook>,
    admission: Watched<AdmissionHook>,
    replicate: Watched<ReplicateHook>,
}

impl Guarded {
    pub fn new(hooks: Hooks, patience: Patience) -> Guarded {
        Guarded {
            cost: Watched::new(hooks.cost, "cost", patience),
            score: Watched::new(hooks.score, "score", patience),
            admission: Watched::new(hooks.admission, "admission", patience),
            replicate: Watched::new(hooks.replicate, "replicate", patience),
        }
    }

    fn all(&self) -> [Option<&Watch>; 4] {
        let there = |is_there: bool, watch| is_there.then_some(watch);
        [
            there(self.cost.hook.is_some(), &self.cost.watch),
            there(self.score.hook.is_some(), &self.score.watch),
            there(self.admission.hook.is_some(), &self.admission.watch),
            there(self.replicate.hook.is_some(), &self.replicate.watch),
        ]
    }

    /// Of the hooks that there are.
    pub fn watches(&self) -> impl Iterator<Item = &Watch> {
        self.all().into_iter().flatten()
    }

    /// Those that were switched off, a bit each.
    pub fn off(&self) -> u32 {
        let is_off = |watch: Option<&Watch>| u32::from(watch.is_some_and(Watch::is_off));
        self.all().into_iter().zip(0..).fold(0, |bits, (watch, bit)| bits | is_off(watch) << bit)
    }

    /// Whether any is asked with the candidates.
    pub fn judge_candidates(&self) -> bool {
        self.cost.is_asked() || self.score.is_asked() || self.admission.is_asked()
    }

    /// Changes the candidates' times as the hook says, if it says something sensible.
    pub fn cost(
        &self,
        asked: &Asked<'_>,
        candidates: &mut [Candidate],
        scratch: &mut Vec<Candidate>,
    ) -> bool {
        let Some(hook) = self.cost.hook.as_ref().filter(|_| !candidates.is_empty()) else { return false };
        scratch.clear();
        scratch.extend_from_slice(candidates);
        let said = self.cost.watch.ask(|| {
            let is_sound = hook(asked, scratch)
                && scratch.iter().flat_map(times).all(|time| time.is_finite() && time >= 0.0);
            is_sound.then_some(())
        });
        if said.is_some() {
            for (candidate, new) in candidates.iter_mut().zip(scratch) {
                let [queue, recompute, transfer, rest] = times(new);
                *candidate = Candidate { queue, recompute, transfer, rest, ..*candidate };
            }
        }
        said.is_some()
    }

    /// The candidate of the lowest price.
    pub fn score(&self, asked: &Asked<'_>, candidates: &[Candidate], prices: &mut Vec<f64>) -> Option<usize> {
        let hook = self.score.hook.as_ref().filter(|_| !candidates.is_empty())?;
        prices.clear();
        prices.resize(candidates.len(), f64::INFINITY);
        self.score.watch.ask(|| {
            let is_sound = hook(asked, candidates, prices) && !prices.iter().any(|price| price.is_nan());
            let best = prices.iter().enumerate().min_by(|(_, one), (_, other)| one.total_cmp(other));
            best.filter(|(_, price)| is_sound && **price < f64::INFINITY).map(|(index, _)| index)
        })
    }

    /// What the hook makes of the built-in `refusal`.
    pub fn admission(
        &self,
        asked: &Asked<'_>,
        prospect: &Prospect,
        refusal: Option<Rejection>,
    ) -> Option<Rejection> {
        let Some(hook) = &self.admission.hook else { return refusal };
        let said = self.admission.watch.ask(|| {
            let mut said = refusal;
            let is_sound = hook(asked, prospect, &mut said)
                && said.is_none_or(|said| said.retry_after.is_finite() && said.retry_after >= 0.0);
            is_sound.then_some(said)
        });
        said.unwrap_or(refusal)
    }

    /// What the hook makes of the built-in `advice`.
    pub fn replicate(&self, asked: &Asked<'_>, found: &[Match], advice: Option<Copying>) -> Option<Copying> {
        let Some(hook) = &self.replicate.hook else { return advice };
        let knows = |(instance, rank)| found.iter().any(|one| (one.instance, one.rank) == (instance, rank));
        let is_sound = |copying: &Copying| {
            copying.from < copying.to
                && copying.to <= asked.blocks
                && copying.sender != copying.receiver
                && knows(copying.sender)
                && knows(copying.receiver)
        };
        let said = self.replicate.watch.ask(|| {
            let mut said = advice;
            (hook(asked, found, &mut said) && said.as_ref().is_none_or(is_sound)).then_some(said)
        });
        said.unwrap_or(advice)
    }
}

fn times(candidate: &Candidate) -> [f64; 4] {
    [candidate.queue, candidate.recompute, candidate.transfer, candidate.rest]
}
