//! Time, the network between the processes, and the play of one seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::client::SimClient;
use super::fault;
use super::master::SimMaster;
use super::message::{Address, Body, Place, Touch};
use super::node::SimNode;
use super::truth::Truth;
use super::{Counters, Failure, Options};
use crate::sys::splitmix::Random;

pub const NODES: usize = 4;
pub const CLIENTS: usize = 4;
/// The second one is there by mistake.
pub const MASTERS: usize = 2;
/// After the faults have ended, everything must have settled by then.
const HEALING_MS: u64 = 60_000;

#[derive(Clone, Debug)]
pub enum Event {
    Deliver {
        from: Address,
        to: Address,
        body: Body,
    },
    Tick(Address),
    /// A process starts.
    Start(Place),
    End(Place),
    /// A node has made sure that a writer cannot reach it any more.
    Fenced {
        node: Address,
        writer: crate::store::object::ClientId,
    },
    Fault,
}

struct Queued(u64, u64, Event);

impl PartialEq for Queued {
    fn eq(&self, other: &Queued) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Queued) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Queued) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// What every process can use, and nobody's own.
pub struct Context {
    pub now: u64,
    pub random: Random,
    pub options: Options,
    pub counters: Counters,
    pub truth: Truth,
    /// Faults are over, since then.
    pub healed: bool,
    pub healed_at: u64,
    /// Segments are drained now and then.
    pub drains: bool,
    /// Nodes mount segments now and then.
    pub mounts: bool,
    /// And take them back, and leave.
    pub withdraws: bool,
    /// Which start of a place is running.
    pub running: BTreeMap<Place, u64>,
    pub stopped: BTreeMap<Place, u64>,
    pub cuts: BTreeMap<(Place, Place), u64>,
    queue: BinaryHeap<Reverse<Queued>>,
    sequence: u64,
    starts: u64,
    violation: Option<String>,
}

impl Context {
    pub fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse(Queued(time.max(self.now), self.sequence, event)));
    }

    pub fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Something that must never be.
    pub fn violated(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    pub fn next_start(&mut self) -> u64 {
        self.starts += 1;
        self.starts
    }

    pub fn address(&self, place: Place) -> Option<Address> {
        self.running.get(&place).map(|start| Address { place, start: *start })
    }

    /// Any of the masters that run.
    pub fn some_master(&mut self) -> Option<Address> {
        let running: Vec<Address> =
            (0..MASTERS).filter_map(|index| self.address(Place::Master(index))).collect();
        if running.is_empty() { None } else { Some(running[self.random.index(running.len())]) }
    }

    pub fn send(&mut self, from: Address, to: Address, body: Body) {
        if !self.healed && self.random.happens(15) {
            self.counters.lost_messages += 1;
            return;
        }
        // What is written past everybody's eyes comes over a connection that delivers at most once.
        let once = matches!(body, Body::Touch { touch: Touch::Write { lane: Some(_), .. }, .. });
        if !self.healed && !once && self.random.happens(20) {
            self.counters.doubled_messages += 1;
            let delay = self.latency();
            self.after(delay, Event::Deliver { from, to, body: body.clone() });
        }
        let delay = self.latency();
        self.after(delay, Event::Deliver { from, to, body });
    }

    fn latency(&mut self) -> u64 {
        match self.random.below(1000) {
            _ if self.healed => self.random.between(1, 5),
            0..8 => self.random.between(200, 6000),
            8..60 => self.random.between(10, 200),
            _ => self.random.between(1, 8),
        }
    }

    fn is_cut(&self, a: Place, b: Place) -> bool {
        let cut = self.cuts.get(&(a.min(b), a.max(b)));
        cut.is_some_and(|until| *until > self.now)
    }

    fn is_running(&self, address: Address) -> bool {
        self.running.get(&address.place) == Some(&address.start)
    }
}

