//! Segments and nodes that come and go while there is a master, or a new one.

use super::*;

fn offer(segment: u64, kib: u64) -> Offer {
    let name = format!("late{segment}").as_str().into();
    Offer { segment: SegmentId(segment), name, length: kib * 1024 }
}

fn known(cluster: &Cluster, segment: u64) -> bool {
    cluster.master.segments().iter().any(|one| one.segment == SegmentId(segment))
}

fn keys(cluster: &mut Cluster, count: u64) -> usize {
    (0..count).filter(|key| cluster.get(&format!("k{key}")).is_ok()).count()
}

#[test]
fn what_lies_in_a_segment_that_was_mounted_late_is_found_by_a_new_master() {
    let mut cluster = Cluster::new(2, 64);
    let stale: Vec<Report> = cluster.nodes.iter().map(Inventory::hello).collect();
    assert!(cluster.nodes[0].mount(offer(9, 64)));
    cluster.run(1000);
    let config = ReplicateConfig { preferred: vec!["late9".into()], ..ReplicateConfig::default() };
    for key in 0..3 {
        cluster.put_as(&format!("k{key}"), 20 * KIB, &config, false).expect("room");
    }
    cluster.replace_master();
    // What the new master hears first is from before the segment was there.
    stale.into_iter().for_each(|hello| cluster.tell(hello));
    cluster.settle();
    cluster.run(4000);
    assert_eq!(keys(&mut cluster, 3), 3);
    // The memory of these is not given out again.
    assert_eq!((cluster.put("k3", 60 * KIB).is_ok(), cluster.put("k4", 60 * KIB).is_ok()), (true, true));
    assert_eq!(code(cluster.put("k5", 60 * KIB)), Code::NoSpace);
}

#[test]
fn a_segment_that_a_node_wants_back_is_emptied_taken_back_and_forgotten_whoever_is_master() {
    let mut cluster = Cluster::new(3, 64);
    cluster.nodes[0].mount(offer(9, 64));
    cluster.run(1000);
    let config = ReplicateConfig { preferred: vec!["late9".into()], ..ReplicateConfig::default() };
    for key in 0..3 {
        cluster.put_as(&format!("k{key}"), 20 * KIB, &config, false).expect("room");
    }
    cluster.nodes[0].withdraw(SegmentId(9)).expect("it is there");
    assert_eq!(cluster.nodes[0].unmount(SegmentId(9)).expect_err("it holds objects").code, Code::Busy);
    cluster.replace_master();
    cluster.run(4000);
    let holders = cluster.get("k0").expect("there").replicas.len();
    assert_eq!((holders, keys(&mut cluster, 3)), (1, 3));
    // Those who asked the earlier master may still be reading where it was.
    cluster.run(12_000);
    assert!(!known(&cluster, 9) && cluster.nodes[0].offers().list.len() == 1);
    assert_eq!(keys(&mut cluster, 3), 3);
    assert!(!cluster.nodes[0].mount(offer(9, 64)), "late grants may name it");
    // A master that hears an old greeting is not misled.
    assert!(cluster.nodes[0].mount(offer(10, 64)));
    cluster.run(1000);
    assert!(known(&cluster, 10));
}

#[test]
fn a_put_into_a_segment_that_is_taken_back_is_given_up() {
    let mut cluster = Cluster::new(2, 64);
    cluster.nodes[0].mount(offer(9, 64));
    cluster.run(1000);
    let config = ReplicateConfig { preferred: vec!["late9".into()], ..ReplicateConfig::default() };
    let grant = cluster.start("k", KIB, &config, false).expect("room");
    // It holds nothing yet.
    cluster.nodes[0].unmount(SegmentId(9)).expect("empty");
    cluster.run(1000);
    assert!(!known(&cluster, 9));
    let (id, entry) = grant.entries[0].clone();
    assert_eq!(cluster.nodes[0].prepare(id, entry, CLIENT).expect_err("late").code, Code::NotFound);
    assert_eq!(code(cluster.commit("k", grant.version)), Code::Canceled);
    cluster.put("k", KIB).expect("nobody has the key");
}

