//! How long a node may take itself for the owner of its shards, and when it may take another node for dead.
//!
//! ```text
//!             sent                     0.9 of the lease later
//!  register ───┴──▶ valid ────────────────────┬──▶ lapsed ──────▶ lost: another incarnation registers
//!                    ▲                        │       │       ▲
//!                    └── a renewal succeeded ─┴───────┘       └── a renewal was refused, at any time
//! ```
//!
//! The database decides whether a lease has expired; a node only has to stop earlier. It therefore counts from before it
//! sent what succeeded, for less than the lease is long, and asks at every answer. A lease that lapsed is not lost: where
//! a renewal succeeds nobody has marked it, so nobody else owned its shards. What is lost stays lost.
//!
//! Time is [`Uptime`]: durations of one machine. No instant of another clock is compared with it.

use crate::{
    bounds::{NODE_LEASE_MS, NODE_LEASE_RENEWAL_MS, NODE_LEASE_VALID_MS},
    domain::window::Millis,
};

/// Milliseconds since this machine was started, including those for which it was suspended. No correction moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Uptime(pub Millis);

impl Uptime {
    /// `length` later.
    #[must_use]
    pub fn after(self, length: Millis) -> Self {
        Self(self.0.saturating_add(length))
    }

    /// How long `earlier` is ago; 0 where it is not.
    pub fn since(self, earlier: Self) -> Millis {
        self.0.saturating_sub(earlier.0)
    }
}

/// A renewal that is to be sent: it is worth what its instant says, whenever its answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "its answer, or that there is none, belongs to the lease"]
pub struct Renewal {
    sent_at: Uptime,
}

/// What a lease allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The node may answer from memory.
    Valid,
    /// It may not. A renewal may still succeed.
    Lapsed,
    /// The database has refused it. The node drops what it owned and registers another incarnation.
    Lost,
}

/// The lease of one incarnation of this node in one cell.
#[derive(Debug, Clone)]
pub struct NodeLease {
    valid_until: Uptime,
    next_renewal: Uptime,
    is_lost: bool,
}

impl NodeLease {
    /// Of an incarnation that was registered; `sent_at` is from before the registration was sent.
    pub fn registered(sent_at: Uptime) -> Self {
        Self {
            valid_until: sent_at.after(NODE_LEASE_VALID_MS),
            next_renewal: sent_at.after(NODE_LEASE_RENEWAL_MS),
            is_lost: false,
        }
    }

    /// What the lease allows at `now`. To be asked at each decision, with the clock read for it.
    pub fn standing(&self, now: Uptime) -> Standing {
        match (self.is_lost, now < self.valid_until) {
            (true, _) => Standing::Lost,
            (false, true) => Standing::Valid,
            (false, false) => Standing::Lapsed,
        }
    }

    /// Whether the node may answer from memory at `now`.
    pub fn may_answer(&self, now: Uptime) -> bool {
        self.standing(now) == Standing::Valid
    }

    /// When the node has to stop, unless a renewal succeeds before; `None` where it has been refused.
    pub fn stops_at(&self) -> Option<Uptime> {
        (!self.is_lost).then_some(self.valid_until)
    }

    /// When the next renewal is due, whatever becomes of those under way; `None` where the lease is lost.
    pub fn next_renewal(&self) -> Option<Uptime> {
        (!self.is_lost).then_some(self.next_renewal)
    }

    /// The renewal to send at `now`, where one is due. `now` is read before it is sent.
    pub fn renew(&mut self, now: Uptime) -> Option<Renewal> {
        if self.is_lost || now < self.next_renewal {
            return None;
        }
        self.next_renewal = now.after(NODE_LEASE_RENEWAL_MS);
        Some(Renewal { sent_at: now })
    }

    /// The database has renewed the lease. Answers may come in any order. One without an answer, or on a connection that
    /// was lost, changes nothing: the next one is due anyway.
    pub fn renewed(&mut self, renewal: Renewal) {
        self.valid_until = self.valid_until.max(renewal.sent_at.after(NODE_LEASE_VALID_MS));
    }

    /// The database has refused to renew it: it has expired, and may have been marked.
    pub fn refused(&mut self) {
        self.is_lost = true;
    }
}

/// The lease of another node, as this one has seen it.
///
/// The database's clock says whether it has expired, and that clock may be wrong: after a failover it is another one. So a
/// node marks a lease only after it has itself seen it unrenewed for its whole length.
#[derive(Debug, Clone)]
pub struct WatchedLease {
    /// As the database has it. It is compared for equality only: with what was seen before, and in the mark itself.
    expires_at: i64,
    seen_at: Uptime,
}

impl WatchedLease {
    /// Of a lease that is seen for the first time; `now` is read after the answer.
    pub fn seen(expires_at: i64, now: Uptime) -> Self {
        Self { expires_at, seen_at: now }
    }

    /// It is seen again. Where it was renewed its time begins anew.
    pub fn seen_again(&mut self, expires_at: i64, now: Uptime) {
        if expires_at != self.expires_at {
            *self = Self::seen(expires_at, now);
        }
    }

    /// The `expires_at` that a mark has to find, where it may be sent at `now`.
    pub fn to_mark(&self, now: Uptime) -> Option<i64> {
        (now.since(self.seen_at) >= NODE_LEASE_MS).then_some(self.expires_at)
    }
}

#[cfg(test)]
mod tests;
