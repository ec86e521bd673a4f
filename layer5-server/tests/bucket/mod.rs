//! Backups in a bucket: moto's S3, which checks signatures, in the place of Amazon's or MinIO's.
//! Without `moto_server` (5.2.5, in MOTO_SERVER or on the PATH) these tests say so and pass, unless `LAYER5_REQUIRE_TOOLS=1`.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::service::{self, call, complaint, layer5, text, until};
use super::{Kit, answers, fs, open, store_with};

/// A store for objects with one user and one bucket.
struct Bucket {
    process: Child,
    at: SocketAddr,
    id: String,
    secret: String,
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _code = self.process.wait();
    }
}

impl Bucket {
    fn start() -> Option<Self> {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = free.local_addr().unwrap();
        drop(free);
        let port = at.port().to_string();
        let program = std::env::var_os("MOTO_SERVER").unwrap_or_else(|| "moto_server".into());
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port])
            // The four calls below; whatever comes after them has to be signed.
            .env("INITIAL_NO_AUTH_ACTION_COUNT", "4")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = process else {
            let required = std::env::var("LAYER5_REQUIRE_TOOLS").as_deref() == Ok("1");
            assert!(!required, "moto_server is required and does not start");
            eprintln!("skipped: moto_server is not installed");
            return None;
        };
        let mut bucket = Self {
            process,
            at,
            id: String::new(),
            secret: String::new(),
        };
        until("the store answers", || {
            std::net::TcpStream::connect(at).ok()
        });
        let everything = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
        bucket.iam("Action=CreateUser&UserName=layer5");
        let key = bucket.iam("Action=CreateAccessKey&UserName=layer5");
        bucket.iam(&format!(
            "Action=PutUserPolicy&UserName=layer5&PolicyName=all&PolicyDocument={everything}"
        ));
        let element = |name: &str| {
            let (_, rest) = key.split_once(&format!("<{name}>")).expect("an access key");
            rest.split('<').next().unwrap().to_owned()
        };
        (bucket.id, bucket.secret) = (element("AccessKeyId"), element("SecretAccessKey"));
        let made = call(at, "PUT", "/backups", &[], b"").unwrap();
        assert_eq!(made.status, 200);
        Some(bucket)
    }

    /// A call to Amazon's user administration, which the same port answers.
    fn iam(&self, form: &str) -> String {
        let credential = "Credential=none/20261128/us-east-1/iam/aws4_request";
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            (
                "Authorization",
                &*format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0"),
            ),
        ];
        let body = format!("{form}&Version=2010-05-08");
        let answer = call(self.at, "POST", "/", &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{form}");
        String::from_utf8(answer.body).unwrap()
    }

    /// `layer5 backup` with the store's address and `secret` in the environment.
    fn backup(&self, secret: &str, arguments: &[&str]) -> std::process::Output {
        layer5()
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.at))
            .env("AWS_ACCESS_KEY_ID", &self.id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .arg("backup")
            .args(arguments)
            .args(["--output", "json"])
            .output()
            .unwrap()
    }

    fn good(&self, arguments: &[&str]) -> Value {
        let output = self.backup(&self.secret, arguments);
        assert!(output.status.success(), "{}", complaint(&output));
        serde_json::from_str(&text(&output)).expect("JSON")
    }
}

const REPOSITORY: [&str; 2] = ["--repository", "s3://backups/fleet/layer5"];

