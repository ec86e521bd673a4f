//! The `layer5` command as people and programs use it: help that teaches, exit codes, machine-readable output, and the
//! two commands that are useful without a service: `optimize` and `analyze`.

mod service;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

use layer5_server::clock;
use serde_json::{Value, json};
use service::{Service, complaint, finished_task, layer5, named_metrics, run, text};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn file(folder: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("the folder can be written");
    path
}

/// Runs `layer5 <command> <file> <more>`.
fn on(command: &str, path: &Path, more: &[&str]) -> Output {
    run(&[&[command, path.to_str().expect("UTF-8")], more].concat())
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", complaint(output));
    serde_json::from_slice(&output.stdout).expect("standard output is one JSON object")
}

#[track_caller]
fn ends(output: &Output, code: i32, says: &[&str]) {
    let said = complaint(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in says {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

const COMMANDS: [&str; 11] = [
    "config",
    "demo",
    "serve",
    "replay",
    "analyze",
    "optimize",
    "status",
    "check",
    "probe",
    "alert",
    "maintenance",
];

#[test]
fn help_teaches() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = text(&help);
    for part in COMMANDS.iter().chain(&[
        "completions",
        "Exit codes",
        "75 data folder in use",
        "NO_COLOR",
        "LAYER5_",
    ]) {
        assert!(help.contains(part), "`{part}` is not in: {help}");
    }
    for command in COMMANDS.iter().chain(&["completions"]) {
        let help = run(&[command, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        assert!(
            text(&help).contains("Example"),
            "layer5 {command} --help shows no example"
        );
    }
    let version = text(&run(&["--version"]));
    assert_eq!(
        version.trim(),
        format!("layer5 {}", env!("CARGO_PKG_VERSION"))
    );
    ends(&run(&["optimise"]), 2, &["optimise", "optimize"]);
    ends(&run(&["analyze"]), 2, &["FILE"]);
    ends(&run(&["replay", "x.csv", "--speed", "0"]), 2, &["0"]);
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]);
        assert_eq!(script.status.code(), Some(0));
        assert!(
            text(&script).contains("layer5") && text(&script).contains("optimize"),
            "{shell}"
        );
    }
    // The shell itself takes the script, and knows the command afterwards.
    let folder = folder();
    let path = file(
        &folder,
        "layer5.bash",
        &text(&run(&["completions", "bash"])),
    );
    let sourced = Command::new("bash")
        .args([
            "--norc",
            "-c",
            &format!("source '{}' && complete -p layer5", path.display()),
        ])
        .output()
        .expect("a shell");
    assert!(
        sourced.status.success() && text(&sourced).contains("layer5"),
        "{}",
        complaint(&sourced)
    );
}

/// What a command shows on a terminal, which `script` (Debian: bsdutils) pretends to be.
fn on_a_terminal(arguments: &str, no_color: bool) -> Option<String> {
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_layer5"));
    let mut script = Command::new("script");
    script
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(Stdio::null());
    script.env_remove("NO_COLOR");
    if no_color {
        script.env("NO_COLOR", "1");
    }
    let shown = script.output().ok().map(|output| text(&output));
    if shown.is_none() {
        let required = std::env::var_os("LAYER5_REQUIRE_TOOLS").is_some_and(|v| v == "1");
        assert!(
            !required,
            "script is not installed (Debian: bsdutils) and LAYER5_REQUIRE_TOOLS=1"
        );
        eprintln!("skipped: script is not installed (Debian: bsdutils)");
    }
    shown
}

#[test]
fn colours_stay_away_when_they_are_not_wanted() {
    const COLOUR: &str = "\u{1b}[";
    let Some(colourful) = on_a_terminal("--help", false) else {
        return;
    };
    assert!(
        colourful.contains(COLOUR),
        "a terminal shows colours, or this test shows nothing: {colourful}"
    );
    let folder = folder();
    let path = file(&folder, "s.csv", &series(300));
    for arguments in [
        "--help",
        "optimise",
        "serve --config /nowhere",
        &format!("analyze {}", path.display()),
    ] {
        let plain = on_a_terminal(arguments, true).expect("it was there a moment ago");
        assert!(
            !plain.contains(COLOUR) && !plain.is_empty(),
            "layer5 {arguments}: {plain}"
        );
    }
}

/// One `layer5 optimize`.
struct Tuning {
    process: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Tuning {
    fn begin(space: &Value, seed: u64, budget: usize, sampler: &str) -> Self {
        let mut process = layer5()
            .arg("optimize")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("layer5 can be run");
        let to = process.stdin.take();
        let from = BufReader::new(process.stdout.take().expect("piped"));
        let mut tuning = Self { process, to, from };
        let init = json!({
            "cmd": "init", "space": space, "direction": "minimize",
            "seed": seed, "budget": budget, "sampler": sampler,
        });
        assert_eq!(tuning.say(&init.to_string()), json!({ "ok": true }));
        tuning
    }

    fn say(&mut self, line: &str) -> Value {
        let to = self.to.as_mut().expect("the conversation goes on");
        writeln!(to, "{line}").expect("layer5 listens");
        let mut answer = String::new();
        self.from.read_line(&mut answer).expect("layer5 answers");
        serde_json::from_str(&answer).expect("one JSON object a line")
    }

    /// `rounds` times ask and tell; the least value that was seen.
    fn tune(&mut self, rounds: usize, cost: impl Fn(&Value) -> f64) -> f64 {
        let mut best = f64::INFINITY;
        for round in 0..rounds {
            let trial = self.say(r#"{"cmd":"ask"}"#);
            assert_eq!(trial["id"], round, "{trial}");
            let value = cost(&trial["params"]);
            best = best.min(value);
            let tell = json!({ "cmd": "tell", "id": round, "value": value });
            assert_eq!(self.say(&tell.to_string()), json!({ "ok": true }));
        }
        best
    }

    fn quit(mut self) {
        let mut to = self.to.take().expect("the conversation goes on");
        writeln!(to, r#"{{"cmd":"quit"}}"#).expect("layer5 listens");
        assert_eq!(self.process.wait().expect("it ends").code(), Some(0));
        let mut rest = String::new();
        self.from
            .read_line(&mut rest)
            .expect("a pipe can be read to its end");
        assert_eq!(rest, "", "quit is answered with nothing");
    }
}

/// Branin (Dixon and Szegö 1978): three equal minima of 0.397887.
fn branin(params: &Value) -> f64 {
    use std::f64::consts::PI;
    let number = |name: &str| params[name].as_f64().expect("a number");
    let (x, y) = (number("x"), number("y"));
    assert!(
        (-5.0..=10.0).contains(&x) && (0.0..=15.0).contains(&y),
        "{params}"
    );
    let bend = y - 5.1 / (4.0 * PI * PI) * x * x + 5.0 / PI * x - 6.0;
    bend * bend + 10.0 * (1.0 - 1.0 / (8.0 * PI)) * x.cos() + 10.0
}

/// Two numbers, one of them by its ratio, a whole number and a choice; the minimum is 0.
fn mixed(params: &Value) -> f64 {
    let rate = params["rate"].as_f64().expect("a number");
    let n = params["n"].as_i64().expect("a whole number");
    let x = params["x"].as_f64().expect("a number");
    let kind = ["slow", "fast", "odd"]
        .iter()
        .position(|&k| params["kind"] == k)
        .expect("a choice");
    assert!((1e-4..=1.0).contains(&rate) && (1..=9).contains(&n) && (-5.0..=5.0).contains(&x));
    let offset = [1.0, 0.0, 2.0][kind];
    (rate.log10() + 2.0).powi(2) + 0.1 * ((n - 6) as f64).powi(2) + 0.2 * (x - 1.5).powi(2) + offset
}

/// Mean regret over three seeds after 40 rounds.
fn mean_regret(space: &Value, sampler: &str, minimum: f64, cost: impl Fn(&Value) -> f64) -> f64 {
    let regrets = (1..=3).map(|seed| {
        let mut tuning = Tuning::begin(space, seed, 40, sampler);
        let best = tuning.tune(40, &cost);
        let recommended = tuning.say(r#"{"cmd":"recommend"}"#);
        assert!(recommended["predicted"].is_number(), "{recommended}");
        assert!(
            cost(&recommended["params"]) <= 2.0 * best - minimum + 1e-6,
            "{recommended}, seen {best}"
        );
        tuning.quit();
        best - minimum
    });
    regrets.sum::<f64>() / 3.0
}

#[test]
fn forty_rounds_on_branin_beat_random_search() {
    let space = json!([
        { "name": "x", "type": "float", "low": -5, "high": 10 },
        { "name": "y", "type": "float", "low": 0, "high": 15, "log": false },
    ]);
    let ours = mean_regret(&space, "auto", 0.397_887, branin);
    let random = mean_regret(&space, "random", 0.397_887, branin);
    // Random search leaves about 0.7 here; a tenth of that is no luck.
    assert!(ours < 0.1 * random, "auto {ours}, random {random}");
}

#[test]
fn forty_rounds_on_a_mixed_space_beat_random_search() {
    let space = json!([
        { "name": "rate", "type": "float", "low": 1e-4, "high": 1.0, "log": true },
        { "name": "n", "type": "int", "low": 1, "high": 9 },
        { "name": "x", "type": "float", "low": -5, "high": 5 },
        { "name": "kind", "type": "categorical", "choices": ["slow", "fast", "odd"] },
    ]);
    let ours = mean_regret(&space, "auto", 0.0, mixed);
    let random = mean_regret(&space, "random", 0.0, mixed);
    assert!(ours < 0.5 * random, "auto {ours}, random {random}");
}

#[test]
fn the_same_seed_says_the_same_whatever_bad_lines_come_between() {
    let space = json!([{ "name": "x", "type": "float", "low": -5, "high": 10 }, { "name": "y", "type": "float", "low": 0, "high": 15 }]);
    let plain = Tuning::begin(&space, 7, 15, "auto");
    let disturbed = Tuning::begin(&space, 7, 15, "auto");
    let bad = [
        "{",
        "{}",
        r#"{"cmd":"dance"}"#,
        r#"{"cmd":"tell","id":0,"value":"low"}"#,
        r#"{"cmd":"tell","id":99,"value":1}"#,
        r#"{"cmd":"init","space":[]}"#,
        "\u{7f}",
    ];
    let talk = |mut tuning: Tuning, disturb: bool| {
        let mut asked = Vec::new();
        for round in 0..15 {
            if disturb {
                let answer = tuning.say(bad[round % bad.len()]);
                assert!(answer["error"].is_string(), "{answer}");
            }
            let trial = tuning.say(r#"{"cmd":"ask"}"#);
            let tell = json!({ "cmd": "tell", "id": round, "value": branin(&trial["params"]) })
                .to_string();
            assert_eq!(tuning.say(&tell)["ok"], true);
            if disturb {
                assert!(
                    tuning.say(&tell)["error"].is_string(),
                    "a trial is told once"
                );
            }
            asked.push(trial);
        }
        tuning.quit();
        asked
    };
    assert_eq!(talk(plain, false), talk(disturbed, true));
}

/// A daily cycle by the hour with a step at two thirds and one spike.
fn series(n: usize) -> String {
    let mut csv = String::from("timestamp,value\n");
    for i in 0..n {
        let season = (i as f64 * std::f64::consts::TAU / 24.0).sin();
        let noise = ((i * 7919) % 101) as f64 / 101.0 - 0.5;
        let level = if i >= n * 2 / 3 { 60.0 } else { 50.0 };
        let spike = if i == n / 3 { 40.0 } else { 0.0 };
        let (day, hour) = (i / 24, i % 24);
        let date = format!("2026-{:02}-{:02}", 1 + day / 28, 1 + day % 28);
        csv += &format!(
            "{date} {hour:02}:00:00,{}\n",
            level + 5.0 * season + noise + spike
        );
    }
    csv
}

#[test]
fn a_series_is_analyzed_for_people_and_for_programs() {
    let folder = folder();
    let path = file(&folder, "cpu.csv", &series(720).replace("value", "cpu"));
    let found = json_of(&on("analyze", &path, &["--output", "json"]));
    assert_eq!(found["series"], "cpu");
    assert_eq!(found["summary"]["n"], 720);
    assert_eq!(found["summary"]["period"], 24);
    let indices = |name: &str| -> Vec<usize> {
        serde_json::from_value(found["summary"][name].clone()).expect("indices")
    };
    assert!(
        indices("change_points")
            .iter()
            .any(|i| i.abs_diff(480) <= 3),
        "{found:#}"
    );
    assert!(indices("anomalies").contains(&240), "{found:#}");
    let kinds: Vec<&Value> = found["patterns"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| &p["kind"])
        .collect();
    for kind in ["change_point", "anomaly", "seasonality"] {
        assert!(kinds.contains(&&json!(kind)), "{kind} is not in {kinds:?}");
    }
    let report = on("analyze", &path, &[]);
    assert_eq!(report.status.code(), Some(0));
    for part in [
        "cpu: 720 samples, 0 gaps",
        "24 samples",
        "change points",
        "what",
    ] {
        assert!(
            text(&report).contains(part),
            "`{part}` is not in: {}",
            text(&report)
        );
    }
}

/// The rows of a scores file: stamp, value, score, alarm.
fn scores(folder: &TempDir, input: &Path) -> Vec<(String, String, f64, f64)> {
    let out = folder.path().join("scores.csv");
    let output = on(
        "analyze",
        input,
        &["--scores", out.to_str().expect("UTF-8")],
    );
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    assert_eq!(text(&output), "", "the result is in the file");
    let written = fs::read_to_string(out).expect("the file was written");
    let mut lines = written.lines();
    assert_eq!(lines.next(), Some("timestamp,value,anomaly_score,alarm"));
    let rows = lines.map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let [stamp, value, score, alarm] = cells[..] else {
            panic!("{line}")
        };
        let number = |text: &str| text.parse::<f64>().expect("a number");
        assert!(
            (0.0..=1.0).contains(&number(score)) && (0.0..=1.0).contains(&number(alarm)),
            "{line}"
        );
        (
            stamp.to_owned(),
            value.to_owned(),
            number(score),
            number(alarm),
        )
    });
    rows.collect()
}

#[test]
fn scores_have_one_row_per_input_row_each_from_the_past_alone() {
    let folder = folder();
    let csv = series(720);
    let rows = scores(&folder, &file(&folder, "all.csv", &csv));
    let input: Vec<&str> = csv.lines().skip(1).collect();
    assert_eq!(rows.len(), input.len());
    for (row, line) in rows.iter().zip(&input) {
        assert_eq!(format!("{},{}", row.0, row.1), **line);
    }
    let before = rows[..240].iter().map(|row| row.2).fold(0.0, f64::max);
    assert!(
        rows[240].2 > before && rows[240].3 > 0.0,
        "the spike is the strangest so far: {:?}, {before}",
        rows[240]
    );
    let quiet = rows[100..240].iter().filter(|row| row.3 > 0.0).count();
    assert!(quiet <= 2, "{quiet} alarms where nothing happens");
    // What comes later changes nothing.
    let past: String = csv
        .lines()
        .take(401)
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(
        scores(&folder, &file(&folder, "past.csv", &past)),
        rows[..400]
    );
}

#[test]
fn ragged_rows_and_gaps_keep_their_place() {
    let folder = folder();
    let path = file(
        &folder,
        "ragged.csv",
        "timestamp,value\n1795000000,1.5\n1795000060\n1795000120,,\n1795000180,n/a,extra\n1795000240,2.5\n",
    );
    let rows = scores(&folder, &path);
    let stamps: Vec<&str> = rows.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(
        stamps,
        [
            "1795000000",
            "1795000060",
            "1795000120",
            "1795000180",
            "1795000240"
        ]
    );
    assert_eq!((rows[0].1.as_str(), rows[4].1.as_str()), ("1.5", "2.5"));
    let found = json_of(&on("analyze", &path, &["--output", "json"]));
    assert_eq!(found["summary"]["n"], 5, "gaps keep their place");
}

#[test]
fn files_that_hold_no_series_are_refused_by_kind() {
    let folder = folder();
    let analyze = |content: &str| on("analyze", &file(&folder, "x.csv", content), &[]);
    ends(
        &on("analyze", &folder.path().join("missing.csv"), &[]),
        66,
        &["missing.csv"],
    );
    ends(&analyze(""), 65, &["x.csv"]);
    ends(&analyze("timestamp,value\n"), 65, &["x.csv", "no rows"]);
    ends(
        &analyze("value\n1\n2\n"),
        65,
        &["x.csv:1", "timestamp,value"],
    );
    ends(
        &analyze("timestamp,value\n1795000000,1\nnoon,2\n"),
        65,
        &["x.csv:3", "`noon`"],
    );
    let nowhere = folder.path().join("no/such/folder.csv");
    let path = file(&folder, "good.csv", &series(48));
    ends(
        &on(
            "analyze",
            &path,
            &["--scores", nowhere.to_str().expect("UTF-8")],
        ),
        1,
        &["folder.csv"],
    );
}

#[test]
fn a_recording_in_lines_goes_through_the_pipeline() {
    let folder = folder();
    let mut lines = String::new();
    for i in 0..600 {
        // Recorded long ago, in both shapes.
        let at = json!(1_600_000_000 + i * 60);
        let report = match i % 2 {
            0 => finished_task("agent_1", &format!("t-{i}"), &at),
            _ => named_metrics(
                "agent_2",
                &format!("t-{i}"),
                &at,
                &json!({ "queue_depth": i % 7 }),
            ),
        };
        lines += &format!("{report}\n");
    }
    let again = lines.lines().next().expect("a line").to_owned();
    lines += &format!("{again}\n\n");
    lines += "{\"agent_id\":\"agent_1\"}\nnot json\n";
    let path = file(&folder, "reports.ndjson", &lines);
    let replayed = json_of(&on("replay", &path, &["--output", "json"]));
    let sum = &replayed["replay"];
    let expected = [
        ("sent", 603),
        ("accepted", 600),
        ("duplicates", 1),
        ("rejected", 2),
    ];
    for (field, n) in expected {
        assert_eq!(sum[field], n, "{field}: {sum}");
    }
    assert!(sum["first_rejection"]["reason"].is_string());
    assert_eq!(replayed["status"]["reports"]["stored"], 600);
    assert_eq!(replayed["status"]["samples"]["processed"], 300 * 4 + 300);
    assert_eq!(replayed["status"]["agents"], 2);
}

#[test]
fn a_recording_in_columns_goes_through_the_pipeline_and_shows_what_it_holds() {
    let folder = folder();
    let mut csv = String::from("timestamp,agent_id,latency_ms,queue_depth\n");
    for i in 0..900 {
        let latency = if i < 600 { 40.0 } else { 90.0 } + ((i * 7919) % 101) as f64 / 50.0;
        csv += &format!(
            "{},agent_{},{latency},{}\n",
            1_600_000_000 + (i / 3) * 60,
            i % 3,
            if i % 2 == 0 { "3" } else { "" }
        );
    }
    let path = file(&folder, "fleet.csv", &csv);
    let replayed = json_of(&on(
        "replay",
        &path,
        &["--output", "json", "--speed", "100000x"],
    ));
    assert_eq!(replayed["replay"]["accepted"], 900);
    assert_eq!(replayed["status"]["samples"]["stored"], 900 + 450);
    let patterns = replayed["patterns"].as_array().expect("a list");
    let step = patterns
        .iter()
        .find(|p| p["kind"] == "change_point" && p["metric"] == "latency_ms");
    assert!(
        step.is_some_and(|p| p["direction"] == "up"),
        "{patterns:#?}"
    );
    let report = on("replay", &path, &[]);
    assert!(
        text(&report).contains("900 accepted, 0 duplicates, 0 rejected"),
        "{}",
        text(&report)
    );

    ends(
        &on("replay", &folder.path().join("missing.ndjson"), &[]),
        66,
        &["missing.ndjson"],
    );
    ends(
        &on("replay", &file(&folder, "e.ndjson", ""), &[]),
        65,
        &["e.ndjson"],
    );
    ends(
        &on("replay", &file(&folder, "n.csv", "a,b\n1,2\n"), &[]),
        65,
        &["n.csv:1", "timestamp"],
    );
    ends(
        &on(
            "replay",
            &file(&folder, "t.csv", "timestamp,b\nnoon,2\n"),
            &[],
        ),
        65,
        &["t.csv:2", "`noon`"],
    );
}

#[test]
fn a_running_service_is_looked_at_and_replayed_into() {
    let folder = folder();
    let service = Service::start(&folder.path().join("data"));
    let url = format!("http://{}", service.api);
    let reports: String = (0..50)
        .map(|i| {
            finished_task("agent_1", &format!("t-{i}"), &json!(clock::now())).to_string() + "\n"
        })
        .collect();
    let path = file(&folder, "today.ndjson", &reports);
    let replayed = json_of(&on("replay", &path, &["--url", &url, "--output", "json"]));
    assert_eq!(replayed["replay"]["accepted"], 50);
    let status = json_of(&run(&["status", "--url", &url, "--output", "json"]));
    assert_eq!(status["reports"]["stored"], 50);
    let table = run(&["status", "--url", &url]);
    assert!(
        text(&table)
            .lines()
            .any(|line| line.contains("reports.stored") && line.trim_end().ends_with("50")),
        "{}",
        text(&table)
    );

    service.kill();
    ends(
        &run(&["status", "--url", &url]),
        69,
        &[&url, "layer5 serve"],
    );
    ends(&on("replay", &path, &["--url", &url]), 69, &[&url]);
}
