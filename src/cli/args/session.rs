//! `tollgate session` on the command line.

use clap::{Args, Subcommand};

use super::{
    OrgWriteArgs, PageArgs, StatusArgs,
    values::{identity, incarnation, org, scope, session, total},
};
use crate::domain::ids::{Identity, Incarnation, OrgId, Scope, SessionId};

#[derive(Debug, Subcommand)]
pub(crate) enum SessionVerb {
    /// Ask whether a session may start, and start it (exit 3 if not)
    Start(SessionStartArgs),
    /// Report how long a session has run so far (exit 3 if it must stop)
    Heartbeat(HeartbeatArgs),
    /// End a session and free its slot
    End(SessionEndArgs),
    /// Show a session, until a day after its end
    Show(SessionNameArgs),
    /// List the sessions of an org
    List {
        /// The tenant
        #[arg(value_parser = org)]
        org: OrgId,
        /// Also sessions that ended within the last day
        #[arg(long)]
        ended: bool,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Show whether a session could start now, and what is left; consumes nothing
    Status(StatusArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SessionNameArgs {
    /// The tenant
    #[arg(value_parser = org)]
    pub org: OrgId,
    /// The session
    #[arg(value_parser = session)]
    pub session: SessionId,
}

#[derive(Debug, Args)]
pub(crate) struct SessionStartArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The name of the session, unique in the org
    #[arg(value_parser = session)]
    pub session: SessionId,
    /// Who or what the session runs for; every later call must name the same
    #[arg(long, value_parser = identity)]
    pub identity: Identity,
    /// A scope of the org in which its compute is counted as well, repeatable
    #[arg(long, value_parser = scope)]
    pub scope: Vec<Scope>,
    /// Run every gate instead of stopping at the first denial
    #[arg(long)]
    pub explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HeartbeatArgs {
    #[command(flatten)]
    pub of: SessionNameArgs,
    /// The identity that the session was started with
    #[arg(long, value_parser = identity)]
    pub identity: Identity,
    /// The incarnation of the machine that counts; a new one counts from zero
    #[arg(long, value_parser = incarnation)]
    pub incarnation: Incarnation,
    /// How long the session has run in this incarnation: whole seconds, or '1h 30m'
    #[arg(long, value_name = "TIME", value_parser = total)]
    pub total: i64,
}

#[derive(Debug, Args)]
pub(crate) struct SessionEndArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The session
    #[arg(value_parser = session)]
    pub session: SessionId,
    /// The identity that the session was started with
    #[arg(long, value_parser = identity)]
    pub identity: Identity,
    /// With --total, as in a heartbeat [default: the time since the last heartbeat is recorded]
    #[arg(long, requires = "total", value_parser = incarnation)]
    pub incarnation: Option<Incarnation>,
    /// How long the session has run in this incarnation: whole seconds, or '1h 30m'
    #[arg(long, value_name = "TIME", requires = "incarnation", value_parser = total)]
    pub total: Option<i64>,
}
