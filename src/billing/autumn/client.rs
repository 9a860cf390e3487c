//! One call to Autumn: a POST with a budget for all of it, an answer of bounded size, and the
//! breaker in front. What comes back is the answer, or the [`Failure`] that kept it away.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;

use super::{
    clock::ProviderClock,
    settings::{AutumnSettings, SecretKey, SettingsError},
};
use crate::{
    billing::breaker::{Breaker, Permit},
    domain::{gate::Cause, ids::OrgId},
    https::{self, Trust},
};

/// A customer with everything that belongs to it stays far below.
const ANSWER_BYTES: usize = 256 << 10;
/// Connections that wait for the next call.
const IDLE_CONNECTIONS: usize = 64;
/// Shorter than what servers and balancers in front of them keep idle connections for.
const IDLE: Duration = Duration::from_secs(30);

const API_VERSION: HeaderName = HeaderName::from_static("x-api-version");

/// Why there is no answer that means anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    /// What the provider asked for.
    pub(super) after: Option<Duration>,
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self { cause, after: None }
    }
}

/// An answer in full; any status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) after: Option<Duration>,
    /// `None` where it is too long to be one.
    pub(super) body: Option<Vec<u8>>,
}

/// What an error says of itself: `{"message": …, "code": …}`.
#[derive(Debug, Default, Deserialize)]
struct Complaint {
    #[serde(default)]
    code: String,
}

impl Answer {
    /// The code of an error; empty where it has none.
    pub(super) fn code(&self) -> String {
        let body = self.body.as_deref().unwrap_or_default();
        serde_json::from_slice::<Complaint>(body).unwrap_or_default().code
    }

    /// Too many questions about this customer, and it says so; others may be asked about.
    fn limits_one_customer(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS && self.code().contains("customer")
    }

    /// The body of a 200, or why there is none.
    pub(super) fn ok(&self) -> Result<&[u8], Failure> {
        let cause = match self.status.as_u16() {
            200 => return self.body.as_deref().ok_or(Cause::ProviderBadAnswer.into()),
            202 => Cause::ProviderFailedOpen,
            401 | 403 => Cause::ProviderUnauthorized,
            404 => match self.code().as_str() {
                "customer_not_found" => Cause::UnknownCustomer,
                "feature_not_found" => Cause::UnknownFeature,
                _ => Cause::ProviderRefused,
            },
            408 => Cause::Timeout,
            429 => Cause::ProviderRateLimited,
            400..=499 => Cause::ProviderRefused,
            500.. => Cause::ProviderError,
            _ => Cause::ProviderBadAnswer,
        };
        Err(Failure { cause, after: self.after })
    }
}

#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    /// What authorises the next call.
    bearer: Arc<ArcSwap<HeaderValue>>,
    /// What time it is at the provider; learned from every answer.
    pub(super) clock: Arc<ProviderClock>,
    breaker: Breaker,
    timeout: Duration,
}

impl Link {
    pub(super) fn new(settings: &AutumnSettings) -> Result<Self, SettingsError> {
        let headers = HeaderMap::from_iter([
            (API_VERSION, settings.version()?),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ACCEPT, HeaderValue::from_static("application/json")),
        ]);
        let builder = https::client(Trust::of(&settings.base_url));
        let client = builder
            .map_err(|error| SettingsError::Tls(error.to_string()))?
            .default_headers(headers)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE)
            .connect_timeout(settings.timeout)
            .build()
            .map_err(|error| SettingsError::Client(error.to_string()))?;
        let breaker = Breaker::new("autumn", settings.breaker);
        let bearer = Arc::new(ArcSwap::from_pointee(settings.secret_key.bearer()?));
        Ok(Self { client, bearer, clock: Arc::default(), breaker, timeout: settings.timeout })
    }

    /// The next call has this key, also those beside this one.
    pub(super) fn authorise(&self, key: &SecretKey) -> Result<(), SettingsError> {
        self.bearer.store(Arc::new(key.bearer()?));
        Ok(())
    }

    /// The same connections, the same key and the same clock with a breaker of its own.
    pub(super) fn beside(&self, settings: &AutumnSettings) -> Self {
        let breaker = Breaker::new("autumn, reports", settings.breaker);
        let (client, bearer, clock) = (self.client.clone(), self.bearer.clone(), self.clock.clone());
        Self { client, bearer, clock, breaker, timeout: self.timeout }
    }

    /// One call about `customer`.
    pub(super) async fn post(
        &self,
        customer: &OrgId,
        address: Url,
        body: Vec<u8>,
        headers: &[(&'static str, String)],
    ) -> Result<Answer, Failure> {
        let permit =
            self.breaker.enter(customer).map_err(|left| Failure { cause: Cause::CircuitOpen, after: Some(left) })?;
        let bearer = HeaderValue::clone(&self.bearer.load());
        let mut request = self.client.post(address).header(AUTHORIZATION, bearer).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let exchange = async { self.read(request.send().await?).await };
        let answer = match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "autumn cannot be reached");
                Err(Failure::from(if error.is_timeout() { Cause::Timeout } else { Cause::ProviderUnreachable }))
            }
            Err(_) => Err(Failure::from(Cause::Timeout)),
        };
        tell(permit, &answer);
        answer
    }

    async fn read(&self, mut response: Response) -> reqwest::Result<Answer> {
        let (status, after) = (response.status(), https::retry_after(response.headers()));
        if let Some(date) = https::date(response.headers()) {
            self.clock.learn(date);
        }
        let mut body = Some(Vec::new());
        while let (Some(read), Some(chunk)) = (&mut body, response.chunk().await?) {
            if read.len() + chunk.len() > ANSWER_BYTES {
                body = None;
                break;
            }
            read.extend_from_slice(&chunk);
        }
        Ok(Answer { status, after, body })
    }
}

/// Tells the breaker how it went. A question that is refused was heard: only what might happen to
/// any question counts as a failure.
fn tell(permit: Permit<'_>, answer: &Result<Answer, Failure>) {
    let failure = match answer {
        Ok(answer) if answer.limits_one_customer() => None,
        Ok(answer) => answer.ok().err(),
        Err(failure) => Some(*failure),
    };
    match failure {
        Some(Failure {
            cause:
                Cause::Timeout
                | Cause::ProviderError
                | Cause::ProviderUnreachable
                | Cause::ProviderRateLimited
                | Cause::ProviderUnauthorized,
            after,
        }) => permit.failed(after),
        _ => permit.worked(),
    }
}
