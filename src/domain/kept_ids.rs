//! The request ids of durable calls: kept on disk for a day within a bound of bytes, and read by name.
//!
//! ```text
//! commit    a row for each id, and one for each reservation that ended, together with the charge.
//!           Their names wait here for a page, and until then are in the journal rows of their commits
//! page      about a hundred names in the order of time: what goes first where a day is over or room is short
//! look up   before a durable call is carried out, the row of its id is read, if there is one
//! ```
//!
//! In memory are the names that wait for a page, and the oldest pages while they are being removed. What was
//! forgotten before a day was over is known to the millisecond (`forgotten_to`): an id that carries a time from
//! before that could be one of them, and is refused.

use std::collections::VecDeque;

use super::{
    ids::{DecisionId, RequestId},
    outcome::Entry,
    refusal::OrgError,
    request::Rpc,
    rows::{IdPageRow, KeptHead, KeptId, RequestIdRow, Row, RowKey, RowKind, SettledRow},
    window::Millis,
};
use crate::bounds::{HOUR_MS, LONG_MEMORY_MS, MEMORY_FLOOR_MS};

/// The most that the names of a page take in bytes: it is one stored value.
pub const PAGE_BYTES: usize = 3_600;
/// Share of the bound, in percent, from which on an operator is warned.
const FULL_PERCENT: u64 = 80;

/// What the store is asked for before commands are carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The youngest row of each name.
    pub names: Vec<KeptName>,
    /// Pages to remove.
    pub pages: Option<PagesBehind>,
    /// The oldest rows of this kind, [`ROWS_READ`](super::usage::ROWS_READ) at most: usage that becomes a month, or
    /// whose time is over.
    pub usage: Option<RowKind>,
    /// Every row, to say what a purge removes.
    pub all: bool,
}

impl Wanted {
    /// Nothing has to be read.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.pages.is_none() && self.usage.is_none() && !self.all
    }
}

/// Names what is kept, whatever the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptName {
    /// What a call was answered.
    Request(Rpc, RequestId),
    /// How a reservation ended.
    Reservation(DecisionId),
}

impl KeptName {
    /// The first of the keys that have this name.
    pub fn first_key(&self) -> RowKey {
        match self {
            Self::Request(rpc, id) => RowKey::RequestId { rpc: *rpc, id: id.clone(), at: 0 },
            Self::Reservation(id) => RowKey::Settled { id: *id, at: 0 },
        }
    }
}

/// Pages in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PagesBehind {
    /// The number before the first one; `None` = from the first that there ever was.
    pub behind: Option<u64>,
    /// How many at most.
    pub max: usize,
}

/// The bound is nearly reached, and not everything in it is a day old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filling {
    /// What is kept.
    pub bytes: u64,
    /// What may be kept.
    pub most: u64,
    /// How long ids will be remembered at the rate of now, in milliseconds.
    pub age: Millis,
}

/// What is kept of an org, without its rows.
#[derive(Debug, Default)]
pub(super) struct KeptIds {
    head: KeptHead,
    /// Names without a page, the oldest first, each with the bytes that it stands for.
    unpaged: VecDeque<(KeptId, u64)>,
    unpaged_bytes: usize,
    /// The oldest pages, as they were read.
    oldest: VecDeque<IdPageRow>,
    /// The most that may be kept, in bytes.
    most: u64,
    warned_at: Option<Millis>,
    /// Given up before a day was over, and not announced yet.
    forgotten: u64,
    /// The rows are being read, so none is removed.
    held: bool,
}

impl KeptIds {
    pub(super) fn load(head: KeptHead) -> Self {
        Self { head, most: u64::MAX, ..Self::default() }
    }

    pub(super) fn head(&self) -> &KeptHead {
        &self.head
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.count == 0
    }

    pub(super) fn bound(&mut self, most: u64) {
        self.most = most;
    }

    /// Whether the rows are being read: nothing is removed meanwhile, also beyond the bound.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// A name out of a journal row, if it has no page yet.
    pub(super) fn reload(&mut self, seq: u64, entry: &Entry) {
        if seq > self.head.paged_seq
            && let Some(id) = KeptId::of(entry)
        {
            self.wait_for_page(id, bytes(entry));
        }
    }

