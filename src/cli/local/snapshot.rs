//! The file of a snapshot: under another name until it is whole and durable. An existing file is never overwritten.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process,
};

use crate::store::dump::{DumpError, Place, Received};

/// How far the file has come.
pub(in crate::cli) type PartPlace = Place;

/// Its user's alone: it has all that is stored.
const MODE: u32 = 0o600;

/// A file that is not whole yet. It is removed unless it gets its name.
#[derive(Debug)]
pub(in crate::cli) struct Part {
    name: PathBuf,
    part: Unnamed,
    lines: Received,
}

/// The path of a file, which is removed with this.
#[derive(Debug)]
struct Unnamed(PathBuf);

impl Drop for Unnamed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn named(file: &Path, error: &DumpError) -> String {
    format!("{}: {error}", file.display())
}

impl Part {
    /// Beside the file that it will be.
    pub(in crate::cli) fn begin(name: &Path) -> Result<Self, String> {
        if name.symlink_metadata().is_ok() {
            return Err(format!("{}: it exists, and is not overwritten", name.display()));
        }
        let base = name.file_name().ok_or_else(|| format!("{}: it names no file", name.display()))?;
        let part = name.with_file_name(format!("{}.{}.part", base.to_string_lossy(), process::id()));
        let open = OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(&part);
        let file = open.map_err(|error| format!("{}: {error}", part.display()))?;
        let part = Unnamed(part);
        let lines = Received::begin(file).map_err(|error| named(name, &error))?;
        Ok(Self { name: name.to_owned(), part, lines })
    }

    /// Adds whole lines.
    pub(in crate::cli) fn add(&mut self, text: &[u8], count: u64) -> Result<(), String> {
        self.lines.add(text, count).map_err(|error| named(&self.name, &error))
    }

    /// Where the next line will stand.
    pub(in crate::cli) fn place(&self) -> PartPlace {
        self.lines.place()
    }

    /// Takes away what was added behind a place.
    pub(in crate::cli) fn back_to(&mut self, place: PartPlace) -> Result<(), String> {
        self.lines.back_to(place).map_err(|error| named(&self.name, &error))
    }

    /// Closes the dump and gives the file its name. Answers how many lines are in it.
    pub(in crate::cli) fn finish(self, first_line: &[u8]) -> Result<u64, String> {
        let Self { name, part, lines } = self;
        let count = lines.close(first_line).map_err(|error| named(&name, &error))?;
        // A link, because a rename would take the place of a file that somebody has made meanwhile.
        let placed = fs::hard_link(&part.0, &name).and_then(|()| sync_directory(&name));
        placed.map_err(|error| format!("{}: {error}", name.display()))?;
        Ok(count)
    }
}

fn sync_directory(of: &Path) -> io::Result<()> {
    let directory = of.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    const FIRST: &[u8] = b"{\"format\":\"tollgate-export\",\"version\":2,\"group\":0,\"mark\":null}\n";
    const LINE: &[u8] = b"{\"kind\":\"timer\",\"org\":\"a\",\"wake_at\":7,\"value\":{}}\n";

    #[test]
    fn a_file_has_its_name_when_it_is_whole_and_not_before() {
        let dir = tempdir().unwrap();
        let name = dir.path().join("orgs.jsonl");
        let mut part = Part::begin(&name).unwrap();
        part.add(LINE, 1).unwrap();
        assert!(!name.exists());
        let place = part.place();
        part.add(LINE, 1).unwrap();
        part.back_to(place).unwrap();
        assert_eq!(part.finish(FIRST), Ok(1));
        assert_eq!(names(dir.path()), ["orgs.jsonl"]);
        let text = fs::read_to_string(&name).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(Part::begin(&name).unwrap_err().contains("it exists"));
    }

    #[test]
    fn what_is_not_finished_or_not_what_was_sent_leaves_nothing() {
        let dir = tempdir().unwrap();
        let name = dir.path().join("orgs.jsonl");
        let mut part = Part::begin(&name).unwrap();
        assert!(part.add(LINE, 2).unwrap_err().contains("1 lines came, 2 were sent"));
        assert!(part.add(&LINE[..9], 0).is_err());
        drop(part);
        let mut part = Part::begin(&name).unwrap();
        part.add(b"{\"kind\":\"novel\"}\n", 1).unwrap();
        assert!(part.finish(FIRST).unwrap_err().contains("line 2"), "no import would read it");
        let part = Part::begin(&name).unwrap();
        fs::write(&name, "somebody's").unwrap();
        assert!(part.finish(FIRST).is_err());
        assert_eq!(fs::read_to_string(&name).unwrap(), "somebody's");
        assert_eq!(names(dir.path()), ["orgs.jsonl"]);
    }
}
