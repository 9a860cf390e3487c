//! What a reload does, key by key.
//!
//! One function gives both what runs afterwards and which keys wait for a restart, so the two cannot
//! disagree. Each struct of the configuration is taken apart here without `..`: a new key does not
//! compile until it either comes from the new configuration (it applies at once) or goes through
//! [`Waiting::at_start`]. What is announced beside it, old and new values, is what the two configurations say.

use std::path::PathBuf;

use super::{
    Auth, AutumnConfig, Billing, BillingRules, CertificatesConfig, Change, Cluster, Config, Cors, Durability,
    JwtConfig, Listen, Log, PeerFiles, Policies, ProviderKind, TlsFiles, Tracing,
    billing::POLICY_KEYS,
    policies::POLICY_SECTIONS,
    said::{Said, is_in},
};
use crate::bounds::{Applies, Bound, Bounds};

const SECRET_KEY: &str = "billing.autumn.secret_key_file";
const WEBHOOK_KEY: &str = "billing.autumn.webhook_secret_file";

/// The result of a reload.
#[derive(Debug, PartialEq, Eq)]
pub struct Reload {
    /// What runs now. Keys that need a restart keep their old values, so that the next reload names
    /// them again.
    pub running: Config,
    /// Keys that differ in the new configuration and take effect only with a restart.
    pub needs_restart: Vec<String>,
    /// Every key that differs from what ran, each with whether it takes effect now.
    pub changes: Vec<Change>,
}

/// The keys that wait for a restart.
#[derive(Debug, Default)]
struct Waiting {
    named: Vec<String>,
    /// Sections that wait as a whole, with a key that is named.
    sections: Vec<&'static str>,
}

impl Waiting {
    /// Keeps the old value of a key that is read once, at start, and notes the key where the new
    /// value differs.
    fn at_start<T: PartialEq>(&mut self, key: &str, old: T, new: &T) -> T {
        if old != *new {
            self.named.push(key.to_owned());
        }
        old
    }

    fn holds(&self, key: &str) -> bool {
        self.named.iter().map(String::as_str).chain(self.sections.iter().copied()).any(|name| is_in(key, name))
    }
}

impl Config {
    /// Takes over what can change while a node runs. With another provider, feature or environment
    /// come other policies, so those wait for the restart as well.
    #[must_use]
    pub fn reload(self, new: Self) -> Reload {
        let mut waits = Waiting::default();
        let can_enforce = self.billing.can_enforce_policies_of(&new.billing);
        let mut changes = self.said.changes(&new.said, &changed_secrets(&self, &new));
        let Self {
            listen,
            cors,
            tls,
            auth,
            cluster,
            data_dir,
            durability,
            bounds,
            node,
            log,
            tracing,
            gateways,
            billing,
            webhook,
            policies,
            pool_stats,
            accept_lost_limits,
            is_blank,
            said,
            warnings,
        } = new;
        let mut running = Self {
            listen: reload_listen(self.listen, &listen, &mut waits),
            cors: reload_cors(self.cors, &cors, &mut waits),
            tls: reload_tls(self.tls, tls, &mut waits),
            auth: reload_auth(self.auth, &auth, &mut waits),
            cluster: reload_cluster(self.cluster, &cluster, &mut waits),
            data_dir: waits.at_start("data.dir", self.data_dir, &data_dir),
            durability: reload_durability(self.durability, &durability, &mut waits),
            node: waits.at_start("node.name", self.node, &node),
            log: reload_log(self.log, &log, &mut waits),
            tracing: reload_tracing(self.tracing, &tracing, &mut waits),
            gateways,
            billing: reload_billing(self.billing, billing, &mut waits),
            webhook,
            policies: reload_policies(self.policies, policies, can_enforce, &changes, &mut waits),
            bounds: reload_bounds(self.bounds, &bounds, &mut waits),
            pool_stats,
            accept_lost_limits,
            is_blank,
            said: Said::default(),
            warnings,
        };
        for change in &mut changes {
            change.needs_restart = waits.holds(&change.key);
        }
        running.said = self.said.running(said, &changes);
        Reload { running, needs_restart: waits.named, changes }
    }
}

/// The keys of secrets that have changed, wherever their files are.
fn changed_secrets(old: &Config, new: &Config) -> Vec<&'static str> {
    let key = |config: &Config| config.webhook.as_ref().map(|webhook| webhook.key.clone());
    let mut differ = vec![("webhook.secret_file", key(old) != key(new))];
    if let (ProviderKind::Autumn(old), ProviderKind::Autumn(new)) = (&old.billing.provider, &new.billing.provider) {
        differ.push((SECRET_KEY, old.secret_key != new.secret_key));
        differ.push((WEBHOOK_KEY, old.webhook_key != new.webhook_key));
    }
    differ.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

fn reload_listen(old: Listen, new: &Listen, waits: &mut Waiting) -> Listen {
    let Listen { grpc, http, peer } = new;
    Listen {
        grpc: waits.at_start("listen.grpc", old.grpc, grpc),
        http: waits.at_start("listen.http", old.http, http),
        peer: waits.at_start("listen.peer", old.peer, peer),
    }
}

