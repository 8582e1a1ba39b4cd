//! What a peer experiences with an owner that dies, sleeps, or takes its memory away.

use mooncake::error::Code;
use mooncake::transport::{Opcode, Outcome};

use crate::world::*;

/// A side that is attached to an owner in another process, and that owner's regions: mapped, ordinary.
fn pair() -> (End, Partner, Attached, [Target; 2]) {
    let mut owner = Partner::start("owner");
    let (id, offer) = offer_of(&owner.expect("offer")[1..]);
    let targets = [target_of(&owner.expect("mapped")[1..]), target_of(&owner.expect("ordinary")[1..])];
    let peer = End::new();
    let attached = peer.attach(id, &offer).expect("attached");
    (peer, owner, attached, targets)
}

#[test]
fn bytes_reach_an_owner_in_another_process() {
    let (_peer, mut owner, attached, [mapped, ordinary]) = pair();
    let local = vec![5; 1 << 20];
    assert_eq!(transfer(&attached.memfd(), Opcode::Write, &local, mapped), Outcome::Done);
    assert_eq!(transfer(&attached.cma(), Opcode::Write, &local, ordinary), Outcome::Done);
    owner.tell("look 5");
    assert_eq!(owner.expect("saw")[1..], ["true", "true"]);
}

#[test]
fn memory_that_the_owner_took_back_is_an_error() {
    let (_peer, mut owner, attached, [mapped, ordinary]) = pair();
    let local = vec![5; 1 << 20];
    for (path, target) in [(attached.memfd(), mapped), (attached.cma(), ordinary)] {
        assert_eq!(transfer(&path, Opcode::Write, &local, target), Outcome::Done);
    }
    owner.tell("free");
    owner.expect("freed");
    for (path, target) in [(attached.memfd(), mapped), (attached.cma(), ordinary)] {
        let refused = Outcome::Failed(Code::AddressNotRegistered);
        assert_eq!(transfer(&path, Opcode::Write, &local, target), refused);
    }
}

#[test]
fn memory_that_the_owner_unmapped_without_unregistering_is_an_error_that_names_it() {
    let (_peer, mut owner, attached, [_, ordinary]) = pair();
    owner.tell("unmap");
    owner.expect("unmapped");
    let local = [5; 4096];
    let job = Job::new(vec![slice(Opcode::Write, &local, ordinary, 0)]).submit(&attached.cma());
    assert_eq!(job.wait(), [Outcome::Failed(Code::Io)]);
    let named = format!("{:#x} of engine", ordinary.mem.address());
    assert!(job.details().contains(&named), "{}", job.details());
    assert!(attached.attachment.is_alive());
}

#[test]
fn transfers_from_a_killed_owner_are_sent_another_way() {
    let (_peer, owner, attached, targets) = pair();
    let local = vec![0; 4096];
    for (path, target) in [(attached.memfd(), targets[0]), (attached.cma(), targets[1])] {
        assert_eq!(transfer(&path, Opcode::Read, &local, target), Outcome::Done);
    }
    let paths = [attached.memfd(), attached.cma()];
    drop(owner);
    attached.wait_until_lost();
    for (path, target) in paths.iter().zip(targets) {
        assert_eq!(transfer(path, Opcode::Read, &local, target), Outcome::Reroute);
    }
    assert!(!attached.attachment.is_alive());
}

#[test]
fn an_owner_killed_in_the_middle_of_a_copy_does_not_kill_its_peer() {
    for index in 0..2 {
        let (_peer, owner, attached, targets) = pair();
        let path = if index == 0 { attached.memfd() } else { attached.cma() };
        let local = vec![0; 1 << 20];
        assert_eq!(transfer(&path, Opcode::Read, &local, targets[index]), Outcome::Done);
        let (pid, owner) = (owner.pid(), std::sync::Mutex::new(Some(owner)));
        let job = Job::new(vec![slice(Opcode::Read, &local, targets[index], 0)]).in_copy(move || {
            assert!(pid > 0);
            drop(owner.lock().expect("not poisoned").take());
        });
        // Mapped pages outlive their owner; the kernel finds no process to copy from.
        let expected = [Outcome::Done, Outcome::Reroute][index];
        assert_eq!(job.submit(&path).wait(), [expected]);
    }
}

#[test]
fn a_transfer_that_waits_for_a_sleeping_owner_can_be_stopped_and_later_ones_go_another_way() {
    let (_peer, owner, attached, targets) = pair();
    owner.signal(libc::SIGSTOP);
    owner.wait_for_state('T');
    let path = attached.memfd();
    let local = vec![0; 4096];
    let job = Job::new(vec![slice(Opcode::Read, &local, targets[0], 0)]).submit(&path);
    assert!(!job.is_done());
    std::thread::sleep(std::time::Duration::from_millis(600));
    job.stop(&path, Code::Timeout);
    assert_eq!(job.wait(), [Outcome::Failed(Code::Timeout)]);
    attached.wait_until_lost();
    assert_eq!(transfer(&path, Opcode::Read, &local, targets[0]), Outcome::Reroute);
    owner.signal(libc::SIGCONT);
}
