//! The index against one that is made of plain maps, and what each of its parts does seen from outside.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

fn index(limits: Limits, holders: u32) -> (PrefixIndex, Vec<HolderId>) {
    let mut index = PrefixIndex::new(limits, 3);
    let ids = (0..holders).map(|rank| index.register(name(rank)).expect("room")).collect();
    (index, ids)
}

fn name(rank: u32) -> Holder {
    Holder { instance: "instance".into(), rank }
}

fn stored(index: &mut PrefixIndex, holder: HolderId, tier: Tier, keys: &[u64], now: u64) {
    assert_eq!(index.apply(&[Event::Stored { holder, tier, keys }], now), Applied { applied: 1, unknown: 0 });
}

fn found(index: &PrefixIndex, keys: &[u64], now: u64) -> Vec<HolderMatch> {
    let mut matches = Matches::default();
    index.find(keys, now, &mut matches);
    matches.holders().to_vec()
}

fn matched(index: &PrefixIndex, holder: HolderId, keys: &[u64], now: u64) -> HolderMatch {
    *found(index, keys, now).iter().find(|found| found.holder == holder).expect("registered")
}

#[test]
fn each_tier_counts_what_it_and_nearer_ones_have_without_a_gap() {
    let (mut index, ids) = index(Limits::default(), 3);
    stored(&mut index, ids[0], Tier::Device, &[1, 2, 4, 7], 0);
    stored(&mut index, ids[0], Tier::Host, &[2, 3], 0);
    stored(&mut index, ids[0], Tier::Disk, &[5], 0);
    stored(&mut index, ids[1], Tier::Store, &[1, 2, 6], 0);
    index.promise(ids[2], &[1, 2, 3], 10, 0);
    let keys = [1, 2, 3, 4, 5, 6, 7, 8];
    let of = |holder| matched(&index, holder, &keys, 0);
    assert_eq!(of(ids[0]), HolderMatch { holder: ids[0], blocks: [2, 4, 5, 7], promised: 5 });
    assert_eq!(of(ids[1]), HolderMatch { holder: ids[1], blocks: [0, 0, 0, 2], promised: 0 });
    assert_eq!(of(ids[2]), HolderMatch { holder: ids[2], blocks: [0, 0, 0, 2], promised: 3 });
    assert_eq!(found(&index, &[], 0)[0].blocks, [0; 4]);
}

#[test]
fn a_removed_block_ends_the_prefix_and_leaves_no_trace() {
    let (mut index, ids) = index(Limits::default(), 1);
    stored(&mut index, ids[0], Tier::Device, &[1, 2, 3], 0);
    index.apply(&[Event::Removed { holder: ids[0], tier: Tier::Host, keys: &[1, 2, 3, 9] }], 0);
    assert_eq!(matched(&index, ids[0], &[1, 2, 3], 0).within(Tier::Device), 3);
    index.apply(&[Event::Removed { holder: ids[0], tier: Tier::Device, keys: &[2] }], 0);
    assert_eq!(matched(&index, ids[0], &[1, 2, 3], 0).within(Tier::Store), 1);
    assert_eq!(index.len(), 2);
}

#[test]
fn what_an_unregistered_holder_had_is_gone_though_its_slot_has_another() {
    let (mut index, ids) = index(Limits::default(), 2);
    stored(&mut index, ids[0], Tier::Device, &[1, 2], 0);
    stored(&mut index, ids[1], Tier::Device, &[1], 0);
    index.promise(ids[0], &[3], 100, 0);
    index.unregister(ids[0]).expect("registered");
    let event = Event::Stored { holder: ids[0], tier: Tier::Device, keys: &[1] };
    assert_eq!(index.apply(&[event], 0), Applied { applied: 0, unknown: 1 });
    let next = index.register(name(7)).expect("room");
    assert_eq!(
        matched(&index, next, &[1, 2, 3], 0),
        HolderMatch { holder: next, blocks: [0; 4], promised: 0 }
    );
    assert_eq!(matched(&index, ids[1], &[1, 2], 0).within(Tier::Device), 1);
    stored(&mut index, next, Tier::Device, &[2], 0);
    index.sweep(usize::MAX, 0);
    assert_eq!(index.len(), 2);
}

