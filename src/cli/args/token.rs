//! `tollgate token`: bearer tokens of a node.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::values::expires;
use crate::{auth::Role, domain::window::Millis};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Make a token and print it: the only time that anybody sees it
    ///
    /// Prints the token, and nothing else, to stdout. The file keeps its SHA-256. A node that has this file in
    /// `auth.tokens` lets the bearer in within a second.
    Create(TokenCreateArgs),
    /// List the tokens of the file: who they are for, and when they end
    List(TokenFileArgs),
    /// Remove a token: nobody is let in by it any more within a second, and open streams end
    Revoke(TokenRevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TokenFileArgs {
    /// The file of tokens, as in `auth.tokens` of the node
    #[arg(long, env = "TOLLGATE__AUTH__TOKENS", value_name = "FILE", default_value = "./tollgate-tokens.toml")]
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct TokenCreateArgs {
    /// What the log and the audit call the bearer: 1 to 256 printable ASCII characters without space
    #[arg(long)]
    pub name: String,
    /// What the bearer is for
    #[arg(long)]
    pub role: RoleArg,
    /// The orgs that it may reach, repeatable or with commas: acme, 'acme-*', '*'
    #[arg(long, required = true, value_delimiter = ',', value_name = "ORGS")]
    pub orgs: Vec<String>,
    /// The scopes that its calls may name, repeatable or with commas: prod, 'agent/*' [default: any, or none]
    #[arg(long, value_delimiter = ',', value_name = "SCOPES")]
    pub scopes: Vec<String>,
    /// A scope that each of its calls is in, named or not; no call may name another of its kind. Repeatable
    #[arg(long, value_delimiter = ',', value_name = "SCOPE")]
    pub bind: Vec<String>,
    /// When the token ends: in 12h or 90d, at 2027-01-31T00:00:00Z, or never
    #[arg(long, value_parser = expires, value_name = "WHEN")]
    pub expires: Expires,
    #[command(flatten)]
    pub file: TokenFileArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TokenRevokeArgs {
    /// The name it was made with
    pub name: String,
    #[command(flatten)]
    pub file: TokenFileArgs,
}

/// When a token ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expires {
    /// So many milliseconds from now.
    In(Millis),
    /// In milliseconds since the epoch.
    At(Millis),
    /// With its revocation.
    Never,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleArg {
    /// Records usage, reports heartbeats and outcomes
    Reporter,
    /// Acquires and settles, runs sessions, picks accounts; reports as well
    Plane,
    /// Reads status, budgets, pools and what operators see
    Viewer,
    /// Sets limits and operates; may do everything
    Admin,
    /// Another node of the cluster
    Peer,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Reporter => Self::Reporter,
            RoleArg::Plane => Self::Plane,
            RoleArg::Viewer => Self::Viewer,
            RoleArg::Admin => Self::Admin,
            RoleArg::Peer => Self::Peer,
        }
    }
}
