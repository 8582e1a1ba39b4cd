//! What becomes of objects while the master lives.

use super::*;

#[test]
fn an_object_is_there_from_its_commit_to_its_removal() {
    let mut cluster = Cluster::new(2, 64);
    assert_eq!(code(cluster.get("k")), Code::NotFound);
    let grant = cluster.start("k", 100, &ReplicateConfig::default(), false).expect("room");
    assert_eq!(code(cluster.get("k")), Code::NotFound, "it is being written");
    assert_eq!(code(cluster.put("k", 100)), Code::Busy);
    cluster.write(&grant, 1);
    assert_eq!(cluster.commit("k", grant.version), Ok(Answer::Done));
    assert_eq!(cluster.commit("k", grant.version), Ok(Answer::Done), "a second time");
    let located = cluster.get("k").expect("committed");
    assert_eq!((located.size, located.version, located.replicas.len()), (100, grant.version, 1));
    assert_eq!(code(cluster.put("k", 100)), Code::AlreadyExists);
    cluster.remove("k").expect("it is there");
    assert_eq!(code(cluster.get("k")), Code::NotFound);
    assert_eq!(code(cluster.commit("k", grant.version)), Code::Canceled);
    assert!(cluster.used() > 0, "a reader has a lease");
    cluster.run(6000);
    assert_eq!(cluster.used(), 0);
}

#[test]
fn an_upsert_is_acknowledged_when_what_it_replaced_is_gone() {
    let mut cluster = Cluster::new(2, 64);
    let first = cluster.put("k", 100).expect("room");
    let holder = cluster.get("k").expect("there").replicas[0].stripes[0].node;
    let grant = cluster.start("k", 200, &ReplicateConfig::default(), true).expect("room");
    assert_eq!(cluster.get("k").expect("the old one").version, first);
    cluster.write(&grant, 1);
    cluster.deaf = vec![holder];
    assert_eq!(cluster.commit("k", grant.version), Ok(Answer::Later));
    assert_eq!(cluster.get("k").expect("the new one").version, grant.version);
    assert_eq!(code(cluster.put("k", 1)), Code::Busy);
    cluster.deaf.clear();
    cluster.run(1000);
    assert_eq!(cluster.replied, [Token(2)]);
}

#[test]
fn memory_of_a_missed_deadline_waits_for_evidence() {
    let mut cluster = Cluster::new(1, 64);
    let grant = cluster.start("k", 60 * KIB, &ReplicateConfig::default(), false).expect("room");
    let (id, entry) = grant.entries[0].clone();
    cluster.nodes[0].prepare(id, entry, CLIENT).expect("granted");
    cluster.run(70_000);
    assert_eq!(cluster.master.stats().puts_missed, 1);
    assert_eq!(code(cluster.commit("k", grant.version)), Code::Canceled);
    assert_eq!(code(cluster.put("other", 60 * KIB)), Code::NoSpace, "the writer may still be writing");
    let evidence = crate::store::message::Evidence::Fenced { writer: CLIENT };
    let reactions = cluster.nodes[0].evidence(cluster.now, evidence);
    cluster.react(reactions);
    assert!(cluster.put("other", 60 * KIB).is_ok());
}

#[test]
fn a_writer_that_asks_keeps_its_grant() {
    let mut cluster = Cluster::new(1, 64);
    let grant = cluster.start("k", 100, &ReplicateConfig::default(), false).expect("room");
    let (id, entry) = grant.entries[0].clone();
    cluster.nodes[0].prepare(id, entry, CLIENT).expect("granted");
    for _ in 0..3 {
        cluster.run(50_000);
        cluster.master.put_extend(cluster.now, name("k"), CLIENT, grant.version).expect("in time");
    }
    cluster.write(&grant, 1);
    assert_eq!(cluster.commit("k", grant.version), Ok(Answer::Done));
}

#[test]
fn a_writer_that_goes_on_and_on_keeps_no_memory_but_its_own() {
    let mut cluster = Cluster::new(2, 64);
    let grant = cluster.start("slow", 10 * KIB, &ReplicateConfig::default(), false).expect("room");
    cluster.write(&grant, 1);
    let config =
        |id: u64| ReplicateConfig { preferred: vec![format!("s{id}")], ..ReplicateConfig::default() };
    let own = grant.entries[0].0.0;
    let other = if own == 2 { 3 } else { 2 };
    let used = cluster.used();
    for (key, id) in [("here", own), ("there", other)] {
        cluster.put_as(key, 20 * KIB, &config(id), false).expect("room");
        cluster.remove(key).expect("there");
    }
    cluster.run(1000);
    let left = cluster.used() - used;
    assert!((20 * KIB..30 * KIB).contains(&left), "{left}: on its own node it may still have to begin");
    for _ in 0..10 {
        cluster.run(10_000);
        cluster.master.put_extend(cluster.now, name("slow"), CLIENT, grant.version).expect("granted");
    }
    assert_eq!(cluster.used(), used);
    assert_eq!(cluster.commit("slow", grant.version), Ok(Answer::Done));
}

