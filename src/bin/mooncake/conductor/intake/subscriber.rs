//! Follows one publisher: every message once and in order, or its blocks forgotten and begun anew.
//!
//! ```text
//!   live messages ---> in order?  --- yes ---> applied
//!                          |
//!                          no: what is missing is asked for at the replay endpoint, and applied first
//!                          |
//!                          cannot be had: the blocks are cleared, and what comes from here on counts
//! ```
//!
//! What is published while messages are replayed waits here. After a connection was lost, the last message that was
//! applied is asked for again: a publisher that does not have it, or has another one under its number, is a new one.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::order::{Last, Order, Place};
use super::watched::Watched;
use crate::zmtp::{Connection, Kind};

/// After a failure to connect, doubled up to the second one.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
const AGAIN_AFTER_MOST: Duration = Duration::from_secs(5);
/// How long a publisher has for the first answer to a request for a replay. Engines look for such requests between
/// batches, and a master makes a list of all objects first.
const REPLAY_WITHIN: Duration = Duration::from_secs(15);
/// How long it has for each further one.
const REPLAY_NEXT_WITHIN: Duration = Duration::from_secs(2);
/// How often a replay is asked for that goes on but stays incomplete: a router drops what its queue cannot hold.
const REPLAY_ROUNDS: usize = 256;
/// What may wait while messages are replayed: then the connection is not read, and the publisher's queue fills.
const PENDING_MESSAGES: usize = 65_536;
const PENDING_BYTES: usize = 64 << 20;
/// The number behind the last message of a replay.
const REPLAY_END: u64 = u64::MAX;

/// Who takes what a publisher tells.
pub trait Sink: Send {
    fn apply(&mut self, payload: &[u8]);
    /// Nothing that was told so far holds any more.
    fn clear(&mut self);
}

/// One message of a publisher.
struct Message {
    sequence: u64,
    payload: Vec<u8>,
}

/// Why messages could not be had again.
enum Lost {
    /// The oldest that the publisher has is a later one.
    TooOld,
    /// Its last message is not the one that was applied.
    Stranger,
    Failed(Error),
}

pub struct Subscriber<S> {
    address: String,
    replay: Option<String>,
    order: Order,
    sink: S,
    watched: Arc<Watched>,
    pending: VecDeque<Message>,
    pending_bytes: usize,
    /// The connection to the replay endpoint, while nothing went wrong there.
    dealer: Option<Connection>,
}

impl<S: Sink> Subscriber<S> {
    pub fn new(
        address: &str,
        replay: Option<&str>,
        last: Option<Last>,
        sink: S,
        watched: Arc<Watched>,
    ) -> Subscriber<S> {
        Subscriber {
            address: address.to_owned(),
            replay: replay.map(str::to_owned),
            order: Order::after(last),
            sink,
            watched,
            pending: VecDeque::new(),
            pending_bytes: 0,
            dealer: None,
        }
    }

    /// Never ends: whoever has enough of it drops it.
    pub async fn run(mut self) {
        let mut wait = AGAIN_AFTER;
        loop {
            let error = match Connection::open(&self.address, Kind::Subscriber).await {
                Ok(live) => {
                    wait = AGAIN_AFTER;
                    self.watched.figures.connected(true);
                    let Err(error) = self.follow(live).await;
                    error
                }
                Err(error) => error,
            };
            self.watched.figures.connected(false);
            self.watched.figures.failed(&error.to_string());
            // Once, and not with every attempt.
            if wait == AGAIN_AFTER {
                tracing::warn!(publisher = %self.address, %error, "no connection to a publisher of events");
            }
            // Nobody listens there: the process is gone, and its memory.
            if error.kind() == ErrorKind::ConnectionRefused && self.order.last().is_some() {
                self.begin_anew("nobody listens where it was published");
            }
            sleep(wait).await;
            wait = (wait * 2).min(AGAIN_AFTER_MOST);
        }
    }

