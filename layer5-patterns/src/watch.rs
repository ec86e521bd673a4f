//! One series' watch: everything Layer5 notices about it while its samples arrive.
//! In: samples of one series, with their times. Out: an [`Update`] each: the dense score, perhaps an alarm, perhaps
//! findings. Called from: `server/refinery`, `layer5 analyze`, the quality suites.
//! The three outputs are never mixed. The **score** ranks every sample against this series' own past. An **alarm** is
//! the first sight of a context never met, then quiet. A **finding** is a named fact with its time, size and chance:
//! an anomaly, a level that stays changed, a drift, a daily cycle, a stuck value, missing samples.
//! Time: spacing may be irregular, daily and weekly cycles go by the clock and everything else by samples; a sample older
//! than the newest is refused; a silence is told by the sample that ends it, or earlier by the caller's clock through
//! [`Watch::missing`], and leaves the models as they were; a state that is stored and restored goes on as if nothing
//! had been. A new level is taken over within 24 samples, a new daily cycle within three days.
//! Invariants: plain data, at most 1 kB, nothing allocated; a sample is judged from the past alone; a refused sample
//! (not finite, or older than the newest) changes nothing; what was flagged moves no model by more than its clip.

use layer5_core::event::Detail;
use layer5_core::{Direction, Finding, PatternKind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::alarm::{Alarm, Hush, Severity};
use crate::anomaly::flatline::Flatline;
use crate::anomaly::gap::Gap;
use crate::anomaly::novelty::Novelty;
use crate::anomaly::spike::narrow;
use crate::change_point::shift::{Shift, Step};
use crate::detector::{Detector, Outcome, admit};
use crate::drift::{Drift, Slope};
use crate::error::ConfigError;
use crate::profile::{DAY_SECONDS, Profile};
use crate::stats::quantile::RankSketch;
use crate::stats::tail::Tail;

/// Samples before the first score.
const WARM_UP: u32 = 100;
/// Distances are cut here, in scales.
const Z_MAX: f32 = 1e4;
/// Samples that an anomaly goes on after its last extreme value: no second finding for one event.
const ANOMALY_HOLD: u8 = 12;
/// Weight of the newest sample in the surprise that is ranked, and neighbouring surprises that are as good as one.
const SURPRISE_WEIGHT: f32 = 0.02;
const SURPRISE_ALIKE: f32 = 15.0;
/// Days in which a profile that does not follow steps learns a new level.
const UNLEARNT_DAYS: f32 = 3.0;
/// Findings of one update: one of each kind that can meet in one sample.
const FINDINGS_MAX: usize = 4;

/// What may be set about a watch. The defaults need no tuning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// Chance per sample below which a value is an anomaly. Default 1e-5: on a quiet series one in 100 000 samples,
    /// a year of five-minute samples. Siffer et al. (2017) use 1e-3 to 1e-5.
    pub anomaly_p: f64,
    /// Chance per excursion below which the contrast of two windows is a change. Default 1e-4: an excursion lasts
    /// some six samples, and a step must also last to be told.
    pub change_p: f64,
    /// Chance below which a run of equal values is a flatline. Default 1e-8, for the same reason.
    pub flatline_p: f64,
    /// Scales above the usual (logarithmic) spacing beyond which samples are missing. Default 6.
    pub gap_scales: f64,
    /// Least strength of an alarm, in `0 ..= 1`. Default 0.47: chosen on the development half of the Numenta Anomaly
    /// Benchmark, one value for all series.
    pub alarm_strength_min: f64,
    /// Samples in which the bar that an alarm sets for the next one sinks to half. Default 70.
    pub alarm_quiet_len: u32,
    /// Height of that bar, as a factor of the alarm it comes from. Default 2.
    pub alarm_exceed: f64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            anomaly_p: 1e-5,
            change_p: 1e-4,
            flatline_p: 1e-8,
            gap_scales: 6.0,
            alarm_strength_min: 0.47,
            alarm_quiet_len: 70,
            alarm_exceed: 2.0,
        }
    }
}

