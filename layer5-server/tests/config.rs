//! `layer5 config` and the reload of a running service: mistakes are refused with file, line and the nearest key, a bad
//! file leaves the one before in force, a rollback brings the one before back, and no password is ever shown.

mod service;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use service::{Service, complaint, layer5, run, text, until};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).expect("the folder can be written");
}

/// What is wrong, the line that says so, and what the answer must name besides.
const BROKEN: [(&str, usize, &str); 54] = [
    // Sections and keys that are not known.
    ("[htp]\n", 1, "did you mean `http`?"),
    ("[sorces.redis]\n", 1, "did you mean `sources`?"),
    ("[sources.rediss]\n", 1, "did you mean `redis`?"),
    (
        "[http]\nlisen = \"127.0.0.1:1\"\n",
        2,
        "did you mean `listen`?",
    ),
    (
        "[http]\nbody_bytes = 1\n",
        2,
        "did you mean `body_bytes_max`?",
    ),
    (
        "\n\n[store]\ndatadir = \"x\"\n",
        4,
        "did you mean `data_dir`?",
    ),
    ("[store]\nraw_day = 1.0\n", 2, "did you mean `raw_days`?"),
    ("[limits]\nagent_max = 1\n", 2, "did you mean `agents_max`?"),
    (
        "[pipeline]\ntick_milis = 5\n",
        2,
        "did you mean `tick_millis`?",
    ),
    ("[log]\nlevl = \"info\"\n", 2, "did you mean `level`?"),
    (
        "[auth]\ntoken_file = \"t\"\n",
        2,
        "did you mean `tokens_file`?",
    ),
    ("[patterns]\nenable = true\n", 2, "did you mean `enabled`?"),
    ("[layer7]\nurll = \"http://a\"\n", 2, "did you mean `url`?"),
    (
        "[http]\nhttp_listen_address_of_api = 1\n",
        2,
        "unknown field",
    ),
    (
        "[http]\ndata_dir = \"x\"\n",
        2,
        "did you mean `store.data_dir`?",
    ),
    (
        "[patterns.metric.latency_ms]\nuper = 1.0\n",
        2,
        "did you mean `upper`?",
    ),
    (
        "[[cohort]]\nname = \"a\"\nsedd = 1\n",
        3,
        "did you mean `seed`?",
    ),
    (
        "[[cohort]]\nname = \"a\"\n[[cohort.parameter]]\nname = \"p\"\nkind = \"int\"\n",
        5,
        "unknown field `kind`",
    ),
    (
        "[[template]]\nname = \"a\"\nmetrik = \"m\"\n",
        3,
        "did you mean `metric`?",
    ),
    ("colour = \"blue\"\n", 1, "did you mean `color`?"),
    // Values of the wrong type or word.
    ("[http]\nlisten = 5\n", 2, "invalid type"),
    (
        "[http]\nlisten = \"localhost\"\n",
        2,
        "invalid socket address",
    ),
    ("[http]\nconnections_max = \"many\"\n", 2, "invalid type"),
    ("[http]\nconnections_max = -1\n", 2, "connections_max"),
    ("[limits]\nagents_max = 1.5\n", 2, "invalid type"),
    ("[log]\nformat = \"jsn\"\n", 2, "did you mean `json`?"),
    (
        "[patterns.metric.m]\nsensitivity = \"hihg\"\n",
        2,
        "did you mean `high`?",
    ),
    (
        "[patterns.metric.m]\nsensitivity = 1000\n",
        2,
        "0.01 to 100",
    ),
    (
        "[[cohort]]\nname = \"a\"\nobjective = { better = \"less\" }\n",
        3,
        "`lower`",
    ),
    ("[patterns]\nenabled = \"yes\"\n", 2, "invalid type"),
    // Not TOML.
    ("[http\nlisten = 1\n", 1, ""),
    ("[http]\nlisten = \n", 2, ""),
    (
        "[http]\nrequests_max = 1\nrequests_max = 2\n",
        3,
        "duplicate key",
    ),
    ("[log]\nlevel = info\n", 2, ""),
    // Out of range.
    (
        "[pipeline]\ntick_millis = 0\n",
        2,
        "pipeline.tick_millis = 0",
    ),
    (
        "[http]\nrequest_timeout_seconds = nan\n",
        2,
        "http.request_timeout_seconds = nan",
    ),
    (
        "[http]\nrequest_timeout_seconds = inf\n",
        2,
        "http.request_timeout_seconds = inf",
    ),
    (
        "[store]\ndisk_bytes_max = 1000\n",
        2,
        "store.disk_bytes_max = 1000",
    ),
    (
        "[store]\ncompaction_share = 1.5\n",
        2,
        "store.compaction_share = 1.5",
    ),
    (
        "[sources.redis]\nbatch_len = 0\n",
        2,
        "sources.redis.batch_len = 0",
    ),
    (
        "[[cohort]]\nname = \"a\"\n[[cohort]]\nname = \"b\"\nwindow_len = 1\n",
        5,
        "cohort[1].window_len = 1",
    ),
    (
        "[[template]]\nname = \"a\"\nmetric = \"m\"\nvalues = [0.0, 1.0, 2.0, 1.0]\nfit_min = 0.1\n",
        5,
        "template[0].fit_min = 0.1",
    ),
    // What does not fit together, or is none.
    ("[http]\nlisten = \"0.0.0.0:8080\"\n", 2, "auth.tokens_file"),
    (
        "[http]\nbodies_bytes_max = 1000000\n",
        2,
        "http.bodies_bytes_max = 1000000",
    ),
    (
        "[log]\nlevel = \"layer5=loud\"\n",
        2,
        "log.level = layer5=loud",
    ),
    (
        "[layer7]\nurl = \"layer7:8080\"\n",
        2,
        "layer7.url = layer7:8080",
    ),
    (
        "[sources.redis]\nurl = \"http://redis\"\n",
        2,
        "sources.redis.url",
    ),
    (
        "[sources.redis]\nurl = \"redis://:s3cret@redis\"\n",
        2,
        "sources.redis.password_file",
    ),
    (
        "[[cohort]]\nname = \"a\"\nsampler = \"tpa\"\n",
        3,
        "cohort[0].sampler = tpa",
    ),
    (
        "[[cohort]]\nname = \"a\"\n[[cohort]]\nname = \"a\"\n",
        4,
        "a name that no other cohort has",
    ),
    (
        "[[cohort]]\nname = \"a\"\n[[cohort.parameter]]\nname = \"p\"\ntype = \"int\"\nlow = 9\nhigh = 1\ninitial = 3\n",
        6,
        "low < high",
    ),
    (
        "[[cohort]]\nname = \"a\"\n[[cohort.parameter]]\nname = \"p\"\ntype = \"int\"\nlow = 1\nhigh = 9\ninitial = 30\n",
        8,
        "1 to 9",
    ),
    (
        "[patterns.metric.m]\nupper = 1.0\nlower = 2.0\n",
        3,
        "patterns.metric.m.lower = 2",
    ),
    (
        "[[template]]\nname = \"a\"\nmetric = \"m\"\nvalues = [1.0, 1.0, 1.0, 1.0]\n",
        4,
        "not all equal",
    ),
];

