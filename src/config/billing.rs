//! `[billing]`: who keeps the balances, and what is done with what it says.
//!
//! | key | |
//! | --- | --- |
//! | `provider` | `"none"`, `"static"` (what plans include, from the ledger) or `"autumn"` |
//! | `feature`, `environment` | the provider's name of an execution; names this installation in its keys |
//! | `allow_ttl`, `deny_ttl`, `deny_revalidate`, `exempt_ttl` | how long an answer is remembered |
//! | `deny_stale` | how long a denial stands beyond that while the provider cannot answer |
//! | `timeout` | the time for one question, shorter than `bounds.decision_budget_ms` |
//! | `export`, `overage_behavior`, `[billing.features]` | which usage is reported when, and how it is booked |
//! | `on_no_entitlement`, `on_unknown_customer`, `on_indeterminate` | what happens without an answer |
//! | `rate_exempt`, `free_plans` | whom the rate backstop spares |
//! | `upgrade_url` | where an org gets more |
//! | `[billing.autumn]` | see [`AutumnConfig`] |

pub(super) mod autumn;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub use self::autumn::AutumnConfig;
use super::{
    mistake::{Place, join},
    reader::{Parsed, Section},
    tree::Entry,
    values::{NAME_RULE, choice, duration, name, names, on_indeterminate},
};
use crate::{
    bounds::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS},
    domain::{
        ids::Meter,
        policy::{BalancePolicy, BalanceSource, Exemption, ExportWhen, OnIndeterminate},
        window::Millis,
    },
};

/// Plans that cost nothing; more than a price list has.
pub(super) const FREE_PLANS_MAX: usize = 100;
/// An address that fits in a line of a browser.
pub(super) const URL_BYTES_MAX: usize = 2_048;
pub(super) const TIMEOUT_MIN_MS: Millis = 10;
pub(super) const TIMEOUT_MAX_MS: Millis = 30 * SECOND_MS;
pub(super) const REVALIDATE_MIN_MS: Millis = 100;

/// Who keeps the balances, and how it is asked. Nothing of it changes without a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Billing {
    /// Who keeps the balances.
    pub provider: ProviderKind,
    /// How it is asked.
    pub rules: BillingRules,
}

/// Who keeps the balances of orgs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProviderKind {
    /// Nothing is metered.
    #[default]
    None,
    /// What the plans of this configuration include, from the org's own ledger.
    Static,
    /// Autumn, over HTTP.
    Autumn(AutumnConfig),
}

impl ProviderKind {
    /// As it is configured.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None => Choice::None.name(),
            Self::Static => Choice::Static.name(),
            Self::Autumn(_) => Choice::Autumn.name(),
        }
    }
}

/// How a provider is asked, and how long its answers are remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingRules {
    /// Names the installation in the keys of what is remembered and of exported usage.
    pub environment: Arc<str>,
    /// The provider's name for an execution.
    pub feature: Arc<str>,
    /// How long an answer that allows is remembered.
    pub allow_ttl: Duration,
    /// How long an answer that denies is remembered.
    pub deny_ttl: Duration,
    /// A denial that is being asked for is checked again this often.
    pub deny_revalidate: Duration,
    /// How long it is remembered that an org pays.
    pub exempt_ttl: Duration,
    /// Time for one question to the provider.
    pub timeout: Duration,
    /// Sent to the provider with every report of usage.
    pub overage_behavior: OverageBehavior,
    /// Plans that make nobody a paying customer.
    pub free_plans: BTreeSet<String>,
}

impl Default for BillingRules {
    fn default() -> Self {
        Self {
            environment: "live".into(),
            feature: "executions".into(),
            allow_ttl: Duration::from_mins(1),
            deny_ttl: Duration::from_mins(1),
            deny_revalidate: Duration::from_secs(2),
            exempt_ttl: Duration::from_mins(1),
            timeout: Duration::from_secs(2),
            overage_behavior: OverageBehavior::default(),
            free_plans: BTreeSet::from(["free".to_owned()]),
        }
    }
}

/// What the provider does with usage beyond the balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverageBehavior {
    /// Books all of it: what happened is not forgotten, and the balance may be below zero.
    #[default]
    Overflow,
    /// Books what fits and drops the rest, which is Autumn's own default.
    Cap,
}

