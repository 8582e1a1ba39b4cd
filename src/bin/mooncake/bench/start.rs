//! `mooncake bench start`: from nothing to the first byte.

use std::time::{Duration, Instant};

use clap::Args;
use mooncake::engine::batch::{BatchOptions, Local, Request};
use mooncake::segment::memory::MemoryOptions;
use mooncake::transport::Opcode;
use serde_json::json;

use super::case::Path;
use super::end::{Setup, open_engine, text};
use super::floors::raw::Mapped;
use super::latency::Latency;
use super::target::Own;

/// How long it takes to create an engine, and to meet a peer and move the first 4 KiB.
#[derive(Args)]
pub struct StartArgs {
    /// Engines to make, one after the other.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Paths to the peer.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "local,memfd,cma,tcp")]
    path: Vec<Path>,
    #[arg(long)]
    json: bool,
}

const BUFFER: usize = 4096;
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

pub fn run(args: &StartArgs) -> Result<(), String> {
    args.path.iter().try_for_each(|path| run_path(args, *path))
}

fn run_path(args: &StartArgs, path: Path) -> Result<(), String> {
    let own = if path == Path::Local { Own::thread()? } else { Own::process("127.0.0.1")? };
    let mut target = own.connect()?;
    let setup = Setup { path, buffer: BUFFER, has_checksum: true, lanes: 0, worker_threads: 0 };
    let opened = target.open(&setup)?;
    let memory = Mapped::anonymous(BUFFER)?;
    let (mut create, mut first, mut destroy) = (Latency::default(), Latency::default(), Latency::default());
    for _ in 0..args.count {
        let begun = Instant::now();
        let engine = open_engine(&setup, Some("127.0.0.1".to_owned()))?;
        create.record(begun.elapsed());
        engine.register_memory(memory.mem().address(), BUFFER, &MemoryOptions::default()).map_err(text)?;

        let begun = Instant::now();
        let segment = engine.open_segment(&opened.address, Some(OPEN_PATIENCE)).map_err(text)?;
        let request = Request {
            opcode: Opcode::Write,
            segment,
            remote: opened.destination as u64,
            length: BUFFER as u64,
            local: Local::Contiguous(memory.mem().address()),
            user_data: 0,
        };
        let batch = engine.submit(std::iter::once(Ok(request)), BatchOptions::default()).map_err(text)?;
        let info = engine.wait(batch, None).map_err(text)?;
        first.record(begun.elapsed());
        if info.status.is_some() {
            return Err(text(engine.batch_error(batch, info)));
        }
        let begun = Instant::now();
        engine.destroy();
        destroy.record(begun.elapsed());
    }
    let ms = |latency: &Latency, share| latency.percentile_us(share) / 1e3;
    if args.json {
        let both = |latency| json!({ "p50_ms": ms(latency, 0.5), "p99_ms": ms(latency, 0.99) });
        let row = json!({
            "bench": "start", "path": path, "count": args.count,
            "create": both(&create), "first_transfer": both(&first), "destroy": both(&destroy),
        });
        say!("{row}");
    } else {
        say!("{} engines with one peer over {}: p50, p99 in milliseconds", args.count, path.name());
        for (name, latency) in [("create", &create), ("meet, write 4 KiB", &first), ("destroy", &destroy)] {
            say!("  {name:<20} {:>9.3} {:>9.3}", ms(latency, 0.5), ms(latency, 0.99));
        }
    }
    Ok(())
}
