//! Watching a version: its figures over a span, judged again and again against those of the version before.
//! In: an instance, a span, a baseline. Out: figures, or the reasons to go back as soon as there are some.

use std::time::{Duration, Instant};

use super::{judge::Figures, service::Service};

/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Longest time without an answer.
const SILENCE: Duration = Duration::from_secs(5);
/// Before this much of the span has passed its figures say little.
const TOO_EARLY: Duration = Duration::from_secs(1);

/// The figures of `service` over `span`.
pub(super) async fn figures(service: &Service, span: Duration) -> Result<Figures, String> {
    let before = service.counts().await?;
    tokio::time::sleep(span).await;
    Ok(Figures::between(&before, &service.counts().await?))
}

/// Watches `service` for `span`.
///
/// # Errors
/// The reasons to go back.
pub(super) async fn watch(
    service: &Service,
    baseline: &Figures,
    span: Duration,
) -> Result<Figures, String> {
    let began = Instant::now();
    let before = service.counts().await?;
    let mut answered = Instant::now();
    let mut now = Figures::default();
    while began.elapsed() < span {
        tokio::time::sleep(LOOK_PAUSE.min(span)).await;
        let seen = async {
            service.get("/ready").await?;
            service.counts().await
        };
        match seen.await {
            Ok(counts) => {
                answered = Instant::now();
                now = Figures::between(&before, &counts);
                let reasons = now.worse_than(baseline);
                if began.elapsed() >= TOO_EARLY.min(span) && !reasons.is_empty() {
                    return Err(reasons.join("; "));
                }
            }
            Err(error) if answered.elapsed() > SILENCE.min(span) => return Err(error),
            Err(_) => {}
        }
    }
    // The last look may have been one that nobody answered.
    match now.worse_than(baseline) {
        reasons if reasons.is_empty() => Ok(now),
        reasons => Err(reasons.join("; ")),
    }
}
