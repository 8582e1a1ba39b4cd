//! What is asked over connections, and what comes back.

use super::*;

#[test]
fn what_was_put_is_found_and_what_was_removed_is_not() {
    let world = World::new(2, "");
    let master = world.master();
    let line = world.caller(&master);
    world.serving(&line);
    let keys: [&[u8]; 3] = [b"a", b"b", b"c"];
    let versions = world.put(&line, &keys[..2], 2);
    let found = line.get(&keys);
    let first = found[0].as_ref().expect("there");
    assert_eq!((first.version, first.size, first.replicas.len()), (versions[0], 100, 2));
    assert!(found[1].is_ok() && first.lease_ms > 0);
    assert_eq!(found[2].as_ref().expect_err("not there"), &Code::NotFound);
    let exists = line.exists(&keys);
    assert_eq!(exists.statuses, [0, 0, Code::NotFound as i32]);
    assert_eq!((exists.sizes, exists.replicas), (vec![100, 100, 0], vec![2, 2, 0]));
    assert_eq!(line.remove(&[b"a", b"x"]), [None, Some(Code::NotFound)]);
    assert_eq!(line.exists(&keys).statuses, [Code::NotFound as i32, 0, Code::NotFound as i32]);
    let seen = master.look();
    let of = |method: &str| *seen.counted.iter().find(|one| one.method == method).expect("a method");
    let (removed, got, started) = (of("Remove"), of("Get"), of("PutStart"));
    assert_eq!((removed.calls(), removed.items(), removed.failed()), (1, 2, 1));
    assert_eq!((got.batches, got.batches_partial, got.batch_items_failed), (1, 1, 1));
    assert_eq!((started.batches_failed, seen.found_bytes, seen.stats.objects), (0, 200, 1));
    assert!(seen.tenants.iter().any(|tenant| tenant.name == "t" && tenant.objects == 1));
    assert!(seen.hot.iter().any(|hot| hot.tenant == "t"));
}

#[test]
fn a_removal_that_comes_later_than_its_sender_waited_is_not_done() {
    let world = World::new(1, "");
    let master = world.master();
    let line = world.caller(&master);
    world.serving(&line);
    world.put(&line, &[b"a"], 1);
    let now_ms = line.ask(&Greet {}).expect("an answer").now_ms;
    let stamp = |attempt, expires_ms| Stamp { caller: 1, call: 1, attempt, expires_ms };
    let late = Remove { stamp: Some(stamp(1, now_ms - 1)), ..removal(&[b"a"]) };
    assert_eq!(line.ask(&late).expect_err("late").code, Code::Timeout);
    assert_eq!(line.exists(&[b"a"]).statuses, [0]);
    let attempt = |number| Remove { stamp: Some(stamp(number, now_ms + 60_000)), ..removal(&[b"a"]) };
    assert_eq!(codes(line.ask(&attempt(2)).expect("an answer")), [None]);
    world.put(&line, &[b"a"], 1);
    assert_eq!(line.ask(&attempt(1)).expect_err("overtaken").code, Code::Timeout);
    assert_eq!(line.exists(&[b"a"]).statuses, [0]);
}

#[test]
fn a_batch_has_one_status_for_each_key_and_odd_keys_are_keys() {
    let world = World::new(1, "0123456789abcdef");
    let master = world.master();
    let line = world.caller(&master);
    world.serving(&line);
    let (long, longer) = (vec![7; 1024], vec![7; 1025]);
    let keys: [&[u8]; 6] = [b"", &long, &longer, b"\0\xff\n", b"same", b"same"];
    let started: Vec<Option<Code>> =
        line.start(&keys, 1, false).into_iter().map(|one| one.failed.map(|failed| failed.code())).collect();
    let (bad, busy) = (Some(Code::InvalidArgument), Some(Code::Busy));
    assert_eq!(started, [bad, None, bad, None, None, busy]);
    assert_eq!(line.exists(&[b"", &longer]).statuses, [Code::InvalidArgument as i32; 2]);
    assert_eq!(line.get(&[b""])[0].as_ref().expect_err("no key"), &Code::InvalidArgument);
    assert_eq!(line.commit(&[b"never"], &[5]), [Some(Code::Canceled)]);
    assert_eq!(line.remove(&[b"", b"never"]), [bad, Some(Code::NotFound)]);
    world.put(&line, &[b"\0\0", &long[..1023]], 1);
    assert_eq!(line.list("", ""), [b"\0\0".to_vec(), long[..1023].to_vec()]);
}

