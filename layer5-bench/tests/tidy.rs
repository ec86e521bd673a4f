//! The rules of the house that no compiler knows: each one a test whose failure names file and line.
//! How: the files under version control are read as text (code without comments, strings and tests
//! where a rule is about code), the arrows between crates are asked of `cargo tree`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use layer5_bench::tidy::{code, has_word, shipped_code};

/// Crates without doors: no clock, disk, socket, runtime or chance of their own.
const PURE: [&str; 4] = [
    "layer5-core",
    "layer5-ingest",
    "layer5-patterns",
    "layer5-optimize",
];

fn root() -> PathBuf {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"));
    bench
        .parent()
        .expect("every crate is a folder of the workspace")
        .to_path_buf()
}

/// Standard output of a command run at the root; its errors are the test's.
fn output(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output();
    let run = run.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(run.stdout).expect("git and cargo write UTF-8")
}

/// Files that are, or are about to be, under version control, relative to the root.
fn files() -> Vec<String> {
    let listed = output(
        "git",
        &[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
    );
    let mut files: Vec<String> = listed
        .split('\0')
        .filter(|path| !path.is_empty() && root().join(path).is_file())
        .map(String::from)
        .collect();
    files.sort_unstable();
    files.dedup();
    assert!(
        files.len() > 50,
        "{} files are not this repository",
        files.len()
    );
    files
}

fn rust_files() -> Vec<String> {
    files()
        .into_iter()
        .filter(|path| path.ends_with(".rs"))
        .collect()
}

/// Text of a file; `None` when it is not text.
fn text(path: &str) -> Option<String> {
    let bytes = fs::read(root().join(path));
    let bytes = bytes.unwrap_or_else(|error| panic!("{path}: {error}"));
    String::from_utf8(bytes).ok()
}

fn rust_text(path: &str) -> String {
    text(path).unwrap_or_else(|| panic!("{path} is not UTF-8"))
}

/// Fails with all the places where a rule is broken.
fn verdict(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}\n  {}", broken.join("\n  "));
}

/// `file:line: line` for every line of `text` that `wrong` finds something in.
fn places(path: &str, text: &str, wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = text.lines().enumerate().filter(|(_, line)| wrong(line));
    lines
        .map(|(i, line)| format!("{path}:{}: {}", i + 1, line.trim()))
        .collect()
}

#[test]
fn every_rust_file_opens_with_a_header() {
    let headless = |path: &String| {
        !rust_text(path)
            .lines()
            .find(|line| !line.trim().is_empty())
            .is_some_and(|line| line.starts_with("//!"))
    };
    let broken: Vec<String> = rust_files()
        .into_iter()
        .filter(headless)
        .map(|path| format!("{path}:1"))
        .collect();
    verdict(
        "the first line of a file is a `//!` that says what it is for",
        &broken,
    );
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    let empty = ["util", "utils", "helper", "helpers", "common", "misc"];
    let says_nothing = |path: &String| {
        Path::new(path).iter().any(|part| {
            let name = part.to_string_lossy();
            empty.contains(&name.split('.').next().unwrap_or_default())
        })
    };
    let broken: Vec<String> = rust_files().into_iter().filter(says_nothing).collect();
    verdict("a file is named for the one thing it holds", &broken);
}

#[test]
fn no_type_is_named_for_a_role_that_says_nothing() {
    let suffixes = [
        "Manager",
        "Engine",
        "Service",
        "Processor",
        "Handler",
        "Helper",
        "Impl",
    ];
    let named_so = |line: &str| {
        let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let kinds = ["struct", "enum", "trait", "type"];
        let named = words
            .find(|word| kinds.contains(word))
            .and_then(|_| words.next());
        // The bare word may be the noun itself: the demo's `Service` is the service that it runs.
        named.is_some_and(|name| {
            suffixes
                .iter()
                .any(|suffix| name.len() > suffix.len() && name.ends_with(suffix))
        })
    };
    let broken: Vec<String> = rust_files()
        .iter()
        .flat_map(|path| places(path, &code(&rust_text(path)), named_so))
        .collect();
    verdict("a type is a noun of the domain, not a role", &broken);
}

#[test]
fn nothing_is_re_exported_by_a_star() {
    let star = |line: &str| line.trim_start().starts_with("pub use ") && line.contains("::*");
    let broken: Vec<String> = rust_files()
        .iter()
        .flat_map(|path| places(path, &code(&rust_text(path)), star))
        .collect();
    verdict("what a crate offers is written down name by name", &broken);
}

#[test]
fn every_todo_names_its_issue() {
    let todo = concat!("TO", "DO");
    let loose = |line: &str| has_word(line, todo) && !line.contains(&format!("{todo}(#"));
    let broken: Vec<String> = rust_files()
        .iter()
        .flat_map(|path| places(path, &rust_text(path), loose))
        .collect();
    verdict("an open end names the issue that will close it", &broken);
}

/// Direct dependencies of a package, of the kinds in `edges` (`normal`, `build`, `dev`).
fn direct_dependencies(package: &str, edges: &str) -> Vec<String> {
    let mut names = linked(package, &["-e", edges, "--depth", "1"]);
    names.retain(|name| name != package);
    names
}

