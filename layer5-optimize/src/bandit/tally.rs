//! What a policy remembers of each arm: weight, mean and spread of its rewards, under a memory.
//! In: (arm, value) pairs. Out: weighted moments per arm. Called from: every policy here that has
//! no context.
//! Notation: w weight of an arm (its pulls, when nothing is forgotten), m2 sum of squared
//! deviations; stored weights are multiples of `unit`, so that fading K arms costs one multiply.
//! Invariants: weights are >= 0 and finite; memory is O(arms), and O(arms + len) with a window.
//! Reference: Welford (1962); Garivier and Moulines (2011), arXiv:0805.3415 (discount and window).

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Arm;
use crate::setting::{InvalidSetting, require};

/// Most arms of one policy; a choice among more is a search, not a bandit.
pub const ARMS_MAX: usize = 100_000;

/// Most rewards that a window may hold.
pub const WINDOW_LEN_MAX: usize = 10_000_000;

/// Stored weights are rescaled when their unit grows past this, long before overflow.
const UNIT_MAX: f64 = 1e100;

/// Weight below which an arm counts as never pulled: 40 half-lives, where the mean is noise.
const WEIGHT_MIN: f64 = 1e-12;

/// Which rewards still count.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Memory {
    /// All of them: the arms do not change.
    Forever,
    /// Each new reward multiplies the weight of all earlier ones by `keep` (0 < keep < 1); about
    /// `1 / (1 - keep)` rewards count. For slow drift.
    Discounted {
        /// Factor per reward.
        keep: f64,
    },
    /// The last `len` rewards, of whatever arm. For sudden changes.
    Window {
        /// Rewards kept, `1..=WINDOW_LEN_MAX`.
        len: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Moments {
    weight: f64,
    mean: f64,
    m2: f64,
}

impl Moments {
    fn add(&mut self, value: f64, weight: f64) {
        self.weight += weight;
        let delta = value - self.mean;
        self.mean += delta * weight / self.weight;
        self.m2 += weight * delta * (value - self.mean);
    }

    fn remove(&mut self, value: f64) {
        let left = self.weight - 1.0;
        if left < 0.5 {
            *self = Moments::default();
            return;
        }
        let delta = value - self.mean;
        self.mean -= delta / left;
        self.m2 = (self.m2 - delta * (value - self.mean)).max(0.0);
        self.weight = left;
    }
}

/// Weighted moments of the rewards of each arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    memory: Memory,
    arms: Vec<Moments>,
    /// Weight of the newest reward in stored units; 1 unless discounted.
    unit: f64,
    /// Sum of the real weights of all arms.
    total: f64,
    /// The rewards inside the window, oldest first; empty without one.
    recent: VecDeque<(Arm, f64)>,
    /// Rewards since the window's moments were last rebuilt from `recent`.
    since_rebuild: usize,
}

impl Tally {
    /// An empty tally of `n_arms` arms.
    ///
    /// # Errors
    /// [`InvalidSetting`] for no arms, more than [`ARMS_MAX`], `keep` outside 0..1, or a window
    /// outside `1..=`[`WINDOW_LEN_MAX`].
    pub fn new(n_arms: usize, memory: Memory) -> Result<Self, InvalidSetting> {
        let arms_fit = (1..=ARMS_MAX).contains(&n_arms);
        require(arms_fit, "n_arms", n_arms as f64, "in 1..=100000")?;
        match memory {
            Memory::Forever => {}
            Memory::Discounted { keep } => {
                require(keep > 0.0 && keep < 1.0, "keep", keep, "inside 0..1")?;
            }
            Memory::Window { len } => {
                let len_fits = (1..=WINDOW_LEN_MAX).contains(&len);
                require(len_fits, "len", len as f64, "in 1..=10000000")?;
            }
        }
        Ok(Tally {
            memory,
            arms: vec![Moments::default(); n_arms],
            unit: 1.0,
            total: 0.0,
            recent: VecDeque::new(),
            since_rebuild: 0,
        })
    }

    /// Number of arms.
    pub fn n_arms(&self) -> usize {
        self.arms.len()
    }

    /// How much `arm` was pulled, in rewards: a count, or less when some are forgotten.
    /// Panics when the arm does not exist, as indexing does.
    pub fn weight(&self, arm: Arm) -> f64 {
        let weight = self.arms[arm].weight / self.unit;
        if weight < WEIGHT_MIN { 0.0 } else { weight }
    }

    /// Mean reward of `arm`; `None` until it has one that still counts.
    pub fn mean(&self, arm: Arm) -> Option<f64> {
        (self.weight(arm) > 0.0).then(|| self.arms[arm].mean)
    }

    /// Weighted sum of squared deviations of `arm` from its mean; 0 without rewards.
    pub fn squared_deviations(&self, arm: Arm) -> f64 {
        self.arms[arm].m2 / self.unit
    }

    /// Sum of the weights of all arms.
    pub fn total(&self) -> f64 {
        self.total
    }

    /// Takes one reward in; the caller has checked the arm and that the value is finite.
    /// # Cost O(1), amortised over a rescaling or a rebuild of the window.
    pub(crate) fn add(&mut self, arm: Arm, value: f64) {
        match self.memory {
            Memory::Forever => {
                self.arms[arm].add(value, 1.0);
                self.total += 1.0;
            }
            Memory::Discounted { keep } => {
                self.unit /= keep;
                self.arms[arm].add(value, self.unit);
                self.total = self.total * keep + 1.0;
                if self.unit > UNIT_MAX {
                    self.rescale();
                }
            }
            Memory::Window { len } => self.slide(arm, value, len),
        }
    }

