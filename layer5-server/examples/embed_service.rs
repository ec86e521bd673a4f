//! Layer5 inside another program: start it, push a report, look at its status, stop it.
//!
//! ```sh
//! cargo run -p layer5-server --example embed_service
//! ```

use layer5_server::{app, clock, config::Config};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut config = Config::default();
    config.store.data_dir = folder.path().to_owned();
    // Any free ports: this program knows where they are.
    config.http.listen.set_port(0);
    config.metrics.listen.set_port(0);
    config.check()?;

    let service = app::start(config).await?;
    let api = format!("http://{}", service.api);
    let client = reqwest::Client::new();
    let report = json!({
        "agent_id": "agent_17",
        "task_id": "t-1",
        "timestamp": clock::now(),
        "metrics": { "latency_ms": 45.2, "queue_depth": 3 },
    });
    let answer: Value = client
        .post(format!("{api}/kpi"))
        .json(&report)
        .send()
        .await?
        .json()
        .await?;
    assert_eq!(
        answer["accepted"], 1,
        "the answer comes when the report is durable: {answer}"
    );

    let status: Value = client
        .get(format!("{api}/api/v1/status"))
        .send()
        .await?
        .json()
        .await?;
    assert_eq!(status["reports"]["stored"], 1);
    assert_eq!(status["series"], 2);
    service.stop().await?;
    Ok(())
}
