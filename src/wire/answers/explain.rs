//! Denials, and what lets a call through. Accounts are masked; times are milliseconds since the epoch.

use super::{amounts, code, int, limits, names::name, scopes};
use crate::{
    bounds::{MICROS_PER_CENT, SECOND_MS},
    domain::{
        decision::Decision,
        denials::{Asked, Block, DayView, DenialPage, DenialRow, Explained, FullLimit, Said, Until, Way, Why},
        gate::{Cause, Code, Gate},
        ids::{DecisionId, Meter, OrgId},
        window::{Millis, iso},
        words,
    },
    wire::admin::v1 as admin,
};

/// A page of denials; the next one begins behind its last row.
pub fn denials(page: &DenialPage, size: usize) -> admin::ListDenialsResponse {
    let next = page.rows.last().filter(|_| page.rows.len() == size).map(|row| row.number.to_string());
    admin::ListDenialsResponse {
        denials: page.rows.iter().map(denial).collect(),
        next_page_token: next.unwrap_or_default(),
        days: page.days.iter().map(day).collect(),
    }
}

/// A decision that the org keeps.
pub fn explained(explained: &Explained, org: &OrgId, now: Millis) -> admin::ExplainDecisionResponse {
    admin::ExplainDecisionResponse {
        decision: Some(denial(&explained.row)),
        exact: explained.certain,
        ways: ways(&explained.row, org, now),
        limits: Vec::new(),
    }
}

/// An admission, with the limits of its answer.
pub fn admission(row: &DenialRow, decision: &Decision) -> admin::ExplainDecisionResponse {
    admin::ExplainDecisionResponse {
        decision: Some(denial(row)),
        exact: true,
        ways: Vec::new(),
        limits: limits(&decision.limits, decision.at),
    }
}

/// What blocks the org.
pub fn why(why: &Why, org: &OrgId) -> admin::WhyResponse {
    admin::WhyResponse {
        org: org.to_string(),
        known: why.is_known,
        plan: why.plan.clone(),
        blocked: !why.blocks.is_empty(),
        blocks: why.blocks.iter().map(|each| block(each, org, why.at)).collect(),
        over: why.over.iter().map(denial).collect(),
        let_through: why.let_through.iter().map(denial).collect(),
        days: why.days.iter().map(day).collect(),
        at_ms: int(why.at),
        name: name(why.name.as_ref()),
    }
}

fn block(block: &Block, org: &OrgId, now: Millis) -> admin::Block {
    let planes = block.planes.iter();
    let planes = planes.map(|(plane, count)| admin::PlaneCount { plane: plane.to_string(), count: int(*count) });
    admin::Block {
        now: Some(denial(&block.now)),
        count: int(block.count),
        since_ms: if block.count > 0 { int(block.since) } else { 0 },
        last_at_ms: if block.count > 0 { int(block.last_at) } else { 0 },
        planes: planes.collect(),
        scopes: block.scopes.iter().map(|scopes| scopes.shown().into_owned()).collect(),
        ways: ways(&block.now, org, now),
    }
}

fn denial(row: &DenialRow) -> admin::Denial {
    let (gate, denied) = match (row.denied_by(), row.unevaluated()) {
        (Some((gate, code)), _) => (gate.name(), code),
        (None, Some((gate, _))) => (gate.name(), Code::Allowed),
        (None, None) => ("", Code::Allowed),
    };
    let id = |id: Option<DecisionId>| id.map(DecisionId::text).unwrap_or_default();
    admin::Denial {
        number: int(row.number),
        gate: gate.into(),
        code: code(denied).into(),
        message: row.message.clone(),
        count: int(row.count),
        first_at_ms: int(row.first_at),
        last_at_ms: int(row.last_at),
        first_decision_id: id(row.first),
        last_decision_id: id(row.last),
        until_ms: if let Until::At(at) = row.until { int(at) } else { 0 },
        never_fits: row.until == Until::Never,
        asked: Some(asked(&row.asked)),
        node: row.node.to_string(),
        trace_id: row.trace.map(|trace| trace.to_string()).unwrap_or_default(),
        shadow: row.shadow,
        mixed: row.mixed,
        limits: row.limits.iter().map(full_limit).collect(),
        gates: row.gates.iter().map(|(gate, said)| report(*gate, *said)).collect(),
    }
}

fn asked(asked: &Asked) -> admin::AskedFor {
    admin::AskedFor {
        operation: asked.operation.name().into(),
        scopes: scopes(&asked.scopes),
        plane: asked.plane.to_string(),
        pool: asked.pool.as_ref().map(ToString::to_string).unwrap_or_default(),
        cost: amounts(&asked.cost),
        reserve: amounts(&asked.reserve),
    }
}

fn full_limit(limit: &FullLimit) -> admin::FullLimit {
    admin::FullLimit {
        name: limit.texts.name.clone(),
        scope: limit.scope.shown().into_owned(),
        meter: limit.texts.meter.clone(),
        window: limit.texts.window.clone(),
        amount: int(limit.amount),
        buffer: int(limit.buffer),
        used: int(limit.used),
        reserved: int(limit.reserved),
        asked: int(limit.asked),
        missing: int(limit.missing()),
        fits_at_ms: int(limit.fits_at.unwrap_or(0)),
    }
}

