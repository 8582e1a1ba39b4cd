//! A request is put to an instance: matched, decided, promised, remembered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::Conductor;
use super::explain::Kept;
use super::hooks::{self, Asked, Copying, Guarded, refuse_inside};
use super::intake::{Walked, with_walked};
use super::state::{Desk, LiveRequest, Scratch, Space};
use super::words::*;
use crate::conductor::schedule::{self, Choice, Choose, Rejection, Round, Rules, Verdict};
use crate::error::{Context as _, Result};
use crate::sys::clock;
use crate::{bail, fail};

impl Conductor {
    /// Decides where a request runs. Its blocks count as promised to the instance that prefills it, and the request as
    /// running there, until [`Conductor::feedback`] tells its end.
    pub fn schedule(&self, request: &Request<'_>) -> Result<Answer> {
        refuse_inside()?;
        let began = clock::now_ns();
        let space = self.space(request.context)?;
        is_name("request", request.name, true)?;
        let name = self.reserve(request.name)?;
        let answer = with_walked(|walked| self.place(&space, request, walked));
        match &answer {
            Ok(Answer::Run(decision)) => name.keep(decision.request),
            _ => drop(name),
        }
        self.counts.schedule_latency.observe(Duration::from_nanos(clock::now_ns() - began), 1);
        answer.context(format_args!("scheduling a request for model {:?}", space.context.model))
    }

    fn place(&self, space: &Arc<Space>, request: &Request<'_>, walked: &mut Walked) -> Result<Answer> {
        let blocks = self.walk(space, request.prompt, walked)?;
        let asked = asked(space, request, blocks)?;
        let now = self.now();
        let mut desk = space.model.desk.lock();
        let wanted = wanted(&asked);
        let verdict = desk.ask(&self.hooks, &asked, &wanted, &walked.prefixes, now, Scheduling::Commit)?;
        let decision = match verdict {
            Verdict::Run(decision) => decision,
            Verdict::Rejected(rejection) => {
                self.counts.rejected(rejection.reason).increment();
                return Ok(Answer::Rejected(rejection));
            }
        };
        let Desk { scheduler, explained, .. } = &mut *desk;
        explained.keep(Kept::new(wanted, blocks, now, verdict), scheduler.candidates());
        let advice = desk.scheduler.advise(&walked.keys, &walked.prefixes, now)?;
        let advice = advice.and_then(|advice| {
            let place = |id| desk.places.get(&id).map(|place| (place.instance, place.rank));
            let (sender, receiver) = (place(advice.sender)?, place(advice.receiver)?);
            Some(Copying { sender, receiver, from: advice.from, to: advice.to })
        });
        let mut told = tell(&desk.places, &decision, blocks)?;
        drop(desk);

        let promised = self.promise(space, &told, &walked.keys);
        let live = LiveRequest {
            name: request.name.into(),
            model: space.model.clone(),
            core: decision.request,
            space: space.clone(),
            promised,
        };
        told.request = self.remember(live)?;
        let copying = self.hooks.replicate(&asked, &walked.found, advice);
        told.advice = copying.and_then(|copying| self.advise(request.context, copying, &walked.keys));
        self.counts.decided(&told);
        Ok(Answer::Run(Box::new(told)))
    }

    /// What [`Conductor::schedule`] would say of the request, and why: JSON. Nothing changes.
    pub fn explain_request(&self, request: &Request<'_>) -> Result<String> {
        refuse_inside()?;
        let space = self.space(request.context)?;
        is_name("request", request.name, true)?;
        let explained: Result<String> = with_walked(|walked| {
            let blocks = self.walk(&space, request.prompt, walked)?;
            let asked = asked(&space, request, blocks)?;
            let now = self.now();
            let wanted = wanted(&asked);
            let mut desk = space.model.desk.lock();
            let verdict =
                desk.ask(&self.hooks, &asked, &wanted, &walked.prefixes, now, Scheduling::Preview)?;
            let kept = Kept::new(wanted, blocks, now, verdict);
            Ok(kept.json(&space.model.name, None, desk.scheduler.candidates(), &desk, now))
        });
        explained.context(format_args!("explaining a request for model {:?}", space.context.model))
    }

    /// Counts the blocks that the request leaves at its instance as on their way there.
    fn promise(
        &self,
        space: &Space,
        decision: &Decision,
        keys: &[u64],
    ) -> Option<(crate::conductor::index::HolderId, Box<[u64]>)> {
        let now = self.now_ms();
        // The first token may come late; what was not told of by then is not there.
        let seconds = 2.0 * decision.ttft + self.options.promise_seconds;
        let deadline = now.saturating_add(
            Duration::try_from_secs_f64(seconds)
                .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        );
        let mut indexed = space.indexed.write();
        let holder = *indexed.ids.get(&(decision.prefill.instance, decision.prefill.rank))?;
        let made = indexed.index.promise(holder, keys, deadline, now);
        self.counts.promised.add(made as u64);
        (made > 0).then(|| (holder, keys.into()))
    }

