//! The only table of the numbers of Mooncake's store: what our codes are called there.

use std::ffi::c_int;

use crate::error::Code;

/// Also what every function there says to a NULL.
pub const INTERNAL_ERROR: c_int = -1;
pub const OBJECT_HAS_LEASE: c_int = -706;

const TABLE: &[(Code, c_int)] = &[
    (Code::InvalidArgument, -600),
    (Code::InvalidHandle, INTERNAL_ERROR),
    (Code::Unsupported, -1012),
    (Code::BufferTooSmall, -600),
    (Code::InvalidState, -1010),
    (Code::AddressNotRegistered, -600),
    (Code::Busy, -714),
    (Code::Timeout, -901),
    (Code::Canceled, -500),
    (Code::Exhausted, -10),
    (Code::NoSpace, -200),
    (Code::QuotaExceeded, -1700),
    (Code::NotReady, -1010),
    (Code::NotFound, -704),
    (Code::AlreadyExists, -705),
    (Code::LeaseExpired, -707),
    (Code::Permission, -601),
    (Code::Unauthenticated, -601),
    (Code::VersionMismatch, -300),
    (Code::Unreachable, -900),
    (Code::ConnectionLost, -900),
    (Code::PeerRestarted, -800),
    (Code::Rejected, -900),
    (Code::Corrupted, -801),
    (Code::Device, -800),
    (Code::Io, INTERNAL_ERROR),
    (Code::Internal, INTERNAL_ERROR),
];

pub fn number(code: Code) -> c_int {
    TABLE.iter().find(|row| row.0 == code).expect("a test shows that every code has a row").1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_negative_number() {
        for (code, ..) in crate::error::TABLE {
            assert!(number(*code) < 0, "{}", code.name());
        }
        assert_eq!(TABLE.len(), crate::error::TABLE.len());
    }
}
