//! One of the clients, in a process of its own: it puts, replaces, removes and reads, says what it does before it does it,
//! and looks at every byte that it reads.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mooncake::config::{Config, Given};
use mooncake::engine::Engine;
use mooncake::segment::memory::MemoryOptions;
use mooncake::store::client::{
    Failure, GetOptions, GetSession, Options, Part, Put, PutOptions, PutSession, Store, Wanted,
};
use mooncake::store::object::{ReplicateConfig, Version};
use mooncake::sys::clock;
use mooncake::sys::memory::Mem;
use mooncake::sys::splitmix::Random;

use super::content::{self, LARGEST, Seen};

/// How many clients there are, and how many keys each of them writes.
pub const CLIENTS: usize = 8;
pub const KEYS: usize = 6;
/// Of each operation.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Begins what is said; the harness says more.
pub const SAYS: &str = "say: ";

pub fn key(client: usize, index: usize) -> String {
    format!("client-{client}/{index}")
}

/// What the parent tells a client, as text.
pub struct Role {
    pub client: usize,
    pub seed: u64,
    /// The first number of a version that was not used yet.
    pub next: u64,
    pub transports: String,
    pub masters: Vec<String>,
}

impl Role {
    pub fn text(&self) -> String {
        let Role { client, seed, next, transports, masters } = self;
        format!("{client};{seed};{next};{transports};{}", masters.join(";"))
    }

    fn parse(text: &str) -> Role {
        let mut words = text.split(';').map(str::to_owned);
        let mut word = || words.next().expect("a whole role");
        let number = |text: String| text.parse().expect("a number");
        let (client, seed, next) = (number(word()), number(word()), number(word()));
        let transports = word();
        Role { client: client as usize, seed, next, transports, masters: words.collect() }
    }
}

struct Client {
    role: Role,
    store: Arc<Store>,
    chance: Random,
    mem: Mem,
}

/// Plays the role until the parent closes its end of the input.
pub fn play(text: &str) {
    let role = Role::parse(text);
    let is_over = Arc::new(AtomicBool::new(false));
    let ending = is_over.clone();
    thread::spawn(move || {
        // It ends with the parent, too.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ending.store(true, Ordering::Relaxed);
    });
    let given = Given {
        no_environment: true,
        bind_address: Some("127.0.0.1".into()),
        transports: Some(role.transports.clone()),
        worker_threads: 1,
        ..Given::default()
    };
    let engine = Engine::create(Config::load(given).expect("settings"), 0).expect("an engine");
    let options =
        Options { masters: role.masters.clone(), deadline: DEADLINE, no_local: true, ..Options::default() };
    let store = loop {
        match Store::open(engine.clone(), &options) {
            Ok(store) => break store,
            Err(_) if !is_over.load(Ordering::Relaxed) => thread::sleep(Duration::from_millis(50)),
            Err(_) => return say("done"),
        }
    };
    let (_, region) = engine.allocate_memory(2 * LARGEST, &MemoryOptions::default()).expect("memory");
    let mem = engine.memory.get(region).expect("live").mem;
    let chance = Random::new(role.seed);
    let mut client = Client { role, store, chance, mem };
    while !is_over.load(Ordering::Relaxed) {
        client.act();
        thread::sleep(Duration::from_millis(client.chance.below(20)));
    }
    client.store.close();
    say("done");
    engine.destroy();
}

fn say(text: &str) {
    // One write, so that a line is whole or not there.
    let _ = std::io::stdout().write_all(format!("{SAYS}{text}\n").as_bytes());
}

fn word<T>(result: &Result<T, Failure>) -> String {
    match result {
        Ok(_) => "OK".into(),
        Err(failure) => format!("{} {}", failure.code().name(), failure.error.message().replace('\n', " ")),
    }
}

impl Client {
    fn act(&mut self) {
        match self.chance.below(100) {
            0..35 => self.put(1),
            35..40 => self.put(3),
            40..48 => self.put_in_session(),
            48..57 => self.remove(),
            57..92 => self.get(),
            _ => self.get_in_session(),
        }
    }

    fn own_key(&mut self) -> String {
        key(self.role.client, self.chance.index(KEYS))
    }

    fn any_key(&mut self) -> String {
        let client = if self.chance.happens(500) { self.role.client } else { self.chance.index(CLIENTS) };
        key(client, self.chance.index(KEYS))
    }

    fn version(&mut self) -> u64 {
        self.role.next += 1;
        self.role.next - 1
    }

    fn put_options(&mut self) -> PutOptions {
        let count = 1 + self.chance.below(2) as u8;
        let stripe_size = if self.chance.happens(300) { 256 << 10 } else { 0 };
        let config =
            ReplicateConfig { count, strict_domains: count > 1, stripe_size, ..ReplicateConfig::default() };
        PutOptions { config, upsert: self.chance.happens(800), ..PutOptions::default() }
    }

