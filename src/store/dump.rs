//! A data directory as JSON lines and back: the way out of a file that can not be opened any more,
//! so it is taken while everything is well.
//!
//! ```text
//! {"format":"tollgate-export","version":1,"group":42,"mark":{…}}
//! {"kind":"head","org":"acme","value":{"seq":7,…}}
//! {"kind":"slice","org":"acme","scope":"","meter":"spend","start":1782000000000,"value":{"total":300,…}}
//! ```
//!
//! One line per stored row, in the order of their keys, so the same store gives the same bytes. A
//! line that can not be read stops an import, which names it; nothing is imported by halves.
//!
//! Digests are not exported: an import counts what it restores. So this is also the way on from a
//! store whose digests do not fit any more, for somebody who knows that rows in it may be out of date;
//! what is wrong with a store is told with its export.

mod line;

use std::{
    fs, io,
    io::{BufRead, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use self::line::{read_line, write_line};
use super::{
    changes::Changes,
    codec::{decode, encode},
    keys::Kind,
    offline::{FsckOptions, OfflineError, Report, check, open_as_it_is},
    records::Meta,
    rows::Keyspace,
    sled::{Engine, SledOptions, finish_import, open, put_meta, start_import},
};
use crate::domain::service_time::ClockMark;

const FORMAT: &str = "tollgate-export";
const VERSION: u32 = 1;
/// Rows of one durable batch of an import.
const BATCH_ROWS: usize = 4096;
/// A line is a row of at most 4 KiB with its names spelled out; a file without line ends is no export.
const LINE_BYTES: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    group: u64,
    mark: Option<Mark>,
}

#[derive(Serialize, Deserialize)]
struct Mark {
    service: u64,
    boot_id: String,
    uptime: u64,
}

/// What an export wrote, and what `fsck` says of the directory it came from.
#[derive(Debug)]
pub struct Exported {
    pub rows: u64,
    pub report: Report,
}

/// Writes everything stored in `dir`. A row that can not be read is an error: an export with a hole
/// would be restored as if it were whole.
pub fn export(dir: &Path, out: &mut dyn Write) -> Result<Exported, OfflineError> {
    let opened = open_as_it_is(dir)?;
    let mark =
        opened.mark().map(|mark| Mark { service: mark.service, boot_id: mark.boot_id.clone(), uptime: mark.uptime });
    let header = Header { format: FORMAT.to_owned(), version: VERSION, group: opened.group(), mark };
    write_json(out, &header)?;
    let mut rows = 0;
    let mut failed = None;
    opened.engine.scan(&[Kind::Meta.byte() + 1], &[u8::MAX], &mut |key, value| {
        match export_row(out, key, value) {
            Ok(()) => rows += 1,
            Err(error) => failed = Some(error),
        }
        if failed.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed.map_or(Ok(()), Err)?;
    out.flush().map_err(|error| OfflineError(format!("writing the export: {error}")))?;
    let report = check(dir, FsckOptions::default(), &opened)?;
    Ok(Exported { rows, report })
}

fn export_row(out: &mut dyn Write, key: &[u8], value: &[u8]) -> Result<(), OfflineError> {
    let (key, record) = decode(key, value).map_err(|error| OfflineError(error.to_string()))?;
    write_json(out, &write_line(&key, &record))
}

fn write_json(out: &mut dyn Write, value: &impl Serialize) -> Result<(), OfflineError> {
    let failed = |error: String| OfflineError(format!("writing the export: {error}"));
    let mut line = serde_json::to_vec(value).map_err(|error| failed(error.to_string()))?;
    line.push(b'\n');
    out.write_all(&line).map_err(|error| failed(error.to_string()))
}

/// Restores an export into an empty directory; durable when it returns. Returns the number of rows.
/// Until it is complete, a note in the directory keeps every node from starting on half of it.
pub fn import(dir: &Path, from: &mut dyn BufRead) -> Result<u64, OfflineError> {
    refuse_unless_empty(dir)?;
    let mut lines = Lines { from, number: 0 };
    let header = read_header(&mut lines)?;
    let opened = open(dir, &SledOptions::default()).map_err(|error| OfflineError(error.to_string()))?;
    let marked = |error: io::Error| OfflineError(format!("marking {}: {error}", dir.display()));
    start_import(dir).map_err(marked)?;
    let rows = import_rows(&opened.engine, &mut lines, &header)?;
    finish_import(dir, header.group).map_err(marked)?;
    Ok(rows)
}

fn refuse_unless_empty(dir: &Path) -> Result<(), OfflineError> {
    let found = match fs::read_dir(dir) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    match found {
        Ok(found) if found.is_empty() => Ok(()),
        Ok(found) => Err(not_empty(dir, &found)),
        Err(error) => Err(OfflineError(format!("reading {}: {error}", dir.display()))),
    }
}

fn not_empty(dir: &Path, found: &[PathBuf]) -> OfflineError {
    let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
    OfflineError(format!(
        "{} is not empty: it holds {}; import needs an empty directory",
        dir.display(),
        names.join(", ")
    ))
}

fn read_header(lines: &mut Lines<'_>) -> Result<Header, OfflineError> {
    let line = lines.next()?.ok_or_else(|| OfflineError("line 1: the export is empty".to_owned()))?;
    let header: Header = serde_json::from_str(&line).map_err(|error| lines.at(error))?;
    if header.format != FORMAT || header.version != VERSION {
        let found = format!("{} version {}", header.format, header.version);
        return Err(lines.at(format!("this is \"{found}\", expected is {FORMAT} version {VERSION}")));
    }
    Ok(header)
}

/// Rows in durable batches, the meta row with the last of them.
fn import_rows(engine: &Engine, lines: &mut Lines<'_>, header: &Header) -> Result<u64, OfflineError> {
    let mut rows = 0;
    let mut digests = 0;
    let mut last: Option<Vec<u8>> = None;
    let mut changes = Changes::default();
    while let Some(line) = lines.next()? {
        let (key, record) = read_line(&line).map_err(|error| lines.at(error))?;
        let key_bytes = key.encode();
        if last.as_ref().is_some_and(|last| *last >= key_bytes) {
            return Err(lines.at(format!("\"{key}\" is not behind the row before it; the order of an export is kept")));
        }
        let value = encode(&key, &key_bytes, &record).map_err(|error| lines.at(error))?;
        changes.put(key_bytes.clone(), value);
        last = Some(key_bytes);
        rows += 1;
        if changes.len() >= BATCH_ROWS {
            digests = changes.seal(engine, digests)?;
            engine.apply(std::mem::take(&mut changes))?;
        }
    }
    let mark = header.mark.as_ref().map(|mark| ClockMark {
        service: mark.service,
        boot_id: mark.boot_id.clone(),
        uptime: mark.uptime,
    });
    digests = changes.seal(engine, digests)?;
    put_meta(&mut changes, Meta { group: header.group, mark, digests })
        .map_err(|error| OfflineError(error.to_string()))?;
    engine.apply(changes)?;
    Ok(rows)
}

/// Lines with their numbers, bounded in length.
struct Lines<'a> {
    from: &'a mut dyn BufRead,
    number: u64,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<String>, OfflineError> {
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

    fn at(&self, error: impl std::fmt::Display) -> OfflineError {
        OfflineError(format!("line {}: {error}", self.number))
    }
}

#[cfg(test)]
mod tests;