#[test]
fn full_memory_makes_room_but_not_of_what_is_read() {
    let mut cluster = Cluster::new(1, 64);
    for key in ["a", "b", "c", "d"] {
        cluster.put(key, 16 * KIB).expect("room");
        cluster.get(key).expect("there");
    }
    let refused = cluster.put("e", 16 * KIB).expect_err("all is leased");
    assert_eq!(refused.code, Code::NoSpace);
    assert!(refused.retry_after_ms.is_some());
    cluster.run(6000);
    assert!(cluster.master.exists(cluster.now, name("a"), false).expect("known"), "no need to evict yet");
    assert_eq!(code(cluster.put("e", 16 * KIB)), Code::NoSpace, "room is made now");
    cluster.run(200);
    cluster.put("e", 16 * KIB).expect("room was made");
    let gone = ["a", "b", "c", "d"].into_iter().filter(|key| cluster.get(key).is_err()).count();
    assert_eq!(gone, 1, "no more than needed");
}

#[test]
fn a_put_that_can_never_fit_evicts_nobody_and_is_not_told_to_come_back() {
    let mut cluster = Cluster::new(4, 100);
    for key in 0..12 {
        cluster.put(&format!("k{key}"), 30 * KIB).expect("room");
    }
    cluster.run(6000);
    let plain = ReplicateConfig::default();
    let striped = ReplicateConfig { stripe_size: 64 << 10, ..plain.clone() };
    let wide = ReplicateConfig { stripe_size: 128 << 10, ..plain.clone() };
    // Nodes 2 and 3 are on one host, 4 and 5 on another.
    let apart = ReplicateConfig { count: 3, strict_domains: true, ..plain.clone() };
    let twice = ReplicateConfig { count: 2, strict_domains: true, ..striped.clone() };
    for (size, config, reason) in [
        (103 * KIB, &plain, "larger than every segment"),
        (i64::MAX as u64, &plain, "larger than every segment"),
        (600 * KIB, &wide, "larger than every segment"),
        (KIB, &apart, "failure domains"),
        (256 * KIB, &twice, "together"),
    ] {
        let refused = cluster.start("large", size, config, false).expect_err("it fits nowhere");
        assert_eq!((refused.code, refused.retry_after_ms), (Code::NoSpace, None), "{refused}");
        assert!(refused.reason.contains(reason), "{refused}, not {reason}");
    }
    cluster.run(1000);
    assert_eq!((cluster.master.stats().evicted, cluster.master.stats().objects), (0, 12));
    // What fits is told to come back, and finds room when enough has gone.
    let granted = (0..12).any(|_| {
        let granted = cluster.start("large", 95 * KIB, &plain, false);
        cluster.run(200);
        granted.inspect_err(|refusal| assert!(refusal.retry_after_ms.is_some(), "{refusal}")).is_ok()
    });
    assert!(granted);
}

#[test]
fn exists_prolongs_a_lease_only_if_asked() {
    let mut cluster = Cluster::new(1, 64);
    cluster.put("k", 64 * KIB).expect("room");
    assert!(cluster.master.exists(cluster.now, name("k"), true).expect("known"));
    let _ = cluster.put("other", 64 * KIB);
    assert!(cluster.get("k").is_ok(), "leased");
    cluster.run(6000);
    assert!(cluster.master.exists(cluster.now, name("k"), false).expect("known"));
    let _ = cluster.put("other", 64 * KIB);
    assert_eq!(code(cluster.get("k")), Code::NotFound);
}