    /// From then on every id of a durable call is known.
    pub(super) fn known_from(&self, now: Millis) -> Millis {
        self.head.forgotten_to.max(now.saturating_sub(LONG_MEMORY_MS)).saturating_add(1)
    }

    /// Refuses a new id that may have been forgotten, and any while there is no room.
    pub(super) fn check(&self, id: &RequestId, now: Millis) -> Result<(), OrgError> {
        let known_from = self.known_from(now);
        if let Some(made_at) = id.made_at().filter(|made_at| *made_at < known_from) {
            return Err(OrgError::RequestIdTooOld { made_at, known_from });
        }
        if self.head.bytes >= self.most && !self.may_give_up(now) {
            return Err(OrgError::KeptIdsFull { most: self.most });
        }
        Ok(())
    }

    /// Whether the call of an id was not carried out before `from`, as the id says: it was made since, and ids that
    /// were made by a clock ahead of this node's say earlier times.
    pub(super) fn is_since(&self, id: &RequestId, from: Millis, now: Millis) -> bool {
        id.made_at().is_some_and(|made_at| made_at > self.head.ahead_to && (from..=now).contains(&made_at))
    }

    /// The names of the oldest page are past a retry's reach. What no page has yet is less than one.
    fn may_give_up(&self, now: Millis) -> bool {
        self.oldest.front().is_none_or(|page| page.youngest().saturating_add(MEMORY_FLOOR_MS) <= now)
    }

    /// The rows of an entry that is remembered for a day; none where it has no id.
    pub(super) fn add(&mut self, entry: &Entry, rows: &mut Vec<Row>) {
        let (Some(id), Some(asked)) = (KeptId::of(entry), &entry.idempotency) else { return };
        if self.is_empty() {
            self.head.since = entry.at;
        }
        if let Some(made_at) = asked.id.made_at().filter(|made_at| *made_at > entry.at) {
            self.head.ahead_to = self.head.ahead_to.max(made_at);
        }
        let bytes = bytes(entry);
        self.head.count += 1;
        self.head.bytes = self.head.bytes.saturating_add(bytes);
        if let Some((id, how)) = entry.outcome.settlement() {
            let charge = entry.charge.clone();
            rows.push(Row::Settled(SettledRow { id, at: entry.at, how, charge }));
        }
        rows.push(Row::RequestId(RequestIdRow {
            rpc: entry.rpc,
            id: id.id.clone(),
            at: entry.at,
            fingerprint: asked.fingerprint,
            outcome: entry.outcome.clone(),
        }));
        self.wait_for_page(id, bytes);
    }

    fn wait_for_page(&mut self, id: KeptId, bytes: u64) {
        self.unpaged_bytes += id.page_bytes();
        self.unpaged.push_back((id, bytes));
    }

    /// Some name of a commit up to `seq` has no page.
    pub(super) fn is_unpaged(&self, seq: u64) -> bool {
        !self.unpaged.is_empty() && seq > self.head.paged_seq
    }

    /// Writes names into pages: those that fill one, or all. They are of commits up to `seq`.
    pub(super) fn write_pages(&mut self, seq: u64, all: bool, rows: &mut Vec<Row>) {
        if !all && self.unpaged_bytes < PAGE_BYTES {
            return;
        }
        while !self.unpaged.is_empty() {
            let number = self.head.pages_to;
            let mut page = IdPageRow { number, bytes: 0, ids: Vec::new() };
            let mut room = PAGE_BYTES;
            while let Some((id, bytes)) = self.unpaged.pop_front_if(|(id, _)| id.page_bytes() <= room) {
                room -= id.page_bytes();
                page.bytes = page.bytes.saturating_add(bytes);
                page.ids.push(id);
            }
            self.head.pages_to += 1;
            rows.push(Row::IdPage(page));
        }
        self.unpaged_bytes = 0;
        self.head.paged_seq = seq;
    }

