//! Engines that publish their names on a server, and find each other there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use mooncake::config::{Config, Given};
use mooncake::engine::Engine;
use mooncake::engine::batch::{BatchOptions, Local, Request};
use mooncake::error::{Code, Result};
use mooncake::segment::memory::MemoryOptions;
use mooncake::transport::Opcode;

use crate::place::Place;
use crate::servers;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

fn create(metadata: &str, name: &str) -> Result<Arc<Engine>> {
    static TAG: AtomicU16 = AtomicU16::new(1);
    let given = Given {
        name: Some(name.to_owned()),
        metadata: Some(metadata.to_owned()),
        bind_address: Some("127.0.0.1".to_owned()),
        no_environment: true,
        ..Given::default()
    };
    Engine::create(Config::load(given)?, TAG.fetch_add(1, Ordering::Relaxed))
}

fn find_each_other(place: &Place) {
    let (prefill, decode) =
        (create(&place.url, "prefill").expect("an engine"), create(&place.url, "decode").expect("an engine"));
    let (source, target) = (vec![7_u8; 4096], vec![0_u8; 4096]);
    let options = MemoryOptions::default();
    prefill.register_memory(source.as_ptr() as usize, source.len(), &options).expect("register");
    decode.register_memory(target.as_ptr() as usize, target.len(), &options).expect("register");
    let segment = prefill.open_segment("decode", PATIENCE).expect("a peer by its name");
    let request = Request {
        opcode: Opcode::Write,
        segment,
        remote: target.as_ptr() as u64,
        length: target.len() as u64,
        local: Local::Contiguous(source.as_ptr() as usize),
        user_data: 0,
    };
    let batch = prefill.submit([Ok(request)].into_iter(), BatchOptions::default()).expect("submit");
    assert!(prefill.wait(batch, PATIENCE).expect("wait").is_done);
    prefill.release(batch).expect("release");
    assert_eq!(source, target);
    assert_eq!(prefill.open_segment("nobody", PATIENCE).expect_err("no such name").code, Code::NotFound);
    // What an engine published goes with it, and its name is free.
    decode.destroy();
    assert_eq!(place.open().get("engine/decode").expect("get"), None);
    let taken = create(&place.url, "decode").expect("the name is free");
    taken.destroy();
    prefill.destroy();
}

#[test]
fn engines_find_each_other_by_name_on_every_server() {
    for place in [Place::http(), Place::redis(), Place::etcd(), Place::mooncakes()].into_iter().flatten() {
        find_each_other(&place);
    }
}

#[test]
fn a_name_that_a_living_engine_has_is_taken() {
    for place in [Place::http(), Place::redis(), Place::etcd()].into_iter().flatten() {
        let first = create(&place.url, "same").expect("an engine");
        let error = create(&place.url, "same").err().expect("an error");
        assert_eq!(error.code, Code::AlreadyExists, "{}: {error}", place.url);
        first.destroy();
        drop(first);
        create(&place.url, "same").expect("the name is free").destroy();
    }
}

#[test]
fn an_engine_is_not_made_when_nobody_could_find_it() {
    let port = servers::free_port();
    for url in [
        format!("http://127.0.0.1:{port}/metadata"),
        format!("redis://:secret@127.0.0.1:{port}"),
        format!("etcd://127.0.0.1:{port}"),
    ] {
        let error = create(&url, "lost").err().expect("an error");
        assert_eq!(error.code, Code::Unreachable, "{error}");
        assert!(
            error.message().contains(&format!("127.0.0.1:{port}")) && !error.message().contains("secret"),
            "{error}"
        );
    }
}

fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).collect()
}

/// A process of its own: others would count each other's threads.
#[test]
fn helper_that_counts_threads() {
    let Ok(url) = std::env::var("MOONCAKE_TEST_THREADS") else { return };
    let of_metadata = || {
        threads().iter().filter(|name| ["mooncake-etcd", "mooncake-claims"].contains(&name.as_str())).count()
    };
    let without = create("memory://threads", "a").expect("an engine");
    assert_eq!(of_metadata(), 0, "{:?}", threads());
    let with = create(&url, "b").expect("an engine");
    // A thread gives itself its name, some time after it was started.
    let deadline = Instant::now() + Duration::from_secs(30);
    while of_metadata() == 0 {
        assert!(Instant::now() < deadline, "{:?}", threads());
        std::thread::sleep(Duration::from_millis(10));
    }
    with.destroy();
    drop(with);
    assert_eq!(of_metadata(), 0, "{:?}", threads());
    without.destroy();
}

#[test]
fn threads_for_metadata_come_with_a_server_and_go_with_its_engine() {
    for place in [Place::redis(), Place::etcd(), Place::http()].into_iter().flatten() {
        let output = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "engines::helper_that_counts_threads", "--nocapture"])
            .env("MOONCAKE_TEST_THREADS", &place.url)
            .output()
            .expect("a second process");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {told}", place.url);
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
    }
}
