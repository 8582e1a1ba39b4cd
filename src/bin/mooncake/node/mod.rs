//! `mooncake node`: memory of this host for a store, in a process of its own.

use std::time::Duration;

use clap::Args;
use mooncake::config::{self, Config, Given};
use mooncake::store::node::server::{Node, Options, SegmentOptions};
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;

use crate::{serve, size};

/// Gives memory of this host to a store. Told to end, it has its objects moved to other nodes first.
#[derive(Args)]
pub struct NodeArgs {
    /// Where a master of the store listens; once for each that there may be.
    #[arg(long, value_name = "ADDRESS:PORT", required = true)]
    master: Vec<String>,
    /// How much memory it gives, such as 4GiB.
    #[arg(long, value_name = "BYTES", value_parser = size::parse, required_unless_present = "segment")]
    memory: Option<u64>,
    /// What writers prefer that memory by; without it, the name and address of this host.
    #[arg(long, value_name = "NAME", requires = "memory")]
    name: Option<String>,
    /// A further piece of memory with a name of its own; as often as wanted.
    #[arg(long, value_name = "NAME=BYTES", value_parser = segment)]
    segment: Vec<SegmentOptions>,
    /// What fails together with this node: replicas go to different ones. Without it, this host.
    #[arg(long, value_name = "NAME", default_value = "")]
    domain: String,
    /// Address to listen on; port 0 is one that the kernel gives.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// File with the key that masters, nodes and clients share; without it, what MC_PSK_FILE names.
    #[arg(long, value_name = "FILE")]
    psk_file: Option<String>,
    /// Threads that serve calls and move bytes; without it, as many as an engine has.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: Option<u32>,
    /// How long its objects may take to move away when it is told to end. Told twice, it ends at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    grace: u64,
}

fn segment(text: &str) -> Result<SegmentOptions, String> {
    match text.split_once('=') {
        Some((name, bytes)) if !name.is_empty() => {
            Ok(SegmentOptions { name: name.to_owned(), bytes: size::parse(bytes)? })
        }
        _ => Err(format!("{text:?} is not NAME=BYTES")),
    }
}

pub fn run(args: &NodeArgs) -> Result<(), String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("starting: {error}"))?;
    let ended = runtime.block_on(serve(args));
    // Told twice: what still moves is not waited for.
    runtime.shutdown_background();
    ended
}

async fn serve(args: &NodeArgs) -> Result<(), String> {
    let signals = |error| format!("waiting for signals: {error}");
    let told = serve::told_to_end().map_err(signals)?;
    let options = options(args)?;
    let has_key = options.engine.psk.is_some();
    let node = Node::start(options).map_err(|error| error.to_string())?;
    let address = node.address();
    say!("node listening on {address}");
    if !has_key && !address.ip().is_loopback() {
        eprintln!(
            "mooncake node: there is no key: whoever reaches {address} can read and write all its memory"
        );
    }
    let why = told.await;
    let again = serve::told_to_end().map_err(signals)?;
    let grace = Duration::from_secs(args.grace);
    let leaving = spawn_blocking(move || {
        if grace.is_zero() {
            node.stop();
            Ok(())
        } else {
            node.drain(grace)
        }
    });
    let left = tokio::select! {
        left = leaving => left.map_err(|error| format!("leaving: {error}"))?,
        why = again => return Err(format!("ended by a second {why}, before everything was moved away")),
    };
    left.map_err(|error| format!("ended by {why}, with objects left behind: {error}"))?;
    say!("ended by {why}");
    Ok(())
}

fn options(args: &NodeArgs) -> Result<Options, String> {
    let listen = serve::resolve(&args.listen)?;
    let psk = config::psk(args.psk_file.as_deref()).map_err(|error| error.message().to_owned())?;
    let given = Given {
        psk: psk.unwrap_or_default(),
        worker_threads: args.threads.unwrap_or(0),
        // Bytes come in where calls do.
        bind_address: (!listen.ip().is_unspecified()).then(|| listen.ip().to_string()),
        ..Given::default()
    };
    let engine = Config::load(given).map_err(|error| error.message().to_owned())?;
    let main = args.memory.map(|bytes| SegmentOptions { name: args.name.clone().unwrap_or_default(), bytes });
    let segments = main.into_iter().chain(args.segment.iter().cloned()).collect();
    Ok(Options { masters: args.master.clone(), listen, segments, domain: args.domain.clone(), engine })
}
