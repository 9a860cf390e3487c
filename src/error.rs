//! Why a call was not carried out, from the actors up to the fronts.
//!
//! None of these is a verdict about a limit; `wire::status` is the one table to gRPC and HTTP.

use std::{fmt, time::Duration};

use crate::{
    auth::{Refused, Role},
    bounds::Bound,
    domain::{ids::OrgId, input::InputError, reach::ScopeRefused, refusal::OrgError},
    ports::{CommitError, StoreFault},
};

/// How fronts and owners call [`ServiceError::UnknownOrg`].
pub const ORG_UNKNOWN: &str = "ORG_UNKNOWN";

/// Why no decision was made, or a call was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceError {
    /// A field of the request is not allowed.
    Input(InputError),
    /// The state of the org does not permit the call.
    Org(OrgError),
    /// The store has failed, and nothing was recorded.
    Store(StoreFault),
    /// The store has failed with what the call changed: that may or may not be recorded.
    InDoubt(StoreFault),
    /// Another node owns the org.
    Moved,
    /// No node owns the org for certain just now.
    NoOwner,
    /// Shed before anything happened: too many calls in flight, of the org or of the node.
    OrgBusy {
        /// How many calls of one org may be in flight.
        most: u32,
    },
    /// Shed before anything happened: this node has as much under way as a bound of all orgs allows.
    NodeBusy {
        /// Which one.
        bound: Bound,
        /// Its value.
        most: u32,
    },
    /// Nothing is stored of the org, and there were too many such orgs within a minute.
    NewOrgs {
        /// Those of all callers, or those of one.
        bound: Bound,
        /// Its value.
        most: u32,
        /// When the minute is over.
        retry_in: Duration,
    },
    /// The configuration does not admit the org.
    NotAdmitted(OrgId),
    /// The disk has too little room for anything new.
    DiskLow {
        /// Bytes that are free.
        free: u64,
        /// Bytes that have to be.
        needed: u64,
    },
    /// Shed before anything happened: calls wait too long for their turn, and the org has its share in flight.
    OrgOverShare,
    /// Shed before anything was decoded: calls wait too long for their turn, and the caller has its share in flight.
    CallerOverShare,
    /// No answer in time; the command may or may not have been carried out.
    TimedOut,
    /// The actor ended before it answered; the command may or may not have been carried out.
    Interrupted,
    /// The answer was not that of the command: a defect here, never the caller's.
    Bug,
    /// The node is going away and admits nothing new.
    Draining,
    /// Nothing is kept of this org.
    UnknownOrg(OrgId),
    /// What is asked is another name of this org. Whoever routes the call carries it out there.
    LeadsTo(OrgId),
    /// The id cannot be a name of an org.
    NameTaken {
        /// Which one.
        name: OrgId,
        /// What it is.
        by: Taken,
    },
    /// Nothing is kept of this decision.
    UnknownDecision,
    /// The rows of an org are not those any more that a snapshot has begun to read.
    SnapshotBroken(OrgId),
    /// As many orgs as may be are being read for snapshots.
    SnapshotsOpen {
        /// How many that is.
        most: usize,
    },
    /// No node of this name lives in the cluster.
    UnknownNode(String),
    /// It is not known who calls.
    Unauthenticated(Refused),
    /// The role of the caller does not have this rpc.
    OtherRole {
        /// The caller's.
        role: Role,
        /// Those that have it.
        needed: &'static [Role],
    },
    /// The caller may not reach this org, be there one or not; or the whole node, where no org is named.
    OtherOrg,
    /// The caller may not use a scope that the call names, or has to name one.
    OtherScope(ScopeRefused),
    /// The node that owns the org has refused the call: its answer as it is.
    Relayed(Box<Relayed>),
    /// The node that owns the org cannot be reached.
    OwnerUnreachable {
        /// The call had been sent, so it may have been carried out.
        is_sent: bool,
    },
    /// Shed before anything was sent: as many calls as may be are on their way to the node that owns the org.
    OwnerBusy {
        /// How many that is.
        most: usize,
    },
}

/// The error of another node, as its caller gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    /// gRPC status code.
    pub code: i32,
    /// `UPPER_SNAKE`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// `google.rpc.Status`, encoded.
    pub details: Vec<u8>,
    /// The org of which the one that was asked is another name; `None` = it is an org, or not known.
    pub leads_to: Option<OrgId>,
}

/// What an id is that cannot become a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// An org of which something is kept.
    Org,
    /// An org that has a section in the configuration.
    Configured,
    /// A name of this org.
    NameOf(OrgId),
}

impl ServiceError {
    /// Nothing is kept of the org, as this node knows or its owner says.
    pub fn is_unknown_org(&self) -> bool {
        match self {
            Self::UnknownOrg(_) => true,
            Self::Relayed(relayed) => relayed.reason == ORG_UNKNOWN,
            _ => false,
        }
    }

    /// What the call was shed by, before anything happened; `None` where it was not shed.
    pub fn shed_by(&self) -> Option<&'static str> {
        match self {
            Self::OrgBusy { .. } => Some("org_in_flight"),
            Self::NodeBusy { bound, .. } => Some(bound.name()),
            Self::OrgOverShare => Some("org_share"),
            Self::CallerOverShare => Some("caller_share"),
            Self::OwnerBusy { .. } => Some("owner_in_flight"),
            _ => None,
        }
    }
}

