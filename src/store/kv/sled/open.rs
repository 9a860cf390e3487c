//! Opening a data directory, with every guard that stands between a damaged one and a node that
//! would start as if nothing had been promised.
//!
//! ```text
//! lock ─▶ note? refuse ─▶ a compaction that was cut short: finish or undo it
//!   ─▶ engine gone but groups were committed? refuse ─▶ unfinished snapshots: remove
//!   ─▶ open in a thread, panics caught ─▶ corrupt? move aside, leave a note, refuse
//!   ─▶ meta row readable? ─▶ fewer groups than committed? the tail was lost: refuse
//!   ─▶ "committed" damaged, or gone? nobody knows whether the tail was lost: refuse
//!   ─▶ heads and timers add up to what the meta row says? otherwise orgs are out of date: refuse
//! ```

mod importing;

use std::{
    fmt,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    panic,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64},
        mpsc,
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    super::{
        codec::{Why, decode},
        digest,
        keys::Key,
        keyspace::Keyspace,
        record::{Meta, Record},
    },
    Engine, GroupObserver, Layout, Shared, SledOptions, SledStore,
    committer::Committer,
    guarded,
    layout::{Committed, Lock, Sidecar, retry, sync_directory},
    open_error::OpenError,
    panic_text,
    purged::Purged,
};
use crate::{
    clock,
    domain::service_time::ClockMark,
    ports::{Clock, StoreFault, StoreState},
};

pub(in crate::store::kv) use self::importing::{clear_unfinished_import, finish_import, open_for_import, undo_import};

/// sled exceeds it four- to fivefold.
const CACHE_BYTES: u64 = 64 << 20;
/// Ten million rows open in six seconds; a minute per ten million is a disk in trouble.
const OPEN_WITHIN: Duration = Duration::from_secs(600);

