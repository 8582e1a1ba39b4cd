//! Transfers between engines of this process, over a copy and over TCP.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use mooncake::config::{Config, Given};
use mooncake::engine::Engine;
use mooncake::engine::batch::{BatchOptions, Local, Notification, Request};
use mooncake::error::{Code, Result};
use mooncake::segment::memory::{MemoryOptions, REMOTE_READ};
use mooncake::transport::Opcode;

static NEXT_TAG: AtomicU16 = AtomicU16::new(1);
const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

fn engine_with(given: Given) -> Arc<Engine> {
    let given = Given {
        bind_address: given.bind_address.or(Some("127.0.0.1".into())),
        no_environment: true,
        ..given
    };
    let config = Config::load(given).expect("a valid configuration");
    Engine::create(config, NEXT_TAG.fetch_add(1, Ordering::Relaxed)).expect("an engine")
}

fn engine(transports: &str) -> Arc<Engine> {
    engine_with(Given { transports: Some(transports.into()), ..Default::default() })
}

/// Two engines, memory of each, and the segment of the second as the first sees it.
struct Pair {
    ours: Arc<Engine>,
    theirs: Arc<Engine>,
    local: Vec<u8>,
    remote: Vec<u8>,
    segment: u64,
}

fn pair(transports: &str, size: usize) -> Pair {
    pair_of(engine(transports), engine(transports), size)
}

fn pair_of(ours: Arc<Engine>, theirs: Arc<Engine>, size: usize) -> Pair {
    let local: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
    let remote = vec![0xee; size];
    let options = MemoryOptions::default();
    ours.register_memory(local.as_ptr() as usize, size, &options).expect("register");
    theirs.register_memory(remote.as_ptr() as usize, size, &options).expect("register");
    let segment = ours.open_segment(&theirs.info().address, PATIENCE).expect("open");
    Pair { ours, theirs, local, remote, segment }
}

impl Pair {
    fn request(&self, opcode: Opcode, at: usize, length: usize) -> Request {
        Request {
            opcode,
            segment: self.segment,
            remote: (self.remote.as_ptr() as usize + at) as u64,
            length: length as u64,
            local: Local::Contiguous(self.local.as_ptr() as usize + at),
            user_data: at as u64,
        }
    }

    fn run(&self, requests: Vec<Request>) -> Option<Code> {
        let batch = self.ours.submit(requests.into_iter().map(Ok), BatchOptions::default()).expect("submit");
        let info = self.ours.wait(batch, PATIENCE).expect("wait");
        assert!(info.is_done, "the batch did not end in time");
        self.ours.release(batch).expect("release");
        info.status
    }
}

fn sizes() -> impl Iterator<Item = usize> {
    [1, 2, 63, 4096, 4097, 65536, 262_143, 262_144, 262_145, 1 << 20, (5 << 20) + 3].into_iter()
}

fn writes_and_reads(transports: &str) {
    let mut pair = pair(transports, 6 << 20);
    for size in sizes() {
        let at = 11;
        pair.remote.fill(0xee);
        assert_eq!(pair.run(vec![pair.request(Opcode::Write, at, size)]), None);
        assert!(pair.remote[at..at + size] == pair.local[at..at + size], "write of {size}");
        assert!(
            pair.remote[..at].iter().chain(&pair.remote[at + size..]).all(|byte| *byte == 0xee),
            "spill at {size}"
        );
        let expected = pair.local.clone();
        pair.local.fill(0);
        assert_eq!(pair.run(vec![pair.request(Opcode::Read, at, size)]), None);
        assert!(pair.local[at..at + size] == expected[at..at + size], "read of {size}");
        pair.local.copy_from_slice(&expected);
    }
}

#[test]
fn writes_and_reads_within_the_process() {
    writes_and_reads("local");
}

#[test]
fn writes_and_reads_over_tcp() {
    writes_and_reads("tcp");
}

#[test]
fn writes_and_reads_over_tcp_without_checksums() {
    let make = || engine_with(Given { transports: Some("tcp".into()), checksum: 1, ..Default::default() });
    let pair = pair_of(make(), make(), 3 << 20);
    assert_eq!(pair.run(vec![pair.request(Opcode::Write, 5, 2 << 20)]), None);
    assert!(pair.remote[5..5 + (2 << 20)] == pair.local[5..5 + (2 << 20)]);
}

#[test]
fn five_thousand_requests_in_one_batch_over_tcp() {
    let pair = pair("tcp", 5000 * 200);
    let requests = (0..5000).map(|i| pair.request(Opcode::Write, i * 200, 200)).collect();
    assert_eq!(pair.run(requests), None);
    assert!(pair.remote == pair.local);
}

