//! From keys and values to orgs: the same for every engine of this family.

use std::{collections::BTreeMap, fmt, ops::ControlFlow};

use super::{
    codec::{self, CodecError, Why, decode, decode_key},
    digest::Digest,
    keys::{HEAD, Key, TIMER, of_org, org_prefix, prefix_end, timers_end},
    keyspace::Keyspace,
    record::Record,
};
use crate::{
    domain::{
        ids::OrgId,
        outcome::Entry,
        rows::{Head, OrgRows, Row, RowKey, RowKind},
        shard::ShardSet,
        window::Millis,
    },
    ports::StoreFault,
    store::{
        gaps::missing,
        kinds::{self, Item, ItemKey, Kind, Memory},
    },
};

/// Reading failed: the engine is broken, or one row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadError {
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

/// Loads of an org that is written meanwhile before its digest is believed.
const LOADS: usize = 3;

/// Everything stored of an org.
pub(super) fn load(from: &impl Keyspace, org: &OrgId) -> Result<OrgRows, ReadError> {
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
    let found = Found::of(from, org)?;
    let (written, counted) = (found.written, found.digest);
    let rows = found.join(org)?;
    if let Some(what) = missing(&rows) {
        return Err(incomplete(org, what).into());
    }
    check_digest(org, written, counted)?;
    Ok(rows)
}

/// Everything readable that is left of an org, whatever it shows to be lost.
pub(super) fn salvage(from: &impl Keyspace, org: &OrgId) -> Result<OrgRows, ReadError> {
    Ok(Found::of(from, org)?.join_what_is_left())
}

/// Rows of some kinds of an org, none of them a journal's, whose rows may have parts.
pub(super) fn some(from: &impl Keyspace, org: &OrgId, kinds: &[RowKind]) -> Result<OrgRows, ReadError> {
    let mut found = Found::default();
    for kind in kinds {
        scan_prefix(from, &org_prefix(Kind::Row(*kind), org), |key, value| found.add(key, value))?;
    }
    Ok(found.join_what_is_left())
}

fn incomplete(org: &OrgId, what: String) -> CodecError {
    CodecError::new(&Key::row(org, &RowKey::Head), Why::Incomplete(what))
}

/// Whether an org's rows are those its head was written for.
fn check_digest(org: &OrgId, written: Digest, found: Digest) -> Result<(), CodecError> {
    if found == written {
        return Ok(());
    }
    let what = format!(
        "rows of this org are missing or out of date: {} are stored, {} were written, with the sums {:016x} and {:016x}",
        found.rows, written.rows, found.sum, written.sum
    );
    Err(incomplete(org, what))
}

/// Rows and parts of one org on their way to being put together.
#[derive(Default)]
struct Found {
    rows: Vec<(Row, u16)>,
    /// How many parts there are of each journal row, and what is in them.
    parts: BTreeMap<(Memory, u64), (usize, Vec<Entry>)>,
    /// What the rows add up to, and what the head says.
    digest: Digest,
    written: Digest,
}

impl Found {
    fn of(from: &impl Keyspace, org: &OrgId) -> Result<Self, ReadError> {
        let mut found = Self::default();
        // Parts come last, and hardly any org has some.
        let loaded = of_org().filter(|kind| !kind.is_read_by_name());
        let (parts, rows): (Vec<Kind>, Vec<Kind>) = loaded.partition(|kind| matches!(kind, Kind::Part(_)));
        for kind in rows {
            scan_prefix(from, &org_prefix(kind, org), |key, value| found.add(key, value))?;
        }
        let parts = if found.has_parts() { parts } else { Vec::new() };
        for kind in parts {
            scan_prefix(from, &org_prefix(kind, org), |key, value| found.add(key, value))?;
        }
        if let Some(wake_at) = found.wake_at() {
            let key = Key::row(org, &RowKey::Timer { wake_at }).encode();
            if let Some(value) = from.get(&key)? {
                found.add(&key, &value)?;
            }
        }
        Ok(found)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), CodecError> {
        let (stored, record) = decode(key, value)?;
        match stored.kind() {
            Some(HEAD) => self.written = codec::digest(key, value)?,
            Some(TIMER) | None => {}
            Some(_) => self.digest.add(key, value),
        }
        match (stored, record) {
            (Key::Of { item: ItemKey::Row(_), .. }, Record::Item(Item::Row { row, parts })) => {
                self.rows.push((row, parts));
            }
            (Key::Of { item: ItemKey::Part { of, seq, .. }, .. }, Record::Item(Item::Part(entries))) => {
                let (count, joined) = self.parts.entry((of, seq)).or_default();
                *count += 1;
                joined.extend(entries);
            }
            (Key::Meta | Key::Of { .. }, _) => {}
        }
        Ok(())
    }

    fn has_parts(&self) -> bool {
        self.rows.iter().any(|(_, parts)| *parts > 0)
    }

    fn wake_at(&self) -> Option<Millis> {
        self.rows.iter().find_map(|(row, _)| if let Row::Head(head) = row { head.wake_at } else { None })
    }

    fn join(self, org: &OrgId) -> Result<OrgRows, CodecError> {
        for (row, expected) in self.rows.iter().filter(|(_, parts)| *parts > 0) {
            let key = row.key();
            let found = kinds::continued(&key).and_then(|of| self.parts.get(&of)).map_or(0, |(count, _)| *count);
            if found != usize::from(*expected) {
                return Err(CodecError::new(&Key::row(org, &key), Why::Parts { expected: *expected, found }));
            }
        }
        Ok(self.join_what_is_left())
    }

