//! The command line as types: what parses is valid; anything else is a usage error (exit 2) that names
//! what is allowed.

mod accounts;
mod acquire;
mod billing;
mod budget;
mod cert;
mod cluster;
mod context;
mod control;
mod events;
mod explain;
mod files;
mod global;
mod grants;
mod man;
mod names;
mod orgs;
mod plan;
mod pool;
mod quantity;
mod reads;
mod refund;
mod reservation;
mod session;
mod settle;
mod token;
mod top;
mod usage;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::domain::ids::{OrgId, Reason, RequestId};
use values::{org, reason, request_id};

pub(super) use accounts::{AccountSpec, Given};
pub(super) use acquire::{AcquireArgs, ModeArg};
pub(super) use billing::BillingVerb;
pub(super) use budget::{BudgetSetArgs, BudgetVerb};
pub(super) use cert::{CertDevArgs, CertVerb};
pub(super) use cluster::{ClusterArgs, DrainArgs};
pub(super) use context::{ContextAddArgs, ContextVerb};
pub(super) use control::{
    EndArgs, ExemptArgs, OverrideClearArgs, OverrideSetArgs, OverrideVerb, ReasonArgs, SetPlanArgs, Value,
};
pub(super) use events::{ChangesArgs, EventsArgs, LogArgs, Since};
pub(super) use explain::{AskWhyArgs, DenialsArgs, ExplainArgs};
pub(super) use files::{CheckConfigArgs, ExportArgs, FsckArgs, ImportArgs, ServeArgs};
pub(super) use global::GlobalArgs;
pub(super) use grants::{GrantArgs, ResetArgs, RevokeGrantArgs};
pub(super) use man::ManArgs;
pub(super) use names::RenameArgs;
pub(super) use orgs::{OrgListArgs, OrgStateArg, StatusArgs};
pub(super) use plan::PlanArgs;
pub(super) use pool::{
    ClearArgs, PickArgs, PoolConfigureArgs, PoolNameArgs, PoolVerb, ProfileArg, ReportArgs, SettingsArgs,
};
pub(super) use refund::RefundArgs;
pub(super) use reservation::{ReservationListArgs, ReservationVerb, StateArg};
pub(super) use session::{HeartbeatArgs, SessionEndArgs, SessionNameArgs, SessionStartArgs, SessionVerb};
pub(super) use settle::{CommitArgs, CompleteArgs, ExtendArgs, RecordArgs, ReservedArgs, ResumeArgs};
pub(super) use token::{Expires, TokenCreateArgs, TokenImportArgs, TokenPlaceArgs, TokenRevokeArgs, TokenVerb};
pub(super) use top::{TopArgs, TopOrder};
pub(super) use usage::{ByArg, UsageArgs};
pub(super) use values::{MeterAmount, PeriodLimit, timeout};

/// Orgs that one `status` may ask for: the items of one batch.
const STATUS_ORGS: usize = 1000;

const AFTER_HELP: &str = "Exit codes: 0 done or allowed, 1 error, 2 usage, 3 denied.\n\
    Data goes to stdout, everything else to stderr.";

const AFTER_LONG_HELP: &str = "Exit codes: 0 done or allowed, 1 error, 2 usage, 3 denied.\n\
    Data goes to stdout, everything else to stderr.\n\n\
    With `--output json` a command that asks a node prints one JSON object to stdout: the response message of \
    the API as canonical proto3 JSON, with defaults. A list is one response with the rows of all pages that were \
    read. Each error is one JSON object on a line of stderr, as Connect writes errors: \
    {\"code\": \"not_found\", \"message\": \"…\", \"details\": […]}.";

/// May this org execute now, and what is left?
#[derive(Debug, Parser)]
#[command(
    name = "tollgate",
    version = env!("TOLLGATE_VERSION"),
    after_help = AFTER_HELP,
    after_long_help = AFTER_LONG_HELP
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    #[command(flatten)]
    Local(LocalVerb),
    #[command(flatten)]
    Remote(RemoteVerb),
    /// Names for nodes and how to reach them
    ///
    /// A context is an address, paths of files and a timeout under a name, in $XDG_CONFIG_HOME/tollgate/contexts.toml or
    /// ~/.config/tollgate/contexts.toml. A flag comes before a variable TOLLGATE_…, a variable before the context, the
    /// context before the default. Where --addr or TOLLGATE_ADDR names a node, the context in use is left aside, so that
    /// its token is not sent elsewhere; --context takes it all the same.
    #[command(subcommand)]
    Context(ContextVerb),
    /// Print the completion script of a shell
    Completions {
        /// The shell that will read it
        shell: Shell,
    },
    /// Write the pages of the manual, one for each command
    Man(ManArgs),
}