impl OverageBehavior {
    /// As it is configured, and as Autumn calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Cap => "cap",
        }
    }
}

/// The provider by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Choice {
    #[default]
    None,
    Static,
    Autumn,
}

impl Choice {
    pub(super) const ALL: [(&str, Self); 3] =
        [("none", Self::None), ("static", Self::Static), ("autumn", Self::Autumn)];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Static => "static",
            Self::Autumn => "autumn",
        }
    }

    /// Refuses a key that has no meaning with this provider.
    pub(super) fn only_with(self, needed: Self) -> Parsed<()> {
        if self == needed {
            return Ok(());
        }
        Err(format!("only with billing.provider = \"{}\"; it is \"{}\"", needed.name(), self.name()).into())
    }
}

/// The keys that [`BillingPolicy`] is read from.
pub(super) const POLICY_KEYS: [&str; 8] = [
    "on_no_entitlement",
    "on_unknown_customer",
    "on_indeterminate",
    "deny_stale",
    "upgrade_url",
    "export",
    "features",
    "rate_exempt",
];

/// What of `[billing]` goes into the policy of every org.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct BillingPolicy {
    pub(super) provider: Choice,
    pub(super) balance: BalancePolicy,
    /// Of every org that is not exempt by name or by plan.
    pub(super) exempt: Exemption,
}

/// Time for one decision, and where it was set.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) at: Option<Place>,
    pub(super) ms: u32,
}

pub(super) fn billing(mut section: Section<'_>, budget: &Budget) -> (Billing, BillingPolicy) {
    let provider_at = section.place("provider").unwrap_or_else(|| section.at().clone());
    let provider = section.read("provider", |entry| choice(entry, &Choice::ALL)).unwrap_or_default();
    let timeout_at = section.place("timeout");
    let rules = rules(&mut section);
    if let Some(at) = timeout_at.or_else(|| budget.at.clone())
        && provider == Choice::Autumn
        && rules.timeout >= Duration::from_millis(budget.ms.into())
    {
        let shown = format!("{} ms", rules.timeout.as_millis());
        let allowed = format!("shorter than bounds.decision_budget_ms, which is {} ms", budget.ms);
        section.findings.refuse(&at, "billing.timeout", shown, allowed);
    }
    let policy = policy(&mut section, provider, &rules);
    let autumn = autumn::autumn(section.section("autumn"), (provider == Choice::Autumn).then_some(&provider_at));
    let provider = match (provider, autumn) {
        (Choice::Static, _) => ProviderKind::Static,
        (Choice::Autumn, Some(autumn)) => ProviderKind::Autumn(autumn),
        // Without its key it was refused.
        (Choice::None | Choice::Autumn, _) => ProviderKind::None,
    };
    (Billing { provider, rules }, policy)
}

fn rules(section: &mut Section<'_>) -> BillingRules {
    let default = BillingRules::default();
    let behaviors = [OverageBehavior::Overflow, OverageBehavior::Cap].map(|behavior| (behavior.name(), behavior));
    let shared = |text: String| -> Arc<str> { text.into() };
    let ttl = |entry: &Entry| duration(entry, SECOND_MS, HOUR_MS);
    BillingRules {
        feature: section.read("feature", name).map_or(default.feature, shared),
        environment: section.read("environment", name).map_or(default.environment, shared),
        allow_ttl: section.read("allow_ttl", ttl).unwrap_or(default.allow_ttl),
        deny_ttl: section.read("deny_ttl", ttl).unwrap_or(default.deny_ttl),
        deny_revalidate: section
            .read("deny_revalidate", |entry| duration(entry, REVALIDATE_MIN_MS, MINUTE_MS))
            .unwrap_or(default.deny_revalidate),
        exempt_ttl: section.read("exempt_ttl", ttl).unwrap_or(default.exempt_ttl),
        timeout: section
            .read("timeout", |entry| duration(entry, TIMEOUT_MIN_MS, TIMEOUT_MAX_MS))
            .unwrap_or(default.timeout),
        overage_behavior: section
            .read("overage_behavior", |entry| choice(entry, &behaviors))
            .unwrap_or(default.overage_behavior),
        free_plans: section.read("free_plans", |entry| names(entry, FREE_PLANS_MAX)).unwrap_or(default.free_plans),
    }
}

