//! An org that was refreshed and is still denied is asked about again and again for a minute: who
//! comes back from the checkout page is often faster than the payment.

use std::time::Duration;

use ractor::ActorRef;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use super::check::Msg;
use crate::domain::{balance::BalanceVerdict, ids::OrgId};

/// Doubled after every question.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const IN_TOTAL: Duration = Duration::from_secs(60);

pub(super) async fn run(actor: ActorRef<Msg>, org: OrgId) {
    let ends = Instant::now() + IN_TOTAL;
    let mut pause = FIRST_PAUSE;
    loop {
        let left = ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        sleep(pause.min(left)).await;
        pause *= 2;
        let (reply, answer) = oneshot::channel();
        if actor.cast(Msg::Poll(org.clone(), reply)).is_err() {
            return;
        }
        // No word is not the end of it: the provider may be back with the next question.
        if let Ok(BalanceVerdict::Allowed(_)) = answer.await {
            return;
        }
    }
}
