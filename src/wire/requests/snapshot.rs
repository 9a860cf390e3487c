//! What is asked for a snapshot.

use super::{Parsed, of_another_org, optional, org};
use crate::{
    domain::{ids::OrgId, input::InputError, window::Millis},
    wire::admin::v1 as admin,
};

/// Which lines are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotAsk {
    /// `None` = of all orgs.
    pub org: Option<OrgId>,
    /// Only if the org fits into one answer.
    pub whole: bool,
    /// The rows of the id itself, also where it is another name of an org.
    pub by_id: bool,
    /// Where to go on; `None` = from the first.
    pub at: Option<SnapshotToken>,
}

/// Where a snapshot goes on: in or behind an org.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotToken {
    /// What is known of the clocks of the shards that were read.
    pub clocks: SnapshotClocks,
    /// In this org, or behind it.
    pub org: OrgId,
    /// The number of its commit, and that of the piece; `None` = behind the org.
    pub within: Option<(u64, u64)>,
}

/// How the clocks of shards stand to those of the node that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotClocks {
    /// The least that is added to the node's lease time, in milliseconds; `None` = nothing was read.
    pub lease: Option<i64>,
    /// The longest absence, in milliseconds.
    pub absent: Millis,
    /// The latest service time.
    pub service: Millis,
}

impl SnapshotClocks {
    /// With those of one more shard: the earliest lease time, so that no lease ends early by it.
    #[must_use]
    pub fn and(self, lease: i64, absent: Millis, service: Millis) -> Self {
        let lease = Some(self.lease.map_or(lease, |earliest| earliest.min(lease)));
        Self { lease, absent: self.absent.max(absent), service: self.service.max(service) }
    }
}

/// One org, or all of them a page at a time.
pub fn snapshot(request: &admin::SnapshotRequest) -> Parsed<SnapshotAsk> {
    let one = optional(&request.org, org)?;
    let at = optional(&request.page_token, token)?;
    if one.is_some() && at.as_ref().is_some_and(|at| at.within.is_none()) {
        return Err(of_another_org(&request.page_token));
    }
    if request.by_id && one.is_none() {
        return Err(InputError::new("by_id", request.by_id, "false, unless an org is named"));
    }
    if request.whole && (one.is_none() || at.is_some()) {
        return Err(InputError::new("whole", request.whole, "false, unless an org is named and begun"));
    }
    Ok(SnapshotAsk { org: one, whole: request.whole, by_id: request.by_id, at })
}

impl SnapshotAsk {
    /// Whether an earlier answer, if there was one, was about this org.
    pub fn goes_on_in(&self, org: &OrgId) -> bool {
        self.at.as_ref().is_none_or(|at| at.org == *org)
    }
}

impl SnapshotToken {
    /// Numbers, and the name of an org, which has no spaces.
    pub fn text(&self) -> String {
        let Self { clocks: SnapshotClocks { lease, absent, service }, org, within } = self;
        let lease = lease.map(|lease| lease.to_string()).unwrap_or_else(|| "-".to_owned());
        let within = within.map(|(id, piece)| format!(" {id} {piece}")).unwrap_or_default();
        format!("{lease} {absent} {service} {org}{within}")
    }
}

fn token(text: &str) -> Parsed<SnapshotToken> {
    let refused = || InputError::new("page_token", text, "next_page_token of an answer");
    let parts: Vec<&str> = text.split(' ').collect();
    let (first, within) = match *parts.as_slice() {
        [lease, absent, service, org] => ([lease, absent, service, org], None),
        [lease, absent, service, org, id, piece] => ([lease, absent, service, org], Some((id, piece))),
        _ => return Err(refused()),
    };
    let number = |text: &str| text.parse::<u64>().map_err(|_| refused());
    let [lease, absent, service, org] = first;
    let lease = if lease == "-" { None } else { Some(lease.parse::<i64>().map_err(|_| refused())?) };
    let clocks = SnapshotClocks { lease, absent: number(absent)?, service: number(service)? };
    let within = within.map(|(id, piece)| Ok((number(id)?, number(piece)?))).transpose()?;
    Ok(SnapshotToken { clocks, org: OrgId::parse("page_token", org)?, within })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(org: &str, page_token: &str, whole: bool) -> Parsed<SnapshotAsk> {
        snapshot(&admin::SnapshotRequest { org: org.into(), page_token: page_token.into(), whole, by_id: false })
    }

    #[test]
    fn a_token_reads_back_and_what_is_none_is_refused_by_name() {
        let org = OrgId::parse("org", "acme").unwrap();
        for clocks in [SnapshotClocks::default(), SnapshotClocks::default().and(-5, 7, 9).and(3, 1, 11)] {
            for within in [None, Some((u64::MAX, 0))] {
                let token = SnapshotToken { clocks, org: org.clone(), within };
                assert_eq!(asked("", &token.text(), false).unwrap().at, Some(token));
            }
        }
        for text in ["acme", "0 0 0", "x 0 0 acme", "- 0 -1 acme", "- 0 0 acme 1", "- 0 0 acme 1 x", "- 0 0 acme 1 2 3"]
        {
            assert_eq!(asked("", text, false).unwrap_err().field, "page_token", "{text}");
        }
    }

    #[test]
    fn a_token_of_another_org_or_of_all_orgs_is_refused_where_one_is_named() {
        assert_eq!(asked("acme", "- 0 0 acme", false).unwrap_err().field, "page_token");
        let acme = OrgId::parse("org", "acme").unwrap();
        for (text, expected) in [("", true), ("- 0 0 acme 1 1", true), ("- 0 0 other 1 1", false)] {
            assert_eq!(asked("acme", text, false).unwrap().goes_on_in(&acme), expected, "{text}");
        }
        for (org, token) in [("", ""), ("acme", "- 0 0 acme 1 1")] {
            assert_eq!(asked(org, token, true).unwrap_err().field, "whole");
        }
        assert!(asked("acme", "", true).unwrap().whole);
    }

    #[test]
    fn the_earliest_lease_time_counts() {
        let clocks = SnapshotClocks::default().and(4, 1, 10).and(-2, 0, 12).and(0, 3, 11);
        assert_eq!(clocks, SnapshotClocks { lease: Some(-2), absent: 3, service: 12 });
    }
}
