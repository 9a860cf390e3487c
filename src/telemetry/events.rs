//! What happens by itself, without a call that waits for it, is counted too.

use super::Metrics;
use crate::ports::{Event, EventSink};

impl EventSink for Metrics {
    fn happened(&self, event: Event) {
        match event {
            Event::Reported(delivery) => self.billing.reported(delivery),
            Event::Delivered(outcome) => self.webhook.attempted(outcome),
            Event::NeverDelivered => self.webhook.never_delivered(),
            Event::SetAside(rows) => self.billing.set_aside(rows),
            Event::Uncompleted(executions) => self.billing.uncompleted(executions),
            Event::SessionsEnded(sessions) => self.sessions(sessions, "ended"),
            Event::ReservationsExpired(holds) => drop(self.reservations_expired.inc_by(holds)),
            Event::SessionsExpired(sessions) => self.sessions(sessions, "expired"),
            Event::ReservationsForgotten(reservations) => drop(self.reservations_forgotten.inc_by(reservations)),
            Event::RequestIdsForgotten(ids) => drop(self.request_ids_forgotten.inc_by(ids)),
            Event::RequestIdsFilling => drop(self.request_ids_filling.inc()),
            Event::LeftEarly(orgs) => self.room.left_early(orgs),
            Event::Folded(calls) => drop(self.folded.inc_by(calls)),
            Event::TrialEnded => drop(self.trials_ended.inc()),
            Event::DenialsUnkept(calls) => drop(self.denials_unkept.inc_by(calls)),
            Event::Drifted(numbers) => self.drifted(numbers),
            Event::AccountExhausted(by) => self.pools.account_exhausted(by),
            Event::PoolExhausted => self.pools.pool_exhausted(),
        }
    }
}
