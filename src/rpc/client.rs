//! The side that calls: one connection, made when it is needed and made anew after it was lost.

use std::collections::HashMap;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::connection::Connection;
use super::frame::{self, Header, Inbound, Kind, Outbound};
use super::{Address, Terms, greet};
use crate::error::{Code, Error, Result};
use crate::sys::clock;
use crate::sys::memory::IoVec;
use crate::sys::net::{self, Blocking};
use crate::sys::reactor::{Reactor, Ready, Source};
use crate::sys::spin::Spinner;
use crate::sys::unix;
use crate::{bail, fail};

use super::auth::Seal;

/// Called exactly once with what became of a call, from any thread. It must not wait for another call.
pub type Reply = Box<dyn FnOnce(Result<Vec<u8>>) + Send>;

/// How long a thread that waits for an answer looks for it before it sleeps.
const SPIN_NS: u64 = 50_000;
/// How long one blocking receive waits before it looks at deadlines again.
const READ_PATIENCE: Duration = Duration::from_millis(10);
/// Unacknowledged bytes end a connection after this time.
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// A thread whose answer another thread receives looks again after this time at the latest.
const NAP: Duration = Duration::from_millis(100);
/// Most calls of one client that wait for an answer.
const MAX_CALLS: usize = 1 << 16;
/// Most bytes of one client that wait to be sent.
const MAX_UNSENT: usize = 128 << 20;
/// Receives before others of the worker get their turn.
const TURN: usize = 64;

pub struct Client {
    terms: Terms,
    address: Address,
    reactor: Arc<Reactor>,
    worker: usize,
    line: Mutex<Option<Arc<Line>>>,
    next_id: AtomicU64,
    is_closed: AtomicBool,
}

impl Client {
    /// Connects when it is first called.
    pub fn new(reactor: &Arc<Reactor>, worker: usize, address: Address, terms: Terms) -> Arc<Client> {
        Arc::new(Client {
            terms,
            address,
            reactor: reactor.clone(),
            worker,
            line: Mutex::default(),
            next_id: AtomicU64::new(1),
            is_closed: AtomicBool::new(false),
        })
    }

    /// The same by another connection.
    pub fn another(&self) -> Arc<Client> {
        Client::new(&self.reactor, self.worker, self.address.clone(), self.terms.clone())
    }

    /// Calls a method. UNREACHABLE: nobody got the call. CONNECTION_LOST and TIMEOUT: somebody may have carried it out.
    /// It ends at its deadline if somebody calls `tick` from here on.
    pub fn call(&self, method: u16, body: &[u8], deadline_ns: u64, reply: Reply) {
        match self.try_call(method, body, deadline_ns, reply) {
            // A thread that waited here before may have left the receiving to nobody.
            Ok(line) => line.connection.hand_to_worker(&line.receiver),
            Err((error, reply)) => deliver(reply, Err(error)),
        }
    }

