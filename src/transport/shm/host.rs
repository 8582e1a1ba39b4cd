//! The side of an engine that lets processes of its host in, and throws them out of regions that are unregistered.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::guest::{Guest, Stage};
use super::page::Page;
use super::wire::{
    self, Answer, Ask, Challenge, Gone, Grant, Hello, Message, Refused, Side, Transcript, Welcome,
};
use super::{Offer, TOKEN_LENGTH};
use crate::error::{Code, Context, Error, Result};
use crate::segment::descriptor::EngineId;
use crate::segment::memory::{Fence, MemoryTable, REMOTE_READ, Region};
use crate::sys::reactor::{Interest, Reactor, Ready, Source, Token};
use crate::sys::{random, unix};
use crate::telemetry::metrics::Metrics;
use crate::transport::PathKind;
use crate::{bail, fail};

/// Peer processes that one engine lets in.
const MAX_GUESTS: usize = 1024;
/// Connections that did not prove anything yet; one more ends the oldest.
const MAX_STRANGERS: usize = 32;
/// Packets taken from one guest before others have their turn.
const PACKETS_AT_ONCE: usize = 32;

pub struct Host {
    id: EngineId,
    memory: Arc<MemoryTable>,
    metrics: Arc<Metrics>,
    reactor: Arc<Reactor>,
    /// What peers read by cross-memory attach to see that it works.
    secret: Box<[u8; 16]>,
    door: Mutex<Door>,
    guests: Mutex<Vec<Arc<Guest>>>,
    next_worker: AtomicUsize,
    me: Weak<Host>,
}

/// The listening socket, made when the first peer is told of it.
enum Door {
    Unused,
    Open(Arc<OwnedFd>, Token, Offer),
    Closed,
}

impl Host {
    /// Makes the host side of an engine. It opens nothing before `offer`.
    pub fn start(
        id: EngineId,
        memory: Arc<MemoryTable>,
        metrics: Arc<Metrics>,
        reactor: Arc<Reactor>,
    ) -> Arc<Host> {
        let host = Arc::new_cyclic(|me| Host {
            id,
            memory,
            metrics,
            reactor,
            secret: Box::new(random::bytes()),
            door: Mutex::new(Door::Unused),
            guests: Mutex::default(),
            next_worker: AtomicUsize::new(0),
            me: me.clone(),
        });
        host.memory.add_fence(host.clone());
        host
    }

    /// Where peers find this engine; listens there from now on.
    pub fn offer(&self) -> Result<Offer> {
        let mut door = self.door.lock();
        match &*door {
            Door::Open(_, _, offer) => return Ok(offer.clone()),
            Door::Closed => bail!(InvalidState, "the engine is closing"),
            Door::Unused => {}
        }
        let name: String = random::bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        let offer = Offer { socket: format!("mooncake-{name}").into_bytes(), token: random::bytes() };
        let socket = Arc::new(unix::listen(&offer.socket).context("listening for processes of this host")?);
        let source = Arc::new(Listener { host: self.me.clone(), socket: socket.clone() });
        // Told once per connection: when descriptors run out, the rest waits for the next one instead of spinning.
        let interest = Interest { edge: true, ..Interest::READ };
        let token = self
            .reactor
            .add(0, socket.as_fd(), interest, source)
            .context("listening for processes of this host")?;
        *door = Door::Open(socket, token, offer.clone());
        Ok(offer)
    }

    /// Lets nobody in any more, and shows everybody out.
    pub fn close(&self) {
        let door = std::mem::replace(&mut *self.door.lock(), Door::Closed);
        if let Door::Open(socket, token, _) = door {
            self.reactor.remove(token, socket.as_fd());
        }
        self.collect();
        let guests = std::mem::take(&mut *self.guests.lock());
        for guest in guests {
            guest.depart();
            guest.unwatch(&self.reactor);
        }
    }

    /// Adds what guests moved to the counters of this engine.
    pub fn collect(&self) {
        let guests = self.guests.lock().clone();
        guests.iter().for_each(|guest| self.collect_from(guest));
    }

    fn collect_from(&self, guest: &Guest) {
        let [memfd_read, memfd_written, cma_read, cma_written] = guest.collect();
        for (kind, read, written) in
            [(PathKind::Memfd, memfd_read, memfd_written), (PathKind::Cma, cma_read, cma_written)]
        {
            let counters = self.metrics.path(kind);
            counters.served_read_bytes.add(read);
            counters.served_written_bytes.add(written);
        }
    }

