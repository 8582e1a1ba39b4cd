//! `mooncake master`: the index of a store, in a process of its own.

mod api;
mod change;
mod metrics;
mod page;
mod publish;
mod query;
mod rates;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use mooncake::config;
use mooncake::store::eviction::Policy;
use mooncake::store::master::Config;
use mooncake::store::master::server::{Feed, Master, Options};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::Notify;

use crate::{serve, size};

/// HTTP connections at once; further ones wait.
const HTTP_CONNECTIONS: usize = 64;

/// Serves the index of a store: which object lies where. What it knows is lost with it, and the nodes tell the next one.
#[derive(Args)]
pub struct MasterArgs {
    /// Address to listen on; port 0 is one that the kernel gives.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50051")]
    listen: String,
    /// File with the key that nodes and clients share; without it, what MC_PSK_FILE names.
    #[arg(long, value_name = "FILE")]
    psk_file: Option<String>,
    /// In which order objects leave a full cache.
    #[arg(long, default_value = "default", value_parser = policy)]
    policy: Policy,
    /// How long a reader may read after it asked. The same for all masters and nodes of a store.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = Config::default().lease_ms, value_parser = clap::value_parser!(u64).range(100..=600_000))]
    lease_ms: u64,
    /// How long a writer has to put an object, unless it asks for more.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = Config::default().put_deadline_ms, value_parser = clap::value_parser!(u64).range(1_000..=3_600_000))]
    put_deadline_ms: u64,
    /// How long a node may be silent before the store goes on without it and what it holds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = Config::default().node_lease_ms, value_parser = clap::value_parser!(u64).range(3_000..=600_000))]
    node_lease_ms: u64,
    /// Bytes that a tenant may have unless it is told otherwise, such as 64G; without it, all there are.
    #[arg(long, value_name = "BYTES", value_parser = size::parse)]
    quota: Option<u64>,
    /// How long nodes of an earlier cluster are waited for, where those that answer know of none; or "never".
    #[arg(long, value_name = "MILLISECONDS", default_value = "10000", value_parser = patience)]
    found_after_ms: Patience,
    /// Address for HTTP: metrics, a page for people, and Mooncake's admin interface. Whoever reaches it sees all keys.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<String>,
    /// Address at which it says over ZeroMQ which objects come and go, for conductors. Whoever reaches it sees all keys.
    #[arg(long, value_name = "ADDRESS:PORT")]
    kv_events: Option<String>,
    /// Address at which what was said can be heard again; without it, one that the kernel gives beside --kv-events.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "kv_events")]
    kv_events_replay: Option<String>,
    /// What the events say of where objects are; without it, the master's address.
    #[arg(long, value_name = "NAME", requires = "kv_events")]
    kv_events_backend: Option<String>,
    /// Threads that serve calls.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    threads: u8,
}

#[derive(Clone, Copy)]
struct Patience(Option<u64>);

fn patience(text: &str) -> Result<Patience, String> {
    match text {
        "never" => Ok(Patience(None)),
        _ => {
            text.parse().map(|ms| Patience(Some(ms))).map_err(|_| "a number of milliseconds, or never".into())
        }
    }
}

fn policy(text: &str) -> Result<Policy, String> {
    let known = || Policy::ALL.map(Policy::name).join(", ");
    Policy::ALL.into_iter().find(|policy| policy.name() == text).ok_or_else(|| format!("one of {}", known()))
}

pub fn run(args: &MasterArgs) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("starting: {error}"))?;
    runtime.block_on(serve(args))
}

async fn serve(args: &MasterArgs) -> Result<(), String> {
    let mut options = options(args)?;
    let psk = options.psk.clone();
    let feed = args.kv_events.as_ref().map(|_| publish::feed());
    options.feed = feed.as_ref().map(|(feed, _)| feed.clone());
    let figures = Arc::new(publish::Figures::default());
    let told = serve::told_to_end().map_err(|error| format!("waiting for signals: {error}"))?;
    let http = match &args.http {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let master = Master::start(options).map_err(|error| error.to_string())?;
    let address = master.address();
    say!("master listening on {address}");
    if psk.is_none() && !address.ip().is_loopback() {
        eprintln!(
            "mooncake master: there is no key: whoever reaches {address} can read and remove all objects"
        );
    }
    if let Some((_, shown)) = &http {
        say!("http on http://{shown}/");
        if !shown.ip().is_loopback() {
            eprintln!("mooncake master: whoever reaches {shown} sees the names of all objects");
        }
    }
    if let (Some(at), Some(feed)) = (&args.kv_events, feed) {
        publish(args, at, &master, feed, figures.clone()).await?;
    }
    let why = match http {
        Some((listener, _)) => {
            let rates = Default::default();
            let api = Arc::new(api::Api { master: master.clone(), address, psk, rates, figures });
            tokio::spawn(look_after(api.clone()));
            serve::serve(listener, api::router(api), HTTP_CONNECTIONS, told).await
        }
        None => told.await,
    };
    master.stop();
    say!("ended by {why}");
    Ok(())
}

async fn publish(
    args: &MasterArgs,
    at: &str,
    master: &Arc<Master>,
    feed: (Arc<Feed>, Arc<Notify>),
    figures: Arc<publish::Figures>,
) -> Result<(), String> {
    let beside = at.rsplit_once(':').map_or(at, |(host, _)| host);
    let replay = args.kv_events_replay.clone().unwrap_or_else(|| format!("{beside}:0"));
    let backend = args.kv_events_backend.clone().unwrap_or_else(|| master.address().to_string());
    let started = publish::Publisher::start((at, &replay), backend, master.clone(), feed, figures);
    let (publisher, live, replay) = started.await?;
    say!("events on {live}, again on {replay}");
    tokio::spawn(publisher.run());
    Ok(())
}

async fn listen(address: &str) -> Result<(TcpListener, SocketAddr), String> {
    let told = |error: std::io::Error| format!("--http {address}: {error}");
    let listener = TcpListener::bind(address).await.map_err(told)?;
    let shown = listener.local_addr().map_err(told)?;
    Ok((listener, shown))
}

/// Notes now and then what was counted, for the rates.
async fn look_after(api: Arc<api::Api>) {
    loop {
        api.rates.note(Instant::now(), api.master.look().counted);
        tokio::time::sleep(rates::EVERY).await;
    }
}

fn options(args: &MasterArgs) -> Result<Options, String> {
    let psk = config::psk(args.psk_file.as_deref()).map_err(|error| error.message().to_owned())?;
    let config = Config {
        policy: args.policy,
        lease_ms: args.lease_ms,
        put_deadline_ms: args.put_deadline_ms,
        node_lease_ms: args.node_lease_ms,
        default_quota: args.quota,
        found_after_ms: args.found_after_ms.0,
        ..Config::default()
    };
    let (address, workers) = (serve::resolve(&args.listen)?, usize::from(args.threads));
    Ok(Options { address, psk: psk.map(Arc::from), config, workers, feed: None })
}
