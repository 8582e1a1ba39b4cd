//! Runs that wait for a connection, by priority. Whoever sends takes what fits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::{Opcode, PRIORITIES, Run};

thread_local! {
    static SUBMITTER: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
}

/// Counts the threads that submit, so that neighbours use different connections.
pub fn submitter() -> usize {
    SUBMITTER.with(|number| *number)
}

#[derive(Default)]
pub struct RunQueue {
    waiting: Mutex<[VecDeque<Run>; PRIORITIES]>,
    /// Slices in it, for those who only ask whether there is something to send.
    slices: AtomicUsize,
}

impl RunQueue {
    pub fn put(&self, run: Run) {
        let mut waiting = self.waiting.lock();
        self.slices.fetch_add(run.count as usize, Ordering::AcqRel);
        waiting[run.owner.priority() as usize].push_back(run);
    }

    pub fn is_empty(&self) -> bool {
        self.slices.load(Ordering::Acquire) == 0
    }

    /// Takes slices of one kind, the most urgent first: at most `count` of them, and as many bytes as `bytes` allows for
    /// that kind, but at least one slice.
    pub fn take(&self, bytes: impl Fn(Opcode) -> usize, count: usize, runs: &mut Vec<Run>) -> Option<Opcode> {
        runs.clear();
        let mut waiting = self.waiting.lock();
        let urgent = waiting.iter_mut().find(|runs| !runs.is_empty())?;
        let opcode = urgent.front()?.slices()[0].opcode;
        let bytes = bytes(opcode);
        let (mut room, mut slots) = (bytes, count);
        while let Some(run) = urgent.front_mut() {
            let fits = run
                .slices()
                .iter()
                .take(slots)
                .take_while(|slice| {
                    let fits = slice.opcode == opcode && (slice.len() <= room || room == bytes);
                    room = if fits { room.saturating_sub(slice.len()) } else { room };
                    fits
                })
                .count() as u32;
            if fits == 0 {
                break;
            }
            slots -= fits as usize;
            self.slices.fetch_sub(fits as usize, Ordering::AcqRel);
            if fits == run.count {
                runs.extend(urgent.pop_front());
            } else {
                runs.push(run.split_front(fits));
                break;
            }
        }
        Some(opcode)
    }

    pub fn take_all(&self) -> Vec<Run> {
        let mut waiting = self.waiting.lock();
        self.slices.store(0, Ordering::Release);
        waiting.iter_mut().flat_map(std::mem::take).collect()
    }

    /// Takes the runs of which `is_wanted` says so, wherever they stand.
    pub fn take_those(&self, is_wanted: impl Fn(&Run) -> bool) -> Vec<Run> {
        let mut taken = Vec::new();
        let mut waiting = self.waiting.lock();
        for runs in waiting.iter_mut() {
            runs.retain(|run| {
                let is_taken = is_wanted(run);
                if is_taken {
                    taken.push(run.clone());
                }
                !is_taken
            });
        }
        let slices: usize = taken.iter().map(|run| run.count as usize).sum();
        self.slices.fetch_sub(slices, Ordering::AcqRel);
        taken
    }
}