impl WatchConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field out of its range, with value and range.
    ///
    /// # Example
    /// ```
    /// use layer5_patterns::WatchConfig;
    /// assert!(WatchConfig::default().check().is_ok());
    /// assert!(WatchConfig { anomaly_p: 2.0, ..WatchConfig::default() }.check().is_err());
    /// ```
    pub fn check(&self) -> Result<(), ConfigError> {
        const P: &str = "1e-30 to 0.1";
        ConfigError::check("anomaly_p", self.anomaly_p, 1e-30, 0.1, P)?;
        ConfigError::check("change_p", self.change_p, 1e-30, 0.1, P)?;
        ConfigError::check("flatline_p", self.flatline_p, 1e-30, 0.1, P)?;
        ConfigError::check("gap_scales", self.gap_scales, 1.0, 100.0, "1 to 100")?;
        ConfigError::check(
            "alarm_strength_min",
            self.alarm_strength_min,
            0.0,
            1.0,
            "0 to 1",
        )?;
        ConfigError::check(
            "alarm_quiet_len",
            f64::from(self.alarm_quiet_len),
            0.0,
            1e6,
            "0 to 1000000",
        )?;
        ConfigError::check("alarm_exceed", self.alarm_exceed, 1.0, 1e3, "1 to 1000")
    }
}

/// What one sample brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Strangeness of the sample, how many samples are missing for one, or why it was refused.
    pub score: Outcome,
    /// Set at the first sight of something new.
    pub alarm: Option<Alarm>,
    /// Facts found with this sample, mostly none.
    pub findings: Findings,
}

/// A few findings, held in place.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Findings {
    items: [Option<Finding>; FINDINGS_MAX],
}

impl Findings {
    fn push(&mut self, finding: Finding) {
        // Full means four facts in one sample; the first four are the ones told.
        if let Some(slot) = self.items.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(finding);
        }
    }

    /// The findings, in the order they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.items.iter().flatten()
    }

    /// Number of findings.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items[0].is_none()
    }
}

/// What the watch believes of the series, for people.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WatchState {
    /// Samples taken.
    pub n: u64,
    /// Newest value, in the series' unit.
    pub last_value: f64,
    /// Time of the newest sample; `None` before the first.
    pub last_at: Option<Timestamp>,
    /// Level of the current regime, without the daily cycle.
    pub level: f64,
    /// Usual spread round the level (a standard deviation without outliers).
    pub scale: f64,
    /// What would be normal at the newest sample's time: level and cycle.
    pub baseline: f64,
    /// Change per hour, in the series' unit; 0 where no slope is beyond chance.
    pub trend_per_hour: f64,
    /// Direction of that slope.
    pub trend: Direction,
    /// Length of the shortest confirmed cycle, s.
    pub period_seconds: Option<f64>,
    /// Usual seconds between samples.
    pub spacing_seconds: Option<f64>,
}

/// The state of one watched series.
///
/// # Example
/// ```
/// use layer5_core::Timestamp;
/// use layer5_patterns::{Watch, WatchConfig};
///
/// let config = WatchConfig::default();
/// let mut watch = Watch::new(&config);
/// let mut found = Vec::new();
/// for i in 0..400_i64 {
///     let wiggle = ((i * 7919) % 101) as f64 / 10.0;
///     let level = if i < 300 { 50.0 } else { 90.0 };
///     let update = watch.update(level + wiggle, Timestamp::from_millis(300_000 * i), &config);
///     found.extend(update.findings.iter().map(|f| f.kind.as_str()));
/// }
/// assert!(found.contains(&"change_point"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    n: u64,
    origin: f64,
    last_value: f64,
    shift: Shift,
    tail: Tail,
    profile: Profile,
    drift: Drift,
    novelty: Novelty,
    novelty_origin: f64,
    unlearnt: f32,
    profile_lag: f32,
    ranks: RankSketch,
    surprise: f32,
    hush: Hush,
    flatline: Flatline,
    gap: Gap,
    anomaly_hold: u8,
    flat_reported: bool,
}

