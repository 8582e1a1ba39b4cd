//! What the tests stand on: engines' sides without engines, batches that note what became of them, second processes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use mooncake::error::{Code, Error, Result};
use mooncake::segment::descriptor::EngineId;
use mooncake::segment::memory::{MemoryOptions, MemoryTable, REMOTE_READ, REMOTE_WRITE};
use mooncake::sys::memory::Mem;
use mooncake::sys::reactor::Reactor;
use mooncake::telemetry::metrics::Metrics;
use mooncake::transport::shm::{Attachment, Events, Host, Offer};
use mooncake::transport::{Opcode, Outcome, Owner, Path, Priority, Run, Slice};
use parking_lot::{Condvar, Mutex};

/// Longer than anything here takes: a test that waits so long hangs.
pub const HANG: Duration = Duration::from_secs(60);

/// One end: registered memory, threads, and the door for processes of this host.
pub struct End {
    pub id: EngineId,
    pub memory: Arc<MemoryTable>,
    pub metrics: Arc<Metrics>,
    pub reactor: Arc<Reactor>,
    pub host: Arc<Host>,
}

impl End {
    pub fn new() -> End {
        let id = EngineId::random();
        let memory = Arc::new(MemoryTable::new(1));
        let metrics = Arc::new(Metrics::default());
        let reactor = Arc::new(Reactor::start("test", 1).expect("threads"));
        let host = Host::start(id, memory.clone(), metrics.clone(), reactor.clone());
        End { id, memory, metrics, reactor, host }
    }

    /// Allocates a region that peers may map.
    pub fn allocate(&self, length: usize, permissions: u32) -> Target {
        let options = MemoryOptions { permissions, ..MemoryOptions::default() };
        let (_, id) = self.memory.allocate(length, &options).expect("memory");
        self.target(id)
    }

    /// Registers ordinary memory, which lives as long as the process.
    pub fn register(&self, bytes: &'static mut [u8]) -> Target {
        let range = (bytes.as_mut_ptr() as usize, bytes.len());
        let id = self.memory.register(range.0, range.1, &MemoryOptions::default()).expect("register");
        self.target(id)
    }

    pub fn target(&self, id: u64) -> Target {
        let region = self.memory.get(id).expect("live");
        Target { id, key: region.key, mem: region.mem }
    }

    /// Attaches to whoever made an offer.
    pub fn attach(&self, theirs: EngineId, offer: &Offer) -> Result<Attached> {
        let events = Arc::new(Heard::default());
        let weak: Weak<dyn Events> = Arc::downgrade(&(events.clone() as Arc<dyn Events>));
        let (metrics, reactor) = (self.metrics.clone(), self.reactor.clone());
        let attachment = Attachment::open(self.id, theirs, offer, metrics, reactor, weak)?;
        let mut opened = events.opened.lock();
        while opened.is_none() {
            assert!(!events.changed.wait_for(&mut opened, HANG).timed_out(), "never opened");
        }
        let result = opened.clone().expect("waited for");
        drop(opened);
        result.map(|_| Attached { attachment, events })
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.memory.close();
        self.host.close();
        self.reactor.stop();
    }
}

/// A region of an owner.
#[derive(Clone, Copy)]
pub struct Target {
    pub id: u64,
    pub key: u64,
    pub mem: Mem,
}

/// Bytes on pages of their own that live as long as the process.
pub fn lasting(length: usize, byte: u8) -> &'static mut [u8] {
    let bytes = Box::leak(vec![byte; length.next_multiple_of(4096) + 4096].into_boxed_slice());
    let offset = bytes.as_ptr().align_offset(4096);
    &mut bytes[offset..offset + length]
}

pub fn is_filled(mem: Mem, byte: u8) -> bool {
    mem.with_bytes(|bytes| bytes.iter().all(|each| *each == byte))
}

#[derive(Default)]
pub struct Heard {
    opened: Mutex<Option<Result<()>>>,
    lost: Mutex<Option<Error>>,
    changed: Condvar,
}

impl Events for Heard {
    fn opened(&self, _: EngineId, result: Result<Arc<Attachment>>) {
        *self.opened.lock() = Some(result.map(|_| ()));
        self.changed.notify_all();
    }