#[test]
fn pins_hold_and_groups_go_together() {
    let mut cluster = Cluster::new(1, 64);
    let hard = ReplicateConfig { hard_pin: true, ..Default::default() };
    let soft = ReplicateConfig { soft_pin_ms: 60_000, ..Default::default() };
    let group = ReplicateConfig { group: "g".into(), ..Default::default() };
    cluster.put_as("hard", 16 * KIB, &hard, false).expect("room");
    cluster.put_as("soft", 16 * KIB, &soft, false).expect("room");
    cluster.put_as("g1", 8 * KIB, &group, false).expect("room");
    cluster.put_as("g2", 8 * KIB, &group, false).expect("room");
    assert_eq!(code(cluster.put("x", 32 * KIB)), Code::NoSpace);
    cluster.run(200);
    let there =
        |cluster: &mut Cluster, key| cluster.master.exists(cluster.now, name(key), false).expect("known");
    assert!(!there(&mut cluster, "g1") && !there(&mut cluster, "g2"));
    assert!(there(&mut cluster, "soft"));
    cluster.put("x", 32 * KIB).expect("room");
    cluster.get("x").expect("there");
    assert_eq!(code(cluster.put("y", 16 * KIB)), Code::NoSpace);
    assert!(!there(&mut cluster, "soft"), "rather than nothing");
    assert!(there(&mut cluster, "hard"));
}

#[test]
fn quotas_are_kept_to_the_byte() {
    let mut cluster = Cluster::new(2, 64);
    cluster.master.set_quota("t", Some(1000)).expect("a name");
    let two = ReplicateConfig { count: 2, ..Default::default() };
    cluster.put_as("a", 300, &two, false).expect("600 of 1000");
    assert_eq!(code(cluster.put("b", 401)), Code::QuotaExceeded);
    cluster.put("b", 400).expect("1000 of 1000");
    cluster.put_as("b", 350, &ReplicateConfig::default(), true).expect("instead of 400");
    assert_eq!(cluster.master.tenant("t"), Some((950, Some(1000), 2)));
    cluster.remove("a").expect("there");
    assert_eq!(cluster.master.tenant("t"), Some((350, Some(1000), 1)));
}

#[test]
fn tenants_that_have_nothing_and_no_quota_are_forgotten() {
    let mut cluster = Cluster::new(1, 64);
    let put = |cluster: &mut Cluster, tenant: &str, size: u64| {
        let (config, name) = (ReplicateConfig::default(), Name { tenant, key: b"k" });
        let request = PutStart { name, client: CLIENT, size, config: &config, upsert: false };
        let grant = cluster.master.put_start(cluster.now, request)?;
        cluster.settle();
        cluster.write(&grant, 1);
        cluster.master.put_commit(cluster.now, name, CLIENT, grant.version, Token(0)).map(|_| ())
    };
    for index in 0..300 {
        let tenant = format!("t{index}");
        put(&mut cluster, &tenant, 1).expect("there is room for its number");
        let name = Name { tenant: &tenant, key: b"k" };
        cluster.master.remove(cluster.now, name, Token(0), false).expect("there");
        cluster.settle();
        assert_eq!(cluster.master.tenant(&tenant), None);
        if index % 100 == 0 {
            // What was dropped is free once the floor has passed it.
            cluster.run(600);
        }
    }
    assert_eq!(code(put(&mut cluster, "refused", 1 << 40)), Code::NoSpace);
    cluster.master.set_quota("limited", Some(10)).expect("a name");
    assert_eq!(code(put(&mut cluster, "limited", 11)), Code::QuotaExceeded);
    assert_eq!(cluster.master.tenant("refused"), None);
    assert_eq!(cluster.master.tenant("limited"), Some((0, Some(10), 0)), "a quota is remembered");
    cluster.master.set_quota("limited", None).expect("a name");
    assert_eq!(cluster.master.tenant("limited"), None);
}

#[test]
fn replicas_lie_in_distinct_domains_or_not_at_all() {
    let mut cluster = Cluster::new(3, 64);
    let config = |count| ReplicateConfig { count, strict_domains: true, ..Default::default() };
    cluster.put_as("k", 100, &config(2), false).expect("two hosts");
    let nodes: Vec<u64> =
        cluster.get("k").expect("there").replicas.iter().map(|one| one.stripes[0].node.0 / 2).collect();
    assert_ne!(nodes[0], nodes[1]);
    assert_eq!(code(cluster.put_as("l", 100, &config(3), false)), Code::NoSpace);
    assert_eq!(code(cluster.put("huge", 66 * KIB)), Code::NoSpace, "larger than any segment");
}

