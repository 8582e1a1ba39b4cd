//! The engine's threads: each waits in epoll for its file descriptors, runs jobs, and the first one keeps the time.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::spin::Spinner;

/// What a descriptor is ready for.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub readable: bool,
    pub writable: bool,
    pub hung_up: bool,
    /// The other side sends no more; what it sent before may be there.
    pub ended: bool,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    pub readable: bool,
    pub writable: bool,
    /// Told once per change instead of as long as it holds.
    pub edge: bool,
}

impl Interest {
    pub const READ: Interest = Interest { readable: true, writable: false, edge: false };
    pub const WRITE: Interest = Interest { readable: false, writable: true, edge: false };

    fn bits(self) -> u32 {
        let mut bits = libc::EPOLLRDHUP;
        if self.readable {
            bits |= libc::EPOLLIN;
        }
        if self.writable {
            bits |= libc::EPOLLOUT;
        }
        if self.edge {
            bits |= libc::EPOLLET;
        }
        // Without reads wanted a half-closed peer must not wake us for ever.
        if !self.readable {
            bits &= !libc::EPOLLRDHUP;
        }
        bits as u32
    }
}

/// Somebody who has a descriptor in the reactor. Called on one worker thread at a time for that descriptor.
pub trait Source: Send + Sync {
    fn ready(&self, ready: Ready);

    /// `ready` panicked: give up the descriptor and fail what depends on it.
    fn broken(&self);
}

/// Called on the first worker now and then; returns when it wants to be called again at the latest.
pub trait Clockwork: Send + Sync {
    fn tick(&self, now_ns: u64) -> Option<Duration>;
}

type Job = Box<dyn FnOnce() + Send>;

/// Where a source was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    worker: usize,
    id: u64,
}

struct Worker {
    epoll: OwnedFd,
    wake: OwnedFd,
    sources: Mutex<HashMap<u64, Arc<dyn Source>>>,
    jobs: Mutex<VecDeque<Job>>,
    /// Sources to call as writable although nothing happened to their descriptors.
    nudged: Mutex<Vec<u64>>,
    woken: AtomicBool,
    /// After a longer turn it sleeps at once.
    short_ns: u64,
}

/// The threads of one engine.
pub struct Reactor {
    workers: Vec<Arc<Worker>>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    next_id: AtomicU64,
}

struct Shared {
    stop: AtomicBool,
    wakeups: AtomicU64,
    clockwork: Mutex<Option<Arc<dyn Clockwork>>>,
}

/// How long a worker that had something to do looks for more before it sleeps.
const SPIN_NS: u64 = 50_000;
const WAKE_ID: u64 = 0;
/// Events taken from the kernel at once.
const EVENTS: usize = 64;

impl Reactor {
    pub fn start(name: &str, threads: usize) -> io::Result<Reactor> {
        Reactor::start_for_short(name, threads, u64::MAX)
    }

