//! Masters that die or are replaced, and nodes that are away.

use super::*;

#[test]
fn a_new_master_knows_what_the_nodes_know() {
    let mut cluster = Cluster::new(3, 64);
    let two = ReplicateConfig { count: 2, group: "g".into(), ..Default::default() };
    let version = cluster.put_as("k", 100, &two, false).expect("room");
    cluster.replace_master();
    assert_eq!(code(cluster.get("k")), Code::NotReady);
    cluster.run(200);
    assert_eq!(cluster.get("k").expect("found").version, version);
    assert_eq!(code(cluster.get("other")), Code::NotFound, "all have reported");
    let early = cluster.put("other", 10).expect_err("the old master may still be answering");
    assert_eq!(early.code, Code::NotReady);
    cluster.run(2500);
    assert_eq!(cluster.commit("k", version), Ok(Answer::Done), "the answer of the old master was lost");
    assert_eq!(code(cluster.put("k", 10)), Code::AlreadyExists);
    assert!(cluster.put("other", 10).expect("room") > version);
}

#[test]
fn an_unknown_key_is_not_missing_while_a_node_has_not_reported() {
    let mut cluster = Cluster::new(3, 64);
    cluster.put("k", 100).expect("room");
    let holder = cluster.get("k").expect("there").replicas[0].stripes[0].node;
    cluster.replace_master();
    cluster.deaf = vec![holder];
    cluster.run(5000);
    assert_eq!(code(cluster.get("k")), Code::NotReady);
    cluster.deaf.clear();
    cluster.run(1000);
    assert!(cluster.get("k").is_ok());
}

#[test]
fn what_was_acknowledged_outlives_an_upsert_that_was_not_finished() {
    let mut cluster = Cluster::new(3, 64);
    let first = cluster.put("k", 100).expect("room");
    let two = ReplicateConfig { count: 2, ..Default::default() };
    let grant = cluster.start("k", 100, &two, true).expect("room");
    cluster.write(&grant, 1);
    cluster.replace_master();
    cluster.run(4000);
    assert_eq!(cluster.get("k").expect("found").version, first);
    assert_eq!(code(cluster.commit("k", grant.version)), Code::Canceled);
    // One that was finished is the newer one.
    let grant = cluster.start("k", 100, &two, true).expect("room");
    cluster.write(&grant, 2);
    cluster.replace_master();
    cluster.run(4000);
    assert_eq!(cluster.get("k").expect("found").version, grant.version);
}

#[test]
fn a_node_that_was_away_too_long_gives_up_what_it_held() {
    let mut cluster = Cluster::new(3, 64);
    cluster.put("k", 100).expect("room");
    let holder = cluster.get("k").expect("there").replicas[0].stripes[0].node;
    cluster.deaf = vec![holder];
    cluster.run(9000);
    assert!(cluster.get("k").is_ok());
    cluster.run(2000);
    assert_eq!(code(cluster.get("k")), Code::NotFound);
    cluster.deaf.clear();
    cluster.run(200);
    let node = cluster.nodes.iter_mut().find(|node| node.id() == NodeId(0)).expect("it was discarded");
    node.rename(NodeId(100));
    cluster.run(10_000);
    assert_eq!(cluster.master.view().members.len(), 3);
    assert_eq!(cluster.used(), 0);
}

#[test]
fn a_master_that_was_replaced_stops() {
    let mut cluster = Cluster::new(3, 64);
    let old = std::mem::replace(&mut cluster.master, state(false, 4000));
    cluster.now = 4000;
    cluster.run(4000);
    assert!(cluster.master.is_serving());
    let mut old = Cluster { master: old, ..cluster };
    assert_eq!(code(old.get("k")), Code::NotReady, "nobody has followed it for a term");
    old.run(1000);
    assert!(old.master.is_deposed());
}

