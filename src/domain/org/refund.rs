//! Usage that an operator gives back: everything that one decision has charged, or amounts that were used at a time.
//!
//! It is taken out of the slices in which it was counted, so every number that follows from them follows: limits, what
//! windows carry, usage by day. Never more is given back than was used there. A decision is given back once, because its
//! refund is remembered as the end of it, as a Commit is of a reservation.

use super::{Context, OrgState};
use crate::{
    bounds::{HOUR_MS, OCCURRED_AHEAD_MAX_MS},
    domain::{
        command::{Refund, RefundOf},
        decision::{LimitView, LimitViews},
        events::Change,
        folded::Folded,
        ids::{Amounts, DecisionId, Meter, Plane, Scope},
        outcome::{GivenBack, Refunded, Settlement, Shown},
        policy::ExportWhen,
        refund::Charge,
        refusal::OrgError,
        reply::RefundView,
        request::Rpc,
        rows::ReservationRow,
        scopes::Scopes,
        window::{HOUR_RETENTION_MS, Millis, iso},
        words,
    },
};

/// What is to be given back, and whose it was.
#[derive(Debug)]
struct Known {
    charge: Charge,
    /// `None` = no decision was named.
    decision: Option<DecisionId>,
    /// How the reservation of the decision has ended; `None` = it has expired, or there was none.
    settled: Option<Settlement>,
}

/// An amount of a meter that was charged at a time.
#[derive(Debug)]
struct Part {
    at: Millis,
    meter: Meter,
    amount: u64,
    /// Charged with an admission.
    is_cost: bool,
}

impl OrgState {
    /// R-REF-1.
    pub(in crate::domain) fn refund(
        &mut self,
        refund: &Refund,
        ctx: &Context<'_>,
        configured: &Context<'_>,
    ) -> Result<Shown<Refunded, Box<RefundView>>, OrgError> {
        let give_back = |org: &mut Self| org.give_back(refund, ctx, configured);
        let (done, before) = self.once_showing(Rpc::Refund, Some(&refund.idempotency), ctx, give_back)?;
        let meters: Vec<Meter> = done.outcome.amounts.iter().map(|of| of.meter.clone()).collect();
        let policy = self.policy_at(self.now, configured);
        let after = self.limits_of_meters(&done.outcome.scopes, &meters, &Context { policy: &policy, ..*ctx });
        Ok(done.show(Box::new(RefundView { before, after, at: self.clocks.wall })))
    }

    fn give_back(
        &mut self,
        refund: &Refund,
        ctx: &Context<'_>,
        configured: &Context<'_>,
    ) -> Result<(Refunded, LimitViews), OrgError> {
        let known = self.known_charge(&refund.of, ctx)?;
        let parts = parts(&known.charge);
        let Known { charge, decision, .. } = &known;
        let mut meters: Vec<Meter> = parts.iter().map(|part| part.meter.clone()).collect();
        meters.sort_unstable();
        meters.dedup();
        let folded = self.placed(&charge.scopes, meters.iter(), ctx);
        let is_used = |part: &Part| self.refundable(part, charge, &folded) > 0;
        if !parts.iter().any(is_used) {
            let at = parts.first().map_or(charge.admitted_at, |part| part.at);
            return Err(OrgError::NothingUsed { hour: at / HOUR_MS * HOUR_MS });
        }
        let before = self.limits_of_meters(&charge.scopes, &meters, ctx);
        let is_cost_reported = self.end_charge(&known, ctx);
        let (mut amounts, mut changes) = (Vec::new(), Vec::new());
        for part in &parts {
            let resets = self.resets_of(&part.meter, ctx.policy);
            let given = self.give_part_back(part, charge, &folded, &mut changes, ctx);
            self.refunded_before_resets(resets, part.at, configured);
            add(&mut amounts, part, given);
            if !part.is_cost || is_cost_reported {
                self.correct(part, given, &known, refund, ctx);
            }
        }
        let policy = self.policy_at(self.now, configured);
        let ctx = &Context { policy: &policy, ..*ctx };
        let after = self.limits_of_meters(&charge.scopes, &meters, ctx);
        self.watch_limits(&after, ctx);
        self.limits_changed = true;
        changes.extend(used_of_limits(&before, &after));
        self.operated("Refund", changes, ctx);
        Ok((Refunded { decision: *decision, scopes: charge.scopes.clone(), amounts }, before))
    }

