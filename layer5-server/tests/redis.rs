//! Redis Streams as a source, proven with a real `redis-server`: every entry counts once whatever is killed, restarted or
//! promoted; a poisoned entry goes to the dead-letter stream and the rest flows.
//! Redis starts on a free port with its own folder. Without `redis-server` these tests say so and pass, unless
//! `LAYER5_REQUIRE_TOOLS=1`.

mod service;

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use service::{DEADLINE, Service, finished_task, named_metrics, recent_second, until};

const STREAM: &str = "layer4_kpi_reports";
const DEAD: &str = "layer4_kpi_reports:dead";

/// Whether there is a Redis to test with.
fn redis_is_here() -> bool {
    let here = Command::new("redis-server")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    assert!(
        here || std::env::var("LAYER5_REQUIRE_TOOLS").is_err(),
        "redis-server is required"
    );
    if !here {
        eprintln!("skipped: redis-server is not installed");
    }
    here
}

/// A `redis-server` with a folder of its own.
struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    /// One that forgets when it is killed.
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, &["--save", ""])
    }

    /// On a free port: one that a neighbour took in between is left to it.
    fn start_with(folder: &Path, more: &[&str]) -> Self {
        until("a redis of our own", || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("bound").port();
            drop(listener);
            let redis = Self::start_on(port, folder, more);
            redis.is_ours().then_some(redis)
        })
    }

    fn is_ours(&self) -> bool {
        let info = self.client().ask(&["INFO", "server"]);
        let id = format!("process_id:{}\r\n", self.process.id());
        info.as_str().is_some_and(|info| info.contains(&id))
    }

    fn start_on(port: u16, folder: &Path, more: &[&str]) -> Self {
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(folder)
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server can be run");
        let redis = Self { process, port };
        until("redis answers", || {
            let mut client = Client::to(redis.at()).ok()?;
            client.try_ask(&["PING"]).ok().filter(|pong| pong == "PONG")
        });
        redis
    }

    fn at(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    fn url(&self) -> String {
        format!("redis://{}", self.at())
    }

    fn client(&self) -> Client {
        Client::to(self.at()).expect("redis is there")
    }

    fn kill(mut self) {
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a child ends");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been killed already.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// A small client: commands out, replies as JSON in.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn to(at: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(at)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    fn send(&mut self, commands: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(commands)
    }

    fn try_ask(&mut self, parts: &[&str]) -> std::io::Result<Value> {
        let mut out = Vec::new();
        command(&mut out, parts);
        self.send(&out)?;
        self.reply()
    }

    #[track_caller]
    fn ask(&mut self, parts: &[&str]) -> Value {
        let reply = self.try_ask(parts).expect("redis answers");
        let refused = reply.as_str().is_some_and(|text| text.starts_with("-"));
        assert!(!refused, "{parts:?}: {reply}");
        reply
    }

    fn number(&mut self, parts: &[&str]) -> u64 {
        self.ask(parts).as_u64().expect("a number")
    }

    fn reply(&mut self) -> std::io::Result<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = line.trim_end().split_at(1);
        Ok(match kind {
            "+" => json!(rest),
            ":" => json!(rest.parse::<i64>().expect("a number")),
            "$" | "*" if rest == "-1" => Value::Null,
            "$" => {
                let mut text = vec![0; rest.parse::<usize>().expect("a length") + 2];
                self.stream.read_exact(&mut text)?;
                text.truncate(text.len() - 2);
                json!(String::from_utf8_lossy(&text))
            }
            "*" => (0..rest.parse().expect("a length"))
                .map(|_| self.reply())
                .collect::<std::io::Result<_>>()?,
            _ => json!(line.trim_end()),
        })
    }

    /// Adds reports, each as JSON in `data`; returns when Redis has them all.
    fn add(&mut self, reports: impl Iterator<Item = Value>) {
        let reports: Vec<Value> = reports.collect();
        for part in reports.chunks(1000) {
            let mut out = Vec::new();
            for report in part {
                command(
                    &mut out,
                    &["XADD", STREAM, "*", "data", &report.to_string()],
                );
            }
            self.send(&out).expect("redis is there");
            for _ in part {
                let id = self.reply().expect("redis answers");
                assert!(id.as_str().is_some_and(|id| !id.starts_with('-')), "{id}");
            }
        }
    }

    /// Entries that were given out and not acknowledged; `None` before Layer5 has made its group.
    fn pending(&mut self) -> Option<u64> {
        let reply = self.try_ask(&["XPENDING", STREAM, "layer5"]);
        let reply = reply.expect("redis answers");
        if reply
            .as_str()
            .is_some_and(|text| text.starts_with("-NOGROUP"))
        {
            return None;
        }
        Some(reply[0].as_u64().expect("a number"))
    }
}

