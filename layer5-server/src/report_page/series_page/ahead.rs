//! What comes next: the forecast beside the newest rows.

use std::fmt::Write;

use super::{
    WIDE,
    picture::{COLUMNS_MAX, Picture},
};
use crate::{
    report_page::{
        axis,
        frame::{Frame, range},
    },
    series_report::{Bin, SeriesReport, joined},
};

/// The forecast beside the newest rows.
pub(super) fn ahead(body: &mut String, report: &SeriesReport, picture: &Picture) {
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
