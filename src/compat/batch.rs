//! Batches that are filled by several submits. Tasks are counted through all of them; each submit is one batch of the
//! engine, and all of them share one notification.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::segments::Segments;
use crate::engine::Engine;
use crate::engine::batch::{BatchOptions, Local, Notification, Request};
use crate::engine::group::Group;
use crate::error::{Code, Context, Result};
use crate::id::{MAX_INDEX, Slab};
use crate::transport::Opcode;
use crate::{bail, fail};

/// Most tasks of one batch, over all of its submits.
const MAX_TASKS: usize = 1 << 22;
/// From so many on, somebody probably does not free them.
const MANY: usize = 10_000;
/// A submit may take the default deadline and this much time for each of its bytes: 64 MiB/s at least.
const BYTES_PER_SECOND: u64 = 64 << 20;

/// One transfer, as Mooncake's callers ask for it. An empty one is done at once.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub opcode: Opcode,
    pub source: usize,
    pub segment: i32,
    pub remote: u64,
    pub length: u64,
}

/// What became of a task. Why it failed is in the log and in the native calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Waiting,
    Completed,
    Failed,
}

struct Task {
    length: u64,
    /// Index in the engine's batch.
    index: u32,
    /// Index of that batch among the parts.
    part: u32,
    /// Waiting: the engine knows.
    progress: Progress,
    /// The caller heard of its end.
    is_told: bool,
}

/// What one submit made.
struct Part {
    /// The engine's batch; 0 once its outcome was taken over.
    batch: u64,
    tasks: Range<usize>,
}

#[derive(Default)]
struct State {
    tasks: Vec<Task>,
    parts: Vec<Part>,
    /// Tasks of which the caller heard that they are completed.
    told: usize,
    is_freed: bool,
}

#[derive(Default)]
pub struct Batch {
    state: Mutex<State>,
    group: Arc<Group>,
    /// Its owner wanted to free it while it ran, and has not asked for it since.
    is_abandoned: AtomicBool,
}

impl Batch {
    /// Starts transfers as the next tasks of the batch: all of them or, with an error, none.
    pub fn submit(
        &self,
        engine: &Engine,
        segments: &Segments,
        transfers: &[Transfer],
        letter: Option<Notification>,
    ) -> Result<()> {
        self.is_abandoned.store(false, Ordering::Relaxed);
        if self.state.lock().tasks.len() + transfers.len() > MAX_TASKS {
            bail!(Exhausted, "a batch holds at most {MAX_TASKS} tasks");
        }
        let mut requests = Vec::with_capacity(transfers.len());
        for (index, transfer) in transfers.iter().enumerate() {
            let segment = segments
                .resolve(engine, transfer.segment)
                .map_err(|error| error.with_code(Code::InvalidArgument))
                .context(format_args!("request {index}"))?;
            if transfer.length > 0 {
                requests.push(Request {
                    opcode: transfer.opcode,
                    segment,
                    remote: transfer.remote,
                    length: transfer.length,
                    local: Local::Contiguous(transfer.source),
                    user_data: 0,
                });
            }
        }
        let batch = self.start(engine, requests, letter)?;
        self.append(transfers, batch).inspect_err(|_| {
            let _ = engine.release(batch);
        })
    }

    /// The engine's batch of these requests; 0 when there are none.
    fn start(&self, engine: &Engine, requests: Vec<Request>, letter: Option<Notification>) -> Result<u64> {
        if requests.is_empty() {
            return self.tell_of_nothing(engine, letter).map(|()| 0);
        }
        let bytes: u64 = requests.iter().fold(0, |sum, request| sum.saturating_add(request.length));
        let options = BatchOptions {
            deadline: Some(engine.config.default_deadline + Duration::from_secs(bytes / BYTES_PER_SECOND)),
            notify: letter,
            group: Some(self.group.clone()),
            ..BatchOptions::default()
        };
        engine.submit(requests.into_iter().map(Ok), options)
    }

