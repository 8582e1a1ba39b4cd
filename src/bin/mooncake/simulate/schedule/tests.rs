use super::super::numbered::published;
use super::show::{share, swing};
use super::*;
use crate::trace::{Generator, Request};

fn setup(instances: usize, mfu: f64, threshold: Option<f64>) -> Setup {
    let machine = Machine { utilisation: mfu, link_rate: 50e9, ..Machine::A800 };
    Setup {
        instances,
        capacity: 5859,
        cost: Cost::of(&Model::LLAMA3_70B, &machine),
        threshold,
        speed: 1.0,
        full: None,
    }
}

fn named(name: &str) -> Policy {
    Policy::named(name).expect("it is a policy")
}

/// Within half a per cent, or half a unit of the last digit that is known.
fn is_close(what: &str, found: f64, known: f64) {
    let tolerance = (known * 0.005).max(0.0005);
    assert!((found - known).abs() <= tolerance, "{what}: {found:.4}, known as {known}");
}

/// What an independent simulator gives: docs/simulate.md.
#[test]
fn the_published_conversation_has_its_known_first_tokens() {
    let Some(trace) = published("simulate schedule") else { return };
    for (name, mean, p50, p90, hit, busy, moved, busiest) in [
        ("random", 16.573, 8.651, 43.506, 0.1102, 1.7840, 0.0, 0.130),
        ("lb", 2.914, 1.558, 6.794, 0.1073, 1.7943, 0.0, 0.131),
        ("local", 1.842, 0.797, 4.004, 0.2864, 1.4130, 0.0, 0.134),
        ("global", 1.572, 0.587, 3.318, 0.3498, 1.3147, 0.150, 0.135),
        ("maxhit", 9164.0, 9364.0, 15_673.0, 0.1355, 1.7378, 0.0, 1.0),
    ] {
        let played = play(&trace, named(name), &setup(8, 0.5, None)).expect("it can be played");
        for (what, found, known) in [
            ("mean", played.mean(), mean),
            ("p50", played.quantile(0.5), p50),
            ("p90", played.quantile(0.9), p90),
            ("hit rate", share(played.hits, trace.blocks()), hit),
            ("GPU s/request", played.busy / 12_031.0, busy),
            ("moved", share(played.moved, trace.blocks()), moved),
            ("busiest", share(played.busiest(), 12_031), busiest),
        ] {
            is_close(&format!("{name}, {what}"), found, known);
        }
        assert!(
            played.error < 1e-9,
            "{name}: predictions of the reference model come true: {}",
            played.error
        );
    }
}

#[test]
fn the_published_conversation_has_its_known_first_tokens_at_other_sizes_and_thresholds() {
    let Some(trace) = published("simulate schedule") else { return };
    for (instances, known) in [
        (6, [25.56, 3.65, 2.13, 1.743]),
        (8, [8.45, 1.882, 1.353, 1.2145]),
        (10, [6.14, 1.618, 1.2225, 1.119]),
    ] {
        for (name, known) in ["random", "lb", "local", "global"].into_iter().zip(known) {
            let played =
                play(&trace, named(name), &setup(instances, 0.607, Some(1.0))).expect("it can be played");
            is_close(&format!("{name}, {instances} instances"), played.mean(), known);
        }
    }
    for (threshold, mean, hit, moved) in [
        (1.0, 1.572, 0.3498, 0.150),
        (1.5, 1.569, 0.3505, 0.162),
        (2.0, 1.573, 0.3488, 0.157),
        (4.0, 1.579, 0.3465, 0.160),
    ] {
        let played = play(&trace, Policy::GLOBAL, &setup(8, 0.5, Some(threshold))).expect("it can be played");
        is_close(&format!("threshold {threshold}, mean"), played.mean(), mean);
        is_close(&format!("threshold {threshold}, hit rate"), share(played.hits, trace.blocks()), hit);
        is_close(&format!("threshold {threshold}, moved"), share(played.moved, trace.blocks()), moved);
    }
}

fn generated() -> Trace {
    Trace::new(&Generator::new(1, 1000).take(1500).collect::<Vec<Request>>())
}

/// Why waiting must be priced: every request begins with the same block, so all go where it is.
#[test]
fn the_longest_match_sends_everything_to_one_instance() {
    let trace = generated();
    let setup = setup(8, 0.5, None);
    let [global, longest] = [Policy::GLOBAL, named("maxhit")]
        .map(|policy| play(&trace, policy, &setup).expect("it can be played"));
    assert_eq!(longest.busiest(), 1500);
    assert!(global.busiest() < 400, "{:?}", global.requests);
    assert!(longest.mean() > 50.0 * global.mean(), "{} and {}", longest.mean(), global.mean());
}

