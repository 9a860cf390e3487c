//! From commits to keys and values, and back: the same for every engine.

use std::{collections::BTreeMap, fmt, ops::ControlFlow};

use super::{
    VALUE_BYTES,
    codec::{self, CodecError, Why, decode, decode_key, encode},
    digest::{self, Digest},
    keys::{Key, Kind, Memory, org_prefix, parts, prefix_end, timers_end},
    records::Record,
};
use crate::{
    domain::{
        ids::OrgId,
        outcome::{Admitted, Entry, Outcome, Picked, Started},
        rows::{Head, JournalRow, OrgRows, OrgWrite, Row, RowKey},
        window::Millis,
    },
    ports::StoreFault,
};

/// Ordered bytes to read from.
pub trait Keyspace {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault>;

    /// Visits keys from `from` up to but without `to`, ascending, until told to stop.
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreFault>;
}

/// Sees one key and value.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v;

/// Reading failed: the engine is broken, or one row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    Engine(StoreFault),
    Row(CodecError),
}

impl From<StoreFault> for ReadError {
    fn from(fault: StoreFault) -> Self {
        Self::Engine(fault)
    }
}

impl From<CodecError> for ReadError {
    fn from(error: CodecError) -> Self {
        Self::Row(error)
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(fault) => fault.fmt(f),
            Self::Row(error) => error.fmt(f),
        }
    }
}

/// A row that does not check out is its org's trouble, not the store's end.
pub(super) fn unreadable(error: &CodecError) -> StoreFault {
    tracing::error!(%error, "a stored row is corrupt; run fsck");
    StoreFault { operation: "load", cause: error.to_string() }
}

/// One step of a commit, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    /// The parts of a journal row, if it had any.
    DeleteParts(Vec<u8>),
    /// Every row of the org.
    Wipe(OrgId),
}

/// A commit in bytes, ready to be merged with others.
#[derive(Debug, Default)]
pub struct Prepared {
    pub changes: Vec<Change>,
    pub bytes: usize,
}

