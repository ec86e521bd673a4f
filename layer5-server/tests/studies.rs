//! Layer5 as anyone's tuning service: the clients that docs/formats.md shows drive a whole run over standard input and
//! over HTTP; a kill between ask and tell loses no trial; a journal goes on where it stopped.

mod service;

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use service::{Service, complaint, layer5, run};

fn space() -> Value {
    json!([
        { "name": "x", "type": "float", "low": -5, "high": 5 },
        { "name": "k", "type": "categorical", "choices": ["a", "b"] },
    ])
}

/// The `number`th block of docs/formats.md in `language`, written to a file that can be run.
fn documented(language: &str, number: usize, folder: &Path) -> PathBuf {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats.md");
    let text = std::fs::read_to_string(book).expect("the book is here");
    let fence = format!("```{language}\n");
    let block = text
        .split(&fence)
        .nth(number + 1)
        .and_then(|rest| rest.split("```").next());
    let block = block.unwrap_or_else(|| panic!("no {language} block {number} in docs/formats.md"));
    assert!(
        block.lines().count() <= 20,
        "a client of {} lines",
        block.lines().count()
    );
    let path = folder.join(format!("client-{number}.{language}"));
    std::fs::write(&path, block).expect("the folder can be written");
    path
}

/// Runs a documented client; what it printed last. `None` where its tools are missing.
fn client(tools: &[&str], path: &Path, settings: &[(&str, &str)]) -> Option<Value> {
    for tool in tools {
        let there = Command::new(tool)
            .arg("--version")
            .output()
            .is_ok_and(|o| o.status.success());
        if !there {
            let required = std::env::var_os("LAYER5_REQUIRE_TOOLS").is_some_and(|v| v == "1");
            assert!(
                !required,
                "{tool} is not installed and LAYER5_REQUIRE_TOOLS=1"
            );
            eprintln!("skipped: {tool} is not installed");
            return None;
        }
    }
    let binary = PathBuf::from(layer5().get_program());
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders);
    let home = binary
        .parent()
        .expect("a binary lies in a folder")
        .to_path_buf();
    let search =
        std::env::join_paths(std::iter::once(home).chain(folders)).expect("folders of a PATH");
    let mut command = Command::new(tools[0]);
    command
        .arg(path)
        .env("PATH", search)
        .envs(settings.iter().copied());
    let output = command.output().expect("the tool is there");
    assert!(
        output.status.success(),
        "{}: {}",
        path.display(),
        complaint(&output)
    );
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let last = text.lines().last().expect("it prints what it found");
    // What Python prints of a dictionary, as JSON.
    let json = last.replace('\'', "\"").replace("None", "null");
    Some(serde_json::from_str(&json).unwrap_or_else(|e| panic!("{last}: {e}")))
}

fn is_near_the_optimum(found: &Value) {
    let x = found["params"]["x"].as_f64().expect("a number");
    assert!((x - 1.0).abs() < 0.3, "{found}");
}

#[test]
fn the_documented_clients_tune_over_standard_input() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    if let Some(found) = client(&["python3"], &documented("python", 0, folder.path()), &[]) {
        is_near_the_optimum(&found);
    }
    if let Some(found) = client(&["bash", "jq"], &documented("sh", 0, folder.path()), &[]) {
        is_near_the_optimum(&found);
    }
    // The one that stops bad runs.
    if let Some(found) = client(&["bash", "jq"], &documented("sh", 2, folder.path()), &[]) {
        is_near_the_optimum(&found);
    }
}

