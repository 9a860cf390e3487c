//! `[auth.certificates]`: callers that show a certificate of their own.

use std::path::PathBuf;

use super::grants::grants;
use crate::{
    auth::{Grant, Role},
    config::{reader::Section, tls::file},
};

/// Whose certificates are trusted, and what their names are granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatesConfig {
    /// The CAs, in PEM. The file is read at start and whenever it changes.
    pub ca: PathBuf,
    /// Names with a colon are URIs, others are of the DNS; each whole or ending in `*`.
    pub principals: Vec<(String, Grant)>,
}

pub(super) fn certificates(auth: &mut Section<'_>, has_tls: bool) -> Option<CertificatesConfig> {
    let at = auth.place("certificates");
    let mut section = auth.section("certificates");
    let has_ca = section.place("ca").is_some();
    let ca = section.read("ca", file);
    let has_rows = section.place("principals").is_some();
    let principals = grants(section.section("principals"), "cert:", &Role::ALL);
    let at = at?;
    if section.findings.is_whole() {
        if !has_tls {
            let allowed = "auth.certificates is of no use without [tls]: certificates are shown in its handshake";
            section.findings.add(&at, allowed.into());
        }
        if !has_ca {
            let allowed = "auth.certificates.ca is missing: the path of the CAs of callers' certificates, in PEM";
            section.findings.add(&at, allowed.into());
        }
        if !has_rows {
            let allowed = "auth.certificates.principals is missing: nobody would be let in by a certificate; \
                           \"spiffe://prod/plane\" = { role = \"plane\", orgs = [\"*\"] }";
            section.findings.add(&at, allowed.into());
        }
    }
    Some(CertificatesConfig { ca: ca?, principals })
}
