//! `AdminService.ListOrgs`: names out of the store, and of each org what it says of itself, asked
//! of its owner.
//!
//! ```text
//! names      a page of the store, as it is
//! numbers    orgs in the order of the store, read until the page is full, or half of the time is over
//! sorted     the same, and of all that were read the first ones
//! ```

use std::{cmp::Reverse, pin::pin};

use futures_util::{StreamExt, stream};

use super::{
    Answer,
    serve::{ask_owner, item_error},
    table::ListOrgs,
};
use crate::{
    domain::{command::GetOverview, ids::OrgId},
    error::ServiceError,
    service::{Call, Deadline, ListedOrg, OrgPage, Service},
    wire::{
        admin::v1 as admin,
        answers,
        requests::{self, OrgsAsk},
    },
};

/// Orgs that are listed at a time, and those that are asked at once.
const LISTED: usize = 256;
const ORGS_AT_ONCE: usize = 16;
/// Orgs that one answer reads, also where they are not in memory: some hundred microseconds each. The longest page holds
/// all of them, so that who asks for a thousand in an order leaves none out.
const ORGS_READ: usize = 1_000;
/// Limits of one org that are shown as near: 300 bytes each, of at most a thousand orgs.
const NEAR_LIMITS: usize = 20;

pub(super) async fn list_orgs(
    service: &Service,
    call: &Call,
    request: &mut admin::ListOrgsRequest,
) -> Answer<admin::ListOrgsResponse> {
    let ask = requests::list_orgs(request)?;
    match &ask.org {
        Some(org) => of_one(service, call, org, &ask).await,
        None if ask.numbers => Reading::begin(service, call, &ask).all().await,
        None => names(service, call, &ask).await,
    }
}

/// Whether a list is about an org, by any of its names. Who may reach one of them may reach the org.
fn is_listed(call: &Call, ask: &OrgsAsk, listed: &ListedOrg) -> bool {
    let is_asked = |name: &OrgId| ask.name.as_ref().is_none_or(|asked| asked.covers(name.as_str()));
    listed.reached_as(&call.caller).is_some() && listed.all_names().any(is_asked)
}

/// A page of a caller that may reach some orgs only, or that asks for some names, has fewer, or
/// none, and the next one still follows.
async fn names(service: &Service, call: &Call, ask: &OrgsAsk) -> Answer<admin::ListOrgsResponse> {
    let OrgPage { mut orgs, next } = service.list(ask.after.as_ref(), ask.max, call).await?;
    orgs.retain(|listed| is_listed(call, ask, listed));
    Ok(admin::ListOrgsResponse {
        orgs: orgs.iter().map(|listed| answers::summary(&listed.org, &listed.head, listed.name())).collect(),
        next_page_token: next.map(|org| org.to_string()).unwrap_or_default(),
        ..admin::ListOrgsResponse::default()
    })
}

/// What this node, which owns the org, knows of it: one row, or none where nothing is kept.
async fn of_one(service: &Service, call: &Call, org: &OrgId, ask: &OrgsAsk) -> Answer<admin::ListOrgsResponse> {
    let limits = if ask.near_percent > 0 { NEAR_LIMITS } else { 1 };
    let known = service.ask(org, GetOverview { from_percent: ask.near_percent, limits }, call).await?;
    let row = known.map(|overview| answers::overview(org, &overview, ask.near_percent));
    Ok(admin::ListOrgsResponse {
        orgs_read: answers::size(row.iter().len()),
        orgs: row.into_iter().collect(),
        ..admin::ListOrgsResponse::default()
    })
}

/// An answer that is being read.
struct Reading<'a> {
    service: &'a Service,
    /// With less time, so that what could not be read is answered and not waited for.
    call: Call,
    ask: &'a OrgsAsk,
    /// What one org is asked.
    one: admin::ListOrgsRequest,
    page: admin::ListOrgsResponse,
    /// Orgs that were asked, whatever they answered.
    asked: usize,
}

impl<'a> Reading<'a> {
    fn begin(service: &'a Service, call: &Call, ask: &'a OrgsAsk) -> Self {
        let within = call.deadline.left() / 4 * 3;
        let call = Call { deadline: Deadline::new(Some(within), u32::MAX), ..call.clone() };
        let near_percent = i32::try_from(ask.near_percent).unwrap_or(i32::MAX);
        let one = admin::ListOrgsRequest { near_percent, ..admin::ListOrgsRequest::default() };
        Self { service, call, ask, one, page: admin::ListOrgsResponse::default(), asked: 0 }
    }

