//! What is best when there are several objectives: who dominates whom, fronts, crowding, hypervolume.
//! In: values of the objectives, all to be minimised. Out: ranks and volumes. Called from: [`crate::study`],
//! [`crate::nsga2`], [`crate::insight`]. Notation: `n` points of `m` values; `a` dominates `b` if it is nowhere worse and
//! somewhere better.
//! Reference: Deb, Pratap, Agarwal and Meyarivan (2002), <https://doi.org/10.1109/4235.996017>; volume by slicing as in
//! While, Hingston, Barone and Huband (2006), <https://doi.org/10.1109/TEVC.2005.851275>.

/// Whether `a` is nowhere worse than `b` and somewhere better.
#[must_use]
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a <= b) && a.iter().zip(b).any(|(a, b)| a < b)
}

/// Rows that no other row dominates, in order; of equal rows the first.
///
/// # Cost
/// `n^2 m` comparisons.
#[must_use]
pub fn front(values: &[Vec<f64>]) -> Vec<usize> {
    (0..values.len())
        .filter(|&i| {
            !values
                .iter()
                .enumerate()
                .any(|(k, other)| dominates(other, &values[i]) || (k < i && *other == values[i]))
        })
        .collect()
}

/// The number of the front each row is on: 0 for those no row dominates, 1 for those only they dominate, and so on.
///
/// # Cost
/// `n^2 m` comparisons.
#[must_use]
pub fn ranks(values: &[Vec<f64>]) -> Vec<usize> {
    let n = values.len();
    let mut n_above = vec![0usize; n];
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); n];
    for i in 0..n {
        for k in 0..n {
            if dominates(&values[i], &values[k]) {
                below[i].push(k);
                n_above[k] += 1;
            }
        }
    }
    let mut rank = vec![0; n];
    let mut current: Vec<usize> = (0..n).filter(|i| n_above[*i] == 0).collect();
    let mut level = 0;
    while !current.is_empty() {
        let mut next = Vec::new();
        for i in current {
            rank[i] = level;
            for &k in &below[i] {
                n_above[k] -= 1;
                if n_above[k] == 0 {
                    next.push(k);
                }
            }
        }
        current = next;
        level += 1;
    }
    rank
}

/// How much room each row of one front has round it: the sum over objectives of the distance of its two neighbours,
/// relative to the front's width; infinite at the ends.
#[must_use]
pub fn crowding(values: &[&[f64]]) -> Vec<f64> {
    let n = values.len();
    let mut room = vec![0.0; n];
    for m in 0..values.first().map_or(0, |v| v.len()) {
        let column: Vec<f64> = values.iter().map(|v| v[m]).collect();
        let value = |i: usize| column[i];
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| value(*a).total_cmp(&value(*b)));
        let width = value(order[n - 1]) - value(order[0]);
        room[order[0]] = f64::INFINITY;
        room[order[n - 1]] = f64::INFINITY;
        for w in order.windows(3) {
            if width > 0.0 {
                room[w[1]] += (value(w[2]) - value(w[0])) / width;
            }
        }
    }
    room
}

/// Volume of what the rows dominate within the box below `reference`; 0 if none is below it.
///
/// # Cost
/// `n log n` for two objectives, `n^(m - 1)` at most for `m`.
#[must_use]
pub fn hypervolume(values: &[Vec<f64>], reference: &[f64]) -> f64 {
    let inside: Vec<Vec<f64>> = values
        .iter()
        .filter(|v| v.len() == reference.len() && v.iter().zip(reference).all(|(v, r)| v < r))
        .cloned()
        .collect();
    volume(inside, reference)
}

fn volume(mut rows: Vec<Vec<f64>>, reference: &[f64]) -> f64 {
    let Some((&top, rest)) = reference.split_last() else {
        return 0.0;
    };
    let m = rest.len();
    if m == 0 {
        let low = rows.iter().map(|v| v[0]).fold(top, f64::min);
        return top - low;
    }
    rows.sort_by(|a, b| a[m].total_cmp(&b[m]));
    let mut sum = 0.0;
    let mut slice: Vec<Vec<f64>> = Vec::new();
    for i in 0..rows.len() {
        let above = rows.get(i + 1).map_or(top, |next| next[m]);
        slice.push(rows[i][..m].to_vec());
        if above > rows[i][m] {
            let front: Vec<Vec<f64>> = front(&slice)
                .into_iter()
                .map(|k| slice[k].clone())
                .collect();
            slice.clone_from(&front);
            sum += (above - rows[i][m]) * volume(front, rest);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_points_by_hand() {
        let values = vec![
            vec![1.0, 3.0],
            vec![2.0, 2.0],
            vec![3.0, 3.0],
            vec![2.0, 2.0],
        ];
        assert_eq!(front(&values), [0, 1]);
        assert_eq!(ranks(&values), [0, 0, 1, 0]);
        // Below (4, 4): 3 by 1 and 2 by 2, of which 2 by 1 is common.
        assert_eq!(hypervolume(&values, &[4.0, 4.0]), 3.0 + 4.0 - 2.0);
        assert_eq!(hypervolume(&values, &[1.0, 1.0]), 0.0);
        assert_eq!(hypervolume(&[vec![0.0; 3]], &[1.0, 2.0, 3.0]), 6.0);
    }

    #[test]
    fn ends_have_endless_room() {
        let rows = [[0.0, 4.0], [1.0, 1.0], [4.0, 0.0]];
        let views: Vec<&[f64]> = rows.iter().map(|r| r.as_slice()).collect();
        assert_eq!(crowding(&views), [f64::INFINITY, 2.0, f64::INFINITY]);
    }

    proptest! {
        #[test]
        fn volume_is_the_share_of_a_lattice_below(points in prop::collection::vec(prop::collection::vec(0u8..6, 3), 1..8)) {
            let values: Vec<Vec<f64>> = points.iter().map(|p| p.iter().map(|v| f64::from(*v)).collect()).collect();
            let mut count = 0;
            for cell in 0..216u32 {
                let at = [cell % 6, cell / 6 % 6, cell / 36];
                count += u32::from(values.iter().any(|v| v.iter().zip(at).all(|(v, a)| *v <= f64::from(a))));
            }
            // Whole numbers: exact.
            prop_assert_eq!(hypervolume(&values, &[6.0; 3]), f64::from(count));
        }
    }
}
