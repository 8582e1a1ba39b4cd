//! Figures as Prometheus reads them: the conductor's own, and those of each publisher.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use super::answer::Wrong;
use super::api::Api;
use super::intake::figures::COUNTERS;

const PREFIX: &str = "mooncake_conductor";

pub fn text(api: &Api) -> Result<String, Wrong> {
    let mut text = api.conductor.metrics()?;
    write(api, &mut text).map_err(|_| {
        let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
        Wrong::new(status, "internal", "the metrics could not be written")
    })?;
    Ok(text)
}

fn write(api: &Api, text: &mut String) -> std::fmt::Result {
    let publishers = api.sources.each(|source| {
        let name = source.terms.name();
        let [instance, tenant] = [&name.instance, &name.tenant].map(|name| escape(name));
        let label = format!("instance=\"{instance}\",tenant=\"{tenant}\",rank=\"{}\"", name.rank);
        (label, source.watched.clone())
    });
    head(text, "publisher_connected", "1: events of the publisher can arrive.", "gauge")?;
    for (label, watched) in &publishers {
        let is_connected = u8::from(watched.figures.is_connected());
        writeln!(text, "{PREFIX}_publisher_connected{{{label}}} {is_connected}")?;
    }
    for (name, help, counter) in COUNTERS {
        head(text, &format!("publisher_{name}_total"), help, "counter")?;
        for (label, watched) in &publishers {
            let count = counter(&watched.figures).load(Relaxed);
            writeln!(text, "{PREFIX}_publisher_{name}_total{{{label}}} {count}")?;
        }
    }
    for (name, help, count) in [
        ("snapshots_total", "Snapshots that were written.", &api.snapshots),
        ("snapshot_failures_total", "Snapshots that could not be written.", &api.snapshot_failures),
    ] {
        head(text, name, help, "counter")?;
        writeln!(text, "{PREFIX}_{name} {}", count.load(Relaxed))?;
    }
    Ok(())
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) -> std::fmt::Result {
    writeln!(text, "# HELP {PREFIX}_{name} {help}\n# TYPE {PREFIX}_{name} {kind}")
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
