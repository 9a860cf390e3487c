//! Why calls are denied, on the command line.

use clap::Args;

use super::{
    PageArgs,
    events::Since,
    values::{any_scope, decision, org, since},
};
use crate::domain::ids::{DecisionId, OrgId, Scope};

#[derive(Debug, Args)]
pub(crate) struct AskWhyArgs {
    /// The tenant
    #[arg(value_parser = org)]
    pub org: OrgId,
    /// Only calls that named this scope
    #[arg(long, value_parser = any_scope)]
    pub scope: Option<Scope>,
    /// As it was then: 2026-11-28T09:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub at: Option<Since>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The tenant
    #[arg(value_parser = org)]
    pub org: OrgId,
    /// The decision, as Acquire answered it [default: the last that was denied]
    #[arg(value_name = "DECISION_ID", value_parser = decision)]
    pub decision: Option<DecisionId>,
    /// The last denial at this time or shortly before it: 2026-11-28T09:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME", conflicts_with = "decision", value_parser = since)]
    pub at: Option<Since>,
    /// Without a decision: of calls that named this scope
    #[arg(long, conflicts_with = "decision", value_parser = any_scope)]
    pub scope: Option<Scope>,
}

#[derive(Debug, Args)]
pub(crate) struct DenialsArgs {
    /// The tenant
    #[arg(value_parser = org)]
    pub org: OrgId,
    /// Only calls that named this scope, and its limits
    #[arg(long, value_parser = any_scope)]
    pub scope: Option<Scope>,
    /// Only of this gate: freeze, scopes, accounts, rate, concurrency, session_quota, budgets, balance, reserve
    #[arg(long)]
    pub gate: Option<String>,
    /// Only since then: 2026-11-28T09:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Since>,
    /// Also calls that were let through although a gate could not be evaluated
    #[arg(long)]
    pub let_through: bool,
    /// What was allowed and denied on each day, in place of the calls
    #[arg(long)]
    pub by_day: bool,
    #[command(flatten)]
    pub page: PageArgs,
}
