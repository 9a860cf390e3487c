//! A store as JSON lines and back: the way out of an engine that cannot be opened any more, so it is
//! taken while everything is well, and the way from any store into any other.
//!
//! ```text
//! {"format":"tollgate-export","version":2,"group":42,"mark":{…}}
//! {"kind":"head","org":"acme","value":{"seq":7,…}}
//! {"kind":"slice","org":"acme","scope":"","meter":"spend","start":1782000000000,"value":{"total":300,…}}
//! {"end":{"lines":{"head":1,"slice":1,…},"sha256":"…"}}
//! ```
//!
//! One line for each row, org by org, the rows of an org in the order of their keys: the same store gives
//! the same text. The first line is about the store as a whole; what an engine keeps beside its rows to
//! protect them (digests, checksums) is not in a dump, the store that takes it makes its own. A journal row
//! that is long for a line goes on in `journal_part` lines. The last line closes the dump: the number of lines
//! of each kind, and the SHA-256 of everything before it. Version 1 had none.
//!
//! Lines are read in any order, except that the parts of a journal row follow it in theirs: older dumps
//! are sorted by kind, not by org. A line that cannot be read ends a [`restore`](Reader::restore), which
//! names it: the store then holds a part of the dump, and it is for the caller that nothing starts on it.

mod beside;
mod closing;
mod line;
mod received;
mod restore;
mod tally;
mod text;

use std::{
    fmt,
    io::{self, BufRead, Write},
};

use serde::{Deserialize, Serialize};

use crate::{
    domain::{ids::OrgId, lease::LeaseTime, rows::Row, service_time::ClockMark, shard::ShardSet},
    ports::{CommitError, OrgStore, StoreFault},
    store::kinds,
};

pub use received::{Place, Received};
pub use tally::Tally;
pub use text::Text;

use beside::Beside;
use closing::Closing;

const FORMAT: &str = "tollgate-export";
const VERSION: u32 = 2;
/// Dumps of this version have no closing line.
const UNCLOSED_VERSION: u32 = 1;
/// Orgs listed at a time.
const PAGE: usize = 256;
/// A line is a few KiB with its names spelled out; a file without line ends is no dump.
const LINE_BYTES: u64 = 1 << 20;

/// What a dump says of the store as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// The newest commit group; 0 where the engine counts none.
    pub group: u64,
    /// Where service time stood; `None` where that is not kept.
    pub mark: Option<ClockMark>,
}

impl Header {
    /// The first line of a dump, for a store that has to keep what an imported one said.
    pub(super) fn text(&self) -> Result<String, DumpError> {
        serde_json::to_string(&HeaderLine::from(self)).map_err(|error| unwritten(&error))
    }

    /// The same, read again.
    pub(super) fn parse(text: &str) -> Result<Self, DumpError> {
        let line: HeaderLine = serde_json::from_str(text).map_err(|error| DumpError(error.to_string()))?;
        Ok(line.into())
    }
}

#[derive(Serialize, Deserialize)]
struct HeaderLine {
    format: String,
    version: u32,
    group: u64,
    mark: Option<MarkLine>,
}

#[derive(Serialize, Deserialize)]
struct MarkLine {
    service: u64,
    /// `None` = as service time, as it was before leases had a clock of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<u64>,
    boot_id: String,
    uptime: u64,
}

/// Why a dump could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpError(String);

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DumpError {}

impl From<StoreFault> for DumpError {
    fn from(fault: StoreFault) -> Self {
        Self(fault.to_string())
    }
}

impl From<CommitError> for DumpError {
    fn from(error: CommitError) -> Self {
        Self(error.to_string())
    }
}

/// Writes everything that is stored, and answers how many lines stand between the first and the last. Each org is as it
/// stood at one instant. An org that does not load is an error: a dump with a hole would be restored as if
/// it were whole.
pub async fn write(store: &dyn OrgStore, header: &Header, out: &mut dyn Write) -> Result<u64, DumpError> {
    let mut closing = Closing::default();
    write_line(out, serde_json::to_vec(&HeaderLine::from(header)), &mut closing)?;
    let mut after: Option<OrgId> = None;
    loop {
        let page = store.list(&ShardSet::all(), after.as_ref(), PAGE).await?;
        for (org, _) in &page {
            write_org(store, org, out, &mut closing).await?;
        }
        let Some((last, _)) = page.into_iter().next_back() else { break };
        after = Some(last);
    }
    let lines = closing.lines();
    write_line(out, closing.line(), &mut Closing::default())?;
    out.flush().map_err(|error| unwritten(&error))?;
    Ok(lines)
}

async fn write_org(
    store: &dyn OrgStore,
    org: &OrgId,
    out: &mut dyn Write,
    closing: &mut Closing,
) -> Result<(), DumpError> {
    let mut rows = store.load(org).await?.rows;
    rows.sort_by_cached_key(|row| row.key());
    write_rows(org, rows, out, closing)?;
    let mut beside = Beside::of(store, org);
    loop {
        let rows = beside.next().await?;
        if rows.is_empty() {
            return Ok(());
        }
        write_rows(org, rows, out, closing)?;
    }
}

fn write_rows(org: &OrgId, rows: Vec<Row>, out: &mut dyn Write, closing: &mut Closing) -> Result<(), DumpError> {
    for row in rows {
        let items = kinds::items(row).map_err(|error| DumpError(format!("{org}: {error}")))?;
        for (key, item) in items {
            write_line(out, line::write(org, &key, &item), closing)?;
            closing.kind(key.kind().name());
        }
    }
    Ok(())
}