#[test]
fn reads_and_writes_mix_in_one_batch() {
    for transports in ["local", "tcp"] {
        let mut pair = pair(transports, 64 << 10);
        pair.remote.fill(9);
        let requests = (0..16)
            .map(|i| pair.request(if i % 2 == 0 { Opcode::Write } else { Opcode::Read }, i * 4096, 4096))
            .collect();
        let before = pair.local.clone();
        assert_eq!(pair.run(requests), None);
        for i in 0..16 {
            let range = i * 4096..(i + 1) * 4096;
            assert!(pair.local[range.clone()] == pair.remote[range.clone()]);
            assert!(
                pair.remote[range.clone()] == if i % 2 == 0 { before[range].to_vec() } else { vec![9; 4096] }
            );
        }
    }
}

#[test]
fn eight_threads_share_one_peer_over_tcp() {
    let pair = Arc::new(pair("tcp", 8 << 20));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let pair = &pair;
            scope.spawn(move || {
                for round in 0..50 {
                    let at = thread << 20;
                    let size = 1 + (round * 4097) % (1 << 20);
                    assert_eq!(pair.run(vec![pair.request(Opcode::Write, at, size)]), None);
                }
            });
        }
    });
}

#[test]
fn memory_registered_after_the_peer_was_met_is_found() {
    for transports in ["local", "tcp"] {
        let pair = pair(transports, 4096);
        let late = vec![0u8; 4096];
        let mut request = pair.request(Opcode::Write, 0, 4096);
        request.remote = late.as_ptr() as u64;
        assert_eq!(pair.run(vec![request]), Some(Code::AddressNotRegistered));
        pair.theirs
            .register_memory(late.as_ptr() as usize, 4096, &MemoryOptions::default())
            .expect("register");
        let mut request = pair.request(Opcode::Write, 0, 4096);
        request.remote = late.as_ptr() as u64;
        assert_eq!(pair.run(vec![request]), None, "{transports}");
        assert!(late == pair.local);
    }
}

#[test]
fn a_read_only_region_refuses_writes() {
    for transports in ["local", "tcp"] {
        let pair = pair(transports, 4096);
        let sealed = vec![1u8; 4096];
        let options = MemoryOptions { permissions: REMOTE_READ, ..Default::default() };
        pair.theirs.register_memory(sealed.as_ptr() as usize, 4096, &options).expect("register");
        for (opcode, expected) in [(Opcode::Write, Some(Code::Permission)), (Opcode::Read, None)] {
            let mut request = pair.request(opcode, 0, 4096);
            request.remote = sealed.as_ptr() as u64;
            assert_eq!(pair.run(vec![request]), expected, "{transports} {opcode:?}");
        }
        assert!(sealed == vec![1u8; 4096]);
    }
}

#[test]
fn a_blob_reaches_its_regions_and_no_others_and_not_their_successors() {
    for transports in ["local", "tcp"] {
        let mut pair = pair(transports, 4096);
        let shown = vec![5u8; 4096];
        let region = pair
            .theirs
            .register_memory(shown.as_ptr() as usize, 4096, &MemoryOptions::default())
            .expect("register");
        let blob = pair.theirs.export(Some(&[region])).expect("export");
        pair.segment = pair.ours.import_segment(&blob).expect("import");
        assert_eq!(pair.run(vec![pair.request(Opcode::Read, 0, 4096)]), Some(Code::AddressNotRegistered));
        let request =
            |pair: &Pair| Request { remote: shown.as_ptr() as u64, ..pair.request(Opcode::Read, 0, 4096) };
        assert_eq!(pair.run(vec![request(&pair)]), None);
        assert!(pair.local == shown);
        pair.theirs.unregister_memory(region, true).expect("unregister");
        pair.theirs
            .register_memory(shown.as_ptr() as usize, 4096, &MemoryOptions::default())
            .expect("register");
        assert_eq!(pair.run(vec![request(&pair)]), Some(Code::AddressNotRegistered), "{transports}");
    }
}

#[test]
fn a_notification_follows_its_data() {
    for transports in ["local", "tcp"] {
        let pair = pair(transports, 1 << 20);
        let notify = Notification::new("done", b"\0x\0", 0).expect("valid");
        let options = BatchOptions { notify: Some(notify), ..Default::default() };
        let request = pair.request(Opcode::Write, 0, 1 << 20);
        let batch = pair.ours.submit([Ok(request)].into_iter(), options).expect("submit");
        let taken =
            pair.theirs.receive_notification(Some("done"), PATIENCE, 16).expect("receive").expect("one came");
        assert_eq!(taken.data.as_deref(), Some(&b"\0x\0"[..]));
        assert!(pair.remote == pair.local);
        assert_eq!(pair.ours.wait(batch, PATIENCE).expect("wait").status, None);
        assert_eq!(taken.sender, pair.ours.info().name);
    }
}

