//! What the conductor's index and scheduler take: memory per block, allocations; and, when asked for, time.
//!
//! `cargo test --release --test conductor -- --ignored --nocapture --test-threads 1` prints the times at 10 million blocks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mooncake::conductor::cost::{Cost, Machine, Model};
use mooncake::conductor::index::{Event, Holder, HolderId, Limits, Matches, PrefixIndex, Tier};
use mooncake::conductor::schedule::{
    InstanceId, Options, Policy, Prefix, Request, RequestId, Role, Scheduler,
};
use parking_lot::RwLock;

/// Counts what each thread asks for and holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending has no counter any more.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const INSTANCES: u32 = 256;
/// Blocks of a prompt, of which the first two are the same in all: a system prompt that every instance holds.
const CHAIN: u64 = 1024;
const SHARED: u64 = 2;

fn cluster() -> (PrefixIndex, Vec<HolderId>) {
    let mut index = PrefixIndex::new(Limits::default(), 0x5eed);
    let name = |number| Holder { instance: format!("instance-{number}"), rank: 0 };
    let ids = (0..INSTANCES).map(|number| index.register(name(number)).expect("room")).collect();
    (index, ids)
}

fn chain(number: u64) -> Vec<u64> {
    let key = |at| if at < SHARED { at } else { random(number * CHAIN + at) };
    (0..CHAIN).map(key).collect()
}

