//! Who calls: a name, a role, and what it may reach.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::Refused;
use crate::{
    bounds::PRINCIPAL_BYTES,
    clock::{self, Until},
    domain::{
        input::InputError,
        reach::{OrgPatterns, ScopeRules},
        window::Millis,
    },
    ports::Clock,
};

/// What a principal is for; one role each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reports usage and heartbeats.
    Reporter,
    /// Asks before an execution, and settles after it; reports as well.
    Plane,
    /// Reads what is kept.
    Viewer,
    /// Sets limits and operates; may do everything but speak for another node.
    Admin,
    /// Another node of the cluster.
    Peer,
}

impl Role {
    /// Every role, in the order of documents.
    pub const ALL: [Self; 5] = [Self::Reporter, Self::Plane, Self::Viewer, Self::Admin, Self::Peer];

    /// As it is configured.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reporter => "reporter",
            Self::Plane => "plane",
            Self::Viewer => "viewer",
            Self::Admin => "admin",
            Self::Peer => "peer",
        }
    }

    /// Whether its calls are in scopes of an org.
    const fn has_scopes(self) -> bool {
        matches!(self, Self::Reporter | Self::Plane)
    }
}

impl std::str::FromStr for Role {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| InputError::new("role", text, format!("one of {}", names())))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who may call an rpc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever reports usage.
    Reports,
    /// Whoever executes.
    Executes,
    /// Whoever executes, and whoever reads.
    Reads,
    /// Whoever reads what only operators need.
    Views,
    /// Whoever operates.
    Operates,
    /// Whoever is known.
    Knows,
}

impl Access {
    /// Whether nothing is changed by it.
    pub const fn only_reads(self) -> bool {
        matches!(self, Self::Reads | Self::Views | Self::Knows)
    }

    /// The roles that have it.
    pub const fn roles(self) -> &'static [Role] {
        match self {
            Self::Reports => &[Role::Reporter, Role::Plane, Role::Admin],
            Self::Executes => &[Role::Plane, Role::Admin],
            Self::Reads => &[Role::Plane, Role::Viewer, Role::Admin],
            Self::Views => &[Role::Viewer, Role::Admin],
            Self::Operates => &[Role::Admin],
            Self::Knows => &[Role::Reporter, Role::Plane, Role::Viewer, Role::Admin],
        }
    }
}

/// What somebody is allowed, as a token file, a claim or the configuration says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What it is for.
    pub role: Role,
    /// `acme`, `acme-*`, `*`.
    pub orgs: Vec<String>,
    /// The scopes that its calls may name, one by one or as `agent/*`; empty = any, and none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The scopes that each of its calls is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bind: Vec<String>,
}

impl Grant {
    /// The principal of this name, until it ends.
    ///
    /// # Errors
    /// Naming what is not allowed.
    pub fn to(&self, name: &str, until: Option<Until>) -> Result<Principal, InputError> {
        if name.is_empty() || name.len() > PRINCIPAL_BYTES || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            let allowed = format!("1 to {PRINCIPAL_BYTES} printable ASCII characters without space");
            return Err(InputError::new("name", name, allowed));
        }
        if self.orgs.is_empty() {
            return Err(InputError::new("orgs", "", "at least one org, or \"*\" for all"));
        }
        for (field, scopes) in [("scopes", &self.scopes), ("bind", &self.bind)] {
            if let (false, Some(scope)) = (self.role.has_scopes(), scopes.first()) {
                return Err(InputError::new(field, scope, "no scope: only a plane or a reporter has some"));
            }
        }
        let texts = |list| <[String]>::iter(list).map(String::as_str);
        Ok(Principal {
            name: name.into(),
            role: self.role,
            orgs: OrgPatterns::parse(texts(&self.orgs))?,
            scopes: ScopeRules::parse(texts(&self.scopes), texts(&self.bind))?,
            granted: Some(self.clone()),
            until,
            revoked: AtomicBool::new(false),
            worked_on: Some(Arc::default()),
            shown: OnceLock::new(),
        })
    }
}

/// Who calls. Shared by everything that it has begun, so that ending it ends all of that.
#[derive(Debug)]
pub struct Principal {
    name: Arc<str>,
    role: Role,
    orgs: OrgPatterns,
    scopes: Option<Arc<ScopeRules>>,
    /// What the two above are made of; `None` where everybody is this principal.
    granted: Option<Grant>,
    until: Option<Until>,
    revoked: AtomicBool,
    worked_on: Option<Arc<AtomicU32>>,
    /// As another node is shown it.
    shown: OnceLock<Arc<[u8]>>,
}

impl Principal {
    /// Whoever calls a node that asks nobody who they are.
    pub fn anybody() -> Self {
        Self::somebody("anybody")
    }

    /// The same, by the address that the call comes from.
    pub fn somebody(at: &str) -> Self {
        Self {
            name: at.into(),
            role: Role::Admin,
            orgs: OrgPatterns::all(),
            scopes: None,
            granted: None,
            until: None,
            revoked: AtomicBool::new(false),
            worked_on: None,
            shown: OnceLock::new(),
        }
    }

    /// What it was made of; `None` where everybody is this principal. [`Grant::to`] makes one that is judged alike out
    /// of it and the name, on any node.
    pub fn granted(&self) -> Option<&Grant> {
        self.granted.as_ref()
    }

    /// As another node is shown it: `encode` is asked once.
    pub fn shown(&self, encode: impl FnOnce(&Self) -> Vec<u8>) -> &Arc<[u8]> {
        self.shown.get_or_init(|| encode(self).into())
    }

    /// In the log and in the audit; never a secret.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, to be kept.
    pub fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The orgs that it may reach.
    pub fn orgs(&self) -> &OrgPatterns {
        &self.orgs
    }

    /// Which scopes it may use, where they are not all.
    pub fn scopes(&self) -> Option<&Arc<ScopeRules>> {
        self.scopes.as_ref()
    }

    /// Its calls that are being worked on, counted by who works on them; `None` where everybody is this principal.
    pub fn worked_on(&self) -> Option<&Arc<AtomicU32>> {
        self.worked_on.as_ref()
    }

    /// From now on nobody is this principal.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    /// # Errors
    /// Where it has been revoked, or has ended.
    pub fn is_valid(&self) -> Result<(), Refused> {
        if self.revoked.load(Ordering::Acquire) {
            return Err(Refused::Invalid);
        }
        match self.until {
            Some(until) if until.is_over() => Err(Refused::Expired),
            _ => Ok(()),
        }
    }

    /// The same where the node knows a later time than its wall clock, which was set back or is behind since the start.
    ///
    /// # Errors
    /// As [`Principal::is_valid`].
    pub fn is_valid_by(&self, clock: &dyn Clock) -> Result<(), Refused> {
        self.is_valid()?;
        match self.ends_at() {
            Some(end) if clock.now() >= end => Err(Refused::Expired),
            _ => Ok(()),
        }
    }

    /// When it ends, in milliseconds since the epoch.
    pub fn ends_at(&self) -> Option<Millis> {
        self.until.map(|until| until.at())
    }
}

/// An end that is given in milliseconds since the epoch.
pub fn until(wall: Millis) -> Until {
    clock::until(wall)
}
