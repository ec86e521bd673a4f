//! The matrix profile of a stream: for each new window its nearest among those held, in bounded memory.
//! In: values, one by one; gaps as `NaN`. Out: a [`Nearest`] per window. Called from: users.
//! The way: the covariances of the newest window with all others follow from those of the window before by two
//! multiplications each, along diagonals, which keep their place in memory; every [`FRESH`] samples, or when a large value
//! has left the newest window, they are computed anew, so that rounding does not pile up.
//! Invariants: memory is fixed at construction; windows closer than half a window are not compared; a held window's
//! distance never rises, also when its neighbour is no longer held.
//! Reference: Yeh et al. (2016), STAMPI; Lu et al. (2022), DAMP, <https://doi.org/10.1145/3534678.3539271>, for the bound.

use std::ops::Range;

use super::matrix_profile::MatrixProfile;
use super::windows::distance;
use crate::error::ConfigError;

/// Samples between two computations from the definition.
const FRESH: u32 = 1024;
/// Energy of the newest window against the largest since covariances were last computed anew, below which what the large
/// value left behind in rounding would matter.
const FADED: f64 = 1e-8;
/// Values farther from the first are gaps: their squares would leave `f64`.
const FAR: f64 = 1e100;
/// Deviations below this share of a window's largest magnitude are rounding.
const CONSTANT_SHARE: f64 = 1e-7;
/// Most windows that can be held.
const CAPACITY_MAX: usize = 1 << 24;
/// Columns that are compared at once.
const LANES: usize = 8;

/// The newest window and the one most like it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// Number of the newest window's first sample, counted from the beginning of the stream.
    pub start: u64,
    /// z-normalised distance to its nearest held window: the larger, the less it was ever seen before.
    pub distance: f64,
    /// First sample of that window.
    pub neighbour: u64,
}

/// What is known of a held window.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Moments {
    mean: f64,
    gap: bool,
    constant: bool,
}

/// A matrix profile over the newest windows of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamingProfile {
    m: usize,
    capacity: usize,
    origin: Option<f64>,
    /// Samples taken.
    taken: u64,
    /// Samples without the origin, gaps as zero; the windows held are those of the newest `capacity + m - 1`.
    values: Vec<f64>,
    present: Vec<bool>,
    // By window, oldest first: all of one length, which the slices below share.
    moments: Vec<Moments>,
    df: Vec<f64>,
    dg: Vec<f64>,
    norm: Vec<f64>,
    best: Vec<f64>,
    neighbour: Vec<u64>,
    /// Covariance of the newest window with the one `capacity - k` before it, at place k.
    covariance: Vec<f64>,
    since_fresh: u32,
    energy_max: f64,
}

impl StreamingProfile {
    /// A profile of windows of `window_len` samples (4 or more) over the newest `capacity` windows (at least two windows
    /// long, at most 2^24).
    ///
    /// # Errors
    /// A [`ConfigError`] that names the field.
    ///
    /// ```
    /// use layer5_patterns::matching::StreamingProfile;
    /// let mut profile = StreamingProfile::new(20, 500)?;
    /// let mut strangest = (0, 0.0);
    /// for t in 0..1000_u32 {
    ///     let dent = if (700..705).contains(&t) { 3.0 } else { 0.0 };
    ///     let value = (f64::from(t) * 0.2).sin() + dent;
    ///     if let Some(nearest) = profile.push(value).filter(|n| n.start > 100 && n.distance > strangest.1) {
    ///         strangest = (nearest.start, nearest.distance);
    ///     }
    /// }
    /// assert!((680..705).contains(&strangest.0));
    /// # Ok::<(), layer5_patterns::ConfigError>(())
    /// ```
    pub fn new(window_len: usize, capacity: usize) -> Result<Self, ConfigError> {
        let m = window_len;
        ConfigError::check("window_len", m as f64, 4.0, 65_536.0, "4 to 65536 samples")?;
        ConfigError::check(
            "capacity",
            capacity as f64,
            2.0 * m as f64,
            CAPACITY_MAX as f64,
            "two windows' length to 2^24 windows",
        )?;
        let room = 2 * capacity;
        Ok(Self {
            m,
            capacity,
            origin: None,
            taken: 0,
            values: Vec::with_capacity(room + m),
            present: Vec::with_capacity(room + m),
            moments: Vec::with_capacity(room),
            df: Vec::with_capacity(room),
            dg: Vec::with_capacity(room),
            norm: Vec::with_capacity(room),
            best: Vec::with_capacity(room),
            neighbour: Vec::with_capacity(room),
            covariance: vec![0.0; capacity],
            since_fresh: 0,
            energy_max: 0.0,
        })
    }

