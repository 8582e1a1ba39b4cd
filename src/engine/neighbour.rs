//! A peer in another process of this host: whether there is a way to it that is shorter than the network, and how that
//! is found out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Condvar, Mutex, RwLock};

use super::Engine;
use super::routes::Short;
use crate::config::Transports;
use crate::error::{Context, Result};
use crate::segment::descriptor::EngineId;
use crate::sys::clock;
use crate::transport::shm::{Attachment, Events, Offer};
use crate::transport::{Owner, ShmOffer};

/// A neighbour that does not prove itself for so long is met over the network only.
pub const OPENING_NS: u64 = 500_000_000;
/// One that was lost, such as a process that was stopped for a while, is tried again after this time.
const RETRY_NS: u64 = 1_000_000_000;

#[derive(Default)]
enum State {
    /// Elsewhere, or not reachable but over the network.
    #[default]
    Away,
    /// Being found out; what is sent to the peer waits for that.
    Opening {
        id: EngineId,
        since_ns: u64,
        attachment: Option<Arc<Attachment>>,
    },
    Open {
        attachment: Arc<Attachment>,
        short: Short,
    },
}

#[derive(Default)]
pub struct Neighbour {
    state: RwLock<State>,
    /// What `state` says, for those who ask with every transfer.
    is_opening: AtomicBool,
    /// When a neighbour that had proven itself, or might have, was lost; 0: none was.
    lost_ns: AtomicU64,
    /// Signalled when `Opening` ended.
    decided: (Mutex<()>, Condvar),
}

impl Neighbour {
    /// The ways to engine `id`; none when only the network leads there.
    pub fn paths(&self, id: EngineId) -> Short {
        match &*self.state.read() {
            State::Open { attachment, short } if attachment.peer() == id => short.clone(),
            _ => Short::default(),
        }
    }

    pub fn is_opening(&self) -> bool {
        self.is_opening.load(Ordering::Acquire)
    }

    /// Whether a neighbour was lost and may be back. Where the network leads there too, that is said once per loss and
    /// after a while; where nothing else does, to everybody who asks.
    pub fn is_worth_a_try(&self, has_network: bool) -> bool {
        let lost_ns = self.lost_ns.load(Ordering::Acquire);
        if lost_ns == 0 || !has_network {
            return lost_ns != 0;
        }
        clock::now_ns() >= lost_ns + RETRY_NS
            && self.lost_ns.compare_exchange(lost_ns, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Changes the state; returns the one before.
    fn enter(&self, state: &mut State, next: State) -> State {
        self.is_opening.store(matches!(next, State::Opening { .. }), Ordering::Release);
        std::mem::replace(state, next)
    }

    /// The peer was met, and offered this: from here on what is sent to it waits until `open` found out what that is
    /// worth. None when there is nothing to find out.
    pub fn expect(&self, transports: Transports, id: EngineId, offer: Option<ShmOffer>) -> Option<Offer> {
        let offer = offer
            .filter(|_| transports.memfd || transports.cma)
            .and_then(|offer| Some(Offer { token: offer.token.try_into().ok()?, socket: offer.socket }));
        let mut state = self.state.write();
        match &*state {
            State::Opening { id: known, .. } if *known == id => return None,
            State::Open { attachment, .. } if attachment.peer() == id && attachment.is_alive() => {
                return None;
            }
            _ => {}
        }
        let next = match &offer {
            Some(_) => State::Opening { id, since_ns: clock::now_ns(), attachment: None },
            None => State::Away,
        };
        let before = self.enter(&mut state, next);
        drop(state);
        before.close();
        offer
    }

    /// Finds out; `events` hears of it, unless the answer is at hand.
    pub fn open(&self, engine: &Engine, id: EngineId, offer: &Offer, events: Weak<dyn Events>) {
        let (metrics, reactor) = (engine.metrics.clone(), engine.reactor.clone());
        match Attachment::open(engine.id, id, offer, metrics, reactor, events) {
            Ok(opened) => match &mut *self.state.write() {
                State::Opening { id: known, attachment, .. } if *known == id => *attachment = Some(opened),
                _ => {}
            },
            Err(error) => {
                tracing::debug!("engine {id} is reached over the network: {error}");
                self.leave(id);
            }
        }
    }

    /// It was found out.
    pub fn opened(&self, id: EngineId, result: Result<Arc<Attachment>>, transports: Transports) {
        let attachment = match result.context("on this host, but reached over the network") {
            Ok(attachment) => attachment,
            Err(error) => {
                tracing::warn!("{error}");
                return self.leave(id);
            }
        };
        let short = Short {
            mapped: transports.memfd.then(|| attachment.memfd_path()),
            any: if transports.cma { attachment.cma_path() } else { None },
        };
        let mut state = self.state.write();
        if matches!(&*state, State::Opening { id: known, .. } if *known == id) {
            self.enter(&mut state, State::Open { attachment, short });
            self.lost_ns.store(0, Ordering::Release);
        }
        drop(state);
        self.decide();
    }

    fn decide(&self) {
        let _guard = self.decided.0.lock();
        self.decided.1.notify_all();
    }

    /// Waits until it was found out, at most until `until_ns`.
    pub fn wait_decided(&self, until_ns: u64) {
        let mut guard = self.decided.0.lock();
        while self.is_opening() {
            let left = clock::until(until_ns);
            if left.is_zero() || self.decided.1.wait_for(&mut guard, left).timed_out() {
                return;
            }
        }
    }

    /// Does not wait for that engine any more.
    fn leave(&self, id: EngineId) {
        let mut state = self.state.write();
        if matches!(&*state, State::Opening { id: known, .. } if *known == id) {
            self.enter(&mut state, State::Away);
        }
        drop(state);
        self.decide();
    }

    pub fn lost(&self, gone: &Arc<Attachment>) {
        let mut state = self.state.write();
        if matches!(&*state, State::Open { attachment, .. } if Arc::ptr_eq(attachment, gone)) {
            let before = self.enter(&mut state, State::Away);
            self.lost_ns.store(clock::now_ns(), Ordering::Release);
            drop(state);
            drop(before);
        }
    }

    /// A batch was stopped: completes what of it waits here.
    pub fn give_up(&self, owner: &Arc<dyn Owner>, epoch: u32) {
        let attachment = match &*self.state.read() {
            State::Open { attachment, .. } => attachment.clone(),
            _ => return,
        };
        attachment.give_up(owner, epoch);
    }

    /// Somebody could not wait for a neighbour to prove itself: one that is late is not waited for again.
    pub fn hurry(&self) {
        let late = match &*self.state.read() {
            State::Opening { since_ns, attachment, .. } if clock::now_ns() > since_ns + OPENING_NS => {
                attachment.clone()
            }
            _ => return,
        };
        if let Some(attachment) = late {
            self.lost_ns.store(clock::now_ns(), Ordering::Release);
            attachment.close();
        }
    }

    pub fn close(&self) {
        let before = self.enter(&mut self.state.write(), State::Away);
        before.close();
        self.decide();
    }
}

impl State {
    fn close(self) {
        match self {
            State::Opening { attachment: Some(attachment), .. } | State::Open { attachment, .. } => {
                attachment.close()
            }
            _ => {}
        }
    }
}
