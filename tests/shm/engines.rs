//! Whole engines on one host: which path they take, and what they do when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use mooncake::config::{Config, Given};
use mooncake::engine::Engine;
use mooncake::engine::batch::{BatchInfo, BatchOptions, Local, Request};
use mooncake::error::Code;
use mooncake::segment::memory::MemoryOptions;
use mooncake::telemetry::metrics::Path as Kind;
use mooncake::transport::Opcode;

use crate::world::*;

static NEXT_TAG: AtomicU16 = AtomicU16::new(1);
/// Large enough for several slices that are shared between threads.
const LENGTH: usize = (3 << 20) + 77;

fn engine(transports: &str) -> Arc<Engine> {
    let given = Given {
        bind_address: Some("127.0.0.1".into()),
        transports: Some(transports.into()),
        no_environment: true,
        ..Default::default()
    };
    let config = Config::load(given).expect("a valid configuration");
    Engine::create(config, NEXT_TAG.fetch_add(1, Ordering::Relaxed)).expect("an engine")
}

/// The part of an engine with one region that can be mapped and one that cannot, both filled with 1.
pub fn play_engine() {
    let engine = engine("memfd,cma,tcp");
    let (mapped, _) = engine.memory.allocate(LENGTH, &MemoryOptions::default()).expect("memory");
    engine.memory.find(mapped, 1, 0).expect("registered").mem.fill(1);
    let ordinary = lasting(LENGTH, 1);
    let ordinary_address = ordinary.as_ptr() as usize;
    let id = engine.register_memory(ordinary_address, LENGTH, &MemoryOptions::default()).expect("register");
    say(&format!("engine {} {mapped} {ordinary_address}", engine.info().address));
    while let Some(words) = listen() {
        match words[0].as_str() {
            // The same memory under another registration: what peers knew of it is void.
            "renew" => {
                engine.memory.unregister(id, true).expect("unregister");
                engine
                    .register_memory(ordinary_address, LENGTH, &MemoryOptions::default())
                    .expect("register");
                say("renewed");
            }
            "served" => {
                let stats = engine.stats();
                let served = |kind| {
                    let path = stats.path(kind);
                    format!("{} {}", path.served_read_bytes, path.served_written_bytes)
                };
                say(&format!("served {} {} {}", served(Kind::Memfd), served(Kind::Cma), served(Kind::Tcp)));
            }
            other => panic!("cannot {other}"),
        }
    }
}

/// An engine here and one in another process, with the segment that leads there.
struct Pair {
    ours: Arc<Engine>,
    theirs: Partner,
    segment: u64,
    local: &'static mut [u8],
    mapped: u64,
    ordinary: u64,
}

fn pair(transports: &str) -> Pair {
    let mut theirs = Partner::start("engine");
    let words = theirs.expect("engine");
    let address = |at: usize| words[at].parse().expect("an address");
    let (mapped, ordinary) = (address(2), address(3));
    let ours = engine(transports);
    let local = lasting(LENGTH, 0);
    ours.register_memory(local.as_ptr() as usize, LENGTH, &MemoryOptions::default()).expect("register");
    let segment = ours.open_segment(&words[1], Some(HANG)).expect("open");
    Pair { ours, theirs, segment, local, mapped, ordinary }
}

impl Pair {
    fn start(&self, opcode: Opcode, remote: u64, deadline: Duration) -> u64 {
        let request = Request {
            opcode,
            segment: self.segment,
            remote,
            length: LENGTH as u64,
            local: Local::Contiguous(self.local.as_ptr() as usize),
            user_data: 0,
        };
        let options = BatchOptions { deadline: Some(deadline), ..BatchOptions::default() };
        self.ours.submit([Ok(request)].into_iter(), options).expect("submit")
    }

    fn run(&self, opcode: Opcode, remote: u64) -> BatchInfo {
        let batch = self.start(opcode, remote, HANG);
        let info = self.ours.wait(batch, Some(HANG)).expect("wait");
        assert!(info.is_done, "the batch did not end");
        self.ours.release(batch).expect("release");
        info
    }

