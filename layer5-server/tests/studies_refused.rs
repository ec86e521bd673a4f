//! Bad input to a study, over standard input and over HTTP: each mistake is answered with words that name it, and changes
//! nothing; what only looks wrong is taken as documented.
//! How: one table of commands and the words of their refusal, said to `layer5 optimize` and posted to the service.

mod service;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde_json::{Value, json};
use service::{Service, layer5};

/// A conversation with `layer5 optimize`.
struct Talk {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Talk {
    fn begin() -> Self {
        let mut child = layer5()
            .arg("optimize")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self {
            child,
            input,
            output,
        }
    }

    fn line(&mut self, line: &str) -> Value {
        writeln!(self.input, "{line}").expect("it reads");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("it answers");
        serde_json::from_str(&answer).expect("JSON")
    }

    fn say(&mut self, cmd: &str, body: &Value) -> Value {
        let mut body = body.clone();
        body["cmd"] = cmd.into();
        self.line(&body.to_string())
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn x(low: f64, high: f64) -> Value {
    json!({ "name": "x", "type": "float", "low": low, "high": high })
}

fn many(n: usize) -> Value {
    (0..n)
        .map(|i| json!({ "name": format!("p{i}"), "type": "float", "low": 0, "high": 1 }))
        .collect()
}

fn choices(n: usize) -> Value {
    let names: Vec<String> = (0..n).map(|i| i.to_string()).collect();
    json!([{ "name": "k", "type": "categorical", "choices": names }])
}

/// Beginnings that are refused, and a word of the refusal.
fn beginnings() -> Vec<(Value, &'static str)> {
    let with = |field: &str, value: Value| {
        let mut init = json!({ "space": [x(0.0, 1.0)] });
        init[field] = value;
        init
    };
    let of = |space: Value| json!({ "space": space });
    let parameter = |more: Value| {
        let mut one = x(1.0, 9.0);
        for (name, value) in more.as_object().expect("an object") {
            one[name] = value.clone();
        }
        of(json!([one]))
    };
    vec![
        (of(json!([x(5.0, -5.0)])), "low 5 is not below high -5"),
        (of(json!([x(5.0, 5.0)])), "not below"),
        (
            parameter(json!({ "low": 0, "log": true })),
            "log needs low above 0",
        ),
        (parameter(json!({ "step": 0 })), "step 0"),
        (parameter(json!({ "fixed": 10 })), "fixed at"),
        (
            parameter(json!({ "fixed": "red" })),
            "can't be fixed at \"red\"",
        ),
        (
            parameter(json!({ "when": { "name": "z", "is": [1] } })),
            "depends on `z`",
        ),
        (parameter(json!({ "colour": "red" })), "colour"),
        (of(json!([])), "at least 1 parameter"),
        (of(many(201)), "201 parameters are above the limit of 200"),
        (
            of(choices(10_001)),
            "10001 choices are above the limit of 10000",
        ),
        (with("sampler", json!("best")), "use one of auto, random"),
        (
            json!({ "space": choices(3), "sampler": "cma_es" }),
            "needs a float, int or ordinal",
        ),
        (
            json!({ "space": [x(0.0, 1.0)], "sampler": "ehvi",
                "directions": ["minimize", "minimize", "minimize", "maximize"] }),
            "at most 3 objectives, found 4",
        ),
        (with("directions", json!([])), "0 directions"),
        (
            json!({ "space": [x(0.0, 1.0)], "direction": "minimize", "directions": ["minimize"] }),
            "exclude each other",
        ),
        (
            json!({ "space": [x(0.0, 1.0)], "directions": ["minimize", "minimize"], "stop_below": 1 }),
            "stop_below needs a single objective",
        ),
        (with("budget", json!(0)), "budget 0"),
        (with("step_max", json!(0)), "step_max is 0"),
        (with("constraints", json!(17)), "limit of 16"),
        (
            with("pruner", json!({ "type": "asha", "factor": 1 })),
            "factor 1",
        ),
        (
            with(
                "limits",
                json!([{ "linear": { "weights": { "y": 1 }, "at_most": 1 } }]),
            ),
            "`y`",
        ),
        (
            with(
                "limits",
                json!([{ "linear": { "weights": { "x": 1 }, "at_most": -1 } }]),
            ),
            "no point of",
        ),
        (
            with(
                "safe",
                json!({ "worst": 1, "probability": 0.9, "start": { "x": 7 } }),
            ),
            "safe start",
        ),
        (
            with(
                "safe",
                json!({ "worst": 1, "probability": 0.9, "start": {} }),
            ),
            "`x` is missing",
        ),
    ]
}

/// What a study of one objective and one constraint, whose trial 0 is told and whose trial 1 is pending, refuses.
fn refusals() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        (
            "tell",
            json!({ "id": 99, "value": 1, "constraints": [0] }),
            "never asked",
        ),
        (
            "tell",
            json!({ "id": 0, "value": 1, "constraints": [0] }),
            "already told",
        ),
        ("tell", json!({ "id": 1, "value": "NaN" }), "invalid type"),
        (
            "tell",
            json!({ "id": 1, "value": 1 }),
            "0 constraints for 1",
        ),
        (
            "tell",
            json!({ "id": 1, "values": [1, 2], "constraints": [0] }),
            "2 objectives for 1",
        ),
        (
            "tell",
            json!({ "id": 1, "value": 1, "values": [1] }),
            "exclude each other",
        ),
        (
            "tell",
            json!({ "id": 1, "value": 1, "constraints": [0], "noise_sd": -1 }),
            "noise_sd -1",
        ),
        (
            "tell",
            json!({ "id": 1, "value": 1, "constraints": [0], "noise_sd": [1, 1] }),
            "2 noise_sd",
        ),
        (
            "tell",
            json!({ "id": 1, "value": 1, "noise_sd": "much" }),
            "neither a number",
        ),
        (
            "tell",
            json!({ "id": 1, "value": 1, "state": "failed" }),
            "without a result",
        ),
        (
            "tell",
            json!({ "id": 1, "constraints": [0] }),
            "`value` is missing",
        ),
        ("tell", json!({ "value": 1 }), "id"),
        ("tell", json!({ "id": 1, "state": "lost" }), "lost"),
        (
            "intermediate",
            json!({ "id": 1, "step": 2, "value": 1 }),
            "not above the last one, 2",
        ),
        (
            "intermediate",
            json!({ "id": 0, "step": 3, "value": 1 }),
            "already told",
        ),
        (
            "observe",
            json!({ "params": { "x": 0.5 } }),
            "`value` is missing",
        ),
        (
            "observe",
            json!({ "params": { "x": 9 }, "value": 1, "constraints": [0] }),
            "outside",
        ),
        (
            "observe",
            json!({ "params": { "y": 1 }, "value": 1, "constraints": [0] }),
            "`y`",
        ),
        (
            "observe",
            json!({ "params": {}, "value": 1, "constraints": [0] }),
            "`x` is missing",
        ),
        ("ask", json!({ "n": 0 }), "1 to 256"),
        ("ask", json!({ "n": 257 }), "1 to 256"),
        ("ask", json!({ "m": 1 }), "`m`"),
        ("learn", json!({ "from": "nobody" }), "no"),
    ]
}

/// The commands before the refusals.
fn opening() -> [(&'static str, Value); 4] {
    [
        ("ask", json!({})),
        ("ask", json!({})),
        ("tell", json!({ "id": 0, "value": 1, "constraints": [-1] })),
        ("intermediate", json!({ "id": 1, "step": 2, "value": 1 })),
    ]
}

const CLOSED: [&str; 4] = ["ask", "tell", "observe", "intermediate"];

/// What is said to a closed study.
fn last_words(cmd: &str) -> Value {
    match cmd {
        "tell" => json!({ "id": 1, "value": 1, "constraints": [0] }),
        "observe" => json!({ "params": { "x": 0.5 }, "value": 1, "constraints": [0] }),
        "intermediate" => json!({ "id": 1, "step": 9, "value": 1 }),
        _ => json!({}),
    }
}

#[test]
fn standard_input_names_every_mistake_and_goes_on() {
    let mut talk = Talk::begin();
    let refused = |answer: Value, words: &str| {
        let error = answer["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{words}: {answer}"));
        assert!(error.contains(words), "`{words}` is not in `{error}`");
    };
    refused(talk.say("ask", &json!({})), "init");
    for (init, words) in beginnings() {
        refused(talk.say("init", &init), words);
    }
    let init = json!({ "space": [x(0.0, 1.0)], "constraints": 1 });
    assert_eq!(talk.say("init", &init)["ok"], true);
    refused(talk.say("importances", &json!({})), "too little");
    refused(talk.say("recommend", &json!({})), "nothing was told");
    for (cmd, body) in opening() {
        let answer = talk.say(cmd, &body);
        assert!(answer["error"].is_null(), "{answer}");
    }
    let before = talk.say("trials", &json!({}));
    for (cmd, body, words) in refusals() {
        refused(talk.say(cmd, &body), words);
    }
    for (line, words) in [
        (r#"{"cmd":"tell","id":1,"value":NaN}"#, "expected"),
        (r#"{"cmd":"tell","id":1,"value":1e999}"#, "out of range"),
        (r#"{"cmd":"trials","state":"lost"}"#, "use one of"),
    ] {
        refused(talk.line(line), words);
    }
    // A million choices are a line too long.
    let line = json!({ "cmd": "init", "space": choices(1_000_000) }).to_string();
    refused(talk.line(&line), "more than 1048576 bytes");
    assert_eq!(talk.say("trials", &json!({})), before);
    assert_eq!(talk.say("close", &json!({}))["ok"], true);
    for cmd in CLOSED {
        refused(talk.say(cmd, &last_words(cmd)), "closed");
    }
    assert!(talk.say("recommend", &json!({}))["params"]["x"].is_number());
}

#[test]
fn http_names_every_mistake_and_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = Service::start(folder.path());
    let refused = |path: &str, body: &Value, words: &str| {
        let detail = service.post(path, body).problem(400);
        assert!(detail.contains(words), "`{words}` is not in `{detail}`");
    };
    for (mut init, words) in beginnings() {
        init["name"] = "bad".into();
        refused("/api/v1/studies", &init, words);
    }
    let listed = service.get("/api/v1/studies").json(200);
    assert_eq!(listed["served"], json!([]));
    let mut million = json!({ "name": "m", "space": choices(1_000_000) });
    service.post("/api/v1/studies", &million).problem(413);
    million["space"] = json!([x(0.0, 1.0)]);
    million["constraints"] = 1.into();
    service.post("/api/v1/studies", &million).json(200);
    let path = |cmd: &str| format!("/api/v1/studies/m/{cmd}");
    for (cmd, body) in opening() {
        service.post(&path(cmd), &body).json(200);
    }
    let before = service.get("/api/v1/studies/m").json(200);
    for (cmd, body, words) in refusals() {
        if cmd == "learn" {
            service.post(&path(cmd), &body).problem(404);
        } else {
            refused(&path(cmd), &body, words);
        }
    }
    refused(&path("learn"), &json!({ "from": "m" }), "itself");
    let detail = service.get("/api/v1/studies/m?state=lost").problem(400);
    assert!(detail.contains("use one of"), "{detail}");
    service
        .get("/api/v1/studies/nobody/importances")
        .problem(404);
    assert_eq!(service.get("/api/v1/studies/m").json(200), before);
    service.post(&path("close"), &json!({})).json(200);
    for cmd in CLOSED {
        refused(&path(cmd), &last_words(cmd), "closed");
    }
    assert_eq!(service.get("/api/v1/studies/m").json(200)["closed"], true);
}

#[test]
fn what_only_looks_wrong_is_taken() {
    let mut talk = Talk::begin();
    // A constant objective, and one place with different values.
    talk.say("init", &json!({ "space": [x(0.0, 1.0)], "seed": 2 }));
    for id in 0..12 {
        talk.say("ask", &json!({}));
        talk.say("tell", &json!({ "id": id, "value": 3 }));
    }
    let constant = talk.say("recommend", &json!({}));
    assert!(
        (constant["predicted"].as_f64().expect("a number") - 3.0).abs() < 1e-9,
        "{constant}"
    );
    for value in [1.0, 5.0, 2.0, 4.0] {
        let seen = talk.say(
            "observe",
            &json!({ "params": { "x": 0.5 }, "value": value }),
        );
        assert_eq!(seen["ok"], true, "{seen}");
    }
    assert!(talk.say("recommend", &json!({}))["predicted"].is_number());
    // As many parameters as there may be.
    talk.say("init", &json!({ "space": many(200) }));
    for id in 0..3 {
        let trial = talk.say("ask", &json!({}));
        assert_eq!(
            trial["params"].as_object().map(serde_json::Map::len),
            Some(200)
        );
        talk.say("tell", &json!({ "id": id, "value": id }));
    }
    // Ten thousand trials, and the limit of twenty.
    talk.say(
        "init",
        &json!({ "space": [x(0.0, 1.0)], "sampler": "random" }),
    );
    for _ in 0..40 {
        let trials = talk.say("ask", &json!({ "n": 250 }));
        for trial in trials["trials"].as_array().expect("a list") {
            let value = trial["params"]["x"].as_f64().expect("a number") - 0.25;
            talk.say(
                "tell",
                &json!({ "id": trial["id"], "value": value * value }),
            );
        }
    }
    let best = talk.say("recommend", &json!({}));
    assert!(
        (best["params"]["x"].as_f64().expect("a number") - 0.25).abs() < 0.01,
        "{best}"
    );
    let page = talk.say("trials", &json!({ "after": 9_997 }));
    assert_eq!(page["trials"].as_array().map(Vec::len), Some(2));
    for _ in 0..40 {
        talk.say("ask", &json!({ "n": 250 }));
    }
    let full = talk.say("ask", &json!({}));
    assert!(
        full["error"].as_str().is_some_and(|e| e.contains("20000")),
        "{full}"
    );
}