/// First words of `cargo tree`: the names of what `package` links.
fn linked(package: &str, arguments: &[&str]) -> Vec<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let fixed = ["tree", "--locked", "--prefix", "none", "-p", package];
    let listed = output(&cargo, &[&fixed[..], arguments].concat());
    let mut names: Vec<String> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(Into::into)
        .collect();
    names.sort_unstable();
    names.dedup();
    assert!(
        names.iter().any(|name| name == package),
        "cargo tree does not know {package}"
    );
    names
}

#[test]
fn crates_point_in_one_direction() {
    let allowed: [(&str, &[&str]); 5] = [
        ("layer5-core", &[]),
        ("layer5-ingest", &["layer5-core"]),
        ("layer5-patterns", &["layer5-core"]),
        ("layer5-optimize", &["layer5-core"]),
        ("layer5-server", &PURE),
    ];
    let mut broken = Vec::new();
    for (package, below) in allowed {
        for name in direct_dependencies(package, "normal,build,dev") {
            if name.starts_with("layer5-") && !below.contains(&name.as_str()) {
                broken.push(format!("{package}/Cargo.toml: {name}"));
            }
        }
    }
    verdict(
        "core <- ingest, patterns, optimize <- server; the middle three never meet",
        &broken,
    );
}

#[test]
fn only_the_crates_of_the_design_exist() {
    let mut members: Vec<String> = files()
        .into_iter()
        .filter_map(|path| path.strip_suffix("/Cargo.toml").map(String::from))
        .collect();
    members.sort_unstable();
    let mut expected = PURE.map(String::from).to_vec();
    expected.extend(["layer5-bench".into(), "layer5-server".into()]);
    expected.sort_unstable();
    assert_eq!(members, expected, "the crates are those of the design");
}

#[test]
fn pure_crates_name_no_clock_disk_socket_or_chance() {
    let banned = [
        "std::fs",
        "std::net",
        "std::process",
        "std::thread::spawn",
        "std::time",
        "env::var",
        "env::args",
        "Instant::now",
        "SystemTime",
        "tokio",
        "async",
        "thread_rng",
        "rand::rng",
        "from_os_rng",
        "OsRng",
        "SysRng",
        "ThreadRng",
        "getrandom",
        "static mut",
        "thread_local",
        "OnceLock",
        "LazyLock",
        "ThreadPoolBuilder",
        "println",
        "eprintln",
    ];
    let mut broken = Vec::new();
    for path in rust_files() {
        let in_source = PURE
            .iter()
            .any(|name| path.starts_with(&format!("{name}/src/")));
        // `tests.rs` beside a module is that module's tests, compiled under cfg(test) alone.
        if in_source && !path.ends_with("/tests.rs") {
            let text = shipped_code(&rust_text(&path));
            broken.extend(places(&path, &text, |line| {
                banned.iter().any(|word| has_word(line, word))
            }));
        }
    }
    verdict(
        "time and chance come in as arguments, and nothing else comes in at all",
        &broken,
    );
}

#[test]
fn pure_crates_link_no_runtime() {
    let banned = [
        "tokio",
        "mio",
        "hyper",
        "axum",
        "reqwest",
        "async-std",
        "smol",
        "socket2",
        "redis",
        "tempfile",
        "tracing-subscriber",
        "chrono",
        "time",
        "jiff",
    ];
    let mut broken = Vec::new();
    for package in PURE {
        for name in linked(package, &["-e", "normal"]) {
            if banned.contains(&name.as_str()) {
                broken.push(format!(
                    "{package} links {name}: cargo tree -p {package} -i {name}"
                ));
            }
        }
    }
    verdict("a pure crate links no runtime, clock or disk", &broken);
}

#[test]
fn bincode_is_named_in_one_file() {
    let named = |line: &str| {
        has_word(line, "bincode") && (line.contains("bincode::") || line.contains("use bincode"))
    };
    let mut broken: Vec<String> = rust_files()
        .iter()
        .filter(|path| *path != "layer5-core/src/codec.rs")
        .flat_map(|path| places(path, &code(&rust_text(path)), named))
        .collect();
    for package in [
        "layer5-ingest",
        "layer5-patterns",
        "layer5-optimize",
        "layer5-server",
    ] {
        if direct_dependencies(package, "normal,build").contains(&"bincode".to_string()) {
            broken.push(format!("{package}/Cargo.toml: bincode"));
        }
    }
    verdict(
        "bincode is replaced by touching layer5-core/src/codec.rs",
        &broken,
    );
}

#[test]
fn unsafe_lives_in_the_ring_alone() {
    let broken: Vec<String> = rust_files()
        .iter()
        .filter(|path| !path.starts_with("layer5-ingest/src/ring"))
        .flat_map(|path| {
            places(path, &code(&rust_text(path)), |line| {
                has_word(line, "unsafe")
            })
        })
        .collect();
    verdict("unsafe code lives in layer5-ingest/src/ring", &broken);
}

