//! `tollgate context` on the command line.

use clap::{Args, Subcommand};

use super::values::context_name;

#[derive(Debug, Subcommand)]
pub(crate) enum ContextVerb {
    /// Keep how a node is reached: --addr, --ca, --token-file, --client-cert, --client-key, --timeout
    ///
    /// The first one is in use from then on. Of files only the paths are kept.
    Add(ContextAddArgs),
    /// List the contexts, with the one that is in use
    List,
    /// Reach nodes by this one from now on; `default` is none
    Use {
        /// Its name
        #[arg(value_parser = context_name)]
        name: String,
    },
    /// Show what a context says
    Show {
        /// Its name [default: the one in use]
        #[arg(value_parser = context_name)]
        name: Option<String>,
    },
    /// Forget a context; the files that it names stay
    Remove {
        /// Its name
        #[arg(value_parser = context_name)]
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ContextAddArgs {
    /// Its name: lower-case letters, digits, `-`, `_` and `.`
    #[arg(value_parser = context_name)]
    pub name: String,
    /// In place of the one that has this name
    #[arg(long)]
    pub replace: bool,
}
