use proptest::prelude::*;

use super::*;
use crate::conductor::cost::{Decode, Prefill};

/// A block takes 1 second to compute and a quarter of one to move; blocks have 10 tokens of 1 byte.
fn simple() -> Cost {
    Cost {
        block_tokens: 10,
        kv_bytes_per_token: 1.0,
        prefill: Prefill { fixed: 0.0, linear: 0.1, quadratic: 0.0 },
        decode: Decode { fixed: 0.01, per_request: 0.001, per_token: 0.0 },
        host_rate: 1e9,
        disk_rate: 1e9,
        link_rate: 40.0,
        layers: 0,
        kv_tokens: 1000,
        chunk_tokens: 10,
    }
}

fn scheduler(options: Options, instances: usize) -> (Scheduler, Vec<InstanceId>) {
    let mut scheduler = Scheduler::new(options).expect("the options are fine");
    let ids = (0..instances).map(|_| scheduler.add(Role::Prefill, simple(), 0.0).expect("room")).collect();
    (scheduler, ids)
}

fn exact(policy: &str) -> Options {
    Options {
        policy: Policy::named(policy).expect("it is one"),
        learning: 0.0,
        eager: false,
        ..Options::default()
    }
}

fn request(blocks: u64) -> Request {
    Request { tokens: blocks * 10, ..Request::default() }
}

fn decided(verdict: Result<Verdict>) -> Decision {
    verdict.expect("there is room").decision().expect("it is taken on")
}

fn has(instance: InstanceId, blocks: u32) -> Prefix {
    Prefix { instance, blocks: [blocks; 4], promised: 0 }
}

#[test]
fn a_decision_says_where_and_from_where_and_when() {
    let (mut scheduler, ids) = scheduler(exact("global"), 2);
    // The one that has the blocks is busy for 20 seconds.
    let first = decided(scheduler.decide(&request(20), &[], 0.0));
    assert_eq!((first.prefill, first.reused, first.ttft), (ids[0], 0, 20.0));
    let next = decided(scheduler.decide(&request(10), &[has(ids[0], 8)], 0.0));
    assert_eq!((next.prefill, next.source), (ids[1], Source::Instance(ids[0])));
    assert_eq!((next.reused, next.moved, next.computed_tokens), (8, 8, 20));
    assert_eq!((next.queue, next.transfer, next.compute, next.ttft), (0.0, 2.0, 2.0, 4.0));
    assert_eq!(scheduler.running(), 2);
    let seen: Vec<(u32, f64)> = scheduler.candidates().iter().map(|one| (one.local, one.queue)).collect();
    assert_eq!(seen, [(8, 20.0), (0, 0.0)]);
}

#[test]
fn each_policy_chooses_by_its_own_rule() {
    // Instance 0 has all ten blocks and waits 6 seconds, 1 has six and waits 4.5, 2 has nothing and is idle.
    for (policy, chosen, reused, ttft) in
        [("lb", 2, 0, 10.0), ("maxhit", 0, 9, 7.0), ("local", 0, 9, 7.0), ("global", 2, 9, 3.25)]
    {
        let (mut scheduler, ids) = scheduler(exact(policy), 3);
        for (index, seconds) in [(0, 6.0), (1, 4.5)] {
            scheduler
                .report(ids[index], &Report { queue: Some(seconds), ..Report::default() }, 0.0)
                .expect("fine");
        }
        let found = [has(ids[0], 9), has(ids[1], 6)];
        let decision = decided(scheduler.decide(&request(10), &found, 0.0));
        assert_eq!(
            (decision.prefill, decision.reused, decision.ttft),
            (ids[chosen], reused, ttft),
            "{policy}"
        );
    }
}

#[test]
fn a_threshold_moves_blocks_only_when_the_best_prefix_is_that_much_longer() {
    for (threshold, moved) in [(1.0, 4), (1.9, 4), (2.1, 0)] {
        let (mut scheduler, ids) = scheduler(Options { threshold: Some(threshold), ..exact("global") }, 2);
        scheduler.report(ids[0], &Report { queue: Some(100.0), ..Report::default() }, 0.0).expect("fine");
        let decision = decided(scheduler.decide(&request(10), &[has(ids[0], 8), has(ids[1], 4)], 0.0));
        assert_eq!((decision.prefill, decision.moved), (ids[1], moved), "{threshold}");
    }
}

