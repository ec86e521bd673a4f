//! A chunk: what one agent reported in some span of time, column by column, its times once for all its metrics.
//! In: samples of one agent, or [`Bucket`](super::aggregate::Bucket)s of them. Out: bytes, and one series or all back.
//! Called from: [`super::block`], [`super`].
//! Layout: rows (varint), series (varint), unit of time (u8: 0 = s, 1 = ms, 2 = us, 3 = ns), length and times of the rows
//! by [`super::integers`]; for each series by rising number: step from the one before (varint), marks (u8), its rows
//! unless it has all of them, which of them are suspect unless none is, and its columns, each with its length, by
//! [`super::values`]; length 0 says that a column is the one before once more. Marks: bits 0-1 rows, bits 2-3 suspects; 0 = all or none, 1 = one bit each, 2 = run lengths (varints,
//! beginning with what is not marked).
//! A row is a report: seven metrics share one time. Two reports of one time are two rows.
//! Invariants: rows are in the order of time; every sample comes back bit for bit, samples of one series and time in the
//! order they came; no bytes make reading panic or allocate more than [`ROWS_MAX`] rows.

use layer5_core::{Quality, Sample, SeriesId, Timestamp};

use super::{integers, values};
use crate::store::columns::{Cursor, write_varint};

/// Most rows of a chunk.
pub(super) const ROWS_MAX: usize = 1 << 20;
/// Units that times are looked at in, ns.
const UNITS: [i64; 4] = [1_000_000_000, 1_000_000, 1_000, 1];

/// One agent's rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Chunk {
    /// Of the rows, ns, not falling.
    pub(super) times: Vec<i64>,
    /// By rising number.
    pub(super) series: Vec<SeriesColumns>,
}

/// What one series has in a chunk.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SeriesColumns {
    pub(super) series: u32,
    /// The rows that it has, rising.
    pub(super) rows: Vec<u32>,
    /// Of the same length as `rows`: outside the catalogue's range.
    pub(super) suspect: Vec<bool>,
    /// One for samples, several for aggregates; each of the same length as `rows`.
    pub(super) columns: Vec<Vec<f64>>,
}

impl Chunk {
    /// The chunk of `samples`, all of one agent, sorted by time; those of one time in the order they came.
    #[cfg(test)]
    fn of_samples(samples: &[Sample]) -> Self {
        let mut chunk = Self::default();
        chunk.fill(samples);
        chunk
    }

    /// Makes it the chunk of `samples`, all of one agent, sorted by time; those of one time in the order they came. What it
    /// was before lends its memory: chunks of few samples each are made by the hundred thousand.
    pub(super) fn fill(&mut self, samples: &[Sample]) {
        let mut numbers: Vec<u32> = samples.iter().map(|sample| sample.series.0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let Self { times, series } = self;
        times.clear();
        series.resize_with(numbers.len(), SeriesColumns::default);
        for (of, &number) in series.iter_mut().zip(&numbers) {
            of.series = number;
            of.rows.clear();
            of.suspect.clear();
            of.columns.resize_with(1, Vec::new);
            of.columns[0].clear();
        }
        let mut run_start = 0;
        for sample in samples {
            let at = sample.at.nanos();
            if times.last() != Some(&at) {
                run_start = times.len();
            }
            let place = numbers
                .binary_search(&sample.series.0)
                .expect("every number was collected above");
            let of = &mut series[place];
            // A second value at the same time is of a second report.
            let row = of
                .rows
                .last()
                .map_or(0, |&row| row as usize + 1)
                .max(run_start);
            if row == times.len() {
                times.push(at);
            }
            of.rows.push(row as u32);
            of.suspect.push(sample.quality == Quality::Suspect);
            of.columns[0].push(sample.value);
        }
    }

    /// The samples, series by series.
    pub(super) fn samples(&self) -> impl Iterator<Item = Sample> + '_ {
        self.series.iter().flat_map(|of| {
            let rows = of.rows.iter().zip(&of.suspect);
            rows.enumerate().map(|(i, (&row, &suspect))| Sample {
                at: Timestamp::from_nanos(self.times[row as usize]),
                value: of.columns[0][i],
                series: SeriesId(of.series),
                quality: if suspect {
                    Quality::Suspect
                } else {
                    Quality::Good
                },
            })
        })
    }

