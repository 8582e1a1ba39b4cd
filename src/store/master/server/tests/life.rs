//! Masters that come and go.

use super::*;

#[test]
fn nodes_are_found_by_those_who_ask_the_master() {
    let world = World::new(2, "");
    let master = world.master();
    let line = world.caller(&master);
    world.serving(&line);
    let contacts = line.ask(&Contacts { nodes: vec![3, 99, 2] }).expect("an answer").contacts;
    let found: Vec<(u64, String)> = contacts.into_iter().map(|one| (one.node, one.address)).collect();
    let address = |index: usize| world.nodes[index].1.address().to_string();
    assert_eq!(found, [(3, address(1)), (2, address(0))]);
}

#[test]
fn processes_of_the_host_find_a_master_under_its_local_name() {
    let world = World::new(1, "0123456789abcdef");
    let master = world.master();
    let tcp = world.caller(&master);
    let local = tcp.ask(&Greet {}).expect("an answer").local;
    let terms = Terms { service: MASTER_SERVICE, psk: world.psk.clone() };
    let line = Line(Client::new(&world.reactor, 0, Address::Local(local), terms));
    world.serving(&line);
    world.put(&line, &[b"a"], 1);
    assert_eq!(tcp.exists(&[b"a"]).statuses, [0]);
    let stranger = Terms { service: MASTER_SERVICE, psk: None };
    let stranger = Line(Client::new(&world.reactor, 0, Address::Tcp(master.address()), stranger));
    assert_eq!(stranger.ask(&Greet {}).expect_err("no key").code, Code::Unauthenticated);
}

#[test]
fn a_master_that_starts_after_another_died_finds_what_was_put() {
    let world = World::new(3, "");
    let master = world.master();
    let line = world.caller(&master);
    world.serving(&line);
    let names: Vec<String> = (0..50).map(|number| format!("key {number}")).collect();
    let keys: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
    let versions = world.put(&line, &keys, 2);
    let epoch = line.ask(&Greet {}).expect("an answer").epoch;
    master.stop();
    assert!(line.ask(&Greet {}).is_err());

    let next = world.master();
    let line = world.caller(&next);
    assert_eq!(line.get(&keys[..1])[0].as_ref().expect_err("nobody reported"), &Code::NotReady);
    world.serving(&line);
    let found = line.get(&keys);
    let found: Vec<u64> = found.into_iter().map(|one| one.expect("found again").version).collect();
    assert_eq!(found, versions);
    assert_eq!(line.commit(&keys, &versions), vec![None; 50], "the answers were lost with the master");
    assert!(line.ask(&Greet {}).expect("an answer").epoch > epoch);
}

#[test]
fn a_second_master_fences_the_first() {
    let world = World::new(3, "");
    let first = world.master();
    let line = world.caller(&first);
    world.serving(&line);
    world.put(&line, &[b"a"], 1);
    let second = world.master();
    let other = world.caller(&second);
    world.serving(&other);
    world.until("the first one stops by itself", &other, || {
        line.get(&[b"a"])[0].as_ref().err() == Some(&Code::NotReady)
    });
    world.until("it has heard of the other", &other, || first.with(|state, _| state.is_deposed()));
    assert!(other.get(&[b"a"])[0].is_ok());
    assert!(line.start(&[b"b"], 1, false)[0].failed.is_some());
}
