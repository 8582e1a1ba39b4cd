//! A client's process: one operation at a time, each step asked again until it is answered or too late.

mod reading;

use std::collections::BTreeMap;

use crate::error::Code;
use crate::store::master::{Grant, Located};
use crate::store::message::{Evidence, Spot};
use crate::store::object::{ClientId, Entry, Extent, Generation, NodeId, Version};

use super::master::CELL;
use super::message::{Address, Answer, Ask, Body, Place, Touch, Touched};
use super::node::writes_directly;
use super::truth::{KEYS, PINNED_KEYS};
use super::world::{Context, Event};

const TICK_MS: u64 = 100;
const RESEND_MS: u64 = 250;
/// How long a step may take before the operation is given up.
const PATIENCE_MS: u64 = 4000;
/// After the faults, operations that were under way have ended by then.
const SETTLING_MS: u64 = 7000;

#[derive(Clone, Debug)]
enum Call {
    Ask(Ask),
    Touch(NodeId, Touch),
}

#[derive(Debug)]
struct Pending {
    call: Call,
    sent: u64,
    /// What it was about: a stripe of a put or a read.
    part: usize,
}

/// A put that was granted.
#[derive(Debug)]
struct Putting {
    grant: Grant,
    /// Per entry: prepared, then cells written, then committed.
    steps: Vec<u64>,
    lanes: Vec<u64>,
    is_failing: bool,
}

#[derive(Debug)]
struct Getting {
    located: Located,
    replica: usize,
    /// Cells of each stripe that were read.
    at: Vec<u64>,
    until: u64,
    /// Of all replicas: what came of the first question.
    first_until: u64,
    /// When it was first asked for more.
    renewing: Option<u64>,
    thinking_until: u64,
}

#[derive(Debug)]
enum Stage {
    Asking,
    Putting(Putting),
    Getting(Getting),
}

#[derive(Debug)]
struct Operation {
    key: u16,
    began: u64,
    /// What was current when it began.
    floor: u64,
    asked: u64,
    stage: Stage,
    is_upsert: bool,
    /// The same for all keys, of a walk over them.
    floors: Vec<u64>,
}

pub struct SimClient {
    address: Address,
    master: Option<Address>,
    operation: Option<Operation>,
    pending: BTreeMap<u64, Pending>,
    next_call: u64,
    /// Keys that were seen gone in this round, after the faults.
    gone: u16,
    round_began: u64,
    is_idle: bool,
    /// A replica that was read, and is to move next.
    to_move: Option<(u16, Extent)>,
}

impl SimClient {
    pub fn new(address: Address) -> SimClient {
        SimClient {
            address,
            master: None,
            operation: None,
            pending: BTreeMap::new(),
            next_call: 0,
            gone: 0,
            round_began: 0,
            is_idle: false,
            to_move: None,
        }
    }

    pub fn id(&self) -> ClientId {
        ClientId(self.address.start)
    }

    pub fn is_idle(&self) -> bool {
        self.is_idle
    }

