//! Objects of every size and name, one at a time and many together.

use super::super::*;
use super::cluster::*;
use crate::error::Code;
use crate::store::object::ReplicateConfig;
use crate::sys::memory::Mem;
use crate::sys::splitmix::Random;

const MIB: usize = 1 << 20;

#[test]
fn objects_of_any_size_come_back_over_every_path() {
    let cluster = Cluster::new(2, 64 * MIB as u64);
    for (path, transports) in ["memfd", "cma", "tcp"].into_iter().enumerate() {
        let store = cluster.client_over(transports, 0);
        for length in [1, 7, 4096, 65_536, 65_537, 300_000, 5 * MIB] {
            let key = format!("{transports}-{length}");
            let bytes = bytes((path * length) as u64, length);
            put(&store, key.as_bytes(), &bytes, &PutOptions::default()).expect("room");
            assert!(get(&store, key.as_bytes(), length).expect("there") == bytes, "{key}");
            let small = get(&store, key.as_bytes(), length - 1).expect_err("too small");
            assert_eq!(small.code(), Code::BufferTooSmall);
        }
    }
}

#[test]
fn a_key_has_one_object_unless_it_is_replaced() {
    let cluster = Cluster::new(1, 16 * MIB as u64);
    let (store, other) = (cluster.client(), cluster.client());
    let plain = PutOptions::default();
    put(&store, b"k", &bytes(1, 100_000), &plain).expect("room");
    assert!(get(&other, b"k", 100_000).expect("there") == bytes(1, 100_000));
    let again = put(&other, b"k", &bytes(2, 10), &plain).expect_err("taken");
    assert_eq!(again.code(), Code::AlreadyExists);
    let upsert = PutOptions { upsert: true, ..Default::default() };
    put(&other, b"k", &bytes(2, 200_000), &upsert).expect("replaced");
    assert!(get(&other, b"k", 200_000).expect("there") == bytes(2, 200_000), "one sees what one put");
    let fresh = GetOptions { fresh: true, ..Default::default() };
    assert!(get_as(&store, b"k", 200_000, &fresh).expect("there") == bytes(2, 200_000));
}

