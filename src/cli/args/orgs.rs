//! `tollgate org list`, `status` and `top` on the command line: which orgs, and in which order.

use clap::{Args, ValueEnum};

use super::{
    STATUS_ORGS,
    values::{org, scope},
};
use crate::domain::ids::{OrgId, Scope};

/// Most orgs that are held and sorted at a time.
const SORTED_MAX: i64 = 100_000;

#[derive(Debug, Args)]
pub(crate) struct OrgListArgs {
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,
    /// Continue an earlier list: its nextPageToken
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["most_denied", "most_used", "near"])]
    pub after: Option<String>,
    /// Only names, and what is known without reading each org
    #[arg(long, conflicts_with_all = ["plan", "state", "most_denied", "most_used", "near"])]
    pub names_only: bool,
    /// Only orgs with this name, with * for any characters; quote it, or a shell may replace it
    #[arg(long = "match", value_name = "PATTERN")]
    pub pattern: Option<String>,
    /// Only orgs with this plan in force
    #[arg(long, value_name = "NAME")]
    pub plan: Option<String>,
    /// Only orgs in this state
    #[arg(long, value_name = "STATE")]
    pub state: Option<OrgStateArg>,
    /// Those of which most was denied today first, over all orgs
    #[arg(long)]
    pub most_denied: bool,
    /// Those of which a limit is used most first, over all orgs
    #[arg(long, conflicts_with = "most_denied")]
    pub most_used: bool,
    /// Only orgs of which a limit is used or reserved to so many percent; the fullest first
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub near: Option<u8>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The tenants
    #[arg(
        required_unless_present = "near", conflicts_with = "near",
        num_args = 1..=STATUS_ORGS, value_name = "ORG", value_parser = org
    )]
    pub orgs: Vec<OrgId>,
    /// Also show the limits of this scope in each org, repeatable
    #[arg(long, value_parser = scope, conflicts_with = "near")]
    pub scope: Vec<Scope>,
    /// Of all orgs the limits that are used or reserved to so many percent, the fullest first
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub near: Option<u8>,
    /// At most so many orgs
    #[arg(long, value_name = "N", default_value_t = 100, requires = "near", value_parser = sorted_max())]
    pub limit: u32,
}

/// How many orgs may be held and sorted.
fn sorted_max() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=SORTED_MAX)
}

/// In which state an org is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OrgStateArg {
    /// An operator froze it
    Frozen,
    /// One execution would be denied now
    Blocked,
    /// Calls were denied within the last hour
    Denied,
    /// 80 percent of a limit are used or reserved
    Near,
    /// The rate backstop spares it
    Exempt,
    /// A limit, the plan or the exemption is overridden
    Overridden,
}
