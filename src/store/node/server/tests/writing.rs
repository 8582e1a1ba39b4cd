//! Writers: let in, cut off, and let in again.

use super::*;
use crate::transport::PathKind;

#[test]
fn what_is_written_by_an_attachment_is_committed_and_read_back_over_the_network_and_shared_memory() {
    let world = World::new(1, 4 * MIB);
    for (id, transports) in [(7, "tcp"), (8, "memfd,tcp")] {
        let client = TestClient::new(id, transports);
        let bytes = data(300_000);
        let key = format!("key {id}");
        let grant = world.put(&client, &key, &bytes, &ReplicateConfig::default());
        let (_, entry) = &grant.entries[0];
        let way = client.attach(&world.nodes[0]);
        assert_eq!(
            way.attached.attachment,
            client.attach(&world.nodes[0]).attached.attachment,
            "as it stands"
        );
        assert!(
            client.read(&way, entry, stored(entry, &bytes).len()).expect("read") == stored(entry, &bytes)
        );
        let path = client.engine.segment_regions(way.segment).expect("open")[0].path;
        assert_eq!(path, transports.split(',').next().expect("one"));
        let kind = if id == 7 { PathKind::Tcp } else { PathKind::Memfd };
        let counters = client.engine.metrics.path(kind);
        assert!(counters.written_bytes.get() > 300_000 && counters.read_bytes.get() > 300_000, "{path}");
        let located = world.master.state.lock().get(now(), name(&key)).expect("there");
        assert_eq!((located.size, located.replicas.len()), (300_000, 1));
    }
    assert_eq!(world.nodes[0].client_count(), 2);
    let usage = world.nodes[0].usage();
    assert_eq!((usage.capacity, usage.quarantined), (4 * MIB, 0));
    assert_eq!(usage.held + usage.free, usage.capacity);
    assert!(usage.held >= 2 * footer::stored_length(300_000));
}

#[test]
fn a_client_is_cut_off_while_another_goes_on() {
    for transports in ["tcp", "memfd,tcp"] {
        let world = World::new(1, MIB);
        let node = &world.nodes[0];
        let [slow, good] = [1, 2].map(|id| TestClient::new(id, transports));
        let config = ReplicateConfig::default();
        let grants =
            [&slow, &good].map(|one| world.put_start(one.id, &format!("{}", one.id.0), 5000, &config));
        let ways = [slow.attach(node), good.attach(node)];
        let entries = [&grants[0].entries[0].1, &grants[1].entries[0].1];
        assert_eq!(slow.prepare(&ways[0], entries[0]), None);
        assert_eq!(good.prepare(&ways[1], entries[1]), None);
        slow.write(&ways[0], entries[0], &data(5000)).expect("it may, so far");
        // The master takes the grant back, and nobody knows what the writer is doing.
        let revoked =
            world.master.state.lock().put_revoke(now(), name("1"), slow.id, grants[0].version, false);
        revoked.expect("revoked");
        world.master.settle();
        wait_until("it is cut off, and its memory free", || {
            let usage = node.usage();
            node.client_count() == 1 && usage.quarantined == 0
        });
        let before = slow_bytes(node, entries[0]);
        let late = slow.write(&ways[0], entries[0], &[0xEE; 5000]).expect_err("cut off");
        assert_eq!(late.code, Code::AddressNotRegistered, "{late}");
        assert!(slow_bytes(node, entries[0]) == before, "nothing of it landed");
        assert_eq!(slow.prepare(&ways[0], entries[0]), Some(Code::PeerRestarted));
        // Its neighbour noticed nothing.
        good.write(&ways[1], entries[1], &data(5000)).expect("written");
        assert_eq!(good.commit(&ways[1], entries[1]), None);
        world.put_commit(good.id, "2", grants[1].version);
        // It attaches anew, and the old grant is worth nothing.
        let again = slow.attach(node);
        assert_ne!(again.attached.attachment, ways[0].attached.attachment);
        assert_eq!(slow.prepare(&again, entries[0]), Some(Code::Canceled));
        world.put(&slow, "3", &data(70_000), &config);
    }
}

