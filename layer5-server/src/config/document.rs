//! The page `docs/operating/configuration.md`: what holds for all keys in words, then every key from the code.
//! Called from: `layer5 config docs`, and the test that compares the page with it.

use std::fmt::Write as _;

use super::{
    keys::{Key, every_key},
    live::LIVE,
};

const INTRODUCTION: &str = "\
# Configuration

Written from `layer5-server/src/config` by `layer5 config docs`; `LAYER5_BLESS=1 cargo test -p layer5-server --test documents`
writes it anew.

Every key has a default, so an empty file is a configuration. An unknown key is refused with its file, its line and the nearest
known key; so is a value out of its range. `layer5 config check` finds out before a service does (exit code 78).

```sh
layer5 config check --config layer5.toml --env production   # is it good? files that it names are looked at too
layer5 config show --origin                                 # every value, and where it comes from
layer5 config diff                                          # what a reload would change, and what needs a restart
layer5 config history                                       # what was applied, and when
layer5 config rollback                                      # the one before, into the files
layer5 config schema                                        # JSON schema, for editors
```

## Layers

The last one wins: defaults, the file (`--config`, `LAYER5_CONFIG`), the overlay of the environment, the environment's
variables, `--set KEY=VALUE`.

`--env production` (or `LAYER5_ENV`; `development`, `staging`, `production`) adds the overlay that lies beside the file:
`layer5.production.toml` beside `layer5.toml`. Tables are joined key by key; an array of tables (`[[cohort]]`, `[[template]]`) is
replaced as a whole. The overlay must be there and may be empty.

Variables: `REDIS_URL`, `LAYER7_API_URL`, `LAYER8_API_URL`, `DEPLOYMENT_COLOR`, `LAYER5_ROLE` (`role`), `RUST_LOG` (`log.level`), and
`LAYER5_<SECTION>__<KEY>` for any key of a section (`LAYER5_SOURCES__REDIS__STREAM` for one of a section in a section).

Secrets stand in files that keys ending in `_file` name, or in variables. A password in a file or in `--set` is refused, and none is
ever shown: not by `layer5 config`, not by `GET /api/v1/config`, not in the log.

## Memory

What can grow has a limit below, and each limit that holds memory is cut to its share of what the process may have: the
tightest of its control group (version 1 or 2), the machine, and `limits.memory_bytes`. The log names what was cut,
`/api/v1/config` shows what holds.

| share | holds | keys |
|---|---|---|
| 1/4 | the dedup window | `limits.dedup_entries_max`: 25 bytes a place, places are a power of two |
| 1/8 | bodies under way | `http.bodies_bytes_max`; one body at most a quarter of that, decoded half (`body_bytes_max`, `decoded_bytes_max`) |
| 1/16 | what connections read ahead | `http.connections_max` so that each has 32 KiB; then `http.read_ahead_bytes` |
| 1/16 | samples that no block of history has yet | `store.head_samples_max`: 32 bytes each |
| 1/16 | one group on its way to disk and shards | `pipeline.group_samples_max`: 248 bytes a sample |
| 1/16 | page caches of the store | `store.cache_bytes` |
| 1/32, 1/32 | rings of the intake and of all shards | `pipeline.intake_capacity`, `pipeline.shard_capacity`: 64 bytes a sample |

Together under two thirds. The rest is for the series, about a kilobyte each (`limits.series_max` is not cut: a series that is
known is never given up), and for the program itself, 30 MB. With 256 MiB some 30 000 series are watched in comfort.

## Reload

`layer5 serve` looks at its files every second, through links: the exchange of a ConfigMap's volume is a change like any other. A
file that was the same in two looks is loaded; SIGHUP loads at once. What can take effect does, all of it or nothing; keys that
can't are named in the log (`needs a restart`) and counted in `layer5_config_restart_needed`. A configuration that is refused
changes nothing: the log says why, `layer5_config_reload_successful` is 0 and `Layer5ConfigReloadFailed` fires until the files are
good again. What changes the findings (sensitivities, limits, templates) takes effect at a position of the log, so that a
replay finds the same.

The last 32 applied configurations are kept in `config-history` in the data folder. `layer5 config rollback` writes the newest one
that the files differ from (if they were never applied), else the one before it, into the files; the service then loads them. A
ConfigMap is mounted read-only: `layer5 config rollback --print` shows what to put into it.
";

const EXAMPLE: &str = "\
## Example

```toml
[log]
level = \"info\"

[layer7]
url = \"http://layer7-service:8080\"

[patterns]
templates_file = \"templates.toml\"   # [[template]] tables, see docs/formats.md

[patterns.metric.memory_mb]         # what is set for one metric
sensitivity = \"low\"                 # a tenth of the false alarms
upper = 4096.0                      # told six hours ahead as forecast_breach

# What can be tuned. Without a cohort Layer5 watches and recommends nothing.
[[cohort]]
name = \"fleet\"
agents = \"agent_*\"                  # `*` is any run of characters; the first cohort that fits counts
objective = { metric = \"latency_ms\", better = \"lower\", guard = \"accuracy\", guard_keep = 0.98 }

[[cohort.parameter]]
name = \"concurrency\"
type = \"int\"                        # or \"float\"
low = 1.0
high = 32.0
log = true
initial = 4.0                       # what the agents run with before the first recommendation
```
";

/// The page.
#[must_use]
pub fn page() -> String {
    let keys = every_key();
    let mut page = String::from(INTRODUCTION);
    let live: Vec<String> = LIVE.iter().map(|live| format!("`{live}`")).collect();
    let _ = write!(
        page,
        "\nTaking effect at a reload: {}. Everything else needs a restart.\n\n",
        live.join(", ")
    );
    page.push_str(EXAMPLE);
    page.push_str("\n## Keys\n\nMarked ↻: takes effect at a reload. `*` is any name, `[]` each table of an array.\n");
    let table_of = |key: &Key| {
        key.path
            .rsplit_once('.')
            .map_or(String::new(), |(table, _)| table.to_owned())
    };
    let mut tables: Vec<String> = keys.iter().map(table_of).collect();
    tables.sort();
    tables.dedup();
    for table in &tables {
        let title = match table.as_str() {
            "" => "Outside of tables".to_owned(),
            table if table.ends_with("[]") => format!("`[[{}]]`", table.replace("[]", "")),
            table => format!("`[{}]`", table.replace("[]", "")),
        };
        let _ = write!(
            page,
            "\n### {title}\n\n| key | default | legal | meaning |\n|---|---|---|---|\n"
        );
        for key in keys.iter().filter(|key| table_of(key) == *table) {
            let name = key.path.rsplit('.').next().unwrap_or_default();
            row(&mut page, name, key);
        }
    }
    page
}

fn row(page: &mut String, name: &str, key: &Key) {
    let mark = if key.is_live { " ↻" } else { "" };
    let default = match &key.default {
        Some(default) => format!("`{default}`"),
        None if key.is_required => "required".to_owned(),
        None => "not set".to_owned(),
    };
    let cell = |text: &str| text.replace('|', "\\|");
    let _ = writeln!(
        page,
        "| `{name}`{mark} | {} | {} | {} |",
        cell(&default),
        cell(&key.legal),
        cell(&key.meaning)
    );
}
