//! The page of `layer5 analyze --html`: the series with everything that was found in it, so that a person sees at once
//! what happened when.
//! In: [`SeriesReport`]s. Out: one HTML page. Invariants: at most [`COLUMNS_MAX`] points a line, whatever the length.

use std::fmt::Write;

use layer5_core::Timestamp;

use super::{
    axis, escape,
    frame::{Frame, range},
    number, page,
};
use crate::series_report::{Bin, Event, EventKind, SeriesReport, events, joined};

/// Points of a drawn line.
const COLUMNS_MAX: usize = 1100;
/// Close-ups of one series.
const CLOSE_UPS_MAX: usize = 6;
/// Rows of the table of findings.
const FINDINGS_MAX: usize = 60;
/// Anomalies that are drawn.
const DOTS_MAX: usize = 400;
/// Width of the large pictures, SVG units.
const WIDE: f64 = 1120.0;
/// The normal range is drawn this many spreads to both sides.
const NORMAL_SPREADS: f64 = 3.0;
/// A picture shows all values unless that is this many times as high as where 98 % of them lie.
const SQUASHED: f64 = 12.0;

/// The page of one file's series. `notes`: what was noticed while reading.
pub(crate) fn series_page(file: &str, reports: &[SeriesReport], notes: &[String]) -> String {
    let mut body = String::new();
    if reports.len() > 1 {
        let _ = writeln!(
            body,
            "<h1>{}</h1>\n<p class=\"under\">{} series</p>",
            escape(file),
            reports.len()
        );
    }
    for (i, report) in reports.iter().enumerate() {
        if i > 0 {
            body.push_str("<hr>\n");
        }
        section(&mut body, file, report, reports.len() == 1);
    }
    if !notes.is_empty() {
        body.push_str("<h2>While reading the file</h2>\n<ul>\n");
        for note in notes {
            let _ = writeln!(body, "<li>{}</li>", escape(note));
        }
        body.push_str("</ul>\n");
    }
    let title = match reports {
        [one] => format!("{}: {file}", one.name),
        _ => file.to_owned(),
    };
    page(&title, &body)
}

fn section(body: &mut String, file: &str, report: &SeriesReport, alone: bool) {
    let level = if alone { 1 } else { 2 };
    let picture = Picture::of(report);
    let story = events(report);
    let _ = writeln!(body, "<h{level}>{}</h{level}>", escape(&report.name));
    let span = report
        .span
        .map_or(String::new(), |(first, last)| match picture.along_time {
            true => format!(", {} to {} (UTC)", axis::shown(first), axis::shown(last)),
            false => String::new(),
        });
    let from = if alone {
        format!("{}: ", escape(file))
    } else {
        String::new()
    };
    let _ = writeln!(body, "<p class=\"under\">{from}{} rows{span}</p>", report.n);
    if report.n == report.n_gaps {
        body.push_str("<p>There is no value in it: every row is a gap.</p>\n");
        return;
    }
    facts(body, report, &story);
    telling(body, report, &story, &picture);
    overview(body, report, &story, &picture);
    surprise(body, report, &picture);
    close_ups(body, report, &story, &picture);
    ahead(body, report, &picture);
    shapes(body, report, &picture);
    table(body, report);
}

/// The few numbers that sum a series up.
fn facts(body: &mut String, report: &SeriesReport, story: &[Event]) {
    let summary = &report.analysis.summary;
    let groups = story
        .iter()
        .filter(|e| e.kind == EventKind::Anomaly)
        .count();
    let cycle = report
        .analysis
        .periods
        .first()
        .map_or("none".into(), |p| report.length_of(p.len_exact));
    let trend = summary
        .trend
        .filter(|t| t.p_value < 0.01)
        .map_or("none".into(), |t| {
            let whole = t.slope * report.n as f64;
            format!(
                "{}{} overall",
                if whole >= 0.0 { "+" } else { "−" },
                number(whole.abs())
            )
        });
    let ranges = report.bins.iter().filter(|b| b.n > 0);
    let (low, high) = ranges.fold((f64::MAX, f64::MIN), |(l, h), b| {
        (l.min(b.low), h.max(b.high))
    });
    let items = [
        (summary.change_points.len().to_string(), "changes of regime"),
        (groups.to_string(), "strange moments"),
        (cycle, "cycle"),
        (trend, "trend"),
        (format!("{} to {}", number(low), number(high)), "values"),
        (report.n_gaps.to_string(), "gaps"),
    ];
    body.push_str("<ul class=\"facts\">");
    for (value, name) in items {
        let _ = write!(
            body,
            "<li><b>{}</b><span>{name}</span></li>",
            escape(&value)
        );
    }
    body.push_str("</ul>\n");
}

