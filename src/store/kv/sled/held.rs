//! Whether the data directory still names the files that this process holds.
//!
//! A file that was deleted or renamed can be written and synced for as long as a process holds it, and
//! nothing of that is there at the next start. So the paths are compared with what is held: before every
//! group is acknowledged, and in between on a timer.

use std::{
    fmt,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Engine, Shared, layout::Sidecar};

/// The files of a data directory as they were when they were opened. A directory above them that is
/// renamed takes them along, so it is noticed with them.
#[derive(Debug)]
pub(super) struct Held(Vec<HeldFile>);

#[derive(Debug)]
struct HeldFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// A path names something else than what is held under it, or nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    path: PathBuf,
    now: String,
}

impl Shared {
    /// The files of the directory that are in use.
    pub(super) fn hold(&self, engine: &Engine, sidecar: &Sidecar) -> io::Result<Held> {
        Held::of([
            (self.layout.engine_file(), engine.file()),
            (self.layout.sidecar(), sidecar.file()),
            (self.layout.lock(), self.lock.file()),
        ])
    }
}

impl Held {
    /// Relative paths are taken from where the process runs now.
    pub(super) fn of<'f>(files: impl IntoIterator<Item = (PathBuf, &'f File)>) -> io::Result<Self> {
        let held = files.into_iter().map(|(path, file)| {
            Ok(HeldFile { path: std::path::absolute(path)?, identity: identity(&file.metadata()?) })
        });
        held.collect::<io::Result<_>>().map(Self)
    }

    /// One call of the system for each file: a few microseconds, against the milliseconds of a sync.
    pub(super) fn check(&self) -> Result<(), Lost> {
        self.0.iter().try_for_each(HeldFile::check)
    }
}

impl HeldFile {
    fn check(&self) -> Result<(), Lost> {
        let now = match fs::metadata(&self.path) {
            Ok(found) if identity(&found) == self.identity => return Ok(()),
            Ok(_) => "is another file now".to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => "is not there any more".to_owned(),
            // What cannot be compared is not promised.
            Err(error) => format!("cannot be compared with the file in use ({error})"),
        };
        Err(Lost { path: self.path.clone(), now })
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, now } = self;
        let dir = path.parent().unwrap_or(Path::new("/"));
        write!(f, "{} {now}: {} was deleted, renamed or replaced while in use", path.display(), dir.display())
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_deleted_replaced_or_moved_with_its_directory_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        let file = dir.join("db");
        let damages: [(&str, &dyn Fn()); 4] = [
            ("is not there any more", &|| fs::remove_file(&file).unwrap()),
            ("is not there any more", &|| fs::remove_dir_all(&dir).unwrap()),
            ("is not there any more", &|| fs::rename(&dir, root.path().join("aside")).unwrap()),
            ("is another file now", &|| {
                fs::write(dir.join("copy"), b"x").unwrap();
                fs::rename(dir.join("copy"), &file).unwrap();
            }),
        ];
        for (said, damage) in damages {
            fs::create_dir_all(&dir).unwrap();
            let open = File::create(&file).unwrap();
            let held = Held::of([(file.clone(), &open)]).unwrap();
            assert_eq!(held.check(), Ok(()));
            damage();
            let lost = held.check().unwrap_err().to_string();
            assert!(lost.contains(said) && lost.contains(&*file.to_string_lossy()), "{lost}");
        }
    }

    #[test]
    fn a_directory_that_is_moved_and_put_back_is_the_same() {
        let root = tempfile::tempdir().unwrap();
        let (dir, aside) = (root.path().join("data"), root.path().join("aside"));
        fs::create_dir_all(&dir).unwrap();
        let open = File::create(dir.join("db")).unwrap();
        let held = Held::of([(dir.join("db"), &open)]).unwrap();
        fs::rename(&dir, &aside).unwrap();
        assert!(held.check().is_err());
        fs::rename(&aside, &dir).unwrap();
        assert_eq!(held.check(), Ok(()));
    }
}
