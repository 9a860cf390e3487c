//! How a cell is reached: a URL with what libpq allows in it, as far as it is of use here.

use std::{env, fmt, fs, ops::RangeInclusive, path::Path, sync::Arc, thread, time::Duration};

use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer, pki_types::pem::PemObject};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::config::{Config, SslMode};
use url::Url;

use crate::{
    domain::{
        lease::Now,
        service_time::{ClockMark, ClockState},
    },
    ports::Clock,
};

use super::{PgError, tls::Tls};

/// For how long a statement is sent again before its commits are given up.
const RETRY_FOR: Duration = Duration::from_secs(10);
/// Connections that write, each for its part of the shards: one for each processor of the node, within these. Fewer have
/// fuller statements, which cost the server less for each commit.
const COMMITTERS: RangeInclusive<usize> = 2..=4;
const PASSWORD: &str = "PGPASSWORD";
const CONNECT_WITHIN: Duration = Duration::from_secs(4);

/// No statement is carried out for longer: what a node has sent and forgotten is over before anybody relies on that.
pub(super) const STATEMENT_TIMEOUT_MS: i64 = 5_000;

/// Where a store is, and how it is used.
#[derive(Clone)]
pub struct PgOptions {
    pub(super) config: Config,
    pub(super) tls: Tls,
    /// The schema that has the tables.
    pub schema: String,
    /// Who owns what is claimed, for people who read the table `shard`.
    pub owner: String,
    /// Connections that write.
    pub committers: usize,
    /// Whether commits are statements with names, which are planned once. Not every pooler passes them on.
    pub prepared_statements: bool,
    /// For how long a statement is sent again before its commits are given up.
    pub retry_for: Duration,
    /// The clocks of this node, which those of the shards that it owns follow.
    pub clock: Arc<dyn Clock>,
}

/// Of who owns nothing for long, such as an import.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn read(&self) -> Now {
        Now::default()
    }

    fn may_purge(&self) -> bool {
        false
    }

    fn state(&self) -> ClockState {
        ClockState::Steady
    }

    fn mark(&self) -> ClockMark {
        ClockMark::default()
    }
}