    async fn all(mut self) -> Answer<admin::ListOrgsResponse> {
        let until_ms = self.call.deadline.left() / 3 * 2;
        let mut behind = self.ask.after.clone();
        loop {
            let OrgPage { orgs, next } = self.service.list(behind.as_ref(), LISTED, &self.call).await?;
            let end = orgs.last().map(|listed| listed.org.clone());
            let is_over = |reading: &Self| {
                reading.is_full() || reading.asked >= ORGS_READ || reading.call.deadline.elapsed() >= until_ms
            };
            if let Some(last) = self.read(orgs, is_over).await {
                // Where that was the last of all there is nothing behind it.
                let is_end = next.is_none() && Some(&last) == end.as_ref();
                return Ok(self.ended(Some(last).filter(|_| !is_end)));
            }
            if next.is_none() {
                return Ok(self.ended(None));
            }
            behind = next;
            if is_over(&self) {
                return Ok(self.ended(behind));
            }
        }
    }

    /// Asks these orgs; answers the last one that was asked where the page ends with it.
    async fn read(&mut self, listed: Vec<ListedOrg>, is_over: impl Fn(&Self) -> bool) -> Option<OrgId> {
        let (service, call, one) = (self.service, self.call.clone(), self.one.clone());
        let ask = self.ask;
        let wanted = listed.into_iter().filter(|listed| is_listed(&call, ask, listed));
        let answers = stream::iter(wanted).map(|listed| {
            let (call, one) = (&call, &one);
            async move {
                let call = Call { said: listed.reached_as(&call.caller), ..call.clone() };
                let row = of_owner(service, &call, &listed.org, one, ask).await;
                (listed, row)
            }
        });
        let mut answers = pin!(answers.buffered(ORGS_AT_ONCE));
        while let Some((listed, row)) = answers.next().await {
            self.add(&listed, row);
            if is_over(self) {
                return Some(listed.org);
            }
        }
        None
    }

    fn is_full(&self) -> bool {
        self.ask.sort.is_none() && self.page.orgs.len() >= self.ask.max
    }

    fn add(&mut self, listed: &ListedOrg, row: Answer<Option<admin::OrgSummary>>) {
        let ListedOrg { org, head, .. } = listed;
        self.asked += 1;
        match row {
            // It was forgotten, or became another name of an org, since it was listed.
            Ok(None) | Err(ServiceError::LeadsTo(_)) => {}
            Ok(Some(row)) => {
                self.page.orgs_read += 1;
                if self.is_wanted(&row) {
                    let named = answers::summary(org, head, None);
                    let admin::OrgSummary { sequence, last_change_at_ms, .. } = named;
                    self.page.orgs.push(admin::OrgSummary { sequence, last_change_at_ms, ..row });
                }
            }
            Err(error) => {
                let error = Some(item_error(self.service, &self.call, &error));
                self.page.failures.push(admin::OrgFailure { org: org.to_string(), error });
            }
        }
        // No more are held than twice what is answered.
        if self.page.orgs.len() > self.ask.max.saturating_mul(2) {
            self.keep_first();
        }
    }

    fn is_wanted(&self, row: &admin::OrgSummary) -> bool {
        let OrgsAsk { plan, state, near_percent, .. } = self.ask;
        (plan.is_empty() || row.plan == *plan)
            && state.is_none_or(|state| row.states.contains(&state.into()))
            && (*near_percent == 0 || !row.near.is_empty())
    }

    /// Of rows that are alike, those that come first in the store.
    fn keep_first(&mut self) {
        if let Some(sort) = self.ask.sort {
            self.page.orgs.sort_by_key(|row| Reverse(answers::weight(row, sort)));
        }
        self.page.orgs.truncate(self.ask.max);
    }

    fn ended(mut self, behind: Option<OrgId>) -> admin::ListOrgsResponse {
        self.keep_first();
        self.page.next_page_token = behind.map(|org| org.to_string()).unwrap_or_default();
        self.page
    }
}

/// The row of one org, by its owner.
async fn of_owner(
    service: &Service,
    call: &Call,
    org: &OrgId,
    one: &admin::ListOrgsRequest,
    ask: &OrgsAsk,
) -> Answer<Option<admin::OrgSummary>> {
    let one = admin::ListOrgsRequest { org: org.to_string(), ..one.clone() };
    let here = |call: Call| async move { of_one(service, &call, org, ask).await };
    let answer = ask_owner::<ListOrgs, _>(service, call, org, &one, here).await?;
    // A node that does not know the field `org` lists all of them.
    if answer.orgs.iter().any(|row| row.org != org.as_str()) {
        return Err(ServiceError::Bug);
    }
    Ok(answer.orgs.into_iter().next())
}
