//! `layer5 check --production`: the checklist before a service may carry production, from its configuration and from what
//! this machine gives a process started here.
//! In: a configuration, [`Machine`]. Out: verdicts as of the daily check. Called from: [`super`], in the service's own
//! environment (its container, its unit), as its user.
//! [`Machine::look`] asks, the rest is pure.

use std::{os::unix::fs::PermissionsExt, path::Path};

use super::verdict::{State, Verdict, verdict};
use crate::{
    config::{Config, LogFormat, Role},
    process,
};

/// Open files that connections do not account for: the store, its blocks, the log.
const FILES_BESIDES: f64 = 256.0;
/// Memory below which limits would be cut to nothing much, bytes.
const MEMORY_MIN: f64 = (1_u64 << 30) as f64;

/// What the machine gives.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    is_root: bool,
    open_files_max: Option<f64>,
    memory_bytes: Option<f64>,
    /// Bytes of the disk below the data folder, and whether it is kept in memory only.
    disk: Option<(f64, bool)>,
    /// Whether others than owner and group may read the tokens.
    tokens_open: Option<bool>,
}

impl Machine {
    /// Looks at this machine as the service at `config` would see it.
    pub(super) fn look(config: &Config) -> Self {
        /// `TMPFS_MAGIC` and `RAMFS_MAGIC` of Linux.
        const IN_MEMORY: [rustix::fs::FsWord; 2] = [0x0102_1994, 0x8584_58f6];
        let process = process::look();
        // The folder may not be there before the first start; its disk is that of the nearest one above.
        let mut folder: &Path = &config.store.data_dir;
        while !folder.exists() {
            folder = match folder.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
        }
        let disk = rustix::fs::statfs(folder).ok().map(|stat| {
            let bytes = stat.f_blocks as f64 * stat.f_bsize as f64;
            (bytes, IN_MEMORY.contains(&stat.f_type))
        });
        let tokens = config.auth.tokens_file.as_ref();
        let mode = tokens.and_then(|path| std::fs::metadata(path).ok());
        Self {
            is_root: std::fs::metadata("/proc/self")
                .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0),
            open_files_max: process.as_ref().map(|p| p.open_files_max),
            memory_bytes: process.and_then(|p| p.memory_limit_bytes),
            disk,
            tokens_open: mode.map(|file| file.permissions().mode() & 0o007 != 0),
        }
    }
}

/// Judges everything, in the order of the table.
pub(super) fn judge(config: &Config, machine: &Machine) -> Vec<Verdict> {
    vec![
        user(machine),
        tokens(config, machine),
        folder(config, machine),
        files(config, machine),
        memory(machine),
        log(config),
        neighbours(config),
        cohorts(config),
        role(config),
    ]
}

fn green_if(good: bool, otherwise: State) -> State {
    if good { State::Green } else { otherwise }
}

fn user(machine: &Machine) -> Verdict {
    let said = if machine.is_root { "root" } else { "not root" };
    let then = "run it as a user of its own: deploy/systemd, deploy/kubernetes";
    verdict("user", green_if(!machine.is_root, State::Red), said, then)
}

fn tokens(config: &Config, machine: &Machine) -> Verdict {
    let loopback = config.http.listen.ip().is_loopback();
    let (state, said) = match (&config.auth.tokens_file, machine.tokens_open) {
        (Some(path), Some(false)) => (State::Green, format!("tokens in {}", path.display())),
        (Some(path), Some(true)) => (State::Red, format!("everybody may read {}", path.display())),
        (Some(path), None) => (State::Red, format!("{} can't be read", path.display())),
        (None, _) if loopback => (State::Yellow, "no tokens, loopback only".to_owned()),
        (None, _) => (
            State::Red,
            format!("no tokens, and it listens on {}", config.http.listen),
        ),
    };
    verdict(
        "tokens",
        state,
        said,
        "set auth.tokens_file, mode 0640 or less",
    )
}

fn folder(config: &Config, machine: &Machine) -> Verdict {
    let budget = config.store.disk_bytes_max as f64;
    let gib = |bytes: f64| bytes / (1_u64 << 30) as f64;
    let (state, said) = match machine.disk {
        None => (State::Unknown, "its disk does not tell its size".to_owned()),
        Some((_, true)) => (
            State::Red,
            "it lies in memory and is gone with the machine".to_owned(),
        ),
        Some((bytes, false)) => (
            // Blocks are merged into new ones before the old ones go.
            green_if(budget <= 0.9 * bytes, State::Red),
            format!(
                "store.disk_bytes_max {:.1} GiB of a disk of {:.1}",
                gib(budget),
                gib(bytes)
            ),
        ),
    };
    let then = "a disk of its own, and store.disk_bytes_max at most 90 % of it";
    verdict("data folder", state, said, then)
}

fn files(config: &Config, machine: &Machine) -> Verdict {
    // As many again may only wait for their peer to go.
    let needed = 2.0 * config.http.connections_max as f64 + FILES_BESIDES;
    let state = match machine.open_files_max {
        None => State::Unknown,
        Some(files) => green_if(files >= needed, State::Red),
    };
    let files = machine.open_files_max.unwrap_or(f64::NAN);
    let said = format!("{files} open files, {needed} may be needed");
    verdict(
        "open files",
        state,
        said,
        "raise LimitNOFILE, or lower http.connections_max",
    )
}