impl fmt::Debug for PgOptions {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.config.get_hosts();
        f.debug_struct("PgOptions").field("hosts", &hosts).field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PgOptions {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`. `sslmode` is `disable`, `prefer` (the default), `require`,
    /// `verify-ca` or `verify-full`; wherever there is TLS, the certificate is verified with its name, by the CAs of
    /// `sslrootcert` or by those that the machine trusts. `schema` is where the tables are, `tollgate` by default.
    /// `prepared_statements` is `on` or `off` (the default).
    pub fn parse(text: &str) -> Result<Self, PgError> {
        let what = "postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=MODE";
        let mut url = Url::parse(text).map_err(|error| PgError(format!("the URL is not {what}: {error}")))?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err(PgError(format!("the scheme \"{}\" is not allowed: {what}", url.scheme())));
        }
        let (mut ca, mut schema, mut prepared, mut rest) = (None, "tollgate".to_owned(), "off".to_owned(), Vec::new());
        for (name, value) in url.query_pairs().into_owned() {
            match name.as_str() {
                "sslrootcert" => ca = Some(value),
                "schema" => schema = value,
                "prepared_statements" => prepared = value,
                "sslmode" if ["verify-ca", "verify-full"].contains(&value.as_str()) => {
                    rest.push((name, "require".to_owned()));
                }
                _ => rest.push((name, value)),
            }
        }
        if !is_name(&schema) {
            let allowed = "1 to 48 lower-case letters, digits and _, a letter first";
            return Err(PgError(format!("schema \"{schema}\" is not allowed: {allowed}")));
        }
        if !["on", "off"].contains(&prepared.as_str()) {
            return Err(PgError(format!("prepared_statements \"{prepared}\" is not allowed: on or off")));
        }
        url.query_pairs_mut().clear().extend_pairs(rest);
        // A space is a plus sign in forms alone; one that was given stands there as %2B.
        let query = url.query().map(|query| query.replace('+', "%20"));
        url.set_query(query.as_deref());
        let parsed = url.as_str().trim_end_matches('?').parse::<Config>();
        let mut config = parsed.map_err(|error| PgError(format!("the URL is not {what}: {error}")))?;
        config.application_name("tollgate").connect_timeout(CONNECT_WITHIN);
        let tls = Tls::new(client_config(ca.as_deref().map(Path::new), config.get_ssl_mode())?);
        let processors = thread::available_parallelism().map_or(*COMMITTERS.end(), Into::into);
        Ok(Self {
            config,
            tls,
            schema,
            owner: String::new(),
            committers: processors.clamp(*COMMITTERS.start(), *COMMITTERS.end()),
            prepared_statements: prepared == "on",
            retry_for: RETRY_FOR,
            clock: Arc::new(Still),
        })
    }
}

impl PgOptions {
    /// The same for this owner. The password is in the variable PGPASSWORD, where the URL has none: what stands in a
    /// command line is seen by everybody on the machine.
    pub fn of(url: &str, owner: &str) -> Result<Self, PgError> {
        let mut options = Self::parse(url)?;
        if let (None, Ok(password)) = (options.config.get_password(), env::var(PASSWORD)) {
            options.config.password(password);
        }
        owner.clone_into(&mut options.owner);
        Ok(options)
    }
}

impl PgOptions {
    /// With a bound for statements, which comes with the connection and so costs no round trip and no state behind a
    /// pooler. What the URL says comes later and wins.
    pub(super) fn bounded(&self) -> Config {
        let mut config = self.config.clone();
        let given = config.get_options().unwrap_or_default();
        let bounded = format!("-c statement_timeout={STATEMENT_TIMEOUT_MS} {given}");
        config.options(bounded.trim_end());
        config
    }
}

/// Stands in SQL as it is.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=48).contains(&text.len()) && text.bytes().all(allowed) && text.as_bytes()[0].is_ascii_lowercase()
}

fn client_config(ca: Option<&Path>, mode: SslMode) -> Result<ClientConfig, PgError> {
    let refused = |cause: &dyn fmt::Display| PgError(format!("TLS: {cause}"));
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| refused(&error))?;
    let builder = match ca {
        Some(path) => builder.with_root_certificates(roots(path)?),
        None if mode == SslMode::Disable => builder.with_root_certificates(RootCertStore::empty()),
        None => builder.with_platform_verifier().map_err(|error| refused(&error))?,
    };
    Ok(builder.with_no_client_auth())
}

fn roots(path: &Path) -> Result<RootCertStore, PgError> {
    let refused = |cause: &dyn fmt::Display| PgError(format!("sslrootcert {}: {cause}", path.display()));
    let pem = fs::read(path).map_err(|error| refused(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.map_err(|error| refused(&error))?).map_err(|error| refused(&error))?;
    }
    if roots.is_empty() { Err(refused(&"it has no certificate")) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        let options = PgOptions::parse("postgres://me:secret@db:6432/quota?sslmode=verify-full&schema=cell_1").unwrap();
        assert_eq!((options.schema.as_str(), options.config.get_ssl_mode()), ("cell_1", SslMode::Require));
        assert_eq!((options.config.get_dbname(), options.config.get_ports()), (Some("quota"), &[6432][..]));
        assert!(!format!("{options:?}").contains("secret"));
        let plain = PgOptions::parse("postgresql://localhost/?sslmode=disable").unwrap();
        assert_eq!((plain.schema.as_str(), plain.config.get_ssl_mode()), ("tollgate", SslMode::Disable));
    }

    #[test]
    fn what_is_not_such_a_url_is_refused_by_name() {
        for (text, what) in [
            ("mysql://localhost/x", "scheme \"mysql\""),
            ("localhost", "the URL is not postgres://"),
            ("postgres://localhost/x?sslmode=maybe", "the URL is not postgres://"),
            ("postgres://localhost/x?schema=a-b", "schema \"a-b\" is not allowed"),
            ("postgres://localhost/x?sslrootcert=/nowhere", "sslrootcert /nowhere"),
            ("postgres://localhost/x?prepared_statements=yes", "prepared_statements \"yes\" is not allowed: on or off"),
        ] {
            let refused = PgOptions::parse(text).unwrap_err().to_string();
            assert!(refused.contains(what), "{text}: {refused}");
        }
    }
}