impl From<InputError> for ServiceError {
    fn from(error: InputError) -> Self {
        Self::Input(error)
    }
}

impl From<CommitError> for ServiceError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Fenced => Self::Moved,
            CommitError::InDoubt(fault) => Self::InDoubt(fault),
            CommitError::Unavailable(fault) | CommitError::Lost(fault) => Self::Store(fault),
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => error.fmt(f),
            Self::Org(error) => error.fmt(f),
            Self::Store(_) => f.write_str("the store has failed; nothing was recorded"),
            Self::InDoubt(_) => {
                f.write_str("the store has failed; the call may have been carried out: retry with the same request_id")
            }
            Self::NoOwner => f.write_str("no node owns this org just now: retry with the same request_id"),
            Self::Moved => f.write_str("another node owns this org now: retry with the same request_id"),
            Self::OrgBusy { most } => f.write_str(&org_busy(*most)),
            Self::NodeBusy { bound, most } => {
                let what = match bound {
                    Bound::resident_orgs => "orgs in memory, none of which is idle",
                    Bound::watches => "streams of events open",
                    Bound::unread_bytes => "bytes of requests arriving",
                    _ => "calls in flight",
                };
                write!(f, "this node has as many {what}, as {bound} = {most} allows; this is overload, not a quota")
            }
            Self::NewOrgs { bound, most, .. } => write!(
                f,
                "{most} orgs within a minute were new, as many as {bound} allows; this is overload, not a quota"
            ),
            Self::NotAdmitted(org) => f.write_str(&not_admitted(org)),
            Self::DiskLow { free, needed } => {
                let (bytes, percent) = (Bound::disk_headroom_bytes, Bound::disk_headroom_percent);
                write!(
                    f,
                    "nothing new is admitted: {free} bytes are free on the disk of this node, \
                     and {bytes} and {percent} want {needed}; what runs goes on"
                )
            }
            Self::OrgOverShare => f.write_str(
                "calls wait too long for their turn on this node, and this org has its share of them in flight; this is \
                 overload, not a quota",
            ),
            Self::CallerOverShare => f.write_str(
                "calls wait too long for their turn on this node, and this connection has its share of them in flight; \
                 this is overload, not a quota",
            ),
            Self::TimedOut => {
                f.write_str("no answer in time; the call may have been carried out: retry with the same request_id")
            }
            Self::Interrupted => {
                f.write_str("interrupted; the call may have been carried out: retry with the same request_id")
            }
            Self::Bug => {
                f.write_str("an internal error; the call may have been carried out: retry with the same request_id")
            }
            Self::Draining => f.write_str("this node is draining and admits nothing new; ask another or try again"),
            Self::UnknownDecision => f.write_str(UNKNOWN_DECISION),
            Self::SnapshotBroken(org) => f.write_str(&snapshot_broken(org)),
            Self::SnapshotsOpen { most } => write!(f, "{most} orgs are being read for snapshots, as many as may be"),
            Self::UnknownNode(node) => write!(f, "no node {node} lives in this cluster"),
            Self::UnknownOrg(org) => write!(f, "nothing is kept of org {org}"),
            Self::LeadsTo(org) => f.write_str(&leads_to(org)),
            Self::NameTaken { name, by } => write!(f, "an org cannot be called {name}: {by}"),
            Self::Unauthenticated(refused) => refused.fmt(f),
            Self::OtherRole { role, needed } => {
                let needed: Vec<_> = needed.iter().map(|role| role.name()).collect();
                write!(f, "a caller of the role {role} may not call this; it takes {}", needed.join(" or "))
            }
            Self::OtherOrg => f.write_str("this caller may not reach the org that the call is about"),
            Self::OtherScope(refused) => refused.fmt(f),
            Self::Relayed(relayed) => f.write_str(&relayed.message),
            Self::OwnerUnreachable { is_sent } => f.write_str(unreachable(*is_sent)),
            Self::OwnerBusy { most } => f.write_str(&owner_busy(*most)),
        }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Org => f.write_str("something is kept of an org of this id; PurgeOrg would delete it"),
            Self::Configured => f.write_str("the configuration has a section [orgs] of this id"),
            Self::NameOf(org) => write!(f, "it is a name of org {org}"),
        }
    }
}

impl std::error::Error for ServiceError {}

const UNKNOWN_DECISION: &str = "nothing is kept of this decision: denials are kept for 7 days, admissions for two minutes and of \
     busy nodes a sample";

fn snapshot_broken(org: &OrgId) -> String {
    format!("org {org} was purged, has moved to another node, or was not read on in time: read it again from the start")
}

fn not_admitted(org: &OrgId) -> String {
    format!("org {org} is not admitted on this node: it is none of those that orgs.admit allows")
}

fn leads_to(org: &OrgId) -> String {
    format!("this is another name of org {org} since a moment ago: retry with the same request_id")
}

fn org_busy(most: u32) -> String {
    let bound = Bound::org_in_flight;
    format!("this org has {most} calls in flight, as many as {bound} allows; this is overload, not a quota")
}

fn unreachable(is_sent: bool) -> &'static str {
    if is_sent {
        "the node that owns this org cannot be reached any more; the call may have been carried out: retry with the same \
         request_id"
    } else {
        "the node that owns this org cannot be reached; the call was not carried out: try again"
    }
}

fn owner_busy(most: usize) -> String {
    format!(
        "{most} calls are on their way to the node that owns this org, as many as may be; this is overload, not a quota"
    )
}