#[test]
fn blocks_of_the_store_are_moved_from_there_and_those_of_slower_tiers_are_loaded() {
    let (mut scheduler, ids) = scheduler(exact("global"), 1);
    let found = Prefix { instance: ids[0], blocks: [1, 2, 2, 6], promised: 3 };
    let decision = decided(scheduler.decide(&request(10), &[found], 0.0));
    assert_eq!((decision.source, decision.reused, decision.moved), (Source::Store, 6, 3));
    let slow = Cost { host_rate: 5.0, ..simple() };
    let own = scheduler.add(Role::Prefill, slow, 0.0).expect("room");
    let found = Prefix { instance: own, blocks: [1, 3, 3, 3], promised: 0 };
    decided(scheduler.decide(&request(10), &[found], 0.0));
    let seen = scheduler.candidates()[1];
    assert_eq!((seen.local, seen.recompute), (3, 7.0 + 4.0));
}

#[test]
fn a_sender_that_is_busy_makes_others_wait_or_compute() {
    let (mut scheduler, ids) = scheduler(Options { eager: true, ..exact("global") }, 4);
    scheduler.report(ids[0], &Report { queue: Some(100.0), ..Report::default() }, 0.0).expect("fine");
    let moves: Vec<(InstanceId, f64)> = (0..3)
        .map(|_| decided(scheduler.decide(&request(10), &[has(ids[0], 8)], 0.0)))
        .map(|decision| (decision.prefill, decision.transfer))
        .collect();
    // Anywhere else the others wait for the sender first; behind the first that is over before their turn comes.
    assert_eq!(moves, [(ids[1], 2.0), (ids[1], 0.0), (ids[1], 0.0)]);
    let seen: Vec<f64> = scheduler.candidates().iter().map(|one| one.transfer).collect();
    assert_eq!(seen[1..], [0.0, 6.0, 6.0]);
}

#[test]
fn the_queue_follows_what_really_happens() {
    let (mut scheduler, ids) = scheduler(exact("global"), 1);
    let all: Vec<Decision> = (0..3).map(|_| decided(scheduler.decide(&request(4), &[], 0.0))).collect();
    assert_eq!(all.iter().map(|one| one.ttft).collect::<Vec<f64>>(), [4.0, 8.0, 12.0]);
    let wait = |scheduler: &mut Scheduler, now| {
        let probe = decided(scheduler.decide(&request(1), &[], now));
        scheduler.cancelled(probe.request, now).expect("it is there");
        probe.queue
    };
    assert_eq!(wait(&mut scheduler, 1.0), 11.0);
    // The first is late: those behind it still take what they take.
    assert_eq!(wait(&mut scheduler, 6.0), 8.0);
    scheduler.first_token(all[0].request, 7.0).expect("it is there");
    assert_eq!(wait(&mut scheduler, 7.0), 8.0);
    scheduler.cancelled(all[1].request, 8.0).expect("it is there");
    assert_eq!(wait(&mut scheduler, 8.0), 4.0);
    scheduler.finished(all[2].request, 9.0).expect("it is there");
    assert_eq!(wait(&mut scheduler, 9.0), 0.0);
    assert_eq!((scheduler.accuracy().count, scheduler.accuracy().error), (2, 0.0));
    assert!(scheduler.first_token(all[0].request, 9.0).is_err());
    scheduler.finished(all[0].request, 20.0).expect("it is there");
    assert!(scheduler.finished(all[0].request, 20.0).is_err());
    assert_eq!((scheduler.running(), scheduler.cost(ids[0]).expect("it is there").block_tokens), (0, 10));
}

#[test]
fn whoever_starts_out_of_turn_is_taken_as_first() {
    let (mut scheduler, _) = scheduler(exact("global"), 1);
    let ids: Vec<RequestId> =
        [4, 2].map(|blocks| decided(scheduler.decide(&request(blocks), &[], 0.0)).request).to_vec();
    scheduler.started(ids[1], 1.0).expect("it is there");
    assert!(scheduler.started(ids[1], 1.0).is_err());
    assert_eq!(decided(scheduler.decide(&request(1), &[], 2.0)).queue, 5.0);
    scheduler.first_token(ids[1], 3.0).expect("it is there");
    assert_eq!(decided(scheduler.decide(&request(1), &[], 3.0)).queue, 5.0);
}