#[test]
fn a_bucket_brings_back_what_was_there() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let kit = Kit::new();
    let (data, back) = (kit.path("data"), kit.path("back"));
    let expected = answers(&store_with(&data, 200));
    fs::write(kit.path("key"), "a".repeat(64)).unwrap();
    let key = kit.path("key").display().to_string();
    let place = [&REPOSITORY[..], &["--key-file", &key]].concat();
    let (from, to) = (data.display().to_string(), back.display().to_string());
    let create = [&["create", "--data-dir", &from][..], &place].concat();
    let first = bucket.good(&create);
    assert!(first["new_bytes"].as_u64() > Some(1000), "{first}");
    // What is there is not sent again.
    let second = bucket.good(&create);
    assert_eq!(second["new_bytes"], 0);
    assert_eq!(second["content"], first["content"]);
    let listed = bucket.good(&[&["list"][..], &place].concat());
    assert_eq!(listed["backups"].as_array().map(Vec::len), Some(2));
    let verified = bucket.good(&[&["verify"][..], &place].concat());
    assert!(verified["objects"].as_u64() > Some(3), "{verified}");
    let restored = bucket.good(&[&["restore", "latest", "--data-dir", &to][..], &place].concat());
    assert_eq!(restored["content"], first["content"]);
    assert_eq!(answers(&open(&back)), expected);
    let keep_one = [
        "prune",
        "--keep-last",
        "1",
        "--keep-daily",
        "0",
        "--keep-weekly",
        "0",
    ];
    let pruned = bucket.good(&[&keep_one[..], &place].concat());
    assert_eq!(pruned["removed"], json!([first["id"]]));
    let left = bucket.good(&[&["list"][..], &place].concat());
    assert_eq!(left["backups"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_service_backs_up_into_a_bucket() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let kit = Kit::new();
    let file = kit.path("credentials");
    let (id, secret) = (&bucket.id, &bucket.secret);
    let credentials =
        format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    fs::write(&file, credentials).unwrap();
    let (endpoint, file) = (format!("http://{}", bucket.at), file.display().to_string());
    let settings = [
        ("BACKUP__REPOSITORY", "s3://backups"),
        ("BACKUP__S3_ENDPOINT", &endpoint),
        ("BACKUP__S3_CREDENTIALS_FILE", &file),
    ];
    let service = service::Service::start_with(&kit.path("data"), &settings, None);
    until("a backup is made without being asked", || {
        service.said("backup made").map(drop)
    });
    let newest = &service.get("/api/v1/backups").json(200)["newest"];
    let listed = bucket.good(&["list", "--repository", "s3://backups"]);
    assert_eq!(listed["backups"][0]["id"], newest["id"]);
}

#[test]
fn a_bucket_that_refuses_or_is_away_is_named_with_the_way_out() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let kit = Kit::new();
    let data = kit.path("data");
    store_with(&data, 4);
    let data = data.display().to_string();
    let create = |repository| ["create", "--data-dir", &data, "--repository", repository];
    let check = |output: std::process::Output, code: i32, words: &str| {
        let said = complaint(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "not said: {words}\n{said}");
        assert!(!said.contains(&bucket.secret), "{said}");
    };
    let secret = &bucket.secret;
    check(
        bucket.backup("wrong", &create("s3://backups")),
        74,
        "403 Forbidden",
    );
    check(
        bucket.backup(secret, &create("s3://nobodys")),
        74,
        "NoSuchBucket",
    );
    check(
        bucket.backup(secret, &create("s3://")),
        78,
        "expected s3://bucket/prefix",
    );
    check(
        bucket.backup(secret, &["list", "--repository", "s3://backups"]),
        66,
        "no backup repository",
    );
    let with = |variables: &[(&str, &str)]| {
        let mut command = layer5();
        for variable in [
            "AWS_ENDPOINT_URL",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            command.env_remove(variable);
        }
        command.envs(variables.iter().copied()).arg("backup");
        command.args(create("s3://backups")).output().unwrap()
    };
    check(with(&[]), 78, "set backup.s3_endpoint");
    let tls = ("AWS_ENDPOINT_URL", "https://s3.example.org");
    check(with(&[tls]), 78, "no TLS");
    let nowhere = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    check(with(&[nowhere]), 78, "backup.s3_credentials_file");
    let key = [
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    check(
        with(&[nowhere, key[0], key[1]]),
        74,
        "s3://backups/repository.json",
    );
}
