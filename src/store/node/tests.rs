//! An inventory under orders, writers and evidence, in every order that a network can bring them.

use std::sync::Arc;

use super::obey::PAGE;
use super::*;
use crate::error::Code;
use crate::store::message::*;
use crate::store::object::*;
use crate::store::view::{View, ViewId};

const NODE: NodeId = NodeId(7);
const WRITER: ClientId = ClientId(40);
const HORIZON: u64 = 1000;

fn inventory() -> Inventory {
    let mut inventory = Inventory::new(NODE, "n", "host", HORIZON);
    inventory.mount(Offer { segment: SegmentId(1), name: "s".into(), length: 1 << 20 });
    obey(&mut inventory, 0, 1, Command::Claim { ask: 0, after: None });
    inventory
}

fn generation(epoch: u64, count: u64) -> Generation {
    Generation(Epoch(epoch).first_generation().0 + count)
}

fn entry(generation: Generation, offset: u64, length: u64) -> Entry {
    Entry {
        segment: SegmentId(1),
        offset,
        length,
        generation,
        tenant: "t".into(),
        key: b"key".as_slice().into(),
        version: Version(generation.0),
        size: length,
        stripe: 0,
        stripes: 1,
        replicas: 1,
        hard_pin: false,
        soft_pin_ms: 0,
        group: "".into(),
        state: EntryState::Writing { writer: WRITER },
    }
}

fn spot(generation: Generation, offset: u64) -> Spot {
    Spot { segment: SegmentId(1), offset, generation }
}

fn order(epoch: u64, floor: Generation, command: Command) -> Order {
    Order { epoch: Epoch(epoch), master: MasterId(epoch), to: NODE, floor, command }
}

fn obey(inventory: &mut Inventory, now: u64, epoch: u64, command: Command) -> Vec<Reaction> {
    inventory.obey(now, &order(epoch, Epoch(epoch).first_generation(), command))
}

fn drop_of(generation: Generation, offset: u64, readers_ms: u64) -> Command {
    Command::Drop { spot: spot(generation, offset), length: 100, readers_ms, writer_done: false }
}

/// Raises the floor above every grant of the epoch.
fn floor_above(inventory: &mut Inventory, now: u64, epoch: u64) -> Vec<Reaction> {
    inventory.obey(now, &order(epoch, generation(epoch, 1 << 30), Command::Lead { sent: 0, view: None }))
}

fn released(reactions: &[Reaction]) -> Vec<Spot> {
    let spot = |reaction: &Reaction| match reaction {
        Reaction::Send(Report::Dropped { spot, released: true, .. }) => Some(*spot),
        _ => None,
    };
    reactions.iter().filter_map(spot).collect()
}

fn committed(inventory: &mut Inventory, generation: Generation, offset: u64) {
    inventory.prepare(NODE, entry(generation, offset, 100), WRITER).expect("prepared");
    inventory.commit(0, NODE, spot(generation, offset), WRITER).expect("committed");
}

#[test]
fn a_range_is_opened_once_and_written_by_its_writer_only() {
    let mut inventory = inventory();
    let g = generation(1, 1);
    inventory.prepare(NODE, entry(g, 0, 100), WRITER).expect("free");
    inventory.prepare(NODE, entry(g, 0, 100), WRITER).expect("the same again");
    assert!(inventory.prepare(NODE, entry(g, 0, 100), ClientId(41)).is_err());
    assert_eq!(
        inventory.prepare(NODE, entry(generation(1, 2), 50, 100), WRITER).expect_err("held").code,
        Code::Busy
    );
    assert!(inventory.may_write(NODE, spot(g, 0), WRITER, 10, 90).is_ok());
    assert!(inventory.may_write(NODE, spot(g, 0), WRITER, 10, 91).is_err(), "beyond the range");
    assert!(inventory.may_write(NODE, spot(g, 0), ClientId(41), 10, 90).is_err());
    assert!(inventory.may_write(NODE, spot(g, 0), WRITER, u64::MAX, 2).is_err());
    inventory.commit(0, NODE, spot(g, 0), WRITER).expect("written");
    inventory.commit(0, NODE, spot(g, 0), WRITER).expect("the same again");
    assert!(inventory.may_write(NODE, spot(g, 0), WRITER, 10, 90).is_err(), "it is committed");
    assert_eq!(inventory.entries().map(|one| one.state).collect::<Vec<_>>(), [EntryState::Committed]);
}

