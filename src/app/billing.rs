//! From the billing section of the configuration to what asks, remembers and verifies.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Failure;
use crate::{
    actors::billing::BillingRules,
    billing::{
        NoBilling,
        autumn::{Autumn, AutumnSettings, Overage, SecretKey},
        breaker::BreakerSettings,
    },
    config::{AutumnConfig, Config, OverageBehavior, ProviderKind},
    domain::ids::Meter,
    ports::{BillingProvider, Clock},
    webhook::signing::WebhookKey,
};

/// Who keeps the balances, with the secrets that it shares with this node. With `static` the org's own ledger keeps
/// them, and nobody is asked.
pub(super) fn provider(config: &Config, clock: Arc<dyn Clock>) -> Result<(Arc<dyn BillingProvider>, Secrets), Failure> {
    match &config.billing.provider {
        ProviderKind::None | ProviderKind::Static => Ok((Arc::new(NoBilling), Secrets::default())),
        ProviderKind::Autumn(config_of) => {
            let failed = |error| Failure(format!("billing.autumn: {error}"));
            let key = SecretKey::parse(config_of.secret_key.reveal()).map_err(failed)?;
            let autumn = Arc::new(Autumn::new(settings(config, config_of, key), clock).map_err(failed)?);
            let webhook = Arc::new(ArcSwapOption::from_pointee(webhook_key(config_of)));
            Ok((autumn.clone(), Secrets { autumn: Some(autumn), webhook }))
        }
    }
}

/// What a reload replaces while the provider is asked on.
#[derive(Debug, Clone, Default)]
pub(super) struct Secrets {
    autumn: Option<Arc<Autumn>>,
    webhook: Arc<ArcSwapOption<WebhookKey>>,
}

impl Secrets {
    /// The key that signs webhooks, where there is one.
    pub(super) fn webhook(&self) -> Arc<ArcSwapOption<WebhookKey>> {
        self.webhook.clone()
    }

    /// Takes over those of a configuration that runs from now on: the next call has them.
    pub(super) fn renew(&self, config: &Config) {
        let (Some(autumn), ProviderKind::Autumn(config)) = (&self.autumn, &config.billing.provider) else { return };
        let key = SecretKey::parse(config.secret_key.reveal());
        if let Err(error) = key.and_then(|key| autumn.authorise(&key)) {
            tracing::error!(%error, "the key of billing.autumn was not replaced, the one before is used on");
        }
        self.webhook.store(webhook_key(config).map(Arc::new));
    }
}

fn settings(config: &Config, autumn: &AutumnConfig, secret_key: SecretKey) -> AutumnSettings {
    let rules = &config.billing.rules;
    AutumnSettings {
        base_url: autumn.base_url.clone(),
        secret_key,
        api_version: autumn.api_version.clone(),
        feature: rules.feature.clone(),
        timeout: rules.timeout,
        overage_behavior: match rules.overage_behavior {
            OverageBehavior::Overflow => Overage::Overflow,
            OverageBehavior::Cap => Overage::Cap,
        },
        free_plans: rules.free_plans.iter().cloned().collect(),
        breaker: BreakerSettings { failures: autumn.breaker_failures, open: autumn.breaker_pause },
    }
}

fn webhook_key(autumn: &AutumnConfig) -> Option<WebhookKey> {
    autumn.webhook_key.as_ref().map(|key| WebhookKey::new(key.reveal()))
}

pub(super) fn rules(config: &Config) -> BillingRules {
    let (rules, bounds) = (&config.billing.rules, &config.bounds);
    BillingRules {
        environment: rules.environment.clone(),
        feature: rules.feature.clone(),
        meter: Meter::executions(),
        allow_ttl: rules.allow_ttl,
        deny_ttl: rules.deny_ttl,
        deny_revalidate: rules.deny_revalidate,
        exempt_ttl: rules.exempt_ttl,
        orgs_max: bounds.billing_orgs,
        in_flight_max: bounds.billing_in_flight,
        waiting_max: bounds.billing_waiting,
    }
}
