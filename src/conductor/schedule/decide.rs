//! The decision: what each instance would take, the policy's choice, and what the choice changes.

use super::instance::{Doubts, Instance};
use super::queue::LEVELS;
use super::round::{Candidate, Round, Source, Way};
use super::running::{Running, Stage};
use super::{Choose, Decision, InstanceId, Prefix, Request, RequestId, Scheduler, index_of, is_time};
use crate::bail;
use crate::error::Result;
use crate::id::Slab;

/// The longest prefix at any instance, and who sends it.
#[derive(Clone, Copy)]
struct Best {
    blocks: u32,
    from: Option<InstanceId>,
    /// Until when that one is busy with sending.
    sends_until: f64,
}

impl Scheduler {
    /// Decides where the request runs. `found` is what instances have of its prefix; those it does not name have
    /// nothing.
    pub fn decide(&mut self, request: &Request, found: &[Prefix], now: f64) -> Result<Decision> {
        self.decide_by(self.options.policy.choose, request, found, now)
    }

    /// The same by a rule of the caller's own.
    pub fn decide_by(
        &mut self,
        choose: Choose,
        request: &Request,
        found: &[Prefix],
        now: f64,
    ) -> Result<Decision> {
        is_time(now)?;
        if request.tokens == 0 {
            bail!(InvalidArgument, "a request has no tokens: it has at least 1");
        }
        if usize::from(request.priority) >= LEVELS {
            bail!(
                InvalidArgument,
                "priority {} of a request: it can be 0 to {}",
                request.priority,
                LEVELS - 1
            );
        }
        self.forget_silent(now);
        self.gather(request, found, now);
        let round = Round {
            candidates: &self.candidates,
            threshold: self.options.threshold,
            number: self.options.seed.wrapping_add(self.decisions),
        };
        let Some((index, way)) = choose(&round).filter(|(index, _)| *index < self.candidates.len()) else {
            bail!(NotReady, "no instance can prefill a request: add one");
        };
        let chosen = self.candidates[index];
        let decision = self.commit(request, &chosen, way, now)?;
        self.decisions += 1;
        Ok(decision)
    }

    /// Gives up what waits at instances that were silent for too long. They may be tried again after that.
    fn forget_silent(&mut self, now: f64) {
        let limit = self.options.doubts.limit;
        loop {
            let silent =
                |(_, instance): &(u64, &Instance)| instance.queue.len() > 0 && instance.silence(now) > limit;
            let Some((id, first)) =
                self.instances.iter().find(silent).map(|(id, instance)| (id, instance.queue.first()))
            else {
                return;
            };
            self.drop_queue(first);
            if let Ok(instance) = self.instances.get_mut(id) {
                instance.queue = Default::default();
                instance.queue.extend(now);
            }
        }
    }

    /// Fills `candidates`.
    fn gather(&mut self, request: &Request, found: &[Prefix], now: f64) {
        self.rounds += 1;
        for prefix in found {
            // Of an instance that was removed meanwhile nothing is said.
            if let Some(own) = self.found.get_mut(index_of(prefix.instance)) {
                *own = (self.rounds, *prefix);
            }
        }
        let best = best(&self.instances, found);
        let asking = Asking { request, best, congestion: self.options.congestion, now };
        self.candidates.clear();
        for gone in [false, true] {
            for (id, instance) in self.instances.iter().filter(|(_, instance)| instance.role.prefills()) {
                let is_gone = instance.silence(now) > self.options.doubts.limit;
                if is_gone == gone {
                    let id = InstanceId(id);
                    let (round, own) = &self.found[index_of(id)];
                    let own = (*round == self.rounds && own.instance == id).then_some(own);
                    self.candidates.push(asking.price(id, instance, own, &self.options.doubts));
                }
            }
            // Those that are gone are asked when there are no others.
            if !self.candidates.is_empty() {
                return;
            }
        }
    }

