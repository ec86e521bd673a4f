//! A rectangle with two axes, and the marks drawn in it, as the inside of an `svg` element.
//! In: data in its own units. Out: SVG text. Called from: the pages.
//! Invariants: coordinates have one decimal and lie inside the rectangle; what is not finite is not drawn.

use std::fmt::Write;

use super::{axis::Tick, escape};

/// Room for the labels round the rectangle, in SVG units.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const BOTTOM: f64 = 24.0;

/// A rectangle with two axes.
pub(super) struct Frame {
    width: f64,
    height: f64,
    top: f64,
    x: (f64, f64),
    y: (f64, f64),
    marks: String,
}

impl Frame {
    /// A frame for a range of `x` and `y`, whose drawing is `width` by `height`; `top` is kept free above.
    pub(super) fn new((width, height): (f64, f64), top: f64, x: (f64, f64), y: (f64, f64)) -> Self {
        let (x, y) = (wide(x), wide(y));
        Self {
            width,
            height,
            top,
            x,
            y,
            marks: String::new(),
        }
    }

    fn right(&self) -> f64 {
        self.width - RIGHT
    }

    fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    /// Where `x` is drawn.
    pub(super) fn px(&self, x: f64) -> f64 {
        LEFT + share(x, self.x).clamp(0.0, 1.0) * (self.right() - LEFT)
    }

    /// Where `y` is drawn.
    pub(super) fn py(&self, y: f64) -> f64 {
        self.bottom() - share(y, self.y).clamp(0.0, 1.0) * (self.bottom() - self.top)
    }

    /// Lines across at the marks of both axes, with their labels.
    pub(super) fn axes(&mut self, x: &[Tick], y: &[Tick]) {
        let (right, bottom) = (self.right(), self.bottom());
        for (value, label) in y {
            let py = self.py(*value);
            self.push(format_args!(
                "<line class=\"grid-line\" x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{py:.1}\" y2=\"{py:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 7.0,
                py + 4.0,
                escape(label),
            ));
        }
        for (value, label) in x {
            let px = self.px(*value);
            self.push(format_args!(
                "<line class=\"grid-line\" x1=\"{px:.1}\" x2=\"{px:.1}\" y1=\"{bottom:.1}\" y2=\"{:.1}\"/>\
                 <text x=\"{px:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 5.0,
                bottom + 18.0,
                escape(label),
            ));
        }
    }

