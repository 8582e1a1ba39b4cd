//! Answers handshakes of Mooncake's engines: one question and one answer on each connection, any number at once.

use std::collections::HashMap;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::frame::{self, Head, Kind, QUESTION_MAX, SKIPPED_MAX};
use crate::error::{Code, Error, Result};
use crate::sys::clock;
use crate::sys::memory::IoVec;
use crate::sys::net::{self, Blocking};
use crate::sys::reactor::{Interest, Reactor, Ready, Source, Token};
use crate::telemetry::metrics::Metrics;
use crate::transport::Strangers;
use crate::{bail, fail};

/// Conversations at once; beyond that the oldest ends.
const MAX_CONVERSATIONS: usize = 256;
/// A conversation takes no longer.
const PATIENCE: Duration = Duration::from_secs(5);
const CHUNK: usize = 16 << 10;

/// Who knows the answers.
pub trait Answers: Send + Sync {
    /// The JSON of this engine's segment.
    fn segment(&self) -> Result<String>;

    /// A notification arrived.
    fn notified(&self, name: String, message: String, from: String) -> Result<()>;
}

pub struct Daemon {
    reactor: Arc<Reactor>,
    metrics: Arc<Metrics>,
    answers: OnceLock<Arc<dyn Answers>>,
    conversations: Mutex<HashMap<u64, Arc<Conversation>>>,
    next_number: AtomicU64,
    is_closed: AtomicBool,
    me: Weak<Daemon>,
}

impl Daemon {
    pub fn new(reactor: Arc<Reactor>, metrics: Arc<Metrics>) -> Arc<Daemon> {
        Arc::new_cyclic(|me| Daemon {
            reactor,
            metrics,
            answers: OnceLock::new(),
            conversations: Mutex::default(),
            next_number: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            me: me.clone(),
        })
    }

    /// Who answers from here on; questions that came before are refused.
    pub fn set_answers(&self, answers: Arc<dyn Answers>) {
        // Set once, when the engine is made.
        let _ = self.answers.set(answers);
    }

    fn begin(&self, socket: TcpStream) -> Result<()> {
        let me = self.me.upgrade().ok_or_else(|| fail!(InvalidHandle, "the engine is being destroyed"))?;
        if self.is_closed.load(Ordering::Acquire) {
            bail!(InvalidHandle, "the engine is being destroyed");
        }
        self.make_room();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let conversation = Arc::new(Conversation {
            daemon: Arc::downgrade(&me),
            number,
            token: self.reactor.token(number as usize),
            socket,
            state: Mutex::new(State::default()),
            since_ns: clock::now_ns(),
            is_dead: AtomicBool::new(false),
        });
        self.conversations.lock().insert(number, conversation.clone());
        let fd = conversation.socket.as_fd();
        let added = self.reactor.add_as(conversation.token, fd, Interest::READ, conversation.clone());
        if let Err(error) = added {
            self.conversations.lock().remove(&number);
            return Err(Error::io("watching a handshake", &error));
        }
        self.reactor.wake(0);
        Ok(())
    }

    fn make_room(&self) {
        let oldest = {
            let conversations = self.conversations.lock();
            if conversations.len() < MAX_CONVERSATIONS {
                return;
            }
            conversations.values().min_by_key(|one| one.number).cloned()
        };
        if let Some(oldest) = oldest {
            self.metrics.refused_count.increment();
            oldest.end();
        }
    }

    fn answer(&self, head: Head, body: &[u8], from: String) -> Result<String> {
        let answers = self.answers.get().ok_or_else(|| fail!(InvalidState, "the engine is not ready"))?;
        match head.kind {
            Some(Kind::Metadata) => answers.segment(),
            Some(Kind::Probe) => Ok(json!({"status": "success"}).to_string()),
            Some(Kind::Notify) => {
                let (name, message) = notification_of(body)?;
                let told = answers.notified(name, message, from);
                let told = told.map_or_else(|error| error.message().to_owned(), |()| "success".to_owned());
                Ok(json!({"name": "", "notify_msg": told}).to_string())
            }
            // Those without a type are the oldest, which knew connections only.
            Some(Kind::Connection) | None => {
                serde_json::from_slice::<Value>(body).map_err(|error| fail!(Rejected, "no JSON: {error}"))?;
                let reason = "this engine has no queue pairs: it speaks tcp";
                Ok(json!({"local_nic_path": "", "peer_nic_path": "", "qp_num": [], "reply_msg": reason})
                    .to_string())
            }
        }
    }
}

fn notification_of(body: &[u8]) -> Result<(String, String)> {
    let value: Value = serde_json::from_slice(body).map_err(|error| fail!(Rejected, "no JSON: {error}"))?;
    let text = |key: &str| match value.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(fail!(Rejected, "a notification without a text for {key}")),
    };
    Ok((text("name")?, text("notify_msg")?))
}

impl Strangers for Daemon {
    fn is_one(&self, first: &[u8; 8]) -> bool {
        frame::is_plausible(first)
    }

    fn take(&self, socket: TcpStream) {
        if let Err(error) = self.begin(socket) {
            self.metrics.refused_count.increment();
            tracing::warn!("a handshake was refused: {error}");
        }
    }