#[test]
fn peers_need_the_same_key() {
    let make = |psk: &[u8]| {
        engine_with(Given { transports: Some("tcp".into()), psk: psk.to_vec(), ..Default::default() })
    };
    let (key, other) = (b"0123456789abcdef", b"fedcba9876543210");
    let pair = pair_of(make(key), make(key), 4096);
    assert_eq!(pair.run(vec![pair.request(Opcode::Write, 0, 4096)]), None);
    pair.ours.notify(Notification::new("t", b"x", pair.segment).expect("valid"), PATIENCE).expect("notify");
    for stranger in [make(other), make(b"")] {
        let result: Result<u64> = stranger.open_segment(&pair.theirs.info().address, PATIENCE);
        assert_eq!(result.expect_err("refused").code, Code::Unauthenticated);
        let result = pair.theirs.open_segment(&stranger.info().address, PATIENCE);
        assert_eq!(result.expect_err("refused").code, Code::Unauthenticated);
    }
}

#[test]
fn nobody_listening_is_unreachable_and_says_who() {
    let ours = engine("tcp");
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("bound").port();
    let error = ours.open_segment(&format!("127.0.0.1:{port}"), PATIENCE).expect_err("nobody is there");
    assert_eq!(error.code, Code::Unreachable);
    assert!(error.message().contains(&port.to_string()), "{error}");
}

#[test]
fn a_peer_that_is_destroyed_ends_transfers_and_its_successor_is_met_without_opening() {
    for transports in ["tcp", "local"] {
        a_successor_is_met(transports);
    }
}

fn a_successor_is_met(transports: &str) {
    let pair = pair(transports, 4096);
    let port = pair.theirs.info().port;
    assert_eq!(pair.run(vec![pair.request(Opcode::Write, 0, 4096)]), None);
    pair.theirs.destroy();
    let failed = pair.run(vec![pair.request(Opcode::Write, 0, 4096)]);
    assert!(matches!(failed, Some(Code::Unreachable | Code::ConnectionLost)), "{failed:?}");
    let successor = engine_with(Given { transports: Some(transports.into()), port, ..Default::default() });
    successor
        .register_memory(pair.remote.as_ptr() as usize, 4096, &MemoryOptions::default())
        .expect("register");
    let mut last = None;
    for _ in 0..3 {
        last = pair.run(vec![pair.request(Opcode::Write, 0, 4096)]);
        if last.is_none() {
            break;
        }
        assert!(matches!(last, Some(Code::PeerRestarted | Code::Unreachable)), "{last:?}");
    }
    assert_eq!(last, None);
    assert!(pair.ours.probe_segment(pair.segment, PATIENCE).expect("probe").has_restarted);
}

#[test]
fn a_prepared_batch_runs_again_and_again() {
    for transports in ["local", "tcp"] {
        let mut pair = pair(transports, 64 << 10);
        let requests: Vec<_> = (0..16).map(|i| Ok(pair.request(Opcode::Write, i * 4096, 4096))).collect();
        let batch = pair.ours.prepare(requests.into_iter(), BatchOptions::default()).expect("prepare");
        for round in 0..20u8 {
            pair.local.fill(round);
            pair.ours.post(batch).expect("post");
            let info = pair.ours.wait(batch, PATIENCE).expect("wait");
            assert!(info.is_done && info.status.is_none());
            assert!(pair.remote.iter().all(|byte| *byte == round), "{transports} round {round}");
        }
    }
}

#[test]
fn a_long_copy_leaves_a_worker_time_for_its_other_work() {
    const LENGTH: usize = 8 << 20;
    let given = Given { transports: Some("local".into()), worker_threads: 1, ..Default::default() };
    let pair = pair_of(engine_with(given), engine("local"), LENGTH);
    // The only worker finds both in its queue: the copy, and what came after it.
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    pair.ours.reactor.run(0, Box::new(move || gate.recv().expect("the gate opens")));
    let requests: Vec<_> = (0..8).map(|_| Ok(pair.request(Opcode::Write, 0, LENGTH))).collect();
    let batch = pair.ours.submit(requests.into_iter(), BatchOptions::default()).expect("submit");
    let counts = pair.ours.metrics.clone();
    let moved = move || counts.snapshot().local.written_bytes;
    pair.ours.reactor.run(0, Box::new(move || tell.send(moved()).expect("somebody listens")));
    open.send(()).expect("the worker waits");
    let moved = told.recv_timeout(Duration::from_secs(20)).expect("its other work");
    assert!(moved < 8 * LENGTH as u64, "the worker did nothing else until all {moved} bytes were copied");
    assert!(pair.ours.wait(batch, PATIENCE).expect("wait").is_done);
    assert!(pair.local == pair.remote);
}
