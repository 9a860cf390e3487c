//! The arguments of `tollgate cert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CertVerb {
    /// Make a CA and a certificate of a node, for a first hour with TLS
    ///
    /// Writes ca.pem, cert.pem and key.pem into DIR, for --client also client.pem and client-key.pem, and for --peer also
    /// peer.pem and peer-key.pem. The key of the CA is not kept, so nothing more can be signed with it. The certificates
    /// are valid for 30 days.
    Dev(CertDevArgs),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CertDevArgs {
    /// A directory that has none of the files; made where it is missing
    #[arg(value_name = "DIR", default_value = "./tollgate-tls")]
    pub dir: PathBuf,
    /// A name or an address by which callers reach the node; repeat for more
    #[arg(long = "host", value_name = "HOST", default_values = ["localhost", "127.0.0.1", "::1"])]
    pub hosts: Vec<String>,
    /// Make a certificate for a caller as well, with this name: a URI such as spiffe://prod/plane, or one of the DNS
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,
    /// Make a certificate by which the nodes of a cluster know each other as well; all of them share it
    #[arg(long)]
    pub peer: bool,
}