fn reload_tracing(old: Tracing, new: &Tracing, waits: &mut Waiting) -> Tracing {
    let Tracing { endpoint, one_in } = new;
    Tracing {
        endpoint: waits.at_start("tracing.endpoint", old.endpoint, endpoint),
        one_in: waits.at_start("tracing.one_in", old.one_in, one_in),
    }
}

fn reload_cors(old: Cors, new: &Cors, waits: &mut Waiting) -> Cors {
    let Cors { origins } = new;
    Cors { origins: waits.at_start("cors.origins", old.origins, origins) }
}

/// A node that is alone does not join a cluster while it runs, nor leaves one.
fn reload_cluster(old: Option<Cluster>, new: &Option<Cluster>, waits: &mut Waiting) -> Option<Cluster> {
    let (Some(old), Some(new)) = (&old, new) else {
        waits.sections.push("cluster");
        return waits.at_start("cluster.postgres_urls", old, new);
    };
    let Cluster { postgres_urls, advertise, advertise_grpc, weight, tls } = new;
    Some(Cluster {
        postgres_urls: waits.at_start("cluster.postgres_urls", old.postgres_urls.clone(), postgres_urls),
        advertise: waits.at_start("cluster.advertise", old.advertise.clone(), advertise),
        advertise_grpc: waits.at_start("cluster.advertise_grpc", old.advertise_grpc.clone(), advertise_grpc),
        weight: waits.at_start("cluster.weight", old.weight, weight),
        tls: reload_peer_files(old.tls.clone(), tls, waits),
    })
}

/// All files or none.
fn reload_peer_files(old: Option<PeerFiles>, new: &Option<PeerFiles>, waits: &mut Waiting) -> Option<PeerFiles> {
    let of = |files: &Option<PeerFiles>, file: fn(&PeerFiles) -> &PathBuf| files.as_ref().map(file).cloned();
    let cert = |files: &Option<PeerFiles>| of(files, |files| &files.cert);
    let key = |files: &Option<PeerFiles>| of(files, |files| &files.key);
    let ca = |files: &Option<PeerFiles>| of(files, |files| &files.ca);
    waits.at_start("cluster.tls.cert", cert(&old), &cert(new));
    waits.at_start("cluster.tls.key", key(&old), &key(new));
    waits.at_start("cluster.tls.ca", ca(&old), &ca(new));
    old
}

/// Both files or none: with one of them alone there is no certificate.
fn reload_tls(old: Option<TlsFiles>, new: Option<TlsFiles>, waits: &mut Waiting) -> Option<TlsFiles> {
    let of = |files: &Option<TlsFiles>| files.clone().map(|TlsFiles { cert, key }| (cert, key)).unzip();
    let ((old_cert, old_key), (cert, key)) = (of(&old), of(&new));
    waits.at_start("tls.cert", old_cert, &cert);
    waits.at_start("tls.key", old_key, &key);
    old
}

fn reload_auth(old: Auth, new: &Auth, waits: &mut Waiting) -> Auth {
    let Auth { tokens, token_store, jwt, certificates, metrics } = new;
    Auth {
        tokens: waits.at_start("auth.tokens", old.tokens, tokens),
        token_store: waits.at_start("auth.token_store", old.token_store, token_store),
        jwt: reload_jwt(old.jwt, jwt, waits),
        certificates: reload_certificates(old.certificates, certificates, waits),
        metrics: waits.at_start("auth.metrics", old.metrics, metrics),
    }
}

/// What subjects are granted applies at once.
fn reload_jwt(old: Option<JwtConfig>, new: &Option<JwtConfig>, waits: &mut Waiting) -> Option<JwtConfig> {
    let (Some(old), Some(new)) = (&old, new) else { return waits.at_start("auth.jwt", old, new) };
    let (old, JwtConfig { issuer, audience, jwks, ca, claim, subjects }) = (old.clone(), new);
    Some(JwtConfig {
        issuer: waits.at_start("auth.jwt.issuer", old.issuer, issuer),
        audience: waits.at_start("auth.jwt.audience", old.audience, audience),
        jwks: waits.at_start("auth.jwt.jwks", old.jwks, jwks),
        ca: waits.at_start("auth.jwt.ca", old.ca, ca),
        claim: waits.at_start("auth.jwt.claim", old.claim, claim),
        subjects: subjects.clone(),
    })
}

/// What names are granted applies at once.
fn reload_certificates(
    old: Option<CertificatesConfig>,
    new: &Option<CertificatesConfig>,
    waits: &mut Waiting,
) -> Option<CertificatesConfig> {
    let (Some(old), Some(new)) = (&old, new) else { return waits.at_start("auth.certificates", old, new) };
    let (old, CertificatesConfig { ca, principals }) = (old.clone(), new);
    let ca = waits.at_start("auth.certificates.ca", old.ca, ca);
    Some(CertificatesConfig { ca, principals: principals.clone() })
}

