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
    for (kind, series) in change_points::planted() {
        let found = change_points::found(&series.values, 1.0);
        let n = series.values.len();
        let is = change_points::agreement(&series.truths, &found, n);
        // A bend is placed to a few samples, and of noise one series in a dozen may be cut once.
        let floor = if kind == "slopes" || kind == "none" {
            0.6
        } else {
            0.9
        };
        assert!(
            is.f1 >= floor,
            "{}: {is:?} {found:?} {:?}",
            series.name,
            series.truths
        );
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
    for (family, tasks) in forecast::families(6) {
        let is = forecast::judged(&tasks);
        println!("{family}: {is:?}");
        let best = if family == "walk" { 1.1 } else { 0.95 };
        assert!(is.owa <= best, "{family}: {is:?}");
        assert!((0.85..=1.0).contains(&is.coverage), "{family}: {is:?}");
    }
}
