//! `layer5` under the name `curl`, beside the real curl where there is one: same output, same exit codes.

mod service;

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use service::Service;

fn curl(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("no_proxy", "*")
        .output()
        .expect("curl can be run")
}

#[test]
fn what_the_guide_asks_is_answered_as_by_curl() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ours = folder.path().join("curl");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_layer5"), &ours).expect("a link");
    let service = Service::start(&folder.path().join("data"));
    let api = format!("http://{}", service.api);
    let metrics = format!("http://{}/metrics", service.metrics);

    // The guide's own two, without their `grep`.
    let page = curl(&ours, &[&metrics]);
    assert!(page.status.success());
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    for word in ["optimization", "buffer"] {
        assert!(
            page.lines().any(|line| line.contains(word)),
            "{word}: {page}"
        );
    }

    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = format!("http://{}/", free.local_addr().expect("bound"));
    drop(free);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = (
        format!("http://{}/", silent.local_addr().expect("bound")),
        silent,
    );
    let (health, nowhere) = (format!("{api}/health"), format!("{api}/nowhere"));
    let (ready, analyze) = (format!("{api}/ready"), format!("{api}/analyze"));
    let code = "%{http_code}\\n";
    let cases: &[(&[&str], i32)] = &[
        (&["-s", &health], 0),
        (&["-sS", "-w", code, &ready], 0),
        (&["-s", "-o", "/dev/null", "-w", code, &nowhere], 0),
        (&["-sf", &nowhere], 22),
        (&["-sf", "-w", code, &nowhere], 22),
        (
            &[
                "-s",
                "-X",
                "POST",
                "-H",
                "Content-Type: application/json",
                "-d",
                "{}",
                "-w",
                code,
                &analyze,
            ],
            0,
        ),
        (&["-s", &closed], 7),
        (&["-s", "http://no-such-host.invalid/"], 6),
        (&["-s", "-m", "0.3", &silent.0], 28),
        (&["-s", "--no-such-option", &health], 2),
        (&["-s", "http://["], 3),
        (&["-s", "gopherx://127.0.0.1/"], 1),
    ];
    let real = Path::new("/usr/bin/curl");
    for (arguments, expected) in cases {
        let own = curl(&ours, arguments);
        let told = String::from_utf8_lossy(&own.stderr);
        assert_eq!(own.status.code(), Some(*expected), "{arguments:?}: {told}");
        if real.exists() {
            let theirs = curl(real, arguments);
            assert_eq!(own.status.code(), theirs.status.code(), "{arguments:?}");
            let shown = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(shown(&own), shown(&theirs), "{arguments:?}");
        }
    }
    let loud = curl(&ours, &[&closed]);
    let told = String::from_utf8_lossy(&loud.stderr);
    assert!(told.starts_with("curl: (7) Failed to connect"), "{told}");
}
