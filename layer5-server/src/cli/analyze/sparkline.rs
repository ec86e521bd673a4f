//! A series as one line of blocks with marks below it, for terminals.

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// `values` in at most `width` blocks, each the mean of its samples, and a second line with `mark(index)` of the
/// first marked sample of each block. Gaps are blanks.
pub(super) fn sparkline(
    values: &[f64],
    width: usize,
    mark: impl Fn(usize) -> Option<char>,
) -> (String, String) {
    let n_blocks = values.len().min(width.max(1));
    let finite = values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    let (mut line, mut marks) = (String::new(), String::new());
    for block in 0..n_blocks {
        let range = block * values.len() / n_blocks..(block + 1) * values.len() / n_blocks;
        let known: Vec<f64> = values[range.clone()]
            .iter()
            .copied()
            .filter(|v| v.is_finite())
            .collect();
        line.push(if known.is_empty() {
            ' '
        } else {
            let mean = known.iter().sum::<f64>() / known.len() as f64;
            let share = if high > low {
                (mean - low) / (high - low)
            } else {
                0.5
            };
            BLOCKS[((share * 7.0).round() as usize).min(7)]
        });
        marks.push(range.clone().find_map(&mark).unwrap_or(' '));
    }
    (line, marks.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_rises_and_marks_stand_below() {
        let values: Vec<f64> = (0..16).map(f64::from).collect();
        let (line, marks) = sparkline(&values, 8, |i| (i == 5).then_some('!'));
        assert_eq!(line, "▁▂▃▄▅▆▇█");
        assert_eq!(marks, "  !");
        assert_eq!(sparkline(&[f64::NAN, 1.0], 2, |_| None).0, " ▅");
    }
}
