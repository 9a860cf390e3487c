//! What a scope may be called, and what its name says: an upstream account, a pool, or what scopes share.

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

use super::{AccountId, Meter, PoolId, Scope, WILDCARD, is_id, mask};
use crate::domain::input::InputError;

/// What a scope of an upstream account begins with; the account's id follows.
const OF_ACCOUNT: &str = "account/";
const OF_POOL: &str = "pool/";
/// Where scopes are counted that find no room for ledgers of their own. Of those that a pattern limits, its name
/// follows: `other/agent/*`. No id ends so.
const OTHER: &str = "other";
const OTHER_RULE: &str = "any scope but `other`: that is where the node counts scopes past ledgers_per_org";
const COUNTED_RULE: &str = "any scope that does not begin with account/ or pool/: those are upstream \
                            accounts and pools, and only PoolService charges them";

/// An id, or the id of an account or a pool behind its kind: that one may be as long as any.
pub(super) fn is_scope(text: &str) -> bool {
    let behind = [OF_ACCOUNT, OF_POOL].iter().find_map(|kind| text.strip_prefix(kind));
    let shared = shared_by(text).is_some_and(|prefix| prefix.is_empty() || is_id(prefix));
    text.is_empty() || is_id(text) || behind.is_some_and(is_id) || shared
}

/// What the names begin with of those that share the scope `other/agent/*`.
fn shared_by(text: &str) -> Option<&str> {
    text.strip_prefix(OTHER)?.strip_prefix('/')?.strip_suffix(WILDCARD)
}

/// A scope as it may be shown: an account is a secret.
pub(super) fn shown_scope(text: &str) -> Cow<'_, str> {
    match text.strip_prefix(OF_ACCOUNT) {
        Some(account) => Cow::Owned(format!("{OF_ACCOUNT}{}", mask(account))),
        None => Cow::Borrowed(text),
    }
}

impl Scope {
    well_known! {
        /// The org itself.
        org = "";
        /// What scopes share that find no room for ledgers of their own and that no pattern limits.
        other = OTHER;
    }

    /// What those of them share that begin with `prefix` and have the limits of this pattern: `other/agent/*`.
    pub fn others_of(prefix: &str) -> Self {
        Self(format!("{OTHER}/{prefix}{WILDCARD}").into())
    }

    /// Whether several scopes share it. No call names it, and no limit.
    pub fn is_shared(&self) -> bool {
        &*self.0 == OTHER || self.shared_by().is_some()
    }

    /// What the names begin with of those that share it and have the limits of one pattern.
    pub fn shared_by(&self) -> Option<&str> {
        shared_by(&self.0)
    }

    /// The same, borrowed.
    pub fn of_org() -> &'static Self {
        static ORG: LazyLock<Scope> = LazyLock::new(Scope::org);
        &ORG
    }

    /// Checks `text` where somebody chooses the scope: not one that the node counts others in.
    pub fn parse_chosen(field: &str, text: &str) -> Result<Self, InputError> {
        let scope = Self::parse(field, text)?;
        if scope.is_shared() { Err(InputError::new(field, text, OTHER_RULE)) } else { Ok(scope) }
    }

    /// The same where a caller chooses it. Upstream accounts and pools count outside of the org: a call that
    /// could name one would evade every limit of the org.
    pub fn parse_counted(field: &str, text: &str) -> Result<Self, InputError> {
        let scope = Self::parse_chosen(field, text)?;
        if scope.counts_for_org() { Ok(scope) } else { Err(InputError::new(field, scope.shown(), COUNTED_RULE)) }
    }

    /// The meters that are counted here; `None` where any may be.
    pub fn meters(&self) -> Option<[Meter; 2]> {
        if self.0.starts_with(OF_ACCOUNT) {
            Some([Meter::executions(), Meter::bytes()])
        } else if self.0.starts_with(OF_POOL) {
            Some([Meter::calls(), Meter::bytes()])
        } else {
            None
        }
    }

    /// Whether it is empty: the org itself.
    pub fn is_org(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether what happens here counts in `counted`: in itself, and in the org.
    pub fn counts_in(&self, counted: &Self) -> bool {
        self == counted || (counted.is_org() && self.counts_for_org())
    }

    /// Whether a charge here also counts for the org: upstream accounts and pools do not.
    pub fn counts_for_org(&self) -> bool {
        !self.0.starts_with(OF_ACCOUNT) && !self.0.starts_with(OF_POOL)
    }

    /// As people see it: the name of an account is masked.
    pub fn shown(&self) -> Cow<'_, str> {
        shown_scope(&self.0)
    }

    /// The same for an answer; only the name of an account needs a text of its own.
    pub fn shown_shared(&self) -> Arc<str> {
        match self.shown() {
            Cow::Borrowed(_) => self.0.clone(),
            Cow::Owned(masked) => masked.into(),
        }
    }

    /// The account that this is the scope of.
    pub fn account(&self) -> Option<&str> {
        self.0.strip_prefix(OF_ACCOUNT)
    }
}

impl From<&AccountId> for Scope {
    fn from(account: &AccountId) -> Self {
        Self(format!("{OF_ACCOUNT}{}", account.0).into())
    }
}

impl From<&PoolId> for Scope {
    fn from(pool: &PoolId) -> Self {
        Self(format!("{OF_POOL}{}", pool.0).into())
    }
}
