//! One series' watch: everything Layer5 notices about it while its samples arrive.
//! In: samples of one series, with their times. Out: an [`Update`] each: the dense score, perhaps an alarm, perhaps
//! findings. Called from: `server/refinery`, `layer5 analyze`, the quality suites.
//! The three outputs are never mixed. The **score** ranks every sample against this series' own past. An **alarm** is
//! the first sight of a context never met, then quiet; of a known series that is quiet there are as many a day as is stated.
//! A **finding** is a named fact with its time, size and chance: an anomaly, a level or a spread that stays changed, a drift
//! and its end, a daily or weekly cycle, a stuck value, missing samples.
//! Time: spacing may be irregular, daily and weekly cycles go by the clock and everything else by samples; a sample older
//! than the newest is refused; a silence is told by the sample that ends it, or earlier by the caller's clock through
//! [`Watch::missing`], and leaves the models as they were; a state that is stored and restored goes on as if nothing
//! had been. A new level is taken over within 24 samples, a new daily cycle within three days.
//! Invariants: plain data of 680 bytes at most, nothing allocated; a sample is judged from the past alone; a refused sample
//! (not finite, or older than the newest) changes nothing; what was flagged moves no model by more than its clip.

mod config;
mod tell;
mod update;

pub use config::WatchConfig;
pub use update::{Findings, Update, WatchState};

use layer5_core::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use tell::direction;
use tell::strange;

use crate::alarm::{Alarm, Hush, Pace};
use crate::anomaly::flatline::Flatline;
use crate::anomaly::gap::Gap;
use crate::anomaly::novelty::Novelty;
use crate::anomaly::spike::narrow;
use crate::change_point::shift::Shift;
use crate::change_point::variability::Variability;
use crate::detector::{Detector, Outcome, admit};
use crate::drift::Drift;
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
/// Seconds between samples up to which alarms are counted by the day, beyond which by samples.
const RATE_SPACING: f64 = 300.0;
/// Days in which a profile that does not follow steps learns a new level.
const UNLEARNT_DAYS: f32 = 3.0;

/// Where a series is and how fast it goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    /// At the newest sample, in the series' unit.
    pub(crate) value: f64,
    /// Change per second.
    pub(crate) per_second: f64,
    /// Ratio of the slope to its standard error, positive.
    pub(crate) t: f64,
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
    origin: f64,
    shift: Shift,
    variability: Variability,
    tail: Tail,
    profile: Profile,
    drift: Drift,
    novelty: Novelty,
    /// What the origin has moved since the first sample.
    moved: f32,
    unlearnt: f32,
    profile_lag: f32,
    ranks: RankSketch,
    surprise: f32,
    hush: Hush,
    pace: Pace,
    flatline: Flatline,
    gap: Gap,
    anomaly_hold: u8,
    flat_reported: bool,
}

