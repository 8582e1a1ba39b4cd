//! The few shapes of canonical CBOR (RFC 8949, section 4.2) that vLLM hashes: every length and number in its
//! shortest form, arrays of definite length.

use super::Extra;

const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const NULL: u8 = 0xf6;

pub fn text(text: &str, out: &mut Vec<u8>) {
    head(TEXT, text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// The array `[parent, [tokens], null or [LoRA, salt]]`.
pub fn block(parent: &[u8], tokens: &[u32], extra: Extra<'_>, out: &mut Vec<u8>) {
    head(ARRAY, 3, out);
    head(BYTES, parent.len() as u64, out);
    out.extend_from_slice(parent);
    head(ARRAY, tokens.len() as u64, out);
    for token in tokens {
        head(UNSIGNED, u64::from(*token), out);
    }
    match extra.names().count() as u64 {
        0 => out.push(NULL),
        count => {
            head(ARRAY, count, out);
            extra.names().for_each(|name| text(name, out));
        }
    }
}

/// A type and its argument: up to 23 in the first byte, above in 1, 2, 4 or 8 bytes after it.
fn head(kind: u8, argument: u64, out: &mut Vec<u8>) {
    let bytes = argument.to_be_bytes();
    let (info, length) = match argument {
        0..=23 => (argument as u8, 0),
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    out.push(kind << 5 | info);
    out.extend_from_slice(&bytes[8 - length..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_their_shortest_form() {
        // From RFC 8949, appendix A.
        for (number, expected) in [
            (0, &[0x00][..]),
            (23, &[0x17]),
            (24, &[0x18, 0x18]),
            (100, &[0x18, 0x64]),
            (1000, &[0x19, 0x03, 0xe8]),
            (1_000_000, &[0x1a, 0x00, 0x0f, 0x42, 0x40]),
            (1_000_000_000_000, &[0x1b, 0x00, 0x00, 0x00, 0xe8, 0xd4, 0xa5, 0x10, 0x00]),
        ] {
            let mut bytes = Vec::new();
            head(UNSIGNED, number, &mut bytes);
            assert_eq!(bytes, expected, "{number}");
        }
    }
}
