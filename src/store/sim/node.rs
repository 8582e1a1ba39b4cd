//! A node's process: its inventory, memory whose cells remember the version that wrote them, and the connections of
//! writers, over which bytes may come that nobody looks at.

use std::collections::BTreeMap;

use crate::store::message::{Evidence, Offer, Report, Spot};
use crate::store::node::{Inventory, Reaction};
use crate::store::object::{ClientId, Entry, EntryState, Extent, Generation, NodeId, SegmentId, Version};

use super::Flaw;
use super::master::{CELL, config, key_of};
use super::message::{Address, Body, Place, Touch, Touched};
use super::truth::{Held, KEYS, PINNED_KEYS, Writing};
use super::world::{Context, Event};

const CELLS: u64 = 24;
const FIRST: SegmentId = SegmentId(1);
/// Of segments that are mounted later.
const LATE_CELLS: u64 = 12;
const MOST_SEGMENTS: usize = 3;
const TICK_MS: u64 = 40;
/// The writer of fetches.
const ITSELF: ClientId = ClientId(0);

/// Bytes that come from another node.
struct Fetch {
    entry: Entry,
    source: Extent,
    /// Next cell to ask for.
    at: u64,
    started: u64,
    /// The call that it waits for.
    call: u64,
}

pub struct SimNode {
    address: Address,
    offset: u64,
    pub inventory: Inventory,
    cells: BTreeMap<SegmentId, Vec<Version>>,
    last_segment: SegmentId,
    lanes: BTreeMap<ClientId, u64>,
    fetches: Vec<Fetch>,
    master: Option<Address>,
    led_at: u64,
    next_call: u64,
    changed: bool,
    /// All ids that this process has had.
    ids: Vec<NodeId>,
}

impl SimNode {
    pub fn new(context: &mut Context, address: Address) -> SimNode {
        let Place::Node(index) = address.place else { unreachable!("a node's place") };
        let id = NodeId(address.start);
        let horizon = config(false).horizon_ms();
        let mut inventory = Inventory::new(id, &format!("n{index}"), &format!("host{}", index / 2), horizon);
        inventory.mount(Offer {
            segment: FIRST,
            name: format!("s{index}").as_str().into(),
            length: CELLS * CELL,
        });
        context.truth.processes.insert(id, address);
        SimNode {
            address,
            offset: context.random.below(1 << 30),
            inventory,
            cells: BTreeMap::from([(FIRST, vec![Version(0); CELLS as usize])]),
            last_segment: FIRST,
            lanes: BTreeMap::new(),
            fetches: Vec::new(),
            master: None,
            led_at: 0,
            next_call: 0,
            changed: true,
            ids: vec![id],
        }
    }

    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Pinned keys that are committed here.
    pub fn committed(&self) -> Held {
        let mut held = Held::new();
        for entry in self.inventory.entries().filter(|entry| entry.state == EntryState::Committed) {
            let key = key_of(&entry.key);
            if key < PINNED_KEYS {
                *held.entry(key).or_default().entry(entry.version.0).or_default() += 1;
            }
        }
        held
    }

    fn now(&self, context: &Context) -> u64 {
        context.now + self.offset
    }

    pub fn tick(&mut self, context: &mut Context) {
        context.after(TICK_MS, Event::Tick(self.address));
        let now = self.now(context);
        let reactions = self.inventory.tick(now);
        self.react(context, reactions, None);
        self.come_and_go(context);
        // A node knows of all masters there may be, and makes itself known to each.
        let often = if context.now >= self.led_at + 400 { 200 } else { 80 };
        if context.random.happens(often)
            && let Some(master) = context.some_master()
        {
            context.send(self.address, master, Body::Report(self.inventory.hello()));
        }
        while let Some(late) = self.fetches.iter().position(|one| one.started + 800 < context.now) {
            self.end_fetch(context, late, false);
        }
    }