    fn join_what_is_left(mut self) -> OrgRows {
        let mut rows = Vec::with_capacity(self.rows.len());
        for (mut row, parts) in self.rows {
            if parts > 0
                && let Some((_, more)) = kinds::continued(&row.key()).and_then(|of| self.parts.remove(&of))
                && let Some(entries) = kinds::entries(&mut row)
            {
                entries.extend(more);
            }
            rows.push(row);
        }
        OrgRows { rows }
    }
}

/// Orgs of the shards whose timer is due, the earliest first. The key says it all; a value that does not
/// check out shows when the org is loaded.
pub(super) fn due(
    from: &impl Keyspace,
    now: Millis,
    shards: &ShardSet,
    max: usize,
) -> Result<Vec<(Millis, OrgId)>, ReadError> {
    let mut due = Vec::new();
    let mut broken = None;
    from.scan(&[TIMER.byte()], &timers_end(now), &mut |key, _| {
        if due.len() >= max {
            return ControlFlow::Break(());
        }
        match decode_key(key) {
            Ok(Key::Of { org, item: ItemKey::Row(RowKey::Timer { wake_at }) }) if shards.holds(&org) => {
                due.push((wake_at, org));
            }
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

/// Orgs of the shards with their heads, in the order of their keys, from behind `after`.
pub(super) fn list(
    from: &impl Keyspace,
    shards: &ShardSet,
    after: Option<&OrgId>,
    max: usize,
) -> Result<Vec<(OrgId, Head)>, ReadError> {
    let start = behind(HEAD, after);
    let mut heads = Vec::new();
    scan_until(from, &start, &prefix_end(&[HEAD.byte()]), |key, value| {
        if heads.len() >= max {
            return Ok(ControlFlow::Break(()));
        }
        if let (Key::Of { org, .. }, Record::Item(Item::Row { row: Row::Head(head), .. })) = decode(key, value)?
            && shards.holds(&org)
        {
            heads.push((org, head));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(heads)
}

/// Orgs of the shards that have rows of a kind, in the order of their keys, from behind `after`.
pub(super) fn having(
    from: &impl Keyspace,
    kind: RowKind,
    shards: &ShardSet,
    after: Option<&OrgId>,
    max: usize,
) -> Result<Vec<OrgId>, ReadError> {
    if Kind::Row(kind) == TIMER {
        return having_timers(from, shards, after, max);
    }
    let mut orgs: Vec<OrgId> = Vec::new();
    let mut after = after.cloned();
    while orgs.len() < max
        && let Some(org) = first_behind(from, Kind::Row(kind), after.as_ref())?
    {
        if shards.holds(&org) {
            orgs.push(org.clone());
        }
        after = Some(org);
    }
    Ok(orgs)
}

/// Keys of timers begin with a time: which orgs have one is in the heads.
fn having_timers(
    from: &impl Keyspace,
    shards: &ShardSet,
    after: Option<&OrgId>,
    max: usize,
) -> Result<Vec<OrgId>, ReadError> {
    const PAGE: usize = 256;
    let mut orgs = Vec::new();
    let mut after = after.cloned();
    loop {
        let page = list(from, shards, after.as_ref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(orgs) };
        after = Some(last.clone());
        let armed = page.into_iter().filter(|(_, head)| head.wake_at.is_some());
        orgs.extend(armed.map(|(org, _)| org).take(max - orgs.len()));
        if orgs.len() == max {
            return Ok(orgs);
        }
    }
}

/// The next org of any kind of row behind `after`, also where its head is lost.
pub(super) fn next_org(from: &impl Keyspace, after: Option<&OrgId>) -> Result<Option<OrgId>, ReadError> {
    let mut next: Option<OrgId> = None;
    for kind in of_org() {
        let found = first_behind(from, kind, after)?;
        next = next.into_iter().chain(found).min_by(|a, b| order(a).cmp(&order(b)));
    }
    Ok(next)
}

/// Orgs in the order of their keys, which begin with the length of the name.
fn order(org: &OrgId) -> (usize, &str) {
    (org.as_str().len(), org.as_str())
}

/// Where the rows of a kind begin that are of orgs behind `after`.
fn behind(kind: Kind, after: Option<&OrgId>) -> Vec<u8> {
    after.map_or_else(|| vec![kind.byte()], |org| prefix_end(&org_prefix(kind, org)))
}

/// The first org behind `after` that has a row of the kind. The keys say it all.
fn first_behind(from: &impl Keyspace, kind: Kind, after: Option<&OrgId>) -> Result<Option<OrgId>, ReadError> {
    let mut first = None;
    scan_until(from, &behind(kind, after), &prefix_end(&[kind.byte()]), |key, _| {
        first = decode_key(key)?.org().cloned();
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// Visits everything under a prefix and stops at the first row that does not check out.
pub(super) fn scan_prefix(
    from: &impl Keyspace,
    prefix: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), CodecError>,
) -> Result<(), ReadError> {
    scan_until(from, prefix, &prefix_end(prefix), |key, value| visit(key, value).map(ControlFlow::Continue))
}

pub(super) fn scan_until(
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
