//! What goes wrong, and what must not be lost by it.

use super::super::*;
use super::cluster::*;
use crate::error::Code;
use crate::store::object::ReplicateConfig;
use crate::sys::memory::Mem;

#[test]
fn a_new_master_finds_every_object_again() {
    let mut cluster = Cluster::new(3, 32 << 20);
    let store = cluster.client();
    let keys: Vec<Vec<u8>> = (0..50).map(|index| format!("key-{index}").into_bytes()).collect();
    for (index, key) in keys.iter().enumerate() {
        put(&store, key, &bytes(index as u64, 1000 + index * 5000), &PutOptions::default()).expect("room");
    }
    let port = cluster.master.address().port();
    cluster.master.stop();
    cluster.master = start_master(port, false).expect("the same place");
    for (index, key) in keys.iter().enumerate() {
        let fresh = GetOptions { fresh: true, ..Default::default() };
        let got = get_as(&store, key, 300_000, &fresh).expect("not lost");
        assert!(got == bytes(index as u64, 1000 + index * 5000), "object {index}");
    }
    cluster.settle();
    put(&store, b"new", &bytes(1, 100_000), &PutOptions::default()).expect("it serves");
}

#[test]
fn a_replica_on_another_node_is_read_when_one_is_gone() {
    let cluster = Cluster::new(3, 32 << 20);
    let store = cluster.client();
    let config = ReplicateConfig { count: 2, strict_domains: true, ..Default::default() };
    let options = PutOptions { config, ..Default::default() };
    let data = bytes(5, 700_000);
    put(&store, b"k", &data, &options).expect("room");
    let located = store.look_up(&[b"k"], true, store.until(None)).remove(0).expect("there");
    let first = located.replicas[0].stripes[0].node;
    let node = cluster.nodes.iter().find(|node| node.id() == first).expect("one of ours");
    node.stop();
    assert!(get(&store, b"k", data.len()).expect("the other one") == data);
}

#[test]
fn with_the_only_replica_gone_the_reader_is_told_so() {
    let cluster = Cluster::new(3, 32 << 20);
    let store = cluster.client_over("tcp", 1000);
    let config = ReplicateConfig { preferred: vec!["s0".into()], ..Default::default() };
    let options = PutOptions { config, ..Default::default() };
    put(&store, b"k", &bytes(5, 700_000), &options).expect("room");
    cluster.nodes[0].stop();
    let options = GetOptions { deadline: Some(std::time::Duration::from_secs(3)), ..Default::default() };
    let lost = get_as(&store, b"k", 700_000, &options).expect_err("gone");
    assert!(
        matches!(
            lost.code(),
            Code::Unreachable | Code::ConnectionLost | Code::NotFound | Code::LeaseExpired | Code::Timeout
        ),
        "{:?}",
        lost.error
    );
    wait_until("the object to be known as lost", || {
        let result = get(&store, b"k", 700_000);
        result.is_err_and(|failure| failure.code() == Code::NotFound)
    });
}

/// Sums are made by whichever path moves the bytes: none may be taken for what it is not.
#[test]
fn worn_bytes_are_noticed_whichever_way_they_came() {
    let cluster = Cluster::new(1, 64 << 20);
    for transports in ["local", "memfd", "cma", "tcp"] {
        let store = cluster.client_over(transports, 0);
        for (key, size) in [(&b"small"[..], 5000), (b"odd", 100_001), (b"large", 3 << 20)] {
            let data = bytes(5, size);
            put(&store, key, &data, &PutOptions { upsert: true, ..Default::default() }).expect("room");
            assert!(get(&store, key, size).expect("as it was put") == data, "{size} bytes by {transports}");
            let located = store.look_up(&[key], true, store.until(None)).remove(0).expect("there");
            cluster.nodes[0].damage(&located.replicas[0].stripes[0]);
            let worn = get(&store, key, size).expect_err("the only one is worn");
            assert!(matches!(worn.code(), Code::Corrupted | Code::NotFound), "{size} bytes by {transports}");
        }
    }
}

