//! `envoy.service.ratelimit.v3.RateLimitService`: what Envoy's rate-limit filter asks, as Acquires of the orgs that its descriptors
//! name. Descriptors of one org are one Acquire in all of their scopes, so that a request is charged once, and wholly or not at all.

use std::{collections::BTreeMap, pin::pin};

use futures_util::StreamExt;
use prost_types::{Duration, Struct, Value, value::Kind};

use super::{Answer, batch};
use crate::{
    domain::{
        gateways::{ENVOY, Rule},
        input::InputError,
    },
    error::ServiceError,
    service::{Call, Service},
    wire::{
        envoy::{
            config::core::v3::HeaderValue,
            extensions::common::ratelimit::v3::RateLimitDescriptor,
            service::ratelimit::v3::{
                RateLimitRequest, RateLimitResponse,
                rate_limit_response::{Code, DescriptorStatus, RateLimit},
            },
        },
        gateways::{Said, ask, code, denies, few_descriptors, is_near, seconds, shown, unit},
        status,
        v1::{AcquireRequest, AcquireResponse, ItemError},
    },
};

pub(super) async fn should_rate_limit(
    service: &Service,
    call: &Call,
    request: &mut RateLimitRequest,
) -> Answer<RateLimitResponse> {
    let gateways = service.orgs().rules().gateways.clone();
    let Some(rule) = gateways.envoy.get(&request.domain) else {
        let known: Vec<_> = gateways.envoy.keys().map(|domain| format!("[envoy.{domain}]")).collect();
        let known = if known.is_empty() { "no section [envoy.DOMAIN]".to_owned() } else { known.join(", ") };
        let allowed = format!("a domain of the configuration, which has {known}");
        return Err(InputError::new("domain", &request.domain, allowed).into());
    };
    let (questions, mut asks) = questions(rule, request)?;
    let orgs: Vec<_> = asks.iter().map(|ask| ask.org.clone()).collect();
    let mut outcomes: Vec<Option<Outcome>> = asks.iter().map(|_| None).collect();
    {
        let mut decided = pin!(batch::decide(service, call, &mut asks));
        while let Some((position, item)) = decided.next().await {
            outcomes[position] = Some(outcome(rule, batch::result(call, item)?)?);
        }
    }
    let outcomes: Option<Vec<_>> = outcomes.into_iter().collect();
    let outcomes = outcomes.ok_or(ServiceError::Bug)?;
    let near = questions.iter().flatten().any(|(place, scopes)| outcomes[*place].is_near(rule, scopes));
    // The gravest is what the answer is about; of several alike the first one.
    let said = outcomes.iter().map(|outcome| outcome.said(rule, near)).enumerate();
    let gravest = said.rev().max_by_key(|(_, said)| *said);
    service.metrics().gateway(ENVOY, &request.domain, gravest.map_or("no_org", |(_, said)| said.name()));
    let gravest = gravest.map(|(place, _)| place);
    let mut answer = answer(rule, &questions, &outcomes, gravest);
    answer.dynamic_metadata = gravest.map(|place| metadata(rule, &orgs[place], &outcomes[place], near));
    Ok(answer)
}

/// What a descriptor asks: which Acquire, and its own scopes in it; `None` = it names no org.
type Question = Option<(usize, Vec<String>)>;

/// The Acquires that the descriptors are, one for each org and number of hits.
fn questions(
    rule: &Rule<String>,
    request: &RateLimitRequest,
) -> Result<(Vec<Question>, Vec<AcquireRequest>), InputError> {
    let count = few_descriptors(&request.descriptors)?;
    let mut asks: Vec<AcquireRequest> = Vec::new();
    // Where the Acquires of an org are, by how often each is charged.
    let mut orgs: BTreeMap<String, BTreeMap<u64, usize>> = BTreeMap::new();
    let mut questions = Vec::with_capacity(count);
    for (index, descriptor) in request.descriptors.iter().enumerate() {
        let hits = hits(index, descriptor, request.hits_addend)?;
        let find = |key: &String| {
            let entry = descriptor.entries.iter().find(|entry| entry.key == *key);
            Ok::<_, InputError>(entry.map(|entry| entry.value.clone()).filter(|value| !value.is_empty()))
        };
        questions.push(ask(rule, hits, find)?.map(|ask| {
            let own = ask.scopes.clone();
            let place = *orgs.entry(ask.org.clone()).or_default().entry(hits).or_insert(asks.len());
            match asks.get_mut(place) {
                Some(known) => {
                    let new = ask.scopes.into_iter().filter(|scope| !known.scopes.contains(scope));
                    let new: Vec<_> = new.collect();
                    known.scopes.extend(new);
                    if known.request_id.is_empty() {
                        known.request_id = ask.request_id;
                    }
                }
                None => asks.push(AcquireRequest { plane: ENVOY.to_owned(), ..ask }),
            }
            (place, own)
        }));
    }
    // Acquires of one request that charge differently are not one call: an id is that of one.
    for (hits, place) in orgs.into_values().filter(|places| places.len() > 1).flatten() {
        let id = &mut asks[place].request_id;
        if !id.is_empty() {
            *id = format!("{id}:{hits}");
        }
    }
    Ok((questions, asks))
}

