use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::*;
use crate::conductor::cost::{Cost, Decode, Prefill};
use crate::conductor::hash::Scheme;
use crate::conductor::index::Tier;
use crate::conductor::schedule::{Admission, Reason, Rejection, Replication, Report, Role};
use crate::error::Code;
use crate::sys::checksum::crc32c;

/// A block of 10 tokens takes a second to compute, and a quarter of one to move.
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

fn serving(name: &str, role: Role) -> Registration {
    Registration {
        name: name.into(),
        model: "m".into(),
        block_size: 10,
        ranks: 1,
        duty: Duty::Serve { role, cost: simple() },
    }
}

fn context() -> Context {
    Context {
        tenant: String::new(),
        model: "m".into(),
        lora: None,
        salt: None,
        block_size: 10,
        scheme: Scheme::Xxh3 { seed: 0 },
    }
}

fn exact() -> Options {
    let schedule = schedule::Options { learning: 0.0, eager: false, ..Default::default() };
    Options { schedule, ..Options::default() }
}

/// Two that prefill, one that decodes, and an open context.
struct World {
    conductor: Conductor,
    prefill: [InstanceId; 2],
    decode: InstanceId,
    context: ContextId,
}

impl World {
    fn new() -> World {
        World::with(exact(), Hooks::default())
    }

    fn with(options: Options, hooks: Hooks) -> World {
        let clock = Clock::ByHand(AtomicU64::new(1_000_000_000_000));
        let conductor = Conductor::with_clock(options, hooks, clock).expect("the options are fine");
        let register = |name, role| conductor.register(&serving(name, role)).expect("room");
        let prefill = [register("p0", Role::Prefill), register("p1", Role::Prefill)];
        let decode = register("d0", Role::Decode);
        let context = conductor.open_context(&context()).expect("room");
        World { conductor, prefill, decode, context }
    }

    fn pass(&self, seconds: f64) {
        let Clock::ByHand(now) = &self.conductor.clock else { panic!("this clock is set by hand") };
        now.fetch_add((seconds * 1e9) as u64, Relaxed);
    }

    fn store(&self, instance: InstanceId, keys: &[u64]) {
        let change = Change::Stored { tier: Tier::Device, keys };
        let event = Event { instance, rank: 0, change };
        let applied = self.conductor.apply(self.context, &[event]).expect("it is open");
        assert_eq!(applied, Applied { applied: 1, unknown: 0 });
    }

    fn request<'a>(&self, keys: &'a [u64]) -> Request<'a> {
        Request {
            context: self.context,
            prompt: Prompt::Keys(keys),
            tokens: 0,
            priority: 0,
            class: 0,
            output: None,
            name: "",
        }
    }

    fn run(&self, keys: &[u64]) -> Decision {
        match self.conductor.schedule(&self.request(keys)).expect("there is room") {
            Answer::Run(decision) => *decision,
            Answer::Rejected(rejection) => panic!("{rejection:?}"),
        }
    }

    fn has(&self, instance: InstanceId, keys: &[u64]) -> Match {
        let mut found = Vec::new();
        self.conductor.find(self.context, Prompt::Keys(keys), &mut found).expect("it is open");
        *found.iter().find(|one| one.instance == instance).expect("it is registered")
    }
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.expect_err("this is wrong").code
}

const KEYS: [u64; 8] = [11, 12, 13, 14, 15, 16, 17, 18];

#[test]
fn a_request_goes_where_its_prefix_is_and_leaves_it_there() {
    let world = World::new();
    world.store(world.prefill[1], &KEYS[..6]);
    let decision = world.run(&KEYS);
    assert_eq!((&*decision.prefill.name, decision.prefill.instance), ("p1", world.prefill[1]));
    assert_eq!(decision.decode.as_ref().map(|place| place.instance), Some(world.decode));
    assert_eq!((decision.blocks, decision.reused, decision.moved), (8, 6, 0));
    assert!((decision.ttft - 2.0).abs() < 1e-9, "{decision:?}");
    let found = world.has(world.prefill[1], &KEYS);
    assert_eq!((found.blocks, found.promised), ([6, 6, 6, 6], 8));
    for feedback in [Feedback::Started, Feedback::FirstToken, Feedback::Finished] {
        world.conductor.feedback(decision.request, feedback).expect("it is live");
    }
    let late = world.conductor.feedback(decision.request, Feedback::Finished);
    assert_eq!(code(late), Code::InvalidHandle);
    assert_eq!(world.has(world.prefill[1], &KEYS).promised, 8, "the engine will tell of them");
}

