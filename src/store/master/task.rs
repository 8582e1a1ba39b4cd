//! More replicas, fewer, or elsewhere: copies that nodes fetch from one another, and what is known of such tasks.

use std::collections::BTreeMap;

use crate::error::Code;
use crate::store::message::{Command, Spot};
use crate::store::object::{Entry, Generation, Name, NodeId, ReplicateConfig, Version, stripe_length};
use crate::store::refusal::{Refusal, Result};

use super::change::{BUSY, Work};
use super::drain::Drain;
use super::segment::places_of;
use super::shard::{HARD_PIN, ObjectRef, Place};
use super::state::State;

/// Tasks that ended and can still be asked about.
const REMEMBERED: usize = 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    Running,
    Done,
    Failed(Refusal),
    Canceled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    pub state: TaskState,
    pub moved_objects: u64,
    pub moved_bytes: u64,
}

#[derive(Debug)]
pub struct Task {
    pub info: TaskInfo,
    pub drain: Option<Drain>,
}

#[derive(Debug, Default)]
pub struct Tasks {
    last: u64,
    pub list: BTreeMap<TaskId, Task>,
}

impl Tasks {
    pub fn start(&mut self, drain: Option<Drain>) -> TaskId {
        self.last += 1;
        let info = TaskInfo { state: TaskState::Running, moved_objects: 0, moved_bytes: 0 };
        self.list.insert(TaskId(self.last), Task { info, drain });
        let ended = |task: &Task| task.info.state != TaskState::Running;
        if self.list.len() > REMEMBERED
            && let Some(oldest) = self.list.iter().find(|(_, task)| ended(task)).map(|(id, _)| *id)
        {
            self.list.remove(&oldest);
        }
        TaskId(self.last)
    }
}

/// A replica that is being made.
#[derive(Debug)]
pub struct Copying {
    pub task: TaskId,
    pub generation: Generation,
    pub places: Vec<Place>,
    arrived: Vec<bool>,
    pub deadline: u64,
    /// The replica on this segment goes once the new one is there.
    leaves: Option<u32>,
}

impl State {
    /// Makes one more replica, on the first of these segments that has room, or anywhere. Errors: NOT_FOUND, BUSY,
    /// NO_SPACE (no segment has room that has no replica yet), QUOTA_EXCEEDED, NOT_READY.
    pub fn copy(&mut self, now: u64, name: Name<'_>, preferred: &[String]) -> Result<TaskId> {
        let at = self.settled_object(now, name)?;
        let task = self.tasks.start(None);
        self.begin_copy(now, at, task, preferred, None)
            .inspect_err(|refusal| self.end_task(task, Err(*refusal)))?;
        Ok(task)
    }

    /// Moves the replica on this segment to the first of the preferred ones that has room, or anywhere.
    pub fn move_replica(
        &mut self,
        now: u64,
        name: Name<'_>,
        from: (NodeId, crate::store::object::SegmentId),
        preferred: &[String],
    ) -> Result<TaskId> {
        let at = self.settled_object(now, name)?;
        let slot = self.pool.find(from.0, from.1);
        let slot =
            slot.filter(|slot| self.object(at).places.as_slice().iter().any(|place| place.segment == *slot));
        let slot = slot.ok_or(Refusal::new(Code::NotFound, "the object has no replica on that segment"))?;
        let task = self.tasks.start(None);
        self.begin_copy(now, at, task, preferred, Some(slot))
            .inspect_err(|refusal| self.end_task(task, Err(*refusal)))?;
        Ok(task)
    }

    /// Gives up replicas beyond `keep`, at least one; returns how many there were too many. Errors: NOT_FOUND, BUSY,
    /// NOT_READY.
    pub fn trim(&mut self, now: u64, name: Name<'_>, keep: u8) -> Result<u8> {
        let at = self.settled_object(now, name)?;
        let object = self.object(at);
        let (keep, had, readers_until) = (keep.max(1), object.replicas, object.lease_until);
        if had <= keep {
            return Ok(0);
        }
        let mut kept = object.places.as_slice().to_vec();
        let given_up = kept.split_off(object.stripes() * usize::from(keep));
        self.set_places(at, kept, keep);
        self.drop_places(now, at, &given_up, readers_until, true);
        Ok(had - keep)
    }

