//! Balances at the billing provider on the command line.

use clap::Subcommand;

use super::{
    OrgWriteArgs, PageArgs, WhyArgs,
    values::{export_key, org, reason},
};
use crate::domain::{
    ids::{OrgId, Reason},
    outbox::OutboxKey,
};

#[derive(Debug, Subcommand)]
pub(crate) enum BillingVerb {
    /// Ask the provider for an org's balance now, past every cache (exit 3 if denied)
    Refresh {
        /// The tenant
        #[arg(value_parser = org)]
        org: OrgId,
        /// The reason, for the log of the org
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: Option<Reason>,
    },
    /// List usage of an org that the provider does not have yet
    Exports {
        /// The tenant
        #[arg(value_parser = org)]
        org: OrgId,
        /// Only rows that were set aside
        #[arg(long)]
        set_aside: bool,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Deliver again rows that were set aside
    ///
    /// Every row keeps its key, by which the provider recognises a repetition. The provider keeps a key
    /// for a day: a row that was set aside as `expired`, or was first sent more than a day ago, may be
    /// counted twice. Search for it at the provider first.
    Replay {
        #[command(flatten)]
        write: OrgWriteArgs,
        /// Only this row: its key in `billing exports` [default: all]
        #[arg(long, value_parser = export_key)]
        key: Option<OutboxKey>,
        #[command(flatten)]
        why: WhyArgs,
    },
}