fn memory(machine: &Machine) -> Verdict {
    let state = match machine.memory_bytes {
        None => State::Unknown,
        Some(bytes) => green_if(bytes >= MEMORY_MIN, State::Yellow),
    };
    let said = format!(
        "{:.1} GiB",
        machine.memory_bytes.unwrap_or(f64::NAN) / MEMORY_MIN
    );
    verdict(
        "memory",
        state,
        said,
        "1 GiB or more: below it the dedup window and bodies are cut",
    )
}

fn log(config: &Config) -> Verdict {
    let level = &config.log.level;
    let loud = ["debug", "trace"].iter().any(|word| level.contains(word));
    let good = !loud && config.log.format == LogFormat::Json;
    let said = format!("{level}, {:?}", config.log.format).to_lowercase();
    verdict(
        "log",
        green_if(good, State::Yellow),
        said,
        "log.level = \"info\", log.format = \"json\"",
    )
}

fn neighbours(config: &Config) -> Verdict {
    let (state, said) = match &config.layer7.url {
        Some(url) => (State::Green, format!("Layer7 at {url}")),
        None => (
            State::Yellow,
            "Layer7 has no address: recommendations wait for its poll".to_owned(),
        ),
    };
    verdict("neighbours", state, said, "set LAYER7_API_URL")
}

fn cohorts(config: &Config) -> Verdict {
    let n = config
        .cohort
        .iter()
        .filter(|cohort| !cohort.parameter.is_empty())
        .count();
    let said = format!("{n} cohorts to tune");
    let then = "add [[cohort]] with parameters, or nothing is recommended";
    verdict("cohorts", green_if(n > 0, State::Yellow), said, then)
}

fn role(config: &Config) -> Verdict {
    let color = if config.color.is_empty() {
        "no colour"
    } else {
        &config.color
    };
    let (state, said) = match config.role {
        Role::Active => (State::Green, format!("active, {color}")),
        Role::Shadow => (State::Red, format!("shadow, {color}: it delivers nothing")),
    };
    verdict("role", state, said, "unset LAYER5_ROLE")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn sound() -> (Config, Machine) {
        let text = "[auth]\ntokens_file = \"/t\"\n[layer7]\nurl = \"http://l7\"\n[[cohort]]\nname = \"f\"\n\
                    [[cohort.parameter]]\nname = \"n\"\ntype = \"int\"\nlow = 1\nhigh = 9\ninitial = 3\n";
        let machine = Machine {
            is_root: false,
            open_files_max: Some(65536.0),
            memory_bytes: Some(4.0 * MEMORY_MIN),
            disk: Some((30.0 * MEMORY_MIN, false)),
            tokens_open: Some(false),
        };
        (parse("a test", text).expect("legal"), machine)
    }

    #[track_caller]
    fn state(config: &Config, machine: &Machine, check: &str) -> State {
        let all = judge(config, machine);
        let found = all.iter().find(|verdict| verdict.check == check);
        found.expect("it is checked").state
    }

    #[test]
    fn what_is_sound_is_green() {
        let (config, machine) = sound();
        for verdict in judge(&config, &machine) {
            assert_eq!(verdict.state, State::Green, "{verdict:?}");
            assert_eq!(verdict.then, "", "{verdict:?}");
        }
    }

    #[test]
    fn each_fault_is_found() {
        type Fault = fn(&mut Config, &mut Machine);
        let faults: [(&str, State, Fault); 12] = [
            ("user", State::Red, |_, m| m.is_root = true),
            ("tokens", State::Red, |_, m| m.tokens_open = Some(true)),
            ("tokens", State::Red, |_, m| m.tokens_open = None),
            ("tokens", State::Yellow, |c, _| c.auth.tokens_file = None),
            ("data folder", State::Red, |_, m| {
                m.disk = Some((1e12, true))
            }),
            ("data folder", State::Red, |c, _| {
                c.store.disk_bytes_max = 28 << 30
            }),
            ("open files", State::Red, |_, m| {
                m.open_files_max = Some(1024.0)
            }),
            ("memory", State::Yellow, |_, m| {
                m.memory_bytes = Some(MEMORY_MIN / 2.0)
            }),
            ("log", State::Yellow, |c, _| c.log.level = "debug".into()),
            ("neighbours", State::Yellow, |c, _| c.layer7.url = None),
            ("cohorts", State::Yellow, |c, _| c.cohort.clear()),
            ("role", State::Red, |c, _| c.role = Role::Shadow),
        ];
        for (check, expected, fault) in faults {
            let (mut config, mut machine) = sound();
            fault(&mut config, &mut machine);
            assert_eq!(state(&config, &machine, check), expected, "{check}");
            let others = judge(&config, &machine);
            let hurt = others.iter().filter(|v| v.state != State::Green).count();
            assert_eq!(hurt, 1, "{check} alone");
        }
    }
}
