//! The cases, round by round, and the table of their medians.

use std::sync::Arc;
use std::time::Duration;

use mooncake::config::{Config, Given};
use mooncake::engine::Engine;
use mooncake::segment::memory::MemoryOptions;
use mooncake::store::client::{GetOptions, Matching, Options, Put, PutOptions, Store, Wanted};
use mooncake::sys::memory::Mem;
use serde_json::json;

use super::super::drive::{Mover, Outcome, Ticker, drive};
use super::super::end::text;
use super::super::floors::raw::{self, Mapped};
use super::alone::Alone;
use super::floor::Ping;
use super::processes::{Process, wait_for};
use super::rebuild::Rebuilt;
use super::{Part, StoreArgs};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Room for the largest batch.
const BUFFER: usize = 256 * MIB;
const NODE: usize = 1024 * MIB;
const FULL_NODE: usize = 64 * MIB;

pub fn run(args: &StoreArgs) -> Result<(), String> {
    let master = Process::start(&["--role", "master"])?;
    let node = Process::start(&node_arguments(&master, NODE).each_ref().map(String::as_str))?;
    let floor = Process::start(&["--role", "floor"])?;
    let buffer = Mapped::anonymous(BUFFER)?;
    buffer.mem().fill(5);
    let bench = Bench { args, master, node, floor, buffer };
    let mut figures: Vec<Figure> = Vec::new();
    for round in 0..args.rounds {
        eprintln!("round {} of {}", round + 1, args.rounds);
        for part in &args.part {
            for figure in bench.part(*part)? {
                match figures.iter_mut().find(|one| one.name == figure.name) {
                    Some(known) => known.runs.extend(figure.runs),
                    None => figures.push(figure),
                }
            }
        }
    }
    show(args, &figures);
    Ok(())
}

pub fn node_arguments(master: &Process, bytes: usize) -> [String; 6] {
    let flags = ["--role", "node", "--master"].map(str::to_owned);
    let [role, node, flag] = flags;
    [role, node, flag, master.address.clone(), "--memory".into(), bytes.to_string()]
}

/// One run of one case.
#[derive(Clone, Copy)]
struct Run {
    p50_us: f64,
    p99_us: f64,
    /// Of operations, or of keys where many are asked at once.
    per_second: f64,
    /// Of the client, the master and the node, for each operation.
    cpu_us: [f64; 3],
}

struct Figure {
    name: String,
    /// Bytes of one step.
    bytes: usize,
    runs: Vec<Run>,
}

struct Bench<'a> {
    args: &'a StoreArgs,
    master: Process,
    node: Process,
    floor: Process,
    buffer: Mapped,
}

/// How a client is opened for a case.
#[derive(Clone, Copy)]
struct Way {
    transports: &'static str,
    no_local: bool,
    lease_cache: usize,
}

const OVER_TCP: Way = Way { transports: "tcp", no_local: true, lease_cache: 0 };
const ON_HOST: Way = Way { transports: "memfd", no_local: false, lease_cache: 0 };
const LEASED: Way = Way { transports: "memfd", no_local: false, lease_cache: 65_536 };