    /// Takes a sample. `None` until two windows are far enough apart, and for a window with a gap or without a neighbour.
    ///
    /// `value`: not finite, or farther than 1e100 from the first value, is a gap.
    /// # Cost
    /// O(capacity + window_len) time, no allocation; once in 1024 samples O(capacity * window_len).
    pub fn push(&mut self, value: f64) -> Option<Nearest> {
        self.make_room();
        let origin = *self
            .origin
            .get_or_insert(if value.is_finite() { value } else { 0.0 });
        let relative = value - origin;
        let present = relative.abs() <= FAR;
        self.values.push(if present { relative } else { 0.0 });
        self.present.push(present);
        self.taken += 1;
        if self.values.len() < self.m {
            return None;
        }
        let energy = self.add_window();
        self.energy_max = self.energy_max.max(energy);
        self.since_fresh += 1;
        let faded = energy < FADED * self.energy_max && self.since_fresh as usize > self.m;
        if self.since_fresh >= FRESH || faded {
            self.compute_anew();
        } else {
            self.step();
        }
        self.compare()
    }

    /// Number of the first sample of the oldest window held.
    pub fn start(&self) -> u64 {
        self.taken.saturating_sub((self.held() + self.m - 1) as u64)
    }

    /// The profile of the windows held: each with the nearest it ever met, before or after it.
    ///
    /// `neighbour` counts from [`StreamingProfile::start`]; a window whose neighbour is no longer held names itself.
    pub fn profile(&self) -> MatrixProfile {
        let (held, all) = (self.held(), self.moments.len());
        let start = self.start();
        let newest = all - held..all;
        let distance = newest
            .clone()
            .map(|i| {
                if self.best[i] > f64::NEG_INFINITY {
                    distance(self.best[i], self.m, 0)
                } else {
                    f64::INFINITY
                }
            })
            .collect();
        let neighbour = newest
            .enumerate()
            .map(|(own, i)| {
                let place = self.neighbour[i].wrapping_sub(start);
                if place < held as u64 {
                    place as usize
                } else {
                    own
                }
            })
            .collect();
        MatrixProfile {
            distance,
            neighbour,
            window_len: self.m,
        }
    }

    /// Windows held.
    fn held(&self) -> usize {
        self.moments.len().min(self.capacity)
    }

    /// Buffers are twice as long as what is held: when one is full its newer half moves to the front.
    fn make_room(&mut self) {
        if self.moments.len() < 2 * self.capacity {
            return;
        }
        let gone = self.moments.len() - self.capacity;
        self.values.drain(..gone);
        self.present.drain(..gone);
        self.moments.drain(..gone);
        for list in [&mut self.df, &mut self.dg, &mut self.norm, &mut self.best] {
            list.drain(..gone);
        }
        self.neighbour.drain(..gone);
    }

