//! A picture of each dashboard, drawn from what its queries find in a real Prometheus: no Grafana is needed to see what a
//! board shows.
//! In: the address of a Prometheus and a span. Out: `<uid>.svg` for each board, and the panels that had no data.
//! Called from: `layer5-bench dashboards render`, the ops lab's drill.
//! Invariants: a curve is drawn from the points that were answered and nothing else; a panel without data says so.

use std::{fmt::Write as _, fs, net::SocketAddr, path::Path, time::Duration};

use layer5_server::clock;

use super::{Board, Draw, Panel, boards::BOARDS};
use crate::{
    Failure,
    ops_lab::view::{Curve, query_range},
};

/// Width of a picture, and the height of a panel with curves and of one with a number, px.
const WIDTH: f64 = 1200.0;
const TALL: f64 = 250.0;
const SHORT: f64 = 96.0;
/// Room round what is drawn, px.
const GAP: f64 = 12.0;
/// Points of a curve.
const POINTS: f64 = 200.0;
/// Windows of a picture's rates, as wide as a lab's scrapes need.
const RATE_WINDOW: &str = "10s";
const COLOURS: [&str; 8] = [
    "#2f6fb3", "#d9772b", "#3b8f4a", "#b33a3a", "#7a58a8", "#8a6a4f", "#c95f9e", "#5f6b74",
];

/// A board's panel with what it shows.
struct Shown<'a> {
    panel: &'a Panel,
    curves: Vec<(String, Curve)>,
}

/// Draws every board over the last `span` into `folder`; titles of panels without data, as `board, panel`.
///
/// # Errors
/// When Prometheus refuses a query, or the folder can't be written.
pub fn draw_all(
    prometheus: SocketAddr,
    span: Duration,
    folder: &Path,
) -> Result<Vec<String>, Failure> {
    fs::create_dir_all(folder).map_err(Failure::new)?;
    let end = clock::now().millis() as f64 / 1e3;
    let (start, step) = (
        end - span.as_secs_f64(),
        (span.as_secs_f64() / POINTS).max(1.0),
    );
    let mut empty = Vec::new();
    for board in BOARDS {
        let mut shown = Vec::new();
        for panel in board.panels {
            let mut curves = Vec::new();
            for (query, legend) in panel.queries {
                let query = asked(query, span);
                for curve in query_range(prometheus, &query, start, end, step)? {
                    curves.push((legend_of(legend, &curve), curve));
                }
            }
            if curves.iter().all(|(_, curve)| curve.points.is_empty()) {
                empty.push(format!("{}, {}", board.uid, panel.title));
            }
            shown.push(Shown { panel, curves });
        }
        let path = folder.join(format!("{}.svg", board.uid));
        fs::write(&path, picture(board, &shown, start, end)).map_err(Failure::new)?;
    }
    Ok(empty)
}

/// The query with its variables set to all and its windows cut to what a lab has.
fn asked(query: &str, span: Duration) -> String {
    query
        .replace("{$F,", "{")
        .replace("{$F}", "")
        .replace("$__rate_interval", RATE_WINDOW)
        .replace("[24h]", &format!("[{}s]", span.as_secs().max(10)))
}

/// `{{target}} {{kind}}` with the labels of a curve.
fn legend_of(legend: &str, curve: &Curve) -> String {
    curve
        .labels
        .iter()
        .fold(legend.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), value)
        })
}