#[test]
fn what_a_request_was_to_leave_is_withdrawn_when_it_fails_and_runs_out_when_nothing_is_told() {
    let world = World::new();
    for feedback in [Feedback::Failed, Feedback::Cancelled] {
        let decision = world.run(&KEYS);
        assert_eq!(world.has(decision.prefill.instance, &KEYS).promised, 8);
        world.conductor.feedback(decision.request, feedback).expect("it is live");
        assert_eq!(world.has(decision.prefill.instance, &KEYS).promised, 0);
    }
    let decision = world.run(&KEYS);
    world.pass(2.0 * decision.ttft + 9.0);
    world.conductor.sweep().expect("nobody is inside");
    assert_eq!(world.has(decision.prefill.instance, &KEYS).promised, 8);
    world.pass(2.0);
    world.conductor.sweep().expect("nobody is inside");
    assert_eq!(world.has(decision.prefill.instance, &KEYS).promised, 0);
}

#[test]
fn tokens_and_the_keys_of_their_blocks_are_the_same_prompt() {
    let world = World::new();
    let tokens: Vec<u32> = (0..85).collect();
    let keys = world.conductor.keys(world.context, &tokens).expect("it is open");
    assert_eq!(keys.len(), 8);
    world.store(world.prefill[0], &keys[..7]);
    let request = Request { prompt: Prompt::Tokens(&tokens), ..world.request(&[]) };
    let Ok(Answer::Run(decision)) = world.conductor.schedule(&request) else { panic!("there is room") };
    assert_eq!((decision.blocks, decision.reused, decision.computed_tokens), (8, 7, 15));
    let short = Request { tokens: 79, ..request };
    assert_eq!(code(world.conductor.schedule(&short)), Code::InvalidArgument);
}

#[test]
fn registering_again_changes_ranks_and_cost_and_nothing_else() {
    let world = World::new();
    let p0 = serving("p0", Role::Prefill);
    world.store(world.prefill[0], &KEYS);
    assert_eq!(world.conductor.register(&p0).expect("it is there"), world.prefill[0]);
    let wider = Registration { ranks: 3, ..p0.clone() };
    assert_eq!(world.conductor.register(&wider).expect("room"), world.prefill[0]);
    let mut found = Vec::new();
    world.conductor.find(world.context, Prompt::Keys(&KEYS), &mut found).expect("it is open");
    let ranks: Vec<(u32, u32)> = found
        .iter()
        .filter(|one| one.instance == world.prefill[0])
        .map(|one| (one.rank, one.blocks[0]))
        .collect();
    assert_eq!(ranks, [(0, 8), (1, 0), (2, 0)]);
    world.conductor.report(world.prefill[0], 2, &Report::default()).expect("it has the rank");
    assert_eq!(world.conductor.register(&p0).expect("it is there"), world.prefill[0]);
    assert_eq!(code(world.conductor.report(world.prefill[0], 2, &Report::default())), Code::NotFound);
    assert_eq!(world.has(world.prefill[0], &KEYS).blocks[0], 8);
    for other in [serving("p0", Role::Both), Registration { model: "n".into(), ..p0.clone() }] {
        assert_eq!(code(world.conductor.register(&other)), Code::AlreadyExists);
    }
    let slow = Cost { prefill: Prefill { linear: 1.0, ..simple().prefill }, ..simple() };
    let slower = Registration { duty: Duty::Serve { role: Role::Prefill, cost: slow }, ..p0 };
    world.conductor.register(&slower).expect("it is there");
    assert_eq!(&*world.run(&[1]).prefill.name, "p1");
}

#[test]
fn an_instance_that_is_unregistered_is_gone_with_its_blocks_and_waiting_requests() {
    let world = World::new();
    world.store(world.prefill[1], &KEYS);
    let decision = world.run(&KEYS);
    world.conductor.unregister("p1").expect("it is there");
    assert_eq!(code(world.conductor.unregister("p1")), Code::NotFound);
    assert_eq!(code(world.conductor.feedback(decision.request, Feedback::Started)), Code::InvalidHandle);
    let event = Event { instance: world.prefill[1], rank: 0, change: Change::Cleared { tier: None } };
    let applied = world.conductor.apply(world.context, &[event]).expect("it is open");
    assert_eq!(applied.unknown, 1);
    let again = world.conductor.register(&serving("p1", Role::Prefill)).expect("room");
    assert_ne!(again, world.prefill[1]);
    assert_eq!(world.has(again, &KEYS).blocks[0], 0);
    for name in ["p0", "p1"] {
        world.conductor.unregister(name).expect("it is there");
    }
    let error = world.conductor.schedule(&world.request(&KEYS)).expect_err("nobody prefills");
    assert!(error.code == Code::NotReady && error.message().contains("\"m\""), "{error}");
}

