//! A budget of an older system that knows one limit and what was spent of it this month.

use super::{Baseline, Context, OrgState};
use crate::{
    bounds::{AMOUNT_MAX, DAY_MS},
    domain::{
        command::{ReportCumulative, SetBudget},
        ids::{Incarnation, Meter, Scope, Source},
        refusal::OrgError,
        request::Idempotency,
        scopes::Scopes,
        window::{LEGACY_PERIOD, Millis, PERIODS, named_period},
    },
};

/// One budget to take over, in micro-USD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OlderBudget {
    /// Whose budget it is; empty is the org itself.
    pub scope: Scope,
    /// `None` = no limit.
    pub limit: Option<u64>,
    /// What was spent this month.
    pub monthly_spend: u64,
    /// Names the older system among the sources of the org, and its one life.
    pub source: Source,
    /// The one life of that source.
    pub incarnation: Incarnation,
    /// Under which the limit is set and a grown total is reported.
    pub idempotency: Idempotency,
}

/// An instant that lies in the month and in no shorter period.
fn in_the_month_alone(now: Millis) -> Millis {
    let month = named_period(LEGACY_PERIOD).map_or(0, |(_, len)| len);
    let shorter = PERIODS.iter().map(|(_, len)| *len).filter(|len| *len < month).max();
    now.saturating_sub(shorter.unwrap_or(0).saturating_add(DAY_MS))
}

impl OrgState {
    /// Fills the month: its limit, what was spent, and the baseline by which a later total of the older system
    /// is measured. What was taken over before is left alone but for a total that has grown since. Answers
    /// whether anything changed.
    pub fn take_over(&mut self, older: &OlderBudget, ctx: &Context<'_>) -> Result<bool, OrgError> {
        let policy = self.advance(ctx);
        let ctx = &Context { policy: &policy, ..*ctx };
        let scopes = Scopes::from(older.scope.clone());
        let key = (scopes.clone(), older.source.clone(), Meter::spend());
        let (source, incarnation, meter) = (older.source.clone(), older.incarnation.clone(), Meter::spend());
        if let Some(known) = self.baselines.get(&key) {
            if known.total == older.monthly_spend {
                return Ok(false);
            }
            let (total, idempotency) = (older.monthly_spend, older.idempotency.clone());
            self.report(&ReportCumulative { scopes, source, incarnation, meter, total, idempotency }, ctx)?;
            return Ok(true);
        }
        if self.baselines.len() >= ctx.bounds.sources_per_org as usize {
            return Err(OrgError::TooManySources { most: ctx.bounds.sources_per_org });
        }
        self.check_settlement(&scopes, std::iter::once(&meter), ctx)?;
        if older.limit.is_some() {
            self.change_budget(
                &SetBudget {
                    scope: older.scope.clone(),
                    replace: false,
                    periods: vec![(LEGACY_PERIOD, older.limit)],
                    expected_version: None,
                    idempotency: older.idempotency.clone(),
                },
                ctx,
            )?;
        }
        let spent = older.monthly_spend.min(AMOUNT_MAX);
        self.baselines.put(key, Baseline { incarnation, total: spent });
        let folded = self.place(&scopes, std::iter::once(&meter), ctx);
        let at = in_the_month_alone(self.now);
        self.book.backdate(ctx.policy, (&scopes, &folded), (&meter, spent), at, self.now);
        self.changed = true;
        Ok(true)
    }
}
