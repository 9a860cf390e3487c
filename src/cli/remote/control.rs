//! `tollgate org override`, `set-plan` and `exempt`: what operators set for an org at run time. Each answer shows what
//! was in force before and what is now.

use crate::{
    cli::{
        Exit,
        args::{EndArgs, ExemptArgs, OverrideClearArgs, OverrideSetArgs, OverrideVerb, ReasonArgs, SetPlanArgs, Value},
        connect::Connection,
        failure::Failure,
        output::{Name, Output, View, facts, number, table, text},
    },
    domain::{ids::OrgId, window::Millis},
    rpc::table,
    wire::{
        admin::v1::{
            ClearOverrideRequest, ClearOverrideResponse, Exempt, ExemptionChange, GrantResponse, ListOverridesRequest,
            Override, OverrideSetting, PlanChange, RevokeGrantResponse, SetExemptionRequest, SetExemptionResponse,
            SetOverrideRequest, SetOverrideResponse, SetPlanRequest, SetPlanResponse,
        },
        v1::Limit,
    },
};

use super::{
    format::{amount, when},
    limit_view::{source_name, until_spent},
    request_id::{named_in_doubt, org_and_request_id},
    scope_text,
};

pub(super) async fn overrides(
    connection: &Connection,
    verb: &OverrideVerb,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    match verb {
        OverrideVerb::Set(args) => set(connection, args, output).await,
        OverrideVerb::Clear(args) => clear(connection, args, output).await,
        OverrideVerb::List { org, ended } => {
            let request = ListOverridesRequest { org: org.to_string(), ended: *ended };
            let answer = connection.ask::<table::ListOverrides>(request).await?;
            output.answer(&answer, |answer, now| override_table(&answer.overrides, now))?;
            Ok(Exit::Done)
        }
    }
}

async fn set(connection: &Connection, args: &OverrideSetArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let EndArgs { after, until } = args.end;
    let (setting, amount) = match args.limit.value {
        Value::Amount(amount) => (OverrideSetting::Amount, Some(amount)),
        Value::Unlimited => (OverrideSetting::Unlimited, None),
        Value::Shadow => (OverrideSetting::Shadow, None),
    };
    let request = SetOverrideRequest {
        org: org.to_string(),
        scope: scope_text(args.scope.as_ref()),
        request_id: request_id.clone(),
        limit: args.limit.limit.to_string(),
        setting: setting.into(),
        amount,
        for_ms: after.unwrap_or(0),
        until_ms: until.unwrap_or(0),
        expected_version: args.why.expect_version,
        reason: why(&args.why),
        dry_run: args.why.dry_run,
    };
    let answer = connection.ask::<table::SetOverride>(request).await;
    show_change(&named_in_doubt(answer, &request_id)?, org, output)
}

async fn clear(connection: &Connection, args: &OverrideClearArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let request = ClearOverrideRequest {
        org: org.to_string(),
        scope: scope_text(args.scope.as_ref()),
        request_id: request_id.clone(),
        limit: args.limit.to_string(),
        expected_version: args.why.expect_version,
        reason: why(&args.why),
        dry_run: args.why.dry_run,
    };
    let answer = connection.ask::<table::ClearOverride>(request).await;
    show_change(&named_in_doubt(answer, &request_id)?, org, output)
}

pub(super) async fn set_plan(
    connection: &Connection,
    args: &SetPlanArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let EndArgs { after, until } = args.end;
    let change = match (args.none, args.clear) {
        (false, false) => PlanChange::Set,
        (true, _) => PlanChange::None,
        (false, true) => PlanChange::Clear,
    };
    let request = SetPlanRequest {
        org: org.to_string(),
        request_id: request_id.clone(),
        change: change.into(),
        plan: args.plan.clone().unwrap_or_default(),
        for_ms: after.unwrap_or(0),
        until_ms: until.unwrap_or(0),
        expected_version: args.why.expect_version,
        reason: why(&args.why),
        dry_run: args.why.dry_run,
    };
    let answer = connection.ask::<table::SetPlan>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    output.answer(&answer, |answer: &SetPlanResponse, now| {
        let name = |plan: &str| if plan.is_empty() { "none".to_owned() } else { plan.to_owned() };
        let names = (name(&answer.plan_before), name(&answer.plan));
        changed(org, "plan", names, (answer.current.as_ref(), answer.replayed), now)
    })?;
    Ok(Exit::Done)
}