    async fn follow(&mut self, mut live: Connection) -> Result<std::convert::Infallible> {
        self.order.connected();
        self.pending.clear();
        self.pending_bytes = 0;
        self.dealer = None;
        if self.replay.is_some() {
            self.meet(&mut live).await?;
        }
        loop {
            let message = match self.pending.pop_front() {
                Some(message) => {
                    self.pending_bytes -= message.payload.len();
                    message
                }
                None => match message_of(live.receive().await?) {
                    Some(message) => message,
                    None => {
                        self.watched.figures.malformed.fetch_add(1, Relaxed);
                        continue;
                    }
                },
            };
            self.take(message, &mut live).await?;
        }
    }

    /// The same publisher as before, or another one?
    async fn meet(&mut self, live: &mut Connection) -> Result<()> {
        match self.replay(self.order.last(), live).await? {
            Ok(()) => {}
            // The numbers of what comes will tell.
            Err(Lost::Failed(error)) => self.replay_failed(&error),
            Err(Lost::TooOld) => {
                self.begin_anew("its last message is not kept any more");
                self.replay_all(live).await?;
            }
            Err(Lost::Stranger) => {
                self.watched.figures.restarts.fetch_add(1, Relaxed);
                self.begin_anew("it was restarted");
                self.replay_all(live).await?;
            }
        }
        Ok(())
    }

    async fn take(&mut self, message: Message, live: &mut Connection) -> Result<()> {
        match self.order.live(message.sequence) {
            Place::Next => {}
            Place::Before => return Ok(()),
            Place::Restarted => {
                self.watched.figures.restarts.fetch_add(1, Relaxed);
                self.begin_anew("its numbers went back");
                self.replay_all(live).await?;
            }
            Place::After { missing_from } => {
                self.watched.figures.gaps.fetch_add(1, Relaxed);
                self.watched.figures.missed.fetch_add(message.sequence - missing_from, Relaxed);
                self.fill(live).await?;
            }
        }
        match self.order.next() {
            // It was among those that were replayed.
            Some(next) if message.sequence < next => return Ok(()),
            Some(next) if message.sequence > next => self.begin_anew("messages are lost"),
            _ => {}
        }
        self.apply(&message);
        Ok(())
    }

    /// Gets what is missing after the last message, if it can be had.
    async fn fill(&mut self, live: &mut Connection) -> Result<()> {
        if self.replay.is_none() {
            return Ok(());
        }
        match self.replay(None, live).await? {
            Ok(()) => {}
            Err(Lost::Failed(error)) => self.replay_failed(&error),
            Err(Lost::TooOld | Lost::Stranger) => {
                self.begin_anew("the missing messages are not kept any more");
                self.replay_all(live).await?;
            }
        }
        Ok(())
    }

    /// Begins with what the publisher still has.
    async fn replay_all(&mut self, live: &mut Connection) -> Result<()> {
        if self.replay.is_some()
            && let Err(Lost::Failed(error)) = self.replay(None, live).await?
        {
            self.replay_failed(&error);
        }
        Ok(())
    }

    fn replay_failed(&mut self, error: &Error) {
        self.watched.figures.replay_failures.fetch_add(1, Relaxed);
        self.watched.figures.failed(&format!("replay: {error}"));
        tracing::warn!(publisher = %self.address, %error, "messages are not replayed");
    }

    fn apply(&mut self, message: &Message) {
        self.sink.apply(&message.payload);
        self.watched.figures.heard();
        self.order.applied(Last::of(message.sequence, &message.payload));
        self.watched.reached(self.order.last());
    }

    fn begin_anew(&mut self, because: &str) {
        self.watched.figures.resyncs.fetch_add(1, Relaxed);
        tracing::warn!(publisher = %self.address, because, "all blocks of a publisher are forgotten");
        self.order.forget();
        self.sink.clear();
        self.watched.reached(None);
    }