/// What happened, one line each.
fn telling(body: &mut String, report: &SeriesReport, story: &[Event], picture: &Picture) {
    body.push_str("<h2>What happened</h2>\n");
    if story.is_empty() {
        body.push_str("<p>Nothing that stands out from what is normal for this series.</p>\n");
    }
    body.push_str("<ol class=\"story\">\n");
    for event in story {
        let class = match event.kind {
            EventKind::Change => "change",
            EventKind::Anomaly => "alarm",
            EventKind::Silence => "gap",
        };
        let _ = writeln!(
            body,
            "<li><span class=\"tag {class}\">{}</span><time>{}</time><span>{}</span></li>",
            escape(&event.label),
            escape(&picture.when(event.at, event.rows.0)),
            escape(&event.words)
        );
    }
    let next = &report.drawn;
    if let (Some(mean), Some(low), Some(high)) =
        (next.mean.last(), next.lower.last(), next.upper.last())
    {
        let _ = writeln!(
            body,
            "<li><span class=\"tag future\">→</span><span>{} on, {} is expected, with 95 % between {} and {}</span></li>",
            report.length_of(next.mean.len() as f64),
            number(*mean),
            number(*low),
            number(*high)
        );
    }
    body.push_str("</ol>\n");
}

/// How a series lies on the paper.
struct Picture {
    along_time: bool,
    /// The bins, put together until they fit.
    columns: Vec<Bin>,
    /// Distance of two columns beyond which the line breaks.
    break_at: f64,
    /// Whether a column is more than one row.
    thinned: bool,
}

impl Picture {
    fn of(report: &SeriesReport) -> Self {
        let each = report.bins.len().div_ceil(COLUMNS_MAX).max(1);
        let columns: Vec<Bin> = report.bins.chunks(each).map(joined).collect();
        let along_time = report.along_time();
        let mut picture = Self {
            along_time,
            columns,
            break_at: f64::INFINITY,
            thinned: each > 1 || report.rows_per_bin > 1,
        };
        if along_time {
            let mut steps: Vec<f64> = picture
                .columns
                .windows(2)
                .map(|w| picture.x(&w[1]) - picture.x(&w[0]))
                .collect();
            steps.sort_by(f64::total_cmp);
            picture.break_at = steps
                .get(steps.len() / 2)
                .map_or(f64::INFINITY, |s| 5.0 * s);
        }
        picture
    }

    fn x(&self, bin: &Bin) -> f64 {
        self.place(bin.at, bin.row)
    }

    fn place(&self, at: Timestamp, row: u64) -> f64 {
        if self.along_time {
            at.seconds()
        } else {
            row as f64
        }
    }

    fn when(&self, at: Timestamp, row: u64) -> String {
        if self.along_time {
            axis::shown(at)
        } else {
            format!("row {row}")
        }
    }

    fn ticks(&self, (from, to): (f64, f64), about: usize) -> Vec<axis::Tick> {
        if self.along_time {
            axis::time_ticks(from, to, about)
        } else {
            axis::number_ticks(from, to, about)
        }
    }

