//! Every rule of a space is broken once, and what is legal is counted and checked.

use super::*;

fn check(domain: Domain) -> Result<Space, SpaceError> {
    Space::new(vec![Parameter::new("x", domain)])
}

#[test]
fn every_broken_rule_has_its_own_variant() {
    assert!(matches!(Space::new(vec![]), Err(SpaceError::NoParameters)));
    let many = |n: usize| {
        Space::new(
            (0..n)
                .map(|i| Parameter::new(i.to_string(), Domain::float(0.0, 1.0)))
                .collect(),
        )
    };
    assert!(many(PARAMETERS_MAX).is_ok());
    assert!(matches!(
        many(PARAMETERS_MAX + 1),
        Err(SpaceError::TooManyParameters { .. })
    ));
    let two = |a: &str, b: &str| {
        Space::new(vec![
            Parameter::new(a, Domain::int(0, 1)),
            Parameter::new(b, Domain::int(0, 1)),
        ])
    };
    assert!(matches!(two("a", "a"), Err(SpaceError::NameTwice { .. })));
    assert!(matches!(
        two("a", ""),
        Err(SpaceError::NameEmpty { index: 1 })
    ));
    for (low, high) in [(f64::NAN, 1.0), (0.0, f64::INFINITY)] {
        assert!(matches!(
            check(Domain::float(low, high)),
            Err(SpaceError::BoundNotFinite { .. })
        ));
    }
    for (low, high) in [(1.0, 1.0), (2.0, 1.0)] {
        assert!(matches!(
            check(Domain::float(low, high)),
            Err(SpaceError::BoundsNotOrdered { .. })
        ));
    }
    assert!(matches!(
        check(Domain::int(3, 3)),
        Err(SpaceError::BoundsNotOrdered { .. })
    ));
    assert!(matches!(
        check(Domain::log_float(0.0, 1.0)),
        Err(SpaceError::LogNeedsPositive { .. })
    ));
    assert!(matches!(
        check(Domain::float(-1e308, 1e308)),
        Err(SpaceError::TooWide { .. })
    ));
    assert!(matches!(
        check(Domain::int(i64::MIN, 0)),
        Err(SpaceError::TooWide { .. })
    ));
    for step in [0.0, -1.0, 2.0, f64::NAN] {
        let domain = Domain::Float {
            low: 0.0,
            high: 1.0,
            log: false,
            step: Some(step),
        };
        assert!(matches!(check(domain), Err(SpaceError::Step { .. })));
    }
    let both = Domain::Int {
        low: 1,
        high: 9,
        log: true,
        step: Some(2),
    };
    assert!(matches!(check(both), Err(SpaceError::LogWithStep { .. })));
    let none: [&str; 0] = [];
    assert!(matches!(
        check(Domain::categorical(none)),
        Err(SpaceError::NoChoices { .. })
    ));
    assert!(matches!(
        check(Domain::categorical(["a", "a"])),
        Err(SpaceError::ChoiceTwice { .. })
    ));
    let names = |n: usize| Domain::categorical((0..n).map(|i| i.to_string()));
    assert!(check(names(CHOICES_MAX)).is_ok());
    assert!(matches!(
        check(names(CHOICES_MAX + 1)),
        Err(SpaceError::TooManyChoices { .. })
    ));
}

#[test]
fn counts_its_points() {
    let space = Space::new(vec![
        Parameter::new(
            "n",
            Domain::Int {
                low: 1,
                high: 10,
                log: false,
                step: Some(3),
            },
        ),
        Parameter::new("k", Domain::categorical(["a", "b", "c"])),
        Parameter::new(
            "f",
            Domain::Float {
                low: 0.0,
                high: 0.3,
                log: false,
                step: Some(0.1),
            },
        ),
    ])
    .expect("valid");
    assert_eq!(space.n_points(), Some(4 * 3 * 4));
    let wide = Domain::int(-INT_MAGNITUDE_MAX, INT_MAGNITUDE_MAX);
    let space =
        Space::new(["a", "b"].map(|n| Parameter::new(n, wide.clone())).to_vec()).expect("valid");
    assert_eq!(space.n_points(), None);
}

#[test]
fn a_point_is_checked_by_length_kind_and_bounds() {
    let space = Space::new(vec![
        Parameter::new("x", Domain::float(0.0, 1.0)),
        Parameter::new("k", Domain::categorical(["a", "b"])),
    ])
    .expect("valid");
    let check = |values: &[Value]| space.check(&Point(values.to_vec()));
    assert!(check(&[Value::Float(1.0), Value::Choice(1)]).is_ok());
    assert!(matches!(
        check(&[Value::Float(1.0)]),
        Err(PointError::Length { .. })
    ));
    assert!(matches!(
        check(&[Value::Int(1), Value::Choice(1)]),
        Err(PointError::Kind { .. })
    ));
    for x in [1.1, f64::NAN] {
        let outside = check(&[Value::Float(x), Value::Choice(1)]);
        assert!(matches!(outside, Err(PointError::Outside { .. })));
    }
    assert!(check(&[Value::Float(0.5), Value::Choice(2)]).is_err());
}
