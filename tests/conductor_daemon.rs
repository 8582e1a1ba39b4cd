//! `mooncake conductor` as a router meets it: publishers registered, their events followed, requests placed, and all of it
//! again after a restart.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use mooncake::config::{Config, Given};
use mooncake::engine::Engine;
use mooncake::store::client::{Put, PutOptions, Store};
use mooncake::store::node::server::{self, Node, SegmentOptions};
use mooncake::sys::memory::Mem;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use zeromq::{PubSocket, Socket, SocketSend, ZmqMessage};

const PATIENCE: Duration = Duration::from_secs(30);
const KEY: &str = "0123456789abcdef";
/// vLLM's keys of the tokens 1 to 8 in blocks of 4, by `sha256_cbor` with the seed "0".
const KEYS: [u64; 2] = [2164874634404590027, 17270480062156288726];

struct Conductor {
    child: Child,
    output: BufReader<ChildStdout>,
    address: String,
    key: &'static str,
    /// Lines before the one that says where it listens.
    told: Vec<String>,
}

impl Conductor {
    fn start(arguments: &[&str]) -> Conductor {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mooncake"));
        command.args(["conductor", "--listen", "127.0.0.1:0"]).args(arguments).env_remove("MC_PSK_FILE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut told = Vec::new();
        let address = loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).expect("a line") > 0, "it ended: {told:?}");
            match line.trim().strip_prefix("conductor listening on http://") {
                Some(address) => break address.trim_end_matches('/').to_owned(),
                None => told.push(line.trim().to_owned()),
            }
        };
        Conductor { child, output, address, key: "", told }
    }

    fn ask_as(&self, method: &str, target: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    fn ask(&self, method: &str, target: &str, body: Value) -> (u16, Value) {
        let mut headers = "Content-Type: application/json\r\n".to_owned();
        if !self.key.is_empty() {
            headers += &format!("Authorization: Bearer {}\r\n", self.key);
        }
        let (status, text) = self.ask_as(method, target, &headers, &body.to_string());
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn post(&self, target: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", target, body);
        assert_eq!(status, 200, "{target}: {answer}");
        answer
    }

    fn get(&self, target: &str) -> Value {
        let (status, answer) = self.ask("GET", target, Value::Null);
        assert_eq!(status, 200, "{target}: {answer}");
        answer
    }

    /// What the instance has of the tokens 1 to 8.
    fn matched(&self, instance: &str) -> u64 {
        let body = json!({ "model": "m", "block_size": 4, "token_ids": (1..=8).collect::<Vec<u32>>() });
        self.post("/query", body)["default"][instance]["longest_matched"].as_u64().unwrap_or(0)
    }

    fn end(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
        assert!(self.child.wait().expect("it ends").success());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("text");
        assert_eq!(rest.trim(), "ended by SIGTERM");
    }
}

impl Drop for Conductor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A publisher without a replay endpoint.
struct Publisher {
    runtime: Runtime,
    socket: PubSocket,
    endpoint: String,
    next: u64,
}

impl Publisher {
    fn new() -> Publisher {
        let runtime = Builder::new_current_thread().enable_all().build().expect("starts");
        let (socket, endpoint) = runtime.block_on(async {
            let mut socket = PubSocket::new();
            let bound = socket.bind("tcp://127.0.0.1:0").await.expect("a port");
            (socket, bound.to_string())
        });
        Publisher { runtime, socket, endpoint, next: 0 }
    }

    fn stored(&mut self, keys: &[u64]) {
        let mut payload = Vec::new();
        rmp::encode::write_array_len(&mut payload, 2).expect("memory");
        rmp::encode::write_f64(&mut payload, 1.0).expect("memory");
        rmp::encode::write_array_len(&mut payload, 1).expect("memory");
        rmp::encode::write_array_len(&mut payload, 2).expect("memory");
        rmp::encode::write_str(&mut payload, "BlockStored").expect("memory");
        rmp::encode::write_array_len(&mut payload, keys.len() as u32).expect("memory");
        for key in keys {
            rmp::encode::write_uint(&mut payload, *key).expect("memory");
        }
        let mut message = ZmqMessage::from(Vec::new());
        message.push_back(self.next.to_be_bytes().to_vec().into());
        message.push_back(payload.into());
        self.next += 1;
        self.runtime.block_on(self.socket.send(message)).expect("sent");
    }

    /// Says so again until it was heard: the subscription may be on its way.
    fn stored_until(&mut self, keys: &[u64], is_known: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_known() {
            assert!(began.elapsed() < PATIENCE, "the events do not arrive");
            self.stored(keys);
            // The socket's own tasks run only while something is waited for.
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
        }
    }
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("mooncake-conductor-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("text").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn registration(publisher: &Publisher, instance: &str) -> Value {
    json!({
        "endpoint": publisher.endpoint, "type": "vLLM", "modelname": "m", "instance_id": instance, "block_size": 4,
        "dp_rank": 0,
        "hash_profile": { "strategy": "vllm_v1", "algorithm": "sha256_cbor", "python_hash_seed": "0" },
    })
}

fn request(name: &str) -> Value {
    json!({ "model": "m", "token_ids": (1..=10).collect::<Vec<u32>>(), "request_id": name, "output_tokens": 10 })
}

#[test]
fn requests_go_where_their_prefix_is_and_what_became_of_them_is_told() {
    let mut publishers = [Publisher::new(), Publisher::new()];
    let conductor = Conductor::start(&[]);
    for (publisher, instance) in publishers.iter().zip(["a", "b"]) {
        let answer = conductor.post("/register", registration(publisher, instance));
        assert_eq!(answer, json!({ "status": "registered successfully", "instance_id": instance }));
    }
    publishers[1].stored_until(&KEYS, || conductor.matched("b") == 8);
    assert_eq!(conductor.matched("a"), 0);
    let hashes = json!({ "model": "m", "block_size": 4, "seq_hashes": [KEYS[0], 5] });
    let found = &conductor.post("/query_by_hash", hashes)["default"]["b"];
    assert_eq!((found["GPU"].as_u64(), found["DP"]["0"].as_u64()), (Some(4), Some(4)));

    let decision = conductor.post("/schedule", request("r1"));
    assert_eq!(decision["prefill"], json!({ "instance_id": "b", "dp_rank": 0 }));
    assert_eq!((&decision["blocks"], &decision["reused_blocks"]), (&json!(2), &json!(2)));
    let explained = conductor.get("/explain?request_id=r1");
    assert_eq!(explained["candidates"].as_array().map(Vec::len), Some(2));
    let (status, again) = conductor.ask("POST", "/schedule", request("r1"));
    assert_eq!((status, &again["reason"]), (409, &json!("conflict")), "{again}");
    for event in ["started", "first_token", "finished"] {
        conductor.post("/feedback", json!({ "request_id": "r1", "event": event }));
    }
    let (status, gone) =
        conductor.ask("POST", "/feedback", json!({ "request_id": "r1", "event": "finished" }));
    assert_eq!((status, &gone["reason"]), (404, &json!("not_found")));
    let report = json!({
        "instance_id": "b", "dp_rank": 0, "queue_seconds": 1000.0, "decoding_requests": 1, "decoding_tokens": 1,
    });
    conductor.post("/report", report);
    // Whoever waits there would wait for long.
    assert_eq!(conductor.post("/schedule", request("r2"))["prefill"]["instance_id"], "a");

    // Of an adapter that nobody has used nobody has a prefix, and whoever serves the model serves it.
    let mut adapted = request("r3");
    adapted["lora_name"] = json!("sql");
    assert_eq!(conductor.post("/schedule", adapted)["reused_blocks"], 0);

    let removed = conductor.post("/unregister", json!({ "instance_id": "b", "dp_rank": 0 }));
    assert_eq!(removed["removed_instances"], json!(["b|default|0"]));
    assert_eq!((conductor.matched("b"), conductor.get("/services")["count"].as_u64()), (0, Some(1)));
    conductor.end();
}

#[test]
fn a_registration_takes_the_place_of_the_one_before() {
    let publishers = [Publisher::new(), Publisher::new()];
    let conductor = Conductor::start(&[]);
    conductor.post("/register", registration(&publishers[0], "a"));
    // The same rank of the same instance, with another publisher, model and role.
    let mut other = registration(&publishers[1], "a");
    (other["modelname"], other["role"]) = (json!("n"), json!("decode"));
    conductor.post("/register", other.clone());
    conductor.post("/register", other);
    let services = conductor.get("/services");
    assert_eq!((&services["count"], &services["services"][0]["ModelName"]), (&json!(1), &json!("n")));
    // Its ranks are of one model.
    let mut third = registration(&publishers[0], "a");
    third["dp_rank"] = json!(1);
    let (status, refused) = conductor.ask("POST", "/register", third);
    assert_eq!((status, &refused["reason"]), (409, &json!("invalid_registration")), "{refused}");
    assert_eq!(conductor.get("/health")["instances"], 1);
}

#[test]
fn questions_that_make_no_sense_are_refused_with_a_reason() {
    let conductor = Conductor::start(&[]);
    let model = || json!({ "model": "m", "token_ids": [1], "block_size": 4 });
    let with = |name: &str, value: Value| {
        let mut body = model();
        body[name] = value;
        body
    };
    let cases = [
        ("POST", "/query", json!({ "model": "m", "block_size": 4 }), 400, "missing", json!("token_ids")),
        ("POST", "/query", with("token_ids", json!([1, -1])), 400, "invalid_type", json!("token_ids")),
        ("POST", "/query", with("block_size", json!(0)), 400, "out_of_range", json!("block_size")),
        ("POST", "/query", with("colour", json!(1)), 400, "unknown_field", json!("colour")),
        ("POST", "/query", json!([]), 400, "invalid_type", Value::Null),
        ("GET", "/query", Value::Null, 405, "method_not_allowed", Value::Null),
        ("POST", "/services", model(), 405, "method_not_allowed", Value::Null),
        ("GET", "/nothing", Value::Null, 404, "not_found", Value::Null),
        ("POST", "/schedule", model(), 404, "not_found", Value::Null),
        ("POST", "/schedule", with("class", json!(4)), 404, "not_found", Value::Null),
        ("POST", "/report", json!({ "instance_id": "a" }), 404, "not_found", Value::Null),
        ("POST", "/feedback", json!({ "event": "started" }), 400, "missing", json!("request_id")),
        ("POST", "/unregister", json!({ "instance_id": "a", "dp_rank": 0 }), 404, "not_found", Value::Null),
    ];
    for (method, target, body, status, reason, field) in cases {
        let (given, answer) = conductor.ask(method, target, body);
        assert_eq!(
            (given, &answer["reason"], &answer["field"]),
            (status, &json!(reason), &field),
            "{answer}"
        );
        assert!(answer["error"].as_str().is_some_and(|error| !error.is_empty()));
    }
    assert_eq!(conductor.post("/query", model()), json!({ "default": {} }));
    let body = model().to_string();
    let (status, answer) = conductor.ask_as("POST", "/query", "Content-Type: text/plain\r\n", &body);
    assert!(status == 415 && answer.contains("unsupported_content_type"), "{answer}");
    let (status, answer) =
        conductor.ask_as("POST", "/query", "Content-Type: application/json\r\n", "{\"model\":");
    assert!(status == 400 && answer.contains("no JSON"), "{answer}");
}

#[test]
fn only_those_who_have_the_key_change_something() {
    let folder = Folder::new("key");
    std::fs::write(folder.file("key"), format!("{KEY}\n")).expect("written");
    let publisher = Publisher::new();
    let mut conductor = Conductor::start(&["--psk-file", &folder.file("key")]);
    for target in ["/register", "/unregister", "/schedule", "/feedback", "/report"] {
        let (status, answer) = conductor.ask("POST", target, json!({}));
        assert_eq!((status, &answer["reason"]), (401, &json!("unauthenticated")), "{target}");
    }
    assert_eq!(conductor.matched("a"), 0);
    conductor.key = KEY;
    conductor.post("/register", registration(&publisher, "a"));
}

#[test]
fn a_restarted_conductor_knows_what_it_knew() {
    let folder = Folder::new("state");
    let state = folder.file("state");
    let mut publisher = Publisher::new();
    let conductor = Conductor::start(&["--snapshot", &state]);
    conductor.post("/register", registration(&publisher, "a"));
    publisher.stored_until(&KEYS, || conductor.matched("a") == 8);
    conductor.end();
    let conductor = Conductor::start(&["--snapshot", &state]);
    assert_eq!(conductor.told, ["restored 2 blocks of 1 instances from 1 publishers"]);
    assert_eq!(conductor.matched("a"), 8);
    assert_eq!(conductor.get("/services")["services"][0]["InstanceID"], "a");
    conductor.end();
    // What is damaged is put aside.
    let mut bytes = std::fs::read(&state).expect("it was written");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&state, bytes).expect("written");
    let conductor = Conductor::start(&["--snapshot", &state]);
    assert_eq!((conductor.matched("a"), conductor.get("/health")["publishers"].as_u64()), (0, Some(0)));
    let aside = |entry: &Path| entry.to_string_lossy().contains("state.damaged-");
    let entries = std::fs::read_dir(&folder.0).expect("a folder");
    assert!(entries.filter_map(Result::ok).any(|entry| aside(&entry.path())));
    conductor.end();
}

#[test]
fn publishers_of_the_configuration_are_registered_at_once() {
    let folder = Folder::new("config");
    let publisher = Publisher::new();
    let config =
        json!({ "http_server_port": 13333, "kvevent_instance": { "one": registration(&publisher, "a") } });
    std::fs::write(folder.file("config"), config.to_string()).expect("written");
    let conductor = Conductor::start(&["--config", &folder.file("config")]);
    assert_eq!(conductor.get("/services")["count"], 1);
    let metrics = conductor.get("/metrics");
    let metrics = metrics.as_str().expect("text");
    assert!(
        metrics.contains(
            "mooncake_conductor_publisher_gaps_total{instance=\"a\",tenant=\"default\",rank=\"0\"} 0"
        )
    );
}

/// A master that tells which objects come and go, and ends with the test.
struct Master {
    child: Child,
    _output: BufReader<ChildStdout>,
    address: String,
    events: String,
    again: String,
}

impl Master {
    fn start() -> Master {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mooncake"));
        command.args([
            "master",
            "--listen",
            "127.0.0.1:0",
            "--found-after-ms",
            "0",
            "--kv-events",
            "127.0.0.1:0",
        ]);
        command.env_remove("MC_PSK_FILE").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut told = |begin: &str| {
            let mut line = String::new();
            output.read_line(&mut line).expect("a line");
            line.trim().strip_prefix(begin).unwrap_or_else(|| panic!("{begin:?}: {line:?}")).to_owned()
        };
        let (address, events) = (told("master listening on "), told("events on "));
        let (events, again) = events.split_once(", again on ").expect("two endpoints");
        Master { child, address, events: events.to_owned(), again: again.to_owned(), _output: output }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_is_put_into_a_store_is_in_reach_of_every_engine_until_it_is_removed() {
    let master = Master::start();
    let engine =
        || Config::load(Given { no_environment: true, ..Given::default() }).expect("a configuration");
    let node = Node::start(server::Options {
        masters: vec![master.address.clone()],
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        segments: vec![SegmentOptions { name: "n".into(), bytes: 8 << 20 }],
        domain: "n".into(),
        engine: engine(),
    });
    let node = node.expect("a node");
    wait_until("the node is a member", || node.is_led());
    let options = mooncake::store::client::Options {
        masters: vec![master.address.clone()],
        deadline: PATIENCE,
        ..Default::default()
    };
    let store = Store::open(Engine::create(engine(), 7).expect("an engine"), &options).expect("a client");
    let name = |key: u64, rank: u32| format!("org/m@tp_rank:{rank}@pcp0@dcp0@pp_rank:0@{key:064x}");
    let put = |key: u64, rank: u32| {
        let (name, bytes) = (name(key, rank), [7; 100]);
        let from = [Mem::of(&bytes)];
        let wanted = [Put { key: name.as_bytes(), from: &from }];
        // The master may not know yet what the node gives.
        wait_until("there is room", || store.put(&wanted, &PutOptions::default()).remove(0).is_ok());
    };
    put(KEYS[0], 0);
    put(KEYS[0], 1);
    // The engine has nothing itself, and nobody has to publish anything for that.
    let conductor = Conductor::start(&[]);
    let mut engine = registration(&Publisher::new(), "a");
    (engine["endpoint"], engine["role"]) = (Value::Null, json!("both"));
    conductor.post("/register", engine);
    let mut pool = json!({
        "endpoint": master.events, "replay_endpoint": master.again, "type": "Mooncake", "modelname": "m",
        "instance_id": "pool", "block_size": 4, "dp_rank": 0,
    });
    pool["hash_profile"] =
        json!({ "strategy": "vllm_v1", "algorithm": "sha256_cbor", "python_hash_seed": "0" });
    conductor.post("/register", pool);
    // What was put before somebody listened, and what is put now.
    wait_until("what was there is known", || conductor.matched("a") == 4);
    put(KEYS[1], 0);
    wait_until("what was put is known", || conductor.matched("a") == 8);
    let decision = conductor.post("/schedule", request("r1"));
    assert_eq!(
        (&decision["prefill"]["instance_id"], &decision["blocks"]),
        (&json!("a"), &json!(2)),
        "{decision}"
    );
    store.remove(&[name(KEYS[0], 1).as_bytes()], false, None).remove(0).expect("it was there");
    wait_until("what was removed is known", || conductor.matched("a") == 0);
    // With the master goes what it told.
    put(KEYS[0], 1);
    let status = || conductor.get("/services")["services"][1]["Status"].clone();
    assert_eq!((&status()["resyncs"], &status()["malformed_messages"]), (&json!(0), &json!(0)));
    drop(master);
    wait_until("the master is gone", || status()["resyncs"] == 1);
    assert_eq!(conductor.get("/global_view")["contexts"][0]["instances"], json!({ "a": [0], "pool": [0] }));
}