    /// Draws bins: the normal range, the extremes where a column is several rows, the mean. All of it breaks where no
    /// rows came.
    fn draw(&self, frame: &mut Frame, bins: &[Bin], with_range: bool) {
        for part in bins.chunk_by(|a, b| self.x(b) - self.x(a) <= self.break_at) {
            let normal = part.iter().map(|bin| match bin.normal() {
                Some((baseline, spread)) => {
                    let half = NORMAL_SPREADS * spread;
                    (self.x(bin), baseline - half, baseline + half)
                }
                None => (f64::NAN, f64::NAN, f64::NAN),
            });
            frame.band("normal", normal);
            if with_range {
                frame.band("range", part.iter().map(|b| (self.x(b), b.low, b.high)));
            }
        }
        for part in bins.chunk_by(|a, b| self.x(b) - self.x(a) <= self.break_at) {
            frame.line("series", part.iter().map(|bin| (self.x(bin), bin.mean())));
        }
    }
}

/// The range of values that a picture shows, and how many columns reach beyond.
fn heights(report: &SeriesReport, columns: &[Bin]) -> ((f64, f64), usize) {
    let extremes = columns
        .iter()
        .filter(|b| b.n > 0)
        .flat_map(|b| [b.low, b.high]);
    let next = &report.drawn;
    let future = next.lower.iter().chain(&next.upper).copied();
    let mut all: Vec<f64> = extremes.clone().collect();
    all.sort_by(f64::total_cmp);
    let at = |share: f64| {
        all.get((share * all.len().saturating_sub(1) as f64) as usize)
            .copied()
            .unwrap_or(0.0)
    };
    let (low, high) = (at(0.01), at(0.99));
    let whole = range(extremes);
    let usual = high - low;
    if usual > 0.0 && (0.5 * whole.1 - 0.5 * whole.0) * 2.0 > SQUASHED * usual {
        let shown = (low - 1.5 * usual, high + 1.5 * usual);
        let beyond = columns
            .iter()
            .filter(|b| b.n > 0 && (b.low < shown.0 || b.high > shown.1))
            .count();
        return (shown, beyond);
    }
    // A forecast whose interval is wider than the series must not squash what was.
    let (lowest, highest) = (
        whole.0 - 0.6 * (whole.1 - whole.0),
        whole.1 + 0.6 * (whole.1 - whole.0),
    );
    let with_future = range(
        [whole.0, whole.1]
            .into_iter()
            .chain(future.map(|v| v.clamp(lowest, highest))),
    );
    (
        if with_future.0.is_finite() {
            with_future
        } else {
            whole
        },
        0,
    )
}

