//! Why calls are denied, on the command line.

use clap::Args;

use super::{
    PageArgs,
    values::{any_scope, decision, instant, org},
};
use crate::domain::{
    ids::{DecisionId, OrgId, Scope},
    window::Millis,
};

/// An instant, or a time ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instant {
    At(Millis),
    Ago(Millis),
}

impl Instant {
    /// Milliseconds since the Unix epoch, for a request.
    pub(crate) fn millis(self, now: Millis) -> i64 {
        let at = match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.saturating_sub(ago),
        };
        i64::try_from(at).unwrap_or(i64::MAX)
    }
}

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The tenant
    #[arg(value_parser = org)]
    pub org: OrgId,
    /// Only calls that named this scope
    #[arg(long, value_parser = any_scope)]
    pub scope: Option<Scope>,
    /// As it was then: 2026-11-28T09:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub at: Option<Instant>,
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
    #[arg(long, value_name = "TIME", conflicts_with = "decision", value_parser = instant)]
    pub at: Option<Instant>,
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
    #[arg(long, value_name = "TIME", value_parser = instant)]
    pub since: Option<Instant>,
    /// Also calls that were let through although a gate could not be evaluated
    #[arg(long)]
    pub let_through: bool,
    /// What was allowed and denied on each day, in place of the calls
    #[arg(long)]
    pub by_day: bool,
    #[command(flatten)]
    pub page: PageArgs,
}