impl Bench<'_> {
    fn part(&self, part: Part) -> Result<Vec<Figure>, String> {
        match part {
            Part::Get => self.gets(),
            Part::Batch => self.batches(),
            Part::Host => self.host(),
            Part::Lease => self.leased(),
            Part::Exists => self.exists(),
            Part::Put => self.puts(),
            Part::Evict => self.evicting(),
            Part::Rebuild => self.rebuild(),
        }
    }

    /// Own memory of the client's engine: what callers register.
    fn client(&self, way: Way, master: &str) -> Result<Arc<Store>, String> {
        let given = Given {
            bind_address: Some("127.0.0.1".into()),
            transports: Some(way.transports.into()),
            ..Given::default()
        };
        let engine = Engine::create(Config::load(given).map_err(text)?, 1).map_err(text)?;
        let mem = self.buffer.mem();
        let memory = MemoryOptions::default();
        engine.register_memory(mem.address(), mem.len(), &memory).map_err(text)?;
        let options = Options {
            masters: vec![master.to_owned()],
            no_local: way.no_local,
            lease_cache: way.lease_cache,
            deadline: Duration::from_secs(30),
            ..Default::default()
        };
        let store = Store::open(engine, &options).map_err(text)?;
        wait_for(&store, 1)?;
        Ok(store)
    }

    fn fill(&self, store: &Store, size: usize, count: usize) -> Result<Vec<Vec<u8>>, String> {
        let keys: Vec<Vec<u8>> = (0..count).map(|index| key(size, index)).collect();
        let pieces = [self.buffer.mem().part(0, size)];
        let puts: Vec<Put<'_>> = keys.iter().map(|key| Put { key, from: &pieces }).collect();
        for put in puts {
            put_patiently(store, put, &PutOptions { upsert: true, ..Default::default() })?;
        }
        Ok(keys)
    }

    fn measure<M: Mover>(
        &self,
        name: impl Into<String>,
        bytes: usize,
        keys: usize,
        movers: Vec<M>,
    ) -> Result<Figure, String> {
        let mut before = [Duration::ZERO; 3];
        let cpu = || [raw::cpu_time(), self.master.cpu_time(), self.node.cpu_time()];
        let mark = || {
            before = cpu();
            Ok(())
        };
        let Outcome { timed, wall, latency, .. } =
            drive(movers, self.args.times(), &Ticker::default(), mark)?;
        let after = cpu();
        let spent = |index: usize| (after[index] - before[index]).as_secs_f64() * 1e6 / timed as f64;
        let run = Run {
            p50_us: latency.percentile_us(0.5),
            p99_us: latency.percentile_us(0.99),
            per_second: timed as f64 * keys as f64 / wall.as_secs_f64(),
            cpu_us: [spent(0), spent(1), spent(2)],
        };
        Ok(Figure { name: name.into(), bytes, runs: vec![run] })
    }

    fn ping(&self, name: impl Into<String>, ask: usize, reply: usize) -> Result<Figure, String> {
        let ping = Ping::new(&self.floor.address, ask, reply)?;
        self.measure(name, reply, 1, vec![ping])
    }

    fn gets(&self) -> Result<Vec<Figure>, String> {
        let store = self.client(OVER_TCP, &self.master.address)?;
        let alone = Alone::start(16 * MIB)?;
        let mut figures = vec![self.ping("raw ping 64 B", 64, 64)?];
        for size in [4 * KIB, 64 * KIB, MIB, 16 * MIB] {
            figures.push(self.ping(format!("raw block {}", named(size)), 16, size)?);
            let reading = alone.reading(store.engine(), self.buffer.mem(), size, 1)?;
            figures.push(self.measure(format!("engine tcp {}", named(size)), size, 1, vec![reading])?);
            let keys = self.fill(&store, size, 1)?;
            let get = Get::new(&store, keys, self.buffer.mem(), size);
            figures.push(self.measure(format!("get tcp {}", named(size)), size, 1, vec![get])?);
        }
        Ok(figures)
    }

    fn batches(&self) -> Result<Vec<Figure>, String> {
        let store = self.client(OVER_TCP, &self.master.address)?;
        let alone = Alone::start(16 * MIB)?;
        let mut figures = Vec::new();
        for size in [4 * KIB, 64 * KIB, MIB] {
            figures.push(self.ping(format!("raw block 16 x {}", named(size)), 16, 16 * size)?);
            let reading = alone.reading(store.engine(), self.buffer.mem(), size, 16)?;
            let name = format!("engine tcp 16 x {}", named(size));
            figures.push(self.measure(name, 16 * size, 16, vec![reading])?);
            let keys = self.fill(&store, size, 16)?;
            let get = Get::new(&store, keys, self.buffer.mem(), size);
            let name = format!("get tcp 16 x {}", named(size));
            figures.push(self.measure(name, 16 * size, 16, vec![get])?);
            let put = PutAgain { store: &store, from: self.buffer.mem(), size, count: 16, keys: Vec::new() };
            let name = format!("put tcp 16 x {}", named(size));
            figures.push(self.measure(name, 16 * size, 16, vec![put])?);
        }
        Ok(figures)
    }

    fn host(&self) -> Result<Vec<Figure>, String> {
        let store = self.client(ON_HOST, &self.master.address)?;
        // The copy is from the same kind of memory, and as much of it.
        let file = raw::memory_file(128 * MIB)?;
        let shared = Mapped::of_file(&file, 128 * MIB, 0)?;
        shared.mem().fill(3);
        let mut figures = Vec::new();
        for (size, count) in [(4 * KIB, 1), (MIB, 128), (16 * MIB, 16)] {
            let keys = self.fill(&store, size, count)?;
            let get = GetOne { get: Get::new(&store, keys, self.buffer.mem(), size), next: 0 };
            let name = format!("get host {}", named(size));
            figures.push(self.measure(name, size, 1, vec![get])?);
            let copy = Copy { from: shared.mem(), to: self.buffer.mem(), size, at: 0 };
            figures.push(self.measure(format!("memcpy cold {}", named(size)), size, 1, vec![copy])?);
            let keys: Vec<Vec<u8>> = (0..count).map(|index| key(size, index)).collect();
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            store.remove(&keys, false, None);
        }
        Ok(figures)
    }

    fn leased(&self) -> Result<Vec<Figure>, String> {
        let store = self.client(LEASED, &self.master.address)?;
        let keys = self.fill(&store, 4 * KIB, 1)?;
        let get = Get::new(&store, keys, self.buffer.mem(), 4 * KIB);
        Ok(vec![self.measure("get host 4 KiB, lease held", 4 * KIB, 1, vec![get])?])
    }

    fn exists(&self) -> Result<Vec<Figure>, String> {
        let mut figures = vec![self.ping("raw ping 64 B", 64, 64)?];
        for (way, name) in [(OVER_TCP, "tcp"), (ON_HOST, "host")] {
            let store = self.client(way, &self.master.address)?;
            let keys = self.fill(&store, 64, 128)?;
            let one = Exists { store: &store, keys: &keys[..1] };
            figures.push(self.measure(format!("exists {name}"), 0, 1, vec![one])?);
            let many = Exists { store: &store, keys: &keys };
            figures.push(self.measure(format!("exists {name} x 128"), 0, 128, vec![many])?);
        }
        Ok(figures)
    }

    /// Puts of new objects, which are removed when all is measured.
    fn puts(&self) -> Result<Vec<Figure>, String> {
        let mut figures = Vec::new();
        for (way, name) in [(OVER_TCP, "tcp"), (ON_HOST, "host")] {
            let store = self.client(way, &self.master.address)?;
            let put =
                |prefix| PutNew { store: &store, from: self.buffer.mem().part(0, 64), prefix, count: 0 };
            figures.push(self.measure(format!("put {name} 64 B"), 64, 1, vec![put("one")])?);
            let four = ["a", "b", "c", "d"].map(put).into();
            figures.push(self.measure(format!("put {name} 64 B, 4 threads"), 64, 1, four)?);
            let new = Matching { prefix: NEW.into(), ..Default::default() };
            store.remove_where(&new, false, None).map_err(|failure| text(failure.error))?;
        }
        Ok(figures)
    }

    /// Puts of new objects: into free memory, and into memory that is full all the time.
    fn evicting(&self) -> Result<Vec<Figure>, String> {
        let mut figures = Vec::new();
        for (bytes, name) in [(NODE * 2, "put 64 KiB, room"), (FULL_NODE, "put 64 KiB, evicting")] {
            let master = Process::start(&["--role", "master"])?;
            let node = node_arguments(&master, bytes);
            let _node = Process::start(&node.each_ref().map(String::as_str))?;
            let store = self.client(OVER_TCP, &master.address)?;
            let from = self.buffer.mem().part(0, 64 * KIB);
            let put = PutNew { store: &store, from, prefix: "one", count: 0 };
            figures.push(self.measure(name, 64 * KIB, 1, vec![put])?);
        }
        Ok(figures)
    }
}