pub(super) async fn exempt(
    connection: &Connection,
    args: &ExemptArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let EndArgs { after, until } = args.end;
    let change = match (args.never, args.clear) {
        (false, false) => ExemptionChange::Exempt,
        (true, _) => ExemptionChange::NotExempt,
        (false, true) => ExemptionChange::Clear,
    };
    let request = SetExemptionRequest {
        org: org.to_string(),
        request_id: request_id.clone(),
        change: change.into(),
        for_ms: after.unwrap_or(0),
        until_ms: until.unwrap_or(0),
        expected_version: args.why.expect_version,
        reason: why(&args.why),
        dry_run: args.why.dry_run,
    };
    let answer = connection.ask::<table::SetExemption>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    output.answer(&answer, |answer: &SetExemptionResponse, now| {
        let names = (exempt_name(answer.before()).to_owned(), exempt_name(answer.after()).to_owned());
        changed(org, "exempt", names, (answer.current.as_ref(), answer.replayed), now)
    })?;
    Ok(Exit::Done)
}

fn exempt_name(exempt: Exempt) -> &'static str {
    match exempt {
        Exempt::Unspecified => "unknown",
        Exempt::Never => "never",
        Exempt::IfPaying => "while the org pays",
        Exempt::Always => "always",
    }
}

