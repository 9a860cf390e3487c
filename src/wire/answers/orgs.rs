//! Orgs as lines of a list.

use super::{int, limit, names::name};
use crate::{
    bounds::NEAR_PERCENT,
    domain::{ids::OrgId, reply::Overview, rows::Head},
    wire::admin::v1 as admin,
};

/// A line without numbers, of a row of the store and of what the org is called where that is not its id.
pub fn summary(org: &OrgId, head: &Head, shown: Option<&OrgId>) -> admin::OrgSummary {
    admin::OrgSummary {
        name: name(shown),
        org: org.to_string(),
        frozen: head.frozen.is_some(),
        sequence: int(head.seq),
        last_change_at_ms: int(head.last_at),
        ..admin::OrgSummary::default()
    }
}

/// What rows are sorted by, the greatest first: in one page, and where pages are put together.
pub fn weight(row: &admin::OrgSummary, sort: admin::OrgSort) -> i64 {
    match sort {
        admin::OrgSort::Unspecified => 0,
        admin::OrgSort::MostDenied => row.denied_today,
        admin::OrgSort::MostUsed => row.used_percent,
        admin::OrgSort::MostCalls => row.allowed_today.saturating_add(row.denied_today),
        admin::OrgSort::MostFailedOpen => row.failed_open_today,
    }
}

/// What the org says of itself. From `near_percent` on its limits are near; 0 = none of them is
/// shown as such.
pub fn overview(org: &OrgId, overview: &Overview, near_percent: u64) -> admin::OrgSummary {
    let full = |percent: u64| near_percent > 0 && percent >= near_percent;
    let near = overview.fullest.iter().filter(|(_, percent)| full(*percent));
    let fullest = overview.fullest.first();
    admin::OrgSummary {
        org: org.to_string(),
        name: name(overview.name.as_ref()),
        frozen: overview.frozen,
        plan: overview.plan.clone(),
        states: states(overview).map(i32::from).collect(),
        fullest: fullest.map(|(view, _)| limit(view, overview.at)),
        used_percent: fullest.map_or(0, |(_, percent)| int(*percent)),
        allowed_today: int(overview.today.allowed),
        denied_today: int(overview.today.denied),
        failed_open_today: int(overview.today.failed_open),
        near: near.map(|(view, _)| limit(view, overview.at)).collect(),
        admitted_total: int(overview.admitted_total),
        ..admin::OrgSummary::default()
    }
}

fn states(overview: &Overview) -> impl Iterator<Item = admin::OrgState> {
    let is_near = overview.fullest.first().is_some_and(|(_, percent)| *percent >= NEAR_PERCENT);
    let all = [
        (overview.frozen, admin::OrgState::Frozen),
        (overview.blocked, admin::OrgState::Blocked),
        (overview.denied, admin::OrgState::Denied),
        (is_near, admin::OrgState::Near),
        (overview.exempt, admin::OrgState::Exempt),
        (overview.overridden, admin::OrgState::Overridden),
    ];
    all.into_iter().filter_map(|(is_so, state)| is_so.then_some(state))
}
