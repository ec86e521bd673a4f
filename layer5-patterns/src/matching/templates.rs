//! Shapes that a person drew or cut from a series, found again: in a series, and in a stream as it comes.
//! In: named templates (reading them from a file is the caller's), values. Out: [`TemplateMatch`]es.
//! Called from: users, the service. A match is a correlation with the template of at least `fit_min`; of matches that
//! overlap by more than half the best counts, so a shape is told once.
//! Invariants: windows with a gap and constant ones match nothing; height and level of a shape do not matter, its length does.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::mass::mass;
use super::windows::Windows;
use crate::error::ConfigError;

/// Longest template, samples.
const LEN_MAX: usize = 65_536;

/// A named shape, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    name: String,
    /// Round zero, with squares that sum to 1.
    shape: Vec<f64>,
}

impl Template {
    /// A template of 4 to 65536 values, all finite, not all equal.
    ///
    /// # Errors
    /// A [`ConfigError`]: `template.len` with the length, or `template.values` with the value that is at fault.
    ///
    /// ```
    /// use layer5_patterns::matching::Template;
    /// assert!(Template::new("tooth", &[0.0, 1.0, 2.0, 3.0, 0.0]).is_ok());
    /// assert!(Template::new("flat", &[1.0; 8]).is_err());
    /// ```
    pub fn new(name: &str, values: &[f64]) -> Result<Self, ConfigError> {
        ConfigError::check(
            "template.len",
            values.len() as f64,
            4.0,
            LEN_MAX as f64,
            "4 to 65536",
        )?;
        let fault = |value| ConfigError {
            field: "template.values",
            value,
            allowed: "finite numbers that are not all equal",
        };
        if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
            return Err(fault(*bad));
        }
        let windows = Windows::new(values, values.len()).ok_or(fault(values[0]))?;
        if windows.is_constant(0) {
            return Err(fault(values[0]));
        }
        let (mean, scale) = (windows.mean[0], windows.inverse_norm[0]);
        Ok(Self {
            name: name.to_owned(),
            shape: windows.values.iter().map(|v| (v - mean) * scale).collect(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its length, samples.
    pub fn window_len(&self) -> usize {
        self.shape.len()
    }
}

/// A template found again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TemplateMatch {
    /// Its place in the list of templates.
    pub template: usize,
    /// First sample; in a stream counted from its beginning.
    pub start: u64,
    /// Length, samples.
    pub len: usize,
    /// Correlation with the template, `fit_min` to 1.
    pub fit: f64,
    /// Mean of the samples that it covers.
    pub mean: f64,
    /// Distance between the least and the greatest of them.
    pub range: f64,
}

/// Finds every template in a series, earliest first.
///
/// `series`: shape `[n]`, gaps as `NaN`. `fit_min`: least correlation, 0..1; .9 is what a person calls the same shape. A
/// template longer than the series is not found.
/// # Cost
/// One [`mass`] search per template.
///
/// ```
/// use layer5_patterns::matching::{Template, find_templates};
/// let tooth = Template::new("tooth", &[0.0, 1.0, 2.0, 3.0, 0.0])?;
/// let series = [5.0, 5.1, 5.0, 7.0, 9.0, 11.0, 5.0, 5.1, 5.0];
/// let found = find_templates(&series, &[tooth], 0.95);
/// assert_eq!((found.len(), found[0].start), (1, 2));
/// # Ok::<(), layer5_patterns::ConfigError>(())
/// ```
pub fn find_templates(series: &[f64], templates: &[Template], fit_min: f64) -> Vec<TemplateMatch> {
    let mut found = Vec::new();
    for (template, own) in templates.iter().enumerate() {
        let m = own.window_len();
        let Some(windows) = Windows::new(series, m) else {
            continue;
        };
        let mut candidates: Vec<(usize, f64)> = mass(&own.shape, series)
            .into_iter()
            .map(|d| 1.0 - d * d / (2.0 * m as f64))
            .enumerate()
            .filter(|&(i, fit)| fit >= fit_min && !windows.is_constant(i))
            .collect();
        candidates.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut taken = vec![false; windows.count()];
        for (start, fit) in candidates {
            if taken[start] {
                continue;
            }
            let half = m / 2;
            let end = (start + half + 1).min(taken.len());
            taken[start.saturating_sub(half)..end].fill(true);
            let covered = &series[start..start + m];
            found.push(TemplateMatch {
                template,
                start: start as u64,
                len: m,
                fit,
                mean: mean(covered.iter().copied()),
                range: range(covered.iter().copied()),
            });
        }
    }
    found.sort_by_key(|f| (f.start, f.template));
    found
}

/// Tells when a template comes again in a stream. Many streams may share one list of templates.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateWatch {
    templates: Arc<[Template]>,
    fit_min: f64,
    state: TemplateState,
}

/// What a [`TemplateWatch`] remembers of its stream: plain data, to be stored and resumed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TemplateState {
    /// The newest samples, gaps as `NaN`; as many as the longest template has.
    recent: VecDeque<f64>,
    taken: u64,
    /// For each template the best match of the shape that is passing now.
    passing: Vec<Option<TemplateMatch>>,
}

