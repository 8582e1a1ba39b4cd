//! Why the store did not do what was asked: cheap to make, since a miss is an everyday answer.

use std::fmt;

use crate::error::{Code, Error};

/// A code that callers branch on, a reason for people, and when it is worth asking again, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub reason: &'static str,
    pub retry_after_ms: Option<u32>,
}

pub type Result<T> = std::result::Result<T, Refusal>;

impl Refusal {
    pub const fn new(code: Code, reason: &'static str) -> Refusal {
        Refusal { code, reason, retry_after_ms: None }
    }

    pub const fn retry(code: Code, reason: &'static str, after_ms: u32) -> Refusal {
        Refusal { code, reason, retry_after_ms: Some(after_ms) }
    }

    /// The same for callers outside the store.
    pub fn into_error(self) -> Error {
        match self.retry_after_ms {
            Some(after) => Error::new(self.code, format!("{}; try again in {after} ms", self.reason)),
            None => Error::new(self.code, self.reason),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.reason)?;
        self.retry_after_ms.map_or(Ok(()), |after| write!(f, "; try again in {after} ms"))
    }
}
