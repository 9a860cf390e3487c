//! `tollgate org show`: everything that is stored of an org, section by section.

use crate::{
    cli::output::{View, facts, number, table, text, time},
    domain::window::Millis,
    wire::admin::v1::{BudgetLimits, GetOrgResponse, Ledger, RateRecord},
};

use super::{
    all_scopes,
    budget::{dollars, in_order},
    control::override_table,
    format::{amount, iso, since, span, when},
    limit_view::limit_table,
    names::{called, former},
    pool_view::pool_table,
    reservation::reservation_table,
    session_view::session_table,
};

pub(super) fn describe(org: &GetOrgResponse, now: Millis) -> View {
    View::all([
        summary(org, now),
        section("rate record", org.rate.is_none(), || org.rate.map(rate).unwrap_or_default()),
        section("limits", org.limits.is_empty(), || limit_table(&org.limits, now)),
        section("overrides", org.overrides.is_empty(), || override_table(&org.overrides, now)),
        section("budgets", org.budgets.is_empty(), || budgets(&org.budgets)),
        section("ledgers", org.ledgers.is_empty(), || ledgers(&org.ledgers)),
        section("counters", org.counters.is_empty(), || counters(org)),
        section("reservations", org.reservations.is_empty(), || reservation_table(&org.reservations, now)),
        section("sessions", org.sessions.is_empty(), || session_table(&org.sessions, now)),
        section("pools", org.pools.is_empty(), || pool_table(&org.pools, now)),
        section("baselines", org.baselines.is_empty(), || baselines(org)),
        section("executions", org.executions.is_empty(), || executions(org, now)),
        section("disputed", org.disputed.is_empty(), || disputed(org, now)),
        section("timers", org.timers.is_none(), || timers(org, now)),
    ])
}

fn section(title: &str, empty: bool, body: impl FnOnce() -> View) -> View {
    if empty { format!("{title}: none").into() } else { View::from(format!("{title}:")).then(body()) }
}

fn summary(org: &GetOrgResponse, now: Millis) -> View {
    let frozen = match (org.frozen, org.freeze_reason.as_str()) {
        (false, _) => "no".to_owned(),
        (true, "") => "yes".to_owned(),
        (true, reason) => format!("yes: {reason}"),
    };
    let frozen = match org.frozen_until_ms {
        0 => frozen,
        until => format!("{frozen}, until {}", when(now, until)),
    };
    let mut known = vec![
        ("org", called(&org.name, &org.org)),
        ("plan", org.plan.clone()),
        ("frozen", frozen),
        ("admitted", org.admitted_total.to_string()),
        ("journal", format!("{} (stored from {})", org.sequence, org.journal_from_sequence)),
        (
            "request ids",
            format!(
                "{} remembered, {} bytes on disk, {} forgotten early",
                org.remembered_request_ids,
                org.request_id_bytes,
                org.request_ids_evicted.saturating_add(org.request_ids_forgotten)
            ),
        ),
    ];
    if !org.former_names.is_empty() {
        known.insert(1, ("former names", former(&org.former_names)));
    }
    if org.purged_at_ms != 0 {
        known.insert(
            1,
            ("purged", format!("{}; its names are not free yet: delete it again", since(now, org.purged_at_ms))),
        );
    }
    if org.request_ids_forgotten > 0 {
        known.push(("ids known", since(now, org.request_ids_known_from_ms)));
    }
    if org.trial_ended_at_ms != 0 {
        known.push(("trial ended", since(now, org.trial_ended_at_ms)));
    }
    if org.exports_pending > 0 || org.exports_set_aside > 0 {
        known.push(("exports", format!("{} pending, {} set aside", org.exports_pending, org.exports_set_aside)));
    }
    if org.executions_uncompleted > 0 {
        known.push(("uncompleted", format!("{} executions", org.executions_uncompleted)));
    }
    facts(known)
}

fn rate(rate: RateRecord) -> View {
    let start = rate.window_id.saturating_mul(rate.window_length_ms);
    let length = span(u64::try_from(rate.window_length_ms).unwrap_or(0));
    facts([
        ("window", format!("{} of {length}, from {}", rate.window_id, iso(start))),
        ("count", rate.count.to_string()),
        ("blocked", rate.blocked.to_string()),
    ])
}

