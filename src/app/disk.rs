//! What a node does for its disk.
//!
//! Health follows it: while a commit group waits for it longer than `bounds.store_stall_ms`, the node
//! is NOT_SERVING, and SERVING again as soon as the group is answered.
//!
//! A disk that hangs is no fault: nothing is lost, and nobody knows whether it goes on in a second or never.
//! What waits for it runs into its own deadline; health keeps new callers away meanwhile.
//!
//! Where it is nearly full nothing new is admitted, and health stays SERVING: what runs settles here or nowhere.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::sys::statvfs::statvfs;
use tokio::task::spawn_blocking;

use crate::{actors::Disk, domain::events::Part, front::server::Health, ports::StoreEngine, service::Service};

/// How often the store is asked which group it is at.
const EVERY: Duration = Duration::from_millis(100);

/// How often the room on the disk is asked for: a disk of 24 MiB is not filled faster.
const ROOM_EVERY: Duration = Duration::from_millis(250);

/// How long the same group was seen unanswered. It is counted in looks and not read from a clock: a
/// process that was stopped for a minute has not waited for its disk.
#[derive(Debug, Default)]
struct Oldest {
    group: Option<u64>,
    waited: Duration,
}

impl Oldest {
    fn seen(&mut self, group: Option<u64>, since_last: Duration) -> Duration {
        let same = group.is_some() && group == self.group;
        self.waited = if same { self.waited.saturating_add(since_last) } else { Duration::ZERO };
        self.group = group;
        self.waited
    }
}

/// Runs as long as the node.
pub(super) async fn watch(service: Arc<Service>, engine: Arc<dyn StoreEngine>, health: Health) {
    let mut oldest = Oldest::default();
    let mut stalled: Option<u64> = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let waited = oldest.seen(engine.unanswered(), EVERY);
        service.group_waits(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX));
        let now = service.stalled_ms();
        match (stalled, now) {
            (None, Some(millis)) => {
                service.metrics().store_stall();
                let why = format!("the disk has not answered a commit group for {millis} ms");
                service.node_is(Part::Disk, Some(&why));
                tracing::error!(millis, "the store does not answer a commit group: NOT_SERVING until it does");
                health.set_serving(service.is_serving()).await;
            }
            (Some(millis), None) => {
                service.node_is(Part::Disk, None);
                tracing::warn!(millis, "the store answers again");
                health.set_serving(service.is_serving()).await;
            }
            _ => {}
        }
        stalled = now;
    }
}

/// Keeps what is known of the room on the disk current, as long as the node runs.
pub(super) async fn watch_room(service: Arc<Service>, data_dir: PathBuf) {
    loop {
        tokio::time::sleep(ROOM_EVERY).await;
        ask_for_room(&service, &data_dir).await;
    }
}

/// Asks for the room on the disk once. A file system that does not say is not judged.
pub(super) async fn ask_for_room(service: &Service, data_dir: &Path) {
    let path = data_dir.to_path_buf();
    let Ok(Ok(seen)) = spawn_blocking(move || statvfs(&path)).await else { return };
    let bytes = |blocks: u64| blocks.saturating_mul(seen.fragment_size());
    let disk = Disk { free: bytes(seen.blocks_available()), size: bytes(seen.blocks()) };
    if service.disk_is(disk) {
        match service.low_disk() {
            Some(low) => tracing::error!("{low}"),
            None => tracing::warn!(free = disk.free, "the disk has room again: new executions are admitted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_that_stays_the_same_grows_old() {
        let mut oldest = Oldest::default();
        let mut seen = |group| oldest.seen(group, EVERY);
        assert_eq!([seen(Some(1)), seen(Some(1)), seen(Some(1))], [Duration::ZERO, EVERY, 2 * EVERY]);
        assert_eq!([seen(Some(2)), seen(Some(2))], [Duration::ZERO, EVERY], "the next group begins anew");
        assert_eq!([seen(None), seen(None)], [Duration::ZERO; 2], "nothing waits, however long");
        assert_eq!(seen(Some(2)), Duration::ZERO);
    }
}
