//! The one thread that writes.
//!
//! ```text
//! recv one ─▶ take what else waits (bounded) ─▶ one batch + digests + meta row ─▶ flush ─▶ sync ─▶ sidecar
//!          ─▶ are these still the files of the data directory? ─▶ replies
//! ```
//!
//! Whatever arrives during a sync waits for the next group, so the more load there is, the larger
//! the groups. A group that no reply waits for stays open for a moment: the orgs that changed are asked to
//! commit all at once, and without that the first of them would be a group of its own. The queue itself is not bounded: what enters it has passed admission, which is.

use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, SendError, Sender, channel},
    },
    thread::{self, Thread},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    super::{
        changes::Changes,
        codec::{CodecError, encode},
        keys::Key,
        prepare::Prepared,
        record::{Meta, Record},
    },
    Engine, GroupObserver, GroupStats, Shared,
    compaction::{Changed, Replacing},
    guarded,
    held::Held,
    layout::Sidecar,
    twin::{Twin, failed},
};
use crate::{
    clock::stopwatch,
    domain::window::Millis,
    ports::{Clock, CommitError, StoreFault},
    store::reply::Reply,
};

/// A group ends at either bound: a reply never waits for more than a few megabytes of others.
const GROUP_WRITES: usize = 4096;
const GROUP_BYTES: usize = 2 << 20;
/// How long a group stays open that no reply waits for.
const GATHER: Duration = Duration::from_micros(500);
/// How often the data directory is compared with the files that are held while nothing is committed.
const HELD_EVERY: Duration = Duration::from_millis(250);

pub(super) enum Message {
    Commit(Handed),
    /// The other engine takes the place of the one in use.
    Replace(Replacing),
    /// Everything handed over before it becomes durable; then the committer ends.
    Close(oneshot::Sender<()>),
}

/// What a group ends with.
enum Then {
    Replace(Replacing),
    Close(oneshot::Sender<()>),
}

pub(super) struct Handed {
    pub prepared: Prepared,
    pub done: Reply,
}

/// The way to the committer.
#[derive(Debug, Clone)]
pub(super) struct Inlet {
    sender: Sender<Message>,
    committer: Thread,
}

impl Inlet {
    /// Hands it over, and wakes the committer where somebody waits for it.
    ///
    /// # Errors
    /// Where the committer has ended.
    pub(super) fn send(&self, message: Message) -> Result<(), SendError<Message>> {
        let can_wait = matches!(&message, Message::Commit(handed) if !handed.prepared.awaited);
        self.sender.send(message)?;
        if !can_wait {
            self.committer.unpark();
        }
        Ok(())
    }
}

pub(super) struct Committer {
    pub shared: Arc<Shared>,
    pub sidecar: Sidecar,
    pub held: Held,
    pub clock: Arc<dyn Clock>,
    pub observer: GroupObserver,
    /// The last group.
    pub group: u64,
    /// What the heads of all orgs and the timers add up to after it.
    pub digests: u64,
}

impl Committer {
    pub(super) fn spawn(self) -> io::Result<Inlet> {
        let (sender, receiver) = channel();
        let committer = thread::Builder::new().name("store-committer".to_owned()).spawn(move || self.run(&receiver))?;
        Ok(Inlet { sender, committer: committer.thread().clone() })
    }

    fn run(mut self, receiver: &Receiver<Message>) {
        let mut number = 0;
        loop {
            let first = match receiver.recv_timeout(HELD_EVERY) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.check_held().unwrap_or_else(|fault| self.shared.latch(&fault));
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            number += 1;
            self.shared.under_way.store(number, Ordering::Relaxed);
            let (writes, then) = take_group(first, receiver, GATHER);
            if !writes.is_empty() {
                self.commit(writes);
            }
            if let Some(Then::Replace(Replacing { twin, done })) = then {
                let _ = done.send(guarded("compact", || self.replace(*twin)));
            } else if let Some(Then::Close(closed)) = then {
                if let Err(error) = self.sidecar.sync() {
                    tracing::warn!(%error, "the file \"committed\" was not synced");
                }
                drop(self);
                let _ = closed.send(());
                return;
            }
            self.shared.under_way.store(0, Ordering::Relaxed);
        }
    }