#[test]
fn what_the_store_holds_is_in_reach_of_all() {
    let world = World::new();
    let store = Registration {
        name: "store".into(),
        model: String::new(),
        block_size: 0,
        ranks: 1,
        duty: Duty::Hold,
    };
    let store = world.conductor.register(&store).expect("room");
    let event = Event { instance: store, rank: 0, change: Change::Stored { tier: Tier::Store, keys: &KEYS } };
    world.conductor.apply(world.context, &[event]).expect("it is open");
    let decision = world.run(&KEYS);
    assert_eq!((decision.source, decision.reused, decision.moved), (Source::Store, 8, 8));
    assert_eq!(code(world.conductor.report(store, 0, &Report::default())), Code::InvalidArgument);
    world.conductor.clear(store, 0).expect("it is there");
    assert_eq!(world.has(world.prefill[0], &KEYS).blocks[3], 0);
}

#[test]
fn contexts_share_nothing_but_their_instances() {
    let world = World::new();
    world.store(world.prefill[0], &KEYS);
    let salted = Context { salt: Some("s".into()), ..context() };
    let other = world.conductor.open_context(&salted).expect("room");
    assert_eq!(world.conductor.open_context(&salted).expect("it is open"), other);
    let mut found = Vec::new();
    assert_eq!(world.conductor.find(other, Prompt::Keys(&KEYS), &mut found).expect("it is open"), 8);
    assert!(found.len() == 3 && found.iter().all(|one| one.blocks[3] == 0), "{found:?}");
    world.conductor.close_context(world.context).expect("it is open");
    assert_eq!(code(world.conductor.context_info(world.context)), Code::InvalidHandle);
    assert_eq!(code(world.conductor.context_info(ContextId(world.prefill[0].0))), Code::InvalidHandle);
    let again = world.conductor.open_context(&context()).expect("room");
    assert_eq!(world.conductor.context_info(again).expect("it is open").blocks, 0);
}

#[test]
fn live_requests_have_names_of_their_own() {
    let world = World::new();
    let named = Request { name: "r1", ..world.request(&KEYS) };
    let Ok(Answer::Run(decision)) = world.conductor.schedule(&named) else { panic!("there is room") };
    assert_eq!(world.conductor.request("r1").expect("it is live"), decision.request);
    assert_eq!(code(world.conductor.schedule(&named)), Code::AlreadyExists);
    let wrong = Request { priority: 9, name: "r2", ..named };
    assert_eq!(code(world.conductor.schedule(&wrong)), Code::InvalidArgument);
    assert_eq!(code(world.conductor.request("r2")), Code::NotFound);
    world.conductor.feedback(decision.request, Feedback::Cancelled).expect("it is live");
    assert_eq!(code(world.conductor.request("r1")), Code::NotFound);
    assert!(matches!(world.conductor.schedule(&named), Ok(Answer::Run(_))));
}

#[test]
fn a_rejection_says_why_and_when_to_come_back() {
    let classes = [schedule::Class { ttft: 5.0, ..Default::default() }; schedule::CLASSES];
    let schedule = schedule::Options { admission: Admission::Early, classes, ..exact().schedule };
    let world = World::with(Options { schedule, ..exact() }, Hooks::default());
    let Ok(Answer::Rejected(rejection)) = world.conductor.schedule(&world.request(&KEYS)) else {
        panic!("8 seconds are too long")
    };
    assert_eq!(rejection.reason, Reason::Prefill);
    assert!((rejection.retry_after - 3.0).abs() < 1e-9);
    let text = world.conductor.metrics().expect("nobody is inside");
    assert!(text.contains("rejections_total{conductor=\"\",reason=\"prefill\"} 1\n"), "{text}");
    assert_eq!(world.has(world.prefill[0], &KEYS).promised, 0);
}

