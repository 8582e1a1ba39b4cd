//! CRC32C (Castagnoli), by the widest instructions that the processor has.

use super::memory::Mem;

/// CRC32C of bytes.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC32C of registered memory.
pub fn crc32c_of(mem: Mem) -> u32 {
    mem.with_bytes(crc32c)
}

/// CRC32C of ranges that are read as one.
pub fn crc32c_of_all(pieces: &[Mem]) -> u32 {
    let mut crc = Crc32c::default();
    pieces.iter().for_each(|piece| crc.update(*piece));
    crc.value()
}

/// CRC32C of two runs of bytes, one after the other, of which the second has `length`. The first is moved on by as many
/// zeros, which is a product of polynomials over GF(2).
pub fn join(first: u32, second: u32, length: u64) -> u32 {
    let powers = POWERS.iter().enumerate().filter(|(bit, _)| length >> bit & 1 == 1);
    powers.fold(first, |moved, (_, power)| product(moved, *power)) ^ second
}

/// Castagnoli's polynomial, lowest power in the highest bit, as all here.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// x to the power of 8 (one byte), 16, 32 and so on.
static POWERS: [u32; 64] = {
    let mut powers = [1 << (31 - 8); 64];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = product(powers[at - 1], powers[at - 1]);
        at += 1;
    }
    powers
};

/// The product of two polynomials modulo Castagnoli's.
const fn product(mut one: u32, mut other: u32) -> u32 {
    let mut product = 0;
    while one != 0 {
        if one >> 31 == 1 {
            product ^= other;
        }
        one <<= 1;
        other = other >> 1 ^ if other & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    product
}

/// CRC32C of bytes that come in pieces. What the crate has for this brings along every CRC there is.
#[derive(Default)]
pub struct Crc32c {
    value: u32,
}

impl Crc32c {
    pub fn update(&mut self, mem: Mem) {
        self.value = join(self.value, crc32c_of(mem), mem.len() as u64);
    }

    pub fn value(&self) -> u32 {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let mut pieces = Crc32c::default();
        for piece in [&b"1234"[..], b"", b"56789"] {
            pieces.update(Mem::of(piece));
        }
        assert_eq!(pieces.value(), 0xe306_9283);
    }

    #[test]
    fn runs_of_any_length_are_joined() {
        let bytes: Vec<u8> = (0..300_000u32).map(|at| (at.wrapping_mul(at) >> 3) as u8).collect();
        let whole = crc32c(&bytes);
        for cut in [0, 1, 7, 4096, 65_536, 123_457, 299_999, 300_000] {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(join(crc32c(first), crc32c(second), second.len() as u64), whole, "cut at {cut}");
        }
    }
}
