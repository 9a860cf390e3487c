//! What operators ask and write.

use super::{
    Meaning, Parsed,
    control::{end, ends},
    optional, org, page_size, reason, required_id,
};
use crate::{
    domain::{
        command::{Freeze, ListOutbox, ReplayOutbox, Unfreeze},
        ids::{OrgId, RequestId},
        outbox::OutboxKey,
    },
    wire::admin::v1 as admin,
};

/// The reason may be empty, at most 256 bytes; the request id may not be empty.
pub fn freeze(request: &admin::FreezeRequest) -> Parsed<(OrgId, Freeze)> {
    let reason = reason(&request.reason)?;
    let end = end(request.for_ms, request.until_ms)?;
    let meaning = Meaning::default().text(3, reason.as_str()).added(4, |meaning| ends(meaning, (4, 5), end));
    let idempotency = required_id(&request.request_id, &meaning)?;
    Ok((org(&request.org)?, Freeze { reason, end, idempotency }))
}

/// The request id may not be empty.
pub fn unfreeze(request: &admin::UnfreezeRequest) -> Parsed<(OrgId, Unfreeze)> {
    let idempotency = required_id(&request.request_id, &Meaning::default())?;
    Ok((org(&request.org)?, Unfreeze { idempotency }))
}

/// A replay happens once for every time it is asked for; the id only has to be well formed.
pub fn replay_exports(request: &admin::ReplayExportsRequest) -> Parsed<(OrgId, ReplayOutbox)> {
    RequestId::parse("request_id", &request.request_id)?;
    let key = optional(&request.key, |text| OutboxKey::parse("key", text))?;
    Ok((org(&request.org)?, ReplayOutbox { key }))
}

/// Which rows of the outbox.
pub fn exports_page(request: &admin::ListExportsRequest) -> Parsed<(OrgId, ListOutbox)> {
    let after = optional(&request.page_token, |text| OutboxKey::parse("page_token", text))?;
    let (max, set_aside) = (page_size(request.page_size)?, request.set_aside);
    Ok((org(&request.org)?, ListOutbox { after, max, set_aside }))
}

/// One org, or all of them a page at a time.
pub fn audit(request: &admin::AuditRequest) -> Parsed<(Option<OrgId>, usize, Option<OrgId>)> {
    let one = optional(&request.org, org)?;
    let after = optional(&request.page_token, |text| OrgId::parse("page_token", text))?;
    Ok((one, page_size(request.page_size)?, after))
}
