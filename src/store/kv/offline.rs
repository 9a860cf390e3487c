//! What is done with a data directory without a running node: [`fsck`], [`export`], [`import`].
//!
//! `fsck` says everything that is wrong with a directory. It reads and moves nothing (the engine itself may
//! write a snapshot of its log when it opens). The one repair it offers puts a clock right that was ahead; and it
//! compacts a directory that is clean.
//!
//! ```text
//! pass 1   every row: readable? which kind? a head for it? a timer its head knows?
//!          all heads and timers together: what the meta row says?
//! pass 2   every org: what the digest in its head says? journal without a gap? an id admitted twice? slices that add up?
//! ```

mod as_it_is;
mod clock;
mod compact;
mod kept_ids;
mod moving;
mod names;
mod org;
mod usage;

use std::{collections::BTreeMap, fmt, ops::ControlFlow, path::Path};

pub use self::moving::{Exported, ImportOptions, Imported, export, import};

use super::{
    changes::Changes,
    codec::{decode, hex},
    keys::{HEAD, Key, org_prefix},
    keyspace::Keyspace,
    read::{self, ReadError},
    record::{Meta, Record},
    sled::{
        Committed, Engine, Failure, Layout, Opened, SledOptions, committed, open_for_repair, put_meta, quarantine_note,
    },
};
use crate::{
    bounds::CLOCK_AHEAD_MAX_MS,
    clock::wall,
    domain::{
        ids::OrgId,
        rows::{Row, RowKey},
        service_time::ClockMark,
        window::{Length, Millis, iso},
    },
    ports::{Compacted, StoreFault},
    store::kinds::Item,
};

/// More findings than this are counted, not kept: a broken disk has millions.
const FINDINGS_KEPT: usize = 1000;
/// Heads read at a time in the second pass.
const PAGE: usize = 256;

/// What `fsck` changes; by default nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FsckOptions {
    /// Put the stored clock right: the mark is set to the wall clock, and every org is brought back to it.
    pub set_clock: bool,
    /// Rewrite the engine's files without what was overwritten or removed, where nothing is wrong.
    pub compact: bool,
}

