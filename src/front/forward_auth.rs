//! The question of a proxy that holds a request back until it knows whether it may go on: nginx by `auth_request`, Caddy by
//! `forward_auth`, Traefik by `forwardAuth`. It is an Acquire of the org that the request names, answered by a status of HTTP.
//!
//! `[forward_auth.NAME]` of the configuration says where that is, and `?rule=NAME` which of them holds; without it the one that is
//! called `default`. The credential of the proxy itself is in `tollgate-authorization`, or is the certificate of its connection:
//! `authorization` is what the client has sent.

use std::{borrow::Cow, time::Duration};

use hyper::{
    HeaderMap, Request, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tonic::{Code, body::Body};
use url::form_urlencoded;

use super::{
    Answering, Front,
    begun::Begun,
    behind_body,
    connect::{http_status, retry_after},
    hinted, sentence, whole,
};
use crate::{
    domain::gateways::{FORWARD_AUTH, PathPattern, Place, Rule},
    error::ServiceError,
    net::{Arriving, Peer},
    rpc::{
        self, Taken,
        table::{self, Method as _},
    },
    service::System,
    wire::{
        gateways::{Said, ask, code, denies, is_near, seconds, shown, window_ms},
        limit::Limit,
        status,
        v1::{AcquireRequest, AcquireResponse},
    },
};

/// The path of the question, on both ports.
pub(super) const PATH: &str = "/v1/forward-auth";
/// The rule of a question that names none.
const DEFAULT: &str = "default";
/// What the proxy is known by.
const CREDENTIAL: &str = "tollgate-authorization";
/// The path and the query of the request that is held back.
const FORWARDED_URI: &str = "x-forwarded-uri";

/// Why a request is not asked about.
const UNCLEAR: &str = "a header that is read stands more than once or is no text, or the path has a segment that servers take for \
                       another one: dots, a slash or a backslash that is encoded, or a semicolon";
/// What is said of credentials: there are two.
const OF_PROXY: &str =
    "the proxy itself is known by the header \"tollgate-authorization: Bearer TOKEN\", or by its certificate";

const CODE: HeaderName = HeaderName::from_static("tollgate-code");
const DECISION: HeaderName = HeaderName::from_static("tollgate-decision-id");
const FAIL_OPEN: HeaderName = HeaderName::from_static("tollgate-fail-open");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Why a request may not go on, as RFC 9457 has it.
#[derive(Debug, Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// As a decision has it, or the reason of an error.
    code: &'a str,
}

/// Answers without the body of the request, which a proxy does not send.
pub(super) fn answer(front: &Front, request: Request<Arriving>) -> Answering {
    let gateways = front.service.orgs().rules().gateways.clone();
    let name = rule_name(request.uri().query().unwrap_or_default()).into_owned();
    let Some(rule) = gateways.forward_auth.get(&name) else {
        let why = format!("no rule has this name: the configuration has no section [forward_auth.{name:?}]\n");
        return behind_body(request.into_body(), sentence(StatusCode::NOT_FOUND, why));
    };
    let (rule, is_shadow) = (rule.clone(), rule.is_shadow);
    let begun = asked(front, &rule, &request);
    let answering = async move {
        let (begun, ask) = begun?;
        decided(begun, &rule, ask).await
    };
    let (front, body) = (front.clone(), request.into_body());
    Box::pin(async move {
        let (answer, said) = answering.await.unwrap_or_else(|refused| refused.told(is_shadow));
        front.service.metrics().gateway(FORWARD_AUTH, &name, said);
        behind_body(body, answer).await
    })
}

fn rule_name(query: &str) -> Cow<'_, str> {
    let mut named = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "rule");
    named.next().map_or(Cow::Borrowed(DEFAULT), |(_, name)| name)
}

/// Why nothing was decided.
enum Refused {
    /// The request names no org, or what can be none.
    NoOrg(&'static str),
    /// It may name one thing to tollgate, and another one to the application.
    Unclear,
    /// The credential of the client, whose org it is about, is none.
    Client(ServiceError),
    /// The proxy itself is not known, or may not ask.
    Proxy(ServiceError),
    /// The call was not carried out.
    Call(ServiceError),
}

impl From<ServiceError> for Refused {
    fn from(error: ServiceError) -> Self {
        Self::Call(error)
    }
}

impl Refused {
    /// The answer, and what it is in metrics. What the client has written wrong is its own denial, in a status that every proxy
    /// knows, and a shadow denies nothing.
    fn told(&self, is_shadow: bool) -> (Response<Body>, &'static str) {
        let denied = Said::denial(is_shadow).name();
        let denial = |code: &str, why: &str| match is_shadow {
            true => let_on(code),
            false => problem(StatusCode::FORBIDDEN, code, why),
        };
        match self {
            Self::NoOrg(why) => (denial("NO_ORG", why), "no_org"),
            Self::Unclear => (denial("UNCLEAR", UNCLEAR), denied),
            Self::Client(error) if is_shadow => (let_on(&status::to_item(error).reason), denied),
            Self::Client(error) => (failed(error), denied),
            Self::Proxy(error) => (failed(error), Said::Error.name()),
            Self::Call(error) => match status::to_item(error) {
                item if status::is_of_names(&item) => (denial(&item.reason, &item.message), denied),
                item if is_shadow => (let_on(&item.reason), Said::Error.name()),
                _ => (failed(error), Said::Error.name()),
            },
        }
    }
}

fn failed(error: &ServiceError) -> Response<Body> {
    let (item, retry_after) = (status::to_item(error), retry_after(&status::to_status(error)));
    let refused = http_status(Code::from_i32(item.grpc_code));
    let detail = match error {
        ServiceError::Unauthenticated(_) => Cow::from(format!("{}; {OF_PROXY}", item.message)),
        _ => Cow::from(&item.message),
    };
    let mut answer = problem(refused, &item.reason, &detail);
    let headers = answer.headers_mut();
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds);
    }
    if refused == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// Who asks, and what.