impl Watch {
    /// A watch that has seen nothing.
    pub fn new(_config: &WatchConfig) -> Self {
        Self {
            origin: 0.0,
            shift: Shift::default(),
            variability: Variability::default(),
            tail: Tail::default(),
            profile: Profile::default(),
            drift: Drift::default(),
            novelty: Novelty::default(),
            moved: 0.0,
            unlearnt: 0.0,
            profile_lag: 0.0,
            ranks: RankSketch::default(),
            surprise: 0.0,
            hush: Hush::default(),
            pace: Pace::default(),
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
        if self.n() == 0 {
            self.origin = value;
        }
        let n = self.n().saturating_add(1);

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
        let p = self.tail.p_as_known(z.abs());
        let warm = n > WARM_UP;
        if warm && f64::from(p) < config.anomaly_p {
            if self.anomaly_hold == 0 {
                update.findings.push(strange(p, at, distance, baseline));
            }
            self.anomaly_hold = ANOMALY_HOLD;
        } else {
            self.anomaly_hold = self.anomaly_hold.saturating_sub(1);
        }
        if n > 16 {
            self.tail.update(z.abs());
        }

        let spacing = self.gap.spacing_seconds().unwrap_or(0.0);
        let rescaled = self.variability.step(
            residual - level.location(),
            level.scale(),
            config.change_p as f32,
        );
        if let Some(rescaled) = rescaled {
            update.findings.push(self.rescaled(rescaled, at, spacing));
        }
        let (_, step) = self.shift.step(residual, config.change_p as f32);
        if let Some(step) = step {
            // A new level has a spread of its own: one change, not two.
            self.variability = Variability::default();
            update.findings.push(self.changed(step, at, spacing));
            self.origin += f64::from(step.height);
            self.moved = narrow(f64::from(self.moved) + f64::from(step.height));
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
            self.variability = Variability::default();
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
        if let Some(finding) = self.stuck(value, n, at, spacing, config) {
            update.findings.push(finding);
        }

        let raw = narrow(value - self.origin + f64::from(self.moved));
        // A new level stays news to the time of day until a profile without the step would have learnt it.
        self.unlearnt -= self.unlearnt / (UNLEARNT_DAYS * per_day as f32).max(1.0);
        let strength = self
            .novelty
            .step(raw, expected.residual + self.unlearnt, at);
        self.surprise += SURPRISE_WEIGHT * ((z.abs().min(8.0) + strength) - self.surprise);
        let rank = self.ranks.judge(self.surprise, SURPRISE_ALIKE);
        if warm {
            update.score = Outcome::Score(1.0 - f64::from(rank));
            update.alarm = self
                .is_alarm(strength, spacing, config)
                .then(|| Alarm::of(strength, distance, baseline));
        } else {
            update.score = Outcome::WarmUp {
                needed: WARM_UP + 1 - n,
            };
        }
        update
    }

    /// Samples taken, saturating: the novelty counts them for all.
    fn n(&self) -> u32 {
        self.novelty.n()
    }

    /// Whether both bars are reached; lets one sample pass at each.
    fn is_alarm(&mut self, strength: f32, spacing: f64, config: &WatchConfig) -> bool {
        self.hush.sink(config.alarm_quiet_len);
        let rate = (config.alarms_per_day / DAY_SECONDS * spacing.min(RATE_SPACING)) as f32;
        let first_bar = -(1.0 - config.alarm_strength_min).ln() as f32;
        let bar = first_bar * self.pace.pass(self.n(), rate);
        let exceed = config.alarm_exceed as f32;
        if !(strength > 0.0 && strength >= bar && self.hush.admits(strength, exceed)) {
            return false;
        }
        self.pace.alarmed(self.n(), rate);
        true
    }

    /// The line that the series, without its cycles, is on; `None` while no slope is beyond chance.
    pub(crate) fn line(&self) -> Option<Line> {
        let (value, per_sample, t) = self.drift.line()?;
        let spacing = self.gap.spacing_seconds().filter(|&s| s > 0.0)?;
        Some(Line {
            value: self.origin + f64::from(value),
            per_second: f64::from(per_sample) / spacing,
            t: f64::from(t.abs()),
        })
    }

    /// Whether there may be a slope, though not beyond chance.
    pub(crate) fn slope_in_doubt(&self) -> bool {
        self.drift.in_doubt()
    }

    /// How far the confirmed cycles go above the level (or below it).
    pub(crate) fn cycle_extreme(&self, above: bool) -> f64 {
        f64::from(self.cycle_part(self.profile.extreme(above)))
    }

    /// What the watch believes now.
    pub fn state(&self) -> WatchState {
        let level = self.shift.level();
        let spacing = self.gap.spacing_seconds();
        let last_at = self.gap.last_at();
        let cycle = last_at.map_or(0.0, |at| self.cycle_part(self.profile.expected(at)));
        let (slope, t) = self.drift.slope_per_sample();
        let trend_per_hour = match spacing {
            Some(s) if s > 0.0 && t.abs() > 3.0 => f64::from(slope) * 3600.0 / s,
            _ => 0.0,
        };
        WatchState {
            n: u64::from(self.n()),
            last_value: self.flatline.value(),
            last_at,
            level: self.origin + f64::from(level.location()),
            scale: f64::from(level.scale()),
            baseline: self.origin + f64::from(level.location() + cycle),
            trend_per_hour,
            trend: direction(trend_per_hour),
            period_seconds: self.profile.shortest(),
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
