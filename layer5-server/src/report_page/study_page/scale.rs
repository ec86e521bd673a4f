//! A parameter as an axis of a picture.
//! In: a [`Parameter`]. Out: a range, its marks, and the place of a value. Called from: [`super::parameters`].

use layer5_optimize::{Domain, Parameter, Value};

use crate::report_page::{axis, number};

/// Choices that have room on an axis.
const CHOICES_NAMED_MAX: usize = 12;

/// A parameter as an axis.
pub(super) struct Scale {
    pub(super) range: (f64, f64),
    pub(super) ticks: Vec<axis::Tick>,
    log: bool,
    pub(super) words: &'static str,
}

impl Scale {
    pub(super) fn of(parameter: &Parameter) -> Self {
        match &parameter.domain {
            Domain::Float { low, high, log, .. } => Self::numbers(*low, *high, *log),
            Domain::Int { low, high, log, .. } => Self::numbers(*low as f64, *high as f64, *log),
            Domain::Categorical { choices } | Domain::Ordinal { choices } => {
                let named = choices.iter().enumerate().take(CHOICES_NAMED_MAX);
                Self {
                    range: (-0.5, choices.len() as f64 - 0.5),
                    ticks: named.map(|(i, name)| (i as f64, name.clone())).collect(),
                    log: false,
                    words: "by choice",
                }
            }
            _ => Self::numbers(0.0, 1.0, false),
        }
    }

    fn numbers(low: f64, high: f64, log: bool) -> Self {
        if !log {
            return Self {
                range: (low, high),
                ticks: axis::number_ticks(low, high, 6),
                log,
                words: "linear axis",
            };
        }
        let (low, high) = (low.log10(), high.log10());
        let ticks = axis::number_ticks(low, high, 6);
        let ticks = ticks
            .into_iter()
            .map(|(x, _)| (x, number(10_f64.powf(x))))
            .collect();
        Self {
            range: (low, high),
            ticks,
            log,
            words: "logarithmic axis",
        }
    }

    pub(super) fn place(&self, value: Value) -> f64 {
        let x = match value {
            Value::Float(x) => x,
            Value::Int(x) => x as f64,
            Value::Choice(x) => x as f64,
            // A kind that this page does not know has no place on it.
            _ => f64::NAN,
        };
        if self.log { x.log10() } else { x }
    }
}
