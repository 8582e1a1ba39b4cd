//! CRC32C (Castagnoli), by the widest instructions that the processor has.

use super::memory::{Mem, copy};

/// CRC32C of bytes.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC32C of registered memory.
pub fn crc32c_of(mem: Mem) -> u32 {
    mem.with_bytes(crc32c)
}

/// Copies `from` to `to`, which must be as long and elsewhere; CRC32C of the bytes that were copied. They come from memory
/// once, and their sum costs hardly more than the copy.
pub fn copy_summed(to: Mem, from: Mem) -> u32 {
    assert!(to.len() == from.len(), "copy of ranges of different lengths");
    let (mut crc, mut at) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sse4.2") {
        while from.len() - at >= lanes::BYTES {
            // SAFETY: the processor has the instructions, as was asked above.
            let sum = unsafe { lanes::copy(to.part(at, lanes::BYTES), from.part(at, lanes::BYTES)) };
            crc = product(crc, lanes::ALL) ^ sum;
            at += lanes::BYTES;
        }
    }
    let rest = from.len() - at;
    copy(to.part(at, rest), from.part(at, rest));
    join(crc, crc32c_of(to.part(at, rest)), rest as u64)
}

/// Three sums side by side, for an instruction that gives one takes three times as long as until the next may begin.
#[cfg(target_arch = "x86_64")]
mod lanes {
    use std::arch::x86_64::_mm_crc32_u64;

    use super::super::memory::Mem;
    use super::{power, product};

    const WORDS: usize = 2728;
    const COUNT: usize = 3;
    /// Of a block of 64 KiB, one line of the cache is left.
    pub const BYTES: usize = COUNT * WORDS * 8;
    /// What moves a sum on by all lanes, or by one.
    pub const ALL: u32 = power(BYTES as u64);
    const ONE: u32 = power(WORDS as u64 * 8);

    /// Copies as many bytes as the lanes have.
    #[target_feature(enable = "sse4.2")]
    pub fn copy(to: Mem, from: Mem) -> u32 {
        assert!(to.len() == BYTES && from.len() == BYTES, "not a copy for these lanes");
        let (from, to) = (from.address() as *const u64, to.address() as *mut u64);
        let mut sums = [u64::from(u32::MAX), 0, 0];
        for line in (0..WORDS).step_by(8) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                for word in lane * WORDS + line..lane * WORDS + line + 8 {
                    // SAFETY: both are mapped by the promise of `Mem::new`, `to` is writable, and the word is inside.
                    let value = unsafe { from.add(word).read_unaligned() };
                    *sum = _mm_crc32_u64(*sum, value);
                    // SAFETY: as above.
                    unsafe { to.add(word).write_unaligned(value) };
                }
            }
        }
        !sums.into_iter().fold(0, |all, sum| product(all, ONE) ^ sum as u32)
    }
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
    // Of nothing, as often.
    if first == 0 { second } else { product(first, power(length)) ^ second }
}

/// x to the power of as many bits as so many bytes have.
const fn power(length: u64) -> u32 {
    let (mut power, mut bit) = (1 << 31, 0);
    while bit < POWERS.len() {
        if length >> bit & 1 == 1 {
            power = product(power, POWERS[bit]);
        }
        bit += 1;
    }
    power
}

/// Castagnoli's polynomial, lowest power in the highest bit, as all here.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// x to the power of 8 (one byte), 16, 32 and so on.
const POWERS: [u32; 64] = {
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
    fn a_copy_is_summed_whatever_its_length_and_place() {
        let bytes: Vec<u8> = (0..300_000u32).map(|at| (at.wrapping_mul(at) >> 3) as u8).collect();
        for length in [0, 1, 63, 4096, 65_471, 65_472, 65_473, 65_536, 131_072, 262_143] {
            for offset in [0, 1, 8] {
                let copied = vec![0; length + offset];
                let (to, from) = (Mem::of(&copied).part(offset, length), Mem::of(&bytes).part(3, length));
                assert_eq!(copy_summed(to, from), crc32c(&bytes[3..3 + length]), "{length} bytes");
                assert_eq!(copied[offset..], bytes[3..3 + length]);
            }
        }
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