fn command(out: &mut Vec<u8>, parts: &[&str]) {
    let mut text = format!("*{}\r\n", parts.len());
    for part in parts {
        write!(text, "${}\r\n{part}\r\n", part.len()).expect("memory");
    }
    out.extend_from_slice(text.as_bytes());
}

fn house(folder: &Path, url: &str, more: &[(&str, &str)]) -> Service {
    let mut settings = vec![
        ("SOURCES__REDIS__URL", url),
        ("SOURCES__REDIS__CONSUMER", "one"),
        ("SOURCES__REDIS__TIMEOUT_SECONDS", "2"),
    ];
    settings.extend(more);
    Service::start_with(&folder.join("data"), &settings, None)
}

fn tasks(range: std::ops::Range<usize>) -> impl Iterator<Item = Value> {
    let at = json!(recent_second());
    range.map(move |i| {
        let agent = format!("agent_{}", i % 50);
        named_metrics(&agent, &format!("t-{i}"), &at, &json!({ "queue_depth": i }))
    })
}

fn stored(service: &Service) -> u64 {
    let status = service.status();
    status["reports"]["stored"].as_u64().expect("a count")
}

/// Waits until `n` reports are stored and nothing is pending, and makes sure that it stays so. As long as something moves
/// it waits on: how fast a disk syncs is no matter of this.
#[track_caller]
fn all_arrive(service: &Service, client: &mut Client, n: usize) {
    let n = n as u64;
    let mut last = (0, None);
    while last.0 < n || last.1 != Some(0) {
        last = until(
            &format!("{n} are stored, none pending; at {last:?} all stands still"),
            || {
                let seen = (stored(service), client.pending());
                (seen != last).then_some(seen)
            },
        );
    }
    assert_eq!(stored(service), n);
}

