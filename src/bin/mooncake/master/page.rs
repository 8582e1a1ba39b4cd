//! The status page: what a person wants to see first. It needs no script, and nothing from elsewhere.

use std::fmt::Write;
use std::time::Duration;

use mooncake::store::master::server::Seen;

use super::query::escape as key_text;
use super::rates::Rate;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222}\
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25em .6em;border-bottom:1px solid #ddd}td.n,th.n{text-align:right}\
code{word-break:break-all}meter{width:8em}.bad{color:#b00}.muted{color:#777}";
/// Segments that are listed.
const MOST_SEGMENTS: usize = 500;

pub fn html(seen: &Seen, address: &str, time: Duration, rates: &[Rate]) -> String {
    let mut page = String::with_capacity(8 << 10);
    // Writing into a string does not fail.
    let _ = write_page(&mut page, seen, address, time, rates);
    page
}

fn write_page(
    page: &mut String,
    seen: &Seen,
    address: &str,
    time: Duration,
    rates: &[Rate],
) -> std::fmt::Result {
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <title>mooncake master</title><style>{STYLE}</style></head><body><h1>mooncake master at {}</h1>",
        escape(address)
    )?;
    let (class, state) = match (seen.is_deposed, seen.is_serving) {
        (true, _) => ("bad", "replaced by another master: it serves nobody"),
        (_, true) => ("", "serving"),
        _ => ("bad", "waiting for nodes to report what they hold"),
    };
    let stats = &seen.stats;
    write!(
        page,
        "<p class=\"{class}\">{state}</p><p>{} objects, {} of {} in use, {} nodes in view {} of epoch {}, \
         {} connections</p><p class=\"muted\">{} objects evicted ({}), {} lost with their nodes, {} puts found no memory, \
         {} puts were not ended in time, {} ranges are being given up</p>",
        stats.objects,
        bytes(stats.used_bytes),
        bytes(stats.capacity_bytes),
        seen.members,
        seen.view,
        seen.epoch,
        seen.connections,
        stats.evicted,
        bytes(stats.evicted_bytes),
        stats.lost,
        seen.no_space,
        stats.puts_missed,
        stats.dropping,
    )?;
    segments(page, seen)?;
    write!(page, "<h2>Calls by the second</h2><p class=\"muted\">over {} s</p>", time.as_secs())?;
    page.push_str(
        "<table><tr><th>method<th class=\"n\">calls<th class=\"n\">parts<th class=\"n\">not done</tr>",
    );
    for rate in rates {
        let Rate { method, calls, items, failed } = rate;
        write!(
            page,
            "<tr><td>{method}<td class=\"n\">{calls:.1}<td class=\"n\">{items:.1}<td class=\"n\">{failed:.1}</tr>"
        )?;
    }
    page.push_str(
        "</table><h2>Hot keys</h2><p class=\"muted\">from a sample; reads of long ago count less</p>",
    );
    page.push_str("<table><tr><th>key<th>tenant<th class=\"n\">reads, about</tr>");
    for hot in &seen.hot {
        let (key, tenant) = (escape(&key_text(&hot.key)), escape(&hot.tenant));
        write!(page, "<tr><td><code>{key}</code><td>{tenant}<td class=\"n\">{}</tr>", hot.reads)?;
    }
    page.push_str("</table></body></html>\n");
    Ok(())
}

fn segments(page: &mut String, seen: &Seen) -> std::fmt::Result {
    write!(page, "<h2>{} segments</h2><table>", seen.segments.len())?;
    page.push_str("<tr><th>segment<th>node<th>in use<th class=\"n\">of<th>state</tr>");
    for segment in seen.segments.iter().take(MOST_SEGMENTS) {
        let state = match (segment.is_draining, segment.is_open) {
            (true, _) => "draining",
            (_, true) => "open",
            _ => "not yet a member",
        };
        write!(
            page,
            "<tr><td>{}<td><code>{:x}</code><td><meter max=\"{}\" value=\"{}\"></meter> {}<td class=\"n\">{}<td>{state}</tr>",
            escape(&segment.name),
            segment.node.0,
            segment.capacity,
            segment.used,
            bytes(segment.used),
            bytes(segment.capacity),
        )?;
    }
    page.push_str("</table>");
    Ok(())
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_by_people() {
        let shown: Vec<String> = [0, 1023, 1536, 3 << 30, u64::MAX].map(bytes).to_vec();
        assert_eq!(shown, ["0 B", "1023 B", "1.5 KiB", "3.0 GiB", "16384.0 PiB"]);
    }

    #[test]
    fn what_strangers_named_is_no_markup() {
        assert_eq!(escape("<b a=\"'&"), "&lt;b a=&quot;&#39;&amp;");
    }
}