    fn resume(&self, path: Arc<dyn Path>, run: Run) {
        path.submit(run);
    }

    fn lost(&self, _: &Arc<Attachment>, error: &Error) {
        *self.lost.lock() = Some(error.clone());
        self.changed.notify_all();
    }
}

pub struct Attached {
    pub attachment: Arc<Attachment>,
    pub events: Arc<Heard>,
}

impl Attached {
    pub fn memfd(&self) -> Arc<dyn Path> {
        self.attachment.memfd_path()
    }

    pub fn cma(&self) -> Arc<dyn Path> {
        self.attachment.cma_path().expect("cross-memory attach between processes of one user, or root")
    }

    pub fn wait_until_lost(&self) -> Error {
        let mut lost = self.events.lost.lock();
        while lost.is_none() {
            assert!(!self.events.changed.wait_for(&mut lost, HANG).timed_out(), "never lost");
        }
        lost.clone().expect("waited for")
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.attachment.close();
    }
}

type Hook = Box<dyn Fn() + Send + Sync>;

/// A batch that notes what became of its slices.
pub struct Job {
    slices: Vec<Slice>,
    outcomes: Mutex<Vec<Option<Outcome>>>,
    details: Mutex<Vec<String>>,
    changed: Condvar,
    stop: Mutex<Option<Code>>,
    /// Called in the middle of a copy: counted in, allowed, no byte moved yet.
    in_copy: Option<Hook>,
}

impl Job {
    pub fn new(slices: Vec<Slice>) -> Job {
        for slice in &slices {
            slice.state.store(2, std::sync::atomic::Ordering::Relaxed);
        }
        Job {
            outcomes: Mutex::new(vec![None; slices.len()]),
            details: Mutex::default(),
            slices,
            changed: Condvar::new(),
            stop: Mutex::new(None),
            in_copy: None,
        }
    }

    pub fn in_copy(self, hook: impl Fn() + Send + Sync + 'static) -> Job {
        Job { in_copy: Some(Box::new(hook)), ..self }
    }

    pub fn submit(self, path: &Arc<dyn Path>) -> Arc<Job> {
        let job = Arc::new(self);
        path.submit(Run { owner: job.clone(), epoch: 1, first: 0, count: job.slices.len() as u32 });
        job
    }

    pub fn wait(&self) -> Vec<Outcome> {
        let mut outcomes = self.outcomes.lock();
        while outcomes.iter().any(Option::is_none) {
            assert!(!self.changed.wait_for(&mut outcomes, HANG).timed_out(), "a slice never ended");
        }
        outcomes.iter().flatten().copied().collect()
    }

    pub fn is_done(&self) -> bool {
        self.outcomes.lock().iter().all(Option::is_some)
    }

    pub fn stop(self: &Arc<Self>, path: &Arc<dyn Path>, code: Code) {
        *self.stop.lock() = Some(code);
        let owner: Arc<dyn Owner> = self.clone();
        path.prune(&owner, 1);
    }

    pub fn details(&self) -> String {
        self.details.lock().join("; ")
    }

    fn note(&self, index: u32, outcome: Outcome) {
        let mut outcomes = self.outcomes.lock();
        assert_eq!(outcomes[index as usize], None, "slice {index} ended twice");
        outcomes[index as usize] = Some(outcome);
        self.changed.notify_all();
    }
}

impl Owner for Job {
    fn slices(&self) -> &[Slice] {
        &self.slices
    }

    fn begin_touch(&self, _: u32) -> bool {
        if self.stop.lock().is_some() {
            return false;
        }
        if let Some(hook) = &self.in_copy {
            hook();
        }
        true
    }

    fn end_touch(&self) {}

    fn complete(&self, _: u32, index: u32, outcome: Outcome, detail: &dyn Fn() -> String) {
        if outcome != Outcome::Done {
            self.details.lock().push(detail());
        }
        self.note(index, outcome);
    }

    fn complete_exclusive(&self, _: u32, first: u32, count: u32) {
        (first..first + count).for_each(|index| self.note(index, Outcome::Done));
    }

    fn stopped(&self) -> Option<Code> {
        *self.stop.lock()
    }

