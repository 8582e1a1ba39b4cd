//! Instances driven by the library's scheduler, which is told what happens to its requests as a router would tell it.
//!
//! The reference model: what the scheduler predicts is what happens, blocks that are moved or computed are cached at
//! once, and nothing but prefill takes time. The full model adds what is not so simple: prefills that take longer or
//! shorter than predicted, senders that serve one receiver after the other, and instances that decode.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use mooncake::conductor::cost::Cost;
use mooncake::conductor::schedule::{
    Admission, CLASSES, Class, Decision, InstanceId, Options, Policy, Prefix, Reason, Rejection, Request,
    RequestId, Role, Scheduler, Source, Verdict,
};
use mooncake::error::Result;
use mooncake::sys::splitmix::Random;

use super::super::numbered::Trace;
use super::caches::Caches;
use super::decoders::{Decoder, Joining, Left};

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
    /// None plays the reference model.
    pub full: Option<Full>,
}

#[derive(Clone, Copy)]
pub struct Full {
    pub decoders: usize,
    pub admission: Admission,
    /// Seconds to the first token and between tokens that are promised.
    pub ttft: f64,
    pub tbt: f64,
    /// By how much a prefill takes longer or shorter than predicted, at most, as a share.
    pub noise: f64,
    /// Seconds that every request decodes; None leaves that to its output and the batch.
    pub decode_seconds: Option<f64>,
}

/// What came of it.
#[derive(Default, PartialEq, Debug)]
pub struct Played {
    /// Seconds to the first token, ascending.
    pub ttft: Vec<f64>,
    /// Blocks of the prefix that were not computed, and those of them that were moved.
    pub hits: u64,
    pub moved: u64,
    /// Seconds of prefill, and those of them that were for requests rejected after it.
    pub busy: f64,
    pub wasted: f64,
    /// By instance.
    pub requests: Vec<u64>,
    /// Errors of predictions as a share of what was predicted.
    pub error: f64,
    pub rejected: Rejected,
    /// Seconds between tokens, one mean for each request that decoded.
    pub tbt: Vec<f64>,
    /// Requests that kept both promises, and their tokens of input.
    pub good: u64,
    pub good_tokens: u64,
    /// Those that decoded to their end.
    pub served: Vec<Served>,
    /// When requests were rejected.
    pub rejections: Vec<f64>,
    /// Every second, the mean loads of those who prefill and of those who decode.
    pub loads: Vec<(f64, f64)>,
}

/// How long a request waited, in seconds: for its first token, and between tokens in the longest tenth of its gaps.
#[derive(PartialEq, Debug, Clone, Copy)]
pub struct Served {
    pub ttft: f64,
    pub gap: f64,
}

/// Requests by when and why they were rejected.
#[derive(Default, PartialEq, Debug, Clone, Copy)]
pub struct Rejected {
    pub prefill: u64,
    pub decode: u64,
    /// After their prefill.
    pub late: u64,
}

impl Rejected {
    pub fn all(&self) -> u64 {
        self.prefill + self.decode + self.late
    }
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
    trace: &'a Trace,
    setup: &'a Setup,
    scheduler: Scheduler,
    ids: Vec<InstanceId>,
    decoder_ids: Vec<InstanceId>,
    caches: Caches,
    /// By instance, until when it works and until when it sends blocks to others.
    busy_until: Vec<f64>,
    sends_until: Vec<f64>,
    decoders: Vec<Decoder>,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    /// Of all events, so that those of one time keep their order.
    count: u64,
    /// By number in the trace: what is under way.
    under_way: Vec<UnderWay>,
    sampled: f64,
    found: Vec<Prefix>,
    played: Played,
}

#[derive(Clone, Copy)]
struct UnderWay {
    id: RequestId,
    decoder: usize,
    compute: f64,
    first_token: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Of a request, by its number.
    PrefillEnds(u32),
    /// Of the next one to leave a decoder, if its version is still that.
    DecodeEnds(u32, u64),
}

pub fn play(trace: &Trace, policy: Policy, setup: &Setup) -> std::result::Result<Played, String> {
    let run = || -> Result<Played> {
        let mut world = World::new(trace, policy, setup)?;
        for number in 0..trace.requests.len() {
            world.serve(number)?;
        }
        world.pass(f64::INFINITY)?;
        let World { mut played, scheduler, .. } = world;
        played.ttft.sort_unstable_by(f64::total_cmp);
        played.tbt.sort_unstable_by(f64::total_cmp);
        played.error = scheduler.accuracy().relative();
        Ok(played)
    };
    run().map_err(|error| error.to_string())
}

