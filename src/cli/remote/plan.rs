//! `tollgate plan`: which orgs limits would have denied that are not in force. Nothing is changed.

use crate::{
    cli::{
        Exit,
        args::PlanArgs,
        connect::Connection,
        failure::Failure,
        output::{Output, View, number, table, text},
    },
    domain::{
        ids::{Meter, Scope},
        input::InputError,
        money::micro_usd,
        window::{Length, Millis, digits},
    },
    rpc::table,
    wire::admin::v1::{WhatIfLimit, WhatIfRequest, WhatIfResponse},
};

use super::{
    batch,
    format::{amount, iso, span},
};

/// Orgs of one page: the slices of each are read.
const PAGE: i32 = 100;

/// A mistake shows before a connection is opened.
pub(super) fn request(args: &PlanArgs) -> Result<WhatIfRequest, Failure> {
    let limits = args.limit.iter().map(|(period, given)| {
        let amount = in_units(&args.meter, given).and_then(|amount| i64::try_from(amount).ok());
        let rule = "an amount of the meter: '$25' or 25usd of spend, 4h of compute, or a whole number";
        let amount = amount.ok_or_else(|| Failure::Usage(InputError::new("limit", given, rule)))?;
        Ok(WhatIfLimit { period: period.clone(), amount })
    });
    Ok(WhatIfRequest {
        org: args.org.as_ref().map(ToString::to_string).unwrap_or_default(),
        scope: args.scope.as_ref().map(Scope::as_str).unwrap_or_default().to_owned(),
        meter: args.meter.to_string(),
        limits: limits.collect::<Result<_, Failure>>()?,
        plan: args.plan.clone().unwrap_or_default(),
        page_size: PAGE,
        page_token: String::new(),
    })
}

fn in_units(meter: &Meter, given: &str) -> Option<u64> {
    if *meter == Meter::spend() {
        micro_usd(given)
    } else if *meter == Meter::compute() {
        Length::parse(given).map(|length| length.0).or_else(|| digits(given))
    } else {
        digits(given)
    }
}

pub(super) async fn run(
    connection: &Connection,
    mut request: WhatIfRequest,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let mut all = WhatIfResponse::default();
    loop {
        let page = connection.ask::<table::WhatIf>(request.clone()).await?;
        if !page.next_page_token.is_empty() && page.next_page_token == request.page_token {
            return Err(Failure::Incomplete("a page goes on where it began"));
        }
        request.page_token.clone_from(&page.next_page_token);
        all.orgs = all.orgs.saturating_add(page.orgs);
        all.rows.extend(page.rows);
        all.failures.extend(page.failures);
        (all.from_ms, all.to_ms) = (page.from_ms, page.to_ms);
        if request.page_token.is_empty() {
            break;
        }
    }
    output.answer(&all, |all, _| describe(all, &request.meter))?;
    let failed = all.failures.iter().map(|failure| (failure.org.as_str(), failure.error.as_ref()));
    Ok(batch::report_failures(failed, output))
}

fn describe(all: &WhatIfResponse, meter: &str) -> View {
    let mut orgs: Vec<&str> = all.rows.iter().map(|row| row.org.as_str()).collect();
    orgs.dedup();
    let summary = format!("{} of {} orgs would have been denied since {}", orgs.len(), all.orgs, iso(all.from_ms));
    if all.rows.is_empty() {
        return summary.into();
    }
    let columns = [text("org"), text("limit"), text("first"), text("last"), number("for"), number("denied")];
    let rows = all.rows.iter().map(|row| {
        let limit = format!("{} {}", row.period, amount(meter, row.amount));
        let hours = span(u64::try_from(row.hours).unwrap_or(0).saturating_mul(MS_PER_HOUR));
        [row.org.clone(), limit, iso(row.first_ms), iso(row.last_ms), hours, amount(meter, row.denied)]
    });
    table(columns, rows).apart(summary)
}

const MS_PER_HOUR: Millis = 3_600_000;
