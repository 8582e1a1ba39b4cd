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

/// CRC32C of two runs of bytes, one after the other, of which the second has `length`.
pub fn join(first: u32, second: u32, length: u64) -> u32 {
    let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
    crc_fast::checksum_combine(algorithm, first.into(), second.into(), length) as u32
}

/// CRC32C of bytes that come in pieces.
pub struct Crc32c {
    digest: crc_fast::Digest,
}

impl Default for Crc32c {
    fn default() -> Self {
        Crc32c { digest: crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi) }
    }
}

impl Crc32c {
    pub fn update(&mut self, mem: Mem) {
        mem.with_bytes(|bytes| self.digest.update(bytes));
    }

    pub fn value(&self) -> u32 {
        // It is 32 bits wide.
        self.digest.finalize() as u32
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
}
