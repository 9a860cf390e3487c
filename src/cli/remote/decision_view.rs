//! A decision as a sentence, facts and limits: the same for an Acquire, the start of a session and a
//! pick.

use crate::{
    cli::output::{Tone, View, facts},
    domain::window::Millis,
    wire::v1::{AcquireResponse, DecisionCode, FailOpen, Limit, PickResponse, StartSessionResponse},
};

use super::{
    format::wait,
    limit_view::{code_name, headline, limit_table},
};

/// The fields that the answers of all gated calls have in common.
pub(super) struct Decision<'a> {
    allowed: bool,
    code: i32,
    message: &'a str,
    decision_id: &'a str,
    /// `None` = the gates of the org were not evaluated.
    limits: Option<&'a [Limit]>,
    retry_after_ms: i64,
    fail_open: &'a [FailOpen],
    folded_scopes: &'a [String],
    replayed: bool,
    node: &'a str,
}

/// For messages that have the same fields under different names.
macro_rules! of_answers {
    ($($answer:ty),+) => {$(
        impl<'a> From<&'a $answer> for Decision<'a> {
            fn from(answer: &'a $answer) -> Self {
                Self {
                    allowed: answer.allowed,
                    code: answer.code,
                    message: &answer.message,
                    decision_id: &answer.decision_id,
                    limits: Some(&answer.limits),
                    retry_after_ms: answer.retry_after_ms,
                    fail_open: &answer.fail_open,
                    folded_scopes: &answer.folded_scopes,
                    replayed: answer.replayed,
                    node: &answer.node,
                }
            }
        }
    )+};
}

of_answers!(AcquireResponse, StartSessionResponse);

impl<'a> From<&'a PickResponse> for Decision<'a> {
    fn from(answer: &'a PickResponse) -> Self {
        let gates = answer.decision.as_ref();
        Self {
            allowed: answer.allowed,
            code: answer.code,
            message: &answer.message,
            decision_id: gates.map_or("", |gates| &gates.decision_id),
            limits: gates.map(|gates| gates.limits.as_slice()),
            retry_after_ms: answer.retry_after_ms,
            fail_open: gates.map_or(&[], |gates| &gates.fail_open),
            folded_scopes: gates.map_or(&[], |gates| &gates.folded_scopes),
            replayed: answer.replayed,
            node: &answer.node,
        }
    }
}

/// `asked` names the subject of the decision; `granted` is what an allowance came with.
pub(super) fn describe(
    asked: &str,
    decision: &Decision<'_>,
    granted: Vec<(&'static str, String)>,
    now: Millis,
) -> View {
    let said = verdict(asked, decision, now).then(facts(details(decision, granted)));
    match decision.limits.filter(|limits| !limits.is_empty()) {
        Some(limits) => said.apart(limit_table(limits, now)),
        None => said,
    }
}

fn verdict(asked: &str, decision: &Decision<'_>, now: Millis) -> View {
    let verdict = if decision.allowed { "allowed" } else { "denied " };
    let plain = decision.code == i32::from(DecisionCode::Allowed);
    let code = if plain { String::new() } else { format!("{}  ", code_name(decision.code)) };
    // A denial without a limiting limit is explained by its message alone.
    let explained = |limits: &&[Limit]| decision.allowed || limits.iter().any(|limit| limit.limiting);
    let limits = decision.limits.filter(explained).map(|limits| headline(limits, now)).unwrap_or_default();
    let rest = format!("  {asked}  {code}{limits}");
    View::verdict(Tone::of_state(verdict), verdict, rest.trim_end()).then(decision.message)
}

fn details(decision: &Decision<'_>, granted: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    let mut known = Vec::new();
    if decision.retry_after_ms > 0 {
        known.push(("try again in", wait(decision.retry_after_ms)));
    }
    if decision.decision_id.is_empty() && decision.replayed {
        known.push(("replayed", "nothing was charged again".to_owned()));
    }
    if !decision.decision_id.is_empty() {
        let replayed = if decision.replayed { " (replayed: nothing was charged again)" } else { "" };
        known.push(("decision", format!("{}{replayed}", decision.decision_id)));
    }
    known.extend(granted);
    for fail_open in decision.fail_open {
        known.push(("not evaluated", format!("{} (failed open: {})", fail_open.gate, fail_open.cause)));
    }
    for scope in decision.folded_scopes {
        known.push(("counted with others", format!("{scope} (the org has no room for ledgers of its own)")));
    }
    if !decision.node.is_empty() {
        known.push(("node", decision.node.to_owned()));
    }
    known
}
