//! What callers ask for: requests, how to run them, a message for afterwards. And what they are told.

use std::sync::Arc;
use std::time::Duration;

use super::group::Group;
use crate::bail;
use crate::error::{Code, Result};
use crate::transport::{Opcode, Priority};

/// Longest notification.
pub const NOTIFY_MAX_LENGTH: usize = 1 << 20;
/// Longest tag of a notification.
pub const TAG_MAX_LENGTH: usize = 255;

/// One transfer, as callers ask for it.
#[derive(Debug)]
pub struct Request {
    pub opcode: Opcode,
    pub segment: u64,
    pub remote: u64,
    pub length: u64,
    pub local: Local,
    pub user_data: u64,
}

/// Where local memory is: at one address, or in pieces that follow each other remotely.
#[derive(Debug)]
pub enum Local {
    Contiguous(usize),
    Scattered(Vec<(usize, usize)>),
}

/// A message for a peer.
#[derive(Clone, Debug)]
pub struct Notification {
    pub tag: String,
    pub data: Vec<u8>,
    pub segment: u64,
}

impl Notification {
    pub fn new(tag: &str, data: &[u8], segment: u64) -> Result<Notification> {
        if tag.len() > TAG_MAX_LENGTH {
            bail!(InvalidArgument, "the tag has {} bytes, at most {TAG_MAX_LENGTH} are allowed", tag.len());
        }
        if data.len() > NOTIFY_MAX_LENGTH {
            bail!(
                InvalidArgument,
                "the notification has {} bytes, at most {NOTIFY_MAX_LENGTH} are allowed",
                data.len()
            );
        }
        Ok(Notification { tag: tag.to_owned(), data: data.to_vec(), segment })
    }
}

/// How to run a batch.
#[derive(Debug)]
pub struct BatchOptions {
    pub priority: Priority,
    pub complete_once: bool,
    pub deadline: Option<Duration>,
    pub cq: u64,
    pub user_data: u64,
    pub notify: Option<Notification>,
    /// The caller checks what is read by itself: no path spends time on that.
    pub verifies_reads: bool,
    /// Batches that share one notification: it is sent after the last of them, not after this one.
    pub group: Option<Arc<Group>>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        BatchOptions {
            priority: Priority::Normal,
            complete_once: false,
            deadline: None,
            cq: 0,
            user_data: 0,
            notify: None,
            verifies_reads: false,
            group: None,
        }
    }
}

/// How far a batch is. `status` is the first failure.
#[derive(Clone, Copy, Debug)]
pub struct BatchInfo {
    pub status: Option<Code>,
    pub is_done: bool,
    pub request_count: u64,
    pub completed_count: u64,
    pub failed_count: u64,
    pub completed_bytes: u64,
}
