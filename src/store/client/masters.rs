//! The way to whoever leads: one of several addresses, found anew when it changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Options;
use super::calls::ask;
use crate::error::{Code, Result};
use crate::rpc::{Address, Client, Several, Terms};
use crate::store::wire::master::{Greet, Stamp, Welcome};
use crate::store::wire::{Call, MASTER_SERVICE};
use crate::sys::reactor::Reactor;
use crate::sys::{clock, net, random};
use crate::{bail, fail};

/// How long one master may think before another is asked.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Between two rounds over all masters.
const PAUSE: Duration = Duration::from_millis(20);

struct Current {
    clients: Several,
    welcome: Welcome,
    /// When that was said, or a little later.
    greeted_ns: u64,
}

impl Current {
    /// This moment by the master's clock, or a little earlier.
    fn at_master_ms(&self, then_ns: u64) -> u64 {
        self.welcome.now_ms + then_ns.saturating_sub(self.greeted_ns) / 1_000_000
    }
}

pub struct Masters {
    /// For stamps.
    id: u64,
    calls: AtomicU64,
    addresses: Vec<String>,
    no_local: bool,
    terms: Terms,
    reactor: Arc<Reactor>,
    current: Mutex<Option<Arc<Current>>>,
    /// Which address is tried next.
    turn: Mutex<usize>,
}

/// True of failures that another master, or the same one a little later, may not have.
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::NotReady | Code::Unreachable | Code::ConnectionLost | Code::Timeout | Code::Exhausted
    )
}

impl Masters {
    pub fn new(options: &Options, reactor: &Arc<Reactor>) -> Result<Masters> {
        if options.masters.is_empty() {
            bail!(InvalidArgument, "no master was named");
        }
        Ok(Masters {
            id: u64::from_le_bytes(random::bytes()),
            calls: AtomicU64::new(1),
            addresses: options.masters.clone(),
            no_local: options.no_local,
            terms: Terms { service: MASTER_SERVICE, psk: options.psk.clone() },
            reactor: reactor.clone(),
            current: Mutex::new(None),
            turn: Mutex::new(0),
        })
    }

    /// Asks whoever leads. With `again`, a question whose answer was lost is asked once more, here or elsewhere.
    pub fn ask<C: Call>(&self, call: &C, deadline_ns: u64, again: bool) -> Result<C::Reply> {
        self.ask_until(call, deadline_ns, again, |_| false).map(|(reply, _)| reply)
    }

    /// As `ask`; an answer that says that this master does not serve yet is none, until time is over. With when the
    /// question was sent that was answered.
    pub fn ask_until<C: Call>(
        &self,
        call: &C,
        deadline_ns: u64,
        again: bool,
        is_not_ready: impl Fn(&C::Reply) -> bool,
    ) -> Result<(C::Reply, u64)> {
        let (id, mut number) = (self.calls.fetch_add(1, Ordering::Relaxed), 0);
        loop {
            let current = self.current(deadline_ns)?;
            let asked_ns = clock::now_ns();
            let patience = if C::WAITS_FOR_NODES { deadline_ns } else { attempt(deadline_ns) };
            number += 1;
            let expires_ms = current.at_master_ms(patience);
            let stamped = call.stamped(Stamp { caller: self.id, call: id, attempt: number, expires_ms });
            let error = match ask(&current.clients.take(), stamped.as_ref().unwrap_or(call), patience) {
                Ok(reply) if is_not_ready(&reply) && !is_over(deadline_ns) => None,
                Ok(reply) => return Ok((reply, asked_ns)),
                Err(error) => Some(error),
            };
            if let Some(error) = error {
                // Unless it certainly arrived nowhere, it may have been carried out.
                let was_heard = !matches!(error.code, Code::Unreachable | Code::NotReady);
                if is_passing(error.code) {
                    // Others of this client need not wait for the same one.
                    self.leave(&current);
                }
                if !is_passing(error.code) || was_heard && !again || is_over(deadline_ns) {
                    return Err(error
                        .context(format_args!("asking the master {}", current.clients.first().address())));
                }
            }
            self.leave(&current);
            std::thread::sleep(PAUSE.min(clock::until(deadline_ns)));
        }
    }

    /// What the master that is asked said of itself.
    pub fn welcome(&self, deadline_ns: u64) -> Result<Welcome> {
        Ok(self.current(deadline_ns)?.welcome.clone())
    }

    pub fn tick(&self, now: u64) -> bool {
        let current = self.current.lock().clone();
        current.is_some_and(|current| current.clients.tick(now))
    }

    fn current(&self, deadline_ns: u64) -> Result<Arc<Current>> {
        loop {
            if let Some(current) = self.current.lock().clone() {
                return Ok(current);
            }
            match self.find(deadline_ns) {
                Ok(found) => return Ok(self.current.lock().insert(found).clone()),
                Err(error) if is_over(deadline_ns) || !is_passing(error.code) => return Err(error),
                Err(_) => std::thread::sleep(PAUSE.min(clock::until(deadline_ns))),
            }
        }
    }

    fn leave(&self, current: &Arc<Current>) {
        let mut held = self.current.lock();
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, current)) {
            *held = None;
        }
    }

    /// Greets one master after the other; one that serves is best.
    fn find(&self, deadline_ns: u64) -> Result<Arc<Current>> {
        let mut failure = None;
        let mut second_best = None;
        for _ in 0..self.addresses.len() {
            let turn = {
                let mut turn = self.turn.lock();
                *turn = (*turn + 1) % self.addresses.len();
                *turn
            };
            let name = &self.addresses[turn];
            let greeted = self
                .greet(name, deadline_ns)
                .map_err(|error| error.context(format_args!("greeting the master {name}")));
            match greeted {
                Ok(current) if current.welcome.is_serving => return Ok(current),
                Ok(current) => second_best = Some(current),
                Err(error) => failure = Some(error),
            }
        }
        second_best.ok_or_else(|| failure.unwrap_or_else(|| fail!(Internal, "no master was asked")))
    }

    fn greet(&self, name: &str, deadline_ns: u64) -> Result<Arc<Current>> {
        let client = Client::new(&self.reactor, 0, Address::Tcp(resolve(name)?), self.terms.clone());
        let welcome = ask(&client, &Greet {}, attempt(deadline_ns))?;
        let greeted_ns = clock::now_ns();
        if !welcome.local.is_empty() && !self.no_local {
            // Where both are on one host there is a shorter way. Nobody else can have its name.
            let local =
                Client::new(&self.reactor, 0, Address::Local(welcome.local.clone()), self.terms.clone());
            if ask(&local, &Greet {}, attempt(deadline_ns)).is_ok_and(|other| other.master == welcome.master)
            {
                return Ok(Arc::new(Current { clients: Several::new(local), welcome, greeted_ns }));
            }
        }
        Ok(Arc::new(Current { clients: Several::new(client), welcome, greeted_ns }))
    }
}

fn attempt(deadline_ns: u64) -> u64 {
    deadline_ns.min(clock::after(ATTEMPT))
}

fn is_over(deadline_ns: u64) -> bool {
    clock::now_ns() >= deadline_ns
}

pub fn resolve(name: &str) -> Result<SocketAddr> {
    net::resolve(name).map_err(|error| fail!(Unreachable, "resolving {name:?}: {error}"))
}
