//! UCB1: pull the arm whose mean plus confidence width is greatest.
//! In: rewards 0..=1. Out: an arm. Called from: anyone who wants decisions without chance.
//! Notation: t total weight, n weight of an arm; index = mean + sqrt(c ln t / n), c = 2.
//! Reference: Auer, Cesa-Bianchi and Fischer (2002); Garivier and Moulines (2011),
//! arXiv:0805.3415, for its discounted and windowed forms, which [`Memory`] gives.

use serde::{Deserialize, Serialize};

use super::{Arm, Bandit, Memory, RewardError, Tally, best_arm, check_reward};
use crate::setting::{InvalidSetting, require};

/// UCB1 over arms with rewards in 0..=1. The seed only breaks ties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ucb1 {
    tally: Tally,
    exploration: f64,
}

impl Ucb1 {
    /// A policy over `n_arms` arms with the published width, c = 2.
    ///
    /// # Errors
    /// [`InvalidSetting`] as [`Tally::new`].
    pub fn new(n_arms: usize, memory: Memory) -> Result<Self, InvalidSetting> {
        Self::with_exploration(n_arms, memory, 2.0)
    }

    /// The same with another width: `exploration` > 0 is c above; 0.5 is the least that
    /// Hoeffding's inequality covers for rewards in 0..=1, and loses less in practice.
    ///
    /// # Errors
    /// [`InvalidSetting`] as [`Tally::new`], or when `exploration` is not positive and finite.
    pub fn with_exploration(
        n_arms: usize,
        memory: Memory,
        exploration: f64,
    ) -> Result<Self, InvalidSetting> {
        let usable = exploration > 0.0 && exploration < f64::INFINITY;
        require(usable, "exploration", exploration, "positive and finite")?;
        Ok(Ucb1 {
            tally: Tally::new(n_arms, memory)?,
            exploration,
        })
    }

    /// What it has learned so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Bandit for Ucb1 {
    fn n_arms(&self) -> usize {
        self.tally.n_arms()
    }

    fn choose(&self, seed: u64) -> Arm {
        let width = self.exploration * self.tally.total().max(1.0).ln();
        best_arm(self.n_arms(), seed, |arm| match self.tally.mean(arm) {
            Some(mean) => mean + (width / self.tally.weight(arm)).sqrt(),
            None => f64::INFINITY,
        })
    }

    fn reward(&mut self, arm: Arm, value: f64) -> Result<(), RewardError> {
        check_reward(arm, self.n_arms(), value, 0.0, 1.0)?;
        self.tally.add(arm, value);
        Ok(())
    }
}