    /// Pages that are to be read before what is in them can be removed, at most `max`.
    pub(super) fn wanted_pages(&self, now: Millis, max: usize) -> Option<PagesBehind> {
        let read = u64::try_from(self.oldest.len()).unwrap_or(u64::MAX);
        let next = self.head.pages_from.saturating_add(read);
        let freed = self.oldest.iter().map(|page| page.bytes).fold(0, u64::saturating_add);
        let over = self.head.bytes.saturating_sub(freed) >= self.most;
        let expired = self.oldest.is_empty() && self.head.since.saturating_add(LONG_MEMORY_MS) <= now;
        let wanted = next < self.head.pages_to && self.oldest.len() < max && (over || expired);
        wanted.then(|| PagesBehind { behind: next.checked_sub(1), max })
    }

    /// A page that was read. One that is not the next one was removed meanwhile.
    pub(super) fn take_page(&mut self, page: IdPageRow) {
        let next = self.oldest.back().map_or(self.head.pages_from, |last| last.number + 1);
        if page.number == next {
            self.oldest.push_back(page);
        }
    }

    /// Removes what is a day old, if that `may_purge`, and the oldest beyond the bound.
    pub(super) fn purge(&mut self, now: Millis, may_purge: bool, gone: &mut Vec<RowKey>) {
        if self.held {
            return;
        }
        while let Some(page) = self.oldest.front() {
            let youngest = page.youngest();
            let expired = may_purge && youngest.saturating_add(LONG_MEMORY_MS) <= now;
            let over = self.head.bytes >= self.most && youngest.saturating_add(MEMORY_FLOOR_MS) <= now;
            if !expired && !over {
                self.head.since = page.ids.first().map_or(self.head.since, |id| id.at);
                return;
            }
            let Some(page) = self.oldest.pop_front() else { return };
            self.head.pages_from = page.number + 1;
            gone.push(RowKey::IdPage { number: page.number });
            let bytes = page.bytes;
            page.ids.into_iter().for_each(|id| self.remove(id, now, gone));
            self.head.bytes = self.head.bytes.saturating_sub(bytes);
        }
        // Without a page, the names that wait for one are the oldest.
        if self.head.pages_from == self.head.pages_to
            && let Some((id, _)) = self.unpaged.front()
        {
            self.head.since = id.at;
        }
    }

    fn remove(&mut self, id: KeptId, now: Millis, gone: &mut Vec<RowKey>) {
        self.head.count = self.head.count.saturating_sub(1);
        self.head.since = self.head.since.max(id.at);
        if id.at.saturating_add(LONG_MEMORY_MS) > now {
            self.head.forgotten_to = self.head.forgotten_to.max(id.at);
            self.head.forgotten += 1;
            self.forgotten += 1;
        }
        gone.extend(id.keys());
    }

    /// When a purge is worth waking an idle org for.
    pub(super) fn next_purge(&self) -> Option<Millis> {
        (!self.is_empty()).then(|| self.head.since.saturating_add(LONG_MEMORY_MS))
    }

    /// Ids given up before a day was over since this was last asked.
    pub(super) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    /// The bound is nearly reached, and ids will be forgotten before a day is over: once an hour.
    pub(super) fn take_warning(&mut self, now: Millis) -> Option<Filling> {
        let KeptHead { bytes, since, .. } = self.head;
        // Of no ids none is forgotten.
        let full = bytes > 0 && u128::from(bytes) * 100 >= u128::from(self.most) * u128::from(FULL_PERCENT);
        if !full || self.warned_at.is_some_and(|at| now < at.saturating_add(HOUR_MS)) {
            return None;
        }
        let age = u128::from(now.saturating_sub(since)) * u128::from(self.most) / u128::from(bytes.max(1));
        let age = Millis::try_from(age).unwrap_or(Millis::MAX);
        if age >= LONG_MEMORY_MS {
            return None;
        }
        self.warned_at = Some(now);
        Some(Filling { bytes, most: self.most, age })
    }
}

/// What the rows of an id take with their keys and its place in a page, as the sled engine stores them before what
/// it adds itself; the name of the org is counted as one of sixteen characters.
pub fn bytes(entry: &Entry) -> u64 {
    const FIXED: usize = 52;
    const SETTLED: usize = 64;
    let id = entry.idempotency.as_ref().map_or(0, |asked| asked.id.as_str().len());
    let settled = if entry.outcome.settlement().is_some() { SETTLED } else { 0 };
    u64::try_from(FIXED + 2 * id + settled + entry.outcome.bytes()).unwrap_or(u64::MAX)
}
