//! From commits to keys and values: the same for every engine of this family.

use super::{
    codec::{CodecError, Why, encode},
    keys::{Key, parts},
    record::Record,
};
use crate::{
    domain::{ids::OrgId, rows::OrgWrite},
    store::kinds,
};

/// One step of a commit, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// The parts of a journal row, if it had any.
    DeleteParts(Vec<u8>),
    /// Every row of the org.
    Wipe(OrgId),
}

/// A commit in bytes, ready to be merged with others.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) changes: Vec<Change>,
    pub(super) bytes: usize,
    /// Nothing of what it removes is to stay in the files.
    pub(super) purged: bool,
    /// A reply waits for it.
    pub(super) awaited: bool,
}

/// Turns a commit into bytes.
pub(super) fn prepare(write: OrgWrite) -> Result<Prepared, CodecError> {
    let OrgWrite { org, wipe, puts, dels, purged, awaited } = write;
    let mut prepared = Prepared { purged, awaited, ..Prepared::default() };
    if wipe {
        prepared.changes.push(Change::Wipe(org.clone()));
    }
    for row_key in &dels {
        if let Some((of, seq)) = kinds::continued(row_key) {
            prepared.changes.push(Change::DeleteParts(parts(&org, of, seq)));
        }
        prepared.changes.push(Change::Delete(Key::row(&org, row_key).encode()));
    }
    for row in puts {
        let key = row.key();
        if let Some((of, seq)) = kinds::continued(&key) {
            prepared.changes.push(Change::DeleteParts(parts(&org, of, seq)));
        }
        let items = kinds::items(row)
            .map_err(|error| CodecError::new(&Key::row(&org, &key), Why::Payload(error.to_string())))?;
        for (item, value) in items {
            prepared.put(&Key::Of { org: org.clone(), item }, &Record::Item(value))?;
        }
    }
    Ok(prepared)
}

impl Prepared {
    fn put(&mut self, key: &Key, record: &Record) -> Result<(), CodecError> {
        let key_bytes = key.encode();
        let value = encode(key, &key_bytes, record)?;
        self.bytes += key_bytes.len() + value.len();
        self.changes.push(Change::Put(key_bytes, value));
        Ok(())
    }
}
