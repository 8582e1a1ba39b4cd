//! Ways to an engine of Mooncake that a test plays, and its memory served to one.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::wire::{HEADER_LENGTH, Header, STATUS_LENGTH, Status};
use super::{Hub, Remote, RemoteEvents, Target};
use crate::error::{Code, Error};
use crate::segment::memory::{MemoryOptions, MemoryTable};
use crate::sys::memory::Mem;
use crate::sys::net;
use crate::sys::reactor::Reactor;
use crate::telemetry::metrics::Metrics;
use crate::transport::{Opcode, Outcome, Owner, Path, Priority, Run, Slice};

const PATIENCE: Duration = Duration::from_secs(30);

fn hub(lanes: usize) -> Arc<Hub> {
    let reactor = Arc::new(Reactor::start("test", 1).expect("threads"));
    let (memory, metrics) = (Arc::new(MemoryTable::new(1)), Arc::new(Metrics::default()));
    Hub::new(memory, metrics, reactor, lanes, Duration::from_secs(60))
}

/// Closes what is lost.
struct Strict;

impl RemoteEvents for Strict {
    fn lost(&self, remote: &Arc<Remote>, error: Error) {
        remote.close(&error);
    }
    fn silent(&self, _: &Arc<Remote>) {}
}

/// A batch that, like those of an engine, holds the way that it takes.
#[derive(Default)]
struct Requests {
    slices: Vec<Slice>,
    memory: Vec<u8>,
    way: Mutex<Option<Arc<Remote>>>,
    stop: AtomicI32,
    outcomes: Mutex<Vec<(u32, Outcome)>>,
}

impl Requests {
    fn reads(addresses: &[u64]) -> Arc<Requests> {
        let memory = vec![0; 100 * addresses.len()];
        let slice = |(index, address): (usize, &u64)| {
            let slice =
                Slice::new(Opcode::Read, Mem::of(&memory).part(index * 100, 100), *address, index as u32);
            slice.state.store(0, Ordering::Release);
            slice
        };
        let slices = addresses.iter().enumerate().map(slice).collect();
        Arc::new(Requests { slices, memory, ..Requests::default() })
    }

    fn run(self: &Arc<Self>) -> Run {
        Run { owner: self.clone(), epoch: 0, first: 0, count: self.slices.len() as u32 }
    }

    fn stop(&self) {
        self.stop.store(Code::Canceled as i32, Ordering::Release);
    }

