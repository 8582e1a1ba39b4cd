//! The masters that there may be: one of them leads, and each is told again and again that this node is there.

use std::net::SocketAddr;
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
use crate::sys::reactor::Reactor;
use crate::sys::{clock, net};
use crate::{bail, fail};

/// How long one call to a master may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who was given no orders for so long looks for another master.
const LED_FOR_MS: u64 = 1_500;
/// How often masters are greeted, with one that leads and without.
const LED_HELLO_MS: u64 = 2_000;
const LOST_HELLO_MS: u64 = 100;
/// How often names of masters are looked up, by a node that none leads.
const RESOLVE_EVERY_MS: u64 = 5_000;

pub struct Master {
    /// As it was named: where that leads to may change.
    name: String,
    client: Mutex<Arc<Client>>,
    /// What it said of itself, last time.
    welcome: Mutex<Option<Welcome>>,
}

pub struct Masters {
    all: Vec<Arc<Master>>,
    terms: Terms,
    reactor: Arc<Reactor>,
    /// When names were looked up last.
    resolved_ms: Mutex<u64>,
}

fn is_numeric(name: &str) -> bool {
    name.parse::<SocketAddr>().is_ok()
}

fn resolve(name: &str) -> Result<SocketAddr> {
    net::resolve(name)
        .map_err(|error| fail!(InvalidArgument, "the master {name:?}, which is to be host:port: {error}"))
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
    /// `names`: `host:port` of each master there may be.
    pub fn new(reactor: &Arc<Reactor>, names: &[String], terms: Terms, now: u64) -> Result<Masters> {
        let master = |(index, name): (usize, &String)| {
            let client = Client::new(reactor, index, Address::Tcp(resolve(name)?), terms.clone());
            Ok(Arc::new(Master { name: name.clone(), client: Mutex::new(client), welcome: Mutex::default() }))
        };
        let all = names.iter().enumerate().map(master).collect::<Result<_>>()?;
        Ok(Masters { all, terms, reactor: reactor.clone(), resolved_ms: Mutex::new(now) })
    }

    /// Looks the names up anew, now and then: a master that was started elsewhere may have taken one. It may wait.
    pub fn resolve_again(&self, now: u64) {
        {
            let mut resolved = self.resolved_ms.lock();
            if *resolved + RESOLVE_EVERY_MS > now {
                return;
            }
            *resolved = now;
        }
        for (index, one) in self.all.iter().enumerate().filter(|(_, one)| !is_numeric(&one.name)) {
            let Ok(address) = resolve(&one.name) else { continue };
            let address = Address::Tcp(address);
            if *one.client.lock().address() != address {
                let client = Client::new(&self.reactor, index, address, self.terms.clone());
                let before = std::mem::replace(&mut *one.client.lock(), client);
                drop(before);
            }
        }
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
        let client = master.client.lock().clone();
        let body = client.call_wait(C::METHOD, &call.encode_to_vec(), clock::after(PATIENCE))?;
        wire::decode(&body)
    }

    pub fn tick(&self, now_ns: u64) {
        for one in &self.all {
            let client = one.client.lock().clone();
            client.tick(now_ns);
        }
    }

    pub fn close(&self) {
        for one in &self.all {
            let client = one.client.lock().clone();
            client.close(&fail!(Canceled, "the node is stopping"));
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
            let client = one.client.lock().clone();
            client.call(Reports::METHOD, &body, clock::after(PATIENCE), Box::new(|_| {}));
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
            let client = one.client.lock().clone();
            client.call(Greet::METHOD, &Greet {}.encode_to_vec(), deadline, Box::new(welcomed));
            let master = one.clone();
            let told = move |result: Result<Vec<u8>>| {
                if let Err(error) = result {
                    tracing::debug!("greeting the master {}: {error}", master.name);
                }
            };
            client.call(Reports::METHOD, &body, deadline, Box::new(told));
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
