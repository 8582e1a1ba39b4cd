//! One connection of a Mooncake engine to this engine's memory: takes a request, checks it, moves the bytes, says what
//! became of it, and takes the next one.

use std::cell::Cell;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Hub;
use super::target::Target;
use super::wire::{HEADER_LENGTH, Header, STATUS_LENGTH, Status};
use crate::error::{Code, Error, Result};
use crate::segment::memory::{REMOTE_READ, REMOTE_WRITE, Region};
use crate::sys::clock;
use crate::sys::memory::{IoVec, Mem};
use crate::sys::net::{self, Blocking};
use crate::sys::reactor::{Interest, Ready, Source, Token};
use crate::transport::{Gate, Opcode, PathKind, Payload};
use crate::{bail, fail};

/// Asked for when a header is awaited: a small write whole.
const FIRST_LOOK: usize = HEADER_LENGTH + (8 << 10);
/// Bytes moved before other connections of the same worker get their turn.
const TURN: usize = 4 << 20;
/// A request that does not get on for so long is ended.
const STALL: Duration = Duration::from_secs(30);
/// After a refusal, so long is waited for the peer to read of it; closing at once could take the word back.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a connection is doing.
enum Doing {
    /// Awaits a header.
    Idle,
    /// Takes the bytes of a write.
    Taking { header: Header, region: Arc<Region>, payload: Payload, received: usize },
    /// Sends an answer; closes after it, when it is a refusal.
    Answering { payload: Payload, sent: usize, is_last: bool },
    /// Refused: reads until the peer closes.
    Leaving,
}

struct State {
    doing: Doing,
    stage: Vec<u8>,
    start: usize,
    end: usize,
    vectors: Vec<IoVec<'static>>,
}

pub struct Served {
    hub: Arc<Hub>,
    target: Weak<Target>,
    number: u64,
    socket: TcpStream,
    token: Token,
    state: Mutex<State>,
    is_dead: AtomicBool,
    is_in_request: AtomicBool,
    wants_write: AtomicBool,
    heard_ns: AtomicU64,
}

/// How a step ended.
#[derive(PartialEq, Eq)]
enum Step {
    /// Something was done, and more may be.
    On,
    /// The socket has, or takes, no more at the moment.
    Waits,
}

/// The two status words, in memory that stays.
static DONE: [u8; STATUS_LENGTH] = Status::Done.encode().to_le_bytes();
static REFUSED: [u8; STATUS_LENGTH] = Status::Refused.encode().to_le_bytes();

impl Served {
    pub fn start(target: &Arc<Target>, number: u64, socket: TcpStream) -> Result<Arc<Served>> {
        let hub = target.hub.clone();
        let served = Arc::new(Served {
            token: hub.reactor.token(number as usize),
            hub,
            target: Arc::downgrade(target),
            number,
            socket,
            state: Mutex::new(State {
                doing: Doing::Idle,
                stage: vec![0; FIRST_LOOK],
                start: 0,
                end: 0,
                vectors: Vec::with_capacity(8),
            }),
            is_dead: AtomicBool::new(false),
            is_in_request: AtomicBool::new(false),
            wants_write: AtomicBool::new(false),
            heard_ns: AtomicU64::new(clock::now_ns()),
        });
        let added =
            served.hub.reactor.add_as(served.token, served.socket.as_fd(), Interest::READ, served.clone());
        added.map_err(|error| fail!(Io, "watching a connection: {error}"))?;
        Ok(served)
    }

    pub fn heard_ns(&self) -> u64 {
        self.heard_ns.load(Ordering::Relaxed)
    }

    pub fn is_in_request(&self) -> bool {
        self.is_in_request.load(Ordering::Acquire)
    }

    pub fn tick(&self, now: u64) {
        let is_leaving = self.state.try_lock().is_some_and(|state| matches!(state.doing, Doing::Leaving));
        let patience = if is_leaving { FAREWELL } else { STALL };
        if now.saturating_sub(self.heard_ns()) > patience.as_nanos() as u64 {
            if !is_leaving {
                tracing::warn!("{}: a request stopped in the middle", self.who());
            }
            self.end();
        }
    }

    /// Ends the connection: on return nothing that is in its buffers will be applied.
    pub fn end(&self) {
        self.mark_dead();
        drop(self.state.lock());
    }

