//! Denials as people read them.

use std::fmt::Write;

use crate::{
    cli::output::{View, facts, number, table, text},
    domain::window::Millis,
    wire::{
        admin::v1::{
            AskedFor, Block, DecisionDay, Denial, ExplainDecisionResponse, FullLimit, GateReport, Way, WayKind,
            WhyResponse,
        },
        v1::{Amount, DecisionCode},
    },
};

use super::{
    format::{amount, counted, day, iso, relative, since, when},
    limit_view::{code_name, limit_table},
    names::called,
};

/// Lines of what is over, or was let through; `denials` has all.
const LINES: usize = 5;

/// One screen: blocked or not, and by what.
pub(super) fn describe_why(why: &WhyResponse, now: Millis) -> View {
    let mut parts = vec![verdict(why)];
    parts.extend(why.blocks.iter().map(|block| described(block, now)));
    if !why.over.is_empty() {
        let lines = why.over.iter().take(LINES);
        let lines = lines.map(|row| format!("  {}, {}: {}", counted(row.count, "call"), by(row), ended(row, now)));
        parts.push(listed("was denied, and would be allowed now", lines, why.over.len()));
    }
    if !why.let_through.is_empty() {
        let lines = why.let_through.iter().take(LINES);
        let lines = lines
            .map(|row| format!("  {}, {}, {}", counted(row.count, "call"), causes(row), relative(now, row.last_at_ms)));
        parts.push(listed("was let through without an evaluated gate", lines, why.let_through.len()));
    }
    View::all(parts)
}

fn verdict(why: &WhyResponse) -> View {
    let org = called(&why.name, &why.org);
    let plan = if why.plan.is_empty() { String::new() } else { format!(" (plan {})", why.plan) };
    if let Some(first) = why.blocks.first() {
        let others = match why.blocks.len() - 1 {
            0 => String::new(),
            others => format!(", and by {others} more"),
        };
        let now = first.now.as_ref();
        let in_part = if why.blocks.iter().all(is_of_a_part) { " in part" } else { "" };
        return format!("{org} is blocked{in_part}{plan}: by {}{others}", now.map(by).unwrap_or_default()).into();
    }
    if !why.known {
        return format!("{org} is not blocked{plan}: nothing is stored of it. Is the name right?").into();
    }
    let lately = if why.over.is_empty() { ", and nothing of it was denied within 7 days" } else { "" };
    format!("{org} is not blocked{plan}{lately}").into()
}

fn listed(what: &str, lines: impl Iterator<Item = String>, all: usize) -> View {
    let mut text = what.to_owned();
    lines.for_each(|line| {
        let _ = write!(text, "\n{line}");
    });
    if all > LINES {
        let _ = write!(text, "\n  and {} more: tollgate denials", all - LINES);
    }
    text.into()
}

/// `budget/daily of workspace/a`, `freeze`.
fn by(row: &Denial) -> String {
    limiting(row).map_or_else(|| row.gate.clone(), named)
}

/// The limit that denies the longest; `None` where none does.
fn limiting(row: &Denial) -> Option<&FullLimit> {
    let code = DecisionCode::try_from(row.code);
    if matches!(code, Ok(DecisionCode::Frozen | DecisionCode::ScopeRequired)) {
        return None;
    }
    row.limits.iter().rev().max_by_key(|limit| limit.fits_at_ms.wrapping_sub(1).cast_unsigned())
}

/// Whether other calls of the org are not denied by it: those in other scopes, or of other pools.
fn is_of_a_part(block: &Block) -> bool {
    block.now.as_ref().is_some_and(|row| match limiting(row) {
        Some(limit) => !limit.scope.is_empty(),
        None => row.code == i32::from(DecisionCode::AccountsExhausted),
    })
}

fn named(limit: &FullLimit) -> String {
    if limit.scope.is_empty() { limit.name.clone() } else { format!("{} of {}", limit.name, limit.scope) }
}

fn ended(row: &Denial, now: Millis) -> String {
    let by = if row.asked.as_ref().is_some_and(|asked| !asked.plane.is_empty()) {
        format!(" by {}", row.asked.as_ref().map(|asked| asked.plane.clone()).unwrap_or_default())
    } else {
        String::new()
    };
    format!("the last {}{by}", relative(now, row.last_at_ms))
}