fn picture(board: &Board, shown: &[Shown<'_>], start: f64, end: f64) -> String {
    let mut body = String::new();
    let (mut x, mut y, mut row) = (0.0, 70.0, 0.0_f64);
    for one in shown {
        let (width, height) = match one.panel.draw {
            Draw::Number => (WIDTH / 6.0, SHORT),
            Draw::Lines | Draw::Heatmap => (WIDTH / 2.0, TALL),
        };
        if x + width > WIDTH + 1.0 || (row > 0.0 && row != height) {
            (x, y) = (0.0, y + row);
        }
        let _ = write!(
            body,
            "<g transform=\"translate({:.0},{:.0})\">",
            x + GAP / 2.0,
            y + GAP / 2.0
        );
        let (w, h) = (width - GAP, height - GAP);
        let _ = write!(
            body,
            "<rect width=\"{w:.0}\" height=\"{h:.0}\" rx=\"4\" fill=\"#fff\" stroke=\"#d5d9de\"/>\
             <text x=\"10\" y=\"18\" class=\"t\">{}<title>{}</title></text>",
            safe(one.panel.title),
            safe(one.panel.description)
        );
        match one.panel.draw {
            Draw::Number => number(&mut body, one, w),
            Draw::Lines => lines(&mut body, one, (w, h), (start, end)),
            Draw::Heatmap => heat(&mut body, one, (w, h), (start, end)),
        }
        body.push_str("</g>\n");
        (x, row) = (x + width, height);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {h:.0}\" width=\"{WIDTH}\" height=\"{h:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"#333\">\
         <style>.t{{font-weight:bold;font-size:12px}}.l{{fill:#777}}.n{{font-size:26px}}</style>\
         <rect width=\"100%\" height=\"100%\" fill=\"#f4f5f7\"/>\
         <text x=\"{GAP}\" y=\"30\" font-size=\"20\" font-weight=\"bold\">{}</text>\
         <text x=\"{GAP}\" y=\"52\" class=\"l\">{} Drawn from {:.0} s of an ops lab, in which an hour of the rules is a minute.</text>\n{body}</svg>\n",
        safe(board.title),
        safe(board.description),
        end - start,
        h = y + row + GAP,
    )
}

fn number(body: &mut String, one: &Shown<'_>, w: f64) {
    let newest: Vec<(&str, f64)> = one
        .curves
        .iter()
        .filter_map(|(legend, curve)| Some((legend.as_str(), curve.points.last()?.1)))
        .collect();
    match newest.as_slice() {
        [] => none(body, w, SHORT - GAP),
        [(_, value)] => {
            let red = one.panel.limit.is_some_and(|limit| *value > limit);
            let _ = write!(
                body,
                "<text x=\"{:.0}\" y=\"60\" class=\"n\" text-anchor=\"middle\" fill=\"{}\">{}</text>",
                w / 2.0,
                if red { "#b33a3a" } else { "#2c7a3f" },
                with_unit(*value, one.panel.unit)
            );
        }
        many => {
            for (i, (legend, value)) in many.iter().take(4).enumerate() {
                let _ = write!(
                    body,
                    "<text x=\"10\" y=\"{}\">{}: {}</text>",
                    34 + i * 13,
                    safe(legend),
                    with_unit(*value, one.panel.unit)
                );
            }
        }
    }
}

fn lines(body: &mut String, one: &Shown<'_>, (w, h): (f64, f64), (start, end): (f64, f64)) {
    let points = || one.curves.iter().flat_map(|(_, curve)| &curve.points);
    if points().next().is_none() {
        return none(body, w, h);
    }
    let highest = points().map(|p| p.1).fold(f64::MIN, f64::max);
    let lowest = points().map(|p| p.1).fold(0.0, f64::min);
    // A limit is shown where it is near.
    let limit = one
        .panel
        .limit
        .filter(|limit| *limit < 4.0 * highest.max(limit / 4.0));
    let top = limit
        .map_or(highest, |limit| highest.max(limit))
        .max(lowest + 1e-9)
        * 1.08;
    let (left, bottom) = (58.0, h - 42.0);
    let at_x = |t: f64| left + (t - start) / (end - start).max(1.0) * (w - left - 12.0);
    let at_y = |v: f64| bottom - (v - lowest) / (top - lowest) * (bottom - 30.0);
    for part in 0..=2 {
        let value = lowest + (top - lowest) * f64::from(part) / 2.0;
        let _ = write!(
            body,
            "<line x1=\"{left}\" x2=\"{:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e6e8eb\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" class=\"l\" text-anchor=\"end\">{}</text>",
            w - 12.0,
            left - 5.0,
            at_y(value) + 4.0,
            with_unit(value, one.panel.unit),
            y = at_y(value),
        );
    }
    for (share, anchor) in [(0.0, "start"), (0.5, "middle"), (1.0, "end")] {
        let t = start + (end - start) * share;
        let _ = write!(
            body,
            "<text x=\"{:.0}\" y=\"{:.0}\" class=\"l\" text-anchor=\"{anchor}\">{:+.0} s</text>",
            at_x(t),
            bottom + 14.0,
            t - start
        );
    }
    if let Some(limit) = limit {
        let y = at_y(limit);
        let _ = write!(
            body,
            "<line x1=\"{left}\" x2=\"{:.0}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#b33a3a\" stroke-dasharray=\"5 4\"/>",
            w - 12.0
        );
    }
    let gap = (end - start) / POINTS * 3.0;
    for (idx, (_, curve)) in one.curves.iter().enumerate() {
        let mut path = String::new();
        let mut before = f64::MIN;
        for &(t, v) in &curve.points {
            // A gap in the data is a gap in the curve.
            let verb = if t - before > gap.max(4.0) { 'M' } else { 'L' };
            let _ = write!(path, "{verb}{:.1} {:.1}", at_x(t), at_y(v));
            before = t;
        }
        let _ = write!(
            body,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"/>",
            COLOURS[idx % COLOURS.len()]
        );
    }
    legend(body, one, w, h);
}

fn legend(body: &mut String, one: &Shown<'_>, w: f64, h: f64) {
    let mut x = 10.0;
    for (idx, (legend, _)) in one.curves.iter().enumerate() {
        let width = 22.0 + legend.chars().count() as f64 * 6.2;
        if x + width > w - 10.0 {
            let _ = write!(
                body,
                "<text x=\"{x:.0}\" y=\"{:.0}\" class=\"l\">+{}</text>",
                h - 8.0,
                one.curves.len() - idx
            );
            return;
        }
        let _ = write!(
            body,
            "<rect x=\"{x:.0}\" y=\"{:.0}\" width=\"9\" height=\"9\" fill=\"{}\"/><text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            h - 16.0,
            COLOURS[idx % COLOURS.len()],
            x + 13.0,
            h - 8.0,
            safe(legend)
        );
        x += width;
    }
}

/// Cumulative buckets over time, as the share of each bucket by itself.
fn heat(body: &mut String, one: &Shown<'_>, (w, h): (f64, f64), (start, end): (f64, f64)) {
    let mut buckets: Vec<(f64, &str, &Curve)> = one
        .curves
        .iter()
        .filter_map(|(legend, curve)| {
            let bound = if legend == "+Inf" {
                f64::INFINITY
            } else {
                legend.parse().ok()?
            };
            Some((bound, legend.as_str(), curve))
        })
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets.iter().all(|(_, _, curve)| curve.points.is_empty()) {
        return none(body, w, h);
    }
    let (left, top, bottom) = (58.0, 28.0, h - 30.0);
    let cell = ((w - left - 12.0) / POINTS).max(1.0);
    let height = (bottom - top) / buckets.len() as f64;
    for (idx, (_, name, curve)) in buckets.iter().enumerate() {
        let y = bottom - (idx + 1) as f64 * height;
        if idx % 2 == 0 {
            let _ = write!(
                body,
                "<text x=\"{}\" y=\"{:.1}\" class=\"l\" text-anchor=\"end\">{name}</text>",
                left - 5.0,
                y + height
            );
        }
        for &(t, value) in &curve.points {
            let at = |curve: &Curve| curve.points.iter().find(|p| p.0 == t).map_or(0.0, |p| p.1);
            let below = if idx == 0 {
                0.0
            } else {
                at(buckets[idx - 1].2)
            };
            let all = at(buckets[buckets.len() - 1].2);
            let share = if all > 0.0 {
                ((value - below) / all).clamp(0.0, 1.0)
            } else {
                0.0
            };
            if share > 0.005 {
                let x = left + (t - start) / (end - start).max(1.0) * (w - left - 12.0);
                let _ = write!(
                    body,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{cell:.1}\" height=\"{height:.1}\" fill=\"#d9772b\" opacity=\"{:.2}\"/>",
                    share.sqrt()
                );
            }
        }
    }
    let _ = write!(
        body,
        "<text x=\"10\" y=\"{:.0}\" class=\"l\">seconds, by share of the requests</text>",
        h - 8.0
    );
}

fn none(body: &mut String, w: f64, h: f64) {
    let _ = write!(
        body,
        "<text x=\"{:.0}\" y=\"{:.0}\" class=\"l\" text-anchor=\"middle\">no data</text>",
        w / 2.0,
        h / 2.0 + 8.0
    );
}

/// A value in its unit, in few digits.
fn with_unit(value: f64, unit: &str) -> String {
    let (value, suffix) = match unit {
        "percentunit" => (value * 100.0, " %"),
        "s" if value.abs() > 0.0 && value.abs() < 1.0 => (value * 1e3, " ms"),
        "s" if value.abs() >= 3600.0 => (value / 3600.0, " h"),
        "s" => (value, " s"),
        "bytes" if value.abs() >= 1e9 => (value / 1e9, " GB"),
        "bytes" => (value / 1e6, " MB"),
        "reqps" => (value, "/s"),
        _ if value.abs() >= 1e6 => (value / 1e6, " M"),
        _ if value.abs() >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        v if v >= 100.0 || v == v.round() && v < 1e6 => 0,
        v if v >= 1.0 => 1,
        _ => 3,
    };
    format!("{value:.digits$}{suffix}")
}

fn safe(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn values_are_short_and_text_is_safe() {
        for (value, unit, shown) in [
            (0.0234, "percentunit", "2.3 %"),
            (0.0451, "s", "45.1 ms"),
            (90_000.0, "s", "25 h"),
            (3.2e9, "bytes", "3.2 GB"),
            (1600.0, "reqps", "1600/s"),
            (0.0, "short", "0"),
        ] {
            assert_eq!(with_unit(value, unit), shown);
        }
        assert_eq!(safe("a<b & \"c\""), "a&lt;b &amp; &quot;c&quot;");
    }

    #[test]
    fn a_panel_without_data_says_so_and_one_with_data_has_its_curve() {
        let board = &BOARDS[0];
        let curve = Curve {
            labels: BTreeMap::new(),
            points: vec![(0.0, 1.0), (10.0, 2.0)],
        };
        let shown: Vec<Shown<'_>> = board
            .panels
            .iter()
            .enumerate()
            .map(|(i, panel)| Shown {
                panel,
                curves: if i == 6 {
                    vec![("received".to_owned(), curve.clone())]
                } else {
                    Vec::new()
                },
            })
            .collect();
        let svg = picture(board, &shown, 0.0, 10.0);
        assert_eq!(svg.matches("no data").count(), board.panels.len() - 1);
        assert_eq!(svg.matches("<path").count(), 1);
        assert_eq!(
            legend_of(
                "{{a}} x",
                &Curve {
                    labels: [("a".to_owned(), "7".to_owned())].into(),
                    points: Vec::new()
                }
            ),
            "7 x"
        );
    }
}