    /// Mounts segments, takes them back, and leaves, now and then.
    fn come_and_go(&mut self, context: &mut Context) {
        if !context.healed && context.mounts {
            match context.random.below(1000) {
                0..10 => self.mount(context),
                10..18 if context.withdraws => {
                    let mounted: Vec<SegmentId> = self.cells.keys().copied().collect();
                    if !mounted.is_empty() {
                        // What is on the way out already stays so.
                        let _ = self.inventory.withdraw(mounted[context.random.index(mounted.len())]);
                        context.truth.moved.extend(0..KEYS);
                    }
                }
                18..20 if context.withdraws => {
                    self.inventory.leave();
                    context.truth.moved.extend(0..KEYS);
                }
                _ => {}
            }
        }
        for segment in self.inventory.unmount_withdrawn() {
            context.counters.unmounted_segments += 1;
            let cells = self.cells.remove(&segment).map_or(0, |cells| cells.len() as u64);
            let length = cells * CELL;
            for node in self.ids.clone() {
                let whole = Extent { node, segment, offset: 0, length, generation: Generation::default() };
                if let Some(what) = context.truth.take_memory(context.now, &[whole]) {
                    context.violated(|| format!("a segment is taken back: {what}"));
                }
            }
        }
        if self.inventory.has_left() && self.cells.is_empty() {
            context.counters.left_nodes += 1;
            let delay = context.random.between(1, 1500);
            context.after(0, Event::End(self.address.place));
            context.after(delay, Event::Start(self.address.place));
        }
    }

    fn mount(&mut self, context: &mut Context) {
        let segment = SegmentId(self.last_segment.0 + 1);
        let name = format!("s{}", segment.0).as_str().into();
        let length = LATE_CELLS * CELL;
        if self.cells.len() < MOST_SEGMENTS && self.inventory.mount(Offer { segment, name, length }) {
            self.last_segment = segment;
            self.cells.insert(segment, vec![Version(0); LATE_CELLS as usize]);
            context.counters.mounted_segments += 1;
        }
    }

    pub fn take(&mut self, context: &mut Context, from: Address, body: Body) {
        self.changed = true;
        match body {
            Body::Order(mut order) => {
                if context.options.flaw == Some(Flaw::Leases)
                    && let crate::store::message::Command::Drop { readers_ms, .. } = &mut order.command
                {
                    *readers_ms = 0;
                }
                if order.epoch >= self.inventory.promised() {
                    (self.master, self.led_at) = (Some(from), context.now);
                }
                let reactions = self.inventory.obey(self.now(context), &order);
                self.react(context, reactions, Some(from));
            }
            Body::Touch { id, touch } => {
                if let Some(touched) = self.touch(context, touch) {
                    context.send(self.address, from, Body::Touched { id, touched });
                }
            }
            Body::Touched { id, touched } => self.fetched_more(context, id, touched),
            _ => {}
        }
    }

    fn react(&mut self, context: &mut Context, reactions: Vec<Reaction>, from: Option<Address>) {
        for reaction in reactions {
            match reaction {
                Reaction::Send(report) => {
                    let to =
                        if matches!(report, Report::Refused { .. }) { from } else { from.or(self.master) };
                    if let Some(to) = to {
                        context.send(self.address, to, Body::Report(report));
                    }
                }
                Reaction::Fence { writer } => {
                    let delay = context.random.between(1, 300);
                    context.after(delay, Event::Fenced { node: self.address, writer });
                }
                Reaction::Fetch { entry, from } => self.fetch(context, *entry, &from),
                Reaction::Discarded => {
                    let id = NodeId(context.next_start());
                    self.inventory.rename(id);
                    self.ids.push(id);
                    context.truth.processes.insert(id, self.address);
                    self.led_at = 0;
                    context.counters.expelled_nodes += 1;
                    if let Place::Node(index) = self.address.place {
                        context.truth.node_gone(index);
                    }
                }
            }
        }
    }

