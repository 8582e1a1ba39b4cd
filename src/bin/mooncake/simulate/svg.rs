//! Lines in panels, one below the other, as a picture that every browser shows.

use std::fmt::Write;
use std::path::Path;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 50.0;
/// For the names of lines, beside the panels.
const NAMES: f64 = 130.0;
const COLOURS: [&str; 8] =
    ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#555555", "#8c564b", "#17becf"];
/// So few points of a line are drawn one by one as well.
const FEW: usize = 40;

/// A line with its name, in the units of the axes.
pub type Line = (String, Vec<(f64, f64)>);

pub struct Panel {
    pub title: String,
    pub lines: Vec<Line>,
    /// The axis from left to right is logarithmic; what is not above 0 has no place there.
    pub logarithmic: bool,
    /// Behind the numbers of that axis.
    pub unit: &'static str,
}

pub fn write(path: &Path, panels: &[Panel]) -> Result<(), String> {
    std::fs::write(path, picture(panels)).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn picture(panels: &[Panel]) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH + MARGIN + NAMES,
        (HEIGHT + MARGIN) * panels.len() as f64 + MARGIN
    );
    for (index, panel) in panels.iter().enumerate() {
        draw(&mut text, MARGIN + (HEIGHT + MARGIN) * index as f64, panel);
    }
    text.push_str("</svg>\n");
    text
}

// Writing to a String cannot fail, so what it returns is dropped here.
fn draw(text: &mut String, top: f64, panel: &Panel) {
    let scale = |at: f64| if panel.logarithmic { at.log10() } else { at };
    let has_place = |point: &&(f64, f64)| scale(point.0).is_finite() && point.1.is_finite();
    let points = || panel.lines.iter().flat_map(|(_, points)| points.iter()).filter(has_place);
    let left = points().map(|point| scale(point.0)).fold(f64::INFINITY, f64::min);
    let right = points().map(|point| scale(point.0)).fold(f64::NEG_INFINITY, f64::max);
    let high = points().map(|point| point.1).fold(0.0, f64::max);
    let high = if high > 0.0 { high } else { 1.0 };
    let x = |at: f64| MARGIN + (scale(at) - left) / (right - left).max(f64::MIN_POSITIVE) * WIDTH;
    let y = |value: f64| top + HEIGHT * (1.0 - value / high);
    let _ = writeln!(
        text,
        "<text x=\"{MARGIN}\" y=\"{}\">{}</text>\n<rect x=\"{MARGIN}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#999\"/>",
        top - 6.0,
        escaped(&panel.title)
    );
    if left > right {
        return;
    }
    for at in marks(left, right, panel.logarithmic) {
        let at = if panel.logarithmic { 10f64.powf(at) } else { at };
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}{}</text>",
            x(at),
            top + HEIGHT + 14.0,
            short(at),
            panel.unit
        );
    }
    for value in [0.0, 0.5 * high, high] {
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            MARGIN - 4.0,
            y(value) + 4.0,
            short(value)
        );
    }
    for (index, (name, points)) in panel.lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let shown = || points.iter().filter(has_place);
        let path: String = shown().map(|(at, value)| format!("{:.1},{:.1} ", x(*at), y(*value))).collect();
        let _ =
            writeln!(text, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>", path.trim_end());
        for (at, value) in shown().filter(|_| points.len() <= FEW) {
            let (x, y) = (x(*at), y(*value));
            let _ = writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            MARGIN + WIDTH + 6.0,
            top + 14.0 * (index + 1) as f64,
            escaped(name)
        );
    }
}

/// Where numbers stand: both ends, and between them the powers of ten or the middle.
fn marks(left: f64, right: f64, logarithmic: bool) -> Vec<f64> {
    if left == right {
        return vec![left];
    }
    let apart = 0.08 * (right - left);
    let between: Vec<f64> = if logarithmic {
        (left.ceil() as i64..=right.floor() as i64).map(|power| power as f64).collect()
    } else {
        vec![(left + right) / 2.0]
    };
    let between = between.into_iter().filter(|at| at - left > apart && right - at > apart);
    std::iter::once(left).chain(between).chain([right]).collect()
}

/// As few digits as tell it from its neighbours.
fn short(value: f64) -> String {
    let text = match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(lines: Vec<Line>, logarithmic: bool) -> Panel {
        Panel { title: "a < b & c".into(), lines, logarithmic, unit: " s" }
    }

    #[test]
    fn lines_run_from_corner_to_corner() {
        let lines = vec![("up".to_string(), vec![(1.0, 0.0), (10.0, 0.5), (100.0, 1.0)])];
        let text = picture(&[panel(lines.clone(), true), panel(lines, false)]);
        assert!(text.contains("points=\"50.0,270.0 450.0,160.0 850.0,50.0\""), "{text}");
        assert!(text.contains("points=\"50.0,540.0 122.7,430.0 850.0,320.0\""), "{text}");
        assert!(text.contains(">10 s</text>") && text.contains(">50.5 s</text>"), "{text}");
        assert!(text.contains("a &lt; b &amp; c"), "{text}");
    }

    #[test]
    fn what_has_no_place_is_left_out() {
        let odd = vec![(0.0, 1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)];
        for lines in [vec![], vec![("none".into(), vec![])], vec![("odd".into(), odd)]] {
            let text = picture(&[panel(lines, true)]);
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
        let one = picture(&[panel(vec![("one".into(), vec![(5.0, 0.0)])], false)]);
        assert!(one.contains("<circle cx=\"50.0\" cy=\"270.0\""), "{one}");
    }
}