#[test]
fn ranges_outside_the_segment_are_refused() {
    let mut inventory = inventory();
    for (offset, length) in [(1 << 20, 1), ((1 << 20) - 1, 2), (u64::MAX, 2), (0, 0)] {
        let refused = inventory.prepare(NODE, entry(generation(1, 1), offset, length), WRITER);
        assert_eq!(refused.expect_err("outside").code, Code::InvalidArgument);
    }
}

#[test]
fn a_later_master_ends_what_an_earlier_one_granted() {
    let mut inventory = inventory();
    let g = generation(1, 1);
    inventory.prepare(NODE, entry(g, 0, 100), WRITER).expect("free");
    obey(&mut inventory, 0, 2, Command::Claim { ask: 0, after: None });
    assert_eq!(inventory.commit(0, NODE, spot(g, 0), WRITER).expect_err("late").code, Code::Canceled);
    assert!(inventory.may_write(NODE, spot(g, 0), WRITER, 0, 1).is_err());
    assert!(inventory.prepare(NODE, entry(generation(1, 2), 200, 100), WRITER).is_err());
    assert!(inventory.prepare(NODE, entry(generation(3, 1), 200, 100), WRITER).is_err(), "not promised");
    let refused = obey(&mut inventory, 0, 1, drop_of(g, 0, 0));
    assert!(matches!(refused[..], [Reaction::Send(Report::Refused { promised: Epoch(2), .. })]));
}

#[test]
fn one_epoch_is_promised_to_one_master() {
    let mut inventory = inventory();
    let rival =
        Order { master: MasterId(9), ..order(1, Generation(0), Command::Claim { ask: 0, after: None }) };
    assert!(matches!(inventory.obey(0, &rival)[..], [Reaction::Send(Report::Refused { .. })]));
}

#[test]
fn what_was_committed_is_free_once_readers_are_gone() {
    let mut inventory = inventory();
    let g = generation(1, 1);
    committed(&mut inventory, g, 0);
    floor_above(&mut inventory, 0, 1);
    let reactions = obey(&mut inventory, 10, 1, drop_of(g, 0, 50));
    assert!(matches!(reactions[..], [Reaction::Send(Report::Dropped { released: false, .. })]));
    assert!(inventory.may_read(NODE, spot(g, 0)).is_ok());
    assert_eq!(inventory.next_tick(), Some(60));
    assert!(released(&inventory.tick(59)).is_empty());
    assert_eq!(released(&inventory.tick(60)), [spot(g, 0)]);
    assert!(inventory.may_read(NODE, spot(g, 0)).is_err());
    assert_eq!(released(&obey(&mut inventory, 70, 1, drop_of(g, 0, 50))), [spot(g, 0)], "asked again");
}

#[test]
fn a_writer_that_never_came_back_holds_its_range_until_there_is_evidence() {
    let mut inventory = inventory();
    let g = generation(1, 1);
    inventory.prepare(NODE, entry(g, 0, 100), WRITER).expect("free");
    floor_above(&mut inventory, 0, 1);
    let reactions = obey(&mut inventory, 0, 1, drop_of(g, 0, 0));
    assert!(reactions.iter().any(|one| matches!(one, Reaction::Fence { writer: WRITER })));
    assert!(inventory.tick(u64::MAX).is_empty(), "time shows nothing");
    assert!(inventory.evidence(0, Evidence::Fenced { writer: ClientId(41) }).is_empty());
    assert_eq!(released(&inventory.evidence(0, Evidence::Fenced { writer: WRITER })), [spot(g, 0)]);
}

