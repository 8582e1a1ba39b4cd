//! How memory is taken back from peers that are in the middle of something.

use mooncake::error::Code;

use crate::world::*;

const STOPPED: char = 'T';

/// An owner, and a peer in another process that is attached to it.
fn pair() -> (End, Partner) {
    let owner = End::new();
    let mut peer = Partner::start("peer");
    peer.tell(&offer_words(owner.id, &owner.host.offer().expect("offer")));
    assert_eq!(peer.expect("attached")[1], "none", "cross-memory attach works");
    (owner, peer)
}

/// A region for each path.
fn targets(owner: &End) -> [(&'static str, Target); 2] {
    [("memfd", owner.allocate(1 << 20, BOTH)), ("cma", owner.register(lasting(1 << 20, 0)))]
}

fn take_back(owner: &End, target: Target, wait: bool) -> mooncake::error::Result<()> {
    let is_allocated = owner.memory.get(target.id).expect("live").allocation.is_some();
    if is_allocated { owner.memory.free(target.id, wait) } else { owner.memory.unregister(target.id, wait) }
}

#[test]
fn memory_that_was_taken_back_is_not_written_by_a_peer_that_copies_on() {
    let (owner, mut peer) = pair();
    for (path, target) in targets(&owner) {
        peer.tell(&format!("write-on {path} {} 7", target_words(target)));
        peer.expect("writing");
        // Freed memory is gone; what the application registered is its own again.
        let is_ordinary = path == "cma";
        take_back(&owner, target, true).expect("copies under way are waited for");
        if is_ordinary {
            target.mem.fill(1);
        }
        assert_eq!(peer.expect("ended")[1], "Failed(AddressNotRegistered)");
        assert!(!is_ordinary || is_filled(target.mem, 1), "{path}: written after it was taken back");
    }
}

#[test]
fn a_peer_that_was_stopped_in_a_copy_makes_the_region_busy_until_it_goes_on() {
    let (owner, mut peer) = pair();
    for (path, target) in targets(&owner) {
        peer.tell(&format!("stop-in-copy {path} {} 7", target_words(target)));
        peer.wait_for_state(STOPPED);
        let error = take_back(&owner, target, false).expect_err("in the middle of a copy");
        assert_eq!(error.code, Code::Busy);
        assert!(error.message().contains(&format!("process {}", peer.pid())), "{error}");
        assert!(owner.memory.get(target.id).is_ok(), "still registered");
        peer.signal(libc::SIGCONT);
        assert_eq!(peer.expect("wrote")[1], "Done");
        assert!(is_filled(target.mem, 7));
        peer.tell(&format!("write {path} {} 8", target_words(target)));
        assert_eq!(peer.expect("wrote")[1], "Done", "{path}: open again after BUSY");
        take_back(&owner, target, true).expect("nobody is inside");
    }
}

#[test]
fn a_peer_that_was_killed_in_a_copy_holds_nothing() {
    for index in 0..2 {
        let (owner, mut peer) = pair();
        let (path, target) = targets(&owner)[index];
        peer.tell(&format!("die-in-copy {path} {} 7", target_words(target)));
        take_back(&owner, target, true).expect("dead peers hold nothing");
    }
}

#[test]
fn a_peer_that_was_stopped_and_then_killed_is_waited_for_no_longer() {
    let (owner, mut peer) = pair();
    let (path, target) = targets(&owner)[1];
    peer.tell(&format!("stop-in-copy {path} {} 7", target_words(target)));
    peer.wait_for_state(STOPPED);
    let waiter = std::thread::spawn(move || {
        let result = take_back(&owner, target, true);
        (owner, result)
    });
    peer.signal(libc::SIGKILL);
    let (_owner, result) = waiter.join().expect("no panic");
    result.expect("the peer died");
}

#[test]
fn closing_a_side_ends_the_access_of_its_peers() {
    let (owner, mut peer) = pair();
    let (path, target) = targets(&owner)[1];
    peer.tell(&format!("write {path} {} 7", target_words(target)));
    assert_eq!(peer.expect("wrote")[1], "Done");
    owner.memory.close();
    target.mem.fill(1);
    peer.tell(&format!("write {path} {} 7", target_words(target)));
    assert_ne!(peer.expect("wrote")[1], "Done");
    assert!(is_filled(target.mem, 1));
}
