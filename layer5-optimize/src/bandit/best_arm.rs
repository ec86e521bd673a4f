//! Which of K arms is best, with a stated chance of being wrong and as few pulls as that takes.
//! In: rewards in 0..=1. Out: the arm to pull next, and in the end the best. Called from: whoever may experiment first and
//! decide once, where a bandit earns on the way.
//! Notation: `n_a` pulls and `m_a` mean of arm `a`; `kl` the divergence of two Bernoulli distributions; leader the arm with
//! the greatest mean; the evidence against `a` is `n_l kl(m_l, m) + n_a kl(m_a, m)`, `m` the mean of both together.
//! Invariants: the order of rewards does not matter; a pull is never needed of an arm that does not exist.
//! Reference: stopping, Garivier and Kaufmann (2016), "Optimal best arm identification with fixed confidence", with their
//! threshold `ln((1 + ln t) (K - 1) / delta)`; leader and challenger by empirical transport cost, Jourdan, Degenne,
//! Baudry, de Heide and Kaufmann (2022), "Top two algorithms revisited".

use serde::{Deserialize, Serialize};

use super::tally::ARMS_MAX;
use super::{Arm, RewardError, check_reward, draw};
use crate::setting::{InvalidSetting, require};

/// Looks for the best arm.
///
/// # Example
/// ```
/// use layer5_optimize::bandit::BestArm;
/// let mut search = BestArm::new(3, 0.05)?;
/// let best = loop {
///     if let Some(best) = search.answer() {
///         break best;
///     }
///     let arm = search.next(7);
///     search.reward(arm, if arm == 2 { 0.9 } else { 0.2 })?;
/// };
/// assert_eq!(best, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestArm {
    delta: f64,
    pulls: Vec<u64>,
    sums: Vec<f64>,
}

impl BestArm {
    /// A search among `n_arms` (2..=[`ARMS_MAX`]) that may be wrong with probability `delta`, inside 0..1.
    ///
    /// # Errors
    /// [`InvalidSetting`] naming the one that does not fit.
    pub fn new(n_arms: usize, delta: f64) -> Result<Self, InvalidSetting> {
        let fits = (2..=ARMS_MAX).contains(&n_arms);
        require(fits, "n_arms", n_arms as f64, "2 or more, up to ARMS_MAX")?;
        require(delta > 0.0 && delta < 1.0, "delta", delta, "inside 0..1")?;
        Ok(Self {
            delta,
            pulls: vec![0; n_arms],
            sums: vec![0.0; n_arms],
        })
    }

    /// The arm to pull next: one never pulled, else the leader or the arm with the least evidence against it, whichever
    /// was pulled less often; of equals a seeded one.
    #[must_use]
    pub fn next(&self, seed: u64) -> Arm {
        if let Some(arm) = self.pulls.iter().position(|n| *n == 0) {
            return arm;
        }
        let leader = self.leader(seed);
        match self.challenger(leader) {
            Some((challenger, _)) if self.pulls[challenger] <= self.pulls[leader] => challenger,
            _ => leader,
        }
    }

    /// Learns that `arm` earned `value`. Rewards may arrive late and in any order.
    ///
    /// # Errors
    /// [`RewardError`] when the arm does not exist or the value is outside 0..=1; nothing has changed then.
    pub fn reward(&mut self, arm: Arm, value: f64) -> Result<(), RewardError> {
        check_reward(arm, self.pulls.len(), value, 0.0, 1.0)?;
        self.pulls[arm] += 1;
        self.sums[arm] += value;
        Ok(())
    }

    /// The best arm, once it is the best with the stated confidence; `None` before.
    #[must_use]
    pub fn answer(&self) -> Option<Arm> {
        if self.pulls.contains(&0) {
            return None;
        }
        let leader = self.leader(0);
        let (_, evidence) = self.challenger(leader)?;
        let t = self.pulls.iter().sum::<u64>() as f64;
        let others = (self.pulls.len() - 1) as f64;
        let needed = ((1.0 + t.ln()) * others / self.delta).ln();
        (evidence > needed).then_some(leader)
    }

    fn mean(&self, arm: Arm) -> f64 {
        self.sums[arm] / self.pulls[arm] as f64
    }

    fn leader(&self, seed: u64) -> Arm {
        let n = self.pulls.len();
        let first = (draw::mix(seed, 0) % n as u64) as usize;
        let arms = (first..n).chain(0..first);
        arms.fold(first, |best, arm| {
            if self.mean(arm) > self.mean(best) {
                arm
            } else {
                best
            }
        })
    }

    /// The arm other than the leader that is hardest to tell from it, and the evidence against it.
    fn challenger(&self, leader: Arm) -> Option<(Arm, f64)> {
        let (n_l, m_l) = (self.pulls[leader] as f64, self.mean(leader));
        let against = |arm: Arm| {
            let (n_a, m_a) = (self.pulls[arm] as f64, self.mean(arm));
            let together = (n_l * m_l + n_a * m_a) / (n_l + n_a);
            n_l * divergence(m_l, together) + n_a * divergence(m_a, together)
        };
        let others = (0..self.pulls.len()).filter(|arm| *arm != leader);
        others
            .map(|arm| (arm, against(arm)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// Divergence of the Bernoulli distributions with means `p` and `q`; 0 ln 0 is 0.
fn divergence(p: f64, q: f64) -> f64 {
    let term = |p: f64, q: f64| {
        if p > 0.0 {
            p * (p / q.max(1e-300)).ln()
        } else {
            0.0
        }
    };
    (term(p, q) + term(1.0 - p, 1.0 - q)).max(0.0)
}
