//! Where a charge counts for which the org has no room: in a ledger that scopes share.
//!
//! | a pair of scope and meter | has a ledger of its own |
//! | --- | --- |
//! | that has one, or of which a limit names the scope | always |
//! | that a pattern limits | up to [`SETTLEMENT_LEDGERS`] times `ledgers_per_org` |
//! | that nothing limits | up to `ledgers_per_org` |
//!
//! What finds no room is counted in the scope `other`; what a pattern limits, in `other/PATTERN`, where the limits
//! of the pattern hold for all that share it. Nobody knows any more whose usage that is, so a limit errs to the
//! safe side: the limit of a scope without a ledger is judged by what is shared, and the limit of a scope whose
//! ledger was opened within the window, while others shared one, by both. What was used before the window does not
//! matter, so every other scope is judged by its ledger alone.

use super::{Book, Page, Standing};
use crate::{
    bounds::SETTLEMENT_LEDGERS,
    domain::{
        folded::{Fold, Folded},
        ids::{Meter, Scope},
        limit::Limit,
        policy::OrgPolicy,
        scopes::counts_for_org,
        window::Millis,
    },
};

/// How many ledgers there are, without those of the org itself and of upstream accounts and pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ledgers {
    /// Of scopes that calls name.
    named: usize,
    /// That scopes share.
    shared: usize,
}

impl Ledgers {
    /// A ledger was opened where none was, or is gone where one was.
    pub(super) fn changed(&mut self, scope: &Scope, was: bool, is: bool) {
        if was == is || scope.is_org() || !scope.counts_for_org() {
            return;
        }
        let count = if scope.is_shared() { &mut self.shared } else { &mut self.named };
        *count = if is { count.saturating_add(1) } else { count.saturating_sub(1) };
    }
}

/// What a limit is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basis {
    /// The ledger of its scope.
    Own,
    /// The same, and what its scope still holds elsewhere.
    OwnAndHeld,
    /// What scopes share, for its own has none.
    Shared,
    /// Both.
    Both,
}