fn options(policy: Policy, setup: &Setup) -> Options {
    let defaults = Options { policy, threshold: setup.threshold, ..Options::default() };
    match setup.full {
        // One number stands for all that a link does, and predictions come true.
        None => Options { eager: false, learning: 0.0, ..defaults },
        Some(full) => Options {
            admission: full.admission,
            classes: [Class { ttft: full.ttft, tbt: full.tbt, limit: 1.0 }; CLASSES],
            decode_seconds: full.decode_seconds.unwrap_or(defaults.decode_seconds),
            horizon: full.decode_seconds.map_or(defaults.horizon, |seconds| 2.0 * (seconds + full.ttft)),
            ..defaults
        },
    }
}

impl<'a> World<'a> {
    fn new(trace: &'a Trace, policy: Policy, setup: &'a Setup) -> Result<World<'a>> {
        let mut scheduler = Scheduler::new(options(policy, setup))?;
        let mut add = |role, count| -> Result<Vec<InstanceId>> {
            (0..count).map(|_| scheduler.add(role, setup.cost, 0.0)).collect()
        };
        let ids = add(Role::Prefill, setup.instances)?;
        let decoder_ids = add(Role::Decode, setup.full.map_or(0, |full| full.decoders))?;
        Ok(World {
            trace,
            setup,
            scheduler,
            found: ids.iter().map(|id| Prefix { instance: *id, blocks: [0; 4], promised: 0 }).collect(),
            caches: Caches::new(setup.instances, setup.capacity, trace.unique),
            busy_until: vec![0.0; setup.instances],
            sends_until: vec![0.0; setup.instances],
            decoders: decoder_ids.iter().map(|_| Decoder::new(setup.cost)).collect(),
            ids,
            decoder_ids,
            events: BinaryHeap::new(),
            count: 0,
            under_way: Vec::new(),
            sampled: 0.0,
            played: Played { requests: vec![0; setup.instances], ..Played::default() },
        })
    }

    fn serve(&mut self, number: usize) -> Result<()> {
        let trace = self.trace;
        let request = &trace.requests[number];
        let blocks = trace.blocks_of(request);
        let now = request.at / self.setup.speed;
        self.pass(now)?;
        self.caches.find(blocks, |instance, length| self.found[instance].blocks = [length; 4]);
        let asked = Request { tokens: request.input.max(1), ..Request::default() };
        let nothing = UnderWay { id: RequestId::from_raw(0), decoder: 0, compute: 0.0, first_token: 0.0 };
        self.under_way.push(nothing);
        match self.scheduler.decide(&asked, &self.found, now)? {
            Verdict::Rejected(Rejection { reason, .. }) => {
                self.played.rejections.push(now);
                match reason {
                    Reason::Prefill => self.played.rejected.prefill += 1,
                    _ => self.played.rejected.decode += 1,
                }
            }
            Verdict::Run(decision) => {
                let chosen = place(&self.ids, decision.prefill);
                self.prefill(number, chosen, asked.tokens, &decision, now);
                self.caches.touch(chosen, blocks);
            }
        }
        Ok(())
    }

    fn prefill(&mut self, number: usize, chosen: usize, tokens: u64, decision: &Decision, now: f64) {
        let cost = &self.setup.cost;
        let mut compute = cost.prefill(tokens, decision.reused);
        let mut start = self.busy_until[chosen].max(now);
        let mut transfer = cost.rates().transfer(decision.moved);
        if let Some(full) = self.setup.full {
            compute *= 1.0 + full.noise * even(number as u64);
            if let Source::Instance(sender) = decision.source {
                let sends_until = &mut self.sends_until[place(&self.ids, sender)];
                *sends_until = sends_until.max(now) + transfer;
                (start, transfer) = (start.max(*sends_until), 0.0);
            }
        }
        let first_token = start + transfer + compute;
        self.busy_until[chosen] = first_token;
        self.played.busy += compute;
        self.played.requests[chosen] += 1;
        self.played.hits += u64::from(decision.reused);
        self.played.moved += u64::from(decision.moved);
        let decoder = decision.decode.map_or(0, |id| place(&self.decoder_ids, id));
        self.under_way[number] = UnderWay { id: decision.request, decoder, compute, first_token };
        self.expect(first_token, Event::PrefillEnds(number as u32));
    }

    fn expect(&mut self, at: f64, event: Event) {
        self.count += 1;
        self.events.push(Reverse((Instant(at), self.count, event)));
    }

    /// All that happens until `now`.
    fn pass(&mut self, now: f64) -> Result<()> {
        while let Some(Reverse((Instant(at), _, event))) = self.events.peek().copied() {
            if at > now {
                break;
            }
            self.sample(at);
            self.events.pop();
            match event {
                Event::PrefillEnds(number) => self.end_prefill(number, at)?,
                Event::DecodeEnds(decoder, version) => self.end_decode(decoder as usize, version, at)?,
            }
        }
        if now.is_finite() {
            self.sample(now);
        }
        Ok(())
    }

    fn end_prefill(&mut self, number: u32, at: f64) -> Result<()> {
        let UnderWay { id, decoder, compute, .. } = self.under_way[number as usize];
        let request = &self.trace.requests[number as usize];
        let ttft = at - request.at / self.setup.speed;
        let Some(full) = self.setup.full else {
            self.played.ttft.push(ttft);
            return self.scheduler.finished(id, at);
        };
        if self.scheduler.recheck(id, at)?.is_some() {
            self.played.rejected.late += 1;
            self.played.rejections.push(at);
            self.played.wasted += compute;
            return self.scheduler.cancelled(id, at);
        }
        self.played.ttft.push(ttft);
        self.scheduler.first_token(id, at)?;
        if self.decoders.is_empty() {
            return self.scheduler.finished(id, at);
        }
        let joining = Joining {
            request: u64::from(number),
            tokens: request.input + request.output / 2,
            output: request.output,
            seconds: full.decode_seconds,
        };
        self.decoders[decoder].join(joining, at);
        self.expect_leave(decoder);
        Ok(())
    }

    fn expect_leave(&mut self, decoder: usize) {
        let version = self.decoders[decoder].version;
        if let Some(at) = self.decoders[decoder].next_leave() {
            self.expect(at, Event::DecodeEnds(decoder as u32, version));
        }
    }

    fn end_decode(&mut self, decoder: usize, version: u64, at: f64) -> Result<()> {
        if self.decoders[decoder].version != version {
            return Ok(());
        }
        let Some(Left { request: number, gap }) = self.decoders[decoder].leave(at) else { return Ok(()) };
        self.expect_leave(decoder);
        let (one, full) = (self.under_way[number as usize], self.setup.full);
        let request = &self.trace.requests[number as usize];
        let tbt = (at - one.first_token) / request.output.max(1) as f64;
        self.played.tbt.push(tbt);
        let ttft = one.first_token - request.at / self.setup.speed;
        self.played.served.push(Served { ttft, gap });
        // If how long it decodes was given, the time between tokens says nothing.
        let is_good =
            full.is_some_and(|full| ttft <= full.ttft && (full.decode_seconds.is_some() || tbt <= full.tbt));
        if is_good {
            self.played.good += 1;
            self.played.good_tokens += request.input;
        }
        self.scheduler.finished(one.id, at)
    }

    /// Takes the loads of every second up to `now`.
    fn sample(&mut self, now: f64) {
        let Some(full) = self.setup.full else { return };
        while self.sampled <= now {
            let at = self.sampled;
            let waits = self.busy_until.iter().map(|until| (until - at).max(0.0) / full.ttft);
            let loads = self.decoders.iter().map(|decoder| decoder.load(full.tbt));
            let mean = |sum: f64, count: usize| sum / count.max(1) as f64;
            let decode = mean(loads.sum(), self.decoders.len());
            self.played.loads.push((mean(waits.sum(), self.busy_until.len()), decode));
            self.sampled += 1.0;
        }
    }
}

/// Where an id stands among those that were given.
pub fn place(ids: &[InstanceId], id: InstanceId) -> usize {
    ids.iter()
        .position(|one| *one == id)
        .expect("the scheduler chooses among the instances that it was given")
}

/// An even choice between -1 and 1, of the number alone.
pub fn even(number: u64) -> f64 {
    Random::new(number ^ 0x5eed).below(2_000_001) as f64 / 1e6 - 1.0
}

/// A time that can be ordered.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Instant(pub f64);

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
