//! What `mooncake bench transfer` can be told.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::super::case::{Case, Op, Path};
use super::super::control::PATHS;
use super::super::drive::Times;
use super::super::end::Setup;
use super::super::floors::Floor;

/// Moves blocks between two processes and tells how fast, beside what the machine can do without the library.
///
/// Without --target and --initiator it starts its own target process on this host.
#[derive(Args, Clone)]
pub struct TransferArgs {
    /// Be the target: offer memory, and do what initiators ask.
    #[arg(long, conflicts_with = "initiator")]
    pub target: bool,
    /// Move blocks from and to the target that runs at this address.
    #[arg(long, value_name = "HOST:PORT")]
    pub initiator: Option<String>,
    /// Address that target and initiator listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind: String,
    /// Port of the target's control connection; 0: one that the kernel gives.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// The other end is an engine of Mooncake: as the target a buffer is offered to it, as the initiator HOST:PORT is the
    /// name of its segment. One JSON object per line.
    #[arg(long)]
    pub compat: bool,
    /// End the target when its first initiator has left.
    #[arg(long, hide = true, requires = "target")]
    pub once: bool,

    /// Paths that bytes take, one after the other [default: all; with --initiator tcp].
    #[arg(long, value_enum, value_delimiter = ',')]
    path: Vec<Path>,
    /// Read from the target, write to it, or both.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "write,read")]
    pub op: Vec<Op>,
    /// Block sizes, such as 4K,64K,1M.
    #[arg(long, value_delimiter = ',', value_parser = parse_size, default_value = "4K,64K,1M,16M", value_name = "BYTES")]
    pub size: Vec<usize>,
    /// Blocks per batch.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=65_536), default_value = "1,16")]
    pub batch: Vec<u32>,
    /// Threads that submit batches at the same time.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=64), default_value = "1")]
    pub threads: Vec<u32>,
    /// How completion is seen.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "wait")]
    pub completion: Vec<Completion>,
    /// Prepare each batch once and post it again and again.
    #[arg(long)]
    pub prepared: bool,

    /// Walk over the whole buffers, so that blocks are in no cache. This is the default.
    #[arg(long, conflicts_with = "hot")]
    pub cold: bool,
    /// Move the same blocks again and again.
    #[arg(long)]
    pub hot: bool,
    /// Size of each of the two buffers at both ends.
    #[arg(long, value_parser = parse_size, default_value = "256M", value_name = "BYTES")]
    pub buffer: usize,

    /// Measure floors too, in turns with the library: those of the path, or the ones listed.
    #[arg(long, value_enum, value_delimiter = ',', num_args = 0.., require_equals = true, value_name = "FLOOR,...")]
    pub floors: Option<Vec<Floor>>,
    /// Checksums on network paths.
    #[arg(long, value_enum, default_value = "on")]
    pub checksum: Switch,
    /// Deadline of each batch in milliseconds; 0: the engine's default.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub deadline: u64,
    /// Connections for data; 0: as the library chooses.
    #[arg(long, default_value_t = 0)]
    pub lanes: u32,
    /// Threads of each engine that move data; 0: as the library chooses.
    #[arg(long, default_value_t = 0)]
    pub workers: u32,

    /// Seconds per measurement.
    #[arg(long, default_value_t = 1.0, value_parser = parse_seconds)]
    pub secs: f64,
    /// Seconds of warming up before each.
    #[arg(long, default_value_t = 0.1, value_parser = parse_seconds)]
    pub warm_up: f64,
    /// Measurements of each, in turns; medians are told.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub reps: u32,
    /// One JSON object per line instead of a table.
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Completion {
    /// Sleep in the library until the batch is done.
    Wait,
    /// Ask the library again and again.
    Poll,
}

impl Completion {
    pub fn name(self) -> &'static str {
        match self {
            Completion::Wait => "wait",
            Completion::Poll => "poll",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

/// Most prepared batches of one thread.
const PREPARED_MAX: usize = 65_536;

impl TransferArgs {
    pub fn times(&self) -> Times {
        Times { warm_up: Duration::from_secs_f64(self.warm_up), run: Duration::from_secs_f64(self.secs) }
    }

    pub fn setup(&self, path: Path) -> Setup {
        Setup {
            path,
            buffer: self.buffer,
            has_checksum: self.checksum == Switch::On,
            lanes: self.lanes,
            worker_threads: self.workers,
        }
    }

    pub fn paths(&self) -> Result<Vec<Path>, String> {
        match (&self.path[..], &self.initiator) {
            ([], None) => Ok(PATHS.to_vec()),
            ([], Some(_)) => Ok(vec![Path::Tcp]),
            (paths, Some(_)) if paths.contains(&Path::Local) => {
                Err("path local stays inside one process: it cannot be had with --initiator".to_owned())
            }
            (paths, _) => Ok(paths.to_vec()),
        }
    }

    /// The matrix of one path.
    pub fn cases(&self, path: Path) -> Vec<Case> {
        let mut cases = Vec::new();
        for &size in &self.size {
            for &batch in &self.batch {
                for &threads in &self.threads {
                    for &op in &self.op {
                        cases.push(Case {
                            path,
                            op,
                            size,
                            batch: batch as usize,
                            threads: threads as usize,
                            is_cold: !self.hot,
                            buffer: self.buffer,
                            positions: if self.prepared { PREPARED_MAX } else { usize::MAX },
                        });
                    }
                }
            }
        }
        cases
    }

    /// The floors that a path is measured against.
    pub fn floors_of(&self, path: Path) -> Vec<Floor> {
        match &self.floors {
            None => Vec::new(),
            Some(floors) if floors.is_empty() => Floor::of_path(path).to_vec(),
            Some(floors) => floors.clone(),
        }
    }
}

/// "4096", "4K", "1M", "2G"; K is 1024.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let wrong = || format!("{text:?} is no size: a number of bytes, or one with K, M or G");
    let upper = text.to_ascii_uppercase();
    let upper = upper.trim_end_matches("IB").trim_end_matches('B');
    let (digits, shift) = match upper.chars().last() {
        Some('K') => (&upper[..upper.len() - 1], 10),
        Some('M') => (&upper[..upper.len() - 1], 20),
        Some('G') => (&upper[..upper.len() - 1], 30),
        _ => (upper, 0),
    };
    let number: usize = digits.parse().map_err(|_| wrong())?;
    number
        .checked_shl(shift)
        .filter(|size| *size > 0 && size >> shift == number && *size <= 1 << 40)
        .ok_or_else(wrong)
}

pub fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("{text:?} is no time: seconds from 0 to 86400")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let sizes = ["64", "4K", "4KiB", "1m", "2G"].map(parse_size);
        assert_eq!(sizes, [Ok(64), Ok(4096), Ok(4096), Ok(1 << 20), Ok(2 << 30)]);
        for bad in ["", "K", "4X", "0", "-1", "99999999999G", "1.5M"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seconds_are_finite() {
        assert_eq!(parse_seconds("0.5"), Ok(0.5));
        for bad in ["", "NaN", "inf", "-1", "1e9"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }
}
