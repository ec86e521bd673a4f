//! What people asked of the watch: how sensitive it is for a metric, which limits matter, which shapes to tell of.
//! In: settings as the log has them, samples. Out: findings of the kinds `forecast_breach` and `template`.
//! Called from: [`super::shard`]. Next to it: [`layer5_patterns::limit`] and [`layer5_patterns::matching`].
//! Invariants: settings change at a position of the log and nowhere else, so a replay finds the same; a series without
//! limits and templates costs nothing; what a series keeps is bounded by the longest template of its metric.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use layer5_core::{
    AgentId, Direction, Finding, MetricId, PatternKind, Sample, SeriesId, Timestamp, event::Detail,
};
use layer5_patterns::{
    Watch, WatchConfig,
    limit::{Approach, Limit, Side},
    matching::{Template, TemplateMatch, TemplateState, TemplateWatch},
};
use serde::{Deserialize, Serialize};

use super::scale::Scale;
use crate::{
    config::glob,
    intake::SharedNames,
    store::{TemplateSettings, WatchSettings},
};

/// Settings with numbers for names, shared by all shards.
#[derive(Debug, Default)]
pub struct Asked {
    metrics: HashMap<MetricId, OfMetric>,
    /// For the names of agents; `None` where nothing was asked.
    names: Option<SharedNames>,
}

/// What was asked for one metric.
#[derive(Debug)]
struct OfMetric {
    /// How many times the usual number of false alarms is accepted.
    sensitivity: f64,
    /// In the metric's unit.
    limits: Vec<Limit>,
    /// By whose series they are for.
    templates: BTreeMap<String, TemplateSet>,
}

/// A template as it is looked for, with its place among all.
#[derive(Debug)]
struct Looked {
    index: u32,
    settings: TemplateSettings,
}

/// Templates that are looked for in the same series, shared by all of these.
#[derive(Clone, Debug)]
pub struct TemplateSet {
    looked: Arc<[Looked]>,
    shapes: Arc<[Template]>,
}

impl TemplateSet {
    /// A set of templates with their places among all; `None` for none. What is no shape, which the check of a configuration
    /// refuses, is left out.
    #[must_use]
    pub fn new<'a>(
        templates: impl IntoIterator<Item = (usize, &'a TemplateSettings)>,
    ) -> Option<Self> {
        let (mut looked, mut shapes) = (Vec::new(), Vec::new());
        for (index, settings) in templates {
            if let Ok(shape) = Template::new(&settings.name, &settings.values) {
                shapes.push(shape);
                looked.push(Looked {
                    index: index as u32,
                    settings: settings.clone(),
                });
            }
        }
        (!looked.is_empty()).then(|| Self {
            looked: looked.into(),
            shapes: shapes.into(),
        })
    }

    /// Whether both look for the same shapes in the same way, wherever they stand among all.
    fn is_as(&self, other: &Self) -> bool {
        let settings = |set: &Self| -> Vec<TemplateSettings> {
            set.looked
                .iter()
                .map(|looked| looked.settings.clone())
                .collect()
        };
        settings(self) == settings(other)
    }
}

impl Asked {
    /// `settings` with numbers for names; a metric that has no number yet has no series either.
    ///
    /// # Panics
    /// Never: no writer panics with the lock of the names.
    #[must_use]
    pub fn new(settings: &WatchSettings, names: &SharedNames) -> Self {
        let mut metrics: HashMap<MetricId, OfMetric> = HashMap::new();
        let known = names.read().expect("no writer panics with the lock");
        let number = |name: &str| known.lookup_metric(&name.into());
        let usual = || OfMetric {
            sensitivity: 1.0,
            limits: Vec::new(),
            templates: BTreeMap::new(),
        };
        for (name, asked) in &settings.metrics {
            let Some(metric) = number(name) else { continue };
            let of_metric = metrics.entry(metric).or_insert_with(usual);
            of_metric.sensitivity = asked.sensitivity;
            let sides = [(asked.upper, Side::Above), (asked.lower, Side::Below)];
            let limit = |(value, side): (Option<f64>, Side)| {
                Some(Limit {
                    value: value?,
                    side,
                    horizon_seconds: asked.ahead_seconds,
                })
            };
            of_metric.limits = sides.into_iter().filter_map(limit).collect();
        }
        let mut sets: BTreeMap<(MetricId, &str), Vec<(usize, &TemplateSettings)>> = BTreeMap::new();
        for (index, template) in settings.templates.iter().enumerate() {
            if let Some(metric) = number(&template.metric) {
                let set = sets.entry((metric, &template.agents)).or_default();
                set.push((index, template));
            }
        }
        for ((metric, agents), set) in sets {
            let of_metric = metrics.entry(metric).or_insert_with(usual);
            let set = TemplateSet::new(set).map(|set| (agents.to_owned(), set));
            of_metric.templates.extend(set);
        }
        drop(known);
        Self {
            metrics,
            names: Some(Arc::clone(names)),
        }
    }

