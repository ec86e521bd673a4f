//! One axis of the unit cube: a parameter's values as places in `[0, 1]`, and back.
//! Called from: [`super`]. Notation and invariants: as there.

use crate::space::Value;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Axis {
    Float {
        low: f64,
        high: f64,
    },
    LogFloat {
        low: f64,
        high: f64,
    },
    FloatGrid {
        low: f64,
        high: f64,
        step: f64,
        n: u64,
    },
    IntGrid {
        low: i64,
        step: i64,
        n: u64,
    },
    LogInt {
        low: i64,
        high: i64,
    },
    Choices {
        n: u64,
        ordered: bool,
    },
    Fixed(Value),
}

/// Into `[0, 1]`; NaN becomes the middle.
pub(super) fn clamp(u: f64) -> f64 {
    if u.is_nan() { 0.5 } else { u.clamp(0.0, 1.0) }
}

fn level(k: u64, n: u64) -> f64 {
    if n > 1 {
        k as f64 / (n - 1) as f64
    } else {
        0.5
    }
}

fn nearest_level(u: f64, n: u64) -> u64 {
    ((u * (n - 1) as f64).round() as u64).min(n - 1)
}

/// The `k`th value of a grid; the last one may miss `high` by rounding, but never passes it.
fn grid(low: f64, high: f64, step: f64, k: u64) -> Value {
    Value::Float((low + step * k as f64).min(high))
}

/// `ln(a / b)`, also where the quotient overflows.
fn ln_ratio(a: f64, b: f64) -> f64 {
    let ratio = a / b;
    if ratio.is_finite() && ratio > 0.0 {
        ratio.ln()
    } else {
        a.ln() - b.ln()
    }
}

fn cell(u: f64, n: u64) -> u64 {
    ((u * n as f64) as u64).min(n - 1)
}

pub(super) fn to_unit(axis: &Axis, value: Value) -> f64 {
    let u = match (*axis, value) {
        (Axis::Fixed(_), _) => 0.5,
        (Axis::Float { low, high }, Value::Float(x)) => (x - low) / (high - low),
        (Axis::LogFloat { low, high }, Value::Float(x)) => ln_ratio(x, low) / ln_ratio(high, low),
        (Axis::FloatGrid { low, step, n, .. }, Value::Float(x)) => {
            ((x - low) / step).round() / (n - 1) as f64
        }
        (Axis::IntGrid { low, step, n }, Value::Int(x)) => {
            (x - low) as f64 / (step as f64 * (n - 1) as f64)
        }
        (Axis::LogInt { low, high }, Value::Int(x)) => {
            (x as f64 / low as f64).ln() / (high as f64 / low as f64).ln()
        }
        (Axis::Choices { n, ordered: true }, Value::Choice(k)) => level(k as u64, n),
        (Axis::Choices { n, ordered: false }, Value::Choice(k)) => (k as f64 + 0.5) / n as f64,
        // A value of another kind is refused by `Space::check` before it comes here.
        _ => 0.5,
    };
    clamp(u)
}

pub(super) fn from_unit(axis: &Axis, u: f64) -> Value {
    match *axis {
        Axis::Fixed(value) => value,
        Axis::Float { low, high } => Value::Float((low + u * (high - low)).clamp(low, high)),
        Axis::LogFloat { low, high } => {
            Value::Float((low.ln() + u * ln_ratio(high, low)).exp().clamp(low, high))
        }
        Axis::FloatGrid { low, high, step, n } => grid(low, high, step, nearest_level(u, n)),
        Axis::IntGrid { low, step, n } => Value::Int(low + step * nearest_level(u, n) as i64),
        Axis::LogInt { low, high } => {
            let x = low as f64 * (u * (high as f64 / low as f64).ln()).exp();
            Value::Int((x.round() as i64).clamp(low, high))
        }
        Axis::Choices { n, ordered: true } => Value::Choice(nearest_level(u, n) as usize),
        Axis::Choices { n, ordered: false } => Value::Choice(cell(u, n) as usize),
    }
}

pub(super) fn from_even(axis: &Axis, u: f64) -> Value {
    match *axis {
        Axis::Float { .. } | Axis::LogFloat { .. } | Axis::Fixed(_) => from_unit(axis, u),
        Axis::FloatGrid { low, high, step, n } => grid(low, high, step, cell(u, n)),
        Axis::IntGrid { low, step, n } => Value::Int(low + step * cell(u, n) as i64),
        Axis::LogInt { low, high } => {
            let (a, b) = ((low as f64 - 0.5).ln(), (high as f64 + 0.5).ln());
            Value::Int(((a + u * (b - a)).exp().round() as i64).clamp(low, high))
        }
        Axis::Choices { n, .. } => Value::Choice(cell(u, n) as usize),
    }
}

/// The value after this one, and whether that wrapped round to the first.
pub(super) fn successor(axis: &Axis, value: Value) -> (Value, bool) {
    match (*axis, value) {
        (Axis::FloatGrid { low, high, step, n }, Value::Float(x)) => {
            let k = (((x - low) / step).round() as u64 + 1) % n;
            (grid(low, high, step, k), k == 0)
        }
        (Axis::IntGrid { low, step, n }, Value::Int(x)) => {
            let k = ((x - low) / step) as u64 + 1;
            (Value::Int(low + step * (k % n) as i64), k == n)
        }
        (Axis::LogInt { low, high }, Value::Int(x)) => {
            if x < high {
                (Value::Int(x + 1), false)
            } else {
                (Value::Int(low), true)
            }
        }
        (Axis::Choices { n, .. }, Value::Choice(k)) => {
            let k = (k as u64 + 1) % n;
            (Value::Choice(k as usize), k == 0)
        }
        _ => (value, true),
    }
}
