//! `mooncake doctor`: what was found on this host, what not, why, and what to do.

use std::io::IsTerminal;

use clap::Args;
use mooncake::telemetry::host::{self, Finding, Report, State};

/// Tells what was found on this host, what not, why, and what to do.
#[derive(Args)]
pub struct DoctorArgs {
    /// The report as JSON, the same that mc_host_get_report() gives.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &DoctorArgs) -> Result<(), String> {
    if args.json {
        say!("{}", host::report_json());
        return Ok(());
    }
    let wants_colour = std::io::stdout().is_terminal();
    say!("{}", table(&host::report(), wants_colour).trim_end());
    Ok(())
}

fn table(report: &Report, has_colour: bool) -> String {
    let width = report.findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
    let mut text = format!("mooncake {} on this host\n", report.version);
    let mut group = "";
    for finding in &report.findings {
        if finding.group != group {
            group = finding.group;
            text.push_str(&format!("\n{group}\n"));
        }
        text.push_str(&line(finding, width, has_colour));
    }
    let count = |state| report.findings.iter().filter(|finding| finding.state == state).count();
    let (warnings, missing) = (count(State::Warning), count(State::Missing));
    text.push_str(&format!("\n{} ok, {warnings} to look at, {missing} not there\n", count(State::Ok)));
    text
}

fn line(finding: &Finding, width: usize, has_colour: bool) -> String {
    let (word, colour) = match finding.state {
        State::Ok => ("ok", 32),
        State::Warning => ("look", 33),
        State::Missing => ("none", 90),
    };
    let word = if has_colour { format!("\x1b[{colour}m{word:<4}\x1b[0m") } else { format!("{word:<4}") };
    let mut text = format!("  {word}  {:<width$}  {}\n", finding.name, finding.value);
    let indent = " ".repeat(width + 10);
    if finding.state != State::Ok {
        text.push_str(&format!("{indent}why: {}\n", finding.why));
    }
    if !finding.advice.is_empty() {
        text.push_str(&format!("{indent}do:  {}\n", finding.advice));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_well_says_why_and_what_to_do() {
        let report = host::report();
        let plain = table(&report, false);
        for finding in report.findings.iter().filter(|finding| finding.state != State::Ok) {
            assert!(plain.contains(&format!("why: {}\n", finding.why)), "{plain}");
            assert!(plain.contains(&format!("do:  {}\n", finding.advice)), "{plain}");
        }
        assert!(report.findings.iter().all(|finding| plain.contains(&finding.name)));
    }

    #[test]
    fn colours_come_only_when_asked_for() {
        let report = host::report();
        assert!(!table(&report, false).contains('\x1b'));
        assert!(table(&report, true).contains("\x1b[32mok"));
    }
}