#[test]
fn an_urgent_request_waits_for_its_like_and_for_what_has_begun() {
    let (mut scheduler, _) = scheduler(exact("global"), 1);
    let urgent = Request { priority: 2, ..request(2) };
    for _ in 0..3 {
        decided(scheduler.decide(&request(4), &[], 0.0));
    }
    assert_eq!(decided(scheduler.decide(&urgent, &[], 1.0)).queue, 3.0);
    assert_eq!(decided(scheduler.decide(&urgent, &[], 1.0)).queue, 5.0);
    assert_eq!(decided(scheduler.decide(&request(1), &[], 1.0)).queue, 15.0);
}

#[test]
fn a_slow_instance_is_found_out() {
    let (mut scheduler, _) = scheduler(Options { learning: 0.2, fit_after: Some(32), ..exact("global") }, 1);
    let mut now = 0.0;
    for number in 0..400 {
        let decision = decided(scheduler.decide(&request(1 + number % 7), &[], now));
        // Twice as slow as its cost says, and a fixed part on top.
        now += 0.5 + 2.0 * (1 + number % 7) as f64;
        scheduler.finished(decision.request, now).expect("it is there");
    }
    let predicted = decided(scheduler.decide(&request(4), &[], now)).ttft;
    assert!((predicted / 8.5 - 1.0).abs() < 0.05, "{predicted}");
    assert!(scheduler.accuracy().recent < 0.05, "{:?}", scheduler.accuracy());
    assert!(scheduler.accuracy().relative() > scheduler.accuracy().recent);
}

/// What is observed of requests that waited long is compared with what was predicted for them, not with what would be
/// now: the echo once drove the pace to its bound.
#[test]
fn a_long_queue_does_not_make_the_pace_swing() {
    let (mut scheduler, ids) = scheduler(Options { learning: 0.2, ..exact("global") }, 1);
    let (mut queue, mut until) = (std::collections::VecDeque::new(), 0.0f64);
    for number in 0..2000u32 {
        let now = f64::from(number);
        while queue.front().is_some_and(|(_, end)| *end <= now) {
            let (id, end) = queue.pop_front().expect("it is not empty");
            scheduler.finished(id, end).expect("it is there");
        }
        if queue.len() < 60 {
            // In turns a quarter slower and a quarter faster than its cost says.
            until = until.max(now) + if number % 50 < 25 { 1.25 } else { 0.75 };
            queue.push_back((decided(scheduler.decide(&request(1), &[], now)).request, until));
        }
        let pace = scheduler.instances.get(ids[0].0).expect("it is there").pace;
        assert!((0.7..1.3).contains(&pace), "{pace} at {now}");
    }
    assert_eq!(scheduler.lost(), 0);
}

#[test]
fn an_instance_that_falls_silent_fades_and_is_tried_again_later() {
    let (mut scheduler, ids) = scheduler(exact("lb"), 2);
    let lost = decided(scheduler.decide(&request(2), &[], 0.0));
    assert_eq!(lost.prefill, ids[0]);
    // It should have been done at 2; 5 seconds later its silence begins to count.
    scheduler.report(ids[1], &Report { queue: Some(6.0), ..Report::default() }, 4.0).expect("fine");
    assert_eq!(decided(scheduler.decide(&request(1), &[], 6.0)).prefill, ids[0]);
    assert_eq!(decided(scheduler.decide(&request(1), &[], 11.0)).prefill, ids[1]);
    assert_eq!(scheduler.candidates()[0].doubt, 4.0);
    for seconds in 0..30 {
        scheduler.report(ids[1], &Report::default(), 12.0 + f64::from(seconds)).expect("fine");
    }
    let decision = decided(scheduler.decide(&request(1), &[], 41.0));
    assert_eq!((scheduler.lost(), decision.prefill), (2, ids[0]), "nothing waits there any more");
    assert!(scheduler.finished(lost.request, 42.0).is_err());
}

