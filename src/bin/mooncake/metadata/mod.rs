//! `mooncake metadata`: the HTTP server where engines, ours and Mooncake's, publish where they are found.

mod api;
mod expiry;
mod keeping;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use mooncake::metadata::VALUE_MAX;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::serve;

use expiry::{Published, Sign, Watch};
use keeping::Keeping;
use store::Limits;

/// Engines that are asked for a sign of life at the same time.
const PROBES_AT_ONCE: usize = 32;
/// How often claims that ran out are forgotten, where nothing else is looked after.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Threads for writes to the directory, which go one after the other.
const DISK_THREADS: usize = 2;

/// Serves metadata over HTTP, as Mooncake's metadata servers do: where engines publish how they are reached.
#[derive(Args)]
pub struct MetadataArgs {
    /// Address to listen on; nobody is asked for a password, so this is not for networks that strangers can reach.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Directory in which everything is kept over a restart; without it, in memory alone.
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<String>,
    /// Removes engines at whose address nobody has answered for so many seconds (10 or more).
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(10..=86_400))]
    expire: Option<u64>,
    /// Most keys.
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    max_keys: usize,
    /// Largest value, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = VALUE_MAX)]
    max_value: usize,
    /// All keys and values together, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    max_total: usize,
    /// Most connections at once; further ones wait.
    #[arg(long, value_name = "COUNT", default_value_t = 1024, value_parser = connections)]
    max_connections: usize,
}

fn connections(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| (1..=65_536).contains(count)).ok_or("1 to 65536".to_owned())
}

pub fn run(args: &MetadataArgs) -> Result<(), String> {
    let limits = Limits { keys: args.max_keys, value: args.max_value, bytes: args.max_total };
    let keeping = Arc::new(Keeping::open(args.data.as_deref(), limits)?);
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(DISK_THREADS).build();
    let runtime = runtime.map_err(|error| format!("starting: {error}"))?;
    let ended = runtime.block_on(serve(args, keeping));
    // A name that is being resolved is not waited for.
    runtime.shutdown_background();
    ended
}

async fn serve(args: &MetadataArgs, keeping: Arc<Keeping>) -> Result<(), String> {
    let listening = |error| format!("listening on {}: {error}", args.listen);
    let listener = TcpListener::bind(&args.listen).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    let told = serve::told_to_end().map_err(|error| format!("waiting for signals: {error}"))?;
    say!("listening on http://{address}/metadata, {} keys", keeping.lock().await.len());
    if !address.ip().is_loopback() {
        eprintln!("mooncake metadata: whoever reaches {address} can read and change everything here");
    }
    let lasting = args.expire.map(Duration::from_secs);
    tokio::spawn(look_after(keeping.clone(), lasting));
    let api = api::Api { keeping, value_max: args.max_value, expires: lasting.is_some() };
    say!("ended by {}", serve::serve(listener, api::router(api), args.max_connections, told).await);
    Ok(())
}

/// Forgets claims that ran out, and with `--expire` removes what dead engines have published.
async fn look_after(keeping: Arc<Keeping>, lasting: Option<Duration>) {
    let mut watch = Watch::default();
    loop {
        tokio::time::sleep(lasting.map_or(SWEEP_EVERY, |lasting| lasting / 5)).await;
        let lapsed = keeping.lock().await.lapsed(lasting.unwrap_or_default(), Instant::now());
        let Some(lasting) = lasting else { continue };
        for (key, value) in lapsed {
            remove(&keeping, &key, &value, "its owner no longer renews its claim").await;
        }
        let signs = signs_of_life(addresses(&keeping).await).await;
        for dead in watch.judge(signs, lasting, Instant::now()) {
            let why = format!("nobody has answered at its address for {} s", lasting.as_secs());
            let segment = segment_of(&keeping, &dead.key).await;
            if remove(&keeping, &dead.key, &dead.value, &why).await
                && let Some(Published { key, value }) = segment
            {
                remove(&keeping, &key, &value, &why).await;
            }
        }
    }
}

/// What else an engine has published.
async fn segment_of(keeping: &Keeping, address: &str) -> Option<Published> {
    let key = expiry::segment_of(address)?;
    let value = keeping.lock().await.get(&key)?.to_vec();
    Some(Published { key, value })
}

/// Removes a value, unless its owner has replaced it meanwhile.
async fn remove(keeping: &Keeping, key: &str, value: &[u8], why: &str) -> bool {
    match keeping.remove(key, None, Some(value)).await {
        Ok(false) => false,
        Ok(true) => {
            say!("{key} is removed: {why}");
            true
        }
        Err(error) => {
            eprintln!("mooncake metadata: removing {key}: {error}");
            false
        }
    }
}

async fn addresses(keeping: &Keeping) -> Vec<Published> {
    let store = keeping.lock().await;
    let keys = store.list("").into_iter().filter(|key| expiry::is_address(key));
    keys.filter_map(|key| Some(Published { key: key.to_owned(), value: store.get(key)?.to_vec() })).collect()
}

async fn signs_of_life(engines: Vec<Published>) -> Vec<(Published, Sign)> {
    let places = Arc::new(tokio::sync::Semaphore::new(PROBES_AT_ONCE));
    let probes: Vec<_> = engines
        .into_iter()
        .map(|engine| {
            let places = places.clone();
            tokio::spawn(async move {
                let _place = places.acquire_owned().await;
                expiry::probe(&engine.value).await.map(|sign| (engine, sign))
            })
        })
        .collect();
    let mut signs = Vec::with_capacity(probes.len());
    for probe in probes {
        signs.extend(probe.await.ok().flatten());
    }
    signs
}
