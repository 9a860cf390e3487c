//! `tollgate budget`: limits and spend by period, and changes of the limits.

use std::collections::BTreeMap;

use crate::{
    cli::{
        Exit,
        args::{BudgetSetArgs, BudgetVerb, PeriodLimit},
        connect::Connection,
        failure::Failure,
        output::{Output, Tone, View, facts, number, table, text},
    },
    domain::{ids::Meter, input::InputError, window::PERIODS, words},
    rpc::table,
    wire::v1::{
        Budget, BudgetPeriod, GetBudgetRequest, LimitSource, PeriodPatch, ReplaceBudgetRequest, UpdateBudgetRequest,
    },
};

use super::{
    format::{amount, bar},
    request_id::{named_in_doubt, org_and_request_id},
    scope_text, why_text,
};

/// One call of the service.
pub(super) enum Ask {
    Get(GetBudgetRequest),
    Update(UpdateBudgetRequest),
    Replace(ReplaceBudgetRequest),
}

pub(super) fn request(verb: &BudgetVerb) -> Result<Ask, Failure> {
    match verb {
        BudgetVerb::Get { org, scope } => {
            let scope = scope_text(scope.as_ref());
            Ok(Ask::Get(GetBudgetRequest { org: org.to_string(), scope }))
        }
        BudgetVerb::Set(args) => change(args),
    }
}

fn change(args: &BudgetSetArgs) -> Result<Ask, Failure> {
    let limits = each_once(&args.limits)?;
    let (org, request_id) = org_and_request_id(&args.write)?;
    let org = org.to_string();
    let (scope, reason) = (scope_text(args.scope.as_ref()), why_text(&args.why));
    let (expected_version, dry_run) = (args.expect_version, args.why.dry_run);
    if !args.replace {
        let patch = |limit: Option<i64>| PeriodPatch { limit, clear: limit.is_none() };
        let periods = limits.into_iter().map(|(name, limit)| (name.to_owned(), patch(limit))).collect();
        let update = UpdateBudgetRequest {
            org,
            scope,
            request_id,
            periods,
            expected_version,
            reason,
            dry_run,
            ..Default::default()
        };
        return Ok(Ask::Update(update));
    }
    let kept = limits.into_iter().map(|(name, limit)| match limit {
        Some(limit) => Ok((name.to_owned(), limit)),
        None => Err(InputError::new(name, "none", "an amount: --replace clears every period that is left out")),
    });
    let limits = kept.collect::<Result<_, _>>().map_err(Failure::Usage)?;
    let replace = ReplaceBudgetRequest {
        org,
        scope,
        request_id,
        limits,
        expected_version,
        reason,
        dry_run,
        ..Default::default()
    };
    Ok(Ask::Replace(replace))
}

fn each_once(given: &[PeriodLimit]) -> Result<BTreeMap<&'static str, Option<i64>>, Failure> {
    let mut limits = BTreeMap::new();
    for PeriodLimit { period, limit } in given {
        if limits.insert(*period, *limit).is_some() {
            return Err(Failure::Usage(InputError::new("limit", period, "each period at most once")));
        }
    }
    Ok(limits)
}

pub(super) async fn run(connection: &Connection, ask: Ask, output: &mut Output<'_>) -> Result<Exit, Failure> {
    match ask {
        Ask::Get(request) => {
            let answer = connection.ask::<table::GetBudget>(request).await?;
            let budget = complete(answer.budget.as_ref())?;
            output.answer(&answer, |_, _| describe(budget, AnswerTo::Read))?;
            warn(budget, output);
        }
        Ask::Update(request) => {
            let request_id = request.request_id.clone();
            let answer = connection.ask::<table::UpdateBudget>(request).await;
            let answer = named_in_doubt(answer, &request_id)?;
            let budget = complete(answer.budget.as_ref())?;
            output.answer(&answer, |answer, _| describe(budget, AnswerTo::of(answer.replayed)))?;
            warn(budget, output);
        }
        Ask::Replace(request) => {
            let request_id = request.request_id.clone();
            let answer = connection.ask::<table::ReplaceBudget>(request).await;
            let answer = named_in_doubt(answer, &request_id)?;
            let budget = complete(answer.budget.as_ref())?;
            output.answer(&answer, |answer, _| describe(budget, AnswerTo::of(answer.replayed)))?;
            warn(budget, output);
        }
    }
    Ok(Exit::Done)
}

