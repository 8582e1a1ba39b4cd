//! Payloads as publishers write them, byte by byte, and what they stand for.

use proptest::prelude::*;
use rmp::encode;

use super::*;

/// A value to be written.
enum Value<'a> {
    Nil,
    Number(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Map(Vec<(&'a str, Value<'a>)>),
}

use Value::{Bytes, Float, List, Map, Nil, Number, Signed, Text};

fn write(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Nil => encode::write_nil(out).expect("memory"),
        Number(number) => drop(encode::write_uint(out, *number).expect("memory")),
        Signed(number) => drop(encode::write_sint(out, *number).expect("memory")),
        Float(number) => encode::write_f64(out, *number).expect("memory"),
        Text(text) => encode::write_str(out, text).expect("memory"),
        Bytes(bytes) => encode::write_bin(out, bytes).expect("memory"),
        List(values) => {
            encode::write_array_len(out, values.len() as u32).expect("memory");
            values.iter().for_each(|value| write(value, out));
        }
        Map(pairs) => {
            encode::write_map_len(out, pairs.len() as u32).expect("memory");
            for (name, value) in pairs {
                encode::write_str(out, name).expect("memory");
                write(value, out);
            }
        }
    }
}

fn bytes_of(value: &Value<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

fn batch<'a>(events: Vec<Value<'a>>, rank: Value<'a>) -> Vec<u8> {
    bytes_of(&List(vec![Float(1.5), List(events), rank]))
}

fn hashes<'a>(keys: &[u64]) -> Value<'a> {
    List(keys.iter().map(|key| Number(*key)).collect())
}

#[test]
fn events_as_arrays_are_those_of_released_engines() {
    let digest = [&[9_u8; 24][..], &0x0102_0304_0506_0708_u64.to_be_bytes()].concat();
    let stored = List(vec![
        Text("BlockStored"),
        List(vec![Number(u64::MAX), Signed(-2), Bytes(&digest)]),
        Bytes(&digest),
        List((0..12).map(Number).collect()),
        Number(4),
        Nil,
        Text("GPU"),
        Text("adapter"),
        Nil,
        Number(0),
        Text("full_attention"),
        Nil,
        Map(vec![("of", List(vec![Text("a later release")]))]),
    ]);
    let removed = List(vec![Text("BlockRemoved"), hashes(&[7]), Text("CPU")]);
    let cleared = List(vec![Text("AllBlocksCleared")]);
    let bytes = batch(vec![stored, removed, cleared], Number(3));
    let batch = decode(&bytes).expect("well-formed");
    assert_eq!((batch.rank, batch.skipped, batch.events.len()), (Some(3), 0, 3));
    let [stored, removed, cleared] = &batch.events[..] else { panic!("three") };
    assert_eq!(batch.keys(stored), [u64::MAX, u64::MAX - 1, 0x0102_0304_0506_0708]);
    assert_eq!(
        (stored.change, stored.tier, stored.block_size),
        (Change::Stored, Some(Tier::Device), Some(4))
    );
    assert_eq!((stored.parent, stored.lora.as_deref()), (Some(0x0102_0304_0506_0708), Some("adapter")));
    assert_eq!((stored.group, stored.model, stored.is_first_part), (Some(0), None, true));
    let mut tokens = Vec::new();
    stored.tokens.expect("told").read(&mut tokens).expect("numbers");
    assert_eq!(tokens, (0..12).collect::<Vec<u32>>());
    assert_eq!(
        (removed.change, removed.tier, batch.keys(removed)),
        (Change::Removed, Some(Tier::Host), &[7][..])
    );
    assert_eq!((cleared.change, cleared.tier, batch.keys(cleared)), (Change::Cleared, None, &[][..]));
}

#[test]
fn early_releases_end_an_event_sooner() {
    let stored = vec![Text("BlockStored"), hashes(&[1]), Nil, List(vec![Number(1)]), Number(1), Number(5)];
    let bytes = bytes_of(&List(vec![
        Float(0.0),
        List(vec![List(stored), List(vec![Text("BlockRemoved"), hashes(&[1])])]),
    ]));
    let batch = decode(&bytes).expect("well-formed");
    let [stored, removed] = &batch.events[..] else { panic!("two") };
    assert_eq!((batch.rank, stored.tier, removed.tier), (None, None, None));
    assert_eq!((stored.parent, stored.lora.as_deref()), (None, Some("5")));
}

#[test]
fn events_as_maps_are_the_same_in_any_order() {
    let stored = Map(vec![
        ("medium", Text("disk")),
        ("block_hashes", hashes(&[1, 2])),
        ("unknown", List(vec![Nil, Map(vec![("a", Nil)])])),
        ("parent_block_hash", Number(9)),
        ("type", Text("BlockStored")),
        ("lora_id", Nil),
    ]);
    for bytes in [
        batch(vec![stored], Nil),
        bytes_of(&Map(vec![
            ("ts", Float(1.0)),
            ("data_parallel_rank", Nil),
            (
                "events",
                List(vec![Map(vec![
                    ("type", Text("BlockStored")),
                    ("parent_block_hash", Number(9)),
                    ("block_hashes", hashes(&[1, 2])),
                    ("medium", Text("SSD")),
                ])]),
            ),
        ])),
    ] {
        let batch = decode(&bytes).expect("well-formed");
        let event = &batch.events[0];
        assert_eq!((event.change, event.tier, event.parent), (Change::Stored, Some(Tier::Disk), Some(9)));
        assert_eq!((batch.keys(event), event.lora.as_deref(), batch.rank), (&[1, 2][..], None, None));
    }
}