#[test]
fn a_node_that_leaves_is_missed_by_nobody() {
    for (leaver, has_new_master) in [(0, false), (2, false), (0, true)] {
        let mut cluster = Cluster::new(3, 64);
        for key in 0..6 {
            cluster.put(&format!("k{key}"), 15 * KIB).expect("room");
        }
        let id = cluster.nodes[leaver].id();
        cluster.nodes[leaver].leave();
        if has_new_master {
            cluster.replace_master();
            cluster.run(12_000);
        }
        let began = cluster.now;
        while !cluster.nodes[leaver].has_left() {
            assert!(cluster.now < began + 9000, "{}", cluster.master.describe());
            cluster.run(50);
        }
        assert!(!cluster.master.view().contains(id) && cluster.master.view().members.len() == 2);
        cluster.deaf = vec![id, NodeId(0)];
        cluster.run(200);
        assert_eq!(keys(&mut cluster, 6), 6);
        assert_eq!(cluster.master.stats().lost, 0);
        cluster.put("more", KIB).expect("the others go on");
    }
}

#[test]
fn the_word_that_a_node_may_go_is_given_again_when_it_was_lost() {
    let mut cluster = Cluster::new(2, 64);
    let id = cluster.nodes[0].id();
    cluster.nodes[0].leave();
    cluster.nodes[0].unmount_withdrawn();
    // Its votes are heard until it is out; the word is not.
    while cluster.master.view().contains(id) || !cluster.master.is_serving() {
        cluster.now += 50;
        let hello = cluster.nodes[0].hello();
        cluster.tell(hello);
        cluster.master.tick(cluster.now);
        let expelled = |effect: &Effect| matches!(effect, Effect::Send(order) if matches!(order.command, Command::Expelled { .. }));
        for effect in cluster.master.effects().into_iter().filter(|effect| !expelled(effect)) {
            let Effect::Send(order) = effect else { continue };
            let node = cluster.nodes.iter_mut().find(|node| node.id() == order.to);
            let reactions = node.map(|node| node.obey(cluster.now, &order)).unwrap_or_default();
            cluster.react(reactions);
        }
    }
    cluster.run(1000);
    assert!(cluster.nodes[0].has_left());
}

#[test]
fn what_a_lost_node_held_is_missed_at_once_and_taken_out_of_the_index_bit_by_bit() {
    let mut cluster = Cluster::new(3, 256);
    cluster.master.config.sweep = 10;
    for key in 0..300 {
        let config = ReplicateConfig { count: 1 + (key % 2) as u8, ..ReplicateConfig::default() };
        cluster.put_as(&format!("k{key}"), 100, &config, false).expect("room");
    }
    let id = cluster.nodes[0].id();
    cluster.deaf = vec![id];
    cluster.now += 9800;
    while cluster.master.view().contains(id) {
        cluster.run(50);
    }
    assert!(cluster.master.stats().objects >= 290, "hardly anything was looked at");
    // All of two replicas are there, and none whose only one is gone, whoever asks.
    let from = ListCursor::default();
    let walk = Walk { tenant: "t", from, limit: 1000, matches: &mut |_| true };
    let listed = cluster.master.list(cluster.now, walk).expect("serving").objects.len();
    assert_eq!(keys(&mut cluster, 300), listed);
    let pairs = (0..300).filter(|key| key % 2 == 1 && cluster.get(&format!("k{key}")).is_ok()).count();
    assert!(pairs == 150 && listed < 300, "{listed}");
    let located = cluster.get("k1").expect("there");
    assert_eq!(located.replicas.iter().flat_map(|one| &one.stripes).filter(|one| one.node == id).count(), 0);
    // A key that was lost can be put again before the walk has come to it.
    let lost = (0..300).map(|key| format!("k{key}")).find(|key| cluster.get(key).is_err()).expect("one");
    cluster.put(&lost, 100).expect("nobody has it");
    cluster.run(3000);
    assert_eq!(cluster.master.stats().objects, listed as u64 + 1);
    assert!(cluster.master.gone.is_empty());
}
