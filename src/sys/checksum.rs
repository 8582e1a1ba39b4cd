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

#[cfg(test)]
mod tests {
    #[test]
    fn matches_the_published_check_value() {
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
    }
}
