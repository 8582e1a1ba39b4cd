//! What is done to the processes, in an order that the seed chooses: every kind in turn, then again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mooncake::error::Result;
use mooncake::rpc::{Address, Client, Terms};
use mooncake::store::wire::master::{Greet, Welcome};
use mooncake::store::wire::{Call, MASTER_SERVICE, decode};
use mooncake::sys::clock;
use mooncake::sys::reactor::Reactor;
use prost::Message;

use super::client::CLIENTS;
use super::history::Loss;
use super::world::{NODES, Plan, World};

const TICK: Duration = Duration::from_millis(20);
/// How long a kind waits for its occasion before it is another's turn.
const OCCASION: Duration = Duration::from_secs(15);
/// Above the nodes' lease: the master gives such a sleeper up.
const LONG_NAP: Duration = Duration::from_secs(7);
const TAKEOVER: Duration = Duration::from_secs(60);

const KINDS: [&str; 9] = [
    "node killed",
    "node stopped",
    "node stopped for longer than its lease",
    "client killed",
    "client over shared memory stopped",
    "client over TCP stopped",
    "master killed",
    "master replaced while it slept",
    "way to the masters swallows all",
];

/// What is to be made good again, and when.
enum Cure {
    StartNode(usize),
    WakeNode(usize),
    WakeClient(usize),
    StartMaster,
}

#[derive(Default)]
struct Pending {
    cures: Vec<(Instant, Cure)>,
    /// Since when the first master sleeps while a second one takes over.
    takeover: Option<Instant>,
}