    pub fn task(&self, task: TaskId) -> Option<TaskInfo> {
        self.tasks.list.get(&task).map(|task| task.info)
    }

    /// Ends a task that runs: what it has moved stays moved.
    pub fn cancel_task(&mut self, now: u64, task: TaskId) -> Result<()> {
        let Some(found) = self.tasks.list.get_mut(&task).filter(|task| task.info.state == TaskState::Running)
        else {
            return Err(Refusal::new(Code::NotFound, "no such task runs"));
        };
        found.info.state = TaskState::Canceled;
        let slot = found.drain.as_ref().map(|drain| drain.slot);
        if let Some(segment) = slot.and_then(|slot| self.pool.get_mut(slot)) {
            segment.is_draining = false;
        }
        for at in self.copies_of(task) {
            self.cancel_copy(now, at);
        }
        Ok(())
    }

    pub(super) fn copies_of(&self, task: TaskId) -> Vec<ObjectRef> {
        let is_of = |work: &Work| matches!(work, Work::Copy(copying) if copying.task == task);
        self.grants.iter().map(|(_, at)| at).filter(|at| is_of(self.work(*at))).collect()
    }

    pub(super) fn end_task(&mut self, task: TaskId, result: Result<()>) {
        let Some(task) = self.tasks.list.get_mut(&task) else { return };
        if task.info.state == TaskState::Running && task.drain.is_none() {
            task.info.state = result.map_or_else(TaskState::Failed, |()| TaskState::Done);
        }
    }

    fn settled_object(&mut self, now: u64, name: Name<'_>) -> Result<ObjectRef> {
        self.may_change(now)?;
        let at = self.lookup(now, name)?;
        if self.object(at).is_changing() { Err(BUSY) } else { Ok(at) }
    }

    pub(super) fn begin_copy(
        &mut self,
        now: u64,
        at: ObjectRef,
        task: TaskId,
        preferred: &[String],
        leaves: Option<u32>,
    ) -> Result<()> {
        let object = self.object(at);
        let (tenant, size, stripes, version) = (object.tenant, object.size, object.stripes(), object.version);
        // What moves takes no more than before, also of a tenant that has more than it may.
        if leaves.is_none() {
            self.tenants.check(tenant, size, 0)?;
        }
        let holders: Vec<NodeId> = self.replicas_nodes(at, leaves);
        let used: Vec<u32> = object.places.as_slice().iter().map(|place| place.segment).collect();
        let stripe_size = if stripes > 1 { stripe_length(size, stripes, 0) } else { 0 };
        let config = ReplicateConfig { preferred: preferred.to_vec(), stripe_size, ..Default::default() };
        let lead = &self.lead;
        let patience = self.config.lead_every_ms * 3;
        let taken = self.pool.allocate(size, &config, |slot, segment| {
            !used.contains(&slot)
                && !holders.contains(&segment.node)
                && lead.is_heard(now, segment.node, patience)
        });
        let taken =
            taken.ok_or(Refusal::retry(Code::NoSpace, "no other node has room for a replica", 1000))?;
        let generation = self.next_generation();
        let places = places_of(&taken, generation);
        let arrived = vec![false; places.len()];
        let deadline = now + self.config.put_deadline_ms;
        self.granted(now, generation, at, &places);
        let copying = Copying { task, generation, places, arrived, deadline, leaves };
        self.change(at).work = Work::Copy(Box::new(copying));
        self.send_fetches(at, version);
        Ok(())
    }

    /// Nodes that have a replica, but for the one that is to leave.
    fn replicas_nodes(&self, at: ObjectRef, leaves: Option<u32>) -> Vec<NodeId> {
        let staying =
            |copy: &&[Place]| leaves.is_none_or(|slot| copy.iter().all(|place| place.segment != slot));
        let node = |place: &Place| self.pool.get(place.segment).map(|segment| segment.node);
        self.object(at).copies().filter(staying).flatten().filter_map(node).collect()
    }

