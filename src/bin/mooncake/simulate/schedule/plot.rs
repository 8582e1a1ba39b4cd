//! What was played, as a picture.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::svg::{self, Line, Panel};
use super::Row;
use super::show::name_of;

/// Rejections, and loads over time, if requests were rejected in several ways; else how long first tokens take.
pub fn write(path: &Path, rows: &[Row]) -> Result<(), String> {
    let admissions = rows.iter().filter_map(|row| row.setup.full).map(|full| name_of(full.admission));
    let has_several = admissions.collect::<std::collections::BTreeSet<&str>>().len() > 1;
    let panels: Vec<Panel> = if has_several {
        std::iter::once(rejections(rows)).chain(rows.iter().map(loads)).collect()
    } else {
        vec![Panel {
            title: "requests (share) by seconds to the first token, logarithmic".into(),
            lines: rows.iter().map(ttft).collect(),
            logarithmic: true,
            unit: " s",
        }]
    };
    svg::write(path, &panels)
}

/// By how long requests decode, where that was given in several ways; else so far, over time.
fn rejections(rows: &[Row]) -> Panel {
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let seconds = |row: &Row| row.setup.full.as_ref().and_then(|full| full.decode_seconds);
    let by_decode = rows.iter().any(|row| seconds(row) != seconds(&rows[0]));
    for row in rows {
        let Some(full) = &row.setup.full else { continue };
        let line = lines.entry(format!("{}, {}", row.policy.name, name_of(full.admission))).or_default();
        match full.decode_seconds.filter(|_| by_decode) {
            Some(seconds) => line.push((seconds, row.played.rejected.all() as f64)),
            None => line.extend((1..).zip(&row.played.rejections).map(|(count, at)| (*at, f64::from(count)))),
        }
    }
    let title = if by_decode { "rejected requests by seconds of decode" } else { "rejected requests so far" };
    Panel { title: title.into(), lines: lines.into_iter().collect(), logarithmic: false, unit: " s" }
}

fn loads(row: &Row) -> Panel {
    let full = row.setup.full.as_ref();
    let decode = full
        .and_then(|full| full.decode_seconds)
        .map_or(String::new(), |seconds| format!(", {seconds} s of decode"));
    let admission = full.map_or("", |full| name_of(full.admission));
    let line = |pick: fn(&(f64, f64)) -> f64| {
        row.played.loads.iter().enumerate().map(|(second, loads)| (second as f64, pick(loads))).collect()
    };
    Panel {
        title: format!("load by seconds, admission {admission}{decode}"),
        lines: vec![("prefill".into(), line(|loads| loads.0)), ("decode".into(), line(|loads| loads.1))],
        logarithmic: false,
        unit: " s",
    }
}

fn ttft(row: &Row) -> Line {
    let count = row.played.ttft.len().max(1) as f64;
    let at = |(rank, seconds): (usize, &f64)| (seconds.max(0.01), (rank + 1) as f64 / count);
    // A thousand points are more than the picture has dots.
    let step = row.played.ttft.len() / 1000 + 1;
    (row.policy.name.into(), row.played.ttft.iter().enumerate().step_by(step).map(at).collect())
}
