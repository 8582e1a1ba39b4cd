//! The store under test: its processes, the ways between them, and what must hold when everything is well again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use mooncake::engine::Engine;
use mooncake::error::Code;
use mooncake::store::client::{Failure, GetOptions, Put, PutOptions, Store, Wanted};
use mooncake::store::footer;
use mooncake::store::object::ReplicateConfig;
use mooncake::sys::clock;
use mooncake::sys::memory::Mem;
use mooncake::sys::splitmix::Random;

use super::client::{CLIENTS, KEYS, Role, key};
use super::content::{self, LARGEST, Seen};
use super::history::{History, Read, What};
use super::processes::{Server, Speaker};
use super::proxy::Proxy;
use super::watch::{self, Watch};

pub const NODES: usize = 4;
/// How long an operation after the end may be tried.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(50);

pub struct Plan {
    pub secs: u64,
    /// Memory of each node.
    pub node_bytes: u64,
    /// It is so little that objects are evicted.
    pub may_lose: bool,
    pub needs_all_faults: bool,
}

/// A place where a master can be: the one that leads, or one that is about to.
pub struct Place {
    pub server: Option<Server>,
    pub faulty: Proxy,
    pub clean: Proxy,
}

impl Place {
    fn new(seed: u64) -> Place {
        Place { server: None, faulty: Proxy::start(seed, true), clean: Proxy::start(seed, false) }
    }

    /// Starts a master here, where the one before listened if there was one.
    pub fn start(&mut self, listen: Option<SocketAddr>, found: &str) {
        let listen = listen.map_or("127.0.0.1:0".to_owned(), |address| address.to_string());
        let arguments = format!(
            "--lease-ms 1000 --put-deadline-ms 3000 --node-lease-ms 5000 --found-after-ms {found} --threads 1"
        );
        let server = Server::start("master", &listen, &arguments);
        self.faulty.aim(Some(server.address));
        self.clean.aim(Some(server.address));
        self.server = Some(server);
    }

    pub fn leave(&mut self) {
        self.faulty.aim(None);
        self.clean.aim(None);
        self.server = None;
    }
}

pub struct World {
    // Fields are dropped in this order.
    pub clients: Vec<Speaker>,
    pub nodes: Vec<Option<Server>>,
    pub places: Vec<Place>,
    /// Which place has the master.
    pub leads: usize,
    pub watch: Option<Watch>,
    pub history: Arc<Mutex<History>>,
    pub chance: Random,
    pub counted: BTreeMap<&'static str, u64>,
    node_addresses: Vec<SocketAddr>,
    node_bytes: u64,
    store: Arc<Store>,
    engine: Arc<Engine>,
}

impl World {
    pub fn start(plan: &Plan, seed: u64) -> World {
        let mut chance = Random::new(seed);
        let mut places = vec![Place::new(chance.bits()), Place::new(chance.bits())];
        places[0].start(None, "0");
        let clean = places.iter().map(|place| place.clean.address.to_string()).collect();
        let (engine, store) = watch::client(clean, Duration::from_secs(5));
        let history = Arc::new(Mutex::new(History { may_lose: plan.may_lose, ..History::default() }));
        let watch = Some(Watch::start(store.clone(), history.clone()));
        let mut world = World {
            clients: Vec::new(),
            nodes: (0..NODES).map(|_| None).collect(),
            places,
            leads: 0,
            watch,
            history,
            chance,
            counted: BTreeMap::new(),
            node_addresses: Vec::new(),
            node_bytes: plan.node_bytes,
            store,
            engine,
        };
        for node in 0..NODES {
            world.start_node(node);
        }
        world.wait_for_all_nodes();
        for client in 0..CLIENTS {
            let speaker = world.speaker(client);
            world.clients.push(speaker);
        }
        world
    }

    fn masters(&self) -> Vec<String> {
        self.places.iter().map(|place| place.faulty.address.to_string()).collect()
    }

