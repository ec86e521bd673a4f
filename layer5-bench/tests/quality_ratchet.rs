//! Quality of the batch analyses never falls below what was once reached: short versions of `layer5-bench quality`.
//! Each floor is a little below the figure in docs/benchmarks.md, by about two standard errors of the short run. Annotated
//! series are not part of the project: without them that test says so and passes, unless `LAYER5_REQUIRE_DATA=1`.

use std::path::Path;

use layer5_bench::quality::{change_points, forecast, periods};

#[test]
fn change_points_of_annotated_series() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/tcpd");
    if !dir.join("annotations.json").is_file() {
        assert!(
            std::env::var("LAYER5_REQUIRE_DATA").as_deref() != Ok("1"),
            "LAYER5_REQUIRE_DATA=1, but there is no tcpd/annotations.json"
        );
        println!("skipped: no annotated series");
        return;
    }
    let (table, told) = change_points::report(&dir).expect("the folder is complete");
    println!("{table}");
    let at_least = |of: &str, f1: f64, cover: f64| {
        let is = (told[of]["f1"].as_f64(), told[of]["cover"].as_f64());
        assert!(is.0 >= Some(f1) && is.1 >= Some(cover), "{of}: {is:?}");
    };
    at_least("mean", 0.80, 0.75);
    at_least("price_from_the_others", 0.76, 0.71);
}

#[test]
fn change_points_of_planted_series() {
    for (kind, is) in change_points::planted_kinds() {
        println!("{kind}: {is:?}");
        let floor = match kind {
            // Bends are placed to a few samples; of noise one series in a dozen may be cut once.
            "slopes" => 0.8,
            "none" => 0.85,
            _ => 0.97,
        };
        assert!(is.f1 >= floor, "{kind}: {is:?}");
    }
}

#[test]
fn periods_of_planted_series() {
    let day: &[(usize, f64)] = &[(288, 2.0)];
    let week: &[(usize, f64)] = &[(24, 2.0), (168, 1.5)];
    let odd: &[(usize, f64)] = &[(37, 2.0)];
    for seasons in [day, week, odd, &[]] {
        for trouble in ["white", "trend", "outliers", "gaps", "step"] {
            let (share, wrong) = periods::exact(2_016, seasons, trouble, 4);
            assert!(share == 1.0, "{seasons:?} {trouble}: {wrong:?}");
        }
    }
}

#[test]
fn forecasts_of_generated_series() {
    let all: Vec<_> = forecast::families(7)
        .into_iter()
        .map(|(family, tasks)| (family, forecast::judged(&tasks)))
        .collect();
    println!("{all:#?}");
    // Seven series of a family say little of it; of all families together they do.
    let mean = |of: fn(&forecast::Accuracy) -> f64| {
        all.iter().map(|(_, a)| of(a)).sum::<f64>() / all.len() as f64
    };
    assert!(mean(|a| a.owa) <= 0.9, "{}", mean(|a| a.owa));
    let coverage = mean(|a| a.coverage);
    assert!((0.93..=0.98).contains(&coverage), "{coverage}");
    assert!(all.iter().all(|(_, a)| a.owa <= 1.2 && a.coverage >= 0.85));
}
