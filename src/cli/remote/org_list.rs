//! `tollgate org list` and `tollgate status --near`: orgs by name, or the first of all of them in
//! some order. The node reads, filters and sorts; what its pages have is put together here.

use crate::{
    cli::{
        Exit,
        args::{OrgListArgs, OrgStateArg},
        connect::Connection,
        failure::Failure,
        output::{Output, Tone, View, number, table, text, time},
    },
    domain::window::Millis,
    rpc::table,
    wire::{
        admin::v1::{ListOrgsRequest, ListOrgsResponse, OrgSort, OrgState, OrgSummary},
        answers,
        v1::Limit,
    },
};

use super::{batch, format::when, limit_view::usage_table, names::called, paging};

/// Rows per page; the node's maximum.
const PAGE: u32 = 1000;
/// Orgs that could not be read and that are named; more are only counted.
const FAILURES: usize = 1000;

pub(super) async fn list(
    connection: &Connection,
    args: &OrgListArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let all = collect(connection, asked(args), args.limit).await?;
    output.answer(&all, if args.names_only { names_table } else { orgs_table })?;
    paging::continuation(&all.next_page_token, output);
    Ok(report_failures(&all, output))
}

/// Limits of all orgs of which so much is taken.
pub(super) async fn near(
    connection: &Connection,
    (percent, limit): (u8, u32),
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let request =
        ListOrgsRequest { near_percent: percent.into(), sort: OrgSort::MostUsed.into(), ..ListOrgsRequest::default() };
    let all = collect(connection, request, limit).await?;
    output.answer(&all, near_table)?;
    if all.orgs.is_empty() {
        output.remark(&format!("no limit is used or reserved to {percent} %"));
    }
    Ok(report_failures(&all, output))
}

pub(in crate::cli) fn report_failures(all: &ListOrgsResponse, output: &mut Output<'_>) -> Exit {
    batch::report_failures(all.failures.iter().map(|failure| (failure.org.as_str(), failure.error.as_ref())), output)
}

fn asked(args: &OrgListArgs) -> ListOrgsRequest {
    let sort = if args.most_denied {
        OrgSort::MostDenied
    } else if args.most_used || args.near.is_some() {
        OrgSort::MostUsed
    } else {
        OrgSort::Unspecified
    };
    ListOrgsRequest {
        page_token: args.after.clone().unwrap_or_default(),
        numbers: !args.names_only,
        r#match: args.pattern.clone().unwrap_or_default(),
        plan: args.plan.clone().unwrap_or_default(),
        state: args.state.map_or(OrgState::Unspecified, state).into(),
        near_percent: args.near.map_or(0, i32::from),
        sort: sort.into(),
        ..ListOrgsRequest::default()
    }
}

fn state(arg: OrgStateArg) -> OrgState {
    match arg {
        OrgStateArg::Frozen => OrgState::Frozen,
        OrgStateArg::Blocked => OrgState::Blocked,
        OrgStateArg::Denied => OrgState::Denied,
        OrgStateArg::Near => OrgState::Near,
        OrgStateArg::Exempt => OrgState::Exempt,
        OrgStateArg::Overridden => OrgState::Overridden,
    }
}

