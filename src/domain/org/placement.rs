//! Where a charge counts: whether there is room for its ledgers, and which of its scopes share one.

use super::{Context, OrgState};
use crate::{
    bounds::SETTLEMENT_LEDGERS,
    domain::{
        command::Acquire,
        folded::Folded,
        ids::{Amounts, Meter},
        refusal::OrgError,
        scopes::Scopes,
    },
};

impl OrgState {
    /// Refuses a meter that is new to the org where it counts `most` of them already. Scopes need no such room:
    /// they share ledgers.
    pub(super) fn check_meters<'m>(
        &self,
        scopes: &Scopes,
        meters: impl Iterator<Item = &'m Meter>,
        most: usize,
        ctx: &Context<'_>,
    ) -> Result<(), OrgError> {
        let added = self.book.new_meters(ctx.policy, scopes, meters);
        let full = added > 0 && self.book.meter_count() + added > most;
        if full { Err(OrgError::TooManyMeters { most }) } else { Ok(()) }
    }

    /// Admission has stopped to take new meters long before settlement is refused one; what is refused has
    /// changed nothing.
    pub(super) fn check_settlement<'m>(
        &self,
        scopes: &Scopes,
        meters: impl Iterator<Item = &'m Meter>,
        ctx: &Context<'_>,
    ) -> Result<(), OrgError> {
        self.check_meters(scopes, meters, SETTLEMENT_LEDGERS * ctx.bounds.ledgers_per_org as usize, ctx)
    }

    /// Which of the scopes share ledgers for these meters, at admission and at settlement alike. It is asked before
    /// holds are given back: a pair that has a ledger keeps it.
    pub(super) fn placed<'m>(
        &self,
        scopes: &Scopes,
        meters: impl Iterator<Item = &'m Meter>,
        ctx: &Context<'_>,
    ) -> Folded {
        self.book.place(ctx.policy, scopes, meters, ctx.bounds.ledgers_per_org as usize)
    }

    /// The same of what is about to be counted.
    pub(super) fn place<'m>(
        &mut self,
        scopes: &Scopes,
        meters: impl Iterator<Item = &'m Meter>,
        ctx: &Context<'_>,
    ) -> Folded {
        let folded = self.placed(scopes, meters, ctx);
        self.count_folded(&folded);
        folded
    }

    /// Calls of which something is about to be counted in a shared ledger are counted for operators, and the
    /// first of them is logged.
    pub(super) fn count_folded(&mut self, folded: &Folded) {
        if !folded.pairs().is_empty() {
            self.news.folded += 1;
            self.news.folds |= !self.book.is_shared();
        }
    }
}

/// Meters of which something is counted.
pub(super) fn counted(amounts: &Amounts) -> impl Iterator<Item = &Meter> {
    amounts.iter().filter(|(_, amount)| *amount > 0).map(|(meter, _)| meter)
}

/// Those of which an Acquire counts something: also the slice of a session.
pub(super) fn asked(ask: &Acquire) -> impl Iterator<Item = &Meter> {
    let compute = ask.is_session().then(Meter::of_compute);
    counted(&ask.cost).chain(counted(&ask.reserve)).chain(compute)
}