fn asked(front: &Front, rule: &Rule<Place>, request: &Request<Arriving>) -> Result<(Begun, AcquireRequest), Refused> {
    let (headers, peer) = (request.headers(), request.extensions().get::<Peer>());
    let rpc = table::Acquire::RPC;
    let caller = front.known(rpc.method, headers.get(CREDENTIAL), peer).map_err(Refused::Proxy)?;
    let asked = (System::ForwardAuth, None::<Duration>);
    let begun = front.begin_as(rpc, caller, request, asked).map_err(Refused::Proxy)?;
    let client = match &rule.org {
        Place::Token => {
            let client = front.known(rpc.method, headers.get(header::AUTHORIZATION), None).map_err(Refused::Client)?;
            let only = client.orgs().only().map(str::to_owned);
            Some(only.ok_or(Refused::NoOrg("the credential of the client is not that of one org"))?)
        }
        Place::Header(_) | Place::Path(_) => None,
    };
    let find = |place: &Place| match place {
        Place::Header(name) => Ok(only(headers, name)?.map(str::to_owned)),
        Place::Path(pattern) => in_path(headers, pattern),
        Place::Token => Ok(client.clone()),
    };
    let ask = ask(rule, 1, find)?.ok_or(Refused::NoOrg("the request names no org"))?;
    Ok((begun, AcquireRequest { plane: FORWARD_AUTH.to_owned(), ..ask }))
}

/// The value of a header; unclear where it is there twice, because a proxy and a server may each take another one.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refused> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(value), None) => Ok(Some(value).filter(|value| !value.is_empty())),
        _ => Err(Refused::Unclear),
    }
}

/// A value of the path, decoded.
fn in_path(headers: &HeaderMap, pattern: &PathPattern) -> Result<Option<String>, Refused> {
    let uri = only(headers, FORWARDED_URI)?.unwrap_or_default();
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    if !PathPattern::is_plain(path) {
        return Err(Refused::Unclear);
    }
    let value = pattern.value(path).map(|value| percent_decode_str(value).decode_utf8());
    value.transpose().map(|value| value.map(Cow::into_owned)).map_err(|_| Refused::Unclear)
}

async fn decided(
    begun: Begun,
    rule: &Rule<Place>,
    ask: AcquireRequest,
) -> Result<(Response<Body>, &'static str), Refused> {
    let scopes = ask.scopes.clone();
    if let Err(error) = begun.turn() {
        begun.answered(status::to_status(&error).code()).await;
        return Err(error.into());
    }
    let answered = begun.serve(Taken::made::<table::Acquire>(ask)).await;
    let code = answered.as_ref().map_or_else(|error| status::to_status(error).code(), |_| Code::Ok);
    begun.answered(code).await;
    let decision = rpc::response::<table::Acquire>(answered?.bytes)?;
    let limit = shown(rule, &scopes, &decision);
    let said = Said::of(rule, &decision, limit.is_some_and(is_near));
    Ok((told(rule, limit, &decision), said.name()))
}

/// The decision, in the status and the headers of an answer.
fn told(rule: &Rule<Place>, limit: Option<&Limit>, decision: &AcquireResponse) -> Response<Body> {
    let is_denial = denies(rule, decision);
    let mut answer = if is_denial {
        let status = hinted(decision.http_status_hint.into()).unwrap_or(StatusCode::FORBIDDEN);
        problem(status, code(decision), &decision.message)
    } else {
        let_on(code(decision))
    };
    let headers = answer.headers_mut();
    let mut set = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(DECISION, &decision.decision_id);
    if let Some(limit) = limit {
        let (name, left, reset) = (&limit.texts.name, limit.remaining.max(0), seconds(limit.resets_in_ms));
        let window = window_ms(limit).map(|len| format!(";w={}", len / 1000)).unwrap_or_default();
        set(RATE_LIMIT_POLICY, &format!("{name:?};q={}{window}", limit.amount));
        set(RATE_LIMIT, &format!("{name:?};r={left};t={reset}"));
    }
    if is_denial && decision.retry_after_ms > 0 {
        set(header::RETRY_AFTER, &seconds(decision.retry_after_ms).to_string());
    }
    if !decision.fail_open.is_empty() {
        let gates: Vec<_> = decision.fail_open.iter().map(|open| format!("{}={}", open.gate, open.cause)).collect();
        set(FAIL_OPEN, &gates.join(", "));
    }
    answer
}

/// A request that goes on; `code` says what a decision, or a shadow, has to say of it.
fn let_on(code: &str) -> Response<Body> {
    with_code(sentence(StatusCode::OK, ""), code)
}

fn problem(status: StatusCode, code: &str, detail: &str) -> Response<Body> {
    let title = status.canonical_reason().unwrap_or_default();
    let problem = Problem { r#type: "about:blank", title, status: status.as_u16(), detail, code };
    let answer = whole(status, "application/problem+json", serde_json::to_vec(&problem).unwrap_or_default());
    with_code(answer, code)
}

fn with_code(mut answer: Response<Body>, code: &str) -> Response<Body> {
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(code) = HeaderValue::from_str(code) {
        headers.insert(CODE, code);
    }
    answer
}
