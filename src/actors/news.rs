//! What happened in an org that no reply tells: an event for the metrics and a line in the log, each once.

use tracing::field::display;

use super::Shared;
use crate::{
    bounds::Bound,
    domain::{
        events::listed,
        ids::OrgId,
        kept_ids::Filling,
        org::{News, Operation, PoolNews},
        reply::AccountView,
        rows::OverrideRow,
        window::iso,
        words::duration,
    },
    ports::Event,
};

/// Accounts that one line names.
const ACCOUNTS_NAMED: usize = 50;

pub(super) fn tell(shared: &Shared, org: &OrgId, news: News) {
    let News {
        folded,
        folds,
        set_aside,
        ended_sessions,
        expired_sessions,
        expired_reservations,
        forgotten_reservations,
        forgotten_request_ids,
        request_ids_filling,
        overrides_ended,
        plan_missing,
        trial_ended,
        operations,
        pools,
        pools_touched,
    } = news;
    if set_aside > 0 {
        shared.events.happened(Event::SetAside(set_aside));
        tracing::error!(%org, rows = set_aside, "usage was set aside and will not reach billing by itself");
    }
    if folded > 0 {
        shared.events.happened(Event::Folded(folded));
    }
    if folds {
        tracing::warn!(
            %org, key = %Bound::ledgers_per_org,
            "the org has as many ledgers of scopes as it may: new scopes are counted together in `other`"
        );
    }
    if ended_sessions > 0 {
        shared.events.happened(Event::SessionsEnded(ended_sessions));
    }
    if expired_sessions > 0 {
        shared.events.happened(Event::SessionsExpired(expired_sessions));
        tracing::warn!(%org, sessions = expired_sessions, "sessions sent no heartbeat and have expired");
    }
    if expired_reservations > 0 {
        shared.events.happened(Event::ReservationsExpired(expired_reservations));
    }
    if forgotten_reservations > 0 {
        shared.events.happened(Event::ReservationsForgotten(forgotten_reservations));
        tracing::warn!(
            %org, reservations = forgotten_reservations, key = %Bound::expired_reservation_bytes_per_org,
            "expired reservations were forgotten within a day and can no longer be committed: there was no room"
        );
    }
    tell_of_request_ids(shared, org, request_ids_filling, forgotten_request_ids);
    overrides_ended.iter().for_each(|row| tell_of_override(org, row));
    if plan_missing {
        tracing::warn!(
            %org, "the plan that was set for the org is not configured any more: it has what is configured for it until \
                   SetPlan names another one"
        );
    }
    if trial_ended {
        shared.events.happened(Event::TrialEnded);
        tracing::info!(%org, "a trial has used up what it includes");
    }
    operations.iter().for_each(|operation| tell_of_operation(org, operation));
    pools.iter().for_each(|news| tell_of_pool(shared, org, news));
    if pools_touched {
        shared.pools.touched(org);
    }
}

fn tell_of_request_ids(shared: &Shared, org: &OrgId, filling: Option<Filling>, forgotten: u64) {
    if let Some(Filling { bytes, most, age }) = filling {
        shared.events.happened(Event::RequestIdsFilling);
        tracing::warn!(
            %org, bytes, most, key = %Bound::request_id_bytes_per_org,
            "the room for request ids of durable calls is nearly used up: at this rate they will be remembered for {} \
             instead of 24 hours", duration(age)
        );
    }
    if forgotten > 0 {
        shared.events.happened(Event::RequestIdsForgotten(forgotten));
        tracing::warn!(
            %org, ids = forgotten, key = %Bound::request_id_bytes_per_org,
            "request ids of durable calls were forgotten within 24 hours, because there was no room: a retry of one is \
             refused where the id carries its time, and carried out again where it does not"
        );
    }
}

fn tell_of_operation(org: &OrgId, operation: &Operation) {
    let Operation { caller, command, changes, reason, trace } = operation;
    let (changes, reason, trace_id) = (listed(changes), reason.given(), trace.map(display));
    tracing::info!(target: "tollgate::audit", %org, %caller, command, changes, reason, trace_id, "operator");
}

fn tell_of_override(org: &OrgId, row: &OverrideRow) {
    let (scope, limit, set, until) = (row.scope.shown(), &row.subject, iso(row.set_at), row.until.map(iso));
    tracing::info!(target: "tollgate::audit", %org, %scope, %limit, set, until, reason = %row.reason, "an override ended");
}

fn tell_of_pool(shared: &Shared, org: &OrgId, news: &PoolNews) {
    match news {
        PoolNews::AccountExhausted { pool, account, by } => {
            shared.events.happened(Event::AccountExhausted(*by));
            let until = account.available_at.map(|due| iso(due.at));
            tracing::warn!(target: "tollgate::pools", %org, %pool, %account, until, "an upstream account is exhausted");
        }
        PoolNews::AccountUsable { pool, account } => {
            tracing::info!(target: "tollgate::pools", %org, %pool, %account, "an upstream account is usable again");
        }
        PoolNews::PoolExhausted { pool, accounts } => {
            shared.events.happened(Event::PoolExhausted);
            let accounts = named(accounts.iter());
            tracing::error!(
                target: "tollgate::pools", %org, %pool, accounts, "all upstream accounts of a pool are exhausted"
            );
        }
        PoolNews::PoolUsable { pool } => {
            tracing::info!(target: "tollgate::pools", %org, %pool, "a pool has a usable account again");
        }
    }
}

/// Some accounts in one line.
pub(super) fn named<'a>(accounts: impl ExactSizeIterator<Item = &'a AccountView>) -> String {
    let beyond = accounts.len().saturating_sub(ACCOUNTS_NAMED);
    let mut line: Vec<_> = accounts.take(ACCOUNTS_NAMED).map(ToString::to_string).collect();
    if beyond > 0 {
        line.push(format!("and {beyond} more"));
    }
    line.join("; ")
}
