//! Servers that are down, come back, want a password, show a certificate that nobody knows, lie, or say nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use mooncake::error::{Code, Error};
use mooncake::metadata::{open, open_for};

use crate::contract::code;
use crate::servers::{self, Server, open_when_ready};

/// A request ends within 5 s by itself; a busy machine gets the rest.
const GENEROUS: Duration = Duration::from_secs(30);
/// The shortest life of a claim that all servers keep.
const SHORT: Duration = Duration::from_secs(2);

fn refusal(url: &str) -> Error {
    let started = Instant::now();
    let error = open(url).err().expect("an error");
    assert!(started.elapsed() < GENEROUS, "{url} took {:?}", started.elapsed());
    assert!(!error.message().contains("secret"), "{error}");
    error
}

/// A server of each kind that keeps what it is told, with its URL.
fn lasting_servers() -> Vec<(Server, String)> {
    let data = servers::Folder::new();
    // The server's own folder ends with the server, which is killed here and started again.
    let data = Box::leak(Box::new(data)).file("");
    let ours = servers::ours(&["--data", &data]);
    let mut all = vec![(format!("http://127.0.0.1:{}/metadata", ours.port), ours)];
    all.extend(servers::redis(&[]).map(|server| (format!("redis://127.0.0.1:{}/1", server.port), server)));
    all.extend(
        servers::etcd("http", &[]).map(|server| (format!("etcd://127.0.0.1:{}", server.port), server)),
    );
    all.into_iter().map(|(url, server)| (server, url)).collect()
}

#[test]
fn a_server_that_is_down_is_named_at_once_and_not_waited_for() {
    let port = servers::free_port();
    for url in [
        format!("http://127.0.0.1:{port}/metadata"),
        format!("redis://joe:secret@127.0.0.1:{port}"),
        format!("etcd://joe:secret@127.0.0.1:{port}"),
    ] {
        let error = refusal(&url);
        assert_eq!(error.code, Code::Unreachable, "{error}");
        assert!(error.message().contains(&format!("127.0.0.1:{port}")), "{error}");
    }
}

#[test]
fn a_server_that_is_killed_and_comes_back_just_works_and_has_everything() {
    for (mut server, url) in lasting_servers() {
        let backend = open_when_ready(&url);
        backend.set("kept", b"before").expect("set");
        server.kill();
        let error = backend.get("kept").expect_err("it is down");
        assert!(matches!(error.code, Code::Unreachable | Code::ConnectionLost), "{url}: {error}");
        server.run();
        open_when_ready(&url);
        assert_eq!(backend.get("kept").expect("it is back"), Some(b"before".to_vec()), "{url}");
        // A connection that was idle when its server went is found out without the caller's help.
        server.kill();
        server.run();
        open_when_ready(&url);
        backend.set("kept", b"after").expect("set");
        assert_eq!(backend.get("kept").expect("get"), Some(b"after".to_vec()), "{url}");
    }
}

#[test]
fn a_claim_outlives_a_restart_of_its_server() {
    for (mut server, url) in lasting_servers() {
        open_when_ready(&url);
        let owner = open_for(&url, SHORT).expect("a backend");
        owner.create("name", b"1").expect("create");
        server.kill();
        server.run();
        let other = open_when_ready(&url);
        // By now a claim that nobody renews has run out, and one that was lost has been taken once more.
        std::thread::sleep(2 * SHORT);
        assert_eq!(code(other.create("name", b"2")), Code::AlreadyExists, "{url}");
        drop(owner);
        other.create("name", b"2").expect("its owner is gone");
    }
}

