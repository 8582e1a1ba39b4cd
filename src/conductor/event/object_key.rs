//! Names of objects as engines' connectors make them for blocks: which block, of which model, and which part of it.

/// Fewest hexadecimal digits of what is taken for the hash of a block.
const HASH_DIGITS: usize = 16;
/// What SGLang's names have: a SHA-256.
const SGLANG_DIGITS: usize = 64;

/// What the name of an object says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectKey<'a> {
    /// Empty where the name does not say.
    pub model: &'a str,
    pub key: u64,
    /// Of the engine's groups of layers, which have caches of their own.
    pub group: Option<u32>,
    /// A block is one object for each rank, and some have one for each layer: this is the first of them.
    pub is_first_part: bool,
}

/// Reads a name of one of these forms:
///
/// - vLLM: `[PREFIX@]MODEL@tp_rank:N@pcpN@dcpN@pp_rank:N[@group:N]@HASH`
/// - vLLM-Ascend: `MODEL@pcpN@dcpN@head_or_tp_rank:N[@pp_rank:N]@HASH[@LAYER]`
/// - short: `MODEL@HASH@RANK`, `MODEL@GROUP@HASH@RANK`
/// - SGLang: `[SPACE_]HASH[_SUFFIX]`
/// - the key itself: a decimal number, or a hexadecimal one after `0x`
pub fn parse(name: &str) -> Option<ObjectKey<'_>> {
    if let Some(key) = plain(name) {
        return Some(ObjectKey { model: "", key, group: None, is_first_part: true });
    }
    if !name.contains('@') {
        return sglang(name);
    }
    let fields: Vec<(usize, &str)> = fields(name);
    match fields.iter().position(|(_, field)| label(field).is_some()) {
        Some(first) => labelled(name, &fields, first),
        None => short(name, &fields),
    }
}

fn plain(name: &str) -> Option<u64> {
    let digits = |text: &str, radix| {
        let is_number = text.chars().all(|letter| letter.is_digit(radix));
        is_number.then(|| u64::from_str_radix(text, radix).ok())?
    };
    match name.strip_prefix("0x") {
        Some(hexadecimal) => digits(hexadecimal, 16),
        None => digits(name, 10),
    }
}

/// The fields between `@`, each with where it begins.
fn fields(name: &str) -> Vec<(usize, &str)> {
    let mut at = 0;
    let place = |field| {
        let begin = at;
        at += str::len(field) + 1;
        (begin, field)
    };
    name.split('@').map(place).collect()
}

/// A field that names a number, and that number.
fn label(field: &str) -> Option<(&str, u32)> {
    let digits = field.find(|letter: char| letter.is_ascii_digit())?;
    let (name, number) = field.split_at(digits);
    let name = name.strip_suffix(':').unwrap_or(name);
    let known = ["tp_rank", "head_or_tp_rank", "pp_rank", "pcp", "dcp", "group"];
    known.contains(&name).then_some((name, number.parse().ok()?))
}

fn labelled<'a>(name: &'a str, fields: &[(usize, &'a str)], first: usize) -> Option<ObjectKey<'a>> {
    // The prefix is a field of its own before the model, which may hold an @ itself.
    let model = &name[..fields[first].0.checked_sub(1)?];
    let model = match first {
        0 | 1 => model,
        _ => model.split_once('@').map_or(model, |(_, model)| model),
    };
    let (mut group, mut is_first_part, mut key) = (None, true, None);
    for (_, field) in &fields[first..] {
        match (label(field), key) {
            (Some(("group", number)), None) => group = Some(number),
            (Some((_, number)), None) => is_first_part &= number == 0,
            (None, None) => key = Some(low_half(field)?),
            // What comes after the hash is the layer.
            (_, Some(_)) => is_first_part &= *field == "0",
        }
    }
    Some(ObjectKey { model, key: key?, group, is_first_part })
}

fn short<'a>(name: &'a str, fields: &[(usize, &'a str)]) -> Option<ObjectKey<'a>> {
    let [.., (hash_at, hash), (_, rank)] = fields else { return None };
    let rank: u32 = rank.parse().ok()?;
    let before = &name[..hash_at.checked_sub(1)?];
    let (model, group) = match before.rsplit_once('@') {
        Some((model, group)) => (model, Some(group.parse().ok()?)),
        None => (before, None),
    };
    Some(ObjectKey { model, key: low_half(hash)?, group, is_first_part: rank == 0 })
}

/// SGLang takes the first half of the digits that vLLM takes the last of.
fn sglang(name: &str) -> Option<ObjectKey<'_>> {
    let is_hash = |field: &&str| field.len() == SGLANG_DIGITS && is_hexadecimal(field);
    let mut fields = name.split('_');
    let hash = fields.find(is_hash)?;
    let key = u64::from_str_radix(&hash[..HASH_DIGITS], 16).ok()?;
    // The rank, if there are several; then whether these are the keys or the values of the attention.
    let is_first_part = fields.all(|field| matches!(field, "0" | "k" | ""));
    Some(ObjectKey { model: "", key, group: None, is_first_part })
}

/// The key that a hash in hexadecimal digits stands for: the last 16 of them.
pub fn low_half(digits: &str) -> Option<u64> {
    let at = digits.len().checked_sub(HASH_DIGITS)?;
    if !is_hexadecimal(digits) {
        return None;
    }
    u64::from_str_radix(&digits[at..], 16).ok()
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_known_forms_are_read() {
        let long = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeef1";
        let (low, high) = (0x8899_aabb_ccdd_eef1, 0x0011_2233_4455_6677);
        let vllm = |text: &str| format!("{text}@{long}");
        let cases = [
            (vllm("m@tp_rank:0@pcp0@dcp0@pp_rank:0"), "m", low, None, true),
            (vllm("org/m@tp_rank:3@pcp0@dcp0@pp_rank:0"), "org/m", low, None, false),
            (vllm("pre@m@tp_rank:0@pcp0@dcp0@pp_rank:0@group:2"), "m", low, Some(2), true),
            (vllm("m@pcp0@dcp0@head_or_tp_rank:0"), "m", low, None, true),
            (vllm("m@pcp0@dcp0@head_or_tp_rank:0@pp_rank:1"), "m", low, None, false),
            (vllm("m@pcp0@dcp0@head_or_tp_rank:0") + "@0", "m", low, None, true),
            (vllm("m@pcp0@dcp0@head_or_tp_rank:0") + "@7", "m", low, None, false),
            (format!("m@{long}@0"), "m", low, None, true),
            (format!("m@{long}@1"), "m", low, None, false),
            (format!("m@4@{long}@0"), "m", low, Some(4), true),
            (long.to_owned(), "", high, None, true),
            ("18446744073709551615".into(), "", u64::MAX, None, true),
            ("0xff".into(), "", 255, None, true),
            (format!("space_{long}_0_k"), "", high, None, true),
            (format!("{long}_0_v"), "", high, None, false),
            (format!("{long}_1_k"), "", high, None, false),
        ];
        for (name, model, key, group, is_first_part) in cases {
            let read = parse(&name).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(read, ObjectKey { model, key, group, is_first_part }, "{name}");
        }
    }

    #[test]
    fn other_names_are_none_of_these() {
        let names = [
            "",
            "0x",
            "18446744073709551616",
            "+1",
            "@",
            "@@",
            "@@@",
            "weights/layer0",
            "m@short@0",
            "m@tp_rank:0",
            "m@tp_rank:0@xyz",
            "äöü@ß@0",
        ];
        for name in names {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
