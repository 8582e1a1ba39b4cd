//! The connection to an engine of another process of this host, from the side that copies.

mod asking;
mod conversation;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::Offer;
use super::TOKEN_LENGTH;
use super::page::Page;
use super::path::SharedPath;
use super::regions::{Regions, Waiting};
use super::wire::{self, Hello, Message};
use crate::bail;
use crate::error::{Code, Context, Error, Result};
use crate::segment::descriptor::EngineId;
use crate::sys::process::Process;
use crate::sys::reactor::{Interest, Reactor, Token};
use crate::sys::{clock, random, unix};
use crate::telemetry::metrics::Metrics;
use crate::transport::{Outcome, Path, PathKind, Run};
use conversation::{Connection, End};

/// For so long after a look at a process its pid cannot have come around to another one.
const PID_TRUST_NS: u64 = 200_000;

/// Who uses an attachment. Called from any thread, without locks held.
pub trait Events: Send + Sync {
    /// The peer is proven to be engine `id`, or not: told once, maybe before `open` returns.
    fn opened(&self, id: EngineId, result: Result<Arc<Attachment>>);

    /// A run had to wait for knowledge of a region, and can go on: submit it to the path.
    fn resume(&self, path: Arc<dyn Path>, run: Run);

    /// The peer's process is gone, or does not want us any more. Whatever is submitted from here on is rerouted.
    fn lost(&self, attachment: &Arc<Attachment>, error: &Error);
}

/// What was found out while opening.
pub struct Ready {
    pub page: Page,
}

enum Stage {
    Greeted([u8; wire::NONCE_LENGTH]),
    Answered,
    Open,
}

pub struct Attachment {
    ours: EngineId,
    theirs: EngineId,
    token: [u8; TOKEN_LENGTH],
    socket: OwnedFd,
    process: Process,
    reactor: Arc<Reactor>,
    worker: usize,
    pub(in crate::transport::shm) metrics: Arc<Metrics>,
    pub(in crate::transport::shm) regions: Regions,
    events: Weak<dyn Events>,
    stage: Mutex<Stage>,
    ready: OnceLock<Ready>,
    /// Why cross-memory attach cannot be used; None while it can.
    cma_refusal: Mutex<Option<String>>,
    has_cma: AtomicBool,
    is_lost: AtomicBool,
    loss: Mutex<Option<Error>>,
    /// When the process was last seen alive.
    seen_ns: AtomicU64,
    watches: Mutex<Vec<Token>>,
    me: Weak<Attachment>,
}

impl Attachment {
    /// Starts to connect to the engine that made an offer; `events` hears how it went.
    pub fn open(
        ours: EngineId,
        theirs: EngineId,
        offer: &Offer,
        metrics: Arc<Metrics>,
        reactor: Arc<Reactor>,
        events: Weak<dyn Events>,
    ) -> Result<Arc<Attachment>> {
        let socket = unix::connect(&offer.socket).context("connecting to a process of this host")?;
        let process = unix::peer_process(&socket).context("looking at a process of this host")?;
        let nonce = random::bytes();
        let attachment = Arc::new_cyclic(|me| Attachment {
            ours,
            theirs,
            token: offer.token,
            socket,
            process,
            reactor,
            worker: usize::from(theirs.0[0]),
            metrics,
            regions: Regions::default(),
            events,
            stage: Mutex::new(Stage::Greeted(nonce)),
            ready: OnceLock::new(),
            cma_refusal: Mutex::new(None),
            has_cma: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            loss: Mutex::new(None),
            seen_ns: AtomicU64::new(0),
            watches: Mutex::default(),
            me: me.clone(),
        });
        let hello = Hello {
            version: wire::VERSION,
            engine_id: ours.0.to_vec(),
            owner_id: theirs.0.to_vec(),
            nonce: nonce.to_vec(),
        };
        attachment.send(Message::Hello(hello)).context(format_args!("greeting {}", attachment.name()))?;
        attachment.watch()?;
        Ok(attachment)
    }

    fn watch(&self) -> Result<()> {
        // Locked, so that a source that fires at once finds its token.
        let mut watches = self.watches.lock();
        let connection = Arc::new(Connection(self.me.clone()));
        let end = Arc::new(End(self.me.clone()));
        let doing = "watching a process of this host";
        let (socket, process) = (self.socket.as_fd(), self.process.pidfd().as_fd());
        watches.push(self.reactor.add(self.worker, socket, Interest::READ, connection).context(doing)?);
        watches.push(self.reactor.add(self.worker, process, Interest::READ, end).context(doing)?);
        Ok(())
    }

