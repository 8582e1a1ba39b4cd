//! Whether a request is taken on at all: rejecting it early is better than late.
//!
//! A load of 1 is as much as the SLO of the request's class allows. The load of prefill is the predicted time to the
//! first token by the limit. That of decode is the time between tokens by its limit, the mean over all instances
//! (the paper's); or the memory in use with the request, of the instance that has most left, if that is more.
//!
//! What is rejected after its prefill wasted the prefill. Whoever looks at the load of decode at the moment (early
//! rejection) decides by what will have changed when the prefill ends: prefill and decode then are busy in turns.
//! Looking at what is foreseen for that moment removes the swing.

use super::decoding::bounded;
use super::instance::Instance;
use super::running::{RequestId, Stage};
use super::{Class, InstanceId, Request, Scheduler, is_time};
use crate::bail;
use crate::error::Result;
use crate::id::Slab;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Everything is taken on.
    Everything,
    /// Prefill by its own load; decode is asked when the prefill has ended ([`Scheduler::recheck`]).
    Load,
    /// Decode is asked first too, by its load at the moment.
    Early,
    /// The same by its load as it is foreseen for the end of the prefill.
    Predicted,
}

impl Admission {
    pub const ALL: [(&'static str, Admission); 4] = [
        ("none", Admission::Everything),
        ("load", Admission::Load),
        ("early", Admission::Early),
        ("predicted", Admission::Predicted),
    ];
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The first token would come too late.
    Prefill,
    /// The tokens after it would.
    Decode,
    /// A rule of the caller's own says so.
    Rule,
}

/// Why a request was not taken on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rejection {
    pub reason: Reason,
    /// What the load would be, and what it may be.
    pub load: f64,
    pub limit: f64,
    /// Seconds after which it is worth asking again.
    pub retry_after: f64,
}

/// Nobody is told to come back sooner.
const SOONEST_RETRY: f64 = 0.1;

/// Who decodes, and how much room there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    pub instance: Option<InstanceId>,
    /// Seconds between tokens there when the prefill ends, with the request at hand.
    pub tbt: f64,
    /// The load of decode at the moment, and when the prefill ends.
    pub load: f64,
    pub foreseen: f64,
}

/// Chooses who decodes: the least time between tokens in the slot in which the prefill ends, among those that have room
/// from then on.
pub fn decoder(instances: &Slab<Instance>, class: &Class, tokens: u64, slot: i64) -> Decoder {
    let mut chosen = Decoder::default();
    let own = bounded(tokens);
    let mut best = (true, f64::INFINITY);
    let (mut count, mut memory, mut memory_then) = (0.0, f64::INFINITY, f64::INFINITY);
    for (id, instance) in instances.iter() {
        let Some(decoding) = &instance.decoding else { continue };
        let (cost, rates, pace) = (&instance.cost, &instance.rates, decoding.pace);
        let (now, then) = (decoding.now(), decoding.foreseen(slot));
        count += 1.0;
        chosen.load += pace * now.tbt(cost);
        chosen.foreseen += pace * then.tbt(cost);
        memory = now.with(own).memory(rates).min(memory);
        let tbt = pace * then.with(own).tbt(cost);
        // Of those without room, the one with the most.
        let price = |full: f64| (full > 1.0, if full > 1.0 { full } else { tbt });
        // To find the most tokens from then on takes time, and they are not less than those of then: for nearly all
        // that is too much already.
        let least = then.with(own).memory(rates);
        if price(least) >= best && least >= memory_then {
            continue;
        }
        let full = rates.memory(decoding.peak(slot) + own);
        memory_then = full.min(memory_then);
        let price = price(full);
        if price < best {
            best = price;
            (chosen.instance, chosen.tbt) = (Some(InstanceId(id)), tbt);
        }
    }
    if count > 0.0 {
        let all = count * class.tbt;
        chosen.load = (chosen.load / all).max(memory);
        chosen.foreseen = (chosen.foreseen / all).max(memory_then);
    }
    chosen
}

impl Scheduler {
    /// None if the request is taken on.
    pub(super) fn refuse(&self, request: &Request, ttft: f64, decoder: &Decoder) -> Option<Rejection> {
        if self.options.admission == Admission::Everything {
            return None;
        }
        let class = &self.options.classes[usize::from(request.class)];
        let decode = match self.options.admission {
            Admission::Everything | Admission::Load => 0.0,
            Admission::Early => decoder.load,
            Admission::Predicted => decoder.foreseen,
        };
        let prefill = ttft / class.ttft;
        // Each second takes one from the queue.
        let late = ttft - class.limit * class.ttft;
        self.over(class, Reason::Prefill, prefill, late)
            .or_else(|| self.over(class, Reason::Decode, decode, self.decode_relief(class, decode)))
    }

    /// Asks again when the prefill has ended and before the first token is told: whether the instance that is to
    /// decode has room now. What is rejected then has to be cancelled.
    pub fn recheck(&self, id: RequestId, now: f64) -> Result<Option<Rejection>> {
        is_time(now)?;
        let request = self.requests.get(id.0)?;
        if request.stage == Stage::Decoding {
            bail!(InvalidState, "request {:#x} decodes already: it is too late to reject it", id.0);
        }
        let instance = request.decode.and_then(|id| self.instances.get(id.0).ok());
        let Some((instance, decoding)) = instance.and_then(|one| Some((one, one.decoding.as_ref()?))) else {
            return Ok(None);
        };
        if self.options.admission == Admission::Everything {
            return Ok(None);
        }
        let class = &self.options.classes[request.class];
        let (batch, cost) = (decoding.now(), &instance.cost);
        let tbt = decoding.pace * batch.tbt(cost) / class.tbt;
        let load = tbt.max(batch.with(request.stay.tokens).memory(&instance.rates));
        Ok(self.over(class, Reason::Decode, load, self.decode_relief(class, load)))
    }

    fn over(&self, class: &Class, reason: Reason, load: f64, relief: f64) -> Option<Rejection> {
        let rejection =
            Rejection { reason, load, limit: class.limit, retry_after: relief.max(SOONEST_RETRY) };
        // What is no number is too much.
        (load.is_nan() || load > class.limit).then_some(rejection)
    }

    /// If nobody came, a batch would be empty after the time that one takes to decode.
    fn decode_relief(&self, class: &Class, load: f64) -> f64 {
        self.decode_seconds * (1.0 - class.limit / load).max(0.0)
    }
}
