//! The command line program as its users run it: measurements are made, verified and counted; the doctor reports.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mooncake::config::{Config, Given};
use mooncake::engine::Engine;
use mooncake::error::{Code, Result};
use mooncake::rpc::{Address, Client, Terms};
use mooncake::segment::memory::MemoryOptions;
use mooncake::store::client::{GetOptions, Options as StoreOptions, Put, PutOptions, Store, Wanted};
use mooncake::store::object::ReplicateConfig;
use mooncake::store::wire::master::{Greet, Welcome};
use mooncake::store::wire::{Call, MASTER_SERVICE, decode};
use mooncake::sys::clock;
use mooncake::sys::memory::Mem;
use mooncake::sys::reactor::Reactor;
use prost::Message;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

fn mooncake(arguments: &str) -> Output {
    let output = command(arguments).output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "mooncake {arguments}: {errors}");
    output
}

fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mooncake"));
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

fn rows(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Whether this host lets processes attach to one another's memory.
fn has_cross_memory_attach() -> bool {
    let report = &rows(&mooncake("doctor --json"))[0];
    let findings = report["findings"].as_array().expect("findings");
    findings.iter().any(|finding| finding["name"] == "cross-memory attach" && finding["state"] == "ok")
}

const QUICK: &str = "--secs 0.02 --warm-up 0.005 --reps 1 --buffer 2M --json";

#[test]
fn every_path_is_measured_with_its_floors_and_every_byte_counted_at_this_end() {
    let paths = if has_cross_memory_attach() { "local,memfd,cma,tcp" } else { "local,memfd,tcp" };
    let floors = if has_cross_memory_attach() { "--floors" } else { "--floors=memcpy,tcp1,tcp2,shm" };
    let output = mooncake(&format!(
        "bench transfer --path {paths} --size 4K,64K --batch 3 --threads 1,2 {floors} {QUICK}"
    ));
    let rows = rows(&output);
    assert_eq!(rows.len(), paths.split(',').count() * 2 * 2 * 2, "paths x sizes x threads x operations");
    for row in &rows {
        let path = row["path"].as_str().expect("a path");
        assert_eq!(row["verified"], true);
        assert!(row["gib_per_s"].as_f64() > Some(0.0) && row["cpu_s_per_gib"].as_f64() > Some(0.0), "{row}");
        for (name, bytes) in row["bytes_here"].as_object().expect("bytes by path") {
            assert_eq!(bytes.as_u64() > Some(0), name == path, "{row}");
        }
        let floors = row["floors"].as_array().expect("floors");
        assert!(
            !floors.is_empty() && floors.iter().all(|floor| floor["ratio"]["rate"].as_f64() > Some(0.0)),
            "{row}"
        );
    }
}

#[test]
fn prepared_batches_are_measured_by_waiting_and_by_polling() {
    let output = mooncake(&format!(
        "bench transfer --path local,tcp --size 1000 --batch 7 --prepared --hot --completion wait,poll {QUICK}"
    ));
    let seen: Vec<Value> = rows(&output).iter().map(|row| row["completion"].clone()).collect();
    assert_eq!(seen.len(), 8);
    assert_eq!(seen.iter().filter(|completion| *completion == "poll").count(), 4);
}

/// A target that ends with the test.
struct Target {
    child: Child,
    address: String,
}

impl Target {
    fn start() -> Target {
        let mut child =
            command("bench transfer --target").stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("target ready at ").unwrap_or_default().to_owned();
        Target { child, address }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_target_serves_one_initiator_after_another() {
    let target = Target::start();
    for path in ["tcp", "memfd"] {
        let initiator = &target.address;
        let output = mooncake(&format!(
            "bench transfer --initiator {initiator} --path {path} --size 4K --batch 2 {QUICK}"
        ));
        assert_eq!(rows(&output).len(), 2, "a write and a read");
    }
}

#[test]
fn what_cannot_be_measured_fails_and_says_why() {
    let cases = [
        (
            "bench transfer --path local --size 4M --batch 1 --buffer 1M",
            "need 4194304 bytes, --buffer has 1048576",
        ),
        ("bench transfer --path local --initiator 127.0.0.1:1", "path local stays inside one process"),
        ("bench transfer --initiator 127.0.0.1:1", "does it run with --target?"),
        ("bench transfer --size 1X", "is no size"),
    ];
    for (arguments, why) in cases {
        let output = command(arguments).output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(why), "mooncake {arguments}: {errors}");
    }
}

#[test]
fn the_small_benchmarks_give_their_figures() {
    let start = rows(&mooncake("bench start --count 3 --path local,tcp --json"));
    assert!(start.len() == 2 && start.iter().all(|row| row["first_transfer"]["p50_ms"].as_f64() > Some(0.0)));
    let idle = &rows(&mooncake("bench idle --secs 0.1 --json"))[0];
    assert!(idle["wakeups_per_s"].is_number() && idle["rss_added_mib"].is_number(), "{idle}");
    let prepared = &rows(&mooncake("bench prepared --secs 0.01 --entries 3 --size 100 --json"))[0];
    assert!(prepared["ns_per_request"].as_f64() > Some(0.0), "{prepared}");
}

#[test]
fn the_doctor_speaks_plainly_where_nobody_watches() {
    let output = mooncake("doctor");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("cross-memory attach") && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn clusters_of_the_store_are_played_from_seeds_and_a_seed_plays_the_same_again() {
    let play = |arguments: &str| {
        let output = mooncake(&format!("simulate store {arguments}"));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let many = play("--seeds 3 --steps 2000");
    assert!(many.contains("3 seeds kept every promise"), "{many}");
    let count = |name: &str| -> u64 {
        let line =
            many.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {many}"));
        line.split_whitespace().next_back().and_then(|number| number.parse().ok()).expect("a number")
    };
    assert!(count("steps") >= 3 * 2000 && count("master crashes") > 0, "{many}");
    assert_eq!(play("--seed 7 --steps 2000"), play("--seed 7 --steps 2000"));
    let refused = command("simulate store --steps 10").output().expect("the program starts");
    assert!(!refused.status.success(), "seeds with fewer steps show nothing");
}

#[test]
fn a_cache_is_simulated_on_a_trace_that_was_generated() {
    let path = std::env::temp_dir().join(format!("mooncake-simulate-{}.jsonl", std::process::id()));
    let trace = path.to_str().expect("UTF-8");
    mooncake(&format!("trace generate --requests 500 --out {trace}"));
    let table = mooncake(&format!("simulate cache --trace {trace} --policy lru,default --capacity 100,1k"));
    let picture = std::env::temp_dir().join(format!("mooncake-simulate-{}.svg", std::process::id()));
    let plot = format!("--plot {}", picture.to_str().expect("UTF-8"));
    let found = rows(&mooncake(&format!("simulate cache --trace {trace} --capacity 100,1k --json {plot}")));
    let drawn = std::fs::read_to_string(&picture).expect("it was drawn");
    std::fs::remove_file(&picture).expect("it was drawn");
    std::fs::remove_file(&path).expect("it was written");
    assert!(drawn.contains("prefix hit rate") && drawn.matches("<polyline").count() == 6, "{drawn}");

    let table = String::from_utf8_lossy(&table.stdout);
    let cells = |name: &str| -> Vec<String> {
        let line = table.lines().find(|line| line.starts_with(name) && line.split_whitespace().count() == 3);
        line.unwrap_or_else(|| panic!("no row {name}: {table}"))
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(cells("blocks"), ["blocks", "100", "1000"]);
    assert_eq!(found.len(), 6 * 2, "policies x capacities");
    for policy in ["lru", "default"] {
        let rates = found.iter().filter(|row| row["policy"] == policy).map(|row| {
            let hits = row["prefix_hits"].as_f64().expect("a number");
            format!("{:.4}", hits / row["blocks"].as_f64().expect("a number"))
        });
        assert_eq!(cells(policy)[1..], rates.collect::<Vec<String>>());
    }
    for (arguments, why) in [
        ("simulate cache --trace /nowhere", "cannot open /nowhere"),
        ("simulate cache --trace /nowhere --capacity 0", "is no number of blocks"),
        ("simulate cache --trace /nowhere --policy random", "s3fifo"),
        ("simulate cache", "--trace"),
    ] {
        let output = command(arguments).output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(why), "mooncake {arguments}: {errors}");
    }
}

#[test]
fn ways_to_use_machines_are_compared_on_a_trace_that_was_generated() {
    let path = std::env::temp_dir().join(format!("mooncake-serve-{}.jsonl", std::process::id()));
    let picture = path.with_extension("svg");
    let trace = path.to_str().expect("UTF-8");
    mooncake(&format!("trace generate --requests 150 --out {trace}"));
    let arguments = format!("simulate serve --trace {trace} --machines 4");
    let table = mooncake(&format!("{arguments} --plot {}", picture.to_str().expect("UTF-8")));
    let found = rows(&mooncake(&format!("{arguments} --prefill 2,3 --policy lb,local --chunk 0 --json")));
    let drawn = std::fs::read_to_string(&picture).expect("it was drawn");
    std::fs::remove_file(&picture).expect("it was drawn");
    std::fs::remove_file(&path).expect("it was written");

    let table = String::from_utf8_lossy(&table.stdout);
    assert!(table.contains("coupled, lb, chunks of 512") && table.contains(" over coupled, lb: "), "{table}");
    assert_eq!((drawn.matches("<polyline").count(), drawn.matches("<rect x").count()), (3 * 3, 3), "{drawn}");
    let names: Vec<&str> = found.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["2 prefill, 2 decode", "3 prefill, 1 decode", "coupled, lb", "coupled, local"]);
    for row in &found {
        let limits = row["limits"].as_array().expect("one for each limit");
        let rates: Vec<f64> = limits.iter().filter_map(|one| one["requests_per_second"].as_f64()).collect();
        let least = if row["prefill"].is_null() { 0 } else { 3 };
        assert!(
            rates.len() >= least && rates.is_sorted(),
            "looser promises are kept at no lower rate: {row}"
        );
    }
    for (arguments, why) in [
        ("simulate serve --trace /nowhere", "cannot open /nowhere"),
        ("simulate serve --trace /nowhere --prefill 16", "--prefill is 16"),
        ("simulate serve --trace /nowhere --tbt-slo 0.1,0", "--tbt-slo is 0"),
        ("simulate serve --trace /nowhere --share 1.1", "--share is 1.1"),
        ("simulate serve --trace /nowhere --policy best", "maxhit"),
    ] {
        let output = command(arguments).output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(why), "mooncake {arguments}: {errors}");
    }
}

#[test]
fn policies_are_simulated_on_a_trace_that_was_generated() {
    let path = std::env::temp_dir().join(format!("mooncake-schedule-{}.jsonl", std::process::id()));
    let trace = path.to_str().expect("UTF-8");
    mooncake(&format!("trace generate --requests 300 --out {trace}"));
    let arguments = format!("simulate schedule --trace {trace} --model reference --instances 4 --mfu 0.5");
    let table = mooncake(&format!("{arguments} --policy lb,global"));
    let again = mooncake(&format!("{arguments} --policy lb,global"));
    let found = rows(&mooncake(&format!("{arguments} --json")));
    let slow = rows(&mooncake(&format!("{arguments} --policy global --link-gbytes 0.1 --json")));
    let picture = std::env::temp_dir().join(format!("mooncake-schedule-{}.svg", std::process::id()));
    let overload = "--model full --speed 9 --admission load,predicted --decode-seconds 10,20 --json --plot";
    let full = rows(&mooncake(&format!(
        "simulate schedule --trace {trace} --instances 4 {overload} {}",
        picture.to_str().expect("UTF-8")
    )));
    let drawn = std::fs::read_to_string(&picture).expect("it was drawn");
    std::fs::remove_file(&picture).expect("it was drawn");
    std::fs::remove_file(&path).expect("it was written");

    assert_eq!(table.stdout, again.stdout);
    let table = String::from_utf8_lossy(&table.stdout);
    assert!(table.contains("mean TTFT") && table.lines().count() == 6, "{table}");
    let names: Vec<&str> = found.iter().filter_map(|row| row["policy"].as_str()).collect();
    assert_eq!(names, ["random", "lb", "local", "global", "maxhit"]);
    for row in &found {
        assert_eq!((&row["requests"], &row["instances"]), (&300.into(), &4.into()));
    }
    let admissions: Vec<&str> = full.iter().filter_map(|row| row["admission"].as_str()).collect();
    assert_eq!(admissions, ["load", "predicted", "load", "predicted"]);
    assert!(full.iter().all(|row| row["rejected"].as_u64() > Some(0)), "{full:?}");
    assert!(drawn.starts_with("<svg") && drawn.matches("<polyline").count() == 4 * 2 + 2, "{drawn}");
    assert!(drawn.contains("rejected requests by seconds of decode"), "{drawn}");
    let moved = |row: &serde_json::Value| row["moved_share"].as_f64().expect("a number");
    assert!(moved(&found[3]) > 0.01 && moved(&slow[0]) < moved(&found[3]) / 2.0, "a slow link moves less");
    for (arguments, why) in [
        ("simulate schedule --trace /nowhere", "cannot open /nowhere"),
        ("simulate schedule --trace /nowhere --policy best", "maxhit"),
        ("simulate schedule --trace /nowhere --mfu 0", "--mfu is 0"),
        ("simulate schedule --trace /nowhere --instances 0", "--instances"),
        ("simulate schedule --trace /nowhere --model full --noise 1", "--noise is 1"),
        ("simulate schedule --trace /nowhere --admission late", "predicted"),
    ] {
        let output = command(arguments).output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(why), "mooncake {arguments}: {errors}");
    }
}

/// A master or a node that ends with the test.
struct Served {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Served {
    fn master(arguments: &str) -> Served {
        Served::start("master", arguments)
    }

    fn start(role: &str, arguments: &str) -> Served {
        let mut command = command(&format!("{role} --listen 127.0.0.1:0 {arguments}"));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let prefix = format!("{role} listening on ");
        let address = line.trim().strip_prefix(&prefix).unwrap_or_default().to_owned();
        assert!(!address.is_empty(), "{line}");
        Served { child, output, address }
    }

    /// Tells it to end.
    fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
    }

    fn told(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn greet(address: &str, psk: Option<&str>) -> Result<Welcome> {
    let reactor = Arc::new(Reactor::start("test", 1).expect("a thread"));
    let psk = psk.map(|psk| psk.as_bytes().into());
    let address = Address::Tcp(address.parse().expect("an address"));
    let client = Client::new(&reactor, 0, address, Terms { service: MASTER_SERVICE, psk });
    let answer = client.call_wait(Greet::METHOD, &Greet {}.encode_to_vec(), clock::after(PATIENCE));
    answer.map(|body| decode(&body).expect("an answer"))
}

#[test]
fn a_master_serves_until_it_is_told_to_end() {
    let mut master = Served::master("--lease-ms 700 --policy sieve --quota 64G --found-after-ms never");
    let welcome = greet(&master.address, None).expect("it serves");
    assert_eq!((welcome.lease_ms, welcome.is_serving), (700, false));
    master.terminate();
    assert_eq!(master.told(), "ended by SIGTERM");
    assert!(master.child.wait().expect("it ends").success());
    assert!(greet(&master.address, None).is_err());
}

#[test]
fn a_master_with_a_key_lets_nobody_in_without_it() {
    let path = std::env::temp_dir().join(format!("mooncake-key-{}", std::process::id()));
    std::fs::write(&path, "0123456789abcdef\n").expect("written");
    let master = Served::master(&format!("--psk-file {}", path.display()));
    std::fs::remove_file(&path).expect("it was written");
    assert!(greet(&master.address, Some("0123456789abcdef")).is_ok());
    assert_eq!(greet(&master.address, None).expect_err("no key").code, Code::Unauthenticated);
    for (arguments, why) in [
        ("master --psk-file /nowhere", "key file /nowhere does not exist"),
        ("master --policy best", "s3fifo"),
        ("master --quota much", "is no size"),
        ("master --lease-ms 1", "100"),
        ("master --listen nowhere", "--listen nowhere"),
        ("master --found-after-ms soon", "never"),
    ] {
        let output = command(arguments).output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(why), "mooncake {arguments}: {errors}");
    }
}

/// A client with memory of its own.
struct StoreClient {
    engine: Arc<Engine>,
    store: Arc<Store>,
    mem: Mem,
}

impl StoreClient {
    fn new(master: &str) -> StoreClient {
        let given = Given {
            no_environment: true,
            bind_address: Some("127.0.0.1".into()),
            worker_threads: 1,
            ..Given::default()
        };
        let engine = Engine::create(Config::load(given).expect("settings"), 0).expect("an engine");
        let options =
            StoreOptions { masters: vec![master.to_owned()], deadline: PATIENCE, ..StoreOptions::default() };
        let store = Store::open(engine.clone(), &options).expect("a master answers");
        let (_, region) = engine.allocate_memory(1 << 20, &MemoryOptions::default()).expect("memory");
        let mem = engine.memory.get(region).expect("live").mem;
        StoreClient { engine, store, mem }
    }

    fn put(&self, key: &str, length: usize, segment: &str) -> std::result::Result<(), Code> {
        let from = self.mem.part(0, length);
        from.fill(length as u8);
        let put = Put { key: key.as_bytes(), from: &[from] };
        let config = ReplicateConfig { preferred: vec![segment.into()], ..Default::default() };
        let done = self.store.put(&[put], &PutOptions { config, ..Default::default() });
        done[0].as_ref().map(|_| ()).map_err(|failure| failure.error.code)
    }

    fn is_there(&self, key: &str, length: usize) -> bool {
        self.mem.fill(0xFF);
        let options = GetOptions { fresh: true, ..Default::default() };
        let got = self.store.get(&[(key.as_bytes(), Wanted::Whole(&[self.mem]))], &options);
        got[0].as_ref().is_ok_and(|got| got.size == length as u64)
            && self.mem.part(0, length).with_bytes(|bytes| bytes.iter().all(|byte| *byte == length as u8))
    }
}

impl Drop for StoreClient {
    fn drop(&mut self) {
        self.engine.destroy();
    }
}

#[test]
fn nodes_give_their_memory_and_leave_without_losing_any_of_it() {
    let master = Served::master("--lease-ms 200 --found-after-ms 100");
    let node = |name: &str| {
        let address = &master.address;
        let arguments =
            format!("--master {address} --memory 4M --name {name} --domain {name} --segment {name}b=1M");
        Served::start("node", &arguments)
    };
    let (mut first, mut second) = (node("one"), node("two"));
    let client = StoreClient::new(&master.address);
    let lengths = [1, 4096, 300_000];
    let until = clock::after(PATIENCE);
    for length in lengths {
        // They join within moments.
        while let Err(code) = client.put(&length.to_string(), length, "one") {
            assert!(code.is_retryable() && clock::now_ns() < until, "{code:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    assert!(lengths.iter().all(|length| client.is_there(&length.to_string(), *length)));
    first.terminate();
    assert_eq!(first.told(), "ended by SIGTERM");
    assert!(first.child.wait().expect("it ends").success());
    assert!(lengths.iter().all(|length| client.is_there(&length.to_string(), *length)), "moved away");
    // Nobody is there to take what the last one has: told twice, it gives that up.
    second.terminate();
    std::thread::sleep(Duration::from_millis(300));
    assert!(second.child.try_wait().expect("its state").is_none(), "it waits for the grace");
    second.terminate();
    assert!(!second.child.wait().expect("it ends").success());
}

#[test]
fn a_node_that_cannot_be_is_told_why() {
    for (arguments, why) in [
        ("node --memory 1M", "--master"),
        ("node --master 127.0.0.1:1", "--memory"),
        ("node --master 127.0.0.1:1 --memory much", "is no size"),
        ("node --master 127.0.0.1:1 --memory 0", "segment"),
        ("node --master 127.0.0.1:1 --memory 64T", "left"),
        ("node --master nowhere --memory 1M", "host:port"),
        ("node --master 127.0.0.1:1 --segment a", "NAME=BYTES"),
        ("node --master 127.0.0.1:1 --memory 1M --listen nowhere", "--listen nowhere"),
        ("node --master 127.0.0.1:1 --memory 1M --psk-file /nowhere", "key file /nowhere does not exist"),
    ] {
        let output = command(arguments).output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(why), "mooncake {arguments}: {errors}");
    }
}