    /// As `start`; but a worker whose turn took longer than this looks for nothing afterwards: whoever gave it so much to
    /// do has as much to do with the answer, and may need the processor for that.
    pub fn start_for_short(name: &str, threads: usize, short_ns: u64) -> io::Result<Reactor> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            wakeups: AtomicU64::new(0),
            clockwork: Mutex::new(None),
        });
        let mut reactor = Reactor {
            workers: Vec::new(),
            shared: shared.clone(),
            threads: Mutex::new(Vec::new()),
            next_id: AtomicU64::new(WAKE_ID + 1),
        };
        for index in 0..threads {
            let worker = Arc::new(Worker::new(short_ns)?);
            reactor.workers.push(worker.clone());
            let shared = shared.clone();
            // The kernel shows 15 bytes of a thread's name.
            let builder =
                std::thread::Builder::new().name(format!("mc-{index}-{name}").chars().take(15).collect());
            let thread = builder.stack_size(512 << 10).spawn(move || worker.run(index == 0, &shared));
            match thread {
                Ok(thread) => reactor.threads.lock().push(thread),
                Err(error) => {
                    reactor.stop();
                    return Err(error);
                }
            }
        }
        Ok(reactor)
    }

    /// Who keeps the time; called on the first worker.
    pub fn set_clockwork(&self, clockwork: Arc<dyn Clockwork>) {
        *self.shared.clockwork.lock() = Some(clockwork);
        self.wake(0);
    }

    pub fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// Times that a worker woke up, since the start.
    pub fn wakeups(&self) -> u64 {
        self.shared.wakeups.load(Ordering::Relaxed)
    }

    /// A token for `add_as`, for a source that must know it before it is called for the first time.
    pub fn token(&self, worker: usize) -> Token {
        Token { worker: worker % self.workers.len(), id: self.next_id.fetch_add(1, Ordering::Relaxed) }
    }

    pub fn add(
        &self,
        worker: usize,
        fd: BorrowedFd<'_>,
        interest: Interest,
        source: Arc<dyn Source>,
    ) -> io::Result<Token> {
        let token = self.token(worker);
        self.add_as(token, fd, interest, source).map(|()| token)
    }

    pub fn add_as(
        &self,
        token: Token,
        fd: BorrowedFd<'_>,
        interest: Interest,
        source: Arc<dyn Source>,
    ) -> io::Result<()> {
        let worker = &self.workers[token.worker];
        worker.sources.lock().insert(token.id, source);
        if let Err(error) = worker.control(libc::EPOLL_CTL_ADD, fd, interest.bits(), token.id) {
            worker.sources.lock().remove(&token.id);
            return Err(error);
        }
        Ok(())
    }

    pub fn modify(&self, token: Token, fd: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        self.workers[token.worker].control(libc::EPOLL_CTL_MOD, fd, interest.bits(), token.id)
    }

    /// Forgets a descriptor. A call of its source may still be under way on the worker.
    pub fn remove(&self, token: Token, fd: BorrowedFd<'_>) {
        let worker = &self.workers[token.worker];
        let _ = worker.control(libc::EPOLL_CTL_DEL, fd, 0, token.id);
        let source = worker.sources.lock().remove(&token.id);
        drop(source);
    }

    /// Calls a source on its worker as if its descriptor had become writable: there is something to send.
    pub fn nudge(&self, token: Token) {
        let mut nudged = self.workers[token.worker].nudged.lock();
        if !nudged.contains(&token.id) {
            nudged.push(token.id);
        }
        drop(nudged);
        self.wake(token.worker);
    }

    /// Runs a job on a worker.
    pub fn run(&self, worker: usize, job: Job) {
        let index = worker % self.workers.len();
        self.workers[index].jobs.lock().push_back(job);
        self.wake(index);
    }

    /// Makes a worker look at its jobs and, the first one, at the clock.
    pub fn wake(&self, worker: usize) {
        let worker = &self.workers[worker];
        if !worker.woken.swap(true, Ordering::AcqRel) {
            worker.write_wake();
        }
    }

    /// Ends the threads. Called from one of them, it leaves that one to end by itself.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        for worker in &self.workers {
            worker.write_wake();
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
        *self.shared.clockwork.lock() = None;
        for worker in &self.workers {
            let sources = std::mem::take(&mut *worker.sources.lock());
            drop(sources);
            let jobs = std::mem::take(&mut *worker.jobs.lock());
            drop(jobs);
        }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Worker {
    fn new(short_ns: u64) -> io::Result<Worker> {
        // SAFETY: plain numbers.
        let epoll = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        let wake = eventfd()?;
        let worker = Worker {
            epoll,
            wake,
            sources: Mutex::new(HashMap::new()),
            jobs: Mutex::new(VecDeque::new()),
            nudged: Mutex::new(Vec::with_capacity(64)),
            woken: AtomicBool::new(false),
            short_ns,
        };
        worker.control(libc::EPOLL_CTL_ADD, worker.wake.as_fd(), Interest::READ.bits(), WAKE_ID)?;
        Ok(worker)
    }

    fn control(&self, operation: libc::c_int, fd: BorrowedFd<'_>, bits: u32, id: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: bits, u64: id };
        // SAFETY: the event is readable.
        if unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd.as_raw_fd(), &mut event) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn write_wake(&self) {
        signal_eventfd(&self.wake);
    }

    fn run(&self, keeps_time: bool, shared: &Shared) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        let mut next_tick: Option<u64> = None;
        let mut nudged = Vec::with_capacity(64);
        let mut spinner = Spinner::default();
        let mut was_busy = false;
        while !shared.stop.load(Ordering::Acquire) {
            let budget_ns = if was_busy { SPIN_NS } else { 0 };
            let spun =
                spinner.spin(budget_ns, || Some(self.take_events(&mut events, 0)).filter(|count| *count > 0));
            let count = spun.unwrap_or_else(|| {
                let timeout = next_tick.map_or(-1, |at| {
                    let left = at.saturating_sub(super::clock::now_ns());
                    libc::c_int::try_from(left.div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
                });
                shared.wakeups.fetch_add(1, Ordering::Relaxed);
                self.take_events(&mut events, timeout)
            });
            let begun = super::clock::now_ns();
            let mut woken = false;
            for event in &events[..count] {
                let (id, bits) = (event.u64, event.events as libc::c_int);
                if id == WAKE_ID {
                    drain_eventfd(&self.wake);
                    self.woken.store(false, Ordering::Release);
                    woken = true;
                    continue;
                }
                let source = self.sources.lock().get(&id).cloned();
                if let Some(source) = source {
                    dispatch(&*source, bits);
                }
            }
            self.run_nudged(&mut nudged);
            self.run_jobs();
            was_busy = count > 0 && super::clock::now_ns() - begun <= self.short_ns;
            if keeps_time && (woken || next_tick.is_none_or(|at| super::clock::now_ns() >= at)) {
                next_tick = tick(shared);
            }
        }
    }

    /// Takes what happened; waits for it at most `timeout` milliseconds.
    fn take_events(&self, events: &mut [libc::epoll_event; EVENTS], timeout: libc::c_int) -> usize {
        // SAFETY: the array is writable for its length.
        let count = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), EVENTS as libc::c_int, timeout)
        };
        usize::try_from(count).unwrap_or(0)
    }

    /// Calls those that are there now: one that asks for another turn has it after the descriptors.
    fn run_nudged(&self, nudged: &mut Vec<u64>) {
        std::mem::swap(nudged, &mut *self.nudged.lock());
        for id in nudged.drain(..) {
            let source = self.sources.lock().get(&id).cloned();
            if let Some(source) = source {
                dispatch(&*source, libc::EPOLLOUT);
            }
        }
    }

    /// Runs the jobs that are there now: those that they add wake the worker again, after its descriptors had their turn.
    fn run_jobs(&self) {
        let count = self.jobs.lock().len();
        for _ in 0..count {
            let Some(job) = self.jobs.lock().pop_front() else { return };
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a job of a worker thread panicked: a defect in this library");
            }
        }
    }
}