    pub fn tick(&mut self, context: &mut Context) {
        context.after(TICK_MS, Event::Tick(self.address));
        if self.operation.is_none() && !self.is_idle {
            self.begin(context);
        }
        let late: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, one)| one.sent + RESEND_MS <= context.now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.repeat(context, id);
        }
        self.go_on_reading(context);
        self.extend(context);
        let Some(operation) = &self.operation else { return };
        if operation.asked + PATIENCE_MS < context.now {
            self.give_up(context);
        }
    }

    fn extend(&mut self, context: &mut Context) {
        let Some(Operation { stage: Stage::Putting(putting), key, .. }) = &self.operation else { return };
        let (key, version) = (*key, putting.grant.version);
        if !putting.is_failing && context.random.happens(50) {
            self.call(context, Call::Ask(Ask::PutExtend { key, version }), 0);
        }
    }

    fn begin(&mut self, context: &mut Context) {
        if context.healed {
            return self.clean_up(context);
        }
        if context.random.happens(300) {
            return;
        }
        if let Some((key, from)) = self.to_move.take() {
            return self.start(context, key, Ask::Move { key, from }, false);
        }
        let key = context.random.below(KEYS.into()) as u16;
        let cells = context.random.between(1, 7);
        let kind = context.random.below(100);
        let is_upsert = (78..90).contains(&kind);
        let ask = match kind {
            0..45 => Ask::Get { key },
            45..78 => Ask::PutStart { key, cells, upsert: false },
            78..90 => Ask::PutStart { key, cells, upsert: true },
            90 => Ask::Exists { key },
            91 if context.random.happens(500) => Ask::Sweep,
            91 => Ask::List { key },
            92..96 => Ask::Remove { key },
            96..99 => Ask::Copy { key },
            _ => Ask::Trim { key },
        };
        self.start(context, key, ask, is_upsert);
    }

    fn start(&mut self, context: &mut Context, key: u16, ask: Ask, is_upsert: bool) {
        let floor = context.truth.floor(key);
        let (began, asked) = (context.now, context.now);
        let floors = match ask {
            Ask::List { .. } => (0..KEYS).map(|key| context.truth.floor(key)).collect(),
            _ => Vec::new(),
        };
        let stage = Stage::Asking;
        self.operation = Some(Operation { key, began, floor, asked, stage, is_upsert, floors });
        self.call(context, Call::Ask(ask), 0);
    }

    /// After the faults: removes keys, round by round, until none of them is there for a whole round.
    fn clean_up(&mut self, context: &mut Context) {
        if self.gone == 0 {
            self.round_began = context.now;
        }
        if self.gone == KEYS {
            self.gone = 0;
            self.is_idle = self.round_began >= context.healed_at + SETTLING_MS;
            return;
        }
        let key = self.gone;
        self.start(context, key, Ask::Remove { key }, false);
    }

    fn call(&mut self, context: &mut Context, call: Call, part: usize) {
        self.next_call += 1;
        let id = self.next_call;
        self.pending.insert(id, Pending { call, sent: context.now, part });
        self.dispatch(context, id);
    }

    fn repeat(&mut self, context: &mut Context, id: u64) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        pending.sent = context.now;
        match pending.call {
            // A second grant would wait for the first.
            Call::Ask(Ask::PutStart { .. } | Ask::Copy { .. } | Ask::Move { .. } | Ask::Trim { .. }) => {}
            Call::Ask(_) => {
                self.master = None;
                self.dispatch(context, id);
            }
            // It may be under way still, and nothing would tell the two apart.
            Call::Touch(_, Touch::Write { lane: Some(_), .. }) => {}
            Call::Touch(..) => self.dispatch(context, id),
        }
    }

    fn dispatch(&mut self, context: &mut Context, id: u64) {
        let Some(pending) = self.pending.get(&id) else { return };
        match pending.call.clone() {
            Call::Ask(ask) => {
                self.master = self.master.or_else(|| context.some_master());
                if let Some(master) = self.master {
                    context.send(self.address, master, Body::Ask { id, ask });
                }
            }
            Call::Touch(node, touch) => {
                if let Some(node) = context.truth.processes.get(&node).copied() {
                    context.send(self.address, node, Body::Touch { id, touch });
                }
            }
        }
    }

    pub fn take(&mut self, context: &mut Context, from: Address, body: Body) {
        match body {
            Body::Answer { id, answer } => {
                if let Some(Pending { call: Call::Ask(ask), .. }) = self.pending.remove(&id) {
                    self.answered(context, from, ask, answer);
                }
            }
            Body::Touched { id, touched } => {
                if let Some(Pending { part, .. }) = self.pending.remove(&id) {
                    self.touched(context, part, touched);
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, context: &mut Context, from: Address, ask: Ask, answer: Answer) {
        let Some(operation) = &mut self.operation else { return };
        let (key, began) = (operation.key, operation.began);
        match (ask, answer) {
            (Ask::PutStart { .. }, Answer::Granted(grant)) => {
                let count = grant.entries.len();
                operation.asked = context.now;
                let (steps, lanes) = (vec![0; count], vec![0; count]);
                operation.stage = Stage::Putting(Putting { grant: *grant, steps, lanes, is_failing: false });
                (0..count).for_each(|part| self.go_on_writing(context, part));
            }
            (Ask::PutCommit { version, .. }, Answer::Done) => {
                context.truth.put(context.now, key, version.0, key < PINNED_KEYS);
                let counters = &mut context.counters;
                if operation.is_upsert {
                    counters.upserts += 1
                } else {
                    counters.puts += 1
                }
                self.end(context);
            }
            (Ask::PutCommit { .. }, Answer::Refused(refusal)) if refusal.code == Code::NotReady => {
                self.master = None;
                let Stage::Putting(putting) = &operation.stage else { return };
                let version = putting.grant.version;
                self.call(context, Call::Ask(Ask::PutCommit { key, version }), 0);
            }
            (Ask::PutCommit { .. }, Answer::Refused(_)) => self.give_up(context),
            (Ask::Get { .. }, Answer::Located(located)) => self.read(context, *located),
            (Ask::Get { .. }, Answer::Refused(refusal)) if refusal.code == Code::NotFound => {
                self.not_found(context, from, key, began);
            }
            (Ask::Exists { .. }, Answer::Exists(false)) => self.not_found(context, from, key, began),
            (Ask::Remove { .. }, Answer::Removed(up_to)) => {
                context.counters.removes += 1;
                context.truth.removed(key, up_to);
                self.end(context);
            }
            (Ask::Remove { .. }, Answer::Refused(refusal)) if context.healed => {
                self.gone += u16::from(refusal.code == Code::NotFound);
                self.master = None;
                self.end(context);
            }
            (Ask::Renew { stripes, .. }, Answer::Renewed(lease_ms)) => {
                self.renewed(context, &stripes, lease_ms);
            }
            // It goes on with the time it has.
            (Ask::Renew { .. }, _) => {}
            (Ask::PutExtend { .. }, answer) => {
                context.counters.extended_puts += u64::from(matches!(answer, Answer::Done));
            }
            (Ask::List { .. }, Answer::Listed(listed)) => {
                let is_old =
                    |(key, version): &&(u16, Version)| version.0 < operation.floors[usize::from(*key)];
                if let Some((key, version)) = listed.iter().find(is_old) {
                    let floor = operation.floors[usize::from(*key)];
                    context.violated(|| {
                        format!("key {key} is listed as {version:?}, and {floor} was acknowledged")
                    });
                }
                context.counters.listed += listed.len() as u64;
                self.end(context);
            }
            (Ask::Sweep, Answer::Swept(swept)) => {
                context.counters.swept += swept.len() as u64;
                swept.into_iter().for_each(|(key, up_to)| context.truth.removed(key, up_to));
                self.end(context);
            }
            (Ask::PutStart { .. }, Answer::Refused(refusal)) if refusal.code == Code::QuotaExceeded => {
                context.counters.above_quota += 1;
                self.end(context);
            }
            (Ask::Copy { .. }, Answer::Done) => {
                context.counters.copies += 1;
                self.end(context);
            }
            (_, Answer::Refused(_)) => {
                self.master = None;
                self.end(context);
            }
            _ => self.end(context),
        }
    }

    fn not_found(&mut self, context: &mut Context, from: Address, key: u16, began: u64) {
        if let Place::Master(master) = from.place {
            context.truth.not_found(key, began, master);
        }
        self.end(context);
    }

    fn end(&mut self, context: &mut Context) {
        context.truth.client_gone(self.id());
        self.operation = None;
        self.pending.clear();
    }

    /// Writes on: prepare, then cell after cell, then commit, each once the one before was done.
    fn go_on_writing(&mut self, context: &mut Context, part: usize) {
        let writer = self.id();
        let Some(Operation { stage: Stage::Putting(putting), key, .. }) = &self.operation else { return };
        let (node, entry) = &putting.grant.entries[part];
        let (node, step, spot) = (*node, putting.steps[part], spot_of(entry));
        let cells = entry.length.div_ceil(CELL);
        let touch = match step {
            0 => Touch::Prepare { node, entry: Box::new(entry.clone()), writer },
            _ if step <= cells => Touch::Write {
                node,
                spot,
                writer,
                from: spot.offset + (step - 1) * CELL,
                length: CELL.min(entry.length - (step - 1) * CELL),
                version: putting.grant.version,
                lane: writes_directly(writer).then_some(putting.lanes[part]),
            },
            _ if step == cells + 1 => Touch::Commit { node, spot, writer },
            _ => {
                let is_written = |(index, (_, entry)): (usize, &(NodeId, Entry))| {
                    putting.steps[index] > entry.length.div_ceil(CELL) + 1
                };
                if putting.grant.entries.iter().enumerate().all(is_written) {
                    let (key, version) = (*key, putting.grant.version);
                    self.call(context, Call::Ask(Ask::PutCommit { key, version }), 0);
                }
                return;
            }
        };
        self.call(context, Call::Touch(node, touch), part);
    }

    fn touched(&mut self, context: &mut Context, part: usize, touched: Touched) {
        match self.operation.as_mut().map(|operation| &mut operation.stage) {
            Some(Stage::Putting(putting)) if !putting.is_failing => {
                match touched {
                    Touched::Refused => return self.give_up(context),
                    Touched::Lane(lane) => putting.lanes[part] = lane,
                    _ => {}
                }
                putting.steps[part] += 1;
                self.go_on_writing(context, part);
            }
            Some(Stage::Getting(_)) => self.has_read(context, part, touched),
            _ => {}
        }
    }

    /// Ends an operation that cannot succeed, and says so where that helps.
    fn give_up(&mut self, context: &mut Context) {
        let writer = self.id();
        if let Some(Operation { stage: Stage::Putting(putting), key, .. }) = &self.operation {
            let (key, version) = (*key, putting.grant.version);
            // What was not answered may still arrive.
            let is_done = !self
                .pending
                .values()
                .any(|one| matches!(one.call, Call::Touch(_, Touch::Write { .. } | Touch::Prepare { .. })));
            let nodes: Vec<NodeId> = putting.grant.entries.iter().map(|(node, _)| *node).collect();
            let generation = Generation(version.0);
            if is_done {
                context.truth.done(writer, generation);
            }
            self.call(context, Call::Ask(Ask::PutRevoke { key, version, is_done }), 0);
            for node in nodes.into_iter().filter(|_| is_done) {
                let evidence = Evidence::Done { writer, generation };
                self.call(context, Call::Touch(node, Touch::Evidence(evidence)), 0);
            }
        }
        self.master = None;
        self.end(context);
    }
}

fn spot_of(entry: &Entry) -> Spot {
    Spot { segment: entry.segment, offset: entry.offset, generation: entry.generation }
}
