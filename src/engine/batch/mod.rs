//! A batch: its requests cut into slices, how far each is, and who waits for it.

mod owner;

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::Engine;
use super::cq::{Completion, Cq, Kind};
use super::few::Few;
use super::group::Group;
pub use super::request::*;
use super::segment::Segment;
use crate::bail;
use crate::error::{Code, Error, Result};
use crate::segment::memory::Region;
use crate::sys::{clock, futex};
use crate::transport::{Owner, Priority, Run, Slice};

/// One request under way.
pub struct Task {
    pub length: u64,
    pub user_data: u64,
    pub slice_count: u32,
    pending: AtomicU32,
    /// 0, or the code of the first slice that failed.
    status: AtomicI32,
    is_done: AtomicBool,
}

impl Task {
    pub fn new(length: u64, user_data: u64, slice_count: u32) -> Task {
        Task {
            length,
            user_data,
            slice_count,
            pending: AtomicU32::new(0),
            status: AtomicI32::new(0),
            is_done: AtomicBool::new(false),
        }
    }
}

/// Consecutive slices that go to one segment.
pub struct Leg {
    pub segment: Arc<Segment>,
    pub first: u32,
    pub count: u32,
}

/// Of batches that end while they are posted, one in so many is timed, and counts for all: the clock costs as much as a
/// small copy.
pub const SAMPLE_EVERY: u64 = 16;

const IDLE: u32 = 0;
const RUNNING: u32 = 1;
/// Running, and somebody sleeps on the word.
const AWAITED: u32 = 2;
const DONE: u32 = 3;

pub struct Batch {
    pub id: AtomicU64,
    pub tasks: Few<Task>,
    pub slices: Few<Slice>,
    /// At least one.
    pub legs: Few<Leg>,
    /// Local regions that it uses: held while it runs, and until it runs for the first time.
    pub holds: Few<Arc<Region>>,
    pub is_prepared: bool,
    pub bytes: u64,
    pub priority: Priority,
    pub complete_once: bool,
    pub verifies_reads: bool,
    pub user_data: u64,
    pub cq: Option<Arc<Cq>>,
    pub notify: Option<(Arc<Segment>, Notification)>,
    pub group: Option<Arc<Group>>,
    pub deadline: Duration,
    /// Stands in the progress list of the engine.
    pub is_listed: AtomicBool,

    epoch: AtomicU32,
    phase: AtomicU32,
    remaining: AtomicU32,
    completed: AtomicU64,
    failed: AtomicU64,
    completed_bytes: AtomicU64,
    status: AtomicI32,
    stop: AtomicI32,
    touching: AtomicU32,
    /// When it was posted, and when it must be done; 0 until somebody asks. Most copies end before anybody does.
    posted_ns: AtomicU64,
    deadline_ns: AtomicU64,
    /// When what the peer does not confirm is given up, if sooner than the deadline: after a cancel.
    patience_ns: AtomicU64,
    /// Its time counts even if it ends at once.
    is_sample: AtomicBool,
    detail: Mutex<String>,
    /// For those that go on after they were posted, and those that have something to send at their end.
    me: OnceLock<Weak<Batch>>,
}

impl Batch {
    /// A batch without requests; room for so many.
    pub fn new(options: BatchOptions, cq: Option<Arc<Cq>>, deadline: Duration, requests: usize) -> Batch {
        Batch {
            id: AtomicU64::new(0),
            tasks: Few::with_capacity(requests),
            slices: Few::with_capacity(requests),
            legs: Few::None,
            holds: Few::None,
            is_prepared: false,
            bytes: 0,
            priority: options.priority,
            complete_once: options.complete_once,
            verifies_reads: options.verifies_reads,
            user_data: options.user_data,
            cq,
            notify: None,
            group: options.group,
            deadline,
            is_listed: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
            phase: AtomicU32::new(IDLE),
            remaining: AtomicU32::new(0),
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            completed_bytes: AtomicU64::new(0),
            status: AtomicI32::new(0),
            stop: AtomicI32::new(0),
            touching: AtomicU32::new(0),
            posted_ns: AtomicU64::new(0),
            deadline_ns: AtomicU64::new(0),
            patience_ns: AtomicU64::new(u64::MAX),
            is_sample: AtomicBool::new(false),
            detail: Mutex::new(String::new()),
            me: OnceLock::new(),
        }
    }