    /// Moments of the newest window, from its samples; returns its energy round the mean.
    fn add_window(&mut self) -> f64 {
        let first = self.values.len() - self.m;
        let window = &self.values[first..];
        let mean = window.iter().sum::<f64>() / self.m as f64;
        let (mut energy, mut largest) = (0.0, 0.0_f64);
        for v in window {
            energy += (v - mean) * (v - mean);
            largest = largest.max(v.abs());
        }
        let gap = !self.present[first..].iter().all(|p| *p);
        let magnitude = CONSTANT_SHARE * (largest + self.origin.unwrap_or(0.0).abs());
        // Compared as roots: the square of a large origin would overflow.
        let constant = !((energy / self.m as f64).sqrt() > magnitude);
        let (df, dg) = match self.moments.last() {
            Some(before) => {
                let (gone, came) = (self.values[first - 1], self.values[first + self.m - 1]);
                (0.5 * (came - gone), (came - mean) + (gone - before.mean))
            }
            None => (0.0, 0.0),
        };
        let usable = !gap && !constant;
        self.moments.push(Moments {
            mean,
            gap,
            constant: constant && !gap,
        });
        self.df.push(df);
        self.dg.push(dg);
        self.norm.push(if usable {
            1.0 / energy.sqrt()
        } else {
            f64::NAN
        });
        self.best.push(f64::NEG_INFINITY);
        self.neighbour.push(u64::MAX);
        energy
    }

    /// Windows before the newest that are held: their first place, and their first place on the diagonals.
    fn earlier(&self) -> (usize, usize) {
        let newest = self.moments.len() - 1;
        let count = newest.min(self.capacity);
        (newest - count, self.capacity - count)
    }

    /// One step of every diagonal; the diagonal of the oldest window begins.
    fn step(&mut self) {
        let (from, diagonal) = self.earlier();
        let newest = self.moments.len() - 1;
        let (df, dg) = (self.df[newest], self.dg[newest]);
        let covariance = &mut self.covariance[diagonal..];
        let steps = self.df[from..newest].iter().zip(&self.dg[from..newest]);
        for (slot, (other_df, other_dg)) in covariance.iter_mut().zip(steps) {
            *slot += df * other_dg + other_df * dg;
        }
        if from == 0 && newest > 0 {
            // The stream's first window has no window before it: its covariance is computed from the samples.
            self.covariance[diagonal] = self.covariance_with(0);
        }
    }

    fn compute_anew(&mut self) {
        let (from, diagonal) = self.earlier();
        for (k, other) in (from..self.moments.len() - 1).enumerate() {
            self.covariance[diagonal + k] = self.covariance_with(other);
        }
        self.since_fresh = 0;
        self.energy_max = 0.0;
    }

    fn covariance_with(&self, other: usize) -> f64 {
        let newest = self.moments.len() - 1;
        let (a, b) = (&self.values[newest..], &self.values[other..other + self.m]);
        let (mean_a, mean_b) = (self.moments[newest].mean, self.moments[other].mean);
        a.iter()
            .zip(b)
            .map(|(x, y)| (x - mean_a) * (y - mean_b))
            .sum()
    }

    /// Compares the newest window with all that are far enough away.
    fn compare(&mut self) -> Option<Nearest> {
        let newest = self.moments.len() - 1;
        let start = self.taken - self.m as u64;
        let moments = self.moments[newest];
        let apart = self.m.div_ceil(2);
        if moments.gap || newest < apart {
            return None;
        }
        let (from, diagonal) = self.earlier();
        let number = |place: usize| start - (newest - place) as u64;
        let until = newest + 1 - apart;
        let (best, at) = if moments.constant {
            // A constant window is at distance 0 from any other, and compared with no varying one.
            (
                1.0,
                (from..until).find(|&place| self.moments[place].constant)?,
            )
        } else {
            self.nearest_of(from..until, diagonal, start)?
        };
        (self.best[newest], self.neighbour[newest]) = (best, number(at));
        Some(Nearest {
            start,
            distance: distance(best, self.m, 0),
            neighbour: number(at),
        })
    }