fn metric(service: &Service, name: &str) -> Option<f64> {
    let page = service.metrics_page();
    let line = page.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[track_caller]
fn metric_becomes(service: &Service, name: &str, value: f64) {
    until(name, || {
        (metric(service, name) == Some(value)).then_some(())
    });
}

#[test]
fn both_forms_of_an_entry_are_taken_and_what_is_no_report_is_buried() {
    if !redis_is_here() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::start(folder.path());
    let mut client = redis.client();
    let now = recent_second();
    let second = now.seconds().to_string();
    let pretty = serde_json::to_string_pretty(&finished_task("a", "whole", &json!(now)));
    client.ask(&["XADD", STREAM, "*", "data", &pretty.expect("JSON")]);
    client.ask(&[
        "XADD",
        STREAM,
        "*",
        "agent_id",
        "b",
        "task_id",
        "7",
        "recorded_at",
        &second,
        "latency_ms",
        "45.2",
        "accuracy",
        "0.9",
        "cpu_usage",
        "0.5",
        "memory_mb",
        "512",
        "custom_metrics",
        "{\"depth\": 3}",
    ]);
    client.ask(&[
        "XADD",
        STREAM,
        "*",
        "agent_id",
        "c",
        "task_id",
        "t",
        "timestamp",
        &json!(now).to_string().replace('"', ""),
        "metrics",
        "{\"queue_depth\": 4}",
        "metadata",
        "{\"hostname\": \"h\"}",
    ]);
    for poison in ["{", "", "[]", "{\"agent_id\":\"x\"}", "\u{1}"] {
        client.ask(&["XADD", STREAM, "*", "data", poison]);
    }
    client.ask(&["XADD", STREAM, "*", "nothing", "useful"]);
    client.ask(&[
        "XADD",
        STREAM,
        "*",
        "agent_id",
        "z",
        "metrics",
        "{\"a\":1}}",
    ]);
    let service = house(folder.path(), &redis.url(), &[]);
    all_arrive(&service, &mut client, 3);
    assert_eq!(service.status()["samples"]["stored"], 4 + 5 + 1);
    assert_eq!(client.number(&["XLEN", DEAD]), 7);
    let dead = client.ask(&["XRANGE", DEAD, "-", "+"]);
    let fields = |i: usize| -> Vec<&str> {
        let fields = dead[i][1].as_array().expect("fields");
        fields.iter().map(|f| f.as_str().expect("text")).collect()
    };
    assert_eq!(fields(0)[..2], ["data", "{"]);
    assert_eq!(
        (fields(0)[2], fields(0)[4], fields(0)[5]),
        ("id", "reason", "malformed")
    );
    assert_eq!((fields(3)[5], fields(3)[7]), ("missing_field", "task_id"));
    assert!(fields(5)[1].contains("useful"));
    metric_becomes(&service, "layer5_integration_up{target=\"redis\"}", 1.0);
    metric_becomes(
        &service,
        "layer5_kpi_received_total{source=\"redis\"}",
        10.0,
    );
    assert!(metric(&service, "layer5_kpi_ingest_lag_seconds{source=\"redis\"}").is_some());
    let health = service.get("/health/integrations").json(200);
    assert_eq!(health["neighbours"][0]["name"], "redis", "{health}");
}

#[test]
fn one_poisoned_entry_in_ten_thousand_lets_the_rest_flow() {
    if !redis_is_here() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::start(folder.path());
    let mut client = redis.client();
    client.add(tasks(0..5_000));
    client.ask(&["XADD", STREAM, "*", "data", "{\"agent_id\":\"\u{fffd}"]);
    client.add(tasks(5_000..9_999));
    // Partly from the environment, as it is deployed.
    let service = house(folder.path(), &redis.url(), &[]);
    all_arrive(&service, &mut client, 9_999);
    assert_eq!(client.number(&["XLEN", DEAD]), 1);
}

#[test]
fn killing_layer5_loses_nothing_and_doubles_nothing() {
    if !redis_is_here() {
        return;
    }
    const N: usize = 100_000;
    const KILLS: usize = 8;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::start(folder.path());
    let mut client = redis.client();
    let small = [
        ("SOURCES__REDIS__BATCH_LEN", "500"),
        ("STORE__SNAPSHOT_SAMPLES", "20000"),
    ];
    let mut were_pending = 0;
    for part in 0..KILLS {
        client.add(tasks(part * N / KILLS..(part + 1) * N / KILLS));
        let service = house(folder.path(), &redis.url(), &small);
        let target = (part * N / KILLS) as u64 + 1;
        until("some of it is stored", || {
            (stored(&service) >= target).then_some(())
        });
        service.kill();
        were_pending += client.pending().unwrap_or(0);
    }
    // Kills that strike between two batches only would prove little.
    assert!(were_pending > 0, "nothing was in flight at any kill");
    let service = house(folder.path(), &redis.url(), &small);
    all_arrive(&service, &mut client, N);
    assert_eq!(client.number(&["EXISTS", DEAD]), 0);
}

#[test]
fn killing_redis_loses_nothing_that_it_had_confirmed_and_doubles_nothing() {
    if !redis_is_here() {
        return;
    }
    const N: usize = 100_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    // What redis promises to keep is what it has synced before it answers.
    let durable = [
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--save",
        "",
    ];
    let mut redis = Redis::start_with(folder.path(), &durable);
    let port = redis.port;
    let service = house(
        folder.path(),
        &redis.url(),
        &[("SOURCES__REDIS__BATCH_LEN", "500")],
    );
    for round in 0..5 {
        let mut client = redis.client();
        client.add(tasks(round * N / 5..(round + 1) * N / 5));
        redis.kill();
        until("the loss of redis is seen", || {
            service
                .said("the source is down, it is tried again")
                .map(drop)
        });
        redis = Redis::start_on(port, folder.path(), &durable);
    }
    let mut client = redis.client();
    all_arrive(&service, &mut client, N);
    metric_becomes(&service, "layer5_integration_up{target=\"redis\"}", 1.0);
}

/// Passes bytes on to whoever is behind it at the moment; changing that cuts every connection.
struct Proxy {
    at: SocketAddr,
    behind: Arc<Mutex<SocketAddr>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    stalled: Arc<AtomicBool>,
}

impl Proxy {
    fn before(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let proxy = Self {
            at: listener.local_addr().expect("bound"),
            behind: Arc::new(Mutex::new(behind)),
            open: Arc::default(),
            stalled: Arc::default(),
        };
        let (behind, open) = (Arc::clone(&proxy.behind), Arc::clone(&proxy.open));
        let stalled = Arc::clone(&proxy.stalled);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let to = *behind.lock().expect("no holder panics");
                let Ok(server) = TcpStream::connect(to) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else {
                        continue;
                    };
                    let stalled = Arc::clone(&stalled);
                    std::thread::spawn(move || pass(from, to, &stalled));
                }
                open.lock()
                    .expect("no holder panics")
                    .extend([client, server]);
            }
        });
        proxy
    }

    fn switch_to(&self, behind: SocketAddr) {
        *self.behind.lock().expect("no holder panics") = behind;
        self.cut();
    }

    fn cut(&self) {
        for stream in self.open.lock().expect("no holder panics").drain(..) {
            // Its other end may be gone already.
            let _gone = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, stalled: &AtomicBool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(n) = from.read(&mut bytes) {
        while stalled.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if n == 0 || to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    // Its other end may be gone already.
    let _gone = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_promoted_replica_is_read_on_and_what_it_gives_again_counts_once() {
    if !redis_is_here() {
        return;
    }
    const N: usize = 20_000;
    let (folder, other) = (tempfile::tempdir(), tempfile::tempdir());
    let (folder, other) = (folder.expect("a folder"), other.expect("a folder"));
    let (master, replica) = (Redis::start(folder.path()), Redis::start(other.path()));
    let mut client = master.client();
    let port = master.port.to_string();
    replica.client().ask(&["REPLICAOF", "127.0.0.1", &port]);
    let proxy = Proxy::before(master.at());
    let url = format!("redis://{}", proxy.at);
    let service = house(folder.path(), &url, &[("SOURCES__REDIS__BATCH_LEN", "200")]);
    client.add(tasks(0..N / 2));
    until("some of it is stored", || {
        (stored(&service) > 0).then_some(())
    });
    // All entries are over there; of the group, whatever has been passed on by now.
    until("the replica has every entry", || {
        let there = replica.client().number(&["XLEN", STREAM]);
        (there == N as u64 / 2).then_some(())
    });
    master.kill();
    replica.client().ask(&["REPLICAOF", "NO", "ONE"]);
    proxy.switch_to(replica.at());
    let mut client = replica.client();
    client.add(tasks(N / 2..N));
    all_arrive(&service, &mut client, N);
}

#[test]
fn of_several_addresses_the_master_is_read() {
    if !redis_is_here() {
        return;
    }
    let (folder, other) = (tempfile::tempdir(), tempfile::tempdir());
    let (folder, other) = (folder.expect("a folder"), other.expect("a folder"));
    let (master, replica) = (Redis::start(folder.path()), Redis::start(other.path()));
    let port = master.port.to_string();
    replica.client().ask(&["REPLICAOF", "127.0.0.1", &port]);
    let mut client = master.client();
    client.add(tasks(0..10));
    let url = format!("{},{}", replica.url(), master.url());
    let service = house(folder.path(), &url, &[]);
    all_arrive(&service, &mut client, 10);
}

#[test]
fn a_redis_that_stalls_or_cuts_in_the_middle_delays_nobody_else() {
    if !redis_is_here() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::start(folder.path());
    let proxy = Proxy::before(redis.at());
    let url = format!("redis://{}", proxy.at);
    let more = [("SOURCES__REDIS__TIMEOUT_SECONDS", "0.3")];
    let service = house(folder.path(), &url, &more);
    let mut client = redis.client();
    client.add(tasks(0..1000));
    all_arrive(&service, &mut client, 1000);
    proxy.stalled.store(true, Ordering::Relaxed);
    client.add(tasks(1000..2000));
    metric_becomes(&service, "layer5_integration_up{target=\"redis\"}", 0.0);
    let report = finished_task("pushed", "t", &json!(recent_second()));
    assert_eq!(service.post("/kpi", &report).json(200)["accepted"], 1);
    proxy.stalled.store(false, Ordering::Relaxed);
    for cut in 0..5 {
        client.add(tasks(2000 + cut * 200..2200 + cut * 200));
        proxy.cut();
    }
    all_arrive(&service, &mut client, 3001);
    metric_becomes(&service, "layer5_integration_up{target=\"redis\"}", 1.0);
}

#[test]
fn a_dead_consumers_entries_are_claimed_and_trimmed_ones_are_counted() {
    if !redis_is_here() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::start(folder.path());
    let mut client = redis.client();
    client.add(tasks(0..100));
    client.ask(&["XGROUP", "CREATE", STREAM, "layer5", "0"]);
    let read = |client: &mut Client, consumer: &str, n: &str| {
        let group = ["XREADGROUP", "GROUP", "layer5", consumer, "COUNT", n];
        client.ask(&[&group[..], &["STREAMS", STREAM, ">"]].concat())
    };
    // Ours before a crash, another consumer's that never came back, and new ones; the first of each of both are gone.
    let ours = read(&mut client, "one", "30");
    let theirs = read(&mut client, "two", "30");
    for entries in [ours, theirs] {
        let id = entries[0][1][0][0].as_str().expect("an id").to_owned();
        client.ask(&["XDEL", STREAM, &id]);
    }
    let more = [("SOURCES__REDIS__CLAIM_IDLE_SECONDS", "0.2")];
    let service = house(folder.path(), &redis.url(), &more);
    all_arrive(&service, &mut client, 98);
    metric_becomes(&service, "layer5_source_lost_total{target=\"redis\"}", 2.0);
}

#[test]
fn a_password_comes_from_a_file_that_is_read_for_each_connection() {
    if !redis_is_here() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::start(folder.path());
    let mut client = redis.client();
    client.add(tasks(0..100));
    // Who is connected already stays let in.
    client.ask(&["CONFIG", "SET", "requirepass", "s3cret"]);
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong\n").expect("the folder can be written");
    let named = [(
        "SOURCES__REDIS__PASSWORD_FILE",
        file.to_str().expect("UTF-8"),
    )];
    let service = house(folder.path(), &redis.url(), &named);
    metric_becomes(&service, "layer5_integration_up{target=\"redis\"}", 0.0);
    std::fs::write(&file, "s3cret\n").expect("the folder can be written");
    all_arrive(&service, &mut client, 100);
}

#[test]
fn partitions_are_read_together() {
    if !redis_is_here() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::start(folder.path());
    let mut client = redis.client();
    for (i, report) in tasks(0..300).enumerate() {
        let stream = format!("{STREAM}:{}", i % 3);
        client.ask(&["XADD", &stream, "*", "data", &report.to_string()]);
    }
    client.ask(&["XADD", &format!("{STREAM}:1"), "*", "data", "poison"]);
    let more = [("SOURCES__REDIS__PARTITIONS", "3")];
    let service = house(folder.path(), &redis.url(), &more);
    until("all are stored", || (stored(&service) == 300).then_some(()));
    until("the poison is buried", || {
        let n = client.number(&["XLEN", &format!("{STREAM}:1:dead")]);
        (n == 1).then_some(())
    });
}

/// `cargo test --release --workspace --test redis -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: entries a second from a cold start to the last acknowledgement"]
fn drain() {
    if !redis_is_here() {
        return;
    }
    const N: usize = 300_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let redis = Redis::start(folder.path());
    let mut client = redis.client();
    let at = json!(recent_second());
    let report = |i: usize| {
        let mut report = finished_task(&format!("agent_{}", i % 1000), &format!("t-{i}"), &at);
        report["network_bytes"] = json!(120_034);
        report["custom_metrics"] = json!({ "queue_depth": i % 100, "tokens": 1024 });
        report["execution_context"] = json!({
            "hostname": format!("node-{}", i % 10), "available_cores": 8, "available_memory_mb": 16_384,
            "gpu_info": null, "network_interfaces": ["eth0", "lo"],
        });
        report
    };
    let bytes = report(0).to_string().len();
    client.add((0..N).map(report));
    client.ask(&["XGROUP", "CREATE", STREAM, "layer5", "0"]);
    let began = Instant::now();
    let service = house(folder.path(), &redis.url(), &[]);
    until("everything is read and acknowledged", || {
        let group = client.ask(&["XINFO", "GROUPS", STREAM]);
        let facts = group[0].as_array().expect("a group");
        let fact = |name: &str| {
            let place = facts.iter().position(|fact| fact == name)?;
            facts[place + 1].as_u64()
        };
        (fact("entries-read") == Some(N as u64) && fact("pending") == Some(0)).then_some(())
    });
    let rate = N as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.0} entries/s of {bytes} bytes and 7 metrics, start included");
    assert_eq!(stored(&service), N as u64);
}