fn write_line(out: &mut dyn Write, line: serde_json::Result<Vec<u8>>, closing: &mut Closing) -> Result<(), DumpError> {
    let mut line = line.map_err(|error| unwritten(&error))?;
    line.push(b'\n');
    closing.text(&line);
    out.write_all(&line).map_err(|error| unwritten(&error))
}

fn unwritten(error: &dyn fmt::Display) -> DumpError {
    DumpError(format!("writing the export: {error}"))
}

/// A dump whose first line was read.
pub struct Reader<'a> {
    lines: Lines<'a>,
    header: Header,
    closing: Closing,
    accept_unclosed: bool,
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("header", &self.header).finish_non_exhaustive()
    }
}

impl<'a> Reader<'a> {
    /// Reads the first line; an error where the text is no dump, or one of an unknown version, or one without
    /// a closing line although none is accepted.
    pub fn open(from: &'a mut dyn BufRead, accept_unclosed: bool) -> Result<Self, DumpError> {
        let mut lines = Lines { from, number: 0 };
        let line = lines.next()?.ok_or_else(|| DumpError("line 1: the export is empty".to_owned()))?;
        let header: HeaderLine = serde_json::from_str(&line).map_err(|error| lines.at(error))?;
        if header.format != FORMAT || ![UNCLOSED_VERSION, VERSION].contains(&header.version) {
            let found = format!("{} version {}", header.format, header.version);
            return Err(lines.at(format!("this is \"{found}\", expected is {FORMAT} version {VERSION}")));
        }
        if header.version == UNCLOSED_VERSION && !accept_unclosed {
            return Err(lines.at(format!(
                "this export is of an older tollgate (version {UNCLOSED_VERSION}), which wrote no closing line: \
                 nothing shows whether it is whole. Import it knowingly with --accept-unclosed"
            )));
        }
        let mut closing = Closing::default();
        closing.text(line.as_bytes());
        Ok(Self { lines, header: header.into(), closing, accept_unclosed })
    }

    /// What the first line says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Commits every row to a store that knows none of the orgs. All of it is durable then, and it is what the
    /// closing line says.
    pub async fn restore(mut self, store: &dyn OrgStore) -> Result<Restored, DumpError> {
        let mut restored = restore::Restore::into(store);
        let closing_line = loop {
            let Some(line) = self.lines.next()? else { break None };
            if Closing::is_closing(&line) {
                break Some(line);
            }
            self.closing.text(line.as_bytes());
            let (org, key, item) = line::read(&line).map_err(|error| self.lines.at(error))?;
            self.closing.kind(key.kind().name());
            restored.take(org, key, item).await.map_err(|error| self.lines.at(error))?;
        };
        let lines = self.closing.lines();
        match closing_line {
            Some(line) => {
                self.closing.check(&line).map_err(|error| self.lines.at(error))?;
                if self.lines.next()?.is_some() {
                    return Err(self.lines.at("there is more behind the closing line"));
                }
            }
            None if self.accept_unclosed => {}
            None => {
                return Err(self
                    .lines
                    .at("the export is cut short: it has no closing line. Export again, or import what is there \
                     knowingly with --accept-unclosed"));
            }
        }
        let tally = restored.finish().await?;
        Ok(Restored { lines, tally })
    }
}

/// What a restore has read and committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Lines between the first and the last.
    pub lines: u64,
    tally: Tally,
}

impl Restored {
    /// Reads everything that is stored, and compares it with what was read from the dump.
    pub async fn verify(&self, store: &dyn OrgStore) -> Result<(), DumpError> {
        let stored = Tally::of(store).await?;
        if stored == self.tally {
            return Ok(());
        }
        let read = &self.tally;
        Err(DumpError(format!("what was written is not what the export says: read {read}; written {stored}")))
    }
}

/// Lines with their numbers, bounded in length.
struct Lines<'a> {
    from: &'a mut dyn BufRead,
    number: u64,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<String>, DumpError> {
        self.number += 1;
        let mut line = String::new();
        let read = io::Read::take(&mut *self.from, LINE_BYTES).read_line(&mut line).map_err(|error| self.at(error))?;
        if read == 0 {
            return Ok(None);
        }
        if !line.ends_with('\n') {
            return Err(self.at("the line has no end; the export is cut short"));
        }
        Ok(Some(line))
    }

    fn at(&self, error: impl fmt::Display) -> DumpError {
        DumpError(format!("line {}: {error}", self.number))
    }
}

impl From<&Header> for HeaderLine {
    fn from(header: &Header) -> Self {
        let mark = header.mark.as_ref().map(|mark| MarkLine {
            service: mark.service,
            lease: Some(mark.lease.0).filter(|lease| *lease != mark.service),
            absent: Some(mark.absent).filter(|absent| *absent > 0),
            boot_id: mark.boot_id.clone(),
            uptime: mark.uptime,
        });
        Self { format: FORMAT.to_owned(), version: VERSION, group: header.group, mark }
    }
}

impl From<HeaderLine> for Header {
    fn from(line: HeaderLine) -> Self {
        Self { group: line.group, mark: line.mark.map(ClockMark::from) }
    }
}

impl From<MarkLine> for ClockMark {
    fn from(MarkLine { service, lease, absent, boot_id, uptime }: MarkLine) -> Self {
        let (lease, absent) = (LeaseTime(lease.unwrap_or(service)), absent.unwrap_or(0));
        Self { service, lease, absent, boot_id, uptime }
    }
}

#[cfg(test)]
mod tests;
