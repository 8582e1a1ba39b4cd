//! Instances that prefill one request after the other, driven by the library's scheduler.
//!
//! The reference model: what the scheduler predicts is what happens, blocks that are moved or computed are cached at
//! once, and nothing but prefill takes time. It is told every first token at its time, as a router would.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use mooncake::conductor::cost::Cost;
use mooncake::conductor::schedule::{
    Decision, InstanceId, Options, Policy, Prefix, Request, RequestId, Role, Scheduler,
};

use super::super::numbered::{self, Trace};
use super::caches::Caches;

/// What is played.
#[derive(Clone, Copy)]
pub struct Setup {
    pub instances: usize,
    /// Blocks that each instance caches.
    pub capacity: u64,
    pub cost: Cost,
    pub threshold: Option<f64>,
    /// By how much faster requests come than the trace says.
    pub speed: f64,
}

/// What came of it.
#[derive(Default, PartialEq, Debug)]
pub struct Played {
    /// Seconds to the first token, ascending.
    pub ttft: Vec<f64>,
    /// Blocks of the prefix that were not computed, and those of them that were moved.
    pub hits: u64,
    pub moved: u64,
    /// Seconds of prefill.
    pub busy: f64,
    /// By instance.
    pub requests: Vec<u64>,
    /// Errors of predictions as a share of what was predicted.
    pub error: f64,
}

impl Played {
    pub fn mean(&self) -> f64 {
        self.ttft.iter().sum::<f64>() / self.ttft.len().max(1) as f64
    }

    /// The smallest that a share of all is not above.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = (self.ttft.len() as f64 * share).ceil().max(1.0) as usize - 1;
        self.ttft.get(rank.min(self.ttft.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }

    pub fn busiest(&self) -> u64 {
        self.requests.iter().copied().max().unwrap_or(0)
    }
}

struct World<'a> {
    setup: &'a Setup,
    scheduler: Scheduler,
    ids: Vec<InstanceId>,
    caches: Caches,
    /// By instance, until when it works.
    busy_until: Vec<f64>,
    first_tokens: BinaryHeap<Reverse<(Instant, u64)>>,
    found: Vec<Prefix>,
    played: Played,
}

pub fn play(trace: &Trace, policy: Policy, setup: &Setup) -> Result<Played, String> {
    let mut world = World::new(trace, policy, setup).map_err(|error| error.to_string())?;
    for request in &trace.requests {
        world.serve(request, trace.blocks_of(request)).map_err(|error| error.to_string())?;
    }
    world.tell_first_tokens(f64::INFINITY).map_err(|error| error.to_string())?;
    let World { mut played, scheduler, .. } = world;
    played.ttft.sort_unstable_by(f64::total_cmp);
    played.error = scheduler.accuracy().relative();
    Ok(played)
}

impl<'a> World<'a> {
    fn new(trace: &Trace, policy: Policy, setup: &'a Setup) -> mooncake::error::Result<World<'a>> {
        // One number stands for all that a link does here, and predictions come true.
        let options = Options {
            policy,
            threshold: setup.threshold,
            congestion: false,
            learning: 0.0,
            ..Options::default()
        };
        let mut scheduler = Scheduler::new(options)?;
        let add = |_| scheduler.add(Role::Prefill, setup.cost, 0.0);
        let ids = (0..setup.instances).map(add).collect::<mooncake::error::Result<Vec<InstanceId>>>()?;
        Ok(World {
            setup,
            scheduler,
            found: ids.iter().map(|id| Prefix { instance: *id, blocks: [0; 4], promised: 0 }).collect(),
            ids,
            caches: Caches::new(setup.instances, setup.capacity, trace.unique),
            busy_until: vec![0.0; setup.instances],
            first_tokens: BinaryHeap::new(),
            played: Played { requests: vec![0; setup.instances], ..Played::default() },
        })
    }

    fn serve(&mut self, request: &numbered::Request, blocks: &[u32]) -> mooncake::error::Result<()> {
        let now = request.at / self.setup.speed;
        self.tell_first_tokens(now)?;
        self.caches.find(blocks, |instance, length| self.found[instance].blocks = [length; 4]);
        let asked = Request { tokens: request.input.max(1), ..Request::default() };
        let decision = self.scheduler.decide(&asked, &self.found, now)?;
        let chosen = self.ids.iter().position(|id| *id == decision.prefill);
        let chosen = chosen.expect("the scheduler chooses among the instances that it was given");
        let first_token = self.prefill(chosen, asked.tokens, &decision, now);
        self.first_tokens.push(Reverse((Instant(first_token), decision.request.raw())));
        self.caches.touch(chosen, blocks);
        self.played.ttft.push(first_token - now);
        self.played.requests[chosen] += 1;
        self.played.hits += u64::from(decision.reused);
        self.played.moved += u64::from(decision.moved);
        Ok(())
    }

    /// When the first token will be there.
    fn prefill(&mut self, instance: usize, tokens: u64, decision: &Decision, now: f64) -> f64 {
        let cost = &self.setup.cost;
        let compute = cost.prefill(tokens, decision.reused, 0, 0);
        let until = self.busy_until[instance].max(now) + cost.transfer(decision.moved) + compute;
        self.busy_until[instance] = until;
        self.played.busy += compute;
        until
    }

    /// Tells the scheduler what happened by `now`.
    fn tell_first_tokens(&mut self, now: f64) -> mooncake::error::Result<()> {
        while let Some(Reverse((Instant(at), id))) =
            self.first_tokens.peek().copied().filter(|next| next.0.0.0 <= now)
        {
            self.first_tokens.pop();
            self.scheduler.finished(RequestId::from_raw(id), at)?;
        }
        Ok(())
    }
}

/// A time that can be ordered.
#[derive(Clone, Copy, PartialEq)]
struct Instant(f64);

impl Eq for Instant {}

impl PartialOrd for Instant {
    fn partial_cmp(&self, other: &Instant) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Instant {
    fn cmp(&self, other: &Instant) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