fn why(args: &ReasonArgs) -> String {
    args.reason.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn changed(
    org: &OrgId,
    what: &'static str,
    (before, after): (String, String),
    (current, replayed): (Option<&Override>, bool),
    now: Millis,
) -> View {
    let value = old_and_new((!replayed).then_some(before), after);
    let known = [("org", org.to_string()), (what, value)].into_iter();
    facts(known.chain(how_long(current, replayed, now)))
}

/// The answer to a call that changes a limit.
pub(super) trait LimitChange: Name {
    /// What is set now, the limit before and after, and whether that is a repetition.
    fn parts(&self) -> (Option<&Override>, Option<&Limit>, Option<&Limit>, bool);
}

macro_rules! limit_changes {
    ($($answer:ty)+) => {
        $(impl LimitChange for $answer {
            fn parts(&self) -> (Option<&Override>, Option<&Limit>, Option<&Limit>, bool) {
                (self.current.as_ref(), self.before.as_ref(), self.after.as_ref(), self.replayed)
            }
        })+
    };
}

limit_changes! { SetOverrideResponse ClearOverrideResponse GrantResponse RevokeGrantResponse }

pub(super) fn show_change(answer: &impl LimitChange, org: &OrgId, output: &mut Output<'_>) -> Result<Exit, Failure> {
    output.answer(answer, |answer, now| changed_limit(org, answer, now))?;
    Ok(Exit::Done)
}

fn changed_limit(org: &OrgId, answer: &impl LimitChange, now: Millis) -> View {
    let (current, before, after, replayed) = answer.parts();
    let mut known = vec![("org", org.to_string())];
    if let Some(current) = current {
        known.push(("limit", current.limit.clone()));
        if current.grant > 0 {
            known.push(("granted", setting(current)));
        }
        if !current.scope.is_empty() {
            known.push(("scope", current.scope.clone()));
        }
    }
    known.push(("amount", old_and_new((!replayed).then(|| limit_text(before)), limit_text(after))));
    if let Some(limit) = after {
        let meter = &limit.texts.meter;
        known.push(("used", amount(meter, limit.used.saturating_add(limit.reserved))));
        if !limit.unlimited {
            known.push(("remaining", amount(meter, limit.remaining)));
        }
    }
    facts(known.into_iter().chain(how_long(current, replayed, now)))
}

/// `$25.00 (plan)`, `$30.00 (plan, $5.00 of it granted)`.
fn limit_text(limit: Option<&Limit>) -> String {
    let Some(limit) = limit else { return "no limit".to_owned() };
    let value = if limit.unlimited { "unlimited".to_owned() } else { amount(&limit.texts.meter, limit.amount) };
    let shadow = if limit.shadow { ", only watched" } else { "" };
    let granted = match limit.granted {
        0 => String::new(),
        granted => format!(", {} of it granted", amount(&limit.texts.meter, granted)),
    };
    let until_spent = until_spent(limit).map(|granted| format!(", {granted}")).unwrap_or_default();
    format!("{value} ({}{shadow}{granted}{until_spent})", source_name(limit))
}

/// `$25.00 (plan) → $50.00 (override)`; a replay knows only what is in force now.
fn old_and_new(before: Option<String>, after: String) -> String {
    match before {
        Some(before) if before != after => format!("{before} → {after}"),
        _ => after,
    }
}

fn how_long(current: Option<&Override>, replayed: bool, now: Millis) -> Vec<(&'static str, String)> {
    let Some(current) = current else { return vec![("version", "0, it was never set".to_owned())] };
    let replayed = if replayed { " (replayed)" } else { "" };
    let mut known = vec![("ends", ends(current, now)), ("version", format!("{}{replayed}", current.version))];
    if !current.reason.is_empty() {
        known.push(("reason", current.reason.clone()));
    }
    if current.ignored {
        known.push(("IGNORED", "its plan or its limit is not there any more".to_owned()));
    }
    known
}

fn ends(each: &Override, now: Millis) -> String {
    match (each.ended_at_ms, each.until_ms) {
        (0, 0) if each.spent.is_some() => "once it is spent".to_owned(),
        (0, 0) => "when it is cleared".to_owned(),
        (0, until) if each.spent.is_some() => format!("{}, or once it is spent", when(now, until)),
        (0, until) => when(now, until),
        (ended, _) => format!("ended {}", when(now, ended)),
    }
}

pub(super) fn override_table(overrides: &[Override], now: Millis) -> View {
    let columns =
        [text("limit"), text("scope"), text("set to"), number("version"), text("set"), text("ends"), text("reason")];
    let rows = overrides.iter().map(|each| {
        let ignored = if each.ignored { " (IGNORED: it is not there any more)" } else { "" };
        let setting = format!("{}{ignored}", setting(each));
        let (version, set) = (each.version.to_string(), when(now, each.set_at_ms));
        [each.limit.clone(), each.scope.clone(), setting, version, set, ends(each, now), each.reason.clone()]
    });
    table(columns, rows)
}

fn setting(each: &Override) -> String {
    match each.limit.as_str() {
        "plan" if each.plan.is_empty() => "no plan".to_owned(),
        "plan" => each.plan.clone(),
        "exemption" => if each.exempt { "always" } else { "never" }.to_owned(),
        "freeze" => "ends by itself".to_owned(),
        _ if each.setting() == OverrideSetting::Grant => {
            let granted = each.amount.unwrap_or(0);
            let left = |spent: i64| format!(", {} left", amount(&each.meter, granted.saturating_sub(spent)));
            let spent = each.spent.map(|spent| format!(", {} spent{}", amount(&each.meter, spent), left(spent)));
            format!("+{} (grant {}{})", amount(&each.meter, granted), each.grant, spent.unwrap_or_default())
        }
        _ if each.setting() == OverrideSetting::Unlimited => "unlimited".to_owned(),
        _ if each.setting() == OverrideSetting::Shadow => "only watched".to_owned(),
        _ => amount(&each.meter, each.amount.unwrap_or(0)),
    }
}
