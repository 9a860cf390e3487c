//! Starting, asking and ending real nodes.

pub mod chance;
pub mod client;
pub mod disks;
pub mod node;

use std::{
    ffi::OsString,
    fmt::Display,
    future::Future,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Between two checks of something that is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Tests that run at the same time, on however many cores: each brings a node and a load.
const WORKERS: u32 = 2;

static MACHINE: Semaphore = Semaphore::const_new(WORKERS as usize);

/// Held for the whole of a test that measures, or whose node must answer in time while it is loaded.
pub async fn alone() -> SemaphorePermit<'static> {
    MACHINE.acquire_many(WORKERS).await.unwrap()
}

/// Held for the whole of a test that may take its time.
pub async fn beside_another() -> SemaphorePermit<'static> {
    MACHINE.acquire().await.unwrap()
}

/// What is tested: `TOLLGATE_BINARY`, which scripts/test sets to the release, or what this test was built with.
pub fn binary() -> OsString {
    std::env::var_os("TOLLGATE_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_tollgate").into())
}

/// The size `name` from the environment, or the default.
pub fn size(name: &str, default: usize) -> usize {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number"))
}

/// Looks until `look` finds something, at most `within`.
pub async fn poll<T, F: Future<Output = Option<T>>>(what: impl Display, within: Duration, look: impl Fn() -> F) -> T {
    let until = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "{what}: not within {within:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Runs the command's verb on a data directory that no node uses.
pub fn offline(verb: &str, dir: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg(verb).arg("--data-dir").arg(dir).args(more);
    command.output().unwrap_or_else(|error| panic!("tollgate {verb}: {error}"))
}

/// What a command said, for a message.
pub fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{}{}", output.status, cut(&out), cut(&err))
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(4000).map_or(text, |(end, _)| &text[..end])
}

/// The store is whole: sequences without gaps, checksums, no request id twice. Checks a copy, so that
/// the next start finds what the last process left, and not what a check made of it.
pub fn fsck_is_clean(dir: &Path) {
    let copy = tempfile::TempDir::new().unwrap();
    copy_directory(dir, copy.path());
    let checked = offline("fsck", copy.path(), &[]);
    assert!(checked.status.success(), "fsck of {}: {}", dir.display(), said(&checked));
}

/// A copy of a data directory that no node uses, without locks of the old one.
pub fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