/// As many rows as are wanted: without an order the first of the pages, with one the first of all
/// orgs, for which every page is read and no more than two pages more than what is wanted are held.
pub(in crate::cli) async fn collect(
    connection: &Connection,
    mut request: ListOrgsRequest,
    wanted: u32,
) -> Result<ListOrgsResponse, Failure> {
    let sort = OrgSort::try_from(request.sort).ok().filter(|sort| *sort != OrgSort::Unspecified);
    let most = usize::try_from(wanted).unwrap_or(usize::MAX);
    let mut all = ListOrgsResponse::default();
    loop {
        let held = if sort.is_some() { 0 } else { u32::try_from(all.orgs.len()).unwrap_or(wanted) };
        request.page_size = i32::try_from(wanted.saturating_sub(held).clamp(1, PAGE)).unwrap_or(i32::MAX);
        let page = connection.ask::<table::ListOrgs>(request.clone()).await?;
        all.orgs.extend(page.orgs);
        all.orgs_read = all.orgs_read.saturating_add(page.orgs_read);
        let room = FAILURES.saturating_sub(all.failures.len());
        all.failures.extend(page.failures.into_iter().take(room));
        if let Some(sort) = sort {
            // Of equals the one that came first.
            all.orgs.sort_by_key(|row| std::cmp::Reverse(answers::weight(row, sort)));
            all.orgs.truncate(most);
        }
        if page.next_page_token.is_empty() || (sort.is_none() && all.orgs.len() >= most) {
            return Ok(ListOrgsResponse { next_page_token: page.next_page_token, ..all });
        }
        if page.next_page_token == request.page_token {
            return Err(Failure::Incomplete("a page goes on where it began"));
        }
        request.page_token = page.next_page_token;
    }
}

fn names_table(all: &ListOrgsResponse, now: Millis) -> View {
    let columns = [text("org"), text("frozen").toned(Tone::of_state), number("commits").spare(1), time("last change")];
    let rows = all.orgs.iter().map(|org| {
        let frozen = if org.frozen { "frozen" } else { "" };
        [called(&org.name, &org.org), frozen.to_owned(), org.sequence.to_string(), when(now, org.last_change_at_ms)]
    });
    table(columns, rows)
}

fn orgs_table(all: &ListOrgsResponse, now: Millis) -> View {
    let columns = [
        text("org"),
        text("plan").spare(2),
        text("state").toned(Tone::of_note),
        number("used"),
        text("limit"),
        text("scope").spare(3),
        number("allowed today").spare(4),
        number("denied today"),
        time("last change").spare(1),
    ];
    let rows = all.orgs.iter().map(|org| {
        let (used, limit, scope) = fullest(org);
        let changed = if org.last_change_at_ms == 0 { String::new() } else { when(now, org.last_change_at_ms) };
        [
            called(&org.name, &org.org),
            org.plan.clone(),
            states(org),
            used,
            limit,
            scope,
            org.allowed_today.to_string(),
            org.denied_today.to_string(),
            changed,
        ]
    });
    table(columns, rows)
}

/// `93 %`, with the limit and its scope; empty where nothing is limited.
pub(in crate::cli) fn fullest(org: &OrgSummary) -> (String, String, String) {
    org.fullest.as_ref().map_or_else(Default::default, |limit| {
        (format!("{} %", org.used_percent), limit.texts.name.clone(), limit.scope.to_string())
    })
}

/// `frozen, denied`; a state of a newer node is its number.
pub(in crate::cli) fn states(org: &OrgSummary) -> String {
    let name = |state: &i32| match OrgState::try_from(*state) {
        Ok(state) => state.as_str_name().trim_start_matches("ORG_STATE_").to_ascii_lowercase(),
        Err(_) => format!("state {state}"),
    };
    org.states.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn near_table(all: &ListOrgsResponse, now: Millis) -> View {
    let of_orgs = all.orgs.iter().flat_map(|org| org.near.iter().map(|limit| (called(&org.name, &org.org), limit)));
    let mut limits: Vec<(String, &Limit)> = of_orgs.collect();
    limits.sort_by_key(|(_, limit)| std::cmp::Reverse(percent(limit)));
    // A list counts what is denied by org, not by limit.
    if limits.is_empty() {
        return View::default();
    }
    usage_table(limits.into_iter().map(|(org, limit)| (org, limit, 0)), now)
}

/// As the node counts it; of a limit with nothing to use, all.
fn percent(limit: &Limit) -> i128 {
    let usable = i128::from(limit.amount.saturating_sub(limit.buffer));
    let taken = i128::from(limit.used) + i128::from(limit.reserved);
    if usable <= 0 { 100 } else { taken.saturating_mul(100) / usable }
}