    /// The connections of a writer are closed: what is still under way on them is dropped.
    pub fn fenced(&mut self, context: &mut Context, writer: ClientId) {
        self.changed = true;
        if writer == ITSELF {
            self.fetches.clear();
        }
        if context.options.flaw != Some(Flaw::Quarantine) {
            *self.lanes.entry(writer).or_default() += 1;
            context.truth.fenced(&self.ids, writer);
        }
        let reactions = self.inventory.evidence(self.now(context), Evidence::Fenced { writer });
        self.react(context, reactions, None);
    }

    fn touch(&mut self, context: &mut Context, touch: Touch) -> Option<Touched> {
        let now = self.now(context);
        let flawed = context.options.flaw == Some(Flaw::Generations);
        match touch {
            Touch::Prepare { node, entry, writer } => {
                let spot =
                    Spot { segment: entry.segment, offset: entry.offset, generation: entry.generation };
                let length = entry.length;
                if self.inventory.prepare(node, *entry, writer).is_err() {
                    return Some(Touched::Refused);
                }
                let lane = *self.lanes.entry(writer).or_default();
                let state = self.inventory.entry(spot).map(|entry| entry.state);
                if state == Some(EntryState::Writing { writer }) && writes_directly(writer) {
                    context.truth.opened(Writing { writer, node, spot, length });
                }
                Some(Touched::Lane(lane))
            }
            Touch::Write { node, spot, writer, from, length, version, lane } => {
                let is_good = self.inventory.may_write(node, spot, writer, from, length).is_ok();
                context.counters.late_writes += u64::from(!is_good);
                let lands = match lane {
                    Some(lane) => {
                        self.ids.contains(&node)
                            && self.lanes.get(&writer).copied().unwrap_or_default() == lane
                    }
                    None => is_good || flawed && self.ids.contains(&node),
                };
                if !lands {
                    return Some(Touched::Refused);
                }
                let Some(memory) = self.cells.get_mut(&spot.segment) else {
                    context.violated(|| format!("{spot:?} is written, and was taken back"));
                    return Some(Touched::Refused);
                };
                let cells = from / CELL..(from + length).div_ceil(CELL);
                cells.for_each(|cell| memory[cell as usize] = version);
                Some(Touched::Done)
            }
            Touch::Commit { node, spot, writer } => {
                let was = self
                    .inventory
                    .entries()
                    .any(|entry| entry.generation == spot.generation && entry.state == EntryState::Committed);
                match self.inventory.commit(now, node, spot, writer) {
                    Ok(()) => {
                        context.counters.double_commits += u64::from(was);
                        context.truth.closed(node, spot);
                        Some(Touched::Done)
                    }
                    Err(_) => Some(Touched::Refused),
                }
            }
            Touch::Evidence(evidence) => {
                let reactions = self.inventory.evidence(now, evidence);
                self.react(context, reactions, None);
                None
            }
            Touch::Read { node, segment, from, length } => {
                let memory = self.cells.get(&segment).filter(|_| self.ids.contains(&node));
                let Some(memory) = memory else { return Some(Touched::Refused) };
                let cells = from / CELL..(from + length).div_ceil(CELL);
                Some(Touched::Cells(cells.map(|cell| memory[cell as usize]).collect()))
            }
            Touch::MayRead { node, spot } => match self.inventory.may_read(node, spot) {
                Ok(()) => Some(Touched::Done),
                Err(_) => Some(Touched::Refused),
            },
        }
    }

    fn fetch(&mut self, context: &mut Context, entry: Entry, from: &[Extent]) {
        let spot = Spot { segment: entry.segment, offset: entry.offset, generation: entry.generation };
        let Some(source) = from.first().copied() else {
            let reactions = self.inventory.fetched(self.now(context), spot, false);
            return self.react(context, reactions, None);
        };
        self.fetches.push(Fetch { entry, source, at: 0, started: context.now, call: 0 });
        self.fetch_more(context, self.fetches.len() - 1);
    }