    /// Asks nodes for what has not arrived.
    pub(super) fn send_fetches(&mut self, at: ObjectRef, version: Version) {
        let Work::Copy(copying) = self.work(at) else { return };
        let object = self.object(at);
        let stripes = object.stripes();
        let template = Entry {
            hard_pin: object.flags & HARD_PIN != 0,
            group: self.groups.name(object.group),
            ..self.blank_entry(at, version, object.size)
        };
        let sources = |stripe: usize| {
            let extent = |copy: &[Place]| self.pool.extent(&copy[stripe], object.size, stripes, stripe);
            object.copies().filter_map(extent).collect::<Vec<_>>()
        };
        let entries = self.entries(&template, &copying.places, stripes).into_iter().enumerate();
        let orders: Vec<(NodeId, Command)> = entries
            .filter(|(index, _)| !copying.arrived[*index])
            .map(|(index, (node, entry))| {
                (node, Command::Fetch { entry: Box::new(entry), from: sources(index) })
            })
            .collect();
        for (node, command) in orders {
            self.send(node, command);
        }
    }

    /// A node ended a fetch.
    pub(super) fn fetched(&mut self, now: u64, node: NodeId, spot: Spot, done: bool) {
        let Some(at) = self.grants.get(spot.generation) else { return };
        let slot = self.pool.find(node, spot.segment);
        let Work::Copy(copying) = self.work(at) else { return };
        let is_here = |place: &Place| {
            let segment = self.pool.get(place.segment).filter(|_| Some(place.segment) == slot);
            segment.is_some_and(|segment| segment.allocator.offset(place.block) == spot.offset)
        };
        let Some(index) = copying.places.iter().position(is_here) else { return };
        if !done {
            return self.cancel_copy(now, at);
        }
        let Work::Copy(copying) = &mut self.change(at).work else { return };
        copying.arrived[index] = true;
        if copying.arrived.iter().all(|arrived| *arrived) {
            self.finish_copy(now, at);
        }
    }

    fn take_copy(&mut self, at: ObjectRef) -> Option<Copying> {
        if !matches!(self.work(at), Work::Copy(_)) {
            return None;
        }
        let Work::Copy(copying) = std::mem::take(&mut self.change(at).work) else { return None };
        self.grants.remove(copying.generation);
        Some(*copying)
    }

    fn finish_copy(&mut self, now: u64, at: ObjectRef) {
        let Some(copying) = self.take_copy(at) else { return };
        let object = self.object(at);
        let (size, stripes, readers_until) = (object.size, object.stripes(), object.lease_until);
        let mut copies: Vec<Vec<Place>> = object.copies().map(<[Place]>::to_vec).collect();
        let leaving = copying
            .leaves
            .and_then(|slot| copies.iter().position(|copy| copy.iter().any(|place| place.segment == slot)));
        let given_up = leaving.map(|index| copies.remove(index)).unwrap_or_default();
        copies.push(copying.places);
        let places: Vec<Place> = copies.iter().flatten().copied().collect();
        self.set_places(at, places, copies.len() as u8);
        debug_assert_eq!(self.object(at).stripes(), stripes);
        self.drop_places(now, at, &given_up, readers_until, true);
        if let Some(task) = self.tasks.list.get_mut(&copying.task) {
            task.info.moved_objects += 1;
            task.info.moved_bytes += size;
        }
        self.end_task(copying.task, Ok(()));
        self.end_if_quiet(at);
    }

    /// Gives up a replica that is being made.
    pub(super) fn cancel_copy(&mut self, now: u64, at: ObjectRef) {
        let Some(copying) = self.take_copy(at) else { return };
        self.drop_places(now, at, &copying.places, 0, false);
        self.end_task(copying.task, Err(Refusal::retry(Code::Canceled, "the copy was given up", 100)));
        self.end_if_quiet(at);
    }

    /// Gives up a replica that is being made on nodes that are gone.
    pub(super) fn shrink_copy(&mut self, now: u64, at: ObjectRef) {
        let Work::Copy(copying) = self.work(at) else { return };
        if copying.places.iter().any(|place| self.pool.get(place.segment).is_none()) {
            self.cancel_copy(now, at);
        }
    }
}
