//! Every table as bytes, and back: how the views leave the folder for a backup and return from one.
//! In: a read transaction, or rows of a backup. Out: rows as frames. Called from: [`super::super::image`].
//! Layout of a frame: length of the key and of the value (u32 LE each), the key, the value, both as the engine writes
//! them. A chunk holds whole frames of one table in the order of its keys.
//! Invariants: every table of the file is in [`each_table`]: one that is not there would be lost by a restore.

use redb::{
    Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableHandle, Value,
};

use super::{
    AGENTS, DEAD_LETTERS, HOSTS, METRICS, NUMBER_OF_ID, NUMBERS, OFFSETS, OUTBOX, PATTERN_COUNTS,
    PATTERNS, RECOMMENDATIONS, ReadError, SERIES, Views,
};

/// The row that says how far the views are applied: in a picture of position `n` it is `n`.
const APPLIED: &[u8] = b"applied";

/// Something done to tables of any type.
trait EachTable {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), redb::Error>;
}

fn each_table(visitor: &mut impl EachTable) -> Result<(), redb::Error> {
    visitor.table(NUMBERS)?;
    for names in [AGENTS, HOSTS, METRICS] {
        visitor.table(names)?;
    }
    visitor.table(SERIES)?;
    visitor.table(OFFSETS)?;
    visitor.table(PATTERN_COUNTS)?;
    visitor.table(NUMBER_OF_ID)?;
    visitor.table(OUTBOX)?;
    for rows in [PATTERNS, RECOMMENDATIONS, DEAD_LETTERS] {
        visitor.table(rows)?;
    }
    Ok(())
}

/// What is shown the name of a table and a chunk of its rows.
type Visitor<'a, E> = dyn FnMut(&str, &[u8]) -> Result<(), E> + 'a;

/// The views at one moment; what is written later does not show.
pub(in crate::store) struct FrozenViews {
    transaction: ReadTransaction,
    applied: u64,
}

impl std::fmt::Debug for FrozenViews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrozenViews")
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

impl FrozenViews {
    /// Shows `visit` chunks of about `chunk_bytes` with the name of their table. `visit` keeps its own errors.
    pub(in crate::store) fn chunks<E: From<redb::Error>>(
        &self,
        chunk_bytes: usize,
        visit: &mut Visitor<'_, E>,
    ) -> Result<(), E> {
        let mut out = Out {
            frozen: self,
            chunk_bytes,
            visit,
            refused: None,
        };
        match (each_table(&mut out), out.refused) {
            (_, Some(error)) => Err(error),
            (done, None) => Ok(done?),
        }
    }
}

struct Out<'a, E> {
    frozen: &'a FrozenViews,
    chunk_bytes: usize,
    visit: &'a mut Visitor<'a, E>,
    refused: Option<E>,
}

impl<E> Out<'_, E> {
    /// Whether to go on.
    fn give(&mut self, name: &str, chunk: &mut Vec<u8>) -> bool {
        self.refused = (self.visit)(name, chunk).err();
        chunk.clear();
        self.refused.is_none()
    }
}

impl<E> EachTable for Out<'_, E> {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), redb::Error> {
        if self.refused.is_some() {
            return Ok(());
        }
        let mut chunk = Vec::new();
        let applied = self.frozen.applied.to_le_bytes();
        for row in self.frozen.transaction.open_table(table)?.iter()? {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            let (key, value) = (K::as_bytes(&key), V::as_bytes(&value));
            let (key, mut value) = (key.as_ref(), value.as_ref());
            if table.name() == NUMBERS.name() && key == APPLIED {
                value = &applied;
            }
            for part in [key, value] {
                let len = u32::try_from(part.len()).expect("a row is far below 4 GiB");
                chunk.extend_from_slice(&len.to_le_bytes());
            }
            chunk.extend_from_slice(key);
            chunk.extend_from_slice(value);
            if chunk.len() >= self.chunk_bytes && !self.give(table.name(), &mut chunk) {
                return Ok(());
            }
        }
        if !chunk.is_empty() {
            self.give(table.name(), &mut chunk);
        }
        Ok(())
    }
}

struct In<'a> {
    views: &'a Views,
    name: &'a str,
    chunk: &'a [u8],
    known: bool,
}

impl EachTable for In<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), redb::Error> {
        if table.name() != self.name {
            return Ok(());
        }
        self.known = true;
        let transaction = self.views.database.begin_write()?;
        {
            let mut rows = transaction.open_table(table)?;
            let mut rest = self.chunk;
            while !rest.is_empty() {
                let (key, value);
                (key, value, rest) = frame(rest)
                    .ok_or_else(|| redb::Error::Corrupted("a row ends early".to_owned()))?;
                rows.insert(K::from_bytes(key), V::from_bytes(value))?;
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

fn frame(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (key_len, rest) = bytes.split_first_chunk()?;
    let (value_len, rest) = rest.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_len) as usize)?;
    Some((key, value, rest))
}

impl Views {
    /// The views as they are now; the groups up to `applied` are in them.
    pub(in crate::store) fn freeze(&self, applied: u64) -> Result<FrozenViews, ReadError> {
        let transaction = self.database.begin_read();
        Ok(FrozenViews {
            transaction: transaction.map_err(|e| ReadError::engine(&self.file, e))?,
            applied,
        })
    }

    /// Puts a chunk back into the table `name`. Returns whether there is such a table.
    pub(in crate::store) fn put_back(&self, name: &str, chunk: &[u8]) -> Result<bool, ReadError> {
        let mut put = In {
            views: self,
            name,
            chunk,
            known: false,
        };
        each_table(&mut put).map_err(|e| ReadError::engine(&self.file, e))?;
        Ok(put.known)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::Faults;

    struct Names(BTreeSet<String>);

    impl EachTable for Names {
        fn table<K: Key + 'static, V: Value + 'static>(
            &mut self,
            table: TableDefinition<'static, K, V>,
        ) -> Result<(), redb::Error> {
            self.0.insert(table.name().to_owned());
            Ok(())
        }
    }

    #[test]
    fn no_table_is_left_out() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (views, _) = Views::open(dir.path(), 1 << 20, &Faults::default()).expect("opens");
        let transaction = views.database.begin_read().expect("reads");
        let there = transaction.list_tables().expect("lists");
        let there: BTreeSet<String> = there.map(|table| table.name().to_owned()).collect();
        let mut named = Names(BTreeSet::new());
        each_table(&mut named).expect("visits");
        assert_eq!(named.0, there);
    }
}
