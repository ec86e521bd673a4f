//! Finds the shape that a series repeats and the one it never does, searches a known shape in it, and tells when it comes
//! again in a stream.
//! Run with `cargo run -p layer5-patterns --example find_motif`.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use layer5_patterns::ConfigError;
use layer5_patterns::matching::{
    Template, TemplateWatch, discords, find_shapes, mass, matrix_profile, motifs,
};

fn main() -> Result<(), ConfigError> {
    // A load curve of 40 samples comes back every 100; once it is cut short.
    let series: Vec<f64> = (0..1000)
        .map(|t: u32| {
            let within = f64::from(t % 100);
            let noise = f64::from(t.wrapping_mul(2_654_435_761) >> 22) / 10_240.0;
            let load = if within < 40.0 {
                within * (40.0 - within) / 400.0
            } else {
                0.0
            };
            noise
                + if t / 100 == 6 && within > 15.0 {
                    0.2
                } else {
                    load
                }
        })
        .collect();
    let profile = matrix_profile(&series, 40);
    for motif in motifs(&series, &profile, 1) {
        println!(
            "comes back at {:?}, closest pair {:.2} apart",
            motif.occurrences, motif.distance
        );
    }
    for discord in discords(&profile, 1) {
        println!(
            "never seen again: {}, {:.2} from its nearest",
            discord.start, discord.distance
        );
    }
    let nearest = mass(&series[0..40], &series[100..])
        .into_iter()
        .enumerate()
        .min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((start, distance)) = nearest {
        println!(
            "the first curve is nearest at {}, {distance:.2} apart",
            start + 100
        );
    }
    for found in find_shapes(&series, 40).iter().take(3) {
        println!(
            "looks like a {} at {} ({:.2})",
            found.shape.as_str(),
            found.start,
            found.fit
        );
    }
    let mut watch = TemplateWatch::new(vec![Template::new("load", &series[0..40])?], 0.95)?;
    let mut again = Vec::new();
    for value in &series[100..400] {
        watch.push(*value, |found| again.push(found));
    }
    for found in again {
        let name = watch.templates()[found.template].name();
        println!(
            "{name} came again at {} ({:.2})",
            found.start + 100,
            found.fit
        );
    }
    Ok(())
}