fn limit_text(limit: Option<i64>) -> String {
    limit.map_or_else(|| "no limit".to_owned(), dollars)
}

fn complete(budget: Option<&Budget>) -> Result<&Budget, Failure> {
    budget.ok_or(Failure::Incomplete("it has no budget"))
}

/// Warns of stored limits that are invalid: the gate cannot be evaluated.
fn warn(budget: &Budget, output: &mut Output<'_>) {
    let Budget { org, scope, malformed, .. } = budget;
    if malformed.is_empty() {
        return;
    }
    let part = if scope.is_empty() { String::new() } else { format!(" --scope {}", words::for_shell(scope)) };
    output.remark(&format!(
        "warning: {org} has stored limits that are invalid: {}\n\
         hint: the gate `budgets` cannot be evaluated until `tollgate budget set {}{part} --replace` removes them",
        malformed.join(", "),
        words::for_shell(org),
    ));
}

/// What an answer is to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnswerTo {
    Read,
    Change,
    Replay,
}

impl AnswerTo {
    fn of(replayed: bool) -> Self {
        if replayed { Self::Replay } else { Self::Change }
    }
}

fn describe(budget: &Budget, to: AnswerTo) -> View {
    let columns = [
        text("period"),
        text("taken").toned(Tone::of_bar),
        number("limit"),
        number("spend"),
        number("reserved").spare(1),
        number("remaining"),
        text("limit is"),
    ];
    let rows = in_order(&budget.periods).into_iter().map(|(name, period)| row(name, period, to == AnswerTo::Change));
    let periods = table(columns, rows);
    let replayed = if to == AnswerTo::Replay { " (replayed)" } else { "" };
    let mut known = vec![("version", format!("{}{replayed}", budget.version))];
    if !budget.malformed.is_empty() {
        known.push(("MALFORMED", budget.malformed.join(", ")));
    }
    periods.apart(facts(known))
}

/// The shortest period first; periods that this build does not know come last.
pub(super) fn in_order<V>(periods: &BTreeMap<String, V>) -> Vec<(&str, &V)> {
    let mut periods: Vec<_> = periods.iter().map(|(name, period)| (name.as_str(), period)).collect();
    let place = |name: &str| PERIODS.iter().position(|(known, _)| *known == name).unwrap_or(PERIODS.len());
    periods.sort_by_key(|(name, _)| (place(name), *name));
    periods
}

fn row(name: &str, period: &BudgetPeriod, changed: bool) -> [String; 7] {
    let limit = if changed && period.previous_limit != period.limit {
        format!("{} → {}", limit_text(period.previous_limit), limit_text(period.limit))
    } else {
        limit_text(period.limit)
    };
    let taken = i128::from(period.spend) + i128::from(period.reserved);
    let share = period.limit.map(|limit| bar(taken, i128::from(limit))).unwrap_or_default();
    let remaining = period.remaining.map(dollars).unwrap_or_default();
    let is_overridden = period.source == i32::from(LimitSource::Override);
    let origin = match (period.limit, period.set) {
        (Some(0), _) if is_overridden => "override, blocks all",
        _ if is_overridden => "override",
        (None, _) => "",
        (Some(0), true) => "set, blocks all",
        (Some(0), false) => "configured, blocks all",
        (Some(_), true) => "set",
        (Some(_), false) => "configured",
    };
    [name.to_owned(), share, limit, dollars(period.spend), dollars(period.reserved), remaining, origin.to_owned()]
}

pub(super) fn dollars(micros: i64) -> String {
    amount(Meter::spend().as_str(), micros)
}
