//! The options of a client: where the node is, who calls, how long a call may take, and what happens to an execution that
//! nobody could decide on.

use std::{fmt, sync::Arc, time::Duration};

use super::events::Event;

/// What happens to an execution when no decision was made in time. A denial is a decision: it never runs, whatever is
/// chosen here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnavailable {
    /// It runs. It is counted ([`Stats::failed_open`](super::Stats::failed_open)) and announced
    /// ([`Event::FailedOpen`]), and what it reports as used is recorded as soon as the node answers again. The execution
    /// itself is not charged later: the node may have charged it already, if only its answer was lost.
    Open,
    /// It does not run: the call is an error.
    Closed,
}

/// What is wrong with [`Options`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misconfigured(pub(super) String);

impl fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misconfigured {}

type TokenSource = Arc<dyn Fn() -> Option<String> + Send + Sync>;
type Hook = Arc<dyn Fn(&Event) + Send + Sync>;

/// Everything that a [`Client`](super::Client) can be set.
///
/// ```
/// use std::time::Duration;
///
/// use tollgate::client::{OnUnavailable, Options};
///
/// let options = Options::new("https://tollgate.internal:7070", OnUnavailable::Open)
///     .token("tg_…")
///     .plane("eu-1")
///     .budget(Duration::from_secs(1))
///     .on_event(|event| eprintln!("tollgate: {event}"));
/// # let _ = options;
/// ```
#[derive(Clone)]
pub struct Options {
    pub(super) url: String,
    pub(super) on_unavailable: OnUnavailable,
    pub(super) plane: String,
    pub(super) token: Option<TokenSource>,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) identity_pem: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) budget: Duration,
    pub(super) attempt: Duration,
    pub(super) breaker_failures: u32,
    pub(super) breaker_open: Duration,
    pub(super) unsettled_max: usize,
    pub(super) hook: Option<Hook>,
}

impl Options {
    /// A client of the node, or of the balancer, at `url` (`http://HOST:PORT` or `https://…`). The policy has no default: it
    /// says whether an outage of tollgate is one of the platform, or a time without limits.
    pub fn new(url: impl Into<String>, on_unavailable: OnUnavailable) -> Self {
        Self {
            url: url.into(),
            on_unavailable,
            plane: String::new(),
            token: None,
            ca_pem: None,
            identity_pem: None,
            budget: Duration::from_secs(2),
            attempt: Duration::from_millis(500),
            breaker_failures: 5,
            breaker_open: Duration::from_secs(2),
            unsettled_max: 10_000,
            hook: None,
        }
    }

    /// The bearer token of every call.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.token_from(move || Some(token.clone()))
    }

    /// Asks for the bearer token with every call and with every stream of acquires, for tokens that are renewed. `None`
    /// sends none, so that the node refuses the call. It is called often and from the runtime: keep the token in memory.
    #[must_use]
    pub fn token_from(mut self, source: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.token = Some(Arc::new(source));
        self
    }

    /// Label of this plane in logs and in the usage by plane, at most 64 printable ASCII characters. Default: none.
    #[must_use]
    pub fn plane(mut self, label: impl Into<String>) -> Self {
        self.plane = label.into();
        self
    }

    /// Certificates in PEM that are trusted over `https`, in place of those that the machine trusts.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Certificate and key in PEM that this plane shows over `https`.
    #[must_use]
    pub fn identity_pem(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity_pem = Some((certificate.into(), key.into()));
        self
    }

    /// All attempts of one call together may take so long. Default: 2 s.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// Without an answer for so long the same call is sent again, under the same request id; an answer to the first one still
    /// counts. Also how long a connection may take, and how long a silent one has to answer a ping; a stream on which nothing
    /// is answered for twice as long is replaced. Default: 500 ms.
    #[must_use]
    pub fn attempt(mut self, attempt: Duration) -> Self {
        self.attempt = attempt;
        self
    }

    /// After `failures` calls in a row that nobody answered within their budget, calls are not sent for `open`, and
    /// [`OnUnavailable`] decides at once; then one call at a time asks whether the node answers again. Default: 5 and 2 s.
    #[must_use]
    pub fn breaker(mut self, failures: u32, open: Duration) -> Self {
        (self.breaker_failures, self.breaker_open) = (failures, open);
        self
    }

    /// Completions that wait for the node to answer again; what comes on top of so many is lost, and announced as
    /// [`Event::Lost`]. Default: 10 000.
    #[must_use]
    pub fn unsettled_max(mut self, most: usize) -> Self {
        self.unsettled_max = most;
        self
    }

    /// Called with whatever an operator wants to know. It is called from the runtime, so it must return soon; a panic in it
    /// ends nothing else.
    #[must_use]
    pub fn on_event(mut self, hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    pub(super) fn check(&self) -> Result<(), Misconfigured> {
        let bad = |text: String| Err(Misconfigured(text));
        if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            return bad(format!("url: {:?} is not allowed: http://HOST:PORT or https://HOST:PORT", self.url));
        }
        if self.plane.len() > 64 || !self.plane.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return bad(format!("plane: {:?} is not allowed: at most 64 printable ASCII characters", self.plane));
        }
        for (name, value) in [("budget", self.budget), ("attempt", self.attempt), ("breaker open", self.breaker_open)] {
            if !(Duration::from_millis(1)..=Duration::from_secs(3600)).contains(&value) {
                return bad(format!("{name}: {value:?} is not allowed: 1 ms to 1 h"));
            }
        }
        if self.attempt > self.budget {
            return bad(format!("attempt: {:?} is not allowed: at most the budget, {:?}", self.attempt, self.budget));
        }
        if self.breaker_failures == 0 {
            return bad("breaker failures: 0 is not allowed: at least 1".to_owned());
        }
        Ok(())
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither a token nor a key.
        f.debug_struct("Options")
            .field("url", &self.url)
            .field("on_unavailable", &self.on_unavailable)
            .field("plane", &self.plane)
            .field("budget", &self.budget)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_mistake_is_named_with_its_value_and_what_is_allowed() {
        let good = || Options::new("http://127.0.0.1:7070", OnUnavailable::Closed);
        assert_eq!(good().check(), Ok(()));
        for (bad, says) in [
            (Options::new("127.0.0.1:7070", OnUnavailable::Open), "url: \"127.0.0.1:7070\""),
            (good().plane("é"), "plane: \"é\""),
            (good().budget(Duration::ZERO), "budget: 0ns"),
            (good().attempt(3 * SECOND), "attempt: 3s is not allowed: at most the budget, 2s"),
            (good().breaker(0, SECOND), "breaker failures: 0"),
        ] {
            let error = bad.check().expect_err(says).to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }

    #[test]
    fn no_credential_is_shown() {
        let shown =
            format!("{:?}", Options::new("http://a", OnUnavailable::Open).token("secret").identity_pem("c", "k"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