impl Watch {
    /// A watch that has seen nothing.
    pub fn new(_config: &WatchConfig) -> Self {
        Self {
            n: 0,
            origin: 0.0,
            last_value: 0.0,
            shift: Shift::default(),
            tail: Tail::default(),
            profile: Profile::default(),
            drift: Drift::default(),
            novelty: Novelty::default(),
            novelty_origin: 0.0,
            unlearnt: 0.0,
            profile_lag: 0.0,
            ranks: RankSketch::default(),
            surprise: 0.0,
            hush: Hush::default(),
            flatline: Flatline::default(),
            gap: Gap::default(),
            anomaly_hold: 0,
            flat_reported: false,
        }
    }

    /// Takes one sample in. Total: a value that is not finite or a time before the newest is refused and changes
    /// nothing; equal times are taken in the order they come.
    ///
    /// # Cost
    /// O(1), about 0.35 us, no allocation.
    pub fn update(&mut self, value: f64, at: Timestamp, config: &WatchConfig) -> Update {
        let mut update = Update {
            score: Outcome::WarmUp { needed: 1 },
            alarm: None,
            findings: Findings::default(),
        };
        if let Err(refusal) = admit(value, at, self.gap.last_at()) {
            update.score = Outcome::Refused(refusal);
            return update;
        }
        if self.n == 0 {
            self.origin = value;
            self.novelty_origin = value;
        }
        self.n += 1;

        if let Some(finding) = self.missing(at, config) {
            update.findings.push(finding);
        }
        self.gap.step(at);

        let x = narrow(value - self.origin);
        let were_confirmed = self.profile.periods();
        let expected = self.profile.step(x + self.profile_lag, at);
        let deviation = self.cycle_part(expected.deviation);
        let residual = x - deviation;
        let level = self.shift.level();
        let baseline = self.origin + f64::from(deviation + level.location());
        // Values at both ends of the range are further apart than the range.
        let distance = (value - baseline).clamp(f64::MIN, f64::MAX);

        let z = level.z(residual, Z_MAX);
        let p = self.tail.p(z.abs());
        let warm = self.n > u64::from(WARM_UP);
        if warm && f64::from(p) < config.anomaly_p {
            if self.anomaly_hold == 0 {
                update.findings.push(Finding {
                    kind: PatternKind::Anomaly,
                    detail: Detail::Plain,
                    start: at,
                    end: at,
                    detected_at: at,
                    score: improbability(p),
                    confidence: confidence(p),
                    direction: direction(distance),
                    magnitude: distance.abs(),
                    baseline,
                });
            }
            self.anomaly_hold = ANOMALY_HOLD;
        } else {
            self.anomaly_hold = self.anomaly_hold.saturating_sub(1);
        }
        if self.n > 16 {
            self.tail.update(z.abs());
        }

        let spacing = self.gap.spacing_seconds().unwrap_or(0.0);
        let (_, step) = self.shift.step(residual, config.change_p as f32);
        if let Some(step) = step {
            update.findings.push(self.changed(step, at, spacing));
            self.origin += f64::from(step.height);
            // Before a cycle is confirmed a step may be part of it: then the profile does not follow.
            let kept = if self.profile.confirmed() {
                &mut self.unlearnt
            } else {
                &mut self.profile_lag
            };
            *kept = narrow(f64::from(*kept) + f64::from(step.height));
            self.drift.restart();
        }
        if self.profile.periods() != were_confirmed {
            self.shift.values_changed(1.0 - self.profile.explained());
            self.drift.restart();
        }
        if let Some(seconds) = expected.newly_confirmed {
            update.findings.push(self.seasonal(seconds, at));
        }
        let scale = self.shift.level().scale();
        let per_day = DAY_SECONDS / spacing.max(1e-3);
        let cycle_known = self.profile.periods()[0].is_some();
        if let Some(slope) = self.drift.step(residual, scale, per_day, cycle_known) {
            update.findings.push(self.drifting(slope, at, spacing));
        }
        if let Some(finding) = self.stuck(value, at, spacing, config) {
            update.findings.push(finding);
        }

        let raw = narrow(value - self.novelty_origin);
        // A new level stays news to the time of day until a profile without the step would have learnt it.
        self.unlearnt -= self.unlearnt / (UNLEARNT_DAYS * per_day as f32).max(1.0);
        let strength = self
            .novelty
            .step(raw, expected.residual + self.unlearnt, at);
        self.surprise += SURPRISE_WEIGHT * ((z.abs().min(8.0) + strength) - self.surprise);
        let rank = self.ranks.judge(self.surprise, SURPRISE_ALIKE);
        if warm {
            update.score = Outcome::Score(1.0 - f64::from(rank));
            let (quiet_len, exceed) = (config.alarm_quiet_len, config.alarm_exceed as f32);
            self.hush.sink(quiet_len);
            let least = |min: f64| -(1.0 - min).ln() as f32;
            if strength > 0.0
                && strength >= least(config.alarm_strength_min)
                && self.hush.admits(strength, exceed)
            {
                let strength = 1.0 - f64::from(-strength).exp();
                update.alarm = Some(Alarm {
                    strength,
                    severity: Severity::of(strength),
                    direction: direction(distance),
                    magnitude: distance.abs(),
                    baseline,
                });
            }
        } else {
            update.score = Outcome::WarmUp {
                needed: (u64::from(WARM_UP) + 1 - self.n) as u32,
            };
        }
        self.last_value = value;
        update
    }

