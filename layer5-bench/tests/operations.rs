//! What operations installs is what Prometheus and Alertmanager accept, and says nothing that Layer5 does not show.
//! The rules are checked by promtool, the routes by amtool, names and links by comparing texts with the catalogue of metrics.
//! Without the tools these tests say so and pass; with LAYER5_REQUIRE_TOOLS=1 they fail.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use layer5_core::{PatternKind, Reason};
use layer5_server::{
    counters::Component,
    metrics::catalogue::{METRICS, Type},
    neighbours::CallKind,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a tool at the root; its output, or `None` where the tool is missing and not required.
fn tool(program: &str, arguments: &[&str]) -> Option<String> {
    let run = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output();
    let run = match run {
        Ok(run) => run,
        Err(error) => {
            assert!(
                std::env::var_os("LAYER5_REQUIRE_TOOLS").is_none_or(|v| v != "1"),
                "{program} is required and does not start: {error}"
            );
            eprintln!("skipped: {program} is not installed");
            return None;
        }
    };
    let told = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{program} {arguments:?}:\n{told}");
    Some(String::from_utf8_lossy(&run.stdout).trim().to_owned())
}

fn alerts() -> Vec<String> {
    read("deploy/prometheus/rules/alerts.yml")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .map(str::to_owned)
        .collect()
}

/// The anchors that a Markdown page offers, made as code hosts make them.
fn anchors(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                    _ => None,
                })
                .collect()
        })
        .collect()
}

/// Names of metrics in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|word| {
            (word.starts_with("layer5_") || word.starts_with("process_")) && !word.contains(':')
        })
        // A path, or the beginning of a name in a pattern, is no metric.
        .filter(|word| !word.ends_with('_') && !word.starts_with("layer5_kpi_reports"))
        .map(str::to_owned)
        .collect()
}

fn is_shown(name: &str) -> bool {
    METRICS.iter().any(|metric| {
        metric.name == name
            || (metric.kind == Type::Histogram
                && ["_bucket", "_sum", "_count"]
                    .iter()
                    .any(|end| name.strip_suffix(end) == Some(metric.name)))
    })
}

#[test]
fn promtool_accepts_configurations_and_rules_and_every_case_holds() {
    for config in ["prometheus.yml", "prometheus-local.yml"] {
        let path = format!("deploy/prometheus/{config}");
        if tool("promtool", &["check", "config", &path]).is_none() {
            return;
        }
    }
    for rules in ["alerts", "recording"] {
        let path = format!("deploy/prometheus/rules/{rules}.yml");
        let _told = tool("promtool", &["check", "rules", "--lint-fatal", &path]);
    }
    let _told = tool(
        "promtool",
        &["test", "rules", "deploy/prometheus/tests/alerts.yml"],
    );
}

#[test]
fn every_alert_has_a_case_that_fires_it_and_one_that_must_not() {
    let cases = read("deploy/prometheus/tests/alerts.yml");
    for alert in alerts() {
        if alert.starts_with("Layer5Escalated") {
            continue; // One case of their own tests both, before, between and after.
        }
        for what in ["fires", "stays quiet"] {
            assert!(
                cases.contains(&format!("- name: {alert} {what}\n")),
                "{alert}: no case that it {what}"
            );
        }
    }
}

#[test]
fn the_alerts_of_the_contract_are_there() {
    let alerts = alerts();
    for name in [
        "Layer5Down",
        "Layer5HighLatency",
        "Layer5IngestionStopped",
        "Layer5BufferNearCapacity",
        "Layer5HighErrorRate",
        "Layer5DataQualityLow",
        "Layer5OptimizationAccuracyLow",
        "Layer5ModelDrift",
        "Layer5OptimizationCoverageLow",
        "Layer5IntegrationFailure",
        "Layer5OutboxStalled",
        "Layer5ResourceExhaustion",
        "Layer5BackupStale",
    ] {
        assert!(alerts.iter().any(|alert| alert == name), "{name}");
    }
}