#[test]
fn the_same_trace_plays_the_same_and_policies_keep_their_order() {
    let trace = generated();
    let setup = setup(6, 0.5, None);
    let play = |name| play(&trace, named(name), &setup).expect("it can be played");
    let means = ["random", "lb", "local", "global"].map(|name| play(name).mean());
    assert!(means.is_sorted_by(|worse, better| worse > better), "{means:?}");
    assert!(play("global") == play("global"));
}

#[test]
fn an_empty_trace_can_be_played() {
    let played = play(&Trace::new(&[]), Policy::GLOBAL, &setup(2, 0.5, None)).expect("it can be played");
    assert_eq!((played.mean(), played.quantile(0.9), played.busiest()), (0.0, 0.0, 0));
}

fn full(admission: Admission, decode_seconds: Option<f64>) -> Full {
    Full { decoders: 8, admission, ttft: 30.0, tbt: 0.02, noise: 0.2, decode_seconds }
}

/// With decoding, busy senders and predictions that are off, the order of the policies is the same.
#[test]
fn the_full_model_keeps_the_order_of_the_policies() {
    let generated = generated();
    let published = published("simulate schedule --model full");
    for trace in published.iter().chain([&generated]) {
        let instances = if trace.requests.len() > 10_000 { 8 } else { 6 };
        let setup = Setup { full: Some(full(Admission::Everything, None)), ..setup(instances, 0.5, None) };
        let played = ["random", "lb", "local", "global"]
            .map(|name| play(trace, named(name), &setup).expect("it can be played"));
        let means: Vec<f64> = played.iter().map(Played::mean).collect();
        assert!(means.is_sorted_by(|worse, better| worse > better), "{means:?}");
        for played in &played {
            assert_eq!(played.ttft.len(), trace.requests.len());
            assert_eq!(played.tbt.len(), trace.requests.len());
            assert!(played.error > 0.0 && played.error < 0.2, "{}", played.error);
        }
    }
}

#[test]
fn every_request_is_served_or_rejected_once() {
    let trace = generated();
    for (_, admission) in Admission::ALL {
        let setup = Setup { speed: 3.0, full: Some(full(admission, Some(40.0))), ..setup(6, 0.5, None) };
        let played = play(&trace, Policy::GLOBAL, &setup).expect("it can be played");
        assert_eq!(played.ttft.len() as u64 + played.rejected.all(), 1500, "{admission:?}");
        let wastes = admission == Admission::Load;
        assert!(!wastes || played.rejected.late > 10 && played.wasted > 0.0, "{:?}", played.rejected);
        assert!(played == play(&trace, Policy::GLOBAL, &setup).expect("it can be played"));
    }
}

/// Early rejection sees a batch that has changed when the prefill ends. What is foreseen is closer to it: fewer
/// prefills are in vain, and the load swings less.
#[test]
fn prediction_wastes_less_and_swings_less_than_early_rejection_alone() {
    let Some(trace) = published("simulate schedule --admission") else { return };
    for decode_seconds in [40.0, 45.0, 50.0] {
        let [load, early, predicted] =
            [Admission::Load, Admission::Early, Admission::Predicted].map(|admission| {
                let full = Some(full(admission, Some(decode_seconds)));
                let setup = Setup { speed: 2.0, full, ..setup(8, 0.5, None) };
                play(&trace, Policy::GLOBAL, &setup).expect("it can be played")
            });
        let late = [&load, &early, &predicted].map(|played| played.rejected.late);
        assert!(late.is_sorted_by(|worse, better| worse > better), "{decode_seconds}: {late:?}");
        let swings = (swing(&early), swing(&predicted));
        assert!(swings.0 > swings.1, "{decode_seconds}: {swings:?}");
    }
}

/// What overload loses with prompts of one length, so that an admission cannot serve more by serving shorter ones: by
/// seconds of decode, the requests that keep both promises under each.
#[test]
fn where_prefill_is_scarce_too_early_rejection_serves_more_and_prediction_most() {
    let arrivals = Generator::new(1, 1000).take(6000);
    let alike = |(number, request): (u64, Request)| Request {
        input_length: 8000,
        hash_ids: (number * 16..number * 16 + 16).collect(),
        ..request
    };
    let trace = Trace::new(&(0..).zip(arrivals).map(alike).collect::<Vec<Request>>());
    for decode_seconds in [70.0, 80.0] {
        let good = [Admission::Load, Admission::Early, Admission::Predicted].map(|admission| {
            let full = Some(full(admission, Some(decode_seconds)));
            let setup = Setup { speed: 2.5, full, ..setup(8, 0.3, None) };
            play(&trace, Policy::GLOBAL, &setup).expect("it can be played").good
        });
        assert!(good.is_sorted_by(|less, more| less < more), "{decode_seconds}: {good:?}");
        assert!(good[2] as f64 > 1.2 * good[0] as f64, "{decode_seconds}: {good:?}");
    }
}