fn overview(body: &mut String, report: &SeriesReport, story: &[Event], picture: &Picture) {
    let columns = &picture.columns;
    let (Some(first), Some(last)) = (columns.first(), report.bins.last()) else {
        return;
    };
    let next = &report.drawn;
    let future = |h: usize| match report.forecast_at.get(h) {
        Some(&at) => picture.place(at, report.n + h as u64),
        None => f64::NAN,
    };
    let now = picture.place(
        report.span.map_or(last.at, |(_, last)| last),
        report.n.saturating_sub(1),
    );
    let horizon = next.mean.len();
    // The future gets at most a tenth of the paper, so that what happened stays in sight.
    let end = if horizon > 0 {
        future(horizon - 1)
    } else {
        now
    };
    let x = (picture.x(first), end.max(now));
    let (y, beyond) = heights(report, columns);
    let mut frame = Frame::new((WIDE, 420.0), 72.0, x, y);
    frame.axes(&picture.ticks(x, 9), &axis::number_ticks(y.0, y.1, 6));
    for event in story.iter().filter(|e| e.kind == EventKind::Silence) {
        let to = picture.place(report.time_of(event.rows.1), event.rows.1);
        frame.span(
            "gap",
            (picture.place(event.at, event.rows.0), to),
            (0.0, 1.0),
            &event.words,
        );
    }
    picture.draw(&mut frame, columns, picture.thinned);
    levels(&mut frame, report, picture);
    frame.band(
        "future-band",
        (0..horizon).map(|h| (future(h), next.lower[h], next.upper[h])),
    );
    frame.line("future", (0..horizon).map(|h| (future(h), next.mean[h])));
    if horizon > 0 {
        frame.upright("now", now);
    }
    for (i, motif) in report.motifs.iter().take(3).enumerate() {
        for &row in &motif.rows {
            let from = picture.place(report.time_of(row), row);
            let end = row + motif.len as u64 - 1;
            let to = picture.place(report.time_of(end), end);
            let strip = 0.012 + 0.022 * i as f64;
            let words = format!(
                "shape {} at {}",
                i + 1,
                picture.when(report.time_of(row), row)
            );
            frame.span(
                &format!("motif{}", i + 1),
                (from, to),
                (strip, strip + 0.014),
                &words,
            );
        }
    }
    let mut strongest: Vec<_> = report
        .marks
        .iter()
        .filter(|m| m.value.is_finite())
        .collect();
    strongest.sort_by(|a, b| b.strength.total_cmp(&a.strength));
    for mark in strongest.iter().take(DOTS_MAX) {
        let words = format!(
            "{}: {}, normal {}",
            picture.when(mark.at, mark.row),
            number(mark.value),
            number(mark.baseline)
        );
        frame.dot(
            "anomaly",
            (picture.place(mark.at, mark.row), mark.value),
            3.5,
            &words,
        );
    }
    badges(&mut frame, story, picture);
    body.push_str("<figure>\n");
    body.push_str(&frame.finish(&format!("{} with everything found in it", report.name)));
    key(body, report, picture);
    if beyond > 0 || report.rows_per_bin > 1 {
        body.push_str("<figcaption>");
        if beyond > 0 {
            let _ = write!(
                body,
                "{beyond} places reach beyond the picture and are drawn at its edge. "
            );
        }
        if report.rows_per_bin > 1 {
            let _ = write!(
                body,
                "Long series: trend and changes are those of means of {} rows; cycle, forecast and shapes those of the \
                 newest {} rows; anomalies are of every row.",
                report.rows_per_bin,
                report.n - report.newest_from
            );
        }
        body.push_str("</figcaption>\n");
    }
    body.push_str("</figure>\n");
}

/// Labels above the picture, in a second or third row where they would touch.
fn badges(frame: &mut Frame, story: &[Event], picture: &Picture) {
    let mut ends = [f64::NEG_INFINITY; 3];
    for event in story {
        let (class, x) = match event.kind {
            EventKind::Change => ("", picture.place(event.at, event.rows.0)),
            EventKind::Anomaly => ("alarm", picture.place(event.at, event.rows.0)),
            EventKind::Silence => continue,
        };
        if event.kind == EventKind::Change {
            frame.upright("change", x);
        }
        let px = frame.px(x);
        let row = ends.iter().position(|end| px - end > 24.0).unwrap_or(2);
        ends[row] = px;
        frame.badge(class, x, row, &event.label, &event.words);
    }
}

/// The median between two changes, where levels changed.
fn levels(frame: &mut Frame, report: &SeriesReport, picture: &Picture) {
    use layer5_patterns::change_point::Change;
    let changes = &report.analysis.change_points;
    if !changes.iter().any(|c| c.change == Change::Level) {
        return;
    }
    let mut borders: Vec<u64> = vec![0];
    borders.extend(changes.iter().map(|c| c.index as u64));
    borders.push(report.n);
    for pair in borders.windows(2) {
        let inside = report
            .bins
            .iter()
            .filter(|b| (pair[0]..pair[1]).contains(&b.row) && b.n > 0);
        let mut means: Vec<f64> = inside.map(Bin::mean).collect();
        means.sort_by(f64::total_cmp);
        let Some(&median) = means.get(means.len() / 2) else {
            continue;
        };
        let last = pair[1].saturating_sub(1);
        let ends = [pair[0], last].map(|row| picture.place(report.time_of(row), row));
        frame.line("level", ends.into_iter().map(|x| (x, median)));
    }
}