impl World {
    /// Does harm for the planned time, and longer until each kind was done.
    pub fn run(&mut self, plan: &Plan) {
        let end = Instant::now() + Duration::from_secs(plan.secs);
        let last = end + 4 * OCCASION;
        let mut pending = Pending::default();
        self.counted.extend(KINDS.map(|kind| (kind, 0)));
        let is_enough =
            |world: &World| !plan.needs_all_faults || world.counted.values().all(|times| *times > 0);
        'all: loop {
            let mut kinds = KINDS;
            for index in (1..kinds.len()).rev() {
                kinds.swap(index, self.chance.index(index + 1));
            }
            for kind in kinds {
                if Instant::now() > last || Instant::now() > end && is_enough(self) {
                    break 'all;
                }
                let pause = Duration::from_millis(self.chance.between(200, 1200));
                self.pass(&mut pending, Instant::now() + pause);
                self.harm(kind, &mut pending);
            }
        }
        while !pending.cures.is_empty() || pending.takeover.is_some() {
            self.pass(&mut pending, Instant::now() + TICK);
        }
    }

    /// Lets time pass, and makes good what is due.
    fn pass(&mut self, pending: &mut Pending, until: Instant) {
        loop {
            let now = Instant::now();
            let (due, later) =
                std::mem::take(&mut pending.cures).into_iter().partition(|(when, _)| *when <= now);
            pending.cures = later;
            let due: Vec<(Instant, Cure)> = due;
            for (_, cure) in due {
                match cure {
                    Cure::StartNode(node) => self.start_node(node),
                    Cure::WakeNode(node) => {
                        self.nodes[node].as_mut().and_then(|server| server.process.go_on());
                    }
                    Cure::WakeClient(client) => self.wake(client),
                    Cure::StartMaster => {
                        let address = self.places[self.leads].server.as_ref().map(|server| server.address);
                        self.places[self.leads].start(address, "never");
                    }
                }
            }
            self.finish_takeover(pending);
            if now >= until {
                return;
            }
            thread::sleep(TICK);
        }
    }

    fn harm(&mut self, kind: &'static str, pending: &mut Pending) {
        let give_up = Instant::now() + OCCASION;
        let since = clock::now_ns();
        while !self.try_harm(kind, since, pending) {
            if Instant::now() > give_up {
                return;
            }
            self.pass(pending, Instant::now() + TICK);
        }
        println!("{} ms: {kind}", clock::now_ns() / 1_000_000);
        self.count(kind);
    }

    /// True if it was done.
    fn try_harm(&mut self, kind: &str, since: u64, pending: &mut Pending) -> bool {
        let any_node = self.chance.index(NODES);
        match kind {
            // One node at a time: most live.
            "node killed" => self.is_whole(since) && self.kill_node(any_node, pending),
            "node stopped" => {
                let time = Duration::from_millis(self.chance.between(300, 2500));
                self.is_whole(since) && self.stop_node(any_node, time, pending)
            }
            "node stopped for longer than its lease" => {
                self.is_whole(since) && self.stop_node(any_node, LONG_NAP, pending)
            }
            "client killed" => self.kill_client(),
            "client over shared memory stopped" => self.stop_client(0, pending),
            "client over TCP stopped" => self.stop_client(CLIENTS / 2, pending),
            "master killed" => self.kill_master(pending),
            "master replaced while it slept" => self.replace_master(pending),
            _ => {
                let (place, time) = (self.chance.index(2), self.chance.between(300, 3000));
                let place = if self.chance.happens(800) { self.leads } else { place };
                self.places[place].faulty.swallow(Duration::from_millis(time));
                true
            }
        }
    }

    fn kill_node(&mut self, node: usize, pending: &mut Pending) -> bool {
        let from = clock::now_ns();
        self.nodes[node] = None;
        let loss = Loss { node, from, to: clock::now_ns() };
        self.history.lock().expect("no panic").losses.push(loss);
        let back = Instant::now() + Duration::from_millis(self.chance.below(1500));
        pending.cures.push((back, Cure::StartNode(node)));
        true
    }

    fn stop_node(&mut self, node: usize, time: Duration, pending: &mut Pending) -> bool {
        let Some(server) = &mut self.nodes[node] else { return false };
        server.process.stop();
        pending.cures.push((Instant::now() + time, Cure::WakeNode(node)));
        true
    }

    fn kill_client(&mut self) -> bool {
        let client = self.chance.index(CLIENTS);
        if self.clients[client].process.is_stopped() {
            return false;
        }
        self.clients[client].kill();
        self.clients[client] = self.speaker(client);
        true
    }

    /// Stops one of the four clients from `first` on, in the middle of a put.
    fn stop_client(&mut self, first: usize, pending: &mut Pending) -> bool {
        let client = first + self.chance.index(CLIENTS / 2);
        if self.clients[client].process.is_stopped() || !self.is_putting(client) {
            return false;
        }
        self.clients[client].process.stop();
        let time = Duration::from_millis(self.chance.between(500, 8000));
        pending.cures.push((Instant::now() + time, Cure::WakeClient(client)));
        true
    }

    fn is_putting(&self, client: usize) -> bool {
        let begin = format!("client-{client}/");
        let history = self.history.lock().expect("no panic");
        let mut own = history.changes.iter().filter(|(key, _)| key.starts_with(&begin));
        own.any(|(_, changes)| changes.last().is_some_and(|one| one.replicas > 0 && one.end.is_none()))
    }

    fn kill_master(&mut self, pending: &mut Pending) -> bool {
        let is_down = pending.cures.iter().any(|(_, cure)| matches!(cure, Cure::StartMaster));
        if is_down || pending.takeover.is_some() {
            return false;
        }
        if let Some(server) = &mut self.places[self.leads].server {
            server.process.kill();
        }
        let back = Instant::now() + Duration::from_millis(self.chance.below(1000));
        pending.cures.push((back, Cure::StartMaster));
        true
    }

    /// Stops the master, and starts another one at the other place.
    fn replace_master(&mut self, pending: &mut Pending) -> bool {
        let is_down = pending.cures.iter().any(|(_, cure)| matches!(cure, Cure::StartMaster));
        // One that was only about to lead takes over from the other one when it wakes up, as it may.
        if is_down || pending.takeover.is_some() || !self.is_serving(self.leads) {
            return false;
        }
        if let Some(server) = &mut self.places[self.leads].server {
            server.process.stop();
        }
        // What it says of nodes when it wakes up is old.
        self.places[self.leads].clean.cut();
        self.places[1 - self.leads].start(None, "never");
        pending.takeover = Some(Instant::now());
        true
    }

    fn is_serving(&self, place: usize) -> bool {
        let server = self.places[place].server.as_ref();
        server.and_then(|server| greet(server.address).ok()).is_some_and(|one| one.is_serving)
    }

    /// When the second master serves, the first one wakes up: once the term is over that nodes gave it before, it must not.
    fn finish_takeover(&mut self, pending: &mut Pending) {
        let Some(stopped) = pending.takeover else { return };
        let (old, new) = (self.leads, 1 - self.leads);
        if !self.is_serving(new) {
            assert!(stopped.elapsed() < TAKEOVER, "the second master does not take over");
            return;
        }
        if let Some(server) = &mut self.places[old].server {
            server.process.go_on();
        }
        let term = Duration::from_millis(mooncake::store::master::Config::default().term_ms);
        thread::sleep(term.saturating_sub(stopped.elapsed()));
        for _ in 0..10 {
            if self.is_serving(old) {
                let wrong = "a master that another one replaced serves again".to_owned();
                self.history.lock().expect("no panic").wrong.push(wrong);
            }
            thread::sleep(TICK);
        }
        self.places[old].leave();
        (self.leads, pending.takeover) = (new, None);
    }
}

fn greet(address: SocketAddr) -> Result<Welcome> {
    let reactor = Arc::new(Reactor::start("greet", 1).expect("a thread"));
    let client =
        Client::new(&reactor, 0, Address::Tcp(address), Terms { service: MASTER_SERVICE, psk: None });
    let until = clock::after(Duration::from_secs(1));
    let answer = client.call_wait(Greet::METHOD, &Greet {}.encode_to_vec(), until);
    reactor.stop();
    decode(&answer?)
}