    /// The silence until `now`, when it is long for this series: for the caller's clock, and at each sample.
    pub fn missing(&self, now: Timestamp, config: &WatchConfig) -> Option<Finding> {
        let strangeness = self.gap.strangeness(now);
        if f64::from(strangeness) < config.gap_scales {
            return None;
        }
        let start = self.gap.last_at()?;
        let seconds = now.seconds_since(start);
        Some(Finding {
            kind: PatternKind::Anomaly,
            detail: Detail::Missing { seconds },
            start,
            end: now,
            detected_at: now,
            score: f64::from(strangeness / (strangeness + 3.0)),
            confidence: 1.0 - f64::from(-strangeness).exp(),
            direction: Direction::None,
            magnitude: 0.0,
            baseline: self.last_value,
        })
    }

    /// Seconds until the series, without its cycles, reaches `limit` if its present slope goes on. `None` while no slope is beyond chance, or when it leads away from the limit.
    ///
    /// # Example
    /// ```
    /// use layer5_core::Timestamp;
    /// use layer5_patterns::{Watch, WatchConfig};
    ///
    /// let config = WatchConfig::default();
    /// let mut watch = Watch::new(&config);
    /// for i in 0..600_i64 {
    ///     let used = 40.0 + 0.05 * i as f64 + ((i * 7919) % 101) as f64 / 50.0;
    ///     watch.update(used, Timestamp::from_millis(300_000 * i), &config);
    /// }
    /// // From about 71 percent, 0.6 an hour: 90 percent comes after some 32 hours.
    /// let hours = watch.seconds_until(90.0).expect("a slope") / 3600.0;
    /// assert!((28.0..36.0).contains(&hours));
    /// assert_eq!(watch.seconds_until(20.0), None);
    /// ```
    pub fn seconds_until(&self, limit: f64) -> Option<f64> {
        let (value, per_sample) = self.drift.line()?;
        let spacing = self.gap.spacing_seconds().filter(|&s| s > 0.0)?;
        let samples = (limit - self.origin - f64::from(value)) / f64::from(per_sample);
        (samples >= 0.0 && samples.is_finite()).then_some(samples * spacing)
    }

    /// What the watch believes now.
    pub fn state(&self) -> WatchState {
        let level = self.shift.level();
        let spacing = self.gap.spacing_seconds();
        let last_at = self.gap.last_at();
        let cycle = last_at.map_or(0.0, |at| self.cycle_part(self.profile.expected(at)));
        let sure = self
            .drift
            .slope_per_sample()
            .filter(|&(_, t)| t.abs() > 3.0);
        let trend_per_hour = match (sure, spacing) {
            (Some((slope, _)), Some(s)) if s > 0.0 => f64::from(slope) * 3600.0 / s,
            _ => 0.0,
        };
        WatchState {
            n: self.n,
            last_value: self.last_value,
            last_at,
            level: self.origin + f64::from(level.location()),
            scale: f64::from(level.scale()),
            baseline: self.origin + f64::from(level.location() + cycle),
            trend_per_hour,
            trend: direction(trend_per_hour),
            period_seconds: self.profile.periods().into_iter().flatten().next(),
            spacing_seconds: spacing,
        }
    }

