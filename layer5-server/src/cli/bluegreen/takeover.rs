//! The hand-over: the old version lets the data folder go, the new one opens it, and senders notice a pause and no more.
//! In: the running version, how to start the next. Out: the version that serves now, and whether that is the next one.
//! Called from: [`super::local`].
//!
//! The next version binds its port and waits for the folder; then new requests are sent to it, where the kernel holds
//! them; then the old one answers what it has and stops. When the next one does not come up, the old version is started
//! again in the same way, so a hand-over that fails is a longer pause.
//! Invariants: at no moment can two processes write, as the folder is locked; requests always have somewhere to wait.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{
    instance::{Color, Instance, Launch},
    proxy::Proxy,
};
use crate::cli::Failure;

/// How long a process may take until it listens, and to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the next version may take from there until it is ready.
const READY_PATIENCE: Duration = Duration::from_secs(20);

/// How a hand-over ended.
#[derive(Debug)]
pub(super) struct HandedOver {
    /// Who serves now.
    pub(super) serving: Instance,
    /// Why it is still the old version.
    pub(super) failed: Option<String>,
}

/// Hands over from `old` to `next`; starts `back` when that fails, as it does when the next one is `killed` on the way.
pub(super) async fn hand_over(
    proxy: &Proxy,
    mut old: Instance,
    next: &Launch,
    back: &Launch,
    killed: bool,
    log: &Path,
) -> Result<HandedOver, Failure> {
    let mut new = next.start(log)?;
    if let Err(why) = new.listens(PATIENCE).await {
        // Nothing has happened to the old one yet.
        return Ok(HandedOver {
            serving: old,
            failed: Some(why),
        });
    }
    proxy.send_to(new.color)?;
    drained(proxy, old.color).await?;
    old.terminate()?;
    old.ended(PATIENCE).await;
    if killed {
        new.kill();
    }
    let Err(why) = new.ready(READY_PATIENCE).await else {
        return Ok(HandedOver {
            serving: new,
            failed: None,
        });
    };
    let serving = take_back(proxy, new, back, log).await?;
    Ok(HandedOver {
        serving,
        failed: Some(why),
    })
}

/// The version before takes over from one that does not serve; what waits at that one is sent again.
pub(super) async fn take_back(
    proxy: &Proxy,
    mut failed: Instance,
    back: &Launch,
    log: &Path,
) -> Result<Instance, Failure> {
    let mut again = back.start(log)?;
    let lost = |why: String| Failure::new(1, format!("the old version does not come back: {why}"));
    again.listens(PATIENCE).await.map_err(lost)?;
    proxy.send_to(again.color)?;
    failed.kill();
    again.ready(PATIENCE).await.map_err(lost)?;
    Ok(again)
}

/// Waits until nothing is under way at `color`.
async fn drained(proxy: &Proxy, color: Color) -> Result<(), Failure> {
    let began = Instant::now();
    while proxy.under_way(color)? > 0 && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
