//! The processes of a store, which end with the test.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use mooncake::sys::clock;

use super::client::{Role, SAYS};
use super::history::History;

/// A child process, killed when this is dropped.
pub struct Process {
    child: Child,
    stopped_ns: Option<u64>,
}

impl Process {
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().expect("kill runs");
        assert!(sent.success(), "kill {name} {pid}");
    }

    pub fn stop(&mut self) {
        self.signal("-STOP");
        self.stopped_ns = Some(clock::now_ns());
    }

    /// Wakes it up; when it was stopped.
    pub fn go_on(&mut self) -> Option<u64> {
        let since = self.stopped_ns.take()?;
        self.signal("-CONT");
        Some(since)
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped_ns.is_some()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its state").is_some()
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A master or a node.
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(role: &str, listen: &str, arguments: &str) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mooncake"));
        command.args([role, "--listen", listen]).args(arguments.split_whitespace());
        command.env_remove("MC_SEED").env_remove("MC_CHAOS_SECS");
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let process = Process { child, stopped_ns: None };
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix(&format!("{role} listening on "));
        let address = address.and_then(|address| address.parse().ok());
        Server { process, address: address.unwrap_or_else(|| panic!("{role} at {listen} said {line:?}")) }
    }
}

/// A client, and the thread that hears it.
pub struct Speaker {
    pub process: Process,
    pub is_done: bool,
    input: Option<ChildStdin>,
    hearing: Option<JoinHandle<bool>>,
}

impl Speaker {
    pub fn start(role: &Role, variable: &str, test: &str, history: &Arc<Mutex<History>>) -> Speaker {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args(["--ignored", "--exact", test, "--nocapture", "--test-threads=1"])
            .env(variable, role.text())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a client");
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (history, client) = (history.clone(), role.client);
        let hearing = thread::spawn(move || {
            let (mut line, mut is_done) = (String::new(), false);
            // A line without an end is one that its client was killed in.
            while output.read_line(&mut line).is_ok_and(|length| length > 0) && line.ends_with('\n') {
                if let Some((_, said)) = line.split_once(SAYS) {
                    is_done |= history.lock().expect("no panic").hear(client, said.trim_end());
                }
                line.clear();
            }
            is_done
        });
        let process = Process { child, stopped_ns: None };
        Speaker { process, is_done: false, input, hearing: Some(hearing) }
    }

    /// Asks it to end when it is done with what it does.
    pub fn dismiss(&mut self) {
        self.input = None;
    }

    /// Hears the rest of what an ended client said.
    pub fn hear_out(&mut self) {
        if let Some(hearing) = self.hearing.take() {
            self.is_done = hearing.join().expect("a sound history");
        }
    }

    pub fn kill(&mut self) {
        self.process.kill();
        self.hear_out();
    }
}
