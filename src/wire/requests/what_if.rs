//! What is asked about limits that are not in force.

use super::{Parsed, amount, any_scope, optional, org, page_size};
use crate::{
    bounds::{WHAT_IF_LIMITS, WHAT_IF_MS},
    domain::{
        command::TryLimits,
        ids::{Meter, OrgId},
        input::InputError,
        what_if::Trial,
        window::{Millis, Window, period, period_names},
    },
    wire::admin::v1 as admin,
};

/// Which limits are tried on which orgs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhatIfAsk {
    /// `None` = all orgs.
    pub org: Option<OrgId>,
    /// Only orgs that have it; empty = any.
    pub plan: String,
    /// What each org is asked.
    pub ask: TryLimits,
    /// Orgs in one answer.
    pub max: usize,
    /// Behind this org; `None` = from the first.
    pub after: Option<OrgId>,
}

/// The scope may be one of an upstream account or a pool.
pub fn what_if(request: &admin::WhatIfRequest, now: Millis) -> Parsed<WhatIfAsk> {
    let count = request.limits.len();
    if !(1..=WHAT_IF_LIMITS).contains(&count) {
        return Err(InputError::new("limits", count, format!("1 to {WHAT_IF_LIMITS} limits")));
    }
    let limits = request.limits.iter().enumerate().map(|(at, limit)| {
        let field = format!("limits[{at}]");
        trial(limit).map_err(|error| error.within(field))
    });
    Ok(WhatIfAsk {
        org: optional(&request.org, org)?,
        plan: request.plan.clone(),
        ask: TryLimits {
            scope: any_scope(&request.scope)?,
            meter: optional(&request.meter, |text| Meter::parse("meter", text))?.unwrap_or_else(Meter::spend),
            limits: limits.collect::<Parsed<_>>()?,
            from: now.saturating_sub(WHAT_IF_MS),
        },
        max: page_size(request.page_size)?,
        after: optional(&request.page_token, |text| OrgId::parse("page_token", text))?,
    })
}

fn trial(limit: &admin::WhatIfLimit) -> Parsed<Trial> {
    let amount = amount("amount", limit.amount, "")?;
    let window = period(&limit.period).or_else(|| Window::parse(&limit.period));
    let rule = || format!("one of {}, or a window such as rolling/7d or calendar/month", period_names());
    let window = window.ok_or_else(|| InputError::new("period", &limit.period, rule()))?;
    Trial::parse("period", window, amount)
}
