//! Memory of a node under the hands of other processes: they write by keys of their own, are stopped in the middle of it,
//! die, and wake up after their memory was given to somebody else.

use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mooncake::config::{Config, Given};
use mooncake::engine::Engine;
use mooncake::engine::batch::{BatchOptions, Local, Request};
use mooncake::error::Result;
use mooncake::rpc::{Address, Client, Terms};
use mooncake::segment::memory::MemoryOptions;
use mooncake::store::master::server::{Master, Options as MasterOptions};
use mooncake::store::master::{Config as MasterConfig, Grant, PutStart};
use mooncake::store::node::server::{Node, Options, SegmentOptions, Usage};
use mooncake::store::object::{ClientId, Entry, Name, ReplicateConfig};
use mooncake::store::wire::node::{Attach, Attached, Commit, Done, Prepare, Results, WireSpot};
use mooncake::store::wire::{Call, NODE_SERVICE, decode};
use mooncake::sys::clock;
use mooncake::sys::mmap;
use mooncake::sys::reactor::Reactor;
use mooncake::transport::Opcode;

const PART: &str = "MOONCAKE_TEST_WRITER";
const HANG: Duration = Duration::from_secs(60);
const CAPACITY: u64 = 4 << 20;
/// An object that fills more than half of the node: two never fit.
const LARGE: u64 = 3 << 20;
const PAGE: usize = 4096;

