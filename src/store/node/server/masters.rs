//! The masters that there may be: one of them leads, and each is told again and again that this node is there.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message;

use super::Core;
use crate::error::Result;
use crate::rpc::{Address, Client, Terms};
use crate::store::message::Report;
use crate::store::object::MasterId;
use crate::store::wire::master::{Contact, Greet, Reports, Welcome};
use crate::store::wire::{self, Call};
use crate::sys::clock;
use crate::sys::reactor::Reactor;
use crate::{bail, fail};

/// How long one call to a master may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who was given no orders for so long looks for another master.
const LED_FOR_MS: u64 = 1_500;
/// How often masters are greeted, with one that leads and without.
const LED_HELLO_MS: u64 = 2_000;
const LOST_HELLO_MS: u64 = 100;

pub struct Master {
    client: Arc<Client>,
    /// What it said of itself, last time.
    welcome: Mutex<Option<Welcome>>,
}

pub struct Masters {
    all: Vec<Arc<Master>>,
}

/// Whom this node follows.
#[derive(Default)]
pub struct Following {
    pub master: Option<MasterId>,
    /// The connection that its orders came by.
    pub caller: u64,
    /// When it ordered something last.
    pub heard_ms: Option<u64>,
    greeted_ms: Option<u64>,
}

impl Following {
    pub fn is_led(&self, now: u64) -> bool {
        self.heard_ms.is_some_and(|heard| heard + LED_FOR_MS > now)
    }

    /// Looks for a master from now on, without delay.
    pub fn lose(&mut self) {
        (self.heard_ms, self.greeted_ms) = (None, None);
    }

    /// Whether it is time to greet; then that counts as done.
    pub fn is_hello_due(&mut self, now: u64) -> bool {
        let every = if self.is_led(now) { LED_HELLO_MS } else { LOST_HELLO_MS };
        let is_due = self.greeted_ms.is_none_or(|greeted| greeted + every <= now);
        if is_due {
            self.greeted_ms = Some(now);
        }
        is_due
    }
}

impl Masters {
    pub fn new(reactor: &Arc<Reactor>, addresses: &[Address], terms: &Terms) -> Masters {
        let master = |(index, address): (usize, &Address)| {
            let client = Client::new(reactor, index, address.clone(), terms.clone());
            Arc::new(Master { client, welcome: Mutex::default() })
        };
        Masters { all: addresses.iter().enumerate().map(master).collect() }
    }

    /// The one that this node follows.
    fn leading(&self, master: MasterId) -> Option<&Arc<Master>> {
        let is_it = |one: &&Arc<Master>| one.welcome.lock().as_ref().is_some_and(|it| it.master == master.0);
        self.all.iter().find(is_it)
    }

    /// Asks the master that leads, and waits for the answer.
    pub fn ask<C: Call>(&self, master: Option<MasterId>, call: &C) -> Result<C::Reply> {
        let Some(master) = master.and_then(|master| self.leading(master)) else {
            bail!(NotReady, "no master leads this node");
        };
        let body = master.client.call_wait(C::METHOD, &call.encode_to_vec(), clock::after(PATIENCE))?;
        wire::decode(&body)
    }

    pub fn tick(&self, now_ns: u64) {
        for one in &self.all {
            one.client.tick(now_ns);
        }
    }

    pub fn close(&self) {
        for one in &self.all {
            one.client.close(&fail!(Canceled, "the node is stopping"));
        }
    }
}

impl Core {
    /// Tells the master that leads; what gets lost is asked for again.
    pub fn report(&self, reports: Vec<Report>) {
        if reports.is_empty() {
            return;
        }
        let master = self.state.lock().following.master;
        let body =
            Reports { contact: None, reports: reports.iter().map(Into::into).collect() }.encode_to_vec();
        let to = match master.and_then(|master| self.masters.leading(master)) {
            Some(one) => std::slice::from_ref(one),
            None => &self.masters.all,
        };
        for one in to {
            one.client.call(Reports::METHOD, &body, clock::after(PATIENCE), Box::new(|_| {}));
        }
    }

    /// Greets every master.
    pub fn hello(&self) {
        let hello = self.state.lock().inventory.hello();
        let Report::Hello { node, .. } = &hello else { return };
        let contact = Contact { node: node.0, address: self.address.to_string(), local: self.local.clone() };
        let body = Reports { contact: Some(contact), reports: vec![(&hello).into()] }.encode_to_vec();
        for one in &self.masters.all {
            let deadline = clock::after(PATIENCE);
            let (core, met) = (self.me.clone(), one.clone());
            let welcomed = move |result: Result<Vec<u8>>| {
                let welcome = result.and_then(|body| wire::decode::<Welcome>(&body));
                if let (Some(core), Ok(welcome)) = (core.upgrade(), welcome) {
                    core.welcomed(&met, welcome);
                }
            };
            one.client.call(Greet::METHOD, &Greet {}.encode_to_vec(), deadline, Box::new(welcomed));
            let address = one.client.address().clone();
            let told = move |result: Result<Vec<u8>>| {
                if let Err(error) = result {
                    tracing::debug!("greeting the master at {address}: {error}");
                }
            };
            one.client.call(Reports::METHOD, &body, deadline, Box::new(told));
        }
    }

    fn welcomed(&self, master: &Master, welcome: Welcome) {
        *master.welcome.lock() = Some(welcome);
        let horizon = |one: &Arc<Master>| {
            one.welcome.lock().as_ref().map(|told| told.lease_ms.saturating_add(told.term_ms))
        };
        // All masters of a cluster have the same times; if not, the longest is safe.
        if let Some(longest) = self.masters.all.iter().filter_map(horizon).max() {
            self.state.lock().inventory.horizon_ms = longest;
        }
    }
}