    /// Between two groups: what the other engine has is what this one has.
    fn replace(&mut self, mut twin: Twin) -> Result<Arc<Engine>, StoreFault> {
        if let Some(fault) = self.shared.standing_fault() {
            return Err(fault);
        }
        let changed = self.shared.changed().take().ok_or_else(|| failed("what changed was not followed"))?;
        let (keys, purged_at) = changed.rest()?;
        twin.follow(&self.shared.engine.load(), keys)?;
        twin.is_whole(self.digests)?;
        let engine = twin.into_engine();
        let layout = &self.shared.layout;
        let replaced = layout.replace_engine().map_err(failed);
        let held = self.shared.hold(&engine, &self.sidecar).map_err(failed)?;
        if held.check().is_err() {
            // The old files are in place, or none: then the next start puts one of both there.
            self.check_held().inspect_err(|fault| self.shared.latch(fault))?;
            return replaced.and(Err(failed("the files were not exchanged")));
        }
        self.held = held;
        let old = self.shared.engine.swap(Arc::new(engine));
        replaced?;
        self.shared.purged.compacted(layout, purged_at).map_err(failed)?;
        Ok(old)
    }

    fn commit(&mut self, writes: Vec<Handed>) {
        let (prepared, replies): (Vec<_>, Vec<_>) = writes.into_iter().map(|each| (each.prepared, each.done)).unzip();
        let result = match self.shared.standing_fault() {
            Some(fault) => Err(CommitError::Lost(fault)),
            None => guarded("commit", || self.make_durable(prepared)).map_err(|fault| {
                self.shared.latch(&fault);
                // What the engine has of it by now may be found at the next start.
                CommitError::InDoubt(fault)
            }),
        };
        for reply in replies {
            reply.answer(result.clone());
        }
    }

    fn make_durable(&mut self, prepared: Vec<Prepared>) -> Result<(), StoreFault> {
        let watch = stopwatch();
        let mut stats = GroupStats { writes: prepared.len(), rows: 0, bytes: 0, micros: 0 };
        let mut changes = Changes::default();
        let engine = self.shared.engine.load();
        let purged_at = prepared.iter().any(|each| each.purged).then(|| self.clock.now());
        for each in prepared {
            stats.bytes += each.bytes;
            changes.merge(&**engine, each)?;
        }
        stats.rows = changes.len();
        let group = self.group + 1;
        let digests = changes.seal(&**engine, self.digests)?;
        put_meta(&mut changes, Meta { group, mark: Some(self.clock.mark()), digests })
            .map_err(|error| StoreFault { operation: "commit", cause: error.to_string() })?;
        if let Some(now) = purged_at {
            let noted = self.shared.purged.note(&self.shared.layout, now);
            noted
                .map_err(|error| StoreFault { operation: "commit", cause: format!("the file \"purged\": {error}") })?;
        }
        apply(&engine, changes, &mut self.shared.changed(), purged_at)?;
        (self.group, self.digests) = (group, digests);
        self.sidecar
            .write(group)
            .map_err(|error| StoreFault { operation: "commit", cause: format!("the file \"committed\": {error}") })?;
        self.check_held()?;
        self.shared.groups.fetch_add(1, Ordering::Relaxed);
        stats.micros = watch.micros();
        (self.observer)(stats);
        Ok(())
    }

    /// What is written to files that the directory does not name any more is not there at the next start.
    fn check_held(&self) -> Result<(), StoreFault> {
        self.held.check().map_err(|lost| StoreFault { operation: "commit", cause: lost.to_string() })
    }
}

