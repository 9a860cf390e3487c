//! What happens outside any call, and who is notified of it.

use std::fmt;

use super::DeliveryFault;
use crate::domain::{outbox::Delivery, reply::Exhaustion};

/// What happens outside any call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// One attempt to report usage.
    Reported(Delivery),
    /// One attempt to deliver something to the webhook, and what came instead of a receipt.
    Delivered(Result<(), DeliveryFault>),
    /// An event that the webhook will not have: it was tried for too long.
    NeverDelivered,
    /// Rows that were set aside for an operator.
    SetAside(u64),
    /// Executions that were admitted and never completed.
    Uncompleted(u64),
    /// Sessions that their planes ended.
    SessionsEnded(u64),
    /// Sessions whose heartbeats stopped.
    SessionsExpired(u64),
    /// Reservations that nobody settled before they expired.
    ReservationsExpired(u64),
    /// Expired reservations that can no longer be committed, because there was no room for them.
    ReservationsForgotten(u64),
    /// Request ids of durable calls that were forgotten within a day, because there was no room for them.
    RequestIdsForgotten(u64),
    /// An org's room for request ids is nearly used up, and they will be forgotten within a day.
    RequestIdsFilling,
    /// Orgs that left memory before they were idle for long, because there was no room for another one.
    LeftEarly(u64),
    /// Calls of which something is counted in a ledger that scopes share, because the org has as many as it may.
    Folded(u64),
    /// Calls that were decided without the state of their org, and are kept nowhere: there was no room, or another
    /// node answers for the org.
    DenialsUnkept(u64),
    /// An org's trial has used up what it includes.
    TrialEnded,
    /// Numbers of an org that are not what its ledger says.
    Drifted(u64),
    /// An upstream account that was usable is exhausted, for this reason.
    AccountExhausted(Exhaustion),
    /// The last account of a pool.
    PoolExhausted,
}

/// Is notified of what happens outside any call. Brief, and never fails.
pub trait EventSink: Send + Sync + fmt::Debug {
    /// Called once for each event.
    fn happened(&self, event: Event);
}