#[test]
fn batches_have_a_result_for_each_key() {
    let cluster = Cluster::new(2, 64 * MIB as u64);
    let store = cluster.client();
    let keys: Vec<Vec<u8>> = (0..200).map(|index| format!("key-{index}").into_bytes()).collect();
    let data: Vec<Vec<u8>> = (0..200).map(|index| bytes(index as u64, 1 + index * 997)).collect();
    let pieces: Vec<[Mem; 1]> = data.iter().map(|bytes| [Mem::of(bytes)]).collect();
    let mut puts: Vec<Put<'_>> =
        keys.iter().zip(&pieces).map(|(key, from)| Put { key, from: from.as_slice() }).collect();
    puts.push(Put { key: b"", from: &pieces[0] });
    puts.push(Put { key: &keys[3], from: &pieces[0] });
    let results = store.put(&puts, &PutOptions::default());
    assert!(results[..200].iter().all(|result| result.is_ok()));
    assert_eq!(results[200].as_ref().map_err(Failure::code), Err(Code::InvalidArgument), "no key");
    assert!(results[201].is_err(), "twice in one batch");

    let rooms: Vec<Vec<u8>> = data.iter().map(|bytes| vec![0; bytes.len() + 3]).collect();
    let into: Vec<[Mem; 2]> = rooms
        .iter()
        .map(|room| [Mem::of(&room[..room.len() / 2]), Mem::of(&room[room.len() / 2..])])
        .collect();
    let mut wanted: Vec<(&[u8], Wanted<'_>)> =
        keys.iter().zip(&into).map(|(key, into)| (key.as_slice(), Wanted::Whole(into))).collect();
    wanted.push((b"missing", Wanted::Whole(&into[0])));
    let got = store.get(&wanted, &GetOptions::default());
    for index in 0..200 {
        assert_eq!(got[index].as_ref().expect("there").size, data[index].len() as u64);
        assert!(rooms[index][..data[index].len()] == data[index], "object {index}");
    }
    assert_eq!(got[200].as_ref().map_err(Failure::code), Err(Code::NotFound));

    let mut asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    asked.push(b"missing");
    let known = store.exists(&asked, false, None);
    assert!(
        (0..200).all(|index| known[index].as_ref().is_ok_and(|one| one.size == data[index].len() as u64))
    );
    assert_eq!(known[200].as_ref().map_err(Failure::code), Err(Code::NotFound));
    let removed = store.remove(&asked[..2], false, None);
    assert!(removed.iter().all(|result| result.is_ok()));
    assert_eq!(get(&store, &keys[0], 10).map_err(|failure| failure.code()), Err(Code::NotFound));
    assert_eq!(
        store.remove(&asked[..1], false, None)[0].as_ref().map_err(Failure::code),
        Err(Code::NotFound)
    );
}

#[test]
fn parts_of_objects_are_verified_and_land_where_they_are_wanted() {
    let cluster = Cluster::new(2, 64 * MIB as u64);
    let store = cluster.client();
    let data = bytes(9, 5 * MIB + 123);
    let striped = ReplicateConfig { stripe_size: MIB as u64, ..Default::default() };
    let options = PutOptions { config: striped, ..Default::default() };
    put(&store, b"k", &data, &options).expect("room");
    put(&store, b"plain", &data, &PutOptions::default()).expect("room");
    let ranges = [(0, 1), (65_535, 2), (MIB - 5, 10), (3 * MIB, 2 * MIB + 123), (data.len() - 1, 1)];
    let rooms: Vec<Vec<u8>> = ranges.iter().map(|(_, length)| vec![0; *length]).collect();
    let into: Vec<[Mem; 1]> = rooms.iter().map(|room| [Mem::of(room)]).collect();
    let parts: Vec<Part<'_>> =
        ranges.iter().zip(&into).map(|((offset, _), into)| Part { offset: *offset as u64, into }).collect();
    for key in [&b"k"[..], b"plain"] {
        rooms.iter().for_each(|room| Mem::of(room).fill(0));
        let got = store.get(&[(key, Wanted::Parts(&parts))], &GetOptions::default());
        assert_eq!(got[0].as_ref().expect("there").size, data.len() as u64);
        for ((offset, length), room) in ranges.iter().zip(&rooms) {
            assert!(room[..] == data[*offset..offset + length], "{offset}, {length}");
        }
        let outside = [Part { offset: data.len() as u64, into: &into[0] }];
        let refused = store.get(&[(key, Wanted::Parts(&outside))], &GetOptions::default()).remove(0);
        assert_eq!(refused.map_err(|failure| failure.code()), Err(Code::InvalidArgument));
    }
}

/// All keys in their order, asked for so many at a time.
fn listed(store: &Store, page: u32) -> Vec<Vec<u8>> {
    let (mut from, mut keys) = (None, Vec::new());
    loop {
        let (listed, next) = store.list(&Matching::default(), from, page, None).expect("a page");
        keys.extend(listed.into_iter().map(|one| one.key));
        from = next;
        if from.is_none() {
            keys.sort_unstable();
            return keys;
        }
    }
}

#[test]
fn keys_are_any_bytes_and_can_be_listed_and_swept() {
    let cluster = Cluster::new(1, 64 * MIB as u64);
    let store = cluster.client();
    let odd: Vec<Vec<u8>> =
        vec![vec![0], vec![255; 1024], b"a b\n".to_vec(), "ключ".into(), vec![b'x'; 1024]];
    for (index, key) in odd.iter().enumerate() {
        put(&store, key, &bytes(index as u64, 50), &PutOptions::default()).expect("room");
    }
    for (index, key) in odd.iter().enumerate() {
        assert!(get(&store, key, 50).expect("there") == bytes(index as u64, 50));
    }
    for bad in [vec![], vec![1; 1025]] {
        let refused = put(&store, &bad, &[1], &PutOptions::default()).expect_err("no key");
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let mut expected = odd.clone();
    expected.sort();
    assert_eq!(listed(&store, 2), expected);
    let begins = Matching { prefix: vec![b'x'], ..Default::default() };
    assert_eq!(store.remove_where(&begins, false, None).expect("swept").removed, 1);
    let wrong = Matching { regex: "(".into(), ..Default::default() };
    assert_eq!(store.remove_where(&wrong, false, None).expect_err("no regex").code(), Code::InvalidArgument);
    assert_eq!(store.remove_where(&Matching::default(), false, None).expect("swept").removed, 4);
}

#[test]
fn what_is_to_be_near_lies_in_the_domain_of_its_writer_while_that_has_room() {
    let cluster = Cluster::new(3, 4 * MIB as u64);
    let store = cluster.client_with("memfd", Options { domain: "host2".into(), ..Default::default() });
    let near = PutOptions { near: true, ..Default::default() };
    let used = || {
        let segments = cluster.master.with(|state, _| state.segments());
        let of = |name: &str| segments.iter().find(|one| &*one.name == name).expect("three of them").used;
        ["s0", "s1", "s2"].map(of)
    };
    for index in 0..3 {
        put(&store, &[index], &bytes(1, MIB), &near).expect("room");
    }
    let [first, second, third] = used();
    assert_eq!((first, second), (0, 0));
    assert!(third > 3 * MIB as u64);
    let twice = ReplicateConfig { count: 2, ..Default::default() };
    put(&store, b"two", &bytes(1, MIB / 2), &PutOptions { config: twice, ..near.clone() }).expect("room");
    let [first, second, third] = used();
    assert!(first + second > 0 && third > 3 * MIB as u64 + MIB as u64 / 2);
    put(&store, b"elsewhere", &bytes(1, MIB), &near).expect("room of the others");
    put(&store, b"anywhere", &bytes(1, 10), &PutOptions::default()).expect("room");
    assert_eq!(used()[2], third);
}

/// A key of 1 to 1,024 bytes of any value, another one for each number.
fn odd_key(number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    let length = match number % 16 {
        0 => 1024,
        1..4 => 4 + random.index(1021),
        _ => 4 + random.index(40),
    };
    let mut key: Vec<u8> = (0..length).map(|_| random.bits() as u8).collect();
    // Whatever else it is made of, it says its number.
    key[length - 4..].copy_from_slice(&(number as u32).to_be_bytes());
    key
}

#[test]
fn a_hundred_thousand_odd_keys_are_put_found_listed_and_removed() {
    const KEYS: u64 = 100_000;
    let cluster = Cluster::new(2, 64 * MIB as u64);
    let store = cluster.client();
    let all: Vec<Vec<u8>> = (0..KEYS).map(odd_key).collect();
    let contents: Vec<[u8; 8]> = (0..KEYS).map(u64::to_le_bytes).collect();
    for (keys, contents) in all.chunks(250).zip(contents.chunks(250)) {
        let pieces: Vec<[Mem; 1]> = contents.iter().map(|content| [Mem::of(content)]).collect();
        let puts: Vec<Put<'_>> = keys.iter().zip(&pieces).map(|(key, from)| Put { key, from }).collect();
        for result in store.put(&puts, &PutOptions::default()) {
            result.expect("room");
        }
    }
    for (keys, contents) in all.chunks(250).zip(contents.chunks(250)) {
        let rooms = vec![[0u8; 8]; keys.len()];
        let pieces: Vec<[Mem; 1]> = rooms.iter().map(|room| [Mem::of(room)]).collect();
        let wanted: Vec<(&[u8], Wanted<'_>)> =
            keys.iter().zip(&pieces).map(|(key, into)| (&**key, Wanted::Whole(into))).collect();
        for result in store.get(&wanted, &GetOptions::default()) {
            assert_eq!(result.expect("there").size, 8);
        }
        assert_eq!(rooms, contents);
    }
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert!(listed(&store, 4096) == sorted, "not all are listed");
    // Those that were read last may be leased still.
    assert_eq!(store.remove_where(&Matching::default(), false, None).expect("swept").removed, KEYS);
    wait_until("memory that is free again", || {
        cluster.master.with(|state, _| state.segments().iter().all(|one| one.used == 0))
    });
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_nothing_behind() {
    let cluster = Cluster::new(1, 4 * MIB as u64);
    let store = cluster.client();
    let huge = put(&store, b"huge", &bytes(1, 5 * MIB), &PutOptions::default()).expect_err("larger than all");
    assert_eq!(huge.code(), Code::NoSpace);
    put(&store, b"a", &bytes(1, 3 * MIB), &PutOptions::default()).expect("room");
    let _ = get(&store, b"a", 3 * MIB).expect("leased");
    let full = put(&store, b"b", &bytes(2, 2 * MIB), &PutOptions::default()).expect_err("all is leased");
    assert_eq!(full.code(), Code::NoSpace);
    assert!(full.retry_after_ms.is_some());
    wait_until("the lease to end and the object to go", || {
        put(&store, b"b", &bytes(2, 2 * MIB), &PutOptions::default()).is_ok()
    });
    store.remove(&[b"b"], false, None).remove(0).expect("gone");
    wait_until("all memory to be free", || {
        cluster.nodes[0].usage().free == cluster.nodes[0].usage().capacity
    });
}

#[test]
fn one_of_many_who_put_the_same_key_succeeds() {
    let cluster = Cluster::new(1, 64 * MIB as u64);
    let stores: Vec<_> = (0..4).map(|_| cluster.client()).collect();
    let puts = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for index in 0..16 {
            let store = &stores[index % 4];
            threads.push(scope.spawn(move || {
                put(store, b"k", &bytes(index as u64, 200_000), &PutOptions::default()).map(|()| index)
            }));
        }
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    let winners: Vec<usize> = puts.iter().filter_map(|put| put.as_ref().ok().copied()).collect();
    assert_eq!(winners.len(), 1);
    let refused = puts.iter().filter_map(|put| put.as_ref().err());
    assert!(refused.map(Failure::code).all(|code| matches!(code, Code::Busy | Code::AlreadyExists)));
    assert!(get(&stores[0], b"k", 200_000).expect("there") == bytes(winners[0] as u64, 200_000));
}
