//! The only table of Mooncake's numbers: what our codes are called there. Two families: most functions return a
//! negative number, those of batches the positive one of their status class.

use std::ffi::c_int;

use super::layout::{STATUS_COMPLETED, STATUS_FAILED, STATUS_WAITING};
use crate::compat::Progress;
use crate::error::Code;

/// Code, the negative number, the positive number.
const TABLE: &[(Code, c_int, c_int)] = &[
    (Code::InvalidArgument, -1, 1),
    (Code::InvalidHandle, -1, 1),
    (Code::Unsupported, -303, 8),
    (Code::BufferTooSmall, -1, 1),
    (Code::InvalidState, -202, 202),
    (Code::AddressNotRegistered, -3, 3),
    (Code::Busy, -4, 4),
    (Code::Timeout, -102, 102),
    (Code::Canceled, -202, 202),
    (Code::Exhausted, -2, 2),
    (Code::NoSpace, -302, 302),
    (Code::QuotaExceeded, -2, 2),
    (Code::NotReady, -4, 4),
    (Code::NotFound, -200, 200),
    (Code::AlreadyExists, -200, 200),
    (Code::LeaseExpired, -200, 200),
    (Code::Permission, -104, 104),
    (Code::Unauthenticated, -104, 104),
    (Code::VersionMismatch, -104, 104),
    (Code::Unreachable, -102, 102),
    (Code::ConnectionLost, -102, 102),
    (Code::PeerRestarted, -201, 201),
    (Code::Rejected, -104, 104),
    (Code::Corrupted, -102, 102),
    (Code::Device, -6, 6),
    (Code::Io, -102, 102),
    (Code::Internal, -202, 202),
];

/// What most functions return for an error.
pub fn negative(code: Code) -> c_int {
    row(code).1
}

/// What the functions of batches return for an error.
pub fn positive(code: Code) -> c_int {
    row(code).2
}

fn row(code: Code) -> &'static (Code, c_int, c_int) {
    TABLE.iter().find(|row| row.0 == code).expect("a test shows that every code has a row")
}

/// Why a task failed stays in the log and in the native calls: known callers take TIMEOUT and CANCELED for "still
/// running" or for success.
pub fn status_of(progress: Progress) -> c_int {
    match progress {
        Progress::Waiting => STATUS_WAITING,
        Progress::Completed => STATUS_COMPLETED,
        Progress::Failed => STATUS_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_number_of_each_family_with_the_right_sign() {
        for (code, ..) in crate::error::TABLE {
            assert!(negative(*code) < 0, "{}", code.name());
            assert!(positive(*code) > 0, "{}", code.name());
        }
        assert_eq!(TABLE.len(), crate::error::TABLE.len());
    }

    #[test]
    fn a_task_is_waiting_completed_or_failed_and_nothing_else() {
        assert_eq!(status_of(Progress::Waiting), 0);
        assert_eq!(status_of(Progress::Completed), 4);
        assert_eq!(status_of(Progress::Failed), 6);
    }
}
