//! Times as people write them in files, and which of day and month comes first.
//! In: cells of a time column. Out: [`Timestamp`]s, or the reason why a date can't be told.
//! Invariants: a date that could be two days is never guessed; a time without a zone is UTC.

use layer5_core::Timestamp;

/// The forms, for messages.
pub(super) const FORMS: &str = "RFC 3339, `2026-11-23 12:00:00`, `2026-11-23`, `23.11.2026 12:00`, or seconds, \
                                milliseconds, microseconds or nanoseconds since the epoch";

/// Which of the two comes first in `03/04/2026`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum DateOrder {
    /// 3 April
    DayFirst,
    /// March 4
    MonthFirst,
}

/// A time in any form that needs no order of day and month.
pub(in crate::cli) fn time(text: &str) -> Option<Timestamp> {
    read(text, None)
}

/// A time in any form; the order counts for a date that needs one.
pub(super) fn read(text: &str, order: Option<DateOrder>) -> Option<Timestamp> {
    if let Some(at) = since_epoch(text) {
        return Some(at);
    }
    match CivilDate::of(text) {
        Some(date) => date.read(order),
        None => iso(text),
    }
}

/// The order of day and month that the dates of a file show, where they need one.
///
/// # Errors
/// A sentence, when they need one and do not show it.
pub(super) fn order_shown<'a>(
    cells: impl Iterator<Item = &'a str>,
) -> Result<Option<DateOrder>, String> {
    let mut open = None;
    for text in cells {
        let Some(date) = CivilDate::of(text) else {
            continue;
        };
        match date.shows() {
            Some(order) if !date.dotted => return Ok(Some(order)),
            None if date.first != date.second => open = open.or(Some(text)),
            _ => {}
        }
    }
    match open {
        None => Ok(None),
        Some(text) => Err(format!(
            "`{text}` may be written day first or month first, and no date of the first rows tells; \
             say --dates day-first or --dates month-first"
        )),
    }
}

/// Seconds stay below 10^11 until the year 5138; each finer unit is a thousand times as large.
fn since_epoch(text: &str) -> Option<Timestamp> {
    if let Ok(whole) = text.parse::<i64>() {
        let nanos_per_unit = match whole.unsigned_abs() {
            0..100_000_000_000 => 1_000_000_000,
            100_000_000_000..100_000_000_000_000 => 1_000_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000,
            _ => 1,
        };
        return whole.checked_mul(nanos_per_unit).map(Timestamp::from_nanos);
    }
    let number = text.parse::<f64>().ok()?;
    let seconds = match number.abs() {
        x if x < 1e11 => number,
        x if x < 1e14 => number / 1e3,
        x if x < 1e17 => number / 1e6,
        _ => number / 1e9,
    };
    Timestamp::from_seconds(seconds)
}

/// RFC 3339, and its relatives: without zone, without seconds, a date alone, `/` for `-`, `+0100` for `+01:00`.
fn iso(text: &str) -> Option<Timestamp> {
    if !text.is_ascii() || text.len() < 10 || text.len() > 40 {
        return None;
    }
    if let Some(at) = Timestamp::parse_rfc3339(text) {
        return Some(at);
    }
    let (date, rest) = text.split_at(10);
    let date = date.replace('/', "-");
    let rest = rest.trim_start_matches(['T', 't', ' ']);
    let zone_at = rest.find(['+', '-', 'Z', 'z']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let zone = zone.trim();
    let zone = match zone.len() {
        0 => "Z".to_owned(),
        3 => format!("{zone}:00"),
        5 => format!("{}:{}", &zone[..3], &zone[3..]),
        _ => zone.to_owned(),
    };
    let clock = clock.trim_end().replace(',', ".");
    let clock = match clock.len() {
        0 => "00:00:00".to_owned(),
        5 => format!("{clock}:00"),
        _ => clock,
    };
    Timestamp::parse_rfc3339(&format!("{date}T{clock}{zone}"))
}

/// A date whose year comes last, such as `23/11/2026 1:05 PM`.
struct CivilDate<'a> {
    first: u32,
    second: u32,
    year: u32,
    clock: &'a str,
    /// Dots are written between day, month and year in this order.
    dotted: bool,
}

