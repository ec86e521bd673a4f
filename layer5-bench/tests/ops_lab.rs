//! Operations on real tools: every alert fires by its cause and resolves, every panel and every worked query finds data,
//! and the commands of the documents run, in one ops lab.
//! It takes minutes and a quiet machine, so it runs when it is asked for: LAYER5_OPS_LAB=1. Without Prometheus, Alertmanager,
//! redis or strace it says so and passes then; with LAYER5_REQUIRE_TOOLS=1 it fails.

use std::{fs, path::Path, process::Command};

use layer5_bench::{
    LEFT_OUT,
    dashboards::picture,
    ops_lab::{Lab, Plan, drill, view},
};

/// Queries of the page that have nothing to answer in a lab, with the reason.
const QUERIES_WITHOUT_ANSWER: [(usize, &str); 3] = [
    (12, "compares with yesterday, and the lab is minutes old"),
    (
        18,
        "asks for an unusual burst: no answer is the good answer",
    ),
    (
        20,
        "asks when the disk will be full: no answer while it does not fill",
    ),
];

#[test]
fn alerts_dashboards_queries_and_documents_hold_on_real_tools() {
    if std::env::var_os("LAYER5_OPS_LAB").is_none_or(|v| v != "1") {
        eprintln!("skipped: LAYER5_OPS_LAB=1 runs the drill");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let started = Lab::start(Plan::new(&folder.path().join("lab"), drill::LASTS));
    let mut lab = match started {
        Ok(lab) => lab,
        Err(failure) => {
            let required = std::env::var_os("LAYER5_REQUIRE_TOOLS").is_some_and(|v| v == "1");
            assert!(failure.code == LEFT_OUT && !required, "{}", failure.message);
            eprintln!("skipped: {}", failure.message);
            return;
        }
    };
    let rows = drill::run(&mut lab).unwrap_or_else(|failure| panic!("{}", failure.message));
    eprintln!("{}", drill::table(&rows));
    every_alert_of_the_rules_is_in(&rows);
    let required = std::env::var_os("LAYER5_REQUIRE_TOOLS").is_some_and(|v| v == "1");
    for row in &rows {
        assert!(row.holds(), "{row:?}");
        assert!(!(required && row.left_out.is_some()), "left out: {row:?}");
    }
    let pictures = folder.path().join("pictures");
    let empty = picture::draw_all(lab.at.prometheus, lab.began.elapsed(), &pictures);
    let empty = empty.unwrap_or_else(|failure| panic!("{}", failure.message));
    assert!(empty.is_empty(), "panels without data: {empty:#?}");
    the_worked_queries_answer(&lab);
    the_commands_of_the_documents_run(&lab);
    let root = lab.folder().to_owned();
    drop(lab);
    let left = Command::new("pgrep").arg("-f").arg(&root).output();
    let left = left.map(|run| String::from_utf8_lossy(&run.stdout).into_owned());
    assert!(
        left.as_ref().is_ok_and(String::is_empty),
        "left running: {left:?}"
    );
}

fn every_alert_of_the_rules_is_in(rows: &[drill::Row]) {
    let rules = include_str!("../../deploy/prometheus/rules/alerts.yml");
    for alert in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        assert!(
            rows.iter().any(|row| row.alert == alert),
            "{alert} is not drilled"
        );
    }
}

fn the_worked_queries_answer(lab: &Lab) {
    let page = include_str!("../../docs/operating/queries.md");
    let blocks = page.split("```promql").skip(1);
    let queries = blocks.filter_map(|block| block.split("```").next());
    let mut n = 0;
    for (idx, query) in queries.enumerate() {
        n = idx + 1;
        // Windows of minutes and hours as the lab has them.
        let query = layer5_bench::ops_lab::compressed::compressed(query, 30);
        let answer = view::query(lab.at.prometheus, query.trim());
        let answer = answer.unwrap_or_else(|failure| panic!("{}", failure.message));
        let may_be_empty = QUERIES_WITHOUT_ANSWER.iter().any(|(of, _)| *of == n);
        assert!(
            may_be_empty || !answer.is_empty(),
            "query {n} found nothing: {query}"
        );
    }
    assert_eq!(n, 20);
}

/// Runs every command of the fenced blocks that can run here: `curl`, `amtool` and `layer5` against the lab's own.
fn the_commands_of_the_documents_run(lab: &Lab) {
    let binary = layer5_bench::service::subject::default_binary();
    let bin = binary.parent().expect("a folder").to_owned();
    let path = format!(
        "{}:{}",
        bin.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut ran = 0;
    for page in [
        "docs/ops-runbook.md",
        "docs/operating/troubleshooting.md",
        "docs/operating/api-guide.md",
    ] {
        let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(page);
        let text = fs::read_to_string(&whole).unwrap_or_else(|e| panic!("{page}: {e}"));
        for command in commands(&text) {
            let Some(command) = here(&command, lab) else {
                continue;
            };
            let run = Command::new("bash")
                .args(["-c", &format!("set -o pipefail; {command}")])
                .env("PATH", &path)
                .env("USER", "drill")
                .current_dir(lab.folder())
                .output()
                .expect("a shell");
            let told = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
            // The daily check says by its code how the lab is, which was just put through everything.
            let fine = run.status.success()
                || (command.starts_with("layer5 check") && run.status.code() <= Some(2));
            assert!(fine, "{page}: {command}: {:?}\n{told}", run.status.code());
            ran += 1;
        }
    }
    assert!(ran > 40, "only {ran} commands were found");
}

/// The commands of a page's `bash` blocks, lines that end in a backslash joined.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```bash\n").skip(1);
    blocks
        .filter_map(|block| block.split("```").next())
        .map(|block| block.replace("\\\n", " "))
        .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .collect()
}

/// A command as it runs in the lab; `None` for what needs a cluster, which another test reads.
fn here(command: &str, lab: &Lab) -> Option<String> {
    let local = match command.split_once(" -- ") {
        // What is run inside of the pod runs here as well as there, where it asks Layer5 itself.
        Some((kubectl, inside)) if kubectl.starts_with("kubectl exec") => {
            if !inside.contains("localhost") {
                return None;
            }
            inside
        }
        _ if command.contains("kubectl") => return None,
        _ => command,
    };
    let first = local.split_whitespace().next()?;
    if !["curl", "amtool", "layer5"].contains(&first) {
        return None;
    }
    Some(
        local
            .replace("localhost:8080", &lab.at.api.to_string())
            .replace("localhost:9090", &lab.at.metrics.to_string())
            .replace("localhost:9093", &lab.at.alertmanager.to_string())
            .replace("/var/log/layer5", &lab.folder().display().to_string()),
    )
}
