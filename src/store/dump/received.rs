//! A dump in a file whose lines come from a running node: what is said of the store as a whole is known last and stands
//! first, so the file begins with room for it. Before the dump is closed, all of it is read again from the file, line by
//! line as an import reads it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
};

use super::{Closing, DumpError, LINE_BYTES, Lines, line, unwritten};

/// Room for the first line: the longest has some 250 bytes. What it leaves is filled with spaces, which mean nothing.
const FIRST_BYTES: usize = 1024;

/// An open file without a closing line.
#[derive(Debug)]
pub struct Received {
    file: File,
    place: Place,
}

/// How far a dump has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    bytes: u64,
    lines: u64,
}

impl Received {
    /// In an empty file that can be read and written.
    pub fn begin(mut file: File) -> Result<Self, DumpError> {
        file.write_all(&padded(b"")).map_err(|error| unwritten(&error))?;
        Ok(Self { file, place: Place { bytes: FIRST_BYTES as u64, lines: 0 } })
    }

    /// Adds whole lines; an error where they are not `count`.
    pub fn add(&mut self, text: &[u8], count: u64) -> Result<(), DumpError> {
        let ends = text.iter().filter(|byte| **byte == b'\n').count() as u64;
        if ends != count || text.last().is_some_and(|byte| *byte != b'\n') {
            return Err(DumpError(format!("{ends} lines came, {count} were sent")));
        }
        self.file.write_all(text).map_err(|error| unwritten(&error))?;
        self.place.bytes = self.place.bytes.saturating_add(text.len() as u64);
        self.place.lines = self.place.lines.saturating_add(count);
        Ok(())
    }

    /// Where the next line will stand.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Takes away what was added behind a place.
    pub fn back_to(&mut self, place: Place) -> Result<(), DumpError> {
        let cut = self.file.set_len(place.bytes).and_then(|()| self.file.seek(SeekFrom::Start(place.bytes)));
        cut.map_err(|error| unwritten(&error))?;
        self.place = place;
        Ok(())
    }

    /// Writes the first line and the closing one, and makes the file durable.
    pub fn close(mut self, first: &[u8]) -> Result<u64, DumpError> {
        if first.len() > FIRST_BYTES || first.last() != Some(&b'\n') {
            return Err(DumpError(format!("the first line has {} bytes, {FIRST_BYTES} may be", first.len())));
        }
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(&padded(first)));
        written.map_err(|error| unwritten(&error))?;
        let closing = self.read_again()?;
        let mut end = closing.line().map_err(|error| unwritten(&error))?;
        end.push(b'\n');
        let closed = self.file.seek(SeekFrom::Start(self.place.bytes)).and_then(|_| self.file.write_all(&end));
        closed.and_then(|()| self.file.sync_all()).map_err(|error| unwritten(&error))?;
        Ok(self.place.lines)
    }

    /// What stands in the file, every line of which can be read.
    fn read_again(&mut self) -> Result<Closing, DumpError> {
        self.file.seek(SeekFrom::Start(0)).map_err(|error| unwritten(&error))?;
        let mut from: Box<dyn BufRead> = Box::new(BufReader::new((&self.file).take(self.place.bytes)));
        let mut lines = Lines { from: &mut *from, number: 0 };
        let mut closing = Closing::default();
        while let Some(text) = lines.next()? {
            closing.text(text.as_bytes());
            if lines.number > 1 {
                let (_, key, _) = line::read(&text).map_err(|error| lines.at(error))?;
                closing.kind(key.kind().name());
            }
        }
        if closing.lines() == self.place.lines {
            return Ok(closing);
        }
        let (found, written) = (closing.lines(), self.place.lines);
        Err(DumpError(format!("{found} lines stand in the file, {written} were written")))
    }
}

/// A line of the length that is kept for the first one.
fn padded(line: &[u8]) -> Vec<u8> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let mut padded = text.to_vec();
    padded.resize(FIRST_BYTES.max(text.len() + 1), b' ');
    if let Some(last) = padded.last_mut() {
        *last = b'\n';
    }
    padded
}

const _: () = assert!((FIRST_BYTES as u64) < LINE_BYTES);
