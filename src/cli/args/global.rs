//! Options that every command accepts: the node, how to reach it, how answers are printed.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::values::{every, timeout};
use crate::cli::{
    address::Address,
    output::{ColorChoice, Format},
};

/// Options that every verb accepts.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// How to reach the node: the context of this name [default: the one in use, see `tollgate context`]
    #[arg(long, global = true, env = "TOLLGATE_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// The node to ask: HOST:PORT, http://HOST:PORT or, with TLS, https://HOST:PORT [default: http://127.0.0.1:7070]
    #[arg(long, global = true, env = "TOLLGATE_ADDR", value_parser = Address::parse)]
    pub addr: Option<Address>,

    /// PEM file with the certificates to trust, in place of those of this machine
    #[arg(long, global = true, env = "TOLLGATE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// PEM file with the certificate to show the node, and those that vouch for it; with --client-key
    #[arg(long, global = true, env = "TOLLGATE_CLIENT_CERT", value_name = "FILE")]
    pub client_cert: Option<PathBuf>,

    /// PEM file with the private key of --client-cert
    #[arg(long, global = true, env = "TOLLGATE_CLIENT_KEY", value_name = "FILE")]
    pub client_key: Option<PathBuf>,

    /// File with the bearer token for the node
    #[arg(long, global = true, env = "TOLLGATE_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Longest wait per call: 500ms, 5s, 2m [default: 5s]
    #[arg(long, global = true, env = "TOLLGATE_TIMEOUT", value_name = "TIME", value_parser = timeout)]
    pub timeout: Option<Duration>,

    /// How answers and errors are printed
    #[arg(long, short, global = true, env = "TOLLGATE_OUTPUT", value_name = "FORMAT", default_value = "table")]
    pub output: Format,

    /// Where words that say how things are have colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,

    /// Tables without the line of headings
    #[arg(long, global = true)]
    pub no_headers: bool,

    /// Ask again every so often, and show each answer in place of the one before: --watch, --watch=10s
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s",
        value_parser = every
    )]
    pub watch: Option<Duration>,
}

const TIMEOUT: Duration = Duration::from_secs(5);

impl GlobalArgs {
    /// The node to ask.
    pub(crate) fn address(&self) -> Address {
        self.addr.clone().unwrap_or_default()
    }

    /// The longest wait per call.
    pub(crate) fn wait(&self) -> Duration {
        self.timeout.unwrap_or(TIMEOUT)
    }
}
