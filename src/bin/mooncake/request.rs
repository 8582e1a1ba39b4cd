//! What the program's HTTP servers ask of a request: that its body comes whole and in time, and that its sender has the key.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, header};

/// How long a body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Why a body is not there.
pub enum Unread {
    TooLong,
    Late,
}

/// Reads a body of so many bytes at most.
pub async fn body(body: Body, most: usize) -> Result<Bytes, Unread> {
    match tokio::time::timeout(BODY_WITHIN, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(Unread::TooLong),
        Err(_) => Err(Unread::Late),
    }
}

/// Whether it came with this key, as `Authorization: Bearer KEY`.
pub fn has_key(headers: &HeaderMap, key: &[u8]) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    given.and_then(|value| value.strip_prefix(b"Bearer ")).is_some_and(|given| is_same(given, key))
}

/// In a time that says nothing of where they differ.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    let differ = given.iter().zip(wanted).fold(0, |differ, (one, other)| differ | (one ^ other));
    given.len() == wanted.len() && differ == 0
}
