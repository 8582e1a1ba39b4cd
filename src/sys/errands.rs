//! Threads for what may block, which those that serve must not: questions to metadata services and to Mooncake's engines,
//! operations of the store, what its nodes fetch and fence. They come when needed and go when idle.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::bail;
use crate::error::{Context, Result};

/// Most threads and most errands that wait for one, unless told otherwise.
const MAX_THREADS: usize = 16;
const MAX_WAITING: usize = 4096;
/// A thread without an errand ends after this time.
const IDLE: Duration = Duration::from_secs(2);

type Errand = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    waiting: VecDeque<Errand>,
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    is_closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub struct Errands {
    shared: Arc<Shared>,
    max_threads: usize,
    max_waiting: usize,
}

impl Default for Errands {
    fn default() -> Errands {
        Errands::new(MAX_THREADS, MAX_WAITING)
    }
}

impl Errands {
    /// So many threads at most, and so many errands that wait for one.
    pub fn new(max_threads: usize, max_waiting: usize) -> Errands {
        Errands { shared: Arc::default(), max_threads, max_waiting }
    }

    /// Does something on a thread that may block. What it depends on is dropped with it when these end first.
    pub fn run(&self, errand: impl FnOnce() + Send + 'static) -> Result<()> {
        let mut state = self.shared.state.lock();
        if state.is_closed {
            bail!(InvalidHandle, "whoever this is for is being destroyed");
        }
        if state.waiting.len() >= self.max_waiting {
            bail!(Exhausted, "{} errands wait for a thread", self.max_waiting);
        }
        state.threads.retain(|thread| !thread.is_finished());
        if state.idle <= state.waiting.len() && state.threads.len() < self.max_threads {
            let shared = self.shared.clone();
            let builder = std::thread::Builder::new().name("mc-errand".into()).stack_size(512 << 10);
            let spawned = builder.spawn(move || shared.work());
            match spawned {
                Ok(thread) => state.threads.push(thread),
                Err(error) if state.threads.is_empty() => {
                    return Err(error).context("starting a thread");
                }
                Err(_) => {}
            }
        }
        state.waiting.push_back(Box::new(errand));
        drop(state);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Forgets those that wait, and takes no more; those under way go on.
    pub fn shut(&self) {
        let waiting = {
            let mut state = self.shared.state.lock();
            state.is_closed = true;
            std::mem::take(&mut state.waiting)
        };
        self.shared.changed.notify_all();
        drop(waiting);
    }

    /// Waits for those under way, forgets the others.
    pub fn close(&self) {
        self.shut();
        let threads = std::mem::take(&mut self.shared.state.lock().threads);
        for thread in threads {
            // The last one to hold the engine may be an errand itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let errand = {
                let mut state = self.state.lock();
                state.idle += 1;
                while state.waiting.is_empty() && !state.is_closed {
                    if self.changed.wait_for(&mut state, IDLE).timed_out() {
                        break;
                    }
                }
                state.idle -= 1;
                match state.waiting.pop_front() {
                    Some(errand) => errand,
                    None => return,
                }
            };
            if catch_unwind(AssertUnwindSafe(errand)).is_err() {
                tracing::error!("an errand panicked: a defect in this library");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn an_errand_that_blocks_does_not_hold_up_another() {
        let errands = Errands::default();
        let (release, blocked) = channel::<()>();
        let (say, heard) = channel();
        errands
            .run(move || {
                let _ = blocked.recv();
            })
            .expect("room");
        errands
            .run(move || {
                let _ = say.send(1);
            })
            .expect("room");
        assert_eq!(heard.recv_timeout(Duration::from_secs(20)), Ok(1));
        drop(release);
        errands.close();
        assert!(errands.run(|| ()).is_err());
    }

    #[test]
    fn a_panic_ends_an_errand_and_nothing_else() {
        let errands = Errands::default();
        let (say, heard) = channel();
        errands.run(|| panic!("as a test")).expect("room");
        errands
            .run(move || {
                let _ = say.send(2);
            })
            .expect("room");
        assert_eq!(heard.recv_timeout(Duration::from_secs(20)), Ok(2));
        errands.close();
    }
}
