//! What goes wrong, and the end of it.

use super::message::Place;
use super::world::{CLIENTS, Context, Event, MASTERS, NODES, World};

/// True once every kind of crash happened often enough.
pub fn had_its_share(context: &Context) -> bool {
    let counters = &context.counters;
    counters.master_crashes >= 1
        && counters.node_crashes >= 1
        && counters.master_crashes + counters.node_crashes + counters.client_crashes >= 3
}

/// Lets something go wrong now, and again later.
pub fn strike(world: &mut World) {
    if world.context.healed {
        return;
    }
    let again = world.context.random.between(100, 2500);
    world.context.after(again, Event::Fault);
    let (kind, which) = (world.context.random.below(100), world.context.random.bits());
    let (node, client) = (which as usize % NODES, which as usize % CLIENTS);
    match kind {
        0..14 => crash_master(world),
        14..32 => crash(world, Place::Node(node), 4000),
        32..42 => crash(world, Place::Client(client), 1000),
        42..62 => stop(world, Place::Client(client), 6000),
        62..70 => stop(world, Place::Node(node), 4500),
        70..74 => stop(world, Place::Master(0), 4000),
        74..92 => cut(world, which),
        _ => mistake(world),
    }
}

fn crash(world: &mut World, place: Place, back_within: u64) {
    if !world.context.running.contains_key(&place) {
        return;
    }
    let counters = &mut world.context.counters;
    match place {
        Place::Master(_) => counters.master_crashes += 1,
        Place::Node(_) => counters.node_crashes += 1,
        Place::Client(_) => counters.client_crashes += 1,
    }
    world.crash(place);
    let delay = world.context.random.between(1, back_within);
    world.context.after(delay, Event::Start(place));
}

/// Often the next one dies too, while it is asking around.
fn crash_master(world: &mut World) {
    let is_young = world.masters[0].as_ref().is_some_and(|master| !master.state.is_serving());
    world.context.counters.crashes_in_rebuild += u64::from(is_young);
    crash(world, Place::Master(0), 1500);
    if world.context.random.happens(400) {
        let soon = world.context.random.between(10, 2500);
        world.context.after(soon, Event::Fault);
    }
}

fn stop(world: &mut World, place: Place, for_up_to: u64) {
    if world.context.running.contains_key(&place) {
        world.context.counters.stopped_processes += 1;
        let until = world.context.now + world.context.random.between(10, for_up_to);
        world.context.stopped.insert(place, until);
    }
}

fn cut(world: &mut World, which: u64) {
    let places: Vec<Place> = (0..MASTERS)
        .map(Place::Master)
        .chain((0..NODES).map(Place::Node))
        .chain((0..CLIENTS).map(Place::Client))
        .collect();
    let (a, b) = (places[which as usize % places.len()], places[(which >> 32) as usize % places.len()]);
    world.context.counters.partitions += 1;
    let until = world.context.now + world.context.random.between(50, 6000);
    world.context.cuts.insert((a.min(b), a.max(b)), until);
}

/// A second master is started while the first one runs, until somebody notices.
fn mistake(world: &mut World) {
    let second = Place::Master(1);
    if !world.context.running.contains_key(&second) {
        world.context.counters.second_masters += 1;
        world.context.after(0, Event::Start(second));
        let end = world.context.random.between(500, 5000);
        world.context.after(end, Event::End(second));
    }
}

/// Nothing goes wrong any more: one master, all nodes, and clients that take away what is there.
pub fn heal(world: &mut World) {
    world.context.healed = true;
    world.context.healed_at = world.context.now;
    world.context.cuts.clear();
    let now = world.context.now;
    world.context.stopped.values_mut().for_each(|until| *until = (*until).min(now));
    world.crash(Place::Master(1));
    let places = std::iter::once(Place::Master(0)).chain((0..NODES).map(Place::Node));
    for place in places.chain((0..CLIENTS).map(Place::Client)) {
        world.context.after(0, Event::Start(place));
    }
}
