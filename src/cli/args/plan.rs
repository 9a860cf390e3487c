//! `tollgate plan` on the command line.

use clap::Args;

use super::values::{any_meter, any_scope, org, trial};
use crate::domain::ids::{Meter, OrgId, Scope};

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The limit to try, repeatable: hourly, daily, weekly, monthly, or a window such as calendar/month, and an amount of the
    /// meter: '$25' of spend, 4h of compute, or a number
    #[arg(long, required = true, value_name = "PERIOD=AMOUNT", value_parser = trial)]
    pub limit: Vec<(String, String)>,
    /// What the limits are on
    #[arg(long, default_value = "spend", value_parser = any_meter)]
    pub meter: Meter,
    /// Try the limits on this scope [default: the org itself]
    #[arg(long, value_parser = any_scope)]
    pub scope: Option<Scope>,
    /// Only orgs that have this plan
    #[arg(long)]
    pub plan: Option<String>,
    /// Only this org [default: all]
    #[arg(long, value_parser = org)]
    pub org: Option<OrgId>,
}
