//! What is counted of each publisher.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::{Value, json};

/// The figures of one publisher. They only grow, but for the first ones.
#[derive(Default)]
pub struct Figures {
    is_connected: AtomicBool,
    last_heard: Mutex<Option<Instant>>,
    last_failure: Mutex<Option<String>>,
    pub connections: AtomicU64,
    /// Messages that were applied, replayed ones included.
    pub messages: AtomicU64,
    pub events: AtomicU64,
    pub blocks: AtomicU64,
    /// Events that were passed over.
    skipped: AtomicU64,
    last_skipped: Mutex<Option<&'static str>>,
    pub malformed: AtomicU64,
    pub gaps: AtomicU64,
    /// Messages in these gaps.
    pub missed: AtomicU64,
    pub replays: AtomicU64,
    pub replayed: AtomicU64,
    pub replay_failures: AtomicU64,
    /// All its blocks were forgotten because it was not known any more what holds.
    pub resyncs: AtomicU64,
    pub restarts: AtomicU64,
}

/// Name, what it counts, and where.
type Counter = (&'static str, &'static str, fn(&Figures) -> &AtomicU64);

pub const COUNTERS: &[Counter] = &[
    ("connections", "Connections to the publisher.", |figures| &figures.connections),
    ("messages", "Messages applied, replayed ones included.", |figures| &figures.messages),
    ("events", "Events applied.", |figures| &figures.events),
    ("blocks", "Blocks that these events were about.", |figures| &figures.blocks),
    ("skipped_events", "Events passed over: of unknown type or medium, or of another model.", |figures| {
        &figures.skipped
    }),
    ("malformed_messages", "Messages that could not be read.", |figures| &figures.malformed),
    ("gaps", "Gaps in the numbers of messages.", |figures| &figures.gaps),
    ("missed_messages", "Messages in these gaps.", |figures| &figures.missed),
    ("replays", "Requests for messages to be sent again.", |figures| &figures.replays),
    ("replayed_messages", "Messages that were sent again and applied.", |figures| &figures.replayed),
    ("replay_failures", "Replays that were not answered to the end.", |figures| &figures.replay_failures),
    ("resyncs", "Times that all blocks of the publisher were forgotten.", |figures| &figures.resyncs),
    ("restarts", "Restarts of the publisher that were noticed.", |figures| &figures.restarts),
];

impl Figures {
    pub fn connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Relaxed);
        if is_connected {
            self.connections.fetch_add(1, Relaxed);
            *self.last_failure.lock() = None;
        }
    }

    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Relaxed)
    }

    /// Events were passed over.
    pub fn skipped(&self, count: u64, why: &'static str) {
        self.skipped.fetch_add(count, Relaxed);
        *self.last_skipped.lock() = Some(why);
    }

    pub fn failed(&self, why: &str) {
        *self.last_failure.lock() = Some(why.to_owned());
    }

    /// A message was applied.
    pub fn heard(&self) {
        self.messages.fetch_add(1, Relaxed);
        *self.last_heard.lock() = Some(Instant::now());
    }

    pub fn json(&self) -> Value {
        let mut all = json!({
            "connected": self.is_connected(),
            "last_message_seconds_ago": self.last_heard.lock().map(|heard| heard.elapsed().as_secs_f64()),
            "last_failure": *self.last_failure.lock(),
            "last_skipped_because": *self.last_skipped.lock(),
        });
        for (name, _, counter) in COUNTERS {
            all[*name] = counter(self).load(Relaxed).into();
        }
        all
    }
}