    /// Has the publisher send again what follows the last message that was applied, or all it has, and applies it.
    /// If there is a `proof`, it has to begin with that one. Fails where `live` does.
    async fn replay(
        &mut self,
        mut proof: Option<Last>,
        live: &mut Connection,
    ) -> Result<std::result::Result<(), Lost>> {
        self.watched.figures.replays.fetch_add(1, Relaxed);
        for _ in 0..REPLAY_ROUNDS {
            let before = self.order.next();
            let was_open = self.dealer.is_some();
            let round = self.replay_round(&mut proof, live).await?;
            let goes_on = self.order.next() != before;
            if goes_on || matches!(round, Ok(Round::Complete)) {
                self.order.sent_again();
            }
            match round {
                Ok(Round::Complete) => return Ok(Ok(())),
                Ok(Round::Partial) if goes_on => {}
                Ok(Round::Partial) => return Ok(Err(Lost::TooOld)),
                // A connection that lay idle may be a dead one.
                Err(Lost::Failed(_)) if goes_on || was_open => {}
                Err(lost) => return Ok(Err(lost)),
            }
        }
        Ok(Err(Lost::Failed(Error::other("it goes on and on"))))
    }

    /// One request, and the answers to it.
    async fn replay_round(
        &mut self,
        proof: &mut Option<Last>,
        live: &mut Connection,
    ) -> Result<std::result::Result<Round, Lost>> {
        let from = proof.map_or(self.order.next().unwrap_or(0), |last| last.sequence);
        let mut dealer = match self.ask(from).await {
            Ok(dealer) => dealer,
            Err(error) => return Ok(Err(Lost::Failed(error))),
        };
        let mut until = Instant::now() + REPLAY_WITHIN;
        loop {
            let answer = loop {
                let has_room = self.pending.len() < PENDING_MESSAGES && self.pending_bytes < PENDING_BYTES;
                tokio::select! {
                    biased;
                    answer = timeout_at(until, dealer.receive()) => break answer,
                    parts = live.receive(), if has_room => self.put_off(parts?),
                }
            };
            until = Instant::now() + REPLAY_NEXT_WITHIN;
            let message = match answer {
                Ok(Ok(parts)) => message_of(parts),
                Ok(Err(error)) => return Ok(Err(Lost::Failed(error))),
                Err(_) => return Ok(Err(Lost::Failed(ErrorKind::TimedOut.into()))),
            };
            let Some(message) = message else {
                return Ok(Err(Lost::Failed(Error::new(
                    ErrorKind::InvalidData,
                    "it answers something else",
                ))));
            };
            if let Some(last) = proof.take() {
                match message.sequence {
                    _ if Last::of(message.sequence, &message.payload) == last => continue,
                    sequence if sequence > last.sequence && sequence != REPLAY_END => {
                        return Ok(Err(Lost::TooOld));
                    }
                    _ => return Ok(Err(Lost::Stranger)),
                }
            }
            match self.order.next() {
                _ if message.sequence == REPLAY_END => {
                    self.dealer = Some(dealer);
                    return Ok(Ok(Round::Complete));
                }
                Some(next) if message.sequence < next => {}
                Some(next) if message.sequence > next => return Ok(Ok(Round::Partial)),
                _ => {
                    self.watched.figures.replayed.fetch_add(1, Relaxed);
                    self.apply(&message);
                }
            }
        }
    }

    async fn ask(&mut self, from: u64) -> Result<Connection> {
        let mut dealer = match (self.dealer.take(), &self.replay) {
            (Some(dealer), _) => dealer,
            (None, Some(address)) => Connection::open(address, Kind::Dealer).await?,
            (None, None) => return Err(Error::new(ErrorKind::NotFound, "there is no replay endpoint")),
        };
        dealer.send(&[&[][..], &from.to_be_bytes()]).await?;
        Ok(dealer)
    }

    fn put_off(&mut self, parts: Vec<Vec<u8>>) {
        match message_of(parts) {
            Some(message) => {
                self.pending_bytes += message.payload.len();
                self.pending.push_back(message);
            }
            None => drop(self.watched.figures.malformed.fetch_add(1, Relaxed)),
        }
    }
}

/// How the answers to one request ended.
enum Round {
    /// With the mark of the end.
    Complete,
    /// With some missing in between.
    Partial,
}

/// The last two frames: a topic comes before them, or what separates an address from them.
fn message_of(mut parts: Vec<Vec<u8>>) -> Option<Message> {
    let payload = parts.pop()?;
    let sequence = parts.pop()?;
    Some(Message { sequence: u64::from_be_bytes(sequence.try_into().ok()?), payload })
}