#[test]
fn an_instance_that_reports_and_stops_is_not_chosen_until_it_does_again() {
    let (mut scheduler, ids) = scheduler(exact("lb"), 2);
    scheduler.report(ids[0], &Report::default(), 0.0).expect("fine");
    let chosen = |scheduler: &mut Scheduler, now| {
        let decision = decided(scheduler.decide(&request(1), &[], now));
        scheduler.finished(decision.request, now + 0.5).expect("it is there");
        decision.prefill
    };
    assert_eq!([40.0, 42.0, 44.0].map(|now| chosen(&mut scheduler, now)), [ids[1]; 3]);
    scheduler.report(ids[0], &Report::default(), 45.0).expect("fine");
    assert_eq!(chosen(&mut scheduler, 46.0), ids[0]);
}

#[test]
fn a_failure_counts_for_a_while() {
    let (mut scheduler, ids) = scheduler(exact("local"), 2);
    let decision = decided(scheduler.decide(&request(1), &[], 0.0));
    scheduler.failed(decision.request, 0.5).expect("it is there");
    assert_eq!(decided(scheduler.decide(&request(1), &[], 1.0)).prefill, ids[1]);
    let doubt = |scheduler: &Scheduler| scheduler.candidates()[0].doubt;
    let early = doubt(&scheduler);
    decided(scheduler.decide(&request(1), &[], 31.0));
    assert!(early > 4.0 && doubt(&scheduler) < early / 6.0, "{early} and {}", doubt(&scheduler));
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let (mut scheduler, ids) = scheduler(Options { most_requests: 1, ..exact("global") }, 1);
    assert!(scheduler.decide(&request(0), &[], 0.0).is_err());
    assert!(scheduler.decide(&Request { priority: 9, ..request(1) }, &[], 0.0).is_err());
    assert!(scheduler.decide(&request(1), &[], f64::NAN).is_err());
    assert!(scheduler.add(Role::Prefill, Cost { link_rate: 0.0, ..simple() }, 0.0).is_err());
    let decision = decided(scheduler.decide(&request(1), &[], 0.0));
    assert!(scheduler.decide(&request(1), &[], 0.0).is_err(), "one at a time is the limit");
    assert!(scheduler.first_token(decision.request, f64::INFINITY).is_err());
    assert!(scheduler.report(ids[0], &Report { queue: Some(-1.0), ..Report::default() }, 0.0).is_err());
    assert_eq!((scheduler.running(), scheduler.accuracy().count), (1, 0));
    scheduler.remove(ids[0]).expect("it is there");
    assert_eq!((scheduler.running(), scheduler.lost()), (0, 1));
    assert!(scheduler.remove(ids[0]).is_err());
    let none = scheduler.decide(&request(1), &[has(ids[0], 1)], 0.0).expect_err("nobody is there");
    assert!(none.message().contains("no instance"), "{none}");
    for wrong in
        [Options { learning: f64::NAN, ..exact("lb") }, Options { threshold: Some(-1.0), ..exact("lb") }]
    {
        assert!(Scheduler::new(wrong).is_err());
    }
}

#[test]
fn a_long_prompt_is_prefilled_by_as_many_as_it_takes_to_be_in_time() {
    let class = Class { ttft: 40.0, tbt: 0.1, limit: 1.0 };
    let options = Options { most_in_group: 4, classes: [class; CLASSES], ..exact("global") };
    let (mut scheduler, ids) = scheduler(options, 4);
    assert_eq!(decided(scheduler.decide(&request(40), &[], 0.0)).group.size(), 1);
    scheduler.report(ids[2], &Report { queue: Some(50.0), ..Report::default() }, 0.0).expect("fine");
    // 100 chunks on the two that are idle take 50.5 seconds, and on three, one of which is busy for 40, 74.
    let decision = decided(scheduler.decide(&request(100), &[], 0.0));
    assert_eq!((decision.prefill, decision.group.others().collect::<Vec<_>>()), (ids[1], vec![ids[3]]));
    assert_eq!((decision.ttft, decision.compute, decision.queue), (50.5, 50.5, 0.0));
    // Both are busy until then, and the work of the one is not that of the other.
    decided(scheduler.decide(&request(1), &[], 0.5));
    let queues: Vec<f64> = scheduler.candidates().iter().map(|one| one.queue).collect();
    assert_eq!(queues, [39.5, 50.0, 49.5, 50.0]);
    scheduler.finished(decision.request, 50.5).expect("it is there");
    assert_eq!(scheduler.instances.get(ids[1].0).expect("it is there").pace, 1.0);
    assert!(Scheduler::new(Options { most_in_group: 9, ..exact("lb") }).is_err());
}