fn policy(section: &mut Section<'_>, provider: Choice, rules: &BillingRules) -> BillingPolicy {
    let mut read = |key| section.read(key, on_indeterminate).unwrap_or(OnIndeterminate::Allow);
    let mut balance = BalancePolicy {
        on_no_entitlement: read("on_no_entitlement"),
        on_unknown_customer: read("on_unknown_customer"),
        on_indeterminate: read("on_indeterminate"),
        ..BalancePolicy::default()
    };
    balance.deny_stale = section.read("deny_stale", |entry| deny_stale(entry, provider)).unwrap_or_default();
    balance.upgrade_url = section.read("upgrade_url", upgrade_url).unwrap_or_default();
    let export = export(section, provider);
    let features = features(section.section("features"), rules);
    let exemptions = [("off", Exemption::Never), ("paying", Exemption::IfPaying)];
    let exempt = section.read("rate_exempt", |entry| {
        let exempt = choice(entry, &exemptions)?;
        if exempt != Exemption::Never {
            provider.only_with(Choice::Autumn)?;
        }
        Ok(exempt)
    });
    match provider {
        Choice::None => {}
        Choice::Static => balance.source = BalanceSource::NotIncluded,
        Choice::Autumn => {
            balance.source = BalanceSource::Provider;
            balance.export = export;
            balance.environment = Arc::clone(&rules.environment);
            balance.features = Arc::new(features);
        }
    }
    BillingPolicy { provider, balance, exempt: exempt.unwrap_or_default() }
}

/// Zero is off.
fn deny_stale(entry: &Entry, provider: Choice) -> Parsed<Duration> {
    if entry.text() == Some("off") {
        return Ok(Duration::ZERO);
    }
    provider.only_with(Choice::Autumn)?;
    duration(entry, SECOND_MS, DAY_MS).map_err(|rule| format!("{rule}, or \"off\"").into())
}

fn export(section: &mut Section<'_>, provider: Choice) -> ExportWhen {
    let choices =
        [("completed", ExportWhen::Completed), ("admitted", ExportWhen::Admitted), ("off", ExportWhen::Never)];
    let at = section.place("export");
    let export = section.read("export", |entry| choice(entry, &choices)).unwrap_or(ExportWhen::Completed);
    // The default is no wish.
    if let Some(at) = at
        && export == ExportWhen::Admitted
        && provider != Choice::Autumn
    {
        let text = format!("billing.export has no effect: provider \"{}\" does not accept usage", provider.name());
        section.findings.warn(&at, text);
    }
    export
}

/// Exported meters and the provider's name for each. Executions are always `feature`.
fn features(mut section: Section<'_>, rules: &BillingRules) -> BTreeMap<Meter, Arc<str>> {
    let executions = Meter::executions();
    let mut features = BTreeMap::new();
    for (key, entry) in section.take_named() {
        let path = join(section.path(), &key);
        match Meter::parse(section.path(), &key) {
            Ok(meter) if meter == executions => {
                section.findings.refuse(&entry.key_at, &path, entry.shown(), "set by billing.feature");
            }
            Ok(meter) => match name(&entry) {
                Ok(feature) => drop(features.insert(meter, Arc::from(feature))),
                Err(_) => section.findings.refuse(
                    &entry.value_at,
                    &path,
                    entry.shown(),
                    format!("the provider's name for this meter, {NAME_RULE}"),
                ),
            },
            Err(error) => section.findings.add(&entry.key_at, error.to_string()),
        }
    }
    features.insert(executions, Arc::clone(&rules.feature));
    features
}

fn upgrade_url(entry: &Entry) -> Parsed<Arc<str>> {
    let is_url = |text: &str| {
        let url = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        url.is_some() && text.len() <= URL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let text = entry.text().filter(|text| text.is_empty() || is_url(text));
    text.map(Arc::from).ok_or_else(|| "a URL such as \"https://example.com/upgrade\", or \"\" for none".into())
}

impl Billing {
    /// Whether policies that were made for `new` can be enforced by what was started with `self`:
    /// they name the same provider, feature and environment.
    pub(super) fn can_enforce_policies_of(&self, new: &Self) -> bool {
        self.provider.name() == new.provider.name()
            && self.rules.feature == new.rules.feature
            && self.rules.environment == new.rules.environment
    }
}