    /// Empty transfers carry their notification all the same.
    fn tell_of_nothing(&self, engine: &Engine, letter: Option<Notification>) -> Result<()> {
        match letter {
            Some(_) if self.is_running(engine) => {
                bail!(Busy, "a notification with nothing to transfer, while the batch is under way")
            }
            Some(letter) => engine.notify(letter, None),
            None => Ok(()),
        }
    }

    fn append(&self, transfers: &[Transfer], batch: u64) -> Result<()> {
        let mut state = self.state.lock();
        if state.is_freed {
            bail!(InvalidHandle, "the batch was freed while transfers were added to it");
        }
        let first = state.tasks.len();
        let part = state.parts.len() as u32;
        let mut index = 0;
        for transfer in transfers {
            let progress = if transfer.length == 0 { Progress::Completed } else { Progress::Waiting };
            state.tasks.push(Task { length: transfer.length, index, part, progress, is_told: false });
            index += u32::from(transfer.length > 0);
        }
        let tasks = first..state.tasks.len();
        state.parts.push(Part { batch, tasks });
        Ok(())
    }

    /// How far a task is, and how many of its bytes are known to have arrived. Never waits.
    pub fn progress(&self, engine: &Engine, task: usize) -> Result<(Progress, u64)> {
        self.is_abandoned.store(false, Ordering::Relaxed);
        let (part, batch) = {
            let mut state = self.state.lock();
            let (task_progress, part) = state.find(task)?;
            if task_progress != Progress::Waiting {
                return Ok(state.tell(task, self.group.owes_notification()));
            }
            (part, state.parts[part].batch)
        };
        // A thread that asks lends a hand, but holds nobody up meanwhile.
        let info = engine.poll(batch);
        let mut state = self.state.lock();
        // Another thread may have freed the batch, or settled the part.
        state.find(task)?;
        match info {
            Ok(info) if info.is_done => state.settle(engine, part)?,
            Err(error) if state.parts[part].batch != 0 => return Err(error),
            _ => state.look(engine, task)?,
        }
        Ok(state.tell(task, self.group.owes_notification()))
    }

    /// Some task has not ended.
    fn is_running(&self, engine: &Engine) -> bool {
        self.state.lock().parts.iter().any(|part| {
            part.batch != 0
                && engine
                    .poll(part.batch)
                    .is_ok_and(|info| info.completed_count + info.failed_count < info.request_count)
        })
    }

    /// Lets go of everything; a notification under way is still delivered.
    fn close(&self, engine: &Engine) {
        let mut state = self.state.lock();
        state.is_freed = true;
        for part in state.parts.drain(..).filter(|part| part.batch != 0) {
            // It is gone only if the engine is.
            let _ = engine.detach(part.batch);
        }
        state.tasks = Vec::new();
    }
}

impl State {
    fn find(&self, task: usize) -> Result<(Progress, usize)> {
        if self.is_freed {
            bail!(InvalidHandle, "the batch was freed");
        }
        match self.tasks.get(task) {
            Some(found) => Ok((found.progress, found.part as usize)),
            None => Err(fail!(InvalidArgument, "the task is {task}, the batch has {}", self.tasks.len())),
        }
    }

    /// Takes over what became of one task, if it ended.
    fn look(&mut self, engine: &Engine, task: usize) -> Result<()> {
        let batch = self.parts[self.tasks[task].part as usize].batch;
        if batch != 0 {
            let task = &mut self.tasks[task];
            task.progress = match engine.task(batch, task.index as usize)?.status {
                None => Progress::Completed,
                Some(Code::NotReady) => Progress::Waiting,
                Some(_) => Progress::Failed,
            };
        }
        Ok(())
    }

    /// Takes over the outcome of a part that is done, and gives back what the engine keeps for it.
    fn settle(&mut self, engine: &Engine, part: usize) -> Result<()> {
        let batch = self.parts[part].batch;
        if batch == 0 {
            return Ok(());
        }
        for task in self.parts[part].tasks.clone() {
            if self.tasks[task].progress == Progress::Waiting {
                self.look(engine, task)?;
            }
        }
        self.parts[part].batch = 0;
        engine.detach(batch)
    }

