//! Guesses the keys of an object: senders write the same keys in the same order, report after report.
//! In: a scanner in front of an object. Out: what each key means, and the scanner in front of its value. Called from:
//! `report_json`.
//! Remembered is all that stood between one value and the next: comma, key, colon and white space. A guess that is right
//! costs four word comparisons instead of a search for the quote and for the name; one that is wrong costs those
//! comparisons, and the next guess is better.
//! Invariants: a guess never changes what is read, only how fast.

use std::borrow::Cow;

use super::scan::{Broken, Literal, Scanner};

/// Most keys that are remembered per kind of object.
const REMEMBERED_MAX: usize = 64;

/// The keys of the last object of one kind, in order.
#[derive(Debug)]
pub(super) struct Keys<T> {
    /// Behind the most that are remembered, one place for all the rest, which is never guessed.
    remembered: Vec<Remembered<T>>,
    /// So many keys from the first on are known to be different from each other.
    distinct: usize,
}

#[derive(Debug)]
struct Remembered<T> {
    /// What stood before the value.
    literal: Literal,
    /// What the key means.
    key: T,
    /// How long the value was, if it was a string, bytes.
    text_bytes: usize,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Self {
            remembered: Vec::new(),
            distinct: 0,
        }
    }
}

/// What is known of a member before its value is read.
#[derive(Debug)]
pub(super) struct Known<'k> {
    /// All keys so far are different.
    pub(super) distinct: bool,
    /// How long the value was the last time, if it was a string; to be told how long it is.
    pub(super) text_bytes: &'k mut usize,
}

impl<T: Clone> Keys<T> {
    /// Reads the members of an object, the opening bracket being next. `meaning` says what a key stands for, `member`
    /// reads its value. Returns the number of members.
    #[inline(always)]
    pub(super) fn each_member<'a>(
        &mut self,
        scanner: &mut Scanner<'a>,
        meaning: impl Fn(Cow<'a, str>) -> T,
        mut member: impl FnMut(T, &mut Scanner<'a>, Known<'_>) -> Result<(), Broken>,
    ) -> Result<usize, Broken> {
        scanner.expect(b'{', "an object")?;
        let (mut i, mut guessed) = (0, true);
        loop {
            let place = i.min(REMEMBERED_MAX);
            let right = match self.remembered.get(place) {
                Some(remembered) => scanner.take_literal(&remembered.literal),
                None => false,
            };
            if right {
                // There may be more white space than the last time.
                scanner.skip_space();
            } else {
                guessed = false;
                if scanner.take(b'}') || !self.learn(i, scanner, &meaning)? {
                    return Ok(i);
                }
            }
            let remembered = &mut self.remembered[place];
            let known = Known {
                distinct: guessed && i < self.distinct,
                text_bytes: &mut remembered.text_bytes,
            };
            member(remembered.key.clone(), scanner, known)?;
            i += 1;
        }
    }

    /// Reads all that stands before the `i`-th value and remembers it; false at the closing bracket.
    #[inline(never)]
    fn learn<'a>(
        &mut self,
        i: usize,
        scanner: &mut Scanner<'a>,
        meaning: impl Fn(Cow<'a, str>) -> T,
    ) -> Result<bool, Broken> {
        let start = scanner.offset();
        scanner.skip_space();
        if scanner.peek() == b'}' {
            scanner.advance(1);
            return Ok(false);
        }
        if i > 0 {
            scanner.expect(b',', "',' or '}'")?;
            scanner.skip_space();
        }
        let text = scanner.string()?;
        scanner.skip_space();
        scanner.expect(b':', "':'")?;
        scanner.skip_space();
        let literal = match text {
            Cow::Borrowed(_) if i < REMEMBERED_MAX => Literal::new(scanner.since(start)),
            _ => Literal::NEVER,
        };
        self.distinct = self.distinct.min(i);
        let remembered = Remembered {
            literal,
            key: meaning(text),
            text_bytes: 0,
        };
        match self.remembered.get_mut(i.min(REMEMBERED_MAX)) {
            Some(place) => *place = remembered,
            None => self.remembered.push(remembered),
        }
        Ok(true)
    }

    /// Notes that the first `n` keys of the last object are different from each other.
    pub(super) fn are_distinct(&mut self, n: usize) {
        self.distinct = self.distinct.max(n.min(REMEMBERED_MAX));
    }
}
