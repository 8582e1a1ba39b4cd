//! Threads for what has to wait, which those that serve must not.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::fail;

/// Jobs that wait at once.
const MAX_JOBS: usize = 16_384;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    is_closed: bool,
}

#[derive(Default)]
struct Desk {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

pub struct Crew {
    desk: Arc<Desk>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Crew {
    pub fn start(name: &str, threads: usize) -> Result<Crew> {
        let crew = Crew { desk: Arc::default(), threads: Mutex::default() };
        for _ in 0..threads {
            let desk = crew.desk.clone();
            let thread = std::thread::Builder::new().name(name.into()).spawn(move || desk.work());
            crew.threads.lock().push(thread.map_err(|error| Error::io("starting a thread", &error))?);
        }
        Ok(crew)
    }

    /// A job is done some time, or never, if the crew ends first.
    pub fn push(&self, job: Job) -> Result<()> {
        let mut jobs = self.desk.jobs.lock();
        if jobs.is_closed {
            return Err(fail!(Canceled, "the node is stopping"));
        }
        if jobs.waiting.len() >= MAX_JOBS {
            return Err(fail!(Exhausted, "{MAX_JOBS} jobs wait already"));
        }
        jobs.waiting.push_back(job);
        drop(jobs);
        self.desk.changed.notify_one();
        Ok(())
    }

    /// Forgets what waits; what is under way goes on.
    pub fn close(&self) {
        let waiting = {
            let mut jobs = self.desk.jobs.lock();
            jobs.is_closed = true;
            std::mem::take(&mut jobs.waiting)
        };
        self.desk.changed.notify_all();
        drop(waiting);
    }

    /// Waits for what is under way. Not to be called by a job.
    pub fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads.into_iter().filter(|one| one.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.close();
        self.join();
    }
}

impl Desk {
    fn work(&self) {
        loop {
            let job = {
                let mut jobs = self.jobs.lock();
                loop {
                    if let Some(job) = jobs.waiting.pop_front() {
                        break job;
                    }
                    if jobs.is_closed {
                        return;
                    }
                    self.changed.wait(&mut jobs);
                }
            };
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a defect in this library: a node's job panicked");
            }
        }
    }
}
