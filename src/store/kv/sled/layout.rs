//! The files of a data directory: their names, the lock, and the sidecar with the last group number.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Names inside a data directory.
#[derive(Debug, Clone)]
pub(in crate::store::kv) struct Layout {
    pub root: PathBuf,
}

impl Layout {
    pub(in crate::store::kv) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    pub(in crate::store::kv) fn engine(&self) -> PathBuf {
        self.root.join("sled")
    }

    pub(in crate::store::kv) fn engine_file(&self) -> PathBuf {
        self.engine().join("db")
    }

    pub(in crate::store::kv) fn sidecar(&self) -> PathBuf {
        self.root.join("committed")
    }

    pub(in crate::store::kv) fn note(&self) -> PathBuf {
        self.root.join("QUARANTINED")
    }

    /// Since when the engine may hold bytes of what was purged.
    pub(in crate::store::kv) fn purged(&self) -> PathBuf {
        self.root.join("purged")
    }

    pub(in crate::store::kv) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Whether the engine has ever written anything here.
    pub(in crate::store::kv) fn engine_is_missing(&self) -> bool {
        fs::metadata(self.engine_file()).map_or(true, |file| file.len() == 0)
    }

    /// A snapshot that was being written when the process died makes every open fail. It is derived
    /// from the log, and an older one is still there.
    pub(in crate::store::kv) fn remove_unfinished_snapshots(&self) -> io::Result<()> {
        let entries = match fs::read_dir(self.engine()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut removed = false;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("snap.") && name.ends_with(".generating") {
                fs::remove_file(entry.path())?;
                tracing::warn!(file = %name, "an unfinished snapshot was removed");
                removed = true;
            }
        }
        if removed { sync_directory(&self.engine()) } else { Ok(()) }
    }
}

pub(in crate::store::kv) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Held for as long as a process uses the data directory.
#[derive(Debug)]
pub(in crate::store::kv) struct Lock {
    file: File,
}

impl Lock {
    /// `None` where another process still holds it after `wait`.
    pub(in crate::store::kv) fn take(layout: &Layout, wait: Duration) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(layout.lock())?;
        let locked = retry(wait, || match file.try_lock() {
            Ok(()) => Ok(Some(())),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        })?;
        Ok(locked.map(|()| Self { file }))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

const RETRY_EVERY: Duration = Duration::from_millis(10);

/// Tries again until there is an answer or `wait` is used up.
pub(super) fn retry<T, E>(wait: Duration, mut attempt: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    let mut left = wait;
    loop {
        if let Some(found) = attempt()? {
            return Ok(Some(found));
        }
        if left.is_zero() {
            return Ok(None);
        }
        thread::sleep(RETRY_EVERY.min(left));
        left = left.saturating_sub(RETRY_EVERY);
    }
}

const SIDECAR_BYTES: usize = 12;

/// What stands outside the engine of the last durable group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::kv) enum Committed {
    /// There is no file: a directory that nothing was committed to, or one that lost it.
    Absent,
    /// There is one, and it is not what was written.
    Damaged,
    Group(u64),
}

/// The number of the last durable group, outside the engine. It is written after the group is synced
/// and is not synced itself, so it may lag behind the engine and never runs ahead of it.
#[derive(Debug)]
pub(in crate::store::kv) struct Sidecar {
    file: File,
}

impl Sidecar {
    pub(in crate::store::kv) fn read(layout: &Layout) -> io::Result<Committed> {
        let mut bytes = Vec::new();
        match File::open(layout.sidecar()) {
            Ok(file) => file.take(SIDECAR_BYTES as u64 + 1).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Committed::Absent),
            Err(error) => return Err(error),
        };
        Ok(parse_sidecar(&bytes).map_or(Committed::Damaged, Committed::Group))
    }

    /// Opens it for writing with `group` in it, on disk. It takes its name when it is whole: what is cut
    /// short was never written like that by us.
    pub(in crate::store::kv) fn create(layout: &Layout, group: u64) -> io::Result<Self> {
        let unnamed = layout.root.join("committed.new");
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(true).write(true).mode(0o600).open(&unnamed)?;
        let sidecar = Self { file };
        sidecar.write(group)?;
        sidecar.sync()?;
        fs::rename(unnamed, layout.sidecar())?;
        sync_directory(&layout.root)?;
        Ok(sidecar)
    }

    /// One whose every write fails.
    #[cfg(test)]
    pub(super) fn broken(layout: &Layout) -> Self {
        Self::create(layout, 0).unwrap();
        Self { file: File::open(layout.sidecar()).unwrap() }
    }

    pub(in crate::store::kv) fn write(&self, group: u64) -> io::Result<()> {
        let number = group.to_be_bytes();
        let sum = crc32fast::hash(&number).to_be_bytes();
        self.file.write_all_at(&[&number[..], &sum[..]].concat(), 0)
    }

    pub(in crate::store::kv) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

fn parse_sidecar(bytes: &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    let sum: [u8; 4] = rest.try_into().ok()?;
    (crc32fast::hash(number) == u32::from_be_bytes(sum)).then(|| u64::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let held = Lock::take(&layout, Duration::ZERO).unwrap();
        assert!(held.is_some());
        assert!(Lock::take(&layout, Duration::ZERO).unwrap().is_none());
        drop(held);
        assert!(Lock::take(&layout, Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn a_torn_sidecar_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        assert_eq!(Sidecar::read(&layout).unwrap(), Committed::Absent);
        Sidecar::create(&layout, 7).unwrap().write(8).unwrap();
        assert_eq!(Sidecar::read(&layout).unwrap(), Committed::Group(8));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let whole = fs::read(layout.sidecar()).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut torn = whole.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            fs::write(layout.sidecar(), torn).unwrap();
            assert_eq!(Sidecar::read(&layout).unwrap(), Committed::Damaged, "bit {bit}");
        }
        for length in (0..whole.len()).chain([whole.len() + 1, 4096]) {
            let mut other = whole.clone();
            other.resize(length, 0);
            fs::write(layout.sidecar(), other).unwrap();
            assert_eq!(Sidecar::read(&layout).unwrap(), Committed::Damaged, "{length} bytes");
        }
    }
}
