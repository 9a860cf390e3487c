//! Usage that is given back, on the command line.

use clap::Args;

use super::{
    MeterAmount, OrgWriteArgs,
    events::Since,
    values::{decision, reason, refunded, scope, since},
};
use crate::domain::ids::{DecisionId, Reason, Scope};

#[derive(Debug, Args)]
pub(crate) struct RefundArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// Everything that this decision has charged, in the windows in which it was charged
    ///
    /// Known for a day after a commit, a release or the expiry of a reservation; of an acquire that reserved nothing for
    /// two minutes.
    #[arg(long, value_name = "ID", value_parser = decision, conflicts_with_all = ["scope", "at"])]
    pub decision: Option<DecisionId>,
    /// An amount, repeatable: 'spend=$5', executions=3
    #[arg(
        long,
        value_name = "METER=AMOUNT",
        value_parser = refunded,
        required_unless_present = "decision",
        conflicts_with = "decision"
    )]
    pub amount: Vec<MeterAmount>,
    /// A part of the org that the charge named, repeatable
    #[arg(long, value_parser = scope)]
    pub scope: Vec<Scope>,
    /// When it was charged: 2026-11-28T09:00:00Z, or 2h for two hours ago [default: now]
    ///
    /// What was used in the hour of UTC that this lies in is given back, its minute first.
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub at: Option<Since>,
    /// The reason, for the log of the org
    #[arg(long, value_name = "TEXT", value_parser = reason, required = true)]
    pub reason: Option<Reason>,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