#[test]
fn clearing_one_tier_leaves_the_others() {
    let (mut index, ids) = index(Limits::default(), 1);
    stored(&mut index, ids[0], Tier::Device, &[1, 2], 0);
    stored(&mut index, ids[0], Tier::Host, &[1], 0);
    index.apply(&[Event::Cleared { holder: ids[0], tier: Some(Tier::Device) }], 0);
    stored(&mut index, ids[0], Tier::Device, &[1], 0);
    assert_eq!(matched(&index, ids[0], &[1, 2], 0).blocks, [1; 4]);
    index.apply(&[Event::Cleared { holder: ids[0], tier: None }], 0);
    assert_eq!(matched(&index, ids[0], &[1, 2], 0).blocks, [0; 4]);
}

#[test]
fn more_clearings_than_a_window_holds_void_nothing_that_came_later() {
    let (mut index, ids) = index(Limits::default(), 2);
    stored(&mut index, ids[1], Tier::Device, &(0..10_000).collect::<Vec<_>>(), 0);
    for round in 0..3000 {
        stored(&mut index, ids[0], Tier::Device, &[1, round], 0);
        assert_eq!(matched(&index, ids[0], &[1, round], 0).within(Tier::Device), 2);
        index.apply(&[Event::Cleared { holder: ids[0], tier: None }], 0);
        assert_eq!(matched(&index, ids[0], &[1, round], 0).within(Tier::Device), 0);
    }
    assert_eq!(matched(&index, ids[1], &(0..10_000).collect::<Vec<_>>(), 0).within(Tier::Device), 10_000);
}

#[test]
fn a_promise_ends_at_its_deadline_or_when_it_is_kept_or_taken_back() {
    let (mut index, ids) = index(Limits::default(), 1);
    let promised = |index: &PrefixIndex| matched(index, ids[0], &[1, 2, 3], 0).promised;
    stored(&mut index, ids[0], Tier::Device, &[1], 0);
    assert_eq!(index.promise(ids[0], &[1, 2, 3], 10, 0), 2);
    stored(&mut index, ids[0], Tier::Host, &[2], 5);
    assert_eq!(promised(&index), 3);
    index.sweep(0, 10);
    assert_eq!((promised(&index), index.len()), (2, 2));
    index.apply(&[Event::Removed { holder: ids[0], tier: Tier::Host, keys: &[2] }], 10);
    assert_eq!(promised(&index), 1);
    index.promise(ids[0], &[2, 3], 30, 20);
    index.withdraw(ids[0], &[3]);
    assert_eq!(promised(&index), 2);
    assert_eq!(index.promise(ids[0], &[2], 20, 20), 0);
}

#[test]
fn one_promise_too_many_ends_the_one_that_would_end_first() {
    let (mut index, ids) = index(Limits { promises: 2, ..Limits::default() }, 1);
    for (key, deadline) in [(1, 300), (2, 100), (3, 200)] {
        assert_eq!(index.promise(ids[0], &[key], deadline, 0), 1);
    }
    let promised = |key| matched(&index, ids[0], &[key], 0).promised;
    assert_eq!([promised(1), promised(2), promised(3)], [1, 0, 1]);
}

