//! `mooncake trace`: makes request traces, and tells what a trace looks like.

mod describe;
mod generate;
mod model;
mod random;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Deserialize;

pub use generate::Generator;
use model::HOUR_SECONDS;

/// Tokens of one block.
pub const BLOCK_TOKENS: u64 = model::BLOCK_TOKENS.unsigned_abs();

/// Makes request traces, or tells what one looks like.
#[derive(Args)]
pub struct TraceArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Writes a trace with the arrivals, lengths and sharing of the published conversation hour.
    Generate(GenerateArgs),
    /// Prints the figures of traces side by side.
    Describe(DescribeArgs),
}

#[derive(Args)]
struct GenerateArgs {
    /// Stop after so many requests.
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    requests: Option<u64>,
    /// Stop after so many seconds of trace time [default: 3540, the published hour].
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// The same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Requests per second, as a multiple of the published rate; 0.001 to 1000.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    rate_scale: f64,
    /// Write here instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args)]
struct DescribeArgs {
    /// JSON lines of timestamp, input_length, output_length, hash_ids.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// One line of a trace.
#[derive(Debug, Deserialize, PartialEq)]
pub struct Request {
    /// Milliseconds since the trace began.
    pub timestamp: u64,
    pub input_length: u64,
    pub output_length: u64,
    /// One per 512 tokens of input; equal ids are equal blocks with equal blocks before them.
    pub hash_ids: Vec<u64>,
}

pub fn run(args: TraceArgs) -> Result<(), String> {
    match args.verb {
        Verb::Generate(args) => generate(&args),
        Verb::Describe(args) => print_figures(&args.files),
    }
}

fn generate(args: &GenerateArgs) -> Result<(), String> {
    if !(0.001..=1000.0).contains(&args.rate_scale) {
        return Err(format!("--rate-scale is {}: it can be 0.001 to 1000", args.rate_scale));
    }
    // In range, so the thousandths are 1 to 1,000,000.
    let generator = Generator::new(args.seed, (args.rate_scale * 1000.0).round() as u64);
    let seconds = args.seconds.unwrap_or(HOUR_SECONDS);
    let limit = args.requests.unwrap_or(u64::MAX);
    let end_ms = if args.requests.is_some() { u64::MAX } else { seconds.saturating_mul(1000) };
    let requests = generator.take_while(|request| request.timestamp < end_ms);
    let requests = requests.zip(0..limit).map(|(request, _)| request);

    let Some(path) = &args.out else {
        return match write_lines(requests, io::stdout().lock()) {
            // Whoever reads has enough: `mooncake trace generate | head`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|error| format!("cannot write to standard output: {error}")),
        };
    };
    File::create(path)
        .and_then(|file| write_lines(requests, file))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn write_lines(requests: impl Iterator<Item = Request>, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 18, out);
    for Request { timestamp, input_length, output_length, hash_ids } in requests {
        write!(
            out,
            "{{\"timestamp\": {timestamp}, \"input_length\": {input_length}, \
             \"output_length\": {output_length}, \"hash_ids\": ["
        )?;
        for (index, id) in hash_ids.iter().enumerate() {
            write!(out, "{}{id}", if index == 0 { "" } else { ", " })?;
        }
        out.write_all(b"]}\n")?;
    }
    out.flush()
}

fn print_figures(files: &[PathBuf]) -> Result<(), String> {
    let mut columns = Vec::new();
    for path in files {
        columns.push(describe::describe(&read(path)?));
    }
    let names = files.iter().map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    let title = ("".to_string(), names.collect());
    let figures = (0..columns[0].len()).map(|index| {
        (columns[0][index].0.clone(), columns.iter().map(|column| column[index].1.clone()).collect())
    });
    let rows: Vec<(String, Vec<String>)> = std::iter::once(title).chain(figures).collect();
    let widths: Vec<usize> = (0..files.len())
        .map(|column| rows.iter().map(|row| row.1[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (name, values) in &rows {
        text.push_str(&format!("{name:40}"));
        for (value, width) in values.iter().zip(&widths) {
            text.push_str(&format!("  {value:>width$}"));
        }
        text.push('\n');
    }
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

/// Reads a whole trace from a file.
pub fn read(path: &Path) -> Result<Vec<Request>, String> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| format!("cannot open {name}: {error}"))?;
    read_lines(&name, BufReader::new(file))
}

/// Reads a whole trace; an error names the file and the line.
fn read_lines(name: &str, lines: impl BufRead) -> Result<Vec<Request>, String> {
    let mut requests = Vec::new();
    for (index, line) in lines.lines().enumerate() {
        let at = |error: &dyn std::fmt::Display| format!("{name}:{}: {error}", index + 1);
        let line = line.map_err(|error| at(&error))?;
        if !line.trim().is_empty() {
            requests.push(serde_json::from_str(&line).map_err(|error| at(&error))?);
        }
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: u64, count: usize) -> String {
        let mut bytes = Vec::new();
        write_lines(Generator::new(seed, 1000).take(count), &mut bytes).expect("memory can be written");
        String::from_utf8(bytes).expect("a trace is text")
    }

    /// Traces that people have made stay reproducible: these bytes may only change with the model.
    #[test]
    fn the_same_seed_gives_the_same_bytes_on_every_machine() {
        assert_eq!(text(1, 500), text(1, 500));
        assert_ne!(text(1, 500), text(2, 500));
        let sum = text(1, 500).bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        assert_eq!(sum, 0x6079_0911_d918_a4a8, "FNV-1a of 500 requests of seed 1");
    }

    #[test]
    fn what_is_written_can_be_read() {
        let read = read_lines("memory", text(3, 100).as_bytes()).expect("lines are requests");
        assert_eq!(read, Generator::new(3, 1000).take(100).collect::<Vec<_>>());
    }

    #[test]
    fn a_bad_line_is_named() {
        let bad = text(1, 2) + "\n{\"timestamp\": -1}\n";
        let error = read_lines("trace.jsonl", bad.as_bytes()).expect_err("the fourth line is bad");
        assert!(error.starts_with("trace.jsonl:4: "), "{error}");
    }

    /// The figures of docs/trace.md, loosely: whoever changes the model sees what it was for.
    #[test]
    fn the_generated_hour_resembles_the_published_one() {
        for seed in [1, 2, 3] {
            let hour: Vec<Request> = Generator::new(seed, 1000)
                .take_while(|request| request.timestamp < HOUR_SECONDS * 1000)
                .collect();
            let figures = describe::describe(&hour);
            let figure = |name: &str| -> f64 {
                let row = figures.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("no row {name}"));
                row.1.trim_end_matches(" %").parse().unwrap_or_else(|_| panic!("{name} is {}", row.1))
            };
            for (name, published, tolerance) in [
                ("requests", 12_031.0, 400.0),
                ("input tokens, mean", 12_035.0, 800.0),
                ("input tokens, median", 6_909.0, 600.0),
                ("output tokens, mean", 343.0, 12.0),
                ("unique blocks used once", 75.85, 5.0),
                ("blocks reused as a prefix", 36.64, 3.0),
                ("requests that share a prefix of 2 blocks", 38.72, 3.0),
                ("hits of an LRU cache of 1000 blocks", 4.45, 1.0),
                ("hits of an LRU cache of 10000 blocks", 21.12, 3.0),
            ] {
                let found = figure(name);
                assert!(
                    (found - published).abs() <= tolerance,
                    "seed {seed}: {name}: {found}, published {published}"
                );
            }
        }
    }
}
