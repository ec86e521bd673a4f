//! What the groups amount to, ready to be asked: names, patterns, recommendations, the outbox, offsets, dead letters.
//! In: groups, after the log has them durably. Out: rows. Called from: [`super::Store`].
//! Layout: `views.redb`, one table per question. A view is a function of the log, so its commits need no fsync of
//! their own: the row `applied` says up to which group the file has come, and what is missing is applied again at
//! start. [`Views::checkpoint`] makes the file durable and moves `applied` up.
//! Invariants: `applied` and what it speaks of change in one transaction; a recommendation and an event are put only
//! if their id is absent; a row of `outbox` exists exactly while its recommendation is pending.

mod advice;
mod dead_letters;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layer5_core::codec::{self, Format};
use layer5_core::{AgentId, MetricId, PatternEvent, PatternKind, SeriesId, SeriesKey, Timestamp};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use advice::Advice;
pub(super) use tables::FrozenViews;

use super::control::Control;
use super::error::{OpenError, ReadError};
use super::format::FOLDER_FORMAT;
use super::group::Group;
use super::medium::{self, Faults};
use super::query::{PatternQuery, RecommendationState, StoredNames};
use super::record::EventRecord;

type Numbers = TableDefinition<'static, &'static str, u64>;
type Strings = TableDefinition<'static, u32, &'static str>;
type Rows<K> = TableDefinition<'static, K, &'static [u8]>;

const NUMBERS: Numbers = TableDefinition::new("numbers");
const AGENTS: Strings = TableDefinition::new("agents");
const HOSTS: Strings = TableDefinition::new("hosts");
const METRICS: Strings = TableDefinition::new("metrics");
const SERIES: TableDefinition<'_, u32, (u32, u32)> = TableDefinition::new("series");
const OFFSETS: TableDefinition<'_, &str, &str> = TableDefinition::new("offsets");
const PATTERNS: Rows<u64> = TableDefinition::new("patterns");
const PATTERN_COUNTS: Numbers = TableDefinition::new("pattern_counts");
const RECOMMENDATIONS: Rows<u64> = TableDefinition::new("recommendations");
const NUMBER_OF_ID: TableDefinition<'_, u128, u64> = TableDefinition::new("number_of_id");
const OUTBOX: TableDefinition<'_, u64, ()> = TableDefinition::new("outbox");
const DEAD_LETTERS: Rows<u64> = TableDefinition::new("dead_letters");

const PATTERN: Format = Format {
    kind: 2,
    version: 1,
};

/// The file and its database.
#[derive(Debug)]
pub(super) struct Views {
    file: PathBuf,
    database: Database,
}

impl Views {
    /// Opens the file of `dir`. Returns the newest group applied, durably.
    pub(super) fn open(
        dir: &Path,
        cache_bytes: usize,
        faults: &Faults,
    ) -> Result<(Self, u64), OpenError> {
        let file = dir.join("views.redb");
        let wrong = |e| OpenError::from_redb(&file, e);
        if !file.exists() {
            // Under its name it appears whole: a file that a crash left without its first page would be damage.
            let unnamed = dir.join("views.redb.new");
            let failed = |e| OpenError::io(&unnamed, e);
            if unnamed.exists() {
                std::fs::remove_file(&unnamed).map_err(failed)?;
            }
            let made = medium::open(&unnamed, cache_bytes, false, faults).map_err(wrong)?;
            drop(made);
            std::fs::rename(&unnamed, &file).map_err(failed)?;
            medium::sync_dir(dir).map_err(failed)?;
        }
        let database = medium::open(&file, cache_bytes, true, faults).map_err(wrong)?;
        let views = Self {
            file: file.clone(),
            database,
        };
        let (format, applied) = views.create_tables().map_err(wrong)?;
        if format > FOLDER_FORMAT {
            return Err(OpenError::NewerFormat {
                file,
                found: u32::try_from(format).unwrap_or(u32::MAX),
                known: FOLDER_FORMAT as u32,
            });
        }
        Ok((views, applied))
    }