#[test]
fn a_full_index_keeps_the_blocks_that_were_matched_lately() {
    let (mut index, ids) = index(Limits { blocks: 2000, ..Limits::default() }, 6);
    let (hot, cold): (Vec<u64>, Vec<u64>) = ((0..500).collect(), (1000..2500).collect());
    for id in &ids {
        stored(&mut index, *id, Tier::Device, &cold, 1000);
        stored(&mut index, *id, Tier::Device, &hot, 1000);
    }
    assert_eq!(matched(&index, ids[5], &hot, 9000).within(Tier::Device), 500);
    stored(&mut index, ids[0], Tier::Device, &(5000..6000).collect::<Vec<_>>(), 9000);
    assert!((1984..=2000).contains(&index.len()), "{}", index.len());
    // A third of all had to go. Who goes is the oldest of a sample, so few of the others went with them.
    let there = |keys: &[u64]| {
        keys.iter().filter(|key| matched(&index, ids[0], &[**key], 9000).blocks[0] == 1).count()
    };
    assert!(there(&hot) > 480, "{}", there(&hot));
    assert!(there(&cold) < 560, "{}", there(&cold));
}

#[test]
fn blocks_that_nobody_stores_or_matches_leave_while_others_are_busy() {
    let (mut index, ids) = index(Limits { idle: 60_000, ..Limits::default() }, 1);
    let keys: Vec<u64> = (0..10_000).collect();
    stored(&mut index, ids[0], Tier::Device, &keys, 0);
    assert_eq!(matched(&index, ids[0], &keys[..100], 50_000).within(Tier::Device), 100);
    // The first hundred were matched, the last one is stored again and again.
    (0..10_000).for_each(|_| stored(&mut index, ids[0], Tier::Device, &keys[9_999..], 70_000));
    assert_eq!(index.len(), 101);
    assert_eq!(matched(&index, ids[0], &keys[..100], 70_000).within(Tier::Device), 100);
}

/// Per key, per holder, what it has: planes by number, 4 for promised, with the deadline of a promise.
#[derive(Default)]
struct Model(HashMap<u64, BTreeMap<u32, [Option<u64>; 5]>>);

impl Model {
    fn entry(&mut self, key: u64, rank: u32) -> &mut [Option<u64>; 5] {
        self.0.entry(key).or_default().entry(rank).or_default()
    }

    fn store(&mut self, key: u64, rank: u32, tier: Tier) {
        let entry = self.entry(key, rank);
        entry[tier as usize] = Some(u64::MAX);
        if tier != Tier::Store {
            entry[4] = None;
        }
    }

    fn promise(&mut self, key: u64, rank: u32, deadline: u64) {
        let entry = self.entry(key, rank);
        if entry[..3].iter().all(Option::is_none) {
            entry[4] = entry[4].max(Some(deadline));
        }
    }

    fn clear(&mut self, rank: u32, planes: impl Fn(usize) -> bool) {
        for entry in self.0.values_mut().filter_map(|holders| holders.get_mut(&rank)) {
            entry.iter_mut().enumerate().filter(|(plane, _)| planes(*plane)).for_each(|(_, has)| *has = None);
        }
    }

    fn end_promises(&mut self, now: u64) {
        for entry in self.0.values_mut().flat_map(BTreeMap::values_mut) {
            entry[4] = entry[4].filter(|deadline| *deadline > now);
        }
    }

    fn len(&self) -> usize {
        self.0.values().filter(|holders| holders.values().flatten().any(Option::is_some)).count()
    }

    /// By tier, then with promises: how many blocks the holder has without a gap.
    fn longest(&self, keys: &[u64], rank: u32) -> [u32; 5] {
        let has = |key: u64, plane: usize| {
            let holders = self.0.get(&key);
            let own = holders.and_then(|holders| holders.get(&rank)).copied().unwrap_or_default();
            let pooled = holders.is_some_and(|holders| holders.values().any(|entry| entry[3].is_some()));
            match plane {
                0..=2 => own[..=plane].iter().any(Option::is_some),
                3 => pooled || own[..3].iter().any(Option::is_some),
                _ => own[4].is_some() || own[..3].iter().any(Option::is_some),
            }
        };
        std::array::from_fn(|plane| keys.iter().take_while(|key| has(**key, plane)).count() as u32)
    }
}

/// More than one word of a bitmap has.
const HOLDERS: u32 = 70;