    /// Moves the bytes there and back, and checks them.
    fn round_trip(&mut self, remote: u64, byte: u8) {
        self.local.fill(byte);
        assert_eq!(self.run(Opcode::Write, remote).status, None);
        self.local.fill(0);
        assert_eq!(self.run(Opcode::Read, remote).status, None);
        assert!(self.local.iter().all(|each| *each == byte));
    }

    fn served(&mut self) -> Vec<u64> {
        self.theirs.tell("served");
        self.theirs.expect("served")[1..].iter().map(|word| word.parse().expect("a number")).collect()
    }
}

#[test]
fn allocated_memory_is_mapped_and_other_memory_is_copied_by_the_kernel() {
    let mut pair = pair("memfd,cma,tcp");
    pair.round_trip(pair.mapped, 7);
    pair.round_trip(pair.ordinary, 8);
    let bytes = LENGTH as u64;
    let stats = pair.ours.stats();
    for kind in [Kind::Memfd, Kind::Cma] {
        assert_eq!((stats.path(kind).read_bytes, stats.path(kind).written_bytes), (bytes, bytes), "{kind:?}");
    }
    assert_eq!(pair.served(), [bytes, bytes, bytes, bytes, 0, 0]);
    assert_eq!(pair.ours.segment_info(pair.segment).expect("open").path, "cma");
    let regions = pair.ours.segment_regions(pair.segment).expect("met");
    let paths: Vec<&str> = regions.iter().map(|region| region.path).collect();
    assert_eq!(paths, ["memfd", "cma"]);
}

#[test]
fn what_is_not_allowed_is_not_used() {
    let bytes = LENGTH as u64;
    for (transports, served) in [
        ("memfd,tcp", [bytes, bytes, 0, 0, bytes, bytes]),
        ("cma,tcp", [0, 0, 2 * bytes, 2 * bytes, 0, 0]),
        ("tcp", [0, 0, 0, 0, 2 * bytes, 2 * bytes]),
    ] {
        let mut pair = pair(transports);
        pair.round_trip(pair.mapped, 7);
        pair.round_trip(pair.ordinary, 8);
        assert_eq!(pair.served(), served, "{transports}");
    }
}

#[test]
fn memory_that_was_registered_anew_is_found_without_the_caller_noticing() {
    let mut pair = pair("memfd,cma,tcp");
    pair.round_trip(pair.ordinary, 7);
    pair.theirs.tell("renew");
    pair.theirs.expect("renewed");
    pair.round_trip(pair.ordinary, 8);
}

#[test]
fn a_killed_peer_ends_transfers_with_its_loss() {
    let mut pair = pair("memfd,cma,tcp");
    pair.round_trip(pair.mapped, 7);
    pair.theirs.signal(libc::SIGKILL);
    pair.theirs.wait_for_state('Z');
    // Mapped pages outlive their owner, for as long as its end was not noticed.
    let started = std::time::Instant::now();
    let status = loop {
        let batch = pair.start(Opcode::Read, pair.mapped, Duration::from_secs(3));
        let info = pair.ours.wait(batch, Some(HANG)).expect("wait");
        assert!(info.is_done && started.elapsed() < HANG);
        if let Some(status) = info.status {
            break status;
        }
    };
    assert!(matches!(status, Code::Unreachable | Code::ConnectionLost | Code::Timeout), "{status:?}");
}

#[test]
fn threads_share_one_neighbour() {
    let pair = pair("memfd,cma,tcp");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(pair.run(Opcode::Read, pair.mapped).status, None);
                    assert_eq!(pair.run(Opcode::Read, pair.ordinary).status, None);
                }
            });
        }
    });
    assert!(pair.local.iter().all(|byte| *byte == 1));
    let stats = pair.ours.stats();
    assert_eq!((stats.memfd.read_bytes, stats.cma.read_bytes), (80 * LENGTH as u64, 80 * LENGTH as u64));
}