#[test]
fn a_writer_that_says_it_is_done_frees_its_own_grant() {
    let mut inventory = inventory();
    let (a, b) = (generation(1, 1), generation(1, 2));
    inventory.prepare(NODE, entry(a, 0, 100), WRITER).expect("free");
    inventory.prepare(NODE, entry(b, 100, 100), WRITER).expect("free");
    floor_above(&mut inventory, 0, 1);
    let freed = inventory.evidence(0, Evidence::Done { writer: WRITER, generation: a });
    assert_eq!(released(&freed), [spot(a, 0)]);
    assert!(inventory.may_write(NODE, spot(b, 100), WRITER, 100, 1).is_ok());
}

#[test]
fn a_grant_that_was_dropped_before_its_writer_came_stays_closed() {
    let mut inventory = inventory();
    let g = generation(1, 5);
    let reactions = obey(&mut inventory, 0, 1, drop_of(g, 0, 0));
    assert!(matches!(reactions[..], [Reaction::Send(Report::Dropped { released: false, .. })]));
    assert_eq!(inventory.prepare(NODE, entry(g, 0, 100), WRITER).expect_err("late").code, Code::Canceled);
    assert_eq!(released(&floor_above(&mut inventory, 0, 1)), [spot(g, 0)]);
    let late = inventory.prepare(NODE, entry(g, 0, 100), WRITER);
    assert_eq!(late.expect_err("below the floor").code, Code::Canceled);
}

