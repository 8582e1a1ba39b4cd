use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;

use super::frame::{Header, Inbound, Kind, Outbound};
use super::{Address, Answer, Caller, Client, Server, Service, Terms, greet};
use crate::error::{Code, Result};
use crate::fail;
use crate::sys::clock;
use crate::sys::reactor::Reactor;

const ECHO: u16 = 1;
/// Kept, and answered when the test says so.
const KEEP: u16 = 2;
const REFUSE: u16 = 3;
/// Nobody answers.
const FORGET: u16 = 4;

#[derive(Default)]
struct Echo {
    kept: Mutex<Vec<(Vec<u8>, Answer)>>,
    gone: AtomicUsize,
}

impl Service for Echo {
    fn call(&self, _: &Caller, method: u16, body: &[u8], answer: Answer) {
        match method {
            ECHO => answer.send(Ok(body)),
            KEEP => self.kept.lock().push((body.to_vec(), answer)),
            FORGET => drop(answer),
            _ => answer.send(Err(fail!(NotFound, "no such thing"))),
        }
    }

    fn gone(&self, _: &Caller) {
        self.gone.fetch_add(1, Ordering::SeqCst);
    }
}

struct World {
    reactor: Arc<Reactor>,
    echo: Arc<Echo>,
    server: Arc<Server>,
}

fn terms(psk: &str) -> Terms {
    Terms { service: "test", psk: (!psk.is_empty()).then(|| psk.as_bytes().into()) }
}

fn any_port() -> Address {
    Address::tcp(Ipv4Addr::LOCALHOST.into(), 0)
}

fn world_at(address: &Address, psk: &str) -> World {
    let reactor = Arc::new(Reactor::start("test", 2).expect("threads"));
    let echo = Arc::new(Echo::default());
    let server = Server::start(&reactor, address, terms(psk), echo.clone()).expect("a server");
    World { reactor, echo, server }
}

/// What was started ends with its owner: neither threads nor sockets stay behind.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.server.close();
        self.echo.kept.lock().clear();
    }
}

impl World {
    fn client(&self, psk: &str) -> Arc<Client> {
        Client::new(&self.reactor, 1, self.server.address().clone(), terms(psk))
    }
}

fn soon() -> u64 {
    clock::after(Duration::from_secs(20))
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let until = soon();
    while !is_so() {
        assert!(clock::now_ns() < until, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.expect_err("an error").code
}

/// A name that nobody else has.
fn local() -> Address {
    Address::Local(format!("mooncake-test-{:032x}", u128::from_le_bytes(crate::sys::random::bytes())))
}

#[test]
fn calls_are_answered_over_tcp_and_over_a_local_name_with_and_without_a_key() {
    for psk in ["", "0123456789abcdef"] {
        for address in [any_port(), local()] {
            let world = world_at(&address, psk);
            let client = world.client(psk);
            for size in [0, 1, 5000, 3 << 20] {
                let body = vec![7; size];
                assert!(client.call_wait(ECHO, &body, soon()).expect("an answer") == body, "{size} bytes");
            }
            let refused = client.call_wait(REFUSE, b"", soon()).expect_err("a refusal");
            assert_eq!((refused.code, refused.message()), (Code::NotFound, "no such thing"));
            assert_eq!(world.server.connection_count(), 1, "all on one connection");
        }
    }
}

#[test]
fn threads_share_a_connection_and_each_gets_its_own_answer() {
    let world = world_at(&any_port(), "0123456789abcdef");
    let client = world.client("0123456789abcdef");
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let client = &client;
            scope.spawn(move || {
                for turn in 0..300u64 {
                    let body = (thread << 32 | turn).to_le_bytes();
                    assert_eq!(client.call_wait(ECHO, &body, soon()).expect("an answer"), body);
                }
            });
        }
    });
}

