//! Rows that are not loaded with their org, read a page at a time: there may be millions of them.

use crate::{
    domain::{
        ids::OrgId,
        rows::{Row, RowKey, RowKind},
    },
    ports::{OrgStore, StoreFault},
};

/// Rows read at a time.
const ROWS: usize = 4096;

/// Reads them in the order of their keys.
pub(super) struct Beside<'s> {
    store: &'s dyn OrgStore,
    org: &'s OrgId,
    kinds: std::slice::Iter<'static, RowKind>,
    kind: Option<RowKind>,
    after: Option<RowKey>,
}

impl<'s> Beside<'s> {
    pub(super) fn of(store: &'s dyn OrgStore, org: &'s OrgId) -> Self {
        let mut kinds = RowKind::READ_BY_NAME.iter();
        let kind = kinds.next().copied();
        Self { store, org, kinds, kind, after: None }
    }

    /// The next ones; none behind the last.
    pub(super) async fn next(&mut self) -> Result<Vec<Row>, StoreFault> {
        while let Some(kind) = self.kind {
            let rows = self.store.beside(self.org, kind, self.after.take(), ROWS).await?;
            if let Some(last) = rows.last() {
                self.after = Some(last.key());
                return Ok(rows);
            }
            self.kind = self.kinds.next().copied();
        }
        Ok(Vec::new())
    }
}
