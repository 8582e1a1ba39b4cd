//! Layer by layer.

use super::super::*;
use super::cluster::*;
use crate::error::Code;
use crate::store::object::ReplicateConfig;
use crate::sys::memory::Mem;

#[test]
fn an_object_is_written_and_read_layer_by_layer() {
    let cluster = Cluster::new(2, 64 << 20);
    let store = cluster.client();
    let data = bytes(3, 1_000_000);
    let config = ReplicateConfig { count: 2, stripe_size: 300_000, ..Default::default() };
    let options = PutOptions { config, ..Default::default() };
    let (session, begun) = PutSession::begin(&store, &[(b"k", data.len() as u64), (b"", 1)], &options);
    assert!(begun[0].is_ok() && begun[1].is_err());
    let layers: Vec<(usize, usize)> = (0..10).map(|layer| (layer * 100_000, 100_000)).collect();
    for (offset, length) in layers.iter().rev() {
        session.write(0, *offset as u64, &[Mem::of(&data[*offset..offset + length])], None).expect("written");
        if *offset > 0 {
            let early = session.commit(0, None).expect_err("not all of it");
            assert_eq!(early.code(), Code::InvalidState);
        }
    }
    assert_eq!(get(&store, b"k", data.len()).map_err(|one| one.code()), Err(Code::NotFound));
    let overlap = session.write(0, 50, &[Mem::of(&data[..10])], None).expect_err("written before");
    assert_eq!(overlap.code(), Code::InvalidArgument);
    session.commit(0, None).expect("whole");
    assert!(session.commit(0, None).is_err() && session.write(1, 0, &[Mem::of(&data[..1])], None).is_err());
    assert!(get(&store, b"k", data.len()).expect("there") == data);

    let (session, begun) = GetSession::begin(&store, &[b"k", b"none"], &GetOptions::default());
    assert_eq!(begun[0].as_ref().expect("there").size, data.len() as u64);
    assert_eq!(begun[1].as_ref().map_err(Failure::code), Err(Code::NotFound));
    for (offset, length) in layers {
        let room = vec![0u8; length];
        session.read(0, &[Part { offset: offset as u64, into: &[Mem::of(&room)] }], None).expect("read");
        assert!(room[..] == data[offset..offset + length]);
    }
    session.end(0).expect("open");
    assert!(session.end(0).is_err() && session.read(1, &[], None).is_err());
}

#[test]
fn a_reader_keeps_its_version_for_as_long_as_it_prolongs_its_lease() {
    let cluster = Cluster::new(1, 16 << 20);
    let (store, other) = (cluster.client(), cluster.client());
    put(&store, b"k", &bytes(1, 200_000), &PutOptions::default()).expect("room");
    let (session, begun) = GetSession::begin(&store, &[b"k"], &GetOptions::default());
    begun[0].as_ref().expect("there");
    let room = vec![0u8; 1000];
    let into = [Mem::of(&room)];
    for step in 0..30 {
        session.read(0, &[Part { offset: step * 1000, into: &into }], None).expect("prolonged");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let upsert = PutOptions { upsert: true, ..Default::default() };
    put(&other, b"k", &bytes(2, 200_000), &upsert).expect("replaced");
    wait_until("the reader to be told", || {
        let read = session.read(0, &[Part { offset: 0, into: &into }], None);
        assert!(read.is_err() || room[..] == bytes(1, 1000)[..], "never another version");
        read.is_err_and(|failure| failure.code() == Code::LeaseExpired)
    });
}

#[test]
fn what_was_not_committed_is_given_back() {
    let cluster = Cluster::new(1, 16 << 20);
    let store = cluster.client();
    let data = bytes(1, 500_000);
    let (session, _) = PutSession::begin(&store, &[(b"a", 500_000), (b"b", 500_000)], &PutOptions::default());
    session.write(0, 0, &[Mem::of(&data)], None).expect("written");
    session.revoke(0).expect("given back");
    drop(session);
    wait_until("all memory to be free", || {
        cluster.nodes[0].usage().free == cluster.nodes[0].usage().capacity
    });
    put(&store, b"a", &data, &PutOptions::default()).expect("the key is free");
}
