//! The state behind its lock, and what leaves it once the lock is given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Code, Error, Result};
use crate::rpc::Answer;
use crate::store::master::{Config, Effect, State};
use crate::store::message::{Order, Report};
use crate::store::object::{MasterId, Token};
use crate::sys::clock;
use crate::sys::reactor::Reactor;

use super::attempts::Attempts;
use super::counters::Counters;
use super::feed::Feed;
use super::hot::Hot;
use super::links::Links;
use super::pending::{Ended, Pending, Who};

const MS: u64 = 1_000_000;
/// How long an answer that has to wait for nodes is waited for. It is longer than nodes may be silent.
const PATIENCE_MS: u64 = 60_000;

pub struct Inner {
    pub state: State,
    pub pending: Pending,
}

pub struct Core {
    inner: Mutex<Inner>,
    pub links: Links,
    pub counters: Counters,
    pub attempts: Attempts,
    pub hot: Hot,
    pub config: Config,
    pub master: MasterId,
    feed: Option<Arc<Feed>>,
    local: String,
    tick_every_ns: u64,
    next_tick_ns: AtomicU64,
    is_deposed: AtomicBool,
}

fn to_ms(now_ns: u64) -> u64 {
    now_ns / MS
}

impl Core {
    pub fn new(
        reactor: &Arc<Reactor>,
        config: Config,
        master: MasterId,
        local: String,
        psk: Option<Arc<[u8]>>,
        feed: Option<Arc<Feed>>,
    ) -> Arc<Core> {
        let state = State::new(config.clone(), master, to_ms(clock::now_ns()));
        let shortest_ms = config.resend_ms.min(config.lead_every_ms);
        Arc::new_cyclic(|me| Core {
            inner: Mutex::new(Inner { state, pending: Pending::default() }),
            links: Links::new(reactor, psk, me.clone()),
            counters: Counters::default(),
            attempts: Attempts::default(),
            hot: Hot::new(config.hash_seed),
            tick_every_ns: (shortest_ms / 10).clamp(1, 50) * MS,
            next_tick_ns: AtomicU64::new(0),
            is_deposed: AtomicBool::new(false),
            config,
            master,
            feed,
            local,
        })
    }

    pub fn local(&self) -> &str {
        &self.local
    }

    /// Does something with the state; what comes of it is sent afterwards.
    pub fn work<R>(&self, work: impl FnOnce(&mut Inner, u64) -> R) -> R {
        let mut inner = self.inner.lock();
        // Read under the lock: to the state, time never goes back.
        let result = work(&mut inner, to_ms(clock::now_ns()));
        let effects = inner.state.effects();
        if effects.is_empty() {
            return result;
        }
        let (mut orders, mut ended): (Vec<Order>, Vec<Ended>) = (Vec::new(), Vec::new());
        let mut notices = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send(order) => orders.push(order),
                Effect::Reply(token) => ended.extend(inner.pending.replied(token)),
                Effect::Notice(notice) => notices.push(notice),
            }
        }
        if let Some(feed) = self.feed.as_ref().filter(|_| !notices.is_empty()) {
            // Under the lock: they are told in the order in which they happened.
            feed.push(notices);
        }
        drop(inner);
        ended.into_iter().for_each(|one| one.answer.send(Ok(&one.body)));
        self.links.send(orders);
        result
    }

    /// Does what may have to wait for nodes. `work` gives the body of the answer, and for how many replies to its token
    /// that waits.
    pub fn work_later(
        &self,
        who: Who,
        answer: Answer,
        work: impl FnOnce(&mut State, u64, Token) -> Result<(Vec<u8>, usize)>,
    ) {
        let now = self.work(|inner, now| {
            let worked = match inner.pending.next_token() {
                Some(token) => work(&mut inner.state, now, token).map(|(body, left)| (token, body, left)),
                None => Err(Error::new(Code::Exhausted, "too many calls wait for nodes")),
            };
            match worked {
                Ok((token, body, left)) if left > 0 => {
                    inner.pending.insert(token, who, Ended { answer, body }, left, now);
                    None
                }
                worked => Some((answer, worked.map(|(_, body, _)| body))),
            }
        });
        if let Some((answer, result)) = now {
            answer.send(result.as_deref().map_err(Error::clone));
        }
    }

    /// Takes in what nodes say.
    pub fn take(&self, reports: Vec<Report>) {
        self.work(|inner, now| reports.into_iter().for_each(|report| inner.state.handle(now, report)));
    }

    pub fn forget(&self, who: Who) {
        // Dropped without the lock: that answers, if only to nobody.
        let gone = self.inner.lock().pending.forget(who);
        drop(gone);
    }

    /// Answers everybody who waits that it is not known whether that was done.
    pub fn give_up(&self, why: &str) {
        let all = self.inner.lock().pending.take_all();
        for one in all {
            one.answer.send(Err(Error::new(Code::ConnectionLost, format!("{why}: ask the next one"))));
        }
    }

    /// What is left until the next tick; None when it is due.
    pub fn until_due(&self, now_ns: u64) -> Option<Duration> {
        let left = self.next_tick_ns.load(Ordering::Relaxed).saturating_sub(now_ns);
        (left > 0).then(|| Duration::from_nanos(left))
    }

    pub fn tick(&self, now_ns: u64) {
        self.next_tick_ns.store(now_ns + self.tick_every_ns, Ordering::Relaxed);
        let (late, is_deposed) = self.work(|inner, now| {
            inner.state.tick(now);
            (inner.pending.late(now.saturating_sub(PATIENCE_MS)), inner.state.is_deposed())
        });
        for one in late {
            let text = "nodes did not say in time that it is done; it may be done later";
            one.answer.send(Err(Error::new(Code::Timeout, text)));
        }
        if is_deposed {
            if !self.is_deposed.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    master = self.master.0,
                    "another master has taken over: this one serves nobody"
                );
            }
            self.give_up("another master has taken over");
        }
        self.links.tick(now_ns);
    }
}