#[test]
fn the_documented_clients_tune_over_http() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = Service::start(&folder.path().join("data"));
    let url = format!("http://{}", service.api);
    let settings = [("LAYER5", url.as_str())];
    if let Some(found) = client(
        &["python3"],
        &documented("python", 1, folder.path()),
        &settings,
    ) {
        is_near_the_optimum(&found);
    }
    if let Some(found) = client(
        &["bash", "jq", "curl"],
        &documented("sh", 1, folder.path()),
        &settings,
    ) {
        is_near_the_optimum(&found);
    }
    // The one with two objectives, a constraint and failures.
    let several = documented("python", 2, folder.path());
    if let Some(found) = client(&["python3"], &several, &settings) {
        let front = found["front"].as_array().expect("two objectives");
        assert!(front.len() > 3, "{found}");
        for row in front {
            let broken = row["constraints"][0].as_f64().expect("one constraint");
            assert!(broken <= 0.0, "{row}");
        }
        assert_eq!(found["importances"].as_array().map(Vec::len), Some(4));
    }
}

#[test]
fn a_kill_between_ask_and_tell_loses_no_trial() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = "/api/v1/studies/mine";
    let service = Service::start(folder.path());
    let begun = json!({ "name": "mine", "space": space(), "seed": 7 });
    service.post("/api/v1/studies", &begun).json(200);
    let asked = service
        .post(&format!("{path}/ask"), &json!({ "n": 3 }))
        .json(200);
    service
        .post(&format!("{path}/tell"), &json!({ "id": 1, "value": 2.5 }))
        .json(200);
    let before = service.get(path).json(200);
    service.kill();

    let service = Service::start(folder.path());
    assert_eq!(service.get(path).json(200), before);
    assert_eq!(before["trials"].as_array().map(Vec::len), Some(3));
    for (row, trial) in before["trials"]
        .as_array()
        .expect("a list")
        .iter()
        .zip(asked["trials"].as_array().expect("a list"))
    {
        assert_eq!(row["params"], trial["params"]);
    }
    service
        .post(&format!("{path}/tell"), &json!({ "id": 0, "value": 1.5 }))
        .json(200);
    service
        .post(&format!("{path}/tell"), &json!({ "id": 2, "value": null }))
        .json(200);
    let next = service.post(&format!("{path}/ask"), &json!({})).json(200);
    assert_eq!(next["id"], 3);
    let before = service.get(path).json(200);
    // An orderly stop leaves a snapshot; the study comes out of it as it was.
    let mut service = service;
    assert!(service.terminate().success());
    let service = Service::start(folder.path());
    assert_eq!(service.get(path).json(200), before);
    assert_eq!(before["best"]["value"], 1.5);

    let page = service.get(&format!("{path}/report"));
    let page = String::from_utf8_lossy(&page.body).into_owned();
    assert!(page.contains("<svg") && !page.contains("://"), "{page}");
    let listed = service.get("/api/v1/studies").json(200);
    assert_eq!(listed["served"][0]["name"], "mine");
    assert!(
        service
            .post("/api/v1/studies", &begun)
            .problem(409)
            .contains("mine")
    );
    let tell = format!("{path}/tell");
    assert!(
        service
            .post(&tell, &json!({ "id": 0, "value": 1 }))
            .problem(400)
            .contains("already told")
    );
    assert!(
        service
            .post(&tell, &json!({ "id": 99, "value": 1 }))
            .problem(400)
            .contains("never asked")
    );
    assert!(
        service
            .post(&tell, &json!({ "value": 1 }))
            .problem(400)
            .contains("id")
    );
    assert!(
        service
            .post("/api/v1/studies/other/ask", &json!({}))
            .problem(404)
            .contains("other")
    );
    assert!(
        service
            .post("/api/v1/studies", &json!({ "space": space() }))
            .problem(400)
            .contains("name")
    );
    let reversed =
        json!({ "name": "r", "space": [{ "name": "x", "type": "float", "low": 5, "high": -5 }] });
    service.post("/api/v1/studies", &reversed).problem(400);
    service.call("DELETE", path, &[], b"").json(200);
    service.get(path).problem(404);
}

