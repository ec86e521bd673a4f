//! Which agents behave alike, and which do not.
//! In: one row of features per agent. Out: a [`Clustering`]. Called from: the service, over a cohort of agents.
//! The way: each feature is brought to robust standard deviations; agents without near neighbours (DBSCAN) are outliers,
//! each with the feature that sets it apart; the others are clustered by k-means with the k of the best silhouette.
//! Invariants: seeded and deterministic; labels are numbered by falling size; outliers have no label.
//! Reference: Ester et al. (1996), DBSCAN; Rousseeuw (1987), silhouettes.

mod features;
mod k_means;
mod silhouette;

pub use features::{FEATURES, behaviour_features};
pub use k_means::{KMeans, k_means};
pub use silhouette::silhouette;

use ndarray::{Array2, ArrayView1, Axis};
use smartcore::cluster::dbscan::{DBSCAN, DBSCANParameters};
use smartcore::linalg::basic::arrays::Array2 as _;
use smartcore::linalg::basic::matrix::DenseMatrix;

use crate::order_statistics::{median, robust_sigma};

/// What is asked of a clustering. The defaults need no tuning.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterConfig {
    /// Most clusters tried. Default 8.
    pub clusters_max: usize,
    /// Least mean silhouette for more than one cluster. Default 0.35: below, the structure is weak (Kaufman and Rousseeuw).
    pub silhouette_min: f64,
    /// An agent this many times farther from its fourth neighbour than the median agent is an outlier. Default 4.
    pub outlier_factor: f64,
    /// Starts of k-means for each k. Default 5.
    pub starts: u64,
    /// Seed of the starts. Default 1.
    pub seed: u64,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            clusters_max: 8,
            silhouette_min: 0.35,
            outlier_factor: 4.0,
            starts: 5,
            seed: 1,
        }
    }
}

/// An agent unlike the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutlierAgent {
    /// Its row.
    pub agent: usize,
    /// The column that sets it apart most.
    pub feature: usize,
    /// Its value there.
    pub value: f64,
    /// What the agents most like it have there (median of the nearest cluster).
    pub usual: f64,
    /// The difference in robust standard deviations of all agents.
    pub deviation: f64,
}

/// Agents in groups.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Clustering {
    /// Cluster of each agent, `None` for outliers.
    pub labels: Vec<Option<usize>>,
    /// Number of clusters; 0 without agents.
    pub n_clusters: usize,
    /// Mean silhouette, -1..=1; 0 for one cluster.
    pub silhouette: f64,
    /// Agents unlike all others, farthest first.
    pub outliers: Vec<OutlierAgent>,
}

/// Fewest agents that can have clusters or outliers.
const AGENTS_MIN: usize = 8;
/// DBSCAN's density: the point itself and this many others (Sander et al. 1998 use 4 in low dimensions).
const NEIGHBOURS: usize = 4;
/// Least radius in robust standard deviations: closer agents are alike, however much closer the rest are.
const RADIUS_MIN: f64 = 1.0;

/// Groups agents by their features.
///
/// `features`: shape `[agents, columns]`; what is not finite counts as the column's median. Below 8 agents all are one
/// cluster.
/// # Cost
/// O(agents^2 columns) time and O(agents columns) memory.
pub fn cluster_agents(features: &Array2<f64>, config: &ClusterConfig) -> Clustering {
    let agents = features.nrows();
    if agents < AGENTS_MIN || features.ncols() == 0 {
        return Clustering {
            labels: vec![Some(0); agents],
            n_clusters: usize::from(agents > 0),
            ..Clustering::default()
        };
    }
    let scaled = in_robust_units(features);
    let outside = without_neighbours(&scaled, config.outlier_factor);
    let inside: Vec<usize> = (0..agents).filter(|&i| !outside[i]).collect();
    let core = scaled.select(Axis(0), &inside);
    let (core_labels, quality) = best_k_means(&core, config);
    let mut labels = vec![None; agents];
    for (&agent, &label) in inside.iter().zip(&core_labels) {
        labels[agent] = Some(label);
    }
    let n_clusters = core_labels.iter().max().map_or(0, |m| m + 1);
    let centres = medians(&core, &core_labels, n_clusters);
    let mut outliers: Vec<OutlierAgent> = (0..agents)
        .filter(|&i| outside[i])
        .filter_map(|i| explained(i, features, &scaled, &centres, &inside, &core_labels))
        .collect();
    outliers.sort_by(|a, b| b.deviation.abs().total_cmp(&a.deviation.abs()));
    Clustering {
        labels,
        n_clusters,
        silhouette: quality,
        outliers,
    }
}

