//! Counters of one engine: relaxed atomics, read as a snapshot or as Prometheus' text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Local,
    Memfd,
    Cma,
    Tcp,
}

impl Path {
    pub const ALL: [Path; 4] = [Path::Local, Path::Memfd, Path::Cma, Path::Tcp];

    pub fn name(self) -> &'static str {
        match self {
            Path::Local => "local",
            Path::Memfd => "memfd",
            Path::Cma => "cma",
            Path::Tcp => "tcp",
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub fn increment(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes over one path. Aligned, so that threads on different paths do not share a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct PathCounters {
    pub read_bytes: Counter,
    pub written_bytes: Counter,
    pub served_read_bytes: Counter,
    pub served_written_bytes: Counter,
}

/// Bucket `i` counts those that took less than 2^i microseconds and no less than half of that; the last takes the rest.
const BUCKET_COUNT: usize = 28;

/// How long batches, or other things, took. Costs two relaxed additions each.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BUCKET_COUNT],
    total_us: Counter,
}

impl Histogram {
    /// One that stands for `weight` alike.
    pub fn observe(&self, took: Duration, weight: u64) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)].add(weight);
        self.total_us.add(us.saturating_mul(weight));
    }

    /// The samples of a metric of this name, with `label` beside those of a histogram.
    pub fn write(&self, text: &mut String, name: &str, label: &str) -> std::fmt::Result {
        let mut count = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            count += bucket.get();
            let bound = if index == BUCKET_COUNT - 1 {
                "+Inf".to_owned()
            } else {
                format!("{}", (1u64 << index) as f64 / 1e6)
            };
            writeln!(text, "{name}_bucket{{{label},le=\"{bound}\"}} {count}")?;
        }
        let sum = self.total_us.get() as f64 / 1e6;
        writeln!(text, "{name}_sum{{{label}}} {sum}")?;
        writeln!(text, "{name}_count{{{label}}} {count}")
    }
}

fn bucket(us: u64) -> usize {
    ((u64::BITS - us.leading_zeros()) as usize).min(BUCKET_COUNT - 1)
}

/// What one engine counts.
#[derive(Debug, Default)]
pub struct Metrics {
    paths: [PathCounters; 4],
    pub batch_count: Counter,
    pub completed_count: Counter,
    pub failed_count: Counter,
    pub retry_count: Counter,
    pub corrupted_count: Counter,
    pub accepted_count: Counter,
    pub refused_count: Counter,
    pub wakeup_count: Counter,
    pub notify_count: Counter,
    pub batch_latency: Histogram,
}

/// Bytes over one path at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathStats {
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub served_read_bytes: u64,
    pub served_written_bytes: u64,
}

/// All counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub local: PathStats,
    pub memfd: PathStats,
    pub cma: PathStats,
    pub tcp: PathStats,
    pub batch_count: u64,
    pub completed_count: u64,
    pub failed_count: u64,
    pub retry_count: u64,
    pub corrupted_count: u64,
    pub accepted_count: u64,
    pub refused_count: u64,
    pub wakeup_count: u64,
    pub notify_count: u64,
}

impl Stats {
    pub fn path(&self, path: Path) -> &PathStats {
        match path {
            Path::Local => &self.local,
            Path::Memfd => &self.memfd,
            Path::Cma => &self.cma,
            Path::Tcp => &self.tcp,
        }
    }
}

type Field<T> = fn(&T) -> u64;

/// Name, help and field of the metrics with a `path` label.
const PATH_METRICS: [(&str, &str, Field<PathStats>); 4] = [
    ("read_bytes_total", "Bytes read from peers.", |path| path.read_bytes),
    ("written_bytes_total", "Bytes written to peers.", |path| path.written_bytes),
    ("served_read_bytes_total", "Bytes that peers read from this engine.", |path| path.served_read_bytes),
    ("served_written_bytes_total", "Bytes that peers wrote into this engine.", |path| {
        path.served_written_bytes
    }),
];

/// Name, help and field of the others.
const METRICS: [(&str, &str, Field<Stats>); 9] = [
    ("batches_total", "Batches started.", |stats| stats.batch_count),
    ("requests_completed_total", "Requests completed.", |stats| stats.completed_count),
    ("requests_failed_total", "Requests that ended otherwise.", |stats| stats.failed_count),
    ("slices_retried_total", "Slices sent again.", |stats| stats.retry_count),
    ("slices_corrupted_total", "Slices whose checksum did not match.", |stats| stats.corrupted_count),
    ("connections_accepted_total", "Connections accepted.", |stats| stats.accepted_count),
    ("refused_total", "Connections, frames and accesses refused.", |stats| stats.refused_count),
    ("wakeups_total", "Times a worker thread woke up.", |stats| stats.wakeup_count),
    ("notifications_total", "Notifications sent and received.", |stats| stats.notify_count),
];

