//! `AdminService.WhatIf`: of one org by its owner, of all orgs a page at a time.

use std::pin::pin;

use futures_util::{StreamExt, stream};

use super::{
    Answer,
    serve::{ask_owner, item_error},
    table::WhatIf,
};
use crate::{
    domain::ids::OrgId,
    service::{Call, ListedOrg, OrgPage, Service},
    wire::{
        admin::v1 as admin,
        answers,
        requests::{self, WhatIfAsk},
    },
};

/// Orgs that are asked at once.
const AT_ONCE: usize = 16;

pub(super) async fn what_if(
    service: &Service,
    call: &Call,
    request: &mut admin::WhatIfRequest,
) -> Answer<admin::WhatIfResponse> {
    let ask = requests::what_if(request, service.now())?;
    if let Some(org) = &ask.org {
        return of_one(service, call, org, &ask, request).await;
    }
    let OrgPage { orgs, next } = service.list(ask.after.as_ref(), ask.max, call).await?;
    let next = next.map(|org| org.to_string());
    let request = &*request;
    let answered = stream::iter(orgs).map(|ListedOrg { org, .. }| {
        let ask = &ask;
        async move {
            let one = admin::WhatIfRequest { org: org.to_string(), page_token: String::new(), ..request.clone() };
            let here = |call: Call| async { of_one(service, &{ call }, &org, ask, request).await };
            let answer = ask_owner::<WhatIf, _>(service, call, &org, &one, here).await;
            (org, answer)
        }
    });
    let mut answered = pin!(answered.buffered(AT_ONCE));
    let mut all = admin::WhatIfResponse { next_page_token: next.unwrap_or_default(), ..begun(service, &ask) };
    while let Some((org, answer)) = answered.next().await {
        match answer {
            Ok(one) => {
                all.orgs += one.orgs;
                all.rows.extend(one.rows);
            }
            // It was forgotten since it was listed.
            Err(error) if error.is_unknown_org() => {}
            Err(error) => {
                let error = Some(item_error(service, call, &error));
                all.failures.push(admin::WhatIfFailure { org: org.to_string(), error });
            }
        }
    }
    Ok(all)
}

fn begun(service: &Service, ask: &WhatIfAsk) -> admin::WhatIfResponse {
    let (from_ms, to_ms) = (answers::int(ask.ask.from), answers::int(service.now()));
    admin::WhatIfResponse { from_ms, to_ms, ..admin::WhatIfResponse::default() }
}

async fn of_one(
    service: &Service,
    call: &Call,
    org: &OrgId,
    ask: &WhatIfAsk,
    request: &admin::WhatIfRequest,
) -> Answer<admin::WhatIfResponse> {
    let mut answer = begun(service, ask);
    let Some(tried) = service.what_if(org, &ask.plan, ask.ask.clone(), call).await? else { return Ok(answer) };
    answer.orgs = 1;
    let rows = request.limits.iter().zip(tried).filter_map(|(limit, denied)| {
        let denied = denied?;
        Some(admin::WhatIfRow {
            org: org.to_string(),
            period: limit.period.clone(),
            amount: limit.amount,
            first_ms: answers::int(denied.first),
            last_ms: answers::int(denied.last),
            hours: answers::int(denied.hours),
            denied: answers::int(denied.amount),
        })
    });
    answer.rows = rows.collect();
    Ok(answer)
}