    fn commit(&mut self, request: &Request, chosen: &Candidate, way: Way, now: f64) -> Result<Decision> {
        let (reused, transfer, compute) = match way {
            Way::Recompute => (chosen.local, 0.0, chosen.recompute),
            Way::Transfer => (chosen.reach, chosen.transfer, chosen.rest),
        };
        let moved = reused.saturating_sub(chosen.local);
        let source = if moved > 0 { chosen.source } else { Source::Nowhere };
        let ttft = chosen.ttft(way);
        let instance = self.instances.get_mut(chosen.instance.0)?;
        let cached = instance.cost.tokens(reused).min(request.tokens - 1);
        let running = Running {
            prefill: chosen.instance,
            stage: Stage::Queued,
            level: usize::from(request.priority),
            arrived: now,
            ttft,
            work: transfer + compute,
            transfer,
            tokens: request.tokens,
            cached,
            before: 0,
            after: 0,
        };
        let id = self.requests.insert(running)?;
        instance.queue.push(&mut self.requests, id, now);
        let link_time = instance.cost.transfer(moved);
        if let Source::Instance(sender) = source
            && let Ok(sender) = self.instances.get_mut(sender.0)
        {
            sender.sends_until = sender.sends_until.max(now + chosen.queue) + link_time;
        }
        Ok(Decision {
            request: RequestId(id),
            prefill: chosen.instance,
            reused,
            moved,
            source,
            computed_tokens: request.tokens - cached,
            queue: chosen.queue,
            transfer,
            compute,
            ttft,
        })
    }
}

/// Of the longest, the one that is first done with sending.
fn best(instances: &Slab<Instance>, found: &[Prefix]) -> Best {
    let mut best = Best { blocks: 0, from: None, sends_until: 0.0 };
    for prefix in found {
        let blocks = own_blocks(prefix);
        if blocks == 0 || blocks < best.blocks {
            continue;
        }
        let Ok(instance) = instances.get(prefix.instance.0) else { continue };
        if blocks > best.blocks || instance.sends_until < best.sends_until {
            best = Best { blocks, from: Some(prefix.instance), sends_until: instance.sends_until };
        }
    }
    best
}

/// What the instance itself has, in its own tiers.
fn own_blocks(prefix: &Prefix) -> u32 {
    prefix.blocks[2]
}

/// One request, as it is put to each instance.
struct Asking<'a> {
    request: &'a Request,
    best: Best,
    congestion: bool,
    now: f64,
}

impl Asking<'_> {
    fn price(&self, id: InstanceId, instance: &Instance, own: Option<&Prefix>, doubts: &Doubts) -> Candidate {
        let cost = &instance.cost;
        let most = self.request.tokens.div_ceil(u64::from(cost.block_tokens));
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let [device, host, disk, store] = own.map_or([0; 4], |own| own.blocks).map(|blocks| blocks.min(most));
        let promised = own.map_or(0, |own| own.promised).min(most);
        let (on_host, on_disk) = (host.saturating_sub(device), disk.saturating_sub(host));
        // Whoever computes the promised ones is in front of this request.
        let local = disk.max(promised);
        let compute = |blocks| instance.pace * cost.prefill(self.request.tokens, blocks, on_host, on_disk);

        let doubt = instance.doubt(doubts, self.now);
        let queue = instance.queue.wait(usize::from(self.request.priority), self.now) + doubt;
        let is_idle = queue == 0.0 && instance.queue.len() == 0;
        let free_at = if is_idle { instance.queue.free_at() } else { self.now + queue };

        let (reach, source, wait) = self.reach(local, store, queue);
        let recompute = compute(local);
        let (transfer, rest) = if reach > local {
            (wait + cost.transfer(reach - local), compute(reach))
        } else {
            (0.0, recompute)
        };
        Candidate { instance: id, free_at, queue, doubt, local, recompute, reach, source, transfer, rest }
    }

    /// How far the prefix can be made to reach, from where, and how long that one is busy after the queue.
    fn reach(&self, local: u32, store: u32, queue: f64) -> (u32, Source, f64) {
        let best = &self.best;
        if store > local && store >= best.blocks {
            return (store, Source::Store, 0.0);
        }
        match best.from {
            Some(from) if best.blocks > local => {
                let busy = best.sends_until - (self.now + queue);
                let wait = if self.congestion { busy.max(0.0) } else { 0.0 };
                (best.blocks, Source::Instance(from), wait)
            }
            _ => (local, Source::Nowhere, 0.0),
        }
    }
}