/// A child of this test that claims a name and then stops for ever: see the test below.
#[test]
fn helper_that_claims_and_never_gives_back() {
    let Ok(url) = std::env::var("MOONCAKE_TEST_CLAIM") else { return };
    let backend = open_for(&url, SHORT).expect("a backend");
    backend.create("name", b"1").expect("create");
    println!("claimed");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_claim_of_a_process_that_was_killed_runs_out_and_the_value_stays() {
    for (_server, url) in lasting_servers() {
        let backend = open_when_ready(&url);
        let mut child = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "failures::helper_that_claims_and_never_gives_back", "--nocapture"])
            .env("MOONCAKE_TEST_CLAIM", &url)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("a second process");
        let deadline = Instant::now() + GENEROUS;
        while backend.get("name").expect("get").is_none() {
            assert!(Instant::now() < deadline, "{url}");
            std::thread::sleep(Duration::from_millis(20));
        }
        // It is renewed while its owner lives.
        std::thread::sleep(2 * SHORT);
        assert_eq!(code(backend.create("name", b"2")), Code::AlreadyExists, "{url}");
        child.kill().expect("kill");
        child.wait().expect("it ends");
        assert_eq!(backend.get("name").expect("get"), Some(b"1".to_vec()), "{url}");
        let deadline = Instant::now() + GENEROUS;
        while let Err(error) = backend.create("name", b"2") {
            assert!(error.code == Code::AlreadyExists && Instant::now() < deadline, "{url}: {error}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn redis_wants_its_password_and_tells_which_is_wrong() {
    let Some(server) = servers::redis(&["--requirepass", "se/cret@1"]) else { return };
    let at = format!("127.0.0.1:{}", server.port);
    open_when_ready(&format!("redis://:se%2Fcret%401@{at}")).set("a", b"1").expect("set");
    open(&format!("redis://default:se%2Fcret%401@{at}/2")).expect("a user and a database");
    for url in [format!("redis://{at}"), format!("redis://:secret@{at}"), format!("redis://joe:secret@{at}")]
    {
        let error = refusal(&url);
        assert_eq!(error.code, Code::Unauthenticated, "{url}: {error}");
    }
    let error = refusal(&format!("redis://:se%2Fcret%401@{at}/99"));
    assert_eq!(error.code, Code::Rejected, "{error}");
}

#[test]
fn etcd_wants_its_password_and_tells_which_is_wrong() {
    let Some(server) = servers::etcd("http", &[]) else { return };
    let at = format!("127.0.0.1:{}", server.port);
    open_when_ready(&format!("etcd://{at}"));
    let tool = |words: &[&str]| {
        let output = std::process::Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &at])
            .args(words)
            .output();
        output.map(|output| assert!(output.status.success(), "{words:?}: {output:?}"))
    };
    if tool(&["user", "add", "root:secret1"]).is_err() {
        println!("skipped: metadata: etcdctl is not installed");
        return;
    }
    for words in
        [&["user", "grant-role", "root", "root"][..], &["user", "add", "joe:secret2"], &["auth", "enable"]]
    {
        tool(words).expect("it ran before");
    }
    let root = open(&format!("etcd://root:secret1@{at}")).expect("the right password");
    root.create("a", b"1").expect("create");
    for url in [format!("etcd://{at}"), format!("etcd://root:secret@{at}")] {
        assert_eq!(refusal(&url).code, Code::Unauthenticated, "{url}: {}", refusal(&url));
    }
    assert_eq!(refusal(&format!("etcd://joe:secret2@{at}")).code, Code::Permission);
}

#[test]
fn a_member_of_etcd_that_is_down_is_passed_over() {
    let Some(server) = servers::etcd("http", &[]) else { return };
    open_when_ready(&format!("etcd://127.0.0.1:{}", server.port));
    let backend = open(&format!("etcd://127.0.0.1:{},127.0.0.1:{}", servers::free_port(), server.port));
    let backend = backend.expect("one of two");
    for round in 0..20_u8 {
        backend.set("a", &[round]).expect("set");
        assert_eq!(backend.get("a").expect("get"), Some(vec![round]));
    }
}

/// What a server that misbehaves does with each connection.
type Behaviour = fn(TcpStream);

fn says(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.read(&mut [0; 1024]);
    let _ = stream.write_all(bytes);
}

