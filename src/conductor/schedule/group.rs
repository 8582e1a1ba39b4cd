//! Long prompts on several instances at once: chunks pass through them like through a pipeline.
//!
//! Each of X instances has a part of the layers, and a prompt of c chunks is through after c + X - 1 of c * X steps
//! (the paper's chunked pipeline parallelism). A group is made only if one instance would be too late, and no larger
//! than it takes to be in time.

use super::round::Candidate;
use super::{Class, InstanceId};

/// Most instances of a group.
pub const MOST_IN_GROUP: usize = 8;

/// The instances that prefill a request with the one that was chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    others: [Option<InstanceId>; MOST_IN_GROUP - 1],
}

impl Group {
    /// Those beside the chosen one.
    pub fn others(&self) -> impl Iterator<Item = InstanceId> {
        self.others.into_iter().flatten()
    }

    /// With the chosen one.
    pub fn size(&self) -> usize {
        1 + self.others().count()
    }
}

/// What a request takes, alone or in a group: seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    pub group: Group,
    /// From now until all of the group are free.
    pub queue: f64,
    pub transfer: f64,
    pub compute: f64,
}

impl Plan {
    pub fn ttft(&self) -> f64 {
        self.queue + self.transfer + self.compute
    }
}

/// The smallest group that is in time, of at most `most`; if none is, the one that is soonest done.
pub fn plan(
    alone: Plan,
    class: &Class,
    candidates: &[Candidate],
    chosen: usize,
    chunks: f64,
    most: usize,
) -> Plan {
    let in_time = class.ttft * class.limit;
    if most < 2 || alone.ttft() <= in_time {
        return alone;
    }
    // The others with the shortest queues, in order.
    let mut shortest = [(f64::INFINITY, None); MOST_IN_GROUP - 1];
    for candidate in candidates.iter().enumerate().filter(|(at, _)| *at != chosen).map(|(_, one)| one) {
        let mut next = (candidate.queue, Some(candidate.instance));
        for place in &mut shortest {
            if next.0 < place.0 {
                std::mem::swap(place, &mut next);
            }
        }
    }
    let (mut best, mut group) = (alone, Group::default());
    for (index, (queue, instance)) in shortest.into_iter().enumerate().take(most.min(MOST_IN_GROUP) - 1) {
        let Some(instance) = instance else { break };
        group.others[index] = Some(instance);
        let stages = (index + 2) as f64;
        let plan = Plan {
            group,
            queue: alone.queue.max(queue),
            transfer: alone.transfer,
            compute: alone.compute / stages * (1.0 + (stages - 1.0) / chunks.max(1.0)),
        };
        if plan.ttft() < best.ttft() {
            best = plan;
        }
        if best.ttft() <= in_time {
            break;
        }
    }
    best
}