#[test]
fn what_is_asked_for_often_is_copied_to_idle_instances_while_the_budget_lasts() {
    let replication = Replication { blocks_per_second: 1.0, most_blocks: 10.0, uses: 3.0 };
    let (mut scheduler, ids) = scheduler(Options { replication: Some(replication), ..exact("global") }, 3);
    scheduler.report(ids[1], &Report { queue: Some(9.0), ..Report::default() }, 0.0).expect("fine");
    let (keys, found) = ([11, 12, 13, 14, 15], [has(ids[0], 5), has(ids[1], 0), has(ids[2], 1)]);
    let mut advise = |found: &[Prefix], now| scheduler.advise(&keys, found, now).expect("it can be asked");
    let advised: Vec<Option<Advice>> = (0..5).map(|_| advise(&found, 0.0)).collect();
    let copy = Advice { sender: ids[0], receiver: ids[2], from: 1, to: 4 };
    // The fourth use is one more than a holder bears; the copy is on its way then.
    assert_eq!(advised, [None, None, None, Some(copy), None]);
    // It has come. Two holders bear six uses.
    let found = [has(ids[0], 5), has(ids[1], 0), has(ids[2], 4)];
    let more: Vec<bool> = (0..3).map(|_| advise(&found, 11.0).is_some()).collect();
    assert_eq!(more, [false, true, false]);
    // Others ask for other things. What nobody has cannot be copied, nor what all have.
    assert!((0..20).all(|_| advise(&[], 12.0).is_none()));
    let all = ids.iter().map(|id| has(*id, 5)).collect::<Vec<Prefix>>();
    assert!((0..20).all(|_| advise(&all, 12.0).is_none()));
    // The budget is 10 blocks and one more each second: not enough for four at once again.
    let blocks: u32 = (0..40)
        .filter_map(|_| advise(&[has(ids[0], 5), has(ids[1], 0)], 50.0))
        .map(|one| one.to - one.from)
        .sum();
    assert!((4..=10).contains(&blocks), "{blocks}");
}

/// Two that prefill and two that decode, where 90 requests and 1,000 tokens fit.
fn pair(options: Options) -> (Scheduler, Vec<InstanceId>) {
    let (mut scheduler, _) = scheduler(options, 2);
    let add = |_| scheduler.add(Role::Decode, simple(), 0.0).expect("room");
    let ids = (0..2).map(add).collect();
    (scheduler, ids)
}

fn loaded(requests: u32, tokens: u64) -> Report {
    Report { decoding: Some((requests, tokens)), ..Report::default() }
}

#[test]
fn who_decodes_is_least_busy_when_the_prefill_ends() {
    let (mut scheduler, ids) = pair(Options { decode_seconds: 5.0, ..exact("global") });
    scheduler.report(ids[0], &loaded(3, 100), 0.0).expect("fine");
    let first = decided(scheduler.decide(&request(4), &[], 0.0));
    assert_eq!((first.decode, first.tbt), (Some(ids[1]), 0.011));
    // That one will be there at 4 and gone at 9: a prefill of 10 seconds does not meet it.
    for (blocks, tbt) in [(5, 0.012), (10, 0.011)] {
        let decision = decided(scheduler.decide(&request(blocks), &[], 0.0));
        scheduler.cancelled(decision.request, 0.0).expect("it is there");
        assert_eq!((decision.decode, decision.tbt), (Some(ids[1]), tbt));
    }
    // Memory counts before time: with 960 tokens there is no room for 50 more.
    scheduler.report(ids[1], &loaded(0, 960), 0.0).expect("fine");
    assert_eq!(decided(scheduler.decide(&request(5), &[], 0.0)).decode, Some(ids[0]));
}