#[test]
fn answers_may_come_in_any_order_and_from_any_thread() {
    let world = world_at(&any_port(), "");
    let client = world.client("");
    let (to, from) = mpsc::channel();
    for index in 0..50u8 {
        let to = to.clone();
        let reply = Box::new(move |result: Result<Vec<u8>>| {
            to.send((index, result.expect("an answer"))).expect("open")
        });
        client.call(KEEP, &[index], soon(), reply);
    }
    wait_until("all arrived", || world.echo.kept.lock().len() == 50);
    for (body, answer) in world.echo.kept.lock().drain(..).rev() {
        answer.send(Ok(&body));
    }
    for _ in 0..50 {
        let (index, body) = from.recv_timeout(Duration::from_secs(20)).expect("each is answered once");
        assert_eq!(body, [index]);
    }
}

#[test]
fn an_answer_that_is_dropped_is_still_an_answer() {
    let world = world_at(&any_port(), "");
    assert_eq!(code(world.client("").call_wait(FORGET, b"", soon())), Code::Internal);
}

#[test]
fn both_sides_need_the_same_key_and_the_same_service() {
    let (with, without) = (world_at(&any_port(), "0123456789abcdef"), world_at(&any_port(), ""));
    let call = |world: &World, terms: Terms| {
        let client = Client::new(&world.reactor, 0, world.server.address().clone(), terms);
        code(client.call_wait(ECHO, b"x", soon()))
    };
    assert_eq!(call(&with, terms("fedcba9876543210")), Code::Unauthenticated);
    assert_eq!(call(&with, terms("")), Code::Unauthenticated);
    assert_eq!(call(&without, terms("0123456789abcdef")), Code::Unauthenticated);
    assert_eq!(call(&without, Terms { service: "else", psk: None }), Code::Rejected);
    assert_eq!(with.echo.gone.load(Ordering::SeqCst), 0, "the service never heard of them");
}

#[test]
fn nobody_there_is_unreachable_and_says_where() {
    let world = world_at(&any_port(), "");
    let client = world.client("");
    let place = world.server.address().to_string();
    world.server.close();
    let error = client.call_wait(ECHO, b"", soon()).expect_err("nobody listens");
    assert_eq!(error.code, Code::Unreachable);
    assert!(error.message().contains(&place), "{}", error.message());
    let nowhere = Client::new(&world.reactor, 0, local(), terms(""));
    assert_eq!(code(nowhere.call_wait(ECHO, b"", soon())), Code::Unreachable);
}

#[test]
fn a_server_that_goes_ends_the_calls_and_its_successor_is_found_by_the_next() {
    let address = local();
    let world = world_at(&address, "");
    let client = world.client("");
    let (to, from) = mpsc::channel();
    client.call(KEEP, b"", soon(), Box::new(move |result| to.send(code(result)).expect("open")));
    wait_until("it arrived", || world.echo.kept.lock().len() == 1);
    world.server.close();
    assert_eq!(from.recv_timeout(Duration::from_secs(20)).expect("ended"), Code::ConnectionLost);
    assert_eq!(world.echo.gone.load(Ordering::SeqCst), 1);
    let _next = world_at(&address, "");
    assert_eq!(client.call_wait(ECHO, b"again", soon()).expect("the successor"), b"again");
}

#[test]
fn a_local_name_has_one_server() {
    let address = local();
    let world = world_at(&address, "");
    assert!(Server::start(&world.reactor, &address, terms(""), world.echo.clone()).is_err());
    assert_eq!(world.client("").call_wait(ECHO, b"x", soon()).expect("the first one"), b"x");
    let long = Address::Local("x".repeat(200));
    assert!(Server::start(&world.reactor, &long, terms(""), world.echo.clone()).is_err());
}

#[test]
fn a_call_ends_at_its_deadline_and_a_late_answer_harms_nobody() {
    let world = world_at(&any_port(), "");
    let client = world.client("");
    let deadline = clock::after(Duration::from_millis(30));
    assert_eq!(code(client.call_wait(KEEP, b"late", deadline)), Code::Timeout);
    let (to, from) = mpsc::channel();
    let deadline = clock::after(Duration::from_millis(30));
    client.call(KEEP, b"late", deadline, Box::new(move |result| to.send(code(result)).expect("open")));
    wait_until("the clock ends it", || !client.tick(clock::now_ns()));
    assert_eq!(from.try_recv().expect("ended"), Code::Timeout);
    wait_until("both arrived", || world.echo.kept.lock().len() == 2);
    for (body, answer) in world.echo.kept.lock().drain(..) {
        answer.send(Ok(&body));
    }
    assert_eq!(client.call_wait(ECHO, b"next", soon()).expect("its own answer"), b"next");
}