    /// Takes one amount back. Answers how much of it.
    fn give_part_back(
        &mut self,
        part: &Part,
        charge: &Charge,
        folded: &Folded,
        changes: &mut Vec<Change>,
        ctx: &Context<'_>,
    ) -> u64 {
        let Part { at, meter, amount, .. } = part;
        let amount = (*amount).min(self.refundable(part, charge, folded));
        let scope = folded.charged(&charge.scopes, meter).next().unwrap_or(Scope::of_org()).clone();
        let old = self.book.used_in_hour(&scope, meter, *at);
        let given = self.book.refund(ctx.policy, (&charge.scopes, folded), (meter, amount), *at, self.now);
        if given > 0 {
            let org_used = self.book.used_on_day(meter, *at);
            self.planes.take_back(*at, &charge.plane, (meter, given), org_used);
            let of = if scope.is_org() { String::new() } else { format!("{} ", scope.shown()) };
            let field = format!("{of}{meter} used in the hour of {}", iso(*at));
            let [old, new] = [old, old.saturating_sub(given)].map(|used| words::amount(meter, used));
            changes.push(Change::new(&field, &old, &new));
        }
        given
    }

    /// How much of an amount can be given back: nothing where its slices are not kept any more.
    fn refundable(&self, part: &Part, charge: &Charge, folded: &Folded) -> u64 {
        if part.at.saturating_add(HOUR_RETENTION_MS) < self.now {
            return 0;
        }
        self.book.refundable((&charge.scopes, folded), &part.meter, part.at)
    }

    /// Reports to the billing provider that it was given back, as far as the amount is reported there.
    fn correct(&mut self, part: &Part, given: u64, known: &Known, refund: &Refund, ctx: &Context<'_>) {
        let Known { charge, .. } = known;
        // Two amounts of one meter are two rows, which differ in what they were charged with.
        let with = if part.is_cost { "admission" } else { "commit" };
        let name = format!("{} {with}", refund.idempotency.id.as_str());
        let amounts: Amounts = std::iter::once((part.meter.clone(), given)).collect();
        self.export_as(&charge.scopes, &amounts, (&charge.scopes, Rpc::Refund, &name), part.at, ctx);
    }

    /// What the decision began has ended with its refund. Answers whether what its admission was charged is reported to
    /// the billing provider.
    fn end_charge(&mut self, known: &Known, ctx: &Context<'_>) -> bool {
        let Some(id) = known.decision else { return true };
        self.book.settle(id);
        self.planes.settle(id);
        let was_open = self.forgive(id);
        match ctx.policy.balance.export {
            ExportWhen::Never => false,
            ExportWhen::Admitted => true,
            ExportWhen::Completed => match known.settled {
                Some(how) => how == Settlement::Committed || known.charge.completed,
                None => !was_open,
            },
        }
    }

    fn known_charge(&self, of: &RefundOf, ctx: &Context<'_>) -> Result<Known, OrgError> {
        match of {
            RefundOf::Usage { scopes, amounts, at } => {
                let charge = Charge {
                    scopes: scopes.clone(),
                    plane: Plane::unnamed(),
                    admitted_at: self.used_at(*at)?,
                    cost: amounts.clone(),
                    settled_at: 0,
                    booked: Amounts::new(),
                    completed: false,
                };
                Ok(Known { charge, decision: None, settled: None })
            }
            RefundOf::Decision { id, recent } => {
                let (charge, settled) = self.charge_of_decision(*id, recent.as_deref())?;
                if !ctx.may_see(&charge.scopes) {
                    return Err(OrgError::ChargeUnknown);
                }
                Ok(Known { charge, decision: Some(*id), settled })
            }
        }
    }