fn causes(row: &Denial) -> String {
    let unevaluated = row.gates.iter().filter(|report| !report.cause.is_empty());
    unevaluated.map(|report| format!("{} ({})", report.gate, report.cause)).collect::<Vec<_>>().join(", ")
}

fn described(block: &Block, now: Millis) -> View {
    let Some(row) = &block.now else { return View::default() };
    let mut pairs: Vec<(&str, String)> = Vec::new();
    pairs.extend(row.limits.iter().map(|limit| ("limit", standing(limit))));
    if row.limits.is_empty() {
        pairs.push(("gate", row.gate.clone()));
    }
    pairs.push(("code", code_name(row.code)));
    if block.count > 0 {
        pairs.push(("since", since(now, block.since_ms)));
    }
    pairs.push(("until", fits(row, now)));
    pairs.push((
        "denied",
        match block.count {
            0 => "no call has asked for it within 7 days".to_owned(),
            1 => format!("1 call within 7 days, {}", relative(now, block.last_at_ms)),
            count => format!("{} within 7 days, the last {}", counted(count, "call"), relative(now, block.last_at_ms)),
        },
    ));
    if !block.planes.is_empty() {
        let planes = block.planes.iter().map(|plane| {
            let name = if plane.plane.is_empty() { "unnamed" } else { &plane.plane };
            format!("{name} ({})", plane.count)
        });
        pairs.push(("planes", planes.collect::<Vec<_>>().join(", ")));
    }
    let scopes: Vec<&str> = block.scopes.iter().map(String::as_str).filter(|scopes| !scopes.is_empty()).collect();
    if !scopes.is_empty() {
        pairs.push(("scopes", scopes.join("; ")));
    }
    if !row.last_decision_id.is_empty() {
        pairs.push(("decision", row.last_decision_id.clone()));
    }
    facts(pairs).then(ways(&block.ways))
}

/// `budget/daily of workspace/a: $1.95 of $2.00 used per rolling/1d, $0.40 asked`.
fn standing(limit: &FullLimit) -> String {
    let shown = |value| amount(&limit.meter, value);
    let held = if limit.reserved > 0 { format!(", {} reserved", shown(limit.reserved)) } else { String::new() };
    let buffer = if limit.buffer > 0 { format!(" (buffer {})", shown(limit.buffer)) } else { String::new() };
    let asked = if limit.asked > 0 { format!(", {} asked", shown(limit.asked)) } else { String::new() };
    let (used, of) = (shown(limit.used), shown(limit.amount));
    format!("{}: {used} of {of}{buffer} used{held}{asked} ({})", named(limit), limit.window)
}

fn fits(row: &Denial, now: Millis) -> String {
    match row.until_ms {
        0 if row.never_fits => "never, while the limit stands".to_owned(),
        0 => "until somebody acts".to_owned(),
        at => when(now, at),
    }
}

/// Each with the command that does it on a line of its own, to be pasted.
fn ways(ways: &[Way]) -> View {
    let mut view = View::from("to let it through");
    let is_raise = |way: &Way| way.kind == i32::from(WayKind::Raise);
    let are_several = ways.iter().filter(|way| is_raise(way)).count() > 1;
    for (at, way) in ways.iter().enumerate() {
        let is_first = at == 0 || is_raise(&ways[at - 1]) != is_raise(way);
        if are_several && is_first {
            view = view.then(if is_raise(way) { "  All of these:" } else { "  Or:" });
        }
        view = view.then(format!("  {}", way.text));
        if !way.command.is_empty() {
            view = view.then(View::verbatim(&pasted(&way.command)));
        }
    }
    view
}

/// Columns of a terminal that every view fits.
const LINE: usize = 80;

/// A command to be pasted: where it is longer than a line, its options are on the next one.
fn pasted(command: &str) -> String {
    match command.split_once(" --").filter(|_| command.len() + 4 > LINE) {
        Some((deed, options)) => format!("    {deed} \\\n      --{options}"),
        None => format!("    {command}"),
    }
}

