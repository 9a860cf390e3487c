//! `tollgate pool`: the accounts of a pool, the pick of one for the next call, and the report of how
//! that call ended.

use std::{collections::BTreeSet, path::Path};

use crate::{
    cli::{
        Exit,
        args::{
            AccountSpec, ClearArgs, Given, PickArgs, PoolConfigureArgs, PoolNameArgs, PoolVerb, ProfileArg, ReportArgs,
            SettingsArgs,
        },
        confirm::confirmed,
        connect::Connection,
        failure::Failure,
        output::{Output, View, facts},
    },
    domain::{ids::AccountId, input::InputError, window::Millis},
    rpc::table,
    wire::v1::{
        AcquireRequest, ClearAccountRequest, ConfigurePoolRequest, GetPoolRequest, PickRequest, PickResponse, Pool,
        PoolAccount, PoolProfile, PoolSettings, PoolSummary, ReportOutcomeRequest, ReportOutcomeResponse,
    },
};

use super::{
    account_file,
    acquire::{PLANE, amounts, reservation},
    decision_view,
    format::outcome_line,
    pool_view::{account_table, describe, outcome_name},
    request_id::{named_in_doubt, org_and_request_id},
    scope_texts, why_text,
};

/// One call of the service.
pub(super) enum Ask {
    Configure(ConfigurePoolRequest),
    Show(GetPoolRequest),
    Pick(Box<PickRequest>),
    /// With the account as it may be shown.
    Report(ReportOutcomeRequest, Option<String>),
    Clear(ClearAccountRequest),
}

pub(super) fn request(verb: &PoolVerb) -> Result<Ask, Failure> {
    match verb {
        PoolVerb::Configure(args) => configured(args).map(Ask::Configure),
        PoolVerb::Show(PoolNameArgs { org, pool }) => {
            Ok(Ask::Show(GetPoolRequest { org: org.to_string(), pool: pool.to_string() }))
        }
        PoolVerb::Pick(args) => picked(args).map(|request| Ask::Pick(Box::new(request))),
        PoolVerb::Report(args) => reported(args),
        PoolVerb::Clear(args) => cleared(args).map(Ask::Clear),
    }
}

/// A removal is confirmed first: what was counted of its accounts goes with it.
pub(super) fn confirm(verb: &PoolVerb, output: &mut Output<'_>) -> Result<(), Failure> {
    match verb {
        PoolVerb::Configure(PoolConfigureArgs { remove: true, yes, pool, write, why, .. }) => {
            confirmed(*yes || why.dry_run, &format!("remove the pool {pool} of {}", write.org), pool.as_str(), output)
        }
        _ => Ok(()),
    }
}

fn configured(args: &PoolConfigureArgs) -> Result<ConfigurePoolRequest, Failure> {
    let accounts = accounts(&args.accounts, args.accounts_file.as_deref())?;
    let (org, request_id) = org_and_request_id(&args.write)?;
    Ok(ConfigurePoolRequest {
        org: org.to_string(),
        pool: args.pool.to_string(),
        accounts: accounts.into_iter().map(sent).collect(),
        request_id,
        expected_version: args.expected_version,
        settings: settings(&args.settings),
        reason: why_text(&args.why),
        dry_run: args.why.dry_run,
    })
}

/// `None` where none is given: those of the pool stay.
fn settings(args: &SettingsArgs) -> Option<PoolSettings> {
    let profile = match args.profile {
        None => PoolProfile::Unspecified,
        Some(ProfileArg::Relay) => PoolProfile::Relay,
        Some(ProfileArg::Llm) => PoolProfile::Llm,
    };
    let settings = PoolSettings {
        profile: profile.into(),
        daily_limit: args.limit,
        safety_buffer: args.buffer,
        window: args.window.clone().unwrap_or_default(),
        per_minute: args.per_minute,
        cooldown_ms: args.cooldown,
        quarantine_ms: args.quarantine,
        quota_texts: args.quota_texts.clone(),
    };
    (args.no_settings || settings != PoolSettings::default()).then_some(settings)
}

