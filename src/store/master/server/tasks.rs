//! Copies, moves and drains, which take their time in the background.

use prost::Message;

use crate::error::Result;
use crate::fail;
use crate::store::master::{SegmentInfo, State, TaskId, TaskState};
use crate::store::object::Name;
use crate::store::refusal::{self, Refusal};
use crate::store::wire::master::*;
use crate::store::wire::{Call, Failed, decode};

use super::core::Core;
use super::objects::{outcome, results};

pub fn copy(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let Copy { tenant, key, preferred } = decode(body)?;
    let name = Name { tenant: &tenant, key: &key };
    start(core, Copy::METHOD, |state, now| Ok(state.copy(now, name, &preferred)))
}

pub fn move_replica(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let Move { tenant, key, from, preferred } = decode(body)?;
    let name = Name { tenant: &tenant, key: &key };
    start(core, Move::METHOD, |state, now| {
        let mut result = Err(Refusal::new(crate::error::Code::NotFound, "no segment has this name"));
        for segment in all_named(state, &from) {
            result = state.move_replica(now, name, (segment.node, segment.segment), &preferred);
            if result.is_ok() {
                break;
            }
        }
        Ok(result)
    })
}

pub fn drain(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let Drain { segment } = decode(body)?;
    start(core, Drain::METHOD, |state, _| {
        let one = named(state, &segment)?;
        Ok(state.drain(one.node, one.segment))
    })
}

fn start(
    core: &Core,
    method: u16,
    start: impl FnOnce(&mut State, u64) -> Result<refusal::Result<TaskId>>,
) -> Result<Vec<u8>> {
    let started = core.work(|inner, now| start(&mut inner.state, now));
    let started = started.and_then(|started| started.map_err(Refusal::into_error));
    core.counters.note(method, 1, usize::from(started.is_err()));
    Ok(TaskStarted { task: started?.0 }.encode_to_vec())
}

fn all_named(state: &State, name: &str) -> Vec<SegmentInfo> {
    let mut segments = state.segments();
    segments.retain(|segment| *segment.name == *name);
    segments
}

/// The segment of this name.
pub fn named(state: &State, name: &str) -> Result<SegmentInfo> {
    let mut found = all_named(state, name);
    match found.len() {
        0 => Err(fail!(NotFound, "no segment has the name {name:.300}")),
        1 => Ok(found.remove(0)),
        several => {
            Err(fail!(InvalidArgument, "{several} segments have the name {name:.300}: give each its own"))
        }
    }
}

pub fn trim(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let Trim { tenant, key, keep, stamp } = decode(body)?;
    core.attempts.admit(stamp.as_ref())?;
    let keep = u8::try_from(keep).unwrap_or(u8::MAX);
    let name = Name { tenant: &tenant, key: &key };
    let trimmed = core.work(|inner, now| inner.state.trim(now, name, keep));
    Ok(results(core, Trim::METHOD, vec![outcome(trimmed.map(u64::from))]))
}

pub fn task(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let Task { task } = decode(body)?;
    let found = core.work(|inner, _| inner.state.task(TaskId(task)));
    core.counters.note(Task::METHOD, 1, usize::from(found.is_none()));
    let info = found.ok_or_else(|| fail!(NotFound, "this master knows no task {task}"))?;
    let (state, failed) = match info.state {
        TaskState::Running => (1, None),
        TaskState::Done => (2, None),
        TaskState::Failed(refusal) => (3, Some(Failed::from(refusal))),
        TaskState::Canceled => (4, None),
    };
    let (moved_objects, moved_bytes) = (info.moved_objects, info.moved_bytes);
    Ok(TaskReply { state, failed, moved_objects, moved_bytes }.encode_to_vec())
}

pub fn cancel(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let CancelTask { task } = decode(body)?;
    let canceled = core.work(|inner, now| inner.state.cancel_task(now, TaskId(task)));
    Ok(results(core, CancelTask::METHOD, vec![outcome(canceled.map(|()| 0))]))
}
