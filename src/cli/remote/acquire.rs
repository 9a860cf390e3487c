//! `tollgate acquire`: one decision, and the exit code that goes with it.

use crate::{
    cli::{
        Exit,
        args::{AcquireArgs, MeterAmount, ModeArg},
        connect::Connection,
        failure::Failure,
        output::Output,
    },
    domain::{input::InputError, window::Millis},
    rpc::table,
    wire::v1::{AcquireRequest, AcquireResponse, Amount, Mode},
};

use super::{decision_view::describe, format::when, scope_texts};

/// The label of this plane in the logs of the node.
pub(super) const PLANE: &str = "cli";

pub(super) fn request(args: &AcquireArgs) -> Result<AcquireRequest, Failure> {
    let mode = match args.mode {
        ModeArg::CheckOnly => Mode::CheckOnly,
        ModeArg::Normal if args.check_only => Mode::CheckOnly,
        ModeArg::Normal => Mode::Normal,
        ModeArg::Shadow => Mode::Shadow,
    };
    let (scope, scopes) = scope_texts(&args.scope);
    Ok(AcquireRequest {
        org: args.org.to_string(),
        scope,
        scopes,
        request_id: args.request_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        cost: amounts("cost", &args.cost)?,
        reserve: amounts("reserve", &args.reserve)?,
        mode: mode.into(),
        explain: args.explain,
        reservation_ttl_ms: args.ttl.unwrap_or_default(),
        plane: args.plane.to_string(),
        pool: args.pool.as_ref().map(ToString::to_string).unwrap_or_default(),
        ..AcquireRequest::default()
    })
}

pub(super) fn amounts(field: &str, given: &[MeterAmount]) -> Result<Vec<Amount>, Failure> {
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
    let decision = connection.ask::<table::Acquire>(request).await?;
    output.answer(&decision, |decision, now| describe(&org, &decision.into(), reservation(decision, now), now))?;
    Ok(if decision.allowed { Exit::Done } else { Exit::Denied })
}

/// The reservation, where there is one.
pub(super) fn reservation(decision: &AcquireResponse, now: Millis) -> Vec<(&'static str, String)> {
    if decision.reservation_id.is_empty() {
        return Vec::new();
    }
    let expires = when(now, decision.reservation_expires_at_ms);
    vec![("reservation", format!("{} expires {expires}", decision.reservation_id))]
}
