//! What is copied, and what is refused, when both sides behave.

use std::os::fd::AsRawFd;

use mooncake::error::Code;
use mooncake::segment::memory::{MemoryOptions, REMOTE_READ, REMOTE_WRITE};
use mooncake::sys::mmap::Mapping;
use mooncake::telemetry::metrics::Path as Kind;
use mooncake::transport::{Opcode, Outcome};

use crate::world::*;

/// An owner and a peer that is attached to it.
fn pair() -> (End, End, Attached) {
    let (owner, peer) = (End::new(), End::new());
    let attached = peer.attach(owner.id, &owner.host.offer().expect("offer")).expect("attached");
    (owner, peer, attached)
}

#[test]
fn bytes_are_read_and_written_over_both_paths_and_counted_at_both_ends() {
    let (owner, peer, attached) = pair();
    let mapped = owner.allocate(100_000, BOTH);
    let ordinary = owner.register(lasting(100_000, 0));
    for (path, kind, target) in [
        (attached.memfd(), Kind::Memfd, mapped),
        (attached.cma(), Kind::Cma, ordinary),
        (attached.cma(), Kind::Cma, mapped),
    ] {
        target.mem.fill(3);
        let mut local = vec![0; 70_000];
        let before = peer.metrics.path(kind).read_bytes.get();
        assert_eq!(transfer(&path, Opcode::Read, &local, target), Outcome::Done);
        assert!(std::hint::black_box(&mut local).iter().all(|byte| *byte == 3));
        local.fill(9);
        assert_eq!(transfer(&path, Opcode::Write, &local, target), Outcome::Done);
        assert!(is_filled(target.mem.part(0, 70_000), 9));
        assert!(is_filled(target.mem.part(70_000, 30_000), 3), "beyond the range");
        assert_eq!(peer.metrics.path(kind).read_bytes.get() - before, 70_000);
    }
    owner.host.collect();
    owner.host.collect();
    for (kind, bytes) in [(Kind::Memfd, 70_000), (Kind::Cma, 140_000)] {
        let (ours, theirs) = (peer.metrics.path(kind), owner.metrics.path(kind));
        assert_eq!((ours.read_bytes.get(), theirs.served_read_bytes.get()), (bytes, bytes));
        assert_eq!((ours.written_bytes.get(), theirs.served_written_bytes.get()), (bytes, bytes));
    }
}

#[test]
fn scattered_slices_of_several_regions_arrive_where_they_belong() {
    let (owner, _peer, attached) = pair();
    let targets: Vec<Target> = (0..5).map(|_| owner.register(lasting(64 << 10, 0))).collect();
    let pieces: Vec<Vec<u8>> = (0..100).map(|index| vec![index as u8 + 1; 100 + index]).collect();
    let place = |index: usize| (targets[index / 20], (index % 20) * 3000);
    let slices = pieces.iter().enumerate().map(|(index, piece)| {
        let (target, offset) = place(index);
        slice(Opcode::Write, piece, target, offset)
    });
    let outcomes = Job::new(slices.collect()).submit(&attached.cma()).wait();
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done), "{outcomes:?}");
    for (index, piece) in pieces.iter().enumerate() {
        let (target, offset) = place(index);
        assert!(is_filled(target.mem.part(offset, piece.len()), piece[0]), "piece {index}");
        assert!(
            is_filled(target.mem.part(offset + piece.len(), 3000 - piece.len()), 0),
            "behind piece {index}"
        );
    }
}

#[test]
fn a_region_that_peers_may_only_read_refuses_writes_even_to_who_maps_it_anew() {
    let (owner, _peer, attached) = pair();
    let target = owner.allocate(8192, REMOTE_READ);
    let local = vec![7; 4096];
    assert_eq!(transfer(&attached.memfd(), Opcode::Read, &local, target), Outcome::Done);
    for path in [attached.memfd(), attached.cma()] {
        assert_eq!(transfer(&path, Opcode::Write, &local, target), Outcome::Failed(Code::Permission));
    }
    let region = owner.memory.get(target.id).expect("live");
    let file = &region.allocation.as_ref().expect("allocated").file;
    assert!(Mapping::of_file(file, 8192, true).is_err(), "mapped writable");
    let again = std::fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()));
    if let Ok(again) = again {
        assert!(Mapping::of_file(&again.into(), 8192, true).is_err(), "opened anew and mapped writable");
    }
}

#[test]
fn a_region_that_peers_may_only_write_is_not_mapped_because_mappings_can_be_read() {
    let (owner, _peer, attached) = pair();
    let target = owner.allocate(8192, REMOTE_WRITE);
    let local = vec![7; 4096];
    assert_eq!(transfer(&attached.memfd(), Opcode::Write, &local, target), Outcome::Reroute);
    assert_eq!(transfer(&attached.cma(), Opcode::Write, &local, target), Outcome::Done);
    assert_eq!(transfer(&attached.cma(), Opcode::Read, &local, target), Outcome::Failed(Code::Permission));
}

