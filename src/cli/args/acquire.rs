//! `tollgate acquire` on the command line.

use clap::{Args, ValueEnum};

use super::{
    MeterAmount,
    values::{cost, org, plane, pool, request_id, reserve, scope, ttl},
};
use crate::domain::ids::{OrgId, Plane, PoolId, RequestId, Scope};

#[derive(Debug, Args)]
pub(crate) struct AcquireArgs {
    /// The tenant
    #[arg(value_parser = org)]
    pub org: OrgId,
    /// A part of the org with limits of its own, repeatable
    #[arg(long, value_parser = scope)]
    pub scope: Vec<Scope>,
    /// An amount to charge now, repeatable [default: executions=1]
    #[arg(long, value_name = "METER=AMOUNT", value_parser = cost)]
    pub cost: Vec<MeterAmount>,
    /// An amount to reserve until it is settled, repeatable: 'spend=$0.05', spend=0.05usd
    #[arg(long, value_name = "METER=AMOUNT", value_parser = reserve)]
    pub reserve: Vec<MeterAmount>,
    /// Makes a repetition of this call safe: it is charged once
    #[arg(long, value_name = "ID", value_parser = request_id)]
    pub request_id: Option<RequestId>,
    /// Also deny while every account of this pool is exhausted; picks no account
    #[arg(long, value_parser = pool)]
    pub pool: Option<PoolId>,
    /// How long what is reserved is held: 90s, 10m, 2h [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = ttl, requires = "reserve")]
    pub ttl: Option<i64>,
    /// What asks, for denials and logs
    #[arg(long, default_value = "cli", value_parser = plane)]
    pub plane: Plane,
    /// What becomes of the verdict
    #[arg(long, default_value = "normal")]
    pub mode: ModeArg,
    /// Evaluate only; nothing is charged or remembered: --mode check-only
    #[arg(long, conflicts_with = "mode")]
    pub check_only: bool,
    /// Run every gate instead of stopping at the first denial
    #[arg(long)]
    pub explain: bool,
}

impl AcquireArgs {
    /// Whether nothing is charged or remembered.
    pub(crate) fn only_asks(&self) -> bool {
        self.check_only || self.mode == ModeArg::CheckOnly
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeArg {
    /// It is charged where it is allowed
    Normal,
    /// Nothing is charged or remembered
    CheckOnly,
    /// It is charged as ever and always allowed; the answer says what it would have been
    Shadow,
}
