//! Keys against what CPython's hashlib and pickle, and the Python packages cbor2 and xxhash, give for the same input.

use super::*;

fn cbor(seed: &str) -> Hasher {
    Hasher::new(&Scheme::VllmCbor { python_hash_seed: seed.into() })
}

fn pickle(seed: &str) -> Hasher {
    Hasher::new(&Scheme::VllmPickle { python_hash_seed: seed.into() })
}

fn keys(hasher: &Hasher, tokens: &[u32], block_size: usize, extra: Extra<'_>) -> Vec<u64> {
    hasher.keys(tokens, block_size, extra).expect("valid").collect()
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const EIGHT: [u32; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const NOTHING: Extra<'_> = Extra { lora: None, salt: None };
const LORA: Extra<'_> = Extra { lora: Some("adapter-7"), salt: None };
const SALT: Extra<'_> = Extra { lora: None, salt: Some("s3cret") };

#[test]
fn vllm_sha256_cbor_gives_the_known_keys() {
    let hasher = cbor("0");
    let root = hasher.root().expect("it has one");
    assert_eq!(hex(root), "4e1195df020de59e0d65a33a4279f1183e7ae4e5d980e309f8b55adff2e61c3e");
    assert_eq!(keys(&hasher, &EIGHT, 4, NOTHING), [2164874634404590027, 17270480062156288726]);
    assert_eq!(keys(&hasher, &EIGHT, 4, LORA), [802937338370030596, 15353233401885203310]);
    assert_eq!(keys(&hasher, &EIGHT, 4, SALT), [6961613031241884492, 15556637281642101628]);
}

#[test]
fn vllm_sha256_gives_the_known_keys() {
    let hasher = pickle("0");
    let root = hasher.root().expect("it has one");
    assert_eq!(hex(root), "1973e23848344dc43a988a9b478663803cfffe1243480253f9a3cf004b14aa7c");
    assert_eq!(keys(&hasher, &EIGHT, 4, NOTHING), [10362225831949560093, 12472515041799373675]);
    assert_eq!(keys(&hasher, &EIGHT, 4, LORA), [274888467593234423, 18127638132309117248]);
    assert_eq!(keys(&hasher, &EIGHT, 4, SALT), [14596588416826007475, 12499999043908388777]);
}

#[test]
fn xxh3_rolls_over_the_hashes_of_the_blocks() {
    let (plain, seeded) = (Hasher::new(&Scheme::Xxh3 { seed: 0 }), Hasher::new(&Scheme::Xxh3 { seed: 1337 }));
    assert_eq!(keys(&plain, &EIGHT, 4, NOTHING), [8052976908588476977, 4185132130981121146]);
    assert_eq!(keys(&seeded, &EIGHT, 4, NOTHING), [14643705804678351452, 4945711292740353085]);
    assert_eq!(keys(&seeded, &EIGHT, 4, SALT), keys(&seeded, &EIGHT, 4, NOTHING));
    let tokens: Vec<u32> = (0..1536).collect();
    assert_eq!(keys(&plain, &tokens, 512, NOTHING).pop(), Some(11225708136350970368));
}

#[test]
fn a_lora_goes_into_every_block_and_a_salt_into_the_first() {
    let name = "ünï".repeat(100);
    let both = Extra { lora: Some(&name), salt: Some("s3cret") };
    assert_eq!(keys(&cbor("0"), &EIGHT, 4, both), [8655801632294821178, 18023715913860235559]);
    assert_eq!(keys(&pickle("0"), &EIGHT, 4, both), [11989170695112482289, 13286896807987704479]);
}

#[test]
fn tokens_and_tuples_of_every_size_class_are_encoded_as_python_does() {
    let sizes = [0, 255, 256, 65535, 65536, 0x7fff_ffff, 0x8000_0000, u32::MAX];
    let tokens: Vec<u32> = (0..4).flat_map(|_| sizes).collect();
    for (block_size, by_cbor, by_pickle) in [
        (1, 606712631870478716, 14144508662251784180),
        (2, 6076258126206862278, 7475481634189201602),
        (3, 6403630070732386631, 2609042707870321684),
        (16, 10714375508122981672, 12532781903962519590),
    ] {
        let last = |hasher| keys(&hasher, &tokens, block_size, NOTHING).pop();
        assert_eq!(last(cbor("42")), Some(by_cbor), "cbor, blocks of {block_size}");
        assert_eq!(last(pickle("42")), Some(by_pickle), "pickle, blocks of {block_size}");
    }
}

#[test]
fn a_pickle_begins_another_frame_where_python_does() {
    let tokens: Vec<u32> = (100_000..140_000).collect();
    let names = ("l".repeat(20), "s".repeat(20));
    let both = Extra { lora: Some(&names.0), salt: Some(&names.1) };
    for (block_size, with_names, without) in [
        (13095, 9432603150887631508, 16402913590254401324),
        (13097, 10005459469717935178, 16104805190854073348),
        (13099, 7238854424879797044, 1444947416213481358),
        (13100, 1628371620375087240, 9860884873034877958),
        (13101, 5181009345982908161, 2792565500995246575),
        (20000, 8439294565882283638, 3077848661216289632),
    ] {
        assert_eq!(keys(&pickle("0"), &tokens, block_size, both)[0], with_names, "{block_size} with names");
        assert_eq!(keys(&pickle("0"), &tokens, block_size, NOTHING)[0], without, "{block_size}");
    }
}

#[test]
fn tokens_after_the_last_full_block_have_no_key() {
    for hasher in [Hasher::new(&Scheme::Xxh3 { seed: 7 }), cbor("0"), pickle("0")] {
        let whole = keys(&hasher, &EIGHT, 4, NOTHING);
        assert_eq!(keys(&hasher, &EIGHT[..7], 4, NOTHING), whole[..1]);
        assert!(keys(&hasher, &EIGHT[..3], 4, NOTHING).is_empty());
    }
}

#[test]
fn an_empty_name_is_none_and_a_huge_one_is_refused() {
    let empty = Extra { lora: Some(""), salt: Some("") };
    assert_eq!(keys(&pickle("0"), &EIGHT, 4, empty), keys(&pickle("0"), &EIGHT, 4, NOTHING));
    let long = "x".repeat(LONGEST_NAME + 1);
    assert!(cbor("0").keys(&EIGHT, 4, Extra { salt: Some(&long), ..NOTHING }).is_err());
    assert!(cbor("0").keys(&EIGHT, 0, NOTHING).is_err());
}

#[test]
fn a_digest_is_named_by_its_last_eight_bytes() {
    assert_eq!(key_of_digest(&[9, 0, 0, 0, 0, 0, 0, 1, 2]), Some(0x102));
    assert_eq!(key_of_digest(&[1; 7]), None);
}