pub struct World {
    seed: u64,
    pub context: Context,
    pub masters: Vec<Option<SimMaster>>,
    pub nodes: Vec<Option<SimNode>>,
    pub clients: Vec<Option<SimClient>>,
}

impl World {
    pub fn new(seed: u64, options: Options) -> World {
        let mut context = Context {
            now: 0,
            random: Random::new(seed),
            options,
            counters: Counters::default(),
            truth: Truth::default(),
            healed: false,
            healed_at: 0,
            drains: seed % 4 == 1,
            mounts: seed % 4 >= 2,
            withdraws: seed % 4 == 3,
            running: BTreeMap::new(),
            stopped: BTreeMap::new(),
            cuts: BTreeMap::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            starts: 0,
            violation: None,
        };
        context.at(0, Event::Start(Place::Master(0)));
        (0..NODES).for_each(|node| context.at(1, Event::Start(Place::Node(node))));
        (0..CLIENTS).for_each(|client| context.at(2, Event::Start(Place::Client(client))));
        context.at(1500, Event::Fault);
        World {
            seed,
            context,
            masters: (0..MASTERS).map(|_| None).collect(),
            nodes: (0..NODES).map(|_| None).collect(),
            clients: (0..CLIENTS).map(|_| None).collect(),
        }
    }

    pub fn counters(&self) -> Counters {
        self.context.counters
    }

    pub fn failure(&self, what: String) -> Failure {
        Failure { seed: self.seed, step: self.context.counters.steps, at_ms: self.context.now, what }
    }

    pub fn play(&mut self) -> Result<(), String> {
        while self.context.counters.steps < self.context.options.steps || !fault::had_its_share(&self.context)
        {
            self.step()?;
        }
        fault::heal(self);
        let until = self.context.now + HEALING_MS;
        while self.context.now < until {
            self.step()?;
            if self.context.counters.steps.is_multiple_of(64) && self.is_empty() {
                return Ok(());
            }
        }
        Err(format!("after all faults have ended, something is left: {}", self.leftovers()))
    }