/// A study that carries everything: conditions, a fixed value, two objectives, a constraint, noise, pruning.
fn everything(name: &str) -> Value {
    json!({
        "name": name, "seed": 5, "directions": ["minimize", "maximize"], "constraints": 1, "budget": 30,
        "pruner": { "type": "median", "startup": 1 },
        "limits": [{ "linear": { "weights": { "x": 1.0, "y": 1.0 }, "at_most": 9.0 } }],
        "space": [
            { "name": "k", "type": "categorical", "choices": ["a", "b"] },
            { "name": "x", "type": "float", "low": 0, "high": 5 },
            { "name": "y", "type": "float", "low": 0, "high": 5, "when": { "name": "k", "is": ["b"] } },
            { "name": "size", "type": "ordinal", "choices": ["s", "m", "l"], "fixed": "m" },
        ],
    })
}

#[test]
fn a_kill_loses_nothing_of_what_a_study_carries() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = Service::start(folder.path());
    let both = ["one", "two"];
    let say = |service: &Service, cmd: &str, body: &Value| -> Value {
        let path = |name| format!("/api/v1/studies/{name}/{cmd}");
        let answers = both.map(|name| service.post(&path(name), body).json(200));
        assert_eq!(answers[0], answers[1], "one seed, one sequence");
        answers[0].clone()
    };
    for name in both {
        service.post("/api/v1/studies", &everything(name)).json(200);
    }
    for round in 0..3 {
        let trials = say(&service, "ask", &json!({ "n": 4 }));
        for (i, trial) in trials["trials"]
            .as_array()
            .expect("a list")
            .iter()
            .enumerate()
        {
            let (id, params) = (&trial["id"], &trial["params"]);
            assert_eq!(params["size"], "m");
            if round == 2 && i == 0 {
                continue;
            }
            let x = params["x"].as_f64().expect("a number");
            let step = json!({ "id": id, "step": 1, "value": x + 1.0 });
            let verdict = say(&service, "intermediate", &step);
            let lost = if verdict["stop"] == true {
                Some("pruned")
            } else {
                (i == 3).then_some("failed")
            };
            let outcome = match lost {
                Some(state) => json!({ "id": id, "state": state }),
                None => {
                    json!({ "id": id, "values": [x, 2.0 * x], "constraints": [x - 4.0], "noise_sd": [0.1, 0.2] })
                }
            };
            say(&service, "tell", &outcome);
        }
    }
    let result =
        json!({ "params": { "k": "a", "x": 1.0 }, "values": [1.0, 2.5], "constraints": [-3.0] });
    say(&service, "observe", &result);
    let before = both.map(|name| service.get(&format!("/api/v1/studies/{name}")).json(200));
    service.kill();

    let service = Service::start(folder.path());
    for (name, before) in both.iter().zip(&before) {
        assert_eq!(
            &service.get(&format!("/api/v1/studies/{name}")).json(200),
            before
        );
    }
    let open = service.get("/api/v1/studies/one?state=pending").json(200);
    let open = open["trials"].as_array().expect("a list").clone();
    assert!(!open.is_empty(), "{before:?}");
    for trial in &open {
        let outcome = json!({ "id": trial["id"], "values": [3.0, 3.0], "constraints": [0.0] });
        say(&service, "tell", &outcome);
    }
    say(&service, "ask", &json!({ "n": 2 }));
    let advice = service.get("/api/v1/studies/one/recommend").json(200);
    assert_eq!(advice["feasible"], true);
    let front = advice["front"]
        .as_array()
        .expect("several objectives have a front");
    assert!(
        front.iter().any(|row| row["values"] == json!([1.0, 2.5])),
        "{advice}"
    );
    let shares = service.get("/api/v1/studies/one/importances").json(200);
    assert_eq!(shares["importances"].as_array().map(Vec::len), Some(2 * 4));
    // A page is as long as it was asked for, and leads to the next.
    let page = service.get("/api/v1/studies/one?limit=5").json(200);
    assert_eq!(
        (page["next_after"].as_u64(), page["trials_len"].as_u64()),
        (Some(4), Some(14))
    );
    let names = service.get("/api/v1/studies?limit=1").json(200);
    assert_eq!(names["served"][0]["name"], "one");
    assert_eq!(names["next_after"], "one");
    let rest = service.get("/api/v1/studies?after=one").json(200);
    assert_eq!(
        (&rest["served"][0]["name"], &rest["next_after"]),
        (&json!("two"), &Value::Null)
    );
    // A third one begins with what the first knows.
    service
        .post("/api/v1/studies", &everything("three"))
        .json(200);
    let learned = service
        .post("/api/v1/studies/three/learn", &json!({ "from": "one" }))
        .json(200);
    assert!(
        learned["taken"].as_u64().is_some_and(|n| n > 2) && learned["taken"] == learned["of"],
        "{learned}"
    );
    service.kill();
    let service = Service::start(folder.path());
    let three = service.get("/api/v1/studies/three").json(200);
    assert_eq!(three["observations"], learned["taken"]);
    let page = service.get("/api/v1/studies/one/report");
    let page = String::from_utf8_lossy(&page.body).into_owned();
    for part in [
        "What can be had",
        "How the front grew",
        "The front, by its first objective",
        "1 constraint",
    ] {
        assert!(page.contains(part), "`{part}` is not in the page");
    }
    assert!(!page.contains("://") && !page.contains("NaN"));
}

