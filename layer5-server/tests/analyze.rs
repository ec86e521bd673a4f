//! `layer5 analyze` over files as people have them: what the page and the tables hold, every form of file that is
//! understood, and a clear answer for every one that is not.

mod service;

use std::{fmt::Write, fs, path::PathBuf, process::Output};

use serde_json::{Value, json};
use service::{complaint, run, text};
use tempfile::TempDir;

/// A folder with one file, and what the command says of it.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn analyze(&self, content: &[u8], more: &[&str]) -> Output {
        let path = self.path("x.csv");
        fs::write(&path, content).expect("the folder can be written");
        run(&[&["analyze", path.to_str().expect("UTF-8")], more].concat())
    }

    #[track_caller]
    fn json(&self, content: &[u8], more: &[&str]) -> Value {
        let output = self.analyze(content, &[&["--output", "json"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
        serde_json::from_slice(&output.stdout).expect("standard output is JSON")
    }

    #[track_caller]
    fn refused(&self, content: &[u8], more: &[&str], code: i32, says: &[&str]) {
        let output = self.analyze(content, more);
        let said = complaint(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        for part in says {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
    }
}

/// Deviates in -1..1 from the position alone.
fn noise(i: usize) -> f64 {
    let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 * 2.0 - 1.0
}

/// Ten days of five-minute rows with a daily cycle, a step at row 1700 and a spike at row 1200.
fn rows(n: usize, mut line: impl FnMut(usize, i64, f64) -> String) -> String {
    let mut csv = String::new();
    for i in 0..n {
        let day = (i as f64 / 288.0 * std::f64::consts::TAU).sin();
        let spike = if i == 1200 { 40.0 } else { 0.0 };
        let step = if i >= 1700 { 15.0 } else { 0.0 };
        let value = 50.0 + 8.0 * day + noise(i) + spike + step;
        let at = 1_795_435_200 + 300 * i as i64;
        csv += &line(i, at, value);
    }
    csv
}

fn plain(n: usize) -> String {
    format!(
        "timestamp,value\n{}",
        rows(n, |_, at, value| format!("{at},{value:.3}\n"))
    )
}

#[test]
fn a_page_shows_everything_and_loads_nothing() {
    let bench = Bench::new();
    let page = bench.path("page.html");
    let name = page.to_str().expect("UTF-8");
    let output = bench.analyze(
        plain(2880).replace("value", "a<b>&\"c").as_bytes(),
        &["--html", name],
    );
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    assert_eq!(text(&output), "", "the result is the page");
    let page = fs::read_to_string(page).expect("the page was written");
    for part in [
        "<title>a&lt;b&gt;&amp;&quot;c: x.csv</title>",
        "default-src 'none'",
        "What happened",
        "class=\"series\"",
        "class=\"normal\"",
        "class=\"anomaly\"",
        "class=\"change\"",
        "class=\"future-band\"",
        "class=\"motif1\"",
        "One cycle of 24 h",
        "the level rose by 1",
        "prefers-color-scheme: dark",
        "role=\"img\" aria-label",
    ] {
        assert!(page.contains(part), "`{part}` is not in the page");
    }
    for outside in [
        "http:", "https:", "<script", "src=", "@import", "url(", "NaN", "<b>&\"",
    ] {
        assert!(!page.contains(outside), "`{outside}` is in the page");
    }
    // Every tag that was opened is closed.
    for tag in [
        "svg", "figure", "div", "table", "ol", "ul", "main", "g", "title",
    ] {
        let (opened, closed) = (
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count(),
            page.matches(&format!("</{tag}>")).count(),
        );
        assert_eq!(opened, closed, "{tag}");
    }
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

#[test]
fn tables_are_for_scripts() {
    let bench = Bench::new();
    let csv = plain(2880);
    let table = |more: &[&str]| {
        let output = bench.analyze(csv.as_bytes(), more);
        assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
        text(&output).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let changes = table(&["--change-points"]);
    assert_eq!(changes[0], "index,timestamp,change,before,after,confidence");
    let near = |line: &String| {
        let (index, rest) = line.split_once(',').expect("a row");
        index.parse::<usize>().is_ok_and(|i| i.abs_diff(1700) <= 3) && rest.contains(",level,")
    };
    assert_eq!(
        changes.iter().filter(|line| near(line)).count(),
        1,
        "{changes:?}"
    );
    let periods = table(&["--periods"]);
    assert_eq!(
        periods[0],
        "period,period_exact,seconds,strength,amplitude,confidence"
    );
    assert!(periods[1].starts_with("288,"), "{periods:?}");
    let forecast = table(&["--forecast", "7"]);
    assert_eq!(forecast[0], "step,timestamp,value,lower,upper");
    assert_eq!(forecast.len(), 8);
    assert!(
        forecast[1].starts_with("1,2026-12-03T12:00:00Z,"),
        "{forecast:?}"
    );
    let all = bench.json(
        csv.as_bytes(),
        &["--change-points", "--periods", "--forecast", "7"],
    );
    assert_eq!(all["forecast"].as_array().map(Vec::len), Some(7));
    let day = all["periods"][0]["seconds"].as_f64().expect("a number");
    // Ten cycles tell the length of one to within a hundredth.
    assert!((day / 86_400.0 - 1.0).abs() < 0.01, "{all}");
    assert_eq!(
        all["change_points"].as_array().map(Vec::len),
        Some(changes.len() - 1)
    );
    let findings = table(&["--output", "csv"]);
    assert!(
        findings[0].starts_with("kind,start,end,score"),
        "{findings:?}"
    );
    bench.refused(
        csv.as_bytes(),
        &["--periods", "--change-points"],
        2,
        &["--output json"],
    );
    bench.refused(csv.as_bytes(), &["--forecast", "0"], 2, &["--forecast 0"]);
}

#[test]
fn every_form_of_file_reads_the_same() {
    let bench = Bench::new();
    let expected = bench.json(plain(1440).as_bytes(), &[])["summary"].clone();
    let iso = |at: i64| layer5_core::Timestamp::from_millis(at * 1000).to_string();
    let decimal_comma = |value: f64| format!("{value:.3}").replace('.', ",");
    let forms: [(&str, String); 8] = [
        ("no header", rows(1440, |_, at, v| format!("{at},{v:.3}\n"))),
        (
            "milliseconds",
            rows(1440, |i, at, v| {
                format!("{}{at}000,{v:.3}\n", if i == 0 { "ts,cpu\n" } else { "" })
            }),
        ),
        (
            "microseconds",
            rows(1440, |i, at, v| {
                format!(
                    "{}{at}000000,{v:.3}\n",
                    if i == 0 { "ts,cpu\n" } else { "" }
                )
            }),
        ),
        (
            "semicolons and decimal commas",
            rows(1440, |i, at, v| {
                format!(
                    "{}{};{}\r\n",
                    if i == 0 { "\u{feff}Date;Wert\r\n" } else { "" },
                    iso(at),
                    decimal_comma(v)
                )
            }),
        ),
        (
            "no zone",
            rows(1440, |i, at, v| {
                let stamp = iso(at).replace('T', " ").replace('Z', "");
                format!(
                    "{}\"{stamp}\",{v:.3}\n",
                    if i == 0 { "when,host,cpu\n" } else { "" }.replace(",host", "")
                )
            }),
        ),
        (
            "tabs and a column of names",
            rows(1440, |i, at, v| {
                format!(
                    "{}a-1\t{at}\t{v:.3}\n",
                    if i == 0 {
                        "agent\ttimestamp\tcpu\n"
                    } else {
                        ""
                    }
                )
            }),
        ),
        (
            "day first, shown by the file",
            rows(1440, |i, at, v| {
                let stamp = iso(at);
                let (year, month, day, clock) =
                    (&stamp[..4], &stamp[5..7], &stamp[8..10], &stamp[11..19]);
                format!(
                    "{}{day}/{month}/{year} {clock},{v:.3}\n",
                    if i == 0 { "date,cpu\n" } else { "" }
                )
            }),
        ),
        ("newest first", {
            let csv = plain(1440);
            let mut lines: Vec<&str> = csv.lines().skip(1).collect();
            lines.reverse();
            format!("timestamp,value\n{}\n", lines.join("\n"))
        }),
    ];
    for (name, csv) in forms {
        let found = bench.json(csv.as_bytes(), &[]);
        assert_eq!(found["summary"], expected, "{name}");
    }
    let without_times = rows(1440, |i, _, v| {
        format!("{}{v:.3}\n", if i == 0 { "cpu\n" } else { "" })
    });
    let found = bench.json(without_times.as_bytes(), &["--every", "300"]);
    assert_eq!(found["summary"]["period"], expected["period"]);
}

#[test]
fn templates_are_found_in_every_column_and_a_bad_file_of_them_is_refused() {
    let bench = Bench::new();
    let tooth = [0.0, 10.0, 20.0, 30.0, 40.0, 0.0, 0.0];
    let csv = rows(600, |i, at, _| {
        let extra = tooth
            .get(i % 200)
            .filter(|_| i >= 200)
            .copied()
            .unwrap_or(0.0);
        let header = if i == 0 { "time,load,other\n" } else { "" };
        format!(
            "{header}{at},{:.3},{:.3}\n",
            50.0 + 0.2 * noise(i) + extra,
            noise(i)
        )
    });
    let file = bench.path("templates.toml");
    let name = file.to_str().expect("UTF-8");
    let template = "[[template]]\nname = \"tooth\"\nmetric = \"load\"\nfit_min = 0.95\nheight_min = 10.0\n\
                    values = [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0]\n";
    fs::write(&file, template).expect("the folder can be written");
    let found = bench.json(csv.as_bytes(), &["--column", "load", "--templates", name]);
    let again: Vec<&Value> = found["patterns"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|p| !p["detail"]["template"].is_null())
        .collect();
    assert_eq!(again.len(), 2, "{again:?}");
    let words = again[0]["explanation"].as_str().expect("words");
    assert!(
        words.starts_with("template `tooth`: load takes this shape again"),
        "{words}"
    );
    let told = text(&bench.analyze(csv.as_bytes(), &["--column", "load", "--templates", name]));
    assert!(told.contains("templates      2"), "{told}");
    let page = bench.path("page.html");
    let to = ["--html", page.to_str().expect("UTF-8"), "--templates", name];
    assert_eq!(bench.analyze(csv.as_bytes(), &to).status.code(), Some(0));
    let page = fs::read_to_string(page).expect("the page was written");
    assert!(
        page.contains("template `tooth` again"),
        "the page tells of it"
    );
    for (content, says) in [
        ("", "no [[template]] in it"),
        (
            "[[template]]\nname = \"t\"\nmetric = \"m\"\nvalues = [1.0]\n",
            "templates.toml:4: template[0].values",
        ),
        ("[[template]]\nnam = \"t\"\n", "did you mean `name`?"),
    ] {
        fs::write(&file, content).expect("the folder can be written");
        bench.refused(csv.as_bytes(), &["--templates", name], 65, &[says]);
    }
    bench.refused(
        csv.as_bytes(),
        &["--templates", "/nowhere.toml"],
        66,
        &["/nowhere.toml"],
    );
}

#[test]
fn columns_are_chosen_by_name_or_number() {
    let bench = Bench::new();
    let csv = rows(600, |i, at, v| {
        format!(
            "{}{at},{v:.3},{:.3},x\n",
            if i == 0 { "time,cpu,mem,note\n" } else { "" },
            v * 2.0
        )
    });
    let both = bench.json(csv.as_bytes(), &[]);
    let names: Vec<&Value> = both
        .as_array()
        .expect("a list")
        .iter()
        .map(|s| &s["series"])
        .collect();
    assert_eq!(names, [&json!("cpu"), &json!("mem")]);
    for chosen in ["mem", "3", "MEM"] {
        let one = bench.json(csv.as_bytes(), &["--column", chosen]);
        assert_eq!(one["series"], "mem");
    }
    bench.refused(
        csv.as_bytes(),
        &["--column", "disk"],
        65,
        &["no column `disk`", "`cpu`"],
    );
    bench.refused(
        csv.as_bytes(),
        &["--time", "clock"],
        65,
        &["no column `clock`"],
    );
    let scores = bench.path("scores.csv");
    let to = ["--scores", scores.to_str().expect("UTF-8")];
    bench.refused(csv.as_bytes(), &to, 65, &["cpu, mem", "--column"]);
    let all = [&to[..], &["--column", "all"]].concat();
    assert_eq!(bench.analyze(csv.as_bytes(), &all).status.code(), Some(0));
    let written = fs::read_to_string(&scores).expect("the file was written");
    assert_eq!(
        written.lines().next(),
        Some("timestamp,series,value,anomaly_score,alarm")
    );
    assert_eq!(written.lines().count(), 1201);
}

#[test]
fn poor_data_gets_a_clear_answer() {
    let bench = Bench::new();
    let with = |values: &mut dyn FnMut(usize) -> String, n: usize| {
        let mut csv = String::from("timestamp,value\n");
        for i in 0..n {
            let _ = writeln!(csv, "{},{}", 1_795_435_200 + 60 * i, values(i));
        }
        csv
    };
    let page = bench.path("page.html");
    let page = page.to_str().expect("UTF-8");
    let cases: [(&str, String); 8] = [
        ("one value", with(&mut |_| "1".into(), 1)),
        ("two values", with(&mut |i| i.to_string(), 2)),
        ("all equal", with(&mut |_| "7.5".into(), 500)),
        ("all NaN", with(&mut |_| "NaN".into(), 50)),
        (
            "ends of f64",
            with(
                &mut |i| if i % 2 == 0 { "1e308" } else { "1e-308" }.into(),
                300,
            ),
        ),
        (
            "alternating extremes",
            with(
                &mut |i| if i % 2 == 0 { "-1.7e308" } else { "1.7e308" }.into(),
                300,
            ),
        ),
        (
            "one time",
            "timestamp,value\n".to_owned() + &"1795435200,1\n1795435200,2\n".repeat(2000),
        ),
        (
            "mostly gaps",
            with(
                &mut |i| {
                    if i % 50 == 0 {
                        i.to_string()
                    } else {
                        String::new()
                    }
                },
                500,
            ),
        ),
    ];
    for (name, csv) in &cases {
        for more in [
            &["--html", page, "--output", "text"][..],
            &["--forecast", "5", "--output", "json"],
        ] {
            let output = bench.analyze(csv.as_bytes(), more);
            assert_eq!(
                output.status.code(),
                Some(0),
                "{name} {more:?}: {}",
                complaint(&output)
            );
            assert!(
                !text(&output).contains("inf"),
                "{name} {more:?}: {}",
                text(&output)
            );
        }
    }
    let said = text(&bench.analyze(cases[3].1.as_bytes(), &[]));
    assert!(said.contains("no value"), "{said}");
    let said = text(&bench.analyze(cases[6].1.as_bytes(), &[]));
    assert!(
        said.contains("3999 rows have the time of the row before them"),
        "{said}"
    );
    let found = bench.json(
        b"timestamp,value\n1795435200,1\n1795435260,x7\n1795435320\n1795435380,1e999\n",
        &[],
    );
    let notes = found["notes"].to_string();
    for part in [
        "2 cells are no finite numbers",
        "`x7` in line 3",
        "1 rows are short, the first in line 4",
    ] {
        assert!(notes.contains(part), "`{part}` is not in {notes}");
    }
}

#[test]
fn what_is_no_series_is_refused_with_its_place_and_the_way_out() {
    let bench = Bench::new();
    let cases: [(&[u8], &[&str]); 8] = [
        (b"", &["x.csv", "empty"]),
        (b"\n\n", &["empty"]),
        (b"timestamp,value\n", &["no rows behind the header"]),
        (b"a,b\nx,y\n", &["x.csv:1", "no column of times", "--every"]),
        (
            b"timestamp,name\n1795435200,x\n1795435260,y\n",
            &["no column of numbers", "`name`"],
        ),
        (
            b"timestamp,value\n03/04/2026,1\n04/04/2026,2\n",
            &["`03/04/2026`", "--dates day-first"],
        ),
        (
            b"timestamp,value\n2026-11-23,1\n2026-11-31,2\n",
            &["x.csv:3", "`2026-11-31`", "`timestamp`"],
        ),
        (
            b"timestamp,value\n1795435200,\"1\n1795435260,2\n",
            &["x.csv:2", "a quote"],
        ),
    ];
    for (content, says) in cases {
        bench.refused(content, &[], 65, says);
    }
    bench.refused(b"\x1f\x8b\x08\x00garbage", &[], 65, &["x.csv"]);
    bench.refused(
        b"timestamp,value\n03/04/2026,1\n04/05/2026,2\n",
        &["--dates", "noon"],
        2,
        &["day-first"],
    );
    let read = bench.json(
        b"timestamp,value\n03/04/2026,1\n04/05/2026,2\n",
        &["--dates", "month-first"],
    );
    assert_eq!(read["from"], "2026-03-04T00:00:00Z");
    bench.refused(b"a\n1\n2\n", &["--every", "-5"], 2, &["--every -5"]);
}

#[test]
fn a_long_file_is_read_in_bins_and_scored_row_by_row() {
    let bench = Bench::new();
    // More rows than are held whole; the step is at three quarters.
    let n = 70_000;
    let mut csv = String::from("timestamp,value\n");
    for i in 0..n {
        let value =
            noise(i) + if i >= 52_500 { 4.0 } else { 0.0 } + if i == 35_001 { 60.0 } else { 0.0 };
        let _ = writeln!(csv, "{},{value:.3}", 1_700_000_000 + 10 * i);
    }
    let scores = bench.path("scores.csv");
    let found = bench.json(
        csv.as_bytes(),
        &["--scores", scores.to_str().expect("UTF-8")],
    );
    assert_eq!(found["rows_per_bin"], 2);
    assert_eq!(found["summary"]["n"], n);
    let changes = found["summary"]["change_points"]
        .as_array()
        .expect("a list");
    let near = |at: &Value| at.as_u64().is_some_and(|at| at.abs_diff(52_500) <= 16);
    assert!(changes.iter().any(near), "{changes:?}");
    let anomalies = found["summary"]["anomalies"].as_array().expect("a list");
    assert!(anomalies.contains(&json!(35_001)), "{anomalies:?}");
    let written = fs::read_to_string(scores).expect("the file was written");
    assert_eq!(written.lines().count(), n + 1);
    let spike = written.lines().nth(35_002).expect("a row");
    assert!(spike.starts_with("1700350010,"), "{spike}");
}