    /// How the series of `metric` are watched.
    #[must_use]
    pub fn watch(&self, metric: MetricId, usual: WatchConfig) -> WatchConfig {
        let Some(of_metric) = self.metrics.get(&metric) else {
            return usual;
        };
        let accepted = |p: f64| (p * of_metric.sensitivity).clamp(1e-30, 0.1);
        WatchConfig {
            anomaly_p: accepted(usual.anomaly_p),
            change_p: accepted(usual.change_p),
            flatline_p: accepted(usual.flatline_p),
            alarms_per_day: (usual.alarms_per_day * of_metric.sensitivity).clamp(1e-6, 24.0),
            ..usual
        }
    }

    /// What is to be told of one series; `None` for nothing.
    ///
    /// # Panics
    /// Never: no writer panics with the lock of the names.
    #[must_use]
    pub fn of_series(&self, agent: AgentId, metric: MetricId) -> Option<AskedOfSeries> {
        let of_metric = self.metrics.get(&metric)?;
        let approaches = of_metric.limits.iter();
        let approaches: Vec<_> = approaches
            .map(|&limit| (limit, Approach::default()))
            .collect();
        let mut searches = Vec::new();
        if let Some(names) = self
            .names
            .as_ref()
            .filter(|_| !of_metric.templates.is_empty())
        {
            let names = names.read().expect("no writer panics with the lock");
            let agent = names.agent_name(agent).as_bytes();
            let sets = of_metric.templates.iter();
            let ours = sets.filter(|(agents, _)| glob(agents.as_bytes(), agent));
            searches.extend(ours.map(|(_, set)| Search::new(set)));
        }
        let nothing = approaches.is_empty() && searches.is_empty();
        (!nothing).then_some(AskedOfSeries {
            approaches,
            searches,
        })
    }
}

/// What is to be told of one series, and how far it has come.
#[derive(Debug)]
pub struct AskedOfSeries {
    /// Each limit in the metric's unit, and whether its approach was told.
    approaches: Vec<(Limit, Approach)>,
    searches: Vec<Search>,
}

/// The same in a snapshot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedAsked {
    agent: AgentId,
    series: SeriesId,
    approaches: Vec<(Limit, Approach)>,
    searches: Vec<(TemplateState, VecDeque<Timestamp>)>,
}

impl SavedAsked {
    /// Whose series it is.
    #[must_use]
    pub fn agent(&self) -> AgentId {
        self.agent
    }

    /// Which series it is.
    #[must_use]
    pub fn series(&self) -> SeriesId {
        self.series
    }
}

impl AskedOfSeries {
    /// Takes a sample that the watch has just taken. `factor` is what Layer5's own changes make of the metric, `is_gap` says
    /// that samples are missing before this one. `told` is given what is found, in the metric's unit.
    pub fn step(
        &mut self,
        sample: Sample,
        watch: &Watch,
        (scale, factor): (Scale, f64),
        is_gap: bool,
        mut told: impl FnMut(Finding, Option<&str>),
    ) {
        for (limit, approach) in &mut self.approaches {
            // The watch sees the series without our doing; there the limit lies elsewhere.
            let watched = Limit {
                value: scale.watched(limit.value / factor),
                ..*limit
            };
            if let Some(finding) = approach.step(watch, &watched) {
                let finding = scale.finding(finding);
                let detail = match finding.detail {
                    Detail::Breach { seconds, .. } => Detail::Breach {
                        limit: limit.value,
                        seconds,
                    },
                    other => other,
                };
                let (baseline, magnitude) = (finding.baseline * factor, finding.magnitude * factor);
                let finding = Finding {
                    detail,
                    baseline,
                    magnitude,
                    ..finding
                };
                told(finding, None);
            }
        }
        for search in &mut self.searches {
            search.step(sample.at, sample.value, is_gap, &mut told);
        }
    }

    /// What was asked before too goes on where it was: it is not told again, nor forgotten.
    pub fn take_over(&mut self, before: Self) {
        self.go_on(&before.approaches);
        for search in before.searches {
            let same = self
                .searches
                .iter_mut()
                .find(|own| own.set.is_as(&search.set));
            if let Some(own) = same {
                (own.watch, own.times) = (search.watch, search.times);
            }
        }
    }

    /// Goes on where the snapshot was taken, with the settings of then.
    pub fn resume(&mut self, saved: &SavedAsked) {
        self.go_on(&saved.approaches);
        for (own, (state, times)) in self.searches.iter_mut().zip(&saved.searches) {
            own.watch.resume(state.clone());
            own.times.clone_from(times);
        }
    }

