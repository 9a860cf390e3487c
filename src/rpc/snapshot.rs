//! `AdminService.Snapshot`: of one org by its owner, of all orgs a page at a time.

use std::{pin::pin, sync::Arc};

use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};

use super::{Answer, serve::ask_owner, table::Snapshot};
use crate::{
    domain::{ids::OrgId, lease::LeaseTime, service_time::ClockMark},
    error::ServiceError,
    service::{Call, Service, SnapshotAt},
    wire::{
        admin::v1 as admin,
        answers,
        requests::{self, SnapshotClocks, SnapshotToken},
    },
};

/// A page ends before the org that would make it longer, and with the org that makes it as long.
const PAGE_BYTES: usize = 1 << 20;
/// Orgs that are listed for one page, and those that are asked at once.
const ORGS: usize = 256;
const ORGS_AT_ONCE: usize = 8;
/// A page ends where less than this part of the call's time is left: half of it.
const TIME_PARTS: u32 = 2;

pub(super) async fn snapshot(
    service: &Service,
    call: &Call,
    request: &mut admin::SnapshotRequest,
) -> Answer<admin::SnapshotResponse> {
    let ask = requests::snapshot(request)?;
    let page = match &ask.org {
        Some(org) => {
            if !ask.by_id {
                service.is_no_name(org, call).await?;
            }
            if !ask.goes_on_in(org) {
                return Err(requests::of_another_org(&request.page_token).into());
            }
            of_one(service, call, org, ask.at.and_then(|at| at.within), ask.whole).await?
        }
        None => Page::default().of_all(service, call, ask.at).await?,
    };
    Ok(admin::SnapshotResponse { sha256: Sha256::digest(&page.lines).to_vec(), ..page })
}

async fn of_one(
    service: &Service,
    call: &Call,
    org: &OrgId,
    within: Option<(u64, u64)>,
    whole: bool,
) -> Answer<admin::SnapshotResponse> {
    let at = within.map(|(id, piece)| SnapshotAt { id, piece });
    let piece = service.snapshot(org, at, whole, call).await?;
    if piece.lines == 0 && piece.next.is_none() && at.is_none() {
        return Err(ServiceError::UnknownOrg(org.clone()));
    }
    let now = service.clocks_of(org);
    let within = piece.next.map(|SnapshotAt { id, piece }| (id, piece));
    let token = |within| SnapshotToken { clocks: SnapshotClocks::default(), org: org.clone(), within };
    let mark = ClockMark { service: now.service, lease: now.lease, absent: now.absent, ..service.clock().mark() };
    Ok(admin::SnapshotResponse {
        lines: Arc::unwrap_or_clone(piece.text),
        line_count: answers::int(piece.lines),
        org_continues: within.is_some(),
        next_page_token: within.map(|within| token(Some(within)).text()).unwrap_or_default(),
        first_line: if within.is_some() { Vec::new() } else { service.first_line(&mark)? },
        service_ms: answers::int(now.service),
        lease_ms: answers::int(now.lease.0),
        absent_ms: answers::int(now.absent),
        ..Default::default()
    })
}

/// An answer about all orgs on its way.
#[derive(Default)]
struct Page {
    answer: admin::SnapshotResponse,
    clocks: SnapshotClocks,
    behind: Option<OrgId>,
}

impl Page {
    /// Orgs that fit into one answer come together; one that does not has answers of its own.
    async fn of_all(
        mut self,
        service: &Service,
        call: &Call,
        at: Option<SnapshotToken>,
    ) -> Answer<admin::SnapshotResponse> {
        if let Some(SnapshotToken { clocks, org, within }) = at {
            self.clocks = clocks;
            if within.is_some() {
                return self.of_large(service, call, org, within).await;
            }
            self.behind = Some(org);
        }
        let orgs = service.list_ids(self.behind.as_ref(), ORGS, call).await?;
        let is_last = orgs.len() < ORGS;
        let until = call.deadline.left() / TIME_PARTS;
        let asked = stream::iter(orgs).map(|(org, _)| async move {
            let piece = of_owner(service, call, &org, None, true).await;
            (org, piece)
        });
        let mut asked = pin!(asked.buffered(ORGS_AT_ONCE));
        let mut is_some = false;
        while let Some((org, piece)) = asked.next().await {
            let piece = match piece {
                // It was forgotten or purged since it was listed.
                Err(error) if error.is_unknown_org() => None,
                piece => Some(piece.inspect_err(|error| unread(&org, error))?),
            };
            let is_large = piece.as_ref().is_some_and(|piece| piece.org_continues);
            if is_large && self.answer.lines.is_empty() {
                return self.of_large(service, call, org, None).await;
            }
            let more = piece.as_ref().map_or(0, |piece| piece.lines.len());
            let is_full = !self.answer.lines.is_empty() && self.answer.lines.len() + more > PAGE_BYTES;
            let is_late = is_some && call.deadline.left() < until;
            if is_large || is_full || is_late {
                return Ok(self.goes_on(None));
            }
            if let Some(piece) = piece {
                self.add(service, piece);
            }
            (self.behind, is_some) = (Some(org), true);
        }
        if is_last { self.end(service) } else { Ok(self.goes_on(None)) }
    }

