//! `AdminService.Usage`: of one org by its owner, of all orgs a page at a time.

use std::pin::pin;

use futures_util::{StreamExt, stream};

use super::{
    Answer,
    serve::{ask_owner, item_error},
    table::Usage,
};
use crate::{
    domain::ids::OrgId,
    service::{Call, ListedOrg, OrgPage, Service, UsageAt, UsagePeriod, UsageQuery},
    wire::{
        admin::v1 as admin,
        answers,
        requests::{self, UsageAsk, UsageToken},
    },
};

/// Orgs that are listed for one page, and those that are asked at once: each answers a page at most.
const ORGS: usize = 256;
const ORGS_AT_ONCE: usize = 8;

pub(super) async fn usage(
    service: &Service,
    call: &Call,
    request: &mut admin::UsageRequest,
) -> Answer<admin::UsageResponse> {
    let ask = requests::usage(request, service.now())?;
    match &ask.org {
        Some(org) if !ask.goes_on_in(org) => {
            // The answers about another name of an org say its id.
            service.is_no_name(org, call).await?;
            Err(requests::of_another_org(&request.page_token).into())
        }
        Some(org) => of_one(service, call, org, &ask).await,
        None => of_all(service, call, &ask).await,
    }
}

fn answer(ask: &UsageAsk) -> admin::UsageResponse {
    admin::UsageResponse { from_ms: answers::int(ask.from), to_ms: answers::int(ask.to), ..Default::default() }
}

async fn of_one(service: &Service, call: &Call, org: &OrgId, ask: &UsageAsk) -> Answer<admin::UsageResponse> {
    let (after, skip) = ask.at.as_ref().and_then(|token| token.within.clone()).unwrap_or_default();
    let query = UsageQuery {
        from: ask.from,
        to: ask.to,
        by: if ask.by_month { UsagePeriod::Month } else { UsagePeriod::Day },
        scope: ask.scope.clone(),
        meter: ask.meter.clone(),
        by_plane: ask.by_plane,
        at: UsageAt { after, skip },
        max: ask.max,
    };
    let page = service.usage(org, &query, call).await?;
    let token = page.next.map(|UsageAt { after, skip }| UsageToken { org: org.clone(), within: Some((after, skip)) });
    let row = |line: crate::service::UsageLine| {
        answers::usage_row(org, (&line.scope, &line.meter, &line.plane), (line.start, line.end), line.amount)
    };
    Ok(admin::UsageResponse {
        rows: page.lines.into_iter().map(row).collect(),
        next_page_token: token.map(|token| token.text()).unwrap_or_default(),
        ..answer(ask)
    })
}

/// A page ends where it is full: in an org that has more rows than a page, and otherwise between two.
async fn of_all(service: &Service, call: &Call, ask: &UsageAsk) -> Answer<admin::UsageResponse> {
    let mut all = answer(ask);
    let mut behind = ask.at.as_ref().map(|token| token.org.clone());
    if let Some(UsageToken { org, within: Some(_) }) = &ask.at {
        let first = of_owner(service, call, org, ask, true).await;
        let next = first.as_ref().map(|page| page.next_page_token.clone()).unwrap_or_default();
        add(service, call, &mut all, org, first);
        if !next.is_empty() || all.rows.len() >= ask.max {
            all.next_page_token = if next.is_empty() { org.to_string() } else { next };
            return Ok(all);
        }
    }
    let OrgPage { orgs, next } = service.list(behind.as_ref(), ORGS, call).await?;
    let pages = stream::iter(orgs).map(|ListedOrg { org, .. }| async move {
        let page = of_owner(service, call, &org, ask, false).await;
        (org, page)
    });
    let mut pages = pin!(pages.buffered(ORGS_AT_ONCE));
    while let Some((org, page)) = pages.next().await {
        let rows = page.as_ref().map_or(0, |page| page.rows.len());
        if !all.rows.is_empty() && all.rows.len() + rows > ask.max {
            all.next_page_token = behind.map(|org| org.to_string()).unwrap_or_default();
            return Ok(all);
        }
        let next = page.as_ref().map(|page| page.next_page_token.clone()).unwrap_or_default();
        add(service, call, &mut all, &org, page);
        if !next.is_empty() {
            all.next_page_token = next;
            return Ok(all);
        }
        behind = Some(org);
    }
    all.next_page_token = next.map(|org| org.to_string()).unwrap_or_default();
    Ok(all)
}

/// One page of one org; `goes_on` where an earlier page has ended in it.
async fn of_owner(
    service: &Service,
    call: &Call,
    org: &OrgId,
    ask: &UsageAsk,
    goes_on: bool,
) -> Answer<admin::UsageResponse> {
    let at = ask.at.clone().filter(|_| goes_on);
    let ask = UsageAsk { org: Some(org.clone()), at, ..ask.clone() };
    let here = |call: Call| {
        let ask = &ask;
        async move { of_one(service, &call, org, ask).await }
    };
    ask_owner::<Usage, _>(service, call, org, &asked(org, &ask), here).await
}

/// The request that asks for the same of one org.
fn asked(org: &OrgId, ask: &UsageAsk) -> admin::UsageRequest {
    let by = if ask.by_month { admin::UsagePeriod::Month } else { admin::UsagePeriod::Day };
    admin::UsageRequest {
        org: org.to_string(),
        by: by.into(),
        from_ms: answers::int(ask.from),
        to_ms: answers::int(ask.to),
        scope: ask.scope.as_ref().map(|scope| scope.as_str().to_owned()),
        meter: ask.meter.as_ref().map(ToString::to_string).unwrap_or_default(),
        page_size: i32::try_from(ask.max).unwrap_or(i32::MAX),
        by_plane: ask.by_plane,
        page_token: ask.at.as_ref().map(UsageToken::text).unwrap_or_default(),
    }
}

/// An org that was forgotten since it was listed has nothing.
fn add(
    service: &Service,
    call: &Call,
    all: &mut admin::UsageResponse,
    org: &OrgId,
    page: Answer<admin::UsageResponse>,
) {
    match page {
        Ok(page) => all.rows.extend(page.rows),
        Err(error) if error.is_unknown_org() => {}
        Err(error) => {
            let error = Some(item_error(service, call, &error));
            all.failures.push(admin::UsageFailure { org: org.to_string(), error });
        }
    }
}