    fn token(&self) -> Result<[u8; TOKEN_LENGTH]> {
        match &*self.door.lock() {
            Door::Open(_, _, offer) => Ok(offer.token),
            _ => bail!(InvalidState, "the engine is closing"),
        }
    }

    fn let_in(&self, socket: OwnedFd) {
        self.sweep();
        let process = match unix::peer_process(&socket) {
            Ok(process) => process,
            Err(error) => {
                let refused = Refused::new(&format!("the engine cannot watch this process: {error}"));
                let _ = unix::send(&socket, &wire::encode(Message::Refused(refused)), None);
                return;
            }
        };
        let guest = Arc::new(Guest::new(socket, process));
        let dropped = {
            let mut guests = self.guests.lock();
            let strangers = guests.iter().filter(|guest| !guest.is_admitted()).count();
            let oldest = if strangers >= MAX_STRANGERS || guests.len() >= MAX_GUESTS {
                guests.iter().find(|guest| !guest.is_admitted()).cloned()
            } else {
                None
            };
            if oldest.is_none() && guests.len() >= MAX_GUESTS {
                return;
            }
            guests.push(guest.clone());
            oldest
        };
        if let Some(oldest) = dropped {
            self.part_with(
                &oldest,
                &Error::new(Code::Exhausted, "too many connections wait to prove themselves"),
            );
        }
        let worker = self.next_worker.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection { host: self.me.clone(), guest: guest.clone() });
        let end = Arc::new(End { host: self.me.clone(), guest: guest.clone() });
        if let Err(error) = guest.watch(&self.reactor, worker, connection, end) {
            self.part_with(&guest, &Error::io("watching a process", &error));
        }
    }

    /// Ends a guest's connection. What it may be doing at this moment is remembered until it cannot do it any more.
    fn part_with(&self, guest: &Arc<Guest>, reason: &Error) {
        if guest.depart() {
            tracing::debug!("{} left {}: {reason}", guest.name(), self.id);
        }
        guest.hush(&self.reactor);
        self.sweep();
    }

    /// Forgets guests that are gone.
    fn sweep(&self) {
        let mut gone = Vec::new();
        self.guests.lock().retain(|guest| {
            let is_gone = guest.is_gone();
            if is_gone {
                gone.push(guest.clone());
            }
            !is_gone
        });
        for guest in gone {
            self.collect_from(&guest);
            guest.unwatch(&self.reactor);
        }
    }

    fn heard(&self, guest: &Arc<Guest>, message: Message) -> Result<()> {
        let mut stage = guest.stage.lock();
        match (&*stage, message) {
            (Stage::Connected, Message::Hello(hello)) => {
                let (transcript, challenge) = self.challenge(&hello)?;
                *stage = Stage::Challenged(transcript);
                guest.send(Message::Challenge(challenge), None)
            }
            (Stage::Challenged(transcript), Message::Answer(answer)) => {
                self.welcome(guest, transcript, &answer)?;
                *stage = Stage::Admitted;
                Ok(())
            }
            (Stage::Admitted, Message::Ask(ask)) => self.answer(guest, &ask),
            (stage, message) => bail!(Rejected, "{message:?} does not belong to {stage:?}"),
        }
    }

    fn challenge(&self, hello: &Hello) -> Result<(Transcript, Challenge)> {
        if hello.version != wire::VERSION {
            bail!(
                VersionMismatch,
                "same-host version {} is spoken here, not {}",
                wire::VERSION,
                hello.version
            );
        }
        if hello.owner_id != self.id.0 {
            bail!(NotFound, "this is engine {}", self.id);
        }
        let transcript = Transcript {
            owner: self.id,
            peer: EngineId::from_bytes(&hello.engine_id)?,
            owner_nonce: random::bytes(),
            peer_nonce: wire::nonce(&hello.nonce)?,
        };
        let proof = transcript.proof(&self.token()?, Side::Owner);
        let challenge = Challenge { nonce: transcript.owner_nonce.to_vec(), proof };
        Ok((transcript, challenge))
    }

    fn welcome(&self, guest: &Guest, transcript: &Transcript, answer: &Answer) -> Result<()> {
        transcript.check(&self.token()?, Side::Peer, &answer.proof)?;
        let (file, page) = Page::create()?;
        guest.admit(transcript.peer, page)?;
        let secret_address = self.secret.as_ptr() as u64;
        let welcome = Welcome { secret_address, secret: self.secret.to_vec() };
        guest.send(Message::Welcome(welcome), Some(file.as_fd()))
    }

    /// Opens a region for a guest, or says why not.
    fn answer(&self, guest: &Guest, ask: &Ask) -> Result<()> {
        let found = self.find(ask);
        // Inside until the answer is on its way: no unregistration can pass between the look at the region and the entry
        // of its slot, and what it tells the guest comes later.
        let entered = found.as_ref().ok().and_then(|region| region.enter());
        let granted = match (&found, &entered) {
            (Ok(region), Some(_)) => guest.grant(region.key).map(|slot| (region, slot)),
            (Ok(_), None) => {
                Err(fail!(AddressNotRegistered, "the region at {:#x} was unregistered", ask.address))
            }
            (Err(error), _) => Err(error.clone()),
        };
        match granted {
            Ok((region, slot)) => {
                let grant = Grant {
                    key: region.key,
                    slot,
                    address: region.mem.address() as u64,
                    length: region.mem.len() as u64,
                    permissions: region.permissions,
                    ..Default::default()
                };
                // A mapping cannot be made write-only: who may not read goes another way.
                let file = region.allocation.as_ref().filter(|_| region.permissions & REMOTE_READ != 0);
                guest.send(Message::Grant(grant), file.map(|allocation| allocation.file.as_fd()))
            }
            Err(error) => {
                let text = wire::shorten(error.message());
                let refusal = Grant { key: ask.key, status: error.code as i32, text, ..Default::default() };
                guest.send(Message::Grant(refusal), None)
            }
        }
    }

    fn find(&self, ask: &Ask) -> Result<Arc<Region>> {
        let region = self.memory.find_keyed(ask.address as usize, ask.length as usize, 0, ask.key)?;
        if region.permissions == 0 {
            bail!(Permission, "the region at {:#x} is local only", ask.address);
        }
        Ok(region)
    }

    fn read_from(&self, guest: &Arc<Guest>) {
        for _ in 0..PACKETS_AT_ONCE {
            let heard = match guest.receive() {
                Ok(None) => return,
                Ok(Some(message)) => self.heard(guest, message),
                Err(error) => Err(error),
            };
            if let Err(error) = heard {
                if error.code != Code::ConnectionLost {
                    self.metrics.refused_count.increment();
                    tracing::warn!("refusing {} on the same-host socket: {error}", guest.name());
                    let _ = guest.send(Message::Refused(Refused::new(error.message())), None);
                }
                return self.part_with(guest, &error);
            }
        }
    }
}