    fn rescale(&mut self) {
        for moments in &mut self.arms {
            moments.weight /= self.unit;
            moments.m2 /= self.unit;
        }
        self.unit = 1.0;
    }

    fn slide(&mut self, arm: Arm, value: f64, len: usize) {
        if self.recent.len() == len
            && let Some((old_arm, old_value)) = self.recent.pop_front()
        {
            self.arms[old_arm].remove(old_value);
            self.total -= 1.0;
        }
        self.recent.push_back((arm, value));
        self.arms[arm].add(value, 1.0);
        self.total += 1.0;
        self.since_rebuild += 1;
        // Removal leaves rounding behind; rebuilding once per window length keeps it from growing.
        if self.since_rebuild >= len.max(self.arms.len()) {
            self.since_rebuild = 0;
            self.arms.fill(Moments::default());
            for &(arm, value) in &self.recent {
                self.arms[arm].add(value, 1.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(memory: Memory, rewards: &[(Arm, f64)]) -> Tally {
        let mut tally = Tally::new(3, memory).unwrap();
        rewards
            .iter()
            .for_each(|&(arm, value)| tally.add(arm, value));
        tally
    }

    #[test]
    fn forever_counts_every_reward() {
        let tally = told(Memory::Forever, &[(0, 1.0), (0, 3.0), (2, 5.0)]);
        assert_eq!((tally.weight(0), tally.mean(0)), (2.0, Some(2.0)));
        assert_eq!((tally.weight(1), tally.mean(1)), (0.0, None));
        assert_eq!(tally.squared_deviations(0), 2.0);
        assert_eq!(tally.total(), 3.0);
    }

    #[test]
    fn a_window_forgets_the_oldest_reward_of_any_arm() {
        let tally = told(Memory::Window { len: 2 }, &[(0, 1.0), (0, 3.0), (2, 5.0)]);
        assert_eq!((tally.weight(0), tally.mean(0)), (1.0, Some(3.0)));
        assert_eq!((tally.weight(2), tally.mean(2)), (1.0, Some(5.0)));
        assert_eq!(tally.total(), 2.0);
        let tally = told(Memory::Window { len: 1 }, &[(0, 1.0), (2, 5.0)]);
        assert_eq!((tally.mean(0), tally.mean(2)), (None, Some(5.0)));
    }

    #[test]
    fn a_discount_halves_the_past() {
        let tally = told(
            Memory::Discounted { keep: 0.5 },
            &[(0, 8.0), (0, 2.0), (1, 1.0)],
        );
        // Weights 1/4, 1/2, 1: the mean of arm 0 is (8/4 + 2/2) / (3/4).
        assert!((tally.weight(0) - 0.75).abs() < 1e-15);
        assert!((tally.mean(0).unwrap() - 4.0).abs() < 1e-14);
        assert!((tally.total() - 1.75).abs() < 1e-15);
    }

    #[test]
    fn discounted_moments_match_the_sums_they_stand_for_past_a_rescaling() {
        let keep: f64 = 0.9;
        let rewards: Vec<(Arm, f64)> = (0..5000)
            .map(|i| (i % 3, 1e6 + ((i * 37) % 11) as f64))
            .collect();
        let tally = told(Memory::Discounted { keep }, &rewards);
        for arm in 0..3 {
            let own = rewards.iter().rev().enumerate().filter(|(_, r)| r.0 == arm);
            let weighed: Vec<(f64, f64)> =
                own.map(|(age, r)| (keep.powi(age as i32), r.1)).collect();
            let weight: f64 = weighed.iter().map(|w| w.0).sum();
            let mean = weighed.iter().map(|w| w.0 * w.1).sum::<f64>() / weight;
            let m2: f64 = weighed.iter().map(|w| w.0 * (w.1 - mean).powi(2)).sum();
            // 5000 steps of relative rounding 1e-16, on values of 1e6 whose spread is about 3.
            assert!((tally.weight(arm) - weight).abs() < 1e-11);
            assert!((tally.mean(arm).unwrap() - mean).abs() < 1e-6);
            assert!((tally.squared_deviations(arm) - m2).abs() < 1e-5);
        }
    }

    #[test]
    fn a_long_window_run_equals_a_fresh_tally_of_its_last_rewards() {
        let rewards: Vec<(Arm, f64)> = (0..1234)
            .map(|i| (i % 3, ((i * 7919) % 101) as f64))
            .collect();
        let slid = told(Memory::Window { len: 50 }, &rewards);
        let fresh = told(Memory::Forever, &rewards[1184..]);
        for arm in 0..3 {
            assert_eq!(slid.weight(arm), fresh.weight(arm));
            // At most 50 removals since the rebuild, on values below 101.
            assert!((slid.mean(arm).unwrap() - fresh.mean(arm).unwrap()).abs() < 1e-11);
            let gap = slid.squared_deviations(arm) - fresh.squared_deviations(arm);
            assert!(gap.abs() < 1e-8);
        }
    }

    #[test]
    fn settings_are_checked_on_both_sides_of_each_limit() {
        let fits = |n_arms, memory| Tally::new(n_arms, memory).is_ok();
        assert!(fits(1, Memory::Forever) && !fits(0, Memory::Forever));
        assert!(fits(ARMS_MAX, Memory::Forever) && !fits(ARMS_MAX + 1, Memory::Forever));
        for keep in [0.0, 1.0, f64::NAN] {
            assert!(!fits(1, Memory::Discounted { keep }), "{keep}");
        }
        assert!(fits(1, Memory::Discounted { keep: 0.999 }));
        assert!(fits(1, Memory::Window { len: 1 }) && !fits(1, Memory::Window { len: 0 }));
        assert!(!fits(
            1,
            Memory::Window {
                len: WINDOW_LEN_MAX + 1
            }
        ));
    }
}