/// SplitMix64.
fn random(number: u64) -> u64 {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// How prompts come: their blocks in events of so many, and so many prompts by turns.
#[derive(Clone, Copy)]
struct Mix {
    run: usize,
    prompts: usize,
}

/// Chunks of prefill: a prompt at each instance.
const CHUNKS: Mix = Mix { run: RUN, prompts: INSTANCES as usize };
/// Each block alone among many others, as while all of them decode.
const ALONE: Mix = Mix { run: 1, prompts: INSTANCES as usize };

/// Each chain whole at one instance, on device and host; a half and a quarter of it at two more.
fn fill(index: &mut PrefixIndex, ids: &[HolderId], chains: u64, mix: Mix) {
    let numbers: Vec<u64> = (0..chains).collect();
    for numbers in numbers.chunks(mix.prompts) {
        let prompts: Vec<Vec<u64>> = numbers.iter().map(|number| chain(*number)).collect();
        for from in (0..CHAIN as usize).step_by(mix.run) {
            for (number, keys) in numbers.iter().zip(&prompts) {
                for (place, share) in [(0, 1), (1, 2), (2, 4)] {
                    let holder = ids[random(number ^ place << 40) as usize % ids.len()];
                    let keys = keys[..keys.len() / share].get(from..).unwrap_or_default();
                    let keys = &keys[..keys.len().min(mix.run)];
                    index.apply(&[Event::Stored { holder, tier: Tier::Device, keys }], *number);
                    if place == 0 {
                        index.apply(&[Event::Stored { holder, tier: Tier::Host, keys }], *number);
                    }
                }
            }
        }
    }
    for holder in ids {
        let keys: Vec<u64> = (0..SHARED).collect();
        index.apply(&[Event::Stored { holder: *holder, tier: Tier::Device, keys: &keys }], chains);
    }
}

/// Bytes that `make` leaves allocated, and what it made.
fn held<T>(make: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.get();
    let made = make();
    ((HELD.get() - before) as usize, made)
}

#[test]
fn a_block_with_few_holders_takes_less_than_forty_bytes_at_every_size() {
    let (mut index, ids) = cluster();
    let (mut bytes, mut filled) = (0, 0);
    for chains in [20, 50, 100, 140, 180, 220, 260, 300, 600, 1000] {
        let more = held(|| {
            for number in filled..chains {
                let (keys, holder) = (chain(number), ids[number as usize % ids.len()]);
                index.apply(&[Event::Stored { holder, tier: Tier::Device, keys: &keys[2..] }], 0);
                index.apply(&[Event::Stored { holder, tier: Tier::Host, keys: &keys[2..] }], 0);
            }
        });
        (bytes, filled) = (bytes + more.0 as isize, chains);
        let each = bytes as f64 / index.len() as f64;
        assert!((25.0..40.0).contains(&each), "{each:.1} bytes per block of {}", index.len());
    }
}

#[test]
fn a_block_with_many_holders_takes_a_bit_per_slot_and_plane_more() {
    let (mut index, ids) = cluster();
    let keys: Vec<u64> = (0..50_000).map(random).collect();
    let (bytes, ()) = held(|| {
        for holder in ids.iter().rev().step_by(10) {
            index.apply(&[Event::Stored { holder: *holder, tier: Tier::Device, keys: &keys }], 0);
        }
    });
    let each = bytes as f64 / keys.len() as f64;
    assert!((29.0 + 24.0 + 160.0..40.0 + 48.0 + 160.0).contains(&each), "{each:.1} bytes per block");
}

#[test]
fn what_is_removed_gives_its_memory_back() {
    let (mut index, ids) = cluster();
    let keys: Vec<u64> = (0..100_000).map(random).collect();
    let (bytes, ()) = held(|| {
        for (stored, holder) in [(true, ids[0]), (true, ids[1]), (false, ids[0])] {
            let (tier, keys) = (Tier::Device, &keys[..]);
            let removed = Event::Removed { holder, tier, keys };
            index.apply(&[if stored { Event::Stored { holder, tier, keys } } else { removed }], 0);
        }
        index.unregister(ids[1]).expect("registered");
        index.sweep(usize::MAX, 0);
        index.sweep(usize::MAX, 0);
    });
    assert!(index.is_empty());
    assert!(bytes < 20_000, "{bytes} bytes stay");
}

#[test]
fn a_match_allocates_nothing_once_its_answer_has_room() {
    let (mut index, ids) = cluster();
    fill(&mut index, &ids, 3, CHUNKS);
    let (keys, mut matches) = (chain(1), Matches::default());
    index.find(&keys, 0, &mut matches);
    let before = CALLS.get();
    index.find(&keys, 1, &mut matches);
    assert_eq!(CALLS.get() - before, 0);
    assert_eq!((matches.longest(Tier::Device), matches.holders().len()), (1024, 256));
}

/// Requests at once: so many that each instance has some.
const UNDER_WAY: usize = 600;

/// A scheduler of as many instances as the index has, and a prefix for each of them.
struct Router {
    scheduler: Scheduler,
    found: Vec<Prefix>,
    under_way: VecDeque<RequestId>,
    step: u64,
}

impl Router {
    fn new(policy: Policy) -> Router {
        let mut scheduler = Scheduler::new(Options { policy, ..Options::default() }).expect("they are fine");
        let cost = Cost::of(&Model::LLAMA3_70B, &Machine::A800);
        let add = |_| scheduler.add(Role::Both, cost, 0.0).expect("room");
        let ids: Vec<InstanceId> = (0..INSTANCES).map(add).collect();
        let nothing = |instance| Prefix { instance, blocks: [0; 4], promised: 0 };
        let found = ids.into_iter().map(nothing).collect();
        Router { scheduler, found, under_way: VecDeque::new(), step: 0 }
    }

    /// So many that each instance had one, and as many ended as came.
    fn warm_up(&mut self) {
        for _ in 0..UNDER_WAY + 100 {
            self.next();
        }
    }

    /// One request with a prefix here and there, UNDER_WAY of them under way. How long the decision took.
    fn next(&mut self) -> Duration {
        self.step += 1;
        for _ in 0..4 {
            let (chosen, length) =
                (random(self.step) as usize % self.found.len(), random(!self.step) as u32 % 200);
            self.found[chosen].blocks = [length / 2, length, length, length];
        }
        let request = Request { tokens: 1 + random(self.step ^ 0x77) % 100_000, ..Request::default() };
        let now = self.step as f64 / 100.0;
        let start = Instant::now();
        let verdict = self.scheduler.decide(&request, &self.found, now);
        let taken = start.elapsed();
        let decision = verdict.expect("there is room").decision().expect("everything is taken on");
        self.under_way.push_back(decision.request);
        if self.under_way.len() > UNDER_WAY {
            let ended = self.under_way.pop_front().expect("it is not empty");
            self.scheduler.started(ended, now).expect("it waits");
            self.scheduler.first_token(ended, now).expect("it has begun");
            self.scheduler.finished(ended, now).expect("it had its first token");
        }
        taken
    }
}

#[test]
fn a_decision_allocates_nothing_once_requests_came_and_went() {
    for policy in Policy::ALL {
        let mut router = Router::new(policy);
        router.warm_up();
        let before = CALLS.get();
        router.warm_up();
        assert_eq!(CALLS.get() - before, 0, "{}", policy.name);
    }
}

#[test]
#[ignore = "prints times"]
fn times_of_decisions_among_256_instances() {
    for policy in Policy::ALL {
        let mut router = Router::new(policy);
        router.warm_up();
        let times = (0..100_000).map(|_| router.next()).collect();
        println!("{:<8} {}", policy.name, percentiles(times));
    }
}

/// What engines do all the time: store a run of blocks somewhere, and remove one that was stored long ago. In a tier
/// of its own, so that the chains that are matched stay whole.
struct Traffic<'a> {
    ids: &'a [HolderId],
    chains: u64,
    /// Blocks of an event.
    run: usize,
    step: u64,
    stored: VecDeque<(HolderId, Vec<u64>)>,
}

/// Blocks of an event of an engine in the middle of a prefill.
const RUN: usize = 32;