    /// Best correlation of the newest window with those at `places`, and where; they get to know it too.
    fn nearest_of(
        &mut self,
        places: Range<usize>,
        diagonal: usize,
        start: u64,
    ) -> Option<(f64, usize)> {
        let norm = self.norm[self.moments.len() - 1];
        let covariance = &self.covariance[diagonal..][..places.len()];
        let norms = &self.norm[places.clone()];
        let held = &mut self.best[places.clone()];
        let neighbour = &mut self.neighbour[places.clone()];
        let (mut best, mut at) = (f64::NEG_INFINITY, None);
        let lists = covariance.chunks(LANES).zip(norms.chunks(LANES));
        for (block, ((covariance, norms), held)) in lists.zip(held.chunks_mut(LANES)).enumerate() {
            // Nearly always neither side has found anything better: a full block is asked at once.
            if let (Some(c), Some(n), Some(h)) = (
                covariance.first_chunk(),
                norms.first_chunk(),
                held.first_chunk(),
            ) && !any_better((c, n, h), norm, best)
            {
                continue;
            }
            for k in 0..held.len() {
                let (correlation, place) = (covariance[k] * norms[k] * norm, block * LANES + k);
                if correlation > best {
                    (best, at) = (correlation, Some(places.start + place));
                }
                if correlation > held[k] {
                    (held[k], neighbour[place]) = (correlation, start);
                }
            }
        }
        at.map(|at| (best, at))
    }
}

fn any_better(
    (covariance, norms, held): (&[f64; LANES], &[f64; LANES], &[f64; LANES]),
    norm: f64,
    best: f64,
) -> bool {
    let mut better = false;
    for k in 0..LANES {
        let correlation = covariance[k] * norms[k] * norm;
        better |= (correlation > best) | (correlation > held[k]);
    }
    better
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::matching::matrix_profile;

    proptest! {
        #[test]
        fn a_stream_has_the_profile_of_its_series(
            mut series in prop::collection::vec(-3.0..3.0_f64, 40..160),
            m in 4usize..12,
            gap in 0usize..40,
            flat in 0usize..20,
        ) {
            series[gap] = f64::NAN;
            series[flat..flat + 14].fill(1.0);
            let mut stream = StreamingProfile::new(m, 400).expect("in range");
            for v in &series {
                stream.push(*v);
            }
            let (is, should) = (stream.profile(), matrix_profile(&series, m));
            for (i, (a, b)) in is.distance.iter().zip(&should.distance).enumerate() {
                let flat = series[i..i + m].iter().all(|v| *v == 1.0);
                // Distances near zero are roots of rounding; constant windows know only those before them.
                prop_assert!(a == b || (a - b).abs() < 1e-4 || flat, "{i}: {a} {b}");
            }
        }

        #[test]
        fn held_windows_know_their_nearest_among_all_that_were_held(
            series in prop::collection::vec(-3.0..3.0_f64, 120..400),
            wild in 0usize..100,
        ) {
            let mut series = series;
            series[wild] = 1e6;
            let (m, capacity) = (6, 30);
            let mut stream = StreamingProfile::new(m, capacity).expect("in range");
            for (t, v) in series.iter().enumerate() {
                let told = stream.push(*v);
                if t < wild + capacity + 2 * m || t + 1 < capacity + m {
                    continue;
                }
                let start = t + 1 - m;
                let past = &series[start - capacity..=t];
                let batch = matrix_profile(past, m);
                let told = told.expect("no gaps");
                prop_assert_eq!(told.start, start as u64);
                let own = batch.distance[capacity];
                prop_assert!((told.distance - own).abs() < 1e-3, "{t}: {} {own}", told.distance);
                prop_assert!(stream.moments.capacity() <= 2 * capacity + 8);
            }
        }
    }

    #[test]
    fn awkward_streams_are_answered() {
        assert!(StreamingProfile::new(3, 100).is_err());
        assert!(StreamingProfile::new(10, 19).is_err());
        assert!(StreamingProfile::new(10, usize::MAX).is_err());
        let mut stream = StreamingProfile::new(4, 20).expect("in range");
        let values = [
            f64::NAN,
            f64::INFINITY,
            1e308,
            -1e308,
            1e-308,
            0.0,
            f64::MIN,
        ];
        for i in 0..500 {
            if let Some(nearest) = stream.push(values[i % values.len()]) {
                assert!(nearest.distance.is_finite());
            }
        }
        for _ in 0..100 {
            stream.push(5.0);
        }
        assert_eq!(stream.push(5.0).map(|n| n.distance), Some(0.0));
    }
}
