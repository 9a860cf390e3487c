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
//! | `[listen]` | `grpc`, `http` |
//! | `[data]` | `dir` |
//! | `[durability]` | `write_behind_ms` (0 = every reply waits for the disk), `write_behind_max` |
//! | `[rate]` | `amount` (or `"off"`), `window`, `idle_windows`, `on_indeterminate` |
//! | `[defaults]` | `plan`: of every org that names none, listed or not; `""` = none |
//! | `[billing]`, `[billing.autumn]`, `[billing.features]` | who keeps the balances: see `billing` |
//! | `[budgets]` | `on_indeterminate`: where a stored limit can not be understood |
//! | `[sessions]` | `enforce`, `first_slice`, `heartbeat`, `missed`, `grace`, `clamp`: see `sessions` |
//! | `[pools]` | `daily_limit`, `safety_buffer`, `window`, `cooldown`, `quarantine`, `quota_texts`, `stats`: see `pools` |
//! | `[plans.NAME]` | `rate`, `exempt`, `included`, `overage`, `max_sessions`, `trial`, `then`, meters, `scopes` |
//! | `[orgs."ID"]` | `plan` (`""` = none), those of a plan, `billing_anchor`, `trial_ends` |
//! | `[bounds]` | every field of [`Bounds`] |
//! | `[node]` | `name`; the host's name by default |
//! | `[log]` | `level`, `format` |
//!
//! Meters, windows and amounts are described in `limits`, layers in `policies`, what plans include in
//! `balances`. Which keys take
//! effect without a restart is answered by [`Config::reload_diff`].

mod balances;
mod billing;
mod env;
mod limits;
mod mistake;
mod policies;
mod pools;
mod reader;
mod secret;
mod sections;
mod sessions;
#[cfg(test)]
mod tests;
mod tree;
mod values;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    billing::{AutumnConfig, Billing, BillingRules, OverageBehavior, ProviderKind},
    env::{Overrides, environment},
    mistake::{ConfigErrors, Mistake, Place},
    policies::Policies,
    secret::Secret,
    sections::{Durability, Listen, Log, LogFormat, LogLevel},
};
use self::{
    billing::{Budget, billing},
    mistake::Findings,
    reader::Section,
    sections::{DIRECTORY_RULE, bounds, data_dir, durability, listen, log, node},
    tree::Table,
};
use crate::bounds::{Bounds, FIELDS};

/// Largest file that is read: room for 100 000 orgs, and an end to `/dev/zero`.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Bounds that are given to the server, a connection, a listener or the provider when it opens.
const FIXED_BOUNDS: [&str; 7] = [
    "message_bytes",
    "streams_per_connection",
    "connections",
    "connection_age_ms",
    "billing_orgs",
    "billing_in_flight",
    "billing_waiting",
];

/// Sections that become the policies of orgs.
const POLICY_SECTIONS: [&str; 7] = ["rate", "defaults", "budgets", "sessions", "pools", "plans", "orgs"];

/// A valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub listen: Listen,
    pub data_dir: PathBuf,
    pub durability: Durability,
    pub bounds: Bounds,
    /// Names this node in replies and logs.
    pub node: String,
    pub log: Log,
    pub billing: Billing,
    pub policies: Policies,
    /// How often a line says what all pools of upstream accounts add up to.
    pub pool_stats: Duration,
    warnings: Vec<String>,
}

/// Reads the file (none: defaults), lays the variables over it, then the flags.
pub fn load(
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
    env::overlay(&mut table, variables, &mut findings);
    env::overlay_flags(&mut table, &overrides);
    let mut config = Config::read(table, &mut findings);
    if let Some(dir) = overrides.data_dir {
        if dir.as_os_str().is_empty() {
            findings.refuse(&Place::Flag("--data-dir"), "data.dir", "", DIRECTORY_RULE);
        }
        config.data_dir = dir;
    }
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
    let bytes = read().map_err(|error| format!("can not be read: {error}"))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(format!("is too large: at most {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("is not UTF-8 at byte {}: TOML is", error.utf8_error().valid_up_to()))
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

    /// Keys that differ in `new` and take effect only with a restart. Everything else does at once. With
    /// another provider, feature or environment come other policies, so those wait as well.
    pub fn reload_diff(&self, new: &Self) -> Vec<String> {
        let fixed = [
            ("listen.grpc", self.listen.grpc != new.listen.grpc),
            ("listen.http", self.listen.http != new.listen.http),
            ("data.dir", self.data_dir != new.data_dir),
            ("durability.write_behind_ms", self.durability.write_behind_ms != new.durability.write_behind_ms),
            ("durability.write_behind_max", self.durability.write_behind_max != new.durability.write_behind_max),
            ("node.name", self.node != new.node),
            ("log.level", self.log.level != new.log.level),
            ("log.format", self.log.format != new.log.format),
        ];
        let (mut old_bounds, mut new_bounds) = (self.bounds.clone(), new.bounds.clone());
        let bounds = FIELDS
            .iter()
            .filter(|(name, pick, ..)| FIXED_BOUNDS.contains(name) && pick(&mut old_bounds) != pick(&mut new_bounds))
            .map(|(name, ..)| format!("bounds.{name}"));
        let policies: &[_] = if self.billing.can_enforce_policies_of(&new.billing) { &[] } else { &POLICY_SECTIONS };
        let billing = self.billing.diff(&new.billing).into_iter().chain(policies.iter().copied());
        let fixed = fixed.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name);
        fixed.chain(billing).map(str::to_owned).chain(bounds).collect()
    }

    /// What runs after a reload: `new`, but for the keys that [`Self::reload_diff`] names. They stay
    /// as they are, so that each further reload names them again.
    #[must_use]
    pub fn reloaded(self, new: Self) -> Self {
        let (mut old_bounds, mut bounds) = (self.bounds, new.bounds);
        for (_, pick, ..) in FIELDS.iter().filter(|(name, ..)| FIXED_BOUNDS.contains(name)) {
            *pick(&mut bounds) = *pick(&mut old_bounds);
        }
        let can_enforce = self.billing.can_enforce_policies_of(&new.billing);
        let policies = if can_enforce { new.policies } else { self.policies };
        Self { bounds, policies, pool_stats: new.pool_stats, warnings: new.warnings, ..self }
    }

    /// Reads everything, defaults where a value is missing or refused.
    fn read(table: Table, findings: &mut Findings) -> Self {
        let mut root = Section::root(table, findings);
        let listen = listen(root.section("listen"));
        let data_dir = data_dir(root.section("data"));
        let durability = durability(root.section("durability"));
        let (bounds, budget_at) = bounds(root.section("bounds"));
        let budget = Budget { at: budget_at, ms: bounds.decision_budget_ms };
        let (billing, billing_policy) = billing(root.section("billing"), &budget);
        let (pools, pool_stats) = pools::pools(root.section("pools"));
        Self {
            listen,
            data_dir,
            durability,
            bounds,
            billing,
            policies: Policies::read(&mut root, &billing_policy, pools),
            pool_stats,
            node: node(root.section("node")),
            log: log(root.section("log")),
            warnings: Vec::new(),
        }
    }

    fn finish(mut self, findings: Findings) -> Result<Self, ConfigErrors> {
        self.warnings = findings.finish()?;
        Ok(self)
    }
}
