//! `tollgate pool` on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{
    OrgWriteArgs, WhyArgs,
    accounts::{AccountSpec, Given, account, account_spec},
    quantity,
    values::{MeterAmount, calls, cost, org, pool, request_id, reserve, scope, size, status, version},
};
use crate::{
    bounds::ROUTE_AVOIDED_MAX_MS,
    domain::{
        ids::{AccountId, OrgId, PoolId, RequestId, Scope},
        input::InputError,
        window::{Length, WINDOW_RULE, Window},
    },
};

#[derive(Debug, Subcommand)]
pub(crate) enum PoolVerb {
    /// Set the accounts of a pool, and its settings; accounts that are not named are removed
    ///
    /// Accounts that stay keep their counts. Settings that are given take the place of all that were set before;
    /// without any they stay as they are. An account is a secret, and a command line is visible in the
    /// list of processes and in the history of the shell: --accounts-file keeps accounts out of both, as
    /// a file or, with `-`, from stdin.
    Configure(PoolConfigureArgs),
    /// Show a pool and its accounts: used, remaining, failures
    Show(PoolNameArgs),
    /// Pick an account for the next call and charge the call to it (exit 3 if none is left)
    Pick(PickArgs),
    /// Report the outcome of a call
    ///
    /// An account is a secret, and a command line is visible in the list of processes and in the history
    /// of the shell: --account-file keeps the account out of both, as a file or, with `-`, from stdin.
    Report(ReportArgs),
    /// Forget what reports said of an account: used-up quota, pauses, avoided route
    ///
    /// What was counted stays. An account is a secret, and a command line is visible in the list of processes
    /// and in the history of the shell: --account-file keeps the account out of both, as a file or, with `-`,
    /// from stdin.
    Clear(ClearArgs),
}

/// What the answers of upstreams mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileArg {
    /// Accounts with a quota per day
    Relay,
    /// Keys of a provider that limits by the minute
    Llm,
}

/// Settings of a pool. What is left out follows the configuration of the node.
#[derive(Debug, Args)]
pub(crate) struct SettingsArgs {
    /// What the answers of upstreams mean
    #[arg(long)]
    pub profile: Option<ProfileArg>,
    /// Calls per window of each account
    #[arg(long, value_name = "N", value_parser = calls)]
    pub limit: Option<i64>,
    /// Calls of it that are never used
    #[arg(long, value_name = "N", value_parser = calls)]
    pub buffer: Option<i64>,
    /// The window: anchored/24h, aligned/1h, rolling/24h, calendar/day
    #[arg(long, value_parser = window)]
    pub window: Option<String>,
    /// Calls per clock minute of each account
    #[arg(long, value_name = "N", value_parser = calls)]
    pub per_minute: Option<i64>,
    /// How long a route is avoided after a fault, as in 60s
    #[arg(long, value_name = "TIME", value_parser = wait)]
    pub cooldown: Option<i64>,
    /// How long a route is avoided after a refusal, as in 24h
    #[arg(long, value_name = "TIME", value_parser = wait)]
    pub quarantine: Option<i64>,
    /// A text that speaks of a used-up quota, repeatable; in place of those of the profile
    #[arg(long = "quota-text", value_name = "TEXT")]
    pub quota_texts: Vec<String>,
    /// Remove all settings of the pool
    #[arg(
        long,
        conflicts_with_all = [
            "profile", "limit", "buffer", "window", "per_minute", "cooldown", "quarantine", "quota_texts"
        ]
    )]
    pub no_settings: bool,
}

fn window(text: &str) -> Result<String, InputError> {
    let known = Window::parse(text).map(|_| text.to_owned());
    known.ok_or_else(|| InputError::new("window", text, WINDOW_RULE))
}

/// Milliseconds.
fn wait(text: &str) -> Result<i64, InputError> {
    let millis = quantity::span(text);
    let bounded = millis.filter(|millis| *millis <= ROUTE_AVOIDED_MAX_MS).and_then(|millis| i64::try_from(millis).ok());
    let rule = || format!("at most {}, as in 60s, 24h or '1m 30s'", Length(ROUTE_AVOIDED_MAX_MS));
    bounded.ok_or_else(|| InputError::new("time", text, rule()))
}

#[derive(Debug, Args)]
pub(crate) struct PoolNameArgs {
    /// The tenant
    #[arg(value_parser = org)]
    pub org: OrgId,
    /// The pool
    #[arg(value_parser = pool)]
    pub pool: PoolId,
}