    fn fetch_more(&mut self, context: &mut Context, index: usize) {
        self.next_call += 1;
        let fetch = &mut self.fetches[index];
        fetch.call = self.next_call;
        let (id, source) = (fetch.call, fetch.source);
        let touch = if fetch.at < source.length {
            let from = source.offset + fetch.at;
            Touch::Read { node: source.node, segment: source.segment, from, length: CELL }
        } else {
            // What was read was the object's if its node still holds it for that now.
            Touch::MayRead { node: source.node, spot: Spot::of(&source) }
        };
        match context.truth.processes.get(&source.node).copied() {
            Some(node) => context.send(self.address, node, Body::Touch { id, touch }),
            None => self.end_fetch(context, index, false),
        }
    }

    fn fetched_more(&mut self, context: &mut Context, id: u64, touched: Touched) {
        let Some(index) = self.fetches.iter().position(|fetch| fetch.call == id) else { return };
        let fetch = &mut self.fetches[index];
        match touched {
            Touched::Cells(cells) => {
                let cell = (fetch.entry.offset + fetch.at) / CELL;
                fetch.at += CELL;
                if let Some(memory) = self.cells.get_mut(&fetch.entry.segment) {
                    memory[cell as usize] = cells[0];
                }
                self.fetch_more(context, index);
            }
            Touched::Done => self.end_fetch(context, index, true),
            _ => self.end_fetch(context, index, false),
        }
    }

    fn end_fetch(&mut self, context: &mut Context, index: usize, done: bool) {
        let Fetch { entry, .. } = self.fetches.remove(index);
        self.changed = true;
        let spot = Spot { segment: entry.segment, offset: entry.offset, generation: entry.generation };
        let reactions = self.inventory.fetched(self.now(context), spot, done);
        self.react(context, reactions, None);
    }
}

/// Half of the writers write into memory themselves, past everything that could look at it.
pub fn writes_directly(writer: ClientId) -> bool {
    writer.0.is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::world::World;
    use super::*;
    use crate::store::message::{Command, Order};
    use crate::store::object::{Epoch, MasterId};

    #[test]
    fn a_late_prepare_of_a_committed_stripe_opens_it_to_nobody_while_another_stripe_is_written() {
        let mut context = World::new(0, Options::default()).context;
        let mut sim = SimNode::new(&mut context, Address { place: Place::Node(0), start: 2 });
        let (node, writer, epoch) = (NodeId(2), ClientId(6), Epoch(1));
        let generation = Generation(epoch.first_generation().0 + 1);
        let command = Command::Claim { ask: 0, after: None };
        let floor = epoch.first_generation();
        sim.inventory.obey(0, &Order { epoch, master: MasterId(1), to: node, floor, command });
        let prepare = |offset: u64| Touch::Prepare {
            node,
            writer,
            entry: Box::new(Entry {
                segment: FIRST,
                offset,
                length: CELL,
                generation,
                tenant: "a".into(),
                key: b"k".as_slice().into(),
                version: Version(generation.0),
                size: 2 * CELL,
                stripe: (offset / CELL) as u16,
                stripes: 2,
                replicas: 1,
                hard_pin: false,
                soft_pin_ms: 0,
                group: "".into(),
                state: EntryState::Writing { writer },
            }),
        };
        let whole = Extent { node, segment: FIRST, offset: 0, length: CELL, generation };
        sim.touch(&mut context, prepare(0));
        sim.touch(&mut context, prepare(CELL));
        assert!(context.truth.take_memory(0, &[whole]).is_some());
        let spot = Spot { segment: FIRST, offset: 0, generation };
        sim.touch(&mut context, Touch::Commit { node, spot, writer });
        sim.touch(&mut context, prepare(0));
        assert_eq!(context.truth.take_memory(0, &[whole]), None);
    }
}
