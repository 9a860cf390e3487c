//! Bytes of what was purged leave the disk in time: the engine's files are compacted while they are in use.

use std::{sync::Arc, time::Duration};

use crate::{domain::window::Millis, service::Service};

/// How often it is asked whether something is due.
const EVERY: Duration = Duration::from_millis(250);
/// After one that failed the next waits for this part of the time that is left by then, within these bounds.
const PART: u64 = 8;
const WAIT: (Millis, Millis) = (1_000, 3_600_000);

/// Runs as long as the node.
pub(super) async fn watch(service: Arc<Service>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let now = service.now();
        let Some(purged) = service.purged().filter(|purged| purged.compact_from() <= now) else { continue };
        let compacted = service.compact().await;
        service.metrics().compacted(compacted.is_ok());
        match compacted {
            Ok(done) => tracing::info!(
                rows = done.rows,
                bytes_before = done.before,
                bytes_now = done.after,
                "what was purged has left the files: they were compacted"
            ),
            // It begins again after the next start.
            Err(fault) if service.is_draining() => {
                tracing::info!(cause = %fault.cause, "the node stops: bytes of what was purged are in the files still");
                return;
            }
            Err(fault) => {
                let wait = (purged.gone_by.saturating_sub(now) / PART).clamp(WAIT.0, WAIT.1);
                tracing::error!(cause = %fault.cause, wait_ms = wait, "bytes of what was purged are in the files still");
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
        }
    }
}
