//! `mooncake bench prepared`: what one request of a small prepared batch costs inside a process.

use std::time::{Duration, Instant};

use clap::Args;
use mooncake::engine::batch::{BatchOptions, Local, Request};
use mooncake::transport::Opcode;
use serde_json::json;

use super::case::Path;
use super::end::{End, Setup, text};
use super::transfer::median;

/// Posts one prepared batch inside a process again and again: nanoseconds per request.
#[derive(Args)]
pub struct PreparedArgs {
    /// Requests of the batch.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    entries: u32,
    /// Bytes of each.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    size: u32,
    /// Seconds to measure.
    #[arg(long, default_value_t = 2.0, value_parser = super::transfer::options::parse_seconds)]
    secs: f64,
    #[arg(long)]
    json: bool,
}

/// Posts between two looks at the clock.
const ROUND: u32 = 1000;

pub fn run(args: &PreparedArgs) -> Result<(), String> {
    // Every block on cache lines of its own, and a gap so that they cannot be one copy.
    let stride = (args.size as usize + 64).next_multiple_of(64);
    let buffer = (stride * args.entries as usize).next_multiple_of(4096);
    let setup = Setup { path: Path::Local, buffer, has_checksum: true, lanes: 0, worker_threads: 0 };
    let end = End::open(&setup, "127.0.0.1")?;
    let engine = &end.engine;
    let segment = engine.info().local_segment;
    let requests = (0..args.entries as usize).map(|index| {
        Ok(Request {
            opcode: Opcode::Write,
            segment,
            remote: (end.destination.address() + index * stride) as u64,
            length: u64::from(args.size),
            local: Local::Contiguous(end.source.address() + index * stride),
            user_data: 0,
        })
    });
    let batch = engine.prepare(requests, BatchOptions::default()).map_err(text)?;
    let mut rounds = Vec::new();
    let begun = Instant::now();
    while rounds.len() < 3 || begun.elapsed() < Duration::from_secs_f64(args.secs) {
        let round = Instant::now();
        for _ in 0..ROUND {
            engine.post(batch).map_err(text)?;
            let info = engine.wait(batch, None).map_err(text)?;
            if info.status.is_some() {
                return Err(text(engine.batch_error(batch, info)));
            }
        }
        rounds.push(round.elapsed().as_nanos() as f64 / f64::from(ROUND) / f64::from(args.entries));
    }
    let count = rounds.len() as u64 * u64::from(ROUND);
    let ns = median(rounds);
    engine.release(batch).map_err(text)?;
    for index in 0..args.entries as usize {
        let part = |mem: mooncake::sys::memory::Mem| {
            mem.part(index * stride, args.size as usize).with_bytes(<[u8]>::to_vec)
        };
        if part(end.source) != part(end.destination) {
            return Err(format!("request {index} did not move its bytes"));
        }
    }
    if args.json {
        say!(
            "{}",
            json!({ "bench": "prepared", "entries": args.entries, "size": args.size, "posts": count, "ns_per_request": ns })
        );
    } else {
        let (entries, size) = (args.entries, args.size);
        say!(
            "prepared batch of {entries} requests of {size} bytes inside a process, posted {count} times, verified"
        );
        say!("  {ns:.1} ns per request, {:.2} us per batch", ns * f64::from(entries) / 1e3);
    }
    Ok(())
}