    fn priority(&self) -> Priority {
        Priority::Normal
    }

    fn deadline_ns(&self) -> u64 {
        u64::MAX
    }
}

/// One slice from or to a place in an owner's region.
pub fn slice(opcode: Opcode, local: &[u8], target: Target, offset: usize) -> Slice {
    let slice = Slice::new(opcode, Mem::of(local), (target.mem.address() + offset) as u64, 0);
    slice.key.store(target.key, std::sync::atomic::Ordering::Relaxed);
    slice
}

/// Copies once and tells what became of it.
pub fn transfer(path: &Arc<dyn Path>, opcode: Opcode, local: &[u8], target: Target) -> Outcome {
    Job::new(vec![slice(opcode, local, target, 0)]).submit(path).wait()[0]
}

pub const BOTH: u32 = REMOTE_READ | REMOTE_WRITE;

/// Variable that makes this program play a part in another process.
const PART: &str = "MOONCAKE_TEST_PART";

/// A second process, which plays one of the parts in parts.rs. Ended when dropped.
pub struct Partner {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Partner {
    pub fn start(part: &str) -> Partner {
        Partner::start_in(&[], part)
    }

    /// Starts it through another program, such as unshare.
    pub fn start_in(wrapper: &[&str], part: &str) -> Partner {
        let me = std::env::current_exe().expect("own path").into_os_string().into_string().expect("UTF-8");
        let line: Vec<&str> = wrapper
            .iter()
            .copied()
            .chain([me.as_str(), "--ignored", "--exact", "parts::part", "--nocapture", "--test-threads=1"])
            .collect();
        let mut child = Command::new(line[0])
            .args(&line[1..])
            .env(PART, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a second process");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Partner { child, input, output }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("the partner listens");
    }

    /// The words of the partner's next line; the test harness's own lines are not its.
    pub fn hear(&mut self) -> Vec<String> {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).expect("readable") > 0, "the partner ended");
            if let Some((_, said)) = line.split_once("say: ") {
                return said.split_whitespace().map(str::to_owned).collect();
            }
        }
    }

    pub fn expect(&mut self, word: &str) -> Vec<String> {
        let words = self.hear();
        assert_eq!(words[0], word, "{words:?}");
        words
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child that was not waited for.
        unsafe { libc::kill(self.pid(), signal) };
    }

    /// Waits until the kernel shows the process in a state, such as T: stopped.
    pub fn wait_for_state(&self, state: char) {
        let started = Instant::now();
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it exists");
            let (_, rest) = stat.rsplit_once(") ").expect("a stat line");
            if rest.starts_with(state) {
                return;
            }
            assert!(started.elapsed() < HANG, "never in state {state}: {stat}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The part to play, in the second process.
pub fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// Says a line to the first process.
pub fn say(line: &str) {
    println!("say: {line}");
}

/// The words of the first process's next line; None when it ended.
pub fn listen() -> Option<Vec<String>> {
    let mut line = String::new();
    let length = std::io::stdin().read_line(&mut line).expect("readable");
    (length > 0).then(|| line.split_whitespace().map(str::to_owned).collect())
}

/// An offer and the engine behind it, as words.
pub fn offer_words(id: EngineId, offer: &Offer) -> String {
    let token: String = offer.token.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{id} {} {token}", String::from_utf8(offer.socket.clone()).expect("printable"))
}

pub fn offer_of(words: &[String]) -> (EngineId, Offer) {
    let bytes = |text: &str| -> [u8; 16] {
        std::array::from_fn(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).expect("hexadecimal"))
    };
    (EngineId(bytes(&words[0])), Offer { socket: words[1].clone().into_bytes(), token: bytes(&words[2]) })
}

/// A region as words: key, address, length.
pub fn target_words(target: Target) -> String {
    format!("{} {} {}", target.key, target.mem.address(), target.mem.len())
}

/// A region of another process: its addresses mean nothing here.
pub fn target_of(words: &[String]) -> Target {
    let number = |at: usize| words[at].parse::<usize>().expect("a number");
    // SAFETY: never touched here, only named.
    let mem = unsafe { Mem::new(number(1), number(2)) };
    Target { id: 0, key: number(0) as u64, mem }
}
