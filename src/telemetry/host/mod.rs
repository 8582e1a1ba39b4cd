//! What was found on this host: what works, what does not, why, and what to do.

mod devices;
mod kernel;
mod memory;
mod network;

use std::fs;

use serde::Serialize;

/// How good news is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is there and works.
    Ok,
    /// It is not there; something else is used instead.
    Missing,
    /// It is there, and something about it costs speed or will fail.
    Warning,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Group, such as "memory".
    pub group: &'static str,
    pub name: String,
    pub state: State,
    /// What was found.
    pub value: String,
    /// What it means for transfers.
    pub why: String,
    /// What to do about it; empty when nothing.
    pub advice: String,
}

impl Finding {
    fn new(group: &'static str, name: impl Into<String>, state: State, value: impl Into<String>) -> Finding {
        Finding {
            group,
            name: name.into(),
            state,
            value: value.into(),
            why: String::new(),
            advice: String::new(),
        }
    }

    fn why(mut self, why: impl Into<String>) -> Finding {
        self.why = why.into();
        self
    }

    /// Advice belongs to what is not well: it is dropped where the state is `Ok`.
    fn advice(mut self, advice: impl Into<String>) -> Finding {
        if self.state != State::Ok {
            self.advice = advice.into();
        }
        self
    }
}

/// Everything that was looked at, in groups.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of the library that looked.
    pub version: &'static str,
    pub findings: Vec<Finding>,
}

/// Looks at this host. Reads files and tries to open libraries; changes nothing.
pub fn report() -> Report {
    let mut findings = kernel::findings();
    findings.extend(memory::findings());
    findings.extend(network::findings());
    findings.extend(devices::findings());
    Report { version: env!("CARGO_PKG_VERSION"), findings }
}

pub fn report_json() -> String {
    serde_json::to_string(&report()).expect("a report holds only texts")
}

/// A small file of the kernel without its line feed; `None` when it cannot be read.
fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

/// The names in a directory, sorted; none when it cannot be read.
fn names(path: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The value behind "KEY:" in a file such as /proc/meminfo.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
}

/// Bytes for humans.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit < units.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    if value.fract() == 0.0 {
        format!("{value} {}", units[unit])
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_looks_at_every_group_and_explains_what_is_not_well() {
        let report = report();
        for group in ["kernel", "memory", "network", "devices", "libraries"] {
            assert!(report.findings.iter().any(|finding| finding.group == group), "{group}");
        }
        for finding in &report.findings {
            assert!(!finding.value.is_empty() && !finding.why.is_empty(), "{finding:?}");
            assert_eq!(finding.state == State::Ok, finding.advice.is_empty(), "{finding:?}");
        }
    }

    #[test]
    fn the_json_is_an_object_with_findings() {
        let json: serde_json::Value = serde_json::from_str(&report_json()).expect("JSON");
        let first = &json["findings"][0];
        for key in ["group", "name", "state", "value", "why", "advice"] {
            assert!(first[key].is_string(), "{key}");
        }
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!([0, 1023, 2048, 1536 << 20].map(size), ["0 B", "1023 B", "2 KiB", "1.5 GiB"]);
    }
}
