//! The daily check in broken situations: the real command against pages as a broken service shows them. The table of
//! situation, what it said and exit code is `docs/operating/check-situations.md`; `LAYER5_BLESS=1` writes it anew.

mod service;

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use layer5_server::clock;
use serde_json::Value;
use service::run;

/// The metrics of a service with which all is well.
const METRICS: &str = "\
layer5_uptime_seconds 100
layer5_kpi_received_total{source=\"http\"} 1000
layer5_kpi_ingest_lag_seconds{source=\"http\"} 1
layer5_buffer_size{shard=\"intake\"} 10
layer5_buffer_capacity{shard=\"intake\"} 100
layer5_errors_total{component=\"http\",kind=\"handled\"} 0
layer5_data_quality_ratio 1
layer5_optimization_accuracy 0.97
layer5_avg_performance_improvement 0.1
layer5_integration_up{target=\"layer7\"} 1
layer5_outbox_depth 0
layer5_outbox_oldest_seconds 0
layer5_disk_free_bytes 90
layer5_disk_size_bytes 100
process_resident_memory_bytes 10
layer5_memory_limit_bytes 100
layer5_backup_age_seconds 3600
";

/// How a service differs from a good one.
#[derive(Clone, Default)]
struct Broken {
    /// In its metrics: what is replaced by what.
    metrics: &'static [(&'static str, &'static str)],
    /// Pages that answer otherwise: path, status, body.
    pages: &'static [(&'static str, u16, &'static str)],
    /// Its clock minus ours, s.
    skew: f64,
    /// Arguments besides the addresses.
    arguments: Vec<String>,
    /// Nothing answers at all.
    is_down: bool,
}

/// One row: situation, the check that must speak, its state, a word of what it says, exit code.
struct Situation {
    what: &'static str,
    broken: Broken,
    check: &'static str,
    state: &'static str,
    word: &'static str,
    code: i32,
}

fn page(broken: &Broken, path: &str) -> (u16, String) {
    if let Some((_, status, body)) = broken.pages.iter().find(|(of, _, _)| path.starts_with(of)) {
        return (*status, (*body).to_owned());
    }
    let version = env!("CARGO_PKG_VERSION");
    let body = match path {
        "/metrics" => broken
            .metrics
            .iter()
            .fold(METRICS.to_owned(), |page, (from, to)| {
                assert!(page.contains(from), "{from}");
                page.replace(from, to)
            }),
        "/api/v1/status" => format!("{{\"version\":\"{version}\",\"color\":\"green\"}}"),
        _ if path.starts_with("/api/v2/") => "[]".to_owned(),
        _ => "{}".to_owned(),
    };
    (200, body)
}

/// Serves the pages on a port of its own until the process ends.
fn serve(broken: &Broken) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    if broken.is_down {
        return format!("http://{address}");
    }
    let broken = Arc::new(broken.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            answer(&stream, &broken);
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: &TcpStream, broken: &Broken) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut line = String::from("x");
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line).ok()?;
    }
    let (status, body) = page(broken, first.split(' ').nth(1)?);
    let date = http_date(clock::now().millis() / 1000 + broken.skew as i64);
    let head = format!(
        "HTTP/1.1 {status} x\r\nDate: {date}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()
}

/// `Sat, 28 Nov 2026 14:05:00 GMT`: days since the epoch after Hinnant's `civil_from_days`.
fn http_date(seconds: i64) -> String {
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (
        doy - (153 * mp + 2) / 5 + 1,
        if mp < 10 { mp + 3 } else { mp - 9 },
    );
    let year = yoe + era * 400 + i64::from(month <= 2);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days.rem_euclid(7) as usize];
    let names = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let name = &names[(month as usize - 1) * 3..month as usize * 3];
    format!(
        "{weekday}, {day:02} {name} {year} {:02}:{:02}:{:02} GMT",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// A certificate that ends in so many days, made by openssl; `None` where that is not there.
fn certificate(folder: &Path, days: u32) -> Option<PathBuf> {
    let (key, path) = (folder.join("key.pem"), folder.join(format!("{days}.pem")));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args(["-subj", "/CN=layer5", "-days", &days.to_string(), "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(&path)
        .output();
    made.is_ok_and(|run| run.status.success()).then_some(path)
}

fn with(metrics: &'static [(&'static str, &'static str)]) -> Broken {
    Broken {
        metrics,
        ..Broken::default()
    }
}

fn answering(pages: &'static [(&'static str, u16, &'static str)]) -> Broken {
    Broken {
        pages,
        ..Broken::default()
    }
}

fn looking_at(path: &Path) -> Broken {
    let arguments = vec!["--certificate".to_owned(), path.display().to_string()];
    Broken {
        arguments,
        ..Broken::default()
    }
}

#[rustfmt::skip]
fn situations(folder: &Path) -> Vec<Situation> {
    let s = |what, broken, check, state, word, code| Situation { what, broken, check, state, word, code };
    let mut all = vec![
        s("all is well", Broken::default(), "liveness", "green", "answers", 0),
        s("nothing answers", Broken { is_down: true, ..Broken::default() }, "liveness", "red", "does not answer", 2),
        s("the disk is full, so it is unready", answering(&[("/ready", 503, "{\"ready\":false,\"reasons\":[\"the disk is full\"]}")]), "readiness", "red", "the disk is full", 2),
        s("the store failed", answering(&[("/health", 503, "{\"status\":\"failed\",\"reasons\":[\"the store failed\"]}")]), "liveness", "red", "the store failed", 2),
        s("the metrics page is elsewhere", answering(&[("/metrics", 404, "{}")]), "metrics", "red", "answered 404", 2),
        s("no report since the start", with(&[("http\"} 1000", "http\"} 0")]), "KPI flow", "red", "no report", 2),
        s("reports are a minute and a half late", with(&[("lag_seconds{source=\"http\"} 1", "lag_seconds{source=\"http\"} 90")]), "KPI lag", "yellow", "90.0 s old", 1),
        s("reports stopped five minutes ago", with(&[("lag_seconds{source=\"http\"} 1", "lag_seconds{source=\"http\"} 301")]), "KPI lag", "red", "301.0 s old", 2),
        s("a sender's clock is 40 s ahead", with(&[("lag_seconds{source=\"http\"} 1", "lag_seconds{source=\"http\"} -40")]), "KPI lag", "yellow", "-40.0 s old", 1),
        s("a ring is nearly full", with(&[("size{shard=\"intake\"} 10", "size{shard=\"intake\"} 95")]), "buffer", "red", "95 %", 2),
        s("one error in 200 reports", with(&[("kind=\"handled\"} 0", "kind=\"handled\"} 5")]), "error rate", "yellow", "0.500 %", 1),
        s("one error in 20 reports", with(&[("kind=\"handled\"} 0", "kind=\"handled\"} 50")]), "error rate", "red", "5.000 %", 2),
        s("a tenth of the reports is invalid", with(&[("quality_ratio 1", "quality_ratio 0.9")]), "data quality", "red", "90.0 %", 2),
        s("predictions miss", with(&[("accuracy 0.97", "accuracy 0.5")]), "optimization accuracy", "yellow", "50.0 %", 1),
        s("recommendations do harm", with(&[("improvement 0.1", "improvement -0.1")]), "optimization accuracy", "yellow", "-10.0 %", 1),
        s("Layer7 is down", with(&[("layer7\"} 1", "layer7\"} 0")]), "integrations", "red", "layer7", 2),
        s("recommendations do not leave", with(&[("outbox_depth 0", "outbox_depth 12"), ("oldest_seconds 0", "oldest_seconds 400")]), "outbox", "red", "12 undelivered", 2),
        s("the disk is 90 % full", with(&[("free_bytes 90", "free_bytes 10")]), "disk", "red", "90 % used", 2),
        s("memory is at 80 % of its limit", with(&[("memory_bytes 10", "memory_bytes 80")]), "memory", "yellow", "MB", 1),
        s("the backup is 28 h old", with(&[("age_seconds 3600", "age_seconds 100000")]), "backup", "red", "27.8 h old", 2),
        s("its clock is 45 s behind", Broken { skew: -45.0, ..Broken::default() }, "clock", "red", "differs by -4", 2),
        s("another version runs", answering(&[("/api/v1/status", 200, "{\"version\":\"0.0.1\",\"color\":\"blue\"}")]), "version", "yellow", "service 0.0.1 blue", 1),
        s("tokens are set up and none was given", answering(&[("/api/v1/status", 401, "{}")]), "version", "unknown", "answered 401", 0),
        s("a critical alert fires", answering(&[("/api/v2/alerts", 200, "[{\"labels\":{\"team\":\"layer5\",\"alertname\":\"Layer5HighLatency\",\"severity\":\"critical\"}}]")]), "alerts", "red", "Layer5HighLatency", 2),
        s("Alertmanager is in trouble", answering(&[("/api/v2/alerts", 500, "no")]), "alerts", "red", "answered 500", 2),
        s("a silence was forgotten", answering(&[("/api/v2/silences", 200, "[{\"comment\":\"layer5 maintenance: new disk\",\"endsAt\":\"2026-11-29T00:00:00Z\",\"status\":{\"state\":\"active\"},\"matchers\":[{\"name\":\"team\",\"value\":\"layer5\"}]}]")]), "silences", "yellow", "new disk until 2026-11-29", 1),
        s("a certificate is no certificate", looking_at(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").as_path()), "certificate", "red", "no certificate is in it", 2),
    ];
    match (certificate(folder, 3), certificate(folder, 20), certificate(folder, 400)) {
        (Some(soon), Some(later), Some(good)) => all.extend([
            s("a certificate ends in 3 days", looking_at(&soon), "certificate", "red", "ends in 3 days", 2),
            s("a certificate ends in 20 days", looking_at(&later), "certificate", "yellow", "ends in 20 days", 1),
            s("a certificate is good for a year", looking_at(&good), "certificate", "green", "ends in 400 days", 0),
        ]),
        _ => assert!(std::env::var_os("LAYER5_REQUIRE_TOOLS").is_none_or(|v| v != "1"), "openssl is required"),
    }
    all
}

#[test]
fn each_situation_is_named_with_its_exit_code_and_the_page_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut page = String::from(
        "# The daily check in broken situations\n\n\
         Written by `layer5-server/tests/check_situations.rs`, which runs the command in each of them; \
         `LAYER5_BLESS=1 cargo test -p layer5-server --test check_situations` writes it anew.\n\n\
         | situation | check | state | what it said | exit code |\n|---|---|---|---|---|\n",
    );
    let situations = situations(folder.path());
    let complete = situations
        .iter()
        .any(|s| s.what.contains("400") || s.what.contains("a year"));
    for situation in &situations {
        let url = serve(&situation.broken);
        let fixed = [
            "check",
            "--watch",
            "0",
            "--output",
            "json",
            "--url",
            &url,
            "--metrics-url",
            &url,
            "--alertmanager",
            &url,
        ];
        let more: Vec<&str> = situation
            .broken
            .arguments
            .iter()
            .map(String::as_str)
            .collect();
        let output = run(&[&fixed[..], &more].concat());
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let what = situation.what;
        let found: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{what}: {told}"));
        let checks: HashMap<&str, &Value> = found["checks"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|check| Some((check["check"].as_str()?, check)))
            .collect();
        let check = checks
            .get(situation.check)
            .unwrap_or_else(|| panic!("{what}: {told}"));
        assert_eq!(check["state"], situation.state, "{what}: {check}");
        let said = check["said"].as_str().unwrap_or_default();
        assert!(said.contains(situation.word), "{what}: {said}");
        assert_eq!(output.status.code(), Some(situation.code), "{what}: {told}");
        // Nothing else may be blamed for it; what is late does not flow either.
        let same = |name: &str| {
            name == situation.check || (situation.check, name) == ("KPI lag", "KPI flow")
        };
        let others = checks.iter().filter(|(name, _)| !same(name));
        let blamed: Vec<_> = others
            .filter(|(_, c)| c["state"] == "red" || c["state"] == "yellow")
            .collect();
        assert!(
            blamed.is_empty() || situation.broken.is_down,
            "{what}: {blamed:?}"
        );
        // Addresses, places and fractions of a second are another ones each time.
        let shown = said
            .replace(&url, "http://127.0.0.1:8080")
            .replace(&format!("{}/", folder.path().display()), "")
            .replace(&format!("{}/", env!("CARGO_MANIFEST_DIR")), "")
            .replace(env!("CARGO_PKG_VERSION"), "X.Y.Z");
        let shown = match situation.check {
            "clock" => "differs by -45 s, to half a second".to_owned(),
            _ => shown,
        };
        let state = situation.state;
        page += &format!(
            "| {what} | {} | {state} | {shown} | {} |\n",
            situation.check, situation.code
        );
    }
    if !complete {
        eprintln!("skipped: the page is not compared, openssl is not here");
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating/check-situations.md");
    if std::env::var_os("LAYER5_BLESS").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "check-situations.md differs; LAYER5_BLESS=1 writes it anew"
    );
}
