//! What the clients said, what was done to the nodes, and whether the one fits the other.

use std::collections::{BTreeMap, BTreeSet};

use super::content;

/// A put or a removal, in the order in which the only writer of the key made them.
pub struct Change {
    pub version: u64,
    /// 0: a removal.
    pub replicas: usize,
    pub begun: u64,
    /// When it ended, and how; none if its client was killed.
    pub end: Option<(u64, String)>,
}

impl Change {
    fn was_acknowledged(&self) -> bool {
        self.end.as_ref().is_some_and(|(_, how)| how == "OK")
    }
}

pub enum What {
    Version(u64),
    Short(Vec<u8>),
    Failed(String),
}

pub struct Read {
    pub key: String,
    /// The master was asked, not a lease that was held.
    pub fresh: bool,
    pub begun: u64,
    pub ended: u64,
    pub what: What,
    pub client: usize,
}

/// A node lost what it had, at some moment between these.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    pub node: usize,
    pub from: u64,
    pub to: u64,
}

#[derive(Default)]
pub struct History {
    pub changes: BTreeMap<String, Vec<Change>>,
    pub reads: Vec<Read>,
    pub losses: Vec<Loss>,
    /// When clients were stopped, from when to when.
    pub naps: Vec<(usize, u64, u64)>,
    /// What was wrong at once.
    pub wrong: Vec<String>,
    /// Objects may be evicted.
    pub may_lose: bool,
}

/// Failures that leave the caller in no doubt what to do.
const CLEAR: &[&str] = &[
    "BUSY",
    "TIMEOUT",
    "CANCELED",
    "EXHAUSTED",
    "NO_SPACE",
    "NOT_READY",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "LEASE_EXPIRED",
    "UNREACHABLE",
    "CONNECTION_LOST",
    "PEER_RESTARTED",
];

pub fn code(failure: &str) -> &str {
    failure.split(' ').next().unwrap_or_default()
}

impl History {
    /// Takes in a line of a client. True if that was its last.
    pub fn hear(&mut self, client: usize, line: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        match words[0] {
            "begin" => {
                let change =
                    Change { version: number(3), replicas: number(4) as usize, begun: number(5), end: None };
                self.changes.entry(words[2].into()).or_default().push(change);
            }
            "end" => {
                let changes = self.changes.entry(words[1].into()).or_default();
                let change = changes.iter_mut().rev().find(|change| change.version == number(2));
                let how = words[4..].join(" ");
                if !CLEAR.contains(&words[4]) && words[4] != "OK" {
                    self.wrong.push(format!("client {client} changing {}: {how}", words[1]));
                }
                change.expect("begun").end = Some((number(3), how));
            }
            "read" => self.hear_read(client, &words),
            "done" => return true,
            _ => self.wrong.push(format!("client {client} said {line:?}")),
        }
        false
    }

    fn hear_read(&mut self, client: usize, words: &[&str]) {
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        let what = match words[5] {
            "version" => What::Version(number(6)),
            "short" => What::Short(unhex(words[6])),
            "not" if CLEAR.contains(&words[6]) => What::Failed(words[6..].join(" ")),
            _ => return self.wrong.push(format!("client {client} read {}", words[1..].join(" "))),
        };
        let (key, fresh) = (words[1].to_owned(), words[2] == "true");
        self.reads.push(Read { key, fresh, begun: number(3), ended: number(4), what, client });
    }

    /// What the changes of a key allow a reader to find who asked in this time.
    fn allowed(&self, key: &str, begun: u64, ended: u64) -> (Vec<&Change>, bool) {
        let changes = self.changes.get(key).map(Vec::as_slice).unwrap_or_default();
        let is_past = |change: &Change| {
            change.was_acknowledged() && change.end.as_ref().is_some_and(|(end, _)| *end <= begun)
        };
        let last = changes.iter().rposition(is_past);
        let candidates: Vec<&Change> =
            changes[last.unwrap_or(0)..].iter().filter(|change| change.begun <= ended).collect();
        let nothing = self.may_lose
            || last.is_none()
            || candidates.iter().any(|change| change.replicas == 0 || self.may_be_lost(change, ended));
        (candidates, nothing)
    }

    /// As many nodes lost all they had since a put began as it has replicas.
    fn may_be_lost(&self, put: &Change, by: u64) -> bool {
        let losses = self.losses.iter().filter(|loss| loss.to >= put.begun && loss.from <= by);
        losses.map(|loss| loss.node).collect::<BTreeSet<usize>>().len() >= put.replicas
    }