    fn unwatch(&self) {
        let fds = [self.socket.as_fd(), self.process.pidfd().as_fd()];
        for (token, fd) in self.watches.lock().drain(..).zip(fds) {
            self.reactor.remove(token, fd);
        }
    }

    /// The path for regions that can be mapped.
    pub fn memfd_path(self: &Arc<Self>) -> Arc<dyn Path> {
        self.path(PathKind::Memfd)
    }

    /// The path for ordinary memory, when cross-memory attach is allowed.
    pub fn cma_path(self: &Arc<Self>) -> Option<Arc<dyn Path>> {
        self.has_cma.load(Ordering::Acquire).then(|| self.path(PathKind::Cma))
    }

    fn path(self: &Arc<Self>, kind: PathKind) -> Arc<dyn Path> {
        Arc::new(SharedPath { kind, attachment: self.clone() })
    }

    /// Why there is no `cma_path`.
    pub fn cma_refusal(&self) -> Option<String> {
        self.cma_refusal.lock().clone()
    }

    pub fn is_alive(&self) -> bool {
        !self.is_lost.load(Ordering::Acquire)
    }

    pub fn peer(&self) -> EngineId {
        self.theirs
    }

    /// The peer in words.
    pub fn name(&self) -> String {
        match self.process.pid() {
            pid if pid > 0 => format!("engine {} in process {pid}", self.theirs),
            _ => format!("engine {} in another pid namespace", self.theirs),
        }
    }

    /// Ends the connection; what waits is rerouted.
    pub fn close(&self) {
        self.fail(Error::new(Code::Canceled, "closed"));
    }

    pub(in crate::transport::shm) fn process(&self) -> &Process {
        &self.process
    }

    /// What copies need; None before the attachment is open, and after it was lost.
    pub(in crate::transport::shm) fn ready(&self) -> Option<&Ready> {
        if self.is_lost.load(Ordering::Acquire) { None } else { self.ready.get() }
    }

    pub(in crate::transport::shm) fn lost_text(&self) -> String {
        match &*self.loss.lock() {
            Some(error) => format!("{}: {error}", self.name()),
            None => format!("{} did not prove itself yet", self.name()),
        }
    }

    /// Whether the pid still names the process that was met.
    pub(in crate::transport::shm) fn is_same_process(&self) -> bool {
        let now = clock::now_ns();
        if now.saturating_sub(self.seen_ns.load(Ordering::Relaxed)) < PID_TRUST_NS {
            return true;
        }
        self.is_alive_now()
    }

    pub(in crate::transport::shm) fn is_alive_now(&self) -> bool {
        let now = clock::now_ns();
        // A process that replaced its program closed the socket.
        if !self.process.is_alive() || !unix::is_connected(&self.socket) {
            self.fail(Error::new(Code::ConnectionLost, "its process ended"));
            return false;
        }
        self.seen_ns.store(now, Ordering::Relaxed);
        true
    }

    /// Cross-memory attach was refused in the middle of it all.
    pub(in crate::transport::shm) fn withdraw_cma(&self, error: &std::io::Error) {
        if self.is_alive_now() && self.has_cma.swap(false, Ordering::AcqRel) {
            tracing::warn!(
                "copying from and to {}: {error}; going over the network from here on",
                self.name()
            );
            *self.cma_refusal.lock() = Some(error.to_string());
        }
    }

    fn send(&self, message: Message) -> Result<()> {
        match unix::send(&self.socket, &wire::encode(message), None) {
            Ok(true) => Ok(()),
            Ok(false) => bail!(Unreachable, "it does not read what it is asked"),
            Err(error) => bail!(ConnectionLost, "{error}"),
        }
    }

    /// Gives everything up, once.
    fn fail(&self, error: Error) {
        if self.is_lost.swap(true, Ordering::AcqRel) {
            return;
        }
        *self.loss.lock() = Some(error.clone());
        self.unwatch();
        unix::hang_up(&self.socket);
        let waiting = self.regions.close();
        if let Some(events) = self.events.upgrade() {
            match (self.ready.get(), self.me.upgrade()) {
                (Some(_), Some(me)) => events.lost(&me, &error),
                _ => events.opened(self.theirs, Err(error.clone().context(self.name()))),
            }
        }
        for Waiting { run, .. } in waiting {
            run.complete(Outcome::Reroute, &|| format!("{}: {error}", self.name()));
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.unwatch();
    }
}
