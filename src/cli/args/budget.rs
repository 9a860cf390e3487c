//! `tollgate budget` on the command line.

use clap::{Args, Subcommand};

use super::{
    OrgWriteArgs, WhyArgs,
    values::{PeriodLimit, any_scope, org, period_limit, version},
};
use crate::domain::ids::{OrgId, Scope};

#[derive(Debug, Subcommand)]
pub(crate) enum BudgetVerb {
    /// Show the periods: limit, spend, remaining
    Get {
        /// The tenant
        #[arg(value_parser = org)]
        org: OrgId,
        /// The budget of this scope
        #[arg(long, value_parser = any_scope)]
        scope: Option<Scope>,
    },
    /// Set or clear limits by period; other periods stay unchanged
    Set(BudgetSetArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BudgetSetArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The new limits: 'daily=$12.50', daily=12.50usd, daily=12500000u (micro-USD), daily=block, daily=none
    ///
    /// `block` is a limit of 0; `none` clears, and the limit of the configuration is in force again, if there is
    /// one. An amount has its unit. Quote a $: a shell makes `daily=5` of `daily=$15`.
    #[arg(value_name = "PERIOD=AMOUNT", required_unless_present = "replace", value_parser = period_limit)]
    pub limits: Vec<PeriodLimit>,
    /// The budget of this part of the org
    #[arg(long, value_parser = any_scope)]
    pub scope: Option<Scope>,
    /// Clear every period that is not named
    #[arg(long)]
    pub replace: bool,
    /// Change nothing unless the budget has this version
    #[arg(long, value_name = "N", value_parser = version())]
    pub expect_version: Option<i64>,
    #[command(flatten)]
    pub why: WhyArgs,
}
