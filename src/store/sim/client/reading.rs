//! Reading: cell after cell of all stripes of a replica, and of the next one if that does not answer.

use crate::store::master::Located;
use crate::store::object::Extent;

use super::super::Flaw;
use super::super::master::CELL;
use super::super::message::{Ask, Touch, Touched};
use super::super::truth::Reading;
use super::super::world::Context;
use super::{Call, Getting, Operation, SimClient, Stage};

impl SimClient {
    pub(super) fn read(&mut self, context: &mut Context, located: Located) {
        let now = context.now;
        let client = self.id();
        let Some(operation) = &mut self.operation else { return };
        if located.version.0 < operation.floor {
            let (key, floor) = (operation.key, operation.floor);
            context.violated(|| {
                format!("key {key} is {:?}, and {floor} was acknowledged before", located.version)
            });
        }
        // The clock runs since before the question: the first time it was sent.
        let until = operation.began + located.lease_ms;
        for extent in located.replicas.iter().flat_map(|replica| &replica.stripes) {
            context.truth.readings.push(Reading { client, extent: *extent, until });
        }
        let thinking_until = now + if context.random.happens(250) { context.random.below(1500) } else { 0 };
        operation.asked = now;
        operation.stage = Stage::Getting(Getting {
            located,
            replica: 0,
            at: Vec::new(),
            until,
            first_until: until,
            renewing: None,
            thinking_until,
        });
        self.read_replica(context);
    }

    fn read_replica(&mut self, context: &mut Context) {
        let Some(Operation { stage: Stage::Getting(getting), .. }) = &mut self.operation else { return };
        let Some(replica) = getting.located.replicas.get(getting.replica) else { return self.end(context) };
        let stripes = replica.stripes.len();
        getting.at = vec![0; stripes];
        // What was prolonged was so for another replica.
        (getting.until, getting.renewing) = (getting.first_until, None);
        self.pending.clear();
        (0..stripes).for_each(|stripe| self.read_cell(context, stripe));
    }

    fn read_cell(&mut self, context: &mut Context, stripe: usize) {
        let Some(Operation { stage: Stage::Getting(getting), .. }) = &self.operation else { return };
        let Extent { node, segment, offset, .. } = getting.located.replicas[getting.replica].stripes[stripe];
        let from = offset + getting.at[stripe] * CELL;
        self.call(context, Call::Touch(node, Touch::Read { node, segment, from, length: CELL }), stripe);
    }

    /// Asks for more time before it is over.
    fn renew(&mut self, context: &mut Context) {
        let Some(Operation { stage: Stage::Getting(getting), key, .. }) = &mut self.operation else { return };
        let is_soon = getting.until > context.now && getting.until < context.now + 600;
        let Some(replica) = getting.located.replicas.get(getting.replica) else { return };
        if is_soon && getting.renewing.is_none() && context.random.happens(300) {
            getting.renewing = Some(context.now);
            let ask = Ask::Renew { key: *key, stripes: replica.stripes.clone() };
            self.call(context, Call::Ask(ask), 0);
        }
    }

    /// The lease of the replica that is read holds for longer, counted from when that was asked for first.
    pub(super) fn renewed(&mut self, context: &mut Context, stripes: &[Extent], lease_ms: u64) {
        let client = self.id();
        let Some(Operation { stage: Stage::Getting(getting), .. }) = &mut self.operation else { return };
        let Some(asked) = getting.renewing.take() else { return };
        let extents = &getting.located.replicas[getting.replica].stripes;
        if extents != stripes || getting.until <= context.now {
            return;
        }
        getting.until = getting.until.max(asked + lease_ms);
        context.counters.renewed_leases += 1;
        for extent in extents {
            let mine = |one: &&mut Reading| one.client == client && one.extent == *extent;
            context.truth.readings.iter_mut().filter(mine).for_each(|one| one.until = getting.until);
        }
    }

    pub(super) fn has_read(&mut self, context: &mut Context, stripe: usize, touched: Touched) {
        let Some(Operation { stage: Stage::Getting(getting), key, .. }) = &mut self.operation else { return };
        let Touched::Cells(cells) = touched else {
            getting.replica += 1;
            return self.read_replica(context);
        };
        let extents = &getting.located.replicas[getting.replica].stripes;
        // With no time left, what was read says nothing.
        let is_late = context.now > getting.until && context.options.flaw != Some(Flaw::Leases);
        if !is_late && cells.iter().any(|cell| *cell != getting.located.version) {
            let (key, version, extent) = (*key, getting.located.version, extents[stripe]);
            context.violated(|| format!("key {key}, version {version:?}, reads as {cells:?} at {extent:?}"));
        }
        if is_late {
            context.counters.expired_leases += 1;
            return self.end(context);
        }
        getting.at[stripe] += 1;
        let is_read = |stripe: usize| getting.at[stripe] >= extents[stripe].length.div_ceil(CELL);
        if (0..extents.len()).all(is_read) {
            context.counters.gets += 1;
            self.to_move = context.random.happens(80).then_some((*key, extents[stripe]));
            return self.end(context);
        }
        if !is_read(stripe) && context.now >= getting.thinking_until {
            self.read_cell(context, stripe);
        }
    }

    /// Takes up a read that paused, and leaves a replica that does not answer.
    pub(super) fn go_on_reading(&mut self, context: &mut Context) {
        let now = context.now;
        self.renew(context);
        let is_waiting = self.pending.values().any(|one| matches!(one.call, Call::Touch(..)));
        let Some(Operation { stage: Stage::Getting(getting), asked, .. }) = &mut self.operation else {
            return;
        };
        if now < getting.thinking_until {
            return;
        }
        if !is_waiting {
            let extents = &getting.located.replicas[getting.replica].stripes;
            let (at, length) = (getting.at.clone(), extents.iter().map(|one| one.length).collect::<Vec<_>>());
            for stripe in (0..at.len()).filter(|stripe| at[*stripe] < length[*stripe].div_ceil(CELL)) {
                self.read_cell(context, stripe);
            }
        } else if now > *asked + 900 * (getting.replica as u64 + 1) {
            getting.replica += 1;
            self.read_replica(context);
        }
    }
}