#[test]
fn a_worn_replica_is_noticed_by_its_reader_and_never_read_again() {
    let cluster = Cluster::new(3, 32 << 20);
    let store = cluster.client();
    let config = ReplicateConfig { count: 2, strict_domains: true, ..Default::default() };
    let options = PutOptions { config, ..Default::default() };
    let data = bytes(5, 700_000);
    put(&store, b"two", &data, &options).expect("room");
    put(&store, b"one", &data, &PutOptions::default()).expect("room");
    for key in [&b"two"[..], b"one"] {
        let located = store.look_up(&[key], true, store.until(None)).remove(0).expect("there");
        let first = &located.replicas[0].stripes[0];
        let node = cluster.nodes.iter().find(|node| node.id() == first.node).expect("one of ours");
        node.damage(first);
    }
    assert!(get(&store, b"two", data.len()).expect("the other replica") == data);
    let lost = get(&store, b"one", data.len()).expect_err("the only one is worn");
    assert!(matches!(lost.code(), Code::Corrupted | Code::NotFound), "{:?}", lost.error);
    wait_until("the master to know", || {
        let known = store.exists(&[b"two", b"one"], false, None);
        known[0].as_ref().is_ok_and(|one| one.replicas == 1)
            && known[1].as_ref().is_err_and(|failure| failure.code() == Code::NotFound)
    });
    assert!(get(&store, b"two", data.len()).expect("as before") == data);
}

#[test]
fn a_writer_whose_grant_was_taken_back_is_told_so_and_not_that_its_memory_is_wrong() {
    let cluster = Cluster::new(1, 32 << 20);
    let store = cluster.client_over("tcp", 0);
    let data = bytes(5, 700_000);
    let until = store.until(None);
    let (mut granted, _) = store.put_start(&[(b"k", data.len() as u64)], &PutOptions::default(), until);
    store.open_all(&mut granted, until);
    assert!(granted[0].failure.is_none(), "{:?}", granted[0].failure);
    wait_until("the grant to run out, and its memory to be free", || {
        cluster.nodes[0].usage().free == cluster.nodes[0].usage().capacity
    });
    let pieces = [crate::sys::memory::Mem::of(&data)];
    let borrowed = super::super::memory::Borrowed::new(store.engine(), pieces.into_iter()).expect("memory");
    store.write_part(&mut granted[0], 0, &pieces, store.until(None));
    drop(borrowed);
    let failure = granted[0].failure.clone().expect("too late");
    assert_eq!(failure.code(), Code::Canceled, "{}", failure.error);
}

#[test]
fn a_walk_that_began_at_another_master_is_not_gone_on_with() {
    let mut cluster = Cluster::new(3, 32 << 20);
    let store = cluster.client();
    for index in 0..20 {
        put(&store, format!("key-{index}").as_bytes(), &[1], &PutOptions::default()).expect("room");
    }
    let (first, next) = store.list(&Matching::default(), None, 3, None).expect("a page");
    assert!(first.len() == 3 && next.is_some());
    let port = cluster.master.address().port();
    cluster.master.stop();
    cluster.master = start_master(port, false).expect("the same place");
    cluster.settle();
    let refused = store.list(&Matching::default(), next, 3, None).expect_err("of another master");
    assert_eq!(refused.code(), Code::PeerRestarted);
    assert_eq!(store.remove_where(&Matching::default(), false, None).expect("swept").removed, 20);
}

#[test]
fn what_one_operation_borrowed_does_not_count_for_another() {
    let cluster = Cluster::new(1, 8 << 20);
    let store = cluster.client();
    let buffer = vec![7u8; 100_000];
    let (whole, part) = (Mem::of(&buffer), Mem::of(&buffer[1000..2000]));
    let first = memory::Borrowed::new(&store.engine, [whole].into_iter()).expect("registered");
    let second = memory::Borrowed::new(&store.engine, [part].into_iter()).expect("registered");
    drop(first);
    assert!(store.engine.memory.find(part.address(), part.len(), 0).is_ok(), "still in use");
    drop(second);
    assert!(store.engine.memory.find(part.address(), part.len(), 0).is_err(), "the caller's again");
}

#[test]
fn an_operation_that_was_refused_is_not_told_of() {
    let cluster = Cluster::new(1, 8 << 20);
    let store = cluster.client();
    let queue = store.engine.create_cq(2).expect("a queue");
    store.in_background(queue, 5, |_| Ok(3)).expect("begun");
    let told = |store: &Store| {
        let mut told = Vec::new();
        let wait = Some(std::time::Duration::from_secs(20));
        store
            .engine
            .take_completions(queue, wait, 8, &mut |one| told.push((one.user_data, one.length)))
            .expect("a queue");
        told
    };
    assert_eq!(told(&store), [(5, 3)]);
    store.close();
    store.in_background(queue, 6, |_| Ok(3)).expect_err("closed");
    // All of its room is free again.
    store.engine.queue(queue).expect("it is there").promise(2).expect("nothing is promised any more");
}
