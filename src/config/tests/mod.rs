//! What the tests of the configuration share, and its properties.

mod admission;
mod auth;
mod billing;
mod cluster;
mod gateways;
mod meaning;
mod mistakes;
mod overrun;
mod plans;
mod pools;
mod reload;
mod scopes;
mod sessions;

use std::{io::Write, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    bounds::{AMOUNT_MAX, Applies, Bound, DAY_MS, HOUR_MS, LIMITS_PER_SCOPE, MINUTE_MS},
    domain::{
        ids::{OrgId, Scope},
        policy::{OnIndeterminate, OrgPolicy, RateLimit},
    },
};

fn good(text: &str) -> Config {
    check(text, "t.toml").unwrap_or_else(|errors| panic!("{errors}\nin\n{text}"))
}

fn errors(text: &str) -> String {
    check(text, "t.toml").expect_err(text).to_string()
}

fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    let owned: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    owned.into_iter()
}

fn with_variables(pairs: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    load(None, variables(pairs), Overrides::default())
}

fn file_of(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn policy(config: &Config, org: &str) -> Arc<OrgPolicy> {
    config.policies.policy(&OrgId::parse("org", org).unwrap())
}

/// `(name, amount)` of every limit of an org or of one of its scopes.
fn amounts(policy: &OrgPolicy, scope: &str) -> Vec<(String, Option<u64>)> {
    let limits = policy.limits_of(&Scope::parse("scope", scope).unwrap());
    limits.iter().map(|limit| (limit.name().to_string(), limit.amount)).collect()
}

/// Text that looks enough like a configuration to get past the parser now and then.
fn fragments() -> impl Strategy<Value = String> {
    let words = [
        "[",
        "]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "\n",
        "\"",
        "'",
        " ",
        "#",
        "plans",
        "orgs",
        "free",
        "rate",
        "amount",
        "window",
        "aligned",
        "scopes",
        "spend",
        "hourly",
        "rolling_1h",
        "buffer",
        "shadow",
        "true",
        "-5",
        "1.5",
        "\"$1.5\"",
        "\"1h\"",
        "\"\"",
        "99999999999999999999",
        "é",
        "\u{feff}",
        "listen",
        "grpc",
        "bounds",
        "\"workspace/*\"",
        "\"\"\"",
        "1979-05-27",
    ];
    let word = prop_oneof![8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_text_panics_and_every_refusal_has_a_place(text in fragments()) {
        if let Err(errors) = check(&text, "t.toml") {
            prop_assert!(!errors.is_empty());
            prop_assert_eq!(errors.to_string().lines().count(), errors.len());
            for mistake in errors.mistakes() {
                let has_line = matches!(mistake.place, Place::Position { line, column } if line >= 1 && column >= 1);
                prop_assert!(has_line, "{:?}", mistake);
            }
        }
    }

    #[test]
    fn no_variable_panics(name in "(TOLLGATE__)?[A-Za-z_.]{0,40}", tail in any::<String>(), value in fragments()) {
        let pairs = [(format!("{name}{tail}"), value)];
        let _: Result<_, _> = load(None, pairs.into_iter(), Overrides::default());
    }
}