    /// Every table exists from here on; returns the folder's format and the newest group applied.
    fn create_tables(&self) -> Result<(u64, u64), redb::Error> {
        let transaction = self.database.begin_write()?;
        let (format, applied);
        {
            let mut numbers = transaction.open_table(NUMBERS)?;
            let stored = numbers.get("format")?.map(|n| n.value());
            format = stored.unwrap_or(FOLDER_FORMAT);
            if format > FOLDER_FORMAT {
                return Ok((format, 0));
            }
            numbers.insert("format", FOLDER_FORMAT)?;
            applied = numbers.get("applied")?.map_or(0, |n| n.value());
        }
        for names in [AGENTS, HOSTS, METRICS] {
            transaction.open_table(names)?;
        }
        transaction.open_table(SERIES)?;
        transaction.open_table(OFFSETS)?;
        transaction.open_table(PATTERN_COUNTS)?;
        transaction.open_table(NUMBER_OF_ID)?;
        transaction.open_table(OUTBOX)?;
        for rows in [PATTERNS, RECOMMENDATIONS, DEAD_LETTERS] {
            transaction.open_table(rows)?;
        }
        transaction.commit()?;
        Ok((format, applied))
    }

    /// Applies `group`, which the log has. Not durable by itself.
    pub(super) fn apply(&self, group: &Group) -> Result<(), redb::Error> {
        if !changes_views(group) {
            return Ok(());
        }
        let mut transaction = self.database.begin_write()?;
        set_durability(&mut transaction, Durability::None);
        write_names(&transaction, group)?;
        write_events(&transaction, &group.effects.events)?;
        {
            let mut advice = Advice::open(&transaction)?;
            for stored in &group.effects.recommendations {
                advice.put(stored)?;
            }
            for id in delivered_in(group) {
                advice.settle(id, RecommendationState::Delivered, "")?;
            }
            for (id, words) in refused_in(group) {
                advice.settle(id, RecommendationState::Rejected, words)?;
            }
            for evaluation in &group.effects.evaluations {
                advice.evaluate(evaluation)?;
            }
            advice.numbers.insert("applied", group.seq)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Makes everything applied so far durable; all groups up to `applied` are.
    pub(super) fn checkpoint(&self, applied: u64) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction
            .open_table(NUMBERS)?
            .insert("applied", applied)?;
        transaction.commit()?;
        Ok(())
    }

    /// Every name, in the order of the numbers.
    pub(super) fn names(&self) -> Result<StoredNames, ReadError> {
        self.read("names", |transaction| {
            let strings = |table: Strings| -> Result<Vec<(u32, String)>, redb::Error> {
                let mut rows = vec![];
                for row in transaction.open_table(table)?.iter()? {
                    let (key, name) = row?;
                    rows.push((key.value(), name.value().to_owned()));
                }
                Ok(rows)
            };
            let mut series = vec![];
            for row in transaction.open_table(SERIES)?.iter()? {
                let (key, of) = row?;
                let (agent, metric) = of.value();
                let key_of = SeriesKey {
                    agent: AgentId(agent),
                    metric: MetricId(metric),
                };
                series.push((SeriesId(key.value()), key_of));
            }
            let agents = |rows: Vec<(u32, String)>| {
                rows.into_iter()
                    .map(|(id, name)| (AgentId(id), name))
                    .collect()
            };
            Ok(StoredNames {
                agents: agents(strings(AGENTS)?),
                hosts: agents(strings(HOSTS)?),
                metrics: strings(METRICS)?
                    .into_iter()
                    .map(|(id, n)| (MetricId(id), n))
                    .collect(),
                series,
            })
        })
    }

    /// How far each source was read.
    pub(super) fn offsets(&self) -> Result<BTreeMap<String, String>, ReadError> {
        self.read("offsets", |transaction| {
            let mut offsets = BTreeMap::new();
            for row in transaction.open_table(OFFSETS)?.iter()? {
                let (source, offset) = row?;
                offsets.insert(source.value().to_owned(), offset.value().to_owned());
            }
            Ok(offsets)
        })
    }

    /// Patterns that `query` asks for, in the order of their ids.
    pub(super) fn patterns(&self, query: &PatternQuery) -> Result<Vec<PatternEvent>, ReadError> {
        let Some(from) = query.after.map_or(Some(0), |id| id.checked_add(1)) else {
            return Ok(vec![]);
        };
        let mut found = vec![];
        self.rows(
            "patterns",
            PATTERNS,
            from,
            PATTERN,
            |_, record: EventRecord| {
                let event = PatternEvent::from(record);
                if query.admits(&event) {
                    found.push(event);
                }
                found.len() < query.limit
            },
        )?;
        Ok(found)
    }

    /// How many patterns of each kind were ever stored.
    pub(super) fn pattern_counts(&self) -> Result<BTreeMap<PatternKind, u64>, ReadError> {
        self.read("pattern_counts", |transaction| {
            let counts = transaction.open_table(PATTERN_COUNTS)?;
            let mut by_kind = BTreeMap::new();
            for kind in PatternKind::ALL {
                if let Some(n) = counts.get(kind.as_str())? {
                    by_kind.insert(kind, n.value());
                }
            }
            Ok(by_kind)
        })
    }

    /// The id of the newest pattern ever stored; 0 before the first.
    pub(super) fn last_pattern_id(&self) -> Result<u64, ReadError> {
        self.read("numbers", |transaction| {
            let last = transaction.open_table(NUMBERS)?.get("last_pattern_id")?;
            Ok(last.map_or(0, |n| n.value()))
        })
    }

    /// Removes the oldest patterns while they were detected before `at`. Returns how many went.
    pub(super) fn drop_patterns_before(&self, at: Timestamp) -> Result<u64, ReadError> {
        let mut end = None;
        let mut n_dropped = 0;
        self.rows(
            "patterns",
            PATTERNS,
            0,
            PATTERN,
            |id, record: EventRecord| {
                let old = PatternEvent::from(record).finding.detected_at < at;
                if old {
                    end = Some(id);
                    n_dropped += 1;
                }
                old
            },
        )?;
        let Some(end) = end else {
            return Ok(0);
        };
        let drop_range = || -> Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
            set_durability(&mut transaction, Durability::None);
            transaction
                .open_table(PATTERNS)?
                .retain_in(..=end, |_, _| false)?;
            transaction.commit()?;
            Ok(())
        };
        drop_range().map_err(|e| ReadError::engine(&self.file, e))?;
        Ok(n_dropped)
    }