impl TemplateWatch {
    /// Watches for `templates`, at most 1000, with a correlation of at least `fit_min` (0.5 to 1).
    ///
    /// # Errors
    /// A [`ConfigError`] that names the field.
    pub fn new(templates: impl Into<Arc<[Template]>>, fit_min: f64) -> Result<Self, ConfigError> {
        let templates = templates.into();
        ConfigError::check(
            "templates",
            templates.len() as f64,
            0.0,
            1000.0,
            "at most 1000",
        )?;
        ConfigError::check("fit_min", fit_min, 0.5, 1.0, "0.5 to 1")?;
        let state = TemplateState {
            passing: vec![None; templates.len()],
            ..TemplateState::default()
        };
        Ok(Self {
            templates,
            fit_min,
            state,
        })
    }

    /// What it remembers of its stream.
    pub fn state(&self) -> &TemplateState {
        &self.state
    }

    /// Goes on where the watch of the same templates stood that `state` is of. A state of other templates is not taken:
    /// then it begins anew.
    pub fn resume(&mut self, state: TemplateState) {
        let (n, longest) = (self.templates.len(), self.longest());
        if state.passing.len() == n && state.recent.len() <= longest {
            self.state = state;
        }
    }

    /// Samples taken so far, gaps included: what [`TemplateMatch::start`] counts.
    pub fn taken(&self) -> u64 {
        self.state.taken
    }

    fn longest(&self) -> usize {
        let lengths = self.templates.iter().map(Template::window_len);
        lengths.max().unwrap_or(0)
    }

    /// The templates, in the order of [`TemplateMatch::template`].
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// Takes a sample; `told` is called for every shape that has passed. Not finite: a gap, which no shape spans.
    ///
    /// A match is told once the fit no longer improves within half a window, so at most that much later.
    /// # Cost
    /// O(window_len) per template; allocates until as many samples have come as the longest template has.
    ///
    /// ```
    /// use layer5_patterns::matching::{Template, TemplateWatch};
    /// let tooth = Template::new("tooth", &[0.0, 1.0, 2.0, 3.0, 0.0, 0.0])?;
    /// let mut watch = TemplateWatch::new(vec![tooth], 0.95)?;
    /// let mut starts = Vec::new();
    /// for t in 0..100 {
    ///     let value = if t % 40 > 30 && t % 40 < 35 { f64::from(t % 40) - 31.0 } else { 0.0 };
    ///     watch.push(value, |found| starts.push(found.start));
    /// }
    /// assert_eq!(starts, [31, 71]);
    /// # Ok::<(), layer5_patterns::ConfigError>(())
    /// ```
    pub fn push(&mut self, value: f64, mut told: impl FnMut(TemplateMatch)) {
        let longest = self.longest();
        let state = &mut self.state;
        state.recent.push_back(value);
        state.taken += 1;
        while state.recent.len() > longest {
            state.recent.pop_front();
        }
        for (template, own) in self.templates.iter().enumerate() {
            let m = own.window_len();
            let passing = &mut state.passing[template];
            let fit = fit(&state.recent, own);
            if let Some(fit) = fit.filter(|f| *f >= self.fit_min)
                && passing.is_none_or(|p| fit > p.fit)
            {
                let covered = || state.recent.iter().skip(state.recent.len() - m).copied();
                *passing = Some(TemplateMatch {
                    template,
                    start: state.taken - m as u64,
                    len: m,
                    fit,
                    mean: mean(covered()),
                    range: range(covered()),
                });
            }
            let passed = passing.filter(|p| state.taken - p.start >= (m + m / 2) as u64);
            if let Some(found) = passed {
                told(found);
                *passing = None;
            }
        }
    }
}