    /// What a decision has charged, and how its reservation has ended.
    fn charge_of_decision(
        &self,
        id: DecisionId,
        recent: Option<&Charge>,
    ) -> Result<(Charge, Option<Settlement>), OrgError> {
        if self.sessions.began_with(id) {
            return Err(OrgError::ChargeOfSession);
        }
        if let Some(row) = self.journal.settled(id, self.now) {
            if row.how == Settlement::Refunded {
                return Err(OrgError::ChargeRefunded { at: row.at });
            }
            let charge = row.charge.as_deref().cloned().ok_or(OrgError::ChargeUnknown)?;
            return Ok((charge, Some(row.how)));
        }
        if let Some(row) = self.book.reservation(id, self.now) {
            if row.is_open() {
                return Err(OrgError::ChargeOpen);
            }
            let charge = self.charge_of(row, &Amounts::new()).ok_or(OrgError::ChargeUnknown)?;
            return Ok((*charge, None));
        }
        // A refund of it that came since then would be known.
        let is_sure = |charge: &&Charge| charge.admitted_at >= self.journal.known_from(self.now);
        let charge = recent.filter(is_sure).cloned().ok_or(OrgError::ChargeUnknown)?;
        Ok((charge, None))
    }

    /// What the decision of a reservation has charged once `booked` is booked; `None` = nothing.
    pub(super) fn charge_of(&self, row: &ReservationRow, booked: &Amounts) -> Option<Box<Charge>> {
        let charge = Charge {
            scopes: row.scopes.clone(),
            plane: self.planes.holder(row.id),
            admitted_at: row.reserved_at.unwrap_or(0),
            cost: row.cost.clone(),
            settled_at: self.now,
            booked: booked.clone(),
            completed: false,
        };
        (!charge.is_empty()).then(|| Box::new(charge))
    }

    /// When it was used: in an hour of which there are slices.
    fn used_at(&self, at: Option<Millis>) -> Result<Millis, OrgError> {
        let Some(given) = at else { return Ok(self.now) };
        let oldest = self.now.saturating_sub(HOUR_RETENTION_MS);
        let latest = self.now.saturating_add(OCCURRED_AHEAD_MAX_MS);
        let is_then = (oldest..=latest).contains(&given);
        if is_then { Ok(given.min(self.now)) } else { Err(OrgError::RefundAt { given, oldest, latest }) }
    }

    /// The limits on these meters, as they are now.
    fn limits_of_meters(&mut self, scopes: &Scopes, meters: &[Meter], ctx: &Context<'_>) -> LimitViews {
        let mut views = self.limits_now(scopes.clone(), ctx);
        views.retain(|view| meters.contains(&view.label.meter));
        views
    }
}

fn parts(charge: &Charge) -> Vec<Part> {
    let of_cost = [true, false].into_iter().zip(charge.parts());
    let parts = of_cost.flat_map(|(is_cost, (at, amounts))| {
        amounts.iter().map(move |(meter, amount)| Part { at, meter: meter.clone(), amount: *amount, is_cost })
    });
    parts.filter(|part| part.amount > 0).collect()
}

/// Each meter once, in the order in which they were charged.
fn add(amounts: &mut Vec<GivenBack>, part: &Part, given: u64) {
    match amounts.iter_mut().find(|known| known.meter == part.meter) {
        Some(known) => {
            known.asked = known.asked.saturating_add(part.amount);
            known.given = known.given.saturating_add(given);
        }
        None => amounts.push(GivenBack { meter: part.meter.clone(), asked: part.amount, given }),
    }
}

/// Of each limit, what was used of it before and after.
fn used_of_limits<'a>(before: &'a LimitViews, after: &'a LimitViews) -> impl Iterator<Item = Change> + 'a {
    before.iter().filter_map(|old| {
        let is_same = |new: &&LimitView| new.scope == old.scope && new.name() == old.name();
        let new = after.iter().find(is_same)?;
        let meter = &old.label.meter;
        let of = if old.scope.is_org() { String::new() } else { format!("{} ", old.scope.shown()) };
        let used = |used: u64| words::amount(meter, used);
        Change::between(&format!("{of}{meter} used ({})", old.name()), &used(old.used), &used(new.used))
    })
}