/// What stands between backticks on a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn the_files_of_the_journey_exist() {
    let path = "docs/journey.md";
    let journey = text(path).expect("a book is text");
    let mut n_sources = 0;
    let mut broken = Vec::new();
    for (i, line) in journey.lines().enumerate() {
        for name in quoted(line).filter(|name| {
            name.contains('/')
                && [".rs", ".md", ".toml", "/"]
                    .iter()
                    .any(|end| name.ends_with(end))
        }) {
            n_sources += usize::from(name.ends_with(".rs"));
            if !root().join(name).exists() {
                broken.push(format!("{path}:{}: {name}", i + 1));
            }
        }
    }
    verdict("the journey leads through files that exist", &broken);
    assert!(
        n_sources >= 8,
        "{path} names {n_sources} source files, a report passes eight"
    );
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    for path in files().into_iter().filter(|path| path.ends_with(".md")) {
        let page = text(&path).unwrap_or_else(|| panic!("{path} is not UTF-8"));
        let folder = root()
            .join(&path)
            .parent()
            .expect("a file has a folder")
            .to_path_buf();
        for (i, line) in prose(&page) {
            for target in links(&line) {
                let file = target.split(['#', ' ']).next().unwrap_or_default();
                let outside = target.contains("://") || target.starts_with("mailto:");
                if !outside && !file.is_empty() && !folder.join(file).exists() {
                    broken.push(format!("{path}:{i}: {target}"));
                }
            }
        }
    }
    verdict("a link leads to a file of this repository", &broken);
}

/// Numbered lines of a page outside its fenced blocks, without what stands in backticks.
fn prose(page: &str) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (i, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((
                i + 1,
                line.split('`').step_by(2).collect::<Vec<_>>().join(" "),
            ));
        }
    }
    lines
}

/// Targets of the inline links `](target)` and reference definitions `[name]: target` of a line.
fn links(line: &str) -> Vec<&str> {
    let inline = line.match_indices("](").filter_map(|(at, opening)| {
        let target = &line[at + opening.len()..];
        target.split_once(')').map(|(target, _)| target.trim())
    });
    let definition = line
        .starts_with('[')
        .then(|| line.split_once("]: "))
        .flatten();
    inline
        .chain(definition.map(|(_, target)| target.trim()))
        .collect()
}

#[test]
fn links_are_found_in_every_form() {
    let check = |line: &str, expected: &[&str]| assert_eq!(links(line), expected, "{line}");
    check("[a](b.md) and ![c](d.png#e)", &["b.md", "d.png#e"]);
    check("[name]: target.md", &["target.md"]);
    check("a[0](x", &[]);
    let page = "a `[x](y)` b\n```\n[c](d)\n```\n[e](f)";
    assert_eq!(prose(page), [(1, "a   b".into()), (5, "[e](f)".into())]);
}

#[test]
fn no_file_names_a_machine() {
    // Split, or this file would be the first to break its rule.
    let mut banned: Vec<String> = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/tmp/ta", "rget"),
        concat!("arti", "factory"),
        concat!("jf", "rog"),
        concat!("nex", "us-"),
        concat!("pypi.", "org"),
        concat!("npmjs.", "org"),
        concat!("proxy.gol", "ang"),
        concat!("index.crates", ".io"),
    ]
    .map(String::from)
    .to_vec();
    // The place of this checkout, unless it is so short that it is a place in any container.
    let here = root().display().to_string();
    banned.extend((here.matches('/').count() >= 2).then(|| format!("{here}/")));
    let mut broken = Vec::new();
    for path in files() {
        if let Some(text) = text(&path) {
            broken.extend(places(&path, &text, |line| {
                banned.iter().any(|word| line.contains(word.as_str()))
            }));
        }
    }
    verdict(
        "nothing here depends on the machine it was written on",
        &broken,
    );
}

#[test]
fn every_locked_package_comes_from_the_public_index() {
    let index = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let elsewhere = |line: &str| line.starts_with("source = ") && line != index;
    let broken = places("Cargo.lock", &rust_text("Cargo.lock"), elsewhere);
    verdict(
        "a package comes from the public index by version and checksum",
        &broken,
    );
}

#[test]
fn the_readme_names_the_commands_that_ci_runs() {
    let readme = text("README.md").expect("a page is text");
    let ci = text(".ci/run").expect("a script is text");
    let mut n_commands = 0;
    let mut broken = Vec::new();
    for (i, line) in ci.lines().enumerate() {
        let line = line.trim_start();
        for word in line
            .split_whitespace()
            .take_while(|word| !word.starts_with('#'))
        {
            let script = word.trim_matches(['"', '\'', ';', '(', ')']);
            if let Some(file) = script.strip_prefix("./").filter(|file| !file.is_empty()) {
                n_commands += 1;
                if !readme.contains(script) || !root().join(file).is_file() {
                    broken.push(format!(".ci/run:{}: {script}", i + 1));
                }
            }
        }
    }
    verdict(
        "what CI runs is what the README tells a newcomer to run",
        &broken,
    );
    assert!(n_commands > 0, ".ci/run calls no script of this repository");
}
