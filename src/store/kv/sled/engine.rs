//! sled itself: reads, and the one way to write durably.

use std::{
    fs::File,
    io,
    ops::{Bound, ControlFlow},
};

use super::{
    super::{
        changes::Changes,
        keyspace::{Keyspace, Visit},
    },
    Layout,
};
use crate::ports::StoreFault;

pub(in crate::store::kv) struct Engine {
    db: ::sled::Db,
    /// A second handle on the engine's file, to sync it: the engine's own flush does not.
    file: File,
    sync_data: bool,
}

impl Engine {
    pub(super) fn new(db: ::sled::Db, layout: &Layout, sync_data: bool) -> io::Result<Self> {
        let file = File::open(layout.engine_file())?;
        if !sync_data {
            tracing::error!("the store does not sync its file: a power cut will lose acknowledged commits");
        }
        Ok(Self { db, file, sync_data })
    }

    /// Returns when all changes are on disk; they are there together or not at all.
    pub(in crate::store::kv) fn apply(&self, changes: Changes) -> Result<(), StoreFault> {
        let mut batch = ::sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.db.apply_batch(batch).map_err(|error| fault("commit", error))?;
        self.db.flush().map_err(|error| fault("commit", error))?;
        if self.sync_data {
            self.file.sync_data().map_err(|error| fault("commit", error))?;
        }
        Ok(())
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(in crate::store::kv) fn is_empty(&self) -> Result<bool, StoreFault> {
        self.db.iter().next().transpose().map(|first| first.is_none()).map_err(|error| fault("open", error))
    }
}

impl Keyspace for Engine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault> {
        let found = self.db.get(key).map_err(|error| fault("load", error))?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreFault> {
        for row in self.db.range::<&[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            let (key, value) = row.map_err(|error| fault("load", error))?;
            if let ControlFlow::Break(()) = visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }
}

fn fault(operation: &'static str, error: impl std::fmt::Display) -> StoreFault {
    StoreFault { operation, cause: error.to_string() }
}
