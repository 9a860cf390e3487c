//! What is stored of the request ids of durable calls. These rows are not loaded with their org: the first two
//! kinds are read by name, and pages in their order.

use crate::domain::{
    ids::{DecisionId, RequestId},
    outcome::{Entry, Outcome, Settlement},
    refund::Charge,
    request::{Idempotency, Rpc},
    rows::{RowKey, RowKind},
    window::Millis,
};

/// What a durable call was answered. Never changed: a call that uses the id again later has another time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestIdRow {
    /// What was called: request ids are unique per rpc.
    pub rpc: Rpc,
    /// The client's name for the call.
    pub id: RequestId,
    /// When the call was carried out.
    pub at: Millis,
    /// Of what the call means.
    pub fingerprint: u64,
    /// What a retry is answered.
    pub outcome: Outcome,
}

impl From<RequestIdRow> for Entry {
    fn from(row: RequestIdRow) -> Self {
        let RequestIdRow { rpc, id, at, fingerprint, outcome } = row;
        let idempotency = Some(Idempotency { id, fingerprint });
        Self { at, rpc, idempotency, long: true, outcome, charge: None }
    }
}

/// How a reservation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledRow {
    /// The decision that reserved.
    pub id: DecisionId,
    /// When it ended.
    pub at: Millis,
    /// By what.
    pub how: Settlement,
    /// What its decision has charged; `None` = nothing, or by a tollgate that did not say.
    pub charge: Option<Box<Charge>>,
}

/// Names of what is kept, in the order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdPageRow {
    /// Numbers the pages of the org, from 0.
    pub number: u64,
    /// What the rows that are named here take, in bytes.
    pub bytes: u64,
    /// The oldest first.
    pub ids: Vec<KeptId>,
}

impl IdPageRow {
    /// When the last of the calls was carried out.
    pub fn youngest(&self) -> Millis {
        self.ids.last().map_or(0, |id| id.at)
    }
}

/// Names the rows of one durable call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptId {
    /// What was called.
    pub rpc: Rpc,
    /// The client's name for the call.
    pub id: RequestId,
    /// When it was carried out.
    pub at: Millis,
    /// The reservation that ended with it.
    pub reservation: Option<DecisionId>,
}

impl KeptId {
    /// `None` where the entry has no row of its own.
    pub fn of(entry: &Entry) -> Option<Self> {
        let id = entry.idempotency.as_ref().filter(|_| entry.long)?.id.clone();
        let reservation = entry.outcome.settlement().map(|(id, _)| id);
        Some(Self { rpc: entry.rpc, id, at: entry.at, reservation })
    }

    /// The rows that it names.
    pub fn keys(self) -> impl Iterator<Item = RowKey> {
        let Self { rpc, id, at, reservation } = self;
        let settled = reservation.map(|id| RowKey::Settled { id, at });
        [RowKey::RequestId { rpc, id, at }].into_iter().chain(settled)
    }

    /// The most that it takes in a page, in bytes, with every number at its full length.
    pub fn page_bytes(&self) -> usize {
        const FIXED: usize = 24;
        const RESERVATION: usize = 17;
        FIXED + self.id.as_str().len() + if self.reservation.is_some() { RESERVATION } else { 0 }
    }
}

/// What an org's head says of the request ids of its durable calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptHead {
    /// The oldest page, and the one that will be next.
    pub pages_from: u64,
    /// One past the newest page.
    pub pages_to: u64,
    /// Names of commits up to this one are in pages, those of later ones in journal rows.
    pub paged_seq: u64,
    /// Ids that are kept.
    pub count: u64,
    /// What they take on disk, by the estimate that the bound is held against.
    pub bytes: u64,
    /// No id that is kept is older.
    pub since: Millis,
    /// Ids of calls up to then may have been forgotten before a day was over; 0 = none was.
    pub forgotten_to: Millis,
    /// How many were.
    pub forgotten: u64,
    /// No id that says a later time was made after its call was carried out: the latest time of those that were made
    /// by a clock ahead of this node's; 0 = none was.
    pub ahead_to: Millis,
}

impl RowKind {
    /// Kinds that are not loaded with their org, in the order of a dump.
    pub const READ_BY_NAME: &[Self] = &[Self::RequestId, Self::Settled, Self::IdPage, Self::UsageDay, Self::UsageMonth];

    /// Whether rows of the kind are left where they are when their org is loaded.
    pub fn is_read_by_name(self) -> bool {
        Self::READ_BY_NAME.contains(&self)
    }
}
