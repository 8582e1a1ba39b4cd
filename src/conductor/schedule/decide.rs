//! The decision: what each instance would take, the policy's choice, and what the choice changes.

use super::admission::{Decoder, Rejection, decoder};
use super::decoding::{Decoding, Stay, slot};
use super::group::{Group, Plan, plan};
use super::instance::{Doubts, Instance};
use super::queue::{LEVELS, larger};
use super::round::{Candidate, Round, Source, Way};
use super::rules::{Prospect, Rules};
use super::running::{Running, Stage, at};
use super::{
    CLASSES, Class, Decision, InstanceId, Options, Prefix, Request, RequestId, Scheduler, Verdict, index_of,
    is_time,
};
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

/// What is decided, before it changes anything.
struct Considered {
    chosen: Candidate,
    way: Way,
    plan: Plan,
    decoder: Decoder,
    refusal: Option<Rejection>,
}

impl Scheduler {
    /// Decides where the request runs. `found` is what instances have of its prefix; those it does not name have
    /// nothing.
    pub fn decide(&mut self, request: &Request, found: &[Prefix], now: f64) -> Result<Verdict> {
        self.decide_with(&mut self.built_in(), request, found, now)
    }

    /// The same by rules of the caller's own.
    pub fn decide_with(
        &mut self,
        rules: &mut dyn Rules,
        request: &Request,
        found: &[Prefix],
        now: f64,
    ) -> Result<Verdict> {
        let considered = self.consider(rules, request, found, now)?;
        if let Some(rejection) = considered.refusal {
            self.rejections += 1;
            return Ok(Verdict::Rejected(rejection));
        }
        let mut decision = self.outline(request, &considered)?;
        decision.request = self.commit(request, &considered, &decision, now)?;
        self.decisions += 1;
        Ok(Verdict::Run(decision))
    }

    /// What `decide_with` would say. The request of the decision is no request: nothing is committed.
    pub fn preview(
        &mut self,
        rules: &mut dyn Rules,
        request: &Request,
        found: &[Prefix],
        now: f64,
    ) -> Result<Verdict> {
        let considered = self.consider(rules, request, found, now)?;
        Ok(match considered.refusal {
            Some(rejection) => Verdict::Rejected(rejection),
            None => Verdict::Run(self.outline(request, &considered)?),
        })
    }

    fn consider(
        &mut self,
        rules: &mut dyn Rules,
        request: &Request,
        found: &[Prefix],
        now: f64,
    ) -> Result<Considered> {
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
        let Some(class) = self.options.classes.get(usize::from(request.class)).copied() else {
            bail!(InvalidArgument, "class {} of a request: it can be 0 to {}", request.class, CLASSES - 1);
        };
        self.gather(request, found, now);
        self.forget_endless(now);
        rules.price(&mut self.candidates);
        let round = Round {
            candidates: &self.candidates,
            threshold: self.options.threshold,
            number: self.options.seed.wrapping_add(self.decisions),
        };
        let choice = rules.choose(&round).filter(|(index, _)| *index < self.candidates.len());
        let Some((index, way)) = choice else {
            bail!(NotReady, "no instance can prefill a request: add one");
        };
        let chosen = self.candidates[index];
        let plan = self.plan(request, &class, index, way)?;
        let ttft = plan.ttft();
        let slot = slot(now + ttft, self.options.horizon);
        let decoder = decoder(&self.instances, &class, request.tokens, slot);
        let prospect = Prospect {
            chosen,
            way,
            decode: decoder.instance,
            ttft,
            tbt: decoder.tbt,
            prefill_load: ttft / class.ttft,
            decode_load: decoder.load,
            decode_foreseen: decoder.foreseen,
        };
        let refusal = rules.admit(&prospect, self.refuse(request, ttft, &decoder));
        Ok(Considered { chosen, way, plan, decoder, refusal })
    }

