//! `tollgate budget`: what a budget allows and what was spent, period by period.

use crate::{
    cli::{
        Exit,
        args::BudgetVerb,
        connect::{Connection, Failure},
        output::{Output, numbers, table, words},
    },
    domain::{ids::Meter, window::PERIODS},
    wire::v1::{Budget, BudgetPeriod, GetBudgetRequest, GetBudgetResponse},
};

use super::units::amount;

pub(super) async fn run(connection: &Connection, verb: &BudgetVerb, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let BudgetVerb::Get { org, scope } = verb;
    let scope = scope.as_ref().map(ToString::to_string).unwrap_or_default();
    let request = GetBudgetRequest { org: org.to_string(), scope };
    let answer = connection.wait(connection.budget().get_budget(request)).await?;
    if answer.budget.is_none() {
        return Err(Failure::Incomplete("it has no budget"));
    }
    output.answer(&answer, |answer: &GetBudgetResponse, _| describe(answer.budget.as_ref()))?;
    Ok(Exit::Done)
}

fn describe(budget: Option<&Budget>) -> String {
    let columns = [words("period"), numbers("limit"), numbers("spend"), numbers("reserved"), numbers("remaining")];
    let periods = budget.map(in_order).unwrap_or_default();
    table(columns, periods.into_iter().map(|(name, period)| row(name, period)))
}

/// The shortest period first; one that this build does not know comes last.
fn in_order(budget: &Budget) -> Vec<(&str, &BudgetPeriod)> {
    let mut periods: Vec<_> = budget.periods.iter().map(|(name, period)| (name.as_str(), period)).collect();
    let place = |name: &str| PERIODS.iter().position(|(known, _)| *known == name).unwrap_or(PERIODS.len());
    periods.sort_by_key(|(name, _)| (place(name), *name));
    periods
}

fn row(name: &str, period: &BudgetPeriod) -> [String; 5] {
    let spend = Meter::spend();
    let dollars = |micros: i64| amount(spend.as_str(), micros);
    let limit = period.limit.map_or_else(|| "no limit".to_owned(), dollars);
    let remaining = period.remaining.map(dollars).unwrap_or_default();
    [name.to_owned(), limit, dollars(period.spend), dollars(period.reserved), remaining]
}
