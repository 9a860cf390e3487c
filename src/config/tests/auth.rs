//! `[auth]`: who is let in, and every way in which that is not said.

use super::*;
use crate::auth::Role;

const TLS: &str = "[tls]\ncert = \"c\"\nkey = \"k\"\n";
const ISSUER: &str = "issuer = \"https://i\"\naudience = \"tollgate\"\njwks = \"keys.json\"\n";

fn jwt(text: &str) -> String {
    format!("[auth.jwt]\n{ISSUER}{text}")
}

fn certificates(text: &str) -> String {
    format!("{TLS}[auth.certificates]\n{text}")
}

#[test]
fn subjects_and_names_are_granted_something() {
    let config =
        good(&jwt("[auth.jwt.subjects.\"system:serviceaccount:prod:plane\"]\nrole = \"plane\"\norgs = [\"acme-*\"]\n\
         bind = [\"agent/a\"]\n[auth.jwt.subjects]\n\"ci:*\" = { role = \"viewer\", orgs = [\"*\"] }\n"));
    assert!(config.auth.is_asked());
    let jwt = config.auth.jwt.unwrap();
    assert_eq!((jwt.jwks, jwt.ca, jwt.claim), (Jwks::File("keys.json".into()), None, None));
    let plane = jwt.subjects.find("system:serviceaccount:prod:plane").unwrap();
    assert_eq!(
        (plane.role, &plane.orgs[..], &plane.bind[..]),
        (Role::Plane, &["acme-*".into()][..], &["agent/a".into()][..])
    );
    assert_eq!(jwt.subjects.find("ci:main").unwrap().role, Role::Viewer);
    let config =
        good(&certificates("ca = \"ca.pem\"\nprincipals.\"spiffe://prod/*\" = { role = \"peer\", orgs = [\"*\"] }\n"));
    let certificates = config.auth.certificates.clone().unwrap();
    assert_eq!((certificates.ca.to_str(), certificates.principals[0].1.role), (Some("ca.pem"), Role::Peer));
    assert!(config.auth.is_asked());
    assert!(!Config::default().auth.is_asked());
}

#[test]
fn tokens_are_in_a_file_or_in_the_store_of_a_cluster() {
    let file = good("[auth]\ntokens = \"f\"\n").auth;
    assert_eq!((file.tokens.as_deref(), file.token_store), (Some(std::path::Path::new("f")), None));
    let store = good("[auth]\ntoken_store = \"cluster\"\n[cluster]\npostgres_urls = [\"postgres://h/d\"]\n").auth;
    assert_eq!((&store.tokens, store.token_store), (&None, Some(TokenStore::Cluster)));
    assert!(store.is_asked());
}

#[test]
fn keys_are_in_a_file_or_behind_a_safe_url() {
    let of = |jwks: &str| {
        let text = format!("[auth.jwt]\nissuer = \"i\"\naudience = \"a\"\nclaim = \"c\"\njwks = \"{jwks}\"\n");
        check(&text, "t.toml").map(|config| config.auth.jwt.unwrap().jwks)
    };
    for url in ["https://i/keys", "https://i/keys?app=1", "http://127.0.0.1:1/keys", "http://localhost/keys"] {
        assert_eq!(of(url).unwrap(), Jwks::Url(url.into()));
    }
    assert_eq!(of("./keys.json").unwrap(), Jwks::File("./keys.json".into()));
    for wrong in ["", "http://i/keys", "ftp://i/keys", "https://user:pw@i/keys", "https://i/keys#a", "https://"] {
        let shown = of(wrong).unwrap_err().to_string();
        assert!(shown.contains("auth.jwt.jwks") && shown.contains("https URL"), "{wrong}: {shown}");
    }
}

#[test]
fn what_would_let_in_nobody_or_the_wrong_one_is_a_mistake() {
    let row = |row: &str| jwt(&format!("subjects.a = {{ {row} }}\n"));
    for (text, expected) in [
        ("[auth.jwt]\n".to_owned(), "auth.jwt.issuer is missing"),
        ("[auth.jwt]\n".to_owned(), "auth.jwt.jwks is missing: the path of a JSON Web Key Set"),
        (jwt(""), "t.toml:1:1: auth.jwt.subjects is missing, and auth.jwt.claim as well"),
        (jwt("claim = \"sub\"\n"), "auth.jwt.claim \"sub\" is not allowed"),
        (jwt("claim = \"c\"\nca = \"ca.pem\"\n"), "auth.jwt.ca \"ca.pem\" is not allowed: no path where"),
        (jwt("claim = \"c\"\nclaims = \"c\"\n"), "auth.jwt.claims is not a known key"),
        (row("orgs = [\"*\"]"), "auth.jwt.subjects.a.role is missing"),
        (row("role = \"plane\""), "auth.jwt.subjects.a.orgs is missing"),
        (row("role = \"peer\", orgs = [\"*\"]"), "auth.jwt.subjects.a.role \"peer\" is not allowed"),
        (row("role = \"plane\", orgs = []"), "auth.jwt.subjects.a.orgs \"\" is not allowed: at least one org"),
        (row("role = \"plane\", orgs = [\"a*b\"]"), "auth.jwt.subjects.a.orgs \"a*b\" is not allowed"),
        (row("role = \"plane\", orgs = \"*\""), "auth.jwt.subjects.a.orgs \"*\" is not allowed: a list"),
        (row("role = \"viewer\", orgs = [\"*\"], bind = [\"a/b\"]"), "auth.jwt.subjects.a.bind"),
        (row("role = \"plane\", orgs = [\"*\"], org = 1"), "auth.jwt.subjects.a.org is not a known key"),
        (jwt("subjects.\"a*b\" = { role = \"plane\", orgs = [\"*\"] }\n"), "auth.jwt.subjects \"a*b\" is not allowed"),
        (jwt("subjects.\"a b\" = { role = \"plane\", orgs = [\"*\"] }\n"), "auth.jwt.subjects \"a b\" is not allowed"),
        (jwt("subjects.a = 1\n"), "auth.jwt.subjects.a \"1\" is not allowed"),
        (certificates(""), "auth.certificates.ca is missing"),
        (certificates("ca = \"ca.pem\"\n"), "auth.certificates.principals is missing"),
        (
            "[auth.certificates]\nca = \"c\"\nprincipals.a = { role = \"plane\", orgs = [\"*\"] }\n".to_owned(),
            "t.toml:1:1: auth.certificates is of no use without [tls]",
        ),
        ("[auth]\nmetrics = \"viewer\"\n".to_owned(), "set auth.tokens, auth.token_store, auth.jwt or"),
        (
            "[auth]\ntoken_store = \"postgres\"\n".to_owned(),
            "auth.token_store \"postgres\" is not allowed: \"cluster\"",
        ),
        (
            "[auth]\ntoken_store = \"cluster\"\n".to_owned(),
            "auth.token_store \"cluster\" is not allowed: no value without [cluster]",
        ),
        (
            "[auth]\ntoken_store = \"cluster\"\n[cluster]\n".to_owned(),
            "t.toml:2:15: auth.token_store \"cluster\" is not allowed: no value without [cluster]",
        ),
        (
            "[auth]\ntokens = \"f\"\ntoken_store = \"cluster\"\n[cluster]\npostgres_urls = [\"postgres://h/d\"]\n"
                .to_owned(),
            "auth.token_store \"cluster\" is not allowed: no value beside auth.tokens",
        ),
    ] {
        let shown = errors(&text);
        assert!(shown.contains(expected), "{text}\n  says: {shown}\n  want: {expected}");
    }
}
