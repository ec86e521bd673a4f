//! Guesses the keys of an object: senders write the same keys in the same order, report after report.
//! In: a scanner in front of a key. Out: what the key means, and the scanner behind its colon. Called from: `report_json`.
//! A guess that is right costs three word comparisons instead of a search for the quote and for the name; one that is
//! wrong costs those comparisons, and the next guess is better.
//! Invariants: a guess never changes what is read, only how fast.

use std::borrow::Cow;

use super::scan::{Broken, Literal, Scanner};

/// Most keys that are remembered per kind of object.
const REMEMBERED_MAX: usize = 64;

/// The keys of the last object of one kind, in order, and what they mean.
#[derive(Debug)]
pub(super) struct Keys<T> {
    remembered: Vec<(Literal, T)>,
    /// So many keys from the first on are known to be different from each other.
    distinct: usize,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Self {
            remembered: Vec::new(),
            distinct: 0,
        }
    }
}

impl<T: Clone> Keys<T> {
    /// Reads the members of an object, the opening bracket being next. `meaning` says what a key stands for, `member`
    /// reads its value; its last argument is true as long as all keys so far are known to be different.
    /// Returns the number of members.
    #[inline(always)]
    pub(super) fn each_member<'a>(
        &mut self,
        scanner: &mut Scanner<'a>,
        meaning: impl Fn(Cow<'a, str>) -> T,
        mut member: impl FnMut(T, &mut Scanner<'a>, bool) -> Result<(), Broken>,
    ) -> Result<usize, Broken> {
        scanner.expect(b'{', "an object")?;
        scanner.skip_space();
        if scanner.take(b'}') {
            return Ok(0);
        }
        let (mut i, mut guessed) = (0, true);
        loop {
            let key = match self.remembered.get(i) {
                Some((literal, key)) if scanner.take_literal(literal) => key.clone(),
                _ => {
                    guessed = false;
                    self.learn(i, scanner, &meaning)?
                }
            };
            scanner.skip_space();
            member(key, scanner, guessed && i < self.distinct)?;
            i += 1;
            scanner.skip_space();
            if scanner.take(b',') {
                scanner.skip_space();
                continue;
            }
            scanner.expect(b'}', "',' or '}'")?;
            return Ok(i);
        }
    }

    /// Reads the `i`-th key and remembers it.
    #[inline(never)]
    fn learn<'a>(
        &mut self,
        i: usize,
        scanner: &mut Scanner<'a>,
        meaning: impl Fn(Cow<'a, str>) -> T,
    ) -> Result<T, Broken> {
        let text = scanner.string()?;
        scanner.skip_space();
        scanner.expect(b':', "':'")?;
        let literal = match text {
            Cow::Borrowed(key) => Literal::key(key),
            Cow::Owned(_) => Literal::NEVER,
        };
        let key = meaning(text);
        self.distinct = self.distinct.min(i);
        if let Some(place) = self.remembered.get_mut(i) {
            *place = (literal, key.clone());
        } else if i < REMEMBERED_MAX {
            self.remembered.push((literal, key.clone()));
        }
        Ok(key)
    }

    /// Notes that the first `n` keys of the last object are different from each other.
    pub(super) fn are_distinct(&mut self, n: usize) {
        self.distinct = self.distinct.max(n.min(self.remembered.len()));
    }
}
