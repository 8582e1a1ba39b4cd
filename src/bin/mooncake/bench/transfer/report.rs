//! How results are shown: a table with tebench's columns, or one JSON object per line.

use serde_json::{Value as Json, json};

use super::super::case::Case;
use super::super::control::{Counts, PATHS};
use super::figures::{Figures, Ratio};
use super::options::{Switch, TransferArgs};

/// What one case gave.
pub struct Row<'a> {
    pub case: &'a Case,
    pub completion: &'static str,
    pub is_prepared: bool,
    pub has_checksum: bool,
    /// Load of the machine when it was measured, the measurement's own included.
    pub load: f64,
    pub library: Vec<Figures>,
    /// Bytes of the first measurement, as counted at both ends.
    pub here: Counts,
    pub there: Counts,
    pub floors: Vec<(&'static str, Vec<Figures>)>,
}

pub fn print_head(args: &TransferArgs, load: f64) {
    say!(
        "mooncake {}: {} walk over {} MiB, checksums {}, medians of {} x {} s, load {load:.2}",
        env!("CARGO_PKG_VERSION"),
        if args.hot { "hot" } else { "cold" },
        args.buffer >> 20,
        if args.checksum == Switch::On { "on" } else { "off" },
        args.reps,
        args.secs
    );
    say!(
        "{:>11} {:>6} {:>3} {:<5} {:<18} {:>9} {:>10} {:>12} {:>12} {:>12} {:>12} {:>12} {:>8} {:>9} {:>9}  Bytes here / there, or ratio to it",
        "BlkSize (B)",
        "Batch",
        "Thr",
        "Op",
        "Path",
        "BW (GB/s)",
        "Avg Inst.",
        "Avg Lat (us)",
        "Avg Tx (us)",
        "P50 Tx (us)",
        "P99 Tx (us)",
        "P999 Tx (us)",
        "GiB/s",
        "kop/s",
        "CPU s/GiB",
    );
}

impl Row<'_> {
    pub fn print(&self) {
        let case = self.case;
        let how = if self.is_prepared { "post, " } else { "" };
        let start = format!("{:>11} {:>6} {:>3} {:<5}", case.size, case.batch, case.threads, case.op.name());
        let path = format!("{} ({how}{})", case.path.name(), self.completion);
        say!("{start} {path:<18} {}  {}, verified", columns(&Figures::median(&self.library)), self.moved());
        for (name, figures) in &self.floors {
            let ratio = Ratio::of(&self.library, figures);
            let name = format!("raw {name}");
            say!(
                "{:>28} {name:<18} {}  x{:.3} of its rate, x{:.3} of its p50, x{:.2} of its CPU",
                "",
                columns(&Figures::median(figures)),
                ratio.rate,
                ratio.p50,
                ratio.cpu
            );
        }
    }

    /// "tcp 1.02 GiB / 1.02 GiB"
    fn moved(&self) -> String {
        let gib = |bytes: u64| format!("{:.3} GiB", bytes as f64 / (1u64 << 30) as f64);
        let used = |index: &usize| self.here.moved[*index] != 0 || self.there.served[*index] != 0;
        let path = |index: usize| {
            let there = self.there.served[index];
            let there = if there == 0 { "no hand".to_owned() } else { gib(there) };
            format!("{} {} / {there}", PATHS[index].name(), gib(self.here.moved[index]))
        };
        (0..PATHS.len()).filter(used).map(path).collect::<Vec<_>>().join(", ")
    }

    pub fn json(&self) -> Json {
        let bytes = |counts: [u64; 4]| -> Json {
            PATHS
                .iter()
                .zip(counts)
                .map(|(path, bytes)| (path.name().to_owned(), json!(bytes)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let floors: Vec<Json> = self
            .floors
            .iter()
            .map(|(name, figures)| {
                let ratio = Ratio::of(&self.library, figures);
                let mut floor = json_of(figures);
                floor["floor"] = json!(name);
                floor["ratio"] = json!({ "rate": ratio.rate, "p50": ratio.p50, "cpu": ratio.cpu });
                floor
            })
            .collect();
        let mut row = json_of(&self.library);
        let case = self.case;
        for (key, value) in [
            ("path", json!(case.path)),
            ("op", json!(case.op)),
            ("block_size", json!(case.size)),
            ("batch", json!(case.batch)),
            ("threads", json!(case.threads)),
            ("walk", json!(if case.is_cold { "cold" } else { "hot" })),
            ("completion", json!(self.completion)),
            ("prepared", json!(self.is_prepared)),
            ("checksum", json!(self.has_checksum)),
            ("load1", json!(self.load)),
            ("verified", json!(true)),
            ("bytes_here", bytes(self.here.moved)),
            ("bytes_there", bytes(self.there.served)),
            ("floors", json!(floors)),
        ] {
            row[key] = value;
        }
        row
    }
}

fn columns(figures: &Figures) -> String {
    format!(
        "{:>9.3} {:>10.3} {:>12.2} {:>12.2} {:>12.2} {:>12.2} {:>12.2} {:>8.3} {:>9.1} {:>9.3}",
        figures.gb_per_s,
        figures.instant_gb_per_s,
        figures.latency_us,
        figures.transfer_us,
        figures.p50_us,
        figures.p99_us,
        figures.p999_us,
        figures.gib_per_s,
        figures.kop_per_s,
        figures.cpu_s_per_gib
    )
}

/// Medians, and the rate of every repetition.
fn json_of(all: &[Figures]) -> Json {
    let figures = Figures::median(all);
    let reps: Vec<f64> = all.iter().map(|figures| figures.gib_per_s).collect();
    json!({
        "gb_per_s": figures.gb_per_s,
        "gib_per_s": figures.gib_per_s,
        "instant_gb_per_s": figures.instant_gb_per_s,
        "kop_per_s": figures.kop_per_s,
        "avg_latency_us": figures.latency_us,
        "avg_transfer_us": figures.transfer_us,
        "p50_us": figures.p50_us,
        "p99_us": figures.p99_us,
        "p999_us": figures.p999_us,
        "cpu_s_per_gib": figures.cpu_s_per_gib,
        "reps_gib_per_s": reps,
    })
}
