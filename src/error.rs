//! The one error that crosses modules: a code that callers branch on, and a text that says what, who and what to do.

use std::fmt;

/// What went wrong, grouped by what the caller should do. The numbers are permanent (`ffi::status` shows them to C).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    InvalidArgument = -1,
    InvalidHandle = -2,
    Unsupported = -3,
    BufferTooSmall = -4,
    InvalidState = -5,
    AddressNotRegistered = -6,

    Busy = -20,
    Timeout = -21,
    Canceled = -22,
    Exhausted = -23,
    NoSpace = -24,
    QuotaExceeded = -25,
    NotReady = -26,

    NotFound = -40,
    AlreadyExists = -41,
    LeaseExpired = -42,
    Permission = -43,
    Unauthenticated = -44,
    VersionMismatch = -45,

    Unreachable = -60,
    ConnectionLost = -61,
    PeerRestarted = -62,
    Rejected = -63,

    Corrupted = -80,
    Device = -81,
    Io = -82,

    Internal = -99,
}

/// Every code with its name, its static text and whether trying the same call again can help.
pub const TABLE: &[(Code, &str, &str, bool)] = &[
    (Code::InvalidArgument, "INVALID_ARGUMENT", "an argument is outside its documented range", false),
    (Code::InvalidHandle, "INVALID_HANDLE", "the handle is stale, foreign or was never valid", false),
    (Code::Unsupported, "UNSUPPORTED", "this build or this host cannot do that", false),
    (
        Code::BufferTooSmall,
        "BUFFER_TOO_SMALL",
        "the caller's buffer is too small; the full length was reported",
        false,
    ),
    (Code::InvalidState, "INVALID_STATE", "the object is not in a state that allows this call", false),
    (
        Code::AddressNotRegistered,
        "ADDRESS_NOT_REGISTERED",
        "the memory is not registered, or no longer",
        false,
    ),
    (Code::Busy, "BUSY", "in use at the moment", true),
    (Code::Timeout, "TIMEOUT", "the deadline passed", true),
    (Code::Canceled, "CANCELED", "canceled on request", true),
    (Code::Exhausted, "EXHAUSTED", "a bounded queue or table is full", true),
    (Code::NoSpace, "NO_SPACE", "no memory or disk space left for this", true),
    (Code::QuotaExceeded, "QUOTA_EXCEEDED", "a quota is used up", true),
    (Code::NotReady, "NOT_READY", "not finished yet", true),
    (Code::NotFound, "NOT_FOUND", "nothing exists under that name", false),
    (Code::AlreadyExists, "ALREADY_EXISTS", "the name is taken", false),
    (Code::LeaseExpired, "LEASE_EXPIRED", "the lease ran out", false),
    (Code::Permission, "PERMISSION", "the owner does not allow this", false),
    (Code::Unauthenticated, "UNAUTHENTICATED", "the peers do not share a key", false),
    (Code::VersionMismatch, "VERSION_MISMATCH", "the peers speak no common protocol version", false),
    (Code::Unreachable, "UNREACHABLE", "the peer does not answer", true),
    (Code::ConnectionLost, "CONNECTION_LOST", "the connection to the peer broke", true),
    (Code::PeerRestarted, "PEER_RESTARTED", "the peer restarted; its memory is new", true),
    (Code::Rejected, "REJECTED", "the peer refused", false),
    (Code::Corrupted, "CORRUPTED", "the bytes do not match their checksum", true),
    (Code::Device, "DEVICE", "a device reported an error", false),
    (Code::Io, "IO", "the operating system reported an error", false),
    (Code::Internal, "INTERNAL", "a defect in this library; please report it with the log", false),
];

impl Code {
    pub fn from_raw(raw: i32) -> Option<Code> {
        TABLE.iter().map(|row| row.0).find(|code| *code as i32 == raw)
    }

    fn row(self) -> &'static (Code, &'static str, &'static str, bool) {
        TABLE.iter().find(|row| row.0 == self).expect("the table has a row for every code, a test shows it")
    }

    pub fn name(self) -> &'static str {
        self.row().1
    }

    pub fn text(self) -> &'static str {
        self.row().2
    }

    pub fn is_retryable(self) -> bool {
        self.row().3
    }
}

/// A code and its story, from the inside out: "writing 4096 bytes to 10.0.0.2:4711: connection reset".
#[derive(Clone, Debug)]
pub struct Error {
    pub code: Code,
    message: String,
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error { code, message: message.into() }
    }

    /// An operating system error with what was being done.
    pub fn io(doing: impl fmt::Display, error: &std::io::Error) -> Error {
        Error::new(Code::Io, format!("{doing}: {error}"))
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// Puts what was being attempted, and on whom, in front of the message.
    pub fn context(mut self, doing: impl fmt::Display) -> Error {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// The same story under another code.
    pub fn with_code(mut self, code: Code) -> Error {
        self.code = code;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Error {}

/// `.context("opening 10.0.0.2:4711")` on any result of ours.
pub trait Context<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.context(doing))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Error::io(doing, &error))
    }
}

/// Returns early with an error of the given code: `bail!(InvalidArgument, "count is 0")`.
#[macro_export]
macro_rules! bail {
    ($code:ident, $($arg:tt)*) => {
        return Err($crate::error::Error::new($crate::error::Code::$code, format!($($arg)*)))
    };
}

/// An error value of the given code, for closures and `ok_or_else`.
#[macro_export]
macro_rules! fail {
    ($code:ident, $($arg:tt)*) => {
        $crate::error::Error::new($crate::error::Code::$code, format!($($arg)*))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique() {
        for (i, a) in TABLE.iter().enumerate() {
            assert_eq!(Code::from_raw(a.0 as i32), Some(a.0));
            for b in &TABLE[i + 1..] {
                assert_ne!(a.0 as i32, b.0 as i32);
                assert_ne!(a.1, b.1);
            }
        }
    }

    #[test]
    fn context_reads_from_the_outside_in() {
        let error = Error::new(Code::Io, "reset").context("writing to peer");
        assert_eq!(error.to_string(), "IO: writing to peer: reset");
    }
}