/// What a data directory holds and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Readable rows by kind.
    pub rows: BTreeMap<&'static str, u64>,
    /// Orgs whose head can be read.
    pub orgs: u64,
    /// The newest commit group, and where service time stood.
    pub group: u64,
    /// Where service time stood; `None` where no mark is stored.
    pub mark: Option<ClockMark>,
    /// The first thousand, and how many more there are.
    pub findings: Vec<Finding>,
    /// What an operator may want to complete: no damage. At most as many as findings are kept.
    pub unfinished: Vec<Finding>,
    /// Findings beyond those that are kept.
    pub more_findings: u64,
    /// What the mark was before it was set.
    pub clock_set_from: Option<Millis>,
    /// What the compaction did, where one was asked for and nothing is wrong.
    pub compacted: Option<Compacted>,
    /// Orgs that had seen a later time than the wall clock, and were brought back to it.
    pub orgs_brought_back: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `None` = the directory, or a key that names no org.
    pub org: Option<OrgId>,
    /// What is wrong, in one line.
    pub what: String,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// How many things are wrong, kept or only counted.
    pub fn found(&self) -> u64 {
        self.findings.len() as u64 + self.more_findings
    }

    fn note(&mut self, org: Option<&OrgId>, what: impl Into<String>) {
        if self.findings.len() < FINDINGS_KEPT {
            self.findings.push(Finding { org: org.cloned(), what: what.into() });
        } else {
            self.more_findings += 1;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "orgs {}, commit group {}", self.orgs, self.group)?;
        if let Some(mark) = &self.mark {
            writeln!(f, "service time {} ms", mark.service)?;
        }
        for (kind, count) in &self.rows {
            writeln!(f, "{kind} {count}")?;
        }
        if let Some(from) = self.clock_set_from {
            writeln!(f, "the clock mark was {} and is the wall clock now", iso(from))?;
            match self.orgs_brought_back {
                1 => writeln!(f, "1 org had seen a later time and was brought back")?,
                count => writeln!(f, "{count} orgs had seen a later time and were brought back")?,
            }
        }
        if let Some(Compacted { rows, before, after }) = self.compacted {
            writeln!(f, "compacted {rows} rows: {before} bytes before, {after} bytes now")?;
        }
        for unfinished in &self.unfinished {
            writeln!(f, "{unfinished}")?;
        }
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        match self.found() {
            0 => writeln!(f, "clean"),
            1 => writeln!(f, "1 finding"),
            count => writeln!(f, "{count} findings"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.org {
            Some(org) => write!(f, "{org}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// Why a data directory could not be worked on at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineError(pub String);

impl fmt::Display for OfflineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OfflineError {}

impl From<StoreFault> for OfflineError {
    fn from(fault: StoreFault) -> Self {
        Self(fault.to_string())
    }
}

/// Opens what is there, damaged or not, and leaves it where it is.
fn open_as_it_is(dir: &Path) -> Result<Opened, OfflineError> {
    open_for_repair(dir, &SledOptions::default()).map_err(|failure| {
        OfflineError(match failure {
            Failure::Refused(error) => error.to_string(),
            Failure::Corrupt(cause) => format!(
                "the store in {} cannot be read: {cause}. Nothing was moved; a node would move it aside. \
                 Restore the last export with `tollgate import` into an empty directory",
                dir.display()
            ),
        })
    })
}

/// Checks a data directory. Blocks for as long as reading all of it takes.
pub fn fsck(dir: &Path, options: FsckOptions) -> Result<Report, OfflineError> {
    let mut opened = open_as_it_is(dir)?;
    let mut report = check(dir, options, &opened)?;
    if options.set_clock {
        clock::set_clock(&mut opened, &mut report)?;
    }
    if options.compact && report.is_clean() {
        report.compacted = Some(compact::compact(opened)?);
    }
    Ok(report)
}

/// Everything that is wrong with an opened data directory.
fn check(dir: &Path, options: FsckOptions, opened: &Opened) -> Result<Report, OfflineError> {
    let mut report = Report { group: opened.group(), mark: opened.mark().cloned(), ..Report::default() };
    check_directory(dir, options, &mut report)?;
    check_contents(opened, &mut report)?;
    Ok(report)
}

/// What is wrong with the rows, wherever they lie.
fn check_contents(opened: &Opened, report: &mut Report) -> Result<(), OfflineError> {
    check_rows(&opened.engine, report)?;
    if let Some(cause) = opened.out_of_date() {
        let what = "some orgs are missing or out of date as a whole, and nothing says which ones, so no node starts";
        report.note(None, format!("{what}: {cause}"));
    }
    check_orgs(&opened.engine, report)
}

fn check_directory(dir: &Path, options: FsckOptions, report: &mut Report) -> Result<(), OfflineError> {
    match committed(dir) {
        Committed::Group(group) if group > report.group => {
            let stored = report.group;
            report.note(None, format!("the tail is lost: group {group} was committed, the newest stored is {stored}"));
        }
        Committed::Group(_) => {}
        Committed::Damaged => report.note(None, "the file \"committed\" is damaged: a lost tail would not show"),
        Committed::Absent if report.group == 0 => {}
        Committed::Absent => report.note(None, "the file \"committed\" is missing: a lost tail would not show"),
    }
    let note = quarantine_note(&Layout::new(dir)).map_err(|error| OfflineError(error.to_string()))?;
    if note.is_some() {
        report.note(None, "the file QUARANTINED is there: no node starts until it is removed");
    }
    let ahead = report.mark.as_ref().map_or(0, |mark| mark.service.saturating_sub(wall()));
    if ahead > CLOCK_AHEAD_MAX_MS && !options.set_clock {
        let ahead = Length(ahead / 1000 * 1000);
        report.note(
            None,
            format!("the clock mark is {ahead} ahead of the wall clock, so no node starts; --set-clock sets it"),
        );
    }
    Ok(())
}

/// Reads every row once. Rows of one org and kind follow each other, so its head is read once
/// per run.
fn check_rows(engine: &Engine, report: &mut Report) -> Result<(), OfflineError> {
    let mut known: Option<(OrgId, bool)> = None;
    let mut failed = None;
    engine.scan(&[], &[u8::MAX], &mut |key, value| match check_row(engine, key, value, &mut known, report) {
        Ok(()) => ControlFlow::Continue(()),
        Err(fault) => {
            failed = Some(fault);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), |fault| Err(fault.into()))
}

fn check_row(
    engine: &Engine,
    key: &[u8],
    value: &[u8],
    known: &mut Option<(OrgId, bool)>,
    report: &mut Report,
) -> Result<(), StoreFault> {
    let (key, record) = match decode(key, value) {
        Ok(found) => found,
        Err(error) => {
            let org = Key::decode(key).ok().and_then(|key| key.org().cloned());
            report.note(org.as_ref(), format!("key {}: {error}", hex(key)));
            return Ok(());
        }
    };
    *report.rows.entry(key.name()).or_default() += 1;
    let Some(org) = key.org() else { return Ok(()) };
    if key.kind() == Some(HEAD) {
        report.orgs += 1;
        return Ok(());
    }
    if let Record::Item(Item::Row { row: Row::Timer(timer), .. }) = record {
        return check_timer(engine, org, timer.wake_at, report);
    }
    if known.as_ref().is_none_or(|(last, _)| last != org) {
        let head = engine.get(&org_prefix(HEAD, org))?;
        if head.is_none() {
            report.note(Some(org), format!("{} rows without a head", key.name()));
        }
        *known = Some((org.clone(), head.is_some()));
    }
    Ok(())
}

fn check_timer(engine: &Engine, org: &OrgId, wake_at: Millis, report: &mut Report) -> Result<(), StoreFault> {
    let key = org_prefix(HEAD, org);
    let head = engine.get(&key)?.map(|value| decode(&key, &value));
    match head {
        None => report.note(Some(org), format!("a timer at {wake_at} without a head")),
        Some(Ok((_, Record::Item(Item::Row { row: Row::Head(head), .. })))) if head.wake_at != Some(wake_at) => {
            report.note(Some(org), format!("a stray timer at {wake_at}, the head says {:?}", head.wake_at));
        }
        // A head that cannot be read is a finding of its own.
        Some(_) => {}
    }
    Ok(())
}

fn check_orgs(engine: &Engine, report: &mut Report) -> Result<(), OfflineError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = heads_behind(engine, after.as_deref())?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for org in page.iter().filter_map(|key| Key::decode(key).ok()?.org().cloned()) {
            match read::load(engine, &org) {
                Ok(rows) => {
                    org::check(&org, &rows.rows, report);
                    kept_ids::check(engine, &org, &rows.rows, report)?;
                    usage::check(engine, &org, &rows.rows, report)?;
                    names::check(engine, &org, &rows.rows, report)?;
                }
                Err(ReadError::Engine(fault)) => return Err(fault.into()),
                Err(ReadError::Row(error)) => {
                    let what = error.to_string();
                    let known = |finding: &Finding| finding.org.as_ref() == Some(&org) && finding.what.ends_with(&what);
                    if !report.findings.iter().any(known) {
                        report.note(Some(&org), what);
                    }
                }
            }
        }
    }
}

/// Keys of heads, readable or not.
fn heads_behind(engine: &Engine, after: Option<&[u8]>) -> Result<Vec<Vec<u8>>, StoreFault> {
    let start = after.map_or_else(|| vec![HEAD.byte()], |key| [key, &[0]].concat());
    let mut keys = Vec::new();
    engine.scan(&start, &[HEAD.byte() + 1], &mut |key, _| {
        keys.push(key.to_vec());
        if keys.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(keys)
}

/// The stored head's timer, for checks of one org.
fn timer_is_there(rows: &[Row], wake_at: Millis) -> bool {
    rows.iter().any(|row| row.key() == RowKey::Timer { wake_at })
}

/// Replaces what the node's own row says of group and clock.
fn set_meta(opened: &Opened, group: u64, mark: Option<ClockMark>) -> Result<(), OfflineError> {
    let mut changes = Changes::default();
    let meta = Meta { group, mark, digests: opened.digests() };
    put_meta(&mut changes, meta).map_err(|error| OfflineError(error.to_string()))?;
    Ok(opened.engine.apply(changes)?)
}

#[cfg(test)]
mod tests;