    /// Starts a node, where the one before it listened.
    pub fn start_node(&mut self, node: usize) {
        let listen = self.node_addresses.get(node).map_or("127.0.0.1:0".into(), SocketAddr::to_string);
        let masters: Vec<String> = self.masters().iter().map(|one| format!("--master {one}")).collect();
        let (masters, bytes) = (masters.join(" "), self.node_bytes);
        let arguments =
            format!("{masters} --memory {bytes} --name node-{node} --domain host-{node} --threads 1");
        let server = Server::start("node", &listen, &arguments);
        if node == self.node_addresses.len() {
            self.node_addresses.push(server.address);
        }
        self.nodes[node] = Some(server);
    }

    /// Starts a client, which goes on where the one before it was.
    pub fn speaker(&mut self, client: usize) -> Speaker {
        let transports = match client {
            0 | 1 => "memfd",
            2 | 3 => "cma,memfd",
            _ => "tcp",
        };
        let next = self.history.lock().expect("no panic").next_version(client);
        let role = Role {
            client,
            seed: self.chance.bits(),
            next,
            transports: transports.into(),
            masters: self.masters(),
        };
        Speaker::start(&role, super::ROLE, "part", &self.history)
    }

    /// Whether all nodes are up and counted on, seen after this moment.
    pub fn is_whole(&self, since: u64) -> bool {
        let are_up = self.nodes.iter().all(|node| node.as_ref().is_some_and(|one| !one.process.is_stopped()));
        are_up && self.watch.as_ref().and_then(|watch| watch.open_since(since)) == Some(NODES)
    }

    fn wait_for_all_nodes(&self) {
        let (since, until) = (clock::now_ns(), Instant::now() + PATIENCE);
        while !self.is_whole(since) {
            assert!(Instant::now() < until, "not all nodes serve: {:?}", self.store.segments(None));
            thread::sleep(PAUSE);
        }
    }

    pub fn count(&mut self, kind: &'static str) {
        *self.counted.entry(kind).or_default() += 1;
    }

    /// Ends all harm, lets the clients end, and waits until the store is whole.
    pub fn heal(&mut self) {
        for place in &self.places {
            place.faulty.heal();
        }
        for node in 0..NODES {
            match &mut self.nodes[node] {
                Some(server) => drop(server.process.go_on()),
                None => self.start_node(node),
            }
        }
        for client in 0..CLIENTS {
            self.wake(client);
            self.clients[client].dismiss();
        }
        let until = Instant::now() + PATIENCE;
        for (client, speaker) in self.clients.iter_mut().enumerate() {
            while !speaker.process.has_ended() && Instant::now() < until {
                thread::sleep(PAUSE);
            }
            speaker.kill();
            if !speaker.is_done {
                let wrong = format!("client {client} hung, or ended without a word");
                self.history.lock().expect("no panic").wrong.push(wrong);
            }
        }
        self.wait_for_all_nodes();
    }

    pub fn wake(&mut self, client: usize) {
        if let Some(since) = self.clients[client].process.go_on() {
            self.history.lock().expect("no panic").naps.push((client, since, clock::now_ns()));
        }
    }

    /// Reads every key when all is well. What is not as it must be.
    pub fn look_at_every_key(&self) -> Vec<String> {
        let buffer = vec![0u8; LARGEST];
        let until = Instant::now() + PATIENCE;
        let mut wrong = Vec::new();
        for client in 0..CLIENTS {
            for index in 0..KEYS {
                let key = key(client, index);
                let begun = clock::now_ns();
                let what = self.look_at(&key, &buffer, until);
                let ended = clock::now_ns();
                match what {
                    Ok(What::Failed(failure)) if super::history::code(&failure) != "NOT_FOUND" => {
                        wrong.push(format!("{key} cannot be read in the end: {failure}"));
                    }
                    Ok(what) => {
                        let read = Read { key, fresh: true, begun, ended, what, client: CLIENTS };
                        wrong.extend(self.history.lock().expect("no panic").judge(&read).err());
                    }
                    Err(bytes) => wrong.push(format!("{key} in the end: {bytes}")),
                }
            }
        }
        wrong
    }

