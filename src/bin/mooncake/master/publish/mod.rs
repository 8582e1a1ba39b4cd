//! Tells over ZeroMQ which objects come and go: to conductors, and to whoever else reads such events.
//!
//! Three parts to a message, as vLLM sends them: a topic, a number, and a batch of events (`event.rs`). Who misses some
//! asks the other socket for what follows a number. What is not kept any more is made up for by a picture of all
//! objects, which begins by saying that nothing is there.

mod event;
mod kept;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mooncake::store::master::server::{Feed, Filter, Master};
use mooncake::store::master::{ListCursor, Notice};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::zmtp::serve;

use event::Writer;
use kept::Kept;

/// Events of one message.
const MOST_EVENTS: usize = 64;
/// Objects of one message of a picture.
const MOST_PICTURED: usize = 16_384;
/// How often it is looked whether the master serves, or was replaced.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const TOPIC: &str = "kv-events";
/// Ends what is sent again.
const END: u64 = u64::MAX;

#[derive(Default)]
pub struct Figures {
    batches: AtomicU64,
    events: AtomicU64,
    torn: AtomicU64,
    replays: AtomicU64,
    pictures: AtomicU64,
    unparsed: AtomicU64,
    is_enabled: AtomicBool,
}

impl Figures {
    /// As Mooncake's master says it, and what is not in there.
    pub fn json(&self) -> Value {
        let value = |counted: &AtomicU64| counted.load(Ordering::Relaxed);
        json!({
            "enabled": self.is_enabled.load(Ordering::Relaxed),
            "published_batches": value(&self.batches),
            "published_events": value(&self.events),
            "dropped_events": 0,
            "skipped_unparsed_keys": value(&self.unparsed),
            "invalid_event_hashes": 0,
            "torn": value(&self.torn),
            "replays": value(&self.replays),
            "pictures": value(&self.pictures),
        })
    }
}

/// Where the master's thread leaves its notices.
pub fn feed() -> (Arc<Feed>, Arc<Notify>) {
    let notify = Arc::new(Notify::new());
    let wake = notify.clone();
    (Arc::new(Feed::new(move || wake.notify_one())), notify)
}

pub struct Publisher {
    live: serve::Publisher,
    replay: serve::Router,
    master: Arc<Master>,
    feed: Arc<Feed>,
    notify: Arc<Notify>,
    figures: Arc<Figures>,
    writer: Writer,
    kept: Kept,
    /// Not all that is there was told: a picture is owed.
    is_torn: bool,
    /// It was said that nothing is there, since another master leads.
    is_over: bool,
}

impl Publisher {
    /// Binds both sockets, and says where.
    pub async fn start(
        (live_at, replay_at): (&str, &str),
        backend: String,
        master: Arc<Master>,
        (feed, notify): (Arc<Feed>, Arc<Notify>),
        figures: Arc<Figures>,
    ) -> Result<(Publisher, String, String), String> {
        let told = |flag: &str, at: &str, error: std::io::Error| format!("{flag} {at}: {error}");
        let live =
            serve::Publisher::bind(live_at).await.map_err(|error| told("--kv-events", live_at, error))?;
        let replay = serve::Router::bind(replay_at).await;
        let replay = replay.map_err(|error| told("--kv-events-replay", replay_at, error))?;
        let (live_shown, replay_shown) = (live.address(), replay.address());
        figures.is_enabled.store(true, Ordering::Relaxed);
        let (writer, kept) = (Writer::new(backend), Kept::default());
        let (is_torn, is_over) = (false, false);
        let publisher =
            Publisher { live, replay, master, feed, notify, figures, writer, kept, is_torn, is_over };
        Ok((publisher, format!("tcp://{live_shown}"), format!("tcp://{replay_shown}")))
    }

    pub async fn run(mut self) {
        let notify = self.notify.clone();
        loop {
            tokio::select! {
                () = notify.notified() => self.publish(),
                Some((peer, asked)) = self.replay.receive() => self.answer(peer, &asked),
                () = tokio::time::sleep(LOOK_EVERY) => self.look(),
            }
        }
    }