#[test]
fn what_cannot_be_read_is_refused_and_the_connection_goes_on() {
    let world = World::new(1, "");
    let master = world.master();
    let line = world.caller(&master);
    let code = |method, body: &[u8]| line.0.call_wait(method, body, soon()).expect_err("refused").code;
    for (method, _) in METHODS {
        assert_eq!(code(*method, &[0xff; 40]), Code::Rejected, "method {method}");
    }
    for method in [0, METHODS.len() as u16 + 1, u16::MAX] {
        assert_eq!(code(method, b""), Code::Unsupported);
    }
    let contact = Contact { node: 7, address: "nowhere".into(), local: String::new() };
    let hello = world.nodes[0].0.inventory.lock().hello();
    let Report::Hello { name, domain, offers, promised, is_fresh, .. } = hello else { panic!("a greeting") };
    let hello = Report::Hello { node: NodeId(7), name, domain, offers, promised, is_fresh };
    let reports = Reports { contact: Some(contact), reports: vec![asked::Report::from(&hello)] };
    assert_eq!(line.ask(&reports).expect_err("no address").code, Code::Rejected);
    assert_eq!(line.ask(&Greet {}).expect("an answer").local, master.local());
}

#[test]
fn methods_are_numbered_from_one_on() {
    assert!(METHODS.iter().enumerate().all(|(index, (number, _))| usize::from(*number) == index + 1));
}

#[test]
fn a_removal_is_answered_once_its_nodes_have_dropped_it() {
    let world = World::new(1, "");
    let master = world.master();
    let line = world.caller(&master);
    world.serving(&line);
    world.put(&line, &[b"a", b"b"], 1);
    let node = &world.nodes[0].0;
    node.keep_orders();
    let (sender, answers) = std::sync::mpsc::channel();
    let body = removal(&[b"a", b"x", b"b"]).encode_to_vec();
    line.0.call(
        Remove::METHOD,
        &body,
        soon(),
        Box::new(move |result| sender.send(result).expect("waited for")),
    );
    assert_eq!(line.exists(&[b"a"]).statuses, [Code::NotFound as i32]);
    assert!(answers.try_recv().is_err(), "a new master would find it again");
    node.go_on();
    let answer = answers.recv_timeout(Duration::from_secs(20)).expect("in time").expect("an answer");
    assert_eq!(codes(decode(&answer).expect("results")), [None, Some(Code::NotFound), None]);
    assert_eq!(master.core.work(|inner, _| inner.pending.len()), 0);
}

#[test]
fn what_a_lost_caller_waits_for_is_forgotten_and_done_all_the_same() {
    let world = World::new(1, "");
    let master = world.master();
    let line = world.caller(&master);
    world.serving(&line);
    world.put(&line, &[b"a"], 1);
    let node = &world.nodes[0].0;
    node.keep_orders();
    let other = world.caller(&master);
    let matching = Some(Matching { prefix: b"a".to_vec(), regex: String::new() });
    let all = RemoveWhere { tenant: "t".into(), matching, ..RemoveWhere::default() };
    other.0.call(RemoveWhere::METHOD, &all.encode_to_vec(), soon(), Box::new(|_| {}));
    world_waits("it waits", || master.core.work(|inner, _| inner.pending.len()) == 1);
    drop(other);
    world_waits("it is forgotten", || master.core.work(|inner, _| inner.pending.len()) == 0);
    node.go_on();
    world.until("the memory is free", &line, || {
        line.ask(&Segments {}).expect("an answer").segments[0].used == 0
    });
}

