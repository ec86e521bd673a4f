//! Proves that the rings do what a `VecDeque` with a limit does: random programs of every operation
//! run on both, on every small capacity, and each answer is compared. One thread, so each answer is
//! exact.
#![cfg(not(loom))]

use std::collections::VecDeque;

use layer5_ingest::ring::{ClaimError, PopError, PushError, mpsc, overwrite, spsc};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Push,
    PushAll(usize),
    PushVec(usize),
    /// Claim, fill, and publish or abandon.
    Claim {
        len: usize,
        fill: usize,
        publish: bool,
    },
    Pop,
    Drain(usize),
    /// Look at up to `max`, take `take`.
    Chunk {
        max: usize,
        take: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Push),
        1 => (0..12_usize).prop_map(Op::PushAll),
        1 => (0..12_usize).prop_map(Op::PushVec),
        2 => (0..12_usize, 0..14_usize, any::<bool>())
            .prop_map(|(len, fill, publish)| Op::Claim { len, fill, publish }),
        3 => Just(Op::Pop),
        1 => (0..12_usize).prop_map(Op::Drain),
        1 => (0..12_usize, 0..14_usize).prop_map(|(max, take)| Op::Chunk { max, take }),
    ]
}

/// Slots of the model: a value, or one that a claim gave back empty and the consumer has not passed
/// (`mpsc` only).
type Model = VecDeque<Option<u64>>;

/// What `claim` must answer to `n` on a model of `capacity` slots.
fn claim_answer(model: &Model, capacity: usize, n: usize) -> Result<(), ClaimError> {
    let free = capacity - model.len();
    match n {
        n if n > capacity => Err(ClaimError::TooLarge { asked: n, capacity }),
        n if n > free => Err(ClaimError::Full { asked: n, free }),
        _ => Ok(()),
    }
}

/// Passes over the empty slots at the front, as the consumer does when it looks for more.
fn skip_front(model: &mut Model) {
    while model.front() == Some(&None) {
        model.pop_front();
    }
}

