//! The roll: what the part of the log that goes amounted to, so that lost or damaged views can be made anew without it.
//! In: the views, just before a segment of the log is removed. Out: views as they were then. Called from: [`super::Store`].
//! Layout: `roll/<group>.l5`, of the form of [`super::snapshot`]; its parts are groups that were never in the log and
//! hold all names, offsets and recommendations, and the newest [`PATTERNS_KEPT`] patterns.
//! Invariants: the log goes on right behind the roll or before that; dead letters and older patterns are not in it.

use std::path::Path;

use uuid::Uuid;

use super::error::{OpenError, ReadError};
use super::group::{Effects, Group, Totals};
use super::medium::Faults;
use super::query::{PatternQuery, RecommendationRow, RecommendationState};
use super::record;
use super::snapshot::{self, SnapshotWriter};
use super::views::Views;

/// Patterns that a roll keeps: a few megabytes.
const PATTERNS_KEPT: u64 = 10_000;
/// Names, series or rows in one part.
const PART_LEN: usize = 1 << 16;

/// Writes what `views` hold as of group `seq` into `dir`, durably.
pub(super) fn write(dir: &Path, seq: u64, views: &Views, faults: &Faults) -> Result<(), ReadError> {
    let mut writer = SnapshotWriter::create(dir, seq, faults)?;
    let mut add = |group: Group| {
        let group = Group { seq, ..group };
        writer.add("group", record::encode(&group, Totals::default()))
    };
    let names = views.names()?;
    for new_agents in names.agents.chunks(PART_LEN) {
        add(Group {
            new_agents: new_agents.to_vec(),
            ..Group::default()
        })?;
    }
    for new_hosts in names.hosts.chunks(PART_LEN) {
        add(Group {
            new_hosts: new_hosts.to_vec(),
            ..Group::default()
        })?;
    }
    for new_metrics in names.metrics.chunks(PART_LEN) {
        add(Group {
            new_metrics: new_metrics.to_vec(),
            ..Group::default()
        })?;
    }
    for new_series in names.series.chunks(PART_LEN) {
        add(Group {
            new_series: new_series.to_vec(),
            ..Group::default()
        })?;
    }
    add(Group {
        offsets: views.offsets()?.into_iter().collect(),
        ..Group::default()
    })?;
    let mut after = 0;
    loop {
        let rows = views.recommendations(after, PART_LEN / 16)?;
        let Some(last) = rows.last() else { break };
        after = last.number;
        add(Group {
            effects: advice(rows),
            ..Group::default()
        })?;
    }
    let newest = views.last_pattern_id()?;
    let events = views.patterns(&PatternQuery {
        after: Some(newest.saturating_sub(PATTERNS_KEPT)),
        limit: PATTERNS_KEPT as usize,
        ..PatternQuery::default()
    })?;
    add(Group {
        effects: Effects {
            events,
            ..Effects::default()
        },
        ..Group::default()
    })?;
    writer.publish(1)?;
    Ok(())
}

/// Effects that make `rows` what they are, in their order.
fn advice(rows: Vec<RecommendationRow>) -> Effects {
    let mut effects = Effects::default();
    for row in rows {
        let id: Uuid = row.stored.recommendation.optimization_id;
        match row.state {
            RecommendationState::Delivered => effects.delivered.push(id),
            RecommendationState::Rejected => effects.refused.push((id, row.refusal)),
            RecommendationState::Evaluated => {
                effects.delivered.push(id);
                effects.evaluations.extend(row.evaluation);
            }
            RecommendationState::Pending | RecommendationState::DryRun => {}
        }
        effects.recommendations.push(row.stored);
    }
    effects
}

/// Fills empty `views` from the roll in `dir`. Returns the group that it is of; `None` when there is no roll.
pub(super) fn restore(dir: &Path, views: &Views) -> Result<Option<u64>, OpenError> {
    let Some((seq, path)) = snapshot::list(dir)?.into_iter().next() else {
        return Ok(None);
    };
    let wrong = |e: layer5_core::codec::DecodeError| OpenError::from_decode(&path, &e);
    for part in snapshot::Snapshot::open(&path).map_err(wrong)? {
        let (group, _) = record::decode(&part?.1).map_err(wrong)?;
        let applied = views.apply(&group);
        applied.map_err(|e| OpenError::from_redb(&path, e))?;
    }
    views
        .checkpoint(seq)
        .map_err(|e| OpenError::from_redb(&path, e))?;
    Ok(Some(seq))
}