fn soon() -> u64 {
    clock::after(HANG)
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < HANG, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn config(transports: &str) -> Config {
    let given = Given {
        no_environment: true,
        bind_address: Some("127.0.0.1".into()),
        transports: Some(transports.into()),
        worker_threads: 1,
        ..Given::default()
    };
    Config::load(given).expect("sound settings")
}

struct World {
    master: Arc<Master>,
    node: Arc<Node>,
}

impl World {
    fn new() -> World {
        let config = MasterConfig { found_after_ms: Some(0), lease_ms: 50, ..MasterConfig::default() };
        let master = Master::start(MasterOptions { config, ..MasterOptions::default() }).expect("a master");
        let node = Node::start(Options {
            masters: vec![master.address().to_string()],
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            segments: vec![SegmentOptions { name: "s".into(), bytes: CAPACITY }],
            domain: String::new(),
            engine: self::config("memfd,tcp"),
        });
        let world = World { master, node: node.expect("a node") };
        wait_until("the node joins", || {
            world.master.with(|state, _| state.is_serving() && state.segments().iter().any(|one| one.is_open))
        });
        world
    }

    /// The entry of a grant, as soon as there is room.
    fn grant(&self, client: u64, key: &str, size: u64) -> (Grant, Entry) {
        let config = ReplicateConfig::default();
        let client = ClientId(client);
        let request = PutStart { name: name(key), client, size, config: &config, upsert: false };
        let started = Instant::now();
        loop {
            match self.master.with(|state, now| state.put_start(now, request)) {
                Ok(grant) => {
                    let (_, entry) = grant.entries[0].clone();
                    return (grant, entry);
                }
                Err(refusal) => assert!(started.elapsed() < HANG, "{refusal}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn revoke(&self, client: u64, key: &str, grant: &Grant) {
        let revoked = self
            .master
            .with(|state, now| state.put_revoke(now, name(key), ClientId(client), grant.version, false));
        revoked.expect("it was granted");
    }

    fn writer(&self, client: u64, transports: &str) -> Writer {
        Writer::start(&format!("{} {client} {transports}", self.node.address()))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.node.stop();
        self.master.stop();
    }
}

fn name(key: &str) -> Name<'_> {
    Name { tenant: "", key: key.as_bytes() }
}

/// A client in a process of its own, which does what it is told.
struct Writer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Writer {
    fn start(part: &str) -> Writer {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args(["--ignored", "--exact", "part", "--nocapture", "--test-threads=1"])
            .env(PART, part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a second process");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Writer { child, input, output }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
    }

    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).expect("readable") > 0, "it ended");
            if let Some((_, said)) = line.split_once("say: ") {
                return said.trim().to_owned();
            }
        }
    }

    fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.hear()
    }

    fn prepare(&mut self, entry: &Entry) -> String {
        let hex: String = encode(entry).iter().map(|byte| format!("{byte:02x}")).collect();
        self.ask(&format!("prepare {hex}"))
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child that was not waited for.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    fn wait_until_stopped(&self) {
        let stat = format!("/proc/{}/stat", self.child.id());
        wait_until("it is stopped", || {
            let stat = std::fs::read_to_string(&stat).expect("it exists");
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        });
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn encode(entry: &Entry) -> Vec<u8> {
    use prost::Message;
    Prepare { entries: vec![entry.into()], ..Default::default() }.encode_to_vec()
}

// ---- the other process

#[test]
#[ignore = "played by the second processes of the other tests"]
fn part() {
    let part = std::env::var(PART).expect("started by another test");
    let words: Vec<&str> = part.split_whitespace().collect();
    play(words[0], words[1].parse().expect("a number"), words[2]);
}

fn say(line: &str) {
    println!("say: {line}");
}

struct Player {
    client: u64,
    rpc: Arc<Client>,
    engine: Arc<Engine>,
    attached: Option<(Attached, u64)>,
    buffer: mmap::Mapping,
}

fn play(node: &str, client: u64, transports: &str) {
    let reactor = Arc::new(Reactor::start("test", 1).expect("a thread"));
    let address = Address::Tcp(node.parse().expect("an address"));
    let rpc = Client::new(&reactor, 0, address, Terms { service: NODE_SERVICE, psk: None });
    let engine = Engine::create(config(transports), 0).expect("an engine");
    let length = (LARGE as usize).next_multiple_of(PAGE);
    let file = mmap::memory_file("buffer", length, 0).expect("memory");
    let buffer = mmap::Mapping::of_file(&file, length, true).expect("memory");
    let mem = buffer.mem();
    engine.register_memory(mem.address(), mem.len(), &MemoryOptions::default()).expect("registered");
    let mut player = Player { client, rpc, engine, attached: None, buffer };
    let mut entry = None;
    for line in std::io::stdin().lines() {
        let line = line.expect("readable");
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words[0], &entry) {
            ("prepare", _) => {
                let bytes = |at: usize| u8::from_str_radix(&words[1][at..at + 2], 16).expect("hex");
                let body: Vec<u8> = (0..words[1].len()).step_by(2).map(bytes).collect();
                let asked: Prepare = decode(&body).expect("an entry");
                let wanted = Entry::try_from(asked.entries[0].clone()).expect("an entry");
                say(&player.prepare(&wanted));
                entry = Some(wanted);
            }
            ("write", Some(entry)) => say(&player.write(entry, words[1].parse().expect("a byte"))),
            ("write-and-stop", Some(entry)) => {
                player.buffer.mem().fill(words[1].parse().expect("a byte"));
                stop_at(player.buffer.mem().address() + LARGE as usize / 2 / PAGE * PAGE);
                say(&outcome(player.transfer(entry, Opcode::Write)));
            }
            ("commit", Some(entry)) => say(&player.commit(entry)),
            ("done", Some(entry)) => {
                let generations = vec![entry.generation.0];
                let said = player.ask(&Done { client: player.client, generations });
                say(&outcome(said.map(|_| ())));
            }
            ("read", Some(entry)) => say(&player.read(entry)),
            other => panic!("{other:?}"),
        }
    }
}

fn outcome(result: Result<()>) -> String {
    result.map_or_else(|error| error.code.name().to_owned(), |()| "ok".to_owned())
}

fn only(results: &Results) -> String {
    let failed = results.results[0].failed.as_ref();
    failed.map_or_else(|| "ok".to_owned(), |failed| failed.code().name().to_owned())
}

impl Player {
    fn ask<C: Call>(&self, call: &C) -> Result<C::Reply> {
        decode(&self.rpc.call_wait(C::METHOD, &call.encode_to_vec(), soon())?)
    }

    fn prepare(&mut self, entry: &Entry) -> String {
        if self.attached.is_none() {
            let attached = self.ask(&Attach { client: self.client }).expect("attached");
            let segment = self.engine.import_segment(&attached.segments[0].blob).expect("a blob");
            self.attached = Some((attached, segment));
        }
        let (attached, _) = self.attached.as_ref().expect("just made");
        let Attached { node, attachment, .. } = *attached;
        let entries = vec![entry.into()];
        only(&self.ask(&Prepare { client: self.client, node, attachment, entries }).expect("an answer"))
    }

    fn commit(&self, entry: &Entry) -> String {
        let node = self.attached.as_ref().expect("attached").0.node;
        let (segment, offset) = (entry.segment.0, entry.offset);
        let spots = vec![WireSpot { segment, offset, generation: entry.generation.0 }];
        only(&self.ask(&Commit { client: self.client, node, spots }).expect("an answer"))
    }

    fn write(&self, entry: &Entry, byte: u8) -> String {
        self.buffer.mem().fill(byte);
        outcome(self.transfer(entry, Opcode::Write))
    }

    /// The byte that the whole range holds, and the way it came.
    fn read(&self, entry: &Entry) -> String {
        self.transfer(entry, Opcode::Read).expect("readable");
        let (_, segment) = self.attached.as_ref().expect("attached");
        let path = self.engine.segment_regions(*segment).expect("open")[0].path;
        self.buffer.mem().part(0, entry.size as usize).with_bytes(|bytes| {
            let is_whole = bytes.iter().all(|byte| *byte == bytes[0]);
            if is_whole { format!("{} {path}", bytes[0]) } else { "mixed".to_owned() }
        })
    }

    fn transfer(&self, entry: &Entry, opcode: Opcode) -> Result<()> {
        let (attached, segment) = self.attached.as_ref().expect("attached");
        let request = Request {
            opcode,
            segment: *segment,
            remote: attached.segments[0].base + entry.offset,
            length: entry.size,
            local: Local::Contiguous(self.buffer.mem().address()),
            user_data: 0,
        };
        let batch = self.engine.submit([Ok(request)].into_iter(), BatchOptions::default())?;
        let info = self.engine.wait(batch, None)?;
        let result = info.status.map_or(Ok(()), |_| Err(self.engine.batch_error(batch, info)));
        self.engine.release(batch)?;
        result
    }
}

static STOP_AT: AtomicUsize = AtomicUsize::new(0);

/// Stops this process when it reads that page; after that it may.
fn stop_at(page: usize) {
    extern "C" fn stop(_: i32) {
        // SAFETY: signals and page protection, which a handler may use; the page is one of the buffer.
        unsafe {
            libc::raise(libc::SIGSTOP);
            libc::mprotect(
                STOP_AT.load(Ordering::SeqCst) as *mut _,
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
            );
        }
    }
    STOP_AT.store(page, Ordering::SeqCst);
    let handler: extern "C" fn(i32) = stop;
    // SAFETY: the handler does what handlers may; the page is one of the buffer.
    unsafe {
        libc::signal(libc::SIGSEGV, handler as *const () as libc::sighandler_t);
        assert_eq!(libc::mprotect(page as *mut _, PAGE, libc::PROT_NONE), 0);
    }
}

// ---- the tests

#[test]
fn processes_of_one_host_write_and_read_a_nodes_memory_without_a_network() {
    let world = World::new();
    let mut writers = [world.writer(11, "memfd,tcp"), world.writer(12, "memfd,tcp")];
    let grants = [11, 12].map(|client| world.grant(client, &client.to_string(), 1 << 20));
    for (writer, (_, entry)) in writers.iter_mut().zip(&grants) {
        assert_eq!(writer.prepare(entry), "ok");
    }
    for (byte, writer) in (1..).zip(&mut writers) {
        assert_eq!(writer.ask(&format!("write {byte}")), "ok");
        assert_eq!(writer.ask("commit"), "ok");
    }
    for (byte, writer) in (1..).zip(&mut writers) {
        assert_eq!(writer.ask("read"), format!("{byte} memfd"));
    }
    assert_eq!(world.node.client_count(), 2);
}

/// What another writer finds after a large put was given up whose writer may still be writing.
fn another_fills_it(world: &World, byte: u8) -> (Writer, Entry) {
    let mut other = world.writer(99, "memfd,tcp");
    let (_, entry) = world.grant(99, "other", LARGE);
    assert_eq!(other.prepare(&entry), "ok");
    assert_eq!(other.ask(&format!("write {byte}")), "ok");
    assert_eq!(other.ask("commit"), "ok");
    (other, entry)
}

/// A writer that was stopped in the middle of a copy over shared memory, whose put was given up.
fn stopped_in_a_copy(world: &World) -> Writer {
    let mut writer = world.writer(7, "memfd,tcp");
    let (grant, entry) = world.grant(7, "late", LARGE);
    assert_eq!(writer.prepare(&entry), "ok");
    writer.tell("write-and-stop 7");
    writer.wait_until_stopped();
    world.revoke(7, "late", &grant);
    wait_until("the node was told", || world.node.usage().quarantined > 0);
    // Others go on meanwhile.
    let mut other = world.writer(8, "memfd,tcp");
    for round in 0..20 {
        let (_, entry) = world.grant(8, &format!("small {round}"), 10_000);
        assert_eq!(other.prepare(&entry), "ok");
        assert_eq!(other.ask("write 8"), "ok");
        assert_eq!(other.ask("commit"), "ok");
    }
    let Usage { quarantined, .. } = world.node.usage();
    assert!(quarantined > LARGE, "what it may write to is not used again");
    let refused = ReplicateConfig::default();
    let request =
        PutStart { name: name("b"), client: ClientId(1), size: LARGE, config: &refused, upsert: false };
    assert!(world.master.with(|state, now| state.put_start(now, request)).is_err(), "nor given out");
    writer
}

#[test]
fn a_writer_that_was_stopped_in_a_copy_keeps_its_range_until_it_went_on() {
    let world = World::new();
    let mut writer = stopped_in_a_copy(&world);
    writer.signal(libc::SIGCONT);
    // What it was in the middle of it may end; the range is nobody else's.
    writer.hear();
    wait_until("it is cut off", || world.node.usage().quarantined == 0);
    let (mut other, _) = another_fills_it(&world, 9);
    assert_eq!(writer.ask("write 7"), "ADDRESS_NOT_REGISTERED");
    assert_eq!(other.ask("read"), "9 memfd");
}

#[test]
fn the_word_of_a_writer_that_went_on_frees_its_range() {
    let world = World::new();
    let mut writer = stopped_in_a_copy(&world);
    writer.signal(libc::SIGCONT);
    writer.hear();
    assert_eq!(writer.ask("done"), "ok");
    another_fills_it(&world, 9);
}

#[test]
fn a_writer_that_died_in_a_copy_keeps_nothing() {
    let world = World::new();
    let writer = stopped_in_a_copy(&world);
    writer.signal(libc::SIGKILL);
    another_fills_it(&world, 9);
}

#[test]
fn a_writer_that_was_stopped_over_the_network_is_cut_off_at_once_and_wakes_up_to_nothing() {
    let world = World::new();
    let mut writer = world.writer(7, "tcp");
    let (grant, entry) = world.grant(7, "late", LARGE);
    assert_eq!(writer.prepare(&entry), "ok");
    assert_eq!(writer.ask("write 7"), "ok");
    // What it sends next arrives when somebody else has the memory.
    writer.signal(libc::SIGSTOP);
    writer.wait_until_stopped();
    writer.tell("write 7");
    world.revoke(7, "late", &grant);
    let (mut other, again) = another_fills_it(&world, 9);
    assert_eq!(again.offset, entry.offset);
    writer.signal(libc::SIGCONT);
    assert_eq!(writer.hear(), "ADDRESS_NOT_REGISTERED");
    assert_eq!(other.ask("read"), "9 memfd");
}