/// Mean of finite values, which may be as large as they like.
fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.map(|v| v / n).sum()
}

fn range(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let greatest = values.fold(f64::NEG_INFINITY, f64::max);
    (greatest - least).clamp(0.0, f64::MAX)
}

/// Correlation of the newest window with a template; `None` when it is too short, has a gap or is constant.
fn fit(recent: &VecDeque<f64>, template: &Template) -> Option<f64> {
    let m = template.window_len();
    let skipped = recent.len().checked_sub(m)?;
    let window = || recent.iter().skip(skipped);
    let largest = window().fold(0.0_f64, |l, v| l.max(v.abs()));
    if !(largest > 0.0) || !window().all(|v| v.is_finite()) {
        return None;
    }
    let mean = window().map(|v| v / largest).sum::<f64>() / m as f64;
    let (mut product, mut energy) = (0.0, 0.0);
    for (v, shape) in window().zip(&template.shape) {
        let d = v / largest - mean;
        product += d * shape;
        energy += d * d;
    }
    // The share of the window's magnitude below which deviations are rounding, as in the batch search.
    (energy > 1e-14 * m as f64).then(|| product / energy.sqrt())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_planted_shape_is_told_once_by_both(
            shape in prop::collection::vec(-2.0..2.0_f64, 6..20),
            noise in prop::collection::vec(-0.5..0.5_f64, 100),
            place in 20usize..60,
            height in 3.0..50.0_f64,
        ) {
            let Ok(template) = Template::new("drawn", &shape) else { return Ok(()) };
            let mut series = noise;
            for (v, s) in series[place..].iter_mut().zip(&template.shape) {
                *v = 7.0 + height * s;
            }
            let batch = find_templates(&series, std::slice::from_ref(&template), 0.999);
            prop_assert!(batch.iter().any(|f| f.start == place as u64), "{batch:?}");
            let mut watch = TemplateWatch::new(vec![template], 0.999).expect("in range");
            let mut stream = Vec::new();
            for v in series.iter().chain(&[f64::NAN; 40]) {
                watch.push(*v, |f| stream.push(f.start));
            }
            prop_assert!(stream.contains(&(place as u64)), "{stream:?}");
            // One that is stored and resumed in the middle of the shape tells the same.
            let template = watch.templates()[0].clone();
            let new = || TemplateWatch::new(vec![template.clone()], 0.999).expect("in range");
            let (mut first, mut then, mut resumed) = (new(), new(), Vec::new());
            let (before, after) = series.split_at(place + 3);
            before.iter().for_each(|v| first.push(*v, |f| resumed.push(f.start)));
            then.resume(first.state().clone());
            after.iter().chain(&[f64::NAN; 40]).for_each(|v| then.push(*v, |f| resumed.push(f.start)));
            prop_assert_eq!(resumed, stream);
        }
    }

    #[test]
    fn bad_input_is_refused_or_matches_nothing() {
        for bad in [&[][..], &[1.0; 3], &[1.0, f64::NAN, 2.0, 3.0], &[4.0; 9]] {
            assert!(Template::new("bad", bad).is_err());
        }
        let ramp = Template::new("ramp", &[1.0, 2.0, 3.0, 4.0]).expect("four values");
        assert!(TemplateWatch::new(vec![ramp.clone()], f64::NAN).is_err());
        for series in [&[][..], &[1.0, 2.0], &[f64::NAN; 50], &[3.0; 50]] {
            assert!(find_templates(series, std::slice::from_ref(&ramp), 0.9).is_empty());
        }
        let mut watch = TemplateWatch::new(vec![ramp], 0.9).expect("in range");
        for v in [f64::MAX, f64::MIN, 1e-308, f64::INFINITY, f64::NAN, 0.0].repeat(50) {
            watch.push(v, |f| assert!(f.fit <= 1.0 + 1e-9));
        }
    }
}