#[test]
fn every_alert_leads_to_a_whole_section_of_the_runbook() {
    let page = read("docs/ops-runbook.md");
    let there = anchors(&page);
    let rules = read("deploy/prometheus/rules/alerts.yml");
    let urls: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook_url: "))
        .collect();
    assert_eq!(urls.len(), alerts().len(), "an alert without runbook_url");
    for url in urls {
        let anchor = url.split_once('#').map_or("", |(_, anchor)| anchor);
        assert!(there.contains(anchor), "{url} leads nowhere");
    }
    for alert in alerts() {
        if alert.starts_with("Layer5Escalated") {
            continue;
        }
        let section = page
            .split("\n## ")
            .find(|section| section.starts_with(&format!("{alert}\n")))
            .unwrap_or_else(|| panic!("{alert} has no section"));
        for part in ["Meaning", "Impact", "Check", "Fix", "Escalation"] {
            assert!(section.contains(&format!("**{part}.**")), "{alert}: {part}");
        }
    }
    for (at, _) in page.match_indices("](#") {
        let anchor = page[at + 3..].split(')').next().unwrap_or_default();
        assert!(there.contains(anchor), "#{anchor} leads nowhere");
    }
}

#[test]
fn every_metric_that_is_named_is_shown() {
    for path in [
        "deploy/prometheus/rules/alerts.yml",
        "deploy/prometheus/rules/recording.yml",
        "deploy/prometheus/tests/alerts.yml",
        "docs/ops-runbook.md",
        "docs/operating/queries.md",
    ] {
        for name in metrics_in(&read(path)) {
            let begins = METRICS
                .iter()
                .map(|metric| metric.name)
                .any(|metric| metric.starts_with(&name));
            // The runbook greps for beginnings of names.
            let found = is_shown(&name) || (path.ends_with(".md") && begins);
            assert!(found, "{path}: no metric {name}");
        }
    }
}

#[test]
fn promtool_parses_the_twenty_queries() {
    let page = read("docs/operating/queries.md");
    let blocks = page.split("```promql").skip(1);
    let queries: Vec<&str> = blocks
        .filter_map(|block| block.split("```").next())
        .map(str::trim)
        .collect();
    assert_eq!(queries.len(), 20);
    let rules: String = queries
        .iter()
        .enumerate()
        .map(|(idx, query)| {
            format!("      - record: worked:query:{idx}\n        expr: '{query}'\n")
        })
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("queries.yml");
    let rules = format!("groups:\n  - name: queries\n    rules:\n{rules}");
    fs::write(&path, rules).expect("the folder can be written");
    let _told = tool("promtool", &["check", "rules", &path.to_string_lossy()]);
}

#[test]
fn amtool_accepts_the_routes_and_each_priority_reaches_its_people() {
    let config = "deploy/alertmanager/alertmanager.yml";
    if tool("amtool", &["check-config", config]).is_none() {
        return;
    }
    for (labels, receiver) in [
        (&["team=layer5", "priority=P0"][..], "page"),
        (&["team=layer5", "priority=P1"], "team"),
        (&["team=layer5", "priority=P2"], "team"),
        (&["team=layer5", "priority=P3"], "mail"),
        (
            &["team=layer5", "priority=P0", "escalation=secondary"],
            "secondary-contact",
        ),
        (
            &["team=layer5", "priority=P0", "escalation=director"],
            "escalation-contact",
        ),
        (&["team=somebody-else"], "team"),
    ] {
        let mut arguments = vec!["config", "routes", "test"];
        let file = format!("--config.file={config}");
        arguments.push(&file);
        let verify = format!("--verify.receivers={receiver}");
        arguments.push(&verify);
        arguments.extend(labels);
        let _told = tool("amtool", &arguments);
    }
}

#[test]
fn no_secret_stands_in_a_file() {
    let config = read("deploy/alertmanager/alertmanager.yml");
    for key in [
        "slack_api_url:",
        "api_url:",
        "smtp_auth_password:",
        "routing_key:",
        "service_key:",
        "credentials:",
        "password:",
    ] {
        let found = config.lines().any(|line| line.trim().starts_with(key));
        assert!(!found, "{key} in place; use its _file form");
    }
}

/// Pages that operators read.
const PAGES: [&str; 6] = [
    "docs/ops-runbook.md",
    "docs/operating/troubleshooting.md",
    "docs/operating/architecture.md",
    "docs/operating/api-guide.md",
    "docs/operating/guide-commands.md",
    "docs/operating/queries.md",
];