/// Verbs that work on files of this machine.
#[derive(Debug, Subcommand)]
pub(super) enum LocalVerb {
    /// Run a node
    Serve(ServeArgs),
    /// Check a configuration and report every mistake at once
    CheckConfig(CheckConfigArgs),
    /// Print the JSON schema of the configuration, for editors
    ConfigSchema,
    /// Check a data directory that no node is using
    Fsck(FsckArgs),
    /// Write the contents of a data directory to a file or to stdout
    Export(ExportArgs),
    /// Fill an empty data directory from an export, or take over budgets of an older system
    ///
    /// Budgets of an older system are one JSON object per line, {"org", "scope", "budget_limit",
    /// "monthly_spend"}, amounts in micro-USD or as …_cents. The directory may hold orgs already; budgets
    /// that were taken over before stay unchanged.
    Import(ImportArgs),
    /// Certificates for TLS
    #[command(subcommand)]
    Cert(CertVerb),
    /// Bearer tokens of callers
    #[command(subcommand)]
    Token(TokenVerb),
}

/// Verbs that ask a running node.
#[derive(Debug, Subcommand)]
pub(super) enum RemoteVerb {
    /// Ask whether an org may execute now, and count it (exit 3 if not)
    Acquire(AcquireArgs),
    /// Show every limit of one or more orgs, or of all orgs the limits that are nearly used up
    Status(StatusArgs),
    /// Watch the busiest orgs, what is denied, what is nearly used up and what fails open; q quits
    Top(TopArgs),
    /// Say why calls of an org are denied, since when, until when, and what lets them through (exit 3 if they are)
    Why(AskWhyArgs),
    /// Show what each gate said of one decision, with its numbers
    Explain(ExplainArgs),
    /// List calls of an org that were denied within 7 days, or what was decided on each of 35 days
    Denials(DenialsArgs),
    /// Settle a reservation by what was really used
    Commit(CommitArgs),
    /// Give an open reservation back; a later commit of it is refused
    Release(ReservedArgs),
    /// Let an open reservation last longer
    Extend(ExtendArgs),
    /// Record usage, of an execution or of none
    Record(RecordArgs),
    /// Say that an execution has ended, where there is nothing else to say of it
    Complete(CompleteArgs),
    /// Give usage back, of a decision or by amounts: limits count it no more, and billing is corrected
    Refund(RefundArgs),
    /// Let an execution go on that was paused; it is never denied
    Resume(ResumeArgs),
    /// List, inspect, freeze and delete orgs, and let them through
    #[command(subcommand)]
    Org(OrgVerb),
    /// Budgets on spend
    #[command(subcommand)]
    Budget(BudgetVerb),
    /// Long-running executions and the machine time they use
    #[command(subcommand)]
    Session(SessionVerb),
    /// What is held for executions, and what expired without having been settled
    #[command(subcommand)]
    Reservation(ReservationVerb),
    /// Pools of accounts at an upstream service, each account with its own quota
    #[command(subcommand)]
    Pool(PoolVerb),
    /// Balances at the billing provider, and usage that waits for delivery
    #[command(subcommand)]
    Billing(BillingVerb),
    /// Show what happened to an org: limits, denials, sessions, upstream accounts, changes by operators
    Events(EventsArgs),
    /// Show what orgs have used, by day or by month of UTC, for finance
    ///
    /// As a table, as one JSON object, or as CSV (`-o csv`) with the columns org, scope, plane, meter, from, to (the last day),
    /// amount and unit (micro_usd, ms, bytes, count), value and value_unit (usd, hours, bytes, count). An empty scope is the
    /// org itself, with everything that its scopes have: do not add the two. Days are kept for 400 days, months for seven
    /// years; where days are no longer kept, a row is a month.
    Usage(UsageArgs),
    /// Show which orgs a limit would have denied in the last 30 days; nothing is changed
    ///
    /// Hours are replayed, the oldest first: what of one fits beside what was admitted before in the window counts, the rest
    /// would have been denied. FOR is in how many hours, DENIED how much in all of them.
    Plan(PlanArgs),
    /// Derive every stored number from the ledger again (exit 1 if one differs)
    Audit(AuditArgs),
    /// Write what a running node, or its cluster, stores to a file, which `tollgate import` reads
    ///
    /// Each org is as of one commit, with everything that was acknowledged before the command began; calls are served
    /// meanwhile. The file is complete and on the disk when it has its name. Takes a caller that may reach every org: the file
    /// has all that is stored, also the names of upstream accounts.
    Snapshot(SnapshotArgs),
    /// Show who this command is to the node: name, role, orgs, and until when
    Whoami,
    /// Show the node itself: health, store, clock, bounds
    Node,
    /// Show the nodes that share the store, and how much each of them owns
    Cluster(ClusterArgs),
    /// Let a node hand over what it owns, before it is stopped for long
    Drain(DrainArgs),
    /// Read the configuration of the node again (exit 1 unless all of it is in force)
    Reload,
}

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// The tenant [default: all]
    #[arg(value_parser = org)]
    pub org: Option<OrgId>,
}