impl<'a> CivilDate<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let end = text.find([' ', 'T', ',']).unwrap_or(text.len());
        let (date, clock) = text.split_at(end);
        let mark = date.chars().find(|c| !c.is_ascii_digit())?;
        if !matches!(mark, '/' | '.' | '-') {
            return None;
        }
        let mut parts = date.split(mark);
        let mut short = || {
            parts
                .next()
                .filter(|p| (1..=2).contains(&p.len()))?
                .parse()
                .ok()
        };
        let (first, second) = (short()?, short()?);
        let year = parts.next().filter(|p| p.len() == 4)?.parse().ok()?;
        (parts.next().is_none()).then_some(Self {
            first,
            second,
            year,
            clock: clock.trim_start_matches([' ', 'T', ',']),
            dotted: mark == '.',
        })
    }

    /// The order that this date shows by itself.
    fn shows(&self) -> Option<DateOrder> {
        if self.dotted || self.first > 12 {
            Some(DateOrder::DayFirst)
        } else {
            (self.second > 12).then_some(DateOrder::MonthFirst)
        }
    }

    fn read(&self, order: Option<DateOrder>) -> Option<Timestamp> {
        let same = (self.first == self.second).then_some(DateOrder::DayFirst);
        let told = order.filter(|_| !self.dotted);
        let order = told.or(self.shows()).or(same)?;
        let (day, month) = match order {
            DateOrder::DayFirst => (self.first, self.second),
            DateOrder::MonthFirst => (self.second, self.first),
        };
        let upper = self.clock.to_ascii_uppercase();
        let half = ["AM", "PM"].iter().position(|half| upper.ends_with(half));
        let clock = match half {
            None => upper,
            Some(afternoon) => {
                let clock = upper[..upper.len() - 2].trim_end();
                let (hour, rest) = clock.split_once(':').unwrap_or((clock, "00"));
                let hour: usize = hour.parse().ok().filter(|h| (1..=12).contains(h))?;
                format!("{:02}:{rest}", hour % 12 + 12 * afternoon)
            }
        };
        // `9:05` is written as often as `09:05`.
        let pad = if clock.find(':') == Some(1) { "0" } else { "" };
        iso(format!("{:04}-{month:02}-{day:02} {pad}{clock}", self.year).trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_795_435_200_000);

    #[test]
    fn times_of_many_forms() {
        for text in [
            "2026-11-23T12:00:00Z",
            "2026-11-23 12:00:00",
            "2026-11-23 12:00",
            "2026/11/23 12:00:00",
            "2026-11-23T13:00:00+01:00",
            "2026-11-23 13:00:00+0100",
            "2026-11-23 13:00:00+01",
            "2026-11-23 12:00:00.000",
            "2026-11-23 12:00:00,000",
            "23.11.2026 12:00",
            "23/11/2026 12:00:00",
            "11/23/2026 12:00:00 PM",
            "1795435200",
            "1795435200.0",
            "1795435200000",
            "1795435200000000",
            "1795435200000000000",
        ] {
            assert_eq!(time(text), Some(NOON), "{text}");
        }
        assert_eq!(
            time("2026-11-23").map(|t| t.millis()),
            Some(1_795_392_000_000)
        );
        assert_eq!(time("11/23/2026 9:05 AM"), time("2026-11-23 09:05"));
        assert_eq!(time("11/23/2026 12:30 AM"), time("2026-11-23 00:30"));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "yesterday",
            "",
            "n/a",
            "2026-13-01",
            "2026-02-30",
            "31/31/2026",
            "nan",
            "inf",
            "1e300",
            "9223372036854775807999",
            "2026-11-23 25:00:00",
            "11/23/2026 13:00 PM",
            "äöü2026-11-23",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_that_may_be_two_days_is_not_guessed() {
        assert_eq!(time("03/04/2026"), None);
        let april = read("03/04/2026", Some(DateOrder::DayFirst));
        assert_eq!(april, time("2026-04-03"));
        let march = read("03/04/2026", Some(DateOrder::MonthFirst));
        assert_eq!(march, time("2026-03-04"));
        let shown = |cells: &[&str]| order_shown(cells.iter().copied());
        assert_eq!(
            shown(&["03/04/2026", "23/04/2026"]),
            Ok(Some(DateOrder::DayFirst))
        );
        assert_eq!(
            shown(&["03/04/2026", "04/23/2026"]),
            Ok(Some(DateOrder::MonthFirst))
        );
        assert_eq!(shown(&["2026-04-03", "03.04.2026"]), Ok(None));
        assert!(shown(&["03/04/2026", "04/04/2026"]).is_err_and(|e| e.contains("03/04/2026")));
    }
}