/// With what is followed held, so that a compaction begins before all of it, or after.
fn apply(
    engine: &Engine,
    changes: Changes,
    followed: &mut Option<Changed>,
    purged_at: Option<Millis>,
) -> Result<(), StoreFault> {
    let keys = followed.as_ref().map(|_| changes.keys().cloned().collect());
    engine.apply(changes)?;
    if let (Some(changed), Some(keys)) = (followed, keys) {
        changed.follow(keys, purged_at);
    }
    Ok(())
}

/// The node's own row goes with every group.
pub(in crate::store::kv) fn put_meta(changes: &mut Changes, meta: Meta) -> Result<(), CodecError> {
    let key = Key::Meta.encode();
    let value = encode(&Key::Meta, &key, &Record::Meta(meta))?;
    changes.put(key, value);
    Ok(())
}

/// What waits, up to a close or a bound; as long as no reply waits for any of it, also what comes within `gather`. Meanwhile it
/// sleeps: each write that woke it would cost a switch of threads, for which the processor is not there for calls.
fn take_group(first: Message, receiver: &Receiver<Message>, gather: Duration) -> (Vec<Handed>, Option<Then>) {
    let watch = stopwatch();
    let mut writes = Vec::new();
    let (mut bytes, mut awaited) = (0, false);
    let mut next = Some(first);
    loop {
        while let Some(message) = next {
            match message {
                Message::Close(closed) => return (writes, Some(Then::Close(closed))),
                Message::Replace(replacing) => return (writes, Some(Then::Replace(replacing))),
                Message::Commit(handed) => {
                    bytes += handed.prepared.bytes;
                    awaited |= handed.prepared.awaited;
                    writes.push(handed);
                }
            }
            if writes.len() >= GROUP_WRITES || bytes >= GROUP_BYTES {
                return (writes, None);
            }
            next = receiver.try_recv().ok();
        }
        let left = gather.saturating_sub(Duration::from_micros(watch.micros()));
        if awaited || left.is_zero() {
            return (writes, None);
        }
        thread::park_timeout(left);
        next = receiver.try_recv().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any test takes.
    const LONG: Duration = Duration::from_secs(600);

    fn message(awaited: bool) -> Message {
        let prepared = Prepared { awaited, ..Prepared::default() };
        Message::Commit(Handed { prepared, done: Reply::new(Box::new(|_| {})) })
    }

    #[test]
    fn a_group_that_no_reply_waits_for_stays_open_until_one_does() {
        let (sender, receiver) = channel();
        let inlet = Inlet { sender, committer: thread::current() };
        let others = thread::spawn(move || {
            for awaited in [false, false, true] {
                inlet.send(message(awaited)).unwrap();
            }
            inlet
        });
        let (writes, _) = take_group(message(false), &receiver, LONG);
        assert_eq!(writes.len(), 4);
        drop(others.join());
    }

    #[test]
    fn a_group_that_no_reply_waits_for_ends_with_its_time() {
        let (_open, receiver) = channel();
        assert_eq!(take_group(message(false), &receiver, Duration::from_millis(1)).0.len(), 1);
    }

    #[test]
    fn a_group_that_a_reply_waits_for_does_not_wait_for_more() {
        let (_open, receiver) = channel();
        assert_eq!(take_group(message(true), &receiver, LONG).0.len(), 1);
        assert_eq!(take_group(message(false), &receiver, Duration::ZERO).0.len(), 1);
    }

    #[test]
    fn a_close_ends_the_wait() {
        let (sender, receiver) = channel();
        let (closed, _) = oneshot::channel();
        let inlet = Inlet { sender, committer: thread::current() };
        thread::spawn(move || inlet.send(Message::Close(closed)).map_err(drop));
        let (writes, close) = take_group(message(false), &receiver, LONG);
        assert_eq!((writes.len(), close.is_some()), (1, true));
    }
}