#[test]
fn a_greeting_from_before_it_was_a_member_does_not_bring_an_expelled_node_back() {
    let mut cluster = Cluster::new(3, 64);
    cluster.put("k", 100).expect("room");
    let holder = cluster.get("k").expect("there").replicas[0].stripes[0].node;
    let node = cluster.nodes.iter().find(|node| node.id() == holder).expect("a node");
    let Report::Hello { node, name, domain, offers, promised, .. } = node.hello() else {
        panic!("a greeting")
    };
    let late = Report::Hello { node, name, domain, offers, promised, is_fresh: true };
    cluster.deaf = vec![holder];
    cluster.run(11_000);
    cluster.deaf.clear();
    cluster.tell(late);
    cluster.settle();
    cluster.master.tick(cluster.now);
    cluster.settle();
    assert!(!cluster.master.view().contains(holder));
    assert!(cluster.nodes.iter().any(|node| node.id() == NodeId(0)), "it was told that it is expelled");
}

#[test]
fn a_node_whose_death_was_known_before_the_cluster_was_founded_is_no_member_of_it() {
    let nodes = vec![node(2, 64), node(3, 64)];
    let master = state(false, 1000);
    let mut cluster = Cluster {
        now: 1000,
        master,
        nodes,
        replied: Vec::new(),
        token: 0,
        deaf: Vec::new(),
        noticed: Default::default(),
    };
    cluster.run(200);
    // What the first of that name answered goes on arriving.
    let mut second = Inventory::new(NodeId(9), "n2", "host1", config(false).horizon_ms());
    second.mount(Offer { segment: SegmentId(1), name: "s9".into(), length: 64 * 1024 });
    cluster.nodes.push(second);
    cluster.run(200);
    cluster.master.found();
    cluster.run(1000);
    assert_eq!(cluster.master.view().members, [NodeId(3), NodeId(9)]);
    cluster.put("k", 100).expect("a view without the dead holds");
}

#[test]
fn of_two_nodes_the_second_goes_on_alone_once_the_first_is_known_to_be_gone() {
    let mut cluster = Cluster::new(2, 64);
    cluster.put("k", 100).expect("room");
    cluster.deaf.push(cluster.nodes[0].id());
    cluster.run(60_000);
    assert_eq!(code(cluster.put("new", 100)), Code::NotReady, "it may be there, and not reached");
    assert_eq!(cluster.master.bury_named("nobody"), 0);
    assert_eq!(cluster.master.bury_named("n2"), 1);
    cluster.run(5_000);
    cluster.put("new", 100).expect("the other one is enough");
}

#[test]
fn two_replicas_that_lost_a_stripe_each_are_one_together() {
    let mut cluster = Cluster::new(7, 100);
    let striped = ReplicateConfig { count: 2, stripe_size: 64 << 10, ..Default::default() };
    cluster.put_as("k", 2 * (64 << 10), &striped, false).expect("room");
    let before = cluster.get("k").expect("there");
    let [one, other] = [0, 1].map(|replica| &before.replicas[replica].stripes);
    cluster.deaf = vec![one[0].node, other[1].node];
    let is_left = |stripe: &Extent| !cluster.deaf.contains(&stripe.node);
    assert!(is_left(&one[1]) && is_left(&other[0]), "each stripe lies on a node that lives");
    cluster.run(15_000);
    let after = cluster.get("k").expect("all of it is there");
    assert_eq!((after.version, after.replicas.len()), (before.version, 1));
    assert_eq!(after.replicas[0].stripes, [other[0], one[1]]);
    for replica in &before.replicas {
        let renewed = cluster.master.renew(cluster.now, name("k"), &replica.stripes);
        assert_eq!(code(renewed), Code::LeaseExpired, "a stripe of it is gone");
    }
    assert!(cluster.master.renew(cluster.now, name("k"), &after.replicas[0].stripes).is_ok());
}

#[test]
fn replicas_that_a_new_master_put_together_from_stripes_outlive_a_node() {
    for lost in 0..7 {
        let mut cluster = Cluster::new(7, 256);
        let striped = ReplicateConfig { count: 2, stripe_size: 64 << 10, ..Default::default() };
        let version = cluster.put_as("k", 5 * (64 << 10), &striped, false).expect("room");
        let lost = cluster.nodes[lost].id();
        let located = cluster.get("k").expect("there");
        let on_lost = |stripe: usize| located.replicas.iter().all(|one| one.stripes[stripe].node == lost);
        assert!(!(0..5).any(on_lost), "replicas lie on different nodes");
        cluster.replace_master();
        cluster.run(4000);
        cluster.deaf = vec![lost];
        cluster.run(15_000);
        assert_eq!(cluster.get("k").expect("no stripe lost both").version, version, "without {lost:?}");
    }
}
