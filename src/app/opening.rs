//! Opens what a node has: its store, and the clock that goes on from where it stood.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use super::{Failure, Start};
use crate::{
    clock::SystemClock,
    config::Config,
    domain::window::Length,
    ports::{Cell, OrgStore, StoreEngine},
    store::{
        broken::BrokenStore,
        sled::{self, GroupStats, OpenError, SledOptions},
    },
    telemetry::Metrics,
};

/// The permissions of everybody else.
const OTHERS: u32 = 0o007;

/// The store, the engine behind it, and the clock that goes on from its mark.
pub(super) struct Store {
    pub(super) orgs: Arc<dyn OrgStore>,
    pub(super) engine: Arc<dyn StoreEngine>,
    pub(super) clock: Arc<SystemClock>,
    /// Where nodes share it: what they know of each other.
    pub(super) cells: Vec<Arc<dyn Cell>>,
}

impl Store {
    fn new(store: Arc<impl OrgStore + StoreEngine + 'static>, clock: Arc<SystemClock>) -> Self {
        Self { orgs: store.clone(), engine: store, clock, cells: Vec::new() }
    }
}

/// A store that is damaged is not replaced by an empty one: the node comes up without, says so, and stays NOT_SERVING.
pub(super) async fn open(config: &Config, start: Start, metrics: &Arc<Metrics>) -> Result<Store, Failure> {
    if let Some(cluster) = &config.cluster {
        return super::cluster::open(cluster, &config.node).await;
    }
    let options = SledOptions {
        sync_data: !start.without_sync,
        accept_lost_tail: start.accept_lost_tail,
        ..SledOptions::default()
    };
    let dir = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || sled::open(&dir, &options)).await;
    let opened = match opened.map_err(|error| Failure(format!("opening the store: {error}")))? {
        Ok(opened) => opened,
        Err(error @ (OpenError::Locked { .. } | OpenError::UnknownVersion { .. } | OpenError::Io { .. })) => {
            return Err(Failure(error.to_string()));
        }
        Err(damaged) => {
            tracing::error!(%damaged, "the store was not opened; this node stays NOT_SERVING");
            metrics.store_fault();
            let clock = resume_clock(None, &config.data_dir, start)?;
            return Ok(Store::new(Arc::new(BrokenStore::new(damaged.to_string())), clock));
        }
    };
    warn_of_readers(&config.data_dir);
    if opened.group() == 0 {
        tracing::info!(data = %config.data_dir.display(), "the data directory is new: nothing is stored in it yet");
    }
    let clock = resume_clock(Some(&opened), &config.data_dir, start)?;
    let metrics = metrics.clone();
    let observe = move |stats: GroupStats| {
        metrics.committed(u64::try_from(stats.writes).unwrap_or(u64::MAX), Duration::from_micros(stats.micros));
    };
    let store = opened.start(clock.clone(), Arc::new(observe)).map_err(|error| Failure(error.to_string()))?;
    if start.accept_clock {
        store.keep_mark();
    }
    Ok(Store::new(Arc::new(store), clock))
}

/// A directory that the node makes is its user's alone; one that was there may be anybody's.
fn warn_of_readers(data_dir: &Path) {
    if fs::metadata(data_dir).is_ok_and(|about| about.permissions().mode() & OTHERS != 0) {
        let dir = data_dir.display();
        tracing::warn!("data.dir {dir} can be read by every user of this machine; restrict it with chmod 700");
    }
}

pub(super) fn resume_clock(
    opened: Option<&sled::Opened>,
    data_dir: &Path,
    start: Start,
) -> Result<Arc<SystemClock>, Failure> {
    let mark = opened.and_then(sled::Opened::mark);
    let clock = SystemClock::resume(mark).map_err(|future| {
        Failure(format!(
            "the stored clock mark is {} ahead of this machine's clock. If the clock is wrong, set it right and start again; \
             if the mark is wrong, run `tollgate fsck --set-clock --data-dir {}`",
            Length((future.mark - future.wall) / 1000 * 1000),
            data_dir.display(),
        ))
    })?;
    if start.accept_clock {
        clock.confirm();
    }
    Ok(Arc::new(clock))
}