    /// A line through points; it breaks where a value is missing, and a value alone is a dot.
    pub(super) fn line(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let mut path = String::new();
        let mut dots = String::new();
        let mut run: Vec<(f64, f64)> = Vec::new();
        let mut end = |run: &mut Vec<(f64, f64)>| {
            if let [(x, y)] = run[..] {
                let _ = write!(
                    dots,
                    "<circle class=\"alone\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.6\"/>"
                );
            } else {
                for (i, (x, y)) in run.iter().enumerate() {
                    let _ = write!(path, "{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' });
                }
            }
            run.clear();
        };
        for (x, y) in points {
            if x.is_finite() && y.is_finite() {
                run.push((self.px(x), self.py(y)));
            } else {
                end(&mut run);
            }
        }
        end(&mut run);
        if !path.is_empty() {
            self.push(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
        }
        self.marks.push_str(&dots);
    }

    /// The area between two lines, `(x, low, high)`; it breaks where a value is missing.
    pub(super) fn band(&mut self, class: &str, points: impl Iterator<Item = (f64, f64, f64)>) {
        let mut path = String::new();
        let mut run: Vec<(f64, f64, f64)> = Vec::new();
        let mut end = |run: &mut Vec<(f64, f64, f64)>| {
            if run.len() > 1 {
                for (i, (x, low, _)) in run.iter().enumerate() {
                    let _ = write!(path, "{}{x:.1} {low:.1}", if i == 0 { 'M' } else { 'L' });
                }
                for (x, _, high) in run.iter().rev() {
                    let _ = write!(path, "L{x:.1} {high:.1}");
                }
                path.push('Z');
            }
            run.clear();
        };
        for (x, low, high) in points {
            if x.is_finite() && low.is_finite() && high.is_finite() {
                run.push((self.px(x), self.py(low), self.py(high)));
            } else {
                end(&mut run);
            }
        }
        end(&mut run);
        if !path.is_empty() {
            self.push(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
        }
    }

    /// A dot with words for whoever points at it.
    pub(super) fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64, words: &str) {
        let (px, py) = (self.px(x), self.py(y));
        self.push(format_args!(
            "<circle class=\"{class}\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"{radius}\"><title>{}</title></circle>",
            escape(words)
        ));
    }

    /// A line from bottom to top.
    pub(super) fn upright(&mut self, class: &str, x: f64) {
        let (px, top, bottom) = (self.px(x), self.top, self.bottom());
        self.push(format_args!(
            "<line class=\"{class}\" x1=\"{px:.1}\" x2=\"{px:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>"
        ));
    }

    /// A small label in a disc, `row` rows above the rectangle.
    pub(super) fn badge(&mut self, class: &str, x: f64, row: usize, label: &str, words: &str) {
        let (px, py) = (self.px(x), self.top - 11.0 - 20.0 * row as f64);
        let half = if label.len() > 2 { 12.0 } else { 9.0 };
        self.push(format_args!(
            "<g><title>{}</title><rect class=\"badge {class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"18\" \
             rx=\"9\"/><text class=\"in-badge\" x=\"{px:.1}\" y=\"{:.1}\">{}</text></g>",
            escape(words),
            px - half,
            py - 9.0,
            2.0 * half,
            py + 4.0,
            escape(label),
        ));
    }

    /// A box from `x.0` to `x.1` over the whole height, or over a strip of it (0 is the bottom, 1 the top).
    pub(super) fn span(&mut self, class: &str, x: (f64, f64), strip: (f64, f64), words: &str) {
        let (from, to) = (self.px(x.0), self.px(x.1));
        let height = self.bottom() - self.top;
        let y = self.bottom() - strip.1 * height;
        self.push(format_args!(
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
            (to - from).max(1.5),
            (strip.1 - strip.0) * height,
            escape(words)
        ));
    }

    /// The drawing; `label` says in words what it shows.
    pub(super) fn finish(self, label: &str) -> String {
        format!(
            "<svg viewBox=\"0 0 {:.0} {:.0}\" role=\"img\" aria-label=\"{}\">{}</svg>\n",
            self.width,
            self.height,
            escape(label),
            self.marks
        )
    }

    fn push(&mut self, mark: std::fmt::Arguments<'_>) {
        let _ = self.marks.write_fmt(mark);
    }
}

/// Where `x` lies in a range, also in one as wide as `f64`.
fn share(x: f64, (low, high): (f64, f64)) -> f64 {
    (0.5 * x - 0.5 * low) / (0.5 * high - 0.5 * low)
}

/// A range that has a width.
fn wide((low, high): (f64, f64)) -> (f64, f64) {
    if high > low && low.is_finite() && high.is_finite() {
        return (low, high);
    }
    let centre = if low.is_finite() { low } else { 0.0 };
    let half = (centre.abs() * 0.5).max(0.5);
    (centre - half, centre + half)
}

/// The range of some values with a little room on both sides; `(0, 1)` for none.
pub(super) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    if low > high {
        return (0.0, 1.0);
    }
    let room = 0.06 * (0.5 * high - 0.5 * low);
    let (low, high) = (low - 2.0 * room, high + 2.0 * room);
    (
        low.clamp(-f64::MAX, f64::MAX),
        high.clamp(-f64::MAX, f64::MAX),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_outside_and_nothing_that_is_no_number() {
        let mut frame = Frame::new((200.0, 100.0), 10.0, (0.0, 10.0), (-1e308, 1e308));
        let ys = [0.0, f64::NAN, 1.7e308, -1.7e308, f64::INFINITY, 0.0, 1.0];
        frame.line(
            "series",
            (0..7).map(|i| (f64::from(i) * 5.0, ys[i as usize])),
        );
        frame.band(
            "normal",
            (0..4).map(|i| (f64::from(i), -1e308, ys[i as usize])),
        );
        let svg = frame.finish("a \"test\"");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.contains("a &quot;test&quot;"));
        assert_eq!(svg.matches("class=\"alone\"").count(), 1, "{svg}");
    }

    #[test]
    fn a_range_of_nothing_or_one_value_has_a_width() {
        for (x, y) in [((5.0, 5.0), (0.0, 0.0)), ((f64::NAN, 1.0), (1e308, 1e308))] {
            let frame = Frame::new((200.0, 100.0), 10.0, x, y);
            assert!(frame.px(x.0).is_finite() || x.0.is_nan());
            assert!(frame.py(y.0).is_finite());
        }
        assert_eq!(range(std::iter::empty()), (0.0, 1.0));
    }
}