#[test]
fn an_explanation_has_every_candidate_with_its_numbers() {
    let world = World::new();
    world.store(world.prefill[0], &KEYS[..4]);
    let before = world.conductor.explain_request(&world.request(&KEYS)).expect("there is room");
    let decision = world.run(&KEYS);
    let after = world.conductor.explain(decision.request).expect("it is live");
    for (text, request) in [(before, serde_json::Value::Null), (after, decision.request.0.into())] {
        let told: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        let id = request.as_u64().map(|id| format!("{id:#x}"));
        assert_eq!(told["request"].as_str(), id.as_deref());
        assert_eq!((&told["blocks"], &told["policy"]), (&8.into(), &"global".into()));
        assert_eq!(told["decision"]["prefill"]["instance"], "p0");
        let all = told["candidates"].as_array().expect("it is a list");
        assert_eq!(all.len(), 2);
        assert_eq!((&all[0]["chosen"], &all[0]["local_blocks"]), (&true.into(), &4.into()));
        assert_eq!(all[0]["recompute"]["ttft"].as_f64(), Some(4.0));
        assert_eq!(
            (&all[1]["chosen"], &all[1]["transfer"]["source"]["instance"]),
            (&false.into(), &"p0".into())
        );
        assert_eq!(all[1]["transfer"]["ttft"].as_f64(), Some(5.0));
    }
    assert_eq!(world.conductor.metrics().expect("nobody is inside").matches("decisions_total{").count(), 1);
}

#[test]
fn hooks_decide_instead_of_the_built_in_rules() {
    let hooks = Hooks {
        // p0 has the prefix, and yet is far more expensive.
        cost: Some(Box::new(|asked, candidates| {
            assert_eq!((asked.model, asked.blocks), ("m", 8));
            let first = candidates[0].instance;
            let of_first = candidates.iter_mut().filter(|one| one.instance == first);
            of_first.for_each(|one| one.recompute = 1000.0);
            true
        })),
        admission: Some(Box::new(|asked, prospect, refusal| {
            assert!(prospect.ttft < 1000.0 && refusal.is_none());
            if asked.class == 3 {
                let reason = Reason::Rule;
                *refusal = Some(Rejection { reason, load: 1.0, limit: 1.0, retry_after: 7.0 });
            }
            true
        })),
        ..Hooks::default()
    };
    let world = World::with(exact(), hooks);
    world.store(world.prefill[0], &KEYS);
    let decision = world.run(&KEYS);
    assert_eq!((&*decision.prefill.name, decision.moved), ("p1", 8));
    let refused =
        world.conductor.schedule(&Request { class: 3, ..world.request(&KEYS) }).expect("it is asked");
    assert!(
        matches!(refused, Answer::Rejected(Rejection { reason: Reason::Rule, retry_after: 7.0, .. })),
        "{refused:?}"
    );

    let score = Hooks {
        score: Some(Box::new(|_, candidates, prices| {
            prices.iter_mut().zip(candidates).for_each(|(price, one)| *price = -f64::from(one.local));
            true
        })),
        ..Hooks::default()
    };
    let world = World::with(exact(), score);
    world.store(world.prefill[1], &KEYS[..1]);
    world
        .conductor
        .report(world.prefill[1], 0, &Report { queue: Some(100.0), ..Report::default() })
        .expect("fine");
    assert_eq!(&*world.run(&KEYS).prefill.name, "p1");
}

