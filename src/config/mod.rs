//! One validated [`Config`] from a TOML file, the environment and flags; the later wins.
//!
//! ```text
//! defaults  <  file  <  TOLLGATE__SECTION__KEY  <  --data-dir --grpc --http
//! ```
//!
//! A configuration is good as a whole or refused as a whole, with every mistake at once, each with
//! its line, key, value and what is allowed (R-OPS-4). Nothing is guessed: an unknown key is a
//! mistake, because a mistyped limit must not read as "no limit".
//!
//! | section | keys |
//! | --- | --- |
//! | `[listen]` | `grpc`, `http`, and `peer` of a cluster |
//! | `[cluster]` | `postgres_urls`, `advertise`, `advertise_grpc`, `weight`, `tls`: nodes that share a store |
//! | `[cors]` | `origins`: of the pages of other sites that may call; none without it |
//! | `[tls]` | `cert`, `key`: of both listeners; without it they speak in the clear |
//! | `[auth]` | `tokens`, `token_store`, `metrics`: who may call; without a source of identity everybody may |
//! | `[auth.jwt]` | `issuer`, `audience`, `jwks`, `ca`, `claim`, `subjects`: signed tokens of one issuer |
//! | `[auth.certificates]` | `ca`, `principals`: certificates that callers show |
//! | `[data]` | `dir` |
//! | `[durability]` | `write_behind_ms` (0 = every reply waits for the disk), `write_behind_max` |
//! | `[rate]` | `amount` (or `"off"`), `window`, `idle_windows`, `on_indeterminate` |
//! | `[emergency]` | `amount`: calls per hour and org during an outage; the backstop's by default |
//! | `[defaults]` | `plan`: of every org that names none, listed or not; `""` = none |
//! | `[billing]`, `[billing.autumn]`, `[billing.features]` | who keeps the balances: see `billing` |
//! | `[webhook]` | who receives events: see `webhook` |
//! | `[budgets]` | `on_indeterminate`: where a stored limit cannot be understood |
//! | `[sessions]` | `enforce`, `first_slice`, `heartbeat`, `missed`, `grace`, `clamp`: see `sessions` |
//! | `[pools]` | `profile`, `daily_limit`, `safety_buffer`, `window`, `per_minute`, `cooldown`, `quarantine`, `quota_texts`, `stats`, `named`: see `pools` |
//! | `[plans.NAME]` | `rate`, `exempt`, `included`, `overage`, `max_sessions`, `trial`, `then`, meters, `scopes` |
//! | `[orgs."ID"]` | `plan` (`""` = none), those of a plan, `billing_anchor`, `trial_ends` |
//! | `[orgs]` | `admit`: which orgs there may be; a table is the section of the org `admit` |
//! | `[envoy.DOMAIN]`, `[forward_auth.NAME]` | what the questions of proxies mean: see `gateways` |
//! | `[bounds]` | every field of [`Bounds`] |
//! | `[node]` | `name`; the host's name by default |
//! | `[log]` | `level`, `format` |
//! | `[tracing]` | `endpoint`, `one_in`: where spans of calls are sent, and of which |
//! | `[reload]` | `accept_lost_limits`: a reload may take away limits of an org that has usage |
//!
//! `schema` describes all of it for editors. Meters, windows and amounts are described in `limits`, layers in `policies`, what plans include in
//! `balances`. `reload` says of each key whether it takes effect without a restart: [`Config::reload`].

mod auth;
mod balances;
mod billing;
mod cluster;
mod env;
mod gateways;
mod hints;
mod limits;
mod mistake;
mod overrun;
mod periods;
mod policies;
mod pools;
mod reader;
mod reload;
mod said;
mod schema;
mod scopes;
mod secret;
mod sections;
mod sessions;
#[cfg(test)]
mod tests;
mod tls;
mod tree;
mod values;
mod webhook;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