/// The pieces of a page between single backticks, code blocks left out.
fn code_words(page: &str) -> Vec<String> {
    let prose: String = page.split("```").step_by(2).collect();
    let words = prose.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// Quoted values on the lines that speak of a label: `reason="too_old"` or `"too_far_ahead"`.
fn label_values(page: &str, label: &str) -> Vec<String> {
    let speaks = format!("`{label}=\"");
    page.lines()
        .filter(|line| line.contains(&speaks))
        .flat_map(|line| {
            line.split(':')
                .next()
                .unwrap_or_default()
                .split('"')
                .skip(1)
                .step_by(2)
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_pages_name_label_values_and_keys_that_there_are() {
    let reasons: Vec<String> = Reason::ALL.iter().map(|r| r.as_str().to_owned()).collect();
    let components: Vec<&str> = Component::ALL.iter().map(|c| c.as_str()).collect();
    let calls: Vec<&str> = CallKind::ALL.iter().map(|c| c.as_str()).collect();
    let config = serde_json::to_value(layer5_server::config::Config::default());
    let config = config.expect("a configuration is JSON");
    let mut seen = 0;
    for page in PAGES {
        let text = read(page);
        for reason in label_values(&text, "reason") {
            assert!(reasons.contains(&reason), "{page}: no reason {reason}");
            seen += 1;
        }
        for component in label_values(&text, "component") {
            assert!(
                components.contains(&component.as_str()),
                "{page}: no component {component}"
            );
            seen += 1;
        }
        for kind in label_values(&text, "kind") {
            assert!(
                calls.contains(&kind.as_str()),
                "{page}: no kind of call {kind}"
            );
            seen += 1;
        }
        for (_, kind) in text
            .match_indices("kind=")
            .map(|(at, _)| text.split_at(at + 5))
        {
            let kind = kind
                .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
                .next();
            let kind = kind.filter(|kind| !kind.is_empty());
            let is_known = |kind: &str| PatternKind::ALL.iter().any(|k| k.to_string() == kind);
            assert!(
                kind.is_none_or(is_known),
                "{page}: no kind of pattern {kind:?}"
            );
        }
        for word in code_words(&text) {
            let Some((section, key)) = word.split_once('.') else {
                continue;
            };
            let key = key.split([' ', '=']).next().unwrap_or_default();
            let section = &config[section];
            if section.is_object() && !["toml", "log", "md"].contains(&key) {
                assert!(section.get(key).is_some(), "{page}: no key {word}");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} were found");
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    for page in PAGES {
        let text = read(page);
        let folder = Path::new(page).parent().expect("a page lies in a folder");
        for (at, _) in text.match_indices("](") {
            let link = text[at + 2..].split(')').next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                Path::new(page).to_owned()
            } else {
                folder.join(file)
            };
            let whole = root().join(&target);
            assert!(whole.exists(), "{page}: {link} leads nowhere");
            if !anchor.is_empty() {
                let there = anchors(&fs::read_to_string(&whole).expect("a page"));
                assert!(there.contains(anchor), "{page}: {link}: no such section");
            }
        }
    }
}

/// kubectl reads every line that needs a cluster: without one it fails for want of a connection, never for its words.
#[test]
fn kubectl_understands_the_lines_that_need_a_cluster() {
    let Ok(version) = Command::new("kubectl")
        .args(["version", "--client"])
        .output()
    else {
        eprintln!("skipped: kubectl is not installed");
        return;
    };
    assert!(version.status.success());
    let mut read_lines = 0;
    for page in PAGES {
        let text = read(page);
        let blocks = text
            .split("```bash\n")
            .skip(1)
            .filter_map(|block| block.split("```").next());
        for line in blocks.flat_map(str::lines) {
            let Some(at) = line.find("kubectl ") else {
                continue;
            };
            let command = line[at..].split([')', '|']).next().unwrap_or_default();
            let command = command
                .split(" -- ")
                .next()
                .unwrap_or_default()
                .replace("$POD", "pod-1");
            let words: Vec<&str> = command.split_whitespace().skip(1).collect();
            let words: Vec<String> = words.iter().map(|w| w.replace('\'', "")).collect();
            let inside: &[&str] = if line.contains(" -- ") {
                &["--", "true"]
            } else {
                &[]
            };
            let run = Command::new("kubectl")
                .args(&words)
                .args(["--server", "http://127.0.0.1:9", "--request-timeout", "2s"])
                .args(inside)
                .output()
                .expect("kubectl can be run");
            let told = String::from_utf8_lossy(&run.stderr);
            assert!(
                told.contains("refused")
                    || told.contains("unable to connect")
                    || told.contains("Unable to connect")
                    || told.contains("Metrics API not available"),
                "{page}: {command}: {told}"
            );
            read_lines += 1;
        }
    }
    assert!(read_lines > 8, "only {read_lines} lines were found");
}
