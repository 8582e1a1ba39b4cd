//! `mooncake conductor`: which instance has which prefix, and where a request should run, in a process of its own.
//!
//! ```text
//!   publishers --- intake/ ---> the conductor <--- query.rs, place.rs --- api.rs --- HTTP
//!                                   |    ^
//!      sources.rs, contexts.rs      v    |
//!                               snapshot.rs
//! ```
//!
//! Events are taken in by a thread of their own, so that a long answer over HTTP does not hold them up.

mod answer;
mod api;
mod body;
mod contexts;
mod intake;
mod metrics;
mod place;
mod query;
mod snapshot;
mod sources;
mod terms;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use mooncake::conductor::index::Limits;
use mooncake::conductor::schedule::{self, Admission, Class, Policy, Replication};
use mooncake::conductor::service::{Conductor, Hooks, Options};
use mooncake::config;
use mooncake::telemetry::log;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::serve;

use answer::Changes;
use api::Api;
use contexts::Contexts;
use sources::Sources;
use terms::Terms;

/// HTTP connections at once; further ones wait.
const HTTP_CONNECTIONS: usize = 1024;
/// How often time passes for what is promised, idle or given up.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Knows which instance caches which prefix, from events of engines and the store, and tells where a request should run.
#[derive(Args)]
pub struct ConductorArgs {
    /// Address for HTTP; port 0 is one that the kernel gives.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:13333")]
    listen: String,
    /// File with the key of those who may change something; without it, what MC_PSK_FILE names. Without any, whoever is on
    /// this host may, and nobody if it listens elsewhere.
    #[arg(long, value_name = "FILE")]
    psk_file: Option<String>,
    /// File with publishers to register at once: JSON, {"kvevent_instance": {NAME: REGISTRATION}}.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File that keeps what is known over a restart.
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// How often it is written, beside at the end.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    snapshot_every: u64,
    /// Which instance prefills a request.
    #[arg(long, value_name = "POLICY", default_value = "global", value_parser = policies())]
    policy: Policy,
    /// Which requests are taken on.
    #[arg(long, value_name = "RULE", default_value = "none", value_parser = admissions())]
    admission: Admission,
    /// Seconds in which the first token is due: of class 0, or of classes 0, 1, 2 and 3.
    #[arg(long, value_name = "SECONDS", value_delimiter = ',', num_args = 1..=4)]
    ttft: Vec<f64>,
    /// Seconds between tokens, the same way.
    #[arg(long, value_name = "SECONDS", value_delimiter = ',', num_args = 1..=4)]
    tbt: Vec<f64>,
    /// Advises copies of what is asked for often.
    #[arg(long)]
    replicate: bool,
    /// Most blocks of a context, and after how many seconds an idle one leaves.
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().blocks)]
    max_blocks: usize,
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().idle / 1000)]
    idle_seconds: u64,
}

fn policies() -> impl TypedValueParser<Value = Policy> {
    let named = |name: String| Policy::named(&name).expect("the parser lets only these names through");
    let values = Policy::ALL.map(|policy| PossibleValue::new(policy.name).help(policy.about));
    PossibleValuesParser::new(values).map(named)
}

fn admissions() -> impl TypedValueParser<Value = Admission> {
    let named = |name: String| {
        let found = Admission::ALL.into_iter().find(|(known, _)| *known == name);
        found.expect("the parser lets only these names through").1
    };
    PossibleValuesParser::new(Admission::ALL.map(|(name, _)| name)).map(named)
}

pub fn run(args: &ConductorArgs) -> Result<(), String> {
    log::set_sink_if_none(|| Box::new(log::StandardError));
    let starting = |error| format!("starting: {error}");
    let intake = Intake::start().map_err(starting)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(starting)?;
    let ended = runtime.block_on(serve(args, intake.handle.clone()));
    // What is being resolved or written is not waited for.
    runtime.shutdown_background();
    intake.end();
    ended
}

