//! A verdict: how good or bad one thing is, what was seen, what to do.
//! Called from: [`super::judge`], [`super::production`], [`super::page`].

use serde::Serialize;

/// How good or bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Green,
    /// Nothing to judge, for the reason that is given.
    Unknown,
    /// Look at it today.
    Yellow,
    /// Act now.
    Red,
}

impl State {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Unknown => "unknown",
            Self::Yellow => "yellow",
            Self::Red => "red",
        }
    }

    pub(super) const fn exit_code(self) -> u8 {
        match self {
            Self::Green | Self::Unknown => 0,
            Self::Yellow => 1,
            Self::Red => 2,
        }
    }
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) check: &'static str,
    pub(super) state: State,
    pub(super) said: String,
    /// What to do; empty where nothing is to be done.
    #[serde(rename = "do")]
    pub(super) then: &'static str,
}

/// The worst of all.
pub(super) fn worst(verdicts: &[Verdict]) -> State {
    let states = verdicts.iter().map(|verdict| verdict.state);
    states.max().unwrap_or(State::Unknown)
}

/// `then` is what to do; a green verdict asks for nothing.
pub(super) fn verdict(
    check: &'static str,
    state: State,
    said: impl Into<String>,
    then: &'static str,
) -> Verdict {
    Verdict {
        check,
        state,
        said: said.into(),
        then: if state == State::Green { "" } else { then },
    }
}

/// Green below `yellow`, red from `red` on.
pub(super) fn graded(value: f64, yellow: f64, red: f64) -> State {
    if value >= red {
        State::Red
    } else if value >= yellow {
        State::Yellow
    } else {
        State::Green
    }
}