fn tick(shared: &Shared) -> Option<u64> {
    let clockwork = shared.clockwork.lock().clone()?;
    let now = super::clock::now_ns();
    match catch_unwind(AssertUnwindSafe(|| clockwork.tick(now))) {
        Ok(next) => next.map(|next| now + next.as_nanos() as u64),
        Err(_) => {
            tracing::error!("the clock's tick panicked: a defect in this library");
            Some(now + 10_000_000)
        }
    }
}

fn dispatch(source: &dyn Source, bits: libc::c_int) {
    let ready = Ready {
        readable: bits & (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0,
        writable: bits & (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) != 0,
        hung_up: bits & (libc::EPOLLHUP | libc::EPOLLERR) != 0,
        ended: bits & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0,
    };
    if catch_unwind(AssertUnwindSafe(|| source.ready(ready))).is_err() {
        tracing::error!("a source of events panicked: a defect in this library; its connection is given up");
        let _ = catch_unwind(AssertUnwindSafe(|| source.broken()));
    }
}

fn own(raw: libc::c_int) -> io::Result<OwnedFd> {
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// A counter that can be waited for with poll.
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// Makes an eventfd readable.
pub fn signal_eventfd(fd: &OwnedFd) {
    let one = 1u64;
    // SAFETY: eight readable bytes. A full counter is readable already.
    unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), 8) };
}

/// Makes an eventfd unreadable.
pub fn drain_eventfd(fd: &OwnedFd) {
    let mut count = 0u64;
    // SAFETY: eight writable bytes.
    unsafe { libc::read(fd.as_raw_fd(), (&raw mut count).cast(), 8) };
}
