//! `tollgate acquire`: one decision, and the exit code that goes with it.

use crate::{
    cli::{
        Exit,
        args::{AcquireArgs, MeterAmount},
        connect::{Connection, Failure},
        output::{Output, facts},
    },
    domain::{input::InputError, window::Millis},
    wire::v1::{AcquireRequest, AcquireResponse, Amount, DecisionCode, Mode},
};

use super::{
    limits::{code_name, headline, limit_table},
    units::{wait, when},
};

/// Label of this plane in the node's logs.
const PLANE: &str = "cli";

pub(super) fn request(args: &AcquireArgs) -> Result<AcquireRequest, Failure> {
    let mode = if args.check_only { Mode::CheckOnly } else { Mode::Normal };
    Ok(AcquireRequest {
        org: args.org.to_string(),
        scope: args.scope.as_ref().map(ToString::to_string).unwrap_or_default(),
        request_id: args.request_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        cost: amounts("cost", &args.cost)?,
        reserve: amounts("reserve", &args.reserve)?,
        mode: mode.into(),
        explain: args.explain,
        plane: PLANE.to_owned(),
        ..AcquireRequest::default()
    })
}

fn amounts(field: &str, given: &[MeterAmount]) -> Result<Vec<Amount>, Failure> {
    for (index, amount) in given.iter().enumerate() {
        if given[..index].iter().any(|earlier| earlier.meter == amount.meter) {
            return Err(Failure::Usage(InputError::new(field, &amount.meter, "each meter at most once")));
        }
    }
    Ok(given.iter().map(|given| Amount { meter: given.meter.to_string(), amount: given.amount }).collect())
}

pub(super) async fn run(
    connection: &Connection,
    request: AcquireRequest,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let org = request.org.clone();
    let decision = connection.wait(connection.gate().acquire(request)).await?;
    output.answer(&decision, |decision, now| describe(&org, decision, now))?;
    Ok(if decision.allowed { Exit::Done } else { Exit::Denied })
}

fn describe(org: &str, decision: &AcquireResponse, now: Millis) -> String {
    let mut sections = vec![verdict(org, decision, now)];
    let known = details(decision, now);
    if !known.is_empty() {
        sections[0].push('\n');
        sections[0].push_str(&facts(known));
    }
    if !decision.limits.is_empty() {
        sections.push(limit_table(&decision.limits, now));
    }
    sections.join("\n\n")
}

fn verdict(org: &str, decision: &AcquireResponse, now: Millis) -> String {
    let word = if decision.allowed { "allowed" } else { "denied " };
    let plain = decision.code == i32::from(DecisionCode::Allowed);
    let code = if plain { String::new() } else { format!("{}  ", code_name(decision.code)) };
    let mut text = format!("{word}  {org}  {code}{}", headline(&decision.limits, now));
    if !decision.message.is_empty() {
        text.push('\n');
        text.push_str(&decision.message);
    }
    text
}

fn details(decision: &AcquireResponse, now: Millis) -> Vec<(&'static str, String)> {
    let mut known = Vec::new();
    if decision.retry_after_ms > 0 {
        known.push(("try again in", wait(decision.retry_after_ms)));
    }
    if !decision.decision_id.is_empty() {
        let replayed = if decision.replayed { " (replayed: nothing was charged again)" } else { "" };
        known.push(("decision", format!("{}{replayed}", decision.decision_id)));
    }
    if !decision.reservation_id.is_empty() {
        let expires = when(now, decision.reservation_expires_at_ms);
        known.push(("reservation", format!("{} expires {expires}", decision.reservation_id)));
    }
    for fail_open in &decision.fail_open {
        known.push(("not evaluated", format!("{}, let through because of {}", fail_open.gate, fail_open.cause)));
    }
    if !decision.node.is_empty() {
        known.push(("node", decision.node.clone()));
    }
    known
}