#[test]
fn a_hook_that_fails_again_and_again_is_switched_off_and_the_built_in_rule_used() {
    let calls = Arc::new(AtomicU64::new(0));
    let count = calls.clone();
    let hooks = Hooks {
        cost: Some(Box::new(move |_, candidates| {
            candidates.iter_mut().for_each(|one| one.queue = f64::NAN);
            // The third call succeeds, and the count begins anew.
            if count.fetch_add(1, Relaxed) == 2 {
                candidates.iter_mut().for_each(|one| one.queue = 0.0);
            }
            true
        })),
        score: Some(Box::new(|_, _, _| panic!("not a good hook"))),
        admission: Some(Box::new(|_, _, _| {
            std::thread::sleep(Duration::from_millis(3));
            true
        })),
        ..Hooks::default()
    };
    let world = World::with(Options { patience: Patience::default(), ..exact() }, hooks);
    world.store(world.prefill[1], &KEYS);
    for _ in 0..10 {
        let decision = world.run(&KEYS);
        assert_eq!(&*decision.prefill.name, "p1");
        world.conductor.feedback(decision.request, Feedback::Cancelled).expect("it is live");
    }
    assert_eq!(calls.load(Relaxed), 6);
    let text = world.conductor.metrics().expect("nobody is inside");
    for line in [
        "hook_failures_total{conductor=\"\",hook=\"cost\"} 5\n",
        "hook_is_off{conductor=\"\",hook=\"cost\"} 1\n",
        "hook_failures_total{conductor=\"\",hook=\"score\"} 3\n",
        "hook_overruns_total{conductor=\"\",hook=\"admission\"} 3\n",
        "hook_calls_total{conductor=\"\",hook=\"admission\"} 3\n",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert!(!text.contains("hook=\"replicate\""));
}

#[test]
fn a_hook_cannot_call_its_conductor() {
    let slot: Arc<std::sync::OnceLock<Arc<World>>> = Arc::default();
    let inner = slot.clone();
    let score = move |_: &Asked<'_>, _: &[Candidate], prices: &mut [f64]| {
        let world = inner.get().expect("it was put there");
        prices.fill(0.0);
        let refused = [
            code(world.conductor.schedule(&world.request(&KEYS))),
            code(world.conductor.metrics()),
            code(world.conductor.snapshot()),
            code(world.conductor.sweep()),
            code(world.conductor.register(&serving("p9", Role::Both))),
        ];
        refused.iter().all(|code| *code == Code::InvalidState)
    };
    let world = World::with(exact(), Hooks { score: Some(Box::new(score)), ..Hooks::default() });
    let world = slot.get_or_init(|| Arc::new(world)).clone();
    world.run(&KEYS);
    let text = world.conductor.metrics().expect("nobody is inside");
    assert!(text.contains("hook_failures_total{conductor=\"\",hook=\"score\"} 0\n"), "{text}");
}

#[test]
fn hot_prefixes_are_advised_to_be_copied_and_a_hook_has_the_last_word() {
    let replication = Some(Replication { uses: 2.0, ..Replication::default() });
    let options = || Options { schedule: schedule::Options { replication, ..exact().schedule }, ..exact() };
    let world = World::with(options(), Hooks::default());
    world.store(world.prefill[0], &KEYS);
    let advice = (0..10).find_map(|_| world.run(&KEYS).advice).expect("it is asked for often");
    assert_eq!((&*advice.sender.name, &*advice.receiver.name), ("p0", "p1"));
    assert_eq!((advice.from, &advice.keys[..], advice.context), (0, &KEYS[..], world.context));
    let too_large = world.conductor.take_advice(&mut |_| Err(crate::fail!(BufferTooSmall, "no room")));
    assert_eq!(code(too_large), Code::BufferTooSmall);
    let taken = world.conductor.take_advice(&mut |_| Ok(())).expect("nobody is inside");
    assert_eq!(taken, Some(advice));

    let deny = Hooks {
        replicate: Some(Box::new(|_, found, advice| {
            assert_eq!(found.len(), 3);
            *advice = None;
            true
        })),
        ..Hooks::default()
    };
    let world = World::with(options(), deny);
    world.store(world.prefill[0], &KEYS);
    assert!((0..10).all(|_| world.run(&KEYS).advice.is_none()));
    assert_eq!(world.conductor.take_advice(&mut |_| Ok(())).expect("nobody is inside"), None);
}

fn snapshot() -> (World, Vec<u8>) {
    let world = World::new();
    world.store(world.prefill[0], &KEYS);
    world.store(world.prefill[1], &KEYS[..3]);
    let both = Registration { ranks: 2, ..serving("b0", Role::Both) };
    world.conductor.register(&both).expect("room");
    world.conductor.open_context(&Context { lora: Some("l".into()), ..context() }).expect("room");
    let bytes = world.conductor.snapshot().expect("nobody is inside");
    (world, bytes)
}

fn blank() -> Conductor {
    Conductor::new(exact(), Hooks::default()).expect("the options are fine")
}

#[test]
fn a_conductor_goes_on_from_a_snapshot() {
    let (world, bytes) = snapshot();
    let restored = blank();
    let told = restored.restore(&bytes).expect("it is sound");
    assert_eq!(told, Restored { instances: 4, contexts: 2, blocks: 8 });
    let known = |conductor: &Conductor| {
        let mut all = conductor.instances().expect("nobody is inside");
        all.sort_by(|one, other| one.registration.name.cmp(&other.registration.name));
        all.into_iter().map(|info| info.registration).collect::<Vec<_>>()
    };
    assert_eq!(known(&restored), known(&world.conductor));
    let context = restored.open_context(&context()).expect("it is open");
    let mut found = Vec::new();
    restored.find(context, Prompt::Keys(&KEYS), &mut found).expect("it is open");
    let has = |name: &str| {
        let id = restored.instance(name).expect("it is there");
        found.iter().find(|one| one.instance == id).expect("it holds").blocks
    };
    assert_eq!((has("p0"), has("p1"), has("d0")), ([8; 4], [3; 4], [0; 4]));
    assert_eq!(code(restored.restore(&bytes)), Code::InvalidState);
}