    fn remember(&self, live: LiveRequest) -> Result<RequestId> {
        let mut table = self.live.lock();
        // The slab drops what finds no room.
        let (model, core) = (live.model.clone(), live.core);
        let inserted = table.requests.insert(live);
        drop(table);
        if inserted.is_err() {
            let _ = model.desk.lock().scheduler.cancelled(core, self.now());
        }
        Ok(RequestId(inserted?))
    }

    /// The advice with names and keys; kept for [`Conductor::take_advice`] too.
    fn advise(&self, context: ContextId, copying: Copying, keys: &[u64]) -> Option<Advice> {
        let directory = self.directory.read();
        let place = |(id, rank): (InstanceId, u32)| Some(directory.instances.get(id.0).ok()?.place(rank));
        let advice = Advice {
            context,
            sender: place(copying.sender)?,
            receiver: place(copying.receiver)?,
            from: copying.from,
            keys: keys.get(copying.from as usize..copying.to as usize)?.to_vec(),
        };
        drop(directory);
        self.counts.advised.increment();
        let mut open = self.advice.lock();
        if open.len() >= super::MOST_ADVICE {
            open.pop_front();
        }
        open.push_back(advice.clone());
        Some(advice)
    }

    /// Takes the oldest piece of advice that nobody took yet, if `fits` has nothing against it: then it stays. Of too many
    /// the oldest are lost.
    pub fn take_advice(&self, fits: &mut dyn FnMut(&Advice) -> Result<()>) -> Result<Option<Advice>> {
        refuse_inside()?;
        let mut open = self.advice.lock();
        open.front().map_or(Ok(()), fits)?;
        Ok(open.pop_front())
    }

    /// The id of the live request that the caller gave this name.
    pub fn request(&self, name: &str) -> Result<RequestId> {
        refuse_inside()?;
        let known = self.live.lock().by_name.get(name).copied();
        known
            .filter(|id| *id != NOBODY)
            .ok_or_else(|| fail!(NotFound, "no request is called {name:?}, or no longer"))
    }

    fn reserve<'a>(&'a self, name: &'a str) -> Result<Reserved<'a>> {
        if !name.is_empty() {
            let mut live = self.live.lock();
            if live.by_name.contains_key(name) {
                bail!(AlreadyExists, "a request is called {name:?} already: tell its end first");
            }
            live.by_name.insert(name.into(), NOBODY);
        }
        Ok(Reserved { conductor: self, name })
    }
}

/// A name whose request is not decided yet.
const NOBODY: RequestId = RequestId(0);

/// A name that is taken, for as long as it takes to decide the request; and given back if there is none then.
struct Reserved<'a> {
    conductor: &'a Conductor,
    name: &'a str,
}

impl Reserved<'_> {
    fn keep(mut self, request: RequestId) {
        let name = std::mem::take(&mut self.name);
        if let Some(own) = self.conductor.live.lock().by_name.get_mut(name) {
            *own = request;
        }
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            self.conductor.live.lock().by_name.remove(self.name);
        }
    }
}

/// Whether a decision is meant.
#[derive(Clone, Copy, PartialEq)]
enum Scheduling {
    Commit,
    Preview,
}

impl Desk {
    fn ask(
        &mut self,
        hooks: &Guarded,
        asked: &Asked<'_>,
        wanted: &schedule::Request,
        found: &[schedule::Prefix],
        now: f64,
        scheduling: Scheduling,
    ) -> Result<Verdict> {
        let Desk { scheduler, places, scratch, .. } = self;
        let mut rules = Hooked { hooks, asked, places, scratch, built_in: scheduler.built_in() };
        let verdict = match scheduling {
            Scheduling::Commit => scheduler.decide_with(&mut rules, wanted, found, now),
            Scheduling::Preview => scheduler.preview(&mut rules, wanted, found, now),
        };
        verdict.map_err(|error| match error.code {
            crate::error::Code::NotReady => {
                fail!(
                    NotReady,
                    "no instance can prefill for model {:?} with its block size: register one",
                    asked.model
                )
            }
            _ => error,
        })
    }
}

/// The caller's hooks in the places of the built-in rules.
struct Hooked<'a> {
    hooks: &'a Guarded,
    asked: &'a Asked<'a>,
    places: &'a HashMap<schedule::InstanceId, Place>,
    scratch: &'a mut Scratch,
    built_in: Choose,
}