    /// Gives up those whose end was never told.
    fn forget_endless(&mut self, now: f64) {
        while let Some(request) = at(&mut self.requests, self.decoding.first) {
            if now - request.decodes_since <= self.options.longest_decode {
                break;
            }
            let id = RequestId(self.decoding.first);
            self.lost += u64::from(self.cancelled(id, now).is_ok());
        }
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
        self.places.fill(usize::MAX);
        for (place, prefix) in found.iter().enumerate() {
            // Of an instance that was removed meanwhile nothing is said.
            if let Some(own) = self.places.get_mut(index_of(prefix.instance)) {
                *own = place;
            }
        }
        let Options { eager, doubts, .. } = self.options;
        let asking = Asking { request, found, best: best(&self.instances, found), eager, doubts, now };
        if self.ask(&asking, doubts.limit) {
            self.forget_silent(now);
            self.ask(&asking, doubts.limit);
        }
        // Those that are gone are asked when there are no others.
        if self.candidates.is_empty() {
            self.ask(&asking, f64::INFINITY);
        }
    }

    /// Asks those that have not been silent for longer than `limit`. Whether requests wait at one that has.
    fn ask(&mut self, asking: &Asking<'_>, limit: f64) -> bool {
        let mut is_waited_for = false;
        self.candidates.clear();
        for (id, instance) in self.instances.iter().filter(|(_, instance)| instance.role.prefills()) {
            let (id, silence) = (InstanceId(id), instance.silence(asking.now));
            if silence > limit {
                is_waited_for |= instance.queue.len() > 0;
                continue;
            }
            let own = asking.found.get(self.places[index_of(id)]).filter(|own| own.instance == id);
            self.candidates.push(asking.price(id, instance, own, silence));
        }
        is_waited_for
    }

    /// The choice with its times, on several instances if that is what it takes to be in time.
    fn plan(&self, request: &Request, class: &Class, index: usize, way: Way) -> Result<Plan> {
        let chosen = &self.candidates[index];
        let (transfer, compute, reused) = match way {
            Way::Recompute => (0.0, chosen.recompute, chosen.local),
            Way::Transfer => (chosen.transfer, chosen.rest, chosen.reach),
        };
        let alone = Plan { group: Group::default(), queue: chosen.queue, transfer, compute };
        let cost = &self.instances.get(chosen.instance.0)?.cost;
        let computed = request.tokens.saturating_sub(cost.tokens(reused)).max(1);
        let chunks = computed.div_ceil(cost.chunk_tokens) as f64;
        Ok(plan(alone, class, &self.candidates, index, chunks, self.options.most_in_group))
    }

    /// The decision, under no id yet.
    fn outline(&self, request: &Request, considered: &Considered) -> Result<Decision> {
        let Considered { chosen, way, plan, decoder, .. } = considered;
        let reused = if *way == Way::Transfer { chosen.reach } else { chosen.local };
        let moved = reused.saturating_sub(chosen.local);
        let cost = &self.instances.get(chosen.instance.0)?.cost;
        Ok(Decision {
            request: RequestId(0),
            prefill: chosen.instance,
            group: plan.group,
            decode: decoder.instance,
            reused,
            moved,
            source: if moved > 0 { chosen.source } else { Source::Nowhere },
            computed_tokens: request.tokens - cost.tokens(reused).min(request.tokens - 1),
            queue: plan.queue,
            transfer: plan.transfer,
            compute: plan.compute,
            ttft: plan.ttft(),
            tbt: decoder.tbt,
        })
    }

