//! From the billing section of the configuration to what asks, remembers and verifies.

use std::sync::Arc;

use super::Failure;
use crate::{
    actors::billing::BillingRules,
    billing::{
        NoBilling,
        autumn::{Autumn, AutumnSettings, Overage, SecretKey},
        breaker::BreakerSettings,
        webhook::WebhookKey,
    },
    config::{AutumnConfig, Config, OverageBehavior, ProviderKind},
    domain::ids::Meter,
    ports::{BillingProvider, Clock},
};

/// Who keeps the balances. With `static` the org's own ledger does, and nobody is asked.
pub(super) fn provider(config: &Config, clock: Arc<dyn Clock>) -> Result<Arc<dyn BillingProvider>, Failure> {
    match &config.billing.provider {
        ProviderKind::None | ProviderKind::Static => Ok(Arc::new(NoBilling)),
        ProviderKind::Autumn(autumn) => {
            let failed = |error| Failure(format!("billing.autumn: {error}"));
            let key = SecretKey::parse(autumn.secret_key.reveal()).map_err(failed)?;
            Ok(Arc::new(Autumn::new(settings(config, autumn, key), clock).map_err(failed)?))
        }
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

/// The key that signs webhooks, where there is one.
pub(super) fn webhook_key(config: &Config) -> Option<WebhookKey> {
    match &config.billing.provider {
        ProviderKind::Autumn(autumn) => autumn.webhook_key.as_ref().map(|key| WebhookKey::new(key.reveal())),
        ProviderKind::None | ProviderKind::Static => None,
    }
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