fn report(gate: Gate, said: Said) -> admin::GateReport {
    let (verdict, denied, cause) = match said {
        Said::Passed => ("passed", None, None),
        Said::Denied(code) => ("denied", Some(code), None),
        Said::Unevaluated(cause) => ("unevaluated", None, Some(cause)),
    };
    admin::GateReport {
        gate: gate.name().into(),
        verdict: verdict.into(),
        code: denied.map_or(0, |denied| code(denied).into()),
        cause: cause.map(Cause::name).unwrap_or_default().into(),
    }
}

fn day(day: &DayView) -> admin::DecisionDay {
    let count = |(gate, denied, failed_open): &(Gate, u64, u64)| admin::GateCount {
        gate: gate.name().into(),
        denied: int(*denied),
        failed_open: int(*failed_open),
    };
    admin::DecisionDay {
        start_ms: int(day.start),
        allowed: int(day.allowed),
        gates: day.gates.iter().map(count).collect(),
    }
}

fn ways(row: &DenialRow, org: &OrgId, now: Millis) -> Vec<admin::Way> {
    row.ways_through(now).iter().map(|each| way(each, org, now)).collect()
}

fn way(way: &Way, org: &OrgId, now: Millis) -> admin::Way {
    let (kind, text, command) = match way {
        Way::Raise { limit, by } => return raise(limit, *by, org),
        Way::Wait(at) => {
            let text = format!("Wait until {} (in {}).", iso(*at), words::duration(at.saturating_sub(now)));
            return admin::Way { kind: admin::WayKind::Wait.into(), text, at_ms: int(*at), ..admin::Way::default() };
        }
        Way::Unfreeze => {
            (admin::WayKind::Unfreeze, "End the freeze.".to_owned(), format!("tollgate org unfreeze {org}"))
        }
        Way::NameScopes => (
            admin::WayKind::NameScopes,
            "Name the scopes that the message asks for, or list them in the configuration.".to_owned(),
            String::new(),
        ),
        Way::FreeAccount(pool) => (
            admin::WayKind::FreeAccount,
            format!("Add an account to pool {pool}, or clear one whose upstream works again."),
            format!("tollgate pool show {org} {pool}"),
        ),
        Way::SessionEnds => (
            admin::WayKind::SessionEnds,
            "Wait for a session to end, or end one.".to_owned(),
            format!("tollgate session list {org} --running"),
        ),
        Way::TopUp => (
            admin::WayKind::TopUp,
            "Add to the balance at the billing provider, or choose a plan that includes more; then ask for it again."
                .to_owned(),
            format!("tollgate billing refresh {org}"),
        ),
        Way::AskLess => (admin::WayKind::AskLess, "Reserve less at a time.".to_owned(), String::new()),
        Way::Repair(cause) => (
            admin::WayKind::Repair,
            format!("Repair what could not be evaluated: {}.", cause.name().replace('_', " ")),
            "tollgate node".to_owned(),
        ),
    };
    admin::Way { kind: kind.into(), text, command, ..admin::Way::default() }
}

/// A limit that is higher for a day. An upstream account is a secret, so no command names it.
fn raise(limit: &FullLimit, by: u64, org: &OrgId) -> admin::Way {
    let to = whole(&limit.meter, limit.amount.saturating_add(by));
    let of = if limit.scope.is_org() { String::new() } else { format!(" of scope {}", limit.scope.shown()) };
    let (from, higher) = (words::amount(&limit.meter, limit.amount), words::amount(&limit.meter, to));
    let scope = if limit.scope.is_org() {
        String::new()
    } else {
        format!(" --scope {}", words::for_shell(limit.scope.as_str()))
    };
    let set = format!("{}={}", limit.texts.name, value(&limit.meter, to));
    let (org, set) = (words::for_shell(org.as_str()), words::for_shell(&set));
    let command = format!("tollgate org override set {org} {set}{scope} --for 1d");
    admin::Way {
        kind: admin::WayKind::Raise.into(),
        text: format!("Raise {}{of} from {from} to {higher} at least.", limit.texts.name),
        command: if limit.scope.account().is_some() { String::new() } else { command },
        limit: limit.texts.name.clone(),
        scope: limit.scope.shown().into_owned(),
        meter: limit.texts.meter.clone(),
        by: int(by),
        at_ms: 0,
    }
}

/// Dollars to the next cent, for people.
fn whole(meter: &Meter, amount: u64) -> u64 {
    if meter.as_str() == Meter::SPEND { amount.next_multiple_of(MICROS_PER_CENT.unsigned_abs()) } else { amount }
}

/// As the command takes amounts: whole seconds of compute, all else to the last digit.
fn value(meter: &Meter, amount: u64) -> String {
    match meter.as_str() {
        Meter::SPEND => words::dollars(amount),
        Meter::COMPUTE => format!("{}s", amount.div_ceil(SECOND_MS)),
        _ => amount.to_string(),
    }
}