/// Runs `ops` on one kind of ring. The two kinds share their method names but no trait, hence a
/// macro; `$gives_back` says that an empty slot is free at once (`spsc`).
macro_rules! run {
    ($channel:expr, $capacity:expr, $ops:expr, $gives_back:expr) => {{
        let capacity = $capacity;
        #[allow(unused_mut, reason = "only the one-to-one producer is used by `&mut`")]
        let (mut producer, mut consumer) = $channel(capacity);
        let gauge = consumer.gauge();
        let mut model = Model::new();
        let mut next = 0_u64;
        for op in $ops {
            match op {
                Op::Push => {
                    let answer = producer.push(next);
                    if model.len() < capacity {
                        prop_assert_eq!(answer, Ok(()));
                        model.push_back(Some(next));
                    } else {
                        prop_assert_eq!(answer, Err(PushError::Full(next)));
                    }
                    next += 1;
                }
                Op::PushAll(n) => {
                    let values: Vec<u64> = (next..).take(n).collect();
                    let answer = producer.push_all(&values);
                    prop_assert_eq!(answer, claim_answer(&model, capacity, n));
                    if answer.is_ok() {
                        model.extend(values.into_iter().map(Some));
                    }
                    next += n as u64;
                }
                Op::PushVec(n) => {
                    let values: Vec<u64> = (next..).take(n).collect();
                    let mut moved = values.clone();
                    let answer = producer.push_vec(&mut moved);
                    prop_assert_eq!(answer, claim_answer(&model, capacity, n));
                    if answer.is_ok() {
                        prop_assert!(moved.is_empty());
                        model.extend(values.into_iter().map(Some));
                    } else {
                        prop_assert_eq!(moved, values);
                    }
                    next += n as u64;
                }
                Op::Claim { len, fill, publish } => {
                    let answer = claim_answer(&model, capacity, len);
                    match producer.claim(len) {
                        Err(error) => prop_assert_eq!(Err(error), answer),
                        Ok(mut claim) => {
                            prop_assert_eq!(Ok(()), answer);
                            let filled = claim.fill((next..).take(fill));
                            prop_assert_eq!(filled, fill.min(len));
                            prop_assert_eq!(claim.remaining(), len - filled);
                            if filled == len {
                                prop_assert_eq!(claim.push(0), Err(0));
                            }
                            let kept = if publish {
                                claim.publish()
                            } else {
                                drop(claim);
                                0
                            };
                            prop_assert_eq!(kept, if publish { filled } else { 0 });
                            model.extend((next..).take(kept).map(Some));
                            if !$gives_back {
                                model.extend((kept..len).map(|_| None));
                            }
                        }
                    }
                    next += fill as u64;
                }
                Op::Pop => {
                    skip_front(&mut model);
                    let expected = model
                        .pop_front()
                        .map(|slot| slot.expect("front is skipped to a value"));
                    prop_assert_eq!(consumer.pop(), expected.ok_or(PopError::Empty));
                }
                Op::Drain(max) => {
                    let mut out = vec![u64::MAX];
                    let n = consumer.drain_into(&mut out, max);
                    skip_front(&mut model);
                    let run = model.iter().take_while(|slot| slot.is_some()).count();
                    prop_assert_eq!(n, run.min(max));
                    prop_assert_eq!(out[0], u64::MAX);
                    let expected: Vec<u64> = model.drain(..n).flatten().collect();
                    prop_assert_eq!(&out[1..], &expected[..]);
                }
                Op::Chunk { max, take } => {
                    let chunk = consumer.chunk(max);
                    skip_front(&mut model);
                    let run = model.iter().take_while(|slot| slot.is_some()).count();
                    prop_assert_eq!(chunk.len(), run.min(max));
                    let (before, after) = chunk.as_slices();
                    let seen: Vec<u64> = before.iter().chain(after).copied().collect();
                    let expected: Vec<u64> =
                        model.iter().take(run.min(max)).copied().flatten().collect();
                    prop_assert_eq!(seen, expected);
                    let taken = chunk.commit(take);
                    prop_assert_eq!(taken, take.min(run.min(max)));
                    model.drain(..taken);
                }
            }
            prop_assert_eq!(gauge.len(), model.len());
            prop_assert!(gauge.high_watermark() >= gauge.len());
            prop_assert!(gauge.high_watermark() <= capacity);
        }
        drop(producer);
        skip_front(&mut model);
        while let Some(slot) = model.pop_front() {
            if let Some(value) = slot {
                prop_assert_eq!(consumer.pop(), Ok(value));
            }
        }
        prop_assert_eq!(consumer.pop(), Err(PopError::Closed));
    }};
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn spsc_is_a_bounded_deque(capacity in 1..=9_usize, ops in prop::collection::vec(op(), 0..120)) {
        run!(spsc::channel, capacity, ops, true);
    }

    #[test]
    fn mpsc_is_a_bounded_deque(capacity in 1..=9_usize, ops in prop::collection::vec(op(), 0..120)) {
        run!(mpsc::channel, capacity, ops, false);
    }

    #[test]
    fn overwrite_keeps_the_latest(capacity in 1..=5_usize, pushes in prop::collection::vec(any::<bool>(), 0..80)) {
        let (producer, consumer) = overwrite::channel(capacity);
        let mut model = VecDeque::new();
        let mut lost = 0;
        for (i, push) in pushes.into_iter().enumerate() {
            if push {
                let displaced = if model.len() == capacity { model.pop_front() } else { None };
                lost += u64::from(displaced.is_some());
                model.push_back(i);
                prop_assert_eq!(producer.push(i), Ok(displaced));
            } else {
                prop_assert_eq!(consumer.pop().ok(), model.pop_front());
            }
            prop_assert_eq!((consumer.len(), consumer.lost()), (model.len(), lost));
        }
        drop(producer);
        let mut rest = Vec::new();
        consumer.drain_into(&mut rest, usize::MAX);
        prop_assert!(rest.into_iter().eq(model));
        prop_assert_eq!(consumer.pop(), Err(PopError::Closed));
    }
}
