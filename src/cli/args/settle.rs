//! What follows an admission, on the command line: its reservation, its usage, its end.

use clap::Args;

use super::{
    MeterAmount, OrgWriteArgs,
    values::{actual, decision, execution, reservation, scope, ttl, usage},
};
use crate::domain::ids::{DecisionId, ExecutionId, Scope};

#[derive(Debug, Args)]
pub(crate) struct ReservedArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The reservation, as acquire has named it
    #[arg(value_parser = reservation)]
    pub reservation: DecisionId,
}

#[derive(Debug, Args)]
pub(crate) struct CommitArgs {
    #[command(flatten)]
    pub reserved: ReservedArgs,
    /// An amount that was really used, repeatable: 'spend=$0.05'; a reserved meter that is not named is given back whole
    #[arg(long, value_name = "METER=AMOUNT", value_parser = actual)]
    pub actual: Vec<MeterAmount>,
}

#[derive(Debug, Args)]
pub(crate) struct ExtendArgs {
    #[command(flatten)]
    pub reserved: ReservedArgs,
    /// How long it lasts from now on: 90s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    pub ttl: i64,
}

#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// An amount that was used, repeatable: 'spend=$0.05', bytes=50000
    #[arg(long, required = true, value_name = "METER=AMOUNT", value_parser = usage)]
    pub usage: Vec<MeterAmount>,
    /// The part of the org that has used it, repeatable
    #[arg(long, value_parser = scope)]
    pub scope: Vec<Scope>,
    /// The admission that it belongs to, which it completes
    #[arg(long, value_name = "ID", value_parser = decision)]
    pub decision: Option<DecisionId>,
}

#[derive(Debug, Args)]
pub(crate) struct CompleteArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The admission that has ended: the decision of acquire
    #[arg(value_parser = decision)]
    pub decision: DecisionId,
    /// The part of the org that it was admitted in, repeatable
    #[arg(long, value_parser = scope)]
    pub scope: Vec<Scope>,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The execution that goes on: the decision of acquire, or its caller's own name for it
    #[arg(value_parser = execution)]
    pub execution: ExecutionId,
}