/// Turns a commit into bytes.
pub fn prepare(write: &OrgWrite) -> Result<Prepared, CodecError> {
    let mut prepared = Prepared::default();
    if write.wipe {
        prepared.changes.push(Change::Wipe(write.org.clone()));
    }
    for row_key in &write.dels {
        if let Some((of, seq)) = journal_of(row_key) {
            prepared.changes.push(Change::DeleteParts(parts(&write.org, of, seq)));
        }
        prepared.changes.push(Change::Delete(Key::row(&write.org, row_key).encode()));
    }
    for row in &write.puts {
        match row {
            Row::Journal(journal) => prepared.put_journal(&write.org, Memory::Short, journal)?,
            Row::LongJournal(journal) => prepared.put_journal(&write.org, Memory::Long, journal)?,
            row => {
                let key = Key::row(&write.org, &row.key());
                prepared.put(&key, &Record::Row { row: row.clone(), parts: 0 })?;
            }
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

    fn put_journal(&mut self, org: &OrgId, of: Memory, row: &JournalRow) -> Result<(), CodecError> {
        let mut chunks = chunks(&row.entries).into_iter();
        let first = chunks.next().unwrap_or_default().to_vec();
        let wrap = match of {
            Memory::Short => Row::Journal,
            Memory::Long => Row::LongJournal,
        };
        let seq = row.seq;
        let row = wrap(JournalRow { seq, at: row.at, entries: first });
        let key = Key::row(org, &row.key());
        let too_many = |count: usize| CodecError::new(&key, Why::Parts { expected: u16::MAX, found: count });
        let count = u16::try_from(chunks.len()).map_err(|_| too_many(chunks.len()))?;
        self.changes.push(Change::DeleteParts(parts(org, of, seq)));
        self.put(&key, &Record::Row { row, parts: count })?;
        for (part, entries) in (1..=count).zip(chunks) {
            self.put(&Key::Part { org: org.clone(), of, seq, part }, &Record::Part(entries.to_vec()))?;
        }
        Ok(())
    }
}

fn journal_of(key: &RowKey) -> Option<(Memory, u64)> {
    match key {
        RowKey::Journal { seq } => Some((Memory::Short, *seq)),
        RowKey::LongJournal { seq } => Some((Memory::Long, *seq)),
        _ => None,
    }
}

/// Runs of entries that each fit into one value.
fn chunks(entries: &[Entry]) -> Vec<&[Entry]> {
    const FRAME_BYTES: usize = 64;
    let mut chunks = Vec::new();
    let (mut start, mut bytes) = (0, FRAME_BYTES);
    for (index, entry) in entries.iter().enumerate() {
        let more = bytes_at_most(entry);
        if bytes + more > VALUE_BYTES && index > start {
            chunks.push(&entries[start..index]);
            (start, bytes) = (index, FRAME_BYTES);
        }
        bytes += more;
    }
    chunks.push(&entries[start..]);
    chunks
}

/// An upper bound: a number takes at most 9 bytes, a 128-bit one 17, a tag or length 3.
fn bytes_at_most(entry: &Entry) -> usize {
    let id = entry.idempotency.as_ref().map_or(0, |asked| asked.id.as_str().len());
    let outcome = match &entry.outcome {
        Outcome::Admitted(Admitted { fail_open, .. }) | Outcome::Started(Started { fail_open, .. }) => {
            fail_open.len() * 6
        }
        Outcome::Picked(Picked { account, fail_open, .. }) => account.as_str().len() + fail_open.len() * 6,
        _ => 0,
    };
    96 + id + outcome
}

/// Loads of an org that is written meanwhile before its digest is believed.
const LOADS: usize = 3;

/// Everything stored of an org.
pub fn load(from: &impl Keyspace, org: &OrgId) -> Result<OrgRows, ReadError> {
    let key = Key::row(org, &RowKey::Head).encode();
    let mut loads = 1;
    loop {
        let head = from.get(&key)?;
        let loaded = load_once(from, org);
        // A commit in between moves the digest in the head: what was read is of both sides of it.
        if loaded.is_ok() || loads == LOADS || from.get(&key)? == head {
            return loaded;
        }
        loads += 1;
    }
}

fn load_once(from: &impl Keyspace, org: &OrgId) -> Result<OrgRows, ReadError> {
    let mut found = Found::default();
    for kind in Kind::of_org() {
        if !is_part(kind) || found.has_parts() {
            scan_prefix(from, &org_prefix(kind, org), |key, value| found.add(key, value))?;
        }
    }
    if let Some(wake_at) = found.wake_at() {
        let key = Key::row(org, &RowKey::Timer { wake_at }).encode();
        if let Some(value) = from.get(&key)? {
            found.add(&key, &value)?;
        }
    }
    let (written, counted) = (found.written, found.digest);
    let rows = found.join()?;
    if let Some(what) = missing(&rows) {
        return Err(CodecError::new(&Key::row(org, &RowKey::Head), Why::Incomplete(what)).into());
    }
    digest::check(org, written, counted)?;
    Ok(rows)
}

/// What an org's rows say is missing among them. A damaged engine can lose rows without a word; the
/// journal has no gap from the head's `journal_from` to its `seq`, so a gap is a loss.
pub fn missing(rows: &OrgRows) -> Option<String> {
    let head = rows.rows.iter().find_map(|row| if let Row::Head(head) = row { Some(head) } else { None });
    let Some(head) = head else {
        return (!rows.rows.is_empty()).then(|| format!("{} rows are stored but no head", rows.rows.len()));
    };
    let seq = |row: &Row| if let Row::Journal(journal) = row { Some(journal.seq) } else { None };
    let mut stored: Vec<u64> = rows.rows.iter().filter_map(seq).collect();
    stored.sort_unstable();
    if let Some(newest) = stored.last().filter(|newest| **newest > head.seq) {
        return Some(format!("the head is at commit {} and the newest journal row at {newest}", head.seq));
    }
    let mut expected = head.journal_from;
    for seq in stored.into_iter().filter(|seq| *seq >= head.journal_from) {
        if seq != expected {
            return Some(format!("journal rows {expected} to {} are missing", seq - 1));
        }
        expected = seq + 1;
    }
    (expected <= head.seq).then(|| format!("journal rows {expected} to {} are missing", head.seq))
}

fn is_part(kind: Kind) -> bool {
    matches!(kind, Kind::JournalPart | Kind::LongJournalPart)
}

/// Rows and parts of one org on their way to being put together.
#[derive(Default)]
struct Found {
    rows: Vec<(Key, Row, u16)>,
    parts: BTreeMap<(Memory, u64), Vec<Entry>>,
    counts: BTreeMap<(Memory, u64), usize>,
    /// What the rows add up to, and what the head says.
    digest: Digest,
    written: Digest,
}

impl Found {
    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), CodecError> {
        let found = decode(key, value)?;
        match found.0.kind() {
            Kind::Head => self.written = codec::digest(key, value)?,
            Kind::Timer => {}
            _ => self.digest.add(key, value),
        }
        match found {
            (key, Record::Row { row, parts }) => self.rows.push((key, row, parts)),
            (Key::Part { of, seq, .. }, Record::Part(entries)) => {
                *self.counts.entry((of, seq)).or_default() += 1;
                self.parts.entry((of, seq)).or_default().extend(entries);
            }
            (Key::Meta | Key::Row { .. } | Key::Part { .. }, _) => {}
        }
        Ok(())
    }

    fn has_parts(&self) -> bool {
        self.rows.iter().any(|(_, _, parts)| *parts > 0)
    }

    fn wake_at(&self) -> Option<Millis> {
        self.rows.iter().find_map(|(_, row, _)| if let Row::Head(head) = row { head.wake_at } else { None })
    }

    fn join(mut self) -> Result<OrgRows, CodecError> {
        let mut rows = Vec::with_capacity(self.rows.len());
        for (key, mut row, expected) in self.rows {
            if let (Row::Journal(journal) | Row::LongJournal(journal), true) = (&mut row, expected > 0) {
                let of = if key.kind() == Kind::Journal { Memory::Short } else { Memory::Long };
                let found = self.counts.get(&(of, journal.seq)).copied().unwrap_or(0);
                if found != usize::from(expected) {
                    return Err(CodecError::new(&key, Why::Parts { expected, found }));
                }
                journal.entries.extend(self.parts.remove(&(of, journal.seq)).unwrap_or_default());
            }
            rows.push(row);
        }
        Ok(OrgRows { rows })
    }
}

/// Orgs whose timer is due, the earliest first. The key says it all; a value that does not check out
/// shows when the org is loaded.
pub fn due(from: &impl Keyspace, now: Millis, max: usize) -> Result<Vec<(Millis, OrgId)>, ReadError> {
    let mut due = Vec::new();
    let mut broken = None;
    from.scan(&[Kind::Timer.byte()], &timers_end(now), &mut |key, _| {
        if due.len() >= max {
            return ControlFlow::Break(());
        }
        match decode_key(key) {
            Ok(Key::Row { org, row: RowKey::Timer { wake_at } }) => due.push((wake_at, org)),
            Ok(_) => {}
            Err(error) => broken = Some(error),
        }
        ControlFlow::Continue(())
    })?;
    if let Some(error) = broken {
        tracing::error!(%error, "a timer row has no readable key and was passed over; run fsck");
    }
    Ok(due)
}

/// Orgs with their heads, in the order of their keys, from behind `after`.
pub fn list(from: &impl Keyspace, after: Option<&OrgId>, max: usize) -> Result<Vec<(OrgId, Head)>, ReadError> {
    let start = match after {
        Some(org) => [Key::row(org, &RowKey::Head).encode(), vec![0]].concat(),
        None => vec![Kind::Head.byte()],
    };
    let mut heads = Vec::new();
    scan_until(from, &start, &prefix_end(&[Kind::Head.byte()]), |key, value| {
        if heads.len() >= max {
            return Ok(ControlFlow::Break(()));
        }
        if let (Key::Row { org, .. }, Record::Row { row: Row::Head(head), .. }) = decode(key, value)? {
            heads.push((org, head));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(heads)
}

/// Orgs that have pools, in the order of their keys, from behind `after`. The keys say it all.
pub fn with_pools(from: &impl Keyspace, after: Option<&OrgId>, max: usize) -> Result<Vec<OrgId>, ReadError> {
    let start = after.map_or_else(|| vec![Kind::Pool.byte()], |org| prefix_end(&org_prefix(Kind::Pool, org)));
    let mut orgs: Vec<OrgId> = Vec::new();
    scan_until(from, &start, &prefix_end(&[Kind::Pool.byte()]), |key, _| {
        if let Key::Row { org, .. } = decode_key(key)?
            && orgs.last() != Some(&org)
        {
            orgs.push(org);
        }
        // One more than wanted is seen where the last of them has several.
        Ok(if orgs.len() > max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    orgs.truncate(max);
    Ok(orgs)
}

/// Visits everything under a prefix and stops at the first row that does not check out.
pub fn scan_prefix(
    from: &impl Keyspace,
    prefix: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), CodecError>,
) -> Result<(), ReadError> {
    scan_until(from, prefix, &prefix_end(prefix), |key, value| visit(key, value).map(ControlFlow::Continue))
}

fn scan_until(
    from: &impl Keyspace,
    start: &[u8],
    end: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, CodecError>,
) -> Result<(), ReadError> {
    let mut failed = None;
    from.scan(start, end, &mut |key, value| match visit(key, value) {
        Ok(flow) => flow,
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
