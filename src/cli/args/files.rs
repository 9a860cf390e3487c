//! What works on files of this machine, on the command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

#[derive(Debug, Clone, Args)]
pub(crate) struct ServeArgs {
    /// TOML configuration; every key has a default
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides data.dir
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Overrides listen.grpc
    #[arg(long, value_name = "ADDR")]
    pub grpc: Option<SocketAddr>,
    /// Overrides listen.http
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Listen beyond loopback without [auth] or without [tls]
    #[arg(long)]
    pub insecure: bool,
    /// Accept this machine's clock although it is far ahead of the stored time
    #[arg(long)]
    pub accept_clock: bool,
    /// Go on although the file "committed" is missing and commits may be lost; a damaged one is to be removed first
    #[arg(long)]
    pub accept_lost_tail: bool,
    /// Acknowledge without syncing: the negative control of the power-cut test. Loses data
    #[arg(long, hide = true)]
    pub without_sync: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckConfigArgs {
    /// TOML configuration
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct FsckArgs {
    /// The data directory [default: ./tollgate-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Put a clock right that was ahead: the stored mark, and every org that has seen a later time, are set to the
    /// time of this machine
    #[arg(long)]
    pub set_clock: bool,
    /// Rewrite the store without what was overwritten or removed, if nothing is wrong with it
    #[arg(long)]
    pub compact: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The data directory [default: ./tollgate-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Out of PostgreSQL instead: postgres://USER@HOST:PORT/DATABASE?sslmode=MODE; PGPASSWORD has the password. Once for
    /// each of cluster.postgres_urls, in their order
    #[arg(long, value_name = "URL", conflicts_with_all = ["data_dir", "accept_damage"])]
    pub postgres: Vec<String>,
    /// Succeed although rows may be missing or out of date
    #[arg(long)]
    pub accept_damage: bool,
    /// Where to write [default: stdout]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The data directory [default: ./tollgate-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Into PostgreSQL instead: postgres://USER@HOST:PORT/DATABASE?sslmode=MODE; PGPASSWORD has the password. Once for
    /// each of cluster.postgres_urls, in their order
    #[arg(long, value_name = "URL", conflicts_with_all = ["data_dir", "accept_damage"])]
    pub postgres: Vec<String>,
    /// Import an export that has no closing line: of an older tollgate, or edited
    #[arg(long)]
    pub accept_unclosed: bool,
    /// Import rows that do not fit together
    #[arg(long)]
    pub accept_damage: bool,
    /// Where to read [default: stdin]
    pub file: Option<PathBuf>,
}