#[test]
fn walks_list_and_remove_what_matches() {
    let mut cluster = Cluster::new(1, 64);
    for index in 0..20 {
        cluster.put(&format!("{}{index}", if index % 2 == 0 { "even" } else { "odd" }), 10).expect("room");
    }
    let (mut from, mut keys) = (ListCursor::default(), Vec::new());
    loop {
        let matches = &mut |key: &[u8]| key.starts_with(b"even");
        let walk = Walk { tenant: "t", from, limit: 3, matches };
        let page = cluster.master.list(cluster.now, walk).expect("serving");
        assert!(page.objects.len() <= 3);
        keys.extend(page.objects.into_iter().map(|one| one.key));
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 10);
    let token = cluster.next_token();
    let matches = &mut |key: &[u8]| key.starts_with(b"odd");
    let walk = Walk { tenant: "t", from: ListCursor::default(), limit: 100, matches };
    let swept = cluster.master.remove_where(cluster.now, walk, token, false);
    assert_eq!(swept.map(|swept| (swept.removed, swept.answer, swept.next)), Ok((10, Answer::Later, None)));
    cluster.settle();
    assert_eq!(cluster.replied, [token], "once, for all of them");
    assert_eq!(cluster.master.stats().objects, 10);
}

#[test]
fn replicas_are_made_moved_and_given_up() {
    let mut cluster = Cluster::new(3, 64);
    cluster.put("k", 100).expect("room");
    let task = cluster.master.copy(cluster.now, name("k"), &[]).expect("room elsewhere");
    cluster.settle();
    assert_eq!(
        cluster.master.task(task).map(|info| (info.state, info.moved_bytes)),
        Some((TaskState::Done, 100))
    );
    let replicas = cluster.get("k").expect("there").replicas;
    assert_eq!(replicas.len(), 2);
    let from = (replicas[0].stripes[0].node, replicas[0].stripes[0].segment);
    cluster.master.move_replica(cluster.now, name("k"), from, &[]).expect("a third node");
    cluster.run(500);
    let nodes: Vec<NodeId> =
        cluster.get("k").expect("there").replicas.iter().map(|one| one.stripes[0].node).collect();
    assert!(nodes.len() == 2 && !nodes.contains(&from.0));
    assert_eq!(cluster.master.trim(cluster.now, name("k"), 1), Ok(1));
    cluster.run(6000);
    assert_eq!(cluster.get("k").expect("there").replicas.len(), 1);
    assert_eq!(cluster.used(), 128, "one block of two units");
}

#[test]
fn a_lease_is_prolonged_for_a_replica_that_is_there_and_for_no_other_of_its_put() {
    let mut cluster = Cluster::new(3, 64);
    let two = ReplicateConfig { count: 2, ..ReplicateConfig::default() };
    cluster.put_as("k", 100, &two, false).expect("room");
    let located = cluster.get("k").expect("there");
    let [moved, stays] = [0, 1].map(|replica| located.replicas[replica].stripes[0]);
    assert_eq!(moved.generation, stays.generation);
    let from = (moved.node, moved.segment);
    cluster.master.move_replica(cluster.now, name("k"), from, &[]).expect("there is a third node");
    cluster.settle();
    assert_eq!(code(cluster.master.renew(cluster.now, name("k"), &[moved])), Code::LeaseExpired);
    assert!(cluster.master.renew(cluster.now, name("k"), &[stays]).is_ok());
}

#[test]
fn what_a_tenant_has_beyond_its_quota_can_move_all_the_same() {
    let mut cluster = Cluster::new(2, 64);
    cluster.put("k", 1000).expect("room");
    cluster.master.set_quota("t", Some(10)).expect("a name");
    let from = cluster.get("k").expect("there").replicas[0].stripes[0];
    assert_eq!(code(cluster.master.copy(cluster.now, name("k"), &[])), Code::QuotaExceeded);
    let place = (from.node, from.segment);
    cluster.master.move_replica(cluster.now, name("k"), place, &[]).expect("no more than before");
    cluster.run(1000);
    assert_ne!(cluster.get("k").expect("there").replicas[0].stripes[0].node, from.node);
}

#[test]
fn a_drained_segment_is_empty_and_stays_so() {
    let mut cluster = Cluster::new(2, 64);
    for index in 0..30 {
        cluster.put(&format!("k{index}"), 100).expect("room");
    }
    let node = cluster.nodes[0].id();
    let task = cluster.master.drain(node, SegmentId(1)).expect("a segment");
    assert_eq!(
        cluster.master.drain(node, SegmentId(1)),
        Err(Refusal::new(Code::AlreadyExists, "the segment is being drained"))
    );
    cluster.run(5000);
    assert_eq!(cluster.master.task(task).map(|info| info.state), Some(TaskState::Done));
    cluster.put("new", 100).expect("room on the other one");
    assert!(cluster.nodes[0].unmount(SegmentId(1)).is_ok(), "nothing is held there");
    assert_eq!(cluster.master.stats().objects, 31);
}
