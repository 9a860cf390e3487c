//! Why a data directory was not opened. Each message says what was found, whether anything was moved, and
//! what an operator does next.

use std::{fmt, path::PathBuf};

use super::super::record::META_VERSION;
use crate::store::kinds::FIRST_VERSION;

/// What takes a store on whose tail is lost, or may be.
const GO_ON: &str = "remove the file \"committed\" and start once with --accept-lost-tail";

/// Why a data directory was not opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process uses it.
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// It was moved aside before, and nobody has decided since.
    Quarantined {
        /// The text of the note that was left when it was moved.
        note: String,
    },
    /// It could not be read and was moved aside just now.
    Corrupted {
        /// Where it is now.
        moved_to: PathBuf,
        /// What the engine said.
        cause: String,
    },
    /// Commit groups that had been acknowledged are gone from the end.
    TailLost {
        /// The newest group that was acknowledged.
        sidecar: u64,
        /// The newest group that the engine has.
        stored: u64,
    },
    /// Whether the tail is there cannot be said: the number of the last group is not readable, or not there.
    TailUnknown {
        /// The newest group that the engine has.
        stored: u64,
        /// The file with the number is there, and is not what was written.
        damaged: bool,
    },
    /// Some orgs are missing or older than what was acknowledged, and nothing says which.
    OutOfDate {
        /// Which numbers do not add up.
        cause: String,
    },
    /// Groups were committed here, and the engine's files are gone.
    Vanished {
        /// The newest group that was acknowledged; `None` where that is not readable.
        sidecar: Option<u64>,
        /// Where the engine's files were.
        engine: PathBuf,
    },
    /// Written by another tollgate.
    UnknownVersion {
        /// The version of the rows in it.
        version: u8,
    },
    /// The disk or the system said no; nothing was moved.
    Io {
        /// What was tried: the first words of the message.
        doing: &'static str,
        /// The file or directory that it was tried on.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { dir } => {
                write!(f, "data directory {} is used by another process; stop it first", dir.display())
            }
            Self::Quarantined { note } => f.write_str(note.trim_end()),
            Self::Corrupted { moved_to, cause } => write!(
                f,
                "the store could not be read ({cause}) and was moved to {}; restore with `tollgate import`, \
                 or remove the file QUARANTINED to start empty knowingly",
                moved_to.display()
            ),
            Self::TailLost { sidecar, stored } => write!(
                f,
                "the store has lost its tail: group {sidecar} was committed and the newest stored is {stored}. \
                 Nothing was moved. Restore a backup, or go on without them knowingly: {GO_ON}"
            ),
            Self::TailUnknown { stored, damaged } => write!(
                f,
                "the file \"committed\" is {}, so nothing shows whether the store has lost its tail; the newest \
                 group in it is {stored}. Nothing was moved. Restore a backup, or go on knowingly with what is \
                 there: {}",
                if *damaged { "damaged" } else { "missing" },
                if *damaged { GO_ON } else { "start once with --accept-lost-tail" },
            ),
            Self::OutOfDate { cause } => write!(
                f,
                "the store has lost something in its middle, so orgs in it may be missing or out of date ({cause}). \
                 Nothing was moved. Restore a backup with `tollgate import` into an empty data directory, or go on \
                 knowingly with what is left: `tollgate export --accept-damage` from this one and `tollgate import` into another"
            ),
            Self::Vanished { sidecar, engine } => write!(
                f,
                "{} is missing or empty although {} groups were committed. Restore it, or \
                 `tollgate import` into an empty data directory, or remove the file \"committed\" to start empty knowingly",
                engine.display(),
                sidecar.map_or_else(|| "some".to_owned(), |group| group.to_string()),
            ),
            Self::UnknownVersion { version } => {
                write!(
                    f,
                    "the store was written by {} tollgate (row version {version}, this one reads {FIRST_VERSION} to \
                     {META_VERSION}); nothing was changed. `tollgate export` with the one that wrote it, and `tollgate import` into an empty data \
                     directory with this one",
                    if *version < FIRST_VERSION { "an older" } else { "a newer" },
                )
            }
            Self::Io { doing, path, cause } => write!(f, "{doing} {}: {cause}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}
