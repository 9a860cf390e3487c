//! What an org is called, on the command line.

use clap::Args;

use super::{OrgWriteArgs, WhyArgs, values::org};
use crate::domain::ids::OrgId;

#[derive(Debug, Args)]
pub(crate) struct RenameArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The new name; a former one or the id gives that back
    #[arg(value_name = "NAME", value_parser = org)]
    pub to: OrgId,
    #[command(flatten)]
    pub why: WhyArgs,
}
