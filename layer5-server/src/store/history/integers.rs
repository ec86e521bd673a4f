//! Sequences of integers in few bits: a predictor, and the error of each prediction as an adaptive Rice code.
//! In: values of one column, in time. Out: bytes, and back. Called from: [`super::values`], [`super::chunk`].
//! Layout: head byte (255 = constant, else predictor in bits 6-7 and the first `k` in bits 0-5), the first value (zigzag
//! varint), then the bits of the others. An error `u` (zigzag) is `u >> k` ones and a zero, then its `k` low bits; from
//! [`ESCAPE`] ones on, its 64 bits follow instead. `k` follows the running mean of the errors, so nothing is stored for it.
//! Invariants: every sequence of `i64` comes back, by wrapping arithmetic; no bytes make `read` panic.
//! Reference: Rice and Plaunt (1971); the adaptation is that of LOCO-I (Weinberger, Seroussi and Sapiro, 2000).

use super::bits::{BitReader, BitWriter};
use crate::store::columns::{Cursor, unzigzag, write_varint, zigzag};

/// Ones that announce an error in full; one beyond which a Rice code would be longer than the error itself.
const ESCAPE: u32 = 24;
/// The head of a sequence whose values are all the same.
const CONSTANT: u8 = 255;
/// Weight of the newest error in the running mean: 1/16.
const MEAN_SHIFT: u32 = 4;
/// Levels are kept with so many binary places.
const LEVEL_PLACES: u32 = 8;
/// Largest `k` of a head byte, so that none reads as [`CONSTANT`].
const K_MAX: u32 = 62;

/// What the next value is expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Predictor {
    /// The one before: what moves slowly, or in steps.
    Last,
    /// A level that follows by 1/16: noise round a mean.
    SlowLevel,
    /// A level that follows by 1/4: noise round a mean that moves.
    FastLevel,
    /// The one before plus the last step: times, counters.
    Line,
}

const PREDICTORS: [Predictor; 4] = [
    Predictor::Last,
    Predictor::SlowLevel,
    Predictor::FastLevel,
    Predictor::Line,
];

/// A predictor at work.
struct Prediction {
    predictor: Predictor,
    last: i64,
    step: i64,
    level: i128,
}

impl Prediction {
    fn new(predictor: Predictor, first: i64) -> Self {
        Self {
            predictor,
            last: first,
            step: 0,
            level: i128::from(first) << LEVEL_PLACES,
        }
    }

    fn next(&self) -> i64 {
        match self.predictor {
            Predictor::Last => self.last,
            // The level lies between values seen, so it fits.
            Predictor::SlowLevel | Predictor::FastLevel => (self.level >> LEVEL_PLACES) as i64,
            Predictor::Line => self.last.wrapping_add(self.step),
        }
    }

    fn see(&mut self, value: i64) {
        let shift = match self.predictor {
            Predictor::SlowLevel => 4,
            _ => 2,
        };
        self.level += ((i128::from(value) << LEVEL_PLACES) - self.level) >> shift;
        self.step = value.wrapping_sub(self.last);
        self.last = value;
    }
}

/// The parameter of the Rice code.
struct Spread {
    /// Running mean of the errors, times 16.
    mean: u128,
}

impl Spread {
    fn starting_at(k: u32) -> Self {
        Self {
            mean: 1 << (k + MEAN_SHIFT),
        }
    }

    fn k(&self) -> u32 {
        (self.mean >> MEAN_SHIFT)
            .checked_ilog2()
            .unwrap_or(0)
            .min(63)
    }

    fn see(&mut self, error: u64) {
        self.mean += u128::from(error);
        self.mean -= self.mean >> MEAN_SHIFT;
    }
}

/// Appends the bytes of `values`, which are not empty.
///
/// # Cost
/// Five passes of a few ns a value.
pub(super) fn write(values: &[i64], bytes: &mut Vec<u8>) {
    let Some((&first, rest)) = values.split_first() else {
        return;
    };
    if rest.iter().all(|&value| value == first) {
        bytes.push(CONSTANT);
        write_varint(bytes, zigzag(first));
        return;
    }
    let (at, predictor, k) = PREDICTORS
        .iter()
        .enumerate()
        .map(|(at, &predictor)| (at, predictor, first_k(first, rest, predictor)))
        .min_by_key(|&(_, predictor, k)| cost(first, rest, predictor, k))
        .expect("there are four");
    bytes.push((at as u8) << 6 | k as u8);
    write_varint(bytes, zigzag(first));
    let mut bits = BitWriter::behind(bytes);
    for_each_error(first, rest, predictor, k, |error, k| {
        let ones = error >> k;
        if ones < u64::from(ESCAPE) {
            let ones = ones as u32;
            bits.push((1 << (ones + 1)) - 2, ones + 1);
            bits.push(error, k);
        } else {
            bits.push((1 << ESCAPE) - 1, ESCAPE);
            bits.push(error, 64);
        }
    });
    bits.finish();
}

