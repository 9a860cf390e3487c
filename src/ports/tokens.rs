//! Bearer tokens that nodes share: what a store keeps of them, and how a node notices that it keeps something else.

use std::fmt;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::StoreFault;
use crate::domain::window::Millis;

/// A token as a store keeps it: never its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// The part of the token that names it; public.
    pub id: String,
    /// Of its bearer. No two tokens share one.
    pub name: String,
    /// What the bearer is for, by its name.
    pub role: String,
    /// The orgs that it may reach.
    pub orgs: Vec<String>,
    /// The scopes that its calls may name.
    pub scopes: Vec<String>,
    /// The scopes that each of its calls is in.
    pub bind: Vec<String>,
    /// SHA-256 of the secret.
    pub sha256: Vec<u8>,
    /// When it was made.
    pub created: Millis,
    /// When it ends; without it never.
    pub expires: Option<Millis>,
}

/// All tokens of one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRows {
    /// Another one after each change. What came before is not known from it.
    pub mark: String,
    /// In the order in which they were made.
    pub rows: Vec<TokenRow>,
}

/// The tokens of all nodes, which a store keeps.
pub trait TokenStore: Send + Sync + fmt::Debug {
    /// All tokens, where their mark is not `seen`; `None` = nothing has changed since, which is cheap to say. What
    /// is not answered is given up within two seconds.
    fn changed<'a>(&'a self, seen: Option<&'a str>) -> BoxFuture<'a, Result<Option<TokenRows>, StoreFault>>;

    /// Counts hints that something has changed. It may miss some, so it is no reason not to ask.
    fn told(&self) -> watch::Receiver<u64>;
}