    /// Completions that one post delivers.
    fn completion_count(&self) -> usize {
        if self.complete_once { 1 } else { self.tasks.len() }
    }

    /// Makes everything ready for a post; the caller dispatches and then calls `dispatched`. A sample is timed whatever
    /// becomes of it.
    pub fn start(self: &Arc<Self>, is_sample: bool) -> Result<u32> {
        let phase = self.phase.load(Ordering::Acquire);
        if !self.is_prepared {
            // Started once, by who made it.
            self.phase.store(RUNNING, Ordering::Release);
        } else if (phase != IDLE && phase != DONE)
            || self.phase.compare_exchange(phase, RUNNING, Ordering::AcqRel, Ordering::Acquire).is_err()
        {
            bail!(Busy, "batch {:#x} is still under way", self.id.load(Ordering::Relaxed));
        }
        if let Err(error) = self.hold_regions().and_then(|()| self.promise_completions()) {
            self.phase.store(phase, Ordering::Release);
            return Err(error);
        }
        // Slices of an earlier post end with an odd state of an earlier epoch: what is said about them is ignored.
        let epoch = self.epoch.load(Ordering::Relaxed).wrapping_add(1) & (u32::MAX >> 1);
        for task in &self.tasks {
            task.pending.store(task.slice_count, Ordering::Relaxed);
            task.status.store(0, Ordering::Relaxed);
            task.is_done.store(false, Ordering::Relaxed);
        }
        self.slices.iter().for_each(|slice| slice.begin(epoch));
        self.completed.store(0, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
        self.completed_bytes.store(0, Ordering::Relaxed);
        self.status.store(0, Ordering::Relaxed);
        self.deadline_ns.store(0, Ordering::Relaxed);
        self.patience_ns.store(u64::MAX, Ordering::Relaxed);
        self.is_sample.store(is_sample, Ordering::Relaxed);
        if is_sample {
            self.look_at_the_clock();
        }
        if self.notify.is_some() || self.group.is_some() {
            self.me.get_or_init(|| Arc::downgrade(self));
        }
        // One more than there are tasks: the batch cannot end before it is dispatched.
        self.remaining.store(self.tasks.len() as u32 + 1, Ordering::Relaxed);
        self.stop.store(0, Ordering::Relaxed);
        self.epoch.store(epoch, Ordering::SeqCst);
        Ok(epoch)
    }

    /// A one-shot batch holds its regions since it was planned.
    fn hold_regions(&self) -> Result<()> {
        if !self.is_prepared {
            return Ok(());
        }
        let Some(gone) = self.holds.iter().position(|region| !region.hold()) else { return Ok(()) };
        self.holds[..gone].iter().for_each(|region| region.release());
        bail!(
            AddressNotRegistered,
            "the local region at {:#x} was unregistered",
            self.holds[gone].mem.address()
        );
    }

    fn promise_completions(&self) -> Result<()> {
        let Some(cq) = &self.cq else { return Ok(()) };
        cq.promise(self.completion_count()).inspect_err(|_| {
            if self.is_prepared {
                self.release_holds();
            }
        })
    }

    /// Everything was handed to a path.
    pub fn dispatched(self: &Arc<Self>, engine: &Engine) {
        if self.remaining.load(Ordering::Acquire) == 1 {
            // Every task ended: nobody else looks at the count any more.
            self.remaining.store(0, Ordering::Relaxed);
            return self.end(Some(engine));
        }
        // Whoever released it may not find it by its id any more.
        self.me.get_or_init(|| Arc::downgrade(self));
        engine.batch_goes_on(self.tasks.len());
        self.end_one();
    }

    /// The batch counts as posted now. Returns its deadline.
    #[cold]
    fn look_at_the_clock(&self) -> u64 {
        let now = clock::now_ns();
        let time = u64::try_from(self.deadline.as_nanos()).unwrap_or(u64::MAX);
        // Never 0, which says that nobody asked.
        let deadline = now.saturating_add(time).max(1);
        self.posted_ns.store(now, Ordering::Relaxed);
        match self.deadline_ns.compare_exchange(0, deadline, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => deadline,
            Err(earlier) => earlier,
        }
    }

    pub fn run(self: &Arc<Self>, leg: &Leg, epoch: u32) -> Run {
        Run { owner: self.clone(), epoch, first: leg.first, count: leg.count }
    }

    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    pub fn is_done(&self) -> bool {
        self.phase.load(Ordering::Acquire) == DONE
    }

    pub fn is_idle(&self) -> bool {
        matches!(self.phase.load(Ordering::Acquire), IDLE | DONE)
    }

    pub fn info(&self) -> BatchInfo {
        let is_done = self.is_done();
        BatchInfo {
            status: Code::from_raw(self.status.load(Ordering::Acquire)),
            is_done,
            request_count: self.tasks.len() as u64,
            completed_count: self.completed.load(Ordering::Acquire),
            failed_count: self.failed.load(Ordering::Acquire),
            completed_bytes: self.completed_bytes.load(Ordering::Acquire),
        }
    }

    pub fn task(&self, index: usize) -> Result<Completion> {
        let Some(task) = self.tasks.get(index) else {
            bail!(InvalidArgument, "index is {index}, the batch has {} requests", self.tasks.len());
        };
        let is_done = task.is_done.load(Ordering::Acquire);
        let status =
            if is_done { Code::from_raw(task.status.load(Ordering::Acquire)) } else { Some(Code::NotReady) };
        Ok(self.completion_of(index, task, status))
    }

    fn completion_of(&self, index: usize, task: &Task, status: Option<Code>) -> Completion {
        Completion {
            user_data: task.user_data,
            batch: self.id.load(Ordering::Relaxed),
            index: index as u64,
            length: if status.is_none() { task.length } else { 0 },
            status,
            kind: Kind::Request,
        }
    }

    /// The first failure with its story.
    pub fn error(&self, code: Code) -> Error {
        let detail = self.detail.lock();
        Error::new(code, if detail.is_empty() { code.text().to_owned() } else { detail.clone() })
    }

    /// Stops the batch: on return no byte of its local memory is touched until it is posted again. True when this call
    /// did it.
    pub fn stop(&self, reason: Code) -> bool {
        if self.is_idle()
            || self.stop.compare_exchange(0, reason as i32, Ordering::SeqCst, Ordering::SeqCst).is_err()
        {
            return false;
        }
        // Short: nobody sleeps while touching.
        while self.touching.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
        true
    }

    /// When to give up on the peer's confirmation.
    pub fn patience_ns(&self) -> u64 {
        self.patience_ns.load(Ordering::Relaxed).min(self.deadline_ns())
    }

    /// Gives the peer at most this time from now.
    pub fn be_patient(&self, time: Duration) {
        self.patience_ns.fetch_min(clock::after(time), Ordering::Relaxed);
    }

    /// Sleeps until the batch is done, at most until `until_ns`.
    pub fn sleep(&self, until_ns: u64) {
        loop {
            match self.phase.compare_exchange(RUNNING, AWAITED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) | Err(AWAITED) => {}
                Err(_) => return,
            }
            let left = clock::until(until_ns);
            if left.is_zero() {
                return;
            }
            futex::wait(&self.phase, AWAITED, Some(left));
        }
    }

