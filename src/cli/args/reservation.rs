//! `tollgate reservation` on the command line.

use clap::{Args, Subcommand, ValueEnum};

use super::{
    PageArgs,
    values::{age, org, scope},
};
use crate::domain::{
    ids::{OrgId, Scope},
    window::Millis,
};

#[derive(Debug, Subcommand)]
pub(crate) enum ReservationVerb {
    /// List reservations: open ones, and those that expired within the last day
    List(ReservationListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ReservationListArgs {
    /// The tenant
    #[arg(value_parser = org)]
    pub org: OrgId,
    /// Only those in this state
    #[arg(long)]
    pub state: Option<StateArg>,
    /// Only those of this scope
    #[arg(long, value_parser = scope)]
    pub scope: Option<Scope>,
    /// Only those made at least so long ago: 90s, 5m, 2h, 1d
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub older_than: Option<Millis>,
    #[command(flatten)]
    pub page: PageArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum StateArg {
    /// Holds its amounts
    Open,
    /// Holds nothing, and can still be committed
    Expired,
}
