//! `tollgate cluster` and `tollgate drain` on the command line.

use clap::Args;

use super::values::org;
use crate::domain::ids::OrgId;

#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Which node owns this org
    #[arg(long, value_parser = org)]
    pub org: Option<OrgId>,
    /// Who owns each shard
    #[arg(long, conflicts_with = "org")]
    pub shards: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Its name [default: the node that answers]
    pub node: Option<String>,
    /// Let it take its share again
    #[arg(long)]
    pub undo: bool,
}