#[test]
fn whatever_a_server_answers_is_survived_and_told_in_time() {
    let behaviours: [(&str, Behaviour); 6] = [
        ("closes", |_| {}),
        ("garbage", |stream| says(stream, b"\x00\x01garbage\xff\r\n\r\n")),
        ("another protocol", |stream| says(stream, b"SSH-2.0-OpenSSH_9.2\r\n")),
        ("half a head", |stream| says(stream, b"HTTP/1.1 200 OK\r\nContent-Le")),
        ("says nothing", |mut stream| {
            let mut byte = [0];
            while stream.read(&mut byte).is_ok_and(|count| count > 0) {}
        }),
        ("drips", |mut stream| {
            while stream.write_all(b"+").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }),
    ];
    for (name, behaviour) in behaviours {
        let port = servers::fake(behaviour);
        std::thread::scope(|scope| {
            for scheme in ["http", "redis", "etcd"] {
                scope.spawn(move || {
                    let error = refusal(&format!("{scheme}://127.0.0.1:{port}"));
                    let expected = [
                        Code::Timeout,
                        Code::ConnectionLost,
                        Code::VersionMismatch,
                        Code::Unreachable,
                        Code::Rejected,
                    ];
                    assert!(expected.contains(&error.code), "{scheme}, a server that {name}: {error}");
                });
            }
        });
    }
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let endless = |mut stream: TcpStream, head: &str| {
        let _ = stream.read(&mut [0; 1024]);
        let mut count = 0_u64;
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(&[b'x'; 65_536]).is_ok() {
            count += 65_536;
            assert!(count < 1 << 30, "it reads on and on");
        }
    };
    let http = servers::fake(move |stream| endless(stream, "HTTP/1.1 200 OK\r\n\r\n"));
    assert_eq!(refusal(&format!("http://127.0.0.1:{http}/metadata")).code, Code::Corrupted);
    let head = servers::fake(move |stream| endless(stream, "HTTP/1.1 200 OK\r\nx: "));
    let error = refusal(&format!("http://127.0.0.1:{head}/metadata"));
    assert!(matches!(error.code, Code::Corrupted | Code::VersionMismatch), "{error}");
    let redis = servers::fake(move |stream| endless(stream, "$999999999999\r\n"));
    assert_eq!(refusal(&format!("redis://127.0.0.1:{redis}")).code, Code::Corrupted);
}

#[test]
fn more_keys_than_fit_on_one_page_are_all_listed() {
    for (_server, url) in lasting_servers() {
        let backend = open_when_ready(&url);
        let keys: Vec<String> = (0..2500).map(|number| format!("many/{number:04}")).collect();
        std::thread::scope(|scope| {
            for part in keys.chunks(250) {
                let backend = &backend;
                scope.spawn(move || part.iter().for_each(|key| backend.set(key, b"x").expect("set")));
            }
        });
        backend.set("manx", b"x").expect("set");
        assert_eq!(backend.list("many/").expect("list"), keys, "{url}");
    }
}

#[test]
fn a_page_that_is_no_metadata_server_is_told_from_one() {
    let answers = [
        ("404 Not Found", Code::NotFound),
        ("401 Unauthorized", Code::Unauthenticated),
        ("503 Busy", Code::NotReady),
        ("302 Found", Code::Rejected),
    ];
    for (status, expected) in answers {
        let answer =
            format!("HTTP/1.1 {status}\r\nlocation: /x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
        let port = servers::fake(move |stream| says(stream, answer.as_bytes()));
        assert_eq!(refusal(&format!("http://joe:secret@127.0.0.1:{port}/x")).code, expected, "{status}");
    }
}

#[test]
fn a_server_that_is_stopped_is_given_up_in_time_and_works_when_it_goes_on() {
    for (server, url) in lasting_servers() {
        let backend = open_when_ready(&url);
        backend.set("a", b"1").expect("set");
        server.signal("-STOP");
        let started = Instant::now();
        let error = backend.get("a").expect_err("it does not answer");
        assert!(error.code == Code::Timeout && started.elapsed() < GENEROUS, "{url}: {error}");
        server.signal("-CONT");
        let deadline = Instant::now() + GENEROUS;
        while backend.get("a").is_err() {
            assert!(Instant::now() < deadline, "{url}");
        }
        assert_eq!(backend.get("a").expect("get"), Some(b"1".to_vec()), "{url}");
    }
}

#[test]
fn a_host_that_takes_no_connections_is_given_up_in_time() {
    // A full backlog: the kernel lets further connections wait.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    let mut kept = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        kept.push(stream);
        assert!(kept.len() < 5000, "the backlog has no end");
    }
    for scheme in ["http", "redis", "etcd"] {
        let error = refusal(&format!("{scheme}://{address}"));
        assert!(matches!(error.code, Code::Timeout | Code::Unreachable), "{scheme}: {error}");
    }
}
