//! The last line of a dump: how many lines of each kind stand before it, and a digest of all text before it.
//! A dump that lost a line, or its end, says so by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How a closing line begins, and no other.
const BEGIN: &str = "{\"end\":";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClosingLine {
    end: End,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    lines: BTreeMap<String, u64>,
    sha256: String,
}

/// What was written, or read, of a dump so far.
#[derive(Default)]
pub(super) struct Closing {
    text: Sha256,
    lines: BTreeMap<String, u64>,
}

impl Closing {
    /// The bytes of a line, with its end.
    pub(super) fn text(&mut self, line: &[u8]) {
        self.text.update(line);
    }

    /// A line of this kind; the first line of a dump is of none.
    pub(super) fn kind(&mut self, kind: &'static str) {
        match self.lines.get_mut(kind) {
            Some(lines) => *lines = lines.saturating_add(1),
            None => drop(self.lines.insert(kind.to_owned(), 1)),
        }
    }

    /// Lines behind the first.
    pub(super) fn lines(&self) -> u64 {
        self.lines.values().fold(0, |sum, lines| sum.saturating_add(*lines))
    }

    /// The closing line of what was written, without its end.
    pub(super) fn line(self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&ClosingLine { end: self.end() })
    }

    fn end(self) -> End {
        End { lines: self.lines, sha256: format!("{:x}", self.text.finalize()) }
    }

    pub(super) fn is_closing(line: &str) -> bool {
        line.starts_with(BEGIN)
    }

    /// Whether a closing line says what was read.
    pub(super) fn check(self, line: &str) -> Result<(), String> {
        let ClosingLine { end: written } = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let read = self.end();
        let mut kinds: Vec<&String> = written.lines.keys().chain(read.lines.keys()).collect();
        kinds.sort_unstable();
        for kind in kinds {
            let of = |end: &End| end.lines.get(kind).copied().unwrap_or(0);
            if of(&written) != of(&read) {
                return Err(format!(
                    "the export is not what was written: {} lines of kind \"{kind}\" were written, {} are there",
                    of(&written),
                    of(&read)
                ));
            }
        }
        if written.sha256 != read.sha256 {
            return Err(format!(
                "the export is not what was written: its lines have the SHA-256 {}, written was {}",
                read.sha256, written.sha256
            ));
        }
        Ok(())
    }
}
