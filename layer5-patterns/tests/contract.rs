//! Proves what every streaming detector promises, by running each through one table of checks: deterministic,
//! values that are not finite refused without effect, warm-up honoured, reset is new, late samples refused, a state
//! stored and restored in mid-stream goes on the same, and its size does not grow.

use layer5_core::Timestamp;
use layer5_patterns::anomaly::{flatline::FlatlineAlone, gap::Gap, novelty::Novelty, spike::Spike};
use layer5_patterns::change_point::{online::Focus, shift::Shift, variability::VariabilityAlone};
use layer5_patterns::limit::{Approach, Limit, Side};
use layer5_patterns::{Alone, Detector, Outcome, Refusal, Watch, WatchConfig};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Serialize, de::DeserializeOwned};

/// Most bytes a state may have: a million series are to fit a gigabyte with all that is kept beside their watches.
const STATE_BYTES: usize = 680;

type Samples = Vec<(f64, Timestamp)>;

fn samples(n: usize) -> Samples {
    let mut rng = Pcg64Mcg::seed_from_u64(3);
    (0..n)
        .map(|i| {
            let noise = rng.random::<f64>() + rng.random::<f64>();
            let level = if i % 700 < 600 { 40.0 } else { 55.0 };
            let cycle = 5.0 * (i as f64 * std::f64::consts::TAU / 288.0).sin();
            let gap = if i >= 900 { 40_000 } else { 0 };
            (
                level + cycle + noise,
                Timestamp::from_millis(300_000 * i as i64 + gap),
            )
        })
        .collect()
}

/// Streams that broke something somewhere.
fn hard_streams() -> Vec<(&'static str, Samples)> {
    let every = |step_ms: i64, value: fn(i64) -> f64| -> Samples {
        (0..700)
            .map(|i| (value(i), Timestamp::from_millis(step_ms * i)))
            .collect()
    };
    let end = |millis: i64| Timestamp::from_nanos(if millis < 0 { i64::MIN } else { i64::MAX });
    vec![
        ("empty", Vec::new()),
        ("one value", vec![(3.0, Timestamp::EPOCH)]),
        ("all equal", every(1000, |_| 7.0)),
        ("all zero", every(1000, |_| 0.0)),
        ("no number", every(1000, |_| f64::NAN)),
        ("large beside small", {
            every(1000, |i| if i % 2 == 0 { 1e308 } else { 1e-308 })
        }),
        ("alternating extremes", {
            every(1000, |i| if i % 2 == 0 { f64::MAX } else { f64::MIN })
        }),
        ("one extreme in noise", {
            every(1000, |i| if i == 400 { 1e300 } else { (i * i % 17) as f64 })
        }),
        (
            "powers",
            every(1000, |i| 10f64.powi((i % 600) as i32 - 300)),
        ),
        ("one moment", every(0, |i| (i % 5) as f64)),
        ("backwards", every(-1000, |i| (i % 5) as f64)),
        ("years between", every(31_536_000_000, |i| (i % 5) as f64)),
        ("ends of time", {
            vec![(1.0, end(-1)), (2.0, end(-1)), (3.0, end(1)), (4.0, end(1))]
        }),
    ]
}

fn outcomes(detector: &mut impl Detector, samples: &Samples) -> Vec<Outcome> {
    samples
        .iter()
        .map(|&(v, at)| detector.update(v, at))
        .collect()
}

/// The whole contract for one detector.
fn check<D>(new: impl Fn() -> D)
where
    D: Detector + Serialize + DeserializeOwned + PartialEq + Clone + std::fmt::Debug,
{
    let stream = samples(1500);
    let mut first = new();
    let expected = outcomes(&mut first, &stream);
    let mut second = new();
    assert_eq!(outcomes(&mut second, &stream), expected, "deterministic");

    let warm = first.warm_up() as usize;
    for (i, outcome) in expected.iter().enumerate() {
        match outcome {
            Outcome::WarmUp { needed } => assert_eq!(*needed as usize, warm - i, "at {i}"),
            Outcome::Score(score) => {
                assert!(i >= warm, "score at {i} before the warm-up of {warm}");
                assert!((0.0..=1.0).contains(score), "{score}");
            }
            other => panic!("{other:?} for a good sample"),
        }
    }

    let at = stream[stream.len() - 1].1;
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(first.update(bad, at), Outcome::Refused(Refusal::NotFinite));
    }
    let late = Timestamp::from_nanos(at.nanos() - 1);
    assert_eq!(first.update(1.0, late), Outcome::Refused(Refusal::Late));
    assert_eq!(first, second, "a refused sample has no effect");

    let text = serde_json::to_string(&first).expect("plain data");
    let mut restored: D = serde_json::from_str(&text).expect("what was written");
    let more: Samples = samples(2000).split_off(1500);
    assert_eq!(
        outcomes(&mut restored, &more),
        outcomes(&mut first, &more),
        "restored"
    );

    for (name, stream) in hard_streams() {
        let mut detector = new();
        for outcome in outcomes(&mut detector, &stream) {
            let good = outcome.score().is_none_or(|s| (0.0..=1.0).contains(&s));
            assert!(good, "{name}: {outcome:?}");
        }
    }

    // Plain data without pointers: what it takes in memory is all it takes.
    assert!(size_of::<D>() <= STATE_BYTES, "{}", size_of::<D>());

    first.reset();
    assert_eq!(first, new(), "reset is new");
}

