//! The other processes of a measurement: each prints where it is, and ends when its standard input does.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mooncake::config::{Config, Given};
use mooncake::store::client::Store;
use mooncake::store::master::server::{self, Master};
use mooncake::store::node::server::{self as node, Node, SegmentOptions};

use super::super::end::text;

const READY: &str = "ready at ";

/// Port 0: the first master of its cluster.
pub fn master(port: u16) -> Result<(), String> {
    let found_after_ms = (port == 0).then_some(0);
    let config = mooncake::store::master::Config { found_after_ms, ..Default::default() };
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let master = Master::start(server::Options { address, config, ..Default::default() }).map_err(text)?;
    until_told(&master.address().to_string());
    master.stop();
    Ok(())
}

pub fn node(master: &str, bytes: u64) -> Result<(), String> {
    let given = Given { bind_address: Some("127.0.0.1".into()), ..Given::default() };
    let node = Node::start(node::Options {
        masters: vec![master.to_owned()],
        listen: (std::net::Ipv4Addr::LOCALHOST, 0).into(),
        segments: vec![SegmentOptions { name: String::new(), bytes }],
        domain: String::new(),
        engine: Config::load(given).map_err(text)?,
    })
    .map_err(text)?;
    while !node.is_led() {
        std::thread::sleep(Duration::from_millis(5));
    }
    until_told(&node.address().to_string());
    node.stop();
    Ok(())
}

/// Says where this process is, and waits for the end of whoever started it.
pub fn until_told(address: &str) {
    say!("{READY}{address}");
    let _ = std::io::stdin().read(&mut [0]);
}

/// Waits until the memory of so many nodes may be used.
pub fn wait_for(store: &Store, nodes: usize) -> Result<(), String> {
    for _ in 0..1000 {
        let segments = store.segments(None).map_err(|failure| text(failure.error))?;
        if segments.iter().filter(|segment| segment.is_open).count() >= nodes {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err("the nodes did not join their master".into())
}

/// A process of ours.
pub struct Process {
    child: Child,
    pub address: String,
}

impl Process {
    pub fn start(arguments: &[&str]) -> Result<Process, String> {
        let program = std::env::current_exe().map_err(|error| format!("finding this program: {error}"))?;
        let mut child = Command::new(program)
            .args(["bench", "store"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("starting {arguments:?}: {error}"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        let process = Process { address: line.trim_end().replacen(READY, "", 1), child };
        if !line.starts_with(READY) {
            return Err(format!("{arguments:?} did not start; its own output says why"));
        }
        Ok(process)
    }

    /// Ends it as a power failure would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Processor time so far.
    pub fn cpu_time(&self) -> Duration {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/schedstat", self.child.id())).unwrap_or_default();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        // That of a process is that of its first thread: all of them count.
        let of_task = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            first_number(&stat)
        };
        let total = tasks.map(|tasks| tasks.flatten().map(of_task).sum()).unwrap_or(first_number(&stat));
        Duration::from_nanos(total)
    }
}

fn first_number(stat: &str) -> u64 {
    stat.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        for _ in 0..500 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
