//! A compaction of the engine in use: all rows into a second engine, and that in the place of the first one between two
//! commit groups, so that nobody waits for it.
//!
//! ```text
//! follow what changes ─▶ copy ─▶ read back ─▶ compare ─▶ rounds of what has changed meanwhile
//!   ─▶ the committer: the last of it ─▶ does it add up? ─▶ files exchanged ─▶ the other engine is in use
//! ```
//!
//! Until the files are exchanged the old ones count, and whatever fails before that changes nothing. It works for a
//! quarter of the time only, so that commits have the disk.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc, MutexGuard, PoisonError,
        atomic::Ordering,
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use super::{
    Engine, Shared,
    committer::{Inlet, Message},
    layout::retry,
    replacing::bytes_below,
    twin::{Twin, failed},
};
use crate::{
    clock::stopwatch,
    domain::window::Millis,
    ports::{Compacted, StoreFault},
};

/// Keys that are followed at most: some 100 bytes each.
const FOLLOWED: usize = 1_000_000;
/// From so many on they are written before the copy goes on.
const MANY: usize = 4096;
/// So few are left to the committer, which answers nobody meanwhile.
const FEW: usize = 256;
const ROUNDS: usize = 100;
/// Rests so many times as long as it has worked.
const REST: u32 = 3;
/// How long the old engine is waited for, which a read may hold.
const LET_GO: Duration = Duration::from_secs(60);

/// What has changed since a compaction began.
#[derive(Debug, Default)]
pub(super) struct Changed {
    keys: BTreeSet<Vec<u8>>,
    /// The first purge since then.
    purged_at: Option<Millis>,
    /// There were more keys than are followed.
    is_too_much: bool,
}

impl Changed {
    pub(super) fn follow(&mut self, keys: Vec<Vec<u8>>, purged_at: Option<Millis>) {
        self.purged_at = self.purged_at.or(purged_at);
        self.keys.extend(keys);
        if self.keys.len() > FOLLOWED {
            (self.keys, self.is_too_much) = (BTreeSet::new(), true);
        }
    }

    /// What is left for the committer, and the first purge.
    pub(super) fn rest(self) -> Result<(BTreeSet<Vec<u8>>, Option<Millis>), StoreFault> {
        if self.is_too_much { Err(too_much()) } else { Ok((self.keys, self.purged_at)) }
    }
}

/// The other engine, and whom to tell which one is not in use any more.
pub(super) struct Replacing {
    pub twin: Box<Twin>,
    pub done: SyncSender<Result<Arc<Engine>, StoreFault>>,
}

impl Shared {
    pub(super) fn changed(&self) -> MutexGuard<'_, Option<Changed>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_changed(&self) -> Result<BTreeSet<Vec<u8>>, StoreFault> {
        match self.changed().as_mut() {
            Some(changed) if changed.is_too_much => Err(too_much()),
            Some(changed) => Ok(std::mem::take(&mut changed.keys)),
            None => Ok(BTreeSet::new()),
        }
    }

    fn count_changed(&self) -> usize {
        self.changed().as_ref().map_or(0, |changed| changed.keys.len())
    }
}

/// As long as it is there changes are followed.
struct Following<'s>(&'s Shared);

impl<'s> Following<'s> {
    fn begin(shared: &'s Shared) -> Result<Self, StoreFault> {
        let mut changed = shared.changed();
        if changed.is_some() {
            return Err(failed("another compaction is under way"));
        }
        shared.layout.settle_replacing().map_err(failed)?;
        *changed = Some(Changed::default());
        drop(changed);
        Ok(Self(shared))
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        *self.0.changed() = None;
        // Room on the disk; what is left of it the next one, or the next start, removes.
        let _ = fs::remove_dir_all(self.0.layout.beside().root);
    }
}

pub(super) fn run(shared: &Shared, committer: &Inlet, may_go_on: &dyn Fn() -> bool) -> Result<Compacted, StoreFault> {
    let before = bytes_below(&shared.layout.engine()).map_err(failed)?;
    let following = Following::begin(shared)?;
    let going_on = || may_go_on_still(shared, may_go_on);
    going_on()?;
    let engine = shared.engine.load_full();
    let mut watch = stopwatch();
    let mut between = |twin: &mut Twin| {
        if shared.count_changed() >= MANY {
            twin.follow(&engine, shared.take_changed()?)?;
        }
        let worked = Duration::from_micros(watch.micros());
        // Who writes so much that there is always more to follow is not waited for.
        rest(if shared.count_changed() < MANY { worked * REST } else { Duration::ZERO }, &going_on)?;
        watch = stopwatch();
        Ok(())
    };
    let mut twin = Twin::create(&shared.layout)?;
    twin.copy(&engine, &mut between)?;
    let mut twin = twin.read_back(&going_on)?;
    twin.compare(&engine, &mut between)?;
    for _ in 0..ROUNDS {
        going_on()?;
        twin.follow(&engine, shared.take_changed()?)?;
        if shared.count_changed() < FEW {
            break;
        }
    }
    let rows = twin.rows();
    drop(engine);
    let (done, replaced) = sync_channel(1);
    let closed = || failed("the store is closed");
    committer.send(Message::Replace(Replacing { twin: Box::new(twin), done })).map_err(|_| closed())?;
    let old = replaced.recv().map_err(|_| closed())??;
    drop(following);
    let_go(&old)?;
    drop(old);
    let after = bytes_below(&shared.layout.engine()).map_err(failed)?;
    Ok(Compacted { rows, before, after })
}

fn may_go_on_still(shared: &Shared, may_go_on: &dyn Fn() -> bool) -> Result<(), StoreFault> {
    if let Some(fault) = shared.standing_fault() {
        return Err(fault);
    }
    if shared.closing.load(Ordering::Relaxed) {
        return Err(failed("the store is closed"));
    }
    if may_go_on() { Ok(()) } else { Err(failed("there is no room for a second copy on the disk")) }
}

/// Asks again and again whether to go on.
fn rest(time: Duration, going_on: &dyn Fn() -> Result<(), StoreFault>) -> Result<(), StoreFault> {
    retry(time, || going_on().map(|()| None::<()>)).map(drop)
}

/// The bytes of a file that was removed are on the disk for as long as somebody holds it.
fn let_go(engine: &Arc<Engine>) -> Result<(), StoreFault> {
    let is_alone = || Ok::<_, StoreFault>((Arc::strong_count(engine) == 1).then_some(()));
    let held = || failed("the engine before it is still being read, and its file goes when that ends");
    retry(LET_GO, is_alone)?.ok_or_else(held)
}

fn too_much() -> StoreFault {
    failed("more changed than a compaction follows; it is begun again")
}

#[cfg(test)]
mod tests;
