//! Points in k groups, each round its mean: k-means.
//! In: a matrix of rows, k, a seed. Out: [`KMeans`]. Called from: [`super::cluster_agents`], users.
//! The way: several starts, each with centres drawn far from each other; of these the grouping of least inertia. Columns
//! are kept apart, so that distances of many rows are computed side by side.
//! Invariants: seeded and deterministic; every label is below k; inertia never rises from round to round.
//! Reference: Lloyd (1982); Arthur and Vassilvitskii (2007), "k-means++: The Advantages of Careful Seeding".

use ndarray::{Array2, ArrayView1};

/// Rounds of one start, at most; a handful is usual.
const ROUNDS_MAX: usize = 100;

/// Points in groups.
#[derive(Debug, Clone, PartialEq)]
pub struct KMeans {
    /// Group of each row, below k.
    pub labels: Vec<usize>,
    /// Means of the groups; shape `[k, columns]`.
    pub centres: Array2<f64>,
    /// Sum of the squared distances of the rows from their centres.
    pub inertia: f64,
}

/// Groups rows round `k` means; the best of `starts` starts.
///
/// `rows`: shape `[n, columns]`. `None` when a value is not finite or beyond 1e150 (its square would be infinite), when
/// `k` is 0 or above n, or when there are no columns.
/// # Cost
/// O(n k columns) for each round of each start, O(n columns) memory.
///
/// ```
/// use layer5_patterns::cluster::k_means;
/// let rows = ndarray::arr2(&[[0.0], [0.2], [9.0], [9.2], [0.1]]);
/// let found = k_means(&rows, 2, 3, 1).expect("five rows, two groups");
/// assert!(found.labels[0] == found.labels[4] && found.labels[0] != found.labels[2]);
/// assert!((found.inertia - 0.04).abs() < 1e-12);
/// ```
pub fn k_means(rows: &Array2<f64>, k: usize, starts: u64, seed: u64) -> Option<KMeans> {
    let (n, width) = rows.dim();
    let usable = rows.iter().all(|v| v.abs() <= 1e150);
    if k == 0 || k > n || width == 0 || !usable {
        return None;
    }
    let columns: Vec<Vec<f64>> = rows.columns().into_iter().map(column).collect();
    let mut best: Option<Start> = None;
    for start in 0..starts.max(1) {
        let mut draws = Draws(seed.wrapping_add(start.wrapping_mul(GOLDEN)));
        let found = Start::new(&columns, k, &mut draws).settled(&columns);
        if best.as_ref().is_none_or(|b| found.inertia < b.inertia) {
            best = Some(found);
        }
    }
    best.map(|b| KMeans {
        labels: b.labels,
        centres: Array2::from_shape_fn((k, width), |(c, j)| b.centres[c][j]),
        inertia: b.inertia,
    })
}

fn column(view: ArrayView1<'_, f64>) -> Vec<f64> {
    view.iter().copied().collect()
}

/// 2^64 over the golden ratio: the step of the generator, and the distance between the seeds of two starts.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64 (Steele, Lea and Flood 2014): a draw is all that is needed of a generator here.
struct Draws(u64);

impl Draws {
    /// Uniform in `0..1`.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// One start on its way.
struct Start {
    centres: Vec<Vec<f64>>,
    labels: Vec<usize>,
    /// Squared distance of each row from its centre.
    nearest: Vec<f64>,
    inertia: f64,
}

impl Start {
    /// Centres drawn with probability proportional to the squared distance from those already there.
    fn new(columns: &[Vec<f64>], k: usize, draws: &mut Draws) -> Self {
        let n = columns[0].len();
        let row = |i: usize| columns.iter().map(|c| c[i]).collect::<Vec<f64>>();
        let first = ((draws.unit() * n as f64) as usize).min(n - 1);
        let mut start = Self {
            centres: vec![row(first)],
            labels: vec![0; n],
            nearest: vec![0.0; n],
            inertia: 0.0,
        };
        squared_distances(columns, &start.centres[0], &mut start.nearest);
        let mut distance = vec![0.0; n];
        while start.centres.len() < k {
            let total: f64 = start.nearest.iter().sum();
            let mut left = draws.unit() * total;
            let drawn = start
                .nearest
                .iter()
                .position(|d| {
                    left -= d;
                    left < 0.0
                })
                .unwrap_or(n - 1);
            start.centres.push(row(drawn));
            start.offer(columns, start.centres.len() - 1, &mut distance);
        }
        start.inertia = start.nearest.iter().sum();
        start
    }