/// The limits set at run time, by scope; a scope without limits still has its version.
fn budgets(budgets: &[BudgetLimits]) -> View {
    let columns = [text("scope"), number("version"), text("period"), number("limit")];
    let rows = budgets.iter().flat_map(|budget| {
        let row = |period: &str, limit| [budget.scope.clone(), budget.version.to_string(), period.to_owned(), limit];
        let cleared = budget.limits.is_empty().then(|| row("", String::new()));
        let limits = in_order(&budget.limits).into_iter().map(move |(period, limit)| row(period, dollars(*limit)));
        cleared.into_iter().chain(limits)
    });
    table(columns, rows)
}

fn ledgers(ledgers: &[Ledger]) -> View {
    let held = ledgers.iter().map(|ledger| {
        let reserved = amount(&ledger.meter, ledger.reserved);
        [ledger.scope.clone(), ledger.meter.clone(), "reserved".to_owned(), String::new(), reserved]
    });
    let slices = ledgers.iter().flat_map(|ledger| {
        let row = |slice: &str, start, value| {
            [ledger.scope.clone(), ledger.meter.clone(), slice.to_owned(), iso(start), amount(&ledger.meter, value)]
        };
        ledger.hours.iter().flat_map(move |hour| {
            let minutes = hour.minutes.iter().map(move |minute| row("minute", minute.start_ms, minute.amount));
            std::iter::once(row("hour", hour.start_ms, hour.total)).chain(minutes)
        })
    });
    let columns = [text("scope"), text("meter"), text("slice"), text("from"), number("amount")];
    table(columns, held.chain(slices))
}

fn counters(org: &GetOrgResponse) -> View {
    let columns = [text("scope"), text("meter"), text("window"), text("from"), number("used"), number("carried")];
    let rows = org.counters.iter().map(|counter| {
        let [used, carried] = [counter.used, counter.carried].map(|value| amount(&counter.meter, value));
        [counter.scope.clone(), counter.meter.clone(), counter.window.clone(), iso(counter.start_ms), used, carried]
    });
    table(columns, rows)
}

fn baselines(org: &GetOrgResponse) -> View {
    let columns = [text("scope"), text("source"), text("incarnation"), text("meter"), number("total")];
    let rows = org.baselines.iter().map(|base| {
        let total = amount(&base.meter, base.total);
        [
            all_scopes(&base.scope, &base.scopes),
            base.source.clone(),
            base.incarnation.clone(),
            base.meter.clone(),
            total,
        ]
    });
    table(columns, rows)
}

fn executions(org: &GetOrgResponse, now: Millis) -> View {
    let columns =
        [text("execution"), text("admitted"), text("open"), number("continuations").spare(1), time("last seen")];
    let rows = org.executions.iter().map(|execution| {
        let (id, seen) = (execution.execution_id.clone(), when(now, execution.last_seen_at_ms));
        [id, yes_no(execution.admitted), yes_no(execution.open), execution.continuations.to_string(), seen]
    });
    table(columns, rows)
}

fn yes_no(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

fn disputed(org: &GetOrgResponse, now: Millis) -> View {
    let columns = [text("scope"), text("source"), text("meter"), number("amount"), time("at")];
    let rows = org.disputed.iter().map(|entry| {
        let value = amount(&entry.meter, entry.amount);
        [
            all_scopes(&entry.scope, &entry.scopes),
            entry.source.clone(),
            entry.meter.clone(),
            value,
            when(now, entry.at_ms),
        ]
    });
    table(columns, rows)
}

fn timers(org: &GetOrgResponse, now: Millis) -> View {
    let timers = org.timers.unwrap_or_default();
    facts([
        ("next wake-up", when(now, timers.wake_at_ms)),
        ("rate record purge", when(now, timers.rate_purge_at_ms)),
        ("next expiry", when(now, timers.next_expiry_at_ms)),
    ])
}
