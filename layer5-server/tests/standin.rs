//! What the stand-in fleet and the host sampler write is what the border takes: every good line passes decode and
//! validation, every planted mistake is refused for the reason that it was planted for. The two sides share no code
//! for the wire, so agreement here is agreement with the contract.

use layer5_core::{Reason, ReportLimits, Timestamp, validate};
use layer5_ingest::{BodyFormat, DecodeLimits, decode_reports};
use layer5_server::standin::{
    clock::FleetClock,
    host::HostSampler,
    truth::Truth,
    world::{Post, World},
};

const AGENTS: usize = 40;
const STEPS: usize = 800;

fn rejected(post: &Post, limits: &ReportLimits, now: Timestamp) -> Vec<(usize, Reason)> {
    let mut rejected = Vec::new();
    let mut lines = 0;
    decode_reports(
        &post.body,
        BodyFormat::Ndjson,
        &DecodeLimits::default(),
        &mut |index, report, _| {
            lines += 1;
            if let Err(rejection) = report.and_then(|report| validate(report, limits, now)) {
                rejected.push((index, rejection.reason));
            }
        },
    )
    .expect("a readable body");
    assert_eq!(lines, post.lines);
    rejected
}

#[test]
fn the_border_agrees_with_the_fleet_line_by_line() {
    let now = Timestamp::from_millis(1_795_436_298_000);
    let clock = FleetClock::ending_before(now, STEPS);
    let mut world = World::new(7, AGENTS, clock, Truth::draw(7, AGENTS, STEPS));
    let limits = ReportLimits {
        max_age_seconds: clock.age_seconds_max(),
        ..ReportLimits::default()
    };
    let mut seen = 0;
    for from in (0..STEPS).step_by(8) {
        for post in world.write(from..from + 8) {
            let planted: Vec<(usize, Reason)> = post
                .mistakes
                .iter()
                .map(|(index, mistake)| (*index, mistake.reason()))
                .collect();
            assert_eq!(rejected(&post, &limits, now), planted);
            seen += planted.len();
        }
    }
    // Six sorts of mistakes, one in 997 of 32 000 reports.
    assert!(seen >= 24, "{seen}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_border_takes_what_this_machine_says() {
    let mut host = HostSampler::new(50).expect("a Linux");
    let now = Timestamp::from_millis(1_795_436_298_000);
    let first = host.sample(now).expect("readable");
    assert_eq!(first.lines, 0, "rates need two readings");
    for second in 1..4 {
        let at = now.plus_seconds(f64::from(second));
        let post = host.sample(at).expect("readable");
        assert!(post.lines > 0);
        assert_eq!(rejected(&post, &ReportLimits::default(), at), []);
    }
}
