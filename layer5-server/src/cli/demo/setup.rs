//! What the demo runs on: free ports, a temporary data folder, and a configuration for a clock that races.
//! In: the ports that were asked for, the neighbours' addresses, the fleet's clock. Out: a [`Config`].
//! Invariants: everything listens on loopback; a port that was asked for by name is taken or refused, never replaced.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

use crate::{
    config::{CohortConfig, Config, LogFormat, ParameterConfig, ParameterType, parse},
    standin::{clock::FleetClock, surface::TUNABLES},
};

/// Ports tried above the usual one before the demo gives up.
const PORTS_TRIED: u16 = 100;
/// Duplicates are recognised for an hour of the fleet's clock, which is a tenth of a second of ours.
const DEDUP_WINDOW_SECONDS: f64 = 3600.0;
/// A tick is this long because the fleet's hour is: 8 steps of the fleet.
const TICK_MILLIS: u64 = 100;

/// An address to listen on, and whether it is the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listen {
    pub(super) address: SocketAddr,
    pub(super) usual: bool,
}

/// The port `asked` for, or the first free one from `usual` upwards.
///
/// # Errors
/// When the port asked for is taken, or none of those tried is free.
pub(super) fn listen(asked: Option<u16>, usual: u16) -> io::Result<Listen> {
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let free = |port: u16| TcpListener::bind(at(port)).and_then(|listener| listener.local_addr());
    if let Some(port) = asked {
        let address = free(port).map_err(|error| {
            io::Error::new(error.kind(), format!("port {port} can't be had: {error}"))
        })?;
        return Ok(Listen {
            address,
            usual: port == usual,
        });
    }
    (usual..usual.saturating_add(PORTS_TRIED))
        .find_map(|port| {
            free(port).ok().map(|address| Listen {
                address,
                usual: port == usual,
            })
        })
        .ok_or_else(|| {
            let last = usual.saturating_add(PORTS_TRIED - 1);
            io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("no free port in {usual}..={last}"),
            )
        })
}

/// What both sources need: addresses and folder.
pub(super) fn base_config(api: SocketAddr, metrics: SocketAddr, data_dir: &Path) -> Config {
    let mut config = parse("the demo", "").expect("every key has a default");
    config.http.listen = api;
    config.metrics.listen = metrics;
    config.store.data_dir = data_dir.to_owned();
    config.log.level = "warn".to_owned();
    config.log.format = LogFormat::Text;
    config
}

/// Adds what the fleet needs: a week of reports counts as recent, and there is something to tune.
pub(super) fn with_fleet(mut config: Config, clock: &FleetClock, seed: u64) -> Config {
    config.limits.max_age_seconds = clock.age_seconds_max();
    config.limits.dedup_window_seconds = DEDUP_WINDOW_SECONDS;
    config.store.raw_days = (clock.age_seconds_max() / 86_400.0).max(config.store.raw_days);
    config.pipeline.tick_millis = TICK_MILLIS;
    config.cohort = vec![cohort(seed)];
    config
}

fn cohort(seed: u64) -> CohortConfig {
    let mut config = parse("the demo", "[[cohort]]\nname = \"fleet\"\nagents = \"*\"\n")
        .expect("a cohort needs no more than a name");
    let mut cohort = config.cohort.remove(0);
    cohort.seed = seed;
    cohort.parameter = TUNABLES
        .iter()
        .map(|tunable| ParameterConfig {
            name: tunable.name.to_owned(),
            kind: if tunable.integer {
                ParameterType::Int
            } else {
                ParameterType::Float
            },
            low: tunable.low,
            high: tunable.high,
            log: tunable.log,
            initial: tunable.initial,
        })
        .collect();
    cohort
}

#[cfg(test)]
mod tests {
    use layer5_core::Timestamp;

    use super::*;

    #[test]
    fn the_next_free_port_is_found_and_a_named_one_is_not_replaced() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
        let taken = holder.local_addr().expect("bound").port();
        assert!(listen(Some(taken), 8080).is_err());
        let next = listen(None, taken).expect("one of a hundred is free");
        assert!(next.address.port() > taken && !next.usual);
    }

    #[test]
    fn the_configuration_is_legal() {
        let now = Timestamp::from_millis(1_795_436_298_000);
        let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for steps in [1, 2400, 50_000] {
            let clock = FleetClock::ending_before(now, steps);
            let config = base_config(address(8080), address(9090), Path::new("/nowhere"));
            let config = with_fleet(config, &clock, 7);
            config.check().expect("legal");
            assert!(config.limits.max_age_seconds > now.seconds_since(clock.at(0)));
            assert_eq!(config.cohort[0].parameter.len(), TUNABLES.len());
        }
    }
}