#[test]
fn pages_tell_every_entry_once() {
    let mut inventory = inventory();
    inventory.mount(Offer { segment: SegmentId(2), name: "u".into(), length: 1 << 20 });
    let count = PAGE * 2 + 10;
    for index in 0..count as u64 {
        let segment = SegmentId(1 + index % 2);
        let one = Entry { segment, ..entry(generation(1, index), index * 100, 100) };
        inventory.prepare(NODE, one, WRITER).expect("free");
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let reactions = obey(&mut inventory, 0, 1, Command::Claim { ask: 0, after });
        let [Reaction::Send(Report::Page { entries, next, .. })] = &reactions[..] else {
            panic!("{reactions:?}")
        };
        seen.extend(entries.iter().map(|one| one.generation));
        if next.is_none() {
            break;
        }
        after = *next;
    }
    assert_eq!(seen.len(), count);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn views_are_adopted_upwards() {
    let mut inventory = inventory();
    let view = |number, members: &[u64]| {
        let id = ViewId { epoch: Epoch(1), number };
        Some(Arc::new(View { id, members: members.iter().copied().map(NodeId).collect(), ..View::default() }))
    };
    for (given, expected) in
        [(view(2, &[7]), 2), (view(1, &[7]), 2), (view(4, &[8]), 4), (view(3, &[7, 8]), 4)]
    {
        let reactions = obey(&mut inventory, 0, 1, Command::Lead { sent: 5, view: given });
        let [Reaction::Send(Report::Following { sent: 5, view: Some(id), .. })] = reactions[..] else {
            panic!("{reactions:?}")
        };
        assert_eq!(id.number, expected);
    }
}

#[test]
fn a_node_that_was_expelled_gives_up_all_and_reuses_it_late() {
    let mut inventory = inventory();
    let (a, b) = (generation(1, 1), generation(1, 2));
    committed(&mut inventory, a, 0);
    inventory.prepare(NODE, entry(b, 100, 100), WRITER).expect("free");
    let view = ViewId { epoch: Epoch(2), number: 9 };
    let reactions = obey(&mut inventory, 10, 2, Command::Expelled { view });
    assert!(matches!(reactions[..], [Reaction::Discarded]));
    inventory.rename(NodeId(8));
    let late = inventory.prepare(NODE, entry(generation(2, 3), 300, 100), WRITER);
    assert_eq!(late.expect_err("another node").code, Code::PeerRestarted);
    assert!(inventory.tick(9 + HORIZON).is_empty());
    assert_eq!(released(&inventory.tick(10 + HORIZON)), [spot(a, 0)]);
    assert_eq!(released(&inventory.evidence(0, Evidence::Fenced { writer: WRITER })), []);
    assert_eq!(released(&inventory.tick(10 + HORIZON)), [spot(b, 100)]);
}

#[test]
fn a_fetch_is_prepared_once_and_ends_with_a_word() {
    let mut inventory = inventory();
    let g = generation(1, 1);
    let fetch = || Command::Fetch { entry: Box::new(entry(g, 0, 100)), from: Vec::new() };
    assert!(matches!(obey(&mut inventory, 0, 1, fetch())[..], [Reaction::Fetch { .. }]));
    assert!(obey(&mut inventory, 0, 1, fetch()).is_empty(), "it is under way");
    let ended = inventory.fetched(0, spot(g, 0), true);
    assert!(matches!(ended[..], [Reaction::Send(Report::Fetched { done: true, .. })]));
    assert!(matches!(
        obey(&mut inventory, 0, 1, fetch())[..],
        [Reaction::Send(Report::Fetched { done: true, .. })]
    ));
    // One that was dropped meanwhile is over when the node itself says so.
    let h = generation(1, 2);
    obey(&mut inventory, 0, 1, Command::Fetch { entry: Box::new(entry(h, 200, 100)), from: Vec::new() });
    obey(&mut inventory, 0, 1, drop_of(h, 200, 0));
    floor_above(&mut inventory, 0, 1);
    let ended = inventory.fetched(0, spot(h, 200), true);
    assert!(matches!(ended[0], Reaction::Send(Report::Fetched { done: false, .. })));
    assert_eq!(released(&ended), [spot(h, 200)]);
}

#[test]
fn a_segment_that_holds_something_cannot_be_taken_back() {
    let mut inventory = inventory();
    let g = generation(1, 1);
    committed(&mut inventory, g, 0);
    assert_eq!(inventory.unmount(SegmentId(1)).expect_err("held").code, Code::Busy);
    floor_above(&mut inventory, 0, 1);
    obey(&mut inventory, 0, 1, drop_of(g, 0, 0));
    assert!(inventory.unmount(SegmentId(1)).is_ok() && inventory.unmount(SegmentId(1)).is_err());
}

#[test]
fn a_word_about_one_writer_floor_or_moment_frees_what_waited_for_all_of_them() {
    let mut inventory = inventory();
    for count in 0..4 {
        let one = entry(generation(1, count), count * 100, 100);
        inventory.prepare(NODE, one, ClientId(40 + count % 2)).expect("free");
    }
    // 0 and 2 of one writer, 1 and 3 of another; 3 is committed, and 1 may be read for a while.
    inventory.commit(0, NODE, spot(generation(1, 3), 300), ClientId(41)).expect("prepared");
    for (count, readers_ms) in [(0, 0), (1, 50), (2, 0), (3, 0)] {
        obey(&mut inventory, 0, 1, drop_of(generation(1, count), count * 100, readers_ms));
    }
    assert_eq!(inventory.quarantined(), 4);
    let lead = || Command::Lead { sent: 0, view: None };
    let freed = inventory.obey(0, &order(1, generation(1, 4), lead()));
    assert_eq!(released(&freed), [spot(generation(1, 3), 300)], "the others have writers");
    let freed = inventory.evidence(0, Evidence::Fenced { writer: ClientId(40) });
    assert_eq!(released(&freed), [spot(generation(1, 0), 0), spot(generation(1, 2), 200)]);
    assert_eq!(inventory.evidence(0, Evidence::Fenced { writer: ClientId(41) }).len(), 0);
    // A later drop knows of later readers.
    obey(&mut inventory, 10, 1, drop_of(generation(1, 1), 100, 90));
    assert_eq!(inventory.next_tick(), Some(100));
    assert_eq!((released(&inventory.tick(99)).len(), released(&inventory.tick(100)).len()), (0, 1));
    assert_eq!((inventory.quarantined(), inventory.entries().count()), (0, 0));
}
