//! Items of a dump on their way into a store: runs of one org become commits, many of them under way.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;

use super::{DumpError, Tally, line::named};
use crate::{
    domain::{
        ids::OrgId,
        outcome::Entry,
        rows::{OrgWrite, Row, RowKey},
    },
    ports::{CommitError, OrgStore},
    store::kinds::{self, Item, ItemKey},
};

/// Rows of one commit. More of one org come in several.
const COMMIT_ROWS: usize = 4096;
/// Rows that are handed over and not yet durable.
const ROWS_UNDER_WAY: usize = 16_384;

pub(super) struct Restore<'s> {
    store: &'s dyn OrgStore,
    /// The org whose lines follow each other, and what was read of it since the last commit.
    org: Option<OrgId>,
    rows: BTreeMap<RowKey, Row>,
    /// Entries of parts whose journal row was committed before.
    late: BTreeMap<RowKey, Vec<Entry>>,
    /// Journal rows of which parts are missing still.
    open: BTreeMap<(OrgId, RowKey), Parts>,
    under_way: VecDeque<(usize, oneshot::Receiver<Result<(), CommitError>>)>,
    rows_under_way: usize,
    /// Everything that was handed over.
    tally: Tally,
}

struct Parts {
    read: u16,
    expected: u16,
}

impl<'s> Restore<'s> {
    pub(super) fn into(store: &'s dyn OrgStore) -> Self {
        Self {
            store,
            org: None,
            rows: BTreeMap::new(),
            late: BTreeMap::new(),
            open: BTreeMap::new(),
            under_way: VecDeque::new(),
            rows_under_way: 0,
            tally: Tally::default(),
        }
    }

    /// One more item.
    pub(super) async fn take(&mut self, org: OrgId, key: ItemKey, item: Item) -> Result<(), DumpError> {
        // A row is committed with the parts that follow it, so a commit ends only where a row begins.
        let full = self.rows.len() >= COMMIT_ROWS && matches!(item, Item::Row { .. });
        if full || self.org.as_ref() != Some(&org) {
            self.commit().await?;
            self.org = Some(org.clone());
        }
        match (key, item) {
            (ItemKey::Row(key), Item::Row { row, parts }) => self.row(org, key, row, parts),
            (ItemKey::Part { of, seq, part }, Item::Part(entries)) => self.part(org, of.row(seq), part, entries),
            (key, _) => Err(DumpError(format!("{} holds something else", named(&org, &key)))),
        }
    }

    /// Commits what is left, and waits until everything is durable. Answers what it all adds up to.
    pub(super) async fn finish(mut self) -> Result<Tally, DumpError> {
        self.commit().await?;
        self.wait(0).await?;
        match self.open.first_key_value() {
            None => Ok(self.tally),
            Some(((org, key), Parts { read, expected })) => {
                let key = named(org, &ItemKey::Row(key.clone()));
                Err(DumpError(format!("the export is cut short: {key} has {expected} parts, and {read} are there")))
            }
        }
    }

    fn row(&mut self, org: OrgId, key: RowKey, row: Row, parts: u16) -> Result<(), DumpError> {
        if self.rows.contains_key(&key) {
            return Err(DumpError(format!("{} is there twice", named(&org, &ItemKey::Row(key)))));
        }
        if parts > 0 {
            self.open.insert((org, key.clone()), Parts { read: 0, expected: parts });
        }
        self.rows.insert(key, row);
        Ok(())
    }

    fn part(&mut self, org: OrgId, of: RowKey, part: u16, more: Vec<Entry>) -> Result<(), DumpError> {
        let journal = (org, of);
        let Some(parts) = self.open.get_mut(&journal).filter(|parts| part == parts.read.saturating_add(1)) else {
            let row = named(&journal.0, &ItemKey::Row(journal.1));
            return Err(DumpError(format!("part {part} of {row} is not the next one of a row that is there")));
        };
        parts.read = part;
        let complete = parts.read == parts.expected;
        match self.rows.get_mut(&journal.1).and_then(kinds::entries) {
            Some(entries) => entries.extend(more),
            None => self.late.entry(journal.1.clone()).or_default().extend(more),
        }
        if complete {
            self.open.remove(&journal);
        }
        Ok(())
    }

    /// Commits what was read of one org.
    async fn commit(&mut self) -> Result<(), DumpError> {
        let Some(org) = self.org.take() else { return Ok(()) };
        self.hand_over(&org)?;
        if !self.late.is_empty() {
            self.wait(0).await?;
            self.join_late(&org).await?;
            self.hand_over(&org)?;
        }
        self.wait(ROWS_UNDER_WAY).await
    }

    fn hand_over(&mut self, org: &OrgId) -> Result<(), DumpError> {
        let puts: Vec<Row> = std::mem::take(&mut self.rows).into_values().collect();
        puts.iter().try_for_each(|row| self.tally.add(org, row.clone()))?;
        let count = puts.len();
        let (answer, done) = oneshot::channel();
        let fence = self.store.epoch(org).ok_or(CommitError::Fenced)?;
        let write = OrgWrite { puts, ..OrgWrite::empty(org) };
        self.store.commit(write, fence, Box::new(|result| drop(answer.send(result))));
        self.under_way.push_back((count, done));
        self.rows_under_way += count;
        Ok(())
    }

    /// Parts that came after the commit of their row are added to what is stored of it.
    async fn join_late(&mut self, org: &OrgId) -> Result<(), DumpError> {
        for mut row in self.store.load(org).await?.rows {
            let key = row.key();
            let Some(more) = self.late.remove(&key) else { continue };
            self.tally.remove(org, row.clone())?;
            if let Some(entries) = kinds::entries(&mut row) {
                entries.extend(more);
                self.rows.insert(key, row);
            }
        }
        self.late.clear();
        Ok(())
    }

    /// Waits until no more than `rows` are under way.
    async fn wait(&mut self, rows: usize) -> Result<(), DumpError> {
        while self.rows_under_way > rows
            && let Some((count, done)) = self.under_way.pop_front()
        {
            self.rows_under_way -= count;
            done.await.map_err(|_| DumpError("the store did not answer a commit".to_owned()))??;
        }
        Ok(())
    }
}
