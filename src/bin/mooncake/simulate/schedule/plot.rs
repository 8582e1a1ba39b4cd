//! What was played, as a picture.

use std::fmt::Write;
use std::path::Path;

use super::Row;
use super::show::name_of;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 50.0;
const COLOURS: [&str; 6] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#555555"];

/// A line with its name, in the units of the axes.
type Line = (String, Vec<(f64, f64)>);

/// Loads over time if requests were rejected in several ways, else how long first tokens take.
pub fn write(path: &Path, rows: &[Row]) -> Result<(), String> {
    let admissions = rows.iter().filter_map(|row| row.setup.full).map(|full| name_of(full.admission));
    let has_several = admissions.collect::<std::collections::BTreeSet<&str>>().len() > 1;
    let panels: Vec<(String, Vec<Line>)> = if has_several {
        rows.iter().map(loads).collect()
    } else {
        vec![(
            "requests (share) by seconds to the first token, logarithmic".into(),
            rows.iter().map(ttft).collect(),
        )]
    };
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH + 2.0 * MARGIN,
        (HEIGHT + MARGIN) * panels.len() as f64 + MARGIN
    );
    for (index, (title, lines)) in panels.iter().enumerate() {
        panel(&mut text, MARGIN + (HEIGHT + MARGIN) * index as f64, title, lines, !has_several);
    }
    text.push_str("</svg>\n");
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn loads(row: &Row) -> (String, Vec<Line>) {
    let full = row.setup.full.as_ref();
    let decode = full
        .and_then(|full| full.decode_seconds)
        .map_or(String::new(), |seconds| format!(", {seconds} s of decode"));
    let admission = full.map_or("", |full| name_of(full.admission));
    let line = |pick: fn(&(f64, f64)) -> f64| {
        row.played.loads.iter().enumerate().map(|(second, loads)| (second as f64, pick(loads))).collect()
    };
    (
        format!("load by seconds, admission {admission}{decode}"),
        vec![("prefill".into(), line(|loads| loads.0)), ("decode".into(), line(|loads| loads.1))],
    )
}

fn ttft(row: &Row) -> Line {
    let count = row.played.ttft.len().max(1) as f64;
    let at = |(rank, seconds): (usize, &f64)| (seconds.max(0.01).log10(), (rank + 1) as f64 / count);
    // A thousand points are more than the picture has dots.
    let step = row.played.ttft.len() / 1000 + 1;
    (row.policy.name.into(), row.played.ttft.iter().enumerate().step_by(step).map(at).collect())
}

fn panel(text: &mut String, top: f64, title: &str, lines: &[Line], logarithmic: bool) {
    let points = || lines.iter().flat_map(|(_, points)| points.iter());
    let bound = |pick: fn(&(f64, f64)) -> f64, least: f64| points().map(pick).fold(least, f64::max);
    let (left, right) =
        (points().map(|point| point.0).fold(f64::INFINITY, f64::min), bound(|point| point.0, f64::MIN));
    let high = bound(|point| point.1, 1.0);
    let x = |at: f64| MARGIN + (at - left) / (right - left).max(f64::MIN_POSITIVE) * WIDTH;
    let y = |value: f64| top + HEIGHT * (1.0 - value / high);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "<text x=\"{MARGIN}\" y=\"{}\">{title}</text>\n<rect x=\"{MARGIN}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#999\"/>",
        top - 6.0
    );
    for (at, label) in [(left, "start"), (right, "end")] {
        let shown = if logarithmic { format!("{:.2} s", 10f64.powf(at)) } else { format!("{at:.0} s") };
        let anchor = label;
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{shown}</text>",
            x(at),
            top + HEIGHT + 14.0
        );
    }
    for value in [0.0, 0.5 * high, high] {
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.2}</text>",
            MARGIN - 4.0,
            y(value) + 4.0
        );
    }
    for (index, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let path: String =
            points.iter().map(|(at, value)| format!("{:.1},{:.1} ", x(*at), y(*value))).collect();
        let _ =
            writeln!(text, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>", path.trim_end());
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
            MARGIN + WIDTH + 4.0,
            top + 14.0 * (index + 1) as f64
        );
    }
}
