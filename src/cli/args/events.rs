//! `tollgate events` and `tollgate org changes` on the command line.

use clap::{Args, builder::PossibleValuesParser};

use super::values::{org, since};
use crate::domain::{events::EventKind, ids::OrgId, window::Millis};

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So many milliseconds ago.
    Ago(Millis),
    /// Milliseconds since the epoch.
    At(Millis),
}

impl Since {
    /// Milliseconds since the epoch.
    pub(crate) fn at(self, now: Millis) -> Millis {
        match self {
            Self::Ago(ago) => now.saturating_sub(ago),
            Self::At(at) => at,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// The tenant; with --follow every one, where none is named
    #[arg(value_parser = org, required_unless_present_any = ["node", "follow"])]
    pub org: Option<OrgId>,
    /// Print events as they come, until Ctrl-C, from --after or --since or now on; goes on over a
    /// restart of the node. With -o json each event, and each gap, is one line
    #[arg(short, long, conflicts_with_all = ["node", "until", "limit"])]
    pub follow: bool,
    /// What happened to the node that is asked, and to no org: its store, its clock
    #[arg(long, conflicts_with = "org")]
    pub node: bool,
    #[command(flatten)]
    pub log: LogArgs,
    /// Only events of this kind, repeatable
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(EventKind::ALL.iter().map(|kind| kind.name())))]
    pub kind: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ChangesArgs {
    /// The tenant
    #[arg(value_parser = org)]
    pub org: OrgId,
    #[command(flatten)]
    pub log: LogArgs,
}

/// Which part of a log.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Only what happened since: 15m, 2h, 7d, or an instant such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Since>,
    /// Only what happened before: the same
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub until: Option<Since>,
    /// At most this many, the oldest first
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,
    /// Continue behind the event of this number
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
    pub after: Option<i64>,
}