/// How often the cost of a descriptor is charged.
fn hits(index: usize, descriptor: &RateLimitDescriptor, of_request: u32) -> Result<u64, InputError> {
    let field = |name: &str| format!("descriptors[{index}].{name}");
    if descriptor.is_negative_hits {
        let allowed = "false: usage is given back by AdminService.Refund";
        return Err(InputError::new(field("is_negative_hits"), true, allowed));
    }
    if let Some(limit) = &descriptor.limit {
        let allowed = "nothing: limits are those of tollgate";
        return Err(InputError::new(field("limit"), format!("{} per unit", limit.requests_per_unit), allowed));
    }
    Ok(descriptor.hits_addend.unwrap_or_else(|| of_request.max(1).into()))
}

/// What came of an Acquire for whom a proxy lets in: a decision, or that the request names what nobody can count. In a shadow, which
/// denies nothing, also that nothing was decided.
enum Outcome {
    Decided(Box<AcquireResponse>),
    Refused(ItemError),
}

impl Outcome {
    fn denies(&self, rule: &Rule<String>) -> bool {
        match self {
            Self::Decided(decision) => denies(rule, decision),
            Self::Refused(_) => !rule.is_shadow,
        }
    }

    fn said(&self, rule: &Rule<String>, near: bool) -> Said {
        match self {
            Self::Decided(decision) => Said::of(rule, decision, near),
            Self::Refused(error) if !status::is_of_names(error) => Said::Error,
            Self::Refused(_) => Said::denial(rule.is_shadow),
        }
    }

    fn is_near(&self, rule: &Rule<String>, scopes: &[String]) -> bool {
        match self {
            Self::Decided(decision) => shown(rule, scopes, decision).is_some_and(is_near),
            Self::Refused(_) => false,
        }
    }
}

/// The error is that of the question: nothing is known of the request. What the client itself has written wrong is a denial:
/// otherwise it would be let in by it wherever errors are.
fn outcome(rule: &Rule<String>, decided: Result<AcquireResponse, ItemError>) -> Answer<Outcome> {
    match decided {
        Ok(decision) => Ok(Outcome::Decided(Box::new(decision))),
        Err(error) if rule.is_shadow || status::is_of_names(&error) => Ok(Outcome::Refused(error)),
        Err(error) => Err(ServiceError::Relayed(Box::new(status::from_item(error)))),
    }
}

fn answer(
    rule: &Rule<String>,
    questions: &[Question],
    outcomes: &[Outcome],
    gravest: Option<usize>,
) -> RateLimitResponse {
    let denial = gravest.map(|place| &outcomes[place]).filter(|outcome| outcome.denies(rule));
    let verdict = |denied| if denied { Code::OverLimit } else { Code::Ok }.into();
    let statuses = questions.iter().map(|question| match question {
        Some((place, scopes)) => {
            let denied = outcomes[*place].denies(rule);
            DescriptorStatus { code: verdict(denied), ..current(rule, scopes, &outcomes[*place]) }
        }
        None => DescriptorStatus { code: verdict(false), ..DescriptorStatus::default() },
    });
    let statuses: Vec<_> = statuses.collect();
    let mut answer =
        RateLimitResponse { overall_code: verdict(denial.is_some()), statuses, ..RateLimitResponse::default() };
    if let Some(outcome) = denial {
        let (message, retry_after_ms) = match outcome {
            Outcome::Decided(decision) => (&decision.message, decision.retry_after_ms),
            Outcome::Refused(error) => (&error.message, 0),
        };
        answer.raw_body = format!("{message}\n").into_bytes();
        if retry_after_ms > 0 {
            let value = seconds(retry_after_ms).to_string();
            answer.response_headers_to_add = vec![HeaderValue { key: "retry-after".into(), value }];
        }
    }
    answer
}

/// The limit that is shown for a descriptor.
fn current(rule: &Rule<String>, scopes: &[String], outcome: &Outcome) -> DescriptorStatus {
    let Outcome::Decided(decision) = outcome else { return DescriptorStatus::default() };
    let Some(limit) = shown(rule, scopes, decision) else { return DescriptorStatus::default() };
    let most = |amount: i64| u32::try_from(amount.max(0)).unwrap_or(u32::MAX);
    let name = limit.texts.name.clone();
    let until = Duration { seconds: limit.resets_in_ms / 1000, nanos: (limit.resets_in_ms % 1000) as i32 * 1_000_000 };
    DescriptorStatus {
        current_limit: Some(RateLimit { requests_per_unit: most(limit.amount), unit: unit(limit).into(), name }),
        limit_remaining: most(limit.remaining),
        duration_until_reset: Some(until),
        ..DescriptorStatus::default()
    }
}

/// What filters behind this one, and logs, can say.
fn metadata(rule: &Rule<String>, org: &str, outcome: &Outcome, near: bool) -> Struct {
    let text = |value: &str| Kind::StringValue(value.to_owned());
    let mut fields =
        vec![("org", text(org)), ("shadow", Kind::BoolValue(rule.is_shadow)), ("near_limit", Kind::BoolValue(near))];
    match outcome {
        Outcome::Decided(decision) => {
            let fail_open: Vec<_> = decision.fail_open.iter().map(|open| open.gate.as_str()).collect();
            fields.extend([
                ("code", text(code(decision))),
                ("decision_id", text(&decision.decision_id)),
                ("http_status", Kind::NumberValue(decision.http_status_hint.into())),
                ("fail_open", text(&fail_open.join(","))),
            ]);
        }
        Outcome::Refused(error) => {
            fields.extend([("code", text(&error.reason)), ("http_status", Kind::NumberValue(403.0))]);
        }
    }
    let fields = fields.into_iter().map(|(name, kind)| (name.to_owned(), Value { kind: Some(kind) }));
    Struct { fields: fields.collect() }
}