    /// The bytes of this chunk, which has at least one row.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    /// Appends the bytes of this chunk, which has at least one row.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        write_varint(bytes, self.times.len() as u64);
        write_varint(bytes, self.series.len() as u64);
        let divides = |unit: &i64| self.times.iter().all(|at| at % unit == 0);
        let unit = UNITS.iter().position(divides).unwrap_or(3);
        bytes.push(unit as u8);
        let times: Vec<i64> = self.times.iter().map(|at| at / UNITS[unit]).collect();
        write_framed(bytes, |bytes| integers::write(&times, bytes));
        let mut before = 0;
        for of in &self.series {
            write_varint(bytes, u64::from(of.series - before));
            before = of.series;
            let marks_at = bytes.len();
            bytes.push(0);
            let mut marks = 0;
            if of.rows.len() < self.times.len() {
                let mut has = vec![false; self.times.len()];
                of.rows.iter().for_each(|&row| has[row as usize] = true);
                marks |= write_flags(bytes, &has);
            }
            if of.suspect.contains(&true) {
                marks |= write_flags(bytes, &of.suspect) << 2;
            }
            bytes[marks_at] = marks;
            for (i, column) in of.columns.iter().enumerate() {
                let bits = |column: &[f64]| column.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                if i > 0 && bits(column) == bits(&of.columns[i - 1]) {
                    write_varint(bytes, 0);
                } else {
                    write_framed(bytes, |bytes| values::write(column, bytes));
                }
            }
        }
    }

    /// The chunk that `bytes` hold, with `n_columns` to a series; `None` when they hold none.
    pub(super) fn decode(bytes: &[u8], n_columns: usize) -> Option<Self> {
        Self::decode_where(bytes, n_columns, |_| true)
    }

    /// The same with the columns of `series` alone; no other is decoded.
    pub(super) fn decode_series(bytes: &[u8], n_columns: usize, series: u32) -> Option<Self> {
        Self::decode_where(bytes, n_columns, |number| number == series)
    }

    fn decode_where(bytes: &[u8], n_columns: usize, wanted: impl Fn(u32) -> bool) -> Option<Self> {
        let mut cursor = Cursor { bytes, offset: 0 };
        let n_rows = usize::try_from(cursor.varint()?).ok()?;
        if n_rows > ROWS_MAX {
            return None;
        }
        let n_series = cursor.varint()?;
        let unit = *UNITS.get(usize::from(*cursor.take(1)?.first()?))?;
        let mut times = integers::read(read_framed(&mut cursor)?, n_rows)?;
        for at in &mut times {
            *at = at.checked_mul(unit)?;
        }
        let mut chunk = Self {
            times,
            series: Vec::new(),
        };
        let mut number = 0_u32;
        for _ in 0..n_series {
            number = number.checked_add(u32::try_from(cursor.varint()?).ok()?)?;
            let marks = *cursor.take(1)?.first()?;
            let has = read_flags(&mut cursor, marks & 3, n_rows, true)?;
            let rows: Vec<u32> = (0..n_rows as u32)
                .filter(|&row| has[row as usize])
                .collect();
            let suspect = read_flags(&mut cursor, marks >> 2, rows.len(), false)?;
            let mut framed = Vec::with_capacity(n_columns);
            for _ in 0..n_columns {
                framed.push(read_framed(&mut cursor)?);
            }
            if !wanted(number) {
                continue;
            }
            let mut columns: Vec<Vec<f64>> = Vec::with_capacity(n_columns);
            for bytes in framed {
                columns.push(match (bytes, columns.last()) {
                    ([], Some(before)) => before.clone(),
                    _ => values::read(bytes, rows.len())?,
                });
            }
            chunk.series.push(SeriesColumns {
                series: number,
                rows,
                suspect,
                columns,
            });
        }
        (cursor.offset == bytes.len()).then_some(chunk)
    }
}

/// Appends what `write` writes, with its length before it.
fn write_framed(bytes: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let length_at = bytes.len();
    // Most lengths take one byte.
    bytes.push(0);
    write(bytes);
    let n_bytes = bytes.len() - length_at - 1;
    if n_bytes < 0x80 {
        bytes[length_at] = n_bytes as u8;
        return;
    }
    let mut length = Vec::new();
    write_varint(&mut length, n_bytes as u64);
    bytes.splice(length_at..=length_at, length);
}

fn read_framed<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let n_bytes = usize::try_from(cursor.varint()?).ok()?;
    cursor.take(n_bytes)
}

/// Appends `flags` in the shorter of two forms; returns which: 1 bits, 2 runs.
fn write_flags(bytes: &mut Vec<u8>, flags: &[bool]) -> u8 {
    let mut runs = Vec::new();
    let (mut marked, mut length) = (false, 0_u64);
    for &flag in flags {
        if flag != marked {
            write_varint(&mut runs, length);
            (marked, length) = (flag, 0);
        }
        length += 1;
    }
    write_varint(&mut runs, length);
    if runs.len() <= flags.len().div_ceil(8) {
        bytes.extend_from_slice(&runs);
        return 2;
    }
    let byte = |eight: &[bool]| {
        eight
            .iter()
            .rev()
            .fold(0, |byte, &flag| byte << 1 | u8::from(flag))
    };
    bytes.extend(flags.chunks(8).map(byte));
    1
}

