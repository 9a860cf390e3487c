//! `[auth.jwt]`: callers with signed tokens of one issuer.

use std::path::PathBuf;

use url::Url;

use super::grants::grants;
use crate::{
    auth::{Grants, Role},
    config::{
        reader::{Parsed, Section},
        tls::file,
        tree::Entry,
        values::is_safe,
    },
};

/// Longest issuer, audience, and name of a claim, in bytes.
pub(in crate::config) const TEXT_BYTES: usize = 1_024;
/// What they say is not a grant.
pub(in crate::config) const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];
/// Only another node's certificate is of a peer.
pub(in crate::config) const ROLES: [Role; 4] = [Role::Reporter, Role::Plane, Role::Viewer, Role::Admin];

/// Which tokens are taken, and what their subjects are granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtConfig {
    /// The claim `iss`, exactly.
    pub issuer: String,
    /// What the claim `aud` has to name.
    pub audience: String,
    /// Where the keys of the issuer are.
    pub jwks: Jwks,
    /// The CAs that are trusted at the URL, in PEM; `None` = those of the machine.
    pub ca: Option<PathBuf>,
    /// A claim that grants, for subjects that are not named here.
    pub claim: Option<String>,
    /// What subjects are granted.
    pub subjects: Grants,
}

/// Where a key set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    /// Read at start and whenever it changes.
    File(PathBuf),
    /// Asked at start, and every few minutes.
    Url(String),
}

pub(super) fn jwt(auth: &mut Section<'_>) -> Option<JwtConfig> {
    let at = auth.place("jwt");
    let mut section = auth.section("jwt");
    let missing: Vec<_> =
        ["issuer", "audience", "jwks"].into_iter().filter(|key| section.place(key).is_none()).collect();
    let (issuer, audience) = (section.read("issuer", text), section.read("audience", text));
    let jwks = section.read("jwks", jwks);
    let ca_at = section.place("ca");
    let ca = section.read("ca", file);
    let has_grants = section.place("claim").is_some() || section.place("subjects").is_some();
    let claim = section.read("claim", claim);
    let subjects = grants(section.section("subjects"), "jwt:", &ROLES);
    let at = at?;
    if let (Some(at), Some(path), Some(Jwks::File(_))) = (ca_at, &ca, &jwks) {
        let allowed = "no path where auth.jwt.jwks is a file: it is for a URL with https";
        section.findings.refuse(&at, "auth.jwt.ca", path.display(), allowed);
    }
    if section.findings.is_whole() {
        for key in missing {
            let allowed = match key {
                "issuer" => "the claim iss of tokens, such as \"https://issuer.example.com\"",
                "audience" => "what the claim aud of tokens has to name, such as \"tollgate\"",
                _ => JWKS_RULE,
            };
            section.findings.add(&at, format!("auth.jwt.{key} is missing: {allowed}"));
        }
        if !has_grants {
            let allowed = "auth.jwt.subjects is missing, and auth.jwt.claim as well: nobody would be let in by a token; \
                           \"SUBJECT\" = { role = \"plane\", orgs = [\"*\"] }";
            section.findings.add(&at, allowed.into());
        }
    }
    Some(JwtConfig { issuer: issuer?, audience: audience?, jwks: jwks?, ca, claim, subjects: Grants::new(subjects) })
}

const JWKS_RULE: &str = "the path of a JSON Web Key Set, or its https URL without user and fragment; http is allowed for \
                         this machine only";

fn jwks(entry: &Entry) -> Parsed<Jwks> {
    match entry.text() {
        Some(text) if text.contains("://") => {
            let url = Url::parse(text).ok().filter(is_safe);
            url.map(|url| Jwks::Url(url.into())).ok_or_else(|| JWKS_RULE.into())
        }
        _ => file(entry).map(Jwks::File).map_err(|_| JWKS_RULE.into()),
    }
}

fn text(entry: &Entry) -> Parsed<String> {
    let text = entry.text().filter(|text| (1..=TEXT_BYTES).contains(&text.len()));
    text.map(str::to_owned).ok_or_else(|| format!("a text of 1 to {TEXT_BYTES} bytes").into())
}

fn claim(entry: &Entry) -> Parsed<String> {
    let name = text(entry)?;
    if REGISTERED.contains(&name.as_str()) {
        return Err(format!("the name of a claim of its own, not one of {}", REGISTERED.join(", ")).into());
    }
    Ok(name)
}