impl Bench<'_> {
    fn rebuild(&self) -> Result<Vec<Figure>, String> {
        let Rebuilt { first_read, whole } =
            super::rebuild::run(self.args.objects, |master| self.client(ON_HOST, master))?;
        let figure = |name: &str, took: Duration| {
            let us = took.as_secs_f64() * 1e6;
            let run = Run { p50_us: us, p99_us: us, per_second: 1e6 / us, cpu_us: [0.0; 3] };
            Figure { name: name.into(), bytes: 0, runs: vec![run] }
        };
        let objects = self.args.objects;
        Ok(vec![
            figure(&format!("rebuild {objects}: first read"), first_read),
            figure(&format!("rebuild {objects}: whole"), whole),
        ])
    }
}

fn key(size: usize, index: usize) -> Vec<u8> {
    format!("bench-{size:010}-{index:028}").into_bytes()
}

fn named(size: usize) -> String {
    if size >= MIB { format!("{} MiB", size / MIB) } else { format!("{} KiB", size / KIB) }
}

/// Gets the same keys again and again.
struct Get<'a> {
    store: &'a Store,
    keys: Vec<Vec<u8>>,
    pieces: Vec<[Mem; 1]>,
}

impl<'a> Get<'a> {
    fn new(store: &'a Store, keys: Vec<Vec<u8>>, memory: Mem, size: usize) -> Get<'a> {
        let pieces = (0..keys.len()).map(|index| [memory.part(index * size, size)]).collect();
        Get { store, keys, pieces }
    }

    fn get(&self, range: std::ops::Range<usize>) -> Result<(), String> {
        let wanted: Vec<(&[u8], Wanted<'_>)> = self.keys[range.clone()]
            .iter()
            .zip(&self.pieces[range])
            .map(|(key, pieces)| (key.as_slice(), Wanted::Whole(pieces)))
            .collect();
        let results = self.store.get(&wanted, &GetOptions::default());
        results.into_iter().try_for_each(|result| result.map(drop).map_err(|failure| text(failure.error)))
    }
}

impl Mover for Get<'_> {
    fn step(&mut self, _: u64) -> Result<(), String> {
        self.get(0..self.keys.len())
    }
}

/// Gets one key after the other.
struct GetOne<'a> {
    get: Get<'a>,
    next: usize,
}