/// `n` flags; in form 0 all are `unmarked`.
fn read_flags(cursor: &mut Cursor<'_>, form: u8, n: usize, unmarked: bool) -> Option<Vec<bool>> {
    match form {
        0 => Some(vec![unmarked; n]),
        1 => {
            let bytes = cursor.take(n.div_ceil(8))?;
            Some((0..n).map(|i| bytes[i / 8] >> (i % 8) & 1 == 1).collect())
        }
        2 => {
            let mut flags = Vec::with_capacity(n);
            let mut marked = false;
            // A chunk without rows has one run, of none.
            loop {
                let length = usize::try_from(cursor.varint()?).ok()?;
                if length > n - flags.len() || (length == 0 && !flags.is_empty()) {
                    return None;
                }
                flags.resize(flags.len() + length, marked);
                marked = !marked;
                if flags.len() == n {
                    return Some(flags);
                }
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(series: u32, at: i64, value: f64, suspect: bool) -> Sample {
        Sample {
            at: Timestamp::from_nanos(at),
            value,
            series: SeriesId(series),
            quality: if suspect {
                Quality::Suspect
            } else {
                Quality::Good
            },
        }
    }

    /// By series, then time, then the order in which they came.
    fn sorted(samples: &[Sample]) -> Vec<(u32, i64, u64, bool)> {
        let mut rows: Vec<_> = samples
            .iter()
            .map(|s| {
                (
                    s.series.0,
                    s.at.nanos(),
                    s.value.to_bits(),
                    s.quality == Quality::Suspect,
                )
            })
            .collect();
        rows.sort_by_key(|row| (row.0, row.1));
        rows
    }

    fn there_and_back(mut samples: Vec<Sample>) -> usize {
        let before = sorted(&samples);
        samples.sort_by_key(|sample| sample.at);
        let chunk = Chunk::of_samples(&samples);
        let bytes = chunk.encode();
        let back = Chunk::decode(&bytes, 1).expect("what was written can be read");
        assert_eq!(sorted(&back.samples().collect::<Vec<_>>()), before);
        if let Some(&(series, ..)) = before.last() {
            let one = Chunk::decode_series(&bytes, 1, series).expect("so can a part of it");
            let of_one: Vec<_> = before
                .iter()
                .filter(|row| row.0 == series)
                .copied()
                .collect();
            assert_eq!(sorted(&one.samples().collect::<Vec<_>>()), of_one);
        }
        bytes.len()
    }

    #[test]
    fn seven_noisy_decimals_a_report_cost_two_bytes_each() {
        // Reports of an agent every few seconds; noise of 10 % in four digits, as the demo's fleet has it.
        let mut state = 1_u64;
        let mut noise = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as f64 / f64::from(u32::MAX >> 1) - 0.5
        };
        let mut samples = Vec::new();
        let mut at = 1_795_000_000_000_i64;
        for _ in 0..1000 {
            at += 5000 + (noise() * 200.0) as i64;
            for series in 70..77 {
                let value = (1000.0 * (45.0 + 9.0 * noise())).round() / 1000.0;
                samples.push(sample(series, at * 1_000_000, value, false));
            }
        }
        let n_bytes = there_and_back(samples);
        assert!(n_bytes <= 2 * 7000, "{n_bytes} bytes for 7000 samples");
    }

    #[test]
    fn reports_of_the_same_time_stay_apart_and_in_order() {
        there_and_back(vec![
            sample(1, 5, 1.0, false),
            sample(2, 5, 2.0, false),
            sample(1, 5, 3.0, true),
            sample(1, 5, 0.5, false),
            sample(9, 5, -0.0, false),
            sample(2, -7, 4.0, false),
            sample(u32::MAX, i64::MAX, f64::MAX, true),
            sample(0, i64::MIN, 5e-324, true),
        ]);
    }

    #[test]
    fn what_is_no_chunk_is_told() {
        let bytes =
            Chunk::of_samples(&[sample(1, 5, 1.25, false), sample(3, 6, 2.0, true)]).encode();
        for cut in 0..bytes.len() {
            assert_eq!(Chunk::decode(&bytes[..cut], 1), None);
        }
        assert_eq!(Chunk::decode(&[&bytes[..], &[0]].concat(), 1), None);
        assert_eq!(Chunk::decode(&bytes, 2), None);
    }

    proptest! {
        #[test]
        fn any_samples_come_back(rows in prop::collection::vec((0_u32..6, -20_i64..20, any::<u64>(), any::<bool>()), 1..100), unit in 0_usize..4) {
            let samples = rows.iter().map(|r| sample(r.0, r.1 * UNITS[unit], f64::from_bits(r.2), r.3));
            there_and_back(samples.collect());
        }

        #[test]
        fn any_bytes_are_answered(bytes in any::<Vec<u8>>()) {
            let _ = Chunk::decode(&bytes, 1);
            let _ = Chunk::decode(&bytes, 4);
        }
    }
}
