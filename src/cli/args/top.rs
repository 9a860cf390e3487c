//! `tollgate top` on the command line.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::every;

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Ask again after this time: 200ms to 1h
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = every)]
    pub every: Duration,
    /// What comes first
    #[arg(long, value_name = "ORDER", default_value = "calls")]
    pub by: TopOrder,
    /// Print one table and end: of two answers, --every apart, because rates are the difference of
    /// two
    #[arg(long)]
    pub once: bool,
    /// At most so many rows, with --once
    #[arg(long, value_name = "N", default_value_t = 20, requires = "once", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
}

/// What the orgs are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopOrder {
    /// The busiest
    Calls,
    /// Those of which most is denied
    Denied,
    /// Those with the fullest limit
    Used,
    /// Those with most gates that fail open
    FailOpen,
}
