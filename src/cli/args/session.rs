//! `tollgate session` on the command line.

use clap::{Args, Subcommand};

use super::{
    OrgWriteArgs, PageArgs, StatusArgs,
    values::{identity, incarnation, org, scope, session, total},
};
use crate::domain::ids::{Identity, Incarnation, OrgId, Scope, SessionId};

#[derive(Debug, Subcommand)]
pub enum SessionVerb {
    /// Ask whether a session may start, and start it (exit 3 if not)
    Start(SessionStartArgs),
    /// Say how long a session has run so far (exit 3 if it is to stop)
    Heartbeat(HeartbeatArgs),
    /// End a session and give its slot back
    End(SessionEndArgs),
    /// One session, also for a day after its end
    Show(SessionNameArgs),
    /// Sessions of an org
    List {
        /// The tenant
        #[arg(value_parser = org)]
        org: OrgId,
        /// Also those that ended within the last day
        #[arg(long)]
        ended: bool,
        #[command(flatten)]
        page: PageArgs,
    },
    /// Whether a session could start now, and what is left; takes nothing
    Status(StatusArgs),
}

#[derive(Debug, Args)]
pub struct SessionNameArgs {
    /// The tenant
    #[arg(value_parser = org)]
    pub org: OrgId,
    /// The session
    #[arg(value_parser = session)]
    pub session: SessionId,
}

#[derive(Debug, Args)]
pub struct SessionStartArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// A name for it that no other session of the org has
    #[arg(value_parser = session)]
    pub session: SessionId,
    /// Who or what it runs for; every later call must name the same
    #[arg(long, value_parser = identity)]
    pub identity: Identity,
    /// A part of the org in which its compute counts as well
    #[arg(long, value_parser = scope)]
    pub scope: Option<Scope>,
    /// Run every gate instead of stopping at the first denial
    #[arg(long)]
    pub explain: bool,
}

#[derive(Debug, Args)]
pub struct HeartbeatArgs {
    #[command(flatten)]
    pub of: SessionNameArgs,
    /// Whom it was started for
    #[arg(long, value_parser = identity)]
    pub identity: Identity,
    /// One life of the machine that counts; a new one counts from zero again
    #[arg(long, value_parser = incarnation)]
    pub incarnation: Incarnation,
    /// How long it has run in this incarnation
    #[arg(long, value_name = "SECONDS", value_parser = total())]
    pub total: i64,
}

#[derive(Debug, Args)]
pub struct SessionEndArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The session
    #[arg(value_parser = session)]
    pub session: SessionId,
    /// Whom it was started for
    #[arg(long, value_parser = identity)]
    pub identity: Identity,
    /// With --total, as in a heartbeat [default: the time since the last one is booked]
    #[arg(long, requires = "total", value_parser = incarnation)]
    pub incarnation: Option<Incarnation>,
    /// How long it has run in this incarnation
    #[arg(long, value_name = "SECONDS", requires = "incarnation", value_parser = total())]
    pub total: Option<i64>,
}