    fn step(&mut self) -> Result<(), String> {
        let Some(Reverse(Queued(time, _, event))) = self.context.queue.pop() else {
            return Err("nothing happens any more".into());
        };
        self.context.now = time;
        self.context.counters.steps += 1;
        self.happen(event);
        self.check();
        if self.context.healed && self.nodes.iter().flatten().all(|node| node.inventory.view().is_none()) {
            // Nothing is left of any cluster, and whoever runs this one knows.
            self.masters.iter_mut().flatten().for_each(|master| master.state.found());
        }
        self.context.violation.take().map_or(Ok(()), Err)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, body } => {
                let is_lost = self.context.is_cut(from.place, to.place) || !self.context.is_running(to);
                if !is_lost && !self.is_late(to.place, Event::Deliver { from, to, body: body.clone() }) {
                    self.deliver(from, to, body);
                }
            }
            Event::Tick(to) => {
                if self.context.is_running(to) && !self.is_late(to.place, Event::Tick(to)) {
                    self.tick(to);
                }
            }
            Event::Fenced { node: to, writer } => {
                let is_late = self.is_late(to.place, Event::Fenced { node: to, writer });
                if let (true, false, Place::Node(index)) = (self.context.is_running(to), is_late, to.place)
                    && let Some(node) = &mut self.nodes[index]
                {
                    node.fenced(&mut self.context, writer);
                }
            }
            Event::Start(place) => self.start(place),
            Event::End(place) => self.crash(place),
            Event::Fault => fault::strike(self),
        }
    }

    /// A process that is stopped gets everything when it goes on.
    fn is_late(&mut self, place: Place, event: Event) -> bool {
        let Some(until) = self.context.stopped.get(&place).copied().filter(|until| *until > self.context.now)
        else {
            return false;
        };
        self.context.at(until, event);
        true
    }

    fn deliver(&mut self, from: Address, to: Address, body: Body) {
        let context = &mut self.context;
        match to.place {
            Place::Master(index) => {
                if let Some(master) = &mut self.masters[index] {
                    master.take(context, &self.nodes, from, body);
                }
            }
            Place::Node(index) => {
                if let Some(node) = &mut self.nodes[index] {
                    node.take(context, from, body);
                }
            }
            Place::Client(index) => {
                if let Some(client) = &mut self.clients[index] {
                    client.take(context, from, body);
                }
            }
        }
    }

    fn tick(&mut self, to: Address) {
        let context = &mut self.context;
        match to.place {
            Place::Master(index) => {
                if let Some(master) = &mut self.masters[index] {
                    master.tick(context);
                }
            }
            Place::Node(index) => {
                if let Some(node) = &mut self.nodes[index] {
                    node.tick(context);
                }
            }
            Place::Client(index) => {
                if let Some(client) = &mut self.clients[index] {
                    client.tick(context);
                }
            }
        }
    }

    fn start(&mut self, place: Place) {
        if self.context.running.contains_key(&place) {
            return;
        }
        let start = self.context.next_start();
        self.context.running.insert(place, start);
        let address = Address { place, start };
        match place {
            Place::Master(index) => self.masters[index] = Some(SimMaster::new(&mut self.context, address)),
            Place::Node(index) => self.nodes[index] = Some(SimNode::new(&mut self.context, address)),
            Place::Client(index) => self.clients[index] = Some(SimClient::new(address)),
        }
        self.context.after(0, Event::Tick(address));
    }

    /// A process is gone, with all it knew.
    pub fn crash(&mut self, place: Place) {
        self.context.running.remove(&place);
        self.context.stopped.remove(&place);
        match place {
            Place::Master(index) => {
                if let Some(master) = self.masters[index].take() {
                    master.count(&mut self.context);
                }
            }
            Place::Node(index) => {
                if self.nodes[index].take().is_some() {
                    self.context.truth.node_gone(index);
                }
            }
            Place::Client(index) => {
                if let Some(client) = self.clients[index].take() {
                    self.context.truth.client_gone(client.id());
                }
            }
        }
    }

    /// Checks that need to see more than one process.
    fn check(&mut self) {
        for index in 0..NODES {
            if let Some(node) = &mut self.nodes[index]
                && node.take_changed()
            {
                let held = node.committed();
                if let Some(what) = self.context.truth.see_node(index, held) {
                    self.context.violated(|| what);
                }
            }
        }
        for missing in std::mem::take(&mut self.context.truth.missing) {
            let Some(Some(master)) = self.masters.get(missing.master) else { continue };
            let counts = |index: usize| {
                let node = self.nodes[index].as_ref()?;
                Some(master.state.view().contains(node.inventory.id()))
            };
            let all_count = (0..NODES).any(|index| {
                self.context.truth.holds_exactly(index, missing.key) && counts(index) == Some(true)
            });
            if all_count {
                self.context.violated(|| format!("key {} was acknowledged, and is not found", missing.key));
            }
        }
    }

    fn is_empty(&self) -> bool {
        let masters = self.masters.iter().flatten();
        let is_quiet = |master: &SimMaster| master.state.is_serving() && master.is_empty();
        masters.clone().count() == 1
            && masters.clone().all(is_quiet)
            && self.nodes.iter().flatten().count() == NODES
            && self.nodes.iter().flatten().all(|node| node.inventory.entries().next().is_none())
            && self.clients.iter().flatten().all(SimClient::is_idle)
    }

    fn leftovers(&self) -> String {
        let entries: Vec<String> = self
            .nodes
            .iter()
            .flatten()
            .flat_map(|node| node.inventory.entries().map(|entry| format!("{:?}", entry)).collect::<Vec<_>>())
            .collect();
        let masters: Vec<String> =
            self.masters.iter().flatten().map(|master| master.state.describe()).collect();
        let idle = self.clients.iter().flatten().filter(|client| client.is_idle()).count();
        format!("{masters:?}, {idle} clients idle, entries {entries:?}")
    }
}