impl Hooked<'_> {
    fn rank(&self, id: schedule::InstanceId) -> Option<(InstanceId, u32)> {
        self.places.get(&id).map(|place| (place.instance, place.rank))
    }

    fn shown(&self, one: &schedule::Candidate) -> hooks::Candidate {
        let (instance, rank) = self.rank(one.instance).unwrap_or((InstanceId(0), 0));
        let source = match one.source {
            schedule::Source::Instance(id) if one.reach > one.local => self.rank(id),
            _ => None,
        };
        hooks::Candidate {
            instance,
            rank,
            queue: one.queue,
            doubt: one.doubt,
            local: one.local,
            reach: one.reach,
            source,
            recompute: one.recompute,
            transfer: one.transfer,
            rest: one.rest,
        }
    }
}

impl Rules for Hooked<'_> {
    fn price(&mut self, candidates: &mut [schedule::Candidate]) {
        if !self.hooks.judge_candidates() {
            return;
        }
        let mut shown = std::mem::take(&mut self.scratch.candidates);
        shown.clear();
        shown.extend(candidates.iter().map(|one| self.shown(one)));
        if self.hooks.cost(self.asked, &mut shown, &mut self.scratch.changed) {
            for (own, new) in candidates.iter_mut().zip(&shown) {
                let hooks::Candidate { queue, recompute, transfer, rest, .. } = *new;
                let free_at = own.free_at + (queue - own.queue);
                *own = schedule::Candidate { free_at, queue, recompute, transfer, rest, ..*own };
            }
        }
        self.scratch.candidates = shown;
    }

    fn choose(&mut self, round: &Round<'_>) -> Option<Choice> {
        let Scratch { candidates, prices, .. } = &mut *self.scratch;
        if self.hooks.judge_candidates()
            && let Some(index) = self.hooks.score(self.asked, candidates, prices)
        {
            // How it gets its blocks is as if there were no other.
            let alone = Round { candidates: round.candidates.get(index..=index)?, ..*round };
            return (self.built_in)(&alone).map(|(_, way)| (index, way));
        }
        (self.built_in)(round)
    }

    fn admit(&mut self, prospect: &schedule::Prospect, refusal: Option<Rejection>) -> Option<Rejection> {
        let shown = hooks::Prospect {
            chosen: self.shown(&prospect.chosen),
            decode: prospect.decode.and_then(|id| self.rank(id)),
            ttft: prospect.ttft,
            tbt: prospect.tbt,
            prefill_load: prospect.prefill_load,
            decode_load: prospect.decode_load,
            decode_foreseen: prospect.decode_foreseen,
        };
        self.hooks.admission(self.asked, &shown, refusal)
    }
}

/// The request as hooks see it, if it makes sense.
fn asked<'a>(space: &'a Space, request: &Request<'a>, blocks: u32) -> Result<Asked<'a>> {
    let in_blocks = u64::from(blocks) * u64::from(space.context.block_size);
    let told = match request.prompt {
        Prompt::Tokens(tokens) => tokens.len() as u64,
        Prompt::Keys(_) => in_blocks,
    };
    let tokens = if request.tokens == 0 { told } else { request.tokens };
    if tokens < in_blocks {
        bail!(
            InvalidArgument,
            "a request of {tokens} tokens with {blocks} full blocks of {}: it has at least {in_blocks}",
            space.context.block_size
        );
    }
    Ok(Asked {
        model: &space.context.model,
        name: request.name,
        tokens,
        blocks,
        priority: request.priority,
        class: request.class,
        output: request.output,
    })
}

/// The same as the scheduler sees it.
fn wanted(asked: &Asked<'_>) -> schedule::Request {
    let Asked { tokens, priority, class, output, .. } = *asked;
    schedule::Request { tokens, priority, class, output }
}

/// The decision with the names of who is in it, under no id yet.
fn tell(
    places: &HashMap<schedule::InstanceId, Place>,
    decision: &schedule::Decision,
    blocks: u32,
) -> Result<Decision> {
    let place = |id| places.get(&id).cloned().ok_or_else(|| fail!(Internal, "an instance without a name"));
    Ok(Decision {
        request: NOBODY,
        prefill: place(decision.prefill)?,
        group: decision.group.others().map(place).collect::<Result<_>>()?,
        decode: decision.decode.map(place).transpose()?,
        blocks,
        reused: decision.reused,
        moved: decision.moved,
        source: match decision.source {
            schedule::Source::Nowhere => Source::Nowhere,
            schedule::Source::Instance(id) => Source::Instance(place(id)?),
            schedule::Source::Store => Source::Store,
        },
        computed_tokens: decision.computed_tokens,
        queue: decision.queue,
        transfer: decision.transfer,
        compute: decision.compute,
        ttft: decision.ttft,
        tbt: decision.tbt,
        advice: None,
    })
}