    fn commit(
        &mut self,
        request: &Request,
        considered: &Considered,
        decision: &Decision,
        now: f64,
    ) -> Result<RequestId> {
        let Considered { chosen, decoder, .. } = considered;
        let Decision { group, queue, transfer, compute, ttft, .. } = *decision;
        // Waiting for the others of a group takes the first one's time too.
        let gathering = queue - chosen.queue;
        let decode_seconds =
            request.output.map_or(self.decode_seconds, |tokens| f64::from(tokens) * decoder.tbt);
        // At the end of its stay the context has the output too: on average a half.
        let tokens = request.tokens.saturating_add(u64::from(request.output.unwrap_or(0) / 2));
        let stay = self
            .decoding_of(decoder.instance)
            .map_or(Stay::NONE, |decoding| decoding.stay(now, now + ttft, decode_seconds, tokens));
        let instance = self.instances.get_mut(chosen.instance.0)?;
        let running = Running {
            prefill: chosen.instance,
            decode: decoder.instance,
            stage: Stage::Queued,
            class: usize::from(request.class),
            level: usize::from(request.priority),
            arrived: now,
            ttft,
            work: gathering + transfer + compute,
            pace: instance.pace,
            transfer: gathering + transfer,
            tokens: request.tokens,
            cached: request.tokens - decision.computed_tokens,
            is_shared: group.size() > 1,
            stay,
            decode_seconds,
            decodes_since: now,
            before: 0,
            after: 0,
        };
        let id = self.requests.insert(running)?;
        instance.queue.push(&mut self.requests, id, now);
        for other in group.others() {
            self.instances.get_mut(other.0)?.queue.hold(now + ttft);
        }
        if let Some(decoding) = self.decoding_of(decoder.instance) {
            decoding.expect(&stay);
        }
        let instance = self.instances.get(chosen.instance.0)?;
        let link_time = instance.rates.transfer(decision.moved);
        if let Source::Instance(sender) = decision.source
            && let Ok(sender) = self.instances.get_mut(sender.0)
        {
            sender.sends_until = sender.sends_until.max(now) + link_time;
        }
        Ok(RequestId(id))
    }

    pub(super) fn decoding_of(&mut self, id: Option<InstanceId>) -> Option<&mut Decoding> {
        self.instances.get_mut(id?.0).ok()?.decoding.as_mut()
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
pub fn own_blocks(prefix: &Prefix) -> u32 {
    prefix.blocks[2]
}

/// One request, as it is put to each instance.
struct Asking<'a> {
    request: &'a Request,
    found: &'a [Prefix],
    best: Best,
    eager: bool,
    doubts: Doubts,
    now: f64,
}

impl Asking<'_> {
    fn price(&self, id: InstanceId, instance: &Instance, own: Option<&Prefix>, silence: f64) -> Candidate {
        let (cost, rates) = (&instance.cost, &instance.rates);
        let (blocks, promised) = own.map_or(([0; 4], 0), |own| (own.blocks, own.promised));
        // Those of another prompt that goes on behind this one do not count: to find out takes a division.
        let is_longer =
            blocks.iter().chain([&promised]).any(|blocks| cost.tokens(*blocks) > self.request.tokens);
        let most = if is_longer {
            u32::try_from(self.request.tokens.div_ceil(u64::from(cost.block_tokens))).unwrap_or(u32::MAX)
        } else {
            u32::MAX
        };
        let [device, host, disk, store] = blocks.map(|blocks| blocks.min(most));
        let promised = promised.min(most);
        let load = rates.load(host.saturating_sub(device), disk.saturating_sub(host));
        // Whoever computes the promised ones is in front of this request.
        let local = disk.max(promised);
        let compute =
            |blocks| instance.pace * rates.overlapped(load, cost.prefill(self.request.tokens, blocks));

        let doubt = instance.doubt(silence, &self.doubts, self.now);
        let queue = instance.queue.wait(usize::from(self.request.priority), self.now) + doubt;
        let is_idle = queue == 0.0 && instance.queue.len() == 0;
        let free_at = if is_idle { instance.queue.free_at() } else { self.now + queue };

        let (reach, source, wait) = self.reach(local, store);
        let recompute = compute(local);
        let (transfer, rest) = if reach > local {
            let moving = wait + rates.transfer(reach - local);
            // What moves while the request waits takes no time of its own.
            (if self.eager { larger(moving - queue, 0.0) } else { moving }, compute(reach))
        } else {
            (0.0, recompute)
        };
        Candidate { instance: id, free_at, queue, doubt, local, recompute, reach, source, transfer, rest }
    }

    /// How far the prefix can be made to reach, from where, and how long that one is busy.
    fn reach(&self, local: u32, store: u32) -> (u32, Source, f64) {
        let best = &self.best;
        if store > local && store >= best.blocks {
            return (store, Source::Store, 0.0);
        }
        match best.from {
            Some(from) if best.blocks > local => {
                let wait = if self.eager { larger(best.sends_until - self.now, 0.0) } else { 0.0 };
                (best.blocks, Source::Instance(from), wait)
            }
            _ => (local, Source::Nowhere, 0.0),
        }
    }
}