fn key(body: &mut String, report: &SeriesReport, picture: &Picture) {
    let mean = if picture.thinned {
        "mean of neighbouring rows"
    } else {
        "the series"
    };
    let mut items = vec![("k-series", mean)];
    if picture.thinned {
        items.push(("k-range", "their lowest to highest"));
    }
    items.push(("k-normal", "what was normal then, from the past alone"));
    if !report.marks.is_empty() {
        items.push(("k-anomaly", "strange rows (A, B, …)"));
    }
    if !report.analysis.change_points.is_empty() {
        items.push(("k-change", "changes (1, 2, …) and the level between them"));
    }
    if !report.analysis.forecast.mean.is_empty() {
        items.push(("k-future", "forecast with its 95 % interval"));
    }
    body.push_str("<ul class=\"key\">");
    for (class, words) in items {
        let _ = write!(body, "<li><i class=\"{class}\"></i>{words}</li>");
    }
    body.push_str("</ul>\n");
}

/// How strange each moment was, as one in so many.
fn surprise(body: &mut String, report: &SeriesReport, picture: &Picture) {
    let columns = &picture.columns;
    let (Some(first), Some(last)) = (columns.first(), columns.last()) else {
        return;
    };
    let end = report.forecast_at.last().map_or(picture.x(last), |&at| {
        picture.place(at, report.n + report.forecast_at.len() as u64 - 1)
    });
    let x = (picture.x(first), end.max(picture.x(last)));
    let rarity = |score: f32| -(1.0 - f64::from(score)).max(1e-6).log10();
    let top = columns.iter().map(|b| rarity(b.score)).fold(2.0, f64::max);
    let mut frame = Frame::new((WIDE, 96.0), 6.0, x, (0.0, top));
    let words = [
        "",
        "1 in 10",
        "1 in 100",
        "1 in 1000",
        "1 in 10⁴",
        "1 in 10⁵",
        "1 in 10⁶",
    ];
    let marks = words
        .iter()
        .enumerate()
        .map(|(i, w)| (i as f64, (*w).to_owned()));
    let marks: Vec<axis::Tick> = marks
        .filter(|(y, w)| *y <= top && !w.is_empty() && (top < 3.5 || *y != 1.0 && *y != 3.0))
        .collect();
    frame.axes(&[], &marks);
    frame.band(
        "score",
        columns.iter().map(|b| (picture.x(b), 0.0, rarity(b.score))),
    );
    let _ = writeln!(
        body,
        "<figure>\n{}<figcaption>How strange each moment was, against the series' own past.</figcaption></figure>",
        frame.finish("strangeness over time")
    );
}

/// The strongest events from nearby.
fn close_ups(body: &mut String, report: &SeriesReport, story: &[Event], picture: &Picture) {
    if report.bins.len() < 60 || story.is_empty() {
        return;
    }
    let per_bin = report.rows_per_bin.max(1);
    let around = report
        .analysis
        .summary
        .period
        .filter(|p| *p <= 600)
        .map_or(60, |p| p.max(40) as u64)
        / per_bin;
    let around = (around.max(40) as usize).min(report.bins.len() / 6).max(12);
    let mut by_weight: Vec<&Event> = story.iter().collect();
    by_weight.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let mut strongest: Vec<&Event> = Vec::new();
    for event in by_weight {
        // Two events in one picture are one close-up.
        let near = |other: &&Event| other.rows.0.abs_diff(event.rows.0) <= around as u64 * per_bin;
        if strongest.len() < CLOSE_UPS_MAX && !strongest.iter().any(near) {
            strongest.push(event);
        }
    }
    strongest.sort_by_key(|event| event.rows);
    body.push_str("<h2>From nearby</h2>\n<div class=\"grid\">\n");
    for event in strongest {
        let from = (event.rows.0 / per_bin) as usize;
        let to = (event.rows.1 / per_bin) as usize;
        let bins =
            &report.bins[from.saturating_sub(around)..(to + around + 1).min(report.bins.len())];
        let each = bins.len().div_ceil(COLUMNS_MAX / 2).max(1);
        let bins: Vec<Bin> = bins.chunks(each).map(joined).collect();
        let (Some(first), Some(last)) = (bins.first(), bins.last()) else {
            continue;
        };
        let x = (picture.x(first), picture.x(last));
        let y = range(
            bins.iter()
                .filter(|b| b.n > 0)
                .flat_map(|b| [b.low, b.high]),
        );
        let mut frame = Frame::new((530.0, 220.0), 50.0, x, y);
        frame.axes(&picture.ticks(x, 4), &axis::number_ticks(y.0, y.1, 4));
        picture.draw(&mut frame, &bins, each > 1 || per_bin > 1);
        for mark in report
            .marks
            .iter()
            .filter(|m| (first.row..=last.row).contains(&m.row) && m.value.is_finite())
        {
            let words = format!(
                "{}: {}",
                picture.when(mark.at, mark.row),
                number(mark.value)
            );
            frame.dot(
                "anomaly",
                (picture.place(mark.at, mark.row), mark.value),
                3.5,
                &words,
            );
        }
        let inside: Vec<Event> = story
            .iter()
            .filter(|e| (first.row..=last.row).contains(&e.rows.0))
            .cloned()
            .collect();
        badges(&mut frame, &inside, picture);
        let _ = writeln!(
            body,
            "<div class=\"card\"><h3>{} · {}</h3>{}<figcaption>{}</figcaption></div>",
            escape(&event.label),
            escape(&picture.when(event.at, event.rows.0)),
            frame.finish(&format!("close-up of {}", event.label)),
            escape(&event.words),
        );
    }
    body.push_str("</div>\n");
}