    /// Gives the rows nearest to centre `c` to it.
    fn offer(&mut self, columns: &[Vec<f64>], c: usize, distance: &mut [f64]) {
        squared_distances(columns, &self.centres[c], distance);
        let own = self.nearest.iter_mut().zip(&mut self.labels);
        for ((nearest, label), d) in own.zip(distance.iter()) {
            let closer = *d < *nearest;
            *nearest = if closer { *d } else { *nearest };
            *label = if closer { c } else { *label };
        }
    }

    /// Rounds of means and nearest centres until no row changes its group.
    fn settled(mut self, columns: &[Vec<f64>]) -> Self {
        let mut distance = vec![0.0; self.labels.len()];
        let mut before = Vec::new();
        for _ in 0..ROUNDS_MAX {
            if before == self.labels {
                break;
            }
            before.clone_from(&self.labels);
            self.move_centres(columns);
            squared_distances(columns, &self.centres[0], &mut self.nearest);
            self.labels.fill(0);
            for c in 1..self.centres.len() {
                self.offer(columns, c, &mut distance);
            }
            self.inertia = self.nearest.iter().sum();
        }
        self
    }

    /// Each centre goes to the mean of its rows; one that has none goes to the row farthest from its centre.
    fn move_centres(&mut self, columns: &[Vec<f64>]) {
        let k = self.centres.len();
        let mut counts = vec![0_u32; k];
        for &label in &self.labels {
            counts[label] += 1;
        }
        let mut sums = vec![0.0; k];
        for (j, column) in columns.iter().enumerate() {
            sums.fill(0.0);
            for (&label, v) in self.labels.iter().zip(column) {
                sums[label] += v;
            }
            for c in (0..k).filter(|&c| counts[c] > 0) {
                self.centres[c][j] = sums[c] / f64::from(counts[c]);
            }
        }
        for c in (0..k).filter(|&c| counts[c] == 0) {
            let farthest = (0..self.nearest.len())
                .max_by(|&a, &b| self.nearest[a].total_cmp(&self.nearest[b]))
                .unwrap_or(0);
            self.centres[c] = columns.iter().map(|column| column[farthest]).collect();
            self.nearest[farthest] = 0.0;
        }
    }
}

/// Squared distances of all rows from one centre.
fn squared_distances(columns: &[Vec<f64>], centre: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    let (pairs, last) = columns.as_chunks::<2>();
    for (pair, c) in pairs.iter().zip(centre.chunks(2)) {
        // Two columns at a time halve how often the sums are read and written.
        for ((slot, x), y) in out.iter_mut().zip(&pair[0]).zip(&pair[1]) {
            *slot += (x - c[0]) * (x - c[0]) + (y - c[1]) * (y - c[1]);
        }
    }
    for (column, c) in last.iter().zip(&centre[2 * pairs.len()..]) {
        for (slot, x) in out.iter_mut().zip(column) {
            *slot += (x - c) * (x - c);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn labels_are_those_of_the_nearest_centres(
            values in prop::collection::vec(-5.0..5.0_f64, 12..120),
            k in 1usize..5,
            seed in 0u64..50,
        ) {
            let n = values.len() / 3;
            let rows = Array2::from_shape_fn((n, 3), |(i, j)| values[3 * i + j]);
            prop_assume!(k <= n);
            let found = k_means(&rows, k, 3, seed).expect("finite rows");
            let mut inertia = 0.0;
            for (i, &label) in found.labels.iter().enumerate() {
                let squared = |c: usize| -> f64 {
                    rows.row(i).iter().zip(found.centres.row(c)).map(|(a, b)| (a - b).powi(2)).sum()
                };
                let least = (0..k).map(squared).fold(f64::INFINITY, f64::min);
                prop_assert!(squared(label) <= least + 1e-9);
                inertia += squared(label);
            }
            prop_assert!((inertia - found.inertia).abs() <= 1e-9 * (1.0 + inertia));
            prop_assert_eq!(found, k_means(&rows, k, 3, seed).expect("finite rows"));
        }
    }

    #[test]
    fn bad_input_has_no_groups() {
        let none = Array2::zeros((0, 2));
        assert_eq!(k_means(&none, 1, 1, 1), None);
        assert_eq!(k_means(&Array2::zeros((3, 0)), 1, 1, 1), None);
        assert_eq!(k_means(&Array2::zeros((3, 2)), 4, 1, 1), None);
        assert_eq!(k_means(&Array2::from_elem((3, 2), f64::NAN), 2, 1, 1), None);
        let equal = k_means(&Array2::from_elem((6, 2), 7.0), 3, 2, 1).expect("six equal rows");
        assert_eq!(equal.inertia, 0.0);
    }
}
