//! Draining: everything that a segment holds moves elsewhere, a few objects at a time, and then it can be taken back.

use crate::error::Code;
use crate::store::object::{NodeId, SegmentId};
use crate::store::refusal::{Refusal, Result};

use super::change::Work;
use super::segment::Segment;
use super::shard::{ObjectRef, Place};
use super::state::State;
use super::task::{Task, TaskId, TaskState};

/// Most objects of one drain that move at the same time.
const AT_ONCE: usize = 16;

#[derive(Debug)]
pub struct Drain {
    pub slot: u32,
    /// Where the walk over the index goes on.
    shard: u32,
    next: u32,
}

impl State {
    /// Moves all that a segment holds to others; nothing new is placed there. Done when nothing is held there any more.
    pub fn drain(&mut self, node: NodeId, segment: SegmentId) -> Result<TaskId> {
        let slot = self.pool.find(node, segment).ok_or(Refusal::new(Code::NotFound, "no such segment"))?;
        let found = self.pool.get_mut(slot).expect("it was just found");
        if found.is_draining {
            return Err(Refusal::new(Code::AlreadyExists, "the segment is being drained"));
        }
        found.is_draining = true;
        Ok(self.tasks.start(Some(Drain { slot, shard: 0, next: 0 })))
    }

    /// What was to be moved from these segments is moved, or gone with them.
    pub(super) fn end_drains(&mut self, slots: &[u32]) {
        let is_here = |task: &Task| task.drain.as_ref().is_some_and(|drain| slots.contains(&drain.slot));
        let ended = self.tasks.list.values_mut().filter(|task| task.info.state == TaskState::Running);
        ended.filter(|task| is_here(task)).for_each(|task| task.info.state = TaskState::Done);
    }

    /// What nodes want back is drained without being asked for, by each master anew.
    fn drain_withdrawn(&mut self) {
        let is_due = |segment: &Segment| segment.is_withdrawn && !segment.is_draining;
        let due = self.pool.iter().filter(|(_, segment)| is_due(segment));
        let due: Vec<(NodeId, SegmentId)> = due.map(|(_, segment)| (segment.node, segment.id)).collect();
        for (node, segment) in due {
            // It was just found, and is not being drained.
            let _ = self.drain(node, segment);
        }
    }

    pub(super) fn go_on_draining(&mut self, now: u64) {
        self.drain_withdrawn();
        let is_running = |state: TaskState| state == TaskState::Running;
        let tasks =
            self.tasks.list.iter().filter(|(_, task)| is_running(task.info.state) && task.drain.is_some());
        let running: Vec<TaskId> = tasks.map(|(id, _)| *id).collect();
        for task in running {
            self.drain_step(now, task);
        }
    }

    fn drain_step(&mut self, now: u64, task: TaskId) {
        let Some(Drain { slot, shard, next }) =
            self.tasks.list.get(&task).and_then(|task| task.drain.as_ref()).map(|drain| Drain { ..*drain })
        else {
            return;
        };
        let Some(segment) = self.pool.get(slot) else {
            return self.finish_drain(task, TaskState::Done);
        };
        if segment.allocator.used() == 0 {
            return self.finish_drain(task, TaskState::Done);
        }
        let room = AT_ONCE.saturating_sub(self.copies_of(task).len());
        let here = |place: &Place| place.segment == slot;
        let objects = &self.shards[shard as usize].objects;
        let walked: Vec<u32> = self.shards[shard as usize].slots(next).take(self.config.batch).collect();
        let mut last = None;
        let mut hits = Vec::new();
        for found in &walked {
            if hits.len() == room {
                break;
            }
            last = Some(*found);
            let object = objects.get(*found);
            if object.is_visible() && !object.is_changing() && object.places.as_slice().iter().any(here) {
                hits.push(ObjectRef { shard, slot: *found });
            }
        }
        let is_end = walked.len() < self.config.batch && last == walked.last().copied();
        for at in hits {
            // What finds no room now is met again in the next round.
            let _ = self.begin_copy(now, at, task, &[], Some(slot));
        }
        if let Some(drain) = self.tasks.list.get_mut(&task).and_then(|task| task.drain.as_mut()) {
            drain.next = last.map_or(next, |last| last + 1);
            if is_end {
                (drain.shard, drain.next) = ((shard + 1) % self.shards.len() as u32, 0);
            }
        }
    }

    fn finish_drain(&mut self, task: TaskId, state: TaskState) {
        if let Some(task) = self.tasks.list.get_mut(&task) {
            task.info.state = state;
        }
    }

    /// Goes on with copies and puts whose time is over, and asks again for what has not come.
    pub(super) fn go_on_changing(&mut self, now: u64, resend: bool) {
        let all: Vec<ObjectRef> = self.grants.iter().map(|(_, at)| at).collect();
        for at in all {
            match self.work(at) {
                Work::Put(put) if put.deadline <= now => {
                    self.stats.puts_missed += 1;
                    self.abort_put(now, at, false);
                }
                Work::Copy(copying) if copying.deadline <= now => self.cancel_copy(now, at),
                Work::Copy(_) if resend => {
                    let version = self.object(at).version;
                    self.send_fetches(at, version);
                }
                _ => {}
            }
        }
    }
}
