//! `mooncake metadata` as its users see it: the requests that Mooncake's clients make, restarts, limits, dead engines.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use mooncake::error::Code;
use mooncake::metadata::{MetadataBackend, open};

use crate::contract::code;
use crate::servers::{self, Folder, Server, request};

const GENEROUS: Duration = Duration::from_secs(60);

/// A request as libcurl writes it for Mooncake.
fn curl(server: &Server, method: &str, query: &str, body: &str) -> (u16, String) {
    let length = if method == "PUT" {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    } else {
        String::new()
    };
    request(
        server.port,
        &format!(
            "{method} /metadata{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n{length}\r\n{body}"
        ),
    )
}

fn says(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

/// The conversation that every server of this kind must be able to have.
fn converses(server: &Server, on_the_same: (u16, String)) {
    let key = "?key=mooncake%2Fram%2Fhost%3A12345";
    assert_eq!(curl(server, "GET", key, ""), says(404, "metadata not found"));
    assert_eq!(curl(server, "PUT", key, "{\"a\" : 1}\n"), says(200, "metadata updated"));
    assert_eq!(curl(server, "PUT", key, "{\"a\" : 2}\n"), says(200, "metadata updated"));
    assert_eq!(curl(server, "GET", key, ""), says(200, "{\"a\" : 2}\n"));
    assert_eq!(curl(server, "DELETE", key, ""), says(200, "metadata deleted"));
    assert_eq!(curl(server, "DELETE", key, ""), says(404, "metadata not found"));

    let name = "?key=mooncake%2Frpc_meta%2Fhost%3A12345";
    assert_eq!(curl(server, "PUT", name, "{\"rpc_port\":1}"), says(200, "metadata updated"));
    assert_eq!(curl(server, "PUT", name, "{\"rpc_port\":1}"), on_the_same);
    assert_eq!(
        curl(server, "PUT", name, "{\"rpc_port\":2}"),
        says(400, "Duplicate rpc_meta key not allowed")
    );
    assert_eq!(curl(server, "GET", name, ""), says(200, "{\"rpc_port\":1}"));
    assert_eq!(curl(server, "DELETE", name, ""), says(200, "metadata deleted"));
    assert_eq!(curl(server, "PUT", name, "{\"rpc_port\":2}"), says(200, "metadata updated"));

    for (method, query) in
        [("GET", ""), ("GET", "?key="), ("GET", "?key=%20"), ("PUT", "?other=x"), ("DELETE", "?key=+")]
    {
        assert_eq!(
            curl(server, method, query, ""),
            says(400, "metadata key is required"),
            "{method} {query}"
        );
    }
    assert_eq!(curl(server, "PATCH", key, ""), says(405, "Method not allowed"));
    // '+' is a space in a form, and %2B is a plus.
    assert_eq!(curl(server, "PUT", "?key=a+b%2Bc", "x").0, 200);
    assert_eq!(curl(server, "GET", "?key=a%20b%2bc", ""), says(200, "x"));
}

#[test]
fn our_server_says_what_mooncakes_says() {
    let server = servers::ours(&[]);
    converses(&server, says(200, "metadata unchanged"));
    assert_eq!(request(server.port, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"), says(200, "OK"));
    assert_eq!(request(server.port, "GET /other HTTP/1.1\r\nHost: x\r\n\r\n").0, 404);
}

#[test]
fn mooncakes_server_says_what_ours_says() {
    let Some(server) = servers::mooncakes() else { return };
    // Its Python, unlike its C++, refuses even the same value.
    converses(&server, says(400, "Duplicate rpc_meta key not allowed"));
}

#[test]
fn the_name_of_a_crashed_engine_is_taken_on_mooncakes_server_until_somebody_sets_or_removes_it() {
    let Some(server) = servers::mooncakes() else { return };
    let backend = open(&format!("http://127.0.0.1:{}/metadata", server.port)).expect("a backend");
    let key = "mooncake/rpc_meta/host";
    backend.create(key, b"1").expect("create");
    backend.create(key, b"1").expect("it is there as it should be");
    assert_eq!(code(backend.create(key, b"2")), Code::AlreadyExists);
    backend.set(key, b"2").expect("set replaces");
    assert_eq!(backend.get(key).expect("get"), Some(b"2".to_vec()));
    backend.remove(key).expect("remove");
    backend.create(key, b"3").expect("create");
}

#[test]
fn what_was_confirmed_is_there_after_a_crash_and_claims_are_free() {
    let data = Folder::new();
    let directory = data.file("data");
    let mut server = servers::ours(&["--data", &directory]);
    let url = format!("http://127.0.0.1:{}/metadata", server.port);
    let backend = open(&url).expect("a backend");
    for number in 0..50_u8 {
        backend.set(&format!("key/{number}"), &[number; 100]).expect("set");
    }
    backend.remove("key/7").expect("remove");
    backend.create("mooncake/rpc_meta/x", b"1").expect("create");
    let second = servers::ours_fails(&["--data", &directory]);
    assert!(second.contains("another server uses it"), "{second}");
    server.kill();
    // What a crash in the middle of a write leaves.
    std::fs::write(data.path().join("data/1-2-3.temporary"), "torn").expect("write");
    server.run();
    assert_eq!(backend.list("key/").expect("list").len(), 49);
    assert_eq!(backend.get("key/49").expect("get"), Some(vec![49; 100]));
    assert_eq!(curl(&server, "PUT", "?key=mooncake%2Frpc_meta%2Fx", "2").0, 400);
    assert!(server.log().contains("50 keys"), "{}", server.log());
}

#[test]
fn limits_are_kept_and_told() {
    let server = servers::ours(&[
        "--max-keys",
        "3",
        "--max-value",
        "1000",
        "--max-total",
        "1500",
        "--max-connections",
        "4",
    ]);
    let backend = open(&format!("http://127.0.0.1:{}/metadata", server.port)).expect("a backend");
    let put = |key: &str, length: usize| backend.set(key, &vec![b'x'; length]);
    put("a", 1000).expect("the largest value");
    assert_eq!(code(put("b", 1001)), Code::NoSpace);
    assert_eq!(code(put("b", 999)), Code::NoSpace);
    put("b", 10).expect("room");
    put("c", 10).expect("room");
    assert_eq!(code(put("d", 10)), Code::NoSpace);
    backend.remove("c").expect("remove");
    put("d", 10).expect("room again");
    assert_eq!(curl(&server, "GET", &format!("?key={}", "k".repeat(1025)), "").0, 400);
    // Connections that say nothing take their places, and no more than those: the next one waits until one ends.
    drop(backend);
    let idle: Vec<TcpStream> = (0..8)
        .map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).expect("a connection"))
        .collect();
    drop(idle);
    assert_eq!(curl(&server, "GET", "?key=a", "").0, 200);
}

#[test]
fn a_body_that_never_comes_ends_by_itself_and_holds_nobody_up() {
    let server = servers::ours(&[]);
    let mut slow = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).expect("a connection");
    slow.write_all(b"PUT /metadata?key=slow HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
        .expect("a request");
    let started = Instant::now();
    assert_eq!(curl(&server, "PUT", "?key=a", "1").0, 200);
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    slow.set_read_timeout(Some(GENEROUS)).expect("a timeout");
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(curl(&server, "GET", "?key=slow", "").0, 404);
}

#[test]
fn garbage_is_refused_and_the_server_lives() {
    let server = servers::ours(&[]);
    for bytes in [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET\r\n\r\n", b"\0\0\0\0\0\0\0\x10{}", &[b'x'; 100_000]]
    {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).expect("a connection");
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(GENEROUS)).expect("a timeout");
        let _ = stream.read_to_end(&mut Vec::new());
    }
    for query in ["?key=%ff", "?key=%zz", "?prefix=%ff"] {
        assert_eq!(curl(&server, "GET", query, ""), says(400, "metadata key is not UTF-8"));
    }
    assert_eq!(curl(&server, "PUT", "?key=a", "1").0, 200);
}

