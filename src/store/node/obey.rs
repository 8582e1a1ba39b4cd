//! What masters order: promises, views, and entries that are to go or to come.

use crate::store::message::{Command, Cursor, Order, Report, Spot};
use crate::store::object::{ClientId, Entry, EntryState, Extent, NodeId};

use super::Reaction;
use super::inventory::{CANCELED, Held, Inventory};

/// Most entries in one page of a report.
pub const PAGE: usize = 1024;

impl Inventory {
    /// Does what a master orders, unless a later one was promised.
    pub fn obey(&mut self, now: u64, order: &Order) -> Vec<Reaction> {
        if order.to != self.node {
            return Vec::new();
        }
        let is_other = order.epoch == self.promised && order.master != self.master;
        if order.epoch < self.promised || is_other {
            return vec![Reaction::Send(Report::Refused { node: self.node, promised: self.promised })];
        }
        if order.epoch > self.promised {
            if !matches!(order.command, Command::Claim { .. } | Command::Expelled { .. }) {
                return Vec::new();
            }
            self.promise(order);
        }
        self.raise_floor(order.floor);
        let mut reactions = self.carry_out(now, &order.command);
        let released = self.release(now);
        // One word is enough for what went into quarantine and out of it again.
        reactions.retain(|one| match one {
            Reaction::Send(Report::Dropped { spot, released: false, .. }) => self.find(*spot).is_some(),
            _ => true,
        });
        reactions.extend(released);
        reactions
    }

    /// Whether this is an order of the master that the node obeys.
    pub fn follows(&self, order: &Order) -> bool {
        order.epoch == self.promised && order.master == self.master
    }

    fn carry_out(&mut self, now: u64, command: &Command) -> Vec<Reaction> {
        match command {
            Command::Claim { ask, after } => vec![Reaction::Send(self.report(now, *ask, *after))],
            Command::Lead { sent, view } => {
                let mine = self.view.as_ref().map(|view| view.id);
                // One that goes on without this node counts on its vote all the same.
                if let Some(view) = view.as_ref().filter(|view| Some(view.id) > mine) {
                    self.view = Some(view.clone());
                    self.is_fresh &= !view.contains(self.node);
                }
                let view = self.view.as_ref().map(|view| view.id);
                let (node, epoch) = (self.node, self.promised);
                let offers = self.offers();
                vec![Reaction::Send(Report::Following { node, epoch, sent: *sent, view, offers })]
            }
            Command::Drop { spot, length, readers_ms, writer_done } => {
                self.drop_entry(*spot, *length, now.saturating_add(*readers_ms), *writer_done)
            }
            Command::Fetch { entry, from } => self.fetch(entry, from),
            Command::Expelled { view } => {
                if self.view.as_ref().is_some_and(|mine| mine.id > *view) {
                    return Vec::new();
                }
                self.discard(now)
            }
        }
    }

    /// Obeys this master from now on. Whoever is writing was granted that by an earlier one, which nobody asks again:
    /// what is not committed by now never will be.
    fn promise(&mut self, order: &Order) {
        (self.promised, self.master) = (order.epoch, order.master);
        self.end_writing();
        self.raise_floor(order.epoch.first_generation());
    }

    fn report(&self, now: u64, ask: u64, after: Option<Cursor>) -> Report {
        let (entries, next) = self.page(now, after, PAGE);
        let (node, epoch, is_fresh, view) = (self.node, self.promised, self.is_fresh, self.view.clone());
        let offers = self.offers();
        Report::Page { node, epoch, ask, offers, is_fresh, after, entries, next, view }
    }

    fn drop_entry(
        &mut self,
        spot: Spot,
        length: u64,
        readers_until: u64,
        writer_done: bool,
    ) -> Vec<Reaction> {
        if self.find(spot).is_some() {
            self.change((spot.segment, spot.offset), |held| {
                held.entry.state = EntryState::Quarantined;
                held.readers_until = held.readers_until.max(readers_until);
                held.writer = held.writer.filter(|_| !writer_done);
            });
            let writer = self.find(spot).and_then(|held| held.writer);
            let fence = writer.map(|writer| Reaction::Fence { writer });
            return vec![self.dropped(spot)].into_iter().chain(fence).collect();
        }
        if spot.generation < self.floor {
            return vec![Reaction::Send(Report::Dropped { node: self.node, spot, released: true })];
        }
        // The writer has not come yet. It finds the range taken, until the floor turns it away.
        let Some(segment) = self.segments.get(&spot.segment) else { return Vec::new() };
        let end = spot.offset.checked_add(length);
        let fits = length > 0 && end.is_some_and(|end| end <= segment.offer.length);
        if !fits || segment.overlaps(spot.offset, length) {
            return Vec::new();
        }
        self.insert(never_written(spot, length));
        vec![self.dropped(spot)]
    }

    /// The word that an entry is in quarantine. That it is free is said when it is.
    fn dropped(&self, spot: Spot) -> Reaction {
        Reaction::Send(Report::Dropped { node: self.node, spot, released: false })
    }

    fn fetch(&mut self, entry: &Entry, from: &[Extent]) -> Vec<Reaction> {
        let spot = Spot { segment: entry.segment, offset: entry.offset, generation: entry.generation };
        let fetched = |done| vec![Reaction::Send(Report::Fetched { node: self.node, spot, done })];
        match self.find(spot).map(|held| held.entry.state) {
            Some(EntryState::Committed) => return fetched(true),
            Some(EntryState::Writing { .. }) => return Vec::new(),
            _ => {}
        }
        match self.prepare(self.node, entry.clone(), ITSELF) {
            Ok(()) => vec![Reaction::Fetch { entry: Box::new(entry.clone()), from: from.to_vec() }],
            Err(_) => vec![Reaction::Send(Report::Fetched { node: self.node, spot, done: false })],
        }
    }

    /// Ends a fetch: the bytes are there, or will not come.
    pub fn fetched(&mut self, now: u64, spot: Spot, arrived: bool) -> Vec<Reaction> {
        let result = if arrived { self.commit(now, self.node, spot, ITSELF) } else { Err(CANCELED) };
        if result.is_err() {
            // Whatever became of it, this node has stopped writing into it.
            if self.find(spot).is_some_and(|held| held.writer == Some(ITSELF)) {
                self.change((spot.segment, spot.offset), |held| {
                    held.writer = None;
                    held.entry.state = EntryState::Quarantined;
                });
            }
        }
        let done = result.is_ok();
        let mut reactions = vec![Reaction::Send(Report::Fetched { node: self.node, spot, done })];
        reactions.extend(self.release(now));
        reactions
    }

    /// Everything is given up: others may have removed or replaced it while this node was away.
    fn discard(&mut self, now: u64) -> Vec<Reaction> {
        let until = now.saturating_add(self.horizon_ms);
        self.give_up_all(until);
        // What it knows of views still counts.
        self.is_fresh = true;
        self.node = NodeId::default();
        vec![Reaction::Discarded]
    }
}

/// The writer of what a node fetches; no client has this id.
pub const ITSELF: ClientId = ClientId(0);

fn never_written(spot: Spot, length: u64) -> Held {
    let entry = Entry {
        segment: spot.segment,
        offset: spot.offset,
        length,
        generation: spot.generation,
        tenant: "".into(),
        key: Box::default(),
        version: Default::default(),
        size: 0,
        stripe: 0,
        stripes: 1,
        replicas: 0,
        hard_pin: false,
        soft_pin_ms: 0,
        group: "".into(),
        state: EntryState::Quarantined,
    };
    Held { entry, soft_until: 0, writer: None, readers_until: 0 }
}