#[test]
fn ranges_outside_of_a_region_are_refused() {
    let (owner, _peer, attached) = pair();
    let target = owner.allocate(4096, BOTH);
    let local = [0; 4096];
    for path in [attached.memfd(), attached.cma()] {
        let outside =
            Job::new(vec![slice(Opcode::Write, &local, target, 0), slice(Opcode::Write, &local, target, 1)]);
        let outcomes = outside.submit(&path).wait();
        assert_eq!(outcomes, [Outcome::Done, Outcome::Failed(Code::AddressNotRegistered)]);
    }
}

#[test]
fn a_key_of_an_earlier_registration_reaches_nothing() {
    let (owner, peer, attached) = pair();
    let bytes = lasting(4096, 1);
    let range = (bytes.as_mut_ptr() as usize, bytes.len());
    let stale = owner.register(bytes);
    let local = [9; 4096];
    assert_eq!(transfer(&attached.cma(), Opcode::Write, &local, stale), Outcome::Done);
    owner.memory.unregister(stale.id, true).expect("nobody is inside");
    let fresh = owner.memory.register(range.0, range.1, &MemoryOptions::default()).expect("register");
    let fresh = owner.target(fresh);
    fresh.mem.fill(1);
    let newcomer = peer.attach(owner.id, &owner.host.offer().expect("offer")).expect("attached");
    for path in [attached.cma(), newcomer.cma()] {
        let refused = Outcome::Failed(Code::AddressNotRegistered);
        assert_eq!(transfer(&path, Opcode::Write, &local, stale), refused);
        assert!(is_filled(fresh.mem, 1), "written with a stale key");
    }
    assert_eq!(transfer(&attached.cma(), Opcode::Write, &local, fresh), Outcome::Done);
}

#[test]
fn local_only_memory_is_not_opened() {
    let (owner, _peer, attached) = pair();
    let target = owner.allocate(4096, 0);
    let refused = Outcome::Failed(Code::Permission);
    assert_eq!(transfer(&attached.memfd(), Opcode::Read, &[0; 100], target), refused);
}

#[test]
fn more_regions_than_a_control_page_holds_go_another_way() {
    let (owner, _peer, attached) = pair();
    let bytes = lasting(8192, 0);
    let ranges: Vec<(usize, usize)> = (0..4100).map(|index| (bytes.as_ptr() as usize + index, 64)).collect();
    let ids = owner.memory.register_batch(&ranges, &MemoryOptions::default());
    let targets: Vec<Target> = ids.into_iter().map(|id| owner.target(id.expect("registered"))).collect();
    let (path, local) = (attached.cma(), lasting(64, 0));
    let outcomes: Vec<Outcome> =
        targets.iter().map(|target| transfer(&path, Opcode::Read, local, *target)).collect();
    assert_eq!(outcomes[..4096].iter().position(|outcome| *outcome != Outcome::Done), None, "{outcomes:?}");
    assert!(outcomes[4096..].iter().all(|outcome| *outcome == Outcome::Reroute), "{:?}", &outcomes[4096..]);
    owner.memory.unregister(targets[5].id, true).expect("unregister");
    let late = owner.register(lasting(64, 0));
    assert_eq!(transfer(&path, Opcode::Read, local, late), Outcome::Done, "a slot that was given back");
}

#[test]
fn a_stopped_batch_is_not_copied() {
    let (owner, _peer, attached) = pair();
    let target = owner.allocate(4096, BOTH);
    let job = std::sync::Arc::new(Job::new(vec![slice(Opcode::Write, &[9; 4096], target, 0)]));
    job.stop(&attached.memfd(), Code::Timeout);
    let run = mooncake::transport::Run { owner: job.clone(), epoch: 1, first: 0, count: 1 };
    attached.memfd().submit(run);
    assert_eq!(job.wait(), [Outcome::Failed(Code::Timeout)]);
    assert!(is_filled(target.mem, 0));
}

#[test]
fn a_peer_lets_go_of_memory_that_was_freed() {
    let (owner, _peer, attached) = pair();
    let target = owner.allocate(1 << 20, BOTH);
    assert_eq!(transfer(&attached.memfd(), Opcode::Write, &[9; 4096], target), Outcome::Done);
    let mappings =
        || std::fs::read_to_string("/proc/self/maps").expect("maps").matches("memfd:mooncake ").count();
    let region = owner.memory.get(target.id).expect("live");
    let inode = std::fs::metadata(format!(
        "/proc/self/fd/{}",
        region.allocation.as_ref().expect("file").file.as_raw_fd()
    ))
    .map(|file| std::os::unix::fs::MetadataExt::ino(&file))
    .expect("open");
    drop(region);
    assert!(mappings() >= 2);
    owner.memory.free(target.id, true).expect("free");
    let is_mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
        maps.lines().any(|line| line.split_whitespace().nth(4) == Some(inode.to_string().as_str()))
    };
    let started = std::time::Instant::now();
    while is_mapped() {
        assert!(started.elapsed() < HANG, "still mapped");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