/// The accounts of the flags and of the file; no account twice.
fn accounts(given: &[Given<AccountSpec>], file: Option<&Path>) -> Result<Vec<AccountSpec>, Failure> {
    let mut seen = BTreeSet::new();
    let mut once = |account: &AccountId| {
        let repeated = || InputError::new("account", account.masked(), "each account once");
        if seen.insert(account.clone()) { Ok(()) } else { Err(repeated()) }
    };
    let mut accounts = given.iter().cloned().collect::<Given<Vec<_>>>().map_err(Failure::Usage)?;
    accounts.iter().try_for_each(|spec| once(&spec.account)).map_err(Failure::Usage)?;
    if let Some(file) = file {
        for (line, spec) in account_file::accounts(file)? {
            once(&spec.account).map_err(|error| account_file::on_line(file, line, &error))?;
            accounts.push(spec);
        }
    }
    Ok(accounts)
}

fn sent(spec: AccountSpec) -> PoolAccount {
    PoolAccount {
        account: spec.account.as_str().to_owned(),
        daily_limit: spec.limit,
        safety_buffer: spec.buffer,
        window: spec.window.unwrap_or_default(),
        per_minute: spec.per_minute,
    }
}

fn picked(args: &PickArgs) -> Result<PickRequest, Failure> {
    // Org, pool and request id are those of the pick.
    let (scope, scopes) = scope_texts(&args.scope);
    let gates = AcquireRequest {
        scope,
        scopes,
        cost: amounts("cost", &args.cost)?,
        reserve: amounts("reserve", &args.reserve)?,
        explain: args.explain,
        plane: PLANE.to_owned(),
        ..AcquireRequest::default()
    };
    Ok(PickRequest {
        org: args.of.org.to_string(),
        pool: args.of.pool.to_string(),
        request_id: args.request_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        acquire: args.is_gated().then_some(gates),
    })
}

fn reported(args: &ReportArgs) -> Result<Ask, Failure> {
    let account = account_of(args.account.as_ref(), args.account_file.as_deref())?;
    let (org, request_id) = org_and_request_id(&args.write)?;
    let request = ReportOutcomeRequest {
        org: org.to_string(),
        pool: args.pool.to_string(),
        account: account.as_ref().map(|account| account.as_str().to_owned()).unwrap_or_default(),
        status: args.status,
        error_text: args.error.clone(),
        bytes_up: args.bytes_up,
        bytes_down: args.bytes_down,
        request_id,
        retry_after_ms: args.retry_after,
        picked_at_ms: args.picked_at,
    };
    Ok(Ask::Report(request, account.map(|account| account.masked())))
}

/// The account of the argument or of the file.
fn account_of(given: Option<&Given<AccountId>>, file: Option<&Path>) -> Result<Option<AccountId>, Failure> {
    match (given, file) {
        (Some(given), _) => given.clone().map(Some).map_err(Failure::Usage),
        (None, Some(file)) => account_file::account(file).map(Some),
        (None, None) => Ok(None),
    }
}

fn cleared(args: &ClearArgs) -> Result<ClearAccountRequest, Failure> {
    let account = account_of(args.account.as_ref(), args.account_file.as_deref())?;
    let (org, request_id) = org_and_request_id(&args.write)?;
    Ok(ClearAccountRequest {
        org: org.to_string(),
        pool: args.pool.to_string(),
        account: account.map(|account| account.as_str().to_owned()).unwrap_or_default(),
        request_id,
        reason: why_text(&args.why),
        dry_run: args.why.dry_run,
    })
}

pub(super) async fn run(connection: &Connection, ask: Ask, output: &mut Output<'_>) -> Result<Exit, Failure> {
    match ask {
        Ask::Configure(request) => configure(connection, request, output).await,
        Ask::Show(request) => {
            let answer = connection.ask::<table::GetPool>(request).await?;
            let (pool, sum) = complete(answer.pool.as_ref())?;
            output.answer(&answer, |_, now| describe(pool, sum, false, now))?;
            Ok(Exit::Done)
        }
        Ask::Pick(request) => pick(connection, *request, output).await,
        Ask::Report(request, account) => report(connection, request, account, output).await,
        Ask::Clear(request) => clear(connection, request, output).await,
    }
}

