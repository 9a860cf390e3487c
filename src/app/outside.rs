//! Whom this node calls: the billing provider, and who receives events.

use std::sync::Arc;

use super::{
    Failure,
    billing::{self, Secrets},
};
use crate::{
    config::{Config, WebhookConfig},
    ports::{BillingProvider, Clock},
    webhook::{Endpoint, Endpoints, signing::WebhookKey},
};

/// Both, as they were configured last.
#[derive(Debug, Clone)]
pub(super) struct Outside {
    pub(super) provider: Arc<dyn BillingProvider>,
    pub(super) secrets: Secrets,
    pub(super) webhook: Arc<Endpoints>,
}

impl Outside {
    pub(super) fn of(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let (provider, secrets) = billing::provider(config, clock.clone())?;
        let webhook = Arc::new(Endpoints::new(clock));
        webhook.renew(endpoint(config)).map_err(|error| Failure(format!("webhook: {error}")))?;
        Ok(Self { provider, secrets, webhook })
    }

    /// Takes over what another configuration says of them, while they are called on.
    pub(super) fn renew(&self, config: &Config) {
        self.secrets.renew(config);
        if let Err(error) = self.webhook.renew(endpoint(config)) {
            tracing::error!(%error, "the webhook was not replaced, events go to the one before");
        }
    }
}

fn endpoint(config: &Config) -> Option<Endpoint> {
    let WebhookConfig { url, key, kinds: _, timeout } = config.webhook.as_ref()?;
    Some(Endpoint { url: url.clone(), key: WebhookKey::new(key.reveal()), timeout: *timeout })
}
