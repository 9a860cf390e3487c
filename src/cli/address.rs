//! The address of a node, as it is given on the command line.

use std::fmt;

use tonic::transport::Uri;

use crate::domain::input::InputError;

/// Where a node listens, as `http://HOST:PORT` or `https://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    authority: String,
    tls: bool,
}

/// A node on this machine with its defaults.
impl Default for Address {
    fn default() -> Self {
        Self { authority: "127.0.0.1:7070".to_owned(), tls: false }
    }
}

impl Address {
    /// Reads `HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`.
    pub(super) fn parse(text: &str) -> Result<Self, InputError> {
        let (tls, bare) = match text.strip_prefix("https://") {
            Some(bare) => (true, bare),
            None => (false, text.strip_prefix("http://").unwrap_or(text)),
        };
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let uri: Uri = format!("http://{bare}/").parse().map_err(|_| refused(text))?;
        let authority = uri.authority().ok_or_else(|| refused(text))?;
        let only_an_authority = authority.as_str() == bare && !bare.contains('@');
        if only_an_authority && authority.port_u16().is_some() && !authority.host().is_empty() {
            Ok(Self { authority: bare.to_owned(), tls })
        } else {
            Err(refused(text))
        }
    }

    /// Whether the node speaks TLS.
    pub(super) fn has_tls(&self) -> bool {
        self.tls
    }
}

fn refused(text: &str) -> InputError {
    InputError::new("addr", text, "HOST:PORT, http://HOST:PORT, or https://HOST:PORT for a node with TLS")
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}", if self.tls { "s" } else { "" }, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, shown) in [
            ("127.0.0.1:7070", "http://127.0.0.1:7070"),
            ("http://127.0.0.1:7070/", "http://127.0.0.1:7070"),
            ("gate.internal:80", "http://gate.internal:80"),
            ("[::1]:7070", "http://[::1]:7070"),
            ("https://gate.internal:443/", "https://gate.internal:443"),
        ] {
            assert_eq!(Address::parse(text).map(|address| address.to_string()), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_allowed_forms() {
        for bad in [
            "",
            "localhost",
            ":7070",
            "https://",
            "ftp://a:1",
            "a:1/x",
            "u:p@a:1",
            "a b:1",
            "http://",
            "a:99999",
            "a:1?x",
        ] {
            let error = Address::parse(bad).unwrap_err().to_string();
            assert!(error.contains("HOST:PORT"), "{bad:?}: {error}");
        }
    }
}
