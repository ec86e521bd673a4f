//! Pruning: old backups go, and the objects that nobody names any more.
//! In: a repository and what is to be kept. Out: what went. Called from: [`super::desk`], `cli/backup`.
//! Invariants: the newest backup stays whatever is asked for; nothing goes while a manifest can't be read, for nobody
//! knows what it names; an object that is young stays, as a backup under way may be about to name it. In a folder it also
//! waits for backups under way, which may name an old object again; in a bucket the service that makes the backups prunes.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use layer5_core::Timestamp;

use super::BackupError;
use super::repository::Repository;

/// Age from which an object without a manifest is no part of a backup under way.
const YOUNG: Duration = Duration::from_secs(24 * 3600);

/// Which backups are kept: a backup stays when any of these wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The newest so many.
    pub last: usize,
    /// The newest of each of so many days that have one.
    pub daily: usize,
    /// The newest of each of so many weeks that have one.
    pub weekly: usize,
}

impl Default for Kept {
    /// A few of today, two weeks of days, two months of weeks.
    fn default() -> Self {
        Self {
            last: 4,
            daily: 14,
            weekly: 8,
        }
    }
}

/// What went, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Backups that went.
    pub backups: Vec<String>,
    /// Objects that went.
    pub objects: u64,
    /// Bytes that are free again.
    pub bytes: u64,
}

/// Removes what `kept` does not want; with `dry_run` only says what. `now` decides which objects are young.
///
/// # Errors
/// When a manifest can't be read, before anything is removed; when the disk refuses.
pub fn prune(
    repository: &Repository,
    kept: Kept,
    now: SystemTime,
    dry_run: bool,
) -> Result<Pruned, BackupError> {
    let _alone = repository.hold(true)?;
    let mut all = Vec::new();
    for id in repository.ids()? {
        let manifest = repository.manifest(&id)?;
        all.push((id, manifest));
    }
    let times: Vec<Timestamp> = all.iter().map(|(_, m)| m.created_at).collect();
    let stays = chosen(&times, kept);
    let mut pruned = Pruned::default();
    let mut named = HashSet::new();
    for ((id, manifest), stays) in all.iter().zip(stays) {
        if stays {
            let chunks = manifest.files.iter().flat_map(|file| &file.chunks);
            named.extend(chunks.map(String::as_str));
        } else {
            pruned.backups.push(id.clone());
        }
    }
    if !dry_run {
        for id in &pruned.backups {
            repository.forget(id)?;
        }
    }
    for object in repository.objects()? {
        let id = object.name.rsplit('/').next().unwrap_or_default();
        let is_young = now
            .duration_since(object.written)
            .is_ok_and(|age| age < YOUNG);
        if named.contains(id) || is_young {
            continue;
        }
        if !dry_run {
            repository.remove(&object)?;
        }
        pruned.objects += 1;
        pruned.bytes += object.bytes;
    }
    Ok(pruned)
}

/// Which of `times`, oldest first, stay.
fn chosen(times: &[Timestamp], kept: Kept) -> Vec<bool> {
    const DAY: i64 = 86_400_000;
    // The Epoch was a Thursday; a week begins on Monday.
    let day = |at: Timestamp| at.millis().div_euclid(DAY);
    let week = |at: Timestamp| (day(at) + 3).div_euclid(7);
    let mut stays = vec![false; times.len()];
    let newest = times.len().saturating_sub(kept.last.max(1));
    stays[newest..].fill(true);
    for (span_of, n) in [
        (&day as &dyn Fn(Timestamp) -> i64, kept.daily),
        (&week, kept.weekly),
    ] {
        let mut spans = Vec::new();
        for (i, &at) in times.iter().enumerate().rev() {
            let span = span_of(at);
            if spans.len() < n && spans.last() != Some(&span) {
                spans.push(span);
                stays[i] = true;
            }
        }
    }
    stays
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hours: &[i64], kept: Kept, expected: &[i64]) {
        let times: Vec<Timestamp> = hours
            .iter()
            .map(|h| Timestamp::from_millis(h * 3_600_000))
            .collect();
        let stays = chosen(&times, kept);
        let kept: Vec<i64> = hours
            .iter()
            .zip(stays)
            .filter_map(|(&hour, stays)| stays.then_some(hour))
            .collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn the_newest_of_each_span_stays() {
        let (last, daily, weekly) = (0, 0, 0);
        let nothing = Kept {
            last,
            daily,
            weekly,
        };
        check(&[], nothing, &[]);
        check(&[1, 2, 3], nothing, &[3]);
        check(&[1, 2, 3], Kept { last: 2, ..nothing }, &[2, 3]);
        let daily = Kept {
            daily: 3,
            ..nothing
        };
        // Days without a backup count for nothing.
        check(&[1, 20, 25, 30, 200, 201], daily, &[20, 30, 201]);
        // Hour 96 is Monday, the 5th of January 1970.
        let weekly = Kept {
            weekly: 2,
            ..nothing
        };
        check(&[1, 95, 96, 100, 263, 264], weekly, &[263, 264]);
        check(&[1, 95, 96, 100, 263], weekly, &[95, 263]);
    }
}