    fn keep_detail(&self, code: Code, detail: &dyn Fn() -> String) {
        if self.status.compare_exchange(0, code as i32, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            let text = detail();
            tracing::warn!(
                "batch {:#x} failed with {}: {text}",
                self.id.load(Ordering::Relaxed),
                code.name()
            );
            *self.detail.lock() = text;
        }
    }

    fn end_task(&self, index: usize) {
        let task = &self.tasks[index];
        let status = Code::from_raw(task.status.load(Ordering::Acquire));
        if status.is_none() {
            self.completed.fetch_add(1, Ordering::AcqRel);
            self.completed_bytes.fetch_add(task.length, Ordering::AcqRel);
        } else {
            self.failed.fetch_add(1, Ordering::AcqRel);
        }
        task.is_done.store(true, Ordering::Release);
        if let (Some(cq), false) = (&self.cq, self.complete_once) {
            cq.deliver_promised(self.completion_of(index, task, status));
        }
        self.end_one();
    }

    fn end_one(&self) {
        self.end_many(1);
    }

    fn end_many(&self, count: u32) {
        if self.remaining.fetch_sub(count, Ordering::AcqRel) == count {
            self.end(None);
        }
    }

    /// Every task ended. The engine is given by the thread that posts the batch.
    fn end(&self, engine: Option<&Engine>) {
        let has_failed = self.status.load(Ordering::Acquire) != 0;
        let grouped;
        let letter = match &self.group {
            Some(group) => {
                grouped = group.leave(has_failed);
                grouped.as_ref()
            }
            None => self.notify.as_ref().filter(|_| !has_failed),
        };
        if let Some((segment, notification)) = letter
            && let Some(me) = self.me.get().and_then(Weak::upgrade)
        {
            if let Some(engine) = engine {
                engine.batch_goes_on(self.tasks.len());
            }
            // The bytes are visible: all their acknowledgements are there. Only now the peer may hear of them.
            let deadline = self.deadline_ns();
            segment.notify(
                notification,
                deadline,
                Box::new(move |result| {
                    if let Err(error) = result {
                        me.keep_detail(error.code, &|| {
                            format!("sending the notification: {}", error.message())
                        });
                    }
                    if let Some(group) = &me.group {
                        group.delivered();
                    }
                    me.conclude(None);
                }),
            );
            return;
        }
        self.conclude(engine);
    }