fn slow_bytes(node: &Node, entry: &Entry) -> Vec<u8> {
    let memory = &node.core.memory[&entry.segment];
    memory.mem.part(entry.offset as usize, entry.length as usize).with_bytes(<[u8]>::to_vec)
}

#[test]
fn a_writer_without_a_way_in_is_cut_off_at_once() {
    let world = World::new(1, MIB);
    let client = TestClient::new(1, "tcp");
    let grant = world.put_start(client.id, "a", 100, &ReplicateConfig::default());
    world.node(grant.entries[0].0);
    // It never came.
    let state = &world.master.state;
    state.lock().put_revoke(now(), name("a"), client.id, grant.version, false).expect("revoked");
    world.master.settle();
    wait_until("everything is free", || state.lock().stats().used_bytes == 0);
    assert_eq!(world.nodes[0].usage().free, MIB);
}

#[test]
fn small_objects_are_put_in_one_call_and_a_second_one_changes_nothing() {
    let world = World::new(1, MIB);
    let client = TestClient::new(1, "tcp");
    let call = client.reach(&world.nodes[0]);
    for size in [1, 4096, 200_000] {
        let key = format!("{size}");
        let grant = world.put_start(client.id, &key, size, &ReplicateConfig::default());
        let (node, entry) = &grant.entries[0];
        let bytes = stored(entry, &data(size as usize));
        let put = |client: u64, bytes: &[u8]| -> Result<Option<Code>> {
            let body = call.call_wait(Put::METHOD, &put_body(client, node.0, entry, bytes), soon())?;
            decode(&body).map(only)
        };
        let mut forged = bytes.clone();
        *forged.last_mut().expect("a footer") ^= 1;
        assert_eq!(put(1, &forged).expect("an answer"), Some(Code::Corrupted));
        assert_eq!(put(1, &bytes[1..]).expect_err("cut").code, Code::Rejected);
        assert_eq!(put(0, &bytes).expect_err("the node itself").code, Code::InvalidArgument);
        assert_eq!(put(1, &bytes).expect("an answer"), None);
        let other = stored(entry, &vec![0xAA; size as usize]);
        assert_eq!(put(1, &other).expect("an answer"), None, "as good as once");
        assert_eq!(put(2, &bytes).expect("an answer"), None, "committed is committed");
        assert!(slow_bytes(&world.nodes[0], entry).starts_with(&bytes), "the first bytes stay");
        world.put_commit(client.id, &key, grant.version);
    }
}

#[test]
fn nonsense_is_answered_and_harms_nobody() {
    let world = World::new(1, MIB);
    let client = TestClient::new(1, "tcp");
    let call = client.reach(&world.nodes[0]);
    for method in 0..12 {
        for body in [&b""[..], b"\xff", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", &[8; 100]] {
            let _ = call.call_wait(method, body, soon());
        }
    }
    let grant = world.put_start(client.id, "a", 100, &ReplicateConfig::default());
    let (node, entry) = &grant.entries[0];
    for broken in [
        Entry { stripes: 0, ..entry.clone() },
        Entry { stripe: 5, ..entry.clone() },
        Entry { size: u64::MAX, ..entry.clone() },
        Entry { length: 8, ..entry.clone() },
        Entry { offset: u64::MAX - 10, ..entry.clone() },
        Entry { segment: SegmentId(99), ..entry.clone() },
    ] {
        let body = put_body(1, node.0, &broken, &stored(entry, &data(100)));
        let answered = call.call_wait(Put::METHOD, &body, soon());
        assert!(answered.map_or(true, |body| only(decode(&body).expect("sound")).is_some()), "{broken:?}");
    }
    world.put(&client, "b", &data(100), &ReplicateConfig::default());
}