    fn mark_dead(&self) {
        if self.is_dead.swap(true, Ordering::AcqRel) {
            return;
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        self.hub.reactor.remove(self.token, self.socket.as_fd());
        if let Some(target) = self.target.upgrade() {
            target.forget(self.number);
        }
    }

    fn who(&self) -> String {
        let address = self.socket.peer_addr();
        address.map_or_else(
            |_| "a Mooncake engine".to_owned(),
            |address| format!("Mooncake engine at {address}"),
        )
    }

    /// Goes on as far as the socket allows, for a while.
    fn advance(&self) -> Result<()> {
        let mut state = self.state.lock();
        let mut moved = 0;
        let mut is_waiting = false;
        while moved < TURN && !is_waiting {
            if self.is_dead.load(Ordering::Acquire) {
                return Ok(());
            }
            let (step, bytes) = self.step(&mut state)?;
            moved += bytes;
            is_waiting = step == Step::Waits;
        }
        if moved > 0 {
            self.heard_ns.store(clock::now_ns(), Ordering::Relaxed);
        }
        let is_answering = matches!(state.doing, Doing::Answering { .. });
        let is_staged = state.start < state.end;
        let is_idle = matches!(state.doing, Doing::Idle) && !is_staged;
        drop(state);
        if is_staged && !is_waiting && !is_answering {
            // The kernel has nothing to tell of requests that were taken already.
            self.hub.reactor.nudge(self.token);
        }
        if self.is_in_request.swap(!is_idle, Ordering::AcqRel) == is_idle && !is_idle {
            self.hub.start_clock();
        }
        self.want_write(is_answering)
    }

    fn step(&self, state: &mut State) -> Result<(Step, usize)> {
        match &mut state.doing {
            Doing::Idle => self.take_header(state),
            Doing::Taking { .. } => self.take_bytes(state),
            Doing::Answering { .. } => self.send_answer(state),
            Doing::Leaving => self.read_away(state),
        }
    }

    fn take_header(&self, state: &mut State) -> Result<(Step, usize)> {
        let mut got = 0;
        if state.end - state.start < HEADER_LENGTH {
            let State { stage, start, end, .. } = state;
            stage.copy_within(*start..*end, 0);
            *end -= *start;
            *start = 0;
            let vector = [IoVec::bytes_mut(&mut stage[*end..])];
            let received = net::receive(&self.socket, &vector, Blocking::No).map_err(|error| lost(&error))?;
            got = match received {
                None => return Ok((Step::Waits, 0)),
                Some(0) if *end == 0 => bail!(ConnectionLost, "closed"),
                Some(0) => bail!(ConnectionLost, "closed in the middle of a header"),
                Some(bytes) => bytes,
            };
            *end += got;
            if *end < HEADER_LENGTH {
                return Ok((Step::Waits, got));
            }
        }
        let mut bytes = [0; HEADER_LENGTH];
        bytes.copy_from_slice(&state.stage[state.start..state.start + HEADER_LENGTH]);
        state.start += HEADER_LENGTH;
        let header = Header::decode(&bytes)?;
        state.doing = self.begin(header)?;
        Ok((Step::On, got))
    }

    /// Checks a request as Mooncake does: the whole range in one registered buffer.
    fn begin(&self, header: Header) -> Result<Doing> {
        let permission = if header.opcode == Opcode::Read { REMOTE_READ } else { REMOTE_WRITE };
        let found = match (usize::try_from(header.address), usize::try_from(header.size)) {
            (Ok(address), Ok(size)) if size > 0 && address.checked_add(size).is_some() => {
                self.hub.memory.find(address, size, permission)
            }
            _ => Err(fail!(AddressNotRegistered, "{} bytes at {:#x}", header.size, header.address)),
        };
        let region = match found {
            Ok(region) => region,
            Err(error) => return self.refuse(&header, &error),
        };
        let (address, size) = (header.address as usize, header.size as usize);
        let memory = region.mem.part(address - region.mem.address(), size);
        let mut payload = Payload::default();
        if header.opcode == Opcode::Write {
            payload.push(memory, &Gate::Region(region.clone()));
            return Ok(Doing::Taking { header, region, payload, received: 0 });
        }
        if header.has_status {
            payload.push_own(Mem::of(&DONE));
        }
        payload.push(memory, &Gate::Region(region));
        Ok(Doing::Answering { payload, sent: 0, is_last: false })
    }

    fn refuse(&self, header: &Header, error: &Error) -> Result<Doing> {
        self.hub.metrics.refused_count.increment();
        tracing::warn!("{} was refused: {error}", self.who());
        if !header.has_status {
            // The first version has no words for it.
            bail!(ConnectionLost, "refused");
        }
        let mut payload = Payload::default();
        payload.push_own(Mem::of(&REFUSED));
        Ok(Doing::Answering { payload, sent: 0, is_last: true })
    }

    fn take_bytes(&self, state: &mut State) -> Result<(Step, usize)> {
        let State { doing, stage, start, end, vectors } = state;
        let Doing::Taking { header, region, payload, received } = doing else { return Ok((Step::On, 0)) };
        let left = payload.len() - *received;
        let staged = (*end - *start).min(left);
        let mut step = Step::On;
        let mut got = 0;
        if staged > 0 {
            payload.scatter(*received, &stage[*start..*start + staged]);
            *start += staged;
            *received += staged;
        } else {
            let is_shut = Cell::new(false);
            vectors.clear();
            let mut asked = 0;
            let result = payload.with_vectors(
                *received,
                vectors,
                |_, _| is_shut.set(true),
                |vectors| {
                    asked = vectors.iter().map(IoVec::len).sum();
                    if is_shut.get() { Ok(None) } else { net::receive(&self.socket, vectors, Blocking::No) }
                },
            );
            if !is_shut.get() {
                match result.map_err(|error| lost(&error))? {
                    None => return Ok((Step::Waits, 0)),
                    Some(0) => bail!(ConnectionLost, "closed in the middle of a write"),
                    Some(bytes) => got = bytes,
                }
                *received += got;
                if got < asked {
                    step = Step::Waits;
                }
            } else {
                *received = payload.len();
            }
        }
        if *received < payload.len() {
            return Ok((step, got));
        }
        // Shut while the bytes arrived: the region is gone, and so are they.
        let is_open = region.enter().is_some();
        let (header, size) = (*header, payload.len() as u64);
        if !is_open {
            *doing =
                self.refuse(&header, &fail!(AddressNotRegistered, "unregistered in the middle of a write"))?;
            return Ok((Step::On, got));
        }
        self.hub.metrics.path(PathKind::Tcp).served_written_bytes.add(size);
        *doing = if header.has_status {
            let mut payload = Payload::default();
            payload.push_own(Mem::of(&DONE));
            Doing::Answering { payload, sent: 0, is_last: false }
        } else {
            Doing::Idle
        };
        Ok((Step::On, got))
    }

    fn send_answer(&self, state: &mut State) -> Result<(Step, usize)> {
        let State { doing, vectors, start, end, .. } = state;
        let Doing::Answering { payload, sent, is_last } = doing else { return Ok((Step::On, 0)) };
        let is_shut = Cell::new(false);
        vectors.clear();
        let result = payload.with_vectors(
            *sent,
            vectors,
            |_, _| is_shut.set(true),
            |vectors| {
                if is_shut.get() { Ok(None) } else { net::send(&self.socket, vectors, false) }
            },
        );
        if is_shut.get() {
            bail!(AddressNotRegistered, "unregistered in the middle of a read");
        }
        let Some(bytes) = result.map_err(|error| lost(&error))? else { return Ok((Step::Waits, 0)) };
        *sent += bytes;
        if *sent < payload.len() {
            return Ok((Step::On, bytes));
        }
        if *is_last {
            let _ = self.socket.shutdown(std::net::Shutdown::Write);
            *doing = Doing::Leaving;
            return Ok((Step::On, bytes));
        }
        if payload.len() > STATUS_LENGTH {
            self.hub.metrics.path(PathKind::Tcp).served_read_bytes.add(payload.len() as u64);
        }
        *doing = Doing::Idle;
        // What was not staged with the header is, mostly, not there yet.
        let step = if start == end { Step::Waits } else { Step::On };
        Ok((step, bytes))
    }

    fn read_away(&self, state: &mut State) -> Result<(Step, usize)> {
        state.start = 0;
        state.end = 0;
        let vector = [IoVec::bytes_mut(&mut state.stage)];
        match net::receive(&self.socket, &vector, Blocking::No).map_err(|error| lost(&error))? {
            None => Ok((Step::Waits, 0)),
            Some(0) => bail!(ConnectionLost, "closed after a refusal"),
            // No progress that would keep it alive. Others have their turn before more of it is read.
            Some(_) => Ok((Step::Waits, 0)),
        }
    }

    /// Asks for the worker's call when there is room; a peer that takes no answers is not listened to meanwhile.
    fn want_write(&self, wanted: bool) -> Result<()> {
        if self.wants_write.swap(wanted, Ordering::AcqRel) == wanted {
            return Ok(());
        }
        let interest = Interest { readable: !wanted, writable: wanted, edge: false };
        let changed = self.hub.reactor.modify(self.token, self.socket.as_fd(), interest);
        changed.map_err(|error| fail!(ConnectionLost, "{error}"))
    }
}

fn lost(error: &std::io::Error) -> Error {
    Error::new(Code::ConnectionLost, error.to_string())
}

impl Source for Served {
    fn ready(&self, ready: Ready) {
        if self.is_dead.load(Ordering::Acquire) {
            return;
        }
        let result = if ready.hung_up && self.wants_write.load(Ordering::Acquire) {
            Err(fail!(ConnectionLost, "the peer closed the connection"))
        } else {
            self.advance()
        };
        if let Err(error) = result {
            if error.code == Code::ConnectionLost {
                tracing::debug!("{}: {}", self.who(), error.message());
            } else {
                self.hub.metrics.refused_count.increment();
                tracing::warn!("{}: {error}", self.who());
            }
            self.mark_dead();
        }
    }

    fn broken(&self) {
        self.mark_dead();
    }
}