#[test]
fn every_mistake_is_refused_with_file_line_and_way_out() {
    let folder = folder();
    for (i, (broken, line, says)) in BROKEN.into_iter().enumerate() {
        let path = folder.path().join(format!("broken{i}.toml"));
        write(&path, broken);
        let path = path.to_str().expect("UTF-8");
        let output = run(&["config", "check", "--config", path]);
        let said = complaint(&output);
        assert_eq!(output.status.code(), Some(78), "{broken}\n{said}");
        let place = format!("{path}:{line}: ");
        assert!(said.contains(&place), "no `{place}` for\n{broken}\n{said}");
        assert!(said.contains(says), "no `{says}` for\n{broken}\n{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let folder = folder();
    let config = folder.path().join("l5.toml");
    write(&config, "[auth]\ntokens_file = \"/nowhere/tokens\"\n");
    let config = config.to_str().expect("UTF-8");
    for (arguments, code, says) in [
        (
            &["config", "check", "--config", "/nowhere/l5.toml"][..],
            78,
            "/nowhere/l5.toml",
        ),
        (
            &["config", "check", "--config", config],
            78,
            "/nowhere/tokens",
        ),
        (
            &["config", "check", "--config", config, "--env", "staging"],
            78,
            "l5.staging.toml",
        ),
        (
            &["config", "check", "--config", config, "--env", "stagin"],
            2,
            "staging",
        ),
        (&["config", "check", "--env", "staging"], 2, "--config"),
        (&["config", "check", "--set", "log.level"], 2, "KEY=VALUE"),
        (
            &["config", "check", "--set", "log.levle=info"],
            78,
            "did you mean `level`?",
        ),
        (
            &["config", "history", "--data-dir", "/nowhere"],
            66,
            "/nowhere",
        ),
        (&["config", "rollback"], 2, "--config"),
    ] {
        let output = run(arguments);
        let said = complaint(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

#[test]
fn show_says_where_every_value_comes_from_and_hides_passwords() {
    let folder = folder();
    let (base, over) = (
        folder.path().join("l5.toml"),
        folder.path().join("l5.production.toml"),
    );
    write(&base, "[limits]\nagents_max = 5\nmetrics_max = 50\n");
    write(&over, "# production\n[limits]\nmetrics_max = 60\n");
    let show = |more: &[&str]| {
        layer5()
            .args([
                "config",
                "show",
                "--env",
                "production",
                "--set",
                "log.level=warn",
                "--config",
            ])
            .arg(&base)
            .args(more)
            .env("REDIS_URL", "redis://:s3cret@redis")
            .output()
            .expect("layer5 can be run")
    };
    let shown = text(&show(&["--origin"]));
    for (value, origin) in [
        (
            "limits.agents_max = 5",
            format!("file {}:2", base.display()),
        ),
        (
            "limits.metrics_max = 60",
            format!("overlay {}:3", over.display()),
        ),
        (
            "sources.redis.url = \"redis://:***@redis\"",
            "env REDIS_URL".to_owned(),
        ),
        ("log.level = \"warn\"", "flag --set log.level".to_owned()),
    ] {
        let line = shown.lines().find(|line| line.starts_with(value));
        let line = line.unwrap_or_else(|| panic!("no {value} in\n{shown}"));
        assert!(line.ends_with(&format!("# {origin}")), "{line}");
    }
    let all = show(&["--all", "--origin", "--output", "json"]);
    assert!(!text(&all).contains("s3cret"));
    let all: Value = serde_json::from_slice(&all.stdout).expect("JSON");
    let values = all["values"].as_array().expect("values");
    let listen = values.iter().find(|value| value["key"] == "http.listen");
    assert_eq!(listen.expect("there")["origin"], "default");
}

#[test]
fn the_schema_is_json_and_the_page_is_the_document() {
    let schema: Value = serde_json::from_slice(&run(&["config", "schema"]).stdout).expect("JSON");
    let body = &schema["properties"]["http"]["properties"]["body_bytes_max"];
    assert_eq!(
        (&body["minimum"], &body["type"]),
        (&json!(1024.0), &json!("integer"))
    );
    assert!(text(&run(&["config", "docs"])).starts_with("# Configuration"));
}

/// A service with a configuration of its own, which tests change.
struct Running {
    folder: TempDir,
    service: Service,
}

impl Running {
    fn start(config: &str) -> Self {
        let folder = folder();
        let service = Service::start_with(&folder.path().join("data"), &[], Some(config));
        Self { folder, service }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("data.toml")
    }

    fn metric(&self, name: &str) -> f64 {
        let page = self.service.metrics_page();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.map_or(f64::NAN, |value| value.parse().expect("a number"))
    }

    /// `layer5 config <command>` as an operator of this service would run it.
    fn config(&self, command: &[&str]) -> std::process::Output {
        layer5()
            .arg("config")
            .args(command)
            .arg("--config")
            .arg(self.file())
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .output()
            .expect("layer5 can be run")
    }

    fn in_force(&self, pointer: &str) -> Value {
        let config = self.service.get("/api/v1/config").json(200);
        config.pointer(pointer).cloned().unwrap_or(Value::Null)
    }
}

#[test]
fn a_good_change_is_taken_a_bad_one_is_refused_and_a_rollback_restores() {
    let running = Running::start("[limits]\nagents_max = 100\n");
    until("the gauge shows", || {
        (running.metric("layer5_config_reload_successful") == 1.0).then_some(())
    });

    // By itself, without a signal: what can change does, the rest is named.
    write(
        &running.file(),
        "[limits]\nagents_max = 200\n[pipeline]\ntick_millis = 500\n[log]\nlevel = \"debug\"\n",
    );
    until("it is loaded", || {
        (running.in_force("/limits/agents_max") == 200).then_some(())
    });
    assert_eq!(running.in_force("/log/level"), "debug");
    assert_eq!(running.in_force("/pipeline/tick_millis"), 1000);
    let told = until("the log says so", || {
        running.service.said("a setting needs a restart")
    });
    assert_eq!(told["key"], "pipeline.tick_millis");
    until("it is counted", || {
        (running.metric("layer5_config_restart_needed") == 1.0).then_some(())
    });

    // A bad file changes nothing and is told.
    write(
        &running.file(),
        "[limits]\nagents_max = 300\nagent_max = 1\n",
    );
    until("the gauge falls", || {
        (running.metric("layer5_config_reload_successful") == 0.0).then_some(())
    });
    let refused = running
        .service
        .said("the configuration is refused, the one before stays in force")
        .expect("it was said before the gauge fell");
    let error = refused["error"].as_str().expect("a text");
    assert!(
        error.contains("data.toml:3") && error.contains("agents_max"),
        "{error}"
    );
    assert_eq!(running.in_force("/limits/agents_max"), 200);
    assert_eq!(
        running.metric("layer5_config_reloads_total{outcome=\"refused\"}"),
        1.0
    );

    // The file was never applied: a rollback brings back what was applied last.
    let rolled = running.config(&["rollback"]);
    assert_eq!(rolled.status.code(), Some(0), "{}", complaint(&rolled));
    until("it is good again", || {
        (running.metric("layer5_config_reload_successful") == 1.0).then_some(())
    });
    assert_eq!(running.in_force("/limits/agents_max"), 200);
    assert!(text(&running.config(&["diff"])).contains("no difference"));

    // What was applied is taken back to the one before.
    let rolled = running.config(&["rollback"]);
    assert_eq!(rolled.status.code(), Some(0), "{}", complaint(&rolled));
    until("the one before", || {
        (running.in_force("/limits/agents_max") == 100).then_some(())
    });
    assert_eq!(running.in_force("/log/level"), "info");
    until("it is in the history", || {
        let history: Value =
            serde_json::from_slice(&running.config(&["history", "--output", "json"]).stdout)
                .ok()?;
        let entries = history["entries"].as_array()?;
        (entries.len() == 3).then_some(())
    });
    let diff = text(&running.config(&["diff", "1", "2"]));
    assert!(
        diff.contains("limits.agents_max: 100 -> 200   # at a reload"),
        "{diff}"
    );
    assert!(
        diff.contains("pipeline.tick_millis: 1000 -> 500   # needs a restart"),
        "{diff}"
    );
}

#[test]
fn a_configmap_is_followed_through_its_links_and_a_signal_loads_at_once() {
    let folder = folder();
    // As a kubelet mounts it: the file is a link into `..data`, which is a link that is exchanged.
    let version = |name: &str, agents_max: u32| {
        let dir = folder.path().join(name);
        fs::create_dir(&dir).expect("the folder can be written");
        write(
            &dir.join("layer5.toml"),
            &format!("[limits]\nagents_max = {agents_max}\n"),
        );
    };
    let link = |to: &str, at: &str| {
        let (at, new) = (folder.path().join(at), folder.path().join("new-link"));
        std::os::unix::fs::symlink(to, &new).expect("a link");
        fs::rename(&new, &at).expect("a rename");
    };
    version("..1", 100);
    link("..1", "..data");
    link("..data/layer5.toml", "layer5.toml");
    let file = folder.path().join("layer5.toml");
    let service = Service::start_with(
        &folder.path().join("data"),
        &[("CONFIG", file.to_str().expect("UTF-8"))],
        None,
    );
    let agents_max = || service.get("/api/v1/config").json(200)["limits"]["agents_max"].clone();
    assert_eq!(agents_max(), 100);
    version("..2", 200);
    link("..2", "..data");
    until("the exchange is seen", || {
        (agents_max() == 200).then_some(())
    });

    // The same text again, by a signal: nothing to change, and said so.
    let hung_up = Command::new("sh")
        .args(["-c", &format!("kill -HUP {}", service.pid())])
        .status();
    assert!(hung_up.expect("a shell").success());
    until("the signal is answered", || {
        let page = service.metrics_page();
        page.contains("layer5_config_reloads_total{outcome=\"applied\"} 2")
            .then_some(())
    });
}

#[test]
fn a_configuration_shows_no_password() {
    let folder = folder();
    let service = Service::start_with(
        &folder.path().join("data"),
        &[("LAYER7__URL", "http://u:s3cret@127.0.0.1:9")],
        None,
    );
    let answer = service.get("/api/v1/config");
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(
        body.contains("http://u:***@127.0.0.1:9") && !body.contains("s3cret"),
        "{body}"
    );
}
