//! Processes of one host that do not see all of each other: pid and network namespaces.

use std::process::Command;

use mooncake::transport::{Opcode, Outcome};

use crate::world::*;

/// Whether `unshare` may make such a namespace here; prints why a test is skipped where it may not.
fn can_unshare(flags: &[&str]) -> bool {
    let can = Command::new("unshare").args(flags).arg("true").status().is_ok_and(|status| status.success());
    if !can {
        println!("skipped: same host: unshare {} is not allowed here", flags.join(" "));
    }
    can
}

#[test]
fn a_peer_in_a_pid_namespace_below_maps_memory_and_cannot_attach() {
    if !can_unshare(&["--pid", "--fork"]) {
        return;
    }
    let owner = End::new();
    let mut peer = Partner::start_in(&["unshare", "--pid", "--fork", "--kill-child"], "peer");
    peer.tell(&offer_words(owner.id, &owner.host.offer().expect("offer")));
    let refusal = peer.expect("attached")[1..].join(" ");
    assert!(refusal.contains("another pid namespace"), "{refusal}");
    let target = owner.allocate(1 << 20, BOTH);
    peer.tell(&format!("write memfd {} 7", target_words(target)));
    assert_eq!(peer.expect("wrote")[1], "Done");
    assert!(is_filled(target.mem, 7));
}

#[test]
fn an_owner_in_a_pid_namespace_below_is_reached_by_its_translated_pid() {
    if !can_unshare(&["--pid", "--fork"]) {
        return;
    }
    let mut owner = Partner::start_in(&["unshare", "--pid", "--fork", "--kill-child"], "owner");
    let (id, offer) = offer_of(&owner.expect("offer")[1..]);
    owner.expect("mapped");
    let ordinary = target_of(&owner.expect("ordinary")[1..]);
    let peer = End::new();
    let attached = peer.attach(id, &offer).expect("attached");
    let local = vec![5; 1 << 20];
    assert_eq!(transfer(&attached.cma(), Opcode::Write, &local, ordinary), Outcome::Done);
    owner.tell("look 5");
    assert_eq!(owner.expect("saw")[2], "true");
}

#[test]
fn a_peer_in_another_network_namespace_does_not_find_the_socket() {
    if !can_unshare(&["--net"]) {
        return;
    }
    let owner = End::new();
    let mut peer = Partner::start_in(&["unshare", "--net"], "peer");
    peer.tell(&offer_words(owner.id, &owner.host.offer().expect("offer")));
    let refusal = peer.expect("refused")[1..].join(" ");
    assert!(refusal.contains("connecting to a process of this host"), "{refusal}");
}