async fn configure(
    connection: &Connection,
    request: ConfigurePoolRequest,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let request_id = request.request_id.clone();
    let answer = connection.ask::<table::ConfigurePool>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    let (pool, sum) = complete(answer.pool.as_ref())?;
    output.answer(&answer, |answer, now| {
        if pool.accounts.is_empty() {
            outcome_line("removed", &pool.org, &pool.pool, answer.replayed).into()
        } else {
            describe(pool, sum, answer.replayed, now)
        }
    })?;
    answer.warnings.iter().for_each(|warning| output.remark(&format!("warning: {warning}")));
    Ok(Exit::Done)
}

fn complete(pool: Option<&Pool>) -> Result<(&Pool, &PoolSummary), Failure> {
    let pool = pool.ok_or(Failure::Incomplete("it has no pool"))?;
    Ok((pool, pool.summary.as_ref().ok_or(Failure::Incomplete("it has no summary"))?))
}

async fn pick(connection: &Connection, request: PickRequest, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let asked = format!("{}  {}", request.org, request.pool);
    let gated = request.acquire.is_some();
    let answer = connection.ask::<table::Pick>(request).await?;
    if answer.allowed && answer.account.is_empty() {
        return Err(Failure::Incomplete("it has no account"));
    }
    if answer.allowed && gated && answer.decision.is_none() {
        return Err(Failure::Incomplete("it has no decision of the org's gates"));
    }
    output.answer(&answer, |answer, now| decision_view::describe(&asked, &answer.into(), account(answer, now), now))?;
    Ok(if answer.allowed { Exit::Done } else { Exit::Denied })
}

/// The account that was picked, where one was, and what came with it.
fn account(answer: &PickResponse, now: Millis) -> Vec<(&'static str, String)> {
    let mut known = Vec::new();
    if answer.allowed {
        known.push(("account", answer.account.clone()));
        known.push(("remaining", answer.remaining.to_string()));
    }
    if answer.picked_at_ms > 0 {
        known.push(("picked at", answer.picked_at_ms.to_string()));
    }
    if answer.last_resort {
        known.push(("last resort", "every other account is exhausted or avoided as well".to_owned()));
    }
    known.extend(answer.decision.iter().flat_map(|decision| reservation(decision, now)));
    known
}

async fn report(
    connection: &Connection,
    request: ReportOutcomeRequest,
    account: Option<String>,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, pool, request_id) = (request.org.clone(), request.pool.clone(), request.request_id.clone());
    let answer = connection.ask::<table::ReportOutcome>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    output.answer(&answer, |answer: &ReportOutcomeResponse, _| {
        let whose = match account {
            None => "none: the call bypassed the pool".to_owned(),
            Some(account) if answer.known => account,
            Some(account) => format!("{account} is not in the pool: only its bytes were counted, for the pool"),
        };
        let taken_for = outcome_line(&outcome_name(answer.outcome), org, pool, answer.replayed);
        View::from(taken_for).then(facts([("account", whose)]))
    })?;
    Ok(Exit::Done)
}

async fn clear(
    connection: &Connection,
    request: ClearAccountRequest,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, pool, request_id) = (request.org.clone(), request.pool.clone(), request.request_id.clone());
    let answer = connection.ask::<table::ClearAccount>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    let account = answer.account.clone().ok_or(Failure::Incomplete("it has no account"))?;
    output.answer(&answer, |answer, now| {
        let done = if answer.cleared { "cleared" } else { "nothing to clear" };
        let line = outcome_line(done, org, pool, answer.replayed);
        View::from(line).apart(account_table(&[account], now))
    })?;
    Ok(Exit::Done)
}
