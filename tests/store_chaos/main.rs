//! A store of real processes, to whom everything happens at once: killed, stopped, restarted, cut off. Readers are
//! right or told clearly; what was acknowledged is there as long as one of its nodes is; all memory comes back.
//! MC_CHAOS_SECS is how long, MC_SEED plays the same choices again.

mod client;
mod content;
mod faults;
mod history;
mod processes;
mod proxy;
mod watch;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use mooncake::sys::random;

use history::{History, What};
use world::{Plan, World};

/// Tells a process of this test that it is a client.
const ROLE: &str = "MC_CHAOS_ROLE";
/// An operation may end so much later than its deadline: machines are busy.
const SLACK: Duration = Duration::from_secs(15);

/// One at a time: each has the whole machine.
static ONE: Mutex<()> = Mutex::new(());

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
#[ignore = "a process of the other tests"]
fn part() {
    if let Ok(role) = std::env::var(ROLE) {
        client::play(&role);
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_no_wrong_byte_read_whoever_dies_or_sleeps() {
    let secs = number("MC_CHAOS_SECS").unwrap_or(30);
    let node_bytes = 256 << 20;
    run(&Plan { secs, node_bytes, may_lose: false, needs_all_faults: true });
}

#[test]
fn a_store_without_room_gives_up_objects_but_never_shows_a_wrong_byte() {
    let secs = number("MC_CHAOS_SECS").map_or(5, |secs| secs / 6);
    run(&Plan { secs, node_bytes: 12 << 20, may_lose: true, needs_all_faults: false });
}

fn run(plan: &Plan) {
    let _alone = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let seed = number("MC_SEED").unwrap_or_else(|| u64::from_le_bytes(random::bytes()) >> 16);
    println!("MC_SEED={seed} MC_CHAOS_SECS={}", plan.secs);
    let mut world = World::start(plan, seed);
    world.run(plan);
    world.heal();
    let unsettled = world.look_at_every_key();
    let left = world.remove_all();
    let counted = world.end();

    let history = world.history.lock().expect("no panic");
    count(&history);
    println!("{counted:?}");
    let longest = client::DEADLINE + SLACK;
    let mut wrong = history.faults(longest.as_nanos() as u64);
    wrong.extend(unsettled);
    wrong.extend(left);
    if plan.needs_all_faults {
        let missing = counted.iter().filter(|(_, times)| **times == 0);
        wrong.extend(missing.map(|(kind, _)| format!("{kind} did not happen: give it more time")));
    }
    wrong.iter().take(30).for_each(|one| println!("WRONG: {one}"));
    assert!(
        wrong.is_empty(),
        "{} things are wrong; MC_SEED={seed} plays the same choices again",
        wrong.len()
    );
}

/// Prints what was done, and how it ended.
fn count(history: &History) {
    let mut ends: BTreeMap<String, u64> = BTreeMap::new();
    for change in history.changes.values().flatten() {
        let kind = if change.replicas == 0 { "removal" } else { "put" };
        let how = change.end.as_ref().map_or("client killed", |(_, how)| history::code(how));
        *ends.entry(format!("{kind} {how}")).or_default() += 1;
    }
    for read in &history.reads {
        let how = match &read.what {
            What::Failed(failure) => history::code(failure),
            _ => "OK",
        };
        *ends.entry(format!("read {how}")).or_default() += 1;
    }
    // Those who slept in the middle of a write, and were told that it is too late.
    let fenced = |nap: &&(usize, u64, u64)| {
        let begin = format!("client-{}/", nap.0);
        let mut own = history.changes.iter().filter(|(key, _)| key.starts_with(&begin));
        own.any(|(_, changes)| {
            changes.iter().any(|change| {
                let end = change.end.as_ref().filter(|(_, how)| how != "OK");
                change.replicas > 0 && change.begun < nap.1 && end.is_some_and(|(end, _)| *end > nap.2)
            })
        })
    };
    *ends.entry("writers fenced".into()).or_default() = history.naps.iter().filter(fenced).count() as u64;
    println!("{ends:?}");
}