impl Mover for GetOne<'_> {
    fn step(&mut self, _: u64) -> Result<(), String> {
        let at = self.next;
        self.next = (at + 1) % self.get.keys.len();
        self.get.get(at..at + 1)
    }
}

/// Copies one block after the other, each from where nobody was for long.
struct Copy {
    from: Mem,
    to: Mem,
    size: usize,
    at: usize,
}

impl Mover for Copy {
    fn step(&mut self, _: u64) -> Result<(), String> {
        raw::copy(self.to.part(self.at, self.size), self.from.part(self.at, self.size));
        self.at = (self.at + self.size) % self.from.len();
        Ok(())
    }
}

struct Exists<'a> {
    store: &'a Store,
    keys: &'a [Vec<u8>],
}

impl Mover for Exists<'_> {
    fn step(&mut self, _: u64) -> Result<(), String> {
        let keys: Vec<&[u8]> = self.keys.iter().map(Vec::as_slice).collect();
        let results = self.store.exists(&keys, false, None);
        results.into_iter().try_for_each(|result| result.map(drop).map_err(|failure| text(failure.error)))
    }
}

/// Puts new objects, and removes them when the time is not taken.
struct PutAgain<'a> {
    store: &'a Store,
    from: Mem,
    size: usize,
    count: usize,
    keys: Vec<Vec<u8>>,
}

