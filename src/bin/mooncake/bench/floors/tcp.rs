//! Floor: raw TCP in a closed loop. A write is the blocks and one byte back, a read one byte and the blocks back.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use mooncake::sys::memory::Mem;

use super::super::case::{Case, Op};
use super::super::drive::Mover;
use super::super::target::accept_within;
use super::super::walk::Walk;
use super::raw::{Pieces, Way};
use super::{Place, Servers};

/// An initiator that asked for a floor connects at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection's share of each batch, at one end.
struct Lane {
    stream: TcpStream,
    walk: Walk,
    place: Place,
    lane: usize,
    lanes: usize,
    pieces: Pieces,
}

impl Lane {
    fn gather(&mut self, step: u64) {
        let position = self.walk.position(step);
        self.pieces.clear();
        let (batch, lane, lanes) = (self.walk.batch(), self.lane, self.lanes);
        let blocks = self.place.blocks(&self.walk, position);
        if batch >= lanes {
            let (start, end) = (batch * lane / lanes, batch * (lane + 1) / lanes);
            for block in blocks.skip(start).take(end - start) {
                self.pieces.push(block.address(), block.len());
            }
            return;
        }
        // Fewer blocks than lanes: each block is cut.
        for block in blocks {
            let (start, end) = (block.len() * lane / lanes, block.len() * (lane + 1) / lanes);
            if end > start {
                self.pieces.push(block.address() + start, end - start);
            }
        }
    }

    /// The initiator's part of a step.
    fn ask(&mut self, step: u64) -> Result<(), String> {
        self.gather(step);
        let mut byte = [1];
        let done = match self.place.op {
            Op::Write => {
                self.pieces.through(&self.stream, Way::Send).and_then(|_| self.stream.read_exact(&mut byte))
            }
            Op::Read => self.stream.write_all(&byte).and_then(|()| {
                let has_come = self.pieces.through(&self.stream, Way::Receive)?;
                if has_come { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
            }),
        };
        done.map_err(|error| format!("raw TCP: {error}"))
    }

    /// The target's part of all steps, until the initiator hangs up.
    fn answer(&mut self) -> Result<(), String> {
        let mut byte = [1];
        for step in 0.. {
            self.gather(step);
            let goes_on = match self.place.op {
                // What this end reads is what the initiator writes.
                Op::Read => {
                    let has_come = self.pieces.through(&self.stream, Way::Receive);
                    has_come.and_then(|has_come| {
                        if has_come { self.stream.write_all(&byte).map(|()| true) } else { Ok(false) }
                    })
                }
                Op::Write => match self.stream.read(&mut byte) {
                    Ok(0) => Ok(false),
                    Ok(_) => self.pieces.through(&self.stream, Way::Send),
                    Err(error) => Err(error),
                },
            };
            match goes_on {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(format!("serving raw TCP: {error}")),
            }
        }
        Ok(())
    }
}

/// Serves `lanes` connections for each thread of a case.
pub fn serve(
    listener: TcpListener,
    case: &Case,
    lanes: usize,
    source: Mem,
    destination: Mem,
) -> Result<Servers, String> {
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let (case, place) = (*case, Place::target(case, source, destination));
    let accept = move || -> Result<(), String> {
        let mut servers = Servers { port, threads: Vec::new() };
        for _ in 0..case.threads * lanes {
            let mut stream = accept_within(&listener, PATIENCE)?;
            let mut hello = [0; 2];
            let greeted = stream
                .set_nodelay(true)
                .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
                .and_then(|()| stream.read_exact(&mut hello))
                .and_then(|()| stream.set_read_timeout(None));
            greeted.map_err(|error| format!("accepting raw TCP: {error}"))?;
            let [thread, lane] = hello.map(usize::from);
            let walk = Walk::new(&case, thread);
            let mut lane = Lane { stream, walk, place, lane, lanes, pieces: Pieces::default() };
            servers.threads.push(std::thread::spawn(move || lane.answer()));
        }
        servers.join()
    };
    Ok(Servers { port, threads: vec![std::thread::spawn(accept)] })
}

/// The initiator's end for one thread: one lane that this thread drives, and perhaps one of a helper.
pub struct Tcp {
    own: Lane,
    helper: Option<Helper>,
}

impl Tcp {
    pub fn connect(
        host: &str,
        port: u16,
        case: &Case,
        thread: usize,
        lanes: usize,
        place: Place,
    ) -> Result<Tcp, String> {
        let lane = |lane: usize| -> Result<Lane, String> {
            let connect = || {
                let mut stream = TcpStream::connect((host, port))?;
                stream.set_nodelay(true)?;
                stream.write_all(&[thread as u8, lane as u8])?;
                Ok(stream)
            };
            let stream = connect()
                .map_err(|error: std::io::Error| format!("raw TCP to {host} port {port}: {error}"))?;
            Ok(Lane { stream, walk: Walk::new(case, thread), place, lane, lanes, pieces: Pieces::default() })
        };
        let own = lane(0)?;
        let helper = if lanes > 1 { Some(Helper::start(lane(1)?)) } else { None };
        Ok(Tcp { own, helper })
    }
}

impl Mover for Tcp {
    fn step(&mut self, step: u64) -> Result<(), String> {
        let Some(helper) = &self.helper else { return self.own.ask(step) };
        helper.begin();
        let mine = self.own.ask(step);
        helper.end(step)?;
        mine
    }
}

/// A thread that drives the second lane, one step whenever it is told.
struct Helper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

/// Counts of steps; `STOP` in either ends it.
#[derive(Default)]
struct Shared {
    begun: AtomicU64,
    ended: AtomicU64,
    /// The thread to wake when a step has ended.
    driver: OnceLock<Thread>,
}

const STOP: u64 = u64::MAX;

impl Shared {
    fn end(&self, step: u64) {
        self.ended.store(step, Ordering::Release);
        if let Some(driver) = self.driver.get() {
            driver.unpark();
        }
    }
}

impl Helper {
    fn start(mut lane: Lane) -> Helper {
        let shared: Arc<Shared> = Arc::default();
        let theirs = shared.clone();
        let run = move || {
            let result = work(&mut lane, &theirs);
            theirs.end(STOP);
            result
        };
        Helper { shared, thread: Some(std::thread::spawn(run)) }
    }

    fn thread(&self) -> &Thread {
        self.thread.as_ref().expect("there until drop").thread()
    }

    fn begin(&self) {
        self.shared.driver.get_or_init(std::thread::current);
        self.shared.begun.fetch_add(1, Ordering::Release);
        self.thread().unpark();
    }

    fn end(&self, step: u64) -> Result<(), String> {
        loop {
            match self.shared.ended.load(Ordering::Acquire) {
                STOP => return Err("the second lane of raw TCP broke".to_owned()),
                ended if ended > step => return Ok(()),
                _ => std::thread::park(),
            }
        }
    }
}

fn work(lane: &mut Lane, shared: &Shared) -> Result<(), String> {
    let mut step = 0;
    loop {
        match shared.begun.load(Ordering::Acquire) {
            STOP => return Ok(()),
            begun if begun > step => {
                lane.ask(step)?;
                step += 1;
                shared.end(step);
            }
            _ => std::thread::park(),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.shared.begun.store(STOP, Ordering::Release);
        self.thread().unpark();
        if let Some(thread) = self.thread.take() {
            // Its failure was seen by `end`.
            let _ = thread.join();
        }
    }
}