    /// A deviation of the profile as one from `origin`; 0 while no cycle is confirmed.
    fn cycle_part(&self, deviation: f32) -> f32 {
        if self.profile.confirmed() {
            deviation - self.profile_lag
        } else {
            0.0
        }
    }

    fn changed(&self, step: Step, at: Timestamp, spacing: f64) -> Finding {
        let height = f64::from(step.height);
        Finding {
            kind: PatternKind::ChangePoint,
            detail: Detail::Level,
            start: at.plus_seconds(-spacing * f64::from(step.back)),
            end: at,
            detected_at: at,
            score: improbability(step.p),
            confidence: confidence(step.p),
            direction: direction(height),
            magnitude: height.abs(),
            baseline: self.origin + f64::from(step.before),
        }
    }

    fn seasonal(&self, seconds: f64, at: Timestamp) -> Finding {
        let share = f64::from(self.profile.explained());
        Finding {
            kind: PatternKind::Seasonality,
            detail: Detail::Period { seconds },
            start: at.plus_seconds(-2.0 * seconds),
            end: at,
            detected_at: at,
            score: share,
            confidence: 0.5 + 0.5 * share,
            direction: Direction::None,
            magnitude: f64::from(self.profile.amplitude()),
            baseline: self.origin + f64::from(self.shift.level().location()),
        }
    }

    fn drifting(&self, slope: Slope, at: Timestamp, spacing: f64) -> Finding {
        let seconds = spacing * f64::from(slope.span);
        let per_hour = if spacing > 0.0 {
            f64::from(slope.per_sample) * 3600.0 / spacing
        } else {
            0.0
        };
        let t = f64::from(slope.t.abs());
        Finding {
            kind: PatternKind::Trend,
            detail: Detail::Rate { per_hour },
            start: at.plus_seconds(-seconds),
            end: at,
            detected_at: at,
            score: t / (t + 7.0),
            confidence: 1.0 - (-0.5 * t).exp(),
            direction: direction(per_hour),
            magnitude: per_hour.abs(),
            baseline: self.origin + f64::from(self.shift.level().location() - slope.rise),
        }
    }

    fn stuck(
        &mut self,
        value: f64,
        at: Timestamp,
        spacing: f64,
        config: &WatchConfig,
    ) -> Option<Finding> {
        let surprise = f64::from(self.flatline.step(value));
        if self.flatline.run() == 0 {
            self.flat_reported = false;
        }
        if self.flat_reported || self.n <= u64::from(WARM_UP) || surprise < -config.flatline_p.ln()
        {
            return None;
        }
        self.flat_reported = true;
        Some(Finding {
            kind: PatternKind::Template,
            detail: Detail::Flatline,
            start: at.plus_seconds(-spacing * f64::from(self.flatline.run())),
            end: at,
            detected_at: at,
            score: surprise / (surprise + 18.0),
            confidence: 1.0 - (-0.25 * surprise).exp(),
            direction: Direction::None,
            magnitude: 0.0,
            baseline: value,
        })
    }
}

fn direction(x: f64) -> Direction {
    if x > 0.0 {
        Direction::Up
    } else if x < 0.0 {
        Direction::Down
    } else {
        Direction::None
    }
}

/// A probability as a score in `0 ..= 1`: 1e-10 and below is 1.
fn improbability(p: f32) -> f64 {
    (-f64::from(p).log10() / 10.0).clamp(0.0, 1.0)
}

/// Chance that 10 000 quiet samples would not have shown this.
fn confidence(p: f32) -> f64 {
    (1.0 - 1e4 * f64::from(p)).clamp(0.0, 1.0)
}

/// A watch as one [`Detector`]: its score alone, with default configuration.
impl Detector for Watch {
    fn update(&mut self, value: f64, at: Timestamp) -> Outcome {
        Watch::update(self, value, at, &WatchConfig::default()).score
    }

    fn warm_up(&self) -> u32 {
        WARM_UP
    }

    fn reset(&mut self) {
        *self = Self::new(&WatchConfig::default());
    }
}