fn envelope<'a>(more: Vec<(&'a str, Value<'a>)>) -> Value<'a> {
    let mut fields = vec![
        ("event_id", Number(1)),
        ("timestamp", Number(1_790_000_000_000)),
        ("event_type", Text("stored")),
        ("type", Text("BlockStored")),
        ("model_name", Text("m")),
        ("block_size", Number(16)),
        ("additional_salt", Text("s")),
        ("lora_name", Nil),
        ("tenant_id", Text("t")),
        ("backend_id", Text("b")),
        ("medium", Text("cpu")),
        ("dp_rank", Number(2)),
    ];
    fields.extend(more);
    Map(fields)
}

#[test]
fn mooncakes_envelope_says_whose_the_blocks_are() {
    let alias = envelope(vec![("block_hashes", hashes(&[5])), ("base_block_idx", Number(0))]);
    let both = envelope(vec![("block_hashes", Text("no hash")), ("seq_hashes", hashes(&[5]))]);
    let alone = bytes_of(&envelope(vec![("seq_hashes", hashes(&[5]))]));
    for bytes in [batch(vec![alias], Number(0)), bytes_of(&List(vec![both])), alone] {
        let batch = decode(&bytes).expect("well-formed");
        let event = &batch.events[0];
        assert_eq!(
            (batch.keys(event), event.change, event.tier),
            (&[5][..], Change::Stored, Some(Tier::Host))
        );
        assert_eq!((event.model, event.tenant, event.instance), (Some("m"), Some("t"), Some("b")));
        assert_eq!((event.salt, event.rank, event.block_size), (Some("s"), Some(2), Some(16)));
    }
}

#[test]
fn blocks_that_only_an_objects_name_tells_are_read_from_it() {
    let name = "org/m@tp_rank:1@pcp0@dcp0@pp_rank:0@00000000000000ff";
    let none = || List(vec![]);
    let removed =
        |name| Map(vec![("event_type", Text("removed")), ("seq_hashes", none()), ("object_key", Text(name))]);
    let bytes = batch(vec![removed(name), removed("weights")], Nil);
    let batch = decode(&bytes).expect("well-formed");
    let event = &batch.events[0];
    assert_eq!((batch.keys(event), event.model, event.is_first_part), (&[255][..], Some("org/m"), false));
    assert_eq!((batch.events.len(), batch.skipped), (1, 1));
}

#[test]
fn parts_of_a_block_are_told_from_its_first_one() {
    let part = |field, number| envelope(vec![("seq_hashes", hashes(&[5])), (field, Number(number))]);
    let bytes = batch(vec![part("tp_rank", 0), part("tp_rank", 1), part("layer_id", 7)], Nil);
    let batch = decode(&bytes).expect("well-formed");
    let first: Vec<bool> = batch.events.iter().map(|event| event.is_first_part).collect();
    assert_eq!(first, [true, false, false]);
}

#[test]
fn what_is_not_understood_is_passed_over_and_counted() {
    let event = |tag, medium, hash| List(vec![Text(tag), List(vec![hash]), medium]);
    let good = || event("BlockRemoved", Text("GPU"), Number(1));
    let cases = [
        event("BlockMoved", Text("GPU"), Number(1)),
        event("BlockRemoved", Text("tape"), Number(1)),
        event("BlockRemoved", Number(3), Number(1)),
        event("BlockRemoved", Text("GPU"), Bytes(b"short")),
        event("BlockRemoved", Text("GPU"), Float(1.0)),
        List(vec![Text("BlockRemoved")]),
        List(vec![]),
        Nil,
        Number(3),
    ];
    for case in cases {
        let bytes = batch(vec![good(), case, good()], Nil);
        let batch = decode(&bytes).expect("well-formed");
        assert_eq!((batch.events.len(), batch.skipped), (2, 1), "{:?}", batch.skipped_because);
        assert!(batch.events.iter().all(|event| batch.keys(event) == [1]));
    }
}

#[test]
fn payloads_that_are_none_are_refused() {
    let many = List((0..=MOST_EVENTS).map(|_| Nil).collect());
    let keys = List(vec![Text("BlockRemoved"), List((0..=MOST_KEYS).map(|_| Number(1)).collect())]);
    let cases = [
        vec![],
        b"\xc1".to_vec(),
        b"\x93".to_vec(),
        bytes_of(&Text("hello")),
        bytes_of(&List(vec![Float(1.0)])),
        bytes_of(&List(vec![Float(1.0), Text("events")])),
        bytes_of(&List(vec![Float(1.0), many])),
        batch(vec![keys], Nil),
        b"\x92\xc0\xdd\xff\xff\xff\xff".to_vec(),
    ];
    for case in cases {
        let error = decode(&case).expect_err("no batch");
        assert!(error.message().starts_with("a batch of events cannot be read: "), "{error}");
    }
    assert!(decode(&vec![0; MOST_BYTES + 1]).is_err());
    assert!(decode(&bytes_of(&List(vec![]))).expect("an empty one").events.is_empty());
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(batch) = decode(&bytes) {
            let mut tokens = Vec::new();
            for event in &batch.events {
                prop_assert!(batch.keys(event).len() <= bytes.len());
                event.tokens.and_then(|told| told.read(&mut tokens));
            }
        }
    }
}