impl Mover for PutAgain<'_> {
    fn step(&mut self, step: u64) -> Result<(), String> {
        let key = |index| format!("again-{}-{step:016}-{index:04}", self.size).into();
        self.keys = (0..self.count).map(key).collect();
        let pieces: Vec<[Mem; 1]> =
            (0..self.count).map(|index| [self.from.part(index * self.size, self.size)]).collect();
        let puts: Vec<Put<'_>> =
            self.keys.iter().zip(&pieces).map(|(key, from)| Put { key, from: from.as_slice() }).collect();
        let results = self.store.put(&puts, &PutOptions::default());
        results.into_iter().try_for_each(|result| result.map(drop).map_err(|failure| text(failure.error)))
    }

    fn settle(&mut self) -> Result<(), String> {
        let keys: Vec<&[u8]> = self.keys.iter().map(Vec::as_slice).collect();
        let removed = self.store.remove(&keys, false, None);
        removed.into_iter().try_for_each(|result| result.map_err(|failure| text(failure.error)))
    }
}

/// Puts new objects, waiting where it is told to.
struct PutNew<'a> {
    store: &'a Store,
    from: Mem,
    prefix: &'static str,
    count: u64,
}

/// How their keys begin.
const NEW: &str = "new-";

impl Mover for PutNew<'_> {
    fn step(&mut self, _: u64) -> Result<(), String> {
        self.count += 1;
        let key = format!("{NEW}{}-{:020}", self.prefix, self.count).into_bytes();
        put_patiently(self.store, Put { key: &key, from: &[self.from] }, &PutOptions::default())
    }
}

/// Waits where it is told that there will be room.
fn put_patiently(store: &Store, put: Put<'_>, options: &PutOptions) -> Result<(), String> {
    loop {
        match store.put(std::slice::from_ref(&put), options).remove(0) {
            Ok(_) => return Ok(()),
            Err(failure) => match failure.retry_after_ms {
                Some(time) => std::thread::sleep(Duration::from_millis(time.min(20).into())),
                None => return Err(text(failure.error)),
            },
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl Figure {
    fn of(&self, value: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(value).collect())
    }
}

fn show(args: &StoreArgs, figures: &[Figure]) {
    let p50 = |name: &str| figures.iter().find(|one| one.name == name).map(|one| one.of(|run| run.p50_us));
    if !args.json {
        say!(
            "{:<28} {:>10} {:>10} {:>12} {:>8} {:>26}  time of the floor's, rate of the engine's",
            "",
            "p50 us",
            "p99 us",
            "per second",
            "GiB/s",
            "CPU us: client+master+node"
        );
    }
    for figure in figures {
        let (own, per_second) = (figure.of(|run| run.p50_us), figure.of(|run| run.per_second));
        let cpu = [0, 1, 2].map(|index| figure.of(|run| run.cpu_us[index]));
        let gib = figure.bytes as f64 / (1u64 << 30) as f64 / (own / 1e6);
        let ping = p50("raw ping 64 B");
        let floor = if let Some(size) = figure.name.strip_prefix("get tcp ") {
            Some(ping.unwrap_or(0.0) + p50(&format!("raw block {size}")).unwrap_or(0.0))
        } else if let Some(size) = figure.name.strip_prefix("get host ") {
            p50(&format!("memcpy cold {size}"))
        } else if figure.name.starts_with("exists tcp") {
            ping
        } else {
            None
        };
        let ratio = floor.filter(|floor| *floor > 0.0).map(|floor| own / floor);
        let size = figure.name.strip_prefix("get tcp ");
        let share = size.and_then(|size| p50(&format!("engine tcp {size}"))).map(|alone| alone / own);
        if args.json {
            say!(
                "{}",
                json!({"case": figure.name, "p50_us": own, "p99_us": figure.of(|run| run.p99_us),
                       "per_second": per_second, "gib_per_second": gib, "cpu_us": cpu, "times_floor": ratio,
                       "share_of_engine": share})
            );
            continue;
        }
        say!(
            "{:<28} {:>10.2} {:>10.2} {:>12.0} {:>8.2} {:>8.1}+{:>8.1}+{:>8.1}  {:<6} {}",
            figure.name,
            own,
            figure.of(|run| run.p99_us),
            per_second,
            gib,
            cpu[0],
            cpu[1],
            cpu[2],
            ratio.map(|ratio| format!("x{ratio:.2}")).unwrap_or_default(),
            share.map(|share| format!("{share:.2}")).unwrap_or_default()
        );
    }
}
