//! What is asked about usage of the past.

use super::{Parsed, any_scope, optional, org, rows_of_page};
use crate::{
    bounds::{DAY_MS, USAGE_PAGE, USAGE_PAGE_MAX},
    domain::{
        ids::{Meter, OrgId, Scope},
        input::InputError,
        usage::UsagePlace,
        window::{Millis, month, month_end},
    },
    wire::admin::v1 as admin,
};

/// Which usage is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageAsk {
    /// `None` = of all orgs.
    pub org: Option<OrgId>,
    /// A row is about a month.
    pub by_month: bool,
    /// Start of the first day or month.
    pub from: Millis,
    /// End of the last one.
    pub to: Millis,
    /// `None` = of each, and of the org.
    pub scope: Option<Scope>,
    /// `None` = of each.
    pub meter: Option<Meter>,
    /// A row for each plane, of the org itself.
    pub by_plane: bool,
    /// Rows in one answer.
    pub max: usize,
    /// Where to go on; `None` = from the first.
    pub at: Option<UsageToken>,
}

/// Where a list goes on: in or behind an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageToken {
    /// In this org, or behind it.
    pub org: OrgId,
    /// `None` = behind the org.
    pub within: Option<(Option<UsagePlace>, u64)>,
}

impl UsageAsk {
    /// Whether an earlier answer, if there was one, was about this org.
    pub fn goes_on_in(&self, org: &OrgId) -> bool {
        self.at.as_ref().is_none_or(|at| at.org == *org)
    }
}

/// The scope may be one of an upstream account or a pool, or one that scopes share.
pub fn usage(request: &admin::UsageRequest, now: Millis) -> Parsed<UsageAsk> {
    let by_month = match admin::UsagePeriod::try_from(request.by) {
        Ok(admin::UsagePeriod::Month) => true,
        Ok(admin::UsagePeriod::Day | admin::UsagePeriod::Unspecified) => false,
        Err(_) => return Err(InputError::new("by", request.by, "USAGE_PERIOD_DAY or USAGE_PERIOD_MONTH")),
    };
    let from = bound("from_ms", request.from_ms, by_month, month(now))?;
    let current_end = if by_month { month_end(now) } else { now / DAY_MS * DAY_MS + DAY_MS };
    let to = bound("to_ms", request.to_ms, by_month, current_end)?;
    if to < from {
        return Err(InputError::new("to_ms", request.to_ms, format!("from_ms or later, which is {from}")));
    }
    let org = optional(&request.org, org)?;
    let at = optional(&request.page_token, token)?;
    Ok(UsageAsk {
        org,
        by_month,
        from,
        to,
        scope: scope_asked(request)?,
        meter: optional(&request.meter, |text| Meter::parse("meter", text))?,
        by_plane: request.by_plane,
        max: rows_of_page(request.page_size, USAGE_PAGE, USAGE_PAGE_MAX)?,
        at,
    })
}

/// By plane there is nothing of a scope.
fn scope_asked(request: &admin::UsageRequest) -> Parsed<Option<Scope>> {
    let scope = request.scope.as_deref().map(scope).transpose()?;
    match scope {
        Some(scope) if request.by_plane && !scope.is_org() => {
            Err(InputError::new("scope", scope.shown(), "none with by_plane: planes are counted for the org itself"))
        }
        None if request.by_plane => Ok(Some(Scope::org())),
        scope => Ok(scope),
    }
}

fn scope(text: &str) -> Parsed<Scope> {
    let shared = Scope::parse("scope", text)?;
    if shared.is_shared() { Ok(shared) } else { any_scope(text) }
}

fn bound(field: &str, given: i64, by_month: bool, default: Millis) -> Parsed<Millis> {
    let rule = if by_month { "the start of a month of UTC in milliseconds" } else { "00:00 UTC in milliseconds" };
    let refused = || InputError::new(field, given, format!("{rule} since the Unix epoch, or 0"));
    let at = Millis::try_from(given).map_err(|_| refused())?;
    let starts = if by_month { month(at) == at } else { at.is_multiple_of(DAY_MS) };
    match at {
        0 => Ok(default),
        _ if starts => Ok(at),
        _ => Err(refused()),
    }
}

impl UsageToken {
    /// The org, or the org with a place in its list. Names have no control characters, so these end them.
    pub fn text(&self) -> String {
        let Self { org, within } = self;
        match within {
            None => org.to_string(),
            Some((None, skip)) => format!("{org} {skip}"),
            Some((Some(place), skip)) => {
                let UsagePlace { month, scope, meter, start } = place;
                format!("{org} {skip} {month} {start} {meter} {}", scope.as_str())
            }
        }
    }
}

fn token(text: &str) -> Parsed<UsageToken> {
    let refused = || InputError::new("page_token", text, "next_page_token of an answer");
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).ok_or_else(refused);
    let mut parts = text.splitn(6, ' ');
    let org = OrgId::parse("page_token", parts.next().unwrap_or_default())?;
    let Some(skip) = parts.next() else { return Ok(UsageToken { org, within: None }) };
    let skip = number(Some(skip))?;
    let Some(first) = parts.next() else { return Ok(UsageToken { org, within: Some((None, skip)) }) };
    let (month, start) = (number(Some(first))?, number(parts.next())?);
    let meter = Meter::parse("page_token", parts.next().unwrap_or_default())?;
    let scope = Scope::parse("page_token", parts.next().ok_or_else(refused)?)?;
    let place = UsagePlace { month, scope, meter, start };
    Ok(UsageToken { org, within: Some((Some(place), skip)) })
}
