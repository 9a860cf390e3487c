//! Names of orgs: renamed, claimed, and freed with a purge.

use super::{Meaning, Parsed, optional, org, reason, required_id};
use crate::{
    domain::{
        command::{ClaimName, FreeName, Rename},
        ids::{OrgId, RequestId},
    },
    wire::admin::v1 as admin,
};

/// What is asked of an org, or of what is to be its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenameAsk {
    /// The org gets a name.
    Rename(Box<Rename>),
    /// This is to be a name, for another node.
    Claim(ClaimName),
}

/// What is asked of an org, or of what was its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeAsk {
    /// The org goes.
    Purge(RequestId),
    /// This is a name no more, for another node.
    Free(FreeName),
}

/// Another name of an org, under a request id.
pub fn rename(request: &admin::RenameOrgRequest) -> Parsed<(OrgId, RenameAsk)> {
    let to = OrgId::parse("to", &request.to)?;
    let reason = reason(&request.reason)?;
    let idempotency = required_id(&request.request_id, &Meaning::default().text(2, to.as_str()))?;
    let ask = match optional(&request.claim_for, |text| OrgId::parse("claim_for", text))? {
        Some(of) => RenameAsk::Claim(ClaimName { of }),
        None => RenameAsk::Rename(Box::new(Rename { to, reason, idempotency })),
    };
    Ok((org(&request.org)?, ask))
}

/// An org that goes with all of its names. The id only has to be well formed.
pub fn purge(request: &admin::PurgeOrgRequest) -> Parsed<(OrgId, PurgeAsk)> {
    let request_id = RequestId::parse("request_id", &request.request_id)?;
    let ask = match optional(&request.name_of, |text| OrgId::parse("name_of", text))? {
        Some(of) => PurgeAsk::Free(FreeName { of }),
        None => PurgeAsk::Purge(request_id),
    };
    Ok((org(&request.org)?, ask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_named_with_what_is_allowed() {
        type Change = fn(&mut admin::RenameOrgRequest);
        for (change, field) in [
            ((|r| r.to = String::new()) as Change, "to"),
            (|r| r.to = "a b".into(), "to"),
            (|r| r.org = String::new(), "org"),
            (|r| r.request_id = String::new(), "request_id"),
            (|r| r.reason = "x".repeat(257), "reason"),
            (|r| r.claim_for = "a b".into(), "claim_for"),
        ] {
            let mut request = admin::RenameOrgRequest {
                org: "acme".into(),
                to: "acme-corp".into(),
                request_id: "r".into(),
                ..Default::default()
            };
            assert!(matches!(rename(&request), Ok((_, RenameAsk::Rename(_)))));
            change(&mut request);
            let error = rename(&request).unwrap_err();
            assert_eq!(error.field, field, "{error}");
        }
    }
}