#[test]
fn a_journal_goes_on_where_a_kill_stopped_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let journal = folder.path().join("tune.jsonl");
    let name = journal.to_str().expect("UTF-8");
    let talk = |lines: &[String]| -> Vec<Value> {
        let mut child = layer5()
            .args(["optimize", "--journal", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut input = child.stdin.take().expect("piped");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut answers = Vec::new();
        for line in lines {
            writeln!(input, "{line}").expect("it reads");
            let mut answer = String::new();
            output.read_line(&mut answer).expect("it answers");
            answers.push(serde_json::from_str(&answer).expect("JSON"));
        }
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        answers
    };
    let init = json!({ "cmd": "init", "space": space(), "seed": 3 }).to_string();
    let ask = r#"{"cmd":"ask"}"#.to_owned();
    let tell = |id: usize| json!({ "cmd": "tell", "id": id, "value": id as f64 - 2.0 }).to_string();
    let first = talk(&[
        init.clone(),
        ask.clone(),
        ask.clone(),
        tell(1),
        "nonsense".into(),
    ]);
    // A line that a kill cut off was not answered, and counts for nothing.
    let mut cut = std::fs::OpenOptions::new()
        .append(true)
        .open(&journal)
        .expect("it is there");
    cut.write_all(b"{\"cmd\":\"tell\",\"id\":0,\"va")
        .expect("room");
    drop(cut);
    let second = talk(&[tell(0), ask.clone()]);
    let whole = folder.path().join("whole.jsonl");
    std::fs::copy(&journal, &whole).expect("room");
    std::fs::remove_file(&journal).expect("it is there");
    let at_once = talk(&[init, ask.clone(), ask.clone(), tell(1), tell(0), ask]);
    assert_eq!(first[1..4], at_once[1..4]);
    assert_eq!(second, at_once[4..]);
    assert_eq!(
        std::fs::read_to_string(&whole).expect("text"),
        std::fs::read_to_string(&journal).expect("text")
    );
    let page = folder.path().join("page.html");
    let page_name = page.to_str().expect("UTF-8");
    let output = run(&["optimize", "report", name, "--html", page_name]);
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let page = std::fs::read_to_string(&page).expect("it was written");
    for part in [
        "How it went",
        "What it tried",
        "Best trials",
        "Use this",
        "default-src 'none'",
    ] {
        assert!(page.contains(part), "`{part}` is not in the page");
    }
    assert!(!page.contains("://") && !page.contains("NaN"));
    std::fs::write(&whole, "{\"cmd\":\"ask\"}\n").expect("room");
    let output = run(&[
        "optimize",
        "report",
        whole.to_str().expect("UTF-8"),
        "--html",
        page_name,
    ]);
    assert_eq!(output.status.code(), Some(65), "{}", complaint(&output));
    assert!(
        complaint(&output).contains("whole.jsonl:1"),
        "{}",
        complaint(&output)
    );
}
