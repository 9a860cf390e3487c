//! A snapshot of an org that goes on: the lines of a dump, as of one commit of it, in pieces.
//!
//! What is loaded with the org is kept here until it is sent; rows beside it are read as they are sent, while the org is
//! [`Held`]. An org that fits into one piece is done with one call. Of the others a bounded number is open at a time, and
//! one that nobody reads on is closed.

use std::{
    collections::{BTreeMap, VecDeque},
    slice::Iter,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::{
    actors::Held,
    domain::{
        ids::OrgId,
        lease::Now,
        rows::{AsOf, Row, RowKey, RowKind},
        service_time::ClockMark,
        tenure::Tenure,
    },
    error::ServiceError,
    ports::{DumpText, OrgStore, StoreFault},
};

use super::{Call, Service};

/// A piece ends with the row that reaches this many bytes.
const PIECE_BYTES: usize = 512 << 10;
/// Rows that are read from the store at a time.
const ROWS: usize = 512;
/// Orgs that are open at a time. Each has in memory what an org has that is in memory.
const OPEN: usize = 8;
/// One that nobody reads on for so long is closed.
const READ_ON_WITHIN: Duration = Duration::from_secs(60);

/// Some lines of one org.
#[derive(Debug, Clone)]
pub struct SnapshotPiece {
    /// Whole lines, each with its end.
    pub text: Arc<Vec<u8>>,
    /// How many.
    pub lines: u64,
    /// `None` = these are the last.
    pub next: Option<SnapshotAt>,
}

/// Which piece of an org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotAt {
    /// Names the commit, on the node that has read it.
    pub id: u64,
    /// Counts the pieces, from 0.
    pub piece: u64,
}

/// An org whose rows are being sent.
#[derive(Debug)]
struct Open {
    org: OrgId,
    held: Held,
    as_of: AsOf,
    /// Read and not sent.
    rows: VecDeque<Row>,
    /// Kinds of rows that are not loaded with the org, from the one that is being read on.
    kinds: Iter<'static, RowKind>,
    kind: Option<RowKind>,
    after: Option<RowKey>,
    /// The piece that was sent last: whoever asks for it again has missed it.
    last: Option<SnapshotPiece>,
    pieces: u64,
}

/// A place among those that may be open.
#[derive(Debug)]
struct Slot {
    asked: Instant,
    /// `None` = a call reads on just now.
    open: Option<Box<Open>>,
}

/// Orgs that are open.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    slots: Mutex<BTreeMap<u64, Slot>>,
}

impl Snapshots {
    fn slots(&self) -> MutexGuard<'_, BTreeMap<u64, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one until it is read on, or was not in time.
    fn keep(self: &Arc<Self>, id: u64, open: Box<Open>) -> Result<(), ServiceError> {
        let mut slots = self.slots();
        if !slots.contains_key(&id) {
            if slots.len() >= OPEN {
                return Err(ServiceError::SnapshotsOpen { most: OPEN });
            }
            tokio::spawn(close_unread(Arc::downgrade(self), id));
        }
        slots.insert(id, Slot { asked: Instant::now(), open: Some(open) });
        Ok(())
    }

    /// Takes one out, so that no other call reads on; its place stays taken.
    fn take(&self, id: u64) -> Option<Box<Open>> {
        let mut slots = self.slots();
        let slot = slots.get_mut(&id)?;
        slot.asked = Instant::now();
        slot.open.take()
    }

    fn close(&self, id: u64) {
        self.slots().remove(&id);
    }

    /// When it is to be closed, unless it is read on; `None` where it is closed.
    fn close_if_unread(&self, id: u64) -> Option<Instant> {
        let mut slots = self.slots();
        let until = slots.get(&id)?.asked + READ_ON_WITHIN;
        if until <= Instant::now() {
            slots.remove(&id);
            return None;
        }
        Some(until)
    }
}

async fn close_unread(snapshots: Weak<Snapshots>, id: u64) {
    loop {
        let Some(until) = snapshots.upgrade().and_then(|snapshots| snapshots.close_if_unread(id)) else { return };
        sleep_until(until).await;
    }
}