#[test]
fn spike() {
    check(Alone::<Spike>::default);
}

#[test]
fn flatline() {
    check(Alone::<FlatlineAlone>::default);
}

#[test]
fn gap() {
    check(Alone::<Gap>::default);
}

#[test]
fn novelty() {
    check(Alone::<Novelty>::default);
}

#[test]
fn shift() {
    check(Alone::<Shift>::default);
}

#[test]
fn variability() {
    check(Alone::<VariabilityAlone>::default);
}

#[test]
fn focus() {
    check(Alone::<Focus>::default);
}

#[test]
fn watch() {
    check(|| Watch::new(&WatchConfig::default()));
}

#[test]
fn a_watch_restored_in_mid_stream_says_the_same() {
    let config = WatchConfig::default();
    let stream = samples(4000);
    let mut whole = Watch::new(&config);
    let mut parts = whole;
    for (i, &(value, at)) in stream.iter().enumerate() {
        if i % 333 == 0 {
            let text = serde_json::to_string(&parts).expect("plain data");
            parts = serde_json::from_str(&text).expect("what was written");
        }
        let said = whole.update(value, at, &config);
        assert_eq!(parts.update(value, at, &config), said, "at {i}");
    }
}

/// Values that tempt an implementation to overflow, divide by zero or lose its scale.
fn awkward() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(0.0),
        Just(1e308),
        Just(-1e308),
        Just(1e-308),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        -1.0..1.0,
    ]
}

proptest! {
    #[test]
    fn any_stream_is_answered_with_finite_numbers(
        stream in prop::collection::vec((awkward(), -10i64..1_000_000), 0..600),
    ) {
        let config = WatchConfig::default();
        let mut watch = Watch::new(&config);
        let mut at = Timestamp::EPOCH;
        for (value, step_ms) in stream {
            at = Timestamp::from_millis(at.millis() + step_ms);
            let update = watch.update(value, at, &config);
            if let Some(score) = update.score.score() {
                prop_assert!((0.0..=1.0).contains(&score));
            }
            if let Some(alarm) = update.alarm {
                prop_assert!(alarm.strength > 0.0 && alarm.strength <= 1.0);
                prop_assert!(alarm.magnitude.is_finite() && alarm.baseline.is_finite());
            }
            for f in update.findings.iter() {
                prop_assert!(f.start <= f.end && f.end <= f.detected_at, "{:?}", f);
                prop_assert!((0.0..=1.0).contains(&f.score) && (0.0..=1.0).contains(&f.confidence));
                prop_assert!(f.magnitude.is_finite() && f.baseline.is_finite());
            }
            let state = watch.state();
            prop_assert!(state.level.is_finite() && state.scale.is_finite() && state.baseline.is_finite());
        }
    }
}

proptest! {
    #[test]
    fn any_stream_is_answered_by_every_part(
        stream in prop::collection::vec((awkward(), -10i64..1_000_000), 0..400),
    ) {
        let parts: [Box<dyn Detector>; 7] = [
            Box::new(Alone::<Spike>::default()),
            Box::new(Alone::<FlatlineAlone>::default()),
            Box::new(Alone::<Gap>::default()),
            Box::new(Alone::<Novelty>::default()),
            Box::new(Alone::<Shift>::default()),
            Box::new(Alone::<VariabilityAlone>::default()),
            Box::new(Alone::<Focus>::default()),
        ];
        for mut part in parts {
            let mut at = Timestamp::EPOCH;
            for &(value, step_ms) in &stream {
                at = Timestamp::from_millis(at.millis() + step_ms);
                let outcome = part.update(value, at);
                prop_assert!(outcome.score().is_none_or(|s| (0.0..=1.0).contains(&s)), "{:?}", outcome);
            }
        }
    }

    #[test]
    fn any_limit_is_answered(
        values in prop::collection::vec(awkward(), 0..500),
        limit in awkward(),
        slope in -1.0..1.0_f64,
    ) {
        let config = WatchConfig::default();
        let mut watch = Watch::new(&config);
        for (i, wild) in values.iter().enumerate() {
            // Every ninth value is awkward, the others are on a line.
            let value = if i % 9 == 8 { *wild } else { slope * i as f64 };
            watch.update(value, Timestamp::from_millis(3_600_000 * i as i64), &config);
            for side in [Side::Above, Side::Below] {
                let limit = Limit { value: limit, side, horizon_seconds: 86_400.0 };
                if let Some(b) = watch.breach(&limit) {
                    prop_assert!(0.0 <= b.earliest && b.earliest <= b.seconds && b.seconds <= b.latest, "{:?}", b);
                }
                if let Some(f) = Approach::default().step(&watch, &limit) {
                    prop_assert!((0.0..=1.0).contains(&f.score) && (0.0..=1.0).contains(&f.confidence));
                    prop_assert!(f.magnitude.is_finite() && f.baseline.is_finite());
                }
            }
        }
    }
}

#[test]
fn a_million_samples_at_one_moment_are_taken() {
    let config = WatchConfig::default();
    let mut watch = Watch::new(&config);
    for i in 0..1_000_000_u32 {
        watch.update(f64::from(i % 7), Timestamp::EPOCH, &config);
    }
    assert_eq!(watch.state().n, 1_000_000);
    assert_eq!(watch.state().spacing_seconds, None);
}
