//! The connection to an engine of another process of this host, from the side that copies.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::Offer;
use super::TOKEN_LENGTH;
use super::page::Page;
use super::path::SharedPath;
use super::regions::{Known, Parked, Regions, Waiting};
use super::wire::{self, Answer, Ask, Challenge, Grant, Hello, Message, Side, Transcript, Welcome};
use crate::bail;
use crate::error::{Code, Context, Error, Result};
use crate::segment::descriptor::EngineId;
use crate::sys::memory::Mem;
use crate::sys::process::{Direction, Process};
use crate::sys::reactor::{Interest, Reactor, Ready as Readiness, Source, Token};
use crate::sys::{clock, random, unix};
use crate::telemetry::metrics::Metrics;
use crate::transport::{Outcome, Owner, Path, PathKind, Run};

/// For so long after a look at a process its pid cannot have come around to another one.
const PID_TRUST_NS: u64 = 200_000;
/// A region's pages are mapped by stretches of this many bytes, so that other work of the worker has its turn.
const POPULATE_BYTES: usize = 16 << 20;
/// When a batch gives up waiting for an answer that is late by so much, the owner is taken for deaf and its bytes go
/// over the network.
const DEAF_AFTER_NS: u64 = 500_000_000;
/// Packets taken before other work of the worker has its turn.
const PACKETS_AT_ONCE: usize = 32;

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
    pub(super) metrics: Arc<Metrics>,
    pub(super) regions: Regions,
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

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// What copies need; None before the attachment is open, and after it was lost.
    pub(super) fn ready(&self) -> Option<&Ready> {
        if self.is_lost.load(Ordering::Acquire) { None } else { self.ready.get() }
    }

    pub(super) fn lost_text(&self) -> String {
        match &*self.loss.lock() {
            Some(error) => format!("{}: {error}", self.name()),
            None => format!("{} did not prove itself yet", self.name()),
        }
    }

    /// Whether the pid still names the process that was met.
    pub(super) fn is_same_process(&self) -> bool {
        let now = clock::now_ns();
        if now.saturating_sub(self.seen_ns.load(Ordering::Relaxed)) < PID_TRUST_NS {
            return true;
        }
        self.is_alive_now()
    }

    pub(super) fn is_alive_now(&self) -> bool {
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
    pub(super) fn withdraw_cma(&self, error: &std::io::Error) {
        if self.is_alive_now() && self.has_cma.swap(false, Ordering::AcqRel) {
            tracing::warn!(
                "copying from and to {}: {error}; going over the network from here on",
                self.name()
            );
            *self.cma_refusal.lock() = Some(error.to_string());
        }
    }

    /// Parks a run until the owner told where the region with this key is.
    pub(super) fn wait_for(&self, key: u64, kind: PathKind, run: Run) {
        let (owner, epoch) = (run.owner.clone(), run.epoch);
        let slice = &run.slices()[0];
        let ask = Ask { key, address: slice.remote, length: slice.len() as u64 };
        match self.regions.park(Waiting { key, kind, run }) {
            Parked::First => {
                if let Err(error) = self.send(Message::Ask(ask)) {
                    return self.fail(error);
                }
            }
            Parked::Also => {}
            Parked::Known(run) => return self.resume(kind, run),
            Parked::Closed(run) => return run.complete(Outcome::Reroute, &|| self.lost_text()),
        }
        if owner.stopped().is_some() {
            // It was stopped before it stood in the queue, where nobody would have found it.
            self.give_up(&owner, epoch);
        }
    }

    /// A batch was stopped: completes what waits here.
    pub fn give_up(&self, owner: &Arc<dyn Owner>, epoch: u32) {
        let taken = self.regions.take(owner, epoch);
        if taken.is_empty() {
            return;
        }
        let reason = owner.stopped().unwrap_or(Code::Unreachable);
        let is_deaf = taken.iter().any(|waiting| self.regions.is_late(waiting.key, DEAF_AFTER_NS));
        for waiting in taken {
            waiting.run.complete(Outcome::Failed(reason), &|| {
                format!("stopped before {} told where its region {} is", self.name(), waiting.key)
            });
        }
        if is_deaf {
            self.fail(Error::new(Code::Unreachable, "it does not answer on the same-host socket"));
        }
    }

    fn resume(&self, kind: PathKind, run: Run) {
        match (self.me.upgrade(), self.events.upgrade()) {
            (Some(me), Some(events)) => events.resume(me.path(kind), run),
            _ => run.complete(Outcome::Failed(Code::Canceled), &|| "the engine was destroyed".into()),
        }
    }

    fn send(&self, message: Message) -> Result<()> {
        match unix::send(&self.socket, &wire::encode(message), None) {
            Ok(true) => Ok(()),
            Ok(false) => bail!(Unreachable, "it does not read what it is asked"),
            Err(error) => bail!(ConnectionLost, "{error}"),
        }
    }

    fn receive(&self, descriptors: &mut Vec<OwnedFd>) -> Result<Option<Message>> {
        let mut buffer = [0; wire::MAX_PACKET];
        match unix::receive(&self.socket, &mut buffer, descriptors) {
            Ok(None) => Ok(None),
            Ok(Some(0)) => bail!(ConnectionLost, "it closed the same-host connection"),
            Ok(Some(length)) => wire::decode(&buffer[..length]).map(Some),
            Err(error) => bail!(ConnectionLost, "{error}"),
        }
    }

    /// Takes what the owner says; the first error ends the attachment.
    fn listen(&self) {
        for _ in 0..PACKETS_AT_ONCE {
            let mut descriptors = Vec::new();
            let heard = match self.receive(&mut descriptors) {
                Ok(None) => return,
                Ok(Some(message)) => self.heard(message, descriptors.pop()),
                Err(error) => Err(error),
            };
            if let Err(error) = heard {
                return self.fail(error);
            }
        }
    }

    fn heard(&self, message: Message, file: Option<OwnedFd>) -> Result<()> {
        let mut stage = self.stage.lock();
        match (&*stage, message) {
            (_, Message::Refused(refused)) => bail!(Rejected, "it refuses: {}", wire::shorten(&refused.text)),
            (Stage::Greeted(nonce), Message::Challenge(challenge)) => {
                let answer = self.answer(*nonce, &challenge)?;
                *stage = Stage::Answered;
                self.send(Message::Answer(answer))
            }
            (Stage::Answered, Message::Welcome(welcome)) => {
                let Some(file) = file else { bail!(Rejected, "it sent no control page") };
                let page = Page::open(&file)?;
                *stage = Stage::Open;
                drop(stage);
                self.finish(page, &welcome);
                Ok(())
            }
            (Stage::Open, Message::Grant(grant)) => {
                drop(stage);
                self.learn(&grant, file);
                Ok(())
            }
            (Stage::Open, Message::Gone(gone)) => {
                self.regions.forget(gone.key);
                Ok(())
            }
            (_, message) => bail!(Rejected, "it sent {message:?} at the wrong time"),
        }
    }

    fn answer(&self, nonce: [u8; wire::NONCE_LENGTH], challenge: &Challenge) -> Result<Answer> {
        let transcript = Transcript {
            owner: self.theirs,
            peer: self.ours,
            owner_nonce: wire::nonce(&challenge.nonce)?,
            peer_nonce: nonce,
        };
        transcript.check(&self.token, Side::Owner, &challenge.proof)?;
        Ok(Answer { proof: transcript.proof(&self.token, Side::Peer) })
    }

    fn finish(&self, page: Page, welcome: &Welcome) {
        match self.try_cma(welcome) {
            Ok(()) => self.has_cma.store(true, Ordering::Release),
            Err(error) => {
                tracing::info!("no cross-memory attach to {}: {}", self.name(), error.message());
                *self.cma_refusal.lock() = Some(error.message().to_owned());
            }
        }
        if self.ready.set(Ready { page }).is_err() {
            return;
        }
        if let (Some(me), Some(events)) = (self.me.upgrade(), self.events.upgrade()) {
            events.opened(self.theirs, Ok(me));
        }
    }

    /// Reads the secret that the proven owner named from the process that the kernel named.
    fn try_cma(&self, welcome: &Welcome) -> Result<()> {
        if self.process.pid() <= 0 {
            bail!(Unsupported, "its process lives in another pid namespace");
        }
        let secret = [0u8; 16];
        let (_, result) = self.process.copy(Direction::In, [(Mem::of(&secret), welcome.secret_address)]);
        match result {
            Ok(()) if std::hint::black_box(&secret)[..] == welcome.secret[..] => Ok(()),
            Ok(()) => bail!(Rejected, "process {} is not the one that answers", self.process.pid()),
            Err(error) => bail!(
                Unsupported,
                "{error}: allow it with kernel.yama.ptrace_scope=0 or CAP_SYS_PTRACE, between processes of one user"
            ),
        }
    }

    /// The owner's answer about a region.
    fn learn(&self, grant: &Grant, file: Option<OwnedFd>) {
        if !self.regions.is_asked(grant.key) {
            return;
        }
        match wire::code_of(grant.status) {
            None => match Known::of(grant, file) {
                Ok(known) => self.enter(Arc::new(known)),
                Err(error) => {
                    tracing::warn!("a region of {}: {error}", self.name());
                    self.enter(Arc::new(Known::elsewhere(grant.key)));
                }
            },
            Some(code @ (Code::AddressNotRegistered | Code::Permission)) => {
                for waiting in self.regions.learn(grant.key, None).unwrap_or_default() {
                    self.refuse(waiting, code, &grant.text);
                }
            }
            Some(code) => {
                tracing::info!(
                    "a region of {} is reached over the network: {}: {}",
                    self.name(),
                    code.name(),
                    grant.text
                );
                self.enter(Arc::new(Known::elsewhere(grant.key)));
            }
        }
    }

    fn enter(&self, known: Arc<Known>) {
        let waiting = self.regions.learn(known.key, Some(known.clone())).unwrap_or_default();
        for Waiting { kind, run, .. } in waiting {
            self.resume(kind, run);
        }
        if let Some(me) = self.me.upgrade() {
            populate(&me, known, 0);
        }
    }

    /// Completes the slices of a refused region at the front of a run; the others go on.
    fn refuse(&self, waiting: Waiting, code: Code, text: &str) {
        let Waiting { key, kind, mut run } = waiting;
        let same = run.slices().iter().take_while(|slice| slice.key.load(Ordering::Relaxed) == key).count();
        let refused = run.split_front(same as u32);
        refused.complete(Outcome::Failed(code), &|| format!("{}: {text}", self.name()));
        if run.count > 0 {
            self.resume(kind, run);
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

/// Maps a region's pages bit by bit, so that the first copies do not have to. Ends by itself with the attachment.
fn populate(attachment: &Arc<Attachment>, known: Arc<Known>, offset: usize) {
    if !attachment.is_alive() {
        return;
    }
    if let Some(next) = known.populate(offset, POPULATE_BYTES) {
        let again = Arc::downgrade(attachment);
        let job = move || {
            if let Some(attachment) = again.upgrade() {
                populate(&attachment, known, next);
            }
        };
        attachment.reactor.run(attachment.worker, Box::new(job));
    }
}

/// Listens to the owner.
struct Connection(Weak<Attachment>);

impl Source for Connection {
    fn ready(&self, _: Readiness) {
        if let Some(attachment) = self.0.upgrade() {
            attachment.listen();
        }
    }

    fn broken(&self) {
        if let Some(attachment) = self.0.upgrade() {
            attachment.fail(Error::new(Code::Internal, "its messages broke this library"));
        }
    }
}

/// Waits for the end of the owner's process.
struct End(Weak<Attachment>);

impl Source for End {
    fn ready(&self, _: Readiness) {
        if let Some(attachment) = self.0.upgrade() {
            attachment.fail(Error::new(Code::ConnectionLost, "its process ended"));
        }
    }

    fn broken(&self) {
        self.ready(Readiness { readable: true, writable: false, hung_up: true });
    }
}