    /// What the caller hears. The last task of a batch is completed when its notification has arrived, as it was when
    /// the call that asks sent it.
    fn tell(&mut self, task: usize, owes_notification: bool) -> (Progress, u64) {
        let is_last = self.told + 1 == self.tasks.len();
        let task = &mut self.tasks[task];
        match task.progress {
            Progress::Completed if !task.is_told && is_last && owes_notification => (Progress::Waiting, 0),
            Progress::Completed => {
                self.told += usize::from(!task.is_told);
                task.is_told = true;
                (Progress::Completed, task.length)
            }
            other => (other, 0),
        }
    }
}

/// The batches of one engine.
pub struct Batches {
    slab: RwLock<Slab<Arc<Batch>>>,
    /// Those whose owner wanted to free them while they ran: freed when they have ended.
    /// Since when nobody asked for them.
    abandoned: Mutex<HashMap<u64, Instant>>,
    was_told_of_many: AtomicBool,
}

/// How long a batch that was busy when its owner wanted to free it awaits that its owner asks again.
const PATIENCE: Duration = Duration::from_secs(1);

impl Batches {
    pub fn new(tag: u16) -> Batches {
        Batches {
            slab: RwLock::new(Slab::new_apart("batch", tag, MAX_INDEX)),
            abandoned: Mutex::default(),
            was_told_of_many: AtomicBool::new(false),
        }
    }

    /// Costs next to nothing until something is submitted.
    pub fn allocate(&self, engine: &Engine) -> Result<u64> {
        self.collect(engine);
        let mut slab = self.slab.write();
        if slab.len() >= MANY && !self.was_told_of_many.swap(true, Ordering::Relaxed) {
            tracing::warn!("{} batches are allocated: is freeBatchID() called for each?", slab.len());
        }
        slab.insert(Arc::default())
    }

    pub fn get(&self, id: u64) -> Result<Arc<Batch>> {
        self.slab.read().get(id).cloned()
    }

    /// Frees a batch whose tasks have ended. One that runs is BUSY and stays as it is; if its owner does not ask for it
    /// again, it is freed after its end.
    pub fn free(&self, engine: &Engine, id: u64) -> Result<()> {
        let batch = self.get(id)?;
        if batch.is_running(engine) {
            batch.is_abandoned.store(true, Ordering::Relaxed);
            self.abandoned.lock().insert(id, Instant::now());
            bail!(Busy, "batch {id:#x} is under way: it is freed when it has ended");
        }
        self.abandoned.lock().remove(&id);
        self.remove(engine, id)
    }

    fn remove(&self, engine: &Engine, id: u64) -> Result<()> {
        let batch = self.slab.write().remove(id)?;
        batch.close(engine);
        Ok(())
    }

    /// Frees what was abandoned a while ago and has ended.
    fn collect(&self, engine: &Engine) {
        let mut ended = Vec::new();
        self.abandoned.lock().retain(|id, since| {
            if since.elapsed() < PATIENCE {
                return true;
            }
            let batch = self.get(*id).ok().filter(|batch| batch.is_abandoned.load(Ordering::Relaxed));
            let Some(batch) = batch else { return false };
            let is_running = batch.is_running(engine);
            if !is_running {
                ended.push(*id);
            }
            is_running
        });
        for id in ended {
            // Its owner may have freed it at the same moment.
            let _ = self.remove(engine, id);
        }
    }

    pub fn count(&self) -> usize {
        self.slab.read().len()
    }
}

/// How Mooncake numbers what to do.
pub fn opcode_of(number: i32) -> Result<Opcode> {
    match number {
        0 => Ok(Opcode::Read),
        1 => Ok(Opcode::Write),
        other => Err(fail!(InvalidArgument, "opcode is {other}: OPCODE_READ or OPCODE_WRITE")),
    }
}