    /// Whether a read shows what it must. Errors: what is wrong with it.
    pub fn judge(&self, read: &Read) -> Result<(), String> {
        let Read { key, fresh, begun, ended, what, client } = read;
        // Who reads by a lease that it holds may see what was replaced since.
        let (candidates, nothing) = self.allowed(key, if *fresh { *begun } else { 0 }, *ended);
        let puts = || candidates.iter().filter(|change| change.replicas > 0);
        let is_right = match what {
            What::Version(version) => puts().any(|put| put.version == *version),
            What::Short(read) => puts().any(|put| content::bytes(key, put.version) == *read),
            What::Failed(failure) if code(failure) == "NOT_FOUND" => {
                // That is the master's word, whatever the reader holds.
                self.allowed(key, *begun, *ended).1
            }
            What::Failed(_) => true,
        };
        if is_right {
            return Ok(());
        }
        let seen = match what {
            What::Version(version) => format!("version {version}"),
            What::Short(read) => format!("{read:02x?}"),
            What::Failed(failure) => failure.clone(),
        };
        let shown: Vec<String> = candidates.iter().map(|change| show(change)).collect();
        Err(format!(
            "client {client} read {key} from {begun} to {ended}{} and found {seen}; right: {}{}; lost: {:?}",
            if *fresh { "" } else { " by a lease it held" },
            shown.join(", "),
            if nothing { " or nothing" } else { "" },
            self.losses
        ))
    }

    /// Everything that is wrong with what was said.
    pub fn faults(&self, longest_ns: u64) -> Vec<String> {
        let mut faults = self.wrong.clone();
        faults.extend(self.reads.iter().filter_map(|read| self.judge(read).err()));
        for read in &self.reads {
            faults.extend(self.too_long(read.client, &read.key, read.begun, read.ended, longest_ns));
        }
        for (key, changes) in &self.changes {
            let client =
                key.trim_start_matches("client-").split('/').next().and_then(|text| text.parse().ok());
            for change in changes {
                if let Some((ended, _)) = &change.end {
                    let client = client.unwrap_or_default();
                    faults.extend(self.too_long(client, key, change.begun, *ended, longest_ns));
                }
            }
        }
        faults
    }

    fn too_long(&self, client: usize, key: &str, begun: u64, ended: u64, longest_ns: u64) -> Option<String> {
        let naps = self.naps.iter().filter(|nap| nap.0 == client);
        let asleep: u64 = naps.map(|(_, from, to)| ended.min(*to).saturating_sub(begun.max(*from))).sum();
        let took = (ended - begun).saturating_sub(asleep);
        (took > longest_ns)
            .then(|| format!("client {client}: {key} took {} ms from {begun} on", took / 1_000_000))
    }

    /// The first number of a version that this client did not use yet.
    pub fn next_version(&self, client: usize) -> u64 {
        let begin = format!("client-{client}/");
        let own = self.changes.iter().filter(|(key, _)| key.starts_with(&begin));
        own.filter_map(|(_, changes)| changes.last()).map(|change| change.version + 1).max().unwrap_or(1)
    }
}

fn show(change: &Change) -> String {
    let Change { version, replicas, begun, end } = change;
    let what = if *replicas == 0 { "removal".to_owned() } else { format!("put x{replicas}") };
    match end {
        Some((end, how)) => format!("{what} {version} from {begun} to {end}: {how}"),
        None => format!("{what} {version} from {begun} without an end"),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

#[test]
fn what_a_reader_may_find_follows_from_what_was_acknowledged_and_lost() {
    let mut history = History::default();
    for line in [
        "begin put k 1 1 10",
        "end k 1 20 OK",
        "begin put k 2 2 30",
        "end k 2 40 OK",
        "begin put k 3 1 50",
        "end k 3 90 TIMEOUT nobody answered",
    ] {
        history.hear(0, line);
    }
    let judge = |history: &History, fresh, begun, ended, what| {
        let read = Read { key: "k".into(), fresh, begun, ended, what, client: 1 };
        history.judge(&read).is_ok()
    };
    let nothing = || What::Failed("NOT_FOUND".into());
    assert!(judge(&history, true, 35, 36, What::Version(1)), "the other one is not acknowledged yet");
    assert!(!judge(&history, true, 41, 45, What::Version(1)), "replaced");
    assert!(judge(&history, false, 41, 45, What::Version(1)), "by a lease");
    assert!(judge(&history, true, 41, 45, What::Version(2)));
    assert!(!judge(&history, true, 41, 45, What::Version(3)), "not begun");
    assert!(judge(&history, true, 95, 96, What::Version(3)), "in doubt");
    assert!(!judge(&history, true, 41, 45, What::Short(vec![0; 3])), "another's bytes");
    assert!(!judge(&history, true, 41, 45, nothing()));
    history.losses.push(Loss { node: 0, from: 42, to: 43 });
    history.losses.push(Loss { node: 0, from: 44, to: 44 });
    assert!(!judge(&history, true, 41, 45, nothing()), "the same node twice");
    history.losses.push(Loss { node: 1, from: 44, to: 44 });
    assert!(judge(&history, true, 41, 45, nothing()), "as many nodes as replicas");
    assert!(!judge(&history, false, 41, 43, nothing()), "before the second loss");
    history.hear(0, "read k true 1 2 wrong 17 bytes");
    history.hear(0, "read k true 1 2 not INTERNAL defect");
    assert_eq!(history.faults(1000).len(), 2);
    assert_eq!(history.faults(39).len(), 3, "one took too long");
    history.naps.push((0, 60, 70));
    assert_eq!(history.faults(39).len(), 2, "it slept");
}