/// The forecast beside the newest rows.
fn ahead(body: &mut String, report: &SeriesReport, picture: &Picture) {
    let next = &report.drawn;
    let horizon = next.mean.len();
    let per_bin = report.rows_per_bin.max(1) as usize;
    let shown = (3 * horizon / per_bin).max(40).min(report.bins.len());
    let bins = &report.bins[report.bins.len() - shown..];
    let (Some(first), Some(&end)) = (bins.first(), report.forecast_at.last()) else {
        return;
    };
    let future = |h: usize| picture.place(report.forecast_at[h], report.n + h as u64);
    let x = (
        picture.x(first),
        picture.place(end, report.n + horizon as u64 - 1),
    );
    let seen = bins
        .iter()
        .filter(|b| b.n > 0)
        .flat_map(|b| [b.low, b.high]);
    let y = range(seen.chain(next.lower.iter().chain(&next.upper).copied()));
    let mut frame = Frame::new((WIDE, 240.0), 10.0, x, y);
    frame.axes(&picture.ticks(x, 9), &axis::number_ticks(y.0, y.1, 5));
    let each = bins.len().div_ceil(COLUMNS_MAX).max(1);
    let bins: Vec<Bin> = bins.chunks(each).map(joined).collect();
    picture.draw(&mut frame, &bins, each > 1 || per_bin > 1);
    frame.band(
        "future-band",
        (0..horizon).map(|h| (future(h), next.lower[h], next.upper[h])),
    );
    frame.line("future", (0..horizon).map(|h| (future(h), next.mean[h])));
    frame.upright("now", future(0));
    let _ = writeln!(
        body,
        "<h2>What comes next</h2>\n<figure>\n{}<figcaption>The newest rows and the forecast; the band is to hold 95 % of \
         the values to come.</figcaption></figure>",
        frame.finish("forecast")
    );
}

