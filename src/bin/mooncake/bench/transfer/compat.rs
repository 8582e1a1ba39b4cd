//! `mooncake bench transfer --compat`: one end is an engine of Mooncake, as its `transfer_engine_bench` runs it. There is
//! no control connection: a target offers one buffer, an initiator moves the same blocks of it again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use mooncake::config::{Config, Given};
use mooncake::engine::Engine;
use mooncake::segment::memory::MemoryOptions;
use serde_json::json;

use super::super::case::{Case, Path};
use super::super::drive::{self, Outcome, Ticker};
use super::super::end::text;
use super::super::floors::Place;
use super::super::floors::raw::{self, Mapped};
use super::super::movers::{Route, Submitting};
use super::super::walk::Walk;
use super::options::{Completion, TransferArgs};

const OPEN_PATIENCE: Duration = Duration::from_secs(10);
const COMPAT_ALLOW: u32 = 3;

/// An engine that Mooncake's engines take for one of theirs.
fn engine(args: &TransferArgs) -> Result<Arc<Engine>, String> {
    static TAG: AtomicU16 = AtomicU16::new(0);
    let given = Given {
        bind_address: Some(args.bind.clone()),
        port: args.port,
        compat: COMPAT_ALLOW,
        transports: Some(Path::Tcp.name().to_owned()),
        lanes: args.lanes,
        worker_threads: args.workers,
        ..Given::default()
    };
    let config = Config::load(given).map_err(text)?;
    Engine::create(config, TAG.fetch_add(1, Ordering::Relaxed)).map_err(text)
}

/// Memory that is there, not only promised, and registered.
fn buffer(engine: &Engine, length: usize) -> Result<Mapped, String> {
    let mapped = Mapped::anonymous(length)?;
    mapped.mem().fill(0x5a);
    engine.register_memory(mapped.mem().address(), length, &MemoryOptions::default()).map_err(text)?;
    Ok(mapped)
}

/// Offers a buffer until standard input ends.
pub fn target(args: &TransferArgs) -> Result<(), String> {
    let engine = engine(args)?;
    let _buffer = buffer(&engine, args.buffer)?;
    say!("target ready at {}", engine.mooncake_name().unwrap_or_default());
    let ended = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    engine.destroy();
    ended.map(|_| ()).map_err(|error| format!("reading standard input: {error}"))
}

/// Moves blocks from and to the first buffer of a Mooncake engine.
pub fn initiator(args: &TransferArgs, address: &str) -> Result<(), String> {
    let engine = engine(args)?;
    let mapped = buffer(&engine, args.buffer)?;
    let segment = engine.open_segment(address, Some(OPEN_PATIENCE)).map_err(text)?;
    let regions = engine.segment_regions(segment).map_err(text)?;
    let there = regions.first().ok_or_else(|| format!("{address} offers no buffer"))?;
    for case in args.cases(Path::Tcp) {
        // Mooncake's program moves the same blocks again and again: so do we, to be compared with it.
        let case = Case { is_cold: false, buffer: args.buffer.min(there.length as usize), ..case };
        if let Some(trouble) = case.trouble() {
            return Err(trouble);
        }
        for completion in &args.completion {
            let route = |thread| Route {
                engine: engine.clone(),
                segment,
                walk: Walk::new(&case, thread),
                place: Place { here: mapped.mem(), op: case.op },
                there: there.address,
                deadline: (args.deadline > 0).then(|| Duration::from_millis(args.deadline)),
                completion: *completion,
            };
            for _ in 0..args.reps {
                let movers = (0..case.threads).map(route).map(Submitting::new).collect();
                let before = raw::cpu_time();
                let outcome = drive::drive(movers, args.times(), &Ticker::default(), || Ok(()))?;
                let cpu = raw::cpu_time().saturating_sub(before);
                report(&case, *completion, &outcome, cpu);
            }
        }
    }
    engine.destroy();
    Ok(())
}

fn report(case: &Case, completion: Completion, outcome: &Outcome, cpu: Duration) {
    let bytes = (outcome.timed * case.bytes()) as f64;
    let seconds = outcome.wall.as_secs_f64();
    let gib = bytes / f64::from(1 << 30);
    say!(
        "{}",
        json!({
            "bench": "compat", "op": case.op.name(), "size": case.size, "batch": case.batch,
            "threads": case.threads, "completion": completion.name(), "gib_per_s": gib / seconds,
            "us_per_batch": seconds * case.threads as f64 / outcome.timed.max(1) as f64 * 1e6,
            "p50_us": outcome.latency.percentile_us(0.5), "p99_us": outcome.latency.percentile_us(0.99),
            "cpu_s_per_gib": cpu.as_secs_f64() / gib.max(f64::MIN_POSITIVE),
        })
    );
}
