//! The dead-letter log: reports that were refused, with their bytes, until they are replayed or make room for newer ones.
//! In: rejections from the committer. Out: letters by number. Called from: [`super::super::Store`].
//! Invariants: numbers rise and are never used twice; the rows together stay below the limit of the config.

use layer5_core::codec::{self, Format};
use layer5_core::{Rejection, Timestamp};
use redb::{Durability, ReadableTable};
use serde::{Deserialize, Serialize};

use super::{DEAD_LETTERS, NUMBERS, Views, next_number, set_durability};
use crate::store::error::ReadError;
use crate::store::query::DeadLetter;
use crate::store::record::Bytes;

const DEAD_LETTER: Format = Format {
    kind: 4,
    version: 1,
};

/// One row of `dead_letters`.
#[derive(Serialize, Deserialize)]
struct DeadLetterRecord {
    at: Timestamp,
    source: String,
    reason: String,
    field: String,
    detail: String,
    raw: Bytes,
}

impl Views {
    /// Keeps a refused report; the oldest go while the log is over `bytes_max`. Durable with the next checkpoint.
    pub(in crate::store) fn append_dead_letter(
        &self,
        at: Timestamp,
        source: &str,
        rejection: &Rejection,
        raw: &[u8],
        bytes_max: u64,
    ) -> Result<(), redb::Error> {
        let record = DeadLetterRecord {
            at,
            source: source.to_owned(),
            reason: rejection.reason.to_string(),
            field: rejection.field.clone(),
            detail: rejection.detail.clone(),
            raw: Bytes(raw.to_vec()),
        };
        let bytes = codec::encode(DEAD_LETTER, &record);
        let mut transaction = self.database.begin_write()?;
        set_durability(&mut transaction, Durability::None);
        {
            let mut letters = transaction.open_table(DEAD_LETTERS)?;
            let mut numbers = transaction.open_table(NUMBERS)?;
            let number = next_number(&mut numbers, "last_dead_letter")?;
            letters.insert(number, &bytes[..])?;
            let mut total = numbers.get("dead_letter_bytes")?.map_or(0, |n| n.value());
            total += bytes.len() as u64;
            while total > bytes_max {
                let Some((_, oldest)) = letters.pop_first()? else {
                    break;
                };
                total = total.saturating_sub(oldest.value().len() as u64);
            }
            numbers.insert("dead_letter_bytes", total)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// At most `limit` refused reports numbered above `after`.
    pub(in crate::store) fn dead_letters(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, ReadError> {
        let mut found = vec![];
        if let Some(from) = after.checked_add(1) {
            let table = ("dead_letters", DEAD_LETTERS);
            self.rows(
                table.0,
                table.1,
                from,
                DEAD_LETTER,
                |number, letter: DeadLetterRecord| {
                    found.push(DeadLetter {
                        number,
                        at: letter.at,
                        source: letter.source,
                        reason: letter.reason,
                        field: letter.field,
                        detail: letter.detail,
                        raw: letter.raw.0,
                    });
                    found.len() < limit
                },
            )?;
        }
        Ok(found)
    }

    /// Removes a letter, durably. Returns whether it was there.
    pub(in crate::store) fn remove_dead_letter(&self, number: u64) -> Result<bool, redb::Error> {
        let transaction = self.database.begin_write()?;
        let removed = {
            let mut letters = transaction.open_table(DEAD_LETTERS)?;
            let n_bytes = letters
                .remove(number)?
                .map(|bytes| bytes.value().len() as u64);
            if let Some(n_bytes) = n_bytes {
                let mut numbers = transaction.open_table(NUMBERS)?;
                let total = numbers.get("dead_letter_bytes")?.map_or(0, |n| n.value());
                numbers.insert("dead_letter_bytes", total.saturating_sub(n_bytes))?;
            }
            n_bytes.is_some()
        };
        transaction.commit()?;
        Ok(removed)
    }
}