/// The mean of the first errors tells where to begin.
fn first_k(first: i64, rest: &[i64], predictor: Predictor) -> u32 {
    let (mut sum, mut n) = (0_u128, 0_u128);
    for_each_error(
        first,
        &rest[..rest.len().min(16)],
        predictor,
        0,
        |error, _| {
            sum += u128::from(error);
            n += 1;
        },
    );
    (sum / n.max(1)).checked_ilog2().unwrap_or(0).min(K_MAX)
}

fn cost(first: i64, rest: &[i64], predictor: Predictor, k: u32) -> u64 {
    let mut n_bits = 0;
    for_each_error(first, rest, predictor, k, |error, k| {
        let ones = error >> k;
        n_bits += match ones < u64::from(ESCAPE) {
            true => ones + 1 + u64::from(k),
            false => u64::from(ESCAPE) + 64,
        };
    });
    n_bits
}

fn for_each_error(
    first: i64,
    rest: &[i64],
    predictor: Predictor,
    k: u32,
    mut visit: impl FnMut(u64, u32),
) {
    let mut prediction = Prediction::new(predictor, first);
    let mut spread = Spread::starting_at(k);
    for &value in rest {
        let error = zigzag(value.wrapping_sub(prediction.next()));
        visit(error, spread.k());
        spread.see(error);
        prediction.see(value);
    }
}

/// The `n` values that `bytes` hold to their end; `None` when they do not. `n` is at most what memory has room for: the
/// caller knows it from a table that has been read already.
pub(super) fn read(bytes: &[u8], n: usize) -> Option<Vec<i64>> {
    if n == 0 {
        return bytes.is_empty().then(Vec::new);
    }
    let mut cursor = Cursor { bytes, offset: 0 };
    let head = *cursor.take(1)?.first()?;
    let first = unzigzag(cursor.varint()?);
    if head == CONSTANT {
        return Some(vec![first; n]);
    }
    let predictor = PREDICTORS[usize::from(head >> 6)];
    let k = u32::from(head & 63);
    let mut bits = BitReader::new(&bytes[cursor.offset..]);
    let mut prediction = Prediction::new(predictor, first);
    let mut spread = Spread::starting_at(k);
    let mut values = Vec::with_capacity(n);
    values.push(first);
    for _ in 1..n {
        let k = spread.k();
        let ones = bits.ones(ESCAPE)?;
        let error = if ones < ESCAPE {
            u64::from(ones).checked_shl(k)? | bits.read(k)?
        } else {
            bits.read(64)?
        };
        let value = prediction.next().wrapping_add(unzigzag(error));
        values.push(value);
        spread.see(error);
        prediction.see(value);
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn n_bytes(values: &[i64]) -> usize {
        let mut bytes = Vec::new();
        write(values, &mut bytes);
        assert_eq!(read(&bytes, values.len()).as_deref(), Some(values));
        bytes.len()
    }

    #[test]
    fn what_is_regular_costs_next_to_nothing() {
        assert_eq!(n_bytes(&[7; 1000]), 2);
        let times: Vec<i64> = (0..1000).map(|i| 1_795_000_000_000 + 1000 * i).collect();
        // One bit for each, the head and the first value; and the first step, whose mean of 2000 / 16 and more makes the
        // codes behind it k bits longer, k falling from 10 by one in every 11 values: 11 * 55 bits.
        assert!(
            n_bytes(&times) <= 125 + 1 + 6 + 3 + 76,
            "{}",
            n_bytes(&times)
        );
    }

    #[test]
    fn the_ends_of_the_range_come_back() {
        n_bytes(&[i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN, 1]);
        n_bytes(&[0, i64::MIN]);
        n_bytes(&[3]);
        assert_eq!(read(&[], 0), Some(vec![]));
        assert_eq!(read(&[], 1), None);
    }

    proptest! {
        #[test]
        fn there_and_back(values in prop::collection::vec(any::<i64>(), 1..200)) {
            n_bytes(&values);
        }

        #[test]
        fn small_ones_there_and_back(values in prop::collection::vec(-5000_i64..5000, 1..200)) {
            // A uniform value of 14 bits costs at most two more, beside the head.
            prop_assert!(n_bytes(&values) <= values.len() * 2 + values.len() / 8 + 16);
        }

        #[test]
        fn any_bytes_are_answered(bytes in any::<Vec<u8>>(), n in 0_usize..300) {
            let _ = read(&bytes, n);
        }
    }
}