#[test]
fn it_ends_in_order_when_it_is_told_to() {
    for signal in ["-TERM", "-INT"] {
        let mut server = servers::ours(&[]);
        // A connection that is kept open and idle keeps nobody waiting.
        let backend = open(&format!("http://127.0.0.1:{}/metadata", server.port)).expect("a backend");
        backend.set("a", b"1").expect("set");
        server.signal(signal);
        assert_eq!(server.wait(), Some(0));
        let log = server.log();
        assert!(
            log.contains(&format!("listening on http://127.0.0.1:{}/metadata, 0 keys", server.port)),
            "{log}"
        );
        assert!(log.contains(&format!("ended by SIG{}", &signal[1..])), "{log}");
    }
}

/// The address of an engine as Mooncake publishes it.
fn address(port: u16) -> Vec<u8> {
    format!("{{\"ip_or_host_name\":\"127.0.0.1\",\"rpc_port\":{port}}}").into_bytes()
}

fn gone(backend: &dyn MetadataBackend, key: &str) {
    let deadline = Instant::now() + GENEROUS;
    while backend.get(key).expect("get").is_some() {
        assert!(Instant::now() < deadline, "{key} is still there");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_dead_engine_expires_with_all_it_published_and_a_living_one_does_not() {
    let server = servers::ours(&["--expire", "10"]);
    let backend = open(&format!("http://127.0.0.1:{}/metadata", server.port)).expect("a backend");
    let living = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = living.local_addr().expect("its address").port();
    for (name, port) in [("living", port), ("dead", servers::free_port())] {
        backend.set(&format!("mooncake/c/rpc_meta/{name}"), &address(port)).expect("set");
        backend.set(&format!("mooncake/c/ram/{name}"), b"{}").expect("set");
    }
    backend.set("mooncake/rpc_meta/strange", b"no address").expect("set");
    // Its name can be taken at once by the same engine started again, though by no other while it lives.
    let restarted = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let again =
        String::from_utf8(address(restarted.local_addr().expect("its address").port())).expect("text");
    let key = "?key=mooncake%2Frpc_meta%2Frestarted";
    let before = String::from_utf8(address(servers::free_port())).expect("text");
    assert_eq!(curl(&server, "PUT", key, &before).0, 200);
    assert_eq!(curl(&server, "PUT", key, &again), says(200, "metadata updated"));
    assert_eq!(curl(&server, "PUT", key, &before), says(400, "Duplicate rpc_meta key not allowed"));
    gone(&*backend, "mooncake/c/rpc_meta/dead");
    gone(&*backend, "mooncake/c/ram/dead");
    for key in [
        "mooncake/c/rpc_meta/living",
        "mooncake/c/ram/living",
        "mooncake/rpc_meta/strange",
        "mooncake/rpc_meta/restarted",
    ] {
        assert!(backend.get(key).expect("get").is_some(), "{key}");
    }
}

#[test]
fn what_a_claim_held_goes_when_its_owner_is_gone_for_long() {
    let server = servers::ours(&["--expire", "10"]);
    let url = format!("http://127.0.0.1:{}/metadata", server.port);
    let backend = open(&url).expect("a backend");
    let put = |key: &str, lives: u32| {
        let head = format!("PUT /metadata?key={key} HTTP/1.1\r\nHost: x\r\nmooncake-claim: somebody\r\n");
        request(server.port, &format!("{head}mooncake-claim-lives-ms: {lives}\r\nContent-Length: 1\r\n\r\n1"))
    };
    assert_eq!(put("lapses", 500).0, 200);
    assert_eq!(put("lasts", 3_600_000).0, 200);
    assert_eq!(put("wrong", 3_600_001).0, 400);
    assert_eq!(code(backend.create("lasts", b"2")), Code::AlreadyExists);
    gone(&*backend, "lapses");
    assert_eq!(backend.get("lasts").expect("get"), Some(b"1".to_vec()));
}
