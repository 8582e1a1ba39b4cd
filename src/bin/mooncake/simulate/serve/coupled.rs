//! The trace on instances that prefill and decode, each with a prefix cache of its own; the library's scheduler says
//! which one takes a request.

use mooncake::conductor::schedule::{
    InstanceId, Options, Policy, Prefix, Request, RequestId, Role, Scheduler, Verdict,
};
use mooncake::error::Result;

use super::super::numbered::Trace;
use super::super::schedule::caches::Caches;
use super::super::schedule::world::{Served, Setup, even, place};
use super::machine::{Event, Machine, Prompt};

/// What is played beside the setup, whose instances are all there are.
#[derive(Clone, Copy)]
pub struct Coupled {
    pub policy: Policy,
    /// Tokens of prompts in a step; none prefills whole prompts.
    pub chunk: Option<u64>,
    /// By how much a prefill takes longer or shorter than predicted, at most, as a share.
    pub noise: f64,
}

pub fn play(trace: &Trace, coupled: &Coupled, setup: &Setup) -> std::result::Result<Vec<Served>, String> {
    let run = || -> Result<Vec<Served>> {
        let mut world = World::new(trace, coupled, setup)?;
        for number in 0..trace.requests.len() {
            world.serve(number)?;
        }
        world.pass(f64::INFINITY)?;
        Ok(world.served)
    };
    run().map_err(|error| error.to_string())
}

struct World<'a> {
    trace: &'a Trace,
    coupled: &'a Coupled,
    setup: &'a Setup,
    scheduler: Scheduler,
    ids: Vec<InstanceId>,
    machines: Vec<Machine>,
    caches: Caches,
    found: Vec<Prefix>,
    /// By number in the trace: the scheduler's name, and seconds to the first token.
    under_way: Vec<(Option<RequestId>, f64)>,
    /// Events of one time span, with who has them.
    events: Vec<(f64, usize, Event)>,
    served: Vec<Served>,
}

impl<'a> World<'a> {
    fn new(trace: &'a Trace, coupled: &'a Coupled, setup: &'a Setup) -> Result<World<'a>> {
        let mut scheduler = Scheduler::new(Options { policy: coupled.policy, ..Options::default() })?;
        // Who decodes is not asked: it is who prefilled.
        let ids: Vec<InstanceId> = (0..setup.instances)
            .map(|_| scheduler.add(Role::Prefill, setup.cost, 0.0))
            .collect::<Result<_>>()?;
        Ok(World {
            trace,
            coupled,
            setup,
            scheduler,
            found: ids.iter().map(|id| Prefix { instance: *id, blocks: [0; 4], promised: 0 }).collect(),
            machines: ids.iter().map(|_| Machine::new(setup.cost, coupled.chunk)).collect(),
            caches: Caches::new(setup.instances, setup.capacity, trace.unique),
            ids,
            under_way: vec![(None, 0.0); trace.requests.len()],
            events: Vec::new(),
            served: Vec::new(),
        })
    }

    fn serve(&mut self, number: usize) -> Result<()> {
        let request = &self.trace.requests[number];
        let blocks = self.trace.blocks_of(request);
        let now = request.at / self.setup.speed;
        self.pass(now)?;
        self.caches.find(blocks, |instance, length| self.found[instance].blocks = [length; 4]);
        let tokens = request.input.max(1);
        let asked = Request { tokens, ..Request::default() };
        let Verdict::Run(decision) = self.scheduler.decide(&asked, &self.found, now)? else { return Ok(()) };
        let chosen = place(&self.ids, decision.prefill);
        // Whatever the policy would move: these have their own blocks alone.
        let own = self.found[chosen].blocks[0];
        self.under_way[number].0 = Some(decision.request);
        self.machines[chosen].push(Prompt {
            request: number as u64,
            tokens,
            cached: self.setup.cost.tokens(own).min(tokens - 1),
            output: request.output,
            pace: 1.0 + self.coupled.noise * even(number as u64),
        });
        self.caches.touch(chosen, blocks);
        Ok(())
    }

    /// All that happens until `now`, told in the order in which it does.
    fn pass(&mut self, now: f64) -> Result<()> {
        self.events.clear();
        for (index, machine) in self.machines.iter_mut().enumerate() {
            while let Some((at, event)) = machine.next(now) {
                self.events.push((at, index, event));
            }
        }
        self.events.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        for (at, _, event) in std::mem::take(&mut self.events) {
            match event {
                Event::FirstToken { request } => {
                    let (id, ttft) = &mut self.under_way[request as usize];
                    *ttft = at - self.trace.requests[request as usize].at / self.setup.speed;
                    id.map_or(Ok(()), |id| self.scheduler.finished(id, at))?;
                }
                Event::Finished { request, gap } => {
                    let ttft = self.under_way[request as usize].1;
                    self.served.push(Served { ttft, gap });
                }
            }
        }
        Ok(())
    }
}