impl Open {
    /// Rows that were not loaded with the org; false where there are no more.
    async fn read_on(&mut self, store: &dyn OrgStore) -> Result<bool, StoreFault> {
        while let Some(kind) = self.kind {
            let rows = store.beside(&self.org, kind, self.after.take(), ROWS).await?;
            match rows.last() {
                Some(last) => self.after = Some(last.key()),
                None => self.kind = self.kinds.next().copied(),
            }
            self.rows.extend(rows.into_iter().filter(|row| self.as_of.has(row)));
            if !self.rows.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next piece, if all of it is as of the commit.
    async fn next(
        &mut self,
        id: u64,
        store: &dyn OrgStore,
        dump: &dyn DumpText,
    ) -> Result<SnapshotPiece, ServiceError> {
        let (mut text, mut lines, mut is_last) = (Vec::new(), 0, false);
        while text.len() < PIECE_BYTES && !is_last {
            match self.rows.pop_front() {
                Some(row) => lines += dump.add(&self.org, row, &mut text).map_err(ServiceError::Store)?,
                None => is_last = !self.read_on(store).await.map_err(ServiceError::Store)?,
            }
        }
        if !self.held.is_whole() {
            return Err(ServiceError::SnapshotBroken(self.org.clone()));
        }
        self.pieces += 1;
        let next = (!is_last).then_some(SnapshotAt { id, piece: self.pieces });
        let piece = SnapshotPiece { text: Arc::new(text), lines, next };
        self.last = Some(piece.clone());
        Ok(piece)
    }
}

impl Service {
    /// Lines of an org as of one commit, from the first or from where an earlier piece ended. With `whole` an org that
    /// needs more than one piece is not begun: its piece has no lines, and a next one.
    pub async fn snapshot(
        &self,
        org: &OrgId,
        at: Option<SnapshotAt>,
        whole: bool,
        call: &Call,
    ) -> Result<SnapshotPiece, ServiceError> {
        let Some(SnapshotAt { id, piece }) = at else { return self.begin_snapshot(org, whole, call).await };
        let broken = || ServiceError::SnapshotBroken(org.clone());
        let mut open = self.snapshots.take(id).ok_or_else(broken)?;
        if open.org != *org || piece > open.pieces || piece + 1 < open.pieces {
            self.snapshots.close(id);
            return Err(broken());
        }
        let again = open.last.clone().filter(|_| piece + 1 == open.pieces);
        let read = match again {
            Some(last) => Ok(last),
            None => open.next(id, &*self.store, &*self.dump).await,
        };
        match &read {
            Ok(SnapshotPiece { next: Some(_), .. }) => self.snapshots.keep(id, open)?,
            Ok(_) | Err(_) => self.snapshots.close(id),
        }
        read
    }

    async fn begin_snapshot(&self, org: &OrgId, whole: bool, call: &Call) -> Result<SnapshotPiece, ServiceError> {
        let (stored, held) = self.orgs.hold(org, call.until(call.deadline.at)).await?;
        let mut rows = stored.rows;
        let Some(mut as_of) = AsOf::of(&rows) else {
            return Ok(SnapshotPiece { text: Arc::default(), lines: 0, next: None });
        };
        let mut page = as_of.last_page();
        while let Some(number) = page {
            let behind = number.checked_sub(1).map(|number| RowKey::IdPage { number });
            let found = self.store.beside(org, RowKind::IdPage, behind, 1).await.map_err(ServiceError::Store)?;
            page = found.first().and_then(|row| if let Row::IdPage(page) = row { as_of.read(page) } else { None });
        }
        rows.sort_by_cached_key(Row::key);
        let mut kinds = RowKind::READ_BY_NAME.iter();
        let (kind, org, rows) = (kinds.next().copied(), org.clone(), rows.into());
        let mut open = Box::new(Open { org, held, as_of, rows, kinds, kind, after: None, last: None, pieces: 0 });
        let id = getrandom::u64().map_err(|_| ServiceError::Bug)?;
        let piece = open.next(id, &*self.store, &*self.dump).await?;
        if piece.next.is_some() {
            if whole {
                return Ok(SnapshotPiece { text: Arc::default(), lines: 0, ..piece });
            }
            self.snapshots.keep(id, open)?;
        }
        Ok(piece)
    }

    /// What the clocks of the org's shard say now.
    pub fn clocks_of(&self, org: &OrgId) -> Now {
        let tenure = self.store.tenure(org).unwrap_or(Tenure::ONLY);
        tenure.clock.read(self.clock.read())
    }

    /// The first line of a dump, with its end.
    pub fn first_line(&self, mark: &ClockMark) -> Result<Vec<u8>, ServiceError> {
        self.dump.first(mark).map_err(ServiceError::Store)
    }
}
