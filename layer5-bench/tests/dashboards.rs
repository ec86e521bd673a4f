//! The dashboards: the files are what the code says, every rule of ours holds for each panel, Prometheus' parser accepts
//! every query, and every metric that they ask for is shown. `LAYER5_BLESS=1` writes the files anew.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use layer5_bench::dashboards::{FILTER, Panel, boards::BOARDS, plain};
use layer5_server::metrics::catalogue::{METRICS, Type};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn panels() -> impl Iterator<Item = (&'static str, &'static Panel)> {
    BOARDS
        .iter()
        .flat_map(|board| board.panels.iter().map(|panel| (board.uid, panel)))
}

#[test]
fn the_files_are_the_boards() {
    let folder = root().join("deploy/grafana/dashboards");
    let mut expected = BTreeSet::new();
    for board in BOARDS {
        let file = format!("{}.json", board.uid);
        let path = folder.join(&file);
        let text = format!("{:#}\n", board.json());
        if std::env::var_os("LAYER5_BLESS").is_some() {
            fs::write(&path, &text).expect("the file can be written");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == text,
            "{file} differs from its board; LAYER5_BLESS=1 cargo test -p layer5-bench --test dashboards writes it anew"
        );
        expected.insert(file);
    }
    let there: BTreeSet<String> = fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(there, expected, "a file without a board");
}

#[test]
fn every_panel_follows_the_rules_of_the_house() {
    let alerts = fs::read_to_string(root().join("deploy/prometheus/rules/alerts.yml"))
        .expect("the rules are there");
    let mut uids = BTreeSet::new();
    for board in BOARDS {
        assert!(uids.insert(board.uid), "{}: twice", board.uid);
        let titles: BTreeSet<&str> = board.panels.iter().map(|panel| panel.title).collect();
        assert_eq!(
            titles.len(),
            board.panels.len(),
            "{}: a title twice",
            board.uid
        );
    }
    for (board, panel) in panels() {
        let name = format!("{board}, {}", panel.title);
        assert!(panel.description.ends_with('.'), "{name}: no sentence");
        assert!(
            !panel.queries.is_empty() && panel.queries.len() < 6,
            "{name}"
        );
        assert!(
            ["s", "short", "percentunit", "bytes", "reqps"].contains(&panel.unit),
            "{name}: unit {}",
            panel.unit
        );
        if let Some(alert) = panel.alert {
            assert!(
                alerts.contains(&format!("alert: {alert}\n")),
                "{name}: no alert {alert}"
            );
        }
        for (query, legend) in panel.queries {
            assert!(!legend.is_empty(), "{name}: no legend");
            let selectors = query.matches("layer5_").count() + query.matches("process_").count();
            assert_eq!(
                query.matches("{$F").count(),
                selectors,
                "{name}: a selector without the filters of the board: {query}"
            );
            assert!(
                !query.contains("_total{")
                    || query.contains("rate(")
                    || query.contains("increase("),
                "{name}: a counter without rate: {query}"
            );
        }
    }
    assert!(FILTER.contains("$job") && FILTER.contains("$instance") && FILTER.contains("$color"));
}

#[test]
fn every_metric_that_a_panel_asks_for_is_shown() {
    for (board, panel) in panels() {
        for (query, _) in panel.queries {
            for word in query
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .filter(|word| word.starts_with("layer5_") || word.starts_with("process_"))
            {
                let shown = METRICS.iter().any(|metric| {
                    metric.name == word
                        || (metric.kind == Type::Histogram
                            && ["_bucket", "_sum", "_count"]
                                .iter()
                                .any(|end| word.strip_suffix(end) == Some(metric.name)))
                });
                assert!(shown, "{board}, {}: no metric {word}", panel.title);
            }
        }
    }
}

#[test]
fn prometheus_parses_every_query() {
    let mut rules = String::from("groups:\n  - name: panels\n    rules:\n");
    for (idx, (query, _)) in panels().flat_map(|(_, panel)| panel.queries).enumerate() {
        let query = plain(query).replace('\'', "''");
        let _ = write!(
            rules,
            "      - record: panel:query:{idx}\n        expr: '{query}'\n"
        );
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("panels.yml");
    fs::write(&path, rules).expect("the folder can be written");
    match Command::new("promtool")
        .args(["check", "rules"])
        .arg(&path)
        .output()
    {
        Ok(run) => assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        ),
        Err(error) => {
            assert!(
                std::env::var_os("LAYER5_REQUIRE_TOOLS").is_none_or(|v| v != "1"),
                "promtool is required and does not start: {error}"
            );
            eprintln!("skipped: promtool is not installed");
        }
    }
}