    fn await_outcomes(&self) -> Vec<(u32, Outcome)> {
        let until = Instant::now() + PATIENCE;
        while self.outcomes.lock().len() < self.slices.len() {
            assert!(
                Instant::now() < until,
                "only {:?} of {} slices were told",
                self.outcomes,
                self.slices.len()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        self.outcomes.lock().clone()
    }
}

impl Owner for Requests {
    fn slices(&self) -> &[Slice] {
        &self.slices
    }
    fn begin_touch(&self, _: u32) -> bool {
        self.stopped().is_none()
    }
    fn end_touch(&self) {}
    fn complete(&self, epoch: u32, index: u32, outcome: Outcome, _: &dyn Fn() -> String) {
        let state = &self.slices[index as usize].state;
        if state.compare_exchange(epoch << 1, epoch << 1 | 1, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.outcomes.lock().push((index, outcome));
        }
    }
    fn complete_exclusive(&self, _: u32, _: u32, _: u32) {}
    fn stopped(&self) -> Option<Code> {
        Code::from_raw(self.stop.load(Ordering::Acquire))
    }
    fn priority(&self) -> Priority {
        Priority::Normal
    }
    fn deadline_ns(&self) -> u64 {
        u64::MAX
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

fn remote(hub: &Arc<Hub>, address: SocketAddr, events: &Arc<dyn RemoteEvents>) -> Arc<Remote> {
    Remote::new(hub.clone(), "theirs", vec![address], true, Arc::downgrade(events))
}

/// Takes a connection and so many requests.
fn take(listener: &TcpListener, requests: usize) -> TcpStream {
    assert!(net::wait_readable(listener, PATIENCE), "nobody connects");
    let (mut socket, _) = listener.accept().expect("a connection");
    let mut headers = vec![0; HEADER_LENGTH * requests];
    socket.read_exact(&mut headers).expect("requests");
    socket
}

fn answer(size: usize) -> Vec<u8> {
    let mut bytes = Status::Done.encode().to_le_bytes().to_vec();
    bytes.resize(STATUS_LENGTH + size, 7);
    bytes
}

/// Whether the hub's only worker gets on.
fn assert_alive(hub: &Hub) {
    let (say, heard) = channel();
    hub.reactor.run(0, Box::new(move || _ = say.send(())));
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(()), "the worker stands still");
}

#[test]
fn an_answer_that_frees_the_last_holder_of_its_own_way_does_not_lock_the_worker() {
    let (hub, events) = (hub(1), Arc::new(Strict) as Arc<dyn RemoteEvents>);
    let (listener, address) = listen();
    let way = remote(&hub, address, &events);
    let requests = Requests::reads(&[1000]);
    *requests.way.lock() = Some(way.clone());
    way.submit(requests.run());
    let mut socket = take(&listener, 1);
    requests.stop();
    let owner: Arc<dyn Owner> = requests.clone();
    way.prune(&owner, 0);
    assert_eq!(requests.await_outcomes(), [(0, Outcome::Failed(Code::Canceled))]);
    // Released and forgotten: from here on only what is under way holds the way.
    let gone: Weak<Remote> = Arc::downgrade(&way);
    drop((owner, requests, way));
    assert!(gone.upgrade().is_some(), "the train holds its batch");
    socket.write_all(&answer(100)).expect("an answer");
    let until = Instant::now() + PATIENCE;
    while gone.upgrade().is_some() {
        assert!(Instant::now() < until, "the way was never given up");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_alive(&hub);
    hub.reactor.stop();
}

#[test]
fn a_way_that_only_its_own_requests_hold_ends_with_the_hub() {
    let (hub, events) = (hub(1), Arc::new(Strict) as Arc<dyn RemoteEvents>);
    let (listener, address) = listen();
    let way = remote(&hub, address, &events);
    let requests = Requests::reads(&[1000]);
    *requests.way.lock() = Some(way.clone());
    way.submit(requests.run());
    let _socket = take(&listener, 1);
    requests.stop();
    let gone: Weak<Remote> = Arc::downgrade(&way);
    drop((requests, way));
    hub.close(&Error::new(Code::Canceled, "the test ends"));
    hub.reactor.stop();
    assert!(gone.upgrade().is_none(), "a silent peer keeps it for ever");
}

#[test]
fn a_read_that_was_stopped_is_not_told_as_done() {
    let (hub, events) = (hub(1), Arc::new(Strict) as Arc<dyn RemoteEvents>);
    let (listener, address) = listen();
    let way = remote(&hub, address, &events);
    let requests = Requests::reads(&[1000]);
    way.submit(requests.run());
    let mut socket = take(&listener, 1);
    // Stopped, and the answer comes before the way is told of it.
    requests.stop();
    socket.write_all(&answer(100)).expect("an answer");
    assert_eq!(requests.await_outcomes(), [(0, Outcome::Failed(Code::Canceled))]);
    assert!(requests.memory.iter().all(|byte| *byte == 0), "a stopped batch's memory was touched");
    way.close(&Error::new(Code::Canceled, "the test ends"));
    hub.reactor.stop();
}

#[test]
fn what_is_under_way_is_told_when_its_way_is_dropped() {
    let (hub, events) = (hub(1), Arc::new(Strict) as Arc<dyn RemoteEvents>);
    let (listener, address) = listen();
    let way = remote(&hub, address, &events);
    let requests = Requests::reads(&[1000, 5000]);
    way.submit(requests.run());
    let _socket = take(&listener, 2);
    drop(way);
    let told = requests.await_outcomes();
    assert!(told.iter().all(|(_, outcome)| *outcome == Outcome::Failed(Code::Canceled)), "{told:?}");
    hub.reactor.stop();
}

#[test]
fn refusals_of_others_cost_a_request_no_retry() {
    let (hub, events) = (hub(1), Arc::new(Strict) as Arc<dyn RemoteEvents>);
    let (listener, address) = listen();
    let way = remote(&hub, address, &events);
    // More refusals than there are retries, each of which ends the connection, and one that is answered at last.
    let refused = 8;
    let addresses: Vec<u64> = (0..=refused).map(|index| 1000 * (index + 1)).collect();
    let requests = Requests::reads(&addresses);
    way.submit(requests.run());
    for left in (1..=refused as usize).rev() {
        let mut socket = take(&listener, left + 1);
        socket.write_all(&Status::Refused.encode().to_le_bytes()).expect("a refusal");
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.read(&mut [0; 1]);
    }
    let mut socket = take(&listener, 1);
    socket.write_all(&answer(100)).expect("an answer");
    let told = requests.await_outcomes();
    let done: Vec<u32> =
        told.iter().filter(|(_, outcome)| *outcome == Outcome::Done).map(|(index, _)| *index).collect();
    assert_eq!(done, [refused as u32], "{told:?}");
    way.close(&Error::new(Code::Canceled, "the test ends"));
    hub.reactor.stop();
}

#[test]
fn requests_that_were_taken_in_one_piece_are_all_answered_after_a_turn() {
    let hub = hub(1);
    // Many small requests come with one look, and their answers fill more than one turn.
    let (count, size) = (300, 64 << 10);
    let memory = vec![7u8; size];
    hub.memory.register(memory.as_ptr() as usize, size, &MemoryOptions::default()).expect("memory");
    let target = Target::start(hub.clone(), Ipv4Addr::LOCALHOST.into(), 0..=0).expect("a port");
    let header =
        Header { size: size as u64, address: memory.as_ptr() as u64, opcode: Opcode::Read, has_status: true };
    let headers: Vec<u8> = (0..count).flat_map(|_| header.encode()).collect();
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, target.port())).expect("a connection");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    socket.write_all(&headers).expect("requests");
    let mut answers = vec![0; size + STATUS_LENGTH];
    for index in 0..count {
        if let Err(error) = socket.read_exact(&mut answers) {
            panic!("answer {index} of {count}: {error}");
        }
    }
    target.close();
    hub.reactor.stop();
}
