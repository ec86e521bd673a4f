//! Where an axis has its marks, and what they say: round numbers, and round moments in UTC.
//! In: the range that is drawn. Out: positions with labels.
//! Invariants: marks lie inside the range and rise; there are at most twice as many as asked for.

use layer5_core::Timestamp;

use super::number;

/// A place on an axis and its label.
pub(super) type Tick = (f64, String);

/// Round numbers in a range.
pub(super) fn number_ticks(low: f64, high: f64, about: usize) -> Vec<Tick> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return vec![(low, number(low))];
    }
    let raw = span / about.max(1) as f64;
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|f| f * power)
        .into_iter()
        .find(|s| *s >= raw);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).ceil();
    let places = (0..=2 * about).map(|i| (first + i as f64) * step);
    places
        .take_while(|x| *x <= high + 1e-9 * span)
        .map(|x| {
            // The sum of steps misses zero by rounding.
            let x = if x.abs() < 1e-9 * step { 0.0 } else { x };
            (x, number(x))
        })
        .collect()
}

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
const STEPS: [i64; 19] = [
    1,
    2,
    5,
    10,
    15,
    30,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
];

/// Round moments in a range of seconds since the epoch.
pub(super) fn time_ticks(from: f64, to: f64, about: usize) -> Vec<Tick> {
    let raw = (to - from) / about.max(1) as f64;
    if !(raw.is_finite() && raw > 0.0) {
        return vec![(from, moment(from, true))];
    }
    if raw < 0.5 {
        let seconds = number_ticks(from % 60.0, from % 60.0 + (to - from), about);
        let base = from - from % 60.0;
        return seconds
            .into_iter()
            .map(|(s, label)| (base + s, format!("{label} s")))
            .collect();
    }
    if let Some(step) = STEPS.into_iter().find(|s| *s as f64 >= raw) {
        let first = (from / step as f64).ceil() as i64;
        let places = (0..=2 * about as i64).map(|i| (first + i) * step);
        let mut day = i64::MIN;
        return places
            .take_while(|s| *s as f64 <= to)
            .map(|s| {
                let new_day = std::mem::replace(&mut day, s.div_euclid(DAY)) != s.div_euclid(DAY);
                (s as f64, label(s, step, new_day))
            })
            .collect();
    }
    months(from, to, about)
}

/// Firsts of months, every so many of them that they fit.
fn months(from: f64, to: f64, about: usize) -> Vec<Tick> {
    let count = (to - from) / (30.44 * DAY as f64);
    // A mark every few days where not even three months are shown.
    if count < 3.0 {
        let step = (((to - from) / DAY as f64 / about.max(1) as f64).ceil() as i64).max(1) * DAY;
        let first = (from / step as f64).ceil() as i64;
        let places = (0..=2 * about as i64).map(|i| (first + i) * step);
        return places
            .take_while(|s| *s as f64 <= to)
            .map(|s| (s as f64, label(s, step, true)))
            .collect();
    }
    let each = [1, 2, 3, 6, 12, 24, 60, 120, 240];
    let each = each
        .into_iter()
        .find(|m| count / *m as f64 <= about as f64)
        .unwrap_or(480);
    let year_of = |s: f64| {
        moment(s, false)
            .get(..4)
            .and_then(|y| y.parse::<i64>().ok())
    };
    let (Some(first), Some(last)) = (year_of(from), year_of(to)) else {
        return Vec::new();
    };
    let all = (first * 12..=last * 12 + 11).filter(|m| m % each == 0);
    let ticks = all.filter_map(|m| {
        let (year, month) = (m / 12, m % 12 + 1);
        let at = Timestamp::parse_rfc3339(&format!("{year:04}-{month:02}-01T00:00:00Z"))?.seconds();
        let name = if month == 1 || each >= 12 {
            year.to_string()
        } else {
            month_name(month as usize).to_owned()
        };
        (from..=to).contains(&at).then_some((at, name))
    });
    ticks.collect()
}

fn label(second: i64, step: i64, new_day: bool) -> String {
    let text = moment(second as f64, true);
    let date = || {
        let month = text.get(5..7).and_then(|m| m.parse().ok()).unwrap_or(1);
        format!(
            "{} {}",
            text.get(8..10).unwrap_or("").trim_start_matches('0'),
            month_name(month)
        )
    };
    let clock = if step < MINUTE {
        text.get(11..19)
    } else {
        text.get(11..16)
    };
    if step >= DAY || (new_day && second.rem_euclid(DAY) == 0) {
        date()
    } else {
        clock.unwrap_or("").to_owned()
    }
}

fn month_name(month: usize) -> &'static str {
    [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ][(month - 1).min(11)]
}

/// A moment as text, with or without the `T` and `Z` of RFC 3339.
pub(super) fn moment(second: f64, plain: bool) -> String {
    let text = Timestamp::from_seconds(second)
        .unwrap_or_default()
        .to_string();
    if plain { readable(&text) } else { text }
}

fn readable(rfc3339: &str) -> String {
    rfc3339.replace('T', " ").trim_end_matches('Z').to_owned()
}

/// A time as a person reads it, in UTC, without a fraction of zero.
pub(super) fn shown(at: Timestamp) -> String {
    readable(&at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn numbers_are_round() {
        assert_eq!(labels(&number_ticks(-3.0, 11.0, 5)), ["0", "5", "10"]);
        assert_eq!(
            labels(&number_ticks(0.0, 1.0, 5)),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        assert_eq!(number_ticks(5.0, 5.0, 5).len(), 1);
        assert!(number_ticks(-1e308, 1e308, 5).len() <= 10);
    }

    #[test]
    fn moments_are_round() {
        let at = |text: &str| Timestamp::parse_rfc3339(text).expect("a time").seconds();
        let day = time_ticks(at("2026-11-23T00:00:00Z"), at("2026-11-24T00:00:00Z"), 8);
        assert_eq!(
            labels(&day),
            [
                "23 Nov", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00", "24 Nov"
            ]
        );
        let year = time_ticks(at("2026-01-01T00:00:00Z"), at("2026-12-31T00:00:00Z"), 12);
        assert_eq!(labels(&year)[..3], ["2026", "Feb", "Mar"]);
        let weeks = time_ticks(at("2026-11-01T00:00:00Z"), at("2026-11-29T00:00:00Z"), 8);
        assert!(weeks.len() >= 4 && weeks.len() <= 9, "{weeks:?}");
        // Times end in 2262.
        for span in [1e-3, 0.7, 3.0, 400.0, 1e5, 1e7, 1e9, 7e9] {
            let ticks = time_ticks(1.79e9, 1.79e9 + span, 8);
            assert!(!ticks.is_empty() && ticks.len() <= 17, "{span}: {ticks:?}");
            assert!(
                ticks.windows(2).all(|w| w[0].0 < w[1].0),
                "{span}: {ticks:?}"
            );
        }
    }
}
