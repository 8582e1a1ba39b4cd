//! `mooncake master` over HTTP, with nodes and clients of its store.

use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mooncake::conductor::event::{Change, decode};
use mooncake::config::{Config, Given};
use mooncake::engine::Engine;
use mooncake::error::Code;
use mooncake::store::client::{GetOptions, Matching, Put, PutOptions, Store, Wanted};
use mooncake::store::node::server::{Node, Options, SegmentOptions};
use mooncake::sys::memory::Mem;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, SubSocket};

const PATIENCE: Duration = Duration::from_secs(30);
const KEY: &str = "0123456789abcdef";

fn command(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mooncake"));
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

/// A master that ends with the test.
struct Master {
    child: Child,
    output: BufReader<ChildStdout>,
    address: String,
    http: String,
}

impl Master {
    fn start(arguments: &str) -> Master {
        let mut command = command(&format!("master --listen 127.0.0.1:0 --http 127.0.0.1:0 {arguments}"));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut master = Master { child, output, address: String::new(), http: String::new() };
        master.address = master.told("master listening on ");
        master.http = master.told("http on http://").trim_end_matches('/').to_owned();
        master
    }

    fn with_key() -> Master {
        let path =
            std::env::temp_dir().join(format!("mooncake-key-{}-{:?}", std::process::id(), Instant::now()));
        let path = path.to_str().expect("text").replace(' ', "-");
        std::fs::write(&path, format!("{KEY}\n")).expect("written");
        let master = Master::start(&format!("--psk-file {path} --found-after-ms 0"));
        std::fs::remove_file(&path).expect("it was written");
        master
    }

    /// The rest of its next line, which begins so.
    fn told(&mut self, begin: &str) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim().strip_prefix(begin).unwrap_or_else(|| panic!("{begin:?}: {line:?}")).to_owned()
    }

    /// Status, head and body of what is answered.
    fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.http).expect("it listens");
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, head.to_owned(), body.to_owned())
    }

    fn get(&self, target: &str) -> (u16, String) {
        let (status, _, body) = self.ask("GET", target, "", "");
        (status, body)
    }

    fn json(&self, target: &str) -> Value {
        let (status, body) = self.get(target);
        assert_eq!(status, 200, "{target}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// With the key.
    fn change(&self, method: &str, target: &str, body: &str) -> (u16, Value) {
        let (status, _, body) = self.ask(method, target, &format!("Authorization: Bearer {KEY}\r\n"), body);
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.get("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name}: {text}")).parse().expect("a number")
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn engine_config() -> Config {
    let psk = KEY.as_bytes().to_vec();
    Config::load(Given { no_environment: true, psk, ..Given::default() }).expect("a configuration")
}

fn node(master: &Master, name: &str) -> Arc<Node> {
    Node::start(Options {
        masters: vec![master.address.clone()],
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        segments: vec![SegmentOptions { name: name.to_owned(), bytes: 8 << 20 }],
        domain: name.to_owned(),
        engine: engine_config(),
    })
    .expect("a node")
}

fn store(master: &Master, tenant: &str) -> Arc<Store> {
    let options = mooncake::store::client::Options {
        masters: vec![master.address.clone()],
        tenant: tenant.to_owned(),
        psk: Some(KEY.as_bytes().into()),
        deadline: PATIENCE,
        lease_cache: 0,
        ..Default::default()
    };
    Store::open(Engine::create(engine_config(), 7).expect("an engine"), &options).expect("a client")
}

fn put(store: &Store, key: &[u8]) {
    let bytes = vec![7u8; 1000];
    let from = [Mem::of(&bytes)];
    store.put(&[Put { key, from: &from }], &PutOptions::default()).remove(0).expect("room");
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_master_without_nodes_answers_and_nothing_is_changed_without_a_key() {
    let master = Master::start("");
    assert_eq!(master.json("/health")["role"], "candidate");
    assert_eq!(master.get("/get_all_segments"), (200, String::new()));
    assert_eq!(master.get("/query_key?key=a").0, 503, "it may be in memory that was not reported");
    assert_eq!(master.get("/batch_query_keys").0, 400);
    assert_eq!(master.get("/get_all_keys?cursor=x").0, 400);
    assert_eq!(master.get("/nowhere").0, 404);
    assert!(master.get("/").1.contains("waiting for nodes"));
    assert_eq!(master.metric("mooncake_master_serving"), 0);
    let (status, told) = master.change("POST", "/api/v1/remove_all", "");
    assert_eq!((status, &told["error_code"]), (403, &(Code::Permission as i32).into()));
    let output = command("master --listen 127.0.0.1:0 --http nowhere").output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("--http nowhere"), "{errors}");
}

#[test]
fn everything_that_mooncakes_admins_ask_is_answered_over_http() {
    let master = Master::with_key();
    let nodes = [node(&master, "left"), node(&master, "right <b>")];
    wait_until("a cluster", || master.metric("mooncake_master_members") == 2);
    let (store, other) = (store(&master, ""), store(&master, "other"));
    let keys: [&[u8]; 4] = [b"a/1", b"a/2 <i>", b"\xff,\n", b"b"];
    keys.iter().for_each(|key| put(&store, key));
    put(&other, b"a/1");
    let mut into = vec![0u8; 1000];
    for _ in 0..40 {
        let pieces = [Mem::of(&into)];
        store.get(&[(b"a/2 <i>", Wanted::Whole(&pieces))], &GetOptions::default()).remove(0).expect("there");
    }
    assert_eq!(std::mem::take(&mut into), vec![7; 1000]);

    let health = master.json("/health");
    assert_eq!((&health["role"], &health["service_ready"]), (&"leader".into(), &true.into()));
    let mut segments: Vec<String> = master.get("/get_all_segments").1.lines().map(str::to_owned).collect();
    segments.sort();
    assert_eq!(segments, ["left", "right <b>"]);
    let detail = master.json("/get_segments_detail");
    assert_eq!((&detail["total_segments"], &detail["segments"][0]["status"]), (&2.into(), &"OK".into()));
    assert!(master.get("/query_segment?segment=left").1.starts_with("left\nUsed(bytes): "));
    assert_eq!(master.get("/query_segment?segment=none").0, 404);

    let found = master.json("/query_key?key=a/1");
    let endpoint = found["data"][0]["transport_endpoint_"].as_str().expect("an address");
    assert!(nodes.iter().any(|node| node.address().to_string() == endpoint), "{found}");
    assert_eq!(found["data"][0]["size_"], 1000);
    let missing = "{\"error_code\":-704,\"error_message\":\"OBJECT_NOT_FOUND\",\"success\":false}";
    assert_eq!(master.get("/query_key?key=a/3"), (404, missing.to_owned()));
    let batch = master.json("/batch_query_keys?keys=b,none,%FF%2C%0A");
    let is_there = |key: &str| batch["data"][key]["ok"].as_bool();
    assert_eq!(
        (is_there("b"), is_there("none"), is_there("%FF%2C%0A")),
        (Some(true), Some(false), Some(true))
    );

    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let (_, head, body) = master.ask("GET", &format!("/get_all_keys?limit=3{cursor}"), "", "");
        listed.extend(body.lines().map(str::to_owned));
        let next = head.lines().find_map(|line| line.strip_prefix("mooncake-next: "));
        let Some(next) = next else { break };
        cursor = format!("&cursor={next}");
    }
    listed.sort();
    assert_eq!(listed, ["%FF%2C%0A", "a/1", "a/2%20<i>", "b"]);
    assert_eq!(master.get("/get_all_keys?prefix=a/&regex=1$").1, "a/1\n");
    assert_eq!(master.get("/get_all_keys?regex=(").0, 400);

    let page = master.get("/").1;
    assert!(page.contains("serving") && page.contains("right &lt;b&gt;") && !page.contains("<b>"), "{page}");
    assert!(page.contains("a/2%20&lt;i&gt;"), "the key that is read most: {page}");
    assert_eq!(master.metric("master_key_count"), 5);
    // A busy machine may have made the client ask again.
    assert!(master.metric("master_get_replica_list_requests_total") >= 40);
    assert!(master.metric("mem_cache_hit_bytes_total") >= 40_000);
    assert!(master.metric("segment_total_capacity_bytes{segment=\"left\"}") >= 8 << 20);
    assert_eq!(master.metric("mooncake_tenant_quota_charged_bytes{tenant_id=\"other\"}"), 1000);
}

#[test]
fn what_changes_something_needs_the_key() {
    let master = Master::with_key();
    let _nodes = [node(&master, "left"), node(&master, "right")];
    wait_until("a cluster", || master.metric("mooncake_master_members") == 2);
    let (store, other) = (store(&master, ""), store(&master, "other"));
    (0..10u8).for_each(|key| put(&store, &[b'k', key]));
    put(&other, b"k");
    for headers in ["", "Authorization: Bearer wrong\r\n", "Authorization: 0123456789abcdef\r\n"] {
        for (method, target) in [
            ("POST", "/api/v1/remove_all"),
            ("POST", "/api/v1/bury?node=127.0.0.1:1"),
            ("POST", "/api/v1/found"),
            ("POST", "/api/v1/drain_jobs"),
            ("POST", "/api/v1/drain_jobs/cancel?job_id=1"),
            ("PUT", "/api/v1/tenant_quotas?tenant_id=t"),
            ("DELETE", "/api/v1/tenant_quotas?tenant_id=t"),
        ] {
            assert_eq!(master.ask(method, target, headers, "{}").0, 401, "{method} {target} {headers}");
        }
    }
    assert_eq!(master.metric("master_key_count"), 11);

    let quota = "/api/v1/tenant_quotas?tenant_id=other";
    assert_eq!(master.change("PUT", quota, "{\"requested_quota_bytes\":5000}").0, 200);
    assert_eq!(master.json(quota)["tenants"][0]["requested_quota_bytes"], 5000);
    assert_eq!(master.change("DELETE", quota, "").0, 200);
    assert_eq!(master.json(quota)["tenants"][0]["requested_quota_bytes"], Value::Null);
    assert_eq!(master.change("PUT", quota, "lots").0, 400);

    assert_eq!(master.change("POST", "/api/v1/bury?node=127.0.0.1:1", "").0, 404);
    assert_eq!(master.change("POST", "/api/v1/found", "").0, 200);
    assert_eq!(master.change("POST", "/api/v1/drain_jobs", "{\"segments\":[\"none\"]}").0, 404);
    assert_eq!(master.change("POST", "/api/v1/drain_jobs", "{\"segments\":[]}").0, 400);
    let (status, job) = master.change("POST", "/api/v1/drain_jobs", "{\"segments\":[\"left\"]}");
    assert_eq!((status, &job["success"]), (200, &true.into()));
    let query = format!("/api/v1/drain_jobs/query?job_id={}", job["job_id"].as_str().expect("a job"));
    wait_until("it is empty", || master.json(&query)["status_name"] == "SUCCESS");
    assert_eq!(master.metric("master_key_count"), 11);
    assert_eq!(master.get("/api/v1/drain_jobs/query?job_id=x").0, 400);
    assert_eq!(master.get("/api/v1/drain_jobs/query?job_id=999").0, 404);

    let (_, removed) = master.change("POST", "/api/v1/remove_all?tenant_id=&prefix=k%01&force=true", "");
    assert_eq!(removed["removed_count"], 1);
    let (_, removed) = master.change("POST", "/api/v1/remove_all?force=true", "");
    assert_eq!(removed["removed_count"], 10, "of all tenants");
    wait_until("nothing is left", || master.metric("master_key_count") == 0);
}

/// Follows the events of a master: those that it sends, and those that it sends again.
struct Follower {
    runtime: Runtime,
    live: SubSocket,
    again: String,
    there: BTreeSet<String>,
    last: Option<u64>,
}

impl Follower {
    fn start(master: &mut Master) -> Follower {
        let told = master.told("events on ");
        let (live_at, again) = told.split_once(", again on ").expect("two addresses");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut live = SubSocket::new();
        runtime.block_on(async {
            live.connect(live_at).await.expect("it is bound");
            live.subscribe("").await.expect("connected");
        });
        Follower { runtime, live, again: again.to_owned(), there: Default::default(), last: None }
    }

    fn take(&mut self, number: &[u8], payload: &[u8]) {
        let number = u64::from_be_bytes(number.try_into().expect("eight bytes"));
        if self.last.is_some_and(|last| number <= last) {
            // It was among those that were sent again.
            return;
        }
        assert!(self.last.is_none_or(|last| number == last + 1), "{number} after {:?}", self.last);
        self.last = Some(number);
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        // Keys of these objects are all that is read here: what conductors read is tested with the writer.
        let batch = decode(payload).expect("sound");
        for event in &batch.events {
            let keys = batch.keys(event).iter().map(|key| format!("{key:016x}"));
            match event.change {
                Change::Cleared => self.there.clear(),
                Change::Stored => self.there.extend(keys),
                Change::Removed => keys.for_each(|key| {
                    self.there.remove(&key);
                }),
            }
            assert_eq!(event.tenant.unwrap_or("t"), "t", "{}", text(payload));
        }
    }

    fn hear_until(&mut self, wanted: &[&str]) {
        while self.there.iter().map(String::as_str).collect::<Vec<_>>() != wanted {
            let live = self.live.recv();
            let heard = self.runtime.block_on(async { timeout(PATIENCE, live).await });
            let parts =
                heard.unwrap_or_else(|_| panic!("{wanted:?}: {:?}", self.there)).expect("sound").into_vec();
            self.take(&parts[1], &parts[2]);
        }
    }

    /// Has everything sent again, as one who knows nothing.
    fn ask_for_all(&mut self) -> Vec<String> {
        (self.last, self.there) = (None, Default::default());
        let mut dealer = DealerSocket::new();
        let again = self.again.clone();
        let parts = self.runtime.block_on(async {
            dealer.connect(&again).await.expect("it is bound");
            let request: VecDeque<_> = [vec![], 0u64.to_be_bytes().to_vec()].map(Into::into).into();
            dealer.send(request.try_into().expect("parts")).await.expect("sent");
            let mut all = Vec::new();
            loop {
                let answer = timeout(PATIENCE, dealer.recv()).await;
                let parts = answer.expect("in time").expect("sound").into_vec();
                if parts[1][..] == u64::MAX.to_be_bytes() {
                    return all;
                }
                all.push(parts);
            }
        });
        parts.iter().for_each(|parts| self.take(&parts[1], &parts[2]));
        self.there.iter().cloned().collect()
    }
}

#[test]
fn conductors_hear_of_every_object_that_comes_or_goes_and_those_who_come_late_of_what_is_there() {
    let path = std::env::temp_dir().join(format!("mooncake-events-{}", std::process::id()));
    std::fs::write(&path, format!("{KEY}\n")).expect("written");
    let path = path.to_str().expect("text");
    let mut master = Master::start(&format!("--psk-file {path} --found-after-ms 0 --kv-events 127.0.0.1:0"));
    std::fs::remove_file(path).expect("it was written");
    let mut follower = Follower::start(&mut master);
    let node = node(&master, "n");
    wait_until("the node is a member", || node.is_led() && master.metric("mooncake_master_members") == 1);
    let store = store(&master, "t");
    let hash = |number: u64| format!("{:048x}{number:016x}", 0);
    let name = |number: u64| format!("m@tp_rank:0@pcp0@dcp0@pp_rank:0@{}", hash(number));
    let words: Vec<String> = (0..6).map(|number| format!("{number:016x}")).collect();
    for number in 1..6 {
        put(&store, name(number).as_bytes());
    }
    let all = follower.ask_for_all();
    assert_eq!(all, words[1..6]);
    store.remove(&[name(1).as_bytes()], false, None).remove(0).expect("it was there");
    follower.hear_until(&[&words[2], &words[3], &words[4], &words[5]].map(|word| word.as_str()));
    let filter = Matching { prefix: b"m@".to_vec(), regex: "0[23]$".into() };
    store.remove_where(&filter, false, None).expect("removed");
    follower.hear_until(&[&words[4], &words[5]].map(|word| word.as_str()));
    assert_eq!(follower.ask_for_all(), words[4..6]);
    assert_eq!(master.change("POST", "/api/v1/remove_all?force=true", "").0, 200);
    follower.hear_until(&[]);
    let status = master.json("/kv_events/status");
    assert_eq!(status["enabled"], true);
    assert!(status["published_events"].as_u64() >= Some(10), "{status}");
}