impl Book {
    /// Which pairs of a call on `scopes` with these meters find no room. `most` is `ledgers_per_org`.
    pub(in crate::domain) fn place<'m>(
        &self,
        policy: &OrgPolicy,
        scopes: &[Scope],
        meters: impl Iterator<Item = &'m Meter>,
        most: usize,
    ) -> Folded {
        let mut opened: Vec<(&Scope, &Meter)> = Vec::new();
        let (mut folds, mut late): (Vec<Fold>, Vec<(Scope, Meter)>) = Default::default();
        for (scope, meter) in meters.flat_map(|meter| scopes.iter().map(move |scope| (scope, meter))) {
            if !self.needs_room(policy, scope, meter) {
                if self.is_shared() && self.is_late(policy, scope, meter) {
                    late.push((scope.clone(), meter.clone()));
                }
                continue;
            }
            // A meter may be named by the cost and by the reserve of one call.
            let is_known = opened.contains(&(scope, meter))
                || folds.iter().any(|fold| fold.scope == *scope && fold.meter == *meter);
            if is_known {
                continue;
            }
            let pattern = policy.pattern_of(scope).filter(|(_, limits)| limits.count(meter));
            let room = if pattern.is_some() { SETTLEMENT_LEDGERS.saturating_mul(most) } else { most };
            let others = || pattern.map_or_else(Scope::other, |(prefix, _)| Scope::others_of(prefix));
            if self.ledgers.named.saturating_add(opened.len()) >= room {
                folds.push(Fold { scope: scope.clone(), meter: meter.clone(), into: others() });
                continue;
            }
            opened.push((scope, meter));
            if self.is_shared() && self.has_ledger(&others(), meter) {
                late.push((scope.clone(), meter.clone()));
            }
        }
        Folded::new(folds, late)
    }

    /// Whether the ledger of a scope that needs no room was opened, or is opened now, while its scope may have used
    /// something in that of others: a limit that is set at run time names a scope that had none of its own.
    fn is_late(&self, policy: &OrgPolicy, scope: &Scope, meter: &Meter) -> bool {
        if self.has_ledger(scope, meter) {
            return self.tally(scope, meter).is_some_and(|tally| tally.ledger.late);
        }
        policy.pattern_of(scope).is_some_and(|(prefix, _)| self.has_ledger(&Scope::others_of(prefix), meter))
    }

    /// Upstream accounts and pools have the room that was found for them when they were configured.
    fn needs_room(&self, policy: &OrgPolicy, scope: &Scope, meter: &Meter) -> bool {
        scope.counts_for_org() && !self.has_ledger(scope, meter) && !policy.names(scope, meter)
    }

    /// How many meters a call on `scopes` would add to those of the org itself, other than those that a limit
    /// names.
    pub(in crate::domain) fn new_meters<'m>(
        &self,
        policy: &OrgPolicy,
        scopes: &[Scope],
        meters: impl Iterator<Item = &'m Meter>,
    ) -> usize {
        if !counts_for_org(scopes) {
            return 0;
        }
        let mut added: Vec<&Meter> = Vec::new();
        for meter in meters.filter(|meter| self.needs_room(policy, Scope::of_org(), meter)) {
            if !added.contains(&meter) {
                added.push(meter);
            }
        }
        added.len()
    }

    /// Meters of the org itself that have a ledger.
    pub(in crate::domain) fn meter_count(&self) -> usize {
        self.org.ledger_count()
    }

    /// Ledgers of one upstream account or pool that there are not yet, other than those that a limit names.
    pub(in crate::domain) fn new_upstream(&self, policy: &OrgPolicy, scope: &Scope, meters: &[Meter]) -> usize {
        let is_new = |meter: &&Meter| !policy.names(scope, meter) && !self.has_ledger(scope, meter);
        meters.iter().filter(is_new).count()
    }

    /// Ledgers of upstream accounts and of pools.
    pub(in crate::domain) fn upstream_ledgers(&self) -> usize {
        let upstream = self.scopes.values().filter(|page| !page.scope.counts_for_org());
        upstream.map(Page::ledger_count).sum()
    }

    /// Whether scopes share a ledger.
    pub(in crate::domain) fn is_shared(&self) -> bool {
        self.ledgers.shared > 0
    }

    /// What scopes share that have their limits from the same pattern as `scope`; `None` where none do, and where
    /// it has no limits from a pattern.
    pub(in crate::domain) fn others_of(&self, policy: &OrgPolicy, scope: &Scope) -> Option<Scope> {
        if !self.is_shared() || !scope.counts_for_org() {
            return None;
        }
        let (prefix, _) = policy.pattern_of(scope)?;
        Some(Scope::others_of(prefix)).filter(|others| self.scopes.contains_key(others))
    }

    /// What counts against a limit of `scope`, where scopes with the same limits share the ledger of `others`, and
    /// whether that has a part in it.
    pub(in crate::domain) fn judged(
        &mut self,
        scope: &Scope,
        others: &Scope,
        limit: &Limit,
        now: Millis,
    ) -> (Standing, bool) {
        let own = self.standing(scope, limit, now);
        let shared = self.standing(others, limit, now);
        let (standing, is_shared) = match self.basis(scope, others, limit, now) {
            Basis::Own => (own, false),
            Basis::OwnAndHeld => {
                let held = self.held_in(scope, others, limit.meter());
                (Standing { reserved: own.reserved.saturating_add(held), ..own }, held > 0)
            }
            Basis::Shared => (shared, true),
            Basis::Both => {
                let used = own.used.saturating_add(shared.used);
                let carried = own.carried.saturating_add(shared.carried);
                let reserved = own.reserved.saturating_add(shared.reserved);
                (Standing { used, carried, reserved, ..own }, true)
            }
        };
        (self.with_spending(scope, limit, standing), is_shared)
    }

    /// Whether the ledger of others has a part in what counts against a limit.
    pub(in crate::domain) fn is_judged_with_others(
        &self,
        policy: &OrgPolicy,
        scope: &Scope,
        limit: &Limit,
        now: Millis,
    ) -> bool {
        let others = self.others_of(policy, scope);
        others.is_some_and(|others| self.basis(scope, &others, limit, now) != Basis::Own)
    }

    /// The same where others may share a ledger.
    pub(in crate::domain) fn standing_among(
        &mut self,
        scope: &Scope,
        others: Option<&Scope>,
        limit: &Limit,
        now: Millis,
    ) -> Standing {
        match others {
            None => self.standing(scope, limit, now),
            Some(others) => self.judged(scope, others, limit, now).0,
        }
    }

    /// The ledgers that a limit of `scope` is judged by: one, or both.
    pub(super) fn sources<'a>(
        &self,
        scope: &'a Scope,
        others: &'a Scope,
        limit: &Limit,
        now: Millis,
    ) -> (&'a Scope, Option<&'a Scope>) {
        match self.basis(scope, others, limit, now) {
            Basis::Own | Basis::OwnAndHeld => (scope, None),
            Basis::Shared => (others, None),
            Basis::Both => (scope, Some(others)),
        }
    }

    fn basis(&self, scope: &Scope, others: &Scope, limit: &Limit, now: Millis) -> Basis {
        let with_ledger = |scope| self.tally(scope, limit.meter()).filter(|tally| tally.ledger.is_used());
        let Some(shared) = with_ledger(others) else { return Basis::Own };
        let Some(own) = with_ledger(scope) else { return Basis::Shared };
        if !own.ledger.late {
            return Basis::Own;
        }
        // What went over the limit there may go on in any later window.
        let starts_at = if limit.carries { 0 } else { own.started(limit.window(), now) };
        match own.ledger.opened_by() {
            Some(opened_by) if opened_by <= starts_at && shared.ledger.reserved > 0 => Basis::OwnAndHeld,
            Some(opened_by) if opened_by <= starts_at => Basis::Own,
            Some(_) | None => Basis::Both,
        }
    }

    /// Of a ledger without slices nobody knows after a start when it was opened.
    pub(super) fn suspect_holds(&mut self) {
        if !self.is_shared() {
            return;
        }
        for tally in self.pages_mut().flat_map(|page| page.tallies_mut()) {
            tally.ledger.late |= tally.ledger.hours().next().is_none() && tally.ledger.is_used();
        }
    }

    /// What `scope` holds in what it shares.
    fn held_in(&self, scope: &Scope, others: &Scope, meter: &Meter) -> u64 {
        let open = self.expiries.iter().filter_map(|(_, id)| self.reservations.get(id));
        let held = open.filter(|row| row.folded.of(scope, meter) == Some(others));
        held.filter_map(|row| row.amount(meter)).fold(0, u64::saturating_add)
    }

    /// Counted again, where any of them may have come or gone.
    pub(super) fn count_ledgers(&self) -> Ledgers {
        let mut ledgers = Ledgers::default();
        for (scope, tally) in self.tallies() {
            ledgers.changed(scope, false, tally.ledger.is_used());
        }
        ledgers
    }
}