#[derive(Debug, Args)]
pub(super) struct SnapshotArgs {
    /// The file, which must not be there
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum OrgVerb {
    /// List orgs that have stored state: plan, state, the fullest limit, what was denied today
    List(OrgListArgs),
    /// Show everything that is stored of an org
    Show {
        /// The tenant
        #[arg(value_parser = org)]
        org: OrgId,
    },
    /// Give an org another name: calls under the new name and under every former one are about this org
    ///
    /// Its id stays, and no data moves: counts, sessions, reservations, budgets and request ids go on under any of its names.
    Rename(RenameArgs),
    /// Delete the stored state of an org, but not usage that waits for billing, and print the receipt
    ///
    /// It cannot be undone. At a terminal the name of the org confirms it; elsewhere --yes does. The receipt says how many
    /// rows of which kind were deleted, when, by whom and why; the log of the node has it as well.
    #[command(visible_alias = "purge")]
    Delete {
        #[command(flatten)]
        write: OrgWriteArgs,
        /// Do it without a question
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        why: WhyArgs,
    },
    /// Deny every acquire of an org until it is unfrozen, or for a while
    Freeze {
        #[command(flatten)]
        write: OrgWriteArgs,
        /// The reason, shown in denials
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: Option<Reason>,
        /// Say what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        end: EndArgs,
    },
    /// End a freeze
    Unfreeze {
        #[command(flatten)]
        write: OrgWriteArgs,
        #[command(flatten)]
        why: WhyArgs,
    },
    /// Show what operators have changed: who, from which value to which, why
    Changes(ChangesArgs),
    /// Limits that stand over everything else, for a while or until they are cleared
    #[command(subcommand)]
    Override(OverrideVerb),
    /// Add to a limit for a while, on top of what is in force
    ///
    /// It takes effect on the next call. Several grants add up, and each ends by itself.
    Grant(GrantArgs),
    /// End a grant now
    RevokeGrant(RevokeGrantArgs),
    /// Let the running window of a limit begin anew: nothing of it is used from now on
    ///
    /// What reservations hold stays held. Usage, billing and every other limit stay as they are.
    Reset(ResetArgs),
    /// Give an org another of the configured plans, for a while or until it is cleared
    SetPlan(SetPlanArgs),
    /// Let the rate backstop spare an org, for a while or until it is cleared
    Exempt(ExemptArgs),
}

/// Why an operator changes something.
#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// The reason, for the log of the org
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<Reason>,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct PageArgs {
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,
    /// Continue an earlier list: its nextPageToken
    #[arg(long, value_name = "TOKEN")]
    pub after: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct OrgWriteArgs {
    /// The tenant
    #[arg(value_parser = org)]
    pub org: OrgId,
    /// Makes a repetition of this call safe [default: a random one]
    #[arg(long, value_name = "ID", value_parser = request_id)]
    pub request_id: Option<RequestId>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