#[test]
fn whoever_drops_a_client_ends_its_calls() {
    let world = world_at(&any_port(), "");
    let client = world.client("");
    let (to, from) = mpsc::channel();
    client.call(KEEP, b"", soon(), Box::new(move |result| to.send(code(result)).expect("open")));
    wait_until("it arrived", || world.echo.kept.lock().len() == 1);
    drop(client);
    assert_eq!(from.try_recv().expect("ended"), Code::Canceled);
    wait_until("the server noticed", || world.server.connection_count() == 0);
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let world = world_at(&any_port(), "");
    let client = world.client("");
    assert_eq!(client.call_wait(ECHO, b"before", soon()).expect("an answer"), b"before");
    let Address::Tcp(address) = world.server.address() else { panic!("a port") };
    let call = {
        let mut out = Outbound::default();
        out.put(Header { method: ECHO, ..Header::new(Kind::Call, 1) }, b"ungreeted");
        out.bytes().to_vec()
    };
    // Nothing of it is there yet, and none of it is waited for.
    let large = Header { length: 64 << 20, ..Header::new(Kind::Call, 1) }.encode();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n               "[..], &[0xff; 4096], &call, &large] {
        let mut socket = TcpStream::connect(address).expect("connect");
        socket.write_all(garbage).expect("sent");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        // The end, or a reset because it did not read everything.
        assert!(!matches!(socket.read(&mut [0; 16]), Ok(1..)), "it answered");
    }
    assert_eq!(client.call_wait(ECHO, b"after", soon()).expect("an answer"), b"after");
}

/// Greets by hand and returns the socket.
fn greeted(world: &World) -> TcpStream {
    let Address::Tcp(address) = world.server.address() else { panic!("a port") };
    let mut socket = TcpStream::connect(address).expect("connect");
    let mut out = Outbound::default();
    out.put(Header::new(Kind::Hello, 0), &greet::hello(&terms("")));
    socket.write_all(out.bytes()).expect("sent");
    let mut inbound = Inbound::default();
    loop {
        let count = socket.read(inbound.room()).expect("an answer");
        assert!(count > 0, "let in");
        inbound.received(count);
        if inbound.next_frame().expect("a frame").is_some() {
            return socket;
        }
    }
}

#[test]
fn whoever_takes_no_answers_is_not_read_from_until_it_does() {
    const COUNT: usize = 600;
    const SIZE: usize = 256 << 10;
    let world = world_at(&any_port(), "");
    let socket = greeted(&world);
    let mut writing = socket.try_clone().expect("the same socket");
    let body = vec![5; SIZE];
    let sender = std::thread::spawn(move || {
        for id in 0..COUNT as u64 {
            let mut out = Outbound::default();
            out.put(Header { method: ECHO, ..Header::new(Kind::Call, id) }, &body);
            writing.write_all(out.bytes()).expect("taken in the end");
        }
    });
    // 150 MiB: neither the sockets nor the server have room for all of it.
    std::thread::sleep(Duration::from_millis(300));
    assert!(!sender.is_finished(), "the server took everything and keeps the answers");
    let (mut inbound, mut next, mut socket) = (Inbound::default(), 0, socket);
    inbound.trust();
    while next < COUNT as u64 {
        let count = socket.read(inbound.room()).expect("answers");
        assert!(count > 0, "ended after {next} answers");
        inbound.received(count);
        while let Some((header, body)) = inbound.next_frame().expect("a frame") {
            assert_eq!((header.id, body.len()), (next, SIZE));
            next += 1;
        }
    }
    sender.join().expect("all sent");
}

#[test]
fn whoever_does_not_greet_is_ended_by_the_clock() {
    let world = world_at(&any_port(), "");
    let Address::Tcp(address) = world.server.address() else { panic!("a port") };
    let _silent = TcpStream::connect(address).expect("connect");
    wait_until("it is there", || world.server.connection_count() == 1);
    world.server.tick(clock::now_ns());
    assert_eq!(world.server.connection_count(), 1, "it has time");
    world.server.tick(clock::now_ns() + 11_000_000_000);
    assert_eq!(world.server.connection_count(), 0);
}

