//! Aggregates: what is kept of samples when they themselves go, and what a question with a step is answered by.
//! In: samples of one agent. Out: [`Bucket`]s, and chunks of them. Called from: [`super`].
//! Layout: a chunk with a row for each bucket and four columns a series: count, least, greatest, sum.
//! Invariants: a bucket starts at a multiple of its width; buckets of the same start add up, so a span may be cut
//! anywhere.

use std::collections::BTreeMap;

use super::chunk::{Chunk, SeriesColumns};

/// Columns of a series in a chunk of buckets.
pub(super) const N_COLUMNS: usize = 4;

/// Samples of one series within one span of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// How many.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Of all.
    pub sum: f64,
}

impl Bucket {
    /// The bucket of one sample.
    pub(super) fn of(value: f64) -> Self {
        Self {
            count: 1,
            min: value,
            max: value,
            sum: value,
        }
    }

    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            sum: self.sum + other.sum,
        }
    }

    /// The mean of the samples.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// Start of the bucket of `width` ns that `at` falls into.
pub(super) fn start_of(at: i64, width: i64) -> i64 {
    at.saturating_sub(at.rem_euclid(width))
}

/// Buckets by series and start.
pub(super) type Buckets = BTreeMap<(u32, i64), Bucket>;

/// Counts `bucket` in.
pub(super) fn add(buckets: &mut Buckets, series: u32, start: i64, bucket: Bucket) {
    let place = buckets.entry((series, start));
    place.and_modify(|b| *b = b.plus(bucket)).or_insert(bucket);
}

/// The chunk of one agent's `buckets`.
pub(super) fn to_chunk(buckets: &Buckets) -> Chunk {
    let mut times: Vec<i64> = buckets.keys().map(|&(_, start)| start).collect();
    times.sort_unstable();
    times.dedup();
    let mut series: Vec<SeriesColumns> = Vec::new();
    for (&(number, start), bucket) in buckets {
        if series.last().is_none_or(|last| last.series != number) {
            series.push(SeriesColumns {
                series: number,
                columns: vec![Vec::new(); N_COLUMNS],
                ..SeriesColumns::default()
            });
        }
        let of = series.last_mut().expect("one was pushed");
        let row = times
            .binary_search(&start)
            .expect("every start was collected");
        of.rows.push(row as u32);
        of.suspect.push(false);
        let values = [bucket.count as f64, bucket.min, bucket.max, bucket.sum];
        for (column, value) in of.columns.iter_mut().zip(values) {
            column.push(value);
        }
    }
    Chunk { times, series }
}

/// The buckets of a chunk: series, start, bucket.
pub(super) fn buckets(chunk: &Chunk) -> impl Iterator<Item = (u32, i64, Bucket)> + '_ {
    chunk.series.iter().flat_map(|of| {
        of.rows.iter().enumerate().map(|(i, &row)| {
            let value = |column: usize| of.columns[column][i];
            let bucket = Bucket {
                count: value(0) as u64,
                min: value(1),
                max: value(2),
                sum: value(3),
            };
            (of.series, chunk.times[row as usize], bucket)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_and_come_back() {
        let mut all = Buckets::new();
        for (series, at, value) in [(3, 0, 1.0), (3, 9, 3.0), (3, 10, -5.0), (8, -1, 0.1)] {
            add(&mut all, series, start_of(at, 10), Bucket::of(value));
        }
        let first = all[&(3, 0)];
        assert_eq!((first.count, first.min, first.max), (2, 1.0, 3.0));
        assert_eq!(first.mean(), 2.0);
        assert!(all.contains_key(&(8, -10)));
        let bytes = to_chunk(&all).encode();
        let chunk = Chunk::decode(&bytes, N_COLUMNS).expect("what was written can be read");
        let back: Buckets = buckets(&chunk).map(|(s, at, b)| ((s, at), b)).collect();
        assert_eq!(back, all);
    }
}