    /// Puts so many keys in one call; large ones only alone.
    fn put(&mut self, count: usize) {
        let options = self.put_options();
        let first = self.chance.index(KEYS);
        let (mut keys, mut used) = (Vec::new(), 0);
        for index in 0..count {
            let key = key(self.role.client, (first + index) % KEYS);
            let version = self.version();
            let bytes = content::bytes(&key, version);
            if used + bytes.len() <= self.mem.len() {
                let from = self.mem.part(used, bytes.len());
                from.write(&bytes);
                used += bytes.len();
                keys.push((key, version, [from]));
            }
        }
        for (key, version, _) in &keys {
            say(&format!("begin put {key} {version} {} {}", options.config.count, clock::now_ns()));
        }
        let puts: Vec<Put<'_>> =
            keys.iter().map(|(key, _, from)| Put { key: key.as_bytes(), from }).collect();
        let results = self.store.put(&puts, &options);
        for ((key, version, _), result) in keys.iter().zip(&results) {
            say(&format!("end {key} {version} {} {}", clock::now_ns(), word(result)));
        }
    }

    fn put_in_session(&mut self) {
        let (key, version, options) = (self.own_key(), self.version(), self.put_options());
        let bytes = content::bytes(&key, version);
        self.mem.part(0, bytes.len()).write(&bytes);
        say(&format!("begin put {key} {version} {} {}", options.config.count, clock::now_ns()));
        let result = self.write_in_session(&key, bytes.len(), &options);
        say(&format!("end {key} {version} {} {}", clock::now_ns(), word(&result)));
    }

    fn write_in_session(
        &mut self,
        key: &str,
        length: usize,
        options: &PutOptions,
    ) -> Result<Version, Failure> {
        let (session, mut begun) =
            PutSession::begin(&self.store, &[(key.as_bytes(), length as u64)], options);
        begun.remove(0)?;
        let step = length.div_ceil(1 + self.chance.index(8));
        for offset in (0..length).step_by(step) {
            let from = self.mem.part(offset, step.min(length - offset));
            session.write(0, offset as u64, &[from], None)?;
            thread::sleep(Duration::from_millis(self.chance.below(30)));
        }
        session.commit(0, None)
    }

    fn remove(&mut self) {
        let (key, version) = (self.own_key(), self.version());
        say(&format!("begin remove {key} {version} 0 {}", clock::now_ns()));
        let result = self.store.remove(&[key.as_bytes()], false, None).remove(0);
        say(&format!("end {key} {version} {} {}", clock::now_ns(), word(&result)));
    }

    fn get(&mut self) {
        let (key, fresh) = (self.any_key(), self.chance.happens(700));
        let into = self.mem.part(0, LARGEST);
        into.fill(self.chance.below(256) as u8);
        let begun = clock::now_ns();
        let options = GetOptions { fresh, deadline: None };
        let got = self.store.get(&[(key.as_bytes(), Wanted::Whole(&[into]))], &options).remove(0);
        self.tell(&key, fresh, begun, got.map(|got| got.size as usize));
    }

    fn get_in_session(&mut self) {
        let key = self.any_key();
        self.mem.fill(self.chance.below(256) as u8);
        let begun = clock::now_ns();
        let got = self.read_in_session(&key);
        self.tell(&key, true, begun, got);
    }

    fn read_in_session(&mut self, key: &str) -> Result<usize, Failure> {
        let options = GetOptions { fresh: true, deadline: None };
        let (session, mut begun) = GetSession::begin(&self.store, &[key.as_bytes()], &options);
        let length = begun.remove(0)?.size as usize;
        let half = length / 2;
        for (from, to) in [(half, length), (0, half)] {
            if from < to && to <= self.mem.len() {
                let part = Part { offset: from as u64, into: &[self.mem.part(from, to - from)] };
                session.read(0, &[part], None)?;
            }
        }
        Ok(length)
    }

    /// Says what was read from when until when.
    fn tell(&self, key: &str, fresh: bool, begun: u64, got: Result<usize, Failure>) {
        let ended = clock::now_ns();
        let what = match &got {
            Err(_) => format!("not {}", word(&got)),
            Ok(length) if *length > self.mem.len() => format!("wrong a size of {length}"),
            Ok(length) => match self.mem.part(0, *length).with_bytes(|read| content::look(key, read)) {
                Ok(Seen::Version(version)) => format!("version {version}"),
                Ok(Seen::Short(read)) => {
                    let shown: String = read.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("short {shown}")
                }
                Err(wrong) => format!("wrong {wrong}"),
            },
        };
        say(&format!("read {key} {fresh} {begun} {ended} {what}"));
    }
}