/// One decision: what was asked, what each gate said, and what would have let it through.
pub(super) fn describe(answer: &ExplainDecisionResponse, now: Millis) -> View {
    let Some(row) = &answer.decision else { return View::default() };
    let allowed = row.code == i32::from(DecisionCode::Allowed);
    let verdict = match (allowed, row.shadow) {
        (true, _) => "allowed".to_owned(),
        (false, true) => format!("{} in shadow mode: let through", code_name(row.code)),
        (false, false) => format!("denied {} by {}", code_name(row.code), by(row)),
    };
    let mut pairs = vec![("verdict", verdict), ("at", since(now, row.last_at_ms))];
    if row.count > 1 {
        pairs.push(("one of", format!("{} alike since {}", row.count, iso(row.first_at_ms))));
    }
    if !answer.exact {
        pairs.push(("numbers", "of the last call that was like it".to_owned()));
    }
    pairs.extend(asked(row.asked.as_ref()));
    pairs.push(("node", row.node.clone()));
    if !row.trace_id.is_empty() {
        pairs.push(("trace", row.trace_id.clone()));
    }
    if !row.message.is_empty() {
        pairs.push(("message", row.message.clone()));
    }
    pairs.extend(row.limits.iter().map(|limit| ("limit", standing(limit))));
    let mut parts = vec![facts(pairs), gate_table(&row.gates)];
    if !answer.limits.is_empty() {
        parts.push(limit_table(&answer.limits, now));
    }
    if !answer.ways.is_empty() {
        parts.push(ways(&answer.ways));
    }
    View::all(parts)
}

fn asked(asked: Option<&AskedFor>) -> Vec<(&'static str, String)> {
    let Some(asked) = asked else { return Vec::new() };
    let listed = |amounts: &[Amount]| {
        let each = amounts.iter().map(|each| format!("{}={}", each.meter, amount(&each.meter, each.amount)));
        each.collect::<Vec<_>>().join(" ")
    };
    let pairs = [
        ("operation", asked.operation.replace('_', " ")),
        ("scopes", asked.scopes.join(", ")),
        ("plane", asked.plane.clone()),
        ("pool", asked.pool.clone()),
        ("cost", listed(&asked.cost)),
        ("reserve", listed(&asked.reserve)),
    ];
    pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn gate_table(reports: &[GateReport]) -> View {
    let rows = reports.iter().map(|report| {
        let why = if report.cause.is_empty() { code_of(report) } else { report.cause.clone() };
        [report.gate.clone(), report.verdict.clone(), why]
    });
    table([text("gate"), text("verdict"), text("why")], rows)
}

fn code_of(report: &GateReport) -> String {
    if report.code == 0 { String::new() } else { code_name(report.code) }
}

/// The newest first.
pub(super) fn denial_table(denials: &[Denial], now: Millis) -> View {
    let columns = [
        text("last"),
        number("calls"),
        text("denied by"),
        text("scopes"),
        text("plane"),
        text("until"),
        text("decision"),
    ];
    let rows = denials.iter().map(|row| {
        let asked = row.asked.as_ref();
        let by = match (row.code == i32::from(DecisionCode::Allowed), row.shadow) {
            (true, _) => format!("let through: {}", causes(row)),
            (false, true) => format!("{} (shadow)", by(row)),
            (false, false) => by(row),
        };
        let scopes = if row.mixed {
            "several".to_owned()
        } else {
            asked.map(|asked| asked.scopes.join(", ")).unwrap_or_default()
        };
        let plane = asked.map(|asked| asked.plane.clone()).unwrap_or_default();
        let until = if row.until_ms == 0 { String::new() } else { relative(now, row.until_ms) };
        [relative(now, row.last_at_ms), row.count.to_string(), by, scopes, plane, until, row.last_decision_id.clone()]
    });
    table(columns, rows)
}

/// The oldest first.
pub(super) fn day_table(days: &[DecisionDay]) -> View {
    let columns = [text("day"), number("allowed"), number("denied"), number("failed open"), text("by gate")];
    let rows = days.iter().map(|each| {
        let (denied, open): (i64, i64) =
            each.gates.iter().fold((0, 0), |(denied, open), gate| (denied + gate.denied, open + gate.failed_open));
        let gates = each.gates.iter().filter(|gate| gate.denied > 0);
        let gates = gates.map(|gate| format!("{} {}", gate.gate, gate.denied)).collect::<Vec<_>>().join(", ");
        [day(each.start_ms), each.allowed.to_string(), denied.to_string(), open.to_string(), gates]
    });
    table(columns, rows)
}