#[test]
fn what_was_learnt_of_an_instance_is_in_the_snapshot() {
    let schedule = schedule::Options { learning: 0.5, eager: false, ..Default::default() };
    let world = World::with(Options { schedule, ..exact() }, Hooks::default());
    let decision = world.run(&KEYS);
    world.conductor.feedback(decision.request, Feedback::Started).expect("it is live");
    // Twice as long as predicted.
    world.pass(16.0);
    world.conductor.feedback(decision.request, Feedback::FirstToken).expect("it is live");
    let restored = blank();
    restored.restore(&world.conductor.snapshot().expect("nobody is inside")).expect("it is sound");
    let context = restored.open_context(&context()).expect("it is open");
    let request = Request { context, ..world.request(&KEYS) };
    let told = restored.explain_request(&request).expect("there is room");
    let told: serde_json::Value = serde_json::from_str(&told).expect("it is JSON");
    let times: Vec<f64> = (0..2)
        .map(|index| told["candidates"][index]["recompute"]["prefill"].as_f64().expect("a number"))
        .collect();
    assert!((times[0] - 12.0).abs() < 1e-6 && (times[1] - 8.0).abs() < 1e-6, "{times:?}");
}

#[test]
fn bytes_that_are_no_snapshot_change_nothing() {
    let (_, bytes) = snapshot();
    let conductor = blank();
    let is_blank = |conductor: &Conductor| {
        conductor.instances().expect("nobody is inside").is_empty()
            && conductor.contexts().expect("nobody is inside").is_empty()
    };
    for length in 0..bytes.len() {
        assert!(conductor.restore(&bytes[..length]).is_err() && is_blank(&conductor), "{length}");
    }
    // What anybody can make who can compute a checksum.
    let body = bytes.len() - 4;
    for at in 0..body {
        for flip in [0x01, 0xff] {
            let mut wrong = bytes.clone();
            wrong[at] ^= flip;
            let sum = crc32c(&wrong[..body]).to_le_bytes();
            wrong[body..].copy_from_slice(&sum);
            let conductor = blank();
            assert!(conductor.restore(&wrong).is_ok() || is_blank(&conductor), "{at} {flip:#x}");
        }
    }
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert_eq!(code(conductor.restore(&newer)), Code::VersionMismatch);
    let mut long = bytes[..body].to_vec();
    long.push(0);
    let sum = crc32c(&long).to_le_bytes();
    long.extend_from_slice(&sum);
    assert_eq!(code(conductor.restore(&long)), Code::Corrupted);
    conductor.restore(&bytes).expect("after all that it still can");
}

#[test]
fn threads_schedule_tell_and_unregister_at_once() {
    let world = World::new();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let world = &world;
            scope.spawn(move || {
                for round in 0..200 {
                    let keys: Vec<u64> =
                        (0..8).map(|block| thread % 2 * 1000 + round % 10 * 10 + block).collect();
                    let decision = world.run(&keys);
                    world.store(world.prefill[thread as usize % 2], &keys);
                    for feedback in [Feedback::FirstToken, Feedback::Finished] {
                        world.conductor.feedback(decision.request, feedback).expect("it is live");
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..50 {
                world.conductor.register(&serving("d1", Role::Decode)).expect("room");
                world.conductor.sweep().expect("nobody is inside");
                world.conductor.snapshot().expect("nobody is inside");
                world.conductor.unregister("d1").expect("it is there");
            }
        });
    });
    let text = world.conductor.metrics().expect("nobody is inside");
    assert!(text.contains("mooncake_conductor_decisions_total{conductor=\"\"} 800\n"), "{text}");
    assert!(text.contains("mooncake_conductor_requests{conductor=\"\"} 0\n"), "{text}");
}

#[test]
fn requests_that_were_given_up_are_forgotten() {
    let world = World::new();
    let named = Request { name: "r", ..world.request(&KEYS) };
    world.conductor.schedule(&named).expect("there is room");
    // Nothing is heard of it, for longer than any doubt.
    world.pass(1000.0);
    world.run(&KEYS);
    world.conductor.sweep().expect("nobody is inside");
    assert_eq!(code(world.conductor.request("r")), Code::NotFound);
}
