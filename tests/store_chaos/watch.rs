//! Watches a store by a way of its own on which nothing is lost: which nodes it counts on, and which it gave up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mooncake::config::{Config, Given};
use mooncake::engine::Engine;
use mooncake::store::client::{Options, Segment, Store};
use mooncake::sys::clock;

use super::history::{History, Loss};

const LOOK_EVERY: Duration = Duration::from_millis(150);

/// A store's client in this process.
pub fn client(masters: Vec<String>, deadline: Duration) -> (Arc<Engine>, Arc<Store>) {
    let given = Given {
        no_environment: true,
        bind_address: Some("127.0.0.1".into()),
        worker_threads: 1,
        ..Given::default()
    };
    let engine = Engine::create(Config::load(given).expect("settings"), 0).expect("an engine");
    let options = Options { masters, deadline, ..Options::default() };
    let store = Store::open(engine.clone(), &options).expect("a master answers");
    (engine, store)
}

pub struct Watch {
    is_over: Arc<AtomicBool>,
    open: Arc<Mutex<(u64, usize)>>,
    watching: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn start(store: Arc<Store>, history: Arc<Mutex<History>>) -> Watch {
        let (is_over, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new((0, 0))));
        let (ending, told) = (is_over.clone(), open.clone());
        let watching = thread::spawn(move || {
            let mut known: HashMap<usize, (u64, u64)> = HashMap::new();
            while !ending.load(Ordering::Relaxed) {
                let asked = clock::now_ns();
                if let Ok(segments) = store.segments(Some(Duration::from_secs(2))) {
                    note(&mut known, &segments, asked, &history);
                    let count = segments.iter().filter(|one| one.is_open).count();
                    *told.lock().expect("no panic") = (asked, count);
                }
                thread::sleep(LOOK_EVERY);
            }
        });
        Watch { is_over, open, watching: Some(watching) }
    }

    /// How many nodes' memory could be used when somebody looked after this.
    pub fn open_since(&self, moment: u64) -> Option<usize> {
        let (looked, count) = *self.open.lock().expect("no panic");
        (looked > moment).then_some(count)
    }
}

/// A name that has another node now has lost what the one before held.
fn note(known: &mut HashMap<usize, (u64, u64)>, segments: &[Segment], asked: u64, history: &Mutex<History>) {
    for segment in segments {
        let node: usize = segment.name.trim_start_matches("node-").parse().expect("one of ours");
        let (id, seen) = known.entry(node).or_insert((segment.node.0, asked));
        if segment.node.0 > *id {
            let (from, to) = (*seen, clock::now_ns());
            history.lock().expect("no panic").losses.push(Loss { node, from, to });
            *id = segment.node.0;
        }
        if segment.node.0 == *id && segment.is_open {
            *seen = asked;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(watching) = self.watching.take() {
            let _ = watching.join();
        }
    }
}