    /// Publishes what waits.
    fn publish(&mut self) {
        loop {
            let told = self.feed.take(MOST_EVENTS);
            if told.is_torn {
                self.figures.torn.fetch_add(1, Ordering::Relaxed);
                self.is_torn = true;
            }
            if self.is_torn {
                self.mend();
            }
            if told.notices.is_empty() {
                return;
            }
            self.send(&told.notices, false);
        }
    }

    /// What no notice tells: that a master serves at last, or was replaced.
    fn look(&mut self) {
        if self.is_torn {
            self.mend();
        }
        if !self.is_over && self.master.with(|state, _| state.is_deposed()) {
            self.is_over = true;
            // What the store has is told by the one that leads now.
            self.send(&[], true);
        }
    }

    /// Sends a picture in place of the notices that were lost, once there is one.
    fn mend(&mut self) {
        let Some(all) = self.picture() else { return };
        self.is_torn = false;
        let mut is_first = true;
        for part in all.chunks(MOST_PICTURED) {
            self.send(part, is_first);
            is_first = false;
        }
        if is_first {
            self.send(&[], true);
        }
    }

    fn send(&mut self, notices: &[Notice], is_whole: bool) {
        let payload = self.writer.batch(notices, is_whole);
        self.figures.batches.fetch_add(1, Ordering::Relaxed);
        self.figures.events.fetch_add((notices.len() + usize::from(is_whole)) as u64, Ordering::Relaxed);
        self.figures.unparsed.store(self.writer.unparsed, Ordering::Relaxed);
        let number = self.kept.add(payload.clone());
        let parts = vec![TOPIC.as_bytes().to_vec(), number.to_be_bytes().to_vec(), payload];
        self.live.send(parts);
    }

    /// Sends again what follows a number. Who asks from the beginning gets everything there is.
    fn answer(&mut self, peer: u64, asked: &[Vec<u8>]) {
        let Some(from) = asked.last() else { return };
        let Ok(from) = <[u8; 8]>::try_from(from.as_slice()).map(u64::from_be_bytes) else { return };
        self.figures.replays.fetch_add(1, Ordering::Relaxed);
        if from == 0 && !self.is_over {
            let Some(all) = self.picture() else {
                // Before the nodes have reported there is none: nothing was told yet, and all of it will be.
                return self.give(peer, END, Vec::new());
            };
            self.figures.pictures.fetch_add(1, Ordering::Relaxed);
            let mut parts: Vec<&[Notice]> = all.chunks(MOST_PICTURED).collect();
            if parts.is_empty() {
                parts.push(&[]);
            }
            let first = self.kept.first().saturating_sub(parts.len() as u64);
            for (index, part) in parts.into_iter().enumerate() {
                let payload = self.writer.batch(part, index == 0);
                self.give(peer, first + index as u64, payload);
            }
        }
        for (number, payload) in self.kept.from(from) {
            self.give(peer, number, payload);
        }
        self.give(peer, END, Vec::new());
    }

    fn give(&self, peer: u64, number: u64, payload: Vec<u8>) {
        self.replay.send(peer, vec![Vec::new(), number.to_be_bytes().to_vec(), payload]);
    }

    /// All objects; None while nodes have not reported what they hold.
    fn picture(&self) -> Option<Vec<Notice>> {
        let mut all = Vec::new();
        for tenant in self.master.with(|state, _| state.tenants()) {
            let name: Arc<str> = tenant.name.as_str().into();
            let filter = Filter { tenant: tenant.name, ..Filter::default() };
            let mut from = Some(ListCursor::default());
            while let Some(place) = from {
                let page = self.master.list(&filter, place, MOST_PICTURED).ok()?;
                let notice = |key| Notice { tenant: name.clone(), key, is_there: true };
                all.extend(page.objects.into_iter().map(|object| notice(object.key)));
                from = page.next;
            }
        }
        Some(all)
    }
}