impl Traffic<'_> {
    /// The number of blocks that were stored and removed.
    fn next(&mut self, mut apply: impl FnMut(Event<'_>)) -> usize {
        self.step += 1;
        let (chosen, holder) = (random(self.step), self.ids[random(!self.step) as usize % self.ids.len()]);
        // Every second run is new to the index.
        let number = if chosen % 2 == 0 { self.chains + self.step } else { chosen % self.chains };
        let from = (chosen >> 32) as usize % (CHAIN as usize - self.run);
        let keys: Vec<u64> = (from..from + self.run).map(|at| random(number * CHAIN + at as u64)).collect();
        apply(Event::Stored { holder, tier: Tier::Disk, keys: &keys });
        self.stored.push_back((holder, keys));
        if self.stored.len() <= 10_000 {
            return self.run;
        }
        let (holder, keys) = self.stored.pop_front().expect("it is not empty");
        apply(Event::Removed { holder, tier: Tier::Disk, keys: &keys });
        self.run + keys.len()
    }
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    format!(
        "p50 {:.1} us, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0)
    )
}

/// Matches of whole chains chosen at random; the keys are made before the clock starts.
fn time_matches(chains: u64, count: u64, mut find: impl FnMut(&[u64], &mut Matches)) -> Vec<Duration> {
    let (mut matches, mut whole) = (Matches::default(), 0);
    let times = (0..count).map(|number| {
        let keys = chain(random(number ^ 0xabcd) % chains);
        let start = Instant::now();
        find(&keys, &mut matches);
        let taken = start.elapsed();
        whole += usize::from(matches.longest(Tier::Device) == CHAIN as u32);
        taken
    });
    let times: Vec<Duration> = times.collect();
    println!("  {whole} of {count} chains were found whole");
    times
}

#[test]
#[ignore = "prints times and takes memory for 10 million blocks"]
fn times_at_ten_million_blocks() {
    println!("blocks came in runs of {RUN}:");
    times_of_matches(CHUNKS);
}

#[test]
#[ignore = "prints times and takes memory for 10 million blocks"]
fn times_at_ten_million_blocks_that_came_alone() {
    println!("blocks came one by one:");
    times_of_matches(ALONE);
}

fn times_of_matches(mix: Mix) {
    let (mut index, ids) = cluster();
    let chains = 10_000_000 / CHAIN + 10;
    let start = Instant::now();
    let (bytes, ()) = held(|| fill(&mut index, &ids, chains, mix));
    let events = chains as f64 * CHAIN as f64 * 2.75;
    println!("{} blocks, {:.1} bytes each", index.len(), bytes as f64 / index.len() as f64);
    println!("filled at {:.2} M blocks of events per second", events / start.elapsed().as_secs_f64() / 1e6);
    let still = time_matches(chains, 20_000, |keys, matches| index.find(keys, chains, matches));
    println!("match of {CHAIN} blocks, index at rest: {}", percentiles(still));

    let mut traffic = Traffic { ids: &ids, chains, run: RUN, step: 0, stored: VecDeque::new() };
    let (start, mut blocks) = (Instant::now(), 0);
    while blocks < 5_000_000 {
        blocks += traffic.next(|event| _ = index.apply(&[event], chains));
    }
    println!("events alone: {:.2} M blocks per second", blocks as f64 / start.elapsed().as_secs_f64() / 1e6);

    let lock = RwLock::new(index);
    for run in [RUN, 1] {
        traffic.run = run;
        time_matches_with_events(&lock, &mut traffic);
    }
    let mut index = lock.into_inner();
    let start = Instant::now();
    index.unregister(ids[0]).expect("registered");
    println!("unregistering one of {INSTANCES}: {:?}", start.elapsed());
    let start = Instant::now();
    index.sweep(usize::MAX, chains + 5000);
    println!("one round over the whole table: {:?}", start.elapsed());
}

/// Matches behind a lock, while events of 200,000 blocks come in each second.
fn time_matches_with_events(lock: &RwLock<PrefixIndex>, traffic: &mut Traffic<'_>) {
    let (chains, run, done) = (traffic.chains, traffic.run, AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (start, mut blocks) = (Instant::now(), 0);
            while !done.load(Ordering::Relaxed) {
                // The service locks for one event, too.
                blocks += traffic.next(|event| _ = lock.write().apply(&[event], chains + 5000));
                let due = Duration::from_secs_f64(blocks as f64 / 200_000.0);
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
            blocks as f64 / start.elapsed().as_secs_f64()
        });
        let times = time_matches(chains, 20_000, |keys, matches| {
            lock.read().find(keys, chains + 5000, matches);
        });
        done.store(true, Ordering::Relaxed);
        println!(
            "match of {CHAIN} blocks, with events of {run} blocks behind a lock: {}",
            percentiles(times)
        );
        println!("  the writer took {:.0} blocks of events per second", writer.join().expect("no panic"));
    });
}
