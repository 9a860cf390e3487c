//! `[tls]`: the certificate of both listeners.

use std::path::{Path, PathBuf};

use super::{
    mistake::join,
    reader::{Parsed, Section},
    secret::{is_open, open_to_all},
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
    let at = section.place("cert").or_else(|| section.place("key"));
    let (cert, key) = (section.read("cert", file), section.read("key", file));
    let at = at?;
    let (missing, other) = match (&cert, &key) {
        (Some(cert), Some(key)) => {
            warn_of_open(&mut section, key);
            return Some(TlsFiles { cert: cert.clone(), key: key.clone() });
        }
        (Some(_), None) => ("tls.key", "the path of the private key of tls.cert"),
        _ => ("tls.cert", "the path of a chain of certificates, for tls.key"),
    };
    section.findings.refuse(&at, missing, "", other.to_owned());
    None
}

/// The private key of a section is for nobody else.
pub(super) fn warn_of_open(section: &mut Section<'_>, key: &Path) {
    if let Some(at) = section.place("key").filter(|_| is_open(key)) {
        let text = open_to_all(&join(section.path(), "key"), &key.display().to_string());
        section.findings.warn(&at, text);
    }
}

pub(super) fn file(entry: &Entry) -> Parsed<PathBuf> {
    let path = entry.text().filter(|text| !text.is_empty() && !text.contains('\0'));
    path.map(PathBuf::from).ok_or_else(|| "the path of a file".into())
}