impl Fence for Host {
    fn close(&self, region: &Region, deadline_ns: u64) -> Result<()> {
        let mut holders = self.guests.lock().clone();
        holders.retain(|guest| guest.revoke(region.key));
        for guest in &holders {
            if let Err(error) = guest.wait_until_unused(region, deadline_ns) {
                holders.iter().for_each(|guest| guest.restore(region.key));
                return Err(error);
            }
        }
        for guest in &holders {
            guest.forget(region.key);
            // Told, so that it lets go of what it mapped.
            if let Err(error) = guest.send(Message::Gone(Gone { key: region.key }), None) {
                self.part_with(guest, &error);
            }
        }
        Ok(())
    }
}

/// Takes connections.
struct Listener {
    host: Weak<Host>,
    socket: Arc<OwnedFd>,
}

impl Source for Listener {
    fn ready(&self, _: Ready) {
        let Some(host) = self.host.upgrade() else { return };
        loop {
            match unix::accept(&self.socket) {
                Ok(Some(socket)) => host.let_in(socket),
                Ok(None) => return,
                Err(error) => return tracing::warn!("letting a process of this host in: {error}"),
            }
        }
    }

    fn broken(&self) {
        if let Some(host) = self.host.upgrade() {
            host.close();
        }
    }
}

/// Listens to one guest.
struct Connection {
    host: Weak<Host>,
    guest: Arc<Guest>,
}

impl Source for Connection {
    fn ready(&self, _: Ready) {
        if let Some(host) = self.host.upgrade() {
            host.read_from(&self.guest);
        }
    }

    fn broken(&self) {
        if let Some(host) = self.host.upgrade() {
            host.part_with(&self.guest, &Error::new(Code::Internal, "its messages broke this library"));
        }
    }
}

/// Waits for the end of a guest's process: then its copies have ended, too.
struct End {
    host: Weak<Host>,
    guest: Arc<Guest>,
}

impl Source for End {
    fn ready(&self, _: Ready) {
        if let Some(host) = self.host.upgrade() {
            host.part_with(&self.guest, &Error::new(Code::ConnectionLost, "its process ended"));
        }
    }

    fn broken(&self) {
        self.ready(Ready { readable: true, writable: false, hung_up: true, ended: true });
    }
}