#[derive(Clone, Debug)]
enum Step {
    Store(u32, Tier, Vec<u64>),
    Remove(u32, Tier, Vec<u64>),
    Clear(u32, Option<Tier>),
    Promise(u32, Vec<u64>, u64),
    Withdraw(u32, Vec<u64>),
    Replace(u32),
    Sweep(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    // Few holders often and many at times, so that blocks move beside the table and back.
    let rank = || prop_oneof![0u32..6, 0u32..HOLDERS];
    let tier = || prop::sample::select(Tier::ALL.to_vec());
    // Runs from a low start: prefixes of chains are likely.
    let keys = || (0u64..8, 1u64..30).prop_map(|(from, count)| (from..from + count).collect::<Vec<_>>());
    prop_oneof![
        8 => (rank(), tier(), keys()).prop_map(|(rank, tier, keys)| Step::Store(rank, tier, keys)),
        3 => (rank(), tier(), keys()).prop_map(|(rank, tier, keys)| Step::Remove(rank, tier, keys)),
        2 => (rank(), prop::option::of(tier())).prop_map(|(rank, tier)| Step::Clear(rank, tier)),
        3 => (rank(), keys(), 1u64..50).prop_map(|(rank, keys, time)| Step::Promise(rank, keys, time)),
        1 => (rank(), keys()).prop_map(|(rank, keys)| Step::Withdraw(rank, keys)),
        2 => rank().prop_map(Step::Replace),
        1 => prop_oneof![Just(usize::MAX), 0usize..20].prop_map(Step::Sweep),
        2 => (1u64..20).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_index_says_what_plain_maps_say(steps in proptest::collection::vec(step(), 1..80)) {
        let (mut index, mut ids) = index(Limits::default(), HOLDERS);
        let (mut model, mut now) = (Model::default(), 0);
        let chain: Vec<u64> = (0..40).collect();
        for step in steps {
            match step.clone() {
                Step::Store(rank, tier, keys) => {
                    stored(&mut index, ids[rank as usize], tier, &keys, now);
                    keys.iter().for_each(|key| model.store(*key, rank, tier));
                }
                Step::Remove(rank, tier, keys) => {
                    index.apply(&[Event::Removed { holder: ids[rank as usize], tier, keys: &keys }], now);
                    keys.iter().for_each(|key| model.entry(*key, rank)[tier as usize] = None);
                }
                Step::Clear(rank, tier) => {
                    index.apply(&[Event::Cleared { holder: ids[rank as usize], tier }], now);
                    model.clear(rank, |plane| tier.is_none_or(|tier| tier as usize == plane));
                }
                Step::Promise(rank, keys, time) => {
                    index.promise(ids[rank as usize], &keys, now + time, now);
                    keys.iter().for_each(|key| model.promise(*key, rank, now + time));
                }
                Step::Withdraw(rank, keys) => {
                    index.withdraw(ids[rank as usize], &keys);
                    keys.iter().for_each(|key| model.entry(*key, rank)[4] = None);
                }
                Step::Replace(rank) => {
                    index.unregister(ids[rank as usize]).expect("registered");
                    ids[rank as usize] = index.register(name(rank)).expect("room");
                    model.clear(rank, |_| true);
                }
                Step::Sweep(buckets) => index.sweep(buckets, now),
                Step::Pass(time) => {
                    now += time;
                    index.sweep(0, now);
                    model.end_promises(now);
                }
            }
            let found: BTreeMap<HolderId, HolderMatch> =
                self::found(&index, &chain, now).into_iter().map(|found| (found.holder, found)).collect();
            prop_assert_eq!(found.len(), ids.len());
            for (id, rank) in ids.iter().zip(0..) {
                let [device, host, disk, store, promised] = model.longest(&chain, rank);
                let expected = HolderMatch { holder: *id, blocks: [device, host, disk, store], promised };
                prop_assert_eq!(found[id], expected, "{} after {:?}", rank, step);
            }
        }
        index.sweep(usize::MAX, now);
        prop_assert_eq!(index.len(), model.len());
    }
}
