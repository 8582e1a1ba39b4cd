//! What an object costs a master, for a key of 44 bytes and one replica.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use mooncake::store::eviction::Policy;
use mooncake::store::master::{Config, Effect, PutStart, State};
use mooncake::store::message::Offer;
use mooncake::store::node::{Inventory, Reaction};
use mooncake::store::object::{ClientId, MasterId, Name, NodeId, ReplicateConfig, SegmentId, Token};

/// Counts what is allocated at the moment, as the system's allocator rounds it.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// glibc has a word of its own in front of each block, and blocks of 16 bytes.
fn taken(size: usize) -> usize {
    (size + 8).next_multiple_of(16).max(32)
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(taken(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(taken(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// When the node has joined.
const NOW: u64 = 3000;
const OBJECTS: u64 = 250_000;

fn settle(now: u64, master: &mut State, node: &mut Inventory) {
    loop {
        let effects = master.effects();
        if effects.is_empty() {
            return;
        }
        for effect in effects {
            let Effect::Send(order) = effect else { continue };
            for reaction in node.obey(now, &order) {
                let Reaction::Send(report) = reaction else { continue };
                master.handle(now, report);
            }
        }
    }
}

/// Bytes for each of many objects.
fn cost(policy: Policy) -> f64 {
    let config = Config { found_after_ms: Some(0), policy, ..Config::default() };
    let mut master = State::new(config, MasterId(1), 0);
    let mut node = Inventory::new(NodeId(1), "n", "host", 7000);
    node.mount(Offer { segment: SegmentId(1), name: "s".into(), length: 1 << 34 });
    for now in (0..=NOW).step_by(500) {
        master.tick(now);
        master.handle(now, node.hello());
        settle(now, &mut master, &mut node);
    }
    let put = |master: &mut State, index: u64| {
        let key = format!("{index:044}");
        let name = Name { tenant: "t", key: key.as_bytes() };
        let client = ClientId(7);
        let config = ReplicateConfig::default();
        let grant =
            master.put_start(NOW, PutStart { name, client, size: 4096, config: &config, upsert: false });
        let version = grant.expect("room").version;
        master.put_commit(NOW, name, client, version, Token(index)).expect("granted");
        master.effects().clear();
    };
    put(&mut master, 0);
    let before = LIVE.load(Ordering::Relaxed);
    (1..=OBJECTS).for_each(|index| put(&mut master, index));
    let each = (LIVE.load(Ordering::Relaxed) - before) as f64 / OBJECTS as f64;
    println!("{each:.1} bytes for each of {OBJECTS} objects, {policy:?}");
    each
}

#[test]
fn an_object_costs_at_most_200_bytes() {
    assert!(cost(Policy::Lru) <= 175.0);
    // What the default policy measures with costs most where there are few objects.
    assert!(cost(Policy::Default) <= 200.0);
}
