//! Recommendations with their history, and the outbox: what has to leave and what became of it.
//! In: effects of groups. Out: rows. Called from: [`Views::apply`], [`super::super::Store`].
//! Invariants: a recommendation is put only if its id is absent; a row of `outbox` exists exactly while its
//! recommendation is pending.

use layer5_core::codec::{self, Format};
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{NUMBER_OF_ID, NUMBERS, OUTBOX, RECOMMENDATIONS, Views, next_number};
use crate::store::error::ReadError;
use crate::store::group::{Evaluation, StoredRecommendation};
use crate::store::query::{RecommendationRow, RecommendationState};

const RECOMMENDATION: Format = Format {
    kind: 3,
    version: 1,
};

/// One row of `recommendations`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RecommendationRecord {
    stored: StoredRecommendation,
    state: RecommendationState,
    refusal: String,
    evaluation: Option<Evaluation>,
}

impl Views {
    /// Takes recommendations out of the outbox, durably.
    pub(in crate::store) fn settle(
        &self,
        ids: &[Uuid],
        state: RecommendationState,
        words: &str,
    ) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut advice = Advice::open(&transaction)?;
            for &id in ids {
                advice.settle(id, state, words)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// At most `limit` recommendations numbered above `after`.
    pub(in crate::store) fn recommendations(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RecommendationRow>, ReadError> {
        let mut found = vec![];
        if let Some(from) = after.checked_add(1) {
            let table = ("recommendations", RECOMMENDATIONS);
            self.rows(table.0, table.1, from, RECOMMENDATION, |number, record| {
                found.push(row_of(number, record));
                found.len() < limit
            })?;
        }
        Ok(found)
    }

    /// One recommendation.
    pub(in crate::store) fn recommendation(
        &self,
        id: Uuid,
    ) -> Result<Option<RecommendationRow>, ReadError> {
        let number = self.read("number_of_id", |transaction| {
            Ok(transaction
                .open_table(NUMBER_OF_ID)?
                .get(id.as_u128())?
                .map(|n| n.value()))
        })?;
        let Some(number) = number else {
            return Ok(None);
        };
        self.numbered(&[number]).map(|mut rows| rows.pop())
    }

    /// At most `limit` pending recommendations numbered above `after`, oldest first: in order for every agent.
    pub(in crate::store) fn pending(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<RecommendationRow>, ReadError> {
        let numbers = self.read("outbox", |transaction| {
            let mut numbers = vec![];
            let outbox = transaction.open_table(OUTBOX)?;
            for row in outbox.range(after.saturating_add(1)..)?.take(limit) {
                numbers.push(row?.0.value());
            }
            Ok(numbers)
        })?;
        self.numbered(&numbers)
    }

    /// How many recommendations are pending, and how many were ever issued.
    pub(in crate::store) fn outbox_depth(&self) -> Result<(u64, u64), ReadError> {
        self.read("outbox", |transaction| {
            let pending = transaction.open_table(OUTBOX)?.len()?;
            let numbers = transaction.open_table(NUMBERS)?;
            let issued = numbers.get("last_recommendation")?.map_or(0, |n| n.value());
            Ok((pending, issued))
        })
    }

    fn numbered(&self, numbers: &[u64]) -> Result<Vec<RecommendationRow>, ReadError> {
        let records = self.read("recommendations", |transaction| {
            let table = transaction.open_table(RECOMMENDATIONS)?;
            let mut records = Vec::with_capacity(numbers.len());
            for &number in numbers {
                if let Some(bytes) = table.get(number)? {
                    records.push((number, bytes.value().to_vec()));
                }
            }
            Ok(records)
        })?;
        records
            .into_iter()
            .map(|(number, bytes)| {
                self.decode("recommendations", number, RECOMMENDATION, &bytes)
                    .map(|record| row_of(number, record))
            })
            .collect()
    }
}

/// The tables that advice lives in, within one transaction.
pub(super) struct Advice<'a> {
    rows: redb::Table<'a, u64, &'static [u8]>,
    number_of_id: redb::Table<'a, u128, u64>,
    outbox: redb::Table<'a, u64, ()>,
    pub(super) numbers: redb::Table<'a, &'static str, u64>,
}

impl<'a> Advice<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            rows: transaction.open_table(RECOMMENDATIONS)?,
            number_of_id: transaction.open_table(NUMBER_OF_ID)?,
            outbox: transaction.open_table(OUTBOX)?,
            numbers: transaction.open_table(NUMBERS)?,
        })
    }

    pub(super) fn put(&mut self, stored: &StoredRecommendation) -> Result<(), redb::Error> {
        let id = stored.recommendation.optimization_id.as_u128();
        if self.number_of_id.get(id)?.is_some() {
            return Ok(());
        }
        let number = next_number(&mut self.numbers, "last_recommendation")?;
        let state = if stored.dry_run {
            RecommendationState::DryRun
        } else {
            RecommendationState::Pending
        };
        let record = RecommendationRecord {
            stored: stored.clone(),
            state,
            refusal: String::new(),
            evaluation: None,
        };
        self.number_of_id.insert(id, number)?;
        self.rows
            .insert(number, &codec::encode(RECOMMENDATION, &record)[..])?;
        if state == RecommendationState::Pending {
            self.outbox.insert(number, ())?;
        }
        Ok(())
    }

    /// Out of the outbox; an id that is unknown, or was settled before, is left alone.
    pub(super) fn settle(
        &mut self,
        id: Uuid,
        state: RecommendationState,
        words: &str,
    ) -> Result<(), redb::Error> {
        self.change(id, |record| {
            if record.state == RecommendationState::Pending {
                record.state = state;
                words.clone_into(&mut record.refusal);
            }
        })
    }

    pub(super) fn evaluate(&mut self, evaluation: &Evaluation) -> Result<(), redb::Error> {
        self.change(evaluation.optimization_id, |record| {
            record.state = RecommendationState::Evaluated;
            record.evaluation = Some(evaluation.clone());
        })
    }

    fn change(
        &mut self,
        id: Uuid,
        f: impl FnOnce(&mut RecommendationRecord),
    ) -> Result<(), redb::Error> {
        let Some(number) = self.number_of_id.get(id.as_u128())?.map(|n| n.value()) else {
            return Ok(());
        };
        let Some(bytes) = self.rows.get(number)?.map(|bytes| bytes.value().to_vec()) else {
            return Ok(());
        };
        let mut record: RecommendationRecord = codec::decode(RECOMMENDATION, &bytes)
            .map_err(|e| redb::Error::Corrupted(format!("recommendation {number}: {e}")))?;
        f(&mut record);
        self.rows
            .insert(number, &codec::encode(RECOMMENDATION, &record)[..])?;
        if record.state != RecommendationState::Pending {
            self.outbox.remove(number)?;
        }
        Ok(())
    }
}

fn row_of(number: u64, record: RecommendationRecord) -> RecommendationRow {
    let RecommendationRecord {
        stored,
        state,
        refusal,
        evaluation,
    } = record;
    RecommendationRow {
        number,
        stored,
        state,
        refusal,
        evaluation,
    }
}