    fn conclude(&self, posting: Option<&Engine>) {
        self.release_holds();
        let info = self.info();
        let once = self.complete_once.then(|| Completion {
            user_data: self.user_data,
            batch: self.id.load(Ordering::Relaxed),
            index: 0,
            length: info.completed_bytes,
            status: info.status,
            kind: Kind::Batch,
        });
        match posting {
            Some(engine) => {
                let is_sample = self.is_sample.load(Ordering::Relaxed);
                let took = if is_sample { self.took().map(|took| (took, SAMPLE_EVERY)) } else { None };
                engine.batch_ended(0, &info, took);
            }
            None => {
                if let Some(engine) = self.engine() {
                    engine.batch_ended(self.tasks.len(), &info, self.took().map(|took| (took, 1)));
                }
            }
        }
        // From here on the batch may be posted again or be gone.
        let cq = self.cq.clone();
        if self.phase.swap(DONE, Ordering::AcqRel) == AWAITED {
            futex::wake_all(&self.phase);
        }
        if let (Some(cq), Some(completion)) = (cq, once) {
            cq.deliver_promised(completion);
        }
    }

    /// Since it was posted, if anybody looked at the clock then.
    fn took(&self) -> Option<Duration> {
        let is_known = self.deadline_ns.load(Ordering::Acquire) != 0;
        let since = || clock::now_ns().saturating_sub(self.posted_ns.load(Ordering::Relaxed));
        is_known.then(|| Duration::from_nanos(since()))
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        self.legs.first()?.segment.peer.engine()
    }

    pub fn release_holds(&self) {
        for region in &self.holds {
            region.release();
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // A batch lets go when it is done; a one-shot batch that was never started did not.
        if !self.is_prepared && self.phase.load(Ordering::Acquire) == IDLE {
            self.release_holds();
        }
    }
}