/// The season and the shapes that come back.
fn shapes(body: &mut String, report: &SeriesReport, picture: &Picture) {
    if report.season.is_empty() && report.motifs.is_empty() {
        return;
    }
    body.push_str("<h2>What comes back</h2>\n<div class=\"grid\">\n");
    if let Some(period) = report
        .analysis
        .periods
        .first()
        .filter(|_| !report.season.is_empty())
    {
        let y = range(report.season.iter().flatten().copied());
        let last = report.season.len().saturating_sub(1) as f64;
        let mut frame = Frame::new((530.0, 210.0), 8.0, (0.0, last), y);
        let (unit, per_row) = report.row_unit();
        let marks = axis::number_ticks(0.0, last * per_row, 6);
        let marks: Vec<axis::Tick> = marks
            .into_iter()
            .map(|(v, t)| (v / per_row, format!("{t} {unit}")))
            .collect();
        frame.axes(&marks, &axis::number_ticks(y.0, y.1, 4));
        frame.band(
            "normal",
            report
                .season
                .iter()
                .enumerate()
                .map(|(i, q)| (i as f64, q[0], q[2])),
        );
        frame.line(
            "series",
            report
                .season
                .iter()
                .enumerate()
                .map(|(i, q)| (i as f64, q[1])),
        );
        let others: Vec<String> = report
            .analysis
            .periods
            .iter()
            .skip(1)
            .map(|p| report.length_of(p.len_exact))
            .collect();
        let others = if others.is_empty() {
            String::new()
        } else {
            format!(" Also found: {}.", others.join(", "))
        };
        let _ = writeln!(
            body,
            "<div class=\"card\"><h3>One cycle of {}</h3>{}<figcaption>Median of all cycles, and the middle half of them. \
             It explains {:.0} % of the movement.{others}</figcaption></div>",
            report.length_of(period.len_exact),
            frame.finish("one cycle"),
            100.0 * period.strength
        );
    }
    for (i, motif) in report.motifs.iter().take(3).enumerate() {
        let y = range(motif.values.iter().flatten().copied());
        let mut frame = Frame::new(
            (530.0, 210.0),
            8.0,
            (0.0, motif.len.saturating_sub(1) as f64),
            y,
        );
        let (unit, per_row) = report.row_unit();
        let marks = axis::number_ticks(0.0, motif.len.saturating_sub(1) as f64 * per_row, 6);
        let marks: Vec<axis::Tick> = marks
            .into_iter()
            .map(|(v, t)| (v / per_row, format!("{t} {unit}")))
            .collect();
        frame.axes(&marks, &axis::number_ticks(y.0, y.1, 4));
        for values in &motif.values {
            let class = format!("thin motif{}", i + 1);
            frame.line(
                &class,
                values.iter().enumerate().map(|(k, v)| (k as f64, *v)),
            );
        }
        let first: Vec<String> = motif
            .rows
            .iter()
            .take(4)
            .map(|&row| picture.when(report.time_of(row), row))
            .collect();
        let _ = writeln!(
            body,
            "<div class=\"card\"><h3>Shape {}: {} times</h3>{}<figcaption>Clearest at {}.</figcaption></div>",
            i + 1,
            motif.rows.len(),
            frame.finish(&format!("shape {} in all its places", i + 1)),
            escape(&first.join(", ")),
        );
    }
    body.push_str("</div>\n");
}

/// The strongest findings, in order of time.
fn table(body: &mut String, report: &SeriesReport) {
    let mut findings: Vec<_> = report.findings().iter().collect();
    let n = findings.len();
    if n == 0 {
        return;
    }
    findings.sort_by(|a, b| b.score.total_cmp(&a.score));
    findings.truncate(FINDINGS_MAX);
    findings.sort_by_key(|f| f.start);
    body.push_str("<h2>Every finding</h2>\n");
    if n > FINDINGS_MAX {
        let _ = writeln!(
            body,
            "<p class=\"under\">The strongest {FINDINGS_MAX} of {n}; --output json tells them all.</p>"
        );
    }
    body.push_str(
        "<div class=\"wide\"><table><thead><tr><th>kind</th><th>from</th><th>to</th><th class=\"number\">score</th>\
         <th>what</th></tr></thead><tbody>\n",
    );
    for finding in findings {
        let _ = writeln!(
            body,
            "<tr><td class=\"nowrap\">{}</td><td class=\"nowrap\">{}</td><td class=\"nowrap\">{}</td>\
             <td class=\"number\">{:.2}</td><td>{}</td></tr>",
            finding.kind.as_str().replace('_', " "),
            axis::shown(finding.start),
            axis::shown(finding.end),
            finding.score,
            escape(&finding.explain(&report.name, "")),
        );
    }
    body.push_str("</tbody></table></div>\n");
}