#[test]
fn silent_strangers_do_not_lock_others_out() {
    let world = world_at(&any_port(), "");
    let Address::Tcp(address) = world.server.address() else { panic!("a port") };
    let silent: Vec<TcpStream> = (0..400).map(|_| TcpStream::connect(address).expect("connect")).collect();
    let client = world.client("");
    assert_eq!(client.call_wait(ECHO, b"x", soon()).expect("an answer"), b"x");
    wait_until("the oldest went", || world.server.connection_count() <= 257);
    drop(silent);
}

#[test]
fn a_call_after_a_thread_that_waited_is_answered_without_a_clock() {
    let world = world_at(&any_port(), "");
    let client = world.client("");
    for _ in 0..20 {
        assert_eq!(client.call_wait(ECHO, b"wait", soon()).expect("an answer"), b"wait");
        let (to, from) = mpsc::channel();
        client.call(ECHO, b"later", soon(), Box::new(move |result| to.send(result).expect("open")));
        let answer = from.recv_timeout(Duration::from_secs(20)).expect("nobody receives");
        assert_eq!(answer.expect("an answer"), b"later");
    }
}

#[test]
fn calls_beyond_what_one_connection_may_have_wait_and_are_not_lost() {
    const COUNT: usize = 20_000;
    let world = world_at(&any_port(), "");
    let client = world.client("");
    let (to, from) = mpsc::channel();
    let body = [1; 250];
    for _ in 0..COUNT {
        let to = to.clone();
        client.call(KEEP, &body, soon(), Box::new(move |result| to.send(result.is_ok()).expect("open")));
    }
    let mut answered = 0;
    while answered < COUNT {
        let kept = std::mem::take(&mut *world.echo.kept.lock());
        assert!(kept.len() <= 4096, "{} calls of one connection are under way", kept.len());
        for (_, answer) in kept {
            answer.send(Ok(b""));
        }
        while let Ok(is_good) = from.recv_timeout(Duration::from_millis(5)) {
            assert!(is_good);
            answered += 1;
        }
    }
}

#[test]
fn a_peer_that_dies_with_all_its_calls_unanswered_is_noticed() {
    let world = world_at(&any_port(), "");
    let mut socket = greeted(&world);
    let mut out = Outbound::default();
    // Few enough that all of them arrive: behind what does not, its end would wait too.
    for id in 0..4100 {
        out.put(Header { method: KEEP, ..Header::new(Kind::Call, id) }, b"");
    }
    socket.write_all(out.bytes()).expect("sent");
    wait_until("it may have no more", || world.echo.kept.lock().len() == 4096);
    drop(socket);
    wait_until("its end was noticed", || world.echo.gone.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_greeting_that_is_never_answered_is_given_up_and_begun_anew() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    let reactor = Arc::new(Reactor::start("test", 1).expect("a thread"));
    let client = Client::new(&reactor, 0, Address::Tcp(address), terms(""));
    let (to, from) = mpsc::channel();
    client.call(ECHO, b"", soon(), Box::new(move |result| to.send(code(result)).expect("open")));
    client.tick(clock::now_ns() + 11_000_000_000);
    assert_eq!(from.recv_timeout(Duration::from_secs(20)).expect("ended"), Code::Unreachable);
    drop(listener);
    let echo = Arc::new(Echo::default());
    let _server = Server::start(&reactor, &Address::Tcp(address), terms(""), echo).expect("the successor");
    assert_eq!(client.call_wait(ECHO, b"x", soon()).expect("an answer"), b"x");
}

#[test]
fn a_panic_over_one_answer_leaves_the_others_theirs() {
    let world = world_at(&any_port(), "");
    let client = world.client("");
    let (to, from) = mpsc::channel();
    client.call(ECHO, b"", soon(), Box::new(|_| panic!("expected by a test")));
    client.call(ECHO, b"", soon(), Box::new(move |result| to.send(result.is_ok()).expect("open")));
    assert!(from.recv_timeout(Duration::from_secs(20)).expect("answered"));
}