    /// An org that does not fit into one answer, from its start or from where it went on.
    async fn of_large(
        mut self,
        service: &Service,
        call: &Call,
        org: OrgId,
        within: Option<(u64, u64)>,
    ) -> Answer<admin::SnapshotResponse> {
        let piece = match of_owner(service, call, &org, within, false).await {
            // It was purged since it was found to be large, and nothing of it was read.
            Err(error) if error.is_unknown_org() && within.is_none() => {
                self.behind = Some(org);
                return Ok(self.goes_on(None));
            }
            piece => piece.inspect_err(|error| unread(&org, error))?,
        };
        let token = requests::snapshot(&asked(&org, piece.next_page_token.clone(), false))?.at;
        self.add(service, piece);
        self.behind = Some(org);
        Ok(self.goes_on(token.and_then(|token| token.within)))
    }

    fn add(&mut self, service: &Service, piece: admin::SnapshotResponse) {
        self.answer.lines.extend(piece.lines);
        self.answer.line_count = self.answer.line_count.saturating_add(piece.line_count);
        let lease = piece.lease_ms.saturating_sub(answers::int(service.clock().read().lease.0));
        let millis = |millis: i64| u64::try_from(millis).unwrap_or(0);
        self.clocks = self.clocks.and(lease, millis(piece.absent_ms), millis(piece.service_ms));
    }

    /// In the org behind which it is, or behind it.
    fn goes_on(mut self, within: Option<(u64, u64)>) -> admin::SnapshotResponse {
        let token = self.behind.map(|org| SnapshotToken { clocks: self.clocks, org, within });
        self.answer.org_continues = within.is_some();
        self.answer.next_page_token = token.map(|token| token.text()).unwrap_or_default();
        self.answer
    }

    /// Every row has been read by now. A node that is alone has the clocks of all orgs.
    fn end(mut self, service: &Service) -> Answer<admin::SnapshotResponse> {
        let mut mark = service.clock().mark();
        if !service.table().is_alone() {
            let now = service.clock().read();
            mark = ClockMark {
                service: now.service.max(self.clocks.service),
                lease: LeaseTime(now.lease.0.saturating_add_signed(self.clocks.lease.unwrap_or(0))),
                absent: self.clocks.absent,
                ..ClockMark::default()
            };
        }
        self.answer.first_line = service.first_line(&mark)?;
        (self.answer.service_ms, self.answer.lease_ms) = (answers::int(mark.service), answers::int(mark.lease.0));
        self.answer.absent_ms = answers::int(mark.absent);
        Ok(self.answer)
    }
}

/// The caller gets the error of one org for all of them; which one it is says the log.
fn unread(org: &OrgId, error: &ServiceError) {
    tracing::warn!(%org, ?error, "a snapshot ends, because an org was not read");
}

async fn of_owner(
    service: &Service,
    call: &Call,
    org: &OrgId,
    within: Option<(u64, u64)>,
    whole: bool,
) -> Answer<admin::SnapshotResponse> {
    let here = |call: Call| async move { of_one(service, &call, org, within, whole).await };
    let token = within.map(|within| SnapshotToken {
        clocks: SnapshotClocks::default(),
        org: org.clone(),
        within: Some(within),
    });
    let request = asked(org, token.map(|token| token.text()).unwrap_or_default(), whole);
    ask_owner::<Snapshot, _>(service, call, org, &request, here).await
}

/// The request that asks for one org.
fn asked(org: &OrgId, page_token: String, whole: bool) -> admin::SnapshotRequest {
    admin::SnapshotRequest { org: org.to_string(), page_token, whole, by_id: true }
}
