//! What paths say of a batch's slices, and what follows from it.

use std::sync::atomic::Ordering;

use super::Batch;
use crate::error::Code;
use crate::transport::{Opcode, Outcome, Owner, Priority, Run, Slice};

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
            // A stopped batch says why it was stopped, unless the peer's memory is in doubt: a write was sent, and nobody
            // answered. What a path gave back was not.
            let is_in_doubt = slice.opcode == Opcode::Write && outcome == Outcome::Failed(Code::Unreachable);
            let code = self.stopped().filter(|_| !is_in_doubt).unwrap_or(code);
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

    fn verifies_reads(&self) -> bool {
        self.verifies_reads
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

#[cfg(test)]
mod tests {
    use super::super::{BatchOptions, Task};
    use super::*;
    use crate::sys::memory::Mem;
    use crate::transport::Opcode;
    use std::sync::Arc;
    use std::time::Duration;

    /// What a canceled batch says of a slice that ends so.
    fn canceled(opcode: Opcode, outcome: Outcome) -> Option<Code> {
        let bytes = [0u8; 64];
        let mut batch = Batch::new(BatchOptions::default(), None, Duration::from_secs(1), 1);
        batch.tasks.push(Task::new(64, 0, 1));
        batch.slices.push(Slice::new(opcode, Mem::of(&bytes), 4096, 0));
        let batch = Arc::new(batch);
        let epoch = batch.start(false).expect("a first start");
        batch.stop(Code::Canceled);
        batch.complete(epoch, 0, outcome, &|| "as told".into());
        batch.task(0).expect("the only one").status
    }

    #[test]
    fn a_path_that_closes_under_a_stopped_batch_does_not_make_it_unreachable() {
        for opcode in [Opcode::Read, Opcode::Write] {
            assert_eq!(canceled(opcode, Outcome::Reroute), Some(Code::Canceled));
            assert_eq!(canceled(opcode, Outcome::Failed(Code::Corrupted)), Some(Code::Canceled));
        }
        assert_eq!(canceled(Opcode::Read, Outcome::Failed(Code::Unreachable)), Some(Code::Canceled));
    }

    #[test]
    fn a_write_that_nobody_confirmed_stays_in_doubt_when_it_is_stopped() {
        assert_eq!(canceled(Opcode::Write, Outcome::Failed(Code::Unreachable)), Some(Code::Unreachable));
        assert_eq!(canceled(Opcode::Write, Outcome::Done), None);
    }
}