/// An engine that opened, not yet running.
pub struct Opened {
    pub(in crate::store::kv) engine: Engine,
    pub(in crate::store::kv) meta: Option<Meta>,
    lock: Lock,
    pub(in crate::store::kv) layout: Layout,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl Opened {
    /// Where service time stood; `None` in a new directory.
    pub fn mark(&self) -> Option<&ClockMark> {
        self.meta.as_ref().and_then(|meta| meta.mark.as_ref())
    }

    /// The newest durable commit group; 0 in a new directory.
    pub fn group(&self) -> u64 {
        self.meta.as_ref().map_or(0, |meta| meta.group)
    }

    /// Why the orgs, taken together, are not those that the newest group left behind.
    pub(in crate::store::kv) fn out_of_date(&self) -> Option<String> {
        let written = self.digests();
        match guarded("open", || digest::total(&self.engine)) {
            Ok(stored) if stored == written => None,
            Ok(stored) => Some(format!("heads and timers add up to {stored:016x}, written was {written:016x}")),
            Err(fault) => Some(format!("heads and timers cannot be read: {}", fault.cause)),
        }
    }

    /// What the heads of all orgs and the timers must add up to.
    pub(in crate::store::kv) fn digests(&self) -> u64 {
        self.meta.as_ref().map_or(0, |meta| meta.digests)
    }

    /// Closes the engine and keeps other processes out still.
    pub(in crate::store::kv) fn close_engine(self) -> Lock {
        self.lock
    }

    /// Starts the committer.
    pub fn start(self, clock: Arc<dyn Clock>, observer: GroupObserver) -> Result<SledStore, OpenError> {
        let sidecar = Sidecar::create(&self.layout, self.group()).map_err(io_at("writing", &self.layout.sidecar()))?;
        self.start_with(sidecar, clock, observer)
    }

    pub(super) fn start_with(
        self,
        sidecar: Sidecar,
        clock: Arc<dyn Clock>,
        observer: GroupObserver,
    ) -> Result<SledStore, OpenError> {
        let (group, digests) = (self.group(), self.digests());
        let root = self.layout.root.clone();
        let failed = io_at("reading the files of", &root);
        let shared = Arc::new(Shared {
            engine: ArcSwap::from_pointee(self.engine),
            purged: Purged::load(&self.layout).map_err(&failed)?,
            layout: self.layout,
            changed: Mutex::default(),
            closing: AtomicBool::new(false),
            state: watch::Sender::new(StoreState::Up),
            groups: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            lock: self.lock,
        });
        let held = shared.hold(&shared.engine.load(), &sidecar).map_err(&failed)?;
        let committer = Committer { shared: Arc::clone(&shared), sidecar, held, clock, observer, group, digests };
        let committer = committer.spawn().map_err(io_at("starting the committer for", &root))?;
        Ok(SledStore { shared, committer })
    }
}

/// Opens a data directory, or says why not. Blocks for as long as the engine takes to recover.
pub fn open(dir: &Path, options: &SledOptions) -> Result<Opened, OpenError> {
    let layout = Layout::new(dir);
    create_directory(&layout)?;
    let lock = take_lock(&layout, options)?;
    if let Some(note) = quarantine_note(&layout)? {
        return Err(OpenError::Quarantined { note });
    }
    layout.settle_replacing().map_err(io_at("settling a compaction of", &layout.root))?;
    let committed = Sidecar::read(&layout).map_err(io_at("reading", &layout.sidecar()))?;
    if layout.engine_is_missing() {
        let engine = layout.engine();
        match committed {
            Committed::Damaged => return Err(OpenError::Vanished { sidecar: None, engine }),
            Committed::Group(group @ 1..) => return Err(OpenError::Vanished { sidecar: Some(group), engine }),
            Committed::Group(0) | Committed::Absent => {}
        }
    }
    let (engine, meta) = match open_engine(&layout, options) {
        Err(Failure::Corrupt(cause)) => return Err(move_aside(&layout, &cause)),
        Err(Failure::Refused(error)) => return Err(error),
        Ok(opened) => opened,
    };
    let opened = Opened { engine, meta, lock, layout };
    refuse_lost_tail(committed, opened.group(), options)?;
    if let Some(cause) = opened.out_of_date() {
        return Err(OpenError::OutOfDate { cause });
    }
    Ok(opened)
}

/// Only the number outside the engine tells that groups are gone from its end. Where there is none to
/// compare with, an operator decides; a damaged one is never passed over, because it was there.
fn refuse_lost_tail(committed: Committed, stored: u64, options: &SledOptions) -> Result<(), OpenError> {
    match committed {
        Committed::Group(group) if group > stored => Err(OpenError::TailLost { sidecar: group, stored }),
        Committed::Damaged => Err(OpenError::TailUnknown { stored, damaged: true }),
        Committed::Absent if stored > 0 && !options.accept_lost_tail => {
            Err(OpenError::TailUnknown { stored, damaged: false })
        }
        Committed::Absent if stored > 0 => {
            tracing::warn!(stored, "the file \"committed\" is missing and that was accepted: commits may be lost");
            Ok(())
        }
        Committed::Group(_) | Committed::Absent => Ok(()),
    }
}

/// The same without a verdict about the tail, and without moving anything: for fsck and export.
pub(in crate::store::kv) fn open_for_repair(dir: &Path, options: &SledOptions) -> Result<Opened, Failure> {
    let layout = Layout::new(dir);
    if layout.engine_is_missing() && !layout.is_between_engines() {
        let doing = "there is no store in";
        return Err(Failure::Refused(OpenError::Io { doing, path: layout.root, cause: "no sled/db".to_owned() }));
    }
    let lock = take_lock(&layout, options).map_err(Failure::Refused)?;
    let settled = layout.settle_replacing().map_err(io_at("settling a compaction of", &layout.root));
    settled.map_err(Failure::Refused)?;
    let (engine, meta) = open_engine(&layout, options)?;
    Ok(Opened { engine, meta, lock, layout })
}

/// What stands outside the engine of the last group; a file that the system does not read is damaged.
pub(in crate::store::kv) fn committed(dir: &Path) -> Committed {
    Sidecar::read(&Layout::new(dir)).unwrap_or(Committed::Damaged)
}

/// Why the engine itself did not open.
#[derive(Debug)]
pub(in crate::store::kv) enum Failure {
    Corrupt(String),
    Refused(OpenError),
}

fn create_directory(layout: &Layout) -> Result<(), OpenError> {
    DirBuilder::new().recursive(true).mode(0o700).create(&layout.root).map_err(io_at("creating", &layout.root))
}

fn take_lock(layout: &Layout, options: &SledOptions) -> Result<Lock, OpenError> {
    let lock = Lock::take(layout, options.lock_wait).map_err(io_at("locking", &layout.lock()))?;
    lock.ok_or_else(|| OpenError::Locked { dir: layout.root.clone() })
}

/// What keeps a data directory from being opened, if anything does.
pub(in crate::store::kv) fn quarantine_note(layout: &Layout) -> Result<Option<String>, OpenError> {
    match fs::read(layout.note()) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_at("reading", &layout.note())(error)),
    }
}

fn open_engine(layout: &Layout, options: &SledOptions) -> Result<(Engine, Option<Meta>), Failure> {
    layout.remove_unfinished_snapshots().map_err(io_at("cleaning", &layout.engine())).map_err(Failure::Refused)?;
    let refused = |error: io::Error| Failure::Refused(io_at("opening", &layout.engine())(error));
    let opened = retry(options.lock_wait, || open_database(layout))?;
    let db = opened.ok_or_else(|| Failure::Refused(OpenError::Locked { dir: layout.root.clone() }))?;
    let engine = Engine::new(db, layout, options.sync_data).map_err(refused)?;
    for made in [layout.engine(), layout.root.clone()] {
        sync_directory(&made).map_err(refused)?;
    }
    let meta = guarded("open", || Ok(read_meta(&engine))).unwrap_or_else(|fault| Err(Failure::Corrupt(fault.cause)))?;
    Ok((engine, meta))
}

/// An engine that is to take the place of the one of `layout`: new, or as far as it was written.
pub(super) fn open_beside(layout: &Layout) -> Result<Engine, OpenError> {
    let beside = layout.beside();
    create_directory(&beside)?;
    open_new_engine(&beside).map(|(engine, _)| engine)
}