#[derive(Debug, Args)]
pub(crate) struct PoolConfigureArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    #[command(flatten)]
    pub why: WhyArgs,
    /// The pool
    #[arg(value_parser = pool)]
    pub pool: PoolId,
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// One of its accounts, repeatable: ACCOUNT,limit=N,buffer=N,window=anchored/24h,per_minute=N
    ///
    /// What follows the account may be left out. `limit` is the number of calls per window, `buffer` the number of them that is never used. `per_minute`
    /// is a second limit, per clock minute. Options that are left out follow the settings of the pool. --accounts-file keeps accounts out of the
    /// list of processes and the history of the shell.
    #[arg(
        long = "account",
        value_name = "SPEC",
        required_unless_present_any = ["accounts_file", "remove"],
        value_parser = account_spec
    )]
    pub accounts: Vec<Given<AccountSpec>>,
    /// File with one account per line, in the same form; `-` is stdin
    ///
    /// Empty lines and lines that begin with # are skipped.
    #[arg(long, value_name = "FILE")]
    pub accounts_file: Option<PathBuf>,
    /// Remove the pool with all its accounts
    #[arg(long, conflicts_with_all = ["accounts", "accounts_file"])]
    pub remove: bool,
    /// Remove it without a question
    #[arg(long, requires = "remove")]
    pub yes: bool,
    /// Change nothing unless the pool has this version; 0 = it does not exist
    #[arg(long, value_name = "N", value_parser = version())]
    pub expected_version: Option<i64>,
}

#[derive(Debug, Args)]
pub(crate) struct PickArgs {
    #[command(flatten)]
    pub of: PoolNameArgs,
    /// Evaluate the gates of the org as well: both are charged, or neither
    #[arg(long)]
    pub acquire: bool,
    /// A part of the org with limits of its own, repeatable; implies --acquire, like the following
    #[arg(long, value_parser = scope)]
    pub scope: Vec<Scope>,
    /// An amount to charge to the org now, repeatable [default: executions=1]
    #[arg(long, value_name = "METER=AMOUNT", value_parser = cost)]
    pub cost: Vec<MeterAmount>,
    /// An amount to reserve until it is settled, repeatable: 'spend=$0.05', spend=0.05usd
    #[arg(long, value_name = "METER=AMOUNT", value_parser = reserve)]
    pub reserve: Vec<MeterAmount>,
    /// Makes a repetition of this call safe: it picks the same account, charged once
    #[arg(long, value_name = "ID", value_parser = request_id)]
    pub request_id: Option<RequestId>,
    /// Run every gate instead of stopping at the first denial
    #[arg(long)]
    pub explain: bool,
}

impl PickArgs {
    /// Whether the gates of the org are evaluated too.
    pub(crate) fn is_gated(&self) -> bool {
        self.acquire || self.explain || !self.scope.is_empty() || !self.cost.is_empty() || !self.reserve.is_empty()
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The pool
    #[arg(value_parser = pool)]
    pub pool: PoolId,
    /// The account that the pick returned [default: the call bypassed the pool]
    #[arg(value_parser = account)]
    pub account: Option<Given<AccountId>>,
    /// File with the account and nothing else; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "account")]
    pub account_file: Option<PathBuf>,
    /// HTTP status of the upstream; 0 = no answer
    #[arg(long, value_name = "N", default_value = "200", value_parser = status)]
    pub status: i32,
    /// Error text of the upstream; it is searched for quota messages and not stored
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub error: String,
    /// Bytes that were sent
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size)]
    pub bytes_up: i64,
    /// Bytes that were received
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = size)]
    pub bytes_down: i64,
    /// How long the upstream says to wait, as in 21s [default: the time that its error text names, if any]
    #[arg(long, value_name = "TIME", value_parser = wait)]
    pub retry_after: Option<i64>,
    /// When the account was picked, in milliseconds since the Unix epoch, as the pick showed it
    ///
    /// A success ends only what was reported before its call was picked.
    #[arg(long, value_name = "MS", value_parser = version())]
    pub picked_at: Option<i64>,
}

#[derive(Debug, Args)]
pub(crate) struct ClearArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    #[command(flatten)]
    pub why: WhyArgs,
    /// The pool
    #[arg(value_parser = pool)]
    pub pool: PoolId,
    /// The account
    #[arg(required_unless_present = "account_file", value_parser = account)]
    pub account: Option<Given<AccountId>>,
    /// File with the account and nothing else; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "account")]
    pub account_file: Option<PathBuf>,
}
