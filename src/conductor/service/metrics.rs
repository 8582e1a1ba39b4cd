//! What the conductor counts, and the text that tells it to Prometheus.

use std::fmt::Write;

use super::Conductor;
use super::explain::reason;
use super::hooks::refuse_inside;
use super::words::{Decision, Feedback};
use crate::conductor::schedule::Reason;
use crate::error::Result;
use crate::telemetry::metrics::{Counter, Histogram, escape};

const REASONS: [Reason; 3] = [Reason::Prefill, Reason::Decode, Reason::Rule];

#[derive(Debug, Default)]
pub struct Counts {
    pub decided: Counter,
    rejected: [Counter; 3],
    /// By [`Feedback`].
    pub feedback: [Counter; 5],
    pub reports: Counter,
    /// Blocks stored and removed, and clearings, by events.
    pub stored: Counter,
    pub removed: Counter,
    pub cleared: Counter,
    /// Events of nobody.
    pub unknown: Counter,
    pub matches: Counter,
    pub asked_blocks: Counter,
    pub found_blocks: Counter,
    pub promised: Counter,
    pub prompt_blocks: Counter,
    pub reused_blocks: Counter,
    pub moved_blocks: Counter,
    pub advised: Counter,
    pub schedule_latency: Histogram,
}

impl Counts {
    pub fn rejected(&self, reason: Reason) -> &Counter {
        &self.rejected[reason as usize]
    }

    pub fn decided(&self, decision: &Decision) {
        self.decided.increment();
        self.prompt_blocks.add(u64::from(decision.blocks));
        self.reused_blocks.add(u64::from(decision.reused));
        self.moved_blocks.add(u64::from(decision.moved));
    }
}

type Field = fn(&Counts) -> &Counter;

/// Name, help and field of the plain counters.
const COUNTERS: [(&str, &str, Field); 13] = [
    ("decisions_total", "Requests that were sent to an instance.", |counts| &counts.decided),
    ("reports_total", "Load reports of instances.", |counts| &counts.reports),
    ("blocks_stored_total", "Blocks that events said are stored.", |counts| &counts.stored),
    ("blocks_removed_total", "Blocks that events said are removed.", |counts| &counts.removed),
    ("clearings_total", "Events that cleared a tier or all of an instance.", |counts| &counts.cleared),
    ("events_unknown_total", "Events of instances that are not registered.", |counts| &counts.unknown),
    ("matches_total", "Prompts that were matched.", |counts| &counts.matches),
    ("blocks_asked_total", "Full blocks of these.", |counts| &counts.asked_blocks),
    ("blocks_found_total", "Blocks of these in their longest match.", |counts| &counts.found_blocks),
    ("blocks_promised_total", "Blocks that count as on their way by decisions.", |counts| &counts.promised),
    ("blocks_reused_total", "Blocks that decided requests need not compute.", |counts| &counts.reused_blocks),
    ("blocks_moved_total", "Blocks of these that are moved.", |counts| &counts.moved_blocks),
    ("copies_advised_total", "Copies of hot prefixes that were advised.", |counts| &counts.advised),
];

/// Sums over the schedulers of all models.
#[derive(Default)]
struct Sums {
    running: usize,
    lost: u64,
    predicted: u64,
    error: f64,
    observed: f64,
}

/// What there is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub instances: usize,
    pub contexts: usize,
    /// Requests that were decided and have not ended.
    pub requests: usize,
    /// Blocks that somebody holds, of all contexts.
    pub blocks: usize,
    pub decided: u64,
    pub rejected: u64,
    /// Hooks that were switched off, a bit each in the order of [`super::Hooks`].
    pub hooks_off: u32,
}

impl Conductor {
    pub fn status(&self) -> Result<Status> {
        refuse_inside()?;
        let directory = self.directory.read();
        let blocks = directory.spaces().map(|space| space.indexed.read().index.len()).sum();
        let (instances, contexts) = (directory.instances.len(), directory.spaces.len());
        drop(directory);
        let requests = self.live.lock().requests.len();
        let rejected = self.counts.rejected.iter().map(Counter::get).sum();
        let (decided, hooks_off) = (self.counts.decided.get(), self.hooks.off());
        Ok(Status { instances, contexts, requests, blocks, decided, rejected, hooks_off })
    }

