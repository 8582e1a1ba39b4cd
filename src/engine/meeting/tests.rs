//! Meetings with an engine of Mooncake that a test plays.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::channel;

use super::*;
use crate::config::{Config, Given};
use crate::sys::memory::Mem;
use crate::transport::mooncake::frame;
use crate::transport::{Opcode, Priority, Slice};

const PATIENCE: Duration = Duration::from_secs(20);

struct Pleased;

impl ContactEvents for Pleased {
    fn met(&self, _: Greeting, _: SegmentRecord, _: Option<ShmOffer>) -> Result<()> {
        Ok(())
    }
    fn failed(&self, _: &Error) {}
}

/// Answers handshakes, one after the other, until the test's process ends.
fn theirs() -> RpcAddress {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            // One that goes away in the middle asks again.
            let _ = answer(socket);
        }
    });
    RpcAddress { host: Ipv4Addr::LOCALHOST.to_string(), port }
}

fn answer(mut socket: TcpStream) -> std::io::Result<()> {
    let mut start = [0; frame::LENGTH + 1];
    socket.read_exact(&mut start)?;
    let head = frame::head(&start, |_| frame::SKIPPED_MAX).ok().flatten().expect("a handshake");
    socket.read_exact(&mut vec![0; head.length])?;
    let json = match head.kind {
        Some(Kind::Metadata) => json!({
            "name": "theirs", "protocol": "tcp", "tcp_data_port": 1, "tcp_proto_version": 2, "buffers": [],
        }),
        _ => json!({"status": "success"}),
    };
    socket.write_all(&frame::encode(head.kind, &json.to_string()))
}

fn engine() -> Arc<Engine> {
    let given = Given { bind_address: Some("127.0.0.1".into()), compat: 2, ..Given::default() };
    Engine::create(Config::load(given).expect("a configuration"), 1).expect("an engine")
}

#[test]
fn the_question_who_a_peer_is_does_not_wait_behind_those_who_need_the_answer() {
    let (engine, owner) = (engine(), Arc::new(Pleased) as Arc<dyn ContactEvents>);
    let meeting = Meeting::new("theirs", Place::Address(theirs()), &engine, Arc::downgrade(&owner));
    // More than there are threads for what may wait.
    let (say, heard) = channel();
    let count = 64;
    for _ in 0..count {
        let say = say.clone();
        let reply: Reply = Box::new(move |result| _ = say.send(result));
        meeting.ping(clock::after(PATIENCE), reply);
    }
    for _ in 0..count {
        let result = heard.recv_timeout(PATIENCE * 2).expect("a reply");
        result.expect("it answers at once");
    }
    meeting.close();
    engine.destroy();
}

static BYTES: [u8; 8] = [7; 8];

struct Request(Vec<Slice>, Mutex<Vec<Outcome>>);

impl Owner for Request {
    fn slices(&self) -> &[Slice] {
        &self.0
    }
    fn begin_touch(&self, _: u32) -> bool {
        false
    }
    fn end_touch(&self) {}
    fn complete(&self, _: u32, _: u32, outcome: Outcome, _: &dyn Fn() -> String) {
        self.1.lock().push(outcome);
    }
    fn complete_exclusive(&self, _: u32, _: u32, _: u32) {}
    fn stopped(&self) -> Option<Code> {
        None
    }
    fn priority(&self) -> Priority {
        Priority::Normal
    }
    fn deadline_ns(&self) -> u64 {
        u64::MAX
    }
}

#[test]
fn what_waits_with_addresses_of_an_earlier_life_is_not_sent_to_its_successor() {
    let (engine, owner) = (engine(), Arc::new(Pleased) as Arc<dyn ContactEvents>);
    let meeting = Meeting::new("theirs", Place::Address(theirs()), &engine, Arc::downgrade(&owner));
    let slice = Slice::new(Opcode::Write, Mem::of(&BYTES), 1000, 0);
    slice.state.store(0, std::sync::atomic::Ordering::Release);
    let request = Arc::new(Request(vec![slice], Mutex::default()));
    // Its addresses are of somebody who was met before: whoever waits for the first meeting has none.
    meeting.submit(Run { owner: request.clone(), epoch: 0, first: 0, count: 1 });
    meeting.wait_met(clock::after(PATIENCE)).expect("it answers");
    assert_eq!(*request.1.lock(), [Outcome::Failed(Code::PeerRestarted)]);
    meeting.close();
    engine.destroy();
}