/// The same of one that holds nothing of anybody's yet: a corrupt one is not moved aside.
fn open_new_engine(layout: &Layout) -> Result<(Engine, Option<Meta>), OpenError> {
    open_engine(layout, &SledOptions::default()).map_err(|failure| match failure {
        Failure::Refused(error) => error,
        Failure::Corrupt(cause) => OpenError::Io { doing: "opening", path: layout.engine(), cause },
    })
}

/// `None` where another process holds the engine's own lock.
fn open_database(layout: &Layout) -> Result<Option<::sled::Db>, Failure> {
    let refused = |cause: String| Failure::Refused(OpenError::Io { doing: "opening", path: layout.engine(), cause });
    let config = ::sled::Config::new().path(layout.engine()).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    let (answer, answered) = mpsc::channel();
    let opening = move || {
        let opened = panic::catch_unwind(panic::AssertUnwindSafe(|| config.open()));
        let _ = answer.send(opened.map_err(|payload| panic_text(&*payload)));
    };
    thread::Builder::new()
        .name("store-open".to_owned())
        .spawn(opening)
        .map_err(|error| refused(format!("no thread: {error}")))?;
    match answered.recv_timeout(OPEN_WITHIN) {
        Ok(Ok(Ok(db))) => Ok(Some(db)),
        Ok(Ok(Err(error))) => match classify(&error) {
            Trouble::Corrupt => Err(Failure::Corrupt(error.to_string())),
            Trouble::Locked => Ok(None),
            Trouble::System => Err(refused(error.to_string())),
        },
        Ok(Err(panicked)) => Err(Failure::Corrupt(format!("the engine panicked while opening: {panicked}"))),
        Err(_) => Err(refused(format!("the engine did not open within {} s", OPEN_WITHIN.as_secs()))),
    }
}

enum Trouble {
    Corrupt,
    Locked,
    /// The disk or the system said no.
    System,
}

fn classify(error: &::sled::Error) -> Trouble {
    match error {
        ::sled::Error::Corruption { .. } | ::sled::Error::ReportableBug(_) => Trouble::Corrupt,
        ::sled::Error::Io(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Trouble::Corrupt,
            _ if error.to_string().contains("could not acquire lock") => Trouble::Locked,
            _ => Trouble::System,
        },
        ::sled::Error::CollectionNotFound(_) | ::sled::Error::Unsupported(_) => Trouble::System,
    }
}

fn read_meta(engine: &Engine) -> Result<Option<Meta>, Failure> {
    let corrupt = |fault: StoreFault| Failure::Corrupt(fault.cause);
    let key = Key::Meta.encode();
    let Some(value) = engine.get(&key).map_err(corrupt)? else {
        // Every group writes it, so rows without it were not written by us.
        let empty = engine.is_empty().map_err(corrupt)?;
        return if empty { Ok(None) } else { Err(Failure::Corrupt("there are rows but no meta row".to_owned())) };
    };
    match decode(&key, &value) {
        Ok((_, Record::Meta(meta))) => Ok(Some(meta)),
        Ok(_) => Err(Failure::Corrupt("the meta row holds something else".to_owned())),
        Err(error) => match error.why {
            Why::UnknownVersion { found: version, .. } => Err(Failure::Refused(OpenError::UnknownVersion { version })),
            _ => Err(Failure::Corrupt(error.to_string())),
        },
    }
}

/// The note comes first: whatever happens in between, the next start refuses.
fn move_aside(layout: &Layout, cause: &str) -> OpenError {
    let moved_to = layout.root.join(format!("quarantine-{}", clock::wall()));
    let moved = write_note(layout, &moved_to, cause).and_then(|()| {
        fs::rename(layout.engine(), &moved_to)?;
        if layout.sidecar().exists() {
            fs::rename(layout.sidecar(), moved_to.join("committed"))?;
        }
        sync_directory(&moved_to)?;
        sync_directory(&layout.root)
    });
    tracing::error!(cause, moved_to = %moved_to.display(), "the store is corrupt and was moved aside");
    match moved {
        Ok(()) => OpenError::Corrupted { moved_to, cause: cause.to_owned() },
        Err(error) => OpenError::Io {
            doing: "moving aside",
            path: layout.engine(),
            cause: format!("{error}, after the store could not be read: {cause}"),
        },
    }
}

fn write_note(layout: &Layout, moved_to: &Path, cause: &str) -> io::Result<()> {
    let note = format!(
        "The store in this directory could not be read and was moved to {}.\n\
         Cause: {cause}\n\
         No node starts here while this file exists. Either remove it and restore the last export with\n\
         `tollgate import`, or remove it to start empty knowingly: every count, limit window, reservation and\n\
         request id is then forgotten.\n",
        moved_to.display()
    );
    leave_note(layout, &note)
}

fn leave_note(layout: &Layout, note: &str) -> io::Result<()> {
    fs::write(layout.note(), note)?;
    fs::File::open(layout.note())?.sync_all()?;
    sync_directory(&layout.root)
}

fn io_at(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |error| OpenError::Io { doing, path: path.to_path_buf(), cause: error.to_string() }
}
