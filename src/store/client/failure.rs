//! Why a client's operation, or one key of it, was not done.

use crate::error::{Code, Error};
use crate::store::refusal::Refusal;
use crate::store::wire::Failed;

/// An error, and when it is worth asking again, where that is known.
#[derive(Clone, Debug)]
pub struct Failure {
    pub error: Error,
    pub retry_after_ms: Option<u32>,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn code(&self) -> Code {
        self.error.code
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, retry_after_ms: None }
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Failure {
        Failure { retry_after_ms: failed.retry_after_ms, error: failed.into_error() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure { retry_after_ms: refusal.retry_after_ms, error: Error::new(refusal.code, refusal.reason) }
    }
}