#[test]
fn decoding_is_foreseen_anew_when_it_begins_and_over_when_it_ends() {
    let (mut scheduler, _) = pair(Options { decode_seconds: 10.0, ..exact("global") });
    let one = decided(scheduler.decide(&request(4), &[], 0.0));
    let probe = |scheduler: &mut Scheduler, blocks, now| {
        let decision = decided(scheduler.decide(&request(blocks), &[], now));
        scheduler.cancelled(decision.request, now).expect("it is there");
        decision.decode
    };
    let other = probe(&mut scheduler, 6, 0.0);
    assert!(other.is_some() && other != one.decode);
    // It comes 10 seconds late, so it stays until 24.
    scheduler.first_token(one.request, 14.0).expect("it is there");
    assert_eq!(probe(&mut scheduler, 8, 14.0), other);
    scheduler.finished(one.request, 15.0).expect("it is there");
    assert_ne!(probe(&mut scheduler, 8, 15.0), other, "both are idle: the first");
}

#[test]
fn admission_looks_at_decode_never_now_or_when_the_prefill_ends() {
    // A batch of 90 is the limit of 0.1 seconds between tokens; all there are leave by 6.
    let class = Class { ttft: 8.0, tbt: 0.1, limit: 1.0 };
    let options =
        |admission| Options { admission, classes: [class; CLASSES], decode_seconds: 5.0, ..exact("global") };
    for (admission, short, long) in [
        (Admission::Everything, None, None),
        (Admission::Load, None, None),
        (Admission::Early, Some(Reason::Decode), Some(Reason::Decode)),
        (Admission::Predicted, Some(Reason::Decode), None),
    ] {
        let (mut scheduler, _) = pair(Options { admission: Admission::Everything, ..options(admission) });
        for _ in 0..200 {
            let decision = decided(scheduler.decide(&request(1), &[], 0.0));
            scheduler.first_token(decision.request, 1.0).expect("it is there");
        }
        scheduler.options.admission = admission;
        let reason = |scheduler: &mut Scheduler, blocks| match scheduler.decide(&request(blocks), &[], 1.0) {
            Ok(Verdict::Run(_)) => None,
            Ok(Verdict::Rejected(rejection)) => Some(rejection.reason),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(reason(&mut scheduler, 1), short, "{admission:?}");
        assert_eq!(reason(&mut scheduler, 7), long, "{admission:?}");
        let late = (admission != Admission::Everything).then_some(Reason::Prefill);
        assert_eq!(reason(&mut scheduler, 9), late.or(short), "{admission:?}");
        assert_eq!(scheduler.rejections(), [short, long, late].iter().flatten().count() as u64);
    }
}

#[test]
fn a_rejection_says_how_much_is_too_much_and_when_to_ask_again() {
    let strict = Class { ttft: 8.0, tbt: 0.1, limit: 0.5 };
    let classes = [Class::default(), strict, strict, strict];
    let options = Options { admission: Admission::Load, classes, ..exact("global") };
    let (mut scheduler, _) = scheduler(options, 1);
    decided(scheduler.decide(&request(6), &[], 0.0));
    let asked = Request { class: 1, ..request(4) };
    let Ok(Verdict::Rejected(rejection)) = scheduler.decide(&asked, &[], 0.0) else {
        panic!("10 seconds are too many")
    };
    assert_eq!((rejection.reason, rejection.load, rejection.limit), (Reason::Prefill, 1.25, 0.5));
    assert_eq!(rejection.retry_after, 6.0);
    assert!(matches!(scheduler.decide(&asked, &[], 6.0), Ok(Verdict::Run(_))));
    assert!(scheduler.decide(&Request { class: 9, ..request(1) }, &[], 0.0).is_err());
}

#[test]
fn what_was_taken_on_can_be_rejected_after_its_prefill() {
    let (mut scheduler, ids) = pair(Options { admission: Admission::Load, ..exact("global") });
    let decision = decided(scheduler.decide(&request(1), &[], 0.0));
    assert_eq!(scheduler.recheck(decision.request, 0.5).expect("it is there"), None);
    for id in &ids {
        scheduler.report(*id, &loaded(95, 100), 0.5).expect("fine");
    }
    let rejection = scheduler.recheck(decision.request, 1.0).expect("it is there").expect("nobody has room");
    assert_eq!(rejection.reason, Reason::Decode);
    assert!(rejection.load > 1.0 && rejection.retry_after > 0.0);
    scheduler.cancelled(decision.request, 1.0).expect("it is there");
    assert!(scheduler.recheck(decision.request, 1.0).is_err());
}

#[test]
fn requests_whose_end_is_never_told_are_given_up() {
    let (mut scheduler, _) = pair(Options { longest_decode: 100.0, ..exact("global") });
    for second in 0..3 {
        let decision = decided(scheduler.decide(&request(1), &[], f64::from(second)));
        scheduler.first_token(decision.request, f64::from(second) + 1.0).expect("it is there");
    }
    decided(scheduler.decide(&request(1), &[], 102.5));
    assert_eq!((scheduler.lost(), scheduler.running()), (2, 2));
}

#[test]
fn how_long_requests_decode_is_learnt_and_so_is_the_pace_of_decoding() {
    let (mut scheduler, ids) = pair(Options { decode_seconds: 100.0, learning: 0.2, ..exact("global") });
    for second in 0..40 {
        let now = f64::from(second) * 10.0;
        let decision = decided(scheduler.decide(&request(1), &[], now));
        scheduler.first_token(decision.request, now + 1.0).expect("it is there");
        scheduler.finished(decision.request, now + 5.0).expect("it is there");
        let slow = Report { decoding: Some((10, 0)), tbt: Some(0.04), ..Report::default() };
        scheduler.report(ids[0], &slow, now + 6.0).expect("fine");
    }
    assert!((scheduler.decode_seconds() - 4.0).abs() < 0.1, "{}", scheduler.decode_seconds());
    scheduler.report(ids[1], &loaded(1000, 0), 400.0).expect("fine");
    let decision = decided(scheduler.decide(&request(1), &[], 400.0));
    assert_eq!(decision.decode, Some(ids[0]));
    assert!((decision.tbt - 2.0 * 0.021).abs() < 0.001, "{}", decision.tbt);
}

proptest! {
    /// Queues are sums and differences of what is in them, whatever happens in whichever order.
    #[test]
    fn no_order_of_events_leaves_work_behind(
        steps in proptest::collection::vec((0u8..6, any::<prop::sample::Index>(), 1u64..30, 0u8..4), 1..120),
        policy in prop::sample::select(Policy::ALL.to_vec()),
    ) {
        let (mut scheduler, ids) = scheduler(Options { policy, ..Options::default() }, 3);
        let decoders = [0, 1].map(|_| scheduler.add(Role::Both, simple(), 0.0).expect("room"));
        let (mut live, mut now) = (Vec::new(), 0.0);
        for (step, which, size, priority) in steps {
            now += 0.25;
            if step < 2 || live.is_empty() {
                let asked = Request { priority, ..request(size) };
                let found = [has(ids[size as usize % 3], (size / 2) as u32)];
                let decision = decided(scheduler.decide(&asked, &found, now));
                prop_assert!(decision.ttft.is_finite() && decision.queue >= 0.0);
                prop_assert!(u64::from(decision.reused) <= size && decision.moved <= decision.reused);
                live.push(decision.request);
                continue;
            }
            let id = *which.get(&live);
            // What comes twice is refused; what is refused changes nothing.
            let taken = match step {
                2 => scheduler.started(id, now),
                3 => scheduler.first_token(id, now),
                4 => scheduler.finished(id, now),
                _ => scheduler.cancelled(id, now),
            };
            prop_assert!(taken.is_ok() || step < 4);
            if step >= 4 {
                live.retain(|other| *other != id);
            }
            prop_assert_eq!(scheduler.running(), live.len());
        }
        for id in live {
            scheduler.finished(id, now).expect("it is there");
        }
        let last = decided(scheduler.decide(&request(1), &[], now));
        prop_assert_eq!(last.queue, 0.0);
        scheduler.cancelled(last.request, now).expect("it is there");
        for id in decoders {
            let decoding = scheduler.decoding_of(Some(id)).expect("it decodes");
            let then = decoding::slot(now + 10.0, Options::default().horizon);
            prop_assert_eq!((decoding.now(), decoding.foreseen(then)), Default::default());
            prop_assert_eq!(decoding.peak(then), 0);
        }
        prop_assert!(scheduler.candidates().iter().all(|one| one.queue == 0.0));
    }
}

/// Rules that count their calls: the first candidate costs more, and nothing of class 3 is taken on.
struct Picky {
    calls: [u32; 3],
}

impl Rules for Picky {
    fn price(&mut self, candidates: &mut [Candidate]) {
        self.calls[0] += 1;
        candidates[0].recompute = 100.0;
    }

    fn choose(&mut self, round: &Round<'_>) -> Option<Choice> {
        self.calls[1] += 1;
        Some((round.least(|candidate| candidate.ttft(Way::Recompute))?, Way::Recompute))
    }

    fn admit(&mut self, prospect: &Prospect, refusal: Option<Rejection>) -> Option<Rejection> {
        self.calls[2] += 1;
        assert_eq!(refusal, None);
        let rejection = Rejection { reason: Reason::Rule, load: 2.0, limit: 1.0, retry_after: 9.0 };
        (prospect.prefill_load > 0.5).then_some(rejection)
    }
}

#[test]
fn rules_of_the_callers_own_price_choose_and_admit() {
    let (mut scheduler, ids) = scheduler(exact("global"), 2);
    let mut rules = Picky { calls: [0; 3] };
    let verdict = scheduler.decide_with(&mut rules, &request(10), &[has(ids[0], 9)], 0.0);
    assert_eq!(decided(verdict).prefill, ids[1]);
    let verdict = scheduler.decide_with(&mut rules, &request(16), &[], 0.0).expect("it is asked");
    assert!(matches!(verdict, Verdict::Rejected(Rejection { reason: Reason::Rule, retry_after: 9.0, .. })));
    assert_eq!((rules.calls, scheduler.running(), scheduler.rejections()), ([2; 3], 1, 1));
}

#[test]
fn a_preview_says_what_would_be_decided_and_changes_nothing() {
    let (mut scheduler, ids) = scheduler(exact("global"), 2);
    let found = [has(ids[0], 8)];
    for _ in 0..3 {
        let mut built_in = scheduler.built_in();
        let seen = decided(scheduler.preview(&mut built_in, &request(10), &found, 0.0));
        assert_eq!((seen.prefill, seen.queue, seen.request), (ids[0], 0.0, RequestId(0)));
    }
    assert_eq!(scheduler.running(), 0);
    let decision = decided(scheduler.decide(&request(10), &found, 0.0));
    assert_eq!((decision.prefill, decision.queue, decision.ttft), (ids[0], 0.0, 2.0));
    assert!(scheduler.is_running(decision.request));
}

#[test]
fn an_instance_goes_on_from_what_was_learnt_and_forgets_it_with_a_new_cost() {
    let (mut scheduler, ids) = scheduler(Options { learning: 0.5, ..exact("global") }, 2);
    let decision = decided(scheduler.decide(&request(10), &[], 0.0));
    scheduler.started(decision.request, 0.0).expect("it waits");
    scheduler.first_token(decision.request, 20.0).expect("it runs");
    let learned = scheduler.learned(decision.prefill).expect("it is there");
    assert_eq!(learned.pace, 1.5);
    scheduler.teach(ids[1], &learned).expect("it is sound");
    assert_eq!(scheduler.learned(ids[1]).expect("it is there"), learned);
    scheduler.set_cost(ids[1], simple()).expect("it is a cost");
    assert_eq!(scheduler.learned(ids[1]).expect("it is there").pace, 1.0);
    for wrong in [f64::NAN, 0.0, 1e9] {
        assert!(scheduler.teach(ids[1], &Learned { pace: wrong, ..learned }).is_err());
    }
    scheduler.set_decode_seconds(7.0).expect("it is a time");
    assert_eq!((scheduler.decode_seconds(), scheduler.set_decode_seconds(-1.0).is_err()), (7.0, true));
}