fn reload_durability(old: Durability, new: &Durability, waits: &mut Waiting) -> Durability {
    let Durability { write_behind_ms, write_behind_max } = new;
    Durability {
        write_behind_ms: waits.at_start("durability.write_behind_ms", old.write_behind_ms, write_behind_ms),
        write_behind_max: waits.at_start("durability.write_behind_max", old.write_behind_max, write_behind_max),
    }
}

fn reload_log(old: Log, new: &Log, waits: &mut Waiting) -> Log {
    let Log { level, format } = new;
    Log {
        level: waits.at_start("log.level", old.level, level),
        format: waits.at_start("log.format", old.format, format),
    }
}

/// The policies of orgs apply at once where the running provider can enforce them. Otherwise those wait that differ.
fn reload_policies(
    old: Policies,
    new: Policies,
    can_enforce: bool,
    changes: &[Change],
    waits: &mut Waiting,
) -> Policies {
    if can_enforce {
        return new;
    }
    let names = POLICY_KEYS.map(|key| format!("billing.{key}")).into_iter().chain(POLICY_SECTIONS.map(str::to_owned));
    waits.named.extend(names.filter(|name| changes.iter().any(|change| is_in(&change.key, name))));
    old
}

/// The table of bounds says when each applies.
fn reload_bounds(old: Bounds, new: &Bounds, waits: &mut Waiting) -> Bounds {
    let mut bounds = old;
    for bound in Bound::ALL.iter().copied() {
        let value = match bound.applies() {
            Applies::Live => new.get(bound),
            Applies::AtStart => waits.at_start(&bound.to_string(), bounds.get(bound), &new.get(bound)),
        };
        bounds.set(bound, value);
    }
    bounds
}

fn reload_billing(old: Billing, new: Billing, waits: &mut Waiting) -> Billing {
    let Billing { provider, rules } = new;
    let (old_name, new_name) = (old.provider.name(), provider.name());
    waits.at_start("billing.provider", old_name, &new_name);
    let same_environment = old.rules.environment == rules.environment;
    let rules = reload_billing_rules(old.rules, &rules, waits);
    let provider = match old.provider {
        // These are nothing but their names, which are compared above.
        ProviderKind::None => ProviderKind::None,
        ProviderKind::Static => ProviderKind::Static,
        ProviderKind::Autumn(old) => ProviderKind::Autumn(match provider {
            ProviderKind::Autumn(new) => reload_autumn(old, &new, same_environment, waits),
            ProviderKind::None | ProviderKind::Static => old,
        }),
    };
    if old_name != new_name {
        waits.sections.push("billing.autumn");
    }
    Billing { provider, rules }
}

fn reload_billing_rules(old: BillingRules, new: &BillingRules, waits: &mut Waiting) -> BillingRules {
    let BillingRules {
        environment,
        feature,
        allow_ttl,
        deny_ttl,
        deny_revalidate,
        exempt_ttl,
        timeout,
        overage_behavior,
        free_plans,
    } = new;
    BillingRules {
        feature: waits.at_start("billing.feature", old.feature, feature),
        environment: waits.at_start("billing.environment", old.environment, environment),
        allow_ttl: waits.at_start("billing.allow_ttl", old.allow_ttl, allow_ttl),
        deny_ttl: waits.at_start("billing.deny_ttl", old.deny_ttl, deny_ttl),
        deny_revalidate: waits.at_start("billing.deny_revalidate", old.deny_revalidate, deny_revalidate),
        exempt_ttl: waits.at_start("billing.exempt_ttl", old.exempt_ttl, exempt_ttl),
        timeout: waits.at_start("billing.timeout", old.timeout, timeout),
        overage_behavior: waits.at_start("billing.overage_behavior", old.overage_behavior, overage_behavior),
        free_plans: waits.at_start("billing.free_plans", old.free_plans, free_plans),
    }
}

/// Another secret applies at once: what its file holds is compared. A key is for its own address and environment, and
/// waits with them.
fn reload_autumn(old: AutumnConfig, new: &AutumnConfig, same_environment: bool, waits: &mut Waiting) -> AutumnConfig {
    let AutumnConfig { base_url, secret_key, webhook_key, api_version, breaker_failures, breaker_pause } = new;
    let is_there = same_environment && old.base_url == *base_url;
    AutumnConfig {
        base_url: waits.at_start("billing.autumn.base_url", old.base_url, base_url),
        secret_key: match is_there {
            true => secret_key.clone(),
            false => waits.at_start(SECRET_KEY, old.secret_key, secret_key),
        },
        webhook_key: webhook_key.clone(),
        api_version: waits.at_start("billing.autumn.api_version", old.api_version, api_version),
        breaker_failures: waits.at_start("billing.autumn.breaker_failures", old.breaker_failures, breaker_failures),
        breaker_pause: waits.at_start("billing.autumn.breaker_pause", old.breaker_pause, breaker_pause),
    }
}