    fn go_on(&mut self, before: &[(Limit, Approach)]) {
        for (limit, approach) in &mut self.approaches {
            if let Some((_, told)) = before.iter().find(|(other, _)| other == limit) {
                *approach = *told;
            }
        }
    }

    /// As it goes into a snapshot.
    #[must_use]
    pub fn save(&self, agent: AgentId, series: SeriesId) -> SavedAsked {
        let searches = self.searches.iter();
        SavedAsked {
            agent,
            series,
            approaches: self.approaches.clone(),
            searches: searches
                .map(|search| (search.watch.state().clone(), search.times.clone()))
                .collect(),
        }
    }
}

/// The search for templates in one series.
#[derive(Debug)]
pub struct Search {
    set: TemplateSet,
    watch: TemplateWatch,
    /// Times of the newest samples, gaps included: those that a match may still begin at.
    times: VecDeque<Timestamp>,
    times_max: usize,
}

impl Search {
    /// A search for these.
    ///
    /// # Panics
    /// Never: thresholds and number of templates were checked with the configuration.
    #[must_use]
    pub fn new(set: &TemplateSet) -> Self {
        let least = set.looked.iter().map(|looked| looked.settings.fit_min);
        let fit_min = least.fold(1.0, f64::min);
        let longest = set.shapes.iter().map(Template::window_len).max();
        let longest = longest.unwrap_or(0);
        Self {
            set: set.clone(),
            watch: TemplateWatch::new(Arc::clone(&set.shapes), fit_min.max(0.5))
                .expect("a checked threshold and at most a thousand templates"),
            times: VecDeque::new(),
            // A match is told half a length after its end.
            times_max: longest + longest / 2 + 1,
        }
    }

    /// Takes a sample; `is_gap` says that samples are missing before it. `told` is given what has passed.
    pub fn step(
        &mut self,
        at: Timestamp,
        value: f64,
        is_gap: bool,
        mut told: impl FnMut(Finding, Option<&str>),
    ) {
        let values = [f64::NAN, value];
        for &value in &values[usize::from(!is_gap)..] {
            self.times.push_back(at);
            if self.times.len() > self.times_max {
                self.times.pop_front();
            }
            let (looked, times) = (&self.set.looked, &self.times);
            let mut matched = Vec::new();
            self.watch.push(value, |found| matched.push(found));
            for found in matched {
                let Looked {
                    index, settings, ..
                } = &looked[found.template];
                // One threshold for all in the watch, the template's own here.
                if found.fit >= settings.fit_min && found.range >= settings.height_min {
                    let finding = finding(found, *index, self.watch.taken(), times);
                    told(finding, Some(&settings.name));
                }
            }
        }
    }

    /// No more samples come: what was about to be told is.
    pub fn end(&mut self, at: Timestamp, mut told: impl FnMut(Finding, Option<&str>)) {
        for _ in 0..self.times_max {
            self.step(at, f64::NAN, false, &mut told);
        }
    }
}

/// A match as a finding. Its confidence bounds the chance that values which have nothing to do with the template fit so
/// well: Fisher's transform of the correlation has about a standard deviation of `1 / sqrt(n - 3)`.
fn finding(found: TemplateMatch, index: u32, taken: u64, times: &VecDeque<Timestamp>) -> Finding {
    let newest = times.back().copied().unwrap_or(Timestamp::EPOCH);
    let at = |sample: u64| {
        let back = (taken - 1).saturating_sub(sample) as usize;
        let place = times.len().checked_sub(1 + back);
        place.map_or(newest, |place| times[place])
    };
    let z = found.fit.clamp(-1.0, 1.0 - 1e-12).atanh();
    let n = found.len as f64;
    Finding {
        kind: PatternKind::Template,
        detail: Detail::Template {
            index,
            fit: found.fit,
        },
        start: at(found.start),
        end: at(found.start + found.len as u64 - 1),
        detected_at: newest,
        score: found.fit.clamp(0.0, 1.0),
        confidence: 1.0 - (-0.5 * (n - 3.0) * z * z).exp(),
        direction: Direction::None,
        magnitude: found.range,
        baseline: found.mean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensitivity_scales_alarms_as_it_does_findings() {
        let low = OfMetric {
            sensitivity: 0.1,
            limits: Vec::new(),
            templates: BTreeMap::new(),
        };
        let asked = Asked {
            metrics: HashMap::from([(MetricId(3), low)]),
            names: None,
        };
        let usual = WatchConfig::default();
        let watched = asked.watch(MetricId(3), usual);
        let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-12;
        assert!(close(watched.alarms_per_day, 0.1 * usual.alarms_per_day));
        assert!(close(watched.anomaly_p, 0.1 * usual.anomaly_p));
        assert_eq!(asked.watch(MetricId(4), usual), usual);
    }
}
