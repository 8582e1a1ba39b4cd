//! `mooncake bench idle`: what an engine costs that has a peer and nothing to do.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::case::{Op, Path};
use super::end::{Setup, open_engine, text};
use super::floors::raw;
use super::target::Own;
use mooncake::engine::batch::{BatchOptions, Local, Request};
use mooncake::segment::memory::MemoryOptions;
use mooncake::transport::Opcode;

/// An idle engine with one connected peer: how often its threads wake up, and the memory it adds to the process.
#[derive(Args)]
pub struct IdleArgs {
    /// Seconds to watch.
    #[arg(long, default_value_t = 10.0, value_parser = super::transfer::options::parse_seconds)]
    secs: f64,
    /// Path to the peer.
    #[arg(long, value_enum, default_value = "tcp")]
    path: Path,
    #[arg(long)]
    json: bool,
}

const BUFFER: usize = 1 << 16;
/// What a transfer started has ended after so long.
const SETTLE: Duration = Duration::from_secs(2);
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

pub fn run(args: &IdleArgs) -> Result<(), String> {
    let own = if args.path == Path::Local { Own::thread()? } else { Own::process("127.0.0.1")? };
    let mut target = own.connect()?;
    let setup = Setup { path: args.path, buffer: BUFFER, has_checksum: true, lanes: 0, worker_threads: 0 };
    let opened = target.open(&setup)?;
    let memory = raw::Mapped::anonymous(BUFFER)?;
    let bare = resident()?;

    let engine = open_engine(&setup, Some("127.0.0.1".to_owned()))?;
    engine.register_memory(memory.mem().address(), BUFFER, &MemoryOptions::default()).map_err(text)?;
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
    if info.status.is_some() {
        return Err(text(engine.batch_error(batch, info)));
    }
    engine.release(batch).map_err(text)?;
    std::thread::sleep(SETTLE);

    let (switches, counted, cpu) = (switches()?, engine.stats().wakeup_count, raw::cpu_time());
    std::thread::sleep(Duration::from_secs_f64(args.secs));
    let per_second = |count: u64| count as f64 / args.secs.max(f64::MIN_POSITIVE);
    let switches = per_second(self::switches()?.saturating_sub(switches));
    let counted = per_second(engine.stats().wakeup_count - counted);
    let cpu_ms = (raw::cpu_time() - cpu).as_secs_f64() * 1e3;
    let added = (resident()? as f64 - bare as f64) / (1u64 << 20) as f64;
    let threads = threads()?.len() - 1;
    engine.destroy();

    if args.json {
        let row = json!({
            "bench": "idle", "path": args.path, "op": Op::Write, "seconds": args.secs, "wakeups_per_s": switches,
            "counted_wakeups_per_s": counted, "cpu_ms": cpu_ms, "rss_added_mib": added, "threads": threads,
        });
        say!("{row}");
    } else {
        say!("idle engine with one peer over {}, watched for {} s", args.path.name(), args.secs);
        say!(
            "  wake-ups of all its threads   {switches:.2} per second by the kernel, {counted:.2} by its own count"
        );
        say!("  processor time                {cpu_ms:.1} ms");
        say!("  resident memory               {added:.2} MiB above the bare process");
        say!("  threads                       {threads}");
    }
    Ok(())
}

/// Resident bytes of this process.
fn resident() -> Result<u64, String> {
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|error| format!("/proc/self/status: {error}"))?;
    let kib = value(&status, "VmRSS:").ok_or("/proc/self/status has no VmRSS")?;
    Ok(kib * 1024)
}

/// Times that threads of this process other than the calling one gave up the processor: each followed a wake-up.
fn switches() -> Result<u64, String> {
    let own = std::process::id();
    let mut sum = 0;
    for thread in threads()? {
        // The main thread is the one that watches. A thread may end between listing and reading.
        if thread != own {
            let status =
                std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap_or_default();
            sum += value(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        }
    }
    Ok(sum)
}

fn threads() -> Result<Vec<u32>, String> {
    let entries =
        std::fs::read_dir("/proc/self/task").map_err(|error| format!("/proc/self/task: {error}"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

fn value(status: &str, key: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
}