/// The thread that takes in events.
struct Intake {
    handle: Handle,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Intake {
    fn start() -> std::io::Result<Intake> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        let run = move || {
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("events".into()).spawn(run)?;
        Ok(Intake { handle, end, thread })
    }

    fn end(self) {
        let _ = self.end.send(());
        let _ = self.thread.join();
    }
}

async fn serve(args: &ConductorArgs, intake: Handle) -> Result<(), String> {
    let listening = |error| format!("--listen {}: {error}", args.listen);
    let listener = TcpListener::bind(&args.listen).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    let told = serve::told_to_end().map_err(|error| format!("waiting for signals: {error}"))?;
    let conductor = Conductor::new(options(args)?, Hooks::default()).map_err(|error| error.to_string())?;
    let conductor = Arc::new(conductor);
    let contexts = Arc::new(Contexts::new(conductor.clone()));
    let sources = Arc::new(Sources::new(conductor.clone(), contexts.clone(), intake));
    let changes = changes(args, address)?;
    let api = Api {
        conductor,
        contexts,
        sources,
        changes,
        since: Instant::now(),
        snapshots: Default::default(),
        snapshot_failures: Default::default(),
    };
    let api = Arc::new(api);
    if let Some(path) = &args.snapshot {
        restore(&api, path)?;
    }
    if let Some(path) = &args.config {
        register_all(&api.sources, path)?;
    }
    say!("conductor listening on http://{address}/");
    tokio::spawn(sweep(api.clone()));
    let keeper =
        args.snapshot.clone().map(|path| Arc::new(Keeper { api: api.clone(), path, turn: Mutex::new(()) }));
    if let Some(keeper) = keeper.clone() {
        tokio::spawn(keep(keeper, Duration::from_secs(args.snapshot_every)));
    }
    let why = serve::serve(listener, api::router(api), HTTP_CONNECTIONS, told).await;
    if let Some(keeper) = keeper {
        keeper.write().map_err(|error| format!("the snapshot was not written: {error}"))?;
    }
    say!("ended by {why}");
    Ok(())
}

fn options(args: &ConductorArgs) -> Result<Options, String> {
    let mut classes = schedule::Options::default().classes;
    let each = |given: &[f64], set: fn(&mut Class, f64), classes: &mut [Class]| {
        // One number is for all.
        for (place, class) in classes.iter_mut().enumerate() {
            if let Some(seconds) = given.get(place).or(given.last()) {
                set(class, *seconds);
            }
        }
    };
    each(&args.ttft, |class, seconds| class.ttft = seconds, &mut classes);
    each(&args.tbt, |class, seconds| class.tbt = seconds, &mut classes);
    let schedule = schedule::Options {
        policy: args.policy,
        admission: args.admission,
        classes,
        replication: args.replicate.then(Replication::default),
        ..schedule::Options::default()
    };
    let idle = args.idle_seconds.saturating_mul(1000);
    let limits = Limits { blocks: args.max_blocks, idle, ..Limits::default() };
    Ok(Options { schedule, limits, ..Options::default() })
}

fn changes(args: &ConductorArgs, address: SocketAddr) -> Result<Changes, String> {
    let psk = config::psk(args.psk_file.as_deref()).map_err(|error| error.message().to_owned())?;
    Ok(match psk {
        Some(key) => Changes::WithKey(key),
        None if address.ip().is_loopback() => Changes::FromHere,
        None => {
            eprintln!(
                "mooncake conductor: there is no key: whoever reaches {address} sees what is cached where, and nobody \
                 can register or schedule"
            );
            Changes::Never
        }
    })
}

/// Takes up what an earlier process knew. A file that cannot be used is put aside, and nothing is known.
fn restore(api: &Api, path: &Path) -> Result<(), String> {
    let restored = match snapshot::read(path) {
        Ok(None) => return Ok(()),
        Ok(Some(snapshot)) => match api.conductor.restore(&snapshot.blocks) {
            Ok(restored) => Ok((restored, snapshot.kept)),
            Err(error) => Err(error.message().to_owned()),
        },
        Err(error) => Err(error),
    };
    let (restored, kept) = match restored {
        Ok(restored) => restored,
        Err(error) => {
            let aside = snapshot::put_aside(path)?;
            eprintln!(
                "mooncake conductor: the snapshot {} cannot be used: {error}; it is now {}, and nothing is known",
                path.display(),
                aside.display()
            );
            return Ok(());
        }
    };
    for context in api.conductor.contexts().map_err(|error| error.to_string())? {
        api.contexts.open(&context.context).map_err(|error| error.to_string())?;
    }
    let publishers = kept.len();
    for kept in kept {
        let registered = Terms::read(kept.written).and_then(|terms| api.sources.register(terms, kept.last));
        if let Err(wrong) = registered {
            eprintln!(
                "mooncake conductor: a publisher of the snapshot is not registered again: {}",
                wrong.text
            );
        }
    }
    let known = api.sources.each(|source| source.terms.instance.clone());
    for instance in api.conductor.instances().map_err(|error| error.to_string())? {
        let name = &instance.registration.name;
        if !known.contains(name) {
            // Whoever was not registered again is not there.
            let _ = api.conductor.unregister(name);
        }
    }
    say!(
        "restored {} blocks of {} instances from {publishers} publishers",
        restored.blocks,
        restored.instances
    );
    Ok(())
}

/// Registers what the file names, in the form of Mooncake's conductor.
fn register_all(sources: &Sources, path: &Path) -> Result<(), String> {
    let told = |error: String| format!("--config {}: {error}", path.display());
    let text = std::fs::read(path).map_err(|error| told(error.to_string()))?;
    let config: Value = serde_json::from_slice(&text).map_err(|error| told(error.to_string()))?;
    let Value::Object(config) = config else { return Err(told("it is no JSON object".into())) };
    for (name, value) in config {
        match (&*name, value) {
            ("kvevent_instance", Value::Object(all)) => {
                for (name, one) in all {
                    let Value::Object(one) = one else { return Err(told(format!("{name} is no object"))) };
                    let registered = Terms::read(one).and_then(|terms| sources.register(terms, None));
                    registered.map_err(|wrong| told(format!("{name}: {}", wrong.text)))?;
                }
            }
            ("kvevent_instance", _) => return Err(told("kvevent_instance is no object".into())),
            // Where it listens says --listen.
            ("http_server_port", _) => {}
            _ => return Err(told(format!("there is no {name:?} here: it can have kvevent_instance"))),
        }
    }
    Ok(())
}

async fn sweep(api: Arc<Api>) {
    loop {
        sleep(SWEEP_EVERY).await;
        let conductor = api.conductor.clone();
        let swept = tokio::task::spawn_blocking(move || conductor.sweep()).await;
        if let Ok(Err(error)) = swept {
            tracing::warn!(%error, "the conductor was not swept");
        }
    }
}

/// Writes snapshots, one at a time.
struct Keeper {
    api: Arc<Api>,
    path: PathBuf,
    turn: Mutex<()>,
}

impl Keeper {
    fn write(&self) -> Result<(), String> {
        let _turn = self.turn.lock();
        let written = snapshot::write(&self.path, &self.api.sources, &self.api.conductor);
        let count = if written.is_ok() { &self.api.snapshots } else { &self.api.snapshot_failures };
        count.fetch_add(1, Relaxed);
        written.map(drop)
    }
}

async fn keep(keeper: Arc<Keeper>, every: Duration) {
    loop {
        sleep(every).await;
        let keeper = keeper.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || keeper.write()).await {
            eprintln!("mooncake conductor: the snapshot was not written: {error}");
        }
    }
}