    fn try_call(
        &self,
        method: u16,
        body: &[u8],
        deadline_ns: u64,
        reply: Reply,
    ) -> std::result::Result<Arc<Line>, (Error, Reply)> {
        if body.len() > frame::MAX_BODY {
            let error = fail!(InvalidArgument, "a call of {} bytes: {} at most", body.len(), frame::MAX_BODY);
            return Err((error, reply));
        }
        let line = match self.line() {
            Ok(line) => line,
            Err(error) => return Err((error, reply)),
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        line.begin(id, deadline_ns, reply)?;
        let header = Header { method, ..Header::new(Kind::Call, id) };
        match line.send(header, body) {
            Ok(true) => {}
            Ok(false) => line.give_up(id),
            Err(error) => line.broken(&error),
        }
        Ok(line)
    }

    /// Calls a method and waits for the answer, receiving it on this thread where nobody else does.
    pub fn call_wait(&self, method: u16, body: &[u8], deadline_ns: u64) -> Result<Vec<u8>> {
        let slot = Arc::new(Slot::default());
        let filled = slot.clone();
        let reply: Reply = Box::new(move |result| filled.fill(result));
        let line = self.try_call(method, body, deadline_ns, reply).map_err(|(error, _)| error)?;
        loop {
            if let Some(result) = slot.take() {
                return result;
            }
            let now = clock::now_ns();
            if now >= deadline_ns {
                line.expire(now);
                continue;
            }
            match line.lead(&|| slot.is_filled.load(Ordering::Acquire), deadline_ns) {
                Ok(true) => {}
                Ok(false) => slot.nap(NAP.min(clock::until(deadline_ns))),
                Err(error) => line.broken(&error),
            }
        }
    }

    /// Ends the calls whose time is over. True while some are waited for: the clock must come back.
    pub fn tick(&self, now: u64) -> bool {
        let line = self.line.lock().clone();
        line.is_some_and(|line| line.expire(now) | line.connection.tick(&line.receiver, now))
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Ends all calls with this error, and takes no more.
    pub fn close(&self, error: &Error) {
        self.is_closed.store(true, Ordering::SeqCst);
        let line = self.line.lock().take();
        if let Some(line) = line {
            line.broken(error);
        }
    }

    fn line(&self) -> Result<Arc<Line>> {
        let mut current = self.line.lock();
        if self.is_closed.load(Ordering::SeqCst) {
            bail!(Canceled, "the connection to {} was closed here", self.address);
        }
        if let Some(line) = current.as_ref().filter(|line| !line.connection.is_dead()) {
            return Ok(line.clone());
        }
        let line = Line::connect(self)?;
        *current = Some(line.clone());
        Ok(line)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close(&fail!(Canceled, "whoever called is gone"));
    }
}

/// An answer that a thread waits for.
#[derive(Default)]
struct Slot {
    result: Mutex<Option<Result<Vec<u8>>>>,
    is_filled: AtomicBool,
    filled: Condvar,
}

impl Slot {
    fn fill(&self, result: Result<Vec<u8>>) {
        *self.result.lock() = Some(result);
        self.is_filled.store(true, Ordering::Release);
        self.filled.notify_one();
    }

    fn take(&self) -> Option<Result<Vec<u8>>> {
        if self.is_filled.load(Ordering::Acquire) { self.result.lock().take() } else { None }
    }

    fn nap(&self, time: Duration) {
        let mut result = self.result.lock();
        if result.is_none() {
            self.filled.wait_for(&mut result, time);
        }
    }
}

struct Waiting {
    reply: Reply,
    deadline_ns: u64,
}

#[derive(Default)]
struct Calls {
    waiting: HashMap<u64, Waiting>,
    /// Why no more are taken.
    ended: Option<Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Greeting,
    Open,
}

struct Sender {
    phase: Phase,
    out: Outbound,
    /// Calls that came before the greeting was over, and their bytes.
    early: Vec<(Header, Vec<u8>)>,
    early_bytes: usize,
}

struct Receiver {
    inbound: Inbound,
    seal: Option<Seal>,
    spinner: Spinner,
}

/// One connection, from the first step to its end.
struct Line {
    terms: Terms,
    address: Address,
    hello: Vec<u8>,
    connection: Connection,
    sender: Mutex<Sender>,
    receiver: Mutex<Receiver>,
    calls: Mutex<Calls>,
    /// Somebody answered the greeting.
    is_open: AtomicBool,
    begun_ns: u64,
}

impl Line {
    fn connect(client: &Client) -> Result<Arc<Line>> {
        let unreachable =
            |error: std::io::Error| fail!(Unreachable, "connecting to {}: {error}", client.address);
        let socket = match &client.address {
            Address::Tcp(address) => net::connect_start(address).map_err(unreachable)?,
            // What is done with it later is the same for every stream socket.
            Address::Local(name) => TcpStream::from(unix::connect_stream(name).map_err(unreachable)?),
        };
        let line = Arc::new(Line {
            terms: client.terms.clone(),
            address: client.address.clone(),
            hello: greet::hello(&client.terms),
            connection: Connection::new(&client.reactor, client.worker, socket),
            sender: Mutex::new(Sender {
                phase: Phase::Connecting,
                out: Outbound::default(),
                early: Vec::new(),
                early_bytes: 0,
            }),
            receiver: Mutex::new(Receiver {
                inbound: Inbound::default(),
                seal: None,
                spinner: Spinner::default(),
            }),
            calls: Mutex::default(),
            is_open: AtomicBool::new(false),
            begun_ns: clock::now_ns(),
        });
        line.connection.watch(Arc::new(Watched(Arc::downgrade(&line))))?;
        Ok(line)
    }

    /// Notes a call before it is sent.
    fn begin(&self, id: u64, deadline_ns: u64, reply: Reply) -> std::result::Result<(), (Error, Reply)> {
        let mut calls = self.calls.lock();
        if let Some(error) = &calls.ended {
            return Err((error.clone(), reply));
        }
        if calls.waiting.len() >= MAX_CALLS {
            let error = fail!(Exhausted, "{MAX_CALLS} calls wait for answers of {}", self.address);
            return Err((error, reply));
        }
        calls.waiting.insert(id, Waiting { reply, deadline_ns });
        self.connection.owe(1);
        Ok(())
    }

    /// False when too much waits to be sent already.
    fn send(&self, header: Header, body: &[u8]) -> Result<bool> {
        let mut sender = self.sender.lock();
        if sender.out.unsent() + sender.early_bytes + body.len() > MAX_UNSENT {
            return Ok(false);
        }
        if sender.phase != Phase::Open {
            sender.early_bytes += body.len();
            sender.early.push((header, body.to_vec()));
            return Ok(true);
        }
        sender.out.put(header, body);
        self.flush(&mut sender).map(|()| true)
    }

    /// Ends a call that was not sent.
    fn give_up(&self, id: u64) {
        let Some(waiting) = self.calls.lock().waiting.remove(&id) else { return };
        self.connection.answered(1);
        let error =
            fail!(Exhausted, "{MAX_UNSENT} bytes wait to be sent to {}: it does not read", self.address);
        deliver(waiting.reply, Err(error));
    }

    /// Connected, or not: then this is known now.
    fn advance(&self) -> Result<()> {
        let mut sender = self.sender.lock();
        if sender.phase == Phase::Connecting {
            let unreachable = |error: std::io::Error| fail!(Unreachable, "{error}");
            if let Address::Tcp(_) = self.address {
                net::connect_finish(&self.connection.socket).map_err(unreachable)?;
                net::keep_alive(&self.connection.socket).map_err(unreachable)?;
                net::prepare_stream(&self.connection.socket, READ_PATIENCE, SEND_PATIENCE)
                    .map_err(unreachable)?;
            } else {
                self.connection.socket.set_nonblocking(false).map_err(unreachable)?;
                self.connection.socket.set_read_timeout(Some(READ_PATIENCE)).map_err(unreachable)?;
            }
            sender.phase = Phase::Greeting;
            sender.out.put(Header::new(Kind::Hello, 0), &self.hello);
        }
        self.flush(&mut sender)
    }

    fn flush(&self, sender: &mut Sender) -> Result<()> {
        sender.out.flush(&self.connection.socket)?;
        self.connection.want_room(sender.out.unsent() > 0);
        Ok(())
    }

    /// The other side let us in, or not. Returns what checks its frames from now on.
    fn met(&self, body: &[u8]) -> Result<Option<Seal>> {
        let mut sender = self.sender.lock();
        if sender.phase != Phase::Greeting {
            bail!(Rejected, "a greeting that nobody asked for");
        }
        let met = greet::judge(&self.terms, &self.hello, body)?;
        if let Some(auth) = met.auth {
            sender.out.put(Header::new(Kind::Auth, 0), &auth);
        }
        let (outward, inward) = met.seal.map(Seal::split).unzip();
        sender.out.seal = outward;
        sender.phase = Phase::Open;
        sender.early_bytes = 0;
        for (header, body) in std::mem::take(&mut sender.early) {
            // Those that nobody waits for any more are not done either.
            if self.calls.lock().waiting.contains_key(&header.id) {
                sender.out.put(header, &body);
            }
        }
        self.is_open.store(true, Ordering::Release);
        self.flush(&mut sender)?;
        Ok(inward)
    }

    /// Receives once; how many bytes came.
    fn receive(&self, receiver: &mut Receiver, blocking: Blocking) -> Result<usize> {
        if self.connection.is_dead() {
            bail!(ConnectionLost, "the connection was given up");
        }
        let got = {
            let vector = [IoVec::bytes_mut(receiver.inbound.room())];
            net::receive(&self.connection.socket, &vector, blocking).map_err(|error| lost(&error))?
        };
        let Some(count) = got else { return Ok(0) };
        if count == 0 {
            bail!(ConnectionLost, "{} closed the connection", self.address);
        }
        self.connection.heard();
        receiver.inbound.received(count);
        while let Some((header, body)) = receiver.inbound.next_frame()? {
            match header.kind {
                Kind::HelloAck => {
                    receiver.seal = self.met(body)?;
                    receiver.inbound.trust();
                }
                Kind::Answer if self.is_open.load(Ordering::Acquire) => {
                    let body = frame::open(&header, body, receiver.seal.as_mut())?;
                    self.answered(&header, body);
                }
                other => bail!(Rejected, "{} sends {other:?}", self.address),
            }
        }
        Ok(count)
    }

    fn answered(&self, header: &Header, body: &[u8]) {
        // One that is late was ended already.
        let Some(waiting) = self.calls.lock().waiting.remove(&header.id) else { return };
        self.connection.answered(1);
        let text = || String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).collect();
        let result = match header.status {
            0 => Ok(body.to_vec()),
            status => Err(greet::failure(status, text())),
        };
        deliver(waiting.reply, result);
    }

    /// Receives on the calling thread until `is_done`; false when another thread does.
    fn lead(&self, is_done: &dyn Fn() -> bool, until_ns: u64) -> Result<bool> {
        if !self.is_open.load(Ordering::Acquire) {
            return Ok(false);
        }
        self.connection.lead(&self.receiver, until_ns, |receiver| {
            while !is_done() && self.connection.unanswered() > 0 && clock::now_ns() < until_ns {
                let mut spinner = std::mem::take(&mut receiver.spinner);
                let spun = spinner.spin(SPIN_NS, || {
                    let received = self.receive(receiver, Blocking::No);
                    (!matches!(received, Ok(0))).then_some(received)
                });
                receiver.spinner = spinner;
                spun.unwrap_or_else(|| self.receive(receiver, Blocking::Yes))?;
            }
            Ok(())
        })
    }

    /// Ends the calls whose time is over; true while others wait.
    fn expire(&self, now: u64) -> bool {
        let mut calls = self.calls.lock();
        let late: Vec<Waiting> =
            calls.waiting.extract_if(|_, call| call.deadline_ns <= now).map(|(_, call)| call).collect();
        let is_waiting = !calls.waiting.is_empty();
        drop(calls);
        self.connection.answered(late.len());
        for call in late {
            deliver(call.reply, Err(fail!(Timeout, "{} did not answer in time", self.address)));
        }
        let is_stuck = now.saturating_sub(self.begun_ns) > greet::PATIENCE.as_nanos() as u64;
        if is_stuck && !self.is_open.load(Ordering::Acquire) {
            self.broken(&fail!(Unreachable, "no greeting in time"));
            return false;
        }
        is_waiting
    }

    /// The connection is of no more use: everything that waits hears why.
    fn broken(&self, error: &Error) {
        self.connection.kill();
        let was_open = self.is_open.load(Ordering::Acquire);
        let code = match error.code {
            // Nobody can have got what was never sent.
            Code::ConnectionLost if !was_open => Code::Unreachable,
            Code::Canceled | Code::Internal => error.code,
            // Whatever the reason, calls that were sent may have been carried out.
            _ if was_open => Code::ConnectionLost,
            code => code,
        };
        let ended = Error::new(code, format!("calling {}: {}", self.address, error.message()));
        let waiting = {
            let mut calls = self.calls.lock();
            calls.ended.get_or_insert_with(|| ended.clone());
            std::mem::take(&mut calls.waiting)
        };
        self.connection.forget_owed();
        for (_, call) in waiting {
            deliver(call.reply, Err(ended.clone()));
        }
    }

    fn serve(&self, ready: Ready) -> Result<()> {
        if ready.writable {
            self.advance()?;
        }
        if !ready.readable {
            return Ok(());
        }
        // A thread that waits for its answer may be receiving: then it takes what is there.
        let Some(mut receiver) = self.receiver.try_lock() else { return Ok(()) };
        for _ in 0..TURN {
            if self.receive(&mut receiver, Blocking::No)? == 0 {
                return Ok(());
            }
        }
        drop(receiver);
        self.connection.look_again();
        Ok(())
    }
}

fn lost(error: &std::io::Error) -> Error {
    Error::new(Code::ConnectionLost, error.to_string())
}

/// Tells whoever called. A panic there must not keep others from hearing of theirs.
fn deliver(reply: Reply, result: Result<Vec<u8>>) {
    if catch_unwind(AssertUnwindSafe(|| reply(result))).is_err() {
        tracing::error!("a panic in what was to be done with an answer");
    }
}

/// What the reactor knows of a line: it does not keep it.
struct Watched(Weak<Line>);

impl Source for Watched {
    fn ready(&self, ready: Ready) {
        let Some(line) = self.0.upgrade() else { return };
        if let Err(error) = line.serve(ready) {
            line.broken(&error);
        }
    }

    fn broken(&self) {
        if let Some(line) = self.0.upgrade() {
            line.broken(&fail!(Internal, "a defect in this library: see the log"));
        }
    }
}