    /// Decodes the rows from key `from` on and shows them to `visit` until it returns `false`.
    fn rows<T: DeserializeOwned>(
        &self,
        table_name: &str,
        table: Rows<u64>,
        from: u64,
        format: Format,
        mut visit: impl FnMut(u64, T) -> bool,
    ) -> Result<(), ReadError> {
        let engine = |e: redb::Error| ReadError::engine(&self.file, e);
        let transaction = self.database.begin_read().map_err(|e| engine(e.into()))?;
        let rows = transaction
            .open_table(table)
            .map_err(|e| engine(e.into()))?;
        for row in rows.range(from..).map_err(|e| engine(e.into()))? {
            let (key, bytes) = row.map_err(|e| engine(e.into()))?;
            let value = self.decode(table_name, key.value(), format, bytes.value())?;
            if !visit(key.value(), value) {
                break;
            }
        }
        Ok(())
    }

    fn decode<T: DeserializeOwned>(
        &self,
        table_name: &str,
        key: u64,
        format: Format,
        bytes: &[u8],
    ) -> Result<T, ReadError> {
        codec::decode(format, bytes)
            .map_err(|e| ReadError::damaged(&self.file, format!("{table_name} {key}"), e))
    }

    fn read<T>(
        &self,
        what: &str,
        f: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, ReadError> {
        let read = || f(&self.database.begin_read()?);
        read().map_err(|e| match e {
            redb::Error::Corrupted(detail) => ReadError::damaged(&self.file, what, detail),
            e => ReadError::engine(&self.file, e),
        })
    }
}

/// Whether [`Views::apply`] has anything to do.
fn changes_views(group: &Group) -> bool {
    let no_names = group.new_agents.is_empty()
        && group.new_hosts.is_empty()
        && group.new_metrics.is_empty()
        && group.new_series.is_empty();
    !no_names
        || !group.offsets.is_empty()
        || !group.effects.is_empty()
        || delivered_in(group).next().is_some()
        || refused_in(group).next().is_some()
}

/// What left the outbox: by the effects, or by a control that says so.
fn delivered_in(group: &Group) -> impl Iterator<Item = Uuid> {
    let told = group.controls.iter().filter_map(|control| match control {
        Control::Delivered {
            optimization_id, ..
        }
        | Control::HandedOut {
            optimization_id, ..
        } => Some(*optimization_id),
        _ => None,
    });
    group.effects.delivered.iter().copied().chain(told)
}

/// What Layer7 refused: by the effects, or by a control that says so.
fn refused_in(group: &Group) -> impl Iterator<Item = (Uuid, &str)> {
    let told = group.controls.iter().filter_map(|control| match control {
        Control::Refused {
            optimization_id,
            words,
            ..
        } => Some((*optimization_id, words.as_str())),
        _ => None,
    });
    group
        .effects
        .refused
        .iter()
        .map(|(id, words)| (*id, words.as_str()))
        .chain(told)
}

fn write_names(transaction: &WriteTransaction, group: &Group) -> Result<(), redb::Error> {
    for (table, names) in [(AGENTS, &group.new_agents), (HOSTS, &group.new_hosts)] {
        let mut table = transaction.open_table(table)?;
        for (agent, name) in names {
            table.insert(agent.0, name.as_str())?;
        }
    }
    let mut metrics = transaction.open_table(METRICS)?;
    for (metric, name) in &group.new_metrics {
        metrics.insert(metric.0, name.as_str())?;
    }
    let mut series = transaction.open_table(SERIES)?;
    for (id, key) in &group.new_series {
        series.insert(id.0, (key.agent.0, key.metric.0))?;
    }
    let mut offsets = transaction.open_table(OFFSETS)?;
    for (source, offset) in &group.offsets {
        offsets.insert(source.as_str(), offset.as_str())?;
    }
    Ok(())
}

fn write_events(
    transaction: &WriteTransaction,
    events: &[PatternEvent],
) -> Result<(), redb::Error> {
    if events.is_empty() {
        return Ok(());
    }
    let mut patterns = transaction.open_table(PATTERNS)?;
    let mut counts = transaction.open_table(PATTERN_COUNTS)?;
    let mut numbers = transaction.open_table(NUMBERS)?;
    let mut last = numbers.get("last_pattern_id")?.map_or(0, |n| n.value());
    for event in events {
        if patterns.get(event.id)?.is_some() {
            continue;
        }
        patterns.insert(
            event.id,
            &codec::encode(PATTERN, &EventRecord::from(event))[..],
        )?;
        let kind = event.finding.kind.as_str();
        let n = counts.get(kind)?.map_or(0, |n| n.value());
        counts.insert(kind, n + 1)?;
        last = last.max(event.id);
    }
    numbers.insert("last_pattern_id", last)?;
    Ok(())
}

fn next_number(
    numbers: &mut redb::Table<'_, &'static str, u64>,
    name: &'static str,
) -> Result<u64, redb::Error> {
    let number = numbers.get(name)?.map_or(0, |n| n.value()) + 1;
    numbers.insert(name, number)?;
    Ok(number)
}

fn set_durability(transaction: &mut WriteTransaction, durability: Durability) {
    transaction
        .set_durability(durability)
        .expect("refused only with savepoints or several processes, and there are neither");
}

/// Reads every row of a database that may be damaged. Returns the newest group applied and how many rows there are.
pub(super) fn examine(database: &Database) -> Result<(u64, u64), redb::Error> {
    let transaction = database.begin_read()?;
    let numbers = transaction.open_table(NUMBERS)?;
    let applied = numbers.get("applied")?.map_or(0, |n| n.value());
    let mut n_rows = transaction.open_table(SERIES)?.len()?;
    for names in [AGENTS, HOSTS, METRICS] {
        n_rows += transaction.open_table(names)?.len()?;
    }
    for rows in [PATTERNS, RECOMMENDATIONS, DEAD_LETTERS] {
        n_rows += transaction.open_table(rows)?.len()?;
    }
    Ok((applied, n_rows))
}