/// Columns round their median in robust standard deviations, held at 1e3; constant columns become 0.
fn in_robust_units(features: &Array2<f64>) -> Array2<f64> {
    let mut scaled = features.clone();
    for mut column in scaled.columns_mut() {
        let present: Vec<f64> = column.iter().copied().filter(|v| v.is_finite()).collect();
        let unit = crate::gaps::unit_range(&present);
        let centre = median(&unit.values);
        let sigma = robust_sigma(&unit.values, centre);
        for v in &mut column {
            let moved = (*v / unit.scale - centre) / sigma;
            *v = if moved.is_finite() {
                moved.clamp(-1e3, 1e3)
            } else {
                0.0
            };
        }
    }
    scaled
}

fn euclid(a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>) -> f64 {
    a.iter()
        .zip(b)
        .map(|(x, y)| (x - y).powi(2))
        .sum::<f64>()
        .sqrt()
}

fn dense(rows: &Array2<f64>) -> DenseMatrix<f64> {
    DenseMatrix::from_iterator(rows.iter().copied(), rows.nrows(), rows.ncols(), 0)
}

/// Agents that DBSCAN calls noise, at a radius that the usual distance to the fourth neighbour sets.
fn without_neighbours(scaled: &Array2<f64>, factor: f64) -> Vec<bool> {
    let agents = scaled.nrows();
    let fourth: Vec<f64> = (0..agents)
        .map(|i| {
            let mut others: Vec<f64> = (0..agents)
                .filter(|&j| j != i)
                .map(|j| euclid(scaled.row(i), scaled.row(j)))
                .collect();
            *others
                .select_nth_unstable_by(NEIGHBOURS - 1, f64::total_cmp)
                .1
        })
        .collect();
    let radius = (factor * median(&fourth)).max(RADIUS_MIN);
    let matrix = dense(scaled);
    let parameters = DBSCANParameters::default()
        .with_eps(radius)
        .with_min_samples(NEIGHBOURS);
    let labels: Option<Vec<i32>> = DBSCAN::<f64, i32, _, Vec<i32>, _>::fit(&matrix, parameters)
        .and_then(|d| d.predict(&matrix))
        .ok();
    match labels {
        // smartcore numbers clusters from 1 and calls noise 0.
        Some(labels) => labels.iter().map(|l| *l == 0).collect(),
        None => fourth.iter().map(|d| *d > radius).collect(),
    }
}

/// Labels of the k with the best silhouette, numbered by falling size, and that silhouette.
fn best_k_means(rows: &Array2<f64>, config: &ClusterConfig) -> (Vec<usize>, f64) {
    let n = rows.nrows();
    let mut best = (vec![0; n], 0.0);
    if n < AGENTS_MIN {
        return best;
    }
    for k in 2..=config.clusters_max.min(n / 3) {
        let Some(found) = k_means(rows, k, config.starts, config.seed) else {
            break;
        };
        let quality = silhouette(rows, &found.labels);
        if quality > best.1 && quality >= config.silhouette_min {
            best = (found.labels, quality);
        }
    }
    (by_falling_size(&best.0), best.1)
}

