//! `tollgate token`: bearer tokens of a node, or of all nodes of a cluster.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::values::expires;
use crate::{auth::Role, domain::window::Millis};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Make a token and print it: the only time that anybody sees it
    ///
    /// Prints the token, and nothing else, to stdout. The file, or the store of the cluster, keeps its SHA-256. Nodes that
    /// have it in `auth.tokens`, or `auth.token_store`, let the bearer in within a second.
    Create(TokenCreateArgs),
    /// List tokens: who they are for, and when they end
    List(TokenPlaceArgs),
    /// Remove a token: nobody is let in by it any more within a second, and open streams end
    Revoke(TokenRevokeArgs),
    /// Take the tokens of a file over into the store of a cluster: their bearers keep them
    Import(TokenImportArgs),
}

/// Where the tokens are. Without any of these it is where the variables of the configuration say, or
/// ./tollgate-tokens.toml.
#[derive(Debug, Args)]
pub(crate) struct TokenPlaceArgs {
    /// In this file, as in `auth.tokens` of the node [default: $TOLLGATE__AUTH__TOKENS or ./tollgate-tokens.toml]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["postgres", "config"])]
    pub file: Option<PathBuf>,
    /// In the store of a cluster: postgres://USER@HOST:PORT/DATABASE?sslmode=MODE, the first of
    /// `cluster.postgres_urls`; PGPASSWORD has the password
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub postgres: Option<String>,
    /// Where this configuration of a node says: `auth.tokens` or `auth.token_store`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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
    pub place: TokenPlaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TokenRevokeArgs {
    /// The name it was made with
    pub name: String,
    #[command(flatten)]
    pub place: TokenPlaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TokenImportArgs {
    /// The file of tokens
    pub from: PathBuf,
    #[command(flatten)]
    pub place: TokenPlaceArgs,
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
