//! The keys that tokens are signed with, while the node runs: read again when their file changes, asked for again at
//! their URL.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    auth::{Authenticator, Issuer, KeysRead},
    service::Service,
};

/// How long the first calls are kept waiting for keys; without them no token is good.
const FIRST_WITHIN: Duration = Duration::from_secs(2);
const KEY: &str = "auth.jwt";

/// What was said last of the keys, so that it is said once.
#[derive(Debug)]
pub(super) struct Keys {
    issuer: Arc<Issuer>,
    service: Arc<Service>,
    refused: Option<String>,
}

impl Keys {
    /// Those of the issuer, where callers have tokens of one.
    pub(super) async fn of(rpcs: &Authenticator, service: &Arc<Service>) -> Option<Self> {
        let issuer = rpcs.sources().jwt.clone()?;
        Some(Self::open(issuer, service.clone()).await)
    }

    /// Reads the keys for the first time where that has not been done at start.
    async fn open(issuer: Arc<Issuer>, service: Arc<Service>) -> Self {
        let mut keys = Self { issuer, service, refused: None };
        keys.say_how_many();
        if keys.issuer.keys().is_none() && timeout(FIRST_WITHIN, keys.read()).await.is_err() {
            keys.refuse(format!("they did not come within {FIRST_WITHIN:?}"));
        }
        keys
    }

    /// Reads them as long as the node runs.
    pub(super) async fn watch(mut self) {
        loop {
            self.issuer.due().await;
            self.read().await;
        }
    }

    async fn read(&mut self) {
        match self.issuer.read_again().await {
            Ok(KeysRead { changed, keys, revoked }) => {
                if changed {
                    tracing::info!(keys, revoked, "other keys are trusted to have signed tokens from now on");
                }
                if keys == 0 && changed {
                    tracing::error!("the key set of auth.jwt has no key: no token lets anybody in");
                }
                self.refused = None;
                self.service.identity_trouble(KEY, None);
            }
            Err(why) => self.refuse(why),
        }
        self.say_how_many();
    }

    /// Once per cause.
    fn refuse(&mut self, why: String) {
        self.service.metrics().jwt_keys_refused();
        if self.refused.as_ref() == Some(&why) {
            return;
        }
        let trouble = if self.issuer.keys().is_some() {
            tracing::error!(%why, "the keys of auth.jwt were not read again, those before are used on");
            format!("the keys of auth.jwt are those of before: {why}")
        } else {
            tracing::error!(%why, "the keys of auth.jwt could not be read yet: no token lets anybody in");
            format!("no token of auth.jwt lets anybody in, its keys could not be read yet: {why}")
        };
        self.service.identity_trouble(KEY, Some(trouble));
        self.refused = Some(why);
    }

    fn say_how_many(&self) {
        self.service.metrics().jwt_keys(self.issuer.keys().unwrap_or(0));
    }
}