impl Metrics {
    pub fn path(&self, path: Path) -> &PathCounters {
        &self.paths[path as usize]
    }

    pub fn snapshot(&self) -> Stats {
        let path = |path: Path| {
            let counters = self.path(path);
            PathStats {
                read_bytes: counters.read_bytes.get(),
                written_bytes: counters.written_bytes.get(),
                served_read_bytes: counters.served_read_bytes.get(),
                served_written_bytes: counters.served_written_bytes.get(),
            }
        };
        Stats {
            local: path(Path::Local),
            memfd: path(Path::Memfd),
            cma: path(Path::Cma),
            tcp: path(Path::Tcp),
            batch_count: self.batch_count.get(),
            completed_count: self.completed_count.get(),
            failed_count: self.failed_count.get(),
            retry_count: self.retry_count.get(),
            corrupted_count: self.corrupted_count.get(),
            accepted_count: self.accepted_count.get(),
            refused_count: self.refused_count.get(),
            wakeup_count: self.wakeup_count.get(),
            notify_count: self.notify_count.get(),
        }
    }

    /// The counters in Prometheus' text format (version 0.0.4), every sample labelled with the engine's name.
    pub fn prometheus(&self, engine_name: &str) -> String {
        let mut text = String::with_capacity(8192);
        self.write_prometheus(&escape(engine_name), &mut text).expect("writing to a String cannot fail");
        text
    }

    fn write_prometheus(&self, engine: &str, text: &mut String) -> std::fmt::Result {
        let stats = self.snapshot();
        for (name, help, field) in PATH_METRICS {
            head(text, name, help, "counter")?;
            for path in Path::ALL {
                let value = field(stats.path(path));
                let path = path.name();
                writeln!(text, "mooncake_transfer_{name}{{engine=\"{engine}\",path=\"{path}\"}} {value}")?;
            }
        }
        for (name, help, field) in METRICS {
            head(text, name, help, "counter")?;
            writeln!(text, "mooncake_transfer_{name}{{engine=\"{engine}\"}} {}", field(&stats))?;
        }
        self.write_latency(engine, text)
    }

    fn write_latency(&self, engine: &str, text: &mut String) -> std::fmt::Result {
        let name = "batch_latency_seconds";
        head(
            text,
            name,
            "From submit to the last completion of a batch; of those that end at once, one in 16 counts for all.",
            "histogram",
        )?;
        let label = format!("engine=\"{engine}\"");
        self.batch_latency.write(text, "mooncake_transfer_batch_latency_seconds", &label)
    }
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) -> std::fmt::Result {
    writeln!(text, "# HELP mooncake_transfer_{name} {help}")?;
    writeln!(text, "# TYPE mooncake_transfer_{name} {kind}")
}

/// A text as the value of a label.
pub fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_counts_for_itself() {
        let metrics = Metrics::default();
        for (index, path) in Path::ALL.into_iter().enumerate() {
            metrics.path(path).read_bytes.add(index as u64 + 1);
        }
        metrics.retry_count.increment();
        let stats = metrics.snapshot();
        assert_eq!(Path::ALL.map(|path| stats.path(path).read_bytes), [1, 2, 3, 4]);
        assert_eq!((stats.local.read_bytes, stats.tcp.read_bytes, stats.retry_count), (1, 4, 1));
    }

    #[test]
    fn a_bucket_holds_what_its_bound_says() {
        assert_eq!([0, 1, 2, 3, 4, 1023, 1024].map(bucket), [0, 1, 2, 2, 3, 10, 11]);
        assert_eq!(bucket(u64::MAX), BUCKET_COUNT - 1);
    }

    #[test]
    fn the_text_has_one_head_per_metric_and_escaped_labels() {
        let metrics = Metrics::default();
        metrics.path(Path::Tcp).written_bytes.add(7);
        metrics.batch_latency.observe(Duration::from_micros(3), 1);
        metrics.batch_latency.observe(Duration::from_secs(3600), 1);
        let text = metrics.prometheus("a\"b\\c\nd");
        let label = r#"engine="a\"b\\c\nd""#;
        assert!(text.contains(&format!("mooncake_transfer_written_bytes_total{{{label},path=\"tcp\"}} 7\n")));
        assert!(text.contains(&format!("_bucket{{{label},le=\"0.000002\"}} 0\n")));
        assert!(text.contains(&format!("_bucket{{{label},le=\"0.000004\"}} 1\n")));
        assert!(text.contains(&format!("_bucket{{{label},le=\"+Inf\"}} 2\n")));
        assert!(text.contains(&format!("mooncake_transfer_batch_latency_seconds_count{{{label}}} 2\n")));
        let mut heads: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let all = heads.len();
        heads.dedup();
        assert_eq!((heads.len(), all), (14, 14));
        assert!(text.lines().all(|line| line.starts_with("# ") || line.starts_with("mooncake_transfer_")));
    }
}
