//! Copies from node to node, nodes that leave, and nodes that were left behind.

use super::*;
use crate::store::message::Command;
use crate::store::object::{Epoch, Generation};
use crate::store::view::ViewId;

fn finished(world: &World, task: index::TaskId) -> TaskState {
    wait_until("the task ends", || {
        world.master.state.lock().task(task).expect("known").state != TaskState::Running
    });
    world.master.state.lock().task(task).expect("known").state
}

fn copy(world: &World, key: &str) -> TaskState {
    let task = world.master.state.lock().copy(now(), name(key), &[]).expect("begun");
    world.master.settle();
    finished(world, task)
}

#[test]
fn a_copy_is_read_from_another_node_and_checked() {
    let world = World::new(2, 8 * MIB);
    let client = TestClient::new(1, "tcp");
    // Longer than a chunk, and no whole number of blocks.
    for (key, size) in [("small", 1000), ("large", 3_000_001)] {
        let bytes = data(size);
        world.put(&client, key, &bytes, &ReplicateConfig::default());
        assert_eq!(copy(&world, key), TaskState::Done);
        let located = world.master.state.lock().get(now(), name(key)).expect("there");
        assert_eq!(located.replicas.len(), 2);
        for replica in &located.replicas {
            let extent = &replica.stripes[0];
            let way = client.attach(world.node(extent.node));
            let entry = world
                .node(extent.node)
                .core
                .state
                .lock()
                .inventory
                .entries()
                .find(|entry| entry.generation == extent.generation)
                .cloned()
                .expect("its entry");
            let expected = stored(&entry, &bytes);
            let got = client.read(&way, &entry, expected.len()).expect("read");
            assert!(got[..size] == bytes[..], "its bytes");
            let at = footer::offset(size as u64) as usize;
            assert!(got[at..] == expected[at..], "a footer of its own");
        }
    }
}

#[test]
fn a_corrupt_replica_is_not_copied_and_another_one_is_taken() {
    let world = World::new(3, 8 * MIB);
    let client = TestClient::new(1, "tcp");
    let bytes = data(200_000);
    let config = ReplicateConfig { count: 2, ..Default::default() };
    let grant = world.put(&client, "key", &bytes, &config);
    let spoil = |index: usize| {
        let (node, entry) = &grant.entries[index];
        world.node(*node).core.write(entry.segment, entry.offset + 70_000, b"worn");
    };
    spoil(0);
    assert_eq!(copy(&world, "key"), TaskState::Done);
    let located = world.master.state.lock().get(now(), name("key")).expect("there");
    let made = located.replicas.iter().map(|one| one.stripes[0]);
    let made = made.into_iter().find(|one| grant.entries.iter().all(|(node, _)| *node != one.node));
    let made = made.expect("a third");
    let memory = &world.node(made.node).core.memory[&made.segment];
    let copied = memory.mem.part(made.offset as usize, bytes.len()).with_bytes(<[u8]>::to_vec);
    assert!(copied == bytes);
    // Its node looked, and the master gave the worn one up.
    let worn = grant.entries[0].0;
    wait_until("it is given up", || {
        let located = world.master.state.lock().get(now(), name("key")).expect("there");
        located.replicas.len() == 2 && located.replicas.iter().all(|one| one.stripes[0].node != worn)
    });
}

#[test]
fn nothing_is_made_of_replicas_that_are_all_corrupt() {
    let world = World::new(2, MIB);
    let client = TestClient::new(1, "tcp");
    let grant = world.put(&client, "key", &data(200_000), &ReplicateConfig::default());
    let (node, entry) = &grant.entries[0];
    world.node(*node).core.write(entry.segment, entry.offset + 70_000, b"worn");
    assert!(matches!(copy(&world, "key"), TaskState::Failed(_)));
    let other = world.nodes.iter().find(|one| one.id() != *node).expect("two");
    wait_until("what was begun is given up", || other.usage().free == MIB);
}

#[test]
fn a_node_that_is_drained_leaves_nothing_behind() {
    let world = World::new(2, 4 * MIB);
    let client = TestClient::new(1, "tcp");
    let config = ReplicateConfig { preferred: vec!["s0".into()], ..Default::default() };
    for index in 0..5 {
        world.put(&client, &format!("{index}"), &data(100_000 + index), &config);
    }
    assert!(world.nodes[0].usage().held > 500_000);
    world.nodes[0].drain(Duration::from_secs(30)).expect("all moved");
    for index in 0..5 {
        let located = world.master.state.lock().get(now(), name(&format!("{index}"))).expect("there");
        let extent = located.replicas[0].stripes[0];
        assert_eq!(extent.node, world.nodes[1].id());
        let memory = &world.nodes[1].core.memory[&extent.segment];
        let bytes = memory.mem.part(extent.offset as usize, 100_000 + index).with_bytes(<[u8]>::to_vec);
        assert!(bytes == data(100_000 + index));
    }
}

#[test]
fn a_node_that_was_expelled_joins_under_a_new_id() {
    let world = World::new(1, MIB);
    let client = TestClient::new(1, "tcp");
    let node = &world.nodes[0];
    world.put(&client, "key", &data(1000), &ReplicateConfig::default());
    let before = node.id();
    let epoch = Epoch(world.master.state.lock().epoch().0);
    world.master.send(&Order {
        epoch,
        master: world.master.id,
        to: before,
        floor: Generation::default(),
        command: Command::Expelled { view: ViewId { epoch, number: 1 << 40 } },
    });
    wait_until("it has a new id", || node.id() > before);
    let way = client.attach(node);
    assert_eq!(way.attached.node, node.id().0);
    assert_eq!(node.usage().held, 0, "everything was given up");
    wait_until("the master knows it again", || {
        world.master.state.lock().segments().iter().any(|one| one.node == node.id())
    });
}
