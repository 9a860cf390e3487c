//! The values that arguments take: from the node, from the file of contexts, and those that are known here.

use std::time::Duration;

use tokio::{
    runtime,
    time::{Instant, timeout},
};

use crate::{
    cli::{args::GlobalArgs, connect::Connection, context, failure::Failure, output::Surroundings},
    domain::{rows::OverrideSubject, window::PERIODS},
    rpc::table,
    wire::admin::v1::{GetClusterRequest, GetNodeRequest, GetOrgRequest, GetOrgResponse, ListOrgsRequest},
};

/// What somebody who types waits at most for the node.
const WAIT: Duration = Duration::from_secs(1);
/// Orgs of one page: the most that a node gives.
const PAGE: i32 = 1_000;
/// Orgs from which on no further page is read: nobody reads so many names.
const ORGS_MAX: usize = 1_000;
/// Limits that an org may have without a name of its own.
const LIMITS: [&str; 3] = ["rate", "sessions", "balance"];

/// What an argument names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Org,
    Scope,
    Pool,
    Session,
    Reservation,
    Plan,
    Node,
    Context,
    /// `daily=`, with the amount to follow.
    PeriodIs,
    /// `rate=`, `budget/daily=`.
    LimitIs,
    Limit,
}

impl Kind {
    /// By the names of the command and the id of the argument.
    pub(super) fn of(command: &str, argument: &str) -> Option<Self> {
        match (command, argument) {
            (_, "context") | ("context use" | "context show" | "context remove", "name") => Some(Self::Context),
            ("budget set", "limits") | ("plan", "limit") => Some(Self::PeriodIs),
            ("org override set", "limit") => Some(Self::LimitIs),
            ("org override clear", "limit") => Some(Self::Limit),
            ("drain", "node") => Some(Self::Node),
            (_, "org" | "orgs") => Some(Self::Org),
            (_, "scope") => Some(Self::Scope),
            (_, "pool") => Some(Self::Pool),
            ("session start", _) => None,
            (_, "session") => Some(Self::Session),
            (_, "reservation") => Some(Self::Reservation),
            (_, "plan") => Some(Self::Plan),
            _ => None,
        }
    }
}

/// Where values are asked for.
#[derive(Debug, Clone)]
pub(super) struct Asks {
    global: Option<GlobalArgs>,
    contexts: Vec<String>,
    org: Option<String>,
}

impl Asks {
    /// The node that the words name, or the context does.
    pub(super) fn new(global: GlobalArgs, around: &Surroundings, org: Option<String>) -> Self {
        let global = context::filled(global, around).ok();
        Self { global, org, ..Self::nobody(around) }
    }

    pub(super) fn nobody(around: &Surroundings) -> Self {
        Self { global: None, contexts: context::names(around), org: None }
    }

    /// Some values of this kind, among them all that begin like `current` as far as they fit.
    pub(super) fn values(&self, kind: Kind, current: &str) -> Vec<String> {
        let periods = || PERIODS.iter().map(|(name, _)| (*name).to_owned());
        let known: Vec<String> = match kind {
            Kind::Context => return self.contexts.clone(),
            Kind::PeriodIs => return periods().map(|name| name + "=").collect(),
            Kind::Limit | Kind::LimitIs => periods().chain(LIMITS.map(str::to_owned)).collect(),
            _ => Vec::new(),
        };
        let mut values = self.asked(kind, current);
        values.sort();
        values.dedup();
        let values = known.into_iter().chain(values.into_iter().filter(|value| !LIMITS.contains(&value.as_str())));
        match kind {
            Kind::LimitIs => values.map(|name| name + "=").collect(),
            _ => values.collect(),
        }
    }

    /// What the node answers in time.
    fn asked(&self, kind: Kind, current: &str) -> Vec<String> {
        let Some(mut global) = self.global.clone() else { return Vec::new() };
        global.timeout = Some(global.wait().min(WAIT));
        let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else { return Vec::new() };
        let answer = runtime.block_on(async { timeout(WAIT, self.ask(&global, kind, current)).await });
        // Names are searched for by a thread that is not waited for.
        runtime.shutdown_background();
        answer.ok().and_then(Result::ok).unwrap_or_default()
    }

    async fn ask(&self, global: &GlobalArgs, kind: Kind, current: &str) -> Result<Vec<String>, Failure> {
        let connection = Connection::open(global).await?;
        match kind {
            Kind::Org => return orgs(&connection, current).await,
            Kind::Plan => return Ok(connection.ask::<table::GetNode>(GetNodeRequest {}).await?.plans),
            Kind::Node => {
                let cluster = connection.ask::<table::GetCluster>(GetClusterRequest { shards: false }).await?;
                return Ok(cluster.nodes.into_iter().map(|node| node.name).collect());
            }
            _ => {}
        }
        let Some(org) = self.org.clone() else { return Ok(Vec::new()) };
        Ok(of_org(kind, connection.ask::<table::GetOrg>(GetOrgRequest { org }).await?))
    }
}

/// Orgs whose names begin like this, of the pages that are read in half of the time.
async fn orgs(connection: &Connection, current: &str) -> Result<Vec<String>, Failure> {
    let (mut orgs, mut page_token) = (Vec::new(), String::new());
    let until = Instant::now() + WAIT / 2;
    loop {
        let named = format!("{current}*");
        let request = ListOrgsRequest { page_size: PAGE, page_token, r#match: named, ..ListOrgsRequest::default() };
        let page = connection.ask::<table::ListOrgs>(request).await?;
        let names = page.orgs.into_iter().flat_map(|org| [org.name, org.org]).filter(|name| !name.is_empty());
        orgs.extend(names.filter(|name| name.starts_with(current)));
        page_token = page.next_page_token;
        if page_token.is_empty() || orgs.len() >= ORGS_MAX || Instant::now() >= until {
            return Ok(orgs);
        }
    }
}

fn of_org(kind: Kind, org: GetOrgResponse) -> Vec<String> {
    match kind {
        Kind::Scope => {
            let used = org.ledgers.into_iter().map(|ledger| ledger.scope);
            let limited = org.limits.into_iter().map(|limit| limit.scope.to_string());
            let set = org.budgets.into_iter().map(|budget| budget.scope);
            let overridden = org.overrides.into_iter().map(|set| set.scope);
            let scopes = used.chain(limited).chain(set).chain(overridden);
            scopes.filter(|scope| !scope.is_empty()).collect()
        }
        Kind::Pool => org.pools.into_iter().map(|pool| pool.pool).collect(),
        Kind::Session => org.sessions.into_iter().map(|session| session.session_id).collect(),
        Kind::Reservation => org.reservations.into_iter().map(|reservation| reservation.reservation_id).collect(),
        Kind::Limit | Kind::LimitIs => {
            let limits = org.limits.into_iter().map(|limit| limit.texts.name.to_string());
            let overridden = org.overrides.into_iter().map(|set| set.limit);
            let named = limits.chain(overridden);
            named.filter(|name| OverrideSubject::limit("limit", name).is_ok()).collect()
        }
        Kind::Org | Kind::Plan | Kind::Node | Kind::Context | Kind::PeriodIs => Vec::new(),
    }
}
