//! Proves that the NAB scorer agrees to 0.1 with a second, independent implementation in Python that was itself checked
//! against the published scores: the same four made-up series, three thresholds and the sweep, in all three profiles.

use layer5_bench::quality::nab::{Corpus, PROFILES};

const THRESHOLDS: [f64; 3] = [0.3, 0.6, 0.9];
/// Score at each threshold, then swept; standard, low-FP, low-FN.
const EXPECTED: [[f64; 4]; 3] = [
    [-63.33349, -11.962567, -11.629081, 10.526877],
    [-217.467105, -99.357342, -36.321237, 7.990679],
    [-11.754493, 18.130875, -2.693582, 31.613842],
];

fn strengths(n: usize, factor: usize, offset: usize) -> Vec<f64> {
    (0..n)
        .map(|i| match i % 37 {
            5 => ((i * factor + offset) % 1009) as f64 / 1009.0,
            _ => 0.0,
        })
        .collect()
}

#[test]
fn agrees_with_the_second_implementation() {
    let mut corpus = Corpus::default();
    corpus.push(&strengths(1000, 7919, 13), &[(200, 259), (700, 799)]);
    corpus.push(
        &strengths(4032, 104_729, 5),
        &[(1500, 1700), (1702, 1900), (3900, 4031)],
    );
    corpus.push(&strengths(6000, 1_299_709, 77), &[]);
    corpus.push(&strengths(800, 611_953, 1), &[(20, 90), (400, 439)]);
    for (profile, expected) in PROFILES.iter().zip(EXPECTED) {
        let at = THRESHOLDS.map(|threshold| corpus.at(profile, threshold).score);
        let found = [at[0], at[1], at[2], corpus.sweep(profile).score];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!(
                (found - expected).abs() < 0.1,
                "{}: {found} {expected}",
                profile.name
            );
        }
    }
}