    fn tick(&self, now: u64) -> bool {
        let patience = PATIENCE.as_nanos() as u64;
        let (late, count): (Vec<Arc<Conversation>>, usize) = {
            let conversations = self.conversations.lock();
            let late = conversations.values().filter(|one| now.saturating_sub(one.since_ns) > patience);
            (late.cloned().collect(), conversations.len())
        };
        for conversation in late {
            self.metrics.refused_count.increment();
            conversation.end();
        }
        count > 0
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        let conversations: Vec<Arc<Conversation>> = self.conversations.lock().values().cloned().collect();
        conversations.iter().for_each(|conversation| conversation.end());
    }
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    head: Option<Head>,
    /// Bytes of the JSON that arrived, kept or not.
    arrived: usize,
    /// The answer, once there is one.
    answer: Option<Vec<u8>>,
    sent: usize,
}

/// One question and its answer.
struct Conversation {
    daemon: Weak<Daemon>,
    number: u64,
    token: Token,
    socket: TcpStream,
    state: Mutex<State>,
    since_ns: u64,
    is_dead: AtomicBool,
}

fn most(kind: Option<Kind>) -> usize {
    if kind == Some(Kind::Metadata) { SKIPPED_MAX } else { QUESTION_MAX }
}

impl Conversation {
    fn end(&self) {
        if self.is_dead.swap(true, Ordering::AcqRel) {
            return;
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        if let Some(daemon) = self.daemon.upgrade() {
            daemon.reactor.remove(self.token, self.socket.as_fd());
            daemon.conversations.lock().remove(&self.number);
        }
    }

    fn advance(&self) -> Result<()> {
        let mut state = self.state.lock();
        let daemon =
            self.daemon.upgrade().ok_or_else(|| fail!(InvalidHandle, "the engine is being destroyed"))?;
        while state.answer.is_none() {
            if !self.receive(&mut state)? {
                return Ok(());
            }
            let Some(head) = state.head else { continue };
            if state.arrived >= head.length {
                let from =
                    self.socket.peer_addr().map_or_else(|_| String::new(), |address| address.to_string());
                let json = daemon.answer(head, &state.bytes, from)? + "\n";
                state.answer = Some(frame::encode(head.kind, &json));
            }
        }
        self.send(&mut state, &daemon)
    }

    /// False when nothing is there at the moment.
    fn receive(&self, state: &mut State) -> Result<bool> {
        let mut chunk = [0; CHUNK];
        let got = net::receive(&self.socket, &[IoVec::bytes_mut(&mut chunk)], Blocking::No);
        let count = match got.map_err(|error| Error::new(Code::ConnectionLost, error.to_string()))? {
            None => return Ok(false),
            Some(0) => bail!(ConnectionLost, "closed in the middle of a handshake"),
            Some(count) => count,
        };
        let mut new = &chunk[..count];
        if state.head.is_none() {
            state.bytes.extend_from_slice(new);
            state.head = frame::head(&state.bytes, most)?;
            let Some(head) = state.head else { return Ok(true) };
            let body = state.bytes.split_off(head.before.min(state.bytes.len()));
            state.bytes = Vec::new();
            state.arrived = 0;
            return self.keep(state, head, &body).map(|()| true);
        }
        let head = state.head.unwrap_or(Head { kind: None, before: 0, length: 0 });
        new = &new[..new.len().min(head.length - state.arrived)];
        self.keep(state, head, new).map(|()| true)
    }

    fn keep(&self, state: &mut State, head: Head, body: &[u8]) -> Result<()> {
        if body.len() > head.length - state.arrived {
            bail!(Rejected, "bytes after a handshake");
        }
        state.arrived += body.len();
        if head.kind != Some(Kind::Metadata) {
            state.bytes.extend_from_slice(body);
        }
        Ok(())
    }

    fn send(&self, state: &mut State, daemon: &Daemon) -> Result<()> {
        let State { answer, sent, .. } = state;
        let Some(answer) = answer else { return Ok(()) };
        let lost = |error: std::io::Error| Error::new(Code::ConnectionLost, error.to_string());
        while *sent < answer.len() {
            match net::send(&self.socket, &[IoVec::bytes(&answer[*sent..])], false).map_err(lost)? {
                Some(count) => *sent += count,
                None => {
                    let changed = daemon.reactor.modify(self.token, self.socket.as_fd(), Interest::WRITE);
                    return changed.map_err(lost);
                }
            }
        }
        // As Mooncake does: the client closes.
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
        daemon.reactor.modify(self.token, self.socket.as_fd(), Interest::READ).map_err(lost)?;
        // Once per call: a client that goes on sending does not keep the worker from others.
        let mut chunk = [0; CHUNK];
        match net::receive(&self.socket, &[IoVec::bytes_mut(&mut chunk)], Blocking::No).map_err(lost)? {
            Some(0) => bail!(ConnectionLost, "closed by the client"),
            _ => Ok(()),
        }
    }
}

impl Source for Conversation {
    fn ready(&self, _: Ready) {
        if self.is_dead.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = self.advance() {
            if error.code != Code::ConnectionLost {
                if let Some(daemon) = self.daemon.upgrade() {
                    daemon.metrics.refused_count.increment();
                }
                tracing::warn!("a handshake was refused: {error}");
            }
            self.end();
        }
    }

    fn broken(&self) {
        self.end();
    }
}
