//! `[tls]`: the certificate of both listeners.

use std::path::PathBuf;

use super::{
    reader::{Parsed, Section},
    secret::warn_of_open,
    tree::Entry,
};

/// Where the certificate and its key are. The files are read at start and whenever they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// A chain in PEM, the node's own certificate first.
    pub cert: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

pub(super) fn tls(mut section: Section<'_>) -> Option<TlsFiles> {
    let key_at = section.place("key");
    let at = section.place("cert").or_else(|| key_at.clone());
    let (cert, key) = (section.read("cert", file), section.read("key", file));
    let at = at?;
    let (missing, other) = match (&cert, &key) {
        (Some(cert), Some(key)) => {
            warn_of_open(&mut section, (key_at.as_ref().unwrap_or(&at), "key"), key);
            return Some(TlsFiles { cert: cert.clone(), key: key.clone() });
        }
        (Some(_), None) => ("tls.key", "the path of the private key of tls.cert"),
        _ => ("tls.cert", "the path of a chain of certificates, for tls.key"),
    };
    section.findings.refuse(&at, missing, "", other.to_owned());
    None
}

pub(super) fn file(entry: &Entry) -> Parsed<PathBuf> {
    let path = entry.text().filter(|text| !text.is_empty() && !text.contains('\0'));
    path.map(PathBuf::from).ok_or_else(|| "the path of a file".into())
}