pub use self::auth::{Auth, CertificatesConfig, Jwks, JwtConfig, MetricsFor, TokenStore};
pub use self::{
    billing::{AutumnConfig, Billing, BillingRules, OverageBehavior, ProviderKind},
    cluster::{Cluster, PeerFiles},
    env::{Overrides, environment},
    mistake::{ConfigErrors, Mistake, Place},
    policies::Policies,
    reload::Reload,
    said::{Change, shown_key},
    schema::schema,
    secret::Secret,
    sections::{Cors, Durability, Listen, Log, LogFormat, LogLevel, Tracing},
    tls::TlsFiles,
    webhook::WebhookConfig,
};
use self::{
    billing::{Budget, billing},
    mistake::Findings,
    reader::Section,
    said::Said,
    sections::{DIRECTORY_RULE, accept_lost_limits, bounds, cors, data_dir, durability, listen, log, node, tracing},
    tree::Table,
};
use crate::{bounds::Bounds, domain::gateways::Gateways};

/// Largest file that is read: room for 100 000 orgs, and an end to `/dev/zero`.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// A file that changes between two reads is being written; after so many it is refused.
const READS: u32 = 50;
const BETWEEN_READS: Duration = Duration::from_millis(100);

/// A valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the node accepts connections.
    pub listen: Listen,
    /// Which pages may call.
    pub cors: Cors,
    /// The certificate of both listeners; `None` = they speak in the clear.
    pub tls: Option<TlsFiles>,
    /// Who may call.
    pub auth: Auth,
    /// The nodes that this one shares its store with; `None` = it is alone.
    pub cluster: Option<Cluster>,
    /// Where the store of a node that is alone keeps its files.
    pub data_dir: PathBuf,
    /// What is written behind, and for how long.
    pub durability: Durability,
    /// The maxima under `[bounds]`.
    pub bounds: Bounds,
    /// Names this node in replies and logs.
    pub node: String,
    /// What is logged, and in which form.
    pub log: Log,
    /// Where spans of calls are sent.
    pub tracing: Tracing,
    /// What the questions of proxies mean.
    pub gateways: Gateways,
    /// Who keeps the balances, and how it is asked.
    pub billing: Billing,
    /// Who receives events; `None` = nobody.
    pub webhook: Option<WebhookConfig>,
    /// What is configured for each org.
    pub policies: Policies,
    /// How often a line says what all pools of upstream accounts add up to.
    pub pool_stats: Duration,
    /// A reload may take away every plan, and every limit of an org.
    pub accept_lost_limits: bool,
    /// There is a file, and it says nothing.
    pub is_blank: bool,
    said: Said,
    warnings: Vec<String>,
}

/// Reads the file (none: defaults), lays the variables over it, then the flags.
pub fn load(
    path: Option<&Path>,
    variables: impl Iterator<Item = (String, String)>,
    overrides: Overrides,
) -> Result<Config, ConfigErrors> {
    load_by(read_file, path, variables, overrides)
}

/// The same while a node runs: somebody may be writing the file, so it is read when it is at rest. Blocks for that.
pub fn load_again(
    path: Option<&Path>,
    variables: impl Iterator<Item = (String, String)>,
    overrides: Overrides,
) -> Result<Config, ConfigErrors> {
    load_by(read_at_rest, path, variables, overrides)
}

fn load_by(
    read_file: fn(&Path) -> Result<String, String>,
    path: Option<&Path>,
    variables: impl Iterator<Item = (String, String)>,
    overrides: Overrides,
) -> Result<Config, ConfigErrors> {
    let file = path.map_or_else(|| "configuration".to_owned(), |path| path.display().to_string());
    let mut findings = Findings::new(&file);
    let mut table = Table::new();
    if let Some(path) = path {
        match read_file(path) {
            Ok(text) => table = tree::parse(&text, &mut findings),
            Err(problem) => findings.broken(Place::File, problem),
        }
    }
    let is_blank = path.is_some() && table.is_empty();
    env::overlay(&mut table, variables, &mut findings);
    env::overlay_flags(&mut table, &overrides);
    let mut config = Config::read(table, &mut findings);
    if let Some(dir) = overrides.data_dir {
        if dir.as_os_str().is_empty() {
            findings.refuse(&Place::Flag("--data-dir"), "data.dir", "", DIRECTORY_RULE);
        }
        config.data_dir = dir;
    }
    config.is_blank = is_blank;
    config.finish(findings)
}

