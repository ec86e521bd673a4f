//! The strip below the large chart: how strange each moment was, along the same time.

use std::fmt::Write;

use super::{WIDE, picture::Picture};
use crate::{
    report_page::{axis, frame::Frame},
    series_report::SeriesReport,
};

/// How strange each moment was, as one in so many.
pub(super) fn surprise(body: &mut String, report: &SeriesReport, picture: &Picture) {
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