    /// Everything that is counted, in Prometheus' text format (version 0.0.4), labelled with the conductor's name.
    pub fn metrics(&self) -> Result<String> {
        refuse_inside()?;
        let mut text = String::with_capacity(8192);
        let label = format!("conductor=\"{}\"", escape(&self.options.name));
        self.write_metrics(&mut text, &label).expect("writing to a String cannot fail");
        Ok(text)
    }

    fn write_metrics(&self, text: &mut String, label: &str) -> std::fmt::Result {
        let counts = &self.counts;
        for (name, help, field) in COUNTERS {
            head(text, name, help, "counter")?;
            sample(text, name, label, field(counts).get())?;
        }
        head(text, "rejections_total", "Requests that were not taken on.", "counter")?;
        for why in REASONS {
            let label = format!("{label},reason=\"{}\"", reason(why));
            sample(text, "rejections_total", &label, counts.rejected(why).get())?;
        }
        head(text, "feedback_total", "What was told of requests.", "counter")?;
        for what in Feedback::ALL {
            let label = format!("{label},what=\"{}\"", what.name());
            sample(text, "feedback_total", &label, counts.feedback[what as usize].get())?;
        }
        self.write_hooks(text, label)?;
        self.write_state(text, label)?;
        head(text, "schedule_seconds", "What a decision takes.", "histogram")?;
        counts.schedule_latency.write(text, "mooncake_conductor_schedule_seconds", label)
    }

    fn write_hooks(&self, text: &mut String, label: &str) -> std::fmt::Result {
        type Of = fn(&super::hooks::Watch) -> u64;
        let rows: [(&str, &str, &str, Of); 4] = [
            ("hook_calls_total", "Calls of a hook.", "counter", |watch| watch.calls.get()),
            ("hook_failures_total", "Calls of a hook that failed.", "counter", |watch| watch.failures.get()),
            ("hook_overruns_total", "Calls of a hook beyond its budget.", "counter", |watch| {
                watch.overruns.get()
            }),
            ("hook_is_off", "1: it failed too often and is not called any more.", "gauge", |watch| {
                u64::from(watch.is_off())
            }),
        ];
        for (name, help, kind, of) in rows {
            head(text, name, help, kind)?;
            for watch in self.hooks.watches() {
                sample(text, name, &format!("{label},hook=\"{}\"", watch.name), of(watch))?;
            }
        }
        Ok(())
    }

    fn write_state(&self, text: &mut String, label: &str) -> std::fmt::Result {
        let directory = self.directory.read();
        let (mut sums, mut blocks) = (Sums::default(), 0);
        for model in directory.models() {
            let desk = model.desk.lock();
            let accuracy = desk.scheduler.accuracy();
            sums.running += desk.scheduler.running();
            sums.lost += desk.scheduler.lost();
            sums.predicted += accuracy.count;
            sums.error += accuracy.absolute;
            sums.observed += accuracy.observed;
        }
        directory.spaces().for_each(|space| blocks += space.indexed.read().index.len());
        let gauges = [
            ("instances", "Instances that are registered.", directory.instances.len()),
            ("contexts", "Contexts that are open.", directory.spaces.len()),
            ("blocks", "Blocks that somebody holds.", blocks),
            ("requests", "Requests that were decided and have not ended.", sums.running),
        ];
        drop(directory);
        for (name, help, value) in gauges {
            head(text, name, help, "gauge")?;
            sample(text, name, label, value as u64)?;
        }
        let name = "requests_lost_total";
        head(text, name, "Requests that were given up: their end was not told.", "counter")?;
        sample(text, name, label, sums.lost)?;
        let name = "ttft_predictions_total";
        head(text, name, "First tokens that were predicted and came.", "counter")?;
        sample(text, name, label, sums.predicted)?;
        for (name, help, value) in [
            ("ttft_error_seconds_total", "How far these predictions were off, added up.", sums.error),
            ("ttft_observed_seconds_total", "What the first tokens took, added up.", sums.observed),
        ] {
            head(text, name, help, "counter")?;
            writeln!(text, "mooncake_conductor_{name}{{{label}}} {value}")?;
        }
        Ok(())
    }
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) -> std::fmt::Result {
    writeln!(text, "# HELP mooncake_conductor_{name} {help}")?;
    writeln!(text, "# TYPE mooncake_conductor_{name} {kind}")
}

fn sample(text: &mut String, name: &str, label: &str, value: u64) -> std::fmt::Result {
    writeln!(text, "mooncake_conductor_{name}{{{label}}} {value}")
}
