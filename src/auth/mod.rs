//! Who calls, and what they may do: from a credential to a [`Principal`], and from there to yes or no.
//!
//! A credential is a bearer token of a file or of the store that nodes share, a JWT of an issuer, or the certificate of
//! a connection. None of them is ever in a message; a principal has a name for that. Nothing here fails open: what
//! cannot be judged is refused.

mod certificates;
mod fetch;
mod grants;
mod jwks;
mod jwt;
mod principal;
mod seen;
mod strangers;
mod throttle;
mod tokens;

pub use certificates::Certificates;
pub use grants::Grants;
pub use jwt::{Issuer, JwtRules, KeySource, KeysRead};
pub use principal::{Access, Grant, Principal, Role, until};
pub use tokens::{NewToken, Refreshed, StoredToken, TokenFile, Tokens};

use std::{fmt, net::IpAddr, sync::Arc};

use crate::{
    clock,
    net::{ClientCertificate, Peer},
    ports::Clock,
};
use strangers::Strangers;
use throttle::Throttle;

const SCHEME: &str = "bearer ";

/// Why nobody is let in by a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is none.
    Missing,
    /// It is not of a form that is known.
    Malformed,
    /// Unknown, wrong or revoked; which of them is not said.
    Invalid,
    /// It was valid.
    Expired,
    /// It cannot be judged now, and nobody is let in unjudged.
    Unavailable,
    /// Too many of this address were refused.
    Throttled,
}

impl Refused {
    /// `UPPER_SNAKE`, stable; also a metric label.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "CREDENTIAL_MISSING",
            Self::Malformed => "CREDENTIAL_MALFORMED",
            Self::Invalid => "CREDENTIAL_INVALID",
            Self::Expired => "CREDENTIAL_EXPIRED",
            Self::Unavailable => "IDENTITY_UNAVAILABLE",
            Self::Throttled => "TOO_MANY_REFUSALS",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no credential: send the header \"authorization: Bearer TOKEN\"",
            Self::Malformed => "the header authorization is not \"Bearer TOKEN\"",
            Self::Invalid => "the credential is unknown, wrong or revoked",
            Self::Expired => "the credential has expired",
            Self::Unavailable => "the credential cannot be judged now; try again later",
            Self::Throttled => "too many credentials from this address were refused; try again later",
        })
    }
}

impl std::error::Error for Refused {}

/// What a request shows of its caller.
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// The header `authorization`.
    pub authorization: Option<&'a [u8]>,
    /// Where the connection comes from.
    pub address: Option<IpAddr>,
    /// What the caller has shown when it made the connection.
    pub certificate: Option<&'a Arc<ClientCertificate>>,
}

impl<'a> Presented<'a> {
    /// Of a request with this header, over the connection of this peer.
    pub fn of(authorization: Option<&'a [u8]>, peer: Option<&'a Peer>) -> Self {
        Self {
            authorization,
            address: peer.map(|peer| peer.address),
            certificate: peer.and_then(|peer| peer.certificate.as_ref()),
        }
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Where principals come from.
#[derive(Debug, Default)]
pub struct Sources {
    /// Bearer tokens.
    pub tokens: Option<Arc<Tokens>>,
    /// The issuer of signed tokens.
    pub jwt: Option<Arc<Issuer>>,
    /// Certificates that callers show.
    pub certificates: Option<Arc<Certificates>>,
}

/// Tells who calls.
#[derive(Debug)]
pub struct Authenticator {
    /// Where nobody has to say who they are.
    anybody: Option<Strangers>,
    sources: Sources,
    clock: Arc<dyn Clock>,
    throttle: Throttle,
}

impl Authenticator {
    /// Nobody has to say who they are, and everybody may do everything.
    pub fn open(clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::new(Some(Strangers::default()), Sources::default(), clock)
    }

    /// Only whom these sources know.
    pub fn of(sources: Sources, clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::new(None, sources, clock)
    }

    fn new(anybody: Option<Strangers>, sources: Sources, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { anybody, sources, clock, throttle: Throttle::new() })
    }

    /// Whether nobody has to say who they are.
    pub fn is_open(&self) -> bool {
        self.anybody.is_some()
    }

    /// Where principals come from.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Who calls, and whether that is still so.
    ///
    /// # Errors
    /// Where that is nobody who is known.
    pub fn principal(&self, presented: &Presented<'_>) -> Result<Arc<Principal>, Refused> {
        if let Some(anybody) = &self.anybody {
            return Ok(anybody.at(presented.address));
        }
        let judged = self.judged(presented).and_then(|principal| {
            principal.is_valid_by(&*self.clock)?;
            Ok(principal)
        });
        judged.map_err(|refused| self.counted(refused, presented.address))
    }

    fn judged(&self, presented: &Presented<'_>) -> Result<Arc<Principal>, Refused> {
        let Sources { tokens, jwt, certificates } = &self.sources;
        let Some(header) = presented.authorization else {
            return match (presented.certificate, certificates) {
                (Some(shown), Some(certificates)) => certificates.principal(shown),
                _ => Err(Refused::Missing),
            };
        };
        let text = bearer(header).ok_or(Refused::Malformed)?;
        // Between the parts of a signed token; a bearer token of our own has none.
        match (text.contains('.'), tokens, jwt) {
            (true, _, Some(issuer)) => issuer.verify(text),
            (false, Some(tokens), _) => tokens.principal(text),
            _ => Err(Refused::Invalid),
        }
    }

    /// Whoever shows nothing guesses nothing.
    fn counted(&self, refused: Refused, address: Option<IpAddr>) -> Refused {
        let (Some(address), Refused::Invalid | Refused::Malformed) = (address, refused) else { return refused };
        let now = clock::uptime();
        if self.throttle.is_over(address, now) {
            return Refused::Throttled;
        }
        self.throttle.refused(address, now);
        refused
    }
}

/// The token of `Bearer TOKEN`; the scheme is written in any case.
fn bearer(header: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, token) = text.split_at_checked(SCHEME.len())?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case(SCHEME) && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestClock;

    #[test]
    fn the_scheme_is_bearer() {
        for (header, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("Bearer  abc", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
            ("Bearer ", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(bearer(header.as_bytes()), token, "{header:?}");
        }
        assert_eq!(bearer(b"Bearer \xff"), None);
    }

    #[test]
    fn who_is_asked_and_shows_nothing_is_nobody() {
        let clock = Arc::new(TestClock::default());
        assert!(Authenticator::open(clock.clone()).principal(&Presented::default()).is_ok());
        let asked = Authenticator::of(Sources::default(), clock);
        let shown = |header: Option<&'static [u8]>| Presented {
            authorization: header,
            address: Some([127, 0, 0, 1].into()),
            certificate: None,
        };
        assert_eq!(asked.principal(&shown(None)).unwrap_err(), Refused::Missing);
        assert_eq!(asked.principal(&shown(Some(b"Bearer tg_a_b"))).unwrap_err(), Refused::Invalid);
        let mut last = Refused::Missing;
        for _ in 0..100 {
            last = asked.principal(&shown(Some(b"Bearer tg_a_b"))).unwrap_err();
        }
        assert_eq!(last, Refused::Throttled);
    }
}
