//! What paths say of a batch's slices, and what follows from it.

use std::sync::atomic::Ordering;

use super::Batch;
use crate::error::Code;
use crate::transport::{Outcome, Owner, Priority, Run, Slice};

impl Owner for Batch {
    fn slices(&self) -> &[Slice] {
        &self.slices
    }

    fn begin_touch(&self, epoch: u32) -> bool {
        self.touching.fetch_add(1, Ordering::SeqCst);
        if self.stop.load(Ordering::SeqCst) != 0
            || self.epoch.load(Ordering::SeqCst) != epoch
            || self.is_done()
        {
            self.touching.fetch_sub(1, Ordering::SeqCst);
            return false;
        }
        true
    }

    fn end_touch(&self) {
        self.touching.fetch_sub(1, Ordering::SeqCst);
    }

    fn complete(&self, epoch: u32, index: u32, outcome: Outcome, detail: &dyn Fn() -> String) {
        let slice = &self.slices[index as usize];
        if matches!(outcome, Outcome::Reroute | Outcome::Failed(Code::AddressNotRegistered))
            && self.reroute(epoch, index, outcome)
        {
            return;
        }
        if slice
            .state
            .compare_exchange(epoch << 1, epoch << 1 | 1, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            return;
        }
        let task = &self.tasks[slice.task as usize];
        let failure = match outcome {
            Outcome::Done => None,
            Outcome::Failed(code) => Some(code),
            Outcome::Reroute => Some(Code::Unreachable),
        };
        if let Some(code) = failure {
            // A stopped batch says why it was stopped, unless the peer's memory is in doubt.
            let code = match Code::from_raw(self.stop.load(Ordering::Acquire)) {
                Some(reason) if code != Code::Unreachable => reason,
                _ => code,
            };
            let _ = task.status.compare_exchange(0, code as i32, Ordering::AcqRel, Ordering::Acquire);
            self.keep_detail(code, detail);
        }
        if task.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.end_task(slice.task as usize);
        }
    }

    fn complete_exclusive(&self, epoch: u32, first: u32, count: u32) {
        if count as usize == self.slices.len() && !self.slices.iter().any(|slice| slice.is_done(epoch)) {
            return self.complete_all(epoch);
        }
        let (mut ended, mut bytes) = (0, 0);
        for slice in &self.slices[first as usize..(first + count) as usize] {
            if slice.is_done(epoch) {
                continue;
            }
            slice.state.store(epoch << 1 | 1, Ordering::Release);
            let (index, task) = (slice.task as usize, &self.tasks[slice.task as usize]);
            if task.slice_count > 1 {
                if task.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
                    self.end_task(index);
                }
                continue;
            }
            task.is_done.store(true, Ordering::Release);
            if let (Some(cq), false) = (&self.cq, self.complete_once) {
                cq.deliver_promised(self.completion_of(index, task, None));
            }
            ended += 1;
            bytes += task.length;
        }
        // One step for all: the counters are shared, and each step costs as much as a small copy.
        if ended > 0 {
            self.completed.fetch_add(u64::from(ended), Ordering::AcqRel);
            self.completed_bytes.fetch_add(bytes, Ordering::AcqRel);
            self.end_many(ended);
        }
    }

    fn stopped(&self) -> Option<Code> {
        Code::from_raw(self.stop.load(Ordering::Acquire))
    }

    fn priority(&self) -> Priority {
        self.priority
    }

    fn deadline_ns(&self) -> u64 {
        match self.deadline_ns.load(Ordering::Acquire) {
            0 => self.look_at_the_clock(),
            deadline => deadline,
        }
    }
}

/// Times that a slice is sent another way before its request fails.
const MAX_REROUTES: u32 = 4;

impl Batch {
    /// Every slice is done, and only the calling thread says so: the counters need no step that others could disturb.
    fn complete_all(&self, epoch: u32) {
        for slice in &self.slices {
            slice.state.store(epoch << 1 | 1, Ordering::Release);
        }
        for (index, task) in self.tasks.iter().enumerate() {
            task.is_done.store(true, Ordering::Release);
            if let (Some(cq), false) = (&self.cq, self.complete_once) {
                cq.deliver_promised(self.completion_of(index, task, None));
            }
        }
        self.completed.store(self.tasks.len() as u64, Ordering::Release);
        self.completed_bytes.store(self.bytes, Ordering::Release);
        self.end_many(self.tasks.len() as u32);
    }

    /// Sends a slice another way, or again with fresh knowledge of the peer's regions. False when there is none left.
    fn reroute(&self, epoch: u32, index: u32, outcome: Outcome) -> bool {
        let slice = &self.slices[index as usize];
        if slice.is_done(epoch) || self.stopped().is_some() {
            return false;
        }
        let Some(leg) = self.legs.iter().find(|leg| index >= leg.first && index - leg.first < leg.count)
        else {
            return false;
        };
        let limit = if outcome == Outcome::Reroute { MAX_REROUTES } else { 1 };
        if slice.retries.load(Ordering::Relaxed) >= limit {
            return false;
        }
        let me = match self.me.get() {
            Some(me) => me.upgrade(),
            // Still being posted: nobody was told its id.
            None => self.engine().and_then(|engine| engine.batch(self.id.load(Ordering::Relaxed)).ok()),
        };
        let Some(me) = me else { return false };
        let run = Run { owner: me, epoch, first: index, count: 1 };
        slice.retries.fetch_add(1, Ordering::Relaxed);
        leg.segment.reroute(run, outcome)
    }
}