/// Checks a text as if it were the file `file_name`, without the environment.
pub fn check(text: &str, file_name: &str) -> Result<Config, ConfigErrors> {
    let mut findings = Findings::new(file_name);
    let table = tree::parse(text, &mut findings);
    Config::read(table, &mut findings).finish(findings)
}

fn read_file(path: &Path) -> Result<String, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("cannot be read: {error}"))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(format!("is too large: at most {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("is not UTF-8 at byte {}; TOML must be", error.utf8_error().valid_up_to()))
}

/// Reads the file until two reads in a row are the same.
fn read_at_rest(path: &Path) -> Result<String, String> {
    let mut last = read_file(path)?;
    for _ in 0..READS {
        thread::sleep(BETWEEN_READS);
        let now = read_file(path)?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
    Err("is being written still; reload when it is whole".into())
}

impl Default for Config {
    fn default() -> Self {
        // An empty configuration has no mistakes, so its findings can go.
        Self::read(Table::new(), &mut Findings::new(""))
    }
}

impl Config {
    /// A commented file with every key. What is not commented out is the default.
    pub fn example() -> &'static str {
        include_str!("../../tollgate.example.toml")
    }

    /// What an operator should know at start-up though nothing is wrong.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What anybody who reaches the ports from another machine could do; `None` where that is nothing.
    pub fn is_open_beyond_loopback(&self) -> Option<&'static str> {
        if !self.listen.is_beyond_loopback() {
            return None;
        }
        match (self.auth.is_asked(), self.tls.is_some()) {
            (true, true) => None,
            (true, false) => Some("beyond loopback whoever is on the way could read the credentials of callers"),
            (false, _) => Some("beyond loopback whoever reaches the ports may do everything"),
        }
    }

    /// Reads everything, defaults where a value is missing or refused.
    fn read(table: Table, findings: &mut Findings) -> Self {
        let said = Said::of(&table);
        let mut root = Section::root(table, findings);
        let listen = listen(root.section("listen"));
        let cluster = cluster::cluster(root.section("cluster"), &listen);
        let cors = cors(root.section("cors"));
        let has_tls = root.place("tls").is_some();
        let tls = tls::tls(root.section("tls"));
        let auth = auth::auth(root.section("auth"), has_tls, cluster.is_some());
        let data_dir = data_dir(root.section("data"));
        let durability = durability(root.section("durability"));
        let (bounds, budget_at) = bounds(root.section("bounds"));
        let budget = Budget { at: budget_at, ms: bounds.decision_budget_ms };
        let (billing, billing_policy) = billing(root.section("billing"), &budget);
        let (pools, pool_stats) = pools::pools(root.section("pools"));
        let gateways = gateways::gateways(&mut root, auth.is_asked());
        Self {
            listen,
            cors,
            tls,
            auth,
            cluster,
            data_dir,
            durability,
            bounds,
            gateways,
            billing,
            webhook: webhook::webhook(root.section("webhook")),
            policies: Policies::read(&mut root, &billing_policy, pools),
            pool_stats,
            accept_lost_limits: accept_lost_limits(root.section("reload")),
            is_blank: false,
            node: node(root.section("node")),
            log: log(root.section("log")),
            tracing: tracing(root.section("tracing")),
            said,
            warnings: Vec::new(),
        }
    }

    fn finish(mut self, findings: Findings) -> Result<Self, ConfigErrors> {
        self.warnings = findings.finish()?;
        Ok(self)
    }
}
