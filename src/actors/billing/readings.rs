//! What the billing check counts of itself.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::domain::{balance::BalanceVerdict, gate::Cause};

/// How the billing check stands. Counts are since start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Readings {
    /// Orgs whose balance is in memory, those included whose entry has run out unread.
    pub remembered: u64,
    /// Balance questions to the provider, by what became of them.
    pub allowed: u64,
    /// Questions whose answer was a denial.
    pub denied: u64,
    /// Questions without an answer, by cause; a cause that never occurred is left out.
    pub unknown: BTreeMap<Cause, u64>,
    /// Times the memory answered.
    pub from_memory: u64,
    /// Balance questions that began in the background, for a denial or an allowance that runs low.
    pub revalidations: u64,
    /// Questions whether an org pays, and those of them without an answer.
    pub exemptions: u64,
    /// Those without an answer.
    pub exemptions_failed: u64,
    /// Callers turned away because too many questions, or too many callers, were waiting.
    pub shed: u64,
    /// Questions that were not asked, because the last ones about the org failed.
    pub spaced: u64,
    /// Orgs about which less is asked just now, because the last questions about them failed.
    pub spaced_orgs: u64,
    /// Times a denial stood beyond its time, because the provider could not answer.
    pub stale: u64,
    /// Questions to the provider, and callers waiting for one, just now.
    pub in_flight: u64,
    /// Callers that wait for an answer just now.
    pub waiting: u64,
    /// Orgs that are polled just now, because they were refreshed and are still denied.
    pub polls: u64,
    /// Times the actor ended by a panic.
    pub crashes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    allowed: AtomicU64,
    denied: AtomicU64,
    unknown: [AtomicU64; Cause::ALL.len()],
    from_memory: AtomicU64,
    revalidations: AtomicU64,
    exemptions: AtomicU64,
    exemptions_failed: AtomicU64,
    shed: AtomicU64,
    spaced: AtomicU64,
    stale: AtomicU64,
    crashes: AtomicU64,
}

fn one_more(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    pub(super) fn balance(&self, verdict: &BalanceVerdict) {
        match verdict {
            BalanceVerdict::Allowed(_) => one_more(&self.allowed),
            BalanceVerdict::Denied(..) => one_more(&self.denied),
            BalanceVerdict::Unknown(cause) => {
                let of_cause = Cause::ALL.iter().zip(&self.unknown).find(|(known, _)| *known == cause);
                of_cause.into_iter().for_each(|(_, counter)| one_more(counter));
            }
        }
    }

    pub(super) fn exemption(&self, answered: bool) {
        one_more(&self.exemptions);
        if !answered {
            one_more(&self.exemptions_failed);
        }
    }

    pub(super) fn remembered(&self) {
        one_more(&self.from_memory);
    }

    pub(super) fn revalidation(&self) {
        one_more(&self.revalidations);
    }

    pub(super) fn shed(&self) {
        one_more(&self.shed);
    }

    pub(super) fn spaced(&self) {
        one_more(&self.spaced);
    }

    pub(super) fn stale(&self) {
        one_more(&self.stale);
    }

    pub(super) fn crash(&self) {
        one_more(&self.crashes);
    }

    /// The counts; what stands just now is the caller's to add.
    pub(super) fn read(&self) -> Readings {
        let causes = Cause::ALL.into_iter().zip(&self.unknown).map(|(cause, count)| (cause, read(count)));
        Readings {
            allowed: read(&self.allowed),
            denied: read(&self.denied),
            unknown: causes.filter(|(_, count)| *count > 0).collect(),
            from_memory: read(&self.from_memory),
            revalidations: read(&self.revalidations),
            exemptions: read(&self.exemptions),
            exemptions_failed: read(&self.exemptions_failed),
            shed: read(&self.shed),
            spaced: read(&self.spaced),
            stale: read(&self.stale),
            crashes: read(&self.crashes),
            ..Readings::default()
        }
    }
}
