//! The service itself: does it answer, does it take reports, is its page of metrics there, is it our version, its clock.
//! Called from: [`super::judge`].

use serde_json::Value;

use super::super::{
    look::{Answer, Seen},
    verdict::{State, Verdict, graded, verdict},
};

pub(super) fn liveness(answer: &Answer) -> Verdict {
    let (state, said) = match answer.is_success() {
        true => (State::Green, "answers".to_owned()),
        false => (State::Red, answer.words()),
    };
    verdict("liveness", state, said, "runbook: Layer5Down")
}

pub(super) fn readiness(answer: &Answer) -> Verdict {
    let (state, said) = match answer.is_success() {
        true => (State::Green, "takes reports".to_owned()),
        false => (State::Red, answer.words()),
    };
    let then = "the reason names the cause; a full disk: Layer5ResourceExhaustion";
    verdict("readiness", state, said, then)
}

pub(super) fn metrics_page(seen: &Seen) -> Verdict {
    let answer = &seen.metrics_answer;
    let then = "is --metrics-url right? Prometheus sees what you see";
    match answer.is_success() && seen.after.sum("layer5_uptime_seconds").is_some() {
        true => verdict("metrics", State::Green, "scraped", then),
        false => verdict("metrics", State::Red, answer.words(), then),
    }
}

pub(super) fn clock(seen: &Seen) -> Verdict {
    let then = "compare `date -u` here and there; mend time synchronisation";
    match seen.live.skew {
        None => verdict("clock", State::Unknown, "the service told no time", then),
        Some(skew) => {
            let said = format!("differs by {skew:+.1} s");
            // The header's resolution is a second.
            verdict("clock", graded(skew.abs(), 2.0, 30.0), said, then)
        }
    }
}

pub(super) fn version(status: &Answer) -> Verdict {
    let here = env!("CARGO_PKG_VERSION");
    let then = "use the command of the version that runs";
    let found = status.json();
    match found.get("version").and_then(Value::as_str) {
        None => verdict(
            "version",
            State::Unknown,
            status.words(),
            "give --token-file",
        ),
        Some(there) => {
            let state = if there == here {
                State::Green
            } else {
                State::Yellow
            };
            let color = found["color"].as_str().unwrap_or_default();
            let said = format!("service {there} {color}, this command {here}");
            verdict("version", state, said, then)
        }
    }
}