    fn look_at(&self, key: &str, buffer: &[u8], until: Instant) -> Result<What, String> {
        loop {
            let into = [Mem::of(buffer)];
            let options = GetOptions { fresh: true, deadline: None };
            match self.store.get(&[(key.as_bytes(), Wanted::Whole(&into))], &options).remove(0) {
                Ok(got) => {
                    let read = into[0].part(0, got.size as usize);
                    return Ok(match read.with_bytes(|bytes| content::look(key, bytes))? {
                        Seen::Version(version) => What::Version(version),
                        Seen::Short(bytes) => What::Short(bytes),
                    });
                }
                Err(failure) if failure.code() != Code::NotFound && Instant::now() < until => {
                    thread::sleep(PAUSE);
                }
                Err(failure) => return Ok(What::Failed(told(&failure))),
            }
        }
    }

    /// Removes everything; then each node's memory must be free to the byte, so that one object can have all of it.
    /// What is not as it must be.
    pub fn remove_all(&self) -> Vec<String> {
        let mut wrong = self.remove_each();
        if let Err(still) = self.until_unused() {
            wrong.push(still);
            return wrong;
        }
        let mut length = self.node_bytes;
        while footer::stored_length(length) > self.node_bytes {
            length -= 1;
        }
        let whole = vec![7u8; length as usize];
        let until = Instant::now() + PATIENCE;
        for node in 0..NODES {
            let name = format!("node-{node}");
            let config = ReplicateConfig { preferred: vec![name.clone()], ..ReplicateConfig::default() };
            let options = PutOptions { config, deadline: Some(PATIENCE), ..PutOptions::default() };
            let from = [Mem::of(&whole)];
            loop {
                let put = Put { key: name.as_bytes(), from: &from };
                match self.store.put(&[put], &options).remove(0) {
                    // A node that was slow to answer is passed over, and the others have theirs.
                    Err(failure) if failure.code() == Code::NoSpace && Instant::now() < until => {
                        thread::sleep(PAUSE);
                    }
                    Err(failure) => {
                        let (bytes, told) = (whole.len(), told(&failure));
                        wrong.push(format!("{name} is empty, but gives no {bytes} bytes: {told}"));
                        break;
                    }
                    Ok(_) => break,
                }
            }
        }
        wrong.extend(self.remove_each());
        wrong.extend(self.until_unused().err());
        wrong
    }

    fn remove_each(&self) -> Vec<String> {
        let mut names: Vec<String> = (0..NODES).map(|node| format!("node-{node}")).collect();
        names.extend((0..CLIENTS).flat_map(|client| (0..KEYS).map(move |index| key(client, index))));
        let until = Instant::now() + PATIENCE;
        let mut wrong = Vec::new();
        for name in &names {
            loop {
                match self.store.remove(&[name.as_bytes()], false, None).remove(0) {
                    Err(failure) if failure.code() != Code::NotFound => {
                        if Instant::now() > until {
                            wrong.push(format!("{name} cannot be removed: {}", told(&failure)));
                            break;
                        }
                        thread::sleep(PAUSE);
                    }
                    _ => break,
                }
            }
        }
        let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        for (name, known) in names.iter().zip(self.store.exists(&names, false, Some(PATIENCE))) {
            if known.as_ref().err().map(Failure::code) != Some(Code::NotFound) {
                wrong.push(format!("{} was removed and is {known:?}", String::from_utf8_lossy(name)));
            }
        }
        wrong
    }

    /// Until no byte of any node is in use.
    fn until_unused(&self) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        loop {
            let segments = self.store.segments(None);
            match &segments {
                Ok(all) if all.len() == NODES && all.iter().all(|one| one.used == 0 && one.is_open) => {
                    return Ok(());
                }
                _ if Instant::now() > until => return Err(format!("memory is still in use: {segments:?}")),
                _ => thread::sleep(PAUSE),
            }
        }
    }

    /// How often each kind of harm was done.
    pub fn end(&mut self) -> BTreeMap<&'static str, u64> {
        let harm: Vec<(u64, u64)> = self.places.iter().map(|place| place.faulty.harm()).collect();
        self.counted.insert("connections reset", harm.iter().map(|(resets, _)| resets).sum());
        self.counted.insert("bytes held back", harm.iter().map(|(_, delays)| delays).sum());
        self.counted.clone()
    }
}

fn told(failure: &Failure) -> String {
    format!("{} {}", failure.code().name(), failure.error.message())
}

impl Drop for World {
    fn drop(&mut self) {
        self.watch = None;
        self.store.close();
        self.engine.destroy();
    }
}