fn by_falling_size(labels: &[usize]) -> Vec<usize> {
    let count = labels.iter().max().map_or(0, |m| m + 1);
    let mut sizes: Vec<(usize, usize)> = (0..count)
        .map(|l| (labels.iter().filter(|x| **x == l).count(), l))
        .collect();
    sizes.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut new = vec![0; count];
    for (rank, (_, old)) in sizes.iter().enumerate() {
        new[*old] = rank;
    }
    labels.iter().map(|l| new[*l]).collect()
}

/// Median of each column in each cluster; shape `[clusters, columns]`.
fn medians(rows: &Array2<f64>, labels: &[usize], n_clusters: usize) -> Array2<f64> {
    Array2::from_shape_fn((n_clusters, rows.ncols()), |(cluster, column)| {
        let own: Vec<f64> = (0..rows.nrows())
            .filter(|&i| labels[i] == cluster)
            .map(|i| rows[[i, column]])
            .collect();
        median(&own)
    })
}

fn explained(
    agent: usize,
    features: &Array2<f64>,
    scaled: &Array2<f64>,
    centres: &Array2<f64>,
    inside: &[usize],
    labels: &[usize],
) -> Option<OutlierAgent> {
    let row = scaled.row(agent);
    let nearest = (0..centres.nrows())
        .min_by(|&a, &b| euclid(row, centres.row(a)).total_cmp(&euclid(row, centres.row(b))))?;
    let deviation = |column: usize| row[column] - centres[[nearest, column]];
    let feature =
        (0..scaled.ncols()).max_by(|&a, &b| deviation(a).abs().total_cmp(&deviation(b).abs()))?;
    let peers: Vec<f64> = inside
        .iter()
        .zip(labels)
        .filter(|(_, l)| **l == nearest)
        .map(|(&i, _)| features[[i, feature]])
        .filter(|v| v.is_finite())
        .collect();
    Some(OutlierAgent {
        agent,
        feature,
        value: features[[agent, feature]],
        usual: median(&peers),
        deviation: deviation(feature),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: usize) -> f64 {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 - 0.5
    }

    #[test]
    fn two_groups_and_an_outlier_are_told_apart() {
        let features = Array2::from_shape_fn((41, 3), |(i, j)| {
            let group = if i < 25 { 0.0 } else { 10.0 };
            let wild = if i == 40 && j == 2 { 500.0 } else { 0.0 };
            100.0 + group * f64::from(u8::from(j == 0)) + noise(i * 3 + j) + wild
        });
        let found = cluster_agents(&features, &ClusterConfig::default());
        assert_eq!(found.n_clusters, 2);
        assert!((0..25).all(|i| found.labels[i] == Some(0)));
        assert!((25..40).all(|i| found.labels[i] == Some(1)));
        assert_eq!(found.outliers.len(), 1);
        assert_eq!(
            (found.outliers[0].agent, found.outliers[0].feature),
            (40, 2)
        );
        assert_eq!(found, cluster_agents(&features, &ClusterConfig::default()));
    }

    #[test]
    fn agents_that_are_all_alike_are_one_cluster() {
        let features = Array2::from_shape_fn((50, 4), |(i, j)| noise(i * 4 + j));
        let found = cluster_agents(&features, &ClusterConfig::default());
        assert_eq!((found.n_clusters, found.outliers.len()), (1, 0));
        let equal = Array2::from_elem((20, 2), 7.0);
        assert_eq!(
            cluster_agents(&equal, &ClusterConfig::default()).n_clusters,
            1
        );
    }

    #[test]
    fn bad_input_is_answered() {
        let config = ClusterConfig::default();
        assert_eq!(
            cluster_agents(&Array2::zeros((0, 3)), &config).n_clusters,
            0
        );
        assert_eq!(
            cluster_agents(&Array2::zeros((5, 0)), &config).n_clusters,
            1
        );
        let bad =
            Array2::from_shape_fn((20, 2), |(i, _)| if i % 2 == 0 { f64::NAN } else { 1e308 });
        assert_eq!(cluster_agents(&bad, &config).labels.len(), 20);
    }
}