fn world_waits(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = soon();
    while !is_so() {
        assert!(clock::now_ns() < until, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn keys_are_listed_and_removed_by_prefix_and_by_expression_page_by_page() {
    let world = World::new(2, "");
    let master = world.master();
    let line = world.caller(&master);
    world.serving(&line);
    let names: Vec<String> = (0..20).map(|number| format!("{}/{number}", ["x", "y"][number % 2])).collect();
    let keys: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
    world.put(&line, &keys, 1);
    assert_eq!(line.list("", "").len(), 20);
    assert_eq!(line.list("x/", "").len(), 10);
    assert_eq!(line.list("x/", "^x/1[0-9]$").len(), 5);
    assert_eq!(line.list("y/", "^x").len(), 0);
    let matching = |regex: &str| Some(Matching { prefix: b"y/".to_vec(), regex: regex.to_owned() });
    let bad = List { tenant: "t".into(), matching: matching("("), ..List::default() };
    assert_eq!(line.ask(&bad).expect_err("no expression").code, Code::InvalidArgument);
    let (mut removed, mut from) = (0, None);
    loop {
        let tenant = "t".to_owned();
        let step = RemoveWhere {
            tenant,
            matching: matching("[05]$"),
            unless_leased: false,
            from,
            limit: 2,
            ..Default::default()
        };
        let reply = line.ask(&step).expect("an answer");
        removed += reply.removed;
        from = reply.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!((removed, line.list("", "").len()), (2, 18), "y/5 and y/15");
}

#[test]
fn tenants_have_quotas_and_tasks_can_be_asked_about() {
    let world = World::new(2, "");
    let master = world.master();
    let line = world.caller(&master);
    world.serving(&line);
    let of = |tenant: &str| line.ask(&Tenant { tenant: tenant.into() }).expect("an answer");
    assert_eq!(of("t"), TenantReply::default());
    let quota = SetQuota { tenant: "t".into(), bytes: Some(250) };
    assert_eq!(codes(line.ask(&quota).expect("an answer")), [None]);
    world.put(&line, &[b"a", b"b"], 1);
    assert_eq!(of("t"), TenantReply { used_bytes: 200, quota_bytes: Some(250), objects: 2 });
    let refused = line.start(&[b"c"], 1, false).remove(0).failed.expect("no quota is left");
    assert_eq!(refused.code(), Code::QuotaExceeded);
    line.ask(&SetQuota { tenant: "t".into(), bytes: None }).expect("an answer");

    let wait = |task: u64| {
        world.until("the task ends", &line, || line.ask(&Task { task }).expect("known").state != 1);
        line.ask(&Task { task }).expect("known")
    };
    let (tenant, key) = ("t".to_owned(), b"a".to_vec());
    let copy = Copy { tenant: tenant.clone(), key: key.clone(), preferred: vec![] };
    let copied = wait(line.ask(&copy).expect("started").task);
    assert_eq!((copied.state, copied.moved_objects, copied.moved_bytes), (2, 1, 100));
    assert_eq!(line.exists(&[b"a"]).replicas, [2]);
    let trim = Trim { tenant: tenant.clone(), key: key.clone(), keep: 1, stamp: None };
    assert_eq!(line.ask(&trim).expect("an answer").results, [Outcome { failed: None, value: 1 }]);
    let moving =
        |from: &str| Move { tenant: tenant.clone(), key: key.clone(), from: from.into(), preferred: vec![] };
    assert_eq!(line.ask(&moving("nowhere")).expect_err("no segment").code, Code::NotFound);
    world.until("the drop is over", &line, || line.exists(&[b"a"]).replicas == [1]);

    let drained = wait(line.ask(&Drain { segment: "s2".into() }).expect("started").task);
    assert_eq!(drained.state, 2, "{drained:?}");
    let segments = line.ask(&Segments {}).expect("an answer").segments;
    let emptied = segments.iter().find(|segment| segment.name == "s2").expect("it is still known");
    assert!(emptied.is_draining && emptied.used == 0 && line.exists(&[b"a", b"b"]).statuses == [0, 0]);
    assert_eq!(line.ask(&Drain { segment: "s9".into() }).expect_err("no segment").code, Code::NotFound);
    assert_eq!(line.ask(&Task { task: 999 }).expect_err("no task").code, Code::NotFound);
    assert_eq!(codes(line.ask(&CancelTask { task: 999 }).expect("an answer")), [Some(Code::NotFound)]);
}
